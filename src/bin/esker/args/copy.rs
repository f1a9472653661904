//! The command line of what works on two repositories: `copy`, `mirror`, and the other repository of `init` and `repair`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueHint};

/// The other repository, by restic's names.
#[derive(Args, Debug, Default)]
// Ids of their own: the global flags have fields of the same names, and clap would take one for the other.
pub struct From {
    /// Where the other repository is
    #[arg(id = "from-repo", long = "from-repo", value_name = "URL", env = "ESKER_FROM_REPOSITORY", hide_env_values = true, value_hint = ValueHint::DirPath, help_heading = "The other repository")]
    pub repository: Option<OsString>,
    /// Say something about its store, as -o does; with any of these, -o is about the store of -r alone
    #[arg(id = "from-option", long = "from-option", value_name = "NAME=VALUE", help_heading = "The other repository")]
    pub options: Vec<String>,
    /// What opens it
    #[command(flatten)]
    pub secret: FromSecret,
}

/// What opens the other repository.
#[derive(Args, Debug, Default)]
pub struct FromSecret {
    /// Read its password from the first line of FILE
    #[arg(id = "from-password-file", long = "from-password-file", value_name = "FILE", env = "ESKER_FROM_PASSWORD_FILE", hide_env_values = true, value_hint = ValueHint::FilePath, help_heading = "The other repository")]
    pub password_file: Option<PathBuf>,
    /// Run CMD and take the first line it prints as its password
    #[arg(id = "from-password-command", long = "from-password-command", value_name = "CMD", env = "ESKER_FROM_PASSWORD_COMMAND", hide_env_values = true, value_hint = ValueHint::CommandString, help_heading = "The other repository")]
    pub password_command: Option<String>,
    /// Use an exported key of it
    #[arg(id = "from-key-file", long = "from-key-file", value_name = "FILE", env = "ESKER_FROM_KEY_FILE", hide_env_values = true, value_hint = ValueHint::FilePath, help_heading = "The other repository")]
    pub key_file: Option<PathBuf>,
}

/// `copy`
#[derive(Args, Debug)]
#[command(
    long_about = "Copy snapshots from another repository into this one.\n\n\
        Everything is read there, sealed anew under the keys of this repository, and stored where it is not known yet: nothing of one \
        repository tells anything about the other. What was copied before is recognised, and a copy that was cut off goes on where it \
        ended. Time, host, tags, sources and state of a snapshot stay as they are; pins and comments go with it when this repository is \
        opened with an owner's key.",
    after_help = "\
Examples:
  esker -r /mnt/copy copy --from-repo /srv/backup              all snapshots that are not here yet
  esker -r /mnt/copy copy --from-repo /srv/backup latest       the newest one
  esker -r /mnt/copy copy --from-repo /srv/backup -n           what would be read and copied

The other repository needs an owner's key. Two repositories share most when both cut alike: `esker init --copy-chunker-params`.
For the same repository byte by byte, without keys, see `esker mirror`. Exit code 21: snapshots that cannot be read whole there
were not copied."
)]
pub struct Copy {
    /// Only these of the other repository; without any: all
    #[arg(value_name = "SNAPSHOT")]
    pub snapshots: Vec<String>,
    /// The other repository
    #[command(flatten)]
    pub from: From,
    /// Which snapshots
    #[command(flatten)]
    pub filter: super::Filter,
    /// Copy again what is here already, for folders and lists that were lost here
    #[arg(long)]
    pub again: bool,
    /// Say what would be copied, and copy nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
}

/// `mirror`
#[derive(Args, Debug)]
#[command(
    long_about = "Copy every object of this repository to another place, byte by byte, without a key.\n\n\
        The mirror opens with the same passwords and keys. It is a whole repository at every moment, also when the run is cut off; the \
        next one copies what is missing. A place that was written to by itself, or that has what this repository lost, is refused.",
    after_help = "\
Examples:
  esker -r /srv/backup mirror /mnt/usb/backup              what is not there yet
  esker -r /srv/backup mirror /mnt/usb/backup --delete     and free there what a prune freed here (needs an owner's key)
  esker -r /srv/backup repair packs --from /mnt/usb/backup is what it is good for
  esker -r /mnt/usb/backup mirror /srv/backup              puts back what is missing here"
)]
pub struct Mirror {
    /// Where to
    #[arg(value_name = "URL", value_hint = ValueHint::DirPath)]
    pub to: OsString,
    /// Say something about the store there, as -o does; with any of these, -o is about the store of -r alone
    #[arg(long = "to-option", value_name = "NAME=VALUE")]
    pub to_options: Vec<String>,
    /// Delete there what is gone here for good: packs that a prune deleted, forgotten snapshots, removed keys (needs an owner's key)
    #[arg(long)]
    pub delete: bool,
    /// Say what would be copied, and change nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
}

/// `guard`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  esker guard                show it
  esker guard 14d            no rule drops a snapshot that was first seen less than 14 days ago
  esker guard 0              none

Whoever breaks into a host with a writer key can take snapshots of garbage, so that keep rules drop the good ones sooner. Within
this time they cannot.")]
pub struct Guard {
    /// Days or hours, such as 14d or 36h; 0 for none; without it, show what is set
    #[arg(value_name = "PERIOD")]
    pub period: Option<String>,
}
