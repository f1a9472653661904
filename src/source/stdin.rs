//! Standard input as a stream: it has an end, but nobody to say whether the end was meant.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::os::fd::AsFd;

use super::child::wait_readable;
use super::command::unread;
use super::{RunningStream, SourceError, SourceKind, StreamEnd, StreamSource};
use crate::monitor::Stop;

/// Standard input. A pipe whose writer died half-way looks the same as one that finished: prefer a command source, which sees an
/// exit status; or demand a [`StdinSource::trailer`].
pub struct StdinSource {
    /// The name in the snapshot: the stream is one file of this name.
    name: String,
    optional: bool,
    /// The stream must end with these bytes.
    trailer: Vec<u8>,
    input: Option<File>,
    stop: Stop,
}

impl StdinSource {
    /// Reads this process's standard input, which must not be a terminal.
    pub fn new(name: impl Into<String>) -> Result<Self, SourceError> {
        if io::stdin().is_terminal() {
            return Err(SourceError::Settings("standard input is a terminal: pipe something into it".into()));
        }
        let input = io::stdin().as_fd().try_clone_to_owned();
        let input = input.map_err(|error| SourceError::Io { what: "cannot read standard input".into(), error })?;
        Self::of_file(name, File::from(input))
    }

    /// Reads `input` in its place (a pipe, a file).
    pub(crate) fn of_file(name: impl Into<String>, input: File) -> Result<Self, SourceError> {
        let name = name.into();
        super::check_name(&name)?;
        Ok(Self { name, optional: false, trailer: Vec::new(), input: Some(input), stop: Stop::new() })
    }

    /// Demands that the stream end with these bytes (`--stdin-trailer`).
    #[must_use]
    pub fn trailer(mut self, trailer: impl Into<Vec<u8>>) -> Self {
        self.trailer = trailer.into();
        self
    }

    /// Lets the snapshot be committed (as incomplete) when it fails.
    #[must_use]
    pub fn optional(mut self, optional: bool) -> Self {
        self.optional = optional;
        self
    }
}

impl StreamSource for StdinSource {
    fn name(&self) -> &str {
        &self.name
    }
    fn kind(&self) -> SourceKind {
        SourceKind::Stdin
    }
    fn optional(&self) -> bool {
        self.optional
    }
    fn prepare(&mut self, stop: &Stop) -> Result<Vec<String>, SourceError> {
        self.stop = stop.clone();
        Ok(vec![String::new()])
    }
    fn open(&mut self, _stream: usize) -> Result<Box<dyn RunningStream>, SourceError> {
        let input = self.input.take().ok_or_else(|| SourceError::Unfit("standard input can be read once only".into()))?;
        let (stop, trailer) = (self.stop.clone(), self.trailer.clone());
        Ok(Box::new(StdinStream { input, stop, trailer, tail: Vec::new(), ended: false, bytes: 0 }))
    }
    fn facts(&self) -> Vec<(String, String)> {
        let demanded = !self.trailer.is_empty();
        demanded.then(|| ("trailer".to_owned(), "demanded and found".to_owned())).into_iter().collect()
    }
    fn remarks(&self) -> Vec<String> {
        vec![format!(
            "{}: standard input has no exit status; --command {}=... sees whether the program failed",
            self.name, self.name
        )]
    }
}

struct StdinStream {
    input: File,
    stop: Stop,
    trailer: Vec<u8>,
    /// The last bytes, at most as many as the trailer has.
    tail: Vec<u8>,
    ended: bool,
    bytes: u64,
}

impl Read for StdinStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        wait_readable(&self.input, &self.stop, None)?;
        let n = self.input.read(buffer)?;
        self.bytes += n as u64;
        self.ended |= n == 0 && !buffer.is_empty();
        let keep = self.trailer.len();
        self.tail.extend_from_slice(&buffer[n.saturating_sub(keep)..n]);
        self.tail.drain(..self.tail.len().saturating_sub(keep));
        Ok(n)
    }
}

impl RunningStream for StdinStream {
    fn finish(self: Box<Self>) -> Result<StreamEnd, SourceError> {
        if !self.ended {
            return Err(unread("standard input"));
        }
        if self.bytes == 0 {
            return Err(SourceError::Empty { what: "standard input".into(), stderr: String::new() });
        }
        if self.tail != self.trailer {
            let detail = "it does not end with the demanded trailer".into();
            return Err(SourceError::Shape { what: "standard input".into(), detail });
        }
        Ok(StreamEnd::WithoutStatus)
    }
    fn abort(self: Box<Self>) {}
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn run(bytes: &[u8], trailer: &str) -> Result<StreamEnd, SourceError> {
        let (input, mut output) = io::pipe().unwrap();
        let input = File::from(std::os::fd::OwnedFd::from(input));
        let mut source = StdinSource::of_file("x", input).unwrap().trailer(trailer);
        output.write_all(bytes).unwrap();
        drop(output);
        let mut stream = source.open(0).unwrap();
        let mut read = Vec::new();
        // Small pieces: the trailer must be found across them.
        let mut piece = [0; 3];
        loop {
            match stream.read(&mut piece).unwrap() {
                0 => break,
                n => read.extend_from_slice(&piece[..n]),
            }
        }
        assert_eq!(read, bytes);
        stream.finish()
    }

    #[test]
    fn standard_input_ends_without_status() {
        assert_eq!(run(b"some bytes", "").unwrap(), StreamEnd::WithoutStatus);
    }

    #[test]
    fn nothing_on_standard_input_is_refused() {
        assert!(matches!(run(b"", ""), Err(SourceError::Empty { .. })));
    }

    #[test]
    fn a_demanded_trailer_must_be_the_very_end() {
        assert!(run(b"a dump, and -- done\n", "-- done\n").is_ok());
        for cut in [b"a dump, and -- done".as_slice(), b"-- done\nmore", b"done\n"] {
            assert!(matches!(run(cut, "-- done\n"), Err(SourceError::Shape { .. })));
        }
    }

    #[test]
    fn the_wish_to_stop_ends_the_wait_for_input() {
        let (input, _output) = io::pipe().unwrap();
        let mut source = StdinSource::of_file("x", File::from(std::os::fd::OwnedFd::from(input))).unwrap();
        let stop = Stop::new();
        source.prepare(&stop).unwrap();
        let mut stream = source.open(0).unwrap();
        stop.request();
        let error = stream.read(&mut [0; 8]).unwrap_err();
        assert!(matches!(SourceError::from_read("x", error), SourceError::Stopped));
    }
}
