//! Tombstones: which snapshots were given up, by the word of an owner.

use std::collections::HashMap;

use crate::format::forgotten::{self, Forgotten};
use crate::format::limits;
use crate::format::names::{self, ObjectName};
use crate::id::{ObjectHash, SnapshotId};
use crate::repository::{Repository, RepositoryError};
use crate::store::Name;

/// What a listing of `forgotten/` says.
#[derive(Debug, Default)]
pub struct Tombstones {
    good: HashMap<(SnapshotId, ObjectHash), Forgotten>,
    /// Names of records that forget nothing, and why: no owner made them, or they are damaged.
    pub ignored: Vec<(String, String)>,
}

impl Tombstones {
    /// Was this object given up?
    pub fn of(&self, id: SnapshotId, hash: ObjectHash) -> Option<&Forgotten> {
        self.good.get(&(id, hash))
    }

    /// Was any object under this id given up?
    pub fn mentions(&self, id: SnapshotId) -> bool {
        self.good.keys().any(|(other, _)| *other == id)
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.good.len()
    }

    /// None?
    pub fn is_empty(&self) -> bool {
        self.good.is_empty()
    }
}

impl Repository {
    /// Lists and reads `forgotten/`; each record only once from the store.
    pub fn tombstones(&self) -> Result<Tombstones, RepositoryError> {
        let mut listed: Vec<(Name, SnapshotId, ObjectHash)> = Vec::new();
        self.objects.store.list(names::FORGOTTEN, &mut |entry| {
            if let Some(ObjectName::Forgotten(id, hash)) = ObjectName::parse(&entry.name) {
                listed.push((entry.name, id, hash));
            }
        })?;
        let mut tombstones = Tombstones::default();
        if listed.is_empty() {
            return Ok(tombstones);
        }
        let mut cache = self.open_cache()?;
        for (name, id, hash) in listed {
            let opened = match self.record(&mut cache, &name, &hash, limits::FORGOTTEN_SIZE_MAX)? {
                // A record without a good owner_mac forgets nothing: a thief with a writer key could have made it.
                Ok(sealed) => forgotten::open(&self.objects.opener, id, &sealed).map_err(|error| error.to_string()),
                Err(why) => Err(why),
            };
            match opened {
                Ok((record, _)) => drop(tombstones.good.insert((record.snapshot, record.hash), record)),
                Err(why) => tombstones.ignored.push((name.to_string(), why)),
            }
        }
        Ok(tombstones)
    }

    /// Gives up one snapshot. Its space is freed by a prune; until then `undelete` brings it back.
    pub fn forget(&self, id: SnapshotId, hash: ObjectHash, reason: &str) -> Result<(), RepositoryError> {
        self.need_owner("forgetting snapshots")?;
        let record = Forgotten { snapshot: id, hash, time: self.objects.clock.now(), reason: reason.to_owned(), extra: Vec::new() };
        let (object, sealed) = forgotten::seal(&self.objects.sealer, &record)?;
        self.create_small_same(&ObjectName::Forgotten(id, object).name(), &sealed)
    }
}
