//! The one place that turns errors into a message, a hint and an exit code.

use std::fmt;
use std::marker::PhantomData;

use esker::copy::CopyError;
use esker::crypto::CryptoError;
use esker::format::FormatError;
use esker::mirror::MirrorError;
use esker::prune::PruneError;
use esker::repair::RepairError;
use esker::repository::RepositoryError;
use esker::repository::latest::LatestError;
use esker::restore::RestoreError;
use esker::retention::forget::ForgetError;
use esker::retention::rules::RetentionError;
use esker::retention::undelete::UndeleteError;
use esker::snapshot::SnapshotError;
use esker::source::{SourceError, SourceKind};
use esker::store::{StoreError, StoreErrorKind};
use esker::verify::VerifyError;
use serde_json::json;

use crate::exit_code::ExitCode;
use crate::terminal::escape::escape_lines;
use crate::terminal::{OutputClosed, stderr_line, words};

/// A refusal of this program itself: what is wrong, and what to do about it. Its kind says which exit code it has.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Refusal<K: Kind> {
    message: String,
    hint: Option<String>,
    kind: PhantomData<K>,
}

/// The kind of a refusal.
pub trait Kind: fmt::Debug {
    /// The exit code of all refusals of this kind.
    const CODE: ExitCode;
}

/// See [`Usage`].
#[derive(Debug)]
pub enum OfUsage {}
/// See [`NoSecret`].
#[derive(Debug)]
pub enum OfSecret {}
/// See [`Failure`].
#[derive(Debug)]
pub enum OfRun {}

impl Kind for OfUsage {
    const CODE: ExitCode = ExitCode::Usage;
}

impl Kind for OfSecret {
    const CODE: ExitCode = ExitCode::WrongKey;
}

impl Kind for OfRun {
    const CODE: ExitCode = ExitCode::Failed;
}

/// The command line, the environment or the config file asks for something impossible. Exit code 2.
pub type Usage = Refusal<OfUsage>;
/// A password or key is not available. Exit code 12.
pub type NoSecret = Refusal<OfSecret>;
/// The run failed for a reason outside of the library: another run, a hook. Exit code 1.
pub type Failure = Refusal<OfRun>;

impl<K: Kind> Refusal<K> {
    /// What is wrong.
    pub fn new(message: impl fmt::Display) -> Self {
        Self { message: message.to_string(), hint: None, kind: PhantomData }
    }
    /// Adds where the wrong value comes from.
    pub fn placed(self, place: &str) -> Self {
        Self { message: format!("{} (from {place})", self.message), ..self }
    }
    /// What to do about it.
    pub fn hint(self, hint: impl fmt::Display) -> Self {
        Self { hint: Some(hint.to_string()), ..self }
    }

    fn report(&self) -> Report {
        Report { code: K::CODE, message: self.message.clone(), hint: self.hint.clone() }
    }
}

/// An error as it is shown.
#[derive(Debug, PartialEq, Eq)]
pub struct Report {
    /// For scripts.
    pub code: ExitCode,
    /// What happened and what follows from it.
    pub message: String,
    /// What to do next.
    pub hint: Option<String>,
}

impl Report {
    fn new(code: ExitCode, message: impl fmt::Display) -> Self {
        Self { code, message: message.to_string(), hint: None }
    }

    fn hint(self, hint: impl fmt::Display) -> Self {
        Self { hint: Some(hint.to_string()), ..self }
    }

    /// Prints it on standard error, as JSON when asked to.
    pub fn print(&self, json: bool) {
        if json {
            let line = json!({
                "message_type": "exit_error",
                "code": self.code.number(),
                "message": self.message,
                "hint": self.hint,
            });
            stderr_line(&line.to_string());
            return;
        }
        stderr_line(&format!("esker: {}", escape_lines(&self.message)));
        if let Some(hint) = &self.hint {
            stderr_line(&format!("  hint: {}", escape_lines(hint)));
        }
    }
}

