//! Telling monitors how a run went: healthchecks.io, Uptime Kuma, ntfy, a webhook, a command.
//!
//! A monitor is never a reason for a run to fail, and holds it up by seconds at most: what cannot be told is a warning.

mod template;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use esker::locks::Unpoisoned;
use esker::notify::{self, NotifyError, Request};
use esker::parallel;
use serde_json::Value;

use crate::hooks::{Call, Facts};
use crate::secret::password_file;
use crate::settings::{Message, MonitorEntry, When};
use crate::terminal::escape::escape;
use crate::terminal::progress::Progress;
use template::{Escaping, Values};

/// All requests at the end of a run together.
const TIMEOUT: Duration = Duration::from_secs(5);
/// A longer `timeout` is cut to this.
const TIMEOUT_MAX: Duration = Duration::from_secs(60);
/// The command of `on-failure`.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(60);

/// What there is to tell.
pub struct Told {
    /// `None`: it has just begun.
    pub exit_code: Option<u8>,
    /// The run as JSON.
    pub json: Value,
    /// The same as variables, for commands.
    pub facts: Facts,
}

impl Told {
    fn when(&self) -> When {
        match self.exit_code {
            None => When::Start,
            Some(0) => When::Success,
            Some(_) => When::Failure,
        }
    }
}

type Answer = Receiver<(String, Result<(), NotifyError>)>;

/// The monitors of one run.
pub struct Monitoring {
    entry: MonitorEntry,
    progress: Arc<Progress>,
    limit: Duration,
    /// What was sent when the run began; the run did not wait for it.
    begun: Mutex<Vec<Answer>>,
}

impl Monitoring {
    /// As the config file has them.
    pub fn new(entry: MonitorEntry, progress: Arc<Progress>) -> Self {
        let limit = entry.timeout.map_or(TIMEOUT, |span| span.0.min(TIMEOUT_MAX));
        Self { entry, progress, limit, begun: Mutex::default() }
    }

    /// The run begins. Does not wait.
    pub fn start(&self, told: &Told) {
        if self.entry.sends() && !notify::is_built() {
            self.progress.warn(&format!("[monitor]: no message is sent: {}", NotifyError::NotBuilt));
        }
        *self.begun.lock().unpoisoned() = self.send(told);
    }

    /// The run ended. Waits for the answers, but no longer than the limit.
    pub fn end(&self, told: &Told) {
        let until = Instant::now() + self.limit;
        let begun = std::mem::take(&mut *self.begun.lock().unpoisoned());
        let ended = self.send(told);
        let failed: Vec<_> = ended.into_iter().filter_map(|answer| self.failure(&answer, until)).collect();
        for (what, why) in begun.into_iter().filter_map(|answer| self.failure(&answer, until)) {
            let text = format!("{what} was not told that the run began: {why}");
            // Two warnings about one monitor that is away are one too many.
            if failed.is_empty() { self.progress.warn(&text) } else { self.progress.remark(&text) }
        }
        failed.iter().for_each(|(what, why)| self.warn(what, why));
        if told.when() == When::Failure {
            self.on_failure(told);
        }
    }

    fn failure(&self, answer: &Answer, until: Instant) -> Option<(String, NotifyError)> {
        // A little later than the request's own limit, so that its error is heard.
        let left = until.saturating_duration_since(Instant::now()) + Duration::from_millis(200);
        match answer.recv_timeout(left) {
            Ok((_, Ok(()))) => None,
            Ok((what, Err(error))) => Some((what, error)),
            Err(_) => Some(("a monitor".to_owned(), NotifyError::TooLate(self.limit))),
        }
    }

    fn warn(&self, what: &str, error: &dyn std::fmt::Display) {
        self.progress.warn(&format!("{what} was not told: {error}"));
    }

    fn on_failure(&self, told: &Told) {
        let Some(words) = &self.entry.on_failure else { return };
        let argv = match words.split() {
            Ok(argv) => argv,
            Err(error) => return self.warn("on-failure", &error),
        };
        let input = Some(format!("{}\n", told.json).into_bytes());
        let call = Call { argv: &argv, facts: &told.facts, pass: &[], input, timeout: COMMAND_TIMEOUT, stop: None };
        if let Err(why) = call.run(&|line| self.progress.remark(&format!("on-failure: {line}"))) {
            self.progress.warn(&format!("on-failure: {why}"));
        }
    }

    /// Sends everything that belongs to this moment, at once.
    fn send(&self, told: &Told) -> Vec<Answer> {
        if !notify::is_built() {
            return Vec::new();
        }
        let mut requests = Vec::new();
        if let Some(request) = self.ping(told).transpose() {
            requests.push(("the monitor of `ping`".to_owned(), request));
        }
        for (number, message) in self.entry.message.iter().enumerate().filter(|(_, message)| message.when.contains(&told.when())) {
            requests.push((format!("the monitor of message {}", number + 1), self.message(message, told)));
        }
        let mut answers = Vec::new();
        for (what, request) in requests {
            let limit = self.limit;
            let name = what.clone();
            let sent = request.and_then(|request| {
                let send = move || (name, notify::send(&request, limit));
                parallel::background("monitor", send).map_err(|error| error.to_string())
            });
            match sent {
                Ok(answer) => answers.push(answer),
                Err(why) => self.warn(&what, &why),
            }
        }
        answers
    }

