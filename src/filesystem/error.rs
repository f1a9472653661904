//! What can go wrong with a user's file, with its path.

use rustix::io::Errno;

use crate::format::tree::NodeKind;

/// An action on a file or folder failed.
#[derive(Debug, thiserror::Error)]
pub enum FilesystemError {
    /// The operating system refused.
    #[error("cannot {action} {}: {errno}", shown(path))]
    Os {
        /// What was tried: "open", "write" ...
        action: &'static str,
        /// Raw bytes of the path, relative to the root or target it was tried under when that is all that is known.
        path: Vec<u8>,
        /// Its answer.
        errno: Errno,
    },
    /// The entry, or the folder it is in, is immutable or append-only, which stops root too.
    #[error(
        "cannot {action} {}: it or its folder is immutable or append-only (`lsattr` shows it, `chattr -i -a` ends it)",
        shown(path)
    )]
    Fixed {
        /// What was tried.
        action: &'static str,
        /// As in [`FilesystemError::Os`].
        path: Vec<u8>,
    },
    /// A name that would leave its folder, or that no file can have.
    #[error("refused name {}", shown(.0))]
    BadName(Vec<u8>),
    /// Something else stands under this name: the caller may remove it and try again.
    #[error("{} is in the way as {found:?}", shown(path))]
    InTheWay {
        /// Where.
        path: Vec<u8>,
        /// What stands there.
        found: NodeKind,
    },
    /// Something other than what was found before stands under this name now.
    #[error("{} is another kind of entry now", shown(.0))]
    KindChanged(Vec<u8>),
    /// A file with several names is not written in place: the other names may lie outside the target.
    #[error("{} has other names, which writing would change too", shown(.0))]
    HasOtherNames(Vec<u8>),
    /// Another file system is mounted here: not removed.
    #[error("{} is a mount point", shown(.0))]
    MountPoint(Vec<u8>),
}

impl FilesystemError {
    pub(super) fn os(action: &'static str, path: &[u8], errno: Errno) -> Self {
        Self::Os { action, path: path.to_vec(), errno }
    }

    /// It is gone, which is no fault while a live system is backed up.
    pub(crate) fn is_vanished(&self) -> bool {
        matches!(self, Self::Os { errno, .. } if *errno == Errno::NOENT || *errno == Errno::STALE)
    }

    /// Something stands under the name already.
    pub(crate) fn already_exists(&self) -> bool {
        matches!(self, Self::Os { errno, .. } if *errno == Errno::EXIST) || matches!(self, Self::InTheWay { .. })
    }

    /// No space is left, or a quota is reached.
    pub(crate) fn is_full(&self) -> bool {
        matches!(self, Self::Os { errno, .. } if *errno == Errno::NOSPC || *errno == Errno::DQUOT)
    }
}

/// A path for a person: control characters escaped, so that a name cannot drive a terminal; bytes that are not UTF-8 as `\xNN`.
pub fn shown(path: &[u8]) -> String {
    let mut text = String::with_capacity(path.len());
    for part in path.utf8_chunks() {
        for c in part.valid().chars() {
            if c.is_control() || is_direction_mark(c) {
                text.extend(c.escape_default());
            } else {
                text.push(c);
            }
        }
        for byte in part.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

/// Characters that reorder or hide the text around them.
fn is_direction_mark(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shown_path_cannot_drive_a_terminal() {
        assert_eq!(shown("a/ü\u{1b}[31m\u{202e}".as_bytes()), "a/ü\\u{1b}[31m\\u{202e}");
        assert_eq!(shown(b"x\xff\n"), "x\\xff\\n");
    }
}
