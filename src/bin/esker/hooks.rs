//! Commands of the user's own that run before and after: as children with a small environment, a time limit, and no secret.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use esker::monitor::Stop;
use esker::parallel;
use esker::snapshot::Around;
use esker::source::Environment;
use rustix::process::{Pid, Signal, kill_process_group};

use crate::settings::{Commands, Hooks, OnFailure};
use crate::terminal::escape::escape_lines;
use crate::terminal::progress::Progress;

/// A hook without a `timeout` may run so long.
const TIMEOUT: Duration = Duration::from_secs(3600);
/// A child that was asked to end is killed after this.
const PATIENCE: Duration = Duration::from_secs(5);
/// Output of a child that has ended is waited for so long: a process that it left behind may hold the pipe.
const LINGER: Duration = Duration::from_secs(1);
/// The last lines of output go into the message about a failure.
const TAIL_LINES: usize = 5;
/// A longer line is cut.
const LINE_BYTES_MAX: u64 = 4096;

/// Names and values that tell a child what it is about.
pub type Facts = BTreeMap<&'static str, String>;

/// A command to run.
pub struct Call<'a> {
    /// Program and arguments.
    pub argv: &'a [String],
    /// What it is told, as variables.
    pub facts: &'a Facts,
    /// Variables of this process that it gets beside the usual few.
    pub pass: &'a [String],
    /// What it reads.
    pub input: Option<Vec<u8>>,
    /// It has failed when it runs longer.
    pub timeout: Duration,
    /// Ends it early.
    pub stop: Option<&'a Stop>,
}

impl Call<'_> {
    /// Runs it to its end; each line that it prints is handed to `line`. An error is a sentence about what happened.
    pub fn run(self, line: &dyn Fn(&str)) -> Result<(), String> {
        let Some((program, arguments)) = self.argv.split_first() else { return Err("the command is empty".to_owned()) };
        let mut child = Command::new(program)
            .args(arguments)
            .env_clear()
            .envs(environment(self.pass, self.facts))
            .stdin(if self.input.is_some() { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C is for esker, which decides what it means for its children.
            .process_group(0)
            .spawn()
            .map_err(|error| format!("{program:?} cannot be started: {error}"))?;
        if let (Some(input), Some(mut stdin)) = (self.input, child.stdin.take()) {
            // A child that does not read its input has not failed for that.
            let _ = parallel::background("hook input", move || drop(stdin.write_all(&input)));
        }
        let (send, lines) = channel();
        let pipes: [Option<Box<dyn Read + Send>>; 2] =
            [child.stdout.take().map(|pipe| Box::new(pipe) as _), child.stderr.take().map(|pipe| Box::new(pipe) as _)];
        for pipe in pipes.into_iter().flatten() {
            let send = send.clone();
            parallel::background("hook output", move || read_lines(pipe, &send)).map_err(|error| format!("no thread: {error}"))?;
        }
        drop(send);
        let mut output = Output { lines, line, tail: VecDeque::new(), open: true };
        let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let begun = Instant::now();
        let mut asked_to_end: Option<(Instant, String)> = None;
        let status = loop {
            output.take(Duration::from_millis(20));
            if let Some(status) = child.try_wait().map_err(|error| format!("{program:?}: {error}"))? {
                break status;
            }
            match &asked_to_end {
                Some((since, _)) if since.elapsed() > PATIENCE => end(group, Signal::KILL),
                Some(_) => {}
                None if begun.elapsed() > self.timeout => {
                    end(group, Signal::TERM);
                    asked_to_end = Some((Instant::now(), format!("{program:?} ran longer than {} s", self.timeout.as_secs())));
                }
                None if self.stop.is_some_and(Stop::requested) => {
                    end(group, Signal::TERM);
                    asked_to_end = Some((Instant::now(), format!("{program:?} was interrupted")));
                }
                None => {}
            }
        };
        output.drain();
        match asked_to_end {
            Some((_, why)) => Err(output.with_tail(&why)),
            None if status.success() => Ok(()),
            None => Err(output.with_tail(&format!("{program:?} failed with {}", in_words(status)))),
        }
    }
}

fn end(group: Option<Pid>, signal: Signal) {
    if let Some(group) = group {
        // It may have ended just now.
        let _ = kill_process_group(group, signal);
    }
}

fn in_words(status: ExitStatus) -> String {
    status.code().map_or_else(|| status.to_string(), |code| format!("exit code {code}"))
}

fn environment(pass: &[String], facts: &Facts) -> Vec<(OsString, OsString)> {
    let passed = |name: &str| Environment::is_for_hook(name) || pass.iter().any(|given| given == name);
    let mut all: Vec<(OsString, OsString)> = std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(passed)).collect();
    all.extend(facts.iter().map(|(name, value)| (OsString::from(name), OsString::from(value.replace('\0', "")))));
    all
}

