//! The chain of configs, made one longer.

use std::sync::Arc;

use crate::crypto::Keys;
use crate::format::Sealer;
use crate::format::config::{self, Config, StoreClass};
use crate::format::limits;
use crate::format::names::{self, ObjectName};
use crate::repository::open::{InForce, config_name, is_config, newest_config};
use crate::repository::{Repository, RepositoryError, listed};
use crate::store::{Name, StoreError};

impl Repository {
    /// Writes the config in force anew, changed. What is open goes on with the one it was opened with. Returns the new number.
    pub fn change_config(&self, change: impl FnOnce(&mut Config)) -> Result<u32, RepositoryError> {
        self.next_config(|config| {
            change(config);
            Ok(())
        })
    }

    /// Names the next generation, for `rotate`; alone it would quarantine every snapshot there is: from now on no writer of this one begins. Nothing is cut any more as they know it, either. It is sealed
    /// in this generation, so that they can read it; the next config, whatever it changes, is sealed in the new one.
    pub fn name_next_generation(&self) -> Result<u32, RepositoryError> {
        let before = self.config.generation;
        let next = before.checked_add(1).ok_or_else(|| RepositoryError::Inconclusive("there is no generation left".to_owned()))?;
        self.next_config(|config| {
            if config.generation != before {
                return Err(RepositoryError::Inconclusive("somebody else rotates the key at the same time; run again".to_owned()));
            }
            config.generation = next;
            config.set_shared_cut_key(None);
            Ok(())
        })?;
        Ok(next)
    }

    /// Seals a config in the generation that the one in force names: where a rotation was left half done this is what finishes it.
    fn next_config(&self, change: impl FnOnce(&mut Config) -> Result<(), RepositoryError>) -> Result<u32, RepositoryError> {
        let Some(root) = self.objects.keys.root() else { return Err(RepositoryError::NeedsOwner("changing the config")) };
        self.need_write_features()?;
        self.try_store_once()?;
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
        let Some((last, name)) = last else { return Err(RepositoryError::NoRepository(self.objects.store.location())) };
        // The one before is one with the number before, also when an owner does not obey it: its name is taken for ever.
        let previous = match last == in_force {
            true => hash,
            false => match self.get_listed(&name, limits::CONFIG_SIZE_MAX) {
                Ok(Some(sealed)) => names::hash_of(&[&sealed]),
                Ok(None) => return Err(StoreError::NotFound(name).into()),
                // No config is as large: its name is taken, and the chain goes on from the one in force.
                Err(error) => listed::fault(error).map(|_| hash)?,
            },
        };
        let Some(number) = last.checked_add(1) else {
            return Err(RepositoryError::Inconclusive("there is no number left for a config".to_owned()));
        };
        change(&mut config)?;
        config.number = number;
        config.previous = previous;
        config.time = self.objects.clock.now();
        config.program = concat!("esker ", env!("CARGO_PKG_VERSION")).to_owned();
        let sealed = config::seal(&sealer, &config)?;
        let name = config_name(config.class, number, &sealed);
        let raced = || RepositoryError::Inconclusive("somebody else changed the config at the same time; run again".to_owned());
        match self.objects.store.create(&name, &[&sealed]) {
            Ok(()) => {}
            // A reply that was lost, or a request that somebody between here and the store sent twice: what stands there tells.
            Err(StoreError::AlreadyExists(_)) => match is_config(&*self.objects.store, &name, &sealed) {
                Ok(true) => {}
                Ok(false) | Err(RepositoryError::Store(StoreError::NotFound(_))) => return Err(raced()),
                Err(error) => return Err(error),
            },
            Err(error) => return Err(error.into()),
        }
        if config.class == StoreClass::SingleMaintainer {
            // Nothing kept another one out: what stands beside it now was made at the same time, or by a run that is dead and was late.
            let mut others = false;
            self.list_configs(&mut |other, other_name| others |= other >= number && other_name != name)?;
            if others {
                return Err(raced());
            }
        }
        self.remember(|seen| seen.config = number);
        Ok(number)
    }

    fn list_configs(&self, each: &mut dyn FnMut(u32, Name)) -> Result<(), RepositoryError> {
        self.objects.store.list(names::CONFIG, &mut |entry| {
            if let Some(ObjectName::Config(number) | ObjectName::ConfigByHash(number, _)) = ObjectName::parse(&entry.name) {
                each(number, entry.name);
            }
        })?;
        Ok(())
    }
}
