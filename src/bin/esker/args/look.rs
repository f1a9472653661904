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

Name a snapshot with `latest`, `latest~1` (the one before), or the first digits of its id.")]
pub struct Snapshots {
    /// List only these snapshots
    #[arg(value_name = "SNAPSHOT")]
    pub snapshots: Vec<String>,
    /// Which of them
    #[command(flatten)]
    pub filter: Filter,
    /// List forgotten snapshots that can still be brought back
    #[arg(long, conflicts_with = "snapshots")]
    pub forgotten: bool,
    /// List failed runs, which saved nothing; --host narrows them
    #[arg(long, conflicts_with_all = ["snapshots", "forgotten", "tag", "source"])]
    pub failed: bool,
    /// Also print why a snapshot is incomplete, and its warnings
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

If the config file has sources, `latest` is the newest snapshot of this host that holds them.")]
pub struct Ls {
    /// The snapshot, and a path in it
    #[arg(value_name = "SNAPSHOT[:PATH]")]
    pub place: OsString,
    /// Which snapshots `latest` considers
    #[command(flatten)]
    pub filter: Filter,
    /// Print mode, owner, size and time of each entry
    #[arg(short, long)]
    pub long: bool,
    /// List subfolders too
    #[arg(short = 'R', long)]
    pub recursive: bool,
}

/// `find`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  esker find '*.pem'                   by name, in every snapshot
  esker find -s latest 'media/*/logo*' by path, when the pattern has a slash

`*` and `?` match within one name, `**` matches across folders, `[a-z]` matches one character of a set.")]
pub struct Find {
    /// Patterns of names or, with a slash, of paths
    #[arg(value_name = "PATTERN", required = true)]
    pub patterns: Vec<String>,
    /// Search only this snapshot; may be given several times
    #[arg(short, long = "snapshot", value_name = "SNAPSHOT")]
    pub snapshots: Vec<String>,
    /// Ignore case
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

+ added   - removed   M content changed   T kind changed   U only metadata changed, such as mode or owner (--metadata)")]
pub struct Diff {
    /// The older snapshot, and a path in it
    #[arg(value_name = "A[:PATH]")]
    pub a: OsString,
    /// The newer snapshot, and a path in it
    #[arg(value_name = "B[:PATH]")]
    pub b: OsString,
    /// Which snapshots `latest` considers
    #[command(flatten)]
    pub filter: Filter,
    /// Also show entries of which only the metadata changed
    #[arg(long)]
    pub metadata: bool,
}
