//! gc records: what a prune condemned, and what was decided. Page `format-spec/gc.md`.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;

use super::Extra;
use super::cbor::{self, WireExtra, WireTime};
use super::envelope::{Authority, ObjectType, Opener, Sealer};
use super::error::FormatError;
use super::names::ObjectName;
use crate::clock::Timestamp;
use crate::id::{ObjectHash, PackId, SnapshotId};

const WHAT: &str = "gc record";

/// Why a condemned pack was spared. Advice to a person: readers accept any number.
pub mod reason {
    /// A live session pinned it.
    pub const PINNED: u8 = 1;
    /// A reachable chunk has no other usable, verified copy.
    pub const NEEDED: u8 = 2;
}

/// Packs that are bad from now on, until a verdict says which.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Condemn {
    /// From 1; its name.
    pub number: u64,
    /// When it was made.
    pub time: Timestamp,
    /// What is condemned: in strictly rising order.
    pub packs: Vec<PackId>,
    /// What the run wrote to save the rest of them: in strictly rising order.
    pub written: Vec<PackId>,
    /// Every snapshot the run saw, with the BLAKE3 of its object: in strictly rising order.
    pub snapshots: Vec<(SnapshotId, ObjectHash)>,
    /// Fields of later versions.
    pub extra: Extra,
}

/// What becomes of the packs of one condemn record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// The number it decides; its name.
    pub number: u64,
    /// When it was made.
    pub time: Timestamp,
    /// BLAKE3 of the condemn record.
    pub condemn: ObjectHash,
    /// Bad for ever: in strictly rising order.
    pub delete: Vec<PackId>,
    /// Good again, each with its [`reason`]: in strictly rising order of packs, none of them in `delete`.
    pub pardon: Vec<(PackId, u8)>,
    /// Fields of later versions.
    pub extra: Extra,
}

type WirePacks = Vec<ByteArray<32>>;

#[derive(Serialize, Deserialize)]
struct WireCondemn<'a>(
    u64,
    WireTime,
    WirePacks,
    WirePacks,
    Vec<(ByteArray<16>, ByteArray<32>)>,
    #[serde(borrow)] Vec<WireExtra<'a>>,
);

#[derive(Serialize, Deserialize)]
struct WireVerdict<'a>(u64, WireTime, ByteArray<32>, WirePacks, Vec<(ByteArray<32>, u8)>, #[serde(borrow)] Vec<WireExtra<'a>>);

fn packs_out(packs: &[PackId]) -> WirePacks {
    packs.iter().map(|pack| cbor::array(&pack.0)).collect()
}

fn packs_in(packs: WirePacks) -> Vec<PackId> {
    packs.into_iter().map(|pack| PackId(pack.into_array())).collect()
}

fn rising<T: Ord>(field: &'static str, list: &[T]) -> Result<(), FormatError> {
    if list.is_sorted_by(|a, b| a < b) { Ok(()) } else { Err(FormatError::field(WHAT, field, "are not strictly rising")) }
}

impl Condemn {
    /// Its body, without the owner's mark.
    pub fn encode(&self) -> Result<Vec<u8>, FormatError> {
        self.check()?;
        let snapshots = self.snapshots.iter().map(|(id, hash)| (cbor::array(&id.0), cbor::array(&hash.0))).collect();
        let wire = WireCondemn(
            self.number,
            cbor::time_out(self.time),
            packs_out(&self.packs),
            packs_out(&self.written),
            snapshots,
            cbor::extra_out(&self.extra),
        );
        cbor::encode(WHAT, &wire)
    }

    /// From a body without the owner's mark.
    pub fn decode(body: &[u8]) -> Result<Self, FormatError> {
        let wire: WireCondemn<'_> = cbor::decode(WHAT, body)?;
        let snapshots = wire.4.into_iter().map(|(id, hash)| (SnapshotId(id.into_array()), ObjectHash(hash.into_array())));
        let condemn = Self {
            number: wire.0,
            time: cbor::time_in(WHAT, wire.1)?,
            packs: packs_in(wire.2),
            written: packs_in(wire.3),
            snapshots: snapshots.collect(),
            extra: cbor::extra_in(WHAT, &wire.5)?,
        };
        condemn.check()?;
        Ok(condemn)
    }