fn read_lines(pipe: Box<dyn Read + Send>, send: &Sender<String>) {
    let mut pipe = BufReader::new(pipe);
    let mut line = Vec::new();
    while (&mut pipe).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
        let text = String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']).to_owned();
        if send.send(text).is_err() {
            // Nobody listens any more; the child must not stand still for a full pipe.
            let _ = std::io::copy(&mut pipe, &mut std::io::sink());
            return;
        }
        line.clear();
    }
}

/// What a child prints.
struct Output<'a> {
    lines: Receiver<String>,
    line: &'a dyn Fn(&str),
    tail: VecDeque<String>,
    open: bool,
}

impl Output<'_> {
    /// Hands on what comes within this time.
    fn take(&mut self, time: Duration) {
        if !self.open {
            // The channel would answer at once.
            std::thread::sleep(time);
            return;
        }
        let until = Instant::now() + time;
        loop {
            match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(text) => {
                    (self.line)(&text);
                    self.tail.push_back(text);
                    if self.tail.len() > TAIL_LINES {
                        self.tail.pop_front();
                    }
                }
                Err(RecvTimeoutError::Timeout) => return,
                Err(RecvTimeoutError::Disconnected) => {
                    self.open = false;
                    return;
                }
            }
        }
    }

    fn drain(&mut self) {
        if self.open {
            self.take(LINGER);
        }
    }

    fn with_tail(&self, what: &str) -> String {
        match self.tail.is_empty() {
            true => what.to_owned(),
            false => format!("{what}; it said: {}", self.tail.iter().map(String::as_str).collect::<Vec<_>>().join(" | ")),
        }
    }
}

/// The moments at which hooks run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// First.
    Before,
    /// After a failure.
    OnError,
    /// Last.
    After,
}

impl Stage {
    fn name(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::OnError => "on-error",
            Self::After => "after",
        }
    }
}

/// Runs the hooks of one stage. Of `before` the answer counts; what fails of the others is a warning.
pub fn run(hooks: &Hooks, stage: Stage, facts: &Facts, stop: Option<&Stop>, progress: &Progress) -> Result<(), String> {
    let commands = match stage {
        Stage::Before => &hooks.before,
        Stage::OnError => &hooks.on_error,
        Stage::After => &hooks.after,
    };
    let Some(commands) = commands else { return Ok(()) };
    let mut facts = facts.clone();
    facts.insert("ESKER_HOOK", stage.name().to_owned());
    let label = match facts.get("ESKER_SOURCE") {
        Some(source) => format!("hook {} of {source}", stage.name()),
        None => format!("hook {}", stage.name()),
    };
    match each(hooks, commands, &facts, stop, &|line| progress.remark(&format!("{label}: {line}"))) {
        Ok(()) => Ok(()),
        Err(why) if stage == Stage::Before && hooks.on_failure == OnFailure::Stop => {
            Err(format!("{label}: {}", escape_lines(&why)))
        }
        Err(why) => {
            progress.warn(&format!("{label}: {why}"));
            Ok(())
        }
    }
}

