//! One connection: requests in, what the plan says, answers out.

use std::collections::BTreeMap;
use std::io::{BufReader, Read, Result, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::super::http::{Headers, read_head};
use super::super::s3::BUCKET;
use super::link::{Link, PIECE};
use super::objects::Reply;
use super::plan::{Fault, Seen, Verb};
use super::{Dialect, Shared, dav, lock, reset};

/// A body above this is none of ours.
const BODY_MAX: usize = 64 << 20;

/// A thread of its own, whose end nobody waits for: it may be stalling.
#[expect(clippy::disallowed_methods, reason = "the threads of a test's server")]
pub fn spawn(work: impl FnOnce() + Send + 'static) {
    std::thread::spawn(work);
}

struct Request {
    seen: Seen,
    method: String,
    /// The bucket of the path; absent ones are not served.
    bucket: String,
    query: BTreeMap<String, String>,
    headers: Headers,
}

impl Request {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// How a request ended.
enum End {
    /// Answered: the connection takes the next.
    Next,
    /// Nothing more comes.
    Close,
    /// Reset.
    Reset,
}

/// Serves until the client ends or a fault does.
pub fn serve(shared: &Shared, stream: &TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    while let Some((first, headers)) = read_head(&mut reader)? {
        let Some(request) = parse(shared, &first, headers) else { break };
        let plan = lock(&shared.plan).clone();
        let fault = plan(&request.seen);
        note(shared, &request.seen, fault);
        let end = one(shared, stream, &mut reader, &request, fault);
        lock(&shared.counts).under_way -= 1;
        match end? {
            End::Next => {}
            End::Close => break,
            End::Reset => {
                reset(stream);
                return Ok(());
            }
        }
    }
    stream.shutdown(std::net::Shutdown::Both)
}

fn note(shared: &Shared, seen: &Seen, fault: Option<Fault>) {
    shared.struck.fetch_add(u64::from(fault.is_some()), Ordering::SeqCst);
    let mut counts = lock(&shared.counts);
    counts.by_verb.entry(seen.verb).or_default().requests += 1;
    let fault = fault.map_or_else(String::new, |fault| format!(" -> {fault:?}"));
    counts.log.push(format!("{} {:?} {}{fault}", seen.number, seen.verb, seen.key));
    counts.under_way += 1;
    counts.most_under_way = counts.most_under_way.max(counts.under_way);
}

fn parse(shared: &Shared, first: &str, headers: Headers) -> Option<Request> {
    let mut words = first.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let query: BTreeMap<_, _> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decoded(name), decoded(value)))
        .collect();
    let path = decoded(path.strip_prefix('/')?);
    let (bucket, key) = match shared.dialect {
        Dialect::S3 => path.split_once('/').unwrap_or((&path, "")),
        Dialect::WebDav => ("", path.trim_end_matches('/')),
    };
    let is_deep = headers.iter().any(|(name, value)| name == "depth" && value == "1");
    let verb = match (method.as_str(), shared.dialect) {
        ("PUT", _) => Verb::Put,
        ("DELETE", _) => Verb::Delete,
        ("GET", Dialect::S3) if key.is_empty() => Verb::List,
        ("GET", _) => Verb::Get,
        ("HEAD", Dialect::S3) => Verb::Head,
        ("PROPFIND", Dialect::WebDav) => {
            if is_deep {
                Verb::List
            } else {
                Verb::Head
            }
        }
        ("MKCOL", Dialect::WebDav) => Verb::MakeFolder,
        ("MOVE", Dialect::WebDav) => Verb::Move,
        _ => return None,
    };
    let length = headers.iter().find(|(name, _)| name == "content-length").map_or(Ok(0), |(_, value)| value.parse()).ok()?;
    let is_query = verb == Verb::List && shared.dialect == Dialect::S3;
    let key = if is_query { query.get("prefix").cloned().unwrap_or_default() } else { key.to_owned() };
    let if_none_match = headers.iter().any(|(name, value)| name == "if-none-match" && value == "*");
    let number = shared.number.fetch_add(1, Ordering::SeqCst) + 1;
    (length <= BODY_MAX).then(|| Request {
        seen: Seen { number, verb, key, length, if_none_match },
        method,
        bucket: bucket.to_owned(),
        query,
        headers,
    })
}