    fn check(&self) -> Result<(), FormatError> {
        if self.number == 0 {
            return Err(FormatError::field(WHAT, "number", "is 0"));
        }
        rising("packs", &self.packs)?;
        rising("written packs", &self.written)?;
        if !self.snapshots.is_sorted_by(|a, b| a.0 < b.0) {
            return Err(FormatError::field(WHAT, "snapshots", "are not strictly rising"));
        }
        Ok(())
    }
}

impl Verdict {
    /// Its body, without the owner's mark.
    pub fn encode(&self) -> Result<Vec<u8>, FormatError> {
        self.check()?;
        let wire = WireVerdict(
            self.number,
            cbor::time_out(self.time),
            cbor::array(&self.condemn.0),
            packs_out(&self.delete),
            self.pardon.iter().map(|(pack, reason)| (cbor::array(&pack.0), *reason)).collect(),
            cbor::extra_out(&self.extra),
        );
        cbor::encode(WHAT, &wire)
    }

    /// From a body without the owner's mark.
    pub fn decode(body: &[u8]) -> Result<Self, FormatError> {
        let wire: WireVerdict<'_> = cbor::decode(WHAT, body)?;
        let verdict = Self {
            number: wire.0,
            time: cbor::time_in(WHAT, wire.1)?,
            condemn: ObjectHash(wire.2.into_array()),
            delete: packs_in(wire.3),
            pardon: wire.4.into_iter().map(|(pack, reason)| (PackId(pack.into_array()), reason)).collect(),
            extra: cbor::extra_in(WHAT, &wire.5)?,
        };
        verdict.check()?;
        Ok(verdict)
    }

    fn check(&self) -> Result<(), FormatError> {
        if self.number == 0 {
            return Err(FormatError::field(WHAT, "number", "is 0"));
        }
        rising("packs to delete", &self.delete)?;
        if !self.pardon.is_sorted_by(|a, b| a.0 < b.0) {
            return Err(FormatError::field(WHAT, "pardoned packs", "are not strictly rising"));
        }
        if self.pardon.iter().any(|(pack, _)| self.delete.binary_search(pack).is_ok()) {
            return Err(FormatError::field(WHAT, "pardoned packs", "are also to be deleted"));
        }
        Ok(())
    }
}

/// A gc record as it was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opened<T> {
    /// What it says.
    pub record: T,
    /// The generation it was sealed in: it names no pack of a later one.
    pub sealed_in: u32,
    /// An owner takes only its own; a writer cannot tell, and obeys.
    pub authority: Authority,
}

/// Seals a condemn record; owners only.
pub fn seal_condemn(sealer: &Sealer, condemn: &Condemn) -> Result<Vec<u8>, FormatError> {
    sealer.need_owner(WHAT)?;
    sealer.seal_marked(ObjectType::Gc, &ObjectName::GcCondemn(condemn.number).place(), condemn.encode()?)
}

/// Opens the condemn record of `number`. For an owner one without the owner's mark is [`FormatError::WrongOwnerMac`]: it condemns
/// nothing, though its name counts as taken.
pub fn open_condemn(opener: &Opener, number: u64, object: &[u8]) -> Result<Opened<Condemn>, FormatError> {
    let place = ObjectName::GcCondemn(number).place();
    let (header, body, authority) = opener.open_marked(ObjectType::Gc, &place, true, object)?;
    let record = Condemn::decode(&body)?;
    if record.number != number {
        return Err(FormatError::WrongPlace { what: WHAT });
    }
    Ok(Opened { record, sealed_in: header.generation, authority })
}

/// Seals a verdict; owners only.
pub fn seal_verdict(sealer: &Sealer, verdict: &Verdict) -> Result<Vec<u8>, FormatError> {
    sealer.need_owner(WHAT)?;
    sealer.seal_marked(ObjectType::Gc, &ObjectName::GcVerdict(verdict.number).place(), verdict.encode()?)
}

/// Opens the verdict on `number`. For an owner one without the owner's mark is [`FormatError::WrongOwnerMac`]: it deletes nothing.
pub fn open_verdict(opener: &Opener, number: u64, object: &[u8]) -> Result<Opened<Verdict>, FormatError> {
    let place = ObjectName::GcVerdict(number).place();
    let (header, body, authority) = opener.open_marked(ObjectType::Gc, &place, true, object)?;
    let record = Verdict::decode(&body)?;
    if record.number != number {
        return Err(FormatError::WrongPlace { what: WHAT });
    }
    Ok(Opened { record, sealed_in: header.generation, authority })
}

