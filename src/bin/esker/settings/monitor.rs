//! `[monitor]`: who is told how a run went.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::entry::Words;
use super::{Span, Wrapped};

/// `[monitor]`
#[derive(Deserialize, Serialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct MonitorEntry {
    /// An address that is called with `/start` and `/<exit code>` behind it.
    pub ping: Option<String>,
    /// The file that holds this address, for it is a secret.
    pub ping_file: Option<PathBuf>,
    /// Send the run as JSON with the last call.
    #[serde(default)]
    pub body: bool,
    /// All calls at the end of a run together take no longer.
    pub timeout: Option<Span>,
    /// The commands of esker that are told about.
    pub commands: Option<Vec<Wrapped>>,
    /// Runs when a run ended with another code than 0; gets the run as JSON on its input.
    pub on_failure: Option<Words>,
    /// Requests of a form of your own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub message: Vec<Message>,
}

/// `[[monitor.message]]`
#[derive(Deserialize, Serialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Message {
    /// When it is sent.
    pub when: Vec<When>,
    /// Where to.
    pub url: Option<String>,
    /// The file that holds the address.
    pub url_file: Option<PathBuf>,
    /// `POST` when there is a body, else `GET`.
    pub method: Option<String>,
    /// Headers by name.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Option<String>,
    /// The file whose only line `{secret}` stands for.
    pub secret_file: Option<PathBuf>,
}

/// Moments of a run.
#[derive(Deserialize, Serialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum When {
    /// It begins.
    Start,
    /// It ended with 0.
    Success,
    /// It ended with another code.
    Failure,
}

impl MonitorEntry {
    /// Is anything sent over the network?
    pub fn sends(&self) -> bool {
        self.ping.is_some() || self.ping_file.is_some() || !self.message.is_empty()
    }

    /// What the parser cannot see.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.ping.is_some() && self.ping_file.is_some() {
            return Err("[monitor] has both `ping` and `ping-file`".to_owned());
        }
        if let Some(url) = &self.ping {
            address(url)?;
        }
        if let Some(words) = &self.on_failure {
            words.split().map_err(|error| error.to_string())?;
        }
        for message in &self.message {
            match (&message.url, &message.url_file) {
                (Some(url), None) => address(url)?,
                (None, Some(_)) => {}
                _ => return Err("a [[monitor.message]] needs either `url` or `url-file`".to_owned()),
            }
            if message.when.is_empty() {
                return Err("a [[monitor.message]] with an empty `when` is never sent".to_owned());
            }
        }
        Ok(())
    }
}

fn address(url: &str) -> Result<(), String> {
    match url.starts_with("https://") || url.starts_with("http://") {
        true => Ok(()),
        false => Err("an address in [monitor] begins with https:// or http://".to_owned()),
    }
}
