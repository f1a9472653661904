//! Tombstones: which snapshots an owner has forgotten.

use std::collections::{HashMap, HashSet};

use super::{RecordError, Records};
use crate::cache::Memo;
use crate::format::forgotten::{self, Forgotten};
use crate::format::limits;
use crate::format::names::{self, ObjectName};
use crate::id::{ObjectHash, SnapshotId};
use crate::store::{Name, StoreError};

/// A name below `forgotten/`.
#[derive(Debug)]
pub struct ListedTombstone {
    name: Name,
    /// The snapshot that it forgets, unless no owner wrote it.
    pub id: SnapshotId,
    hash: ObjectHash,
}

/// What the tombstones say.
#[derive(Debug, Default)]
pub struct Tombstones {
    good: HashMap<(SnapshotId, ObjectHash), Forgotten>,
    /// Names of records that are ignored, and why: no owner wrote them, or they are damaged.
    pub ignored: Vec<(String, String)>,
}

impl Tombstones {
    /// The tombstone of this object, if it was forgotten.
    pub fn of(&self, id: SnapshotId, hash: ObjectHash) -> Option<&Forgotten> {
        self.good.get(&(id, hash))
    }

    /// Was any object of this id forgotten?
    pub(crate) fn mentions(&self, id: SnapshotId) -> bool {
        self.good.keys().any(|(other, _)| *other == id)
    }

    /// How many snapshots were forgotten.
    pub fn len(&self) -> usize {
        self.good.len()
    }

    /// Was no snapshot forgotten?
    pub fn is_empty(&self) -> bool {
        self.good.is_empty()
    }
}

impl Records<'_> {
    /// Lists `forgotten/`.
    ///
    /// # Errors
    /// The store's.
    pub(crate) fn list_tombstones(&self) -> Result<Vec<ListedTombstone>, RecordError> {
        let mut listed = Vec::new();
        self.objects.store.list(names::FORGOTTEN, &mut |entry| {
            if let Some(ObjectName::Forgotten(id, hash)) = ObjectName::parse(&entry.name) {
                listed.push(ListedTombstone { name: entry.name, id, hash });
            }
        })?;
        Ok(listed)
    }

    /// Reads these tombstones; those that `memo` holds are not read again.
    ///
    /// # Errors
    /// The store's; no cache can be kept.
    pub fn tombstones(&self, listed: Vec<ListedTombstone>, memo: &mut dyn Memo) -> Result<Tombstones, RecordError> {
        let mut tombstones = Tombstones::default();
        for ListedTombstone { name, id, hash } in listed {
            let opened = match self.recall_or_get(memo, &name, &hash, limits::FORGOTTEN_SIZE_MAX)? {
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

    /// Lists and reads `forgotten/`: the forgotten snapshots, with the hashes of their objects. `memo` is one to which
    /// only owners can write, so that a tombstone which was good once is not read again.
    ///
    /// # Errors
    /// The store's; no cache can be kept.
    pub(crate) fn good_tombstones(&self, memo: &mut dyn Memo) -> Result<HashSet<(SnapshotId, ObjectHash)>, RecordError> {
        let mut good = HashSet::new();
        for ListedTombstone { name, id, hash } in self.list_tombstones()? {
            let key = format!("good {name}").into_bytes();
            if let Some(of) = memo.recall(&key)?.and_then(|kept| ObjectHash::from_slice(&kept)) {
                good.insert((id, of));
                continue;
            }
            let sealed = match self.objects.get_listed(&name, limits::FORGOTTEN_SIZE_MAX) {
                Ok(Some(sealed)) => sealed,
                Ok(None) => return Err(StoreError::missing(name).into()),
                Err(error) => {
                    error.into_fault()?;
                    continue;
                }
            };
            // Without a good owner_mac it forgets nothing: a thief with a writer key could have made it.
            if names::hash_of(&[&sealed]) == hash
                && let Ok((record, _)) = forgotten::open(&self.objects.opener, id, &sealed)
            {
                memo.remember(&key, Some(record.hash.as_bytes()))?;
                good.insert((record.snapshot, record.hash));
            }
        }
        Ok(good)
    }

    /// Forgets one snapshot. A prune frees its space; until then `undelete` brings the snapshot back. Owners only.
    ///
    /// # Errors
    /// The store's; sealing failed.
    pub fn forget(&self, id: SnapshotId, hash: ObjectHash, reason: &str) -> Result<(), RecordError> {
        self.need_owner("forgetting snapshots")?;
        let record = Forgotten { snapshot: id, hash, time: self.objects.clock.now(), reason: reason.to_owned(), extra: Vec::new() };
        let (object, sealed) = forgotten::seal(&self.objects.sealer, &record)?;
        self.create_small_same(&ObjectName::Forgotten(id, object).name(), &sealed)
    }
}
