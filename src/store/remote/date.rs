//! What a server's clock shows: the date of its last answer, whatever the answer was.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use http::{Request, Response, header};
use opendal::{Buffer, HttpBody, HttpTransport, Result};

/// No answer with a date came yet. No clock shows this value.
const NONE: i64 = i64::MIN;

/// The date of the last answer, shared by the transport and the store.
#[derive(Clone, Debug)]
pub(super) struct Dates(Arc<AtomicI64>);

impl Default for Dates {
    fn default() -> Self {
        Self(Arc::new(NONE.into()))
    }
}

impl Dates {
    /// In seconds since 1970-01-01T00:00:00Z.
    pub(super) fn last(&self) -> Option<i64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|&seconds| seconds != NONE)
    }

    fn note(&self, text: &[u8]) {
        if let Some(seconds) = read(text) {
            self.0.store(seconds, Ordering::Relaxed);
        }
    }
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`, the one form that a server may send.
fn read(text: &[u8]) -> Option<i64> {
    let zoned = jiff::fmt::rfc2822::parse(std::str::from_utf8(text).ok()?.trim()).ok()?;
    Some(zoned.timestamp().as_second())
}

/// A transport whose answers' dates are noted.
pub(super) struct Dated<T> {
    inner: T,
    dates: Dates,
}

impl<T> Dated<T> {
    pub(super) fn new(inner: T, dates: Dates) -> Self {
        Self { inner, dates }
    }
}

impl<T: HttpTransport> HttpTransport for Dated<T> {
    async fn fetch(&self, request: Request<Buffer>) -> Result<Response<HttpBody>> {
        let answer = self.inner.fetch(request).await?;
        if let Some(date) = answer.headers().get(header::DATE) {
            self.dates.note(date.as_bytes());
        }
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_answers_are_read_and_nonsense_is_passed_over() {
        let dates = Dates::default();
        assert_eq!(dates.last(), None);
        dates.note(b"Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(dates.last(), Some(784_111_777));
        for nonsense in [&b""[..], b"yesterday", b"\xff", b"Sun, 06 Nov 999999994 08:49:37 GMT"] {
            dates.note(nonsense);
            assert_eq!(dates.last(), Some(784_111_777));
        }
    }
}
