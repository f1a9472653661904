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
use esker::retention::policy::Period;

/// Encrypted, deduplicating backups of whole services.
#[derive(Parser, Debug)]
#[command(
    name = "esker",
    version,
    about,
    long_about = "Encrypted, deduplicating backups of whole services: databases, Redis and directories in one snapshot. A run saves the whole snapshot or nothing.",
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

Flags override the environment. The environment overrides the config file.
Environment variables: ESKER_REPOSITORY, ESKER_PASSWORD, ESKER_PASSWORD_FILE,
ESKER_PASSWORD_COMMAND, ESKER_KEY_FILE, ESKER_CONFIG, ESKER_PROFILE,
ESKER_CACHE_DIR. For the other repository of `copy` the names begin with
ESKER_FROM_. A secret can also come from systemd (credentials named
esker-password and esker-key) or from a config file (--config).";

/// Flags of every command.
#[derive(Args, Debug, Default)]
pub struct Global {
    /// The location of the repository: a path, s3://BUCKET/PREFIX, webdavs://HOST/PATH
    #[arg(short = 'r', long = "repo", value_name = "URL", env = "ESKER_REPOSITORY", hide_env_values = true, global = true, value_hint = ValueHint::DirPath, help_heading = "Repository and secret")]
    pub repository: Option<OsString>,

    /// Read the password from the first line of FILE
    #[arg(long, value_name = "FILE", env = "ESKER_PASSWORD_FILE", hide_env_values = true, global = true, value_hint = ValueHint::FilePath, help_heading = "Repository and secret")]
    pub password_file: Option<PathBuf>,

    /// Run CMD and read the password from the first line that it prints (shell quoting, but no shell)
    #[arg(long, value_name = "CMD", env = "ESKER_PASSWORD_COMMAND", hide_env_values = true, global = true, value_hint = ValueHint::CommandString, help_heading = "Repository and secret")]
    pub password_command: Option<String>,

    /// Use an exported owner or writer key instead of a password (see `esker key export`)
    #[arg(long, value_name = "FILE", env = "ESKER_KEY_FILE", hide_env_values = true, global = true, value_hint = ValueHint::FilePath, help_heading = "Repository and secret")]
    pub key_file: Option<PathBuf>,

    /// Try only the keyslot whose id begins with ID (see `esker key list`)
    #[arg(long, value_name = "ID", global = true, help_heading = "Repository and secret")]
    pub slot: Option<String>,

    /// Set a store option, for example -o endpoint=https://s3.example.org (may be given several times)
    #[arg(short = 'o', long = "option", value_name = "NAME=VALUE", global = true, help_heading = "Store")]
    pub store_options: Vec<String>,

    /// Limit the upload rate (KiB/s, or a unit such as 5M)
    #[arg(long, value_name = "RATE", global = true, value_parser = rate, help_heading = "Store")]
    pub limit_upload: Option<NonZeroU64>,

    /// Limit the download rate (KiB/s, or a unit such as 5M)
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

    /// The folder of the local cache. It may be deleted at any time
    #[arg(long, value_name = "DIR", env = "ESKER_CACHE_DIR", hide_env_values = true, global = true, value_hint = ValueHint::DirPath, help_heading = "Settings")]
    pub cache_dir: Option<PathBuf>,

    /// Append all messages to FILE with the time, including those that are not shown
    #[arg(long, value_name = "FILE", env = "ESKER_LOG_FILE", hide_env_values = true, global = true, value_hint = ValueHint::FilePath, help_heading = "Output")]
    pub log_file: Option<PathBuf>,

    /// Print nothing on success and everything on failure (for cron)
    #[arg(long, global = true, conflicts_with = "quiet", help_heading = "Output")]
    pub quiet_unless_failed: bool,

    /// Print results as JSON on standard output, progress and errors as JSON on standard error
    #[arg(long, global = true, help_heading = "Output")]
    pub json: bool,

    /// Print only results, warnings and errors
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = "Output")]
    pub quiet: bool,

    /// Print remarks, and each entry when it is done
    #[arg(short, long, global = true, action = ArgAction::Count, help_heading = "Output")]
    pub verbose: u8,

    /// Show no progress
    #[arg(long, global = true, help_heading = "Output")]
    pub no_progress: bool,
}

/// Bytes per second: restic's KiB when there is no unit.
pub fn rate(text: &str) -> Result<NonZeroU64, String> {
    let bytes = match text.parse::<u64>() {
        Ok(kib) => kib.checked_mul(1024).ok_or_else(|| "too much".to_owned())?,
        Err(_) => text.trim_end_matches("/s").parse::<ByteSize>()?.as_u64(),
    };
    NonZeroU64::new(bytes).ok_or_else(|| "the limit must be greater than 0".to_owned())
}

