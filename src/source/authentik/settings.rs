//! authentik's settings as authentik reads them.

use std::collections::BTreeMap;
use std::path::Path;

use super::super::{Environment, SourceError};

/// Largest `.env` or value file that is read, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// The variables of the process, over those of `.env`. Holds secrets: never printed.
pub(super) struct Settings {
    process: Environment,
    file: BTreeMap<String, String>,
}

impl Settings {
    /// Reads `.env` in `folder` if it is there; one that cannot be read is a remark, because the process may know everything.
    pub fn read(process: &Environment, folder: &Path, remarks: &mut Vec<String>) -> Result<Self, SourceError> {
        let path = folder.join(".env");
        let file = match read_small(&path) {
            Ok(text) => parse_env(&text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => {
                remarks.push(format!("{} cannot be read: {error}", path.display()));
                BTreeMap::new()
            }
        };
        Ok(Self { process: process.clone(), file })
    }

    /// A variable as it stands, if it is not empty.
    pub fn plain(&self, name: &str) -> Option<String> {
        let value = self.process.get(name).or_else(|| self.file.get(name).map(String::as_str));
        value.filter(|value| !value.is_empty()).map(str::to_owned)
    }

    /// The setting `AUTHENTIK_<key>`, with `env://` and `file://` followed.
    pub fn get(&self, key: &str) -> Result<Option<String>, SourceError> {
        let name = format!("AUTHENTIK_{key}");
        let Some(value) = self.plain(&name) else { return Ok(None) };
        let (address, fallback) = value.split_once('?').map_or((value.as_str(), None), |(address, rest)| (address, Some(rest)));
        let followed = if let Some(other) = address.strip_prefix("env://") {
            self.plain(other)
        } else if let Some(path) = address.strip_prefix("file://") {
            match read_small(Path::new(path)) {
                Ok(text) => Some(text.trim().to_owned()),
                Err(_) if fallback.is_some() => None,
                Err(error) => return Err(SourceError::Io { what: format!("{name} points to {path}"), error }),
            }
        } else {
            return Ok(Some(value));
        };
        Ok(followed.or(fallback.map(str::to_owned)).filter(|value| !value.is_empty()))
    }

    /// The first of these settings that is there.
    pub fn first(&self, keys: &[&str]) -> Result<Option<String>, SourceError> {
        for key in keys {
            if let Some(value) = self.get(key)? {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    /// Has one of these settings this value?
    pub fn any_is(&self, keys: &[&str], wanted: &str) -> Result<bool, SourceError> {
        for key in keys {
            if self.get(key)?.is_some_and(|value| value.eq_ignore_ascii_case(wanted)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Is any setting that begins so given?
    pub fn any(&self, prefix: &str) -> bool {
        ["HOST", "NAME", "USER", "PASSWORD", "PORT"].iter().any(|key| self.plain(&format!("AUTHENTIK_{prefix}{key}")).is_some())
    }
}

fn read_small(path: &Path) -> std::io::Result<String> {
    use std::io::Read;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(MAX_FILE).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The lines `NAME=value` of a `.env` file: quotes are taken off, a comment behind an unquoted value too.
pub(super) fn parse_env(text: &str) -> BTreeMap<String, String> {
    let line = |line: &str| {
        let line = line.trim();
        let line = line.strip_prefix("export ").unwrap_or(line);
        let (name, value) = line.split_once('=')?;
        let (name, value) = (name.trim(), value.trim());
        if name.is_empty() || name.starts_with('#') {
            return None;
        }
        let value = match value.chars().next() {
            Some(quote @ ('"' | '\'')) => value[1..].split_once(quote).map_or(value, |(value, _)| value),
            _ => value.split_once(" #").map_or(value, |(value, _)| value.trim_end()),
        };
        Some((name.to_owned(), value.to_owned()))
    };
    text.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_an_env_file_are_read_as_compose_does() {
        let text = "# comment\nPG_PASS=a#b=c\nexport X = 'q # x' # y\nY=\"z\"\n\nZ=v # note\nBAD\n=x\nE=\n";
        let found: Vec<_> = parse_env(text).into_iter().collect();
        let pairs = [("E", ""), ("PG_PASS", "a#b=c"), ("X", "q # x"), ("Y", "z"), ("Z", "v")];
        assert_eq!(found, pairs.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    proptest::proptest! {
        #[test]
        fn any_env_file_is_read(text in "([a-zA-Z_#= '\"é\n]|.)*") {
            let _ = parse_env(&text);
        }
    }

    #[test]
    fn values_may_point_to_a_variable_or_a_file() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("secret"), "from file\n").unwrap();
        std::fs::write(folder.path().join(".env"), "AUTHENTIK_F=of the file\nAUTHENTIK_A=of the file\n").unwrap();
        let at = |rest: &str| format!("file://{}/{rest}", folder.path().display());
        let process = Environment::from_pairs([
            ("AUTHENTIK_A", "plain?x".to_owned()),
            ("AUTHENTIK_B", "env://OTHER".into()),
            ("AUTHENTIK_C", "env://MISSING?fall back".into()),
            ("AUTHENTIK_D", at("secret")),
            ("AUTHENTIK_E", at("missing?else")),
            ("AUTHENTIK_G", at("missing")),
            ("OTHER", "from variable".into()),
        ]);
        let settings = Settings::read(&process, folder.path(), &mut Vec::new()).unwrap();
        let get = |key: &str| settings.get(key).unwrap().unwrap();
        let values = ["A", "B", "C", "D", "E", "F"].map(get);
        assert_eq!(values, ["plain?x", "from variable", "fall back", "from file", "else", "of the file"]);
        assert!(settings.get("G").unwrap_err().to_string().contains("AUTHENTIK_G points to"));
        assert!(settings.get("H").unwrap().is_none());
    }
}
