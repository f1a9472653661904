//! Snapshots: the commit. Page `format-spec/snapshot.md`.

pub mod incomplete;
mod place;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, Bytes};

use super::cbor::{self, WireExtra, WireTime};
use super::envelope::{ObjectType, Opener, Sealer};
use super::error::{FormatError, at_most};
use super::tree::{Content, WireContent, check_content, content_in, content_out};
use super::{Extra, limits};
use crate::clock::Timestamp;
use crate::id::{ObjectHash, RepositoryId, SnapshotId};

const WHAT: &str = "snapshot";
/// Bytes of a source's name.
pub(crate) const SOURCE_NAME_SIZE_MAX: usize = 64;
/// Extra field of a copy: id of the repository it was taken in, and its id there.
pub(crate) const EXTRA_ORIGINAL: u16 = 1;
/// Extra field of a snapshot that was taken in this repository: what its run stored, and how long it took.
pub(crate) const EXTRA_RUN: u16 = 2;
/// The key of a fact that says in one sentence what a restore of the source will lack.
pub(crate) const FACT_WARNING: &str = "warning";

/// How a source ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[repr(u8)]
pub enum SourceStatus {
    /// Whole.
    Ok = 1,
    /// Not whole; the snapshot is incomplete.
    Failed = 2,
    /// Not whole, and it need not be.
    OptionalFailed = 3,
    /// Its end was reached, but nobody could say that it was whole.
    EndedWithoutStatus = 4,
}

/// One stream of a source.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stream {
    /// Its file in the root tree.
    pub path: Vec<u8>,
    /// Bytes.
    pub bytes: u64,
    /// MAC under the stream key of the whole stream.
    pub mac: [u8; 32],
}

/// One source of a snapshot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SourceEntry {
    /// `[a-z0-9][a-z0-9._-]{0,63}`; distinct in a snapshot.
    pub name: String,
    /// What kind of source: the same form as a name (`directory`, `postgres`, `command`).
    pub kind: String,
    /// Where its folder or file stands in the root tree; empty when nothing of it is there.
    pub path: Vec<u8>,
    /// When it was begun.
    pub start: Timestamp,
    /// When it ended.
    pub end: Timestamp,
    /// How it ended.
    pub status: SourceStatus,
    /// Its streams; none for a directory.
    pub streams: Vec<Stream>,
    /// Tool and server versions, format, exclusions: pairs in strictly rising order.
    pub facts: Vec<(String, String)>,
    /// Fields of later versions.
    pub extra: Extra,
}

/// What a snapshot adds up to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Totals {
    /// Nodes of all kinds.
    pub entries: u64,
    /// Regular files and streams.
    pub files: u64,
    /// Bytes of files, holes included.
    pub bytes: u64,
}

/// What the run that took a snapshot says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RunFacts {
    /// Bytes of the objects that it stored before the snapshot object: packs, recovery data and index files.
    pub bytes_added: u64,
    /// From its begin to the commit, to the millisecond.
    pub duration: Duration,
}

/// The commit: a root tree with when, where, which sources and how each ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snapshot {
    /// The session that committed it; its name.
    pub id: SnapshotId,
    /// When it was begun, by the clock of the host.
    pub time: Timestamp,
    /// The host.
    pub host: String,
    /// The user who ran it.
    pub user: String,
    /// Program and version.
    pub program: String,
    /// In strictly rising order.
    pub tags: Vec<String>,
    /// The root folder.
    pub root: Content,
    /// The snapshot this host remembers to have committed before, and the BLAKE3 of its object.
    pub previous: Option<(SnapshotId, ObjectHash)>,
    /// What it adds up to.
    pub totals: Totals,
    /// Why it is incomplete; none: it is complete.
    pub incomplete: Vec<String>,
    /// At most 256.
    pub sources: Vec<SourceEntry>,
    /// Fields of later versions.
    pub extra: Extra,
}

