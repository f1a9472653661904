//! Forgetting, bringing back, tags and pins, by the real program.

use std::sync::Arc;

use esker::clock::{ManualClock, SystemRng, Timestamp};
use esker::format::ObjectType;
use esker::format::forgotten::Forgotten;
use esker::format::names::{self, ObjectName};
use esker::format::snapshot::{Snapshot, Totals};
use esker::format::tree::Content;
use esker::id::SnapshotId;
use esker::monitor::{Monitor, Quiet, Stop};
use esker::repository::writer::{Writer, WriterOptions};
use esker::repository::{Environment, Repository, Secret};
use esker::store::{LocalStore, Store};
use serde_json::Value;
use zeroize::Zeroizing;

use super::common::{House, exits, json, stderr, stdout, text};

impl House {
    /// What a thief on a host can do: everything a writer key allows, on a machine whose clock says `seconds`.
    fn with_writer_key(&self, seconds: i64) -> Arc<Repository> {
        let line = text(&exits(self.esker(), ["key", "export"], 0).stdout);
        let environment = Environment {
            store: Arc::new(LocalStore::open(self.path("repo"))),
            clock: Arc::new(ManualClock::at(seconds)),
            rng: Arc::new(SystemRng),
            host: "host".to_owned(),
            caches: None,
            states: None,
        };
        Arc::new(Repository::open(environment, &Secret::KeyLine(Zeroizing::new(line)), None).unwrap())
    }

    /// An empty snapshot of host `host` that claims to be taken then.
    fn claim(&self, seconds: i64) -> SnapshotId {
        let repository = self.with_writer_key(seconds);
        let monitor: Arc<dyn Monitor> = Arc::new(Quiet);
        let writer = Writer::begin(&repository, WriterOptions::default(), &monitor, &Stop::new()).unwrap();
        let snapshot = Snapshot {
            id: writer.snapshot_id().unwrap(),
            time: Timestamp { seconds, nanoseconds: 0 },
            host: "host".to_owned(),
            user: String::new(),
            program: String::new(),
            tags: Vec::new(),
            root: Content::default(),
            previous: None,
            totals: Totals::default(),
            incomplete: Vec::new(),
            sources: Vec::new(),
            extra: Vec::new(),
        };
        writer.commit(&snapshot).unwrap().id
    }

    fn listed(&self) -> Vec<Value> {
        json(&exits(self.esker(), ["snapshots", "--json"], 0).stdout).as_array().unwrap().clone()
    }

    fn ids(&self) -> Vec<String> {
        self.listed().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect()
    }
}

fn now() -> i64 {
    let text = String::from_utf8(std::process::Command::new("date").arg("+%s").output().unwrap().stdout).unwrap();
    text.trim().parse().unwrap()
}

#[test]
fn rules_say_what_goes_and_why_the_rest_stays() {
    let house = House::with_snapshot();
    house.snapshot();
    house.snapshot();
    let ids = house.ids();
    let planned = exits(house.esker(), ["forget", "-n", "--keep-last", "1"], 0);
    let shown = stdout(&planned);
    assert!(shown.contains("would forget 2 snapshots") && shown.contains("last snapshot") && shown.contains("dry run"), "{shown}");
    assert_eq!(house.snapshot_count(), 3);

    let groups = json(&exits(house.esker(), ["forget", "--keep-last", "1", "--json"], 0).stdout);
    let group = &groups[0];
    assert_eq!(groups.as_array().unwrap().len(), 1);
    assert_eq!((&group["keep"][0]["id"], &group["remove"][1]["id"]), (&ids[2].as_str().into(), &ids[0].as_str().into()));
    assert_eq!(group["reasons"][0]["matches"][0], "last snapshot");
    assert_eq!(group["sources"][0], "data");
    assert_eq!(house.ids(), [ids[2].as_str()]);
}

