//! A whole tiny repository: made once, read for ever, object by object and with nothing but the format room.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use esker::clock::{SeededRng, Timestamp};
use esker::compress::Compressor;
use esker::crypto::{ChunkType, Keys, RootKey};
use esker::format::content::{self, Leaves};
use esker::format::folder;
use esker::format::names::{ObjectName, hash_of};
use esker::format::pack::{self, RowEncoding, recipe};
use esker::format::tree::{Content, Item, Node, NodeKind};
use esker::format::{Authority, FormatError, Opener, Sealer, config, forgotten, gc, index, note, session, snapshot};
use esker::id::{ChunkId, ObjectHash, PackId, SessionId, SnapshotId};
use esker::store::Name;

use super::vectors;

const SID: SessionId = SessionId([0x51; 16]);
const TIME: Timestamp = Timestamp { seconds: 1_800_000_000, nanoseconds: 0 };

/// The stream of yesterday, whose chunks are the bases.
fn yesterday() -> Vec<u8> {
    (0..400).flat_map(|row| format!("{row}\tuser{row}@example.org\tactive\n").into_bytes()).collect()
}

/// The stream of today: a row in the middle changed. It is stored as a composed chunk: two ranges of yesterday's, and a new literal.
fn today() -> Vec<u8> {
    let mut text = yesterday();
    let at = text.len() / 2;
    text.splice(at..at + 6, b"CHANGED".iter().copied());
    text
}

/// What a restore must give: path to bytes, links as `-> target`, folders as `/`.
pub fn expected() -> BTreeMap<String, Vec<u8>> {
    BTreeMap::from([
        ("database".to_owned(), b"/".to_vec()),
        ("database/today.sql".to_owned(), today()),
        ("database/yesterday.sql".to_owned(), yesterday()),
        ("files".to_owned(), b"/".to_vec()),
        ("files/empty".to_owned(), vec![]),
        ("files/link".to_owned(), b"-> ../database".to_vec()),
        ("files/sparse".to_owned(), [&b"head"[..], &[0; 5000], b"tail"].concat()),
    ])
}

struct Maker {
    sealer: Sealer,
    /// Chunks of each class, with how they are encoded.
    data: Vec<(ChunkId, Vec<u8>)>,
    metadata: Vec<(ChunkId, ChunkType, Vec<u8>)>,
}

impl Maker {
    fn data(&mut self, bytes: &[u8]) -> Item {
        let id = self.sealer.keys().chunk_id(ChunkType::Data, bytes);
        self.data.push((id, bytes.to_vec()));
        Item::Chunk { id, length: bytes.len() as u64 }
    }
    fn folder(&mut self, nodes: &[Node]) -> Content {
        let keys = Arc::clone(self.sealer.keys());
        let mut store = |chunk_type: ChunkType, bytes: Vec<u8>| {
            let id = keys.chunk_id(chunk_type, &bytes);
            self.metadata.push((id, chunk_type, bytes));
            Ok::<_, FormatError>(id)
        };
        let mut builder = folder::Builder::new(&keys.cut_key());
        for node in nodes {
            builder.push(node, &mut store).unwrap();
        }
        builder.finish(&mut store).unwrap()
    }
}

fn node(name: &str, kind: NodeKind, content: Content) -> Node {
    let size = if kind == NodeKind::File { content.items.iter().map(Item::length).sum() } else { 0 };
    Node {
        name: name.into(),
        kind,
        mode: if kind == NodeKind::Folder { 0o750 } else { 0o640 },
        uid: 70,
        gid: 70,
        user: Some("postgres".into()),
        group: Some("postgres".into()),
        mtime: TIME,
        ctime: TIME,
        size,
        content,
        link_target: vec![],
        device: 0,
        xattrs: vec![],
        hard_link: None,
        extra: vec![],
    }
}

fn file(name: &str, items: Vec<Item>) -> Node {
    node(name, NodeKind::File, Content { level: 0, items })
}