    fn line_of(&self, path: &std::path::Path) -> Result<String, String> {
        let line = password_file(path, &|text| self.progress.warn(text)).map_err(|error| error.to_string())?;
        Ok(line.trim().to_owned())
    }

    /// `None`: nothing is called at this moment.
    fn ping(&self, told: &Told) -> Result<Option<Request>, String> {
        let url = match (&self.entry.ping, &self.entry.ping_file) {
            (Some(url), _) => url.clone(),
            (None, Some(path)) => self.line_of(path)?,
            (None, None) => return Ok(None),
        };
        let Some(url) = ping_url(&url, told) else { return Ok(None) };
        let (body, headers) = match self.entry.body && told.exit_code.is_some() {
            true => (told.json.to_string().into_bytes(), vec![("Content-Type".to_owned(), "application/json".to_owned())]),
            false => (Vec::new(), Vec::new()),
        };
        let method = if body.is_empty() { "GET" } else { "POST" }.to_owned();
        Ok(Some(Request { method, url, headers, body }))
    }

    fn message(&self, message: &Message, told: &Told) -> Result<Request, String> {
        let secret = message.secret_file.as_ref().map(|path| self.line_of(path)).transpose()?.unwrap_or_default();
        let url = match (&message.url, &message.url_file) {
            (Some(url), _) => url.clone(),
            (None, Some(path)) => self.line_of(path)?,
            (None, None) => String::new(),
        };
        let values = Values::new(told, secret);
        let mut headers: Vec<(String, String)> =
            message.headers.iter().map(|(name, value)| (name.clone(), values.fill(value, Escaping::Header))).collect();
        let body = message.body.as_deref().unwrap_or_default();
        let named = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        let is_json = match named {
            Some((_, value)) => value.contains("json"),
            None => body.trim_start().starts_with(['{', '[']),
        };
        if is_json && named.is_none() {
            headers.push(("Content-Type".to_owned(), "application/json".to_owned()));
        }
        let body = values.fill(body, if is_json { Escaping::Json } else { Escaping::None });
        let method = message.method.clone().unwrap_or_else(|| if body.is_empty() { "GET" } else { "POST" }.to_owned());
        Ok(Request { method, url: values.fill(&url, Escaping::Url), headers, body: body.into_bytes() })
    }
}

/// What is called: `/start` and `/<exit code>` behind the address, as healthchecks.io has it. An address of Uptime Kuma
/// (`/api/push/...`) has no start; it is told `up` or `down`.
fn ping_url(url: &str, told: &Told) -> Option<String> {
    let (base, query) = url.split_once('?').map_or((url, None), |(base, query)| (base, Some(query)));
    let base = base.trim_end_matches('/');
    if base.contains("/api/push/") {
        let code = told.exit_code?;
        let status = if code == 0 { "up" } else { "down" };
        let said = match (code, told.json["message"].as_str().unwrap_or_default()) {
            (0, _) => "OK".to_owned(),
            (code, "") => format!("exit code {code}"),
            (code, message) => format!("exit code {code}: {message}"),
        };
        return Some(format!("{base}?status={status}&msg={}", template::percent(&said)));
    }
    let moment = told.exit_code.map_or_else(|| "start".to_owned(), |code| code.to_string());
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    Some(format!("{base}/{moment}{query}"))
}

/// The host of an address, for people: the rest of it is often a secret.
pub fn host_of(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let host = rest.split(['/', '?']).next().unwrap_or_default();
    let host = host.rsplit('@').next().unwrap_or_default();
    escape(format!("{scheme}://{host}/...").as_bytes())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(exit_code: Option<u8>, message: &str) -> Told {
        Told { exit_code, json: json!({ "message": message }), facts: Facts::new() }
    }

    #[test]
    fn an_address_of_healthchecks_gets_the_moment_behind_it() {
        let url = "https://hc-ping.com/1234/";
        assert_eq!(ping_url(url, &told(None, "")).as_deref(), Some("https://hc-ping.com/1234/start"));
        assert_eq!(ping_url(url, &told(Some(0), "")).as_deref(), Some("https://hc-ping.com/1234/0"));
        assert_eq!(ping_url("https://h/x?rid=7", &told(Some(4), "")).as_deref(), Some("https://h/x/4?rid=7"));
    }

    #[test]
    fn an_address_of_uptime_kuma_is_told_up_or_down() {
        let url = "https://kuma.example/api/push/abc?status=up&msg=OK&ping=";
        assert_eq!(ping_url(url, &told(None, "")), None);
        assert_eq!(ping_url(url, &told(Some(0), "")).as_deref(), Some("https://kuma.example/api/push/abc?status=up&msg=OK"));
        let down = ping_url(url, &told(Some(4), "no db")).unwrap();
        assert_eq!(down, "https://kuma.example/api/push/abc?status=down&msg=exit%20code%204%3A%20no%20db");
    }

    #[test]
    fn of_an_address_only_the_host_is_shown() {
        assert_eq!(host_of("https://user:pw@hc-ping.com/1234?x"), "https://hc-ping.com/...");
    }
}
