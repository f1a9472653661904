//! A store on a server that is reached by ssh. The SFTP protocol runs over the user's own `ssh`, so `ssh_config`, the
//! agent and jump hosts keep working.
//!
//! An object is written to `tmp/<random>`, synced and linked to its name, which fails where the name is taken. Then its folder is
//! synced. So it is durable and never half there, as on a local disk. Dozens of requests are under way at once, so a long line costs
//! bandwidth and not round trips. After a broken connection the call is repeated on a new one, in a way that is safe for its verb.
//! `wire` speaks the protocol, `ssh` is the child process, `connection` is one conversation and `pool` a few of them. `objects`,
//! `folders` and `publish` carry out the verbs.
//!
//! The server could point a link in the store elsewhere. The rooms above do not take what they read there for one of
//! their objects.

mod address;
mod connection;
mod folders;
mod objects;
mod options;
mod pool;
mod publish;
mod ssh;
mod wire;

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::{Duration, Instant};

pub use address::{AddressError, SftpAddress};
use connection::{Connection, Trouble};
pub use options::SftpOptions;
use pool::Pool;
use ssh::Verdict;
use wire::Status;

use super::bounds::Bounds;
use super::options::{Meter, Options, Traffic};
use super::{Entry, Name, ReadUnit, Store, StoreError, StoreErrorKind, beyond, too_large};

/// First pause before another try; doubled each time, up to the other.
const PAUSE_FIRST: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(15);
/// How often a server that was never reached but is there (it drops logins while it has too many) is tried.
const FIRST_TRIES: u32 = 4;

/// Objects as files on a server.
pub struct SftpStore {
    address: SftpAddress,
    options: SftpOptions,
    pool: Pool,
    meter: Meter,
    /// Folders that are there and whose entry in their parent was synced for this store.
    settled: Mutex<HashSet<String>>,
    temporary_prefix: u64,
    temporary_next: AtomicU64,
    swept: AtomicBool,
    /// Cleared when the server does not open folders for syncing.
    syncs_folders: AtomicBool,
}

/// Why a call was not done on one connection.
enum Failure {
    /// The connection broke; it may have been done.
    Broken(String),
    /// It was answered.
    Answer(StoreError),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Answer(error)
    }
}

impl SftpStore {
    /// The store at `address`. It connects with the first call, which shows whether the store is there.
    pub fn open(address: SftpAddress, options: SftpOptions) -> Self {
        let mut limits = Options::default();
        (limits.limit_upload, limits.limit_download) = (options.limit_upload, options.limit_download);
        Self {
            pool: Pool::new(address.clone(), options.clone()),
            meter: Meter::new(&limits),
            address,
            options,
            settled: Mutex::default(),
            // Not for secrecy: two stores should rarely try the same name. The server's exclusive open decides.
            temporary_prefix: RandomState::new().hash_one(0),
            temporary_next: AtomicU64::new(0),
            swept: AtomicBool::new(false),
            syncs_folders: AtomicBool::new(true),
        }
    }

    /// Where a thing of the store is on the server; "" is the store itself.
    fn path(&self, below: &str) -> String {
        match (self.address.path.as_str(), below) {
            (root, "") => root.to_owned(),
            (".", below) => below.to_owned(),
            ("/", below) => format!("/{below}"),
            (root, below) => format!("{root}/{below}"),
        }
    }

    fn no_store(&self) -> StoreError {
        StoreError::no_store(self.location())
    }

    /// Does `work` on a connection, and again on another one when that breaks. `bytes` is about how many bytes it
    /// moves.
    fn run<T>(&self, bytes: usize, mut work: impl FnMut(&Connection) -> Result<T, Failure>) -> Result<T, StoreError> {
        let mut patience = Patience { tries: 0, first: None, limit: self.options.retry };
        loop {
            self.meter.request();
            let why = match self.pool.take(bytes) {
                Ok(connection) => match work(&connection) {
                    Ok(done) => return Ok(done),
                    Err(Failure::Answer(error)) => return Err(error),
                    Err(Failure::Broken(why)) => {
                        let words = connection.last_words();
                        let tail = if words.is_empty() { String::new() } else { format!(" (ssh: {words})") };
                        format!("{}: {why}{tail}", self.location())
                    }
                },
                Err(Verdict::Refused(text)) => return Err(StoreError::denied(text)),
                // A mistyped host fails at once.
                Err(Verdict::Failed(text)) if !self.pool.was_connected() => return Err(StoreError::failed(text)),
                Err(Verdict::Busy(text)) if !self.pool.was_connected() && patience.tries >= FIRST_TRIES => {
                    return Err(StoreError::failed(text));
                }
                Err(Verdict::Failed(text) | Verdict::Busy(text)) => text,
            };
            let Some(pause) = patience.pause() else { return Err(StoreError::failed(why)) };
            self.meter.retry();
            if let Some(notice) = &self.options.notice {
                notice(&format!("{why}; trying again"));
            }
            std::thread::sleep(pause);
        }
    }

    /// What a refusal means. `verb` is what was tried with `name`. A server of version 3 has no code for a full disk,
    /// only words.
    fn refused(&self, verb: &str, name: &str, status: &Status) -> StoreError {
        // At most a line, whatever the server sends.
        let message: String = status.message.chars().take(200).collect();
        let message = if message.is_empty() { "no reason given" } else { &message };
        let place = if name.is_empty() { self.location() } else { format!("{}/{name}", self.location()) };
        let text = format!("cannot {verb} {place}: {message} (status {})", status.code);
        let says = |word: &str| message.to_lowercase().contains(word);
        match status.code {
            Status::DENIED | Status::READ_ONLY => StoreError::denied(text),
            Status::NO_ROOM | Status::QUOTA => StoreError::full(text),
            _ if says("no space") || says("quota") => StoreError::full(text),
            _ => StoreError::failed(text),
        }
    }