#[test]
fn a_policy_that_keeps_nothing_is_refused_and_says_what_to_pass() {
    let house = House::with_snapshot();
    let refused = exits(house.esker(), ["forget"], 2);
    assert!(stderr(&refused).contains("--keep-daily"), "{}", stderr(&refused));
    exits(house.esker(), ["forget", "--keep-last", "0"], 2);
    exits(house.esker(), ["forget", "--unsafe-allow-remove-all"], 2);
    exits(house.esker(), ["forget", "--keep-last", "-2"], 2);
    exits(house.esker(), ["forget", "latest", "--keep-last", "1"], 2);
    let refused = exits(house.esker(), ["forget", "--keep-tag", "unknown"], 14);
    assert!(stderr(&refused).contains("--unsafe-allow-remove-all"), "{}", stderr(&refused));
    assert_eq!(house.snapshot_count(), 1);
    exits(house.esker(), ["forget", "--keep-tag", "unknown", "--unsafe-allow-remove-all"], 0);
    assert_eq!(house.snapshot_count(), 0);
}

#[test]
fn what_was_forgotten_by_name_is_listed_and_comes_back() {
    let house = House::with_snapshot();
    house.write("data/hello.txt", b"changed\n");
    house.snapshot();
    let ids = house.ids();
    exits(house.esker(), ["forget", &ids[0][..8]], 0);
    assert_eq!(house.ids(), [ids[1].as_str()]);
    let listed = stdout(&exits(house.esker(), ["undelete"], 0));
    assert!(listed.contains(&ids[0][..8]), "{listed}");
    let listed = json(&exits(house.esker(), ["snapshots", "--forgotten", "--json"], 0).stdout);
    assert_eq!((listed[0]["id"].as_str().unwrap(), listed.as_array().unwrap().len()), (ids[0].as_str(), 1));
    exits(house.esker(), ["undelete", "-n", &ids[0][..8]], 0);
    assert_eq!(house.snapshot_count(), 1);
    let back = json(&exits(house.esker(), ["undelete", &ids[0][..8], "--json"], 0).stdout);
    let id = back["snapshot_id"].as_str().unwrap();
    assert_eq!(stdout(&exits(house.esker(), ["dump", &format!("{id}:data/hello.txt")], 0)), "hello\n");
    // It is there once, and a second time says so.
    let again = exits(house.esker(), ["undelete", &ids[0][..8]], 1);
    assert!(stderr(&again).contains(&id[..8]), "{}", stderr(&again));
    exits(house.esker(), ["undelete", "ffff"], 1);
    exits(house.esker(), ["verify", "--read-data"], 0);
}

#[test]
fn a_pin_holds_until_it_is_released() {
    let house = House::with_snapshot();
    house.snapshot();
    let ids = house.ids();
    exits(house.esker(), ["tag", "--keep", "--comment", "before the upgrade", &ids[0]], 0);
    exits(house.esker(), ["forget", "--keep-last", "1"], 0);
    let refused = exits(house.esker(), ["forget", &ids[0]], 14);
    assert!(stderr(&refused).contains("tag --release"), "{}", stderr(&refused));
    let listed = house.listed();
    assert_eq!((&listed[0]["kept"], &listed[0]["comment"]), (&"forever".into(), &"before the upgrade".into()));
    let shown = stdout(&exits(house.esker(), ["snapshots"], 0));
    assert!(shown.contains("kept") && shown.contains("before the upgrade"), "{shown}");
    exits(house.esker(), ["tag", "--release", &ids[0]], 0);
    exits(house.esker(), ["tag", "--keep-until", "2999-01-01", &ids[0]], 0);
    assert!(house.listed()[0]["kept"].as_str().unwrap().starts_with("2999-01-0"));
    exits(house.esker(), ["tag", "--release", &ids[0]], 0);
    exits(house.esker(), ["forget", &ids[0]], 0);
    assert_eq!(house.ids(), [ids[1].as_str()]);
}

