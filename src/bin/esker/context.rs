//! What every command has at hand: the settings, the terminal, the signals, the store and what opens it.

use std::cell::OnceCell;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use esker::clock::{SystemClock, SystemRng};
use esker::crypto::Passphrase;
use esker::format::names::{self, ObjectName};
use esker::monitor::{Monitor, Stop};
use esker::repository::{self, Repository, RepositoryError};
use esker::store::location::{self, Location};
use esker::store::options::Options as StoreOptions;
use esker::store::{Store, StoreErrorKind};
use etcetera::BaseStrategy;

use crate::args::Command;
use crate::around;
use crate::error::{NoSecret, Usage};
use crate::secret::{self, Secret};
use crate::settings::{self, Settings};
use crate::signals::Signals;
use crate::terminal::progress::Progress;
use crate::terminal::{Output, words};

/// What every command has at hand.
pub struct Context {
    /// Flags, environment and config file together.
    pub settings: Settings,
    /// Standard output.
    pub out: Output,
    /// Standard error, while something takes long.
    pub progress: Arc<Progress>,
    /// Set by Ctrl-C.
    pub stop: Stop,
    /// Which signal it was.
    pub signals: Signals,
    /// The store, once something asked for it.
    store: OnceCell<Arc<dyn Store>>,
    /// The command names another store too, and `-o` may be meant for that one.
    has_other_store: bool,
    /// What hooks and monitors are told of this run.
    pub run: around::Run,
}

impl Context {
    /// The context of a run that has just begun.
    pub fn new(settings: Settings, out: Output, signals: &Signals, progress: &Arc<Progress>, command: &Command) -> Self {
        Self {
            settings,
            out,
            progress: Arc::clone(progress),
            stop: Stop::new(),
            signals: signals.clone(),
            store: OnceCell::new(),
            has_other_store: matches!(
                command,
                Command::Init(_) | Command::Copy(_) | Command::Mirror(_) | Command::Repair(_) | Command::Completions(_)
            ),
            run: around::Run::default(),
        }
    }

    /// Opens the repository with the secret that was given or is asked for now; from then on Ctrl-C stops cleanly.
    pub fn open(&mut self) -> Result<Arc<Repository>> {
        let environment = self.environment()?;
        // A place without a repository is told before a password is asked for. Where nobody is asked, opening tells it.
        let opening = &self.settings.opening;
        if opening.source.may_ask() && !holds_config(&*environment.store)? {
            return Err(RepositoryError::NoRepository(environment.store.location()).into());
        }
        if let Some(hidden) = &opening.instead_of {
            self.progress.warn(&format!("{} is used instead of {hidden}", opening.from));
        }
        let loaded = secret::load(&opening.source, &|text| self.progress.warn(text));
        let secret = match loaded.map_err(|error| placed(error, opening))? {
            Secret::Password(password) => repository::Secret::Passphrase(passphrase(&password)),
            Secret::Key(line) => repository::Secret::KeyLine(line),
        };
        self.signals.install(&self.stop)?;
        match Repository::open(environment, &secret, self.settings.slot.as_deref()) {
            Ok(repository) => Ok(Arc::new(repository)),
            // About the key that was given, not about one that was to be changed.
            Err(RepositoryError::Keyslot(why)) => Err(NoSecret::new(why).into()),
            Err(error) => Err(refused(error, &self.settings.opening)),
        }
    }

    /// The store, and where this machine keeps things of its own.
    pub fn environment(&self) -> Result<repository::Environment> {
        Ok(repository::Environment {
            store: self.store()?,
            clock: Arc::new(SystemClock::new()),
            rng: Arc::new(SystemRng),
            host: self.host(),
            caches: self.caches(),
            states: states(),
        })
    }

    /// The store of the repository; the same one however often it is asked for.
    pub fn store(&self) -> Result<Arc<dyn Store>> {
        if let Some(store) = self.store.get() {
            return Ok(Arc::clone(store));
        }
        let location = self.location()?;
        if let (Some(flag), false, Location::Path(_) | Location::Memory) =
            (self.settings.store_flag, self.has_other_store, &location)
        {
            let hint = format!("remove {flag}, or name a remote repository such as s3://BUCKET/PREFIX with -r");
            if flag == "-o" {
                self.settings.store.for_kind("local", &[]).map_err(|error| Usage::new(error).hint(&hint))?;
            }
            let error = format!("{flag} has no effect: the repository is a folder of this machine, and nothing passes a network");
            return Err(Usage::new(error).hint(&hint).into());
        }
        let store = self.open_store(&location, &self.settings.store)?;
        Ok(Arc::clone(self.store.get_or_init(|| store)))
    }

    /// A store, with what was said about it.
    pub fn open_store(&self, location: &Location, options: &StoreOptions) -> Result<Arc<dyn Store>> {
        let mut options = options.clone();
        let progress = Arc::clone(&self.progress);
        options.notice = Some(Arc::new(move |text| progress.warn_again(text)));
        if matches!(location, Location::Path(_) | Location::Memory) {
            // Said for the remote one of two; a disk has no options.
            options = StoreOptions::default();
        }
        Ok(location.open(&options).map_err(Usage::new)?)
    }

