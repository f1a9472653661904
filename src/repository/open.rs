//! Opening a repository.

use std::path::PathBuf;
use std::sync::Arc;

use crate::clock::{Clock, Rng};
use crate::crypto::{Keys, OWNER_TAG, Passphrase, RootKey, WRITER_TAG, WriterKey};
use crate::format::names::ObjectName;
use crate::format::{FormatError, Opener};
use crate::id::ObjectHash;
use crate::objects::Objects;
use crate::records::configs::{InForce, newest_config};
use crate::records::host_state::HostMemory;
use crate::records::keyslots;
use crate::repository::{Repository, RepositoryError, strangers};
use crate::store::Store;

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
                let (keys, slot) = keyslots::unlock(&*environment.store, environment.states.as_deref(), passphrase, slot)?;
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
        let host_memory = HostMemory::open(states.as_deref(), id, keys.host_state_key());
        let seen = host_memory.state();
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
            host_memory,
        };
        repository.host_memory.remember(|seen| seen.config = number);
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
