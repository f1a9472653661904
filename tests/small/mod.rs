//! A small repository made by hand in memory, and a restorer that checks every byte: for `damage.rs` and `composed.rs`.
#![allow(dead_code, reason = "each test file uses a part of it")]

pub mod meanwhile;
pub mod turns;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use esker::clock::{ManualClock, SeededRng, Timestamp};
use esker::crypto::{Argon2Cost, ChunkType, Passphrase};
use esker::format::FormatError;
use esker::format::config::StoreClass;
use esker::format::content::{self, Leaves};
use esker::format::folder;
use esker::format::gc::{self, Condemn};
use esker::format::names::{self as format_names, ObjectName};
use esker::format::session;
use esker::format::snapshot::{Snapshot, Totals};
use esker::format::tree::{Content, Item, Node, NodeKind};
use esker::id::{ChunkId, ObjectHash, PackId, SessionId, SnapshotId};
use esker::monitor::{Monitor, Quiet, Stop};
use esker::repository::writer::{Named, Writer, WriterOptions};
use esker::repository::{Environment, InitOptions, Reader, Repository, RepositoryError, Secret};
use esker::store::{MemoryStore, Store};
use esker::verify::{self, Finding, ReadData, VerifyOptions, VerifySummary};
use zeroize::Zeroizing;

pub const PASSWORD: &str = "correct horse";
/// Pieces of a file with a list: more than fit into a node.
const LIST_ITEMS: usize = 70;

/// Path to bytes.
pub type Files = BTreeMap<String, Vec<u8>>;

/// Memory that looks like a disk.
const FAST: &str = "/dev/shm";

/// Temporary caches go where nothing waits for a disk, if there is such a place: thousands are made, and what is on the disk is not
/// what these tests are about.
pub fn hurry() {
    if std::path::Path::new(FAST).is_dir() {
        // Done once is enough.
        let _ = tempfile::env::override_temp_dir(std::path::Path::new(FAST));
    }
}

pub fn environment(store: Arc<dyn Store>, seed: u64) -> Environment {
    hurry();
    Environment {
        store,
        clock: Arc::new(ManualClock::at(1_790_000_000)),
        rng: Arc::new(SeededRng::new(seed)),
        host: "host".to_owned(),
        caches: None,
        states: None,
    }
}

pub fn cheapest() -> InitOptions {
    InitOptions { cost: Argon2Cost { memory_kib: 19 << 10, passes: 1, lanes: 1 }, ..InitOptions::default() }
}

/// A new repository and the line of its owner key.
pub fn init(store: Arc<dyn Store>) -> (Arc<Repository>, String) {
    init_with_parity(store, 0)
}

/// The same with recovery shards beside packs.
pub fn init_with_parity(store: Arc<dyn Store>, parity_percent: u8) -> (Arc<Repository>, String) {
    init_with(store, &InitOptions { parity_percent, ..cheapest() })
}

/// A new repository on a store that may overwrite a name.
pub fn init_for_a_single_maintainer(store: Arc<dyn Store>) -> (Arc<Repository>, String) {
    init_with(store, &InitOptions { class: Some(StoreClass::SingleMaintainer), ..cheapest() })
}

fn init_with(store: Arc<dyn Store>, options: &InitOptions) -> (Arc<Repository>, String) {
    let password = Passphrase::new(PASSWORD.to_owned());
    let repository = Repository::init(environment(store, 1), &password, options).unwrap().repository;
    let line = repository.objects().keys().root().unwrap().to_line(1).to_string();
    (Arc::new(repository), line)
}

pub fn open(store: Arc<dyn Store>, line: &str) -> Result<Arc<Repository>, RepositoryError> {
    open_in(environment(store, 2), line)
}

pub fn open_in(environment: Environment, line: &str) -> Result<Arc<Repository>, RepositoryError> {
    let secret = Secret::KeyLine(Zeroizing::new(line.to_owned()));
    Repository::open(environment, &secret, None).map(Arc::new)
}

pub fn quiet() -> Arc<dyn Monitor> {
    Arc::new(Quiet)
}

pub fn writer(repository: &Arc<Repository>) -> Writer {
    Writer::begin(repository, WriterOptions::default(), &quiet(), &Stop::new()).unwrap()
}

