//! Remote stores that speak HTTP: S3 and compatible services, WebDAV, Azure, Google, Backblaze.
//!
//! OpenDAL speaks the protocols, and this room decides what to ask. An object is one PUT, never several parts. A create
//! fails where the name is taken. Reads are bounded before they begin. A failure is either repeated or told apart by
//! its kind. A runtime of its own moves the bytes, so callers stay ordinary threads. The room uses the types of the
//! store and the clock (for jitter), knows no keys and no formats, and never shows a credential.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use opendal::options::{ListOptions, ReadOptions, WriteOptions};
use opendal::{Buffer, EntryMode, ErrorKind, Operator};
use tokio::runtime::Runtime;

use super::options::{Meter, Named, Notice, Options, OptionsError, Traffic};
use super::{Entry, Name, ReadUnit, Store, StoreError, StoreErrorKind, beyond, in_folder, too_large};

mod answer;
#[cfg(feature = "azblob")]
pub(super) mod azblob;
#[cfg(feature = "b2")]
pub(super) mod b2;
mod date;
#[cfg(feature = "gcs")]
pub(super) mod gcs;
mod listing;
mod retry;
#[cfg(feature = "s3")]
pub(super) mod s3;
#[cfg(feature = "webdav")]
pub(super) mod webdav;
mod wire;

use answer::Trouble;
use date::{Dated, Dates};
use retry::Retries;

/// Options that every kind of this room knows.
pub(super) const COMMON: [&str; 5] = ["timeout", "retry", "retry-pause", "connections", "ca-file"];

/// A store could not be set up, because something in its settings is wrong.
#[derive(Debug, thiserror::Error)]
pub enum SetUpError {
    /// An option.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// A file with certificates that cannot be used.
    #[error("cannot use the certificates in {path}: {why}")]
    Certificates {
        /// The file.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// An address that cannot be used.
    #[error("{0}")]
    Address(String),
    /// Credentials that are missing, or must not be sent this way.
    #[error("{0}")]
    Credentials(String),
    /// The runtime or the HTTP client did not start.
    #[error("cannot start the network: {0}")]
    Start(String),
}

/// The address of a service as it was given, without a `/` at its end.
#[cfg(any(feature = "s3", feature = "azblob", feature = "gcs"))]
fn plain_endpoint(endpoint: &str) -> Result<&str, SetUpError> {
    match endpoint.contains('@') {
        true => {
            Err(SetUpError::Credentials("an endpoint holds no user and no password; see `esker help` on credentials".to_owned()))
        }
        false => Ok(endpoint.trim_end_matches('/')),
    }
}

/// How an object gets its name without taking anybody's place.
enum Publish {
    /// PUT with the condition that the name is free.
    Conditional,
    /// The service has no condition: asked first, then put. Two at once may both succeed; the probe finds that out.
    #[cfg(feature = "b2")]
    Asked,
    /// PUT under a temporary name, then a move that refuses to replace.
    #[cfg(feature = "webdav")]
    Moved(webdav::Mover),
}

/// One store behind a network.
pub(super) struct Remote {
    runtime: Runtime,
    operator: Operator,
    publish: Publish,
    /// Its address, without secrets.
    place: String,
    /// What is missing when there is no such place, and what to do, where more can be said than that.
    absent: Option<String>,
    /// Where the requests go, when its address does not tell it: ` at ENDPOINT`, or empty.
    at: String,
    meter: Arc<Meter>,
    retries: Retries,
    notice: Option<Notice>,
    dates: Dates,
}

/// What every kind needs before its operator.
struct Ground {
    runtime: Runtime,
    transport: opendal::HttpTransporter,
    meter: Arc<Meter>,
    retries: Retries,
    notice: Option<Notice>,
    dates: Dates,
}

impl Ground {
    fn new(options: &Options, named: Named<'_>) -> Result<Self, SetUpError> {
        let meter = Arc::new(Meter::new(options));
        let stall = named.seconds("timeout")?.unwrap_or(Duration::from_secs(60)).max(Duration::from_millis(50));
        let connections = named.count("connections", 256)?.unwrap_or(16);
        let wire = wire::Wire::new(Arc::clone(&meter), stall, connections, named.path("ca-file").as_deref())?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("network")
            .enable_io()
            .enable_time()
            .build()
            .map_err(|error| SetUpError::Start(error.to_string()))?;
        let dates = Dates::default();
        let lasting = named.seconds("retry")?.unwrap_or(Duration::from_secs(300));
        Ok(Self {
            runtime,
            transport: opendal::HttpTransporter::new(Dated::new(wire, dates.clone())),
            meter,
            retries: Retries::new(lasting, named.seconds("retry-pause")?),
            notice: options.notice.clone(),
            dates,
        })
    }

