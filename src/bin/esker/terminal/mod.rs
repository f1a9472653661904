//! Words out: results on standard output, everything else on standard error.
//!
//! The only place of the program that prints. Standard output carries nothing but the result; when whoever reads it goes away
//! (`esker ls latest | head`), writing ends with [`OutputClosed`] and the program ends quietly.

pub mod confirm;
pub mod escape;
pub mod held;
pub mod log;
pub mod progress;
pub mod words;

use std::io::{self, BufWriter, IsTerminal, Write};

use serde::Serialize;

/// Whoever read standard output has gone.
#[derive(Debug, thiserror::Error)]
#[error("the reader of the output is gone")]
pub struct OutputClosed;

/// Standard output could not be written: a full disk, an I/O error.
#[derive(Debug, thiserror::Error)]
#[error("writing to standard output: {0}")]
pub struct OutputFailed(io::Error);

/// Standard output.
pub struct Output {
    inner: BufWriter<io::Stdout>,
    /// Results as JSON.
    pub json: bool,
    /// Only what was asked for.
    pub quiet: bool,
}

impl Output {
    /// Buffered: call [`Output::flush`] at the end.
    pub fn new(json: bool, quiet: bool) -> Self {
        Self { inner: BufWriter::with_capacity(64 << 10, io::stdout()), json, quiet }
    }

    /// One line of a result.
    pub fn line(&mut self, text: &str) -> anyhow::Result<()> {
        self.bytes(text.as_bytes())?;
        self.bytes(b"\n")
    }

    /// One JSON object or array on one line.
    pub fn json(&mut self, value: &impl Serialize) -> anyhow::Result<()> {
        let text = serde_json::to_string(value)?;
        self.line(&text)
    }

    /// A line that `-q` and `--json` leave out: what happened, for a person.
    pub fn remark(&mut self, text: &str) -> anyhow::Result<()> {
        log::write(text);
        match (self.quiet || self.json, stdout_columns()) {
            (true, _) => Ok(()),
            (false, Some(columns)) => self.line(&words::wrapped(text, columns)),
            (false, None) => self.line(text),
        }
    }

    /// Raw bytes: the content of a file.
    pub fn bytes(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        if held::keep(held::Stream::Out, bytes) {
            return Ok(());
        }
        self.inner.write_all(bytes).map_err(closed)
    }

    /// Hands on what is buffered.
    pub fn flush(&mut self) -> anyhow::Result<()> {
        self.inner.flush().map_err(closed)
    }
}

/// Tells apart a reader that went away from a disk that is full.
pub fn closed(error: io::Error) -> anyhow::Error {
    if error.kind() == io::ErrorKind::BrokenPipe { OutputClosed.into() } else { OutputFailed(error).into() }
}

/// One line on standard error; when that fails there is nobody left to tell.
pub fn stderr_line(line: &str) {
    log::write(line);
    // JSON stays one line.
    let columns = stderr_columns().filter(|_| !line.starts_with('{'));
    let mut text = columns.map_or_else(|| line.to_owned(), |columns| words::wrapped(line, columns));
    text.push('\n');
    if held::keep(held::Stream::Error, text.as_bytes()) {
        return;
    }
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Is somebody watching standard error?
pub fn stderr_is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// Would binary data on standard output end up on a screen?
pub fn stdout_is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Columns of the terminal that results are printed on; none: they go to a file or a pipe.
pub fn stdout_columns() -> Option<usize> {
    let size = io::stdout().is_terminal().then(|| rustix::termios::tcgetwinsize(io::stdout()).ok()).flatten()?;
    Some(usize::from(size.ws_col)).filter(|&columns| columns > 0)
}

/// Columns of the terminal that messages are printed on; none: they go to a file or a pipe.
fn stderr_columns() -> Option<usize> {
    let size = stderr_is_terminal().then(|| rustix::termios::tcgetwinsize(io::stderr()).ok()).flatten()?;
    Some(usize::from(size.ws_col)).filter(|&columns| columns > 0)
}

/// Standard output itself, for large writes: neither buffered nor looked through for ends of lines.
pub fn stdout_unbuffered() -> anyhow::Result<std::fs::File> {
    use std::os::fd::AsFd;
    Ok(std::fs::File::from(io::stdout().as_fd().try_clone_to_owned().map_err(closed)?))
}