/// What `error` means to a person and to a script. `None`: nobody is left to tell, end quietly.
pub fn report(error: &anyhow::Error) -> Option<Report> {
    if error.is::<OutputClosed>() {
        return None;
    }
    let known = error.chain().find_map(|cause| {
        None.or_else(|| cause.downcast_ref().map(Usage::report))
            .or_else(|| cause.downcast_ref().map(NoSecret::report))
            .or_else(|| cause.downcast_ref().map(Failure::report))
            .or_else(|| cause.downcast_ref().map(of_repository))
            .or_else(|| cause.downcast_ref().map(of_latest))
            .or_else(|| cause.downcast_ref().map(of_snapshot))
            .or_else(|| cause.downcast_ref().map(of_restore))
            .or_else(|| cause.downcast_ref().map(of_verify))
            .or_else(|| cause.downcast_ref().map(of_prune))
            .or_else(|| cause.downcast_ref().map(of_repair))
            .or_else(|| cause.downcast_ref().map(of_copy))
            .or_else(|| cause.downcast_ref().map(of_mirror))
            .or_else(|| cause.downcast_ref().map(of_forget))
            .or_else(|| cause.downcast_ref().map(of_undelete))
            .or_else(|| cause.downcast_ref().map(of_store))
            .or_else(|| cause.downcast_ref().map(of_source))
    });
    Some(known.unwrap_or_else(|| Report::new(ExitCode::Failed, format!("{error:#}"))))
}

fn of_repository(error: &RepositoryError) -> Report {
    use RepositoryError as E;
    match error {
        E::NoRepository(place) => no_repository(place),
        E::OtherProgram { .. } => Report::new(ExitCode::NoRepository, error)
            .hint("check --repo; a new esker repository needs an empty place, such as a new folder"),
        E::PlaceTaken { .. } => Report::new(ExitCode::Failed, error)
            .hint("nothing was changed; choose an empty place for the repository, such as a new folder in it"),
        E::AlreadyExists(_) => {
            Report::new(ExitCode::Failed, error).hint("nothing was changed; choose an empty place for a new repository")
        }
        E::UnfinishedInit(_) => Report::new(ExitCode::Failed, error).hint(
            "nothing was changed; run `init` with the same password to finish it, or remove the folder `keys` there if no other `init` runs",
        ),
        E::InitsAtOnce(_) => Report::new(ExitCode::Failed, error)
            .hint("run the command again; if the message comes again and no other `init` runs, remove the folder `keys` there"),
        E::MadeMeanwhile(_) => Report::new(ExitCode::Failed, error)
            .hint("use that repository; the recovery key that the other `init` printed is valid"),
        E::WrongSecret { .. } => {
            Report::new(ExitCode::WrongKey, error).hint("check the password; the recovery key works too")
        }
        E::ForeignKey { .. } => Report::new(ExitCode::WrongKey, error).hint("check --repo and --key-file"),
        E::NeedsOwner(_) => needs_owner(error),
        E::Store(inner) => of_store(inner),
        E::Object { source: FormatError::NeedsOwner { .. }, .. } | E::Format(FormatError::NeedsOwner { .. }) => needs_owner(error),
        E::Object { source, .. } => of_format(source, error),
        E::Crypto(CryptoError::Typed { .. }) => {
            Report::new(ExitCode::WrongKey, error).hint("a key is one line, exactly as esker exported or printed it")
        }
        E::ChunkMissing(_) | E::ChunkDamaged { .. } | E::TreeDamaged { .. } | E::Compress(_) => damage(error),
        E::SnapshotNotFound(_) => Report::new(ExitCode::Failed, error).hint("`esker snapshots` lists them"),
        E::PathNotFound { .. } => Report::new(ExitCode::Failed, error).hint("`esker ls -R SNAPSHOT` lists the files"),
        E::Brake(_) => Report::new(ExitCode::Brake, error)
            .hint("something that was there before is missing; find the reason before anything writes to this repository"),
        E::Inconclusive(_) => Report::new(ExitCode::Unreachable, error),
        E::StoreUnfit { .. } => Report::new(ExitCode::Unreachable, error)
            .hint("only test objects were written; `esker doctor store` repeats the test and shows the details"),
        E::StoreLess { .. } => Report::new(ExitCode::Brake, error).hint(
            "only test objects were written; reading still works. Was the repository moved to another store, or is there a proxy? \
             `esker doctor store` repeats the test and shows the details",
        ),
        E::NewerFeatures(_) => Report::new(ExitCode::Failed, error).hint("a newer version of esker wrote this; update esker on this machine"),
        E::Cache(_) => Report::new(ExitCode::Failed, error)
            .hint(CACHE_FOLDER),
        E::Revoked => Report::new(ExitCode::Failed, error)
            .hint("the run was considered dead (`esker unlock`, or two weeks of silence); run it again, and it uses what was stored"),
        E::Format(_) | E::Crypto(_) | E::Keyslot(_) | E::Rng(_) | E::SnapshotAmbiguous { .. } | E::Stopped => {
            Report::new(ExitCode::Failed, error)
        }
    }
}

