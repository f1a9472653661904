//! Who may open this repository, and in which generation it is written.

use std::sync::Arc;

use crate::crypto::{Argon2Cost, Keys, Passphrase};
use crate::format::Sealer;
use crate::format::config::Config;
use crate::format::keyslot::Level;
use crate::id::{ObjectHash, RepositoryId};
use crate::records::RecordError;
use crate::records::keyslots::{self, KeyslotInfo, NewSlot};
use crate::repository::packing::Packer;
use crate::repository::{Repository, RepositoryError};
use crate::store::Store;

/// Which repository a store holds, see [`keyslots::repository_at`].
///
/// # Errors
/// The store's.
pub fn repository_at(store: &dyn Store) -> Result<Option<RepositoryId>, RepositoryError> {
    Ok(keyslots::repository_at(store)?)
}

impl Repository {
    /// Every keyslot. Labels are sealed: only kind and level are known.
    ///
    /// # Errors
    /// The store's.
    pub fn keyslots(&self) -> Result<Vec<KeyslotInfo>, RepositoryError> {
        Ok(self.records().keyslots(self.opened_with)?)
    }

    /// Adds a keyslot. Owners only.
    ///
    /// # Errors
    /// [`RepositoryError::Keyslot`] for a writer's keyslot while a rotation is unfinished; the store's.
    pub fn add_keyslot(&self, new: &NewSlot<'_>) -> Result<ObjectHash, RepositoryError> {
        self.need_owner("adding a key")?;
        self.need_finished_rotation(new.level())?;
        Ok(self.records().add_keyslot(new)?)
    }

    /// Removes a keyslot by a prefix of its id, but never the last one that gives the owner's key. Owners only.
    ///
    /// # Errors
    /// [`RepositoryError::Keyslot`] when there is no such keyslot, several, or it is the last one; the store's.
    pub fn remove_keyslot(&self, prefix: &str) -> Result<ObjectHash, RepositoryError> {
        Ok(self.records().remove_keyslot(prefix)?)
    }

    /// Deletes these keyslots, for `rotate`. Owners only.
    ///
    /// # Errors
    /// The store's.
    pub(crate) fn delete_keyslots(&self, ids: &[ObjectHash]) -> Result<(), RepositoryError> {
        self.need_owner("removing a key")?;
        Ok(ids.iter().try_for_each(|id| self.records().delete_keyslot(*id))?)
    }

    /// Replaces the keyslot that opened this run by one for a new password.
    ///
    /// # Errors
    /// [`RepositoryError::Keyslot`] when a key file opened this run; the store's.
    pub fn change_password(&self, passphrase: &Passphrase, cost: Argon2Cost) -> Result<ObjectHash, RepositoryError> {
        let Some(old) = self.opened_with else {
            return Err(RepositoryError::Keyslot("opened with a key file: there is no password to change; use `key add`".into()));
        };
        Ok(self.records().change_password(old, passphrase, cost)?)
    }

    /// A writer key of the new generation opens nothing until a config is sealed in that generation.
    fn need_finished_rotation(&self, level: Level) -> Result<(), RepositoryError> {
        match level == Level::Writer && self.is_rotation_unfinished {
            true => Err(RepositoryError::Keyslot("a `key rotate` was cut off: run it again, it finishes".to_owned())),
            false => Ok(()),
        }
    }

    /// The line of a key file: the owner's, or one for a host that only takes snapshots.
    ///
    /// # Errors
    /// [`RepositoryError::NeedsOwner`] for the owner's line without the owner's key; [`RepositoryError::Keyslot`] for a
    /// writer's line while a rotation is unfinished.
    pub fn export_key(&self, level: Level) -> Result<zeroize::Zeroizing<String>, RepositoryError> {
        self.need_finished_rotation(level)?;
        match (level, self.objects.keys.root()) {
            (Level::Owner, Some(root)) => Ok(root.to_line(self.objects.keys.generation())),
            (Level::Owner, None) => Err(RepositoryError::NeedsOwner("exporting the owner key")),
            (Level::Writer, _) => Ok(self.objects.keys.writer_key().to_line()),
        }
    }

    /// A packer that stores in this generation. Ids and bases of a pack are of the generation in its header.
    ///
    /// # Errors
    /// [`RepositoryError::NeedsOwner`] for another generation than that of this run, without the owner's key; no
    /// randomness.
    pub(crate) fn packer_of(&self, generation: u32) -> Result<Packer, RepositoryError> {
        let objects = &self.objects;
        let sealer = if generation == objects.keys.generation() {
            Arc::clone(&objects.sealer)
        } else {
            let Some(root) = objects.keys.root() else { return Err(RepositoryError::NeedsOwner("repacking")) };
            Arc::new(Sealer::new(Arc::new(Keys::owner(root.duplicate(), generation)), Arc::clone(&objects.rng))?)
        };
        Ok(Packer::new(Arc::clone(&objects.store), sealer, self.config.level, self.config.parity_percent()))
    }

    /// Adds a config to the chain: the one in force, changed. This run goes on with the config it was opened with.
    /// Returns the new number.
    ///
    /// # Errors
    /// [`RepositoryError::NeedsOwner`] without the owner's key; another run changed the config at the same time; the
    /// store's.
    pub fn change_config(&self, change: impl FnOnce(&mut Config)) -> Result<u32, RepositoryError> {
        self.next_config(|config| {
            change(config);
            Ok(())
        })
    }

    /// Names the next generation, for `rotate`. From now on no writer of this generation begins, and nothing is cut as
    /// they know it. Alone this would quarantine every snapshot there is. The config is sealed in this generation, so
    /// that its writers can read it; the next config is sealed in the new one. Returns the new generation.
    ///
    /// # Errors
    /// Those of [`Repository::change_config`].
    pub fn name_next_generation(&self) -> Result<u32, RepositoryError> {
        let before = self.config.generation;
        let next = before.checked_add(1).ok_or_else(|| RepositoryError::Inconclusive("there is no generation left".to_owned()))?;
        self.next_config(|config| {
            if config.generation != before {
                return Err(RecordError::inconclusive("somebody else rotates the key at the same time; run again"));
            }
            config.generation = next;
            config.set_shared_cut_key(None);
            Ok(())
        })?;
        Ok(next)
    }

    fn next_config(&self, change: impl FnOnce(&mut Config) -> Result<(), RecordError>) -> Result<u32, RepositoryError> {
        self.need_owner("changing the config")?;
        self.need_write_features()?;
        self.try_store_once()?;
        let number = self.records().next_config(change)?;
        self.host_memory.remember(|seen| seen.config = number);
        Ok(number)
    }
}
