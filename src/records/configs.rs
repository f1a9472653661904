//! The chain of configs: which one is in force, and how the next one is made.

use std::sync::Arc;

use super::class::{config_name, has_no_fences};
use super::{RecordError, Records};
use crate::clock::Timestamp;
use crate::crypto::Keys;
use crate::format::config::{self, Config, StoreClass};
use crate::format::names::{self, ObjectName};
use crate::format::{FormatError, Opener, Sealer, limits};
use crate::id::ObjectHash;
use crate::objects::{self, ObjectError};
use crate::store::{Name, Store, StoreError, StoreErrorKind};

/// The config in force.
pub(crate) struct InForce {
    /// Its number in the chain.
    pub number: u32,
    /// What it says.
    pub config: Config,
    /// The generation it is sealed in: the one it names, or, in the middle of a rotation, the one before.
    pub sealed_in: u32,
    /// BLAKE3 of its object.
    pub hash: ObjectHash,
}

/// The config in force. For an owner this is the highest with a good owner_mac, for a writer the highest that opens.
/// Where names hold the hash, several may have one number. Of those the one with the highest generation counts, because
/// a key that was revoked must not come back; then the latest, then the one with the highest hash.
///
/// # Errors
/// [`RecordError::NoRepository`] without any config; [`RecordError::ForeignKey`] when no config opens with these keys;
/// what is wrong with the newest config when none opens; the store's.
pub(crate) fn newest_config(store: &dyn Store, keys: &Keys, opener: &Opener) -> Result<InForce, RecordError> {
    let mut listed: Vec<(u32, Option<ObjectHash>, Name)> = Vec::new();
    match store.list(names::CONFIG, &mut |entry| match ObjectName::parse(&entry.name) {
        Some(ObjectName::Config(number)) => listed.push((number, None, entry.name)),
        Some(ObjectName::ConfigByHash(number, hash)) => listed.push((number, Some(hash), entry.name)),
        _ => {}
    }) {
        Ok(()) => {}
        Err(error) => return Err(RecordError::of_listing(error)),
    }
    listed.sort_unstable();
    let mut failed = None;
    let mut best: Option<InForce> = None;
    for (number, hash, name) in listed.into_iter().rev() {
        if best.as_ref().is_some_and(|best| best.number > number) {
            break;
        }
        let sealed = match objects::get(store, &name, limits::CONFIG_SIZE_MAX) {
            Ok(Some(sealed)) => sealed,
            Ok(None) => return Err(StoreError::missing(name).into()),
            // No config is as large, so this is none. A config that cannot be read may be the one in force.
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
        None => RecordError::NoRepository(store.location()),
        // Every object's keys depend on the repository: a foreign key fails at the commitment.
        Some((name, FormatError::WrongCommitment { .. })) => {
            RecordError::ForeignKey { key: keys.repository_id().short(), location: store.location(), object: name.to_string() }
        }
        Some((name, error)) => ObjectError::object(&name)(error).into(),
    })
}

impl InForce {
    /// Of several with one number, the highest rank counts.
    fn rank(&self) -> (u32, Timestamp, ObjectHash) {
        (self.config.generation, self.config.time, self.hash)
    }
}

/// What became of config 1 of a new repository.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum FirstConfig {
    /// It is the only config.
    Ours,
    /// Another run took its name.
    Taken,
    /// Another config is beside it. Where no create decides, both have the same root, and any of the two may be in use
    /// already.
    Both,
}

/// Creates config 1. Looks again afterwards: a store that lets a name be taken twice must not make two owners.
///
/// # Errors
/// The store's.
pub(crate) fn create_first_config(store: &dyn Store, class: StoreClass, sealed: &[u8]) -> Result<FirstConfig, RecordError> {
    let name = config_name(class, 1, sealed);
    match store.create(&name, &[sealed]) {
        // The config may be ours when it exists: the first reply may have been lost.
        Ok(()) | Err(StoreError { kind: StoreErrorKind::Exists, .. }) => {}
        Err(error) => return Err(error.into()),
    }
    if !is_config(store, &name, sealed)? {
        return Ok(FirstConfig::Taken);
    }
    let mut configs = Vec::new();
    store.list(names::CONFIG, &mut |entry| configs.push(entry.name))?;
    Ok(if configs == [name] { FirstConfig::Ours } else { FirstConfig::Both })
}

