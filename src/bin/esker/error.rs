//! The one place that turns errors into a message, a hint and an exit code.

use std::fmt;

use esker::store::StoreError;
use serde_json::json;

use crate::exit_code::ExitCode;
use crate::terminal::escape::escape_lines;
use crate::terminal::{OutputClosed, stderr_line};

/// The command line, the environment or the config file asks for something that cannot be. Exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Usage {
    message: String,
    hint: Option<String>,
}

impl Usage {
    /// What is wrong.
    pub fn new(message: impl fmt::Display) -> Self {
        Self { message: message.to_string(), hint: None }
    }
    /// What to do about it.
    pub fn hint(self, hint: impl fmt::Display) -> Self {
        Self { hint: Some(hint.to_string()), ..self }
    }
}

/// A password or key could not be had. Exit code 12.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct NoSecret {
    message: String,
    hint: Option<String>,
}

impl NoSecret {
    /// Why.
    pub fn new(message: impl fmt::Display) -> Self {
        Self { message: message.to_string(), hint: None }
    }
    /// What to do about it.
    pub fn hint(self, hint: impl fmt::Display) -> Self {
        Self { hint: Some(hint.to_string()), ..self }
    }
}

/// An error as it is shown.
#[derive(Debug, PartialEq, Eq)]
pub struct Report {
    /// For scripts.
    pub code: ExitCode,
    /// What happened and what follows from it.
    pub message: String,
    /// What to do next.
    pub hint: Option<String>,
}

impl Report {
    /// Prints it and gives its exit code.
    pub fn end(&self, json: bool) -> ExitCode {
        self.print(json);
        self.code
    }

    fn new(code: ExitCode, message: impl fmt::Display) -> Self {
        Self { code, message: message.to_string(), hint: None }
    }

    fn hint(self, hint: impl fmt::Display) -> Self {
        Self { hint: Some(hint.to_string()), ..self }
    }

    /// Prints it on standard error, as JSON when asked to.
    pub fn print(&self, json: bool) {
        if json {
            let line = json!({
                "message_type": "exit_error",
                "code": self.code.number(),
                "message": self.message,
                "hint": self.hint,
            });
            stderr_line(&line.to_string());
            return;
        }
        stderr_line(&format!("esker: {}", escape_lines(&self.message)));
        if let Some(hint) = &self.hint {
            stderr_line(&format!("  hint: {}", escape_lines(hint)));
        }
    }
}

/// What `error` means to a person and to a script. `None`: nobody is left to tell, end quietly.
pub fn report(error: &anyhow::Error) -> Option<Report> {
    if error.is::<OutputClosed>() {
        return None;
    }
    let known = error.chain().find_map(|cause| {
        if let Some(usage) = cause.downcast_ref::<Usage>() {
            return Some(Report { code: ExitCode::Usage, message: usage.message.clone(), hint: usage.hint.clone() });
        }
        if let Some(secret) = cause.downcast_ref::<NoSecret>() {
            return Some(Report { code: ExitCode::WrongKey, message: secret.message.clone(), hint: secret.hint.clone() });
        }
        cause.downcast_ref::<StoreError>().map(of_store)
    });
    Some(known.unwrap_or_else(|| Report::new(ExitCode::Failed, format!("{error:#}"))))
}

fn of_store(error: &StoreError) -> Report {
    match error {
        StoreError::NoStore(place) => Report::new(ExitCode::NoRepository, format!("there is no repository at {place}"))
            .hint("check --repo; is the disk mounted? `esker init` creates a repository"),
        StoreError::Full(_) => Report::new(ExitCode::StoreFull, error)
            .hint("nothing that was stored is lost; make room and run the same command again"),
        StoreError::Denied(_) => Report::new(ExitCode::Unreachable, error)
            .hint("the repository is there but this user may not use it; check who owns it"),
        StoreError::NotFound(_) | StoreError::Io(_) => Report::new(ExitCode::Unreachable, error),
        StoreError::AlreadyExists(_) | StoreError::Size { .. } => Report::new(ExitCode::Failed, error),
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn a_reader_that_went_away_is_no_error_to_speak_of() {
        assert_eq!(report(&OutputClosed.into()), None);
    }

    #[test]
    fn context_does_not_hide_what_an_error_means() {
        let error = anyhow::Error::from(StoreError::Full("no space left".into())).context("saving");
        assert_eq!(report(&error).unwrap().code, ExitCode::StoreFull);
        let error = Err::<(), _>(Usage::new("two secrets")).context("reading").unwrap_err();
        assert_eq!(report(&error).unwrap().code, ExitCode::Usage);
    }

    #[test]
    fn an_unknown_error_says_all_it_knows() {
        let error = anyhow::anyhow!("inner").context("outer");
        assert_eq!(report(&error), Some(Report::new(ExitCode::Failed, "outer: inner")));
    }
}
