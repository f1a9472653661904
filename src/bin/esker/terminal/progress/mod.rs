//! How a long operation shows on standard error: bars on a terminal, a line every few seconds elsewhere, JSON when asked for.

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use esker::locks::Unpoisoned;
use esker::monitor::{Monitor, Phase, Problem};
use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use serde_json::json;

use super::escape::{escape, escape_lines};
use super::{log, stderr_line, words};

/// How progress is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// A bar that repaints itself.
    Bar,
    /// A line every [`LINE_INTERVAL`].
    Lines,
    /// A JSON object every [`JSON_INTERVAL`].
    Json,
    /// Nothing.
    Silent,
}

const LINE_INTERVAL: Duration = Duration::from_secs(5);
const JSON_INTERVAL: Duration = Duration::from_secs(1);
/// How often the name of the current file is painted: faster than an eye reads is a waste.
const NAME_INTERVAL: Duration = Duration::from_millis(100);
/// Problems shown one by one; the operation's own summary has them all.
const PROBLEMS_SHOWN_MAX: u64 = 1_000;

/// Implements [`Monitor`] for a person or a script.
#[derive(Debug)]
pub struct Progress {
    mode: Mode,
    json: bool,
    verbose: u8,
    quiet: bool,
    start: Instant,
    bar: ProgressBar,
    phase: Mutex<Option<Phase>>,
    items: AtomicU64,
    bytes: AtomicU64,
    items_total: AtomicU64,
    bytes_total: AtomicU64,
    uploaded: AtomicU64,
    problems: AtomicU64,
    /// Milliseconds since `start` of the last line, and of the last name painted.
    line_at_ms: AtomicU64,
    name_at_ms: AtomicU64,
    current: Mutex<Vec<u8>>,
    /// Warnings and problems that were said; each is said once in a run.
    said: Mutex<HashSet<String>>,
}

impl Progress {
    /// `json`: everything on standard error is JSON.
    pub fn new(mode: Mode, json: bool, quiet: bool, verbose: u8) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        Self {
            mode,
            json,
            verbose,
            quiet,
            start: Instant::now(),
            bar,
            phase: Mutex::new(None),
            items: 0.into(),
            bytes: 0.into(),
            items_total: 0.into(),
            bytes_total: 0.into(),
            uploaded: 0.into(),
            problems: 0.into(),
            line_at_ms: 0.into(),
            name_at_ms: 0.into(),
            current: Mutex::new(Vec::new()),
            said: Mutex::new(HashSet::new()),
        }
    }

    /// Takes the bar away, so that results are not painted over. Called before a result or an error is printed.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
        self.bar.set_draw_target(ProgressDrawTarget::hidden());
    }

    /// A warning for a person, whatever the mode; `-q` keeps it, because it was not asked for and matters.
    pub fn warn(&self, text: &str) {
        if self.is_new(text.to_owned()) {
            self.warn_again(text);
        }
    }

    /// A warning that comes as often as it happens, such as that of a request that is made again.
    pub fn warn_again(&self, text: &str) {
        if self.json {
            self.say(&json!({ "message_type": "warning", "message": text }).to_string());
        } else {
            self.say(&format!("esker: warning: {}", escape_lines(text)));
        }
    }

    /// Something to know that is no warning; not with `-q`.
    pub fn tell(&self, text: &str) {
        match (self.quiet, self.json) {
            (true, _) => log::write(text),
            (false, true) => self.say(&json!({ "message_type": "remark", "message": text }).to_string()),
            (false, false) => self.say(&format!("esker: {}", escape_lines(text))),
        }
    }

    /// `-v`: something to know that is no warning.
    pub fn remark(&self, text: &str) {
        if self.verbose == 0 {
            log::write(text);
            return;
        }
        if self.json {
            self.say(&json!({ "message_type": "remark", "message": text }).to_string());
        } else {
            self.say(&format!("esker: {}", escape_lines(text)));
        }
    }

    /// False: this run said it before. Of very many, only the first are remembered.
    fn is_new(&self, text: String) -> bool {
        let mut said = self.said.lock().unpoisoned();
        !said.contains(&text) && (said.len() as u64 >= PROBLEMS_SHOWN_MAX || said.insert(text))
    }

    fn say(&self, line: &str) {
        self.bar.suspend(|| stderr_line(line));
    }

    fn since_start_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// True for one caller per interval.
    fn due(&self, last_ms: &AtomicU64, interval: Duration) -> bool {
        let now = self.since_start_ms();
        let last = last_ms.load(Ordering::Relaxed);
        let interval = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
        now.saturating_sub(last) >= interval && last_ms.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    fn counts(&self) -> Counts {
        Counts {
            items: self.items.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            items_total: self.items_total.load(Ordering::Relaxed),
            bytes_total: self.bytes_total.load(Ordering::Relaxed),
            uploaded: self.uploaded.load(Ordering::Relaxed),
        }
    }

    fn phase(&self) -> Option<Phase> {
        *self.phase.lock().unpoisoned()
    }

    fn current_name(&self) -> String {
        escape(&self.current.lock().unpoisoned())
    }

    /// Shows what is being worked on, as often as an eye can follow.
    fn paint_name(&self) {
        if self.due(&self.name_at_ms, NAME_INTERVAL) {
            self.bar.set_message(self.current_name());
        }
    }

    fn style(&self, bytes_total: u64) -> ProgressStyle {
        let columns = console_columns();
        let template = template(columns, bytes_total > 0, self.phase() == Some(Phase::Backup));
        ProgressStyle::with_template(&template)
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("=> ")
            .with_key("left", time_left)
    }

    /// The totals of a backup are those of the run before: once they are passed nobody knows how much is left.
    fn drop_passed_totals(&self) {
        if self.phase() != Some(Phase::Backup) {
            return;
        }
        let bytes_total = self.bytes_total.load(Ordering::Relaxed);
        if bytes_total > 0 && self.bytes.load(Ordering::Relaxed) > bytes_total {
            self.bytes_total.store(0, Ordering::Relaxed);
            self.items_total.store(0, Ordering::Relaxed);
            self.show_totals(0);
        }
    }

    fn show_totals(&self, bytes_total: u64) {
        if self.mode == Mode::Bar {
            if bytes_total > 0 {
                self.bar.set_length(bytes_total);
            } else {
                self.bar.unset_length();
            }
            self.bar.set_style(self.style(bytes_total));
        }
    }
}

