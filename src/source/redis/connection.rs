//! A connection to Redis: just enough of its protocol to authenticate, ask and take a stream over.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use super::super::child::wait_readable;
use super::super::{Secret, SourceError};
use crate::monitor::Stop;

/// How long connecting to one address, or sending a command, may take.
const CONNECT: Duration = Duration::from_secs(5);
/// Longest line of a reply in bytes.
const MAX_LINE: usize = 64 << 10;
/// Longest text of a reply in bytes (INFO has some 10 KiB).
const MAX_TEXT: usize = 4 << 20;

/// Where a server listens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RedisPlace {
    /// A host (name or address) and a port.
    Tcp {
        /// Name or address.
        host: String,
        /// Port.
        port: u16,
    },
    /// A socket in the file system.
    Unix(PathBuf),
}

impl std::fmt::Display for RedisPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    fn open(place: &RedisPlace) -> io::Result<Self> {
        match place {
            RedisPlace::Unix(path) => {
                let socket = UnixStream::connect(path)?;
                socket.set_write_timeout(Some(CONNECT))?;
                Ok(Self::Unix(socket))
            }
            RedisPlace::Tcp { host, port } => {
                let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
                for address in (host.as_str(), *port).to_socket_addrs()? {
                    match TcpStream::connect_timeout(&address, CONNECT) {
                        Ok(socket) => {
                            socket.set_nodelay(true)?;
                            socket.set_write_timeout(Some(CONNECT))?;
                            return Ok(Self::Tcp(socket));
                        }
                        Err(error) => last = error,
                    }
                }
                Err(last)
            }
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.read(buffer),
            Self::Unix(socket) => socket.read(buffer),
        }
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.write_all(bytes),
            Self::Unix(socket) => socket.write_all(bytes),
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(socket) => socket.as_fd(),
            Self::Unix(socket) => socket.as_fd(),
        }
    }
}

/// What a server answers.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Reply {
    /// `+OK`
    Status(String),
    /// `-ERR why`
    Error(String),
    /// `:42`
    Integer(i64),
    /// `$5 hello`; a missing text is empty.
    Text(String),
}

/// A connection. It never gives up silently: silence beyond `patience` is an error, and so is the wish to stop.
pub(super) struct Connection {
    socket: Socket,
    /// Bytes taken from the socket and not used yet.
    pending: Vec<u8>,
    patience: Duration,
    stop: Stop,
    place: RedisPlace,
}

impl Connection {
    pub(super) fn open(place: &RedisPlace, patience: Duration, stop: &Stop) -> Result<Self, SourceError> {
        let what = || format!("cannot connect to Redis at {place}");
        let socket = Socket::open(place).map_err(|error| SourceError::Io { what: what(), error })?;
        Ok(Self { socket, pending: Vec::new(), patience, stop: stop.clone(), place: place.clone() })
    }

    /// Says who we are, if there is anything to say.
    pub(crate) fn authenticate(&mut self, user: Option<&str>, password: Option<&Secret>) -> Result<(), SourceError> {
        let mut words = vec!["AUTH"];
        words.extend(user);
        let Some(password) = password else { return Ok(()) };
        words.push(password.reveal());
        match self.command(&words)? {
            Reply::Error(error) => Err(self.refused("the login", &password.cut_out(error))),
            _ => Ok(()),
        }
    }

    /// Where the server listens.
    pub(super) fn place(&self) -> &RedisPlace {
        &self.place
    }

    /// One command and its reply.
    pub(super) fn command(&mut self, words: &[&str]) -> Result<Reply, SourceError> {
        self.send(words)?;
        self.reply()
    }

    /// A command whose reply must not be an error.
    pub(super) fn ask(&mut self, words: &[&str]) -> Result<Reply, SourceError> {
        match self.command(words)? {
            Reply::Error(error) => Err(self.refused(&words.join(" "), &error)),
            reply => Ok(reply),
        }
    }

