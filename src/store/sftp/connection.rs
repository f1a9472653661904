//! One connection: requests from many threads at once, each answered to the thread that asked; many may be under way.
//!
//! A connection is broken off when no byte moves for the stall limit while a thread waits: a server that hangs is an
//! error, a slow line is not.

use std::collections::HashMap;
use std::io::{self, IoSlice, Read};
use std::os::fd::AsFd;
use std::process::{ChildStdin, ChildStdout};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;

use super::ssh::{self, Ssh, Verdict};
use super::wire::{self, Ask, Attributes, MAX_REPLY, Reply, Row, Status};
use super::{SftpAddress, SftpOptions};
use crate::locks::Unpoisoned;
use crate::parallel;

/// How long a child whose connection is over may take to say why.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How long an idle connection may take to end by itself.
const GOODBYE: Duration = Duration::from_secs(2);
/// Most bytes of one read or write, and what every server takes; more is asked for where the server says so.
const BLOCK_MAX: u64 = 255 << 10;
const BLOCK_PLAIN: u32 = 32 << 10;
const BLOCK_MIN: u64 = 4 << 10;

/// Why a request was not done.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The connection is over; whether the request was done is not known.
    Broken(String),
    /// The server said no.
    Refused(Status),
}

/// What a server can do beside version 3; each is the extension of its name in `wire`.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Extensions {
    pub replace: bool,
    pub link: bool,
    pub sync: bool,
    pub room: bool,
    limits: bool,
}

/// The requests that wait for their answers, or why the connection is over.
enum Waiting {
    Open(HashMap<u32, Sender<Reply>>),
    Over(String),
}

/// What the reading thread shares with those who ask.
struct Shared {
    waiting: Mutex<Waiting>,
    began: Instant,
    /// When the last byte went either way, in milliseconds after `began`.
    moved: AtomicU64,
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unpoisoned()
    }
    fn touch(&self) {
        self.moved.store(self.began.elapsed().as_millis() as u64, Ordering::Relaxed);
    }
    fn still_for(&self) -> Duration {
        self.began.elapsed().saturating_sub(Duration::from_millis(self.moved.load(Ordering::Relaxed)))
    }
    /// Ends the connection for every waiting request. The first reason stays.
    fn over(&self, why: &str) {
        let mut waiting = self.waiting();
        if let Waiting::Open(_) = *waiting {
            *waiting = Waiting::Over(why.to_owned());
        }
    }
}

/// One connection.
pub(super) struct Connection {
    shared: Arc<Shared>,
    stdin: Mutex<Option<ChildStdin>>,
    next: AtomicU32,
    stall: Duration,
    /// What the server can do.
    pub extensions: Extensions,
    limits: Mutex<Option<Ticket>>,
    blocks: OnceLock<(u32, u32)>,
    ssh: Ssh,
}

/// A request under way.
pub(super) struct Ticket {
    reply: Receiver<Reply>,
}

impl Connection {
    /// Connects.
    pub(super) fn open(address: &SftpAddress, options: &SftpOptions) -> Result<Self, Verdict> {
        let command = ssh::command(address, options);
        let program = command.get_program().to_string_lossy().into_owned();
        let cannot = |error: io::Error| Verdict::Failed(format!("cannot start {program}: {error}"));
        let (ssh, stdin, stdout) = Ssh::start(command).map_err(cannot)?;
        // A full pipe must not hold a thread for ever.
        fcntl_getfl(&stdin)
            .and_then(|flags| fcntl_setfl(&stdin, flags | OFlags::NONBLOCK))
            .map_err(|error| cannot(error.into()))?;
        let shared = Arc::new(Shared {
            waiting: Mutex::new(Waiting::Open(HashMap::new())),
            began: Instant::now(),
            moved: AtomicU64::new(0),
        });
        let (say, greeting) = bounded(1);
        let reading = Arc::clone(&shared);
        parallel::background("sftp-replies", move || {
            let why = read_replies(stdout, &reading, &say);
            reading.over(&why);
        })
        .map_err(cannot)?;
        let mut connection = Self {
            shared,
            stdin: Mutex::new(Some(stdin)),
            next: AtomicU32::new(0),
            stall: options.timeout,
            extensions: Extensions::default(),
            limits: Mutex::new(None),
            blocks: OnceLock::new(),
            ssh,
        };
        match connection.greet(&greeting) {
            Ok(()) => Ok(connection),
            Err(why) => Err(ssh::judge(address, &why, &connection.ssh.said(LAST_WORDS))),
        }
    }