/// The commands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Create a repository and print its recovery key, once
    Init(Box<Init>),
    /// Take one snapshot of all sources
    #[command(visible_alias = "backup")]
    Snapshot(Box<Snapshot>),
    /// List snapshots
    #[command(visible_alias = "list")]
    Snapshots(Snapshots),
    /// List the files of a snapshot
    Ls(Ls),
    /// Find files by name across snapshots
    Find(Find),
    /// Show what changed between two snapshots
    Diff(Diff),
    /// Restore a snapshot, or a part of it, to a directory
    Restore(Restore),
    /// Write one file or stream to standard output
    #[command(visible_alias = "cat")]
    Dump(Dump),
    /// Check that everything in the repository can be restored
    #[command(visible_alias = "check")]
    Verify(Verify),
    /// Forget snapshots by rules or by name; `prune` frees their space
    Forget(Box<Forget>),
    /// Free the space of forgotten snapshots; backups may run at the same time
    Prune(Prune),
    /// Bring back forgotten snapshots whose space is not freed yet
    Undelete(Undelete),
    /// Show the runs that `prune` waits for, and end those that are dead
    Unlock(Unlock),
    /// Change tags and comments, and pin snapshots so that no rule forgets them
    Tag(Tag),
    /// Report the age, completeness and proven health of the backups (for monitoring)
    Status(Status),
    /// Repair index files, packs and snapshots; deletes nothing
    Repair(Repair),
    /// Make a snapshot of the folders that belong to no snapshot any more
    Recover(Recover),
    /// Manage the recovery data that protects packs against bad sectors
    Parity(Parity),
    /// Copy snapshots from another repository into this one, under this one's keys
    Copy(Box<Copy>),
    /// Copy every object of this repository to another place, without a key
    Mirror(Mirror),
    /// Show or change the guard period, in which no rule forgets a new snapshot
    Guard(Guard),
    /// Show the size of the repository and what deduplication saves
    Stats(Stats),
    /// Manage passwords, writer keys and owner keys
    Key(Key),
    /// Show or clear the local cache
    Cache(Cache),
    /// Check the config file, or show the resulting settings
    Config(Config),
    /// Check whether a store can hold a repository and how fast it is
    Doctor(Doctor),
    /// Print shell completions
    Completions(Completions),
    /// Print the manual, or write all its pages to a directory
    Man(Man),
}

/// How much memory a guess of the password costs.
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
  esker -r /srv/backup init                                      ask for the password twice
  esker -r /srv/backup --password-file /etc/esker/password init  read the password from a file
  esker -r /srv/backup init --guard 14d                          for hosts that hold only a writer key
  esker -r /mnt/copy init --copy-chunker-params --from-repo /srv/backup
                                                                 to be filled with `esker copy`

The recovery key is shown only once. It opens the repository when the password is lost. Print it and keep it in another place.
A host that should write but not read needs a writer key: `esker key export`.")]
pub struct Init {
    /// How much memory a guess of the password costs
    #[arg(long, value_enum, default_value_t, value_name = "LEVEL")]
    pub kdf: Kdf,
    /// The guard period, such as 14d: no rule of `forget` drops a snapshot first seen within it [default: none]
    #[arg(long, value_name = "DAYS")]
    pub guard: Option<String>,

    /// Recovery data for each pack, against bad sectors, in percent (0 to 50) [default: 5% on disks, 0 on object stores]
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    pub parity: Option<u8>,

    /// Use the chunk boundaries of the repository of --from-repo, so that both share equal data after a `copy`
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
  esker verify                                 check the structure: names, directories, trees, missing objects
  esker verify --read-data                     also read every byte and recompute every id
  esker verify --read-data-subset 1/7          read a seventh of the packs; seven runs read everything
  esker verify --read-data-subset 5%           read a random twentieth
  esker verify --read-data-subset 10GiB        read about this much
  esker verify --max-age 30d                   read what was not read for 30 days; daily, a thirtieth

The result is recorded in the repository. `esker status` and --max-age use it.

Each finding names the object, the fault, and the snapshots and paths that it affects. Exit code 20: the repository holds
everything that a repair needs. Exit code 21: data is affected.")]
pub struct Verify {
    /// Read all packs and recompute every id
    #[arg(long, conflicts_with = "read_data_subset")]
    pub read_data: bool,
    /// Read a part of the packs: n/m, x% or a size
    #[arg(long, value_name = "PART")]
    pub read_data_subset: Option<String>,
    /// Read the packs that were not read for this long, such as 30d, oldest first
    #[arg(long, value_name = "PERIOD", conflicts_with_all = ["read_data", "read_data_subset"])]
    pub max_age: Option<Period>,
    /// Do not record the result in the repository
    #[arg(long)]
    pub no_record: bool,
    /// Verify only what this snapshot needs; may be given several times
    #[arg(short, long = "snapshot", value_name = "SNAPSHOT")]
    pub snapshots: Vec<String>,
    /// Which snapshots `latest` considers
    #[command(flatten)]
    pub filter: Filter,
}

/// `stats`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  esker stats                  the whole repository
  esker stats latest           one snapshot: its size, and what no other needs")]
pub struct Stats {
    /// Count only these snapshots
    #[arg(value_name = "SNAPSHOT")]
    pub snapshots: Vec<String>,
    /// Which snapshots `latest` considers
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
    /// Print the folder of the cache
    Path,
    /// Delete the cache; the next run builds it again
    Clear,
}

/// `completions`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  esker completions bash > /usr/share/bash-completion/completions/esker
  esker completions zsh > /usr/share/zsh/site-functions/_esker
  esker completions fish > /usr/share/fish/vendor_completions.d/esker.fish

In bash, zsh and fish, completion also knows snapshot ids and source names. It needs the repository (-r, ESKER_REPOSITORY or a
config file) and its secret. It never asks for a password and writes nothing.")]
pub struct Completions {
    /// The shell
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
    /// Write one page for each command to this directory, and esker-config.5 about the config file
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub output: Option<PathBuf>,
}

/// A share of parity: `5%`, `5` or `0`.
fn percent(text: &str) -> Result<u8, String> {
    let number = text.trim().strip_suffix('%').unwrap_or(text.trim());
    let most = esker::format::parity::PERCENT_MAX;
    match number.parse::<u8>() {
        Ok(number) if number <= most => Ok(number),
        _ => Err(format!("expected a percentage from 0 to {most}, such as 5%")),
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
