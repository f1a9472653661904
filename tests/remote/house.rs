//! A house with the real program, a folder to back up, and a repository somewhere else. Whatever the program says, it never says a
//! credential: that is looked at after every run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::servers::Server;
#[cfg(feature = "azblob")]
use crate::servers::clouds;
use crate::servers::faulty::FaultyServer;
use crate::servers::s3::{ACCESS_KEY, BUCKET, S3Server, SECRET_KEY};
use crate::servers::sshd::Sshd;
use crate::servers::webdav;

pub const PASSWORD: &str = "correct horse battery";

pub struct House {
    folder: tempfile::TempDir,
    repository: String,
    /// Arguments about the store.
    pub options: Vec<String>,
    environment: Vec<(String, String)>,
    /// What nobody may read in an output.
    secrets: Vec<String>,
}

impl House {
    /// With a repository's place and what the environment says about it; the values of the environment are the secrets.
    fn new(repository: String, options: Vec<String>, environment: Vec<(String, String)>) -> Self {
        let mut secrets: Vec<String> = environment.iter().map(|(_, value)| value.clone()).collect();
        secrets.push(PASSWORD.to_owned());
        Self { folder: tempfile::tempdir().unwrap(), repository, options, environment, secrets }
    }

    fn on_endpoint(endpoint: &str, region: &str, access_key: &str, secret_key: &str) -> Self {
        let options = vec![format!("--option=endpoint={endpoint}"), format!("--option=region={region}")];
        let environment = vec![
            ("AWS_ACCESS_KEY_ID".to_owned(), access_key.to_owned()),
            ("AWS_SECRET_ACCESS_KEY".to_owned(), secret_key.to_owned()),
        ];
        let mut house = Self::new(format!("s3://{BUCKET}/hosts"), options, environment);
        // The id of a key is no secret, though it need not be shown; moto's and s3rver's is a common word.
        house.secrets.retain(|secret| secret != access_key || secret == secret_key);
        house
    }

    pub fn on_s3(server: &S3Server) -> Self {
        Self::on_endpoint(&server.endpoint, server.region, &server.access_key, &server.secret_key)
    }

    /// With short patience: what waits there waits by plan.
    pub fn on_faulty(server: &FaultyServer) -> Self {
        let mut house = Self::on_endpoint(&server.endpoint(), "us-east-1", ACCESS_KEY, SECRET_KEY);
        house.options.extend(["timeout=2", "retry=10", "retry-pause=0.02"].map(|option| format!("--option={option}")));
        house
    }

    /// On azurite, with the account and the key that everybody's has.
    #[cfg(feature = "azblob")]
    pub fn on_azure(server: &Server) -> Self {
        let environment = vec![
            ("AZURE_STORAGE_ACCOUNT_NAME".to_owned(), clouds::ACCOUNT.to_owned()),
            ("AZURE_STORAGE_ACCOUNT_KEY".to_owned(), clouds::ACCOUNT_KEY.to_owned()),
        ];
        let mut house =
            Self::new(format!("azblob://{BUCKET}/hosts"), vec![format!("--option={}", clouds::endpoint(server))], environment);
        house.secrets.retain(|secret| secret != clouds::ACCOUNT);
        house
    }

    /// On the emulator of Google's, which asks for no credentials.
    #[cfg(feature = "gcs")]
    pub fn on_google(server: &Server) -> Self {
        let options = vec![format!("--option=endpoint={}", server.url()), "--option=anonymous=true".to_owned()];
        Self::new(format!("gcs://{BUCKET}/hosts"), options, Vec::new())
    }

    /// In a folder of its own machine.
    pub fn on_disk() -> Self {
        let mut house = Self::new(String::new(), Vec::new(), Vec::new());
        house.repository = house.path("repository").display().to_string();
        house
    }

    pub fn on_webdav(server: &Server) -> Self {
        let environment = vec![("WEBDAV_PASSWORD".to_owned(), webdav::PASSWORD.to_owned())];
        Self::new(format!("webdav://{}@{}/esker/hosts", webdav::USER, server.address()), Vec::new(), environment)
    }

    pub fn on_sftp(server: &Sshd) -> Self {
        let options = vec![format!("--option=args={}", server.ssh_arguments("ssh_config").join(" "))];
        Self::new(server.url("repo"), options, Vec::new())
    }