    fn greet(&mut self, greeting: &Receiver<Vec<(String, String)>>) -> Result<(), String> {
        let text = |trouble| match trouble {
            Trouble::Broken(why) => why,
            Trouble::Refused(status) => status.message,
        };
        self.write(&wire::hello(), &[]).map_err(text)?;
        let names = self.wait_for(greeting).map_err(text)?;
        // Extensions are numbered; all that we speak are at their first number, hard links and fsync have no other.
        let offers = |name: &str| names.iter().any(|(offered, version)| offered == name && (version == "1" || version == "2"));
        self.extensions = Extensions {
            replace: offers(wire::REPLACE),
            link: offers(wire::LINK),
            sync: offers(wire::SYNC),
            room: offers(wire::ROOM),
            limits: offers(wire::LIMITS),
        };
        if self.extensions.limits {
            // Its answer is waited for when it is first needed.
            let ticket = self.ask(Ask::Limits).map_err(text)?;
            *self.limits.get_mut().unpoisoned() = Some(ticket);
        }
        Ok(())
    }

    /// Is it over?
    pub(crate) fn is_over(&self) -> bool {
        matches!(*self.shared.waiting(), Waiting::Over(_))
    }

    /// Most bytes of one read and of one write.
    pub(super) fn blocks(&self) -> (u32, u32) {
        *self.blocks.get_or_init(|| {
            let ticket = self.limits.lock().unpoisoned().take();
            let told = ticket.and_then(|ticket| match self.reply(ticket) {
                Ok(Reply::Extended { packet, at }) => wire::decode_limits(&packet[at..]).ok(),
                _ => None,
            });
            let block = |bytes: u64| match bytes {
                0 => BLOCK_PLAIN,
                // At most 255 KiB.
                bytes => bytes.clamp(BLOCK_MIN, BLOCK_MAX) as u32,
            };
            told.map_or((BLOCK_PLAIN, BLOCK_PLAIN), |(read, write)| (block(read), block(write)))
        })
    }

    /// Sends a request; its answer is waited for later.
    pub(super) fn ask(&self, ask: Ask<'_>) -> Result<Ticket, Trouble> {
        self.ask_with(ask, &[])
    }

    /// The same, with the bytes of a write, as many as it says.
    pub(crate) fn ask_with(&self, ask: Ask<'_>, bytes: &[&[u8]]) -> Result<Ticket, Trouble> {
        let (to, reply) = bounded(1);
        let id = loop {
            let id = self.next.fetch_add(1, Ordering::Relaxed);
            match &mut *self.shared.waiting() {
                Waiting::Over(why) => return Err(Trouble::Broken(why.clone())),
                // After 4 billion requests one may still wait under this number.
                Waiting::Open(waiting) if waiting.contains_key(&id) => {}
                Waiting::Open(waiting) => {
                    waiting.insert(id, to);
                    break id;
                }
            }
        };
        self.write(&ask.encode(id), bytes)?;
        Ok(Ticket { reply })
    }

    // -- the answers, each of the kind that the request has ---------------------------------------------

    fn reply(&self, ticket: Ticket) -> Result<Reply, Trouble> {
        self.wait_for(&ticket.reply)
    }

    fn strange<T>(&self) -> Result<T, Trouble> {
        Err(self.break_off("the server answered with something else than it was asked for"))
    }

