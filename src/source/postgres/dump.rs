//! A dump passing by, and what it must look like besides ending with status 0.

use crate::locks::Unpoisoned;
use std::io::{self, Read};
use std::sync::{Arc, Mutex};

use super::super::child::Child;
use super::super::command::unread;
use super::super::{RunningStream, SourceError, StreamEnd};
use super::lacks;

/// First bytes of a custom dump.
const MAGIC: &[u8; 5] = b"PGDMP";
/// How much of the end is kept, in bytes: the last lines, with the `\unrestrict` line behind them.
const TAIL: usize = 1 << 10;

/// What a dump must look like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Shape {
    /// Begins with `PGDMP`.
    Custom,
    /// Ends with the line of a complete dump.
    Plain,
    /// Ends with the line of complete globals.
    Globals,
    /// Compressed SQL: only the exit status speaks.
    Compressed,
}

impl Shape {
    fn last_line(self) -> Option<&'static [u8]> {
        match self {
            Self::Plain => Some(b"\n-- PostgreSQL database dump complete\n"),
            Self::Globals => Some(b"\n-- PostgreSQL database cluster dump complete\n"),
            Self::Custom | Self::Compressed => None,
        }
    }
}

/// A running `pg_dump` or `pg_dumpall`.
pub(super) struct DumpStream {
    child: Child,
    shape: Shape,
    what: String,
    head: Vec<u8>,
    tail: Vec<u8>,
    ended: bool,
    said: Said,
}

/// What the programs of a source warned of, although they ended well.
#[derive(Clone, Default)]
pub(super) struct Said(Arc<Mutex<Vec<String>>>);

impl Said {
    fn add(&self, warnings: Vec<String>) {
        self.0.lock().unpoisoned().extend(warnings);
    }

    /// All of it so far.
    pub(super) fn all(&self) -> Vec<String> {
        self.0.lock().unpoisoned().clone()
    }
}

impl DumpStream {
    pub(super) fn new(child: Child, shape: Shape, what: String, said: Said) -> Self {
        Self { child, shape, what, head: Vec::new(), tail: Vec::new(), ended: false, said }
    }

    /// Notes the beginning and the end.
    fn watch(&mut self, bytes: &[u8]) -> Result<(), SourceError> {
        let missing = MAGIC.len() - self.head.len();
        self.head.extend_from_slice(&bytes[..missing.min(bytes.len())]);
        if self.shape == Shape::Custom && !MAGIC.starts_with(&self.head) {
            return Err(self.wrong("it does not begin with PGDMP: pg_dump printed something else (a terminal in between?)"));
        }
        self.tail.extend_from_slice(&bytes[bytes.len().saturating_sub(TAIL)..]);
        self.tail.drain(..self.tail.len().saturating_sub(TAIL));
        Ok(())
    }

    fn wrong(&self, detail: &str) -> SourceError {
        SourceError::Shape { what: self.what.clone(), detail: detail.to_owned() }
    }
}

impl Read for DumpStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.child.read(buffer)?;
        self.watch(&buffer[..n]).map_err(SourceError::into_read)?;
        self.ended |= n == 0 && !buffer.is_empty();
        Ok(n)
    }
}

impl RunningStream for DumpStream {
    fn finish(mut self: Box<Self>) -> Result<StreamEnd, SourceError> {
        if !self.ended {
            return Err(unread(&self.what));
        }
        self.child.wait()?;
        if self.head.is_empty() {
            return Err(SourceError::Empty { what: self.what.clone(), stderr: self.child.stderr() });
        }
        if self.shape == Shape::Custom && self.head != MAGIC {
            return Err(self.wrong("it is shorter than the first word of a dump"));
        }
        if let Some(line) = self.shape.last_line()
            && !self.tail.windows(line.len()).any(|window| window == line)
        {
            return Err(self.wrong("the line that says it is complete does not stand at its end"));
        }
        self.said.add(lacks::said(if self.shape == Shape::Globals { "pg_dumpall" } else { "pg_dump" }, &self.child.stderr()));
        Ok(StreamEnd::Ok)
    }
    fn abort(mut self: Box<Self>) {
        self.child.kill();
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::command::shell;
    use super::super::super::{Environment, Secret};
    use super::*;
    use crate::monitor::Stop;

    fn run(script: &str, shape: Shape) -> Result<StreamEnd, SourceError> {
        let child = Child::start(&shell(script), &Environment::of_process(), &Stop::new(), &Secret::default())?;
        let mut stream = Box::new(DumpStream::new(child, shape, "x.dump".into(), Said::default()));
        let read = io::copy(&mut stream, &mut io::sink());
        read.map_err(|error| SourceError::from_read("x", error))?;
        stream.finish()
    }

    #[test]
    fn a_custom_dump_begins_with_its_magic() {
        assert!(run("printf PGD; sleep 0.05; printf MPrest", Shape::Custom).is_ok());
        assert!(run("printf 'psql: not a dump'", Shape::Custom).is_err());
        assert!(run("printf PGD", Shape::Custom).is_err());
        assert!(matches!(run("true", Shape::Custom), Err(SourceError::Empty { .. })));
    }

    #[test]
    fn a_plain_dump_says_that_it_is_complete() {
        let whole = r"printf 'SELECT 1;\n--\n-- PostgreSQL database dump complete\n--\n\n\\unrestrict abc\n\n'";
        assert!(run(whole, Shape::Plain).is_ok());
        assert!(run(whole, Shape::Globals).is_err());
        assert!(run(r"printf '1\t2\n\\.\n'", Shape::Plain).is_err());
        let long_ago = r"printf '\n-- PostgreSQL database dump complete\n'; head -c 5000 /dev/zero";
        assert!(run(long_ago, Shape::Plain).is_err());
    }

    #[test]
    fn a_whole_looking_dump_with_another_status_is_none() {
        let line = r"printf 'PGDMP\n-- PostgreSQL database dump complete\n'; exit 1";
        for shape in [Shape::Custom, Shape::Plain] {
            assert!(matches!(run(line, shape), Err(SourceError::Child { .. })));
        }
    }
}
