//! Condemn records and verdicts are written here. No number is used twice (R13).

use crate::format::gc::{self, Condemn, Verdict};
use crate::format::limits;
use crate::format::names::{self, ObjectName};
use crate::id::{ObjectHash, PackId, SnapshotId};
use crate::objects::create_same;
use crate::records::{RecordError, Records};
use crate::store::{Name, StoreError, StoreErrorKind};

/// What decides about a condemn record after a verdict was put.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decided {
    /// Our verdict.
    Ours,
    /// Another owner's verdict; or ours, when the first reply was lost.
    Theirs(Verdict),
    /// No owner wrote what has the name: this number deletes nothing, ever.
    Forged,
}

impl Records<'_> {
    /// A7: condemns these packs under this number. False: another prune took the number (R5).
    ///
    /// `packs`, `written` and `snapshots` are in strictly rising order.
    ///
    /// # Errors
    /// The store's; sealing failed.
    pub fn condemn(
        &self,
        number: u64,
        packs: Vec<PackId>,
        written: Vec<PackId>,
        snapshots: Vec<(SnapshotId, ObjectHash)>,
    ) -> Result<bool, RecordError> {
        let record = Condemn { number, time: self.objects.clock.now(), packs, written, snapshots, extra: Vec::new() };
        let sealed = gc::seal_condemn(&self.objects.sealer, &record)?;
        let (name, decides) = self.condemn_name(number, &sealed);
        match self.create_small(&name, &sealed) {
            Ok(()) => Ok(true),
            Err(StoreError { kind: StoreErrorKind::Exists, .. }) if !decides => {
                create_same(&*self.objects.store, &name, &[&sealed])?;
                Ok(true)
            }
            // Ours, when the first reply was lost.
            Err(StoreError { kind: StoreErrorKind::Exists, .. }) => {
                Ok(self.objects.store.get(&name, limits::GC_SIZE_MAX).is_ok_and(|found| found == sealed))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// R3: decides about the condemn record `condemn` of this number. There is one verdict for a number: the one whose
    /// name was taken first, if an owner wrote it. A condemn record with a hash in its name (`by_hash`) may get several
    /// verdicts: each holds, and none makes a pack good again.
    ///
    /// `delete` and `pardon` are in strictly rising order.
    ///
    /// # Errors
    /// The store's; sealing failed.
    pub fn decide(
        &self,
        number: u64,
        (condemn, by_hash): (ObjectHash, bool),
        delete: Vec<PackId>,
        pardon: Vec<(PackId, u8)>,
    ) -> Result<Decided, RecordError> {
        let verdict = Verdict { number, time: self.objects.clock.now(), condemn, delete, pardon, extra: Vec::new() };
        let sealed = gc::seal_verdict(&self.objects.sealer, &verdict)?;
        if by_hash {
            self.create_small_same(&ObjectName::GcVerdictByHash(number, names::hash_of(&[&sealed])).name(), &sealed)?;
            return Ok(Decided::Ours);
        }
        let name = ObjectName::GcVerdict(number).name();
        match self.create_small(&name, &sealed) {
            Ok(()) => Ok(Decided::Ours),
            Err(StoreError { kind: StoreErrorKind::Exists, .. }) => {
                let found = match self.objects.store.get(&name, limits::GC_SIZE_MAX) {
                    Ok(found) => found,
                    Err(StoreError { kind: StoreErrorKind::Size { .. }, .. }) => return Ok(Decided::Forged),
                    Err(error) => return Err(error.into()),
                };
                let opened = gc::open_verdict(&self.objects.opener, number, &found);
                Ok(opened.map_or(Decided::Forged, |opened| Decided::Theirs(opened.record)))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Answers a condemn record that cannot be read, or that no owner wrote, with a verdict that deletes nothing.
    /// `by_hash`: the hash in the record's name.
    ///
    /// # Errors
    /// The store's; sealing failed.
    pub fn answer(&self, number: u64, by_hash: Option<ObjectHash>) -> Result<(), RecordError> {
        let condemn = match by_hash {
            Some(hash) => hash,
            None => match self.objects.store.get(&ObjectName::GcCondemn(number).name(), limits::GC_SIZE_MAX) {
                Ok(sealed) => names::hash_of(&[&sealed]),
                Err(StoreError { kind: StoreErrorKind::Size { .. }, .. }) => ObjectHash([0; 32]),
                Err(error) => return Err(error.into()),
            },
        };
        self.decide(number, (condemn, by_hash.is_some()), Vec::new(), Vec::new())?;
        Ok(())
    }

    /// M8: deletes a gc record with a hash in its name that no owner wrote. No owner was ever bound by it, and its name
    /// can hold nothing else. Every other gc record stays for ever (B7).
    ///
    /// # Errors
    /// The store's; [`RecordError::Object`] for the name of any other object.
    pub(crate) fn delete_forged(&self, name: &Name) -> Result<(), RecordError> {
        match ObjectName::parse(name) {
            Some(ObjectName::GcCondemnByHash(..) | ObjectName::GcVerdictByHash(..)) => Ok(self.objects.store.delete(name)?),
            _ => Err(RecordError::inconclusive(format!("{name} is not deleted: it may be a record that holds"))),
        }
    }
}