    /// It was done.
    pub(super) fn done(&self, ticket: Ticket) -> Result<(), Trouble> {
        match self.reply(ticket)? {
            Reply::Status(Status { code: Status::OK, .. }) => Ok(()),
            Reply::Status(status) => Err(Trouble::Refused(status)),
            _ => self.strange(),
        }
    }

    /// An open file or folder.
    pub(crate) fn handle(&self, ticket: Ticket) -> Result<Vec<u8>, Trouble> {
        match self.reply(ticket)? {
            Reply::Handle(handle) => Ok(handle),
            Reply::Status(status) if status.code != Status::OK => Err(Trouble::Refused(status)),
            _ => self.strange(),
        }
    }

    /// Bytes of a file, at most `length`; `None` at its end.
    pub(super) fn data(&self, ticket: Ticket, length: usize) -> Result<Option<impl AsRef<[u8]> + use<>>, Trouble> {
        struct Data(Vec<u8>, usize);
        impl AsRef<[u8]> for Data {
            fn as_ref(&self) -> &[u8] {
                &self.0[self.1..]
            }
        }
        match self.reply(ticket)? {
            Reply::Data { packet, at } if (1..=length).contains(&(packet.len() - at)) => Ok(Some(Data(packet, at))),
            Reply::Status(Status { code: Status::END, .. }) => Ok(None),
            Reply::Status(status) if status.code != Status::OK => Err(Trouble::Refused(status)),
            _ => self.strange(),
        }
    }

    /// Some rows of a folder; none at its end.
    pub(super) fn rows(&self, ticket: Ticket) -> Result<Option<Vec<Row>>, Trouble> {
        match self.reply(ticket)? {
            Reply::Rows(rows) => Ok(Some(rows)),
            Reply::Status(Status { code: Status::END, .. }) => Ok(None),
            Reply::Status(status) if status.code != Status::OK => Err(Trouble::Refused(status)),
            _ => self.strange(),
        }
    }

    /// What the server tells of a file.
    pub(super) fn attributes(&self, ticket: Ticket) -> Result<Attributes, Trouble> {
        match self.reply(ticket)? {
            Reply::Attributes(attributes) => Ok(attributes),
            Reply::Status(status) if status.code != Status::OK => Err(Trouble::Refused(status)),
            _ => self.strange(),
        }
    }

    /// Bytes and files that may still be made; `None` when the server does not tell.
    pub(super) fn room(&self, path: &str) -> Option<(u64, u64)> {
        if !self.extensions.room {
            return None;
        }
        match self.ask(Ask::Room { path }).and_then(|ticket| self.reply(ticket)) {
            Ok(Reply::Extended { packet, at }) => wire::decode_room(&packet[at..]).ok(),
            _ => None,
        }
    }

    // -- below the requests -------------------------------------------------------------------------------

    /// Waits until there is something, or the connection is over, or has stood still for too long.
    fn wait_for<T>(&self, from: &Receiver<T>) -> Result<T, Trouble> {
        loop {
            match from.recv_timeout(self.look()) {
                Ok(something) => return Ok(something),
                Err(RecvTimeoutError::Disconnected) => return Err(self.broken()),
                Err(RecvTimeoutError::Timeout) => self.check_still()?,
            }
        }
    }

    /// How often a connection that stands still is looked at.
    fn look(&self) -> Duration {
        (self.stall / 4).clamp(Duration::from_millis(1), Duration::from_secs(1))
    }

    fn check_still(&self) -> Result<(), Trouble> {
        if self.shared.still_for() < self.stall {
            return Ok(());
        }
        Err(self.break_off(&format!("the server has not answered for {} s", self.stall.as_secs_f32())))
    }

    /// The connection is not to be used any more.
    fn break_off(&self, why: &str) -> Trouble {
        self.shared.over(why);
        self.ssh.kill();
        self.broken()
    }

