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
        let mut call = self.client.request(parts.method, url).headers(parts.headers);
        if !body.is_empty() {
            call = call.body(reqwest::Body::wrap_stream(upload(body, Arc::clone(&self.meter), Arc::clone(&pulse))));
        }
        let mut answer = self.watched(call.send(), &pulse).await?.map_err(|error| failed("send a request", error))?;

        let length = match is_head || answer.headers().contains_key(header::CONTENT_ENCODING) {
            true => None,
            false => answer.content_length(),
        };
        let mut response = Response::new(());
        *response.status_mut() = answer.status();
        *response.version_mut() = answer.version();
        std::mem::swap(response.headers_mut(), answer.headers_mut());
        response.extensions_mut().insert(parts.uri);
        let body = download(answer.bytes_stream(), Arc::clone(&self.meter), self.stall);
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
) -> impl Stream<Item = Result<Buffer>> + Send + Sync + Unpin {
    Box::pin(stream::unfold((Box::pin(body), meter, stall), async |(mut body, meter, stall)| {
        let item = match tokio::time::timeout(stall, body.next()).await {
            Err(_) => Err(stalled(stall)),
            Ok(None) => return None,
            Ok(Some(Err(error))) => Err(failed("read an answer", error)),
            Ok(Some(Ok(bytes))) => {
                pause(meter.receiving(bytes.len() as u64)).await;
                Ok(Buffer::from(bytes))
            }
        };
        Some((item, (body, meter, stall)))
    }))
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
