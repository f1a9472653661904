//! The command line of what looks at snapshots: `snapshots`, `ls`, `find`, `diff`.

use std::ffi::OsString;

use clap::Args;

use super::Filter;

/// `snapshots`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  esker snapshots --host auth01 --tag nightly
  esker snapshots latest

A snapshot is named by `latest`, `latest~1` (the one before), or the first digits of its id.")]
pub struct Snapshots {
    /// Only these
    #[arg(value_name = "SNAPSHOT")]
    pub snapshots: Vec<String>,
    /// Which of them
    #[command(flatten)]
    pub filter: Filter,
    /// Those that were forgotten and are still there
    #[arg(long, conflicts_with = "snapshots")]
    pub forgotten: bool,
    /// Runs that failed and committed nothing; --host narrows them
    #[arg(long, conflicts_with_all = ["snapshots", "forgotten", "tag", "source"])]
    pub failed: bool,
    /// Also why each is incomplete, and the warnings about it
    #[arg(long, conflicts_with = "forgotten")]
    pub long: bool,
}

/// `ls`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  esker ls latest                      the sources of the newest snapshot
  esker ls -l latest:media/icons       one folder, with modes, owners, sizes and times
  esker ls -R 3fa2                     everything in the snapshot whose id begins with 3fa2
  esker ls latest --host auth01        the newest of one host

With a config file that has sources, `latest` is the newest snapshot of this host that holds them.")]
pub struct Ls {
    /// Snapshot, and a path in it
    #[arg(value_name = "SNAPSHOT[:PATH]")]
    pub place: OsString,
    /// What `latest` looks at
    #[command(flatten)]
    pub filter: Filter,
    /// Mode, owner, size and time of each entry
    #[arg(short, long)]
    pub long: bool,
    /// Folders within folders too
    #[arg(short = 'R', long)]
    pub recursive: bool,
}

/// `find`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  esker find '*.pem'                   by name, in every snapshot
  esker find -s latest 'media/*/logo*' by path, when the pattern has a slash

`*` and `?` stay within one name, `**` crosses folders, `[a-z]` is one of a set.")]
pub struct Find {
    /// Names or, with a slash, paths
    #[arg(value_name = "PATTERN", required = true)]
    pub patterns: Vec<String>,
    /// Look only in this snapshot; may be given several times
    #[arg(short, long = "snapshot", value_name = "SNAPSHOT")]
    pub snapshots: Vec<String>,
    /// Upper and lower case are the same
    #[arg(short, long)]
    pub ignore_case: bool,
    /// Which snapshots
    #[command(flatten)]
    pub filter: Filter,
}

/// `diff`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  esker diff latest~1 latest
  esker diff 3fa2:media 77c0:media

+ added   - removed   M content changed   T kind changed   U only mode, owner or other metadata changed (--metadata)")]
pub struct Diff {
    /// The older one, and a path in it
    #[arg(value_name = "A[:PATH]")]
    pub a: OsString,
    /// The newer one, and a path in it
    #[arg(value_name = "B[:PATH]")]
    pub b: OsString,
    /// What `latest` looks at
    #[command(flatten)]
    pub filter: Filter,
    /// Show entries whose content is the same and whose metadata is not
    #[arg(long)]
    pub metadata: bool,
}
