//! How a command ended: its exit code, and what is said about it.

use anyhow::Result;

use crate::error::{Report, report};
use crate::exit_code::ExitCode;
use crate::signals::Signals;

/// How a command ended, and what is to be said about it.
pub struct Ended {
    /// The exit code.
    pub code: ExitCode,
    /// The message; none after a success, and none where nobody reads.
    pub report: Option<Report>,
}

impl Ended {
    /// Of a result. A signal that was caught is the cause of any error.
    pub fn of(result: &Result<ExitCode>, signals: &Signals, snapshot: bool) -> Self {
        let report = match result {
            Ok(code) => return Self { code: *code, report: None },
            Err(error) => report(error).map(|found| interrupted(signals, snapshot).unwrap_or(found)),
        };
        let code = report.as_ref().map_or(ExitCode::Signal(signal_hook::consts::SIGPIPE), |report| report.code);
        Self { code, report }
    }

    /// Prints the message.
    pub fn print(&self, json: bool) -> ExitCode {
        self.report.iter().for_each(|report| report.print(json));
        self.code
    }
}

/// An operation that was asked to stop ends with whatever error it met first; the cause is the signal.
fn interrupted(signals: &Signals, snapshot: bool) -> Option<Report> {
    let signal = signals.caught()?;
    let (message, hint) = match snapshot {
        true => ("interrupted; nothing was committed", Some("the next run uses what was stored already")),
        false => ("interrupted", None),
    };
    Some(Report { code: ExitCode::Signal(signal), message: message.to_owned(), hint: hint.map(str::to_owned) })
}
