//! Making a repository.
//!
//! Config 1 is the fence. A place holds a repository from the moment config 1 is created, and of several `init`s at the
//! same time only one creates it. Keyslots come first, so a repository can be opened as soon as it exists. An `init`
//! that was cut off before its config leaves only keyslots. The next one with the same password goes on with the root
//! in them.
//!
//! Where a name that is taken may be overwritten, no config is a fence. There the keyslots are the fence: each `init`
//! puts its own and then looks at all of them. One that sees the keyslots of another root deletes its own and refuses.
//! Of two with different roots, at least one looks after the other has put its keyslots. So no place ever gets configs
//! of two roots.

use std::sync::Arc;

use crate::chunker::Sizes;
use crate::clock::Timestamp;
use crate::crypto::{self, Argon2Cost, Keys, Passphrase, RecoveryKey, RootKey};
use crate::format::Sealer;
use crate::format::config::{self, Config, StoreClass};
use crate::format::names::{self, ObjectName};
use crate::id::ObjectHash;
use crate::planted;
use crate::records::class::has_no_fences;
use crate::records::configs::{FirstConfig, create_first_config};
use crate::records::keyslots::{self, NewSlot};
use crate::repository::probe::{self, Probe, ProbeOptions};
use crate::repository::{Environment, Repository, RepositoryError};
use crate::store::{ReadUnit, Store};

/// How a repository cuts streams and files into chunks. Two repositories with the same parameters cut at the same
/// places.
#[derive(Debug)]
pub struct ChunkerParams {
    /// Key of cut points.
    pub cut_key: crypto::Secret,
    /// Chunk sizes of streams.
    pub streams: Sizes,
    /// Chunk sizes of files.
    pub files: Sizes,
}

/// How a repository is made.
#[derive(Debug)]
pub struct InitOptions {
    /// Cost of guessing the password.
    pub cost: Argon2Cost,
    /// zstd level of frames.
    pub compression_level: i32,
    /// Seconds since it was first seen in which no rule forgets a snapshot; 0: none.
    pub guard_seconds: u64,
    /// Percentage of recovery shards beside each pack; 0: none. Worth it where bytes rot or go missing unnoticed: on
    /// disks.
    pub parity_percent: u8,
    /// The class of the store; `None`: it is found out by trying, except that a local disk is trusted.
    pub class: Option<StoreClass>,
    /// Cut as another repository does; `None`: with a key and sizes of its own.
    pub chunker: Option<ChunkerParams>,
}

impl Default for InitOptions {
    fn default() -> Self {
        Self { cost: Argon2Cost::DEFAULT, compression_level: 3, guard_seconds: 0, parity_percent: 0, class: None, chunker: None }
    }
}

/// A new repository, and the recovery key that is shown once.
pub struct Initialised {
    /// Opened with its owner key.
    pub repository: Repository,
    /// Text of the recovery key.
    pub recovery_key: zeroize::Zeroizing<String>,
    /// What was found about the store, when it was tried.
    pub probe: Option<Probe>,
}

