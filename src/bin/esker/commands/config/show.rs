//! `esker config show`: the settings after includes, variables and the profile; never a secret.

use std::path::Path;

use anyhow::Result;
use serde_json::{Map, Value, json};

use crate::monitoring::host_of;
use crate::settings::file::{self, Config};
use crate::settings::looks_secret;
use crate::terminal::Output;
use crate::terminal::escape::escape_lines;

const HIDDEN: &str = "(hidden)";

/// Prints them.
pub fn run(config: &Config, path: &Path, profile: Option<&str>, out: &mut Output) -> Result<()> {
    let section = config.choose(profile).map_err(|error| file::mistake(path, error))?;
    let mut settings = serde_json::to_value(&section)?;
    hide(&mut settings, "", &config.hidden);
    prune(&mut settings);
    if out.json {
        let files: Vec<String> = config.files.iter().map(|path| path.to_string_lossy().into_owned()).collect();
        return out.json(&json!({
            "message_type": "config",
            "files": files,
            "profile": profile,
            "profiles": config.profiles().collect::<Vec<_>>(),
            "settings": settings,
        }));
    }
    for path in &config.files {
        out.line(&format!("# {}", escape_lines(&path.to_string_lossy())))?;
    }
    out.line("")?;
    out.line(toml::to_string_pretty(&settings)?.trim_end())
}

/// Takes secrets out: those in addresses and connection strings, in options and headers, and values of variables that seem secret.
fn hide(value: &mut Value, key: &str, hidden: &[String]) {
    match value {
        Value::String(text) => *text = shown(text, key, hidden),
        Value::Array(values) => values.iter_mut().for_each(|value| hide(value, key, hidden)),
        Value::Object(map) => {
            for (name, value) in map.iter_mut() {
                match (key, value.is_string()) {
                    ("option" | "headers", true) if looks_secret(name) => *value = HIDDEN.into(),
                    _ => hide(value, name, hidden),
                }
            }
        }
        _ => {}
    }
}

fn shown(text: &str, key: &str, hidden: &[String]) -> String {
    let mut text = match key {
        // Who knows the address can write to it.
        "ping" => host_of(text),
        "url" if text.starts_with("http") => host_of(text),
        "connection" => connection(text),
        _ => text.to_owned(),
    };
    text = login(&text);
    for value in hidden {
        text = text.replace(value.as_str(), HIDDEN);
    }
    text
}

/// `://user:password@`
fn login(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let Some(at) = rest[..end].rfind('@') else { return text.to_owned() };
    match rest[..at].split_once(':') {
        Some((user, _)) => format!("{scheme}://{user}:{HIDDEN}{}", &rest[at..]),
        None => text.to_owned(),
    }
}

/// `password=...`, also in quotes, and `?password=` of an address.
fn connection(text: &str) -> String {
    let Some(at) = text.find("password=") else { return text.to_owned() };
    let start = at + "password=".len();
    let rest = &text[start..];
    let length = match rest.strip_prefix('\'') {
        Some(quoted) => quoted.find('\'').map_or(rest.len(), |end| end + 2),
        None => rest.find([' ', '&']).unwrap_or(rest.len()),
    };
    format!("{}{HIDDEN}{}", &text[..start], &rest[length..])
}

/// TOML has no null, and what was not said need not be shown.
fn prune(value: &mut Value) {
    let is_empty = |value: &Value| match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(values) => values.is_empty(),
        _ => false,
    };
    match value {
        Value::Array(values) => values.iter_mut().for_each(prune),
        Value::Object(map) => {
            map.values_mut().for_each(prune);
            let kept: Map<String, Value> = std::mem::take(map).into_iter().filter(|(_, value)| !is_empty(value)).collect();
            *map = kept;
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_in_addresses_and_connection_strings_are_not_shown() {
        for (key, text, expected) in [
            ("url", "redis://user:pw@host:6379", "redis://user:(hidden)@host:6379"),
            ("connection", "host=db password=s3cret user=x", "host=db password=(hidden) user=x"),
            ("connection", "password='a b' user=x", "password=(hidden) user=x"),
            ("connection", "postgresql://u:pw@db/app", "postgresql://u:(hidden)@db/app"),
            ("ping", "https://hc-ping.com/uuid", "https://hc-ping.com/..."),
            ("repository", "s3://bucket/prefix", "s3://bucket/prefix"),
            ("command", "dump --token t0ken", "dump --token (hidden)"),
        ] {
            assert_eq!(shown(text, key, &["t0ken".to_owned()]), expected);
        }
    }
}
