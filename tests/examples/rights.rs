//! What a host may do by the policies of `examples/s3/`: on a server in this process that answers 403 to whatever a policy does not
//! allow, its condition on overwriting included.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use super::house::{Account, House};
use super::policy::Policy;
use crate::servers::faulty::{Fault, FaultyServer, Seen, Verb};
use crate::servers::http::request;
use crate::servers::s3::BUCKET;

const REFUSED: Fault = Fault::Status(403, "AccessDenied");
/// The policies for hosts: by the file, and whether it knows a condition on overwriting.
const WRITERS: [(&str, bool); 2] = [("s3/writer-policy.json", true), ("s3/writer-policy-without-condition.json", false)];

/// A repository, made by the policy of owners; what was asked under the last policy, and what of it was refused.
struct Place {
    server: FaultyServer,
    house: House,
    asked: Arc<Mutex<Vec<(Seen, bool)>>>,
}

impl Place {
    fn new() -> Self {
        let server = FaultyServer::start();
        let place = Self { house: House::new(&server.endpoint()), server, asked: Arc::default() };
        place.under("s3/owner-policy.json", |_| None);
        place.house.set_up(&Account::any());
        assert_eq!(place.refused(), [""; 0]);
        place
    }

    /// From now on requests are let in by this policy, and then meet what `fault` says.
    fn under(&self, file: &str, fault: impl Fn(&Seen) -> Option<Fault> + Send + Sync + 'static) {
        let (policy, asked) = (Policy::load(file, BUCKET), Arc::clone(&self.asked));
        asked.lock().unwrap().clear();
        self.server.plan(move |seen| {
            let allowed = policy.allows(seen);
            asked.lock().unwrap().push((seen.clone(), allowed));
            if allowed { fault(seen) } else { Some(REFUSED) }
        });
    }

    fn refused(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|(_, allowed)| !allowed).map(|(seen, _)| format!("{:?} {}", seen.verb, seen.key)).collect()
    }
}

fn any() -> Account {
    Account::any()
}

#[test]
fn a_host_takes_snapshots_with_what_the_policy_allows_and_every_right_in_it_is_needed() {
    for (file, _) in WRITERS {
        let place = Place::new();
        let mut used = BTreeSet::new();
        for day in 1..=3 {
            place.under(file, |_| None);
            place.house.fill(day);
            place.house.host(&any(), &["snapshot", "data"], 0);
            // A lost cache is made again from the index files.
            let _ = std::fs::remove_dir_all(place.house.path("host/.cache"));
            place.house.host(&any(), &["snapshot", "data"], 0);
            place.house.host(&any(), &["status", "--max-age", "1h"], 0);
            assert_eq!(place.refused(), [""; 0], "{file}, day {day}");
            for (seen, _) in &*place.asked.lock().unwrap() {
                let folder = seen.key.split('/').next().unwrap().to_owned();
                used.insert(match seen.verb {
                    Verb::Put => ("s3:PutObject".to_owned(), folder),
                    Verb::Get | Verb::Head => ("s3:GetObject".to_owned(), folder),
                    Verb::List => ("s3:ListBucket".to_owned(), String::new()),
                    Verb::Move | Verb::MakeFolder => unreachable!("S3 has neither"),
                    Verb::Delete => panic!("a host deletes {}", seen.key),
                });
            }
            // Gives the host a record of gc to read.
            place.under("s3/owner-policy.json", |_| None);
            for _ in 0..2 {
                place.house.owner(&any(), &["forget", "latest"], 0);
            }
            place.house.owner(&any(), &["prune", "--force"], 0);
        }
        let mut idle = Policy::load(file, BUCKET).grants();
        idle.retain(|grant| !used.contains(grant));
        // A store is tried out once for each host; a session is given up where names can be overwritten.
        idle.retain(|(_, folder)| !["probe", "revoked"].contains(&folder.as_str()));
        assert_eq!(idle, [], "{file} allows what nobody needs");
    }
}

#[test]
fn a_host_reads_no_snapshot_and_gives_up_or_deletes_nothing() {
    let place = Place::new();
    place.under(WRITERS[0].0, |_| None);
    place.house.host(&any(), &["snapshot", "data"], 0);
    let before = place.server.objects();
    for command in [
        &["snapshots"][..],
        &["ls", "latest"],
        &["dump", "latest:data/note"],
        &["restore", "latest", "--target", "stolen"],
        &["find", "note"],
        &["forget", "latest"],
        &["prune"],
        &["verify", "--read-data"],
        &["tag", "--keep", "latest"],
        &["key", "export", "--owner"],
    ] {
        place.house.host(&any(), command, 12);
    }
    assert!(!place.house.path("stolen").exists());
    assert!(place.server.objects() == before);
    place.under("s3/owner-policy.json", |_| None);
    place.house.restores(&any());
}

#[test]
fn a_thief_with_the_credentials_of_a_host_destroys_nothing() {
    for (file, keeps_from_overwriting) in WRITERS {
        let place = Place::new();
        place.under(file, |_| None);
        place.house.host(&any(), &["snapshot", "data"], 0);
        let before = place.server.objects();
        let send = |verb: &str, key: &str, headers: &[(&str, &str)], body: &[u8]| {
            request(&place.server.address(), verb, &format!("/{BUCKET}/{key}"), headers, body).unwrap().status
        };
        for (key, bytes) in &before {
            assert_eq!(send("DELETE", key, &[], b""), 403, "{key}");
            if keeps_from_overwriting {
                assert_eq!(send("PUT", key, &[], b"garbage"), 403, "{key}");
                assert!(matches!(send("PUT", key, &[("If-None-Match", "*")], b"garbage"), 403 | 412), "{key}");
            }
            let folder = key.split('/').next().unwrap();
            let readable = ["config", "gc", "index", "sessions", "snapshots", "probe"].contains(&folder);
            // No pack, and no keyslot to guess a password at.
            assert_eq!(send("GET", key, &[], b""), if readable { 200 } else { 403 }, "{key} of {} bytes", bytes.len());
        }
        for folder in ["config", "gc", "keys", "forgotten", "notes", "elsewhere"] {
            assert_eq!(send("PUT", &format!("{folder}/new"), &[("If-None-Match", "*")], b"garbage"), 403, "{folder}");
        }
        assert!(place.server.objects() == before, "{file}");
    }
}

#[test]
fn a_host_that_may_not_read_packs_outlives_every_lost_reply_of_a_put() {
    let place = Place::new();
    for (day, folder) in ["sessions/", "packs/", "parity/", "index/", "snapshots/"].into_iter().enumerate() {
        let lost = Mutex::new(false);
        place.under(WRITERS[0].0, move |seen| {
            let mut lost = lost.lock().unwrap();
            let now = !*lost && seen.verb == Verb::Put && seen.key.starts_with(folder);
            *lost |= now;
            now.then_some(Fault::LoseReply)
        });
        place.house.fill(10 + day as u64);
        place.house.host(&any(), &["snapshot", "data"], 0);
        assert!(place.server.counts().log.iter().any(|line| line.contains("LoseReply")), "{folder}");
        place.under("s3/owner-policy.json", |_| None);
        let listed = place.house.owner(&any(), &["snapshots", "--json"], 0).out;
        let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
        assert_eq!(listed.as_array().unwrap().len(), day + 1, "{folder}: taken once");
        place.house.restores(&any());
    }
    place.house.owner(&any(), &["verify", "--read-data"], 0);
}