impl Repository {
    /// Makes a repository: root key, keyslots for `password` and for a recovery key, config 1. The place must hold
    /// nothing of ours, except keyslots of an `init` that was cut off. Those must open with the same password; then
    /// that `init` is finished.
    pub fn init(environment: Environment, password: &Passphrase, options: &InitOptions) -> Result<Initialised, RepositoryError> {
        let store = Arc::clone(&environment.store);
        store.create_place()?;
        let left = left_by_init(&*store)?;
        // The kernel guarantees the contract on a local disk, and a trial would take longer than all the rest.
        let probe = match options.class {
            None if store.read_unit() == ReadUnit::Window => {
                Some(probe::run(&*store, &*environment.clock, &*environment.rng, &ProbeOptions::default())?)
            }
            _ => None,
        };
        let class = match &probe {
            None => options.class.unwrap_or(StoreClass::Shared),
            Some(probe) => probe
                .class()
                .ok_or_else(|| RepositoryError::StoreUnfit { place: store.location(), why: probe.reasons().join("; ") })?,
        };
        // The run that wrote these may still be at work. Then both go on with one root, and the config decides.
        let root = match keyslots::owner_root(&*store, &left, password)? {
            Some(root) => root,
            None if left.is_empty() => RootKey::generate(&*environment.rng)?,
            None => return Err(RepositoryError::UnfinishedInit(store.location())),
        };
        let keys = Arc::new(Keys::owner(root, 1));
        let recovery = RecoveryKey::generate(&*environment.rng)?;
        let now = environment.clock.now();
        let mut own = Vec::new();
        for slot in [NewSlot::password("password", password, options.cost), NewSlot::recovery("recovery key", &recovery)] {
            own.push(keyslots::put(&*store, &*environment.rng, &keys, &slot, now)?);
        }
        if has_no_fences(class)
            && keyslots::are_of_several(&*store, &keys.repository_id())?
            && !planted::is("another-root-overlooked")
        {
            // No run needs them: one that goes on with this root has keyslots of its own.
            keyslots::delete(&*store, &own);
            return Err(RepositoryError::InitsAtOnce(store.location()));
        }
        let sealer = Sealer::new(Arc::clone(&keys), Arc::clone(&environment.rng))?;
        let config = first_config(now, class, options);
        let sealed = config::seal(&sealer, &config)?;
        match create_first_config(&*store, config.class, &sealed)? {
            FirstConfig::Ours => {}
            FirstConfig::Taken => {
                // No run will need these keyslots: an `init` that goes on with the same root has its own.
                keyslots::delete(&*store, &own);
                return Err(RepositoryError::AlreadyExists(store.location()));
            }
            // Neither is deleted: both have the same root, and either may be in use already.
            FirstConfig::Both if has_no_fences(class) => return Err(RepositoryError::MadeMeanwhile(store.location())),
            FirstConfig::Both => return Err(RepositoryError::AlreadyExists(store.location())),
        }
        // They were made before there was a config, so their runs cannot finish. Their recovery keys were never shown.
        keyslots::delete(&*store, &left);
        let repository = Self::assemble(environment, keys, None)?;
        repository.keep_ballast()?;
        if probe.is_some() {
            repository.store_was_tried(class);
        }
        Ok(Initialised { repository, recovery_key: recovery.to_text(), probe })
    }
}

/// The keyslots at a place that holds nothing else of ours; otherwise an error. What probes and interrupted uploads
/// left does not count.
fn left_by_init(store: &dyn Store) -> Result<Vec<ObjectHash>, RepositoryError> {
    let (mut slots, mut others) = (Vec::new(), false);
    for folder in names::FOLDERS.into_iter().filter(|folder| ![names::PROBE, names::TMP].contains(folder)) {
        store.list(folder, &mut |entry| match ObjectName::parse(&entry.name) {
            Some(ObjectName::Keyslot(id)) => slots.push(id),
            _ => others = true,
        })?;
    }
    if others { Err(RepositoryError::AlreadyExists(store.location())) } else { Ok(slots) }
}

fn first_config(now: Timestamp, class: StoreClass, options: &InitOptions) -> Config {
    let mut config = Config {
        number: 1,
        previous: ObjectHash([0; 32]),
        time: now,
        generation: 1,
        read_features: 0,
        write_features: 0,
        class,
        chunker: config::CHUNKER_FASTCDC,
        streams: Sizes::STREAMS,
        files: Sizes::FILES,
        level: options.compression_level,
        padding: config::PADDING_PADME,
        guard_seconds: options.guard_seconds,
        program: concat!("esker ", env!("CARGO_PKG_VERSION")).to_owned(),
        extra: Vec::new(),
    };
    config.set_parity_percent(options.parity_percent);
    if let Some(chunker) = &options.chunker {
        config.streams = chunker.streams;
        config.files = chunker.files;
        config.set_shared_cut_key(Some(*chunker.cut_key.expose()));
    }
    config
}