fn each(hooks: &Hooks, commands: &Commands, facts: &Facts, stop: Option<&Stop>, line: &dyn Fn(&str)) -> Result<(), String> {
    for argv in commands.split().map_err(|error| error.to_string())? {
        let timeout = hooks.timeout.map_or(TIMEOUT, |span| span.0);
        Call { argv: &argv, facts, pass: &hooks.pass_environment, input: None, timeout, stop }.run(line)?;
    }
    Ok(())
}

/// The hooks of sources, for the library to call.
pub struct OfSources {
    /// By the name of the source.
    pub hooks: BTreeMap<String, Hooks>,
    /// What every one is told.
    pub facts: Facts,
    /// Hears what they print.
    pub progress: Arc<Progress>,
}

impl std::fmt::Debug for OfSources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.hooks.keys()).finish()
    }
}

impl OfSources {
    fn facts_of(&self, source: &str) -> Facts {
        let mut facts = self.facts.clone();
        facts.insert("ESKER_SOURCE", source.to_owned());
        facts
    }
}

impl Around for OfSources {
    fn before(&self, source: &str, stop: &Stop) -> Result<(), String> {
        let Some(hooks) = self.hooks.get(source) else { return Ok(()) };
        run(hooks, Stage::Before, &self.facts_of(source), Some(stop), &self.progress)
    }

    fn after(&self, source: &str, failed: Option<&str>) {
        let Some(hooks) = self.hooks.get(source) else { return };
        let mut facts = self.facts_of(source);
        facts.insert("ESKER_SOURCE_STATUS", if failed.is_some() { "failed" } else { "ok" }.to_owned());
        if let Some(why) = failed {
            facts.insert("ESKER_ERROR", why.to_owned());
            // Only a `before` gives an answer that counts.
            let _ = run(hooks, Stage::OnError, &facts, None, &self.progress);
        }
        let _ = run(hooks, Stage::After, &facts, None, &self.progress);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn words(text: &str) -> Vec<String> {
        esker::source::command::split(text).unwrap()
    }

    fn call(line: &str, timeout: Duration, input: Option<&[u8]>) -> (Result<(), String>, Vec<String>) {
        let seen = RefCell::new(Vec::new());
        let facts = Facts::from([("ESKER_SOURCE", "media".to_owned())]);
        let argv = words(line);
        let call = Call { argv: &argv, facts: &facts, pass: &[], input: input.map(<[u8]>::to_vec), timeout, stop: None };
        let result = call.run(&|line| seen.borrow_mut().push(line.to_owned()));
        (result, seen.into_inner())
    }

    #[test]
    fn a_command_is_told_what_it_is_about_and_its_output_is_heard() {
        let (result, mut seen) = call("sh -c 'echo $ESKER_SOURCE; echo aside >&2; cat'", TIMEOUT, Some(b"input\n"));
        assert_eq!(result, Ok(()));
        seen.sort_unstable();
        assert_eq!(seen, ["aside", "input", "media"]);
    }

    #[test]
    fn a_failure_says_the_exit_code_and_the_last_words() {
        let (result, _) = call("sh -c 'echo no disk; exit 7'", TIMEOUT, None);
        let why = result.unwrap_err();
        assert!(why.contains("exit code 7") && why.contains("no disk"), "{why}");
        assert!(call("/no/such/program", TIMEOUT, None).0.unwrap_err().contains("cannot be started"));
    }

    #[test]
    fn a_command_that_takes_too_long_is_ended_with_its_children() {
        let begun = Instant::now();
        let (result, _) = call("sh -c 'sleep 60; true'", Duration::from_millis(100), None);
        assert!(result.unwrap_err().contains("ran longer"));
        assert!(begun.elapsed() < Duration::from_secs(4));
    }

    #[test]
    fn a_process_that_is_left_behind_holds_nothing_up() {
        let begun = Instant::now();
        assert_eq!(call("sh -c 'sleep 20 & echo done'", TIMEOUT, None), (Ok(()), vec!["done".to_owned()]));
        assert!(begun.elapsed() < Duration::from_secs(10));
    }
}
