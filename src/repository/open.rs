//! Opening a repository.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use crate::clock::{Clock, Rng, Timestamp};
use crate::crypto::{Keys, OWNER_TAG, Passphrase, RootKey, WRITER_TAG, WriterKey};
use crate::format::config::{self, Config, StoreClass};
use crate::format::names::{self, ObjectName};
use crate::format::{FormatError, Opener, limits};
use crate::id::ObjectHash;
use crate::objects::{ObjectError, Objects};
use crate::records::host_state::HostState;
use crate::repository::{Repository, RepositoryError, keyslots, listed, strangers};
use crate::store::{Name, Store, StoreError};

/// Where a repository is and what it is opened with.
#[derive(Clone)]
pub struct Environment {
    /// Names to bytes.
    pub store: Arc<dyn Store>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub rng: Arc<dyn Rng>,
    /// This machine's name, for session records.
    pub host: String,
    /// Folder of caches; each repository has its own below. None: a temporary cache.
    pub caches: Option<PathBuf>,
    /// Folder of host states, which outlive caches. None: rolled-back stores are not noticed.
    pub states: Option<PathBuf>,
}

/// What opens a repository.
pub enum Secret {
    /// A password, or a recovery key typed in its place.
    Passphrase(Passphrase),
    /// The line of an exported key file, owner or writer.
    KeyLine(zeroize::Zeroizing<String>),
}

impl Repository {
    /// Opens the repository of `environment` with `secret`; `slot` names one keyslot (a prefix of its id), else they are tried in turn.
    pub fn open(environment: Environment, secret: &Secret, slot: Option<&str>) -> Result<Self, RepositoryError> {
        let store = Arc::clone(&environment.store);
        Self::open_ours(environment, secret, slot).map_err(|error| strangers::explain(&*store, error))
    }

    fn open_ours(environment: Environment, secret: &Secret, slot: Option<&str>) -> Result<Self, RepositoryError> {
        let keys = match secret {
            Secret::Passphrase(passphrase) => {
                let (keys, slot) = keyslots::unlock(&environment, passphrase, slot)?;
                return Self::assemble(environment, keys, Some(slot));
            }
            Secret::KeyLine(line) => keys_of_line(line)?,
        };
        Self::assemble(environment, Arc::new(keys), None)
    }

    pub(super) fn assemble(
        environment: Environment,
        keys: Arc<Keys>,
        opened_with: Option<ObjectHash>,
    ) -> Result<Self, RepositoryError> {
        let Environment { store, clock, rng, host, caches, states } = environment;
        let opener = Opener::new(Arc::clone(&keys));
        let InForce { number, config, sealed_in, .. } = newest_config(&*store, &keys, &opener)?;
        if keys.is_owner() && config.generation < keys.generation() {
            return Err(RepositoryError::Brake(format!(
                "config {number} is of generation {}, but this key was exported in generation {}: the store was rolled back",
                config.generation,
                keys.generation()
            )));
        }
        let keys = match config.generation {
            generation if generation == keys.generation() => keys,
            // An owner writes in the generation config names; a writer of an older one was rotated out.
            generation => match keys.root() {
                Some(root) => Arc::new(Keys::owner(root.duplicate(), generation)),
                None => {
                    return Err(RepositoryError::Keyslot(format!(
                        "this writer key is of generation {}, the repository is at {generation}: ask the owner for a new one",
                        keys.generation()
                    )));
                }
            },
        };
        if config.unknown_read_features() != 0 {
            let source = FormatError::Field { what: "config", field: "read features", why: "name what only a newer esker knows" };
            return Err(RepositoryError::Object { object: ObjectName::Config(number).name().to_string(), source });
        }
        let id = keys.repository_id();
        let state = states.map(|folder| folder.join(format!("{id}.state")));
        let seen = state.as_deref().map(|path| HostState::load(path, &id, &keys.host_state_key())).unwrap_or_default();
        if number < seen.config {
            return Err(RepositoryError::Brake(format!(
                "the store shows config {number}, but this host has seen config {}: it was rolled back",
                seen.config
            )));
        }
        let repository = Self {
            objects: Objects::new(store, clock, rng, keys)?,
            is_rotation_unfinished: sealed_in < config.generation,
            config,
            config_number: number,
            host,
            opened_with,
            cache: caches.map(|folder| folder.join(id.to_hex())),
            state,
            seen: Mutex::new(seen),
        };
        repository.remember(|seen| seen.config = number);
        Ok(repository)
    }
}