/// Records as a thief with a writer key makes them with a program of his own: sealed right, without the owner's mark. For tests of what
/// owners and writers make of them; nothing in the library uses it.
#[doc(hidden)]
pub mod thief {
    use super::{Condemn, FormatError, ObjectName, ObjectType, Sealer, Verdict};

    /// A condemn record no owner made.
    pub fn seal_condemn(sealer: &Sealer, condemn: &Condemn) -> Result<Vec<u8>, FormatError> {
        sealer.seal_marked(ObjectType::Gc, &ObjectName::GcCondemn(condemn.number).place(), condemn.encode()?)
    }

    /// A verdict no owner made.
    pub fn seal_verdict(sealer: &Sealer, verdict: &Verdict) -> Result<Vec<u8>, FormatError> {
        sealer.seal_marked(ObjectType::Gc, &ObjectName::GcVerdict(verdict.number).place(), verdict.encode()?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::envelope::tests::{owner, writer};
    use super::*;

    fn condemn() -> Condemn {
        Condemn {
            number: 3,
            time: Timestamp { seconds: 5, nanoseconds: 0 },
            packs: vec![PackId([1; 32]), PackId([2; 32])],
            written: vec![PackId([3; 32])],
            snapshots: vec![(SnapshotId([1; 16]), ObjectHash([9; 32]))],
            extra: vec![],
        }
    }

    fn verdict() -> Verdict {
        Verdict {
            number: 3,
            time: Timestamp { seconds: 6, nanoseconds: 0 },
            condemn: ObjectHash([4; 32]),
            delete: vec![PackId([1; 32])],
            pardon: vec![(PackId([2; 32]), reason::PINNED)],
            extra: vec![],
        }
    }

    #[test]
    fn records_open_to_what_was_sealed() {
        let ((sealer, opener), (_, reader)) = (owner(), writer());
        let object = seal_condemn(&sealer, &condemn()).unwrap();
        assert_eq!(
            open_condemn(&opener, 3, &object).unwrap(),
            Opened { record: condemn(), sealed_in: 1, authority: Authority::Owner }
        );
        assert_eq!(open_condemn(&reader, 3, &object).unwrap().authority, Authority::Unchecked);
        let object = seal_verdict(&sealer, &verdict()).unwrap();
        assert_eq!(open_verdict(&opener, 3, &object).unwrap().record, verdict());
        assert!(open_condemn(&opener, 3, &object).is_err(), "a verdict is no condemn record");
        assert!(open_verdict(&opener, 4, &object).is_err());
    }

    #[test]
    fn an_owner_obeys_no_forged_record_and_a_writer_writes_none() {
        let ((_, opener), (thief, _)) = (owner(), writer());
        assert!(matches!(seal_condemn(&thief, &condemn()), Err(FormatError::NeedsOwner { .. })));
        assert!(matches!(seal_verdict(&thief, &verdict()), Err(FormatError::NeedsOwner { .. })));
        let forged = thief.seal_marked(ObjectType::Gc, &ObjectName::GcVerdict(3).place(), verdict().encode().unwrap()).unwrap();
        assert!(matches!(open_verdict(&opener, 3, &forged), Err(FormatError::WrongOwnerMac { .. })));
    }

    #[test]
    fn lists_out_of_order_are_neither_written_nor_read() {
        let twice = vec![PackId([1; 32]); 2];
        assert!(Condemn { packs: twice.clone(), ..condemn() }.encode().is_err());
        assert!(Condemn { written: twice.clone(), ..condemn() }.encode().is_err());
        assert!(Condemn { snapshots: vec![(SnapshotId([1; 16]), ObjectHash([9; 32])); 2], ..condemn() }.encode().is_err());
        assert!(Condemn { number: 0, ..condemn() }.encode().is_err());
        assert!(Verdict { delete: twice, ..verdict() }.encode().is_err());
        assert!(Verdict { pardon: vec![(PackId([1; 32]), 1)], ..verdict() }.encode().is_err(), "deleted and pardoned");
    }
}
