//! The standard output of a program as a stream, and command lines split into arguments without a shell.

use std::io::{self, Read};

use super::child::Child;
use super::{Environment, RunningStream, Secret, SourceError, SourceKind, StreamEnd, StreamSource};
use crate::monitor::Stop;

/// What to run and how its output counts.
#[derive(Clone, Debug)]
pub struct CommandOptions {
    /// The name in the snapshot: the stream is one file of this name.
    pub name: String,
    /// The program (looked up in `PATH` unless it has a slash) and its arguments; from [`split`] or [`shell`].
    pub argv: Vec<String>,
    /// May the snapshot be committed (as incomplete) when it fails?
    pub optional: bool,
    /// No output at all is in order. Otherwise it counts as failed.
    pub allow_empty: bool,
    /// What the program sees: all of this but esker's variables and the credentials of stores.
    pub environment: Environment,
}

impl CommandOptions {
    /// A required command that must print something.
    pub fn new(name: impl Into<String>, argv: Vec<String>) -> Self {
        let environment = Environment::of_process();
        Self { name: name.into(), argv, optional: false, allow_empty: false, environment }
    }
}

/// A program whose output is the stream.
pub struct CommandSource {
    options: CommandOptions,
    stop: Stop,
}

impl CommandSource {
    /// Checks the settings; nothing runs yet.
    pub fn new(mut options: CommandOptions) -> Result<Self, SourceError> {
        super::check_name(&options.name)?;
        if options.argv.first().is_none_or(|program| program.is_empty()) {
            return Err(SourceError::Settings(format!("source {:?}: the command is empty", options.name)));
        }
        if options.argv.iter().any(|argument| argument.contains('\0')) {
            return Err(SourceError::Settings(format!("source {:?}: a zero byte in the command", options.name)));
        }
        options.environment.show_all_but_secrets();
        Ok(Self { options, stop: Stop::new() })
    }
}

impl StreamSource for CommandSource {
    fn name(&self) -> &str {
        &self.options.name
    }
    fn kind(&self) -> SourceKind {
        SourceKind::Command
    }
    fn optional(&self) -> bool {
        self.options.optional
    }
    fn prepare(&mut self, stop: &Stop) -> Result<Vec<String>, SourceError> {
        self.stop = stop.clone();
        Ok(vec![String::new()])
    }
    fn open(&mut self, _stream: usize) -> Result<Box<dyn RunningStream>, SourceError> {
        let child = Child::start(&self.options.argv, &self.options.environment, &self.stop, &Secret::default())?;
        Ok(Box::new(CommandStream { child, bytes: 0, ended: false, allow_empty: self.options.allow_empty }))
    }
    /// The program's name only: arguments may hold what should not be seen.
    fn facts(&self) -> Vec<(String, String)> {
        self.options.argv.first().map(|program| ("program".to_owned(), program.clone())).into_iter().collect()
    }
    fn remarks(&self) -> Vec<String> {
        Vec::new()
    }
}

struct CommandStream {
    child: Child,
    bytes: u64,
    ended: bool,
    allow_empty: bool,
}

impl Read for CommandStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.child.read(buffer)?;
        self.bytes += n as u64;
        self.ended |= n == 0 && !buffer.is_empty();
        Ok(n)
    }
}

impl RunningStream for CommandStream {
    fn finish(mut self: Box<Self>) -> Result<StreamEnd, SourceError> {
        if !self.ended {
            return Err(unread(self.child.program()));
        }
        self.child.wait()?;
        if self.bytes == 0 && !self.allow_empty {
            return Err(SourceError::Empty { what: self.child.program().to_owned(), stderr: self.child.stderr() });
        }
        Ok(StreamEnd::Ok)
    }
    fn abort(mut self: Box<Self>) {
        self.child.kill();
    }
}

/// `finish` before the end was read: a mistake in the program, but never a whole stream.
pub(super) fn unread(what: &str) -> SourceError {
    SourceError::Shape { what: what.to_owned(), detail: "it was not read to its end".into() }
}

/// The arguments that run `line` through `/bin/sh`.
pub fn shell(line: &str) -> Vec<String> {
    vec!["/bin/sh".into(), "-c".into(), line.into()]
}

