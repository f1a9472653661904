//! The chain of configs, made one longer.

use crate::format::config::{self, Config};
use crate::format::limits;
use crate::format::names::{self, ObjectName};
use crate::repository::open::newest_config;
use crate::repository::{Repository, RepositoryError};
use crate::store::StoreError;

impl Repository {
    /// Writes the config in force anew, changed. What is open goes on with the one it was opened with. Returns the new number.
    pub fn change_config(&self, change: impl FnOnce(&mut Config)) -> Result<u32, RepositoryError> {
        self.need_owner("changing the config")?;
        self.need_write_features()?;
        let (_, mut config) = newest_config(&*self.store, &self.keys, &self.opener)?;
        let mut last = 0;
        self.store.list(names::CONFIG, &mut |entry| {
            if let Some(ObjectName::Config(number)) = ObjectName::parse(&entry.name) {
                last = last.max(number);
            }
        })?;
        // The one before is the one with the number before, also when an owner does not obey it: its name is taken for ever.
        let before = self.store.get(&ObjectName::Config(last).name(), limits::CONFIG_SIZE_MAX)?;
        let Some(number) = last.checked_add(1) else {
            return Err(RepositoryError::Inconclusive("there is no number left for a config".to_owned()));
        };
        change(&mut config);
        config.number = number;
        config.previous = names::hash_of(&[&before]);
        config.time = self.clock.now();
        config.program = concat!("esker ", env!("CARGO_PKG_VERSION")).to_owned();
        match self.store.create(&ObjectName::Config(number).name(), &[&config::seal(&self.sealer, &config)?]) {
            Ok(()) => {}
            Err(StoreError::AlreadyExists(_)) => {
                return Err(RepositoryError::Inconclusive(
                    "somebody else changed the config at the same time; run again".to_owned(),
                ));
            }
            Err(error) => return Err(error.into()),
        }
        self.remember(|seen| seen.config = number);
        Ok(number)
    }
}