pub fn node(name: &str, kind: NodeKind, size: u64, content: Content) -> Node {
    Node {
        name: name.as_bytes().to_vec(),
        kind,
        mode: 0o644,
        uid: 1000,
        gid: 1000,
        user: Some("user".to_owned()),
        group: None,
        mtime: Timestamp { seconds: 1_780_000_000, nanoseconds: 5 },
        ctime: Timestamp { seconds: 1_780_000_001, nanoseconds: 6 },
        size,
        content,
        link_target: Vec::new(),
        device: 0,
        xattrs: Vec::new(),
        hard_link: None,
        extra: Vec::new(),
    }
}

/// What storing a chunk below a content may end with.
#[derive(Debug)]
pub struct Failed(#[allow(dead_code, reason = "shown by unwrap")] String);

impl From<FormatError> for Failed {
    fn from(error: FormatError) -> Self {
        Self(error.to_string())
    }
}

fn store_metadata(writer: &mut Writer) -> impl FnMut(ChunkType, Vec<u8>) -> Result<ChunkId, Failed> + '_ {
    |kind, bytes| writer.place_metadata(kind, &bytes).map(|(id, _)| id).map_err(|error| Failed(error.to_string()))
}

/// Stores a file's bytes; large ones in so many pieces that a list is needed.
fn store_file(writer: &mut Writer, repository: &Repository, bytes: &[u8]) -> Content {
    let pieces = if bytes.len() >= 64 * LIST_ITEMS { LIST_ITEMS } else { 1 };
    let mut builder = content::Builder::new(Leaves::Data);
    for piece in bytes.chunks(bytes.len().div_ceil(pieces).max(1)) {
        let id = repository.objects().keys().chunk_id(ChunkType::Data, piece);
        writer.place(&[Named { chunk_type: ChunkType::Data, id, bytes: piece }]).unwrap();
        builder.push(Item::Chunk { id, length: piece.len() as u64 }, &mut store_metadata(writer)).unwrap();
    }
    builder.finish(&mut store_metadata(writer)).unwrap()
}

pub fn store_folder(writer: &mut Writer, nodes: Vec<Node>) -> Content {
    let mut builder = folder::Builder::new(&writer.repository().objects().keys().cut_key());
    for node in nodes {
        builder.push(&node, &mut store_metadata(writer)).unwrap();
    }
    builder.finish(&mut store_metadata(writer)).unwrap()
}

/// One snapshot of these files (paths of at most two parts), below a source folder `data`.
pub fn commit(repository: &Arc<Repository>, files: &Files, previous: Option<(SnapshotId, ObjectHash)>) -> SnapshotId {
    let mut writer = writer(repository);
    let mut top: BTreeMap<String, Node> = BTreeMap::new();
    let mut folders: BTreeMap<String, Vec<Node>> = BTreeMap::new();
    for (path, bytes) in files {
        let content = store_file(&mut writer, repository, bytes);
        let (folder, name) = path.rsplit_once('/').map_or((None, path.as_str()), |(folder, name)| (Some(folder), name));
        let node = node(name, NodeKind::File, bytes.len() as u64, content);
        match folder {
            None => drop(top.insert(name.to_owned(), node)),
            Some(folder) => folders.entry(folder.to_owned()).or_default().push(node),
        }
    }
    for (name, nodes) in folders {
        let content = store_folder(&mut writer, nodes);
        top.insert(name.clone(), node(&name, NodeKind::Folder, 0, content));
    }
    let content = store_folder(&mut writer, top.into_values().collect());
    commit_source(writer, content, previous)
}

/// Stores bytes as one chunk or uses the one that is there; was it new?
pub fn place_chunk(writer: &mut Writer, bytes: &[u8]) -> bool {
    let named = Named { chunk_type: ChunkType::Data, id: chunk_id(writer.repository(), bytes), bytes };
    writer.place(&[named]).unwrap()[0].new
}

/// Commits a snapshot of `file`, which is these bytes in one chunk that was placed.
pub fn commit_chunk(mut writer: Writer, bytes: &[u8]) -> SnapshotId {
    let items = vec![Item::Chunk { id: chunk_id(writer.repository(), bytes), length: bytes.len() as u64 }];
    let node = node("file", NodeKind::File, bytes.len() as u64, Content { level: 0, items });
    let content = store_folder(&mut writer, vec![node]);
    commit_source(writer, content, None)
}

