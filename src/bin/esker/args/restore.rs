//! The command line of `restore` and `dump`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};

use super::Filter;

/// What to do with files that are there already.
#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overwrite {
    /// Compare the content and write what differs
    #[default]
    Always,
    /// As `always`, but treat a file of the same size and modification time as unchanged without reading it
    IfChanged,
    /// Keep existing files
    Never,
}

/// `restore`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  esker restore latest --target /srv/restored
  esker restore latest:media --target /srv/app/media --delete
  esker restore 3fa2 --target /tmp/certs --include 'certs/**'
  esker restore latest --to-original -n

Only files that differ are written. Streams are restored as files; `esker dump` writes one to standard output.
--delete removes only entries that the source is known not to have had. It keeps what was excluded or could not be read, and
everything outside of the restored sources. It lists the entries and asks; without a terminal it needs --yes.")]
pub struct Restore {
    /// The snapshot, and a path in it
    #[arg(value_name = "SNAPSHOT[:PATH]")]
    pub place: OsString,
    /// Which snapshots `latest` considers
    #[command(flatten)]
    pub filter: Filter,
    /// The directory to write to; it is created if it does not exist
    #[arg(short, long, value_name = "DIR", value_hint = ValueHint::DirPath, required_unless_present = "to_original")]
    pub target: Option<PathBuf>,
    /// Restore each directory and file to its original place (not streams)
    #[arg(long, conflicts_with = "target")]
    pub to_original: bool,
    /// Restore only what matches this pattern (syntax of .gitignore)
    #[arg(long, value_name = "GLOB")]
    pub include: Vec<String>,
    /// Leave out what matches this pattern
    #[arg(long, value_name = "GLOB")]
    pub exclude: Vec<String>,
    /// What to do with existing files
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    pub overwrite: Overwrite,
    /// Delete entries of the target that the snapshot does not have
    #[arg(long)]
    pub delete: bool,
    /// Do not ask before deleting or before writing to the original places
    #[arg(long)]
    pub yes: bool,
    /// Start even if the target seems to have too little space
    #[arg(long)]
    pub no_space_check: bool,
    /// Write runs of zeros as holes
    #[arg(long)]
    pub sparse: bool,
    /// Read everything again afterwards and compare
    #[arg(long)]
    pub verify: bool,
    /// Do not restore owner and group
    #[arg(long)]
    pub no_ownership: bool,
    /// Restore owners by number and ignore their names
    #[arg(long, conflicts_with = "no_ownership")]
    pub numeric_ids: bool,
    /// Report what would be done, but change nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
}

/// `dump`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  createdb --template template0 app_restored
  esker dump latest:database/app.dump |
    pg_restore -d app_restored --single-transaction --exit-on-error
  esker dump latest:certs/default/tls.pem > tls.pem

If the exit code is not 0, the output is not the whole file. In a pipe, use `set -o pipefail`.")]
pub struct Dump {
    /// The snapshot, and the path of a file or stream
    #[arg(value_name = "SNAPSHOT:PATH")]
    pub place: OsString,
    /// Where restic takes the path: the message says how to write it here
    #[arg(value_name = "PATH", hide = true)]
    pub path: Option<OsString>,
    /// Which snapshots `latest` considers
    #[command(flatten)]
    pub filter: Filter,
}
