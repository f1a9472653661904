//! `{host}` and its like in the messages of `[monitor]`.

use super::Told;
use crate::settings::When;

/// Where a text stands, and what a value must not break there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Escaping {
    /// In an address.
    Url,
    /// In the value of a header.
    Header,
    /// Between the quotes of a JSON text.
    Json,
    /// Anywhere.
    None,
}

/// The values of placeholders.
pub struct Values(Vec<(&'static str, String)>);

impl Values {
    /// Those of a run; `secret` is what stands in the message's `secret-file`.
    pub fn new(told: &Told, secret: String) -> Self {
        let text = |name: &str| match &told.json[name] {
            serde_json::Value::String(text) => text.clone(),
            serde_json::Value::Null => String::new(),
            other => other.to_string(),
        };
        let status = match told.when() {
            When::Start => "start",
            When::Success => "success",
            When::Failure => "failure",
        };
        let duration = told.json["duration"].as_f64().unwrap_or_default();
        Self(vec![
            ("host", text("host")),
            ("command", text("command")),
            ("exit_code", text("exit_code")),
            ("status", status.to_owned()),
            ("snapshot_id", text("snapshot_id")),
            ("message", text("message")),
            ("duration", format!("{duration:.0}")),
            ("json", told.json.to_string()),
            ("secret", secret),
        ])
    }

    /// Puts the values in. A brace that belongs to no placeholder stays, so that JSON can be written as it is.
    pub fn fill(&self, template: &str, escaping: Escaping) -> String {
        let mut filled = String::with_capacity(template.len());
        let mut rest = template;
        while let Some(at) = rest.find('{') {
            filled.push_str(&rest[..at]);
            rest = &rest[at..];
            let found = self.0.iter().find(|(name, _)| rest[1..].strip_prefix(name).is_some_and(|after| after.starts_with('}')));
            match found {
                Some((name, value)) => {
                    filled.push_str(&escaped(name, value, escaping));
                    rest = &rest[name.len() + 2..];
                }
                None => {
                    filled.push('{');
                    rest = &rest[1..];
                }
            }
        }
        filled.push_str(rest);
        filled
    }
}

fn escaped(name: &str, value: &str, escaping: Escaping) -> String {
    match escaping {
        Escaping::Url => percent(value),
        Escaping::Header => value.chars().map(|c| if c.is_control() { ' ' } else { c }).collect(),
        // The whole run is JSON already, and stands without quotes.
        Escaping::Json if name == "json" => value.to_owned(),
        Escaping::Json => {
            let quoted = serde_json::Value::from(value).to_string();
            quoted[1..quoted.len() - 1].to_owned()
        }
        Escaping::None => value.to_owned(),
    }
}

/// Percent-encoded, all but what no address gives a meaning.
pub fn percent(text: &str) -> String {
    let one = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(one).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::hooks::Facts;

    fn values() -> Values {
        let json = json!({ "host": "auth01", "message": "no \"db\"\nat all", "exit_code": 4, "snapshot_id": null });
        Values::new(&Told { exit_code: Some(4), json, facts: Facts::new() }, "s3cret".to_owned())
    }

    #[test]
    fn a_value_cannot_break_what_it_is_put_into() {
        let values = values();
        assert_eq!(values.fill("{host}: {exit_code} {status}", Escaping::None), "auth01: 4 failure");
        assert_eq!(values.fill("{\"text\": \"{message}\"}", Escaping::Json), "{\"text\": \"no \\\"db\\\"\\nat all\"}");
        assert_eq!(values.fill("m={message}", Escaping::Url), "m=no%20%22db%22%0Aat%20all");
        assert_eq!(values.fill("Bearer {secret}", Escaping::Header), "Bearer s3cret");
        assert_eq!(values.fill("{message}", Escaping::Header), "no \"db\" at all");
    }

    #[test]
    fn a_brace_without_a_known_name_stays() {
        assert_eq!(values().fill("{x} {} { {host", Escaping::None), "{x} {} { {host");
        let whole: serde_json::Value = serde_json::from_str(&values().fill("{\"run\": {json}}", Escaping::Json)).unwrap();
        assert_eq!(whole["run"]["host"], "auth01");
    }
}
