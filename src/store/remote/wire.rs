//! The bytes of HTTP on their way: counted, limited, and given up when they stand still.
//!
//! OpenDAL's own transport does none of the three; a timeout for a whole request would cut off every large object on a
//! slow line.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http::{Method, Request, Response, header};
use opendal::{Buffer, Error, ErrorKind, HttpBody, HttpTransport, Result};

use super::SetUpError;
use crate::store::options::Meter;

/// Bytes that pass at once: small beside any limit worth setting, large beside the cost of a piece.
const PIECE_BYTES: usize = 64 << 10;
/// Time for a connection with its handshake.
const CONNECT: Duration = Duration::from_secs(20);
/// Bytes of the answer to a request that failed: what is said about it stands at the beginning.
const REFUSAL_BYTES_MAX: u64 = 64 << 10;
/// Bytes of an answer that is taken whole. A page of a listing has some MiB; a folder over WebDAV is one page, with about
/// 500 bytes a row.
const ANSWER_BYTES_MAX: u64 = 64 << 20;
/// An idle connection is kept so long: servers close theirs after a minute or so, and a request on a closed one costs a
/// retry.
const IDLE: Duration = Duration::from_secs(45);

/// An HTTP client for OpenDAL.
pub(super) struct Wire {
    client: reqwest::Client,
    meter: Arc<Meter>,
    /// No byte in either direction for so long, and the request has failed.
    stall: Duration,
    /// Requests at the same time.
    turns: tokio::sync::Semaphore,
}

impl Wire {
    pub(super) fn new(
        meter: Arc<Meter>,
        stall: Duration,
        connections: usize,
        ca_file: Option<&Path>,
    ) -> std::result::Result<Self, SetUpError> {
        let mut client = reqwest::Client::builder()
            .connect_timeout(CONNECT.min(stall))
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(connections)
            .tcp_nodelay(true)
            .tcp_keepalive(Duration::from_secs(30))
            .user_agent(concat!("esker/", env!("CARGO_PKG_VERSION")))
            // A body is sent once; where a server redirects, its own address belongs into the repository's.
            .redirect(reqwest::redirect::Policy::none());
        if let Some(path) = ca_file {
            let failed = |why: String| SetUpError::Certificates { path: path.display().to_string(), why };
            let pem = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
            let certificates = reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| failed(causes(&error)))?;
            if certificates.is_empty() {
                return Err(failed("there are none in it (PEM is wanted)".to_owned()));
            }
            client = client.tls_certs_merge(certificates);
        }
        let client = client.build().map_err(|error| SetUpError::Start(causes(&error)))?;
        Ok(Self { client, meter, stall, turns: tokio::sync::Semaphore::new(connections) })
    }
}

/// When bytes moved last, as the number of moves so far.
type Pulse = Arc<AtomicU64>;

impl HttpTransport for Wire {
    async fn fetch(&self, request: Request<Buffer>) -> Result<Response<HttpBody>> {
        // Held until the head of the answer is there; bodies that are still being read are bounded by their readers'
        // threads.
        let _turn = self.turns.acquire().await.map_err(|_| Error::new(ErrorKind::Unexpected, "the store is closed"))?;
        self.meter.request();
        let (parts, body) = request.into_parts();
        let is_head = parts.method == Method::HEAD;
        let url = reqwest::Url::parse(&parts.uri.to_string())
            .map_err(|error| Error::new(ErrorKind::ConfigInvalid, "the address of a request is wrong").set_source(error))?;
        let pulse = Pulse::default();
        let asked = Asked::of(&parts);
        let mut call = self.client.request(parts.method, url).headers(parts.headers);
        if !body.is_empty() {
            call = call.body(reqwest::Body::wrap_stream(upload(body, Arc::clone(&self.meter), Arc::clone(&pulse))));
        }
        let mut answer = self.watched(call.send(), &pulse).await?.map_err(|error| failed("send a request", error))?;

        let limit = asked.limit(answer.status());
        let is_counted = !is_head && !answer.headers().contains_key(header::CONTENT_ENCODING);
        // A body that is cut off has not the length that was promised.
        let length = answer.content_length().filter(|_| is_counted && !matches!(limit, Limit::Cut(_)));
        let mut response = Response::new(());
        *response.status_mut() = answer.status();
        *response.version_mut() = answer.version();
        std::mem::swap(response.headers_mut(), answer.headers_mut());
        response.extensions_mut().insert(parts.uri);
        let body = download(answer.bytes_stream(), Arc::clone(&self.meter), self.stall, limit);
        Ok(response.map(|()| HttpBody::new(body, length)))
    }
}

