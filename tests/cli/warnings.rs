//! What a restore of a snapshot will lack is said where the snapshot is taken and where it is listed.

use super::common::{House, exits, json, json_lines, stderr, stdout};

#[path = "../common/services.rs"]
pub mod services;
use services::{Postgres, Redis};

#[test]
fn what_a_restore_will_lack_is_said_at_once_and_kept_in_the_snapshot() {
    let house = House::with_repository();
    let redis = Redis::start(&["--rdbchecksum", "no"]);
    redis.cli(&["SET", "key", "value"]);
    let source = format!("cache={}", redis.url());
    // The exit code stays 0, and no -v is needed.
    let taken = exits(house.esker(), ["snapshot", "--redis", &source], 0);
    assert!(stderr(&taken).contains("esker: warning: cache: the server writes no checksum"), "{}", stderr(&taken));

    let taken = exits(house.esker(), ["snapshot", "--json", "--redis", &source], 0);
    let summary = json_lines(&taken.stdout).pop().unwrap();
    assert_eq!(summary["incomplete"], false, "{summary}");
    let snapshots = json(&exits(house.esker(), ["snapshots", "latest", "--json"], 0).stdout);
    assert_eq!(snapshots[0]["complete"], true, "{snapshots}");
    for warnings in [&summary["warnings"], &snapshots[0]["warnings"]] {
        assert_eq!(warnings.as_array().unwrap().len(), 1, "{warnings}");
        assert_eq!(warnings[0]["source"], "cache");
        assert!(warnings[0]["text"].as_str().unwrap().contains("rdbchecksum no"), "{warnings}");
    }

    let table = stdout(&exits(house.esker(), ["snapshots", "latest"], 0));
    assert!(table.contains("1 warning") && !table.contains("rdbchecksum"), "{table}");
    let long = stdout(&exits(house.esker(), ["snapshots", "latest", "--long"], 0));
    assert!(long.contains("warning: cache: the server writes no checksum (rdbchecksum no)"), "{long}");
}

#[test]
fn a_snapshot_that_lacks_nothing_has_no_warning() {
    let house = House::with_snapshot();
    let snapshots = json(&exits(house.esker(), ["snapshots", "--json"], 0).stdout);
    assert_eq!(snapshots[0]["warnings"], serde_json::json!([]));
    assert!(!stdout(&exits(house.esker(), ["snapshots", "--long"], 0)).contains("warning"));
}

#[test]
fn the_database_that_is_named_is_the_one_that_is_taken() {
    let house = House::with_repository();
    let server = Postgres::start();
    server.psql("postgres", "CREATE TABLE kept (n int)");
    server.psql("postgres", "CREATE DATABASE other");
    server.psql("postgres", "CREATE DATABASE closed ALLOW_CONNECTIONS false");
    let named = format!("db={}", server.conninfo("postgres", "postgres"));
    exits(house.esker(), ["snapshot", "--postgres", &named], 0);
    assert_eq!(stdout(&exits(house.esker(), ["ls", "latest:db"], 0)), "db/globals.sql\ndb/postgres.dump\n");
    // Without a name all are taken, and what cannot be is said.
    let all = format!("db=host='{}' user=postgres", server.host().display());
    let taken = exits(house.esker(), ["snapshot", "--postgres", &all], 0);
    assert_eq!(stdout(&exits(house.esker(), ["ls", "latest:db"], 0)), "db/globals.sql\ndb/other.dump\ndb/postgres.dump\n");
    assert!(stderr(&taken).contains("warning: db: database \"closed\" accepts no connections"), "{}", stderr(&taken));
}