#[test]
fn tags_change_beside_the_snapshot_and_rules_and_filters_go_by_them() {
    let house = House::with_snapshot();
    exits(house.esker(), ["snapshot", "data", "--tag", "nightly"], 0);
    let ids = house.ids();
    exits(house.esker(), ["tag", "--add", "gold,old", &ids[0]], 0);
    exits(house.esker(), ["tag", "--remove", "nightly,unknown", "--tag", "nightly"], 0);
    let tags = |house: &House| house.listed().iter().map(|one| one["tags"].clone()).collect::<Vec<_>>();
    assert_eq!(tags(&house), [serde_json::json!(["gold", "old"]), serde_json::json!([])]);
    let found = json(&exits(house.esker(), ["snapshots", "--tag", "gold", "--json"], 0).stdout);
    assert_eq!(found.as_array().unwrap().len(), 1);
    exits(house.esker(), ["tag", "-n", "--set", "x", &ids[0]], 0);
    exits(house.esker(), ["tag", "--set", "only", &ids[0]], 0);
    assert_eq!(tags(&house)[0], serde_json::json!(["only"]));
    exits(house.esker(), ["tag", "--set", "", &ids[0]], 0);
    assert_eq!(tags(&house)[0], serde_json::json!([]));
    for arguments in [&["tag", "latest"][..], &["tag", "--add", "x"], &["tag", "--keep-until", "soon", "latest"]] {
        exits(house.esker(), arguments, 2);
    }
}

#[test]
fn the_config_file_says_what_to_keep() {
    let house = House::with_snapshot();
    house.snapshot();
    house.snapshot();
    let config = house.write("esker.toml", b"[keep]\nlast = 2\n[profile.tight.keep]\nlast = 1\ngroup-by = 'host'\n");
    let with = |arguments: &[&str], code| {
        let mut command = house.esker();
        command.arg("--config").arg(&config);
        exits(command, arguments, code)
    };
    with(&["forget"], 0);
    assert_eq!(house.snapshot_count(), 2);
    with(&["-P", "tight", "forget"], 0);
    assert_eq!(house.snapshot_count(), 1);
    house.write("esker.toml", b"[keep]\nlasst = 2\n");
    assert!(stderr(&with(&["forget"], 2)).contains("lasst"));
}

#[test]
fn a_tombstone_forged_with_a_writer_key_is_ignored_and_told_of() {
    let house = House::with_snapshot();
    let id = SnapshotId::from_hex(&house.ids()[0]).unwrap();
    let repository = house.with_writer_key(now());
    let sealed = repository.objects().store().get(&names::snapshot_name(id), 1 << 20).unwrap();
    let record = Forgotten {
        snapshot: id,
        hash: names::hash_of(&[&sealed]),
        time: Timestamp { seconds: now(), nanoseconds: 0 },
        reason: "because".to_owned(),
        extra: Vec::new(),
    };
    let body = [record.encode().unwrap(), vec![0; 32]].concat();
    let forged = repository.objects().sealer().seal_as_anybody(ObjectType::Forgotten, &body).unwrap();
    let name = ObjectName::Forgotten(id, names::hash_of(&[&forged])).name();
    repository.objects().store().create(&name, &[&forged]).unwrap();
    let listed = exits(house.esker(), ["snapshots", "--json"], 0);
    assert!(stderr(&listed).contains(name.as_str()) && stderr(&listed).contains("ignored"), "{}", stderr(&listed));
    assert_eq!(json(&listed.stdout).as_array().unwrap().len(), 1);
    assert!(stderr(&exits(house.esker(), ["forget", "--keep-last", "1"], 0)).contains(name.as_str()));
    assert_eq!(stdout(&exits(house.esker(), ["dump", "latest:data/hello.txt"], 0)), "hello\n");
}