fn of_latest(error: &LatestError) -> Report {
    Report::new(ExitCode::Failed, error).hint(match error {
        LatestError::NotFound(_) => "`esker snapshots` lists them",
        LatestError::SeveralHosts { .. } => {
            "select one with --host NAME, name a snapshot by its id, or set `host` in the config file"
        }
        LatestError::NoSource { .. } => "select with --source NAME or --host NAME, or name a snapshot by its id",
    })
}

fn of_snapshot(error: &SnapshotError) -> Report {
    match error {
        SnapshotError::Repository(inner) => of_repository(inner),
        SnapshotError::SourceFailed { kind, .. } => Report::new(ExitCode::SourceFailed, error).hint(of_failed_source(*kind)),
        SnapshotError::HookFailed { .. } => Report::new(ExitCode::SourceFailed, error).hint(
            "run the command of the hook by hand as the same user: it must end with exit status 0; `on-failure = \"warn\"` in the \
             source's [hooks] continues without it",
        ),
        SnapshotError::Sources(_) => Report::new(ExitCode::Usage, error),
        other => Report::new(ExitCode::Failed, other),
    }
}

/// What to look at first. Doing without a source is advice for a folder at most: never for a database.
fn of_failed_source(kind: Option<SourceKind>) -> &'static str {
    match kind {
        Some(SourceKind::Postgres) => {
            "check that the PostgreSQL server runs, that host, port, user and password are right, and that this user may read every \
             table; then run the same command again, and it uses what was stored"
        }
        Some(SourceKind::Redis) => {
            "check that the Redis server runs, that its address and password are right, and what its user may do; then run the same \
             command again, and it uses what was stored"
        }
        Some(SourceKind::Command) => {
            "run the command by hand as the same user: it must end with exit status 0; then run esker again, and it uses what was stored"
        }
        Some(SourceKind::Stdin) => "check the program before the pipe; then run both again, and esker uses what was stored",
        Some(SourceKind::Directory | SourceKind::File) | None => {
            "check that it is mounted and that this user may read it; then run the same command again, and it uses what was stored. \
             If a snapshot without this source is acceptable, use --optional NAME"
        }
    }
}

/// Looking around for sources failed, before a snapshot was begun.
fn of_source(error: &SourceError) -> Report {
    match error {
        SourceError::Settings(_) | SourceError::Name { .. } | SourceError::DuplicateName { .. } => {
            Report::new(ExitCode::Usage, error)
        }
        _ => Report::new(ExitCode::SourceFailed, error),
    }
}

