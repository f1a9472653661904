//! What objects are called: page `format-spec/names.md`. One spelling for each.

use crate::id::{IndexId, ObjectHash, PackId, SessionId, SnapshotId, hex, unhex};
use crate::store::Name;

/// Folder of packs.
pub const PACKS: &str = "packs";
/// Folder of index files.
pub const INDEX: &str = "index";
/// Folder of keyslots.
pub(crate) const KEYS: &str = "keys";
/// Folder of configs.
pub const CONFIG: &str = "config";
/// Folder of session records.
pub const SESSIONS: &str = "sessions";
/// Folder of snapshots and revocations.
pub const SNAPSHOTS: &str = "snapshots";
/// Folder of tombstones.
pub(crate) const FORGOTTEN: &str = "forgotten";
/// Folder of gc records.
pub(crate) const GC: &str = "gc";
/// Folder of notes.
pub const NOTES: &str = "notes";
/// Folder of parity objects.
pub const PARITY: &str = "parity";
/// Folder of revocations where create-if-absent is missing.
pub(crate) const REVOKED: &str = "revoked";
/// Folder of probes.
pub(crate) const PROBE: &str = "probe";
/// Folder of unfinished uploads.
pub(crate) const TMP: &str = "tmp";
/// Every folder, in the order of the page.
pub const FOLDERS: [&str; 13] =
    [CONFIG, KEYS, PACKS, INDEX, SESSIONS, SNAPSHOTS, FORGOTTEN, GC, NOTES, PARITY, REVOKED, PROBE, TMP];

/// The ballast: no object, only room that is given up when a full disk is to be emptied.
pub fn ballast() -> Name {
    Name::new("ballast").expect("a plain word obeys the rules of names")
}

/// The name of an object, understood.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub enum ObjectName {
    /// `config/<8 hex digits>`, from 1.
    Config(u32),
    /// `keys/<BLAKE3 of the object>`.
    Keyslot(ObjectHash),
    /// `packs/<first 2 hex digits>/<BLAKE3 of the file>`.
    Pack(PackId),
    /// `index/<BLAKE3 of the object>`.
    Index(IndexId),
    /// `sessions/<sid>/<n>`: 0 the start, from 1 acknowledgements; decimal without leading zeros.
    SessionRecord(SessionId, u32),
    /// `sessions/<sid>/closed`.
    SessionClosed(SessionId),
    /// `snapshots/<sid>`: a snapshot or a revocation.
    Snapshot(SnapshotId),
    /// `forgotten/<sid>/<BLAKE3 of the object>`.
    Forgotten(SnapshotId, ObjectHash),
    /// `gc/<16 hex digits>-condemn`.
    GcCondemn(u64),
    /// `gc/<16 hex digits>-verdict`.
    GcVerdict(u64),
    /// `config/<8 hex digits>-<BLAKE3 of the object>`: where a name that is taken may be overwritten, so that no two contents share one.
    ConfigByHash(u32, ObjectHash),
    /// `gc/<16 hex digits>-condemn-<BLAKE3 of the object>`: the same.
    GcCondemnByHash(u64, ObjectHash),
    /// `gc/<16 hex digits>-verdict-<BLAKE3 of the object>`: the same.
    GcVerdictByHash(u64, ObjectHash),
    /// `notes/<BLAKE3 of the object>`.
    Note(ObjectHash),
    /// `parity/<pack>/<BLAKE3 of the object>`.
    Parity(PackId, ObjectHash),
    /// `revoked/<sid>`.
    Revoked(SessionId),
}

impl ObjectName {
    /// As the store calls it.
    pub fn name(&self) -> Name {
        let text = match self {
            Self::Config(number) => format!("{CONFIG}/{number:08x}"),
            Self::Keyslot(hash) => format!("{KEYS}/{hash}"),
            Self::Pack(id) => format!("{PACKS}/{}/{id}", hex(&id.0[..1])),
            Self::Index(id) => format!("{INDEX}/{id}"),
            Self::SessionRecord(sid, number) => format!("{SESSIONS}/{sid}/{number}"),
            Self::SessionClosed(sid) => format!("{SESSIONS}/{sid}/closed"),
            Self::Snapshot(sid) => format!("{SNAPSHOTS}/{sid}"),
            Self::Forgotten(sid, hash) => format!("{FORGOTTEN}/{sid}/{hash}"),
            Self::GcCondemn(number) => format!("{GC}/{number:016x}-condemn"),
            Self::GcVerdict(number) => format!("{GC}/{number:016x}-verdict"),
            Self::ConfigByHash(number, hash) => format!("{CONFIG}/{number:08x}-{hash}"),
            Self::GcCondemnByHash(number, hash) => format!("{GC}/{number:016x}-condemn-{hash}"),
            Self::GcVerdictByHash(number, hash) => format!("{GC}/{number:016x}-verdict-{hash}"),
            Self::Note(hash) => format!("{NOTES}/{hash}"),
            Self::Parity(pack, hash) => format!("{PARITY}/{pack}/{hash}"),
            Self::Revoked(sid) => format!("{REVOKED}/{sid}"),
        };
        Name::new(text).expect("folders, hex digits and decimal numbers obey the rules of names and stay far below 255 bytes")
    }