#[derive(Serialize, Deserialize)]
struct WireStream<'a>(#[serde(borrow)] &'a Bytes, u64, ByteArray<32>);

#[derive(Serialize, Deserialize)]
struct WireSource<'a>(
    &'a str,
    &'a str,
    #[serde(borrow)] &'a Bytes,
    WireTime,
    WireTime,
    u8,
    #[serde(borrow)] Vec<WireStream<'a>>,
    #[serde(borrow)] Vec<(&'a str, &'a str)>,
    #[serde(borrow)] Vec<WireExtra<'a>>,
);

#[derive(Serialize, Deserialize)]
struct Wire<'a>(
    ByteArray<16>,
    WireTime,
    &'a str,
    &'a str,
    &'a str,
    #[serde(borrow)] Vec<&'a str>,
    WireContent,
    Option<(ByteArray<16>, ByteArray<32>)>,
    (u64, u64, u64),
    #[serde(borrow)] Vec<&'a str>,
    #[serde(borrow)] Vec<WireSource<'a>>,
    #[serde(borrow)] Vec<WireExtra<'a>>,
);

/// May a source (or a kind of source) be called this?
pub(crate) fn is_source_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = name.as_bytes();
    bytes.len() <= SOURCE_NAME_SIZE_MAX
        && bytes.first().is_some_and(|&first| plain(first))
        && bytes.iter().all(|&byte| plain(byte) || matches!(byte, b'.' | b'_' | b'-'))
}

impl SourceEntry {
    /// What a restore of it will lack, as it was known when the snapshot was taken: one sentence each.
    pub fn warnings(&self) -> impl Iterator<Item = &str> {
        self.facts.iter().filter(|(key, _)| key == FACT_WARNING).map(|(_, text)| text.as_str())
    }
}

impl Snapshot {
    /// The warnings of all its sources, each with the name of its source.
    pub fn warnings(&self) -> impl Iterator<Item = (&str, &str)> {
        self.sources.iter().flat_map(|source| source.warnings().map(|text| (source.name.as_str(), text)))
    }

    /// Complete: every source that had to be whole is.
    pub fn is_complete(&self) -> bool {
        self.incomplete.is_empty()
    }

    /// Where it was taken, if this is a copy: the repository, and its id there. A copy of a copy names the first.
    pub fn original(&self) -> Option<(RepositoryId, SnapshotId)> {
        let (.., value) = self.extra.iter().find(|field| field.0 == EXTRA_ORIGINAL)?;
        let (repository, id) = value.split_at_checked(32)?;
        Some((RepositoryId(repository.try_into().ok()?), SnapshotId(id.try_into().ok()?)))
    }

    /// Sets [`Snapshot::original`].
    pub(crate) fn set_original(&mut self, original: Option<(RepositoryId, SnapshotId)>) {
        self.extra.retain(|field| field.0 != EXTRA_ORIGINAL);
        if let Some((repository, id)) = original {
            let place = self.extra.partition_point(|field| field.0 < EXTRA_ORIGINAL);
            self.extra.insert(place, (EXTRA_ORIGINAL, false, [&repository.0[..], &id.0].concat()));
        }
    }

    /// What its run stored and how long it took. A copy has that of the run that took the original.
    pub fn run(&self) -> Option<RunFacts> {
        let (.., value) = self.extra.iter().find(|field| field.0 == EXTRA_RUN)?;
        let (added, duration) = value.split_at_checked(8)?;
        Some(RunFacts {
            bytes_added: u64::from_be_bytes(added.try_into().ok()?),
            duration: Duration::from_millis(u64::from_be_bytes(duration.try_into().ok()?)),
        })
    }

    /// Sets [`Snapshot::run`].
    pub(crate) fn set_run(&mut self, run: Option<RunFacts>) {
        self.extra.retain(|field| field.0 != EXTRA_RUN);
        if let Some(run) = run {
            let place = self.extra.partition_point(|field| field.0 < EXTRA_RUN);
            let millis = u64::try_from(run.duration.as_millis()).unwrap_or(u64::MAX);
            let value = [run.bytes_added.to_be_bytes(), millis.to_be_bytes()].concat();
            self.extra.insert(place, (EXTRA_RUN, false, value));
        }
    }