    fn build(self, operator: Operator, publish: Publish, place: String, absent: Option<String>) -> Remote {
        let context = opendal::OperationContext::new().with_http_transport(self.transport);
        let Self { runtime, meter, retries, notice, dates, .. } = self;
        let (operator, at) = (operator.with_context(context), String::new());
        Remote { runtime, operator, publish, place, absent, at, meter, retries, notice, dates }
    }
}

impl Remote {
    /// Makes a request, and repeats it while that may help. The request learns whether an earlier one may have been
    /// carried out.
    fn ask<T>(&self, verb: &str, about: &str, mut request: impl AsyncFnMut(bool) -> Result<T, Trouble>) -> Result<T, StoreError> {
        let mut series = self.retries.begin();
        loop {
            match self.runtime.block_on(request(series.is_again())) {
                Ok(answer) => {
                    self.retries.succeeded();
                    return Ok(answer);
                }
                Err(Trouble::Final(error)) => return Err(self.while_asking(verb, about, error)),
                Err(Trouble::Passing(why)) => match series.pause() {
                    None => return Err(StoreError::failed(format!("cannot {verb} {about}{}: {}: {why}", self.at, self.place))),
                    Some(pause) => {
                        self.meter.retry();
                        if let Some(notice) = &self.notice {
                            notice(&format!(
                                "{}: {verb} {about}{}: {why}; again in {:.1} s",
                                self.place,
                                self.at,
                                pause.as_secs_f64()
                            ));
                        }
                        std::thread::sleep(pause);
                    }
                },
            }
        }
    }

    /// Adds what was asked and where to an error of the service. An error that names its object says enough.
    fn while_asking(&self, verb: &str, about: &str, error: StoreError) -> StoreError {
        let told = |text: String| format!("cannot {verb} {about}{}: {text}", self.at);
        match error.kind {
            StoreErrorKind::Denied | StoreErrorKind::Untrusted | StoreErrorKind::Full | StoreErrorKind::Failed => {
                error.with_detail(told)
            }
            _ => error,
        }
    }

    fn trouble(&self, name: Option<&Name>, error: &opendal::Error) -> Trouble {
        answer::trouble(&answer::About { place: &self.place, absent: self.absent.as_deref(), dates: &self.dates }, name, error)
    }

    fn no_store(&self) -> StoreError {
        answer::no_store(&self.place, self.absent.as_deref())
    }

    async fn read(&self, name: &Name, offset: u64, length: u64) -> Result<Buffer, opendal::Error> {
        let options = ReadOptions { range: (offset..offset.saturating_add(length)).into(), ..ReadOptions::default() };
        self.operator.read_options(name.as_str(), options).await
    }

    /// The whole object with one request, without knowing its size. `None` when it has more than `size_max` bytes: then
    /// reading stops after the piece that goes beyond.
    async fn read_whole(&self, name: &Name, size_max: u64) -> Result<Option<Vec<u8>>, opendal::Error> {
        let mut stream = self.operator.reader(name.as_str()).await?.into_stream(0..).await?;
        let mut whole = Vec::new();
        while let Some(piece) = stream.next().await {
            let piece = piece?;
            if (whole.len() + piece.len()) as u64 > size_max {
                return Ok(None);
            }
            Iterator::for_each(piece, |bytes| whole.extend_from_slice(&bytes));
        }
        Ok(Some(whole))
    }

    async fn size_of(&self, name: &Name) -> Result<u64, Trouble> {
        let metadata = self.operator.stat(name.as_str()).await.map_err(|error| self.trouble(Some(name), &error))?;
        Ok(metadata.content_length())
    }

