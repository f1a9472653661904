//! One file for each command: reads its flags, calls the library, prints the result. What they share stands here.

mod around;
mod cache;
mod completions;
mod config;
mod copy;
mod diff;
mod doctor;
mod dump;
mod find;
mod forget;
mod from;
mod guard;
mod incomplete;
mod init;
mod key;
mod ls;
mod man;
mod mirror;
mod parity;
mod place;
mod prune;
mod recover;
mod repair;
mod restore;
mod snapshot;
mod snapshots;
mod stats;
mod status;
mod tag;
mod undelete;
mod unlock;
mod verify;
mod warnings;

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
use esker::store::Store;
use esker::store::location::{self, Location};
use esker::store::options::Options as StoreOptions;
use etcetera::BaseStrategy;

use crate::args::{Arguments, Command, Global};
use crate::error::{NoSecret, Report, Usage, report};
use crate::exit_code::ExitCode;
use crate::secret::{self, Secret};
use crate::settings::{self, Environment, Quiet, Settings};
use crate::signals::Signals;
use crate::terminal::escape::escape;
use crate::terminal::progress::{Mode, Progress};
use crate::terminal::{Output, held, log, stderr_is_terminal, words};

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
    /// What hooks and monitors are told of this run.
    pub run: around::Run,
}

/// Runs one command from its arguments to its exit code; every error is printed here.
pub fn run(arguments: Arguments) -> ExitCode {
    let global = &arguments.global;
    let (json, snapshot) = (global.json, matches!(arguments.command, Command::Snapshot(_)));
    let mut out = Output::new(json, global.quiet);
    let apart = match &arguments.command {
        Command::Completions(options) => Some(completions::run(options, &mut out)),
        Command::Man(options) => Some(man::run(options, &mut out)),
        Command::Config(options) => Some(config::run(options, global, &mut out)),
        _ => None,
    };
    let signals = Signals::default();
    if let Some(result) = apart {
        return Ended::of(&result, &signals, false).print(json);
    }
    let settings = match settings::load(global, &Environment::of_process()) {
        Ok(settings) => settings,
        Err(error) => {
            // What the file says about a log is not known; what the flag says is.
            global.log_file.iter().for_each(|path| drop(log::open(path)));
            return Ended::of(&Err(error), &signals, false).print(json);
        }
    };
    out.quiet = settings.quiet == Quiet::Yes;
    if settings.quiet == Quiet::UnlessFailed {
        held::begin();
    }
    let progress = Arc::new(progress(global, settings.quiet));
    open_log(&settings, &arguments.command, &progress);
    if let Some(hidden) = &settings.instead_of_repository {
        progress.warn(&format!("ESKER_REPOSITORY in the environment is used instead of {hidden}"));
    }
    let result = dispatch(arguments.command, settings, out, &signals, &progress);
    progress.finish();
    let code = Ended::of(&result, &signals, snapshot).print(json);
    log::write(&format!("ended with exit code {}", code.number()));
    held::end(code != ExitCode::Done);
    code
}

/// How a command ended, and what is to be said about it.
struct Ended {
    code: ExitCode,
    report: Option<Report>,
}

impl Ended {
    fn of(result: &Result<ExitCode>, signals: &Signals, snapshot: bool) -> Self {
        let report = match result {
            Ok(code) => return Self { code: *code, report: None },
            Err(error) => report(error).map(|found| interrupted(signals, snapshot).unwrap_or(found)),
        };
        let code = report.as_ref().map_or(ExitCode::Signal(signal_hook::consts::SIGPIPE), |report| report.code);
        Self { code, report }
    }

    fn print(&self, json: bool) -> ExitCode {
        self.report.iter().for_each(|report| report.print(json));
        self.code
    }
}

/// A log that cannot be opened is said, and no reason not to make a backup.
fn open_log(settings: &Settings, command: &Command, progress: &Progress) {
    let Some(path) = &settings.log_file else { return };
    if let Err(error) = log::open(path) {
        progress
            .warn(&format!("the log file {} cannot be opened: {error}; going on without it", escape(path.as_os_str().as_bytes())));
    }
    let name = around::name(command).map_or_else(String::new, |name| format!(", {}", name.name()));
    log::write(&format!("esker {}{name}, process {}", env!("CARGO_PKG_VERSION"), std::process::id()));
}

/// An operation that was asked to stop ends with whatever error it met first; the cause is the signal.
fn interrupted(signals: &Signals, snapshot: bool) -> Option<Report> {
    let signal = signals.caught()?;
    let (message, hint) = match snapshot {
        true => ("interrupted; nothing was committed", Some("the next run uses what was stored already")),
        false => ("interrupted", None),
    };
    Some(Report { code: ExitCode::Signal(signal), message: message.to_owned(), hint: hint.map(str::to_owned) })
}

fn progress(global: &Global, quiet: Quiet) -> Progress {
    let mode = match global {
        _ if quiet != Quiet::No || global.no_progress => Mode::Silent,
        global if global.json => Mode::Json,
        _ if stderr_is_terminal() => Mode::Bar,
        _ => Mode::Lines,
    };
    Progress::new(mode, global.json, quiet == Quiet::Yes, global.verbose)
}

