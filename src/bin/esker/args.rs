//! The command line as clap sees it: help, man pages and completions are made from these definitions.
//!
//! Only shapes live here; what they mean together with the environment and the config file is decided in `settings`.

mod config;
mod copy;
mod doctor;
mod files;
mod key;
pub mod layout;
mod look;
mod prune;
mod repair;
mod restore;
mod retention;
mod snapshot;

pub use config::{Config, ConfigAction};
pub use copy::{Copy, From, FromSecret, Guard, Mirror};
pub use doctor::{Doctor, DoctorStore, DoctorWhat};
pub use files::{FilesFrom, LeaveOut, bytes};
pub use key::{Key, KeyAction, NewPassword};
pub use look::{Diff, Find, Ls, Snapshots};
pub use prune::{Prune, Unlock};
pub use repair::{Parity, ParityAction, Recover, Repair, RepairAction, RepairPacks, RepairSnapshots};
pub use restore::{Dump, Overwrite, Restore};
pub use retention::{Forget, Status, Tag, Undelete};
pub use snapshot::{Named, Preset, Snapshot};

use std::ffi::OsString;
use std::num::NonZeroU64;
use std::path::PathBuf;

use bytesize::ByteSize;
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum, ValueHint};
use esker::prune::policy::Period;

/// Encrypted, deduplicating backups of whole services.
#[derive(Parser, Debug)]
#[command(
    name = "esker",
    version,
    about,
    long_about = "Encrypted, deduplicating backups of whole services: databases, Redis and directories in one snapshot, all or nothing.",
    propagate_version = true,
    max_term_width = 100,
    after_help = FIRST_STEPS,
    after_long_help = EXIT_CODES
)]
pub struct Arguments {
    /// What every command takes.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const FIRST_STEPS: &str = "\
First steps:
  esker -r /srv/backup init
  esker -r /srv/backup snapshot /srv/media --postgres database='host=/run/postgresql dbname=app'
  esker -r /srv/backup snapshots
  esker -r /srv/backup restore latest --target /srv/restored";

const EXIT_CODES: &str = "\
Exit codes:
  0  done                            12  wrong password or key
  1  failed, nothing committed       13  store unreachable or inconclusive
  2  usage                           14  stopped by a safety brake
  3  done, but incomplete            20  damage, all of it repairable
  4  a required source failed,       21  damage, data is affected
     nothing committed              130  interrupted by Ctrl-C
 10  no repository there            143  interrupted by SIGTERM
 11  store full

Flags win over the environment, and the environment wins over the config file.
A repository, a secret and more may come from the environment: ESKER_REPOSITORY,
ESKER_PASSWORD, ESKER_PASSWORD_FILE, ESKER_PASSWORD_COMMAND, ESKER_KEY_FILE,
ESKER_CONFIG, ESKER_PROFILE, ESKER_CACHE_DIR. For the other repository of `copy`
the names begin with ESKER_FROM_. They may also come from systemd (credentials
named esker-password and esker-key), or from a config file (--config).";

/// Flags of every command.
#[derive(Args, Debug, Default)]
pub struct Global {
    /// Where the repository is: a path, s3://BUCKET/PREFIX, webdavs://HOST/PATH
    #[arg(short = 'r', long = "repo", value_name = "URL", env = "ESKER_REPOSITORY", hide_env_values = true, global = true, value_hint = ValueHint::DirPath, help_heading = "Repository and secret")]
    pub repository: Option<OsString>,

    /// Read the password from the first line of FILE
    #[arg(long, value_name = "FILE", env = "ESKER_PASSWORD_FILE", hide_env_values = true, global = true, value_hint = ValueHint::FilePath, help_heading = "Repository and secret")]
    pub password_file: Option<PathBuf>,

    /// Run CMD (words in shell quoting, no shell) and take the first line it prints as the password
    #[arg(long, value_name = "CMD", env = "ESKER_PASSWORD_COMMAND", hide_env_values = true, global = true, value_hint = ValueHint::CommandString, help_heading = "Repository and secret")]
    pub password_command: Option<String>,