    pub(super) fn send(&mut self, words: &[&str]) -> Result<(), SourceError> {
        let mut bytes = zeroize::Zeroizing::new(format!("*{}\r\n", words.len()));
        for word in words {
            bytes.push_str(&format!("${}\r\n", word.len()));
            bytes.push_str(word);
            bytes.push_str("\r\n");
        }
        self.socket.write_all(bytes.as_bytes()).map_err(|error| self.broken(error))
    }

    fn reply(&mut self) -> Result<Reply, SourceError> {
        let line = self.line()?;
        let odd = |connection: &Self| connection.odd(&format!("an answer that is not understood: {:?}", shorten(&line)));
        match line.split_at_checked(1) {
            Some(("+", text)) => Ok(Reply::Status(text.to_owned())),
            Some(("-", text)) => Ok(Reply::Error(text.to_owned())),
            Some((":", number)) => number.parse().map(Reply::Integer).map_err(|_| odd(self)),
            Some(("$", "-1")) => Ok(Reply::Text(String::new())),
            Some(("$", length)) => {
                let length = length.parse().ok().filter(|length| *length <= MAX_TEXT).ok_or_else(|| odd(self))?;
                while self.pending.len() < length + 2 {
                    self.fill()?;
                }
                let text = String::from_utf8_lossy(&self.pending[..length]).into_owned();
                self.pending.drain(..length + 2);
                Ok(Reply::Text(text))
            }
            _ => Err(odd(self)),
        }
    }

    /// The next line without its end; empty for a keepalive.
    pub(super) fn line(&mut self) -> Result<String, SourceError> {
        loop {
            if let Some(end) = self.pending.iter().position(|byte| *byte == b'\n') {
                let line = String::from_utf8_lossy(&self.pending[..end]).trim_end_matches('\r').to_owned();
                self.pending.drain(..=end);
                return Ok(line);
            }
            if self.pending.len() > MAX_LINE {
                return Err(self.odd("a line without an end"));
            }
            self.fill()?;
        }
    }

    fn fill(&mut self) -> Result<(), SourceError> {
        let mut piece = [0; 4 << 10];
        match self.read_socket(&mut piece).map_err(|error| self.broken(error))? {
            0 => Err(self.odd("nothing: it closed the connection")),
            n => {
                self.pending.extend_from_slice(&piece[..n]);
                Ok(())
            }
        }
    }

    /// Raw bytes behind the last line; 0 when the server closed the connection.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.pending.is_empty() {
            return self.read_socket(buffer);
        }
        let n = self.pending.len().min(buffer.len());
        buffer[..n].copy_from_slice(&self.pending[..n]);
        self.pending.drain(..n);
        Ok(n)
    }

    fn read_socket(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !wait_readable(&self.socket, &self.stop, Some(self.patience))? {
            let said = format!("it said nothing for {:?}", self.patience);
            return Err(io::Error::new(io::ErrorKind::TimedOut, said));
        }
        self.socket.read(buffer)
    }

    fn broken(&self, error: io::Error) -> SourceError {
        SourceError::from_read(&format!("Redis at {}", self.place), error)
    }

    /// The server answered what it should not.
    pub(super) fn odd(&self, what: &str) -> SourceError {
        SourceError::Unfit(format!("Redis at {} sent {what}", self.place))
    }

    /// The server will not do it.
    pub(super) fn refused(&self, what: &str, error: &str) -> SourceError {
        let hint = match error.split(' ').next() {
            Some("LOADING") => " (run the same command again when it is ready)",
            Some("NOMASTERLINK") => " (mend the link, or name the server that is the master now)",
            Some("NOAUTH" | "WRONGPASS") => " (is the password right?)",
            Some("NOPERM") => " (the user needs +sync +replconf +info, or +bgsave +lastsave +info with the path of dump.rdb)",
            _ => "",
        };
        SourceError::Unfit(format!("Redis at {} refused {what}: {}{hint}", self.place, shorten(error)))
    }
}

/// The first 200 characters: a server may send anything.
fn shorten(text: &str) -> String {
    text.chars().take(200).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