    /// One attempt to give `bytes` their name where nothing has it.
    async fn publish(&self, name: &Name, bytes: &Buffer) -> Result<(), Trouble> {
        let put = |condition| WriteOptions { if_not_exists: condition, ..WriteOptions::default() };
        let written = match &self.publish {
            Publish::Conditional => self.operator.write_options(name.as_str(), bytes.clone(), put(true)).await,
            #[cfg(feature = "b2")]
            Publish::Asked => match self.size_of(name).await {
                Ok(_) => return Err(Trouble::Final(StoreError::exists(name.clone()))),
                Err(Trouble::Final(StoreError { kind: StoreErrorKind::Missing, .. })) => {
                    self.operator.write_options(name.as_str(), bytes.clone(), put(false)).await
                }
                Err(trouble) => return Err(trouble),
            },
            #[cfg(feature = "webdav")]
            Publish::Moved(mover) => return mover.publish(self, name, bytes, false).await,
        };
        written.map(drop).map_err(|error| self.trouble(Some(name), &error))
    }

    /// Gives `bytes` their name, asking again while that may help.
    fn create_of(&self, name: &Name, bytes: &Buffer) -> Result<(), StoreError> {
        self.ask("create", name.as_str(), async |again| match self.publish(name, bytes).await {
            // An earlier request may have been carried out and only its reply lost. Then the object is ours.
            Err(Trouble::Final(taken)) if again && taken.kind == StoreErrorKind::Exists => {
                let ours = match self.read_whole(name, bytes.len() as u64).await {
                    Ok(found) => found.is_some_and(|found| is_same(&found, bytes)),
                    Err(error) => match self.trouble(Some(name), &error) {
                        // Credentials that may put need not be allowed to read. The caller knows whether the name alone
                        // decides.
                        Trouble::Final(_) => false,
                        passing => return Err(passing),
                    },
                };
                if ours { Ok(()) } else { Err(Trouble::Final(taken)) }
            }
            other => other,
        })
    }
}

impl Store for Remote {
    fn location(&self) -> String {
        self.place.clone()
    }

    fn create(&self, name: &Name, parts: &[&[u8]]) -> Result<(), StoreError> {
        self.create_of(name, &Buffer::from(parts.concat()))
    }

    fn create_shared(&self, name: &Name, parts: &[Arc<Vec<u8>>]) -> Result<(), StoreError> {
        self.create_of(name, &buffer_of(parts))
    }

    fn replace(&self, name: &Name, parts: &[&[u8]]) -> Result<(), StoreError> {
        let bytes = Buffer::from(parts.concat());
        self.ask("replace", name.as_str(), async |_| match &self.publish {
            #[cfg(feature = "webdav")]
            Publish::Moved(mover) => mover.publish(self, name, &bytes, true).await,
            _ => {
                let written = self.operator.write(name.as_str(), bytes.clone()).await;
                written.map(drop).map_err(|error| self.trouble(Some(name), &error))
            }
        })
    }

    fn get(&self, name: &Name, size_max: u64) -> Result<Vec<u8>, StoreError> {
        self.ask("read", name.as_str(), async |_| match self.read_whole(name, size_max).await {
            Ok(Some(whole)) => Ok(whole),
            Ok(None) => Err(Trouble::Final(too_large(name, self.size_of(name).await?, size_max))),
            Err(error) => Err(self.trouble(Some(name), &error)),
        })
    }

    fn get_range(&self, name: &Name, offset: u64, length: usize) -> Result<Vec<u8>, StoreError> {
        self.ask("read", name.as_str(), async |_| {
            let out_of_range = async || Ok::<_, Trouble>(Trouble::Final(beyond(name, self.size_of(name).await?, offset, length)));
            if length == 0 || offset.checked_add(length as u64).is_none() {
                let size = self.size_of(name).await?;
                return if length == 0 && offset <= size { Ok(Vec::new()) } else { Err(out_of_range().await?) };
            }
            match self.read(name, offset, length as u64).await {
                Ok(bytes) if bytes.len() == length => Ok(bytes.to_vec()),
                Err(error) if answer::is_out_of_range(&error) => Err(out_of_range().await?),
                Err(error) if !answer::is_short(&error) => Err(self.trouble(Some(name), &error)),
                // Shorter because the object ends there, or because the answer was cut off.
                _ => match self.size_of(name).await? {
                    size if size < offset + length as u64 => Err(Trouble::Final(beyond(name, size, offset, length))),
                    _ => Err(Trouble::Passing(format!("less came than the {length} bytes that were asked for"))),
                },
            }
        })
    }