    /// From a listing; `None` for a name that is none of ours (a stranger's file, another spelling).
    pub fn parse(name: &Name) -> Option<Self> {
        let mut parts = name.as_str().split('/');
        let folder = parts.next()?;
        let (first, second, rest) = (parts.next()?, parts.next(), parts.next());
        if rest.is_some() {
            return None;
        }
        let parsed = match (folder, second) {
            (CONFIG, None) => match first.split_once('-') {
                None => Self::Config(u32::from_be_bytes(unhex(first)?)),
                Some((number, hash)) => Self::ConfigByHash(u32::from_be_bytes(unhex(number)?), ObjectHash::from_hex(hash)?),
            },
            (KEYS, None) => Self::Keyslot(ObjectHash::from_hex(first)?),
            (PACKS, Some(id)) => Self::Pack(PackId::from_hex(id).filter(|_| id.starts_with(first) && first.len() == 2)?),
            (INDEX, None) => Self::Index(IndexId::from_hex(first)?),
            (SESSIONS, Some("closed")) => Self::SessionClosed(SessionId::from_hex(first)?),
            (SESSIONS, Some(number)) => Self::SessionRecord(SessionId::from_hex(first)?, decimal(number)?),
            (SNAPSHOTS, None) => Self::Snapshot(SnapshotId::from_hex(first)?),
            (FORGOTTEN, Some(hash)) => Self::Forgotten(SnapshotId::from_hex(first)?, ObjectHash::from_hex(hash)?),
            (GC, None) => {
                let (number, kind) = first.split_once('-')?;
                let number = u64::from_be_bytes(unhex(number)?);
                match kind.split_once('-') {
                    None if kind == "condemn" => Self::GcCondemn(number),
                    None if kind == "verdict" => Self::GcVerdict(number),
                    Some(("condemn", hash)) => Self::GcCondemnByHash(number, ObjectHash::from_hex(hash)?),
                    Some(("verdict", hash)) => Self::GcVerdictByHash(number, ObjectHash::from_hex(hash)?),
                    _ => return None,
                }
            }
            (NOTES, None) => Self::Note(ObjectHash::from_hex(first)?),
            (PARITY, Some(hash)) => Self::Parity(PackId::from_hex(first)?, ObjectHash::from_hex(hash)?),
            (REVOKED, None) => Self::Revoked(SessionId::from_hex(first)?),
            _ => return None,
        };
        let numbered_from_one = !matches!(
            parsed,
            Self::Config(0)
                | Self::GcCondemn(0)
                | Self::GcVerdict(0)
                | Self::ConfigByHash(0, _)
                | Self::GcCondemnByHash(0, _)
                | Self::GcVerdictByHash(0, _)
        );
        numbered_from_one.then_some(parsed)
    }

    /// The place that `owner_mac` and session MACs cover: the name, but without its last part when that is the object's own BLAKE3.
    pub fn place(&self) -> String {
        let name = self.name();
        match self {
            Self::Config(_)
            | Self::SessionRecord(..)
            | Self::SessionClosed(_)
            | Self::Snapshot(_)
            | Self::GcCondemn(_)
            | Self::GcVerdict(_)
            | Self::Revoked(_) => name.as_str().to_owned(),
            Self::Keyslot(_) | Self::Pack(_) | Self::Index(_) | Self::Forgotten(..) | Self::Note(_) | Self::Parity(..) => {
                name.folder().to_owned()
            }
            // The place of its number, whichever form of the name it stands under.
            Self::ConfigByHash(number, _) => Self::Config(*number).place(),
            Self::GcCondemnByHash(number, _) => Self::GcCondemn(*number).place(),
            Self::GcVerdictByHash(number, _) => Self::GcVerdict(*number).place(),
        }
    }
}

