//! One HTTP request to a monitor: short, bounded in time, its answer read no further than its status.
//!
//! Knows nothing of repositories. A monitor's address is often a secret of its own (it needs no other), so no error holds it.

use std::time::Duration;

/// What is sent.
#[derive(Clone, Default)]
pub struct Request {
    /// `GET`, `POST`, ...
    pub method: String,
    /// `https://...`
    pub url: String,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    /// Empty: none.
    pub body: Vec<u8>,
}

impl std::fmt::Debug for Request {
    /// Without address, headers and body, which may be secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request").field("method", &self.method).finish_non_exhaustive()
    }
}

/// Why nothing arrived, or was not taken.
#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    /// This build speaks no HTTP.
    #[error("this esker was built without the feature `remote`, which speaks HTTP")]
    NotBuilt,
    /// The address, the method or a header cannot be sent.
    #[error("the request cannot be made: {0}")]
    Wrong(String),
    /// No answer.
    #[error("no answer: {0}")]
    Unreachable(String),
    /// No answer in time.
    #[error("no answer within {} s", _0.as_secs_f64())]
    TooLate(Duration),
    /// An answer that is none of success.
    #[error("it answered with status {0}")]
    Refused(u16),
}

/// Can this build send at all?
pub fn is_built() -> bool {
    cfg!(feature = "remote")
}

/// Sends it, again after a failure that may pass, and is back within `limit`.
///
/// # Errors
/// When no answer of success came.
#[cfg(feature = "remote")]
pub fn send(request: &Request, limit: Duration) -> Result<(), NotifyError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| NotifyError::Wrong(error.to_string()))?;
    let result = runtime.block_on(async {
        match tokio::time::timeout(limit, attempts(request)).await {
            Ok(result) => result,
            Err(_) => Err(NotifyError::TooLate(limit)),
        }
    });
    // A name that is being looked up cannot be stopped, and is not waited for.
    runtime.shutdown_background();
    result
}

/// Sends it, again after a failure that may pass, and is back within `limit`.
///
/// # Errors
/// Always.
#[cfg(not(feature = "remote"))]
pub fn send(_request: &Request, _limit: Duration) -> Result<(), NotifyError> {
    Err(NotifyError::NotBuilt)
}

#[cfg(feature = "remote")]
async fn attempts(request: &Request) -> Result<(), NotifyError> {
    const PAUSES_MS: [u64; 2] = [300, 1000];
    let mut pauses = PAUSES_MS.into_iter();
    loop {
        let may_pass = |error: &NotifyError| match error {
            NotifyError::Unreachable(_) => true,
            NotifyError::Refused(status) => *status >= 500 || *status == 429,
            _ => false,
        };
        match (attempt(request).await, pauses.next()) {
            (Err(error), Some(pause)) if may_pass(&error) => tokio::time::sleep(Duration::from_millis(pause)).await,
            (result, _) => return result,
        }
    }
}

#[cfg(feature = "remote")]
async fn attempt(request: &Request) -> Result<(), NotifyError> {
    let client = reqwest::Client::builder()
        .user_agent(concat!("esker/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::limited(3))
        .build()
        .map_err(|error| NotifyError::Wrong(in_words(error)))?;
    let method = reqwest::Method::from_bytes(request.method.as_bytes()).map_err(|error| NotifyError::Wrong(error.to_string()))?;
    let mut call = client.request(method, &request.url);
    for (name, value) in &request.headers {
        call = call.header(name, value);
    }
    if !request.body.is_empty() {
        call = call.body(request.body.clone());
    }
    let call = call.build().map_err(|error| NotifyError::Wrong(in_words(error)))?;
    let status = client.execute(call).await.map_err(|error| NotifyError::Unreachable(in_words(error)))?.status();
    if status.is_success() { Ok(()) } else { Err(NotifyError::Refused(status.as_u16())) }
}

/// With its causes and without the address.
#[cfg(feature = "remote")]
fn in_words(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut words = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(inner) = cause {
        words = format!("{words}: {inner}");
        cause = inner.source();
    }
    words
}