    /// Its body.
    pub fn encode(&self) -> Result<Vec<u8>, FormatError> {
        self.check()?;
        let wire = Wire(
            cbor::array(&self.id.0),
            cbor::time_out(self.time),
            &self.host,
            &self.user,
            &self.program,
            self.tags.iter().map(String::as_str).collect(),
            content_out(&self.root),
            self.previous.map(|(id, hash)| (cbor::array(&id.0), cbor::array(&hash.0))),
            (self.totals.entries, self.totals.files, self.totals.bytes),
            self.incomplete.iter().map(String::as_str).collect(),
            self.sources.iter().map(source_out).collect(),
            cbor::extra_out(&self.extra),
        );
        cbor::encode(WHAT, &wire)
    }

    /// From a body.
    pub fn decode(body: &[u8]) -> Result<Self, FormatError> {
        at_most(WHAT, body.len() as u64, limits::SNAPSHOT_SIZE_MAX)?;
        let wire: Wire<'_> = cbor::decode(WHAT, body)?;
        let texts = |texts: Vec<&str>| texts.into_iter().map(str::to_owned).collect();
        let snapshot = Self {
            id: SnapshotId(wire.0.into_array()),
            time: cbor::time_in(WHAT, wire.1)?,
            host: wire.2.to_owned(),
            user: wire.3.to_owned(),
            program: wire.4.to_owned(),
            tags: texts(wire.5),
            root: content_in(wire.6),
            previous: wire.7.map(|(id, hash)| (SnapshotId(id.into_array()), ObjectHash(hash.into_array()))),
            totals: Totals { entries: wire.8.0, files: wire.8.1, bytes: wire.8.2 },
            incomplete: texts(wire.9),
            sources: wire.10.into_iter().map(source_in).collect::<Result<_, _>>()?,
            extra: cbor::extra_in(WHAT, &wire.11)?,
        };
        snapshot.check()?;
        Ok(snapshot)
    }

    fn check(&self) -> Result<(), FormatError> {
        let refuse = |field, why| Err(FormatError::field(WHAT, field, why));
        check_content(WHAT, &self.root, false)?;
        at_most("sources of a snapshot", self.sources.len() as u64, limits::SOURCES_MAX as u64)?;
        if self.extra.iter().any(|field| field.0 == EXTRA_ORIGINAL) && self.original().is_none() {
            return refuse("original", "is not the 48 bytes of two ids");
        }
        if self.extra.iter().any(|field| field.0 == EXTRA_RUN) && self.run().is_none() {
            return refuse("run", "is not the 16 bytes of two numbers");
        }
        if !self.tags.is_sorted_by(|a, b| a < b) {
            return refuse("tags", "are not strictly rising");
        }
        let mut names = std::collections::BTreeSet::new();
        for source in &self.sources {
            if !is_source_name(&source.name) || !is_source_name(&source.kind) {
                return refuse("source", "has a name or kind not of the form [a-z0-9][a-z0-9._-]{0,63}");
            }
            if !names.insert(&source.name) {
                return refuse("source", "has the name of another one");
            }
            if !source.facts.is_sorted_by(|a, b| a < b) {
                return refuse("facts", "are not strictly rising");
            }
            let paths = source.streams.iter().map(|stream| &stream.path);
            // The source's own path may be empty: nothing of it is in the tree.
            if !(source.path.is_empty() || is_path(&source.path)) || !paths.clone().all(|path| is_path(path)) {
                return refuse("path", "is not made of names");
            }
        }
        Ok(())
    }
}

/// Names with `/` between, relative to the root tree.
fn is_path(path: &[u8]) -> bool {
    path.split(|&byte| byte == b'/').all(super::tree::is_name)
}