    /// Use an exported owner or writer key instead of a password (see `esker key export`)
    #[arg(long, value_name = "FILE", env = "ESKER_KEY_FILE", hide_env_values = true, global = true, value_hint = ValueHint::FilePath, help_heading = "Repository and secret")]
    pub key_file: Option<PathBuf>,

    /// Try only the keyslot whose id begins like this (see `esker key list`)
    #[arg(long, value_name = "ID", global = true, help_heading = "Repository and secret")]
    pub slot: Option<String>,

    /// Say something about the store, as in -o endpoint=https://s3.example.org (may be given several times)
    #[arg(short = 'o', long = "option", value_name = "NAME=VALUE", global = true, help_heading = "Store")]
    pub store_options: Vec<String>,

    /// Send at most so much to the store in a second: KiB as a plain number, or with a unit as in 5M
    #[arg(long, value_name = "RATE", global = true, value_parser = rate, help_heading = "Store")]
    pub limit_upload: Option<NonZeroU64>,

    /// Read at most so much from the store in a second
    #[arg(long, value_name = "RATE", global = true, value_parser = rate, help_heading = "Store")]
    pub limit_download: Option<NonZeroU64>,

    /// Read defaults and sources from this TOML file
    #[arg(short, long, value_name = "FILE", env = "ESKER_CONFIG", hide_env_values = true, global = true, value_hint = ValueHint::FilePath, help_heading = "Settings")]
    pub config: Option<PathBuf>,

    /// Use this profile of the config file
    #[arg(
        short = 'P',
        long,
        value_name = "NAME",
        env = "ESKER_PROFILE",
        hide_env_values = true,
        global = true,
        help_heading = "Settings"
    )]
    pub profile: Option<String>,

    /// Where the local cache lives; it may be deleted at any time
    #[arg(long, value_name = "DIR", env = "ESKER_CACHE_DIR", hide_env_values = true, global = true, value_hint = ValueHint::DirPath, help_heading = "Settings")]
    pub cache_dir: Option<PathBuf>,

    /// Write everything that is said, and remarks that are not shown, to the end of FILE, with the time
    #[arg(long, value_name = "FILE", env = "ESKER_LOG_FILE", hide_env_values = true, global = true, value_hint = ValueHint::FilePath, help_heading = "Output")]
    pub log_file: Option<PathBuf>,

    /// Print nothing, unless the exit code is another than 0: then everything. For cron
    #[arg(long, global = true, conflicts_with = "quiet", help_heading = "Output")]
    pub quiet_unless_failed: bool,

    /// Results as JSON on standard output; progress and errors as JSON on standard error
    #[arg(long, global = true, help_heading = "Output")]
    pub json: bool,

    /// Only errors and what was asked for
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = "Output")]
    pub quiet: bool,

    /// Show remarks and each entry as it is done
    #[arg(short, long, global = true, action = ArgAction::Count, help_heading = "Output")]
    pub verbose: u8,

    /// No progress, neither bars nor lines
    #[arg(long, global = true, help_heading = "Output")]
    pub no_progress: bool,
}

/// Bytes per second: restic's KiB when there is no unit.
pub fn rate(text: &str) -> Result<NonZeroU64, String> {
    let bytes = match text.parse::<u64>() {
        Ok(kib) => kib.checked_mul(1024).ok_or_else(|| "too much".to_owned())?,
        Err(_) => text.trim_end_matches("/s").parse::<ByteSize>()?.as_u64(),
    };
    NonZeroU64::new(bytes).ok_or_else(|| "a limit of nothing would let nothing pass".to_owned())
}