/// Splits a command line into its arguments by a shell's rules for words, and nothing else of a shell: blanks separate; `'...'`
/// is literal; inside `"..."` a backslash protects `"`, `\`, `$` and `` ` ``; elsewhere it protects any character. Characters
/// that would mean something to a shell (pipes, redirections, variables, patterns) are refused unless quoted, because the user
/// who wrote them expects a shell.
pub fn split(line: &str) -> Result<Vec<String>, SourceError> {
    let wrong = |what: &str| Err(SourceError::Settings(format!("the command line {what}")));
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        match c {
            ' ' | '\t' | '\n' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match rest.next() {
                        Some('\'') => break,
                        Some(c) => word.push(c),
                        None => return wrong("has a ' without its end"),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match rest.next() {
                        Some('"') => break,
                        Some('\\') => match rest.next() {
                            Some(c @ ('"' | '\\' | '$' | '`')) => word.push(c),
                            Some('\n') => {}
                            Some(c) => word.extend(['\\', c]),
                            None => return wrong("has a \" without its end"),
                        },
                        Some(c @ ('$' | '`')) => return wrong(&format!("uses {c}, which needs a shell")),
                        Some(c) => word.push(c),
                        None => return wrong("has a \" without its end"),
                    }
                }
            }
            '\\' => match rest.next() {
                Some('\n') => {}
                Some(c) => word.get_or_insert_default().push(c),
                None => return wrong("ends with a backslash"),
            },
            '|' | '&' | ';' | '<' | '>' | '(' | ')' | '$' | '`' | '*' | '?' | '[' => {
                return wrong(&format!("uses {c}, which needs a shell (or quotes)"));
            }
            '#' | '~' if word.is_none() => return wrong(&format!("uses {c}, which needs a shell (or quotes)")),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    if words.is_empty() { wrong("is empty") } else { Ok(words) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(argv: Vec<String>, change: impl FnOnce(&mut CommandOptions)) -> Result<(Vec<u8>, StreamEnd), SourceError> {
        let mut options = CommandOptions::new("x", argv);
        change(&mut options);
        let mut source = CommandSource::new(options)?;
        assert_eq!(source.prepare(&Stop::new())?, [""]);
        let mut stream = source.open(0)?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).map_err(|error| SourceError::from_read("x", error))?;
        Ok((bytes, stream.finish()?))
    }

    #[test]
    fn a_line_is_split_as_a_shell_would() {
        let cases: [(&str, &[&str]); 7] = [
            ("a  b\tc\n", &["a", "b", "c"]),
            (r"a\ b 'c d' e", &["a b", "c d", "e"]),
            (r#""a $HOME""#, &[]),
            (r#""a \"b\" \$x \n""#, &[r#"a "b" $x \n"#]),
            (r#"'' x"y"'z'"#, &["", "xyz"]),
            (r"'\' --a=b#c", &["\\", "--a=b#c"]),
            ("'|' \\; \"*\"", &["|", ";", "*"]),
        ];
        for (line, words) in cases {
            match split(line) {
                Ok(found) => assert_eq!(found, words, "{line}"),
                Err(_) => assert!(words.is_empty(), "{line}"),
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn words_in_quotes_come_back_whatever_they_hold(words in proptest::collection::vec("[^\0]*", 1..6)) {
            let quoted: Vec<String> = words.iter().map(|word| format!("'{}'", word.replace('\'', r"'\''"))).collect();
            proptest::prop_assert_eq!(split(&quoted.join(" ")).unwrap(), words);
        }

        #[test]
        fn any_line_is_split_or_refused(line in ".*") {
            let _ = split(&line);
        }
    }

    #[test]
    fn what_only_a_shell_can_do_is_refused_and_not_passed_on() {
        for line in ["a | b", "a > b", "a && b", "a $B", "a `b`", "a; b", "ls *.sql", "~/dump", "# a"] {
            assert!(split(line).unwrap_err().to_string().contains("needs a shell"), "{line}");
        }
        for line in ["'a", "\"a", "a\\", "", "  "] {
            assert!(split(line).is_err(), "{line}");
        }
    }

    #[test]
    fn a_whole_stream_has_bytes_and_status_zero() {
        assert_eq!(run(shell("printf abc"), |_| {}).unwrap(), (b"abc".to_vec(), StreamEnd::Ok));
        assert!(matches!(run(shell("printf abc; exit 1"), |_| {}), Err(SourceError::Child { .. })));
    }

    #[test]
    fn a_command_that_prints_nothing_has_failed_unless_that_is_allowed() {
        let error = run(shell("echo why >&2"), |_| {}).unwrap_err();
        assert!(error.to_string().contains("gave no bytes") && error.to_string().contains("why"), "{error}");
        assert!(run(shell("true"), |options| options.allow_empty = true).is_ok());
    }

    #[test]
    fn a_command_does_not_see_our_secrets() {
        let pairs = [("PATH", "/usr/bin:/bin"), ("ESKER_PASSWORD", "s3cret")];
        let (seen, _) = run(vec!["env".into()], |options| options.environment = Environment::from_pairs(pairs)).unwrap();
        assert_eq!(seen, b"PATH=/usr/bin:/bin\n");
    }

    #[test]
    fn finishing_before_the_end_is_no_success() {
        let mut source = CommandSource::new(CommandOptions::new("x", shell("yes"))).unwrap();
        let mut stream = source.open(0).unwrap();
        stream.read_exact(&mut [0; 100]).unwrap();
        assert!(matches!(stream.finish(), Err(SourceError::Shape { .. })));
    }
}