fn source_out(source: &SourceEntry) -> WireSource<'_> {
    let streams = source.streams.iter().map(|stream| WireStream(cbor::bytes(&stream.path), stream.bytes, cbor::array(&stream.mac)));
    WireSource(
        &source.name,
        &source.kind,
        cbor::bytes(&source.path),
        cbor::time_out(source.start),
        cbor::time_out(source.end),
        source.status as u8,
        streams.collect(),
        source.facts.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect(),
        cbor::extra_out(&source.extra),
    )
}

fn source_in(wire: WireSource<'_>) -> Result<SourceEntry, FormatError> {
    let status = match wire.5 {
        1 => SourceStatus::Ok,
        2 => SourceStatus::Failed,
        3 => SourceStatus::OptionalFailed,
        4 => SourceStatus::EndedWithoutStatus,
        _ => return Err(FormatError::field(WHAT, "status", "is not 1 to 4")),
    };
    let stream = |WireStream(path, bytes, mac): WireStream<'_>| Stream { path: path.to_vec(), bytes, mac: mac.into_array() };
    Ok(SourceEntry {
        name: wire.0.to_owned(),
        kind: wire.1.to_owned(),
        path: wire.2.to_vec(),
        start: cbor::time_in(WHAT, wire.3)?,
        end: cbor::time_in(WHAT, wire.4)?,
        status,
        streams: wire.6.into_iter().map(stream).collect(),
        facts: wire.7.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        extra: cbor::extra_in(WHAT, &wire.8)?,
    })
}

/// Seals a snapshot: to the owner, whoever writes it.
pub fn seal(sealer: &Sealer, snapshot: &Snapshot) -> Result<Vec<u8>, FormatError> {
    sealer.seal_body(ObjectType::Snapshot, &snapshot.encode()?)
}

/// A snapshot as it was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opened {
    /// What it says.
    pub snapshot: Snapshot,
    /// The generation of its chunk ids and stream MACs.
    pub generation: u32,
}

/// Opens the snapshot called `id`. A revocation in its place is [`FormatError::WrongType`].
pub fn open(opener: &Opener, id: SnapshotId, object: &[u8]) -> Result<Opened, FormatError> {
    let (header, body) = opener.open_body(ObjectType::Snapshot, object)?;
    let snapshot = Snapshot::decode(&body)?;
    if snapshot.id != id {
        return Err(FormatError::WrongPlace { what: WHAT });
    }
    Ok(Opened { snapshot, generation: header.generation })
}

#[cfg(test)]
mod tests {
    use super::super::envelope::tests::{owner, writer};
    use super::super::tree::Item;
    use super::*;
    use crate::id::ChunkId;

    fn snapshot() -> Snapshot {
        let time = |seconds| Timestamp { seconds, nanoseconds: 5 };
        Snapshot {
            id: SnapshotId([4; 16]),
            time: time(1_800_000_000),
            host: "db1.example".into(),
            user: "backup".into(),
            program: "esker 0.1.0".into(),
            tags: vec!["daily".into(), "ä".into()],
            root: Content { level: 0, items: vec![Item::Chunk { id: ChunkId([1; 32]), length: 2 }] },
            previous: Some((SnapshotId([3; 16]), ObjectHash([9; 32]))),
            totals: Totals { entries: 3, files: 2, bytes: 1 << 40 },
            incomplete: vec!["redis: connection refused".into()],
            sources: vec![SourceEntry {
                name: "postgresql".into(),
                kind: "postgres".into(),
                path: b"postgresql".to_vec(),
                start: time(1),
                end: time(2),
                status: SourceStatus::Ok,
                streams: vec![Stream { path: b"postgresql/authentik.dump".to_vec(), bytes: 7, mac: [8; 32] }],
                facts: vec![("server".into(), "16.2".into()), ("tool".into(), "pg_dump 16.2".into())],
                extra: vec![(1, false, vec![1])],
            }],
            extra: vec![],
        }
    }