/// Writes the repository. Only when the format gets a page that it does not show yet.
pub fn write(place: &Path) {
    let _ = fs::remove_dir_all(place);
    let put = |name: Name, bytes: &[u8]| {
        let path = place.join(name.as_str());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    // A host with a writer key makes the snapshot; the owner makes config and records.
    let owner = Sealer::new(vectors::owner(), Arc::new(SeededRng::new(20))).unwrap();
    let writer = Sealer::new(vectors::writer(), Arc::new(SeededRng::new(21))).unwrap();
    let slot = vectors::recovery_slot();
    put(ObjectName::Keyslot(slot.hash()).name(), slot.as_bytes());
    let first = config::seal(&owner, &vectors::a_config()).unwrap();
    put(ObjectName::Config(1).name(), &first);
    let second = config::Config { number: 2, previous: hash_of(&[&first]), guard_seconds: 86_400, ..vectors::a_config() };
    put(ObjectName::Config(2).name(), &config::seal(&owner, &second).unwrap());

    let start = session::Start {
        session: SID,
        time: TIME,
        host: "db1".into(),
        program: "esker 0.1.0".into(),
        machine: vec![],
        boot: vec![],
        pid: 1,
        process_start: 0,
        encapsulated: [0; 32],
        extra: vec![],
    };
    put(ObjectName::SessionRecord(SID, 0).name(), &session::seal_start(&writer, &start).unwrap());
    let acknowledgement = session::Acknowledgement { session: SID, number: 1, observed: 0, pins: vec![], extra: vec![] };
    put(ObjectName::SessionRecord(SID, 1).name(), &session::seal_acknowledgement(&writer, &acknowledgement).unwrap());

    let mut maker = Maker { sealer: writer, data: vec![], metadata: vec![] };
    let (before, after) = (yesterday(), today());
    let base = maker.data(&before);
    let changed = maker.data(b"CHANGED");
    let pieces = [maker.data(b"head"), maker.data(b"tail")];
    let composed = maker.sealer.keys().chunk_id(ChunkType::Data, &after);
    let database =
        [file("today.sql", vec![Item::Chunk { id: composed, length: after.len() as u64 }]), file("yesterday.sql", vec![base])];
    let database = maker.folder(&database);
    let link = Node { link_target: b"../database".to_vec(), ..node("link", NodeKind::Symlink, Content::default()) };
    let files = [file("empty", vec![]), link, file("sparse", vec![pieces[0], Item::Hole { length: 5000 }, pieces[1]])];
    let files = maker.folder(&files);
    let root = [node("database", NodeKind::Folder, database), node("files", NodeKind::Folder, files)];
    let root = maker.folder(&root);

    let (Item::Chunk { id: base, .. }, Item::Chunk { id: changed, .. }) = (base, changed) else { panic!("holes") };
    let half = (before.len() / 2) as u32;
    let range = |base, offset, length| recipe::RecipeRange { base, offset, length };
    let ranges = vec![range(0, 0, half), range(1, 0, 7), range(0, half + 6, before.len() as u32 - half - 6)];
    let recipe = recipe::encode(&recipe::Recipe { ranges });
    let packs = seal_packs(&maker, (composed, recipe, after.len() as u32, vec![base, changed]));
    for pack in &packs {
        put(ObjectName::Pack(pack.facts.id).name(), &pack.parts.concat());
    }
    let facts = packs.into_iter().map(|pack| pack.facts).collect();
    let (id, object) = index::seal(&maker.sealer, &index::IndexFile { replaces: vec![], packs: facts }).unwrap();
    put(ObjectName::Index(id).name(), &object);

    let object = snapshot::seal(&maker.sealer, &a_snapshot(&maker, root)).unwrap();
    put(ObjectName::Snapshot(SID.into()).name(), &object);
    put(
        ObjectName::SessionClosed(SID).name(),
        &session::seal_closed(&maker.sealer, &session::Closed { session: SID, extra: vec![] }).unwrap(),
    );
    write_records(&owner, hash_of(&[&object]), &put);
}

type Composed = (ChunkId, Vec<u8>, u32, Vec<ChunkId>);

fn seal_packs(maker: &Maker, (id, recipe, raw_length, bases): Composed) -> Vec<pack::SealedPack> {
    let frame = |chunks: Vec<(ChunkId, ChunkType, &[u8])>| {
        let (mut raw, mut rows) = (Vec::new(), Vec::new());
        for (id, chunk_type, bytes) in chunks {
            let encoding = pack::Encoding::Literal { offset: raw.len() as u32, length: bytes.len() as u32 };
            rows.push(pack::PreparedChunk { id, chunk_type, encoding });
            raw.extend_from_slice(bytes);
        }
        let (codec, bytes) = match Compressor::new(3).unwrap().compress(&raw).unwrap() {
            Some(bytes) => (pack::Codec::Zstd, bytes),
            None => (pack::Codec::Raw, raw.clone()),
        };
        pack::PreparedFrame { codec, raw_length: raw.len() as u32, bytes, chunks: rows }
    };
    let literal = |(id, bytes): &(ChunkId, Vec<u8>)| (*id, bytes.clone());
    let data: Vec<(ChunkId, Vec<u8>)> = maker.data.iter().map(literal).collect();
    let (large, small) = data.split_at(1);
    let chunks = |of: &'static str, list: &'_ [(ChunkId, Vec<u8>)]| {
        assert!(!list.is_empty(), "{of}");
        frame(list.iter().map(|(id, bytes)| (*id, ChunkType::Data, &bytes[..])).collect())
    };
    let data = vec![chunks("large", large), chunks("small", small)];
    let length = recipe.len() as u32;
    let encoding = pack::Encoding::Composed { offset: 0, length, raw_length, bases };
    let row = pack::PreparedChunk { id, chunk_type: ChunkType::Data, encoding };
    let metadata = vec![
        frame(maker.metadata.iter().map(|(id, chunk_type, bytes)| (*id, *chunk_type, &bytes[..])).collect()),
        pack::PreparedFrame { codec: pack::Codec::Raw, raw_length: length, bytes: recipe, chunks: vec![row] },
    ];
    vec![
        pack::seal_pack(&maker.sealer, pack::Class::Data, data).unwrap(),
        pack::seal_pack(&maker.sealer, pack::Class::Metadata, metadata).unwrap(),
    ]
}

fn a_snapshot(maker: &Maker, root: Content) -> snapshot::Snapshot {
    let stream = |path: &str, bytes: &[u8]| snapshot::Stream {
        path: path.into(),
        bytes: bytes.len() as u64,
        mac: *maker.sealer.keys().stream_mac().update(bytes).finalize().as_bytes(),
    };
    let source = |name: &str, kind: &str, streams| snapshot::SourceEntry {
        name: name.into(),
        kind: kind.into(),
        path: name.into(),
        start: TIME,
        end: TIME,
        status: snapshot::SourceStatus::Ok,
        streams,
        facts: vec![],
        extra: vec![],
    };
    let streams = vec![stream("database/today.sql", &today()), stream("database/yesterday.sql", &yesterday())];
    snapshot::Snapshot {
        id: SID.into(),
        time: TIME,
        host: "db1".into(),
        user: "backup".into(),
        program: "esker 0.1.0".into(),
        tags: vec![],
        root,
        previous: None,
        totals: snapshot::Totals { entries: 7, files: 4, bytes: (today().len() + yesterday().len() + 5008) as u64 },
        incomplete: vec![],
        sources: vec![source("database", "command", streams), source("files", "directory", vec![])],
        extra: vec![],
    }
}

fn write_records(owner: &Sealer, snapshot: ObjectHash, put: &dyn Fn(Name, &[u8])) {
    let entry = note::Entry { snapshot: SID.into(), number: 1, time: TIME, value: note::Value::FirstSeen };
    let (hash, object) = note::seal(owner, &note::Note { entries: vec![entry], extra: vec![] }).unwrap();
    put(ObjectName::Note(hash).name(), &object);
    let condemn = gc::Condemn {
        number: 1,
        time: TIME,
        packs: vec![PackId([0xee; 32])],
        written: vec![],
        snapshots: vec![(SID.into(), snapshot)],
        extra: vec![],
    };
    let object = gc::seal_condemn(owner, &condemn).unwrap();
    put(ObjectName::GcCondemn(1).name(), &object);
    let verdict = gc::Verdict {
        number: 1,
        time: TIME,
        condemn: hash_of(&[&object]),
        delete: vec![PackId([0xee; 32])],
        pardon: vec![],
        extra: vec![],
    };
    put(ObjectName::GcVerdict(1).name(), &gc::seal_verdict(owner, &verdict).unwrap());
    let gone = SnapshotId([0x50; 16]);
    let forgotten =
        forgotten::Forgotten { snapshot: gone, hash: ObjectHash([1; 32]), time: TIME, reason: "by hand".into(), extra: vec![] };
    let (hash, object) = forgotten::seal(owner, &forgotten).unwrap();
    put(ObjectName::Forgotten(gone, hash).name(), &object);
}

/// Every object by its name; a file that has none of ours fails.
fn objects(place: &Path) -> BTreeMap<ObjectName, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![place.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(place).unwrap().to_str().unwrap().to_owned();
            found.insert(ObjectName::parse(&Name::new(name).unwrap()).unwrap(), fs::read(path).unwrap());
        }
    }
    found
}

