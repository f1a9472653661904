//! The documented way back of a database, with the commands of the page, against a real server.

use std::process::Command;

use super::common::{House, exits};
use super::warnings::services::Postgres;

/// The shell of the last block of the page, which is for a database without a container.
fn documented() -> String {
    let page = include_str!("../../docs/restore.md");
    let (_, block) = page.rsplit_once("```sh\n").unwrap();
    block.split_once("\n```").unwrap().0.to_owned()
}

#[test]
fn a_database_that_was_upgraded_since_comes_back_as_it_was_and_the_newer_one_is_kept() {
    let house = House::with_repository();
    let server = Postgres::start();
    server.psql("postgres", "CREATE DATABASE app");
    server.psql(
        "app",
        "CREATE TABLE users (id int PRIMARY KEY, name text UNIQUE); INSERT INTO users SELECT n, 'u' || n FROM generate_series(1, 100) n; \
         CREATE TABLE sessions (id int PRIMARY KEY, owner int NOT NULL REFERENCES users); INSERT INTO sessions SELECT n, n FROM \
         generate_series(1, 100) n",
    );
    let before = server.dump_text("app");
    let source = format!("database={}", server.conninfo("postgres", "app"));
    exits(house.esker(), ["snapshot", "--postgres", &source], 0);
    // What an upgrade does: tables and constraints that hold on to the old ones.
    server.psql(
        "app",
        "ALTER TABLE users ADD COLUMN uuid int; UPDATE users SET uuid = id; ALTER TABLE users ADD UNIQUE (uuid); \
         ALTER TABLE sessions DROP CONSTRAINT sessions_owner_fkey, ADD FOREIGN KEY (owner) REFERENCES users (uuid); \
         CREATE TABLE devices (id int PRIMARY KEY, owner int REFERENCES users, other int REFERENCES users (uuid))",
    );
    let upgraded = server.dump_text("app");

    let programs = std::env::join_paths([
        std::path::Path::new(env!("CARGO_BIN_EXE_esker")).parent().unwrap(),
        &Postgres::bin_dir(),
        "/usr/bin".as_ref(),
        "/bin".as_ref(),
    ]);
    let run = Command::new("bash")
        .args(["-e", "-c", &documented()])
        .current_dir(house.path(""))
        .env_clear()
        .env("PATH", programs.unwrap())
        .env("HOME", house.path(""))
        .env("PGHOST", server.host())
        .env("PGUSER", "postgres")
        .env("ESKER_REPOSITORY", house.path("repo"))
        .env("ESKER_PASSWORD", super::common::PASSWORD)
        .env("ESKER_CACHE_DIR", house.path("cache"))
        .output()
        .unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    assert_eq!(server.dump_text("app"), before);
    assert_eq!(server.dump_text("app_old"), upgraded);
}
