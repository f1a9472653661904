//! The command line of what works on two repositories: `copy`, `mirror`, and the other repository of `init` and `repair`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueHint};

/// The other repository, by restic's names.
#[derive(Args, Debug, Default)]
// Ids of their own: the global flags have fields of the same names, and clap would take one for the other.
pub struct From {
    /// The location of the other repository
    #[arg(id = "from-repo", long = "from-repo", value_name = "URL", env = "ESKER_FROM_REPOSITORY", hide_env_values = true, value_hint = ValueHint::DirPath, help_heading = "The other repository")]
    pub repository: Option<OsString>,
    /// Set an option of the other repository's store. `-o` then applies only to the store of -r
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
    /// Run CMD and read its password from the first line that it prints
    #[arg(id = "from-password-command", long = "from-password-command", value_name = "CMD", env = "ESKER_FROM_PASSWORD_COMMAND", hide_env_values = true, value_hint = ValueHint::CommandString, help_heading = "The other repository")]
    pub password_command: Option<String>,
    /// Use an exported key of the other repository
    #[arg(id = "from-key-file", long = "from-key-file", value_name = "FILE", env = "ESKER_FROM_KEY_FILE", hide_env_values = true, value_hint = ValueHint::FilePath, help_heading = "The other repository")]
    pub key_file: Option<PathBuf>,
}

/// `copy`
#[derive(Args, Debug)]
#[command(
    long_about = "Copy snapshots from another repository into this one.\n\n\
        esker reads the data there, encrypts it with the keys of this repository, and stores what is new. The two repositories reveal \
        nothing about each other. Snapshots that were copied before are recognised. A copy that was interrupted continues at the next \
        run. Time, host, tags, sources and state of a snapshot do not change. Pins and comments are copied if this repository is opened \
        with an owner's key.",
    after_help = "\
Examples:
  esker -r /mnt/copy copy --from-repo /srv/backup              every snapshot that is not here yet
  esker -r /mnt/copy copy --from-repo /srv/backup latest       only the newest one
  esker -r /mnt/copy copy --from-repo /srv/backup -n           report what would be read and copied

The other repository needs an owner's key. Two repositories share the most data if both use the same chunk boundaries:
`esker init --copy-chunker-params`. To copy a repository byte by byte without keys, use `esker mirror`. Exit code 21: some
snapshots could not be read whole and were not copied."
)]
pub struct Copy {
    /// Copy only these snapshots of the other repository [default: all]
    #[arg(value_name = "SNAPSHOT")]
    pub snapshots: Vec<String>,
    /// The other repository
    #[command(flatten)]
    pub from: From,
    /// Which snapshots
    #[command(flatten)]
    pub filter: super::Filter,
    /// Copy again what is here already, to replace folders and lists that this repository lost
    #[arg(long)]
    pub again: bool,
    /// Report what would be copied, but copy nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
}

/// `mirror`
#[derive(Args, Debug)]
#[command(
    long_about = "Copy every object of this repository to another place, byte by byte, without a key.\n\n\
        The mirror opens with the same passwords and keys. It is a complete repository at every moment, even if the run is interrupted: \
        the next run copies what is missing. A mirror that has diverged is refused: one that was written to, or that still holds what \
        this repository lost.",
    after_help = "\
Examples:
  esker -r /srv/backup mirror /mnt/usb/backup              copy what is not there yet
  esker -r /srv/backup mirror /mnt/usb/backup --delete     also delete there what a prune deleted here (owner's key)
  esker -r /srv/backup repair packs --from /mnt/usb/backup restore damaged packs from the mirror
  esker -r /mnt/usb/backup mirror /srv/backup              copy back what is missing here"
)]
pub struct Mirror {
    /// The location of the mirror
    #[arg(value_name = "URL", value_hint = ValueHint::DirPath)]
    pub to: OsString,
    /// Set an option of the mirror's store. `-o` then applies only to the store of -r
    #[arg(long = "to-option", value_name = "NAME=VALUE")]
    pub to_options: Vec<String>,
    /// Also delete there what was deleted here: pruned packs, forgotten snapshots, removed keys (needs an owner's key)
    #[arg(long)]
    pub delete: bool,
    /// Report what would be copied, but change nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
}

/// `guard`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  esker guard                show the guard period
  esker guard 14d            no rule drops a snapshot that was first seen less than 14 days ago
  esker guard 0              no guard period

An attacker who controls a host with a writer key can take many worthless snapshots, so that the rules drop the good ones.
The guard period prevents this.")]
pub struct Guard {
    /// Days or hours, such as 14d or 36h, or 0 for none [default: show the guard period]
    #[arg(value_name = "PERIOD")]
    pub period: Option<String>,
}
