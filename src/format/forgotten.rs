//! Tombstones: a snapshot that is not kept any more. Page `format-spec/gc.md`.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;

use super::Extra;
use super::cbor::{self, WireExtra, WireTime};
use super::envelope::{Authority, ObjectType, Opener, Sealer};
use super::error::FormatError;
use super::names::ObjectName;
use crate::clock::Timestamp;
use crate::id::{ObjectHash, SnapshotId};

const WHAT: &str = "forgotten record";

/// Says that a snapshot is not kept any more.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Forgotten {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// BLAKE3 of its object: another object under its name is not meant.
    pub hash: ObjectHash,
    /// When it was decided.
    pub time: Timestamp,
    /// Why, for a person.
    pub reason: String,
    /// Fields of later versions.
    pub extra: Extra,
}

#[derive(Serialize, Deserialize)]
struct Wire<'a>(ByteArray<16>, ByteArray<32>, WireTime, &'a str, #[serde(borrow)] Vec<WireExtra<'a>>);

impl Forgotten {
    /// Its body, without the owner's mark.
    pub fn encode(&self) -> Result<Vec<u8>, FormatError> {
        let wire = Wire(
            cbor::array(&self.snapshot.0),
            cbor::array(&self.hash.0),
            cbor::time_out(self.time),
            &self.reason,
            cbor::extra_out(&self.extra),
        );
        cbor::encode(WHAT, &wire)
    }

    /// From a body without the owner's mark.
    pub fn decode(body: &[u8]) -> Result<Self, FormatError> {
        let wire: Wire<'_> = cbor::decode(WHAT, body)?;
        Ok(Self {
            snapshot: SnapshotId(wire.0.into_array()),
            hash: ObjectHash(wire.1.into_array()),
            time: cbor::time_in(WHAT, wire.2)?,
            reason: wire.3.to_owned(),
            extra: cbor::extra_in(WHAT, &wire.4)?,
        })
    }
}

fn place(snapshot: SnapshotId) -> String {
    ObjectName::Forgotten(snapshot, ObjectHash([0; 32])).place()
}

/// Seals a tombstone and says what its name ends in; owners only.
pub fn seal(sealer: &Sealer, forgotten: &Forgotten) -> Result<(ObjectHash, Vec<u8>), FormatError> {
    sealer.need_owner(WHAT)?;
    let object = sealer.seal_marked(ObjectType::Forgotten, &place(forgotten.snapshot), forgotten.encode()?)?;
    Ok((super::names::hash_of(&[&object]), object))
}

/// Opens a tombstone that stands under `snapshot`. For an owner one without the owner's mark is [`FormatError::WrongOwnerMac`].
pub fn open(opener: &Opener, snapshot: SnapshotId, object: &[u8]) -> Result<(Forgotten, Authority), FormatError> {
    let (_, body, authority) = opener.open_marked(ObjectType::Forgotten, &place(snapshot), true, object)?;
    let forgotten = Forgotten::decode(&body)?;
    if forgotten.snapshot != snapshot {
        return Err(FormatError::WrongPlace { what: WHAT });
    }
    Ok((forgotten, authority))
}

#[cfg(test)]
mod tests {
    use super::super::envelope::tests::{owner, writer};
    use super::*;

    fn forgotten() -> Forgotten {
        Forgotten {
            snapshot: SnapshotId([1; 16]),
            hash: ObjectHash([2; 32]),
            time: Timestamp { seconds: 1, nanoseconds: 2 },
            reason: "keep-daily 7".into(),
            extra: vec![],
        }
    }

    #[test]
    fn a_tombstone_opens_under_its_snapshot_only() {
        let (sealer, opener) = owner();
        let (hash, object) = seal(&sealer, &forgotten()).unwrap();
        assert_eq!(hash.0, *blake3::hash(&object).as_bytes());
        assert_eq!(open(&opener, SnapshotId([1; 16]), &object).unwrap(), (forgotten(), Authority::Owner));
        assert!(matches!(open(&opener, SnapshotId([2; 16]), &object), Err(FormatError::WrongOwnerMac { .. })));
    }

    #[test]
    fn a_writer_makes_no_tombstone_that_an_owner_obeys() {
        let ((_, opener), (thief, _)) = (owner(), writer());
        assert!(matches!(seal(&thief, &forgotten()), Err(FormatError::NeedsOwner { .. })));
        let forged = thief.seal_marked(ObjectType::Forgotten, &place(SnapshotId([1; 16])), forgotten().encode().unwrap()).unwrap();
        assert!(matches!(open(&opener, SnapshotId([1; 16]), &forged), Err(FormatError::WrongOwnerMac { .. })));
    }
}
