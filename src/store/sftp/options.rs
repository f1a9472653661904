//! What may be said about an SFTP store beside its address.

use std::num::NonZeroU64;
use std::time::Duration;

use crate::store::options::{Notice, Options, OptionsError};

/// How a server is reached.
#[derive(Clone)]
pub struct SftpOptions {
    /// The program, with its arguments, whose standard input and output are the protocol; empty: `ssh`, as the address says.
    pub command: Vec<String>,
    /// More arguments for `ssh`, before ours: what they set wins.
    pub args: Vec<String>,
    /// Most connections at once.
    pub connections: usize,
    /// A connection on which no byte moved for so long, while a thread waits, is given up.
    pub timeout: Duration,
    /// After a connection broke: how long new ones are tried before the call fails.
    pub retry: Duration,
    /// Take a server that cannot sync files: what it was given last may be lost when its power fails.
    pub without_fsync: bool,
    /// At most so many bytes per second towards the store.
    pub limit_upload: Option<NonZeroU64>,
    /// At most so many bytes per second from the store.
    pub limit_download: Option<NonZeroU64>,
    /// Told about calls that are made again.
    pub notice: Option<Notice>,
}

impl Default for SftpOptions {
    fn default() -> Self {
        Self {
            command: Vec::new(),
            args: Vec::new(),
            connections: 4,
            timeout: Duration::from_secs(120),
            retry: Duration::from_secs(120),
            without_fsync: false,
            limit_upload: None,
            limit_download: None,
            notice: None,
        }
    }
}

impl SftpOptions {
    /// From `--option`: `command`, `args`, `connections`, `timeout`, `retry`, `without-fsync`.
    pub fn from_options(options: &Options) -> Result<Self, OptionsError> {
        let named = options.for_kind("sftp", &["command", "args", "connections", "timeout", "retry", "without-fsync"])?;
        let words = |name: &str| match named.text(name) {
            None => Ok(Vec::new()),
            Some(text) => {
                words(text).ok_or(OptionsError::Value { name: name.to_owned(), wanted: "words, with every quote closed" })
            }
        };
        let plain = Self::default();
        Ok(Self {
            command: words("command")?,
            args: words("args")?,
            connections: named.count("connections", 64)?.unwrap_or(plain.connections),
            // No time at all would break every connection before it was made.
            timeout: named.seconds("timeout")?.unwrap_or(plain.timeout).max(Duration::from_secs(1)),
            retry: named.seconds("retry")?.unwrap_or(plain.retry),
            without_fsync: named.yes("without-fsync")?.unwrap_or(plain.without_fsync),
            limit_upload: options.limit_upload,
            limit_download: options.limit_download,
            notice: options.notice.clone(),
        })
    }
}

/// Words between blanks; quotes of either kind hold blanks together, a backslash protects what follows it (not inside `'...'`). `None` when a
/// quote is not closed. No shell reads them.
fn words(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match (c, quote) {
            (c, Some(open)) if c == open => quote = None,
            ('\'' | '"', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            ('\\', None | Some('"')) => word.get_or_insert_default().push(rest.next()?),
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read() {
        let mut options = Options::default();
        for text in ["args=-F '/a b/config'  -4", "command=", "timeout=0", "retry=3.5", "connections=2", "without-fsync=yes"] {
            options.add(text).unwrap();
        }
        let read = SftpOptions::from_options(&options).unwrap();
        assert_eq!(read.args, ["-F", "/a b/config", "-4"]);
        assert_eq!((read.command.len(), read.connections, read.without_fsync), (0, 2, true));
        assert_eq!((read.timeout, read.retry), (Duration::from_secs(1), Duration::from_millis(3500)));
        for wrong in ["args='", "region=x", "connections=0"] {
            let mut options = Options::default();
            options.add(wrong).unwrap();
            assert!(SftpOptions::from_options(&options).is_err(), "{wrong}");
        }
    }

    #[test]
    fn words_are_held_together_by_quotes() {
        assert_eq!(words(r#" a  "b 'c"'d "e' \ f\"g "" "#).unwrap(), ["a", "b 'cd \"e", " f\"g", ""]);
        assert_eq!(words("").unwrap(), Vec::<String>::new());
        assert_eq!((words("'a"), words("a\\")), (None, None));
    }
}
