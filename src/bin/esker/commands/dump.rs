//! `esker dump`: the bytes of one file or stream, to standard output.

use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;

use anyhow::Result;
use esker::monitor::{Monitor, Phase};
use esker::repository::Reader;
use esker::restore::coverage::is_named;
use esker::restore::proof::StreamProof;
use esker::restore::{RestoreError, stream};

use crate::args::Dump;
use crate::context::Context;
use crate::error::Usage;
use crate::exit_code::ExitCode;
use crate::shared::incomplete::Incomplete;
use crate::shared::place::Place;
use crate::terminal::escape::escape;
use crate::terminal::{closed, stdout_is_terminal, stdout_unbuffered};

/// Writes it in order. An error on the way leaves a part behind: the exit code says so.
pub fn run(options: &Dump, context: &mut Context) -> Result<ExitCode> {
    let place = Place::parse(&options.place)?;
    if let Some(path) = &options.path {
        let path = escape(path.as_bytes());
        return Err(Usage::new(format!("dump takes one argument, SNAPSHOT:PATH, and {path:?} is a second one"))
            .hint(format!("write `esker dump {}:{}`", place.snapshot, path.trim_start_matches('/')))
            .into());
    }
    if place.path.is_empty() {
        return Err(Usage::new("dump needs the path of a file or stream in the snapshot")
            .hint(format!("write SNAPSHOT:PATH; `esker ls -R {}` lists the paths", place.snapshot))
            .into());
    }
    let repository = context.open()?;
    let stored = place.find(&repository, &options.filter, context)?;
    let incomplete = Incomplete::of(&repository, &stored, is_named(&stored.snapshot, place.path))?;
    if let Some(incomplete) = &incomplete {
        incomplete.tell(context);
    }
    let reader = Reader::new(&repository, &*context.progress)?;
    context.progress.finish();
    let mut out = Screened { inner: stdout_unbuffered()?, terminal: stdout_is_terminal(), held: Vec::new(), refused: false };
    let missing = || Usage::new("dump needs the path of a file or stream, not of the whole snapshot");
    let node = reader.resolve(&stored.snapshot.root, place.path, &stored.id.short())?.ok_or_else(missing)?;
    if !out.terminal {
        context.progress.begin(Phase::Dump, 1, node.size);
        context.progress.current(place.path);
    }
    let proofs = StreamProof::all(&repository, &stored);
    let proof = proofs.iter().find(|proof| proof.is_at(place.path));
    match stream::dump(&reader, &node, place.path, proof, &mut out, &*context.progress, &context.stop) {
        Ok(_) if !out.held.is_empty() => Err(on_a_terminal()),
        Ok(_) if incomplete.is_some_and(|incomplete| incomplete.affected) => Ok(ExitCode::Incomplete),
        Ok(_) => Ok(ExitCode::Done),
        Err(RestoreError::Output(_)) if out.refused => Err(on_a_terminal()),
        Err(RestoreError::Output(error)) => Err(closed(error)),
        Err(error) => Err(error.into()),
    }
}

fn on_a_terminal() -> anyhow::Error {
    Usage::new("this is binary data, and standard output is a terminal").hint("redirect it: > FILE").into()
}

/// Keeps all but text off a terminal: what is not UTF-8, and control characters of one byte and of two, which a terminal obeys.
struct Screened<W> {
    inner: W,
    terminal: bool,
    /// The first bytes of a character whose end has not come yet; at most three between two writes.
    held: Vec<u8>,
    refused: bool,
}

/// Is this a character that a terminal only shows?
fn is_harmless(character: char) -> bool {
    matches!(character, '\n' | '\t' | '\r') || !character.is_control()
}

impl<W: Write> Write for Screened<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.terminal {
            return self.inner.write(bytes);
        }
        self.held.extend_from_slice(bytes);
        let shown = match std::str::from_utf8(&self.held) {
            Ok(text) => Some(text),
            // The rest of the last character comes with the next bytes.
            Err(error) if error.error_len().is_none() => std::str::from_utf8(&self.held[..error.valid_up_to()]).ok(),
            Err(_) => None,
        };
        let Some(text) = shown.filter(|text| text.chars().all(is_harmless)) else {
            self.refused = true;
            return Err(io::Error::other("binary data on a terminal"));
        };
        self.inner.write_all(text.as_bytes())?;
        let length = text.len();
        self.held.drain(..length);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binary_data_does_not_reach_a_terminal_and_goes_everywhere_else() {
        let mut screen = Screened { inner: Vec::new(), terminal: true, held: Vec::new(), refused: false };
        assert!(screen.write_all(b"text\n").is_ok());
        // An escape sequence, and its one-character forms in UTF-8 and in Latin-1, whole and in two writes.
        for pieces in [&[&b"\x1b[2J"[..]][..], &[b"\xc2\x9b2J"], &[b"\x9b2J"], &[b"\xc2", b"\x9b2J"], &[b"\x7f"]] {
            let mut screen = Screened { inner: Vec::new(), terminal: true, held: Vec::new(), refused: false };
            assert!(pieces.iter().any(|piece| screen.write_all(piece).is_err()), "{pieces:?}");
            assert!(screen.refused && screen.inner.is_empty(), "{pieces:?}");
        }
        for piece in ["\u{fc}".as_bytes(), &b"\xe2"[..], b"\x82\xac", "\u{1f5c4}\r\n\t".as_bytes()] {
            screen.write_all(piece).unwrap();
        }
        assert_eq!(String::from_utf8(screen.inner).unwrap(), "text\n\u{fc}\u{20ac}\u{1f5c4}\r\n\t");
        let mut pipe = Screened { inner: Vec::new(), terminal: false, held: Vec::new(), refused: false };
        assert!(pipe.write_all(b"\x1b[2J").is_ok());
    }
}