    /// `-v`: what passed between this machine and the store.
    pub fn show_traffic(&self) {
        let Some(traffic) = self.store.get().and_then(|store| store.traffic()) else { return };
        self.progress.remark(&format!(
            "store: {} requests ({} of them repeated), {} sent, {} received",
            traffic.requests,
            traffic.retries,
            words::size(traffic.sent_bytes),
            words::size(traffic.received_bytes)
        ));
    }

    /// Where the repository is.
    pub fn location(&self) -> Result<Location> {
        let Some(place) = &self.settings.repository else {
            return Err(Usage::new("no repository was named")
                .hint("give -r URL, set ESKER_REPOSITORY, or set `repository` in a config file (--config)")
                .into());
        };
        match place.to_str() {
            Some(text) => Ok(location::parse(text).map_err(Usage::new)?),
            // Only a path can be something other than text.
            None if place.as_bytes().contains(&b':') => Err(Usage::new("the repository location is not UTF-8 text").into()),
            None => Ok(Location::Path(PathBuf::from(place))),
        }
    }

    /// The host to record.
    pub fn host(&self) -> String {
        let here = || rustix::system::uname().nodename().to_string_lossy().into_owned();
        self.settings.host.clone().unwrap_or_else(here)
    }

    /// The folder of caches: as named, as systemd names it, or the user's.
    pub fn caches(&self) -> Option<PathBuf> {
        let systemd = || folder_variable("CACHE_DIRECTORY").map(|folder| folder.join("esker"));
        let users = || etcetera::choose_base_strategy().ok().map(|strategy| strategy.cache_dir().join("esker"));
        self.settings.cache_dir.clone().or_else(systemd).or_else(users)
    }

    /// The repository and the caches: a snapshot that holds the repository would grow it for ever.
    pub fn never(&self) -> Result<Vec<PathBuf>> {
        let mut never: Vec<PathBuf> = self.caches().into_iter().collect();
        if let Location::Path(path) = self.location()? {
            never.push(path);
        }
        Ok(never)
    }

    /// For loops of this program; operations of the library look at the same flag.
    pub fn check_stop(&self) -> Result<()> {
        Ok(self.stop.check()?)
    }

    /// What an operation reports to.
    pub fn monitor(&self) -> Arc<dyn Monitor> {
        Arc::clone(&self.progress) as Arc<dyn Monitor>
    }
}

/// A secret that cannot be had, said with the place that it was to come from.
fn placed(error: anyhow::Error, opening: &settings::Opening) -> anyhow::Error {
    if opening.source == secret::SecretSource::Prompt {
        return error;
    }
    match error.downcast::<Usage>() {
        Ok(usage) => usage.placed(&opening.from).into(),
        Err(error) => match error.downcast::<NoSecret>() {
            Ok(no_secret) => no_secret.placed(&opening.from).into(),
            Err(error) => error,
        },
    }
}

/// A secret that does not open: said with the place that it came from, for a stale variable looks like a wrong password.
fn refused(error: RepositoryError, opening: &settings::Opening) -> anyhow::Error {
    if !matches!(error, RepositoryError::WrongSecret { .. } | RepositoryError::ForeignKey { .. }) {
        return error.into();
    }
    let instead = opening.instead_of.as_ref().map(|hidden| format!(", instead of {hidden}")).unwrap_or_default();
    let hint = match (&error, &opening.instead_of) {
        (_, Some(_)) => "unset the variable if you do not need it",
        (RepositoryError::ForeignKey { .. }, None) => "check --repo and --key-file",
        _ => "check the password; the recovery key works too",
    };
    NoSecret::new(format!("{error} (it was {}{instead})", opening.from)).hint(hint).into()
}

/// A copy whose memory is wiped when it goes, as that of the original.
pub fn passphrase(password: &str) -> Passphrase {
    Passphrase::new(password.to_owned())
}

/// The folder of what this machine remembers of repositories; not a cache, so nothing of it is in the way of `cache clear`.
pub fn states() -> Option<PathBuf> {
    let systemd = || folder_variable("STATE_DIRECTORY").map(|folder| folder.join("esker"));
    let users = || etcetera::choose_base_strategy().ok()?.state_dir().map(|folder| folder.join("esker"));
    systemd().or_else(users)
}

fn folder_variable(name: &str) -> Option<PathBuf> {
    // systemd separates several with a colon; the first is as good as any.
    let value = std::env::var(name).ok()?;
    value.split(':').next().filter(|folder| !folder.is_empty()).map(PathBuf::from)
}

/// A config: without it there is nothing that a secret could open. Keyslots alone are what an `init` left that was cut off. The
/// repository of another program is an error that names it.
pub fn holds_config(store: &dyn Store) -> Result<bool, RepositoryError> {
    let mut found = false;
    let listed = store.list(names::CONFIG, &mut |entry| found |= ObjectName::parse(&entry.name).is_some());
    if found && listed.is_ok() {
        return Ok(true);
    }
    if let Some(program) = repository::program_at(store)? {
        return Err(RepositoryError::OtherProgram { place: store.location(), program });
    }
    match listed {
        Ok(()) => Ok(false),
        // A store that says more than that nothing is there is heard out.
        Err(error) if error.kind == (StoreErrorKind::NoStore { says_what_to_do: false }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