fn keys_of_line(line: &str) -> Result<Keys, RepositoryError> {
    let line = line.trim();
    if line.starts_with(OWNER_TAG) {
        let (root, generation) = RootKey::from_line(line)?;
        Ok(Keys::owner(root, generation))
    } else if line.starts_with(WRITER_TAG) {
        Ok(Keys::writer(WriterKey::from_line(line)?))
    } else {
        Err(RepositoryError::Keyslot(format!("this is no key file: its line begins neither with {OWNER_TAG} nor {WRITER_TAG}")))
    }
}

/// The config in force.
pub(super) struct InForce {
    pub number: u32,
    pub config: Config,
    /// The generation it is sealed in: that it names, or the one before in the middle of a rotation.
    pub sealed_in: u32,
    /// BLAKE3 of its object.
    pub hash: ObjectHash,
}

/// The config in force: for an owner the highest with a good owner_mac, for a writer the highest that opens. Several may have one number
/// where names hold the hash: of those the one with the highest generation, for no key that was given up may come back; then the latest,
/// then the one with the highest hash.
pub(super) fn newest_config(store: &dyn Store, keys: &Keys, opener: &Opener) -> Result<InForce, RepositoryError> {
    let mut listed: Vec<(u32, Option<ObjectHash>, Name)> = Vec::new();
    match store.list("config", &mut |entry| match ObjectName::parse(&entry.name) {
        Some(ObjectName::Config(number)) => listed.push((number, None, entry.name)),
        Some(ObjectName::ConfigByHash(number, hash)) => listed.push((number, Some(hash), entry.name)),
        _ => {}
    }) {
        Ok(()) => {}
        Err(StoreError::NoStore(place)) => return Err(RepositoryError::NoRepository(place)),
        Err(error) => return Err(error.into()),
    }
    listed.sort_unstable();
    let mut failed = None;
    let mut best: Option<InForce> = None;
    for (number, hash, name) in listed.into_iter().rev() {
        if best.as_ref().is_some_and(|best| best.number > number) {
            break;
        }
        let sealed = match listed::get(store, &name, limits::CONFIG_SIZE_MAX) {
            Ok(Some(sealed)) => sealed,
            Ok(None) => return Err(StoreError::NotFound(name).into()),
            // No config is as large, so this is none. One that cannot be read may be the one in force.
            Err(ObjectError::Object { source: source @ FormatError::TooLong { .. }, .. }) => {
                failed.get_or_insert((name, source));
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let found = names::hash_of(&[&sealed]);
        let opened = match hash {
            Some(hash) if hash != found => Err(FormatError::field("config", "bytes", "do not hash to the name")),
            _ => config::open(opener, number, &sealed),
        };
        match opened {
            Ok(opened) => {
                let next = InForce { number, config: opened.config, sealed_in: opened.sealed_in, hash: found };
                if best.as_ref().is_none_or(|best| best.rank() < next.rank()) {
                    best = Some(next);
                }
            }
            Err(error) => {
                failed.get_or_insert((name, error));
            }
        }
    }
    if let Some(best) = best {
        return Ok(best);
    }
    Err(match failed {
        None => RepositoryError::NoRepository(store.location()),
        // Every object's keys depend on the repository: a foreign key fails at the commitment.
        Some((name, FormatError::WrongCommitment { .. })) => {
            RepositoryError::ForeignKey { key: keys.repository_id().short(), location: store.location(), object: name.to_string() }
        }
        Some((name, error)) => RepositoryError::Object { object: name.to_string(), source: error },
    })
}

impl InForce {
    /// Of several with one number the highest counts.
    fn rank(&self) -> (u32, Timestamp, ObjectHash) {
        (self.config.generation, self.config.time, self.hash)
    }
}

/// Where a config of this number and content stands: under its hash where a name that is taken may be overwritten.
pub(super) fn config_name(class: StoreClass, number: u32, sealed: &[u8]) -> Name {
    match class {
        StoreClass::Shared => ObjectName::Config(number).name(),
        StoreClass::SingleMaintainer => ObjectName::ConfigByHash(number, names::hash_of(&[sealed])).name(),
    }
}

/// Do these bytes stand at `name`? No two runs ever seal the same, so then they are this run's.
pub(super) fn is_config(store: &dyn Store, name: &Name, sealed: &[u8]) -> Result<bool, RepositoryError> {
    match store.get(name, limits::CONFIG_SIZE_MAX) {
        Ok(found) => Ok(found == sealed),
        Err(StoreError::Size { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
