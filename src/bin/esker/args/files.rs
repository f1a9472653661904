//! Flags of `snapshot` that choose files, and leave some out.

use std::path::PathBuf;

use bytesize::ByteSize;
use clap::{Args, ValueHint};
use esker::source::IfPresent;

/// What is left out of every directory.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Files")]
pub struct LeaveOut {
    /// Leave out what matches, with the meaning of .gitignore lines; an absolute path within a source means that place
    #[arg(long, value_name = "GLOB")]
    pub exclude: Vec<String>,

    /// Leave out what matches a line of FILE
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub exclude_file: Vec<PathBuf>,

    /// As --exclude, but upper and lower case are the same
    #[arg(long, value_name = "GLOB")]
    pub iexclude: Vec<String>,

    /// As --exclude-file, but upper and lower case are the same
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub iexclude_file: Vec<PathBuf>,

    /// Do not go into directories where another file system is mounted
    #[arg(short = 'x', long)]
    pub one_file_system: bool,

    /// Leave out what is in a directory with a valid CACHEDIR.TAG
    #[arg(long)]
    pub exclude_caches: bool,

    /// Leave out what is in a directory with a file of this name (that begins with HEADER)
    #[arg(long, value_name = "NAME[:HEADER]")]
    pub exclude_if_present: Vec<IfPresent>,

    /// Leave out files larger than this, such as 500M or 2GiB
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    pub exclude_larger_than: Option<u64>,
}

/// Paths that stand in files.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Sources")]
pub struct FilesFrom {
    /// Take the paths in FILE, one a line (- is standard input), as one source called `files`; * ? [ ] and # comments are understood
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub files_from: Vec<PathBuf>,

    /// As --files-from, each line exactly as it is
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub files_from_verbatim: Vec<PathBuf>,

    /// As --files-from-verbatim, each path ended by a NUL (find -print0)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub files_from_raw: Vec<PathBuf>,
}

/// A size in bytes, with or without a unit. As restic has it, K, M, G and T are powers of 1024.
pub fn bytes(text: &str) -> Result<u64, String> {
    let binary = match text.trim_end().chars().last() {
        Some('k' | 'K' | 'm' | 'M' | 'g' | 'G' | 't' | 'T') => format!("{}iB", text.trim_end()),
        _ => text.to_owned(),
    };
    binary.parse::<ByteSize>().map(|size| size.as_u64()).map_err(|_| format!("{text:?} is no size; it is such as 500M or 2GiB"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_has_a_unit_or_is_bytes() {
        for (text, size) in
            [("1024", 1024), ("1K", 1024), ("2m", 2 << 20), ("1.5G", 3 << 29), ("2GiB", 2 << 30), ("1MB", 1_000_000)]
        {
            assert_eq!(bytes(text), Ok(size), "{text}");
        }
        for text in ["", "M", "-1", "1X", "large"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }
}