/// The commands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Create a repository and print its recovery key, once
    Init(Box<Init>),
    /// Take one snapshot of all sources, all or nothing
    #[command(visible_alias = "backup")]
    Snapshot(Box<Snapshot>),
    /// List snapshots
    #[command(visible_alias = "list")]
    Snapshots(Snapshots),
    /// List what is in a snapshot
    Ls(Ls),
    /// Find files by name across snapshots
    Find(Find),
    /// Show what changed between two snapshots
    Diff(Diff),
    /// Write a snapshot, or a part of it, back to a directory
    Restore(Restore),
    /// Write one file or stream to standard output
    #[command(visible_alias = "cat")]
    Dump(Dump),
    /// Check that everything stored can be restored
    #[command(visible_alias = "check")]
    Verify(Verify),
    /// Give up snapshots, by rules or by name; a prune frees their space later
    Forget(Box<Forget>),
    /// Free the space of what was forgotten; backups may run meanwhile
    Prune(Prune),
    /// Bring back snapshots that were forgotten, until their space is freed
    Undelete(Undelete),
    /// Show the runs that a prune waits for, and end those that are dead; nothing is ever locked
    Unlock(Unlock),
    /// Change tags and comments, and pin snapshots against every rule
    Tag(Tag),
    /// Is the newest snapshot fresh and complete, and was what is stored read back? For monitoring
    Status(Status),
    /// Mend what is damaged: index files, packs, snapshots; never deletes anything
    Repair(Repair),
    /// Make a snapshot of the folders that no snapshot reaches any more
    Recover(Recover),
    /// Recovery data beside packs, against bad sectors
    Parity(Parity),
    /// Copy snapshots from another repository into this one, sealed anew
    Copy(Box<Copy>),
    /// Copy every object of this repository to another place, byte by byte, without a key
    Mirror(Mirror),
    /// Show or change how long no rule drops a snapshot that was just seen
    Guard(Guard),
    /// Show how much is stored and what deduplication saves
    Stats(Stats),
    /// Manage passwords, writer keys and owner keys
    Key(Key),
    /// The local cache: where it is, and emptying it
    Cache(Cache),
    /// Check the config file, or show what it means
    Config(Config),
    /// Is what esker leans on as it should be? `doctor store` tries a store
    Doctor(Doctor),
    /// Print shell completions
    Completions(Completions),
    /// Print the manual, or write all its pages to a directory
    Man(Man),
}

/// How expensive a password is made to guess.
#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kdf {
    /// argon2id with 256 MiB
    #[default]
    Default,
    /// argon2id with 64 MiB, for small machines
    Low,
}

/// `init`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  esker -r /srv/backup init                                      asks for a password twice
  esker -r /srv/backup --password-file /etc/esker/password init  takes it from a file
  esker -r /srv/backup init --guard 14d                          for hosts that hold only a writer key
  esker -r /mnt/copy init --copy-chunker-params --from-repo /srv/backup
                                                                 to be filled by `esker copy`

The recovery key is shown once and opens the repository when the password is lost: print it, keep it elsewhere. A host that
should be able to write but not to read gets a writer key: `esker key export`.")]
pub struct Init {
    /// Memory that guessing a password costs
    #[arg(long, value_enum, default_value_t, value_name = "LEVEL")]
    pub kdf: Kdf,
    /// No rule of `forget` drops a snapshot that was first seen less than this ago, such as 14d (default: no such time)
    #[arg(long, value_name = "DAYS")]
    pub guard: Option<String>,

    /// Recovery data beside each pack, for bad sectors: a percentage up to 50, or 0 for none; 5% unless said otherwise
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    pub parity: Option<u8>,

    /// Cut as the repository of --from-repo does, so that `copy` between the two and backups into both share what is equal
    #[arg(long)]
    pub copy_chunker_params: bool,
    /// That repository
    #[command(flatten)]
    pub from: From,
}

/// Which snapshots.
#[derive(Args, Debug, Default)]
pub struct Filter {
    /// Only snapshots with this tag
    #[arg(long, value_name = "TAG")]
    pub tag: Vec<String>,
    /// Only snapshots of this host
    #[arg(long, value_name = "NAME")]
    pub host: Option<String>,
    /// Only snapshots with a source of this name
    #[arg(long, value_name = "NAME")]
    pub source: Option<String>,
}

impl Filter {
    /// Nothing was asked for.
    pub fn is_empty(&self) -> bool {
        self.host.is_none() && self.tag.is_empty() && self.source.is_none()
    }
}