/// Where copies of chunks are: the pack and its number of row.
type Copies = HashMap<(ChunkType, ChunkId), Vec<(PackId, usize)>>;

struct Reader {
    opener: Opener,
    packs: HashMap<PackId, (pack::PackFacts, Vec<u8>)>,
    copies: Copies,
}

impl Reader {
    fn stored(&self, pack: PackId, row: usize) -> (Vec<u8>, RowEncoding) {
        let (facts, file) = &self.packs[&pack];
        let chunk = &facts.directory.chunks[row];
        let frame = facts.directory.frames[chunk.frame as usize];
        let mut sealed = file[frame.range().start as usize..frame.range().end as usize].to_vec();
        let raw = pack::open_frame(&self.opener, &facts.header, chunk.frame, &frame, &mut sealed).unwrap();
        (raw[chunk.encoding.range()].to_vec(), chunk.encoding.clone())
    }

    fn chunk(&self, chunk_type: ChunkType, id: &ChunkId, literal_only: bool) -> Vec<u8> {
        for &(pack, row) in &self.copies[&(chunk_type, *id)] {
            let bytes = match self.stored(pack, row) {
                (bytes, RowEncoding::Literal { .. }) => bytes,
                (_, RowEncoding::Composed { .. }) if literal_only => continue,
                (bytes, encoding @ RowEncoding::Composed { .. }) => {
                    let bases: Vec<ChunkId> = self.packs[&pack].0.directory.bases_of(&encoding).collect();
                    let recipe = recipe::decode(&bytes, bases.len(), encoding.chunk_length()).unwrap();
                    let bases: Vec<Vec<u8>> = bases.iter().map(|base| self.chunk(ChunkType::Data, base, true)).collect();
                    recipe::apply(&recipe, &bases.iter().map(Vec::as_slice).collect::<Vec<_>>()).unwrap()
                }
            };
            assert_eq!(self.opener.keys().chunk_id(chunk_type, &bytes), *id);
            return bytes;
        }
        panic!("no copy of {id}");
    }