/// Does `name` hold these bytes? No two runs seal the same bytes, so then they are this run's.
fn is_config(store: &dyn Store, name: &Name, sealed: &[u8]) -> Result<bool, RecordError> {
    match store.get(name, limits::CONFIG_SIZE_MAX) {
        Ok(found) => Ok(found == sealed),
        Err(StoreError { kind: StoreErrorKind::Size { .. }, .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

impl Records<'_> {
    /// Adds a config to the chain: the one in force, changed. It is sealed in the generation that the one in force
    /// names, which finishes a rotation that was cut off. Returns its number.
    ///
    /// # Errors
    /// Those of `change`; the store's; sealing failed; another run changed the config at the same time.
    pub(crate) fn next_config(&self, change: impl FnOnce(&mut Config) -> Result<(), RecordError>) -> Result<u32, RecordError> {
        let Some(root) = self.objects.keys.root() else { return Err(RecordError::NeedsOwner("changing the config")) };
        let InForce { number: in_force, mut config, hash, .. } =
            newest_config(&*self.objects.store, &self.objects.keys, &self.objects.opener)?;
        let sealer = match config.generation == self.objects.keys.generation() {
            true => Arc::clone(&self.objects.sealer),
            false => {
                Arc::new(Sealer::new(Arc::new(Keys::owner(root.duplicate(), config.generation)), Arc::clone(&self.objects.rng))?)
            }
        };
        let mut last: Option<(u32, Name)> = None;
        self.list_configs(&mut |number, name| {
            if last.as_ref().is_none_or(|last| last.0 < number) {
                last = Some((number, name));
            }
        })?;
        let Some((last, name)) = last else { return Err(RecordError::NoRepository(self.objects.store.location())) };
        // The config before is one with the number before, even if an owner does not obey it: its name is taken for
        // ever.
        let previous = match last == in_force {
            true => hash,
            false => match self.objects.get_listed(&name, limits::CONFIG_SIZE_MAX) {
                Ok(Some(sealed)) => names::hash_of(&[&sealed]),
                Ok(None) => return Err(StoreError::missing(name).into()),
                // No config is as large. Its name is taken, and the chain goes on from the one in force.
                Err(error) => error.into_fault().map(|_| hash)?,
            },
        };
        let Some(number) = last.checked_add(1) else {
            return Err(RecordError::inconclusive("there is no number left for a config"));
        };
        change(&mut config)?;
        config.number = number;
        config.previous = previous;
        config.time = self.objects.clock.now();
        config.program = concat!("esker ", env!("CARGO_PKG_VERSION")).to_owned();
        let sealed = config::seal(&sealer, &config)?;
        let name = config_name(config.class, number, &sealed);
        let raced = || RecordError::inconclusive("somebody else changed the config at the same time; run again");
        match self.objects.store.create(&name, &[&sealed]) {
            Ok(()) => {}
            // The first reply was lost, or the request was sent twice on its way, or another run took the number.
            Err(StoreError { kind: StoreErrorKind::Exists, .. }) => match is_config(&*self.objects.store, &name, &sealed) {
                Ok(true) => {}
                Ok(false) | Err(RecordError::Object(ObjectError::Store(StoreError { kind: StoreErrorKind::Missing, .. }))) => {
                    return Err(raced());
                }
                Err(error) => return Err(error),
            },
            Err(error) => return Err(error.into()),
        }
        if has_no_fences(config.class) {
            // Nothing kept another config out: one beside it was made at the same time, or arrived late from a run that
            // is dead.
            let mut others = false;
            self.list_configs(&mut |other, other_name| others |= other >= number && other_name != name)?;
            if others {
                return Err(raced());
            }
        }
        Ok(number)
    }

    fn list_configs(&self, each: &mut dyn FnMut(u32, Name)) -> Result<(), RecordError> {
        self.objects.store.list(names::CONFIG, &mut |entry| {
            if let Some(ObjectName::Config(number) | ObjectName::ConfigByHash(number, _)) = ObjectName::parse(&entry.name) {
                each(number, entry.name);
            }
        })?;
        Ok(())
    }
}