/// Columns of the terminal that progress is painted on.
fn console_columns() -> usize {
    rustix::termios::tcgetwinsize(std::io::stderr()).map_or(80, |size| usize::from(size.ws_col)).max(1)
}

/// The time left, where it is known: not before one percent is done, and not while the last files are closed.
fn time_left(state: &ProgressState, out: &mut dyn std::fmt::Write) {
    let total = state.len().unwrap_or(0);
    if (total.div_ceil(100).max(1)..total).contains(&state.pos()) {
        // There is no way to tell that a line could not be written.
        let _ = write!(out, "  ETA {:#}", HumanDuration(state.eta()));
    }
}

/// What a line shows at this width; the widest numbers fit, so that it never takes two lines.
fn template(columns: usize, knows_total: bool, is_estimate: bool) -> String {
    let of = if is_estimate { " of about " } else { "/" };
    match (knows_total, columns) {
        (true, ..64) => "{prefix:>9} {percent:>3}%  {binary_bytes}".to_owned(),
        (true, 64..108) => {
            format!("{{prefix:>9}} {{percent:>3}}%  {{binary_bytes}}{of}{{binary_total_bytes}}{{left}}  {{wide_msg}}")
        }
        (true, _) => format!(
            "{{prefix:>9}} [{{bar:24}}] {{percent:>3}}%  {{binary_bytes}}{of}{{binary_total_bytes}}  {{binary_bytes_per_sec}}{{left}}  \
             {{wide_msg}}"
        ),
        (false, ..50) => "{prefix:>9} {spinner} {elapsed}  {binary_bytes}".to_owned(),
        (false, _) => "{prefix:>9} {spinner} {elapsed}  {binary_bytes}  {binary_bytes_per_sec}  {wide_msg}".to_owned(),
    }
}

struct Counts {
    items: u64,
    bytes: u64,
    items_total: u64,
    bytes_total: u64,
    uploaded: u64,
}

impl Counts {
    /// 0 to 1; 0 while totals are unknown.
    #[expect(clippy::cast_precision_loss, reason = "a percentage")]
    fn fraction(&self) -> f64 {
        let of = |done: u64, total: u64| (done as f64 / total as f64).min(1.0);
        match (self.bytes_total, self.items_total) {
            (0, 0) => 0.0,
            (0, items) => of(self.items, items),
            (bytes, _) => of(self.bytes, bytes),
        }
    }

    fn json(&self, phase: Option<Phase>, seconds: u64, current: String) -> String {
        let mut line = json!({
            "message_type": "status",
            "phase": phase.map(name),
            "seconds_elapsed": seconds,
            "percent_done": self.fraction(),
            "total_files": self.items_total,
            "files_done": self.items,
            "total_bytes": self.bytes_total,
            "bytes_done": self.bytes,
            "bytes_uploaded": self.uploaded,
        });
        if !current.is_empty() {
            line["current_files"] = json!([current]);
        }
        line.to_string()
    }