    fn broken(&self) -> Trouble {
        let why = match &*self.shared.waiting() {
            Waiting::Over(why) => why.clone(),
            // Only the greeting's channel can close before the reader says why.
            Waiting::Open(_) => "the connection ended".to_owned(),
        };
        Trouble::Broken(why)
    }

    /// What ssh said last, after the connection broke.
    pub(crate) fn last_words(&self) -> String {
        ssh::last_lines(&self.ssh.said(LAST_WORDS))
    }

    /// Every byte, however little the pipe takes at a time.
    fn write(&self, head: &[u8], bytes: &[&[u8]]) -> Result<(), Trouble> {
        let mut slices: Vec<_> =
            std::iter::once(&head).chain(bytes).filter(|part| !part.is_empty()).map(|part| IoSlice::new(part)).collect();
        let mut rest = &mut slices[..];
        let mut stdin = self.stdin.lock().unpoisoned();
        let Some(stdin) = stdin.as_mut() else { return Err(self.broken()) };
        // Silence until now is not the server's fault: nothing was asked, or the bytes of other requests came first.
        self.shared.touch();
        while !rest.is_empty() {
            match rustix::io::writev(&*stdin, rest) {
                Ok(written) => {
                    self.shared.touch();
                    IoSlice::advance_slices(&mut rest, written);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    let look = self.look();
                    let look = Timespec { tv_sec: look.as_secs() as i64, tv_nsec: look.subsec_nanos().into() };
                    let fd = stdin.as_fd();
                    if let Ok(0) = poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::OUT)], Some(&look)) {
                        self.check_still()?;
                    }
                }
                Err(error) => return Err(self.break_off(&format!("the connection ended ({error})"))),
            }
        }
        Ok(())
    }

    /// No more requests: the server ends when it has done what it was asked, and so does ssh.
    pub(crate) fn say_goodbye(&self) {
        self.stdin.lock().unpoisoned().take();
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.is_over() {
            return; // dropping the child ends it
        }
        self.say_goodbye();
        self.ssh.end(GOODBYE);
    }
}

/// Hands each reply to who waits for it, until the connection ends; why it did.
fn read_replies(mut from: ChildStdout, shared: &Shared, greeting: &Sender<Vec<(String, String)>>) -> String {
    const MALFORMED: &str = "what came is not the SFTP protocol (does the login print something before it?)";
    let mut greeted = false;
    loop {
        let mut length = [0; 4];
        if let Err(error) = fill(&mut from, &mut length, shared) {
            return error;
        }
        let length = u32::from_be_bytes(length) as usize;
        if !(5..=MAX_REPLY).contains(&length) {
            return MALFORMED.to_owned();
        }
        let mut packet = vec![0; length];
        if let Err(error) = fill(&mut from, &mut packet, shared) {
            return error;
        }
        if !greeted {
            let Ok(names) = wire::decode_hello(&packet) else { return MALFORMED.to_owned() };
            greeted = true;
            let _ = greeting.send(names);
            continue;
        }
        let Ok((id, reply)) = wire::decode(packet) else { return MALFORMED.to_owned() };
        let to = match &mut *shared.waiting() {
            Waiting::Open(waiting) => waiting.remove(&id),
            Waiting::Over(why) => return why.clone(),
        };
        match to {
            // The thread that asked may have gone on without the answer.
            Some(to) => drop(to.send(reply)),
            None => return "the server answered what nobody asked".to_owned(),
        }
    }
}

fn fill(from: &mut impl Read, buffer: &mut [u8], shared: &Shared) -> Result<(), String> {
    let mut rest = buffer;
    while !rest.is_empty() {
        match from.read(rest) {
            Ok(0) => return Err("the connection ended".to_owned()),
            Ok(n) => {
                shared.touch();
                rest = &mut rest[n..];
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(format!("the connection ended ({error})")),
        }
    }
    Ok(())
}
