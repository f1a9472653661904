//! An owner's machine and a host with a writer key, with one repository in a bucket of its own.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::servers::s3::BUCKET;

const PASSWORD: &str = "correct horse battery";

/// Somebody's credentials for the storage.
#[derive(Clone)]
pub struct Account {
    pub access_key: String,
    pub secret_key: String,
}

impl Account {
    /// Where nobody looks at signatures.
    pub fn any() -> Self {
        Self { access_key: "AKIAANY".to_owned(), secret_key: "any".to_owned() }
    }
}

pub struct House {
    folder: tempfile::TempDir,
    endpoint: String,
}

/// How a run ended.
pub struct Said {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl House {
    pub fn new(endpoint: &str) -> Self {
        let house = Self { folder: tempfile::tempdir().unwrap(), endpoint: endpoint.to_owned() };
        house.fill(1);
        house
    }

    pub fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    /// What the host keeps; another one each day.
    pub fn fill(&self, day: u64) {
        std::fs::create_dir_all(self.path("data/media")).unwrap();
        let mut bytes = vec![0; 300_000];
        blake3::Hasher::new().update(&day.to_le_bytes()).finalize_xof().fill(&mut bytes);
        std::fs::write(self.path("data/media/picture"), bytes).unwrap();
        std::fs::write(self.path("data/note"), format!("day {day}")).unwrap();
    }

    fn command(&self, who: &str, account: &Account, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_esker"));
        command.env_clear().env("HOME", self.path(who)).env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("AWS_ACCESS_KEY_ID", &account.access_key).env("AWS_SECRET_ACCESS_KEY", &account.secret_key);
        command.arg("--repo").arg(format!("s3://{BUCKET}")).arg("-o").arg(format!("endpoint={}", self.endpoint));
        command.args(["-o", "timeout=5", "-o", "retry=20"]);
        command.args(arguments).current_dir(self.folder.path()).stdin(Stdio::null());
        command
    }

    fn said(&self, mut command: Command) -> Said {
        let output = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Said { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// On the owner's machine, by password.
    pub fn owner(&self, account: &Account, arguments: &[&str], code: i32) -> Said {
        let mut command = self.command("owner", account, arguments);
        command.env("ESKER_PASSWORD", PASSWORD);
        self.ends(command, arguments, code)
    }

    /// On the host, by its writer key.
    pub fn host(&self, account: &Account, arguments: &[&str], code: i32) -> Said {
        let mut command = self.command("host", account, arguments);
        command.env("ESKER_KEY_FILE", self.path("writer.key"));
        self.ends(command, arguments, code)
    }

    fn ends(&self, command: Command, arguments: &[&str], code: i32) -> Said {
        let said = self.said(command);
        assert_eq!(said.code, Some(code), "esker {arguments:?}:\n{}\n{}", said.out, said.err);
        said
    }

    /// The repository is made, and the host gets its key.
    pub fn set_up(&self, owner: &Account) {
        self.owner(owner, &["init", "--kdf", "low", "--guard", "14d", "--parity", "5"], 0);
        self.owner(owner, &["key", "export", "--writer", "--output", "writer.key"], 0);
    }

    /// The newest snapshot comes back as the host's data are.
    pub fn restores(&self, owner: &Account) {
        let target = self.path("restored");
        let _ = std::fs::remove_dir_all(&target);
        self.owner(owner, &["restore", "latest", "--target", "restored", "--verify"], 0);
        for file in ["media/picture", "note"] {
            let read = |below: &str| std::fs::read(self.path(below).join(file)).unwrap();
            assert!(read("restored/data") == read("data"), "{file} is another");
        }
    }
}
