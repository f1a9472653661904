//! Connection strings as libpq reads them, taken apart so that the password can travel another way.

use super::super::{Secret, percent};

/// Where and as whom to connect. `Debug` shows no password.
#[derive(Debug, Default)]
pub struct ConnInfo {
    /// libpq's parameters but the password, in the order given.
    parameters: Vec<(String, String)>,
    password: Option<Secret>,
}

impl ConnInfo {
    /// Reads `postgresql://user:password@host:port/database?key=value`, `key=value` pairs, or the bare name of a database. An
    /// error says what is wrong and never repeats the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut conninfo = Self::default();
        if let Some(rest) = text.strip_prefix("postgresql://").or_else(|| text.strip_prefix("postgres://")) {
            conninfo.uri(rest)?;
        } else if text.contains('=') {
            conninfo.pairs(text)?;
        } else if !text.trim().is_empty() {
            conninfo.set("dbname", text.trim())?;
        }
        Ok(conninfo)
    }

    /// Sets one parameter; an empty value means the default, as in libpq.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        if value.contains('\0') {
            return Err("has a zero byte".into());
        }
        match key {
            _ if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') => {
                Err("has a parameter whose name is none".into())
            }
            // It has no other way to the client than an argument anyone could read.
            "sslpassword" => {
                Err("has sslpassword, which cannot be handed on unseen: name a service (service=...) that holds it".into())
            }
            "password" => {
                self.password = Some(value).filter(|value| !value.is_empty()).map(Secret::new);
                Ok(())
            }
            _ => {
                self.parameters.retain(|(known, _)| known != key);
                self.parameters.push((key.to_owned(), value.to_owned()));
                Ok(())
            }
        }
    }

    /// A parameter's value, if it was given and not empty.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    pub(super) fn password(&self) -> Option<&Secret> {
        self.password.as_ref()
    }

    /// The `key='value'` form for another database, without the password: fit for an argument.
    pub(super) fn to_database(&self, database: &str) -> String {
        let quote = |value: &str| value.replace('\\', "\\\\").replace('\'', "\\'");
        let mut text = String::new();
        for (key, value) in self.parameters.iter().filter(|(key, _)| key != "dbname") {
            text.push_str(&format!("{key}='{}' ", quote(value)));
        }
        text + &format!("dbname='{}'", quote(database))
    }

    fn uri(&mut self, rest: &str) -> Result<(), String> {
        let decode = |text: &str| percent::decode(text).ok_or_else(|| "has a percent sign without two hex digits".to_owned());
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, hosts) = authority.rsplit_once('@').map_or((None, authority), |(login, hosts)| (Some(login), hosts));
        if let Some(login) = login {
            let (user, password) = login.split_once(':').unwrap_or((login, ""));
            self.set("user", &decode(user)?)?;
            self.set("password", &decode(password)?)?;
        }
        let (mut names, mut ports) = (Vec::new(), Vec::new());
        for host in hosts.split(',') {
            let (name, port) = match host.strip_prefix('[').and_then(|host| host.split_once(']')) {
                Some((name, port)) => (name, port.strip_prefix(':').unwrap_or("")),
                None => host.split_once(':').unwrap_or((host, "")),
            };
            if !port.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err("has a port that is no number".into());
            }
            names.push(decode(name)?);
            ports.push(port);
        }
        if names.iter().any(|name| !name.is_empty()) {
            self.set("host", &names.join(","))?;
        }
        if ports.iter().any(|port| !port.is_empty()) {
            self.set("port", &ports.join(","))?;
        }
        if !database.is_empty() {
            self.set("dbname", &decode(database)?)?;
        }
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').ok_or("has a parameter without a value")?;
            self.set(&decode(key)?, &decode(value)?)?;
        }
        Ok(())
    }

    fn pairs(&mut self, text: &str) -> Result<(), String> {
        let mut rest = text.trim_start();
        while !rest.is_empty() {
            let (key, after) = rest.split_once('=').ok_or("has a parameter without a value")?;
            let mut value = String::new();
            let mut letters = after.trim_start().char_indices();
            let after = after.trim_start();
            let quoted = after.starts_with('\'');
            if quoted {
                letters.next();
            }
            let mut end = None;
            while let Some((at, letter)) = letters.next() {
                match letter {
                    '\\' => value.extend(letters.next().map(|(_, letter)| letter)),
                    '\'' if quoted => {
                        end = Some(at + 1);
                        break;
                    }
                    letter if !quoted && letter.is_whitespace() => {
                        end = Some(at);
                        break;
                    }
                    letter => value.push(letter),
                }
            }
            if quoted && end.is_none() {
                return Err("has a quote without its end".into());
            }
            self.set(key.trim(), &value)?;
            rest = after[end.unwrap_or(after.len())..].trim_start();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (String, Option<String>) {
        let conninfo = ConnInfo::parse(text).unwrap();
        let database = conninfo.get("dbname").unwrap_or("-").to_owned();
        (conninfo.to_database(&database), conninfo.password.map(|password| password.reveal().to_owned()))
    }

    #[test]
    fn uris_pairs_and_bare_names_are_read_as_libpq_does() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            read("postgresql://u:p%40s@h:5433/d?sslmode=require"),
            ("user='u' host='h' port='5433' sslmode='require' dbname='d'".into(), some("p@s"))
        );
        assert_eq!(read("postgres://h1:1,h2:2/"), ("host='h1,h2' port='1,2' dbname='-'".into(), None));
        assert_eq!(read("postgresql://[::1]/d"), ("host='::1' dbname='d'".into(), None));
        assert_eq!(read("postgresql:///d?host=/run/pg&password=x"), ("host='/run/pg' dbname='d'".into(), some("x")));
        assert_eq!(read("postgresql://%2Frun%2Fpg/d"), ("host='/run/pg' dbname='d'".into(), None));
        assert_eq!(read(r"host = h  password='a \'b\' \\' user=u"), ("host='h' user='u' dbname='-'".into(), some(r"a 'b' \")));
        assert_eq!(read("dbname=a\\ b port=1"), ("port='1' dbname='a b'".into(), None));
        assert_eq!(read("authentik"), ("dbname='authentik'".into(), None));
        assert_eq!(read(""), ("dbname='-'".into(), None));
        assert_eq!(read("user=''"), ("user='' dbname='-'".into(), None));
    }

    #[test]
    fn what_is_written_is_read_back_the_same() {
        for name in ["a", "it's", r"back\slash", "sp ace", "", "ü=;"] {
            let text = ConnInfo::parse("host=h").unwrap().to_database(name);
            let again = ConnInfo::parse(&text).unwrap();
            assert_eq!(again.get("dbname").unwrap_or(""), name);
            assert_eq!(again.get("host"), Some("h"));
        }
    }

    proptest::proptest! {
        #[test]
        fn any_value_is_read_back_and_any_text_read_or_refused(name in "[^\0]+", host in "[^\0]+", text in ".*") {
            let mut conninfo = ConnInfo::default();
            conninfo.set("host", &host).unwrap();
            let again = ConnInfo::parse(&conninfo.to_database(&name)).unwrap();
            proptest::prop_assert_eq!(again.get("dbname"), Some(name.as_str()));
            proptest::prop_assert_eq!(again.get("host"), Some(host.as_str()));
            for text in [text.clone(), format!("a={text}"), format!("postgresql://{text}")] {
                let _ = ConnInfo::parse(&text);
            }
        }
    }

    #[test]
    fn an_error_does_not_repeat_the_password() {
        for bad in [
            "password='hunter2",
            "postgresql://u:hunter2%@h",
            "postgresql://u:hunter2@h:x",
            "password=hunter2 x",
            "sslpassword=hunter2",
            "=hunter2",
            "postgresql:///?hunter2",
        ] {
            let error = ConnInfo::parse(bad).unwrap_err();
            assert!(!error.contains("hunter2"), "{error}");
        }
        assert!(!format!("{:?}", ConnInfo::parse("password=hunter2").unwrap()).contains("hunter2"));
    }
}
