//! authentik as its compose file deploys it, backed up and restored as docs/restore.md says, by the real program: a real PostgreSQL and a
//! real Redis stand in for the containers, and a small `docker` hands commands on to them.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};

use assert_cmd::Command;

#[path = "common/services.rs"]
mod services;
use services::{Postgres, Redis};

/// The compose file of authentik's documentation, until 2025.8; the tests of the layouts read the same.
const COMPOSE: &str = include_str!("../src/source/authentik/tests/compose.yml");

/// An address of this machine that no other test uses; the port is Redis' own, as in a container.
fn address() -> String {
    static NEXT: AtomicU8 = AtomicU8::new(80);
    let [.., high, low] = std::process::id().to_be_bytes();
    format!("127.{}.{high}.{}", NEXT.fetch_add(1, Ordering::Relaxed), low.clamp(1, 254))
}

struct Deployment {
    folder: tempfile::TempDir,
    postgres: Postgres,
    redis: Redis,
}

impl Deployment {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = address();
        let (postgres, redis) = (Postgres::start(), Redis::start(&["--port", "6379", "--bind", &address]));
        postgres.psql("postgres", "CREATE ROLE authentik LOGIN SUPERUSER PASSWORD 'hunter2'");
        postgres.psql("postgres", "CREATE DATABASE authentik OWNER authentik");
        let deployment = Self { folder, postgres, redis };
        deployment.sql(
            "CREATE TABLE authentik_core_user (id serial PRIMARY KEY, username text UNIQUE, password text);
             INSERT INTO authentik_core_user (username, password)
                 SELECT 'user' || n, 'pbkdf2_sha256$' || md5(n::text) FROM generate_series(1, 20000) n;",
        );
        for n in 0..2000 {
            deployment.redis.cli(&["SET", &format!("authentik_sessions_{n}"), &"token ".repeat(n % 40 + 1)]);
        }
        for (path, text) in [
            ("opt/media/public/icons/one.svg", "<svg/>"),
            ("opt/certs/auth.example.com/privkey.pem", "-----BEGIN PRIVATE KEY-----"),
            ("opt/custom-templates/email.html", "<p>{{ user }}</p>"),
            ("opt/.env", "PG_PASS=hunter2\nAUTHENTIK_SECRET_KEY=a-very-secret-key\n"),
            ("opt/docker-compose.yml", COMPOSE),
        ] {
            deployment.write(path, text.as_bytes(), 0o640);
        }
        // `docker compose --file F exec -T SERVICE COMMAND`, `docker compose --file F ps -q SERVICE`, `docker inspect ...`, and
        // `docker exec [-i] CONTAINER COMMAND`.
        let shim = format!(
            "#!/bin/sh
[ \"$1\" = inspect ] && {{ echo {address}; exit; }}
export PGHOST={host}
[ \"$1\" = exec ] && {{ [ \"$2\" = -i ] && shift; shift 2; exec \"$@\"; }}
shift 3
case \"$1 $2 $3\" in
    'exec -T postgresql') shift 3; exec \"$@\" ;;
    'ps -q redis') echo 0123456789abcdef ;;
    *) echo \"unknown: $*\" >&2; exit 9 ;;
esac
",
            host = deployment.postgres.host().display()
        );
        deployment.write("bin/docker", shim.as_bytes(), 0o755);
        deployment.write("etc/password", b"choose a better one\n", 0o600);
        let config = format!(
            "repository = \"{}\"\npassword-file = \"password\"\ntags = [\"nightly\"]\n\n[[source]]\n[source.authentik]\ndirectory = \"{}\"\n\n\
             [keep]\ndaily = 14\nweekly = 8\nmonthly = 24\n",
            deployment.path("srv").display(),
            deployment.path("opt").display()
        );
        deployment.write("etc/authentik.toml", config.as_bytes(), 0o644);
        deployment
    }

    fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    fn write(&self, below: &str, bytes: &[u8], mode: u32) {
        let path = self.path(below);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    fn sql(&self, sql: &str) -> String {
        self.postgres.psql("authentik", sql)
    }

    /// The program as cron or systemd would run it.
    fn esker(&self, words: &[&str]) -> std::process::Output {
        let mut command: Command = assert_cmd::cargo::cargo_bin_cmd!("esker");
        command.env_clear().env("PATH", format!("{}:{}:/usr/bin:/bin", self.path("bin").display(), Postgres::bin_dir().display()));
        command.env("HOME", self.folder.path()).env("ESKER_CACHE_DIR", self.path("cache"));
        command.env("ESKER_CONFIG", self.path("etc/authentik.toml"));
        command.args(words).output().unwrap()
    }

    fn succeed(&self, words: &[&str]) -> Vec<u8> {
        let output = self.esker(words);
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }
}

fn same(one: &Path, other: &Path) {
    let status = std::process::Command::new("diff").arg("-r").arg(one).arg(other).status().unwrap();
    assert!(status.success(), "{} and {} differ", one.display(), other.display());
}

