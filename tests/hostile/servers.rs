//! Servers that answer without end: what a client takes of that is bounded, and every call ends with an error.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use esker::parallel;
use esker::store::options::Options;
use esker::store::{Entry, Name, Store, StoreError, location};

const SOON: Duration = Duration::from_secs(100);
const MIB: u64 = 1 << 20;

/// What a server sends for a path: the status, the beginning of the body, and how often it then repeats a piece.
struct Reply {
    status: &'static str,
    start: String,
    piece: String,
    times: u64,
}

/// A web server on a thread of its own.
struct Server {
    address: String,
    sent: Arc<AtomicU64>,
    asked: Arc<AtomicU64>,
}

impl Server {
    #[expect(clippy::disallowed_methods, reason = "the threads of a test's server")]
    fn start(reply: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (sent, asked, reply) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default(), Arc::new(reply));
        let server = Self { address, sent: Arc::clone(&sent), asked: Arc::clone(&asked) };
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (sent, asked, reply) = (Arc::clone(&sent), Arc::clone(&asked), Arc::clone(&reply));
                std::thread::spawn(move || drop(answer(&stream, &*reply, &sent, &asked)));
            }
        });
        server
    }

    fn store(&self) -> Arc<dyn Store> {
        let mut options = Options::default();
        for option in ["retry=0", "retry-pause=0.01", "timeout=20"] {
            options.add(option).unwrap();
        }
        location::parse(&format!("webdav://{}/", self.address)).unwrap().open(&options).unwrap()
    }
}

/// Answers one request; ends when the client has had enough.
fn answer(stream: &TcpStream, reply: &dyn Fn(&str) -> Reply, sent: &AtomicU64, asked: &AtomicU64) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().unwrap_or(Ok(String::new()))?;
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    asked.fetch_add(1, Ordering::Relaxed);
    let Reply { status, start, piece, times } = reply(first.split(' ').nth(1).unwrap_or_default());
    let length = start.len() as u64 + piece.len() as u64 * times;
    let mut stream = stream;
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{start}")?;
    for _ in 0..times {
        stream.write_all(piece.as_bytes())?;
        sent.fetch_add(piece.len() as u64, Ordering::Relaxed);
    }
    Ok(())
}

/// What `work` makes of a store; it must end soon.
fn soon<T: Send + 'static>(store: Arc<dyn Store>, work: impl FnOnce(&dyn Store) -> T + Send + 'static) -> T {
    parallel::within(SOON, move || work(&*store)).unwrap_or_else(|| panic!("no end after {SOON:?}"))
}

fn listed(store: &dyn Store) -> Result<u64, StoreError> {
    let mut count = 0;
    store.list("packs", &mut |_: Entry| count += 1).map(|()| count)
}

fn row(path: &str) -> String {
    format!(
        "<D:response><D:href>{path}</D:href><D:propstat><D:prop><D:resourcetype><D:collection/></D:resourcetype>\
         <D:getlastmodified>Sun, 06 Nov 1994 08:49:37 GMT</D:getlastmodified></D:prop><D:status>HTTP/1.1 200 OK</D:status>\
         </D:propstat></D:response>"
    )
}

#[test]
fn of_a_long_body_behind_a_refusal_little_is_taken() {
    let piece = "x".repeat(1 << 20);
    let server = Server::start(move |_| Reply {
        status: "500 Internal Server Error",
        start: String::new(),
        piece: piece.clone(),
        times: 600,
    });
    let failed = soon(server.store(), |store| store.get(&Name::new("packs/0f/ab").unwrap(), 1_000)).unwrap_err();
    assert!(failed.to_string().contains("500"), "{failed}");
    let (sent, asked) = (server.sent.load(Ordering::Relaxed), server.asked.load(Ordering::Relaxed));
    // What stands in the buffers of the system counts as sent.
    assert!(sent <= asked * 32 * MIB, "{sent} bytes in {asked} answers");
}

#[test]
fn a_listing_that_is_too_long_is_an_error_and_not_held() {
    let piece = row("/packs/0f/").repeat(4_000);
    let server = Server::start(move |_| Reply {
        status: "207 Multi-Status",
        start: "<D:multistatus xmlns:D=\"DAV:\">".to_owned(),
        piece: piece.clone(),
        times: 1_000,
    });
    let failed = soon(server.store(), listed).unwrap_err();
    assert!(failed.to_string().contains("longer"), "{failed}");
    let (sent, asked) = (server.sent.load(Ordering::Relaxed), server.asked.load(Ordering::Relaxed));
    assert!(sent <= asked * 100 * MIB, "{sent} bytes in {asked} answers");
}

#[test]
fn a_range_that_is_answered_with_more_than_it_asks_for_is_not_held() {
    let piece = "x".repeat(1 << 20);
    let server =
        Server::start(move |_| Reply { status: "206 Partial Content", start: String::new(), piece: piece.clone(), times: 600 });
    soon(server.store(), |store| store.get_range(&Name::new("packs/0f/ab").unwrap(), 10, 1_000)).unwrap_err();
    let (sent, asked) = (server.sent.load(Ordering::Relaxed), server.asked.load(Ordering::Relaxed));
    assert!(sent <= asked * 32 * MIB, "{sent} bytes in {asked} answers");
}

#[test]
fn folders_in_folders_without_end_are_not_gone_into() {
    let server = Server::start(|path| Reply {
        status: "207 Multi-Status",
        start: format!("<D:multistatus xmlns:D=\"DAV:\">{}{}</D:multistatus>", row(path), row(&format!("{path}again/"))),
        piece: String::new(),
        times: 0,
    });
    assert_eq!(soon(server.store(), listed).unwrap(), 0);
    assert!(server.asked.load(Ordering::Relaxed) <= 16);
}

#[test]
fn folders_that_list_each_other_are_not_gone_into() {
    let server = Server::start(|_| Reply {
        status: "207 Multi-Status",
        start: format!("<D:multistatus xmlns:D=\"DAV:\">{}{}{}</D:multistatus>", row("/packs/"), row("/index/"), row("/")),
        piece: String::new(),
        times: 0,
    });
    assert_eq!(soon(server.store(), listed).unwrap(), 0);
    assert!(server.asked.load(Ordering::Relaxed) <= 2);
}