    fn folder(&self, content: &Content, path: &str, found: &mut BTreeMap<String, Vec<u8>>) {
        let mut nodes = Vec::new();
        let mut fetch = |chunk_type, id: &ChunkId| Ok::<_, FormatError>(self.chunk(chunk_type, id, false));
        folder::walk(content, &mut fetch, &mut |node| {
            nodes.push(node);
            Ok(())
        })
        .unwrap();
        for node in nodes {
            let name = String::from_utf8(node.name.clone()).unwrap();
            let path = if path.is_empty() { name } else { format!("{path}/{name}") };
            let bytes = match node.kind {
                NodeKind::Folder => {
                    self.folder(&node.content, &path, found);
                    b"/".to_vec()
                }
                NodeKind::Symlink => [b"-> ", &node.link_target[..]].concat(),
                _ => self.file(&node.content),
            };
            assert!(node.kind != NodeKind::File || bytes.len() as u64 == node.size);
            found.insert(path, bytes);
        }
    }

    fn file(&self, content: &Content) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut fetch = |id: &ChunkId| Ok::<_, FormatError>(self.chunk(ChunkType::List, id, false));
        content::walk(content, Leaves::Data, &mut fetch, &mut |item| {
            match item {
                Item::Chunk { id, .. } => bytes.extend(self.chunk(ChunkType::Data, id, false)),
                Item::Hole { length } => bytes.resize(bytes.len() + *length as usize, 0),
            }
            Ok(())
        })
        .unwrap();
        bytes
    }
}