#[test]
fn a_compose_deployment_of_authentik_is_backed_up_and_restored_as_the_page_says() {
    let deployment = Deployment::start();
    deployment.succeed(&["init", "--kdf", "low"]);
    deployment.succeed(&["snapshot"]);
    let (rows, keys) = (deployment.postgres.dump_text("authentik"), deployment.redis.digest());
    // Life goes on, and another night comes.
    deployment.sql("DELETE FROM authentik_core_user WHERE id % 7 = 0; UPDATE authentik_core_user SET password = 'x' WHERE id = 1");
    deployment.redis.cli(&["FLUSHALL"]);
    let summary = deployment.succeed(&["snapshot", "--json"]);
    let summary: serde_json::Value =
        serde_json::from_slice(summary.split(|&byte| byte == b'\n').rfind(|line| !line.is_empty()).unwrap()).unwrap();
    assert_eq!(summary["incomplete"], false, "{summary}");
    let names: Vec<_> =
        summary["sources"].as_array().unwrap().iter().map(|source| source["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!(names, ["postgresql", "redis", "media", "certs", "custom-templates", "config", "config-etc"]);

    // The night before is wanted back. Files first.
    deployment.succeed(&["restore", "latest~1", "--target", deployment.path("restored").to_str().unwrap(), "--verify"]);
    for folder in ["media", "certs", "custom-templates"] {
        same(&deployment.path("opt").join(folder), &deployment.path("restored").join(folder));
    }
    let env = deployment.path("restored/config/.env");
    assert!(std::fs::read_to_string(env).unwrap().contains("AUTHENTIK_SECRET_KEY=a-very-secret-key"));
    assert!(deployment.path("restored/config/docker-compose.yml").is_file());
    // esker's own config file lies in another folder, beside the password that is no part of it.
    assert!(deployment.path("restored/config-etc/authentik.toml").is_file());
    assert!(!deployment.path("restored/config-etc/password").exists());

    // Roles and the database, in an empty server: a stream goes from one program into the other.
    let fresh = Postgres::start();
    let globals = deployment.succeed(&["dump", "latest~1:postgresql/globals.sql"]);
    let mut roles: Command = Command::from_std(fresh.client("psql"));
    let said = roles.args(["-X", "-d", "postgres"]).write_stdin(globals).output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    assert_eq!(fresh.psql("postgres", "SELECT rolsuper FROM pg_roles WHERE rolname = 'authentik'"), "t");
    fresh.restore(&deployment.succeed(&["dump", "latest~1:postgresql/authentik.dump"]), "authentik");
    assert_eq!(fresh.dump_text("authentik"), rows);

    // Redis, from the file in its folder.
    let again = Redis::load(&deployment.succeed(&["dump", "latest~1:redis/dump.rdb"]));
    assert_eq!(again.digest(), keys);

    deployment.succeed(&["verify", "--read-data"]);
    deployment.succeed(&["forget", "--prune"]);
}

/// The script of a numbered step of "authentik, step by step" in docs/restore.md.
fn step(number: usize) -> String {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/restore.md")).unwrap();
    let steps = page.split_once("## authentik, step by step").unwrap().1;
    let step = steps.split_once(&format!("\n{number}. ")).unwrap().1;
    step.split_once("```sh\n").unwrap().1.split_once("```").unwrap().0.to_owned()
}

#[test]
fn a_database_that_was_upgraded_since_goes_back_by_the_commands_of_the_page_and_the_old_one_is_kept() {
    let deployment = Deployment::start();
    deployment.sql("CREATE TABLE authentik_core_group (id serial PRIMARY KEY, owner int REFERENCES authentik_core_user (id))");
    deployment.succeed(&["init", "--kdf", "low"]);
    deployment.succeed(&["snapshot"]);
    let before = deployment.postgres.dump_text("authentik");
    // The upgrade: a new table holds on to an old one, which gets another key.
    deployment.sql(
        "ALTER TABLE authentik_core_user ADD COLUMN uuid uuid UNIQUE DEFAULT gen_random_uuid();
         CREATE TABLE authentik_rbac_role (id serial PRIMARY KEY, owner uuid REFERENCES authentik_core_user (uuid));
         UPDATE authentik_core_user SET password = 'newer';",
    );
    let upgraded = deployment.postgres.dump_text("authentik");

    for number in [4, 5] {
        let program = Path::new(env!("CARGO_BIN_EXE_esker")).parent().unwrap().display().to_string();
        let path = format!("{}:{program}:{}:/usr/bin:/bin", deployment.path("bin").display(), Postgres::bin_dir().display());
        let mut shell = std::process::Command::new("bash");
        shell.args(["-euc", &step(number)]).env_clear().env("PATH", path).env("HOME", deployment.folder.path());
        shell.env("ESKER_CACHE_DIR", deployment.path("cache")).env("ESKER_CONFIG", deployment.path("etc/authentik.toml"));
        let output = shell.output().unwrap();
        assert!(output.status.success(), "step {number}: {}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(deployment.postgres.dump_text("authentik"), before);
    assert_eq!(deployment.postgres.dump_text("authentik_old"), upgraded);
}

#[test]
fn a_database_container_that_is_down_is_4_and_commits_nothing() {
    let deployment = Deployment::start();
    deployment.succeed(&["init", "--kdf", "low"]);
    deployment.write("bin/docker", b"#!/bin/sh\necho 'service \"postgresql\" is not running' >&2\nexit 1\n", 0o755);
    let output = deployment.esker(&["snapshot"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(said.contains("is not running"), "{said}");
    assert_eq!(deployment.succeed(&["snapshots", "--json"]).trim_ascii(), b"[]");
}
