//! Policies as Amazon reads them, as far as those of `examples/` go: whatever else stands in one ends the test, so that nothing is
//! skipped in silence.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::servers::faulty::{Seen, Verb};

/// The bucket that the files speak of.
pub const BUCKET_IN_FILES: &str = "esker-backups";

pub fn path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(file)
}

/// The text of a policy, for another bucket.
pub fn text(file: &str, bucket: &str) -> String {
    std::fs::read_to_string(path(file)).unwrap().replace(BUCKET_IN_FILES, bucket)
}

#[derive(Clone)]
pub struct Policy {
    bucket: String,
    statements: Vec<Value>,
}

impl Policy {
    pub fn load(file: &str, bucket: &str) -> Self {
        let policy: Value = serde_json::from_str(&text(file, bucket)).unwrap();
        assert_eq!(policy["Version"], "2012-10-17");
        Self { bucket: bucket.to_owned(), statements: policy["Statement"].as_array().unwrap().clone() }
    }

    /// Allowed by a statement, and forbidden by none.
    pub fn allows(&self, seen: &Seen) -> bool {
        let (action, resource) = match seen.verb {
            Verb::List => ("s3:ListBucket", format!("arn:aws:s3:::{}", self.bucket)),
            Verb::Head if seen.key.is_empty() => ("s3:ListBucket", format!("arn:aws:s3:::{}", self.bucket)),
            Verb::Get | Verb::Head => ("s3:GetObject", format!("arn:aws:s3:::{}/{}", self.bucket, seen.key)),
            Verb::Put => ("s3:PutObject", format!("arn:aws:s3:::{}/{}", self.bucket, seen.key)),
            Verb::Delete => ("s3:DeleteObject", format!("arn:aws:s3:::{}/{}", self.bucket, seen.key)),
            Verb::Move | Verb::MakeFolder => unreachable!("S3 has neither"),
        };
        let mut allowed = false;
        for statement in &self.statements {
            let applies = any(&statement["Action"], &mut |pattern| matches(pattern, action))
                && any(&statement["Resource"], &mut |pattern| matches(pattern, &resource))
                && holds(&statement["Condition"], seen);
            match (applies, statement["Effect"].as_str().unwrap()) {
                (true, "Deny") => return false,
                (applies, "Allow") => allowed |= applies,
                (_, "Deny") => {}
                (_, other) => panic!("an effect {other}"),
            }
        }
        allowed
    }

    /// Every action with the folder it is allowed in (none: the whole bucket).
    pub fn grants(&self) -> Vec<(String, String)> {
        let mut grants = Vec::new();
        for statement in &self.statements {
            any(&statement["Action"], &mut |action| {
                any(&statement["Resource"], &mut |resource| {
                    let below = resource.trim_start_matches("arn:aws:s3:::").trim_start_matches(&self.bucket);
                    grants.push((action.to_owned(), below.trim_matches(['/', '*']).to_owned()));
                    false
                })
            });
        }
        grants
    }
}

/// A text or a list of texts.
fn any(value: &Value, is: &mut dyn FnMut(&str) -> bool) -> bool {
    match value {
        Value::String(one) => is(one),
        Value::Array(several) => several.iter().any(|one| is(one.as_str().unwrap())),
        other => panic!("neither a text nor a list: {other}"),
    }
}

/// With a `*` at the end or nowhere: no policy here has another.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(begin) => {
            assert!(!begin.contains(['*', '?']), "{pattern}");
            text.starts_with(begin)
        }
        None => {
            assert!(!pattern.contains(['*', '?']), "{pattern}");
            text == pattern
        }
    }
}

fn holds(condition: &Value, seen: &Seen) -> bool {
    let Some(operators) = condition.as_object() else { return true };
    operators.iter().all(|(operator, keys)| {
        keys.as_object().unwrap().iter().all(|(key, wanted)| match (operator.as_str(), key.as_str()) {
            ("Null", "s3:if-none-match") => wanted.as_str().unwrap() == if seen.if_none_match { "false" } else { "true" },
            other => panic!("a condition this test does not know: {other:?}"),
        })
    })
}