/// Reads the repository as `format-spec/README.md` says, with the owner line of `keys.json` as the only secret.
pub fn read(place: &Path) {
    let keys: BTreeMap<String, String> =
        serde_json::from_str(&fs::read_to_string(place.with_file_name("keys.json")).unwrap()).unwrap();
    let (root, generation) = RootKey::from_line(&keys["owner line"]).unwrap();
    let opener = Opener::new(Arc::new(Keys::owner(root, generation)));
    let objects = objects(place);
    let (mut packs, mut copies) = (HashMap::new(), Copies::new());
    for (name, bytes) in &objects {
        if let ObjectName::Pack(id) = name {
            let facts = pack::read_facts(&opener, *id, bytes).unwrap();
            for (row, chunk) in facts.directory.chunks.iter().enumerate() {
                copies.entry((chunk.chunk_type, chunk.id)).or_default().push((*id, row));
            }
            packs.insert(*id, (facts, bytes.clone()));
        }
    }
    assert_eq!(packs.len(), 2);
    let reader = Reader { opener, packs, copies };
    read_records(&reader, &objects);

    let object = &objects[&ObjectName::Snapshot(SID.into())];
    let opened = snapshot::open(&reader.opener, SID.into(), object).unwrap().snapshot;
    let mut found = BTreeMap::new();
    reader.folder(&opened.root, "", &mut found);
    assert_eq!(found, expected());
    for stream in opened.sources.iter().flat_map(|source| &source.streams) {
        let bytes = &found[std::str::from_utf8(&stream.path).unwrap()];
        assert_eq!(bytes.len() as u64, stream.bytes);
        assert_eq!(*reader.opener.keys().stream_mac().update(bytes).finalize().as_bytes(), stream.mac);
    }
}

fn read_records(reader: &Reader, objects: &BTreeMap<ObjectName, Vec<u8>>) {
    let opener = &reader.opener;
    let start = session::open_start(opener, SID, &objects[&ObjectName::SessionRecord(SID, 0)]).unwrap();
    let mut seen = 0;
    for (name, bytes) in objects {
        seen += 1;
        match *name {
            ObjectName::Config(number) => {
                let opened = config::open(opener, number, bytes).unwrap();
                assert_eq!(opened.authority, Authority::Owner);
                assert!(number == 1 || opened.config.previous == hash_of(&[&objects[&ObjectName::Config(number - 1)]]));
            }
            ObjectName::Keyslot(hash) => {
                assert_eq!(hash, hash_of(&[bytes]));
                super::decode("keyslot", bytes).unwrap();
            }
            ObjectName::Index(id) => {
                for facts in index::open(opener, id, bytes).unwrap().packs {
                    assert_eq!(facts, reader.packs[&facts.id].0, "an index file says what the pack says");
                }
            }
            ObjectName::SessionRecord(_, 0) | ObjectName::Pack(_) | ObjectName::Snapshot(_) => {}
            ObjectName::SessionRecord(_, number) => {
                session::open_acknowledgement(opener, &start, number, bytes).unwrap();
            }
            ObjectName::SessionClosed(_) => {
                session::open_closed(opener, &start, bytes).unwrap();
            }
            ObjectName::Forgotten(sid, hash) => {
                assert_eq!(hash, hash_of(&[bytes]));
                assert_eq!(forgotten::open(opener, sid, bytes).unwrap().1, Authority::Owner);
            }
            ObjectName::GcCondemn(number) => {
                gc::open_condemn(opener, number, bytes).unwrap();
            }
            ObjectName::GcVerdict(number) => {
                let verdict = gc::open_verdict(opener, number, bytes).unwrap().record;
                assert_eq!(verdict.condemn, hash_of(&[&objects[&ObjectName::GcCondemn(number)]]));
            }
            ObjectName::Note(_) => assert_eq!(note::open(opener, bytes).unwrap().1, Authority::Owner),
            ObjectName::Parity(..)
            | ObjectName::Revoked(_)
            | ObjectName::ConfigByHash(..)
            | ObjectName::GcCondemnByHash(..)
            | ObjectName::GcVerdictByHash(..) => panic!("{name:?} is not part of it"),
        }
    }
    assert_eq!(seen, 14);
}
