//! A repository's life in steps, each from a state of the bucket that is kept, so that a step can be taken again and again with
//! another fault in it; and what must be true of the bucket afterwards.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use esker::clock::{SystemClock, SystemRng};
use esker::crypto::{Argon2Cost, Passphrase};
use esker::format::config::StoreClass;
use esker::format::keyslot::Level;
use esker::id::SnapshotId;
use esker::monitor::{Monitor, Quiet, Stop};
use esker::prune::{self, MaxUnused, PruneOptions};
use esker::repository::survey;
use esker::repository::{Environment, InitOptions, Reader, Repository, Secret};
use esker::restore::{self, Origin, RestoreOptions};
use esker::retention::forget;
use esker::snapshot::{self, SnapshotOptions};
use esker::source::{DirectorySource, Source};
use esker::store::location;
use esker::store::options::Options;
use esker::store::{MemoryStore, Name, Store};
use esker::verify::{self, ReadData, VerifyOptions};
use zeroize::Zeroizing;

use super::house::{files, noise};
use crate::servers::faulty::{Dialect, FaultyServer, Objects};
use crate::servers::s3::BUCKET;

const PASSWORD: &str = "correct horse";
const SOURCE: &str = "data";
/// Below which the repository is in its bucket.
const PREFIX: &str = "repo/";

/// What is done. The order is that of a life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    Init,
    First,
    Second,
    /// The config is changed.
    Config,
    Forget,
    Prune,
    Restore,
    Verify,
}

pub const STEPS: [Step; 8] =
    [Step::Init, Step::First, Step::Second, Step::Config, Step::Forget, Step::Prune, Step::Restore, Step::Verify];

/// What the changed config says.
pub const GUARD_SECONDS: u64 = 3_600;

/// Any failure, with what it says.
pub type Outcome = Result<(), Box<dyn std::error::Error>>;

/// What a folder holds, path to bytes.
type Tree = BTreeMap<PathBuf, Vec<u8>>;

pub struct World {
    pub dialect: Dialect,
    pub server: FaultyServer,
    folder: tempfile::TempDir,
    /// Before each step, and after the last.
    pub states: Vec<Objects>,
    /// Requests of each step when nothing goes wrong.
    pub requests: Vec<u64>,
    owner: String,
}