fn of_restore(error: &RestoreError) -> Report {
    match error {
        RestoreError::Repository(inner) => of_repository(inner),
        RestoreError::Pattern(_) => Report::new(ExitCode::Usage, error),
        RestoreError::NoMatch(_) => Report::new(ExitCode::Failed, format!("{error}; nothing was restored")).hint(
            "`esker ls -R SNAPSHOT` lists the files; a pattern is relative to what is restored, and a literal *, ?, [ or \\ needs a \
             backslash before it",
        ),
        RestoreError::NoPlaceToDelete { .. } => Report::new(ExitCode::Brake, format!("{error}; nothing was changed"))
            .hint("restore to an empty folder, or without --delete"),
        RestoreError::NotAgreed => Report::new(ExitCode::Brake, "not confirmed; nothing was changed")
            .hint("-n shows what would be done; --yes confirms without a question"),
        RestoreError::NoSpace { target, needed, free } => Report::new(
            ExitCode::Failed,
            format!(
                "{} has {} of free space, but {} are needed; nothing was changed",
                target.display(),
                words::size(*free),
                words::size(*needed)
            ),
        )
        .hint("choose another target or restore less; --no-space-check skips this check"),
        RestoreError::NotTheStream { .. } => Report::new(ExitCode::DamageData, error)
            .hint("every stored chunk is intact; take another snapshot, and report this as a bug"),
        other => Report::new(ExitCode::Failed, other),
    }
}

fn of_repair(error: &RepairError) -> Report {
    match error {
        RepairError::Repository(inner) => of_repository(inner),
        RepairError::NotFound(_) => Report::new(ExitCode::Failed, error),
    }
}

fn of_copy(error: &CopyError) -> Report {
    match error {
        CopyError::Repository(inner) => of_repository(inner),
        CopyError::SameRepository(_) => {
            Report::new(ExitCode::Usage, error).hint("`esker mirror` copies a repository to another place")
        }
    }
}

fn of_mirror(error: &MirrorError) -> Report {
    match error {
        MirrorError::Repository(inner) => of_repository(inner),
        MirrorError::OtherHistory { .. } => Report::new(ExitCode::Brake, error).hint(
            "nothing was changed; check whether one of the two was rolled back or written to. `esker copy` copies single snapshots",
        ),
    }
}

fn of_verify(error: &VerifyError) -> Report {
    match error {
        VerifyError::Repository(inner) => of_repository(inner),
        VerifyError::NoSuchPart { .. } => Report::new(ExitCode::Usage, error),
        VerifyError::NoSuchSnapshot(_) => Report::new(ExitCode::Failed, error),
    }
}

/// What helps when no cache can be kept.
const CACHE_FOLDER: &str = "name a writable folder with free space: --cache-dir, or TMPDIR for temporary files";

fn of_prune(error: &PruneError) -> Report {
    let brake = Report::new(ExitCode::Brake, format!("stopped by a safety brake: {error}; nothing was deleted"));
    match error {
        PruneError::Repository(inner) => of_repository(inner),
        PruneError::Renumbered => Report::new(ExitCode::Failed, error).hint(CACHE_FOLDER),
        PruneError::SnapshotGone { .. } => brake.hint("find out who removed it; to give up a snapshot, use `esker forget`"),
        PruneError::Unreadable { .. } | PruneError::NoPack { .. } => {
            brake.hint("`esker verify` names the affected snapshots; repair them or forget them, then prune again")
        }
        PruneError::TooMuch { .. } => {
            brake.hint("check whether snapshots are missing, or whether backups failed after they stored much; --force continues")
        }
    }
}