impl Wire {
    /// `work`, given up when no byte moved for as long as the limit says.
    async fn watched<T>(&self, work: impl Future<Output = T>, pulse: &Pulse) -> Result<T> {
        let mut work = std::pin::pin!(work);
        let mut seen = pulse.load(Ordering::Relaxed);
        loop {
            if let Ok(done) = tokio::time::timeout(self.stall, &mut work).await {
                return Ok(done);
            }
            let now = pulse.load(Ordering::Relaxed);
            if now == seen {
                return Err(stalled(self.stall));
            }
            seen = now;
        }
    }
}

fn upload(
    body: Buffer,
    meter: Arc<Meter>,
    pulse: Pulse,
) -> impl Stream<Item = std::result::Result<Bytes, std::convert::Infallible>> {
    stream::unfold((body, Bytes::new(), meter, pulse), async |(mut body, mut rest, meter, pulse)| {
        if rest.is_empty() {
            rest = Iterator::next(&mut body)?;
        }
        let piece = rest.split_to(rest.len().min(PIECE_BYTES));
        pulse.fetch_add(1, Ordering::Relaxed);
        pause(meter.sending(piece.len() as u64)).await;
        pulse.fetch_add(1, Ordering::Relaxed);
        Some((Ok(piece), (body, rest, meter, pulse)))
    })
}

fn download(
    body: impl Stream<Item = reqwest::Result<Bytes>> + Send + Sync + 'static,
    meter: Arc<Meter>,
    stall: Duration,
    limit: Limit,
) -> impl Stream<Item = Result<Buffer>> + Send + Sync + Unpin {
    Box::pin(stream::unfold((Box::pin(body), meter, stall, limit), async |(mut body, meter, stall, mut limit)| {
        let item = match tokio::time::timeout(stall, body.next()).await {
            Err(_) => Err(stalled(stall)),
            Ok(None) => return None,
            Ok(Some(Err(error))) => Err(failed("read an answer", error)),
            Ok(Some(Ok(bytes))) => {
                pause(meter.receiving(bytes.len() as u64)).await;
                limit.take(bytes)?.map(Buffer::from)
            }
        };
        Some((item, (body, meter, stall, limit)))
    }))
}

/// What a request asks for, as far as it says how long the answer may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Asked {
    /// A range of an object, so long.
    Range(u64),
    /// An object to its end, which its reader takes piece by piece and gives up when it has enough.
    Object,
    /// Anything else, which is taken whole.
    Other,
}

/// How much of a body is taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Limit {
    /// All of it.
    None,
    /// So many bytes more; the rest is left out.
    Cut(u64),
    /// So many bytes more; beyond, the answer is wrong.
    Refuse(u64),
}

impl Asked {
    fn of(request: &http::request::Parts) -> Self {
        let range = request.headers.get(header::RANGE).and_then(|range| range.to_str().ok());
        if let Some((start, end)) = range.and_then(|range| range.strip_prefix("bytes=")?.split_once('-'))
            && let (Ok(start), Ok(end)) = (start.parse::<u64>(), end.parse::<u64>())
        {
            return Self::Range(end.saturating_sub(start).saturating_add(1));
        }
        let lists = |part: &str| ["list-type=", "comp=list", "prefix=", "delimiter="].iter().any(|list| part.starts_with(list));
        let is_listing = request.uri.query().is_some_and(|query| query.split('&').any(lists));
        if request.method == Method::GET && !is_listing { Self::Object } else { Self::Other }
    }