/// `%41` and `+` as what they stand for.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let hex = || std::str::from_utf8(after.get(..2)?).ok().and_then(|hex| u8::from_str_radix(hex, 16).ok());
        let (meant, left) = match byte {
            b'%' => hex().map_or((byte, after), |meant| (meant, &after[2..])),
            b'+' => (b' ', after),
            _ => (byte, after),
        };
        bytes.push(meant);
        rest = left;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn one(shared: &Shared, stream: &TcpStream, reader: &mut impl Read, request: &Request, fault: Option<Fault>) -> Result<End> {
    let link = lock(&shared.link).clone();
    let half_of_body = matches!(fault, Some(Fault::ResetHalfway)) && request.seen.length > 0;
    match fault {
        Some(Fault::Gone(time)) => {
            *lock(&shared.gone_until) = Some(Instant::now() + time);
            shared.cut_all();
            return Ok(End::Reset);
        }
        Some(Fault::Reset) => return Ok(End::Reset),
        _ => {}
    }
    let length = if half_of_body { request.seen.length / 2 } else { request.seen.length };
    let body = read_body(reader, length, &link)?;
    lock(&shared.counts).by_verb.entry(request.seen.verb).or_default().received += body.len() as u64;
    let body = Arc::new(body);
    if half_of_body {
        // A web server writes what it gets where it is to be.
        if shared.dialect == Dialect::WebDav && request.seen.verb == Verb::Put {
            perform(shared, request, &body);
        }
        return Ok(End::Reset);
    }
    std::thread::sleep(link.latency);
    match fault {
        Some(Fault::Stall(time)) => {
            std::thread::sleep(time);
            return Ok(End::Close);
        }
        Some(Fault::Late(time)) => {
            std::thread::sleep(time);
            // After the connections were cut for another state of the bucket it does not land any more.
            if is_open(stream) {
                perform(shared, request, &body);
            }
            return Ok(End::Reset);
        }
        Some(Fault::LoseReply) => {
            perform(shared, request, &body);
            return Ok(End::Reset);
        }
        Some(Fault::Status(status, code)) => {
            return answer(shared, stream, request, Reply::error(status, code), &link, None);
        }
        Some(Fault::Twice) => drop(perform(shared, request, &body)),
        _ => {}
    }
    let reply = perform(shared, request, &body);
    answer(shared, stream, request, reply, &link, fault)
}

/// Not shut down from this side.
fn is_open(stream: &TcpStream) -> bool {
    stream.peer_addr().is_ok()
}

fn read_body(reader: &mut impl Read, length: usize, link: &Link) -> Result<Vec<u8>> {
    let mut body = vec![0; length];
    for piece in body.chunks_mut(PIECE) {
        reader.read_exact(piece)?;
        link.up(piece.len());
    }
    Ok(body)
}

fn perform(shared: &Shared, request: &Request, body: &Arc<Vec<u8>>) -> Reply {
    let mut bucket = lock(&shared.bucket);
    let key = &request.seen.key;
    if shared.dialect == Dialect::WebDav {
        // `http://HOST/PATH`, as RFC 4918 wants it.
        let destination = request.header("destination").and_then(|url| url.split_once("://")?.1.split_once('/'));
        let asked = dav::Asked {
            verb: request.seen.verb,
            key,
            range: request.header("range"),
            destination: destination.map(|(_, path)| decoded(path).trim_end_matches('/').to_owned()),
            overwrite: request.header("overwrite") != Some("F"),
        };
        return bucket.dav(&asked, body);
    }
    if request.bucket != BUCKET {
        return Reply::error(404, "NoSuchBucket");
    }
    match request.seen.verb {
        Verb::List => bucket.list(&request.query),
        Verb::Put => bucket.put(key, body, request.header("if-none-match") == Some("*")),
        Verb::Get => bucket.get(key, request.header("range")),
        Verb::Head if key.is_empty() => Reply { status: 200, headers: Vec::new(), body: Vec::new() },
        Verb::Head => bucket.head(key),
        Verb::Delete => bucket.delete(key),
        Verb::Move | Verb::MakeFolder => Reply::error(405, "MethodNotAllowed"),
    }
}

fn answer(
    shared: &Shared,
    mut stream: &TcpStream,
    request: &Request,
    mut reply: Reply,
    link: &Link,
    fault: Option<Fault>,
) -> Result<End> {
    let is_head = request.method == "HEAD";
    match fault {
        Some(Fault::Short) => reply.body.truncate(reply.body.len() / 2),
        Some(Fault::Empty) => reply.body.clear(),
        _ => {}
    }
    let length = if is_head && reply.status == 200 { lock(&shared.bucket).length(&request.seen.key) } else { reply.body.len() };
    let mut head = format!("HTTP/1.1 {} As Planned\r\nServer: faulty\r\nContent-Length: {length}\r\n", reply.status);
    if let Some(ahead) = *lock(&shared.clock_ahead) {
        let now = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(ahead);
        head += &now.strftime("Date: %a, %d %b %Y %H:%M:%S GMT\r\n").to_string();
    }
    for (name, value) in &reply.headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += "\r\n";
    let body = if is_head { &[] } else { reply.body.as_slice() };
    // Half of the head when there is no body to halve.
    let (head, body, then) = match fault {
        Some(Fault::ResetHalfway | Fault::StallHalfway(_) | Fault::Truncate) if body.is_empty() => {
            (&head[..head.len() / 2], body, fault)
        }
        Some(Fault::ResetHalfway | Fault::StallHalfway(_) | Fault::Truncate) => (head.as_str(), &body[..body.len() / 2], fault),
        _ => (head.as_str(), body, None),
    };
    stream.write_all(head.as_bytes())?;
    for piece in body.chunks(PIECE) {
        link.down(piece.len());
        stream.write_all(piece)?;
        lock(&shared.counts).by_verb.entry(request.seen.verb).or_default().sent += piece.len() as u64;
    }
    Ok(match then {
        Some(Fault::StallHalfway(time)) => {
            std::thread::sleep(time);
            End::Close
        }
        Some(Fault::ResetHalfway) => {
            // So that what was sent is read before the reset throws it away.
            std::thread::sleep(Duration::from_millis(5));
            End::Reset
        }
        Some(_) => End::Close,
        None => End::Next,
    })
}