/// Digits without leading zeros.
fn decimal(text: &str) -> Option<u32> {
    let number: u32 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

/// Name of a pack.
pub fn pack_name(id: PackId) -> Name {
    ObjectName::Pack(id).name()
}

/// A pack's id from its name.
pub fn parse_pack(name: &Name) -> Option<PackId> {
    match ObjectName::parse(name)? {
        ObjectName::Pack(id) => Some(id),
        _ => None,
    }
}

/// Name of an index file.
pub fn index_name(id: IndexId) -> Name {
    ObjectName::Index(id).name()
}

/// An index file's id from its name.
pub fn parse_index(name: &Name) -> Option<IndexId> {
    match ObjectName::parse(name)? {
        ObjectName::Index(id) => Some(id),
        _ => None,
    }
}

/// Name of a snapshot (or of the revocation that took its place).
pub fn snapshot_name(id: SnapshotId) -> Name {
    ObjectName::Snapshot(id).name()
}

/// A snapshot's id from its name.
pub fn parse_snapshot(name: &Name) -> Option<SnapshotId> {
    match ObjectName::parse(name)? {
        ObjectName::Snapshot(id) => Some(id),
        _ => None,
    }
}

/// BLAKE3 of an object: what names end in, and what records call it.
pub fn hash_of(parts: &[&[u8]]) -> ObjectHash {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    ObjectHash(*hasher.finalize().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every() -> Vec<ObjectName> {
        let (hash, sid) = (ObjectHash([0xab; 32]), SessionId([0xcd; 16]));
        vec![
            ObjectName::Config(1),
            ObjectName::Config(u32::MAX),
            ObjectName::Keyslot(hash),
            ObjectName::Pack(PackId([0xef; 32])),
            ObjectName::Index(IndexId([1; 32])),
            ObjectName::SessionRecord(sid, 0),
            ObjectName::SessionRecord(sid, 4_294_967_295),
            ObjectName::SessionClosed(sid),
            ObjectName::Snapshot(sid.into()),
            ObjectName::Forgotten(sid.into(), hash),
            ObjectName::GcCondemn(1),
            ObjectName::GcVerdict(u64::MAX),
            ObjectName::ConfigByHash(7, hash),
            ObjectName::GcCondemnByHash(u64::MAX, hash),
            ObjectName::GcVerdictByHash(1, hash),
            ObjectName::Note(hash),
            ObjectName::Parity(PackId([2; 32]), hash),
            ObjectName::Revoked(sid),
        ]
    }

    #[test]
    fn every_name_reads_back() {
        for name in every() {
            assert_eq!(ObjectName::parse(&name.name()), Some(name), "{}", name.name());
            let folder = name.name().as_str().split('/').next().unwrap().to_owned();
            assert!(FOLDERS.contains(&folder.as_str()));
        }
    }

    #[test]
    fn other_spellings_are_none_of_ours() {
        for text in [
            "config/0000000",
            "config/00000000",
            "config/0000000g",
            "config/00000001/x",
            "packs/ab/efefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefef",
            "packs/efefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefef",
            "packs/efef/efefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefef",
            "sessions/cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd/01",
            "sessions/cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd/4294967296",
            "sessions/cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd/open",
            "gc/0000000000000000-condemn",
            "gc/0000000000000001-pardon",
            "gc/1-condemn",
            "gc/0000000000000001-condemn-",
            "gc/0000000000000001-condemn-abab",
            "gc/0000000000000000-condemn-abababababababababababababababababababababababababababababababab",
            "gc/0000000000000001-pardon-abababababababababababababababababababababababababababababababab",
            "gc/0000000000000001-verdict-abababababababababababababababababababababababababababababababab-",
            "config/00000000-abababababababababababababababababababababababababababababababab",
            "config/0000001-abababababababababababababababababababababababababababababababab",
            "config/00000001-",
            "stranger/x",
            "snapshots",
        ] {
            assert_eq!(ObjectName::parse(&Name::new(text).unwrap()), None, "{text}");
        }
    }

    #[test]
    fn a_place_leaves_out_what_the_object_hashes_to() {
        let sid = SessionId([0xcd; 16]);
        assert_eq!(ObjectName::Note(ObjectHash([1; 32])).place(), "notes");
        assert_eq!(ObjectName::Forgotten(sid.into(), ObjectHash([1; 32])).place(), format!("forgotten/{sid}"));
        assert_eq!(ObjectName::Config(10).place(), "config/0000000a");
        assert_eq!(ObjectName::GcVerdict(255).place(), "gc/00000000000000ff-verdict");
        assert_eq!(ObjectName::GcVerdictByHash(255, ObjectHash([1; 32])).place(), "gc/00000000000000ff-verdict");
        assert_eq!(ObjectName::ConfigByHash(10, ObjectHash([1; 32])).place(), "config/0000000a");
        assert_eq!(ObjectName::SessionRecord(sid, 3).place(), format!("sessions/{sid}/3"));
    }
}
