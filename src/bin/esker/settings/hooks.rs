//! `[hooks]` and `[source.hooks]`: commands to run before and after.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::time::Span;
use super::{Wrapped, entry::Words};

/// One command, or several that run one after the other.
#[derive(Deserialize, Serialize, Clone, Debug, PartialEq, Eq)]
#[serde(untagged, expecting = "a command line, a list of words, or a list of such lists")]
pub enum Commands {
    /// `"systemctl stop app"`, or `["systemctl", "stop", "app"]`
    One(Words),
    /// `[["systemctl", "stop", "app"], ["sync"]]`
    Several(Vec<Words>),
}

impl Commands {
    /// Program and arguments of each.
    pub fn split(&self) -> Result<Vec<Vec<String>>> {
        match self {
            Self::One(words) => Ok(vec![words.split()?]),
            Self::Several(several) => several.iter().map(Words::split).collect(),
        }
    }
}

/// What follows from a `before` that fails.
#[derive(Deserialize, Serialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// The run does not begin; a source counts as failed.
    #[default]
    Stop,
    /// A warning.
    Warn,
}

/// The commands of a run, or of a source.
#[derive(Deserialize, Serialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Hooks {
    /// Runs first.
    pub before: Option<Commands>,
    /// Runs last, whatever happened.
    pub after: Option<Commands>,
    /// Runs when it ended badly, before `after`.
    pub on_error: Option<Commands>,
    /// What a failing `before` means.
    #[serde(default)]
    pub on_failure: OnFailure,
    /// A command that runs longer is ended and has failed.
    pub timeout: Option<Span>,
    /// Variables that the commands get beside the usual few.
    #[serde(default)]
    pub pass_environment: Vec<String>,
    /// The commands of esker that these belong to; those of a source belong to `snapshot` alone.
    pub commands: Option<Vec<Wrapped>>,
}

impl Hooks {
    /// Every command, to look for its program.
    pub fn all(&self) -> impl Iterator<Item = &Commands> {
        [&self.before, &self.on_error, &self.after].into_iter().flatten()
    }

    /// What the parser cannot see.
    pub(super) fn check(&self) -> Result<(), String> {
        for commands in self.all() {
            for words in commands.split().map_err(|error| error.to_string())? {
                if words.first().is_none_or(String::is_empty) {
                    return Err("a hook is an empty command".to_owned());
                }
            }
        }
        Ok(())
    }
}