    #[test]
    fn a_snapshot_opens_to_what_was_sealed() {
        let ((sealer, _), (_, opener)) = (writer(), owner());
        let object = seal(&sealer, &snapshot()).unwrap();
        assert_eq!(open(&opener, SnapshotId([4; 16]), &object).unwrap(), Opened { snapshot: snapshot(), generation: 1 });
        assert!(matches!(open(&opener, SnapshotId([5; 16]), &object), Err(FormatError::WrongPlace { .. })));
        let complete = Snapshot { incomplete: vec![], previous: None, ..snapshot() };
        assert!(complete.is_complete() && !snapshot().is_complete());
        assert_eq!(Snapshot::decode(&complete.encode().unwrap()).unwrap(), complete);
    }

    #[test]
    fn a_copy_names_its_original_beside_fields_of_later_versions() {
        let mut copy = Snapshot { extra: vec![(7, false, b"kept".to_vec())], ..snapshot() };
        assert_eq!(copy.original(), None);
        let original = Some((RepositoryId([1; 32]), SnapshotId([2; 16])));
        copy.set_original(original);
        let copy = Snapshot::decode(&copy.encode().unwrap()).unwrap();
        assert_eq!((copy.original(), copy.extra.len()), (original, 2));
        for bad in [vec![], vec![1; 47], vec![1; 49]] {
            assert!(Snapshot { extra: vec![(EXTRA_ORIGINAL, false, bad)], ..snapshot() }.encode().is_err());
        }
    }

    #[test]
    fn what_a_run_stored_and_how_long_it_took_is_kept_to_the_millisecond() {
        let mut taken = snapshot();
        assert_eq!(taken.run(), None);
        let run = RunFacts { bytes_added: 1 << 40, duration: Duration::from_millis(62_001) };
        taken.set_run(Some(run));
        taken.set_original(Some((RepositoryId([1; 32]), SnapshotId([2; 16]))));
        let taken = Snapshot::decode(&taken.encode().unwrap()).unwrap();
        assert_eq!((taken.run(), taken.original().is_some()), (Some(run), true));
        assert!(Snapshot { extra: vec![(EXTRA_RUN, false, vec![1; 15])], ..snapshot() }.encode().is_err());
    }

    #[test]
    fn a_changed_byte_is_refused_or_means_something_else() {
        let body = snapshot().encode().unwrap();
        for place in 0..body.len() {
            for change in [1, 2, 0x20, 0x80, 0xff] {
                let mut bad = body.clone();
                bad[place] ^= change;
                if let Ok(other) = Snapshot::decode(&bad) {
                    assert_eq!(other.encode().unwrap(), bad);
                }
            }
        }
    }

    #[test]
    fn broken_rules_are_neither_written_nor_read() {
        let good = snapshot();
        let source = |change: &dyn Fn(&mut SourceEntry)| {
            let mut snapshot = good.clone();
            change(&mut snapshot.sources[0]);
            snapshot
        };
        for bad in [
            Snapshot { tags: vec!["b".into(), "a".into()], ..good.clone() },
            Snapshot { sources: vec![good.sources[0].clone(); 2], ..good.clone() },
            Snapshot { sources: vec![good.sources[0].clone(); 257], ..good.clone() },
            Snapshot { root: Content { level: 0, items: vec![Item::Hole { length: 1 }] }, ..good.clone() },
            source(&|source| source.name = "Big".into()),
            source(&|source| source.name = String::new()),
            source(&|source| source.name = "a".repeat(65)),
            source(&|source| source.kind = "-x".into()),
            source(&|source| source.facts.reverse()),
            source(&|source| source.path = b"a//b".to_vec()),
            source(&|source| source.streams[0].path = b"../x".to_vec()),
        ] {
            assert!(bad.encode().is_err(), "{bad:?}");
        }
        assert!(source(&|source| source.path = vec![]).encode().is_ok());
    }
}
