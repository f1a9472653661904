//! Redis URLs.

use std::path::PathBuf;
use std::time::Duration;

use super::super::{Secret, SourceError, percent};
use super::{RedisOptions, RedisPlace};

/// The port Redis listens on unless told otherwise.
const PORT: u16 = 6379;
/// How long a server may say nothing.
const PATIENCE: Duration = Duration::from_secs(60);

/// Reads a URL. No error repeats it: it may hold a password.
pub(super) fn parse(name: String, url: &str) -> Result<RedisOptions, SourceError> {
    let wrong = |what: &str| SourceError::Settings(format!("source {name:?}: {what}"));
    let (scheme, rest) = url.split_once(':').ok_or_else(|| wrong("a Redis URL begins with redis:// or unix:"))?;
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let decode = |text: &str| percent::decode(text).ok_or_else(|| wrong("a percent sign in the Redis URL without two hex digits"));
    let mut options = RedisOptions {
        name: name.clone(),
        place: RedisPlace::Unix(PathBuf::new()),
        user: None,
        password: None,
        rdb_file: None,
        optional: false,
        patience: PATIENCE,
    };
    match scheme {
        "redis" => {
            let rest = rest.strip_prefix("//").ok_or_else(|| wrong("a Redis URL begins with redis://"))?;
            // The last '@': a password may hold one unescaped, a host cannot.
            let (login, rest) = rest.rsplit_once('@').map_or((None, rest), |(login, rest)| (Some(login), rest));
            let (address, database) = rest.split_once('/').unwrap_or((rest, ""));
            if !database.is_empty() && database.parse::<u32>().is_err() {
                return Err(wrong("what follows the host in a Redis URL is the number of a database"));
            }
            if let Some(login) = login {
                let (user, password) = login.split_once(':').unwrap_or((login, ""));
                options.user = Some(decode(user)?).filter(|user| !user.is_empty());
                options.password = Some(decode(password)?).filter(|password| !password.is_empty()).map(Secret::new);
            }
            let (host, port) = match address.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
                Some((host, port)) => (host, port.strip_prefix(':')),
                None => address.split_once(':').map_or((address, None), |(host, port)| (host, Some(port))),
            };
            let port = match port {
                Some(port) if !port.is_empty() => port.parse().map_err(|_| wrong("the port in the Redis URL is no number"))?,
                _ => PORT,
            };
            let host = if host.is_empty() { "localhost".to_owned() } else { decode(host)? };
            options.place = RedisPlace::Tcp { host, port };
        }
        "unix" | "redis+unix" => {
            let path = rest.strip_prefix("//").unwrap_or(rest);
            if !path.starts_with('/') {
                return Err(wrong("unix: wants the absolute path of a socket"));
            }
            options.place = RedisPlace::Unix(decode(path)?.into());
        }
        "rediss" => {
            return Err(wrong(
                "rediss:// (TLS) is not in this build: use the server's unix: socket, a tunnel (stunnel, ssh -L), or the path of its dump.rdb",
            ));
        }
        _ => return Err(wrong("a Redis URL begins with redis:// or unix:")),
    }
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = decode(value)?;
        match key {
            "rdb" => options.rdb_file = Some(value.into()),
            "user" | "username" => options.user = Some(value),
            "pass" | "password" => options.password = Some(Secret::new(value)),
            "db" => {}
            _ => return Err(wrong("the query of a Redis URL knows rdb, user, password and db")),
        }
    }
    if options.user.is_some() && options.password.is_none() {
        return Err(wrong("a Redis user needs a password"));
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(url: &str) -> String {
        parse("r".into(), url).unwrap().place.to_string()
    }

    #[test]
    fn urls_name_hosts_and_sockets() {
        assert_eq!(place("redis://"), "localhost:6379");
        assert_eq!(place("redis://cache/0"), "cache:6379");
        assert_eq!(place("redis://[::1]:7000/3"), "[::1]:7000");
        assert_eq!(place("unix:/run/redis/redis.sock"), "/run/redis/redis.sock");
        assert_eq!(place("redis+unix:///run/r.sock?db=1"), "/run/r.sock");
    }

    #[test]
    fn logins_are_decoded() {
        let options = parse("r".into(), "redis://bob:p%40ss%2F@h:1").unwrap();
        assert_eq!(options.user.as_deref(), Some("bob"));
        assert_eq!(options.password.unwrap().reveal(), "p@ss/");
        let options = parse("r".into(), "redis://:secret@h").unwrap();
        assert!(options.user.is_none() && options.password.unwrap().reveal() == "secret");
        let options = parse("r".into(), "unix:/s?password=x&user=u&rdb=/var/lib/redis/dump.rdb").unwrap();
        assert_eq!(options.rdb_file.unwrap(), PathBuf::from("/var/lib/redis/dump.rdb"));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_without_repeating_the_password() {
        let bad =
            ["rediss://:hunter2@h", "http://:hunter2@h", "redis:/x:hunter2@h", "redis://:hunter2@h:x", "redis://:hunter2@h/db"];
        for url in bad.into_iter().chain(["redis://:hunter2%@h", "redis://u@h", "unix:s?password=hunter2", "x"]) {
            let error = parse("r".into(), url).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
        assert!(parse("r".into(), "rediss://h").unwrap_err().to_string().contains("TLS"));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".*") {
            for url in [text.clone(), format!("redis://{text}"), format!("unix:/{text}")] {
                let _ = parse("r".into(), &url);
            }
        }
    }

    #[test]
    fn nothing_about_a_server_prints_its_password() {
        let options = parse("r".into(), "redis://u:hunter2@h").unwrap();
        assert!(!format!("{options:?}").contains("hunter2"));
    }
}