    /// Another machine with the same repository: its own folder, cache and data.
    pub fn beside(&self) -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            repository: self.repository.clone(),
            options: self.options.clone(),
            environment: self.environment.clone(),
            secrets: self.secrets.clone(),
        }
    }

    pub fn path(&self, below: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(below)
    }

    pub fn write(&self, below: &str, content: &[u8]) {
        let path = self.path(below);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    pub fn set(&mut self, name: &str, value: &str) {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    pub fn unset(&mut self, name: &str) {
        self.environment.retain(|(known, _)| known != name);
    }

    pub fn repository(&mut self, repository: &str) {
        repository.clone_into(&mut self.repository);
    }

    /// Where its repository is.
    pub fn place(&self) -> &str {
        &self.repository
    }

    /// What the environment has to say about its store.
    pub fn environment(&self) -> &[(String, String)] {
        &self.environment
    }

    /// The program, as verbose as it can be, with nothing else from outside.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_esker"));
        command.env_clear().env("HOME", self.folder.path()).env("ESKER_PASSWORD", PASSWORD);
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("RUST_BACKTRACE", "1");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.arg("-v").args(["--repo", &self.repository]).arg("--cache-dir").arg(self.path("cache"));
        command.args(&self.options).args(arguments).current_dir(self.folder.path()).stdin(Stdio::null());
        command
    }

    /// Runs it; the exit code must be this one.
    pub fn exits(&self, arguments: &[&str], code: i32) -> Said {
        let said = self.said(self.command(arguments).output().unwrap());
        if said.code != 0 {
            // To be read by whoever wants to know what a user is told.
            println!("$ esker {} -> {}\n{}", arguments.join(" "), said.code, said.err);
        }
        assert_eq!(said.code, code, "esker {arguments:?}:\n{}\n{}", said.out, said.err);
        said
    }

    /// What a run said: no secret.
    pub fn said(&self, output: Output) -> Said {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let said = Said { code: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) };
        for secret in &self.secrets {
            assert!(
                !said.out.contains(secret.as_str()) && !said.err.contains(secret.as_str()),
                "a credential is shown:\n{}\n{}",
                said.out,
                said.err
            );
        }
        said
    }

    pub fn run(&self, arguments: &[&str]) -> Said {
        self.exits(arguments, 0)
    }

    pub fn init(&self) -> Said {
        self.run(&["init", "--kdf", "low"])
    }

    /// A few files, other ones for another `seed`; half of them stay.
    pub fn fill(&self, seed: u64) {
        for n in 0..12 {
            let of = if n % 2 == 0 { 0 } else { seed };
            self.write(&format!("data/folder{}/file{n}", n % 3), &noise(of * 100 + n, 1 + 7_919 * n as usize));
        }
        self.write("data/large", &noise(seed, 1_500_000));
    }

    /// The id of the snapshot that was taken.
    pub fn snapshot(&self) -> String {
        let said = self.run(&["snapshot", "data", "--json"]);
        said.json_line("snapshot_id")["snapshot_id"].as_str().unwrap().to_owned()
    }

    pub fn snapshot_ids(&self) -> Vec<String> {
        let said = self.run(&["snapshots", "--json"]);
        let listed: serde_json::Value = serde_json::from_str(&said.out).unwrap();
        listed.as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
    }

    /// Restores into a new folder and reads it.
    pub fn restored(&self, snapshot: &str) -> BTreeMap<PathBuf, Vec<u8>> {
        let target = self.path(format!("restored-{snapshot}"));
        let _ = std::fs::remove_dir_all(&target);
        self.run(&["restore", snapshot, "--target", target.to_str().unwrap()]);
        files(&target.join("data"))
    }

    pub fn data(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        files(&self.path("data"))
    }
}

/// How a run ended.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Said {
    /// The line of JSON that has this field.
    pub fn json_line(&self, field: &str) -> serde_json::Value {
        let lines = self.out.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        lines.into_iter().find(|value| !value[field].is_null()).unwrap_or_else(|| panic!("no {field} in {}", self.out))
    }

    /// The message must have these words in it.
    pub fn says(&self, words: &[&str]) {
        for words in words {
            assert!(self.err.contains(words), "{words:?} is not in:\n{}", self.err);
        }
    }
}

pub fn files(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(folder) = waiting.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
            } else {
                found.insert(path.strip_prefix(root).unwrap().to_owned(), std::fs::read(&path).unwrap());
            }
        }
    }
    found
}

/// Bytes that do not compress, the same for one seed.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}