fn of_forget(error: &ForgetError) -> Report {
    match error {
        ForgetError::Repository(inner) => of_repository(inner),
        ForgetError::Retention(RetentionError::NoPolicy) => Report::new(ExitCode::Usage, error).hint(
            "give rules such as --keep-daily 7, add a [keep] table to the config file, or name snapshots; --unsafe-allow-remove-all \
             with --host, --tag or --source forgets all that they select",
        ),
        ForgetError::Retention(RetentionError::KeepsNothing { .. }) => Report::new(ExitCode::Brake, error)
            .hint("nothing was forgotten; to forget them all, pass --unsafe-allow-remove-all"),
        ForgetError::KeptByNote { id, .. } => Report::new(ExitCode::Brake, error)
            .hint(format!("nothing was forgotten; to unpin it: esker tag --release {}", id.short())),
        ForgetError::Jump { .. } => Report::new(ExitCode::Brake, error)
            .hint("nothing was forgotten; check the clocks, and if they are right, pass --allow-time-jump once"),
    }
}

fn of_undelete(error: &UndeleteError) -> Report {
    match error {
        UndeleteError::Repository(inner) => of_repository(inner),
        UndeleteError::Freed { .. } => Report::new(ExitCode::Failed, error).hint("nothing was saved"),
        UndeleteError::AlreadyThere { .. } | UndeleteError::OtherGeneration { .. } => Report::new(ExitCode::Failed, error),
    }
}

fn of_format(source: &FormatError, error: &RepositoryError) -> Report {
    match source {
        FormatError::NewerVersion { .. } | FormatError::RequiredExtra { .. } => {
            Report::new(ExitCode::Failed, error).hint("a newer version of esker wrote this; update esker on this machine")
        }
        _ => damage(error),
    }
}

fn damage(error: &RepositoryError) -> Report {
    Report::new(ExitCode::DamageData, error)
        .hint("`esker verify --read-data` finds all damage; `esker repair --help` shows how to repair it")
}

fn needs_owner(error: &RepositoryError) -> Report {
    Report::new(ExitCode::WrongKey, error).hint("use an owner's password or key")
}

fn no_repository(place: &str) -> Report {
    Report::new(ExitCode::NoRepository, format!("there is no esker repository at {place}")).hint(match place.contains("://") {
        true => "check --repo; `esker init` creates a repository",
        false => "check --repo; is the disk mounted? `esker init` creates a repository",
    })
}

fn of_store(error: &StoreError) -> Report {
    match error.kind {
        StoreErrorKind::NoStore { says_what_to_do: true } => Report::new(ExitCode::NoRepository, error),
        StoreErrorKind::NoStore { says_what_to_do: false } => no_repository(error.detail()),
        StoreErrorKind::Full => Report::new(ExitCode::StoreFull, error)
            .hint("nothing that was stored is lost; free some space and run the same command again"),
        StoreErrorKind::Untrusted => Report::new(ExitCode::Unreachable, error.detail())
            .hint("nothing that was stored is lost; correct this and run the same command again"),
        StoreErrorKind::Denied => Report::new(ExitCode::Unreachable, error)
            .hint("the store refuses. A remote store: check the credentials, what they allow, and the endpoint. A disk: check the owner, and whether it is mounted read-only"),
        StoreErrorKind::Missing | StoreErrorKind::Failed => Report::new(ExitCode::Unreachable, error)
            .hint("nothing that was stored is lost; check the address of the store, and run the same command again when it answers"),
        StoreErrorKind::Exists | StoreErrorKind::Size { .. } => Report::new(ExitCode::Failed, error),
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn a_reader_that_went_away_is_no_error_to_speak_of() {
        assert_eq!(report(&OutputClosed.into()), None);
    }

    #[test]
    fn context_does_not_hide_what_an_error_means() {
        let error = anyhow::Error::from(StoreError::full("no space left")).context("saving");
        assert_eq!(report(&error).unwrap().code, ExitCode::StoreFull);
        let error = Err::<(), _>(Usage::new("two secrets")).context("reading").unwrap_err();
        assert_eq!(report(&error).unwrap().code, ExitCode::Usage);
    }

    #[test]
    fn an_unknown_error_says_all_it_knows() {
        let error = anyhow::anyhow!("inner").context("outer");
        assert_eq!(report(&error), Some(Report::new(ExitCode::Failed, "outer: inner")));
    }
}