impl World {
    /// Lives the whole life once, without faults.
    pub fn new(dialect: Dialect) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (day, seed) in [("day1", 1), ("day2", 2)] {
            let place = folder.path().join(day);
            std::fs::create_dir(&place).unwrap();
            for n in 0..6 {
                let of = if n % 2 == 0 { 0 } else { seed };
                std::fs::write(place.join(format!("file{n}")), noise(of * 100 + n, 200 + 9_000 * n as usize)).unwrap();
            }
            std::fs::write(place.join("large"), noise(seed, 400_000)).unwrap();
        }
        let mut world = Self {
            dialect,
            server: FaultyServer::start_speaking(dialect),
            folder,
            states: Vec::new(),
            requests: Vec::new(),
            owner: String::new(),
        };
        // So that listings have several pages, each a request that may fail.
        world.server.set_page(5);
        for step in STEPS {
            world.states.push(world.server.objects());
            world.server.heal();
            world.take(step, 10.0).unwrap();
            world.requests.push(world.server.counts().requests());
            if step == Step::Init {
                // Opening by a key costs no password hashing.
                world.owner = world.open(&world.store(10.0)).unwrap().export_key(Level::Owner).unwrap().to_string();
            }
        }
        world.states.push(world.server.objects());
        world
    }

    fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    /// A new client of the bucket that goes on asking for so many seconds.
    pub fn store(&self, retry: f64) -> Arc<dyn Store> {
        let mut options = Options::default();
        for option in ["timeout=0.25".to_owned(), "retry-pause=0.02".to_owned(), format!("retry={retry}")] {
            options.add(&option).unwrap();
        }
        if self.dialect == Dialect::S3 {
            for option in [format!("endpoint={}", self.server.endpoint()), "anonymous=true".to_owned()] {
                options.add(&option).unwrap();
            }
        }
        location::parse(&self.place()).unwrap().open(&options).unwrap()
    }

    /// Where the repository is, as a message names it.
    pub fn place(&self) -> String {
        match self.dialect {
            Dialect::S3 => format!("s3://{BUCKET}/repo"),
            Dialect::WebDav => format!("webdav://{}/repo", self.server.address()),
        }
    }

    fn environment(&self, store: &Arc<dyn Store>) -> Environment {
        let (clock, rng) = (Arc::new(SystemClock::new()), Arc::new(SystemRng));
        Environment { store: store.clone(), clock, rng, host: "host".to_owned(), caches: None, states: None }
    }

    /// By the password: a repository that was made again has another key.
    fn open_new(&self, store: &Arc<dyn Store>) -> Arc<Repository> {
        let secret = Secret::Passphrase(Passphrase::new(PASSWORD.to_owned()));
        Arc::new(Repository::open(self.environment(store), &secret, None).unwrap())
    }

    fn open(&self, store: &Arc<dyn Store>) -> Result<Arc<Repository>, esker::repository::RepositoryError> {
        let secret = match self.owner.as_str() {
            "" => Secret::Passphrase(Passphrase::new(PASSWORD.to_owned())),
            line => Secret::KeyLine(Zeroizing::new(line.to_owned())),
        };
        Repository::open(self.environment(store), &secret, None).map(Arc::new)
    }

    /// Does it, as a process of its own would: with a client and a repository opened anew.
    pub fn take(&self, step: Step, retry: f64) -> Outcome {
        let store = self.store(retry);
        if step == Step::Init {
            // The probe has tests of its own; its hundreds of requests would hide the few that matter here.
            let class = match self.dialect {
                Dialect::S3 => StoreClass::Shared,
                Dialect::WebDav => StoreClass::SingleMaintainer,
            };
            let options = InitOptions { cost: Argon2Cost::LEAST, class: Some(class), ..InitOptions::default() };
            let password = Passphrase::new(PASSWORD.to_owned());
            Repository::init(self.environment(&store), &password, &options)?;
            return Ok(());
        }
        let repository = self.open(&store)?;
        match step {
            Step::Init => {}
            Step::First => self.snapshot(&repository, "day1")?,
            Step::Second => self.snapshot(&repository, "day2")?,
            Step::Config => {
                repository.change_config(|config| config.guard_seconds = GUARD_SECONDS)?;
            }
            Step::Forget => self.forget_oldest(&repository)?,
            Step::Prune => {
                let options = PruneOptions { max_unused: MaxUnused::Bytes(0), ..PruneOptions::default() };
                prune::run(&repository, &options, &quiet(), &Stop::new())?;
            }
            Step::Restore => {
                let newest = newest(&repository)?.ok_or("no snapshot")?;
                let restored = restored(&repository, newest)?;
                assert!(restored == files(&self.path("day2")), "another day came back");
            }
            Step::Verify => {
                let options = VerifyOptions { read_data: ReadData::All, record: true, ..VerifyOptions::default() };
                let mut findings = Vec::new();
                verify::run(&repository, &options, &quiet(), &Stop::new(), &mut |finding| findings.push(finding.clone()))?;
                if !findings.is_empty() {
                    return Err(format!("{}: {findings:?}", self.place()).into());
                }
            }
        }
        Ok(())
    }

    fn snapshot(&self, repository: &Arc<Repository>, day: &str) -> Outcome {
        let sources = vec![Source::Directory(DirectorySource::new(SOURCE, self.path(day)))];
        let options = SnapshotOptions { host: "host".to_owned(), program: "test".to_owned(), ..SnapshotOptions::default() };
        let summary = snapshot::run(repository, sources, &options, &quiet(), &Stop::new())?;
        summary.id.map(drop).ok_or_else(|| "nothing was committed".into())
    }

    fn forget_oldest(&self, repository: &Arc<Repository>) -> Outcome {
        let survey = survey::survey(repository)?;
        let list = repository.snapshots()?;
        if !list.damaged.is_empty() {
            return Err(format!("{}: {:?}", self.place(), list.damaged).into());
        }
        let oldest = list.snapshots.iter().min_by_key(|stored| stored.snapshot.time).ok_or("no snapshot")?;
        let plan = forget::by_name(&survey, &[(oldest.id, oldest.hash)])?;
        survey.record(repository)?;
        forget::carry_out(repository, &plan, &Stop::new())?;
        Ok(())
    }

    /// What stands in the bucket, looked at without the network: every snapshot that is there restores to one of the two days, and
    /// nothing that data depends on is damaged. Gives how many there are of each day.
    pub fn look(&self, after: Step) -> (usize, usize) {
        let store = self.without_network();
        let repository = if after == Step::Init { self.open_new(&store) } else { self.open(&store).unwrap() };
        let list = repository.snapshots().unwrap();
        assert!(list.damaged.is_empty(), "{:?}", list.damaged);
        let (day1, day2) = (files(&self.path("day1")), files(&self.path("day2")));
        let mut counts = (0, 0);
        for stored in &list.snapshots {
            match restored(&repository, stored.id).unwrap() {
                tree if tree == day1 => counts.0 += 1,
                tree if tree == day2 => counts.1 += 1,
                _ => panic!("snapshot {} restores to something else", stored.id),
            }
        }
        let options = VerifyOptions { read_data: ReadData::All, ..VerifyOptions::default() };
        let mut hit = Vec::new();
        let mut each = |finding: &verify::Finding| {
            if finding.data_affected {
                hit.push(finding.clone());
            }
        };
        verify::run(&repository, &options, &quiet(), &Stop::new(), &mut each).unwrap();
        assert!(hit.is_empty(), "{hit:?}");
        counts
    }

    /// A copy of what stands there. What a WebDAV server has below `tmp` has no name yet.
    fn without_network(&self) -> Arc<dyn Store> {
        let memory = MemoryStore::new();
        for (key, bytes) in self.server.objects() {
            let name = key.strip_prefix(PREFIX).unwrap();
            if !name.is_empty() && !name.ends_with('/') && !name.starts_with("tmp/") {
                memory.create(&Name::new(name).unwrap(), &[&bytes]).unwrap();
            }
        }
        Arc::new(memory)
    }

    /// What the config in force says.
    pub fn guard_seconds(&self) -> u64 {
        self.open(&self.without_network()).unwrap().config().guard_seconds
    }

    /// Is there a repository that opens?
    pub fn is_made(&self) -> bool {
        self.server.objects().keys().any(|key| key.starts_with("repo/config/") && !key.ends_with('/'))
    }
}

fn quiet() -> Arc<dyn Monitor> {
    Arc::new(Quiet)
}

fn newest(repository: &Arc<Repository>) -> Result<Option<SnapshotId>, esker::repository::RepositoryError> {
    let list = repository.snapshots()?;
    Ok(list.snapshots.iter().max_by_key(|stored| stored.snapshot.time).map(|stored| stored.id))
}

fn restored(repository: &Arc<Repository>, id: SnapshotId) -> Result<Tree, Box<dyn std::error::Error>> {
    let stored = repository.snapshot(&id)?.ok_or("the snapshot is gone")?;
    let reader = Reader::new(repository, &Quiet)?;
    let folder = reader.resolve(&stored.snapshot.root, SOURCE.as_bytes(), "test")?.ok_or("no source")?.content;
    let target = tempfile::tempdir()?;
    let options = RestoreOptions { target: target.path().join("back"), ..RestoreOptions::default() };
    let origin = Origin { root: &folder, snapshot: "test", path: b"", streams: &[], record: None };
    restore::run(repository, origin, &options, &quiet(), &Stop::new())?;
    Ok(files(Path::new(&options.target)))
}