    fn size(&self, name: &Name) -> Result<u64, StoreError> {
        self.ask("look at", name.as_str(), async |_| self.size_of(name).await)
    }

    fn list(&self, folder: &str, each: &mut dyn FnMut(Entry)) -> Result<(), StoreError> {
        match self.operator.info().capability().list_with_recursive {
            true => listing::in_order(self, folder, each),
            false => listing::by_folders(self, folder, each),
        }
    }

    fn delete(&self, name: &Name) -> Result<(), StoreError> {
        self.ask("delete", name.as_str(), async |_| match self.operator.delete(name.as_str()).await {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(self.trouble(Some(name), &error)),
            _ => Ok(()),
        })
    }

    fn top(&self) -> Result<Vec<String>, StoreError> {
        listing::top(self)
    }

    fn create_place(&self) -> Result<(), StoreError> {
        match &self.publish {
            #[cfg(feature = "webdav")]
            Publish::Moved(mover) => self.ask("make", "the folder", async |_| mover.create_place(self).await),
            // A bucket costs money and has a region and rules, so its owner makes it, never this program.
            _ => self.ask("list", "it", async |_| {
                let options = ListOptions { limit: Some(1), ..ListOptions::default() };
                self.operator.list_options("/", options).await.map(drop).map_err(|error| self.trouble(None, &error))
            }),
        }
    }

    fn read_unit(&self) -> ReadUnit {
        ReadUnit::Window
    }

    fn known_race(&self) -> Option<&'static str> {
        match &self.publish {
            Publish::Conditional => None,
            #[cfg(feature = "b2")]
            Publish::Asked => Some("the service has no condition, so a name is asked for first and then put"),
            // Apache's mod_dav: 2 of 64 moves at once won, in one run of five.
            #[cfg(feature = "webdav")]
            Publish::Moved(_) => Some("WebDAV servers have been seen to let two moves to one name win"),
        }
    }

    fn time_there(&self, made: &Name) -> Result<Option<i64>, StoreError> {
        self.size(made)?;
        Ok(self.dates.last())
    }

    fn traffic(&self) -> Option<Traffic> {
        Some(self.meter.traffic())
    }
}

/// The entry of a listing as a store shows it; nothing for what is no object of ours.
fn entry(folder: &str, found: &opendal::Entry) -> Option<Entry> {
    if found.metadata().mode() != EntryMode::FILE {
        return None;
    }
    let name = Name::new(found.path().trim_start_matches('/')).filter(|name| in_folder(name, folder))?;
    Some(Entry { name, size: found.metadata().content_length() })
}

/// The parts end to end, as one body of a request, without a copy.
fn buffer_of(parts: &[Arc<Vec<u8>>]) -> Buffer {
    struct Part(Arc<Vec<u8>>);
    impl AsRef<[u8]> for Part {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    parts.iter().filter(|part| !part.is_empty()).map(|part| Bytes::from_owner(Part(Arc::clone(part)))).collect()
}

/// Has `bytes` just this content?
fn is_same(mut found: &[u8], bytes: &Buffer) -> bool {
    let mut pieces = bytes.clone();
    found.len() == bytes.len()
        && Iterator::all(&mut pieces, |piece| match found.split_at_checked(piece.len()) {
            Some((same, rest)) => {
                found = rest;
                same == piece
            }
            None => false,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_handed_over_is_sent_from_where_it_is() {
        let parts = [b"one".to_vec(), Vec::new(), vec![7; 100_000]].map(Arc::new);
        let buffer = buffer_of(&parts);
        assert_eq!(buffer.to_vec(), parts.iter().map(|part| part.as_slice()).collect::<Vec<_>>().concat());
        let places: Vec<_> = Iterator::map(buffer, |bytes| bytes.as_ptr()).collect();
        assert_eq!(places, [parts[0].as_ptr(), parts[2].as_ptr()]);
    }

    #[test]
    fn what_came_back_is_compared_whole() {
        let buffer = buffer_of(&[b"one".to_vec(), b"two".to_vec()].map(Arc::new));
        assert!(is_same(b"onetwo", &buffer));
        for other in ["onetw", "onetwo!", "onetwa", "enetwo", ""] {
            assert!(!is_same(other.as_bytes(), &buffer), "{other}");
        }
        assert!(is_same(b"", &Buffer::new()) && !is_same(b"x", &Buffer::new()));
    }
}