    /// The same as a failure of a call.
    fn failed(&self, verb: &str, name: &str, trouble: Trouble) -> Failure {
        match trouble {
            Trouble::Broken(why) => Failure::Broken(why),
            Trouble::Refused(status) => Failure::Answer(self.refused(verb, name, &status)),
        }
    }
}

/// Waits longer each time, until it has been long enough.
struct Patience {
    tries: u32,
    first: Option<Instant>,
    limit: Duration,
}

impl Patience {
    /// How long to wait before another try, or `None` to give up. There is always one more try, because a connection
    /// may only have been idle for too long.
    fn pause(&mut self) -> Option<Duration> {
        let first = *self.first.get_or_insert_with(Instant::now);
        if self.tries > 0 && first.elapsed() >= self.limit {
            return None;
        }
        let pause = PAUSE_FIRST.saturating_mul(1 << self.tries.min(10)).min(PAUSE_MAX).min(self.limit);
        // Between half and all of it, so that many hosts do not come back at the same moment.
        let share = RandomState::new().hash_one(self.tries) % 1000;
        self.tries += 1;
        Some(pause / 2 + pause / 2 * share as u32 / 1000)
    }
}

impl Store for SftpStore {
    fn location(&self) -> String {
        self.address.to_string()
    }

    fn create(&self, name: &Name, parts: &[&[u8]]) -> Result<(), StoreError> {
        self.publish(name, parts, publish::Where::Free)
    }

    fn replace(&self, name: &Name, parts: &[&[u8]]) -> Result<(), StoreError> {
        self.publish(name, parts, publish::Where::Taken)
    }

    fn get(&self, name: &Name, size_max: u64) -> Result<Vec<u8>, StoreError> {
        // The size is not known before the request. Most objects are small.
        self.run(usize::try_from(size_max).unwrap_or(usize::MAX).min(1 << 20), |connection| {
            let object = self.open_object(connection, name)?;
            let length = usize::try_from(object.size).ok().filter(|_| object.size <= size_max);
            let bytes = match length {
                Some(length) => self.read(connection, &object, name, 0, length),
                None => Err(too_large(name, object.size, size_max).into()),
            };
            object.close(connection);
            bytes
        })
    }

    fn get_range(&self, name: &Name, offset: u64, length: usize) -> Result<Vec<u8>, StoreError> {
        self.run(length, |connection| {
            let object = self.open_object(connection, name)?;
            let fits = offset.checked_add(length as u64).is_some_and(|end| end <= object.size);
            let bytes = match fits {
                true => self.read(connection, &object, name, offset, length),
                false => Err(beyond(name, object.size, offset, length).into()),
            };
            object.close(connection);
            bytes
        })
    }

    fn size(&self, name: &Name) -> Result<u64, StoreError> {
        self.run(0, |connection| self.size_of(connection, name))
    }

    fn list(&self, folder: &str, each: &mut dyn FnMut(Entry)) -> Result<(), StoreError> {
        if folder.split('/').next() == Some(publish::TMP) {
            return self.run(0, |connection| self.check_root(connection));
        }
        let mut folders = vec![folder.trim_matches('/').to_owned()];
        let mut bounds = Bounds::new(&self.address);
        while !folders.is_empty() {
            let batch = folders.split_off(folders.len().saturating_sub(objects::FOLDERS_AT_ONCE));
            // Entries are passed on when all of the batch have come: a broken connection must not show any of them
            // twice.
            for listed in self.run(0, |connection| self.list_folders(connection, &batch))? {
                bounds.answer(listed.entries.len())?;
                listed.folders.iter().try_for_each(|_| bounds.folder())?;
                folders.extend(listed.folders);
                listed.entries.into_iter().for_each(&mut *each);
            }
        }
        Ok(())
    }

    fn delete(&self, name: &Name) -> Result<(), StoreError> {
        self.run(0, |connection| self.remove(connection, name))
    }

    fn top(&self) -> Result<Vec<String>, StoreError> {
        match self.run(0, |connection| self.list_top(connection)) {
            Err(StoreError { kind: StoreErrorKind::NoStore { .. }, .. }) => Ok(Vec::new()),
            listed => listed,
        }
    }

    fn create_place(&self) -> Result<(), StoreError> {
        self.run(0, |connection| self.make_place(connection))
    }

    fn read_unit(&self) -> ReadUnit {
        ReadUnit::Window
    }

    /// The protocol does not tell the time, but a file that was just written carries the server's.
    fn time_there(&self, made: &Name) -> Result<Option<i64>, StoreError> {
        let attributes = self.run(0, |connection| self.attributes_of(connection, made))?;
        Ok(attributes.modified.map(i64::from))
    }

    fn traffic(&self) -> Option<Traffic> {
        Some(self.meter.traffic())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_end() {
        let mut patience = Patience { tries: 0, first: None, limit: Duration::from_secs(100) };
        let pauses: Vec<_> = (0..8).map_while(|_| patience.pause()).collect();
        assert!(pauses[0] >= PAUSE_FIRST / 2 && pauses[0] <= PAUSE_FIRST);
        assert!(pauses[7] >= PAUSE_MAX / 2 && pauses[7] <= PAUSE_MAX);
        let mut none = Patience { tries: 0, first: None, limit: Duration::ZERO };
        assert_eq!((none.pause(), none.pause()), (Some(Duration::ZERO), None));
    }
}
