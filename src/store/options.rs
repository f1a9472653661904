//! Settings of a store beside its address: options by name, limits, and a receiver for notices of trouble.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::limit::Limit;

/// Told, in one sentence, about each request that failed and will be made again.
pub(crate) type Notice = Arc<dyn Fn(&str) + Send + Sync>;

/// Options of a store: what no address can say. The same for every kind; each kind takes the names it knows.
#[derive(Clone, Default)]
pub struct Options {
    named: BTreeMap<String, String>,
    /// At most so many bytes per second towards the store.
    pub limit_upload: Option<NonZeroU64>,
    /// At most so many bytes per second from the store.
    pub limit_download: Option<NonZeroU64>,
    /// Told about requests that are made again.
    pub notice: Option<Notice>,
}

/// An option that cannot be used. Never holds a value: it may be a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// Not `NAME=VALUE`.
    #[error("an option is written NAME=VALUE")]
    Shape,
    /// Given twice.
    #[error("the option {0} is given twice")]
    Twice(String),
    /// A name that this kind of store does not know.
    #[error("{kind} stores have no option {name}; they have: {known}")]
    Unknown {
        /// The kind of store.
        kind: String,
        /// The option.
        name: String,
        /// What there is.
        known: String,
    },
    /// A value that makes no sense.
    #[error("the option {name} is {wanted}")]
    Value {
        /// The option.
        name: String,
        /// What it must be.
        wanted: &'static str,
    },
}

impl Options {
    /// Adds one `NAME=VALUE`.
    pub fn add(&mut self, text: &str) -> Result<(), OptionsError> {
        let (name, value) = text.split_once('=').ok_or(OptionsError::Shape)?;
        let name = name.trim().to_owned();
        if name.is_empty() {
            return Err(OptionsError::Shape);
        }
        match self.named.insert(name.clone(), value.to_owned()) {
            Some(_) => Err(OptionsError::Twice(name)),
            None => Ok(()),
        }
    }

    /// Adds an option unless its name is given already: what the command line says goes before what a file says.
    pub fn add_default(&mut self, name: &str, value: &str) {
        self.named.entry(name.to_owned()).or_insert_with(|| value.to_owned());
    }

    /// Forgets every option by name, and keeps the limits: for a store of which other things are said.
    pub fn forget_names(&mut self) {
        self.named.clear();
    }

    /// The options of one kind of store; any other name is an error that says what there is.
    pub fn for_kind<'a>(&'a self, kind: &str, known: &[&str]) -> Result<Named<'a>, OptionsError> {
        match self.named.keys().find(|name| !known.contains(&name.as_str())) {
            Some(name) => {
                let known = match known {
                    [] => "none".to_owned(),
                    known => known.join(", "),
                };
                Err(OptionsError::Unknown { kind: kind.to_owned(), name: name.clone(), known })
            }
            None => Ok(Named(&self.named)),
        }
    }
}

// Values may be secrets: names only.
impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("named", &self.named.keys()).finish_non_exhaustive()
    }
}

/// Options whose names were checked.
#[derive(Clone, Copy)]
pub struct Named<'a>(&'a BTreeMap<String, String>);

impl<'a> Named<'a> {
    /// The text of an option.
    pub fn text(&self, name: &str) -> Option<&'a str> {
        self.0.get(name).map(String::as_str)
    }

    /// A path.
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.text(name).map(PathBuf::from)
    }

    /// `true` or `false`.
    pub fn yes(&self, name: &str) -> Result<Option<bool>, OptionsError> {
        match self.text(name) {
            None => Ok(None),
            Some("true" | "yes" | "1") => Ok(Some(true)),
            Some("false" | "no" | "0") => Ok(Some(false)),
            Some(_) => Err(OptionsError::Value { name: name.to_owned(), wanted: "true or false" }),
        }
    }

    /// Seconds, with a fraction where wanted.
    pub fn seconds(&self, name: &str) -> Result<Option<Duration>, OptionsError> {
        let wrong = || OptionsError::Value { name: name.to_owned(), wanted: "a number of seconds, 0 to 86400" };
        match self.text(name).map(str::parse::<f64>) {
            None => Ok(None),
            Some(Ok(seconds)) if (0.0..=86_400.0).contains(&seconds) => Ok(Some(Duration::from_secs_f64(seconds))),
            Some(_) => Err(wrong()),
        }
    }

    /// A small count.
    pub fn count(&self, name: &str, max: usize) -> Result<Option<usize>, OptionsError> {
        match self.text(name).map(str::parse) {
            None => Ok(None),
            Some(Ok(count)) if (1..=max).contains(&count) => Ok(Some(count)),
            Some(_) => Err(OptionsError::Value { name: name.to_owned(), wanted: "a whole number above 0, and not so large" }),
        }
    }
}