    fn line(&self, phase: Option<Phase>, seconds: u64) -> String {
        let mut text = format!("{}: {}", phase.map_or("working", name), words::size(self.bytes));
        if self.bytes_total > 0 {
            text += &format!(" of {} ({:.0}%)", words::size(self.bytes_total), self.fraction() * 100.0);
        }
        text += &format!(", {}", words::counted(self.items, "item", "items"));
        if self.uploaded > 0 {
            text += &format!(", {} stored", words::size(self.uploaded));
        }
        text + &format!(", {seconds} s")
    }
}

fn name(phase: Phase) -> &'static str {
    match phase {
        Phase::Sync => "syncing",
        Phase::Backup => "reading",
        Phase::Copy => "copying",
        Phase::Commit => "saving",
        Phase::Plan => "planning",
        Phase::Restore => "restoring",
        Phase::Dump => "dumping",
        Phase::VerifyStructure => "checking",
        Phase::VerifyData => "verifying",
        Phase::Repack => "repacking",
        Phase::Delete => "deleting",
    }
}

impl Monitor for Progress {
    fn begin(&self, phase: Phase, items_total: u64, bytes_total: u64) {
        *self.phase.lock().unpoisoned() = Some(phase);
        self.items.store(0, Ordering::Relaxed);
        self.bytes.store(0, Ordering::Relaxed);
        self.items_total.store(items_total, Ordering::Relaxed);
        self.bytes_total.store(bytes_total, Ordering::Relaxed);
        if self.mode == Mode::Bar {
            self.current.lock().unpoisoned().clear();
            self.bar.set_prefix(name(phase));
            self.bar.set_message("");
            self.bar.reset();
            self.show_totals(bytes_total);
            // Last, so that nothing is painted in the style of the phase before; once, for another target leaves what stands there.
            if self.bar.is_hidden() {
                self.bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(10));
            }
            self.bar.enable_steady_tick(Duration::from_millis(200));
        }
    }

    fn total(&self, items_total: u64, bytes_total: u64) {
        self.items_total.store(items_total, Ordering::Relaxed);
        let before = self.bytes_total.swap(bytes_total, Ordering::Relaxed);
        if before != bytes_total {
            self.show_totals(bytes_total);
        }
    }

    fn advance(&self, items: u64, bytes: u64) {
        self.items.fetch_add(items, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.drop_passed_totals();
        match self.mode {
            Mode::Bar => {
                self.bar.inc(bytes);
                self.paint_name();
            }
            Mode::Lines if self.due(&self.line_at_ms, LINE_INTERVAL) => {
                self.say(&self.counts().line(self.phase(), self.since_start_ms() / 1000));
            }
            Mode::Json if self.due(&self.line_at_ms, JSON_INTERVAL) => {
                self.say(&self.counts().json(self.phase(), self.since_start_ms() / 1000, self.current_name()));
            }
            Mode::Lines | Mode::Json | Mode::Silent => {}
        }
    }

    fn current(&self, subject: &[u8]) {
        if matches!(self.mode, Mode::Bar | Mode::Json) {
            // Always kept: of many small files and a large one the large one is still read when the name is painted.
            let mut current = self.current.lock().unpoisoned();
            current.clear();
            current.extend_from_slice(subject);
            drop(current);
            if self.mode == Mode::Bar {
                self.paint_name();
            }
        }
    }

    fn uploaded(&self, bytes: u64) {
        self.uploaded.fetch_add(bytes, Ordering::Relaxed);
    }

    fn wants_entries(&self) -> bool {
        self.verbose > 0
    }

    fn entry(&self, action: &'static str, path: &[u8], bytes: u64) {
        if self.verbose == 0 {
            return;
        }
        if self.json {
            self.say(
                &json!({ "message_type": "verbose_status", "action": action, "item": escape(path), "data_size": bytes })
                    .to_string(),
            );
        } else {
            self.say(&format!("{action:>10}  {}  {}", escape(path), words::size(bytes)));
        }
    }

    fn problem(&self, problem: Problem) {
        if !self.is_new(format!("{}: {}", escape(&problem.subject), problem.detail)) {
            return;
        }
        let count = self.problems.fetch_add(1, Ordering::Relaxed);
        if count == PROBLEMS_SHOWN_MAX && !self.json {
            self.say("esker: further problems are not shown one by one");
        }
        if count >= PROBLEMS_SHOWN_MAX {
            return;
        }
        let subject = escape(&problem.subject);
        if self.json {
            self.say(&json!({ "message_type": "error", "item": subject, "error": { "message": problem.detail } }).to_string());
        } else {
            self.say(&format!("esker: {subject}: {}", escape_lines(&problem.detail)));
        }
    }

    fn note(&self, text: &str) {
        if self.quiet || (self.verbose == 0 && !self.json) {
            log::write(text);
            return;
        }
        if self.json {
            self.say(&json!({ "message_type": "note", "message": text }).to_string());
        } else {
            self.say(&escape_lines(text));
        }
    }
}
