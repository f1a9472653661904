//! The RDB as a new replica gets it.
//!
//! After SYNC the server sends newlines while it prepares, then either `$<length>` and so many bytes, or (diskless, the default)
//! `$EOF:<mark>` and bytes up to those 40 of the mark, of which nothing may be taken for data. It sends no command behind the mark
//! before a replica reports progress, which we never do; `rdb-only` (7.0) says so from the start.

use std::io::{self, Read};

use super::super::SourceError;
use super::connection::{Connection, Reply};

/// Length of the mark in bytes.
const MARK: usize = 40;
/// How much is taken from the socket at once, in bytes.
const PIECE: usize = 256 << 10;

/// Where the stream ends.
enum Extent {
    /// After so many more bytes.
    Counted(u64),
    /// Before this mark.
    Marked([u8; MARK]),
}

/// Asks for the stream and reads up to its first byte.
pub(super) fn start(mut connection: Connection) -> Result<Replication, SourceError> {
    // An old server knows neither; then it sends `$<length>`, or more than we read.
    for option in [["REPLCONF", "capa", "eof"], ["REPLCONF", "rdb-only", "1"]] {
        if let Reply::Error(error) = connection.command(&option)?
            && (error.starts_with("NO") || error.starts_with("WRONGPASS"))
        {
            return Err(connection.refused("REPLCONF", &error));
        }
    }
    connection.send(&["SYNC"])?;
    let line = loop {
        let line = connection.line()?;
        if !line.is_empty() {
            break line;
        }
    };
    if let Some(error) = line.strip_prefix('-') {
        return Err(connection.refused("SYNC", error));
    }
    let extent = match line.strip_prefix('$') {
        Some(size) => match size.strip_prefix("EOF:") {
            Some(mark) => mark.as_bytes().try_into().ok().map(Extent::Marked),
            None => size.parse().ok().map(Extent::Counted),
        },
        None => None,
    };
    let extent = extent.ok_or_else(|| connection.odd("no size of the RDB where one was due"))?;
    Ok(Replication { connection, extent, buffer: vec![0; PIECE + MARK], from: 0, sure: 0, filled: 0, ended: false })
}

/// The bytes of the RDB.
pub(super) struct Replication {
    connection: Connection,
    extent: Extent,
    /// `from..sure` may be handed out; `sure..filled` may be the mark.
    buffer: Vec<u8>,
    from: usize,
    sure: usize,
    filled: usize,
    ended: bool,
}

impl Replication {
    fn cut_off(&self) -> io::Error {
        let (what, detail) = ("the RDB from Redis".into(), "the server closed the connection before its end".into());
        SourceError::Shape { what, detail }.into_read()
    }

    /// Takes more from the socket and decides how much of it is surely data. Only when all that was sure is handed out.
    fn refill(&mut self, mark: [u8; MARK]) -> io::Result<()> {
        self.buffer.copy_within(self.sure..self.filled, 0);
        self.filled -= self.sure;
        (self.from, self.sure) = (0, 0);
        let n = self.connection.read(&mut self.buffer[self.filled..])?;
        if n == 0 {
            return Err(self.cut_off());
        }
        self.filled += n;
        self.ended = self.buffer[..self.filled].ends_with(&mark);
        self.sure = self.filled.saturating_sub(MARK);
        Ok(())
    }
}

impl Read for Replication {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.extent {
            Extent::Counted(0) => Ok(0),
            Extent::Counted(left) => {
                let most = usize::try_from(*left).unwrap_or(usize::MAX).min(buffer.len());
                let n = self.connection.read(&mut buffer[..most])?;
                *left -= n as u64;
                if n == 0 && most > 0 {
                    return Err(self.cut_off());
                }
                Ok(n)
            }
            Extent::Marked(mark) => {
                let mark = *mark;
                while self.from == self.sure {
                    if self.ended {
                        return Ok(0);
                    }
                    self.refill(mark)?;
                }
                let n = (self.sure - self.from).min(buffer.len());
                buffer[..n].copy_from_slice(&self.buffer[self.from..self.from + n]);
                self.from += n;
                Ok(n)
            }
        }
    }
}