// -- what passed ---------------------------------------------------------------------------------

/// What passed between this process and a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Requests, those that failed included.
    pub requests: u64,
    /// Requests that were made again.
    pub retries: u64,
    /// Bytes of objects sent.
    pub sent_bytes: u64,
    /// Bytes of objects and listings received.
    pub received_bytes: u64,
}

/// Counts what passes and holds it to its limits: one for a store, shared by all its requests.
#[cfg_attr(not(any(feature = "remote", feature = "sftp")), allow(dead_code, reason = "only stores that are far away count"))]
#[derive(Debug, Default)]
pub(crate) struct Meter {
    requests: AtomicU64,
    retries: AtomicU64,
    sent_bytes: AtomicU64,
    received_bytes: AtomicU64,
    upload: Option<Limit>,
    download: Option<Limit>,
}

#[cfg_attr(not(any(feature = "remote", feature = "sftp")), expect(dead_code, reason = "only stores that are far away count"))]
impl Meter {
    /// With the limits of `options`.
    pub(crate) fn new(options: &Options) -> Self {
        Self { upload: options.limit_upload.map(Limit::new), download: options.limit_download.map(Limit::new), ..Self::default() }
    }

    /// One more request.
    pub(crate) fn request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// One request more that is made again.
    pub(crate) fn retry(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts bytes about to be sent; how long to wait first.
    #[must_use]
    pub(crate) fn sending(&self, bytes: u64) -> Duration {
        self.sent_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.upload.as_ref().map_or(Duration::ZERO, |limit| limit.wait_for(bytes))
    }

    /// Counts bytes that came; how long to wait before more is read.
    #[must_use]
    pub(crate) fn receiving(&self, bytes: u64) -> Duration {
        self.received_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.download.as_ref().map_or(Duration::ZERO, |limit| limit.wait_for(bytes))
    }

    /// What passed so far.
    pub(crate) fn traffic(&self) -> Traffic {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Traffic {
            requests: read(&self.requests),
            retries: read(&self.retries),
            sent_bytes: read(&self.sent_bytes),
            received_bytes: read(&self.received_bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_option_is_named_with_what_there_is_and_its_value_is_not_shown() {
        let mut options = Options::default();
        options.add("regin=eu-secret").unwrap();
        let error = options.for_kind("s3", &["region", "endpoint"]).err().unwrap().to_string();
        assert_eq!(error, "s3 stores have no option regin; they have: region, endpoint");
        assert!(!format!("{options:?}").contains("secret"));
        assert_eq!(options.add("regin=x"), Err(OptionsError::Twice("regin".into())));
        assert_eq!(options.add("region"), Err(OptionsError::Shape));
        assert_eq!(options.add("=x"), Err(OptionsError::Shape));
    }

    #[test]
    fn values_are_checked() {
        let mut options = Options::default();
        for text in ["a=true", "b=maybe", "c=1.5", "d=-1", "e=0", "f=7", "g=inf", "h="] {
            options.add(text).unwrap();
        }
        let named = options.for_kind("x", &["a", "b", "c", "d", "e", "f", "g", "h"]).unwrap();
        assert_eq!(named.yes("a"), Ok(Some(true)));
        assert!(named.yes("b").is_err());
        assert_eq!(named.seconds("c"), Ok(Some(Duration::from_millis(1500))));
        assert!(named.seconds("d").is_err() && named.seconds("g").is_err() && named.seconds("h").is_err());
        assert!(named.count("e", 9).is_err());
        assert_eq!(named.count("f", 9), Ok(Some(7)));
        assert_eq!(named.text("absent"), None);
    }
}