/// `verify`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  esker verify                                 structure: names, directories, trees, nothing missing
  esker verify --read-data                     reads every byte back and recomputes every id
  esker verify --read-data-subset 1/7          a seventh of the packs: seven runs read everything
  esker verify --read-data-subset 5%           a random twentieth
  esker verify --read-data-subset 10GiB        at most about this much
  esker verify --max-age 30d                   what was not read for 30 days: every day this reads a thirtieth

What was verified is written down in the repository: `esker status` and `--max-age` go by it.

Each finding says which object, what is wrong, and which snapshots and paths it hits. Exit code 20: all of it can be repaired
from what is there; 21: data is affected.")]
pub struct Verify {
    /// Read all packs back and recompute every id
    #[arg(long, conflicts_with = "read_data_subset")]
    pub read_data: bool,
    /// Read a part of the packs back: n/m, x% or a size
    #[arg(long, value_name = "PART")]
    pub read_data_subset: Option<String>,
    /// Read the packs back that nobody has read for this long, such as 30d; the longest unread first
    #[arg(long, value_name = "PERIOD", conflicts_with_all = ["read_data", "read_data_subset"])]
    pub max_age: Option<Period>,
    /// Leave no note of what was verified
    #[arg(long)]
    pub no_record: bool,
    /// Only what this snapshot needs; may be given several times
    #[arg(short, long = "snapshot", value_name = "SNAPSHOT")]
    pub snapshots: Vec<String>,
    /// What `latest` looks at
    #[command(flatten)]
    pub filter: Filter,
}

/// `stats`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  esker stats                  the whole repository
  esker stats latest           one snapshot: its size, and what only it needs")]
pub struct Stats {
    /// Only these
    #[arg(value_name = "SNAPSHOT")]
    pub snapshots: Vec<String>,
    /// What `latest` looks at
    #[command(flatten)]
    pub filter: Filter,
}

/// `cache`
#[derive(Args, Debug)]
pub struct Cache {
    /// What to do
    #[command(subcommand)]
    pub action: CacheAction,
}

/// The actions of `cache`.
#[derive(Subcommand, Debug)]
pub enum CacheAction {
    /// Print where the cache lives
    Path,
    /// Delete it; the next run builds it again
    Clear,
}

/// `completions`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  esker completions bash > /usr/share/bash-completion/completions/esker
  esker completions zsh > /usr/share/zsh/site-functions/_esker
  esker completions fish > /usr/share/fish/vendor_completions.d/esker.fish

In bash, zsh and fish the ids of snapshots and the names of sources are completed too, when -r, ESKER_REPOSITORY or a config file names
the repository and its secret is at hand. Completion never asks for a password and writes nothing.")]
pub struct Completions {
    /// For which shell
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
    /// A command line up to the cursor: the scripts ask what fits there
    #[arg(last = true, hide = true)]
    pub line: Vec<OsString>,
}

/// `man`
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  esker man | man -l -\n  esker man --output ./pages\n  man -l ./pages/esker-config.5")]
pub struct Man {
    /// Write one page for each command into this directory, and esker-config.5 about the config file
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub output: Option<PathBuf>,
}

/// A share of parity: `5%`, `5` or `0`.
fn percent(text: &str) -> Result<u8, String> {
    let number = text.trim().strip_suffix('%').unwrap_or(text.trim());
    let most = esker::format::parity::PERCENT_MAX;
    match number.parse::<u8>() {
        Ok(number) if number <= most => Ok(number),
        _ => Err(format!("it is a percentage from 0 to {most}, such as 5%")),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definitions_are_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_aliases_of_restic_work() {
        let parsed = Arguments::try_parse_from(["esker", "backup", "/srv"]).unwrap();
        assert!(matches!(parsed.command, Command::Snapshot(_)));
        assert!(matches!(Arguments::try_parse_from(["esker", "check"]).unwrap().command, Command::Verify(_)));
        assert!(matches!(Arguments::try_parse_from(["esker", "list"]).unwrap().command, Command::Snapshots(_)));
        assert!(matches!(Arguments::try_parse_from(["esker", "cat", "latest:a"]).unwrap().command, Command::Dump(_)));
    }
}