/// Commits a snapshot whose one source `data` is this folder.
pub fn commit_source(mut writer: Writer, content: Content, previous: Option<(SnapshotId, ObjectHash)>) -> SnapshotId {
    let root = store_folder(&mut writer, vec![node("data", NodeKind::Folder, 0, content)]);
    let id = writer.snapshot_id().unwrap();
    writer.commit(&snapshot(id, root, previous)).unwrap().id
}

pub fn snapshot(id: SnapshotId, root: Content, previous: Option<(SnapshotId, ObjectHash)>) -> Snapshot {
    Snapshot {
        id,
        time: Timestamp { seconds: 1_790_000_000, nanoseconds: 0 },
        host: "host".to_owned(),
        user: "user".to_owned(),
        program: "test".to_owned(),
        tags: Vec::new(),
        root,
        previous,
        totals: Totals::default(),
        incomplete: Vec::new(),
        sources: Vec::new(),
        extra: Vec::new(),
    }
}

/// Every file of a snapshot, each chunk's id recomputed, without the source's folder.
pub fn restore(reader: &Reader, root: &Content) -> Result<Files, RepositoryError> {
    let mut found: Vec<(Vec<u8>, Node)> = Vec::new();
    reader.walk::<RepositoryError>(root, &mut |path, node| {
        if node.kind == NodeKind::File {
            found.push((path.to_vec(), node.clone()));
        }
        Ok(true)
    })?;
    let mut files = Files::new();
    for (path, node) in found {
        let mut bytes = Vec::new();
        reader.for_each_item::<RepositoryError>(&node.content, Leaves::Data, &mut |item| {
            if let Item::Chunk { id, .. } = item {
                bytes.extend_from_slice(&reader.read_chunk(ChunkType::Data, id)?);
            }
            Ok(())
        })?;
        let path = String::from_utf8(path).unwrap();
        // Without the source's folder; a recovered tree has others above it.
        files.insert(path.strip_prefix("data/").unwrap_or(&path).to_owned(), bytes);
    }
    Ok(files)
}

pub fn check(repository: &Arc<Repository>, read_data: ReadData) -> (Vec<Finding>, VerifySummary) {
    let options = VerifyOptions { read_data, ..VerifyOptions::default() };
    let mut findings = Vec::new();
    let summary = verify::run(repository, &options, &quiet(), &Stop::new(), &mut |finding| findings.push(finding.clone())).unwrap();
    assert_eq!(summary.findings, findings.len() as u64);
    (findings, summary)
}

/// Bytes that do not compress, the same every time.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

pub fn names(store: &MemoryStore) -> Vec<esker::store::Name> {
    let mut names = Vec::new();
    store.list("", &mut |entry| names.push(entry.name)).unwrap();
    names.sort();
    names
}

pub fn chunk_id(repository: &Repository, bytes: &[u8]) -> ChunkId {
    repository.objects().keys().chunk_id(ChunkType::Data, bytes)
}

/// A condemn record of these packs, as an owner makes it.
pub fn condemn(repository: &Repository, number: u64, packs: Vec<PackId>) {
    let time = Timestamp { seconds: 1_790_000_000, nanoseconds: 0 };
    let record = Condemn { number, time, packs, written: Vec::new(), snapshots: Vec::new(), extra: Vec::new() };
    let sealed = gc::seal_condemn(repository.objects().sealer(), &record).unwrap();
    repository.objects().store().create(&ObjectName::GcCondemn(number).name(), &[&sealed]).unwrap();
}

/// What the last acknowledgement of the one live session says.
pub fn acknowledged(repository: &Repository, id: SessionId) -> (u64, BTreeSet<PackId>) {
    let mut newest = 0;
    repository
        .objects()
        .store()
        .list(format_names::SESSIONS, &mut |entry| {
            if let Some(ObjectName::SessionRecord(session, number)) = ObjectName::parse(&entry.name)
                && session == id
            {
                newest = newest.max(number);
            }
        })
        .unwrap();
    let name = |number| ObjectName::SessionRecord(id, number).name();
    let start =
        session::open_start(repository.objects().opener(), id, &repository.objects().store().get(&name(0), u64::MAX).unwrap())
            .unwrap();
    let sealed = repository.objects().store().get(&name(newest), u64::MAX).unwrap();
    let record = session::open_acknowledgement(repository.objects().opener(), &start, newest, &sealed).unwrap();
    (record.observed, record.pins.into_iter().collect())
}
