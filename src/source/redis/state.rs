//! Whether a server holds the data that it is asked for: its role, its link to a master, and what it is doing.
//!
//! A replica that lost its master, or never had one, saves an empty or old data set without a word, and a server that starts answers
//! before it has read its own file. Both are refused. One shard of a cluster is taken, and the rest is a warning.

use super::super::SourceError;
use super::connection::{Connection, Reply};

/// What is known about the server.
#[derive(Default, PartialEq, Eq, Debug)]
pub(super) struct State {
    /// `master` or `replica`; none when this user may not ask.
    pub role: Option<&'static str>,
    /// What the snapshot will lack.
    pub warnings: Vec<String>,
    /// What a person may want to know.
    pub remarks: Vec<String>,
}

/// Asks, and refuses a server that does not hold its data now. A user without the right to ask is let through: such a server refuses
/// SYNC itself.
pub(super) fn ask(connection: &mut Connection) -> Result<State, SourceError> {
    let mut info = String::new();
    for section in ["server", "replication", "persistence", "cluster", "keyspace"] {
        match connection.command(&["INFO", section])? {
            Reply::Text(text) => {
                info.push_str(&text);
                info.push('\n');
            }
            Reply::Error(error) if error.starts_with("NOPERM") => {
                let remark = "role, link and loading state are not known: this Redis user may not ask for them (+info)";
                return Ok(State { remarks: vec![remark.to_owned()], ..State::default() });
            }
            Reply::Error(error) => return Err(connection.refused("INFO", &error)),
            _ => return Err(connection.odd("something else than INFO")),
        }
    }
    let mut state = judge(&info).map_err(|why| SourceError::Unfit(format!("Redis at {} {why}", connection.place())))?;
    if field(&info, "cluster_enabled") == Some("1") {
        let shards = match connection.command(&["CLUSTER", "INFO"])? {
            Reply::Text(text) => field(&text, "cluster_size").and_then(|size| size.parse::<u32>().ok()),
            _ => None,
        };
        state.warnings.extend(one_of(shards));
    }
    Ok(state)
}

/// The value of a field of INFO.
fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim))
}

/// What its INFO says about a server; an error says why it does not hold its data, behind "Redis at ...".
fn judge(info: &str) -> Result<State, String> {
    let is = |name: &str, value: &str| field(info, name) == Some(value);
    if is("redis_mode", "sentinel") {
        return Err("is a Sentinel, which holds no data: name a server that it watches (SENTINEL get-master-addr-by-name)".into());
    }
    if is("loading", "1") || is("async_loading", "1") {
        let done = field(info, "loading_loaded_perc").map(|done| format!(" ({done} %)")).unwrap_or_default();
        return Err(format!("is still loading its data{done}: run the same command again when it is ready"));
    }
    let mut state = State::default();
    match field(info, "role") {
        Some("slave" | "replica") => {
            state.role = Some("replica");
            let master = match (field(info, "master_host"), field(info, "master_port")) {
                (Some(host), Some(port)) => format!("{host}:{port}"),
                _ => "its master".to_owned(),
            };
            if is("master_sync_in_progress", "1") {
                return Err(format!(
                    "is a replica that is still taking over the data of {master}: run the same command again later"
                ));
            }
            if !is("master_link_status", "up") {
                let since = field(info, "master_link_down_since_seconds").filter(|since| *since != "-1");
                let since = since.map_or_else(|| ", perhaps since it started".to_owned(), |since| format!(" for {since} s"));
                return Err(format!(
                    "is a replica without a link to its master {master}{since}: what it holds is old or empty; mend the link, or name \
                     the server that is the master now"
                ));
            }
            state.remarks.push(format!("the server is a replica of {master}"));
        }
        Some("master") => state.role = Some("master"),
        _ => {}
    }
    let has_keys = info.lines().any(|line| line.starts_with("db") && line.contains(":keys="));
    let lists_keys = info.lines().any(|line| line.trim() == "# Keyspace");
    if lists_keys && !has_keys {
        state.warnings.push("the server holds no key at all: is it the right one, and did it lose its data?".to_owned());
    }
    Ok(state)
}

/// Which part of a cluster one server is.
fn one_of(shards: Option<u32>) -> Option<String> {
    match shards {
        Some(0 | 1) => None,
        Some(shards) => Some(format!(
            "the server is one of {shards} shards of a cluster: only its own keys are in the snapshot; name a server of each shard"
        )),
        None => {
            Some("the server belongs to a cluster: only its own keys are in the snapshot; name a server of each shard".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASTER: &str = "redis_mode:standalone\r\nrole:master\r\nloading:0\r\n# Keyspace\r\ndb0:keys=3,expires=0\r\n";

    #[test]
    fn a_master_with_keys_is_taken_without_a_word() {
        assert_eq!(judge(MASTER), Ok(State { role: Some("master"), ..State::default() }));
    }

    #[test]
    fn a_server_that_does_not_hold_its_data_is_refused() {
        let replica = "role:slave\r\nmaster_host:db1\r\nmaster_port:6379\r\n";
        for (info, word) in [
            ("redis_mode:sentinel\r\n".to_owned(), "Sentinel"),
            ("role:master\r\nloading:1\r\nloading_loaded_perc:12.50\r\n".to_owned(), "loading its data (12.50 %)"),
            ("role:master\r\nasync_loading:1\r\n".to_owned(), "loading"),
            (format!("{replica}master_link_status:down\r\nmaster_link_down_since_seconds:-1\r\n"), "master db1:6379"),
            (format!("{replica}master_link_status:down\r\nmaster_link_down_since_seconds:77\r\n"), "for 77 s"),
            (format!("{replica}master_link_status:down\r\nmaster_sync_in_progress:1\r\n"), "taking over"),
            (replica.to_owned(), "without a link"),
        ] {
            let why = judge(&info).unwrap_err();
            assert!(why.contains(word), "{why}");
        }
        let linked = judge(&format!("{replica}master_link_status:up\r\n")).unwrap();
        assert_eq!((linked.role, linked.warnings.len()), (Some("replica"), 0));
    }

    #[test]
    fn an_empty_server_is_a_warning() {
        assert_eq!(judge("role:master\r\n# Keyspace\r\n").unwrap().warnings.len(), 1);
        assert!(judge("role:master\r\n").unwrap().warnings.is_empty(), "a server that lists no keyspace says nothing about it");
    }

    #[test]
    fn only_a_cluster_of_several_shards_is_a_warning() {
        assert_eq!(one_of(Some(1)), None);
        assert!(one_of(Some(3)).unwrap().contains("one of 3 shards"));
        assert!(one_of(None).is_some());
    }
}