#[test]
fn a_host_ten_years_ahead_or_behind_takes_nobodys_slot() {
    let house = House::with_repository();
    let years = 3_650 * 86_400;
    let good: Vec<String> = (1..=3).rev().map(|day| house.claim(now() - day * 86_400).to_hex()).collect();
    exits(house.esker(), ["forget", "--keep-last", "3"], 0);
    let ahead = house.claim(now() + years).to_hex();
    let behind = house.claim(now() - years).to_hex();
    exits(house.esker(), ["forget", "--keep-last", "3"], 0);
    exits(house.esker(), ["forget", "--keep-within", "5d"], 0);
    let mut expected = [good.clone(), vec![ahead.clone(), behind.clone()]].concat();
    expected.sort();
    let mut found = house.ids();
    found.sort();
    assert_eq!(found, expected);
    let quarantined: Vec<Value> = house.listed().into_iter().filter(|one| !one["quarantined"].is_null()).collect();
    assert_eq!(quarantined.iter().map(|one| one["id"].as_str().unwrap()).collect::<Vec<_>>(), [behind.as_str(), ahead.as_str()]);
    assert!(stdout(&exits(house.esker(), ["snapshots"], 0)).contains("in the future"));
    // Nor is it the latest for ten years.
    let latest = json(&exits(house.esker(), ["snapshots", "latest", "--json"], 0).stdout);
    assert_eq!(latest[0]["id"], good[2].as_str());
    house.write("data/a", b"now");
    house.snapshot();
    assert_eq!(stdout(&exits(house.esker(), ["dump", "latest:data/a"], 0)), "now");
    exits(house.esker(), ["ls", "latest~9"], 1);
}

#[test]
fn a_new_snapshot_is_guarded_when_the_repository_says_so() {
    let house = House::new();
    exits(house.esker(), ["init", "--kdf", "low", "--guard", "a week"], 2);
    exits(house.esker(), ["init", "--kdf", "low", "--guard", "14d"], 0);
    house.write("data/a", b"a");
    house.snapshot();
    house.snapshot();
    let shown = stdout(&exits(house.esker(), ["forget", "--keep-last", "1"], 0));
    assert!(shown.contains("guard"), "{shown}");
    assert_eq!(house.snapshot_count(), 2);
}

#[test]
fn a_writer_key_forgets_tags_and_brings_back_nothing() {
    let house = House::with_snapshot();
    exits(house.esker(), ["key", "export", "--output", "writer.key"], 0);
    for arguments in [
        &["forget", "--keep-last", "1"][..],
        &["forget", "latest"],
        &["tag", "--keep", "latest"],
        &["undelete"],
        &["snapshots", "--forgotten"],
    ] {
        let mut command = house.esker();
        command.env_remove("ESKER_PASSWORD").env("ESKER_KEY_FILE", house.path("writer.key"));
        let refused = exits(command, arguments, 12);
        assert!(stderr(&refused).contains("owner"), "{}", stderr(&refused));
    }
    assert_eq!(house.snapshot_count(), 1);
}

#[test]
fn forget_with_prune_frees_what_went_and_it_comes_back_no_more() {
    let house = House::with_repository();
    let mut noise = vec![0; 3_000_000];
    blake3::Hasher::new().finalize_xof().fill(&mut noise);
    house.write("data/large", &noise);
    house.snapshot();
    std::fs::remove_file(house.path("data/large")).unwrap();
    house.write("data/small", b"small");
    house.snapshot();
    let ids = house.ids();
    let size = |house: &House| json(&exits(house.esker(), ["stats", "--json"], 0).stdout)["stored_size"].as_u64().unwrap();
    let before = size(&house);
    exits(house.esker(), ["forget", "--keep-last", "1", "--prune"], 0);
    assert!(size(&house) + 2_000_000 < before);
    exits(house.esker(), ["undelete", &ids[0]], 1);
    exits(house.esker(), ["verify", "--read-data"], 0);
    exits(house.esker(), ["status", "--max-age", "1h"], 0);
}

