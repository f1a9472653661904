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
    /// As always, but a file of the same size and modification time counts as unchanged without being read
    IfChanged,
    /// Leave what is there
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

Only what differs is written. Streams are restored as files; `esker dump` writes one to standard output instead.
--delete removes only what the snapshot is known not to have had: nothing that was excluded or could not be read, and
nothing beside the restored sources. It lists what would go and asks; without a terminal it needs --yes.")]
pub struct Restore {
    /// Snapshot, and a path in it
    #[arg(value_name = "SNAPSHOT[:PATH]")]
    pub place: OsString,
    /// What `latest` looks at
    #[command(flatten)]
    pub filter: Filter,
    /// The directory to write to; made when absent
    #[arg(short, long, value_name = "DIR", value_hint = ValueHint::DirPath, required_unless_present = "to_original")]
    pub target: Option<PathBuf>,
    /// Put each directory back where it was taken from (streams are not put back)
    #[arg(long, conflicts_with = "target")]
    pub to_original: bool,
    /// Restore only what matches, with the meaning of .gitignore lines
    #[arg(long, value_name = "GLOB")]
    pub include: Vec<String>,
    /// Leave out what matches
    #[arg(long, value_name = "GLOB")]
    pub exclude: Vec<String>,
    /// What to do with files that are there already
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    pub overwrite: Overwrite,
    /// Delete from the target what the snapshot does not have
    #[arg(long)]
    pub delete: bool,
    /// Do not ask before deleting, or before writing to the original places
    #[arg(long)]
    pub yes: bool,
    /// Begin even when the target seems to have too little space
    #[arg(long)]
    pub no_space_check: bool,
    /// Write runs of zeros as holes
    #[arg(long)]
    pub sparse: bool,
    /// Read everything back afterwards and compare
    #[arg(long)]
    pub verify: bool,
    /// Leave owner and group as they fall
    #[arg(long)]
    pub no_ownership: bool,
    /// Go by the numbers of owners and ignore their names
    #[arg(long, conflicts_with = "no_ownership")]
    pub numeric_ids: bool,
    /// Say what would be done, and do nothing
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

When the exit code is not 0, what was written is not the whole file: in a pipe use `set -o pipefail`.")]
pub struct Dump {
    /// Snapshot, and the path of a file or stream
    #[arg(value_name = "SNAPSHOT:PATH")]
    pub place: OsString,
    /// What `latest` looks at
    #[command(flatten)]
    pub filter: Filter,
}
