//! What can go wrong with a source, in words for the person who runs it.

use std::io;
use std::path::PathBuf;

use super::packages;
use crate::monitor::Stopped;

/// How a child process ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// It returned this exit status (0 is success).
    Status(i32),
    /// A signal with this number killed it.
    Signal(i32),
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Status(127) => write!(f, "ended with exit status 127 (a program was not found)"),
            Self::Status(status) => write!(f, "ended with exit status {status}"),
            Self::Signal(signal) => {
                let name = match signal {
                    1 => " (SIGHUP)",
                    2 => " (SIGINT)",
                    6 => " (SIGABRT)",
                    9 => " (SIGKILL; out of memory?)",
                    11 => " (SIGSEGV)",
                    13 => " (SIGPIPE)",
                    15 => " (SIGTERM)",
                    _ => "",
                };
                write!(f, "was killed by signal {signal}{name}")
            }
        }
    }
}

/// Why a source gave nothing, or nothing that may be kept.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A name that cannot stand in a snapshot.
    #[error("{name:?} is no name for a source: lower-case letters, digits, '.', '_' and '-', at most 64, a letter or digit first")]
    Name {
        /// The name as given.
        name: String,
    },
    /// Two sources claim one name.
    #[error("two sources are named {name:?}: give one of them another name")]
    DuplicateName {
        /// The name.
        name: String,
    },
    /// Two sources read one folder.
    #[error("{} is given twice, as source {first:?} and as source {second:?}: keep one", path.display())]
    DuplicatePath {
        /// The folder.
        path: PathBuf,
        /// Who has it.
        first: String,
        /// Who wants it too.
        second: String,
    },
    /// The settings of a source make no sense: a mistake of usage, found before anything is read.
    #[error("{0}")]
    Settings(String),
    /// A program cannot be started.
    #[error("cannot start {program:?}: {error}{}", packages::advice(program, error))]
    Start {
        /// The program as given.
        program: String,
        /// What the system said.
        error: io::Error,
    },
    /// A program failed; its output may look complete and is not to be trusted.
    #[error("{program} {ended}{}", said(stderr))]
    Child {
        /// The program.
        program: String,
        /// How it ended.
        ended: Ended,
        /// The end of what it wrote to standard error, at most 64 KiB.
        stderr: String,
    },
    /// A stream without a single byte where some were due.
    #[error(
        "{what} gave no bytes: nothing to back up is taken for a failure (`allow-empty = true` of the source accepts it){}",
        said(stderr)
    )]
    Empty {
        /// What gave nothing.
        what: String,
        /// The end of what a program wrote to standard error, if it was one.
        stderr: String,
    },
    /// What came is not whole or not what it should be.
    #[error("{what} is not whole: {detail}")]
    Shape {
        /// The stream.
        what: String,
        /// What is wrong with it.
        detail: String,
    },
    /// A server or folder is there but does not do what is needed, with what can be done about it.
    #[error("{0}")]
    Unfit(String),
    /// Reading or writing failed.
    #[error("{what}: {error}")]
    Io {
        /// What was being done.
        what: String,
        /// What the system said.
        error: io::Error,
    },
    /// The user asked to stop.
    #[error("stopped")]
    Stopped,
}

impl From<Stopped> for SourceError {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

/// The last lines of what a program said, as a tail of a message.
fn said(stderr: &str) -> String {
    const LINES: usize = 12;
    let lines: Vec<&str> = stderr.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    if lines.is_empty() {
        return String::new();
    }
    let first = lines.len().saturating_sub(LINES);
    let more = if first > 0 { "\n  ..." } else { "" };
    let mut text = format!("; it said:{more}");
    for line in &lines[first..] {
        text.push_str("\n  ");
        // Columns of another program are no columns here: tabs and runs of blanks become one blank.
        let words: Vec<&str> = line.split_whitespace().collect();
        text.extend(words.join(" ").chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }));
    }
    text
}

impl SourceError {
    /// As an error of `read`.
    pub(super) fn into_read(self) -> io::Error {
        io::Error::other(self)
    }

    /// The reason out of an error of `read`; `what` names the stream if the error is the system's own.
    pub fn from_read(what: &str, error: io::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(error) => error,
            Err(error) => Self::Io { what: what.to_owned(), error },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_survives_the_way_through_read() {
        let error = SourceError::Stopped.into_read();
        assert!(matches!(SourceError::from_read("x", error), SourceError::Stopped));
        let error = io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(SourceError::from_read("the dump", error).to_string().starts_with("the dump: "));
    }

    #[test]
    fn a_message_shows_the_last_lines_and_no_escapes() {
        let stderr: String = (0..100).map(|n| format!("line {n}\n")).collect::<String>() + "\x1b[31mred";
        let text = SourceError::Child { program: "p".into(), ended: Ended::Signal(9), stderr }.to_string();
        assert!(text.starts_with("p was killed by signal 9 (SIGKILL"), "{text}");
        assert!(text.contains("line 99") && !text.contains("line 80") && !text.contains('\x1b'), "{text}");
    }
}