#[test]
fn stats_of_a_snapshot_says_what_only_it_needs_and_forgetting_it_frees_that() {
    let house = House::with_repository();
    let noise = |name: &[u8], length: usize| {
        let mut noise = vec![0; length];
        blake3::Hasher::new().update(name).finalize_xof().fill(&mut noise);
        noise
    };
    house.write("data/shared", &noise(b"shared", 2_000_000));
    house.write("data/own", &noise(b"own", 3_000_000));
    house.snapshot();
    std::fs::remove_file(house.path("data/own")).unwrap();
    house.snapshot();
    let ids = house.ids();
    let stats = |what: &[&str]| json(&exits(house.esker(), [&["stats", "--json"], what].concat(), 0).stdout);
    let size = |of: &serde_json::Value, field: &str| of[field].as_u64().unwrap();
    let is_about = |size: u64, about: u64| (about..about + about / 20).contains(&size);
    let (first, second, both) = (stats(&[&ids[0]]), stats(&[&ids[1]]), stats(&[&ids[0], &ids[1]]));
    assert!(is_about(size(&first, "referred_size"), 5_000_000), "{first}");
    assert!(is_about(size(&first, "unique_size"), 3_000_000), "{first}");
    assert!(is_about(size(&second, "referred_size"), 2_000_000), "{second}");
    // Its tree is its own.
    assert!((1..100_000).contains(&size(&second, "unique_size")), "{second}");
    assert_eq!(size(&both, "unique_size"), size(&both, "referred_size"));
    let whole = stats(&[]);
    assert!(whole["referred_size"].is_null() && whole["unique_size"].is_null(), "{whole}");
    let shown = stdout(&exits(house.esker(), ["stats", &ids[0]], 0));
    assert!(shown.contains("of that is in no other snapshot"), "{shown}");

    exits(house.esker(), ["forget", &ids[0]], 0);
    exits(house.esker(), ["prune", "--max-unused", "0"], 0);
    let freed = size(&whole, "stored_size") - size(&stats(&[]), "stored_size");
    // What pads the packs and mends them goes too.
    let unique = size(&first, "unique_size");
    assert!((unique..unique + unique / 4).contains(&freed), "freed {freed}, unique {first}");
}

#[test]
fn a_disk_without_a_free_byte_is_emptied() {
    let house = House::new();
    let Some(disk) = house.small_disk("12m") else { return };
    exits(house.esker(), ["init", "--kdf", "low"], 0);
    let mut noise = vec![0; 8_000_000];
    blake3::Hasher::new().finalize_xof().fill(&mut noise);
    house.write("data/large", &noise);
    house.snapshot();
    std::fs::remove_file(house.path("data/large")).unwrap();
    house.write("data/small", b"small");
    house.snapshot();
    // Somebody else fills what is left, to the last byte.
    let mut filler = std::fs::File::create(house.path("repo/filler")).unwrap();
    for block in [1 << 16, 4096, 1] {
        while std::io::Write::write_all(&mut filler, &vec![7; block]).is_ok() {}
    }
    exits(house.esker(), ["snapshot", "data", "--force", "--tag", "x"], 11);
    exits(house.esker(), ["forget", "--keep-last", "1", "--prune"], 0);
    exits(house.esker(), ["forget", "--keep-last", "1", "--prune"], 0);
    house.write("data/medium", &noise[..4_000_000]);
    house.snapshot();
    assert_eq!(stdout(&exits(house.esker(), ["dump", "latest~1:data/small"], 0)), "small");
    drop(disk);
}

#[test]
fn a_damaged_snapshot_is_forgotten_by_its_id_alone() {
    let house = House::with_snapshot();
    house.snapshot();
    let ids = house.ids();
    let object = house.path(format!("repo/snapshots/{}", ids[0]));
    let mut bytes = std::fs::read(&object).unwrap();
    bytes[300] ^= 1;
    std::fs::remove_file(&object).unwrap();
    std::fs::write(&object, bytes).unwrap();
    let told = exits(house.esker(), ["forget", "--keep-last", "1"], 0);
    assert!(stderr(&told).contains(&ids[0][..8]), "{}", stderr(&told));
    exits(house.esker(), ["prune"], 14);
    exits(house.esker(), ["status"], 21);
    exits(house.esker(), ["forget", &ids[0]], 0);
    exits(house.esker(), ["prune"], 0);
    exits(house.esker(), ["status"], 0);
}
