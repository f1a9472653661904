//! An S3 or WebDAV server in this process that goes wrong by plan: it numbers its requests and refuses, resets, stalls, truncates, answers with
//! errors, loses replies, does things twice or late when told to. It counts requests and bytes by verb, and can be as far away and as
//! narrow as a test wants.
//!
//! A small subset of S3, by path: PUT (with `If-None-Match: *`), GET (with `Range`), HEAD, DELETE, ListObjectsV2 in pages. Everything is
//! in memory; nobody's signature is looked at. Or a folder of WebDAV: PUT, GET, DELETE, MKCOL, MOVE (with `Overwrite`), PROPFIND.

mod connection;
mod dav;
mod link;
mod objects;
mod plan;

use std::collections::BTreeMap;
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

pub use link::Link;
pub use objects::Objects;
#[allow(unused_imports, reason = "each test uses its part")]
pub use plan::{Counts, Fault, Seen, Tally, Verb};

use objects::Bucket;

type Plan = dyn Fn(&Seen) -> Option<Fault> + Send + Sync;

/// What is spoken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dialect {
    S3,
    WebDav,
}

/// What the acceptor and every connection share.
struct Shared {
    dialect: Dialect,
    bucket: Mutex<Bucket>,
    plan: Mutex<Arc<Plan>>,
    counts: Mutex<Counts>,
    link: Mutex<Arc<Link>>,
    /// Requests so far.
    number: AtomicU64,
    /// Faults so far, ever.
    struck: AtomicU64,
    /// While this is in the future nobody listens.
    gone_until: Mutex<Option<Instant>>,
    /// Every open connection, to cut them all.
    open: Mutex<BTreeMap<u64, TcpStream>>,
    ended: AtomicBool,
    /// How many seconds its clock is ahead; without one its answers have no date.
    clock_ahead: Mutex<Option<i64>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Shared {
    fn is_gone(&self) -> bool {
        self.ended.load(Ordering::SeqCst) || lock(&self.gone_until).is_some_and(|until| until > Instant::now())
    }

    fn cut_all(&self) {
        for stream in std::mem::take(&mut *lock(&self.open)).into_values() {
            reset(&stream);
        }
    }
}

/// The connection ends by a reset, for both directions, at once.
fn reset(stream: &TcpStream) {
    let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
    let _ = stream.shutdown(std::net::Shutdown::Both);
}

/// The server. Ends when dropped.
pub struct FaultyServer {
    shared: Arc<Shared>,
    port: u16,
}

impl FaultyServer {
    /// With an empty bucket [`super::s3::BUCKET`], no faults, no distance.
    pub fn start() -> Self {
        Self::start_speaking(Dialect::S3)
    }

    pub fn start_speaking(dialect: Dialect) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            dialect,
            bucket: Mutex::new(Bucket::new()),
            plan: Mutex::new(Arc::new(|_| None)),
            counts: Mutex::new(Counts::default()),
            link: Mutex::new(Arc::new(Link::default())),
            number: AtomicU64::new(0),
            struck: AtomicU64::new(0),
            gone_until: Mutex::new(None),
            open: Mutex::new(BTreeMap::new()),
            ended: AtomicBool::new(false),
            clock_ahead: Mutex::new(None),
        });
        let theirs = shared.clone();
        connection::spawn(move || accept(&theirs, listener));
        Self { shared, port }
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address())
    }

    /// From now on this decides what happens to each request. Numbers and counts begin again: the next request is number 1.
    pub fn plan(&self, plan: impl Fn(&Seen) -> Option<Fault> + Send + Sync + 'static) {
        *lock(&self.shared.plan) = Arc::new(plan);
        *lock(&self.shared.gone_until) = None;
        self.restart_counts();
    }

    /// No faults from now on.
    pub fn heal(&self) {
        self.plan(|_| None);
    }

    /// Numbers and counts begin again.
    pub fn restart_counts(&self) {
        self.shared.number.store(0, Ordering::SeqCst);
        let mut counts = lock(&self.shared.counts);
        *counts = Counts { under_way: counts.under_way, ..Counts::default() };
    }

    /// What was asked since the plan was made or the counts began again.
    pub fn counts(&self) -> Counts {
        lock(&self.shared.counts).clone()
    }

    /// Faults that happened since it began.
    pub fn struck(&self) -> u64 {
        self.shared.struck.load(Ordering::SeqCst)
    }

    /// How far away and how narrow it is.
    pub fn set_link(&self, link: Link) {
        *lock(&self.shared.link) = Arc::new(link);
    }

    /// Everything in the bucket.
    pub fn objects(&self) -> Objects {
        lock(&self.shared.bucket).objects()
    }

    /// The bucket holds this and nothing else. What a run that was cut off still sends is lost with its connections.
    pub fn set_objects(&self, objects: &Objects) {
        self.shared.cut_all();
        lock(&self.shared.bucket).set_objects(objects);
    }

    /// At most so many names in a page of a listing.
    pub fn set_page(&self, names: usize) {
        lock(&self.shared.bucket).page = names;
    }

    /// New objects are shown only from the listing after so many on.
    pub fn list_late(&self, listings: u32) {
        lock(&self.shared.bucket).late = listings;
    }

    /// From now on its answers are dated, by a clock that is so many seconds ahead of this machine's.
    pub fn set_clock(&self, ahead_seconds: i64) {
        *lock(&self.shared.clock_ahead) = Some(ahead_seconds);
    }

    /// `If-None-Match` is not looked at, as some servers do.
    pub fn ignore_conditions(&self, ignore: bool) {
        lock(&self.shared.bucket).ignores_conditions = ignore;
    }
}

impl Drop for FaultyServer {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        self.shared.cut_all();
    }
}

/// Takes connections; closes the port while the server is gone, and opens the same one again.
fn accept(shared: &Arc<Shared>, listener: TcpListener) {
    let address = listener.local_addr().unwrap();
    let mut listener = Some(listener);
    let mut number = 0;
    while !shared.ended.load(Ordering::SeqCst) {
        let Some(listening) = listener.as_ref().filter(|_| !shared.is_gone()) else {
            listener = None;
            std::thread::sleep(Duration::from_millis(2));
            if !shared.is_gone() {
                // Somebody's outgoing connection may have the port for a moment.
                listener = TcpListener::bind(address).ok();
            }
            continue;
        };
        let mut wanted = [rustix::event::PollFd::new(listening, rustix::event::PollFlags::IN)];
        let patience = rustix::event::Timespec { tv_sec: 0, tv_nsec: 3_000_000 };
        if !rustix::event::poll(&mut wanted, Some(&patience)).is_ok_and(|ready| ready > 0) {
            continue;
        }
        let Ok((stream, _)) = listening.accept() else { continue };
        number += 1;
        lock(&shared.open).insert(number, stream.try_clone().unwrap());
        let theirs = shared.clone();
        connection::spawn(move || {
            // However it ends: the client sees it by the connection.
            let _ = connection::serve(&theirs, &stream);
            lock(&theirs.open).remove(&number);
        });
    }
}
