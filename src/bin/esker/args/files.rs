//! Flags of `snapshot` that choose files, and leave some out.

use std::path::PathBuf;

use bytesize::ByteSize;
use clap::{Args, ValueHint};
use esker::source::IfPresent;

/// What is left out of every directory.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Files")]
pub struct LeaveOut {
    /// Leave out what matches this pattern (syntax of .gitignore); an absolute path must lie within a source
    #[arg(long, value_name = "GLOB")]
    pub exclude: Vec<String>,

    /// Leave out what matches a pattern in FILE, one per line
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub exclude_file: Vec<PathBuf>,

    /// Like --exclude, but ignore case
    #[arg(long, value_name = "GLOB")]
    pub iexclude: Vec<String>,

    /// Like --exclude-file, but ignore case
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub iexclude_file: Vec<PathBuf>,

    /// Do not enter directories where another file system is mounted
    #[arg(short = 'x', long)]
    pub one_file_system: bool,

    /// Leave out the content of directories that have a valid CACHEDIR.TAG
    #[arg(long)]
    pub exclude_caches: bool,

    /// Leave out the content of directories that have a file of this name (which begins with HEADER)
    #[arg(long, value_name = "NAME[:HEADER]")]
    pub exclude_if_present: Vec<IfPresent>,

    /// Leave out files larger than this, such as 500M or 2GiB
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    pub exclude_larger_than: Option<u64>,
}

/// Paths that are read from files.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Sources")]
pub struct FilesFrom {
    /// Read paths from FILE, one per line (- is standard input), as one source named `files`; * ? [ ] and # comments work
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub files_from: Vec<PathBuf>,

    /// Like --files-from, but take each line literally
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub files_from_verbatim: Vec<PathBuf>,

    /// Like --files-from-verbatim, but each path ends with a NUL byte (find -print0)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub files_from_raw: Vec<PathBuf>,
}

/// A size in bytes, with or without a unit. As restic has it, K, M, G and T are powers of 1024.
pub fn bytes(text: &str) -> Result<u64, String> {
    let binary = match text.trim_end().chars().last() {
        Some('k' | 'K' | 'm' | 'M' | 'g' | 'G' | 't' | 'T') => format!("{}iB", text.trim_end()),
        _ => text.to_owned(),
    };
    binary.parse::<ByteSize>().map(|size| size.as_u64()).map_err(|_| format!("{text:?} is not a size, such as 500M or 2GiB"))
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