fn dispatch(command: Command, settings: Settings, out: Output, signals: &Signals, progress: &Arc<Progress>) -> Result<ExitCode> {
    let mut context = Context {
        settings,
        out,
        progress: Arc::clone(progress),
        stop: Stop::new(),
        signals: signals.clone(),
        store: OnceCell::new(),
        run: around::Run::default(),
    };
    let outcome = around::run(command, &mut context);
    context.show_traffic();
    let code = outcome?;
    context.progress.finish();
    context.out.flush()?;
    Ok(code)
}

fn command(command: Command, context: &mut Context) -> Result<ExitCode> {
    match command {
        Command::Init(options) => init::run(&options, context),
        Command::Snapshot(options) => snapshot::run(&options, context),
        Command::Snapshots(options) => snapshots::run(&options, context),
        Command::Ls(options) => ls::run(&options, context),
        Command::Find(options) => find::run(&options, context),
        Command::Diff(options) => diff::run(&options, context),
        Command::Restore(options) => restore::run(&options, context),
        Command::Dump(options) => dump::run(&options, context),
        Command::Verify(options) => verify::run(&options, context),
        Command::Forget(options) => forget::run(&options, context),
        Command::Prune(options) => prune::run(&options, context),
        Command::Undelete(options) => undelete::run(&options, context),
        Command::Unlock(options) => unlock::run(&options, context),
        Command::Tag(options) => tag::run(&options, context),
        Command::Status(options) => status::run(&options, context),
        Command::Repair(options) => repair::run(&options, context),
        Command::Recover(options) => recover::run(&options, context),
        Command::Parity(options) => parity::run(&options, context),
        Command::Copy(options) => copy::run(&options, context),
        Command::Mirror(options) => mirror::run(&options, context),
        Command::Guard(options) => guard::run(&options, context),
        Command::Stats(options) => stats::run(&options, context),
        Command::Key(options) => key::run(&options, context),
        Command::Cache(options) => cache::run(&options, context),
        Command::Doctor(options) => doctor::run(&options, context),
        // Needs no settings that hold together; `run` has seen to it.
        Command::Config(_) => Ok(ExitCode::Done),
        Command::Completions(options) => completions::run(&options, &mut context.out),
        Command::Man(options) => man::run(&options, &mut context.out),
    }
}

impl Context {
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
        let store = self.open_store(&self.location()?, &self.settings.store)?;
        Ok(Arc::clone(self.store.get_or_init(|| store)))
    }

    /// A store, with what was said about it.
    pub fn open_store(&self, location: &Location, options: &StoreOptions) -> Result<Arc<dyn Store>> {
        let mut options = options.clone();
        let progress = Arc::clone(&self.progress);
        options.notice = Some(Arc::new(move |text| progress.warn(text)));
        if matches!(location, Location::Path(_) | Location::Memory) {
            // Said for the remote one of two; a disk has no options.
            options = StoreOptions::default();
        }
        Ok(location.open(&options).map_err(Usage::new)?)
    }

    /// `-v`: what passed between this machine and the store.
    fn show_traffic(&self) {
        let Some(traffic) = self.store.get().and_then(|store| store.traffic()) else { return };
        self.progress.remark(&format!(
            "store: {} requests ({} of them again), {} sent, {} received",
            traffic.requests,
            traffic.retries,
            words::size(traffic.sent_bytes),
            words::size(traffic.received_bytes)
        ));
    }

    /// Where the repository is.
    pub fn location(&self) -> Result<Location> {
        let Some(place) = &self.settings.repository else {
            return Err(Usage::new("which repository? none was named")
                .hint("give -r URL, set ESKER_REPOSITORY, or name it in a config file (--config)")
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

    /// For loops of this program; operations of the library look at the same flag.
    pub fn check_stop(&self) -> Result<()> {
        if self.stop.requested() { Err(RepositoryError::Stopped.into()) } else { Ok(()) }
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
        (_, Some(_)) => "unset the variable if it is a leftover",
        (RepositoryError::ForeignKey { .. }, None) => "check --repo and --key-file",
        _ => "check the password; the recovery key works in its place",
    };
    NoSecret::new(format!("{error} (it was {}{instead})", opening.from)).hint(hint).into()
}

/// A copy whose memory is wiped when it goes, as that of the original.
pub fn passphrase(password: &str) -> Passphrase {
    Passphrase::new(password.to_owned())
}

/// The folder of what this machine remembers of repositories; not a cache, so nothing of it is in the way of `cache clear`.
fn states() -> Option<PathBuf> {
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
        Err(esker::store::StoreError::NoStore(place)) if place == store.location() => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// A path in a snapshot without the slashes around it.
pub fn trimmed(path: &[u8]) -> Vec<u8> {
    let parts = path.split(|&byte| byte == b'/').filter(|part| !part.is_empty() && *part != b".");
    parts.collect::<Vec<_>>().join(&b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_known_by_its_parts() {
        assert_eq!(trimmed(b"/a//b/./c/"), b"a/b/c");
        assert_eq!(trimmed(b""), b"");
        assert_eq!(trimmed(b"/"), b"");
    }
}