    fn limit(self, status: http::StatusCode) -> Limit {
        match self {
            _ if !status.is_success() => Limit::Cut(REFUSAL_BYTES_MAX),
            Self::Range(bytes) => Limit::Refuse(bytes),
            Self::Object => Limit::None,
            Self::Other => Limit::Refuse(ANSWER_BYTES_MAX),
        }
    }
}

impl Limit {
    /// Takes a piece of the body; `None`: enough came.
    fn take(&mut self, piece: Bytes) -> Option<Result<Bytes>> {
        let length = piece.len() as u64;
        match self {
            Self::None => Some(Ok(piece)),
            Self::Cut(left) => {
                let taken = length.min(*left);
                *left -= taken;
                (taken > 0).then(|| Ok(piece.slice(..taken as usize)))
            }
            Self::Refuse(left) => Some(match left.checked_sub(length) {
                Some(rest) => {
                    *left = rest;
                    Ok(piece)
                }
                None => Err(Error::new(ErrorKind::Unexpected, "the answer is longer than anything that was asked for")),
            }),
        }
    }
}

async fn pause(wait: Duration) {
    if !wait.is_zero() {
        tokio::time::sleep(wait).await;
    }
}

fn stalled(stall: Duration) -> Error {
    Error::new(ErrorKind::Unexpected, format!("nothing came for {:.1} s", stall.as_secs_f64())).set_temporary()
}

fn failed(what: &'static str, error: reqwest::Error) -> Error {
    let certificate = causes(&error).contains("certificate");
    let wrapped = Error::new(ErrorKind::Unexpected, format!("cannot {what}")).set_source(error.without_url());
    // A certificate does not get better by asking again; everything else of a connection may.
    if certificate { wrapped } else { wrapped.set_temporary() }
}

/// An error with all that caused it.
pub(super) fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut texts = vec![error.to_string()];
    let mut next = error.source();
    while let Some(cause) = next {
        texts.push(cause.to_string());
        next = cause.source();
    }
    texts.dedup();
    texts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(method: &str, uri: &str, range: Option<&str>) -> Asked {
        let request = Request::builder().method(method).uri(uri);
        let request = range.into_iter().fold(request, |request, range| request.header("Range", range));
        Asked::of(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn what_is_taken_whole_is_told_from_what_is_read_piece_by_piece() {
        let object = "http://host/bucket/packs/0f/ab";
        assert_eq!(asked("GET", object, None), Asked::Object);
        assert_eq!(asked("GET", object, Some("bytes=0-")), Asked::Object);
        assert_eq!(asked("GET", object, Some("bytes=10-19")), Asked::Range(10));
        assert_eq!(asked("GET", "http://host/storage/v1/b/bucket/o/packs%2F0f?alt=media", None), Asked::Object);
        for listing in [
            "http://host/bucket?list-type=2&prefix=packs/",
            "http://host/c?restype=container&comp=list",
            "http://host/b/o?prefix=x",
        ] {
            assert_eq!(asked("GET", listing, None), Asked::Other, "{listing}");
        }
        assert_eq!(asked("PROPFIND", "http://host/dav/", None), Asked::Other);
    }

    #[test]
    fn a_refusal_is_cut_off_and_a_long_answer_is_refused() {
        let piece = || Bytes::from(vec![0; 40 << 10]);
        let mut limit = Asked::Object.limit(http::StatusCode::INTERNAL_SERVER_ERROR);
        let taken: Vec<usize> = std::iter::from_fn(|| limit.take(piece())).map(|piece| piece.unwrap().len()).collect();
        assert_eq!(taken, [40 << 10, 24 << 10]);
        let mut limit = Asked::Range(50 << 10).limit(http::StatusCode::OK);
        assert_eq!(limit.take(piece()).map(|piece| piece.is_ok()), Some(true));
        assert_eq!(limit.take(piece()).map(|piece| piece.is_ok()), Some(false));
        assert_eq!(Asked::Object.limit(http::StatusCode::OK), Limit::None);
    }
}
