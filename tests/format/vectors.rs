//! Makes the vectors of every page: good bytes, and for each rule bytes that break it. Deterministic.

use esker::chunker::Sizes;
use esker::clock::{SeededRng, Timestamp};
use esker::crypto::{ChunkType, Keys, RecoveryKey, RootKey};
use esker::format::keyslot::{Keyslot, SlotKey, SlotSecret};
use esker::format::pack::{self, recipe};
use esker::format::tree::{self, Content, Item, Node, NodeKind};
use esker::format::{Sealer, config, content, forgotten, gc, index, note, parity, proof, revocation, session, snapshot};
use esker::id::{ChunkId, IndexId, ObjectHash, PackId, SessionId, SnapshotId};
use serde::{Deserialize, Serialize};
use serde_cbor::Value;
use std::sync::Arc;

/// One example.
#[derive(Serialize, Deserialize)]
pub struct Case {
    /// What it shows.
    pub name: String,
    /// Which decoder takes it.
    pub thing: String,
    /// The bytes.
    pub hex: String,
    /// The error that refuses it; none: it is accepted.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub refused: Option<String>,
}

/// The root of all vectors.
pub const ROOT: [u8; 32] = [0x42; 32];
/// The recovery key of all vectors.
pub const RECOVERY: [u8; 32] = [0x17; 32];

pub fn owner() -> Arc<Keys> {
    Arc::new(Keys::owner(RootKey::from_bytes(ROOT), 1))
}

pub fn writer() -> Arc<Keys> {
    Arc::new(Keys::writer(owner().writer_key()))
}

pub fn sealer(seed: u64) -> Sealer {
    Sealer::new(owner(), Arc::new(SeededRng::new(seed))).unwrap()
}

pub struct Maker {
    pub cases: Vec<Case>,
    thing: &'static str,
}

impl Maker {
    fn add(&mut self, name: &str, bytes: &[u8]) {
        let refused = super::decode(self.thing, bytes).err();
        self.cases.push(Case { name: name.into(), thing: self.thing.into(), hex: esker::id::hex(bytes), refused });
    }
    fn good(&mut self, thing: &'static str, name: &str, bytes: &[u8]) {
        self.thing = thing;
        self.add(name, bytes);
        assert!(self.cases.last().unwrap().refused.is_none(), "{thing}: {name}: {:?}", self.cases.last().unwrap().refused);
    }
    fn bad(&mut self, name: &str, bytes: &[u8]) {
        self.add(name, bytes);
        assert!(self.cases.last().unwrap().refused.is_some(), "{}: {name} is accepted", self.thing);
    }
    /// A good CBOR body, and every general rule broken.
    fn body(&mut self, thing: &'static str, bytes: &[u8]) {
        self.good(thing, "good", bytes);
        let count = bytes[0] & 0x1f;
        assert!(bytes[0] >> 5 == 4 && count < 24);
        self.bad("empty", &[]);
        self.bad("the last byte missing", &bytes[..bytes.len() - 1]);
        self.bad("a byte behind the end", &[bytes, &[0]].concat());
        self.bad("the array's count not in its shortest form", &[&[0x98, count], &bytes[1..]].concat());
        self.bad("an array of indefinite length", &[&[0x9f], &bytes[1..], &[0xff]].concat());
        self.bad("an array that claims 2^64-1 elements", &[&[0x9b], &[0xff; 8][..], &bytes[1..]].concat());
        self.bad("one field more", &[&[bytes[0] + 1], &bytes[1..], &[0]].concat());
        self.bad("a map instead of an array", &[&[bytes[0] + 0x20], &bytes[1..]].concat());
        let extra = usize::from(count) - 1;
        let field =
            |number: i128, required| Value::Array(vec![Value::Integer(number), Value::Bool(required), Value::Bytes(vec![1])]);
        self.good(thing, "an optional field of a later version", &edit(bytes, &[extra], Value::Array(vec![field(9, false)])));
        self.bad("a required field of a later version", &edit(bytes, &[extra], Value::Array(vec![field(9, true)])));
        self.bad("extra fields out of order", &edit(bytes, &[extra], Value::Array(vec![field(9, false), field(8, false)])));
        self.bad("the same extra field twice", &edit(bytes, &[extra], Value::Array(vec![field(9, false), field(9, false)])));
    }
    fn edits(&mut self, bytes: &[u8], edits: &[(&str, &[usize], Value)]) {
        for (name, path, value) in edits {
            self.bad(name, &edit(bytes, path, value.clone()));
        }
    }
}

/// The same CBOR with the element at `path` replaced.
fn edit(bytes: &[u8], path: &[usize], value: Value) -> Vec<u8> {
    let mut whole: Value = serde_cbor::from_slice(bytes).unwrap();
    let mut place = &mut whole;
    for &index in path {
        let Value::Array(elements) = place else { panic!("no array") };
        place = &mut elements[index];
    }
    *place = value;
    serde_cbor::to_vec(&whole).unwrap()
}

fn with_byte(bytes: &[u8], at: usize, value: u8) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] = value;
    bytes
}

fn with_u32(bytes: &[u8], at: usize, value: u32) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    bytes
}

fn int(value: i128) -> Value {
    Value::Integer(value)
}

fn array(values: impl IntoIterator<Item = Value>) -> Value {
    Value::Array(values.into_iter().collect())
}

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

fn bytes(bytes: &[u8]) -> Value {
    Value::Bytes(bytes.to_vec())
}

const TIME: Timestamp = Timestamp { seconds: 1_800_000_000, nanoseconds: 5 };

type Make = fn(&mut Maker);

/// Every page with its cases.
pub fn pages() -> Vec<(&'static str, Vec<Case>)> {
    let makers: [(&str, Make); 13] = [
        ("keyslot", keyslots),
        ("envelope", envelopes),
        ("config", configs),
        ("chunks", recipes),
        ("pack", packs),
        ("index", indexes),
        ("tree", trees),
        ("snapshot", snapshots),
        ("session", sessions),
        ("gc", records),
        ("note", notes),
        ("list", lists),
        ("parity", parities),
    ];
    let make = |(page, make): (&'static str, Make)| {
        let mut maker = Maker { cases: Vec::new(), thing: "" };
        make(&mut maker);
        (page, maker.cases)
    };
    makers.into_iter().map(make).collect()
}

pub fn recovery_slot() -> Keyslot {
    let recovery = RecoveryKey::from_bytes(RECOVERY);
    let key = SlotKey::Owner(RootKey::from_bytes(ROOT));
    Keyslot::wrap(&SlotSecret::Recovery(&recovery), &key, "paper", 1_800_000_000, &SeededRng::new(1)).unwrap()
}

fn keyslots(maker: &mut Maker) {
    let good = recovery_slot();
    let good = good.as_bytes();
    maker.good("keyslot", "an owner slot under the recovery key", good);
    maker.bad("empty", &[]);
    maker.bad("one byte short", &good[..303]);
    maker.bad("one byte long", &[&good[..], &[0]].concat());
    maker.bad("another magic", &with_byte(good, 0, b'e'));
    maker.bad("a later version", &with_byte(good, 8, 2));
    maker.bad("kdf 3", &with_byte(good, 9, 3));
    maker.bad("level 3", &with_byte(good, 10, 3));
    maker.bad("level 2 outside, 1 inside", &with_byte(good, 10, 2));
    maker.bad("the reserved byte set", &with_byte(good, 11, 1));
    maker.bad("argon2id with m = 0", &with_byte(good, 9, 1));
    maker.bad("argon2id with 4 TiB", &with_u32(&with_byte(good, 9, 1), 12, u32::MAX));
    maker.bad("a recovery slot with m = 1", &with_u32(good, 12, 1));
    maker.bad("another salt", &with_byte(good, 24, good[24] ^ 1));
    maker.bad("another repository", &with_byte(good, 56, good[56] ^ 1));
    maker.bad("another commitment", &with_byte(good, 88, good[88] ^ 1));
    maker.bad("another nonce", &with_byte(good, 120, good[120] ^ 1));
    maker.bad("a changed payload", &with_byte(good, 200, good[200] ^ 1));
    maker.bad("a changed tag", &with_byte(good, 303, good[303] ^ 1));
}

fn envelopes(maker: &mut Maker) {
    let (_, good) = note::seal(&sealer(2), &note::Note::default()).unwrap();
    maker.good("note object", "an empty note of the owner", &good);
    maker.bad("empty", &[]);
    maker.bad("127 bytes", &good[..127]);
    maker.bad("the header alone", &good[..128]);
    maker.bad("one byte short", &good[..good.len() - 1]);
    maker.bad("one byte long", &[&good[..], &[0]].concat());
    for (name, at, value) in [
        ("another magic", 0, b'e'),
        ("version 0", 8, 0),
        ("version 2", 8, 2),
        ("type 0", 9, 0),
        ("type 11", 9, 11),
        ("the type of a snapshot", 9, 3),
        ("the type of a gc record", 9, 6),
        ("kx 1 for a note", 10, 1),
        ("suite 2", 11, 2),
        ("generation 0", 12, 0),
        ("another generation", 12, 2),
        ("another writer", 16, 1),
        ("an ephemeral key among writers", 32, 1),
        ("another salt", 64, good[64] ^ 1),
        ("another commitment", 127, good[127] ^ 1),
        ("another nonce", 128, good[128] ^ 1),
        ("changed ciphertext", 152, good[152] ^ 1),
        ("changed padding", 3000, good[3000] ^ 1),
        ("another tag", good.len() - 1, good[good.len() - 1] ^ 1),
    ] {
        maker.bad(name, &with_byte(&good, at, value));
    }
    let stranger = Arc::new(Keys::owner(RootKey::from_bytes([0x43; 32]), 1));
    let stranger = Sealer::new(stranger, Arc::new(SeededRng::new(2))).unwrap();
    maker.bad("sealed in another repository", &note::seal(&stranger, &note::Note::default()).unwrap().1);
    let writer = Sealer::new(writer(), Arc::new(SeededRng::new(3))).unwrap();
    maker.good("note object", "an empty note of a writer", &note::seal(&writer, &note::Note::default()).unwrap().1);
    let snapshot = snapshot::seal(&writer, &a_snapshot()).unwrap();
    maker.good("snapshot object", "a snapshot of a writer, opened by the owner", &snapshot);
    maker.bad("another ephemeral key", &with_byte(&snapshot, 40, snapshot[40] ^ 1));
    let mut small = snapshot.clone();
    small[32..64].fill(0);
    maker.bad("an ephemeral key of small order", &small);
    maker.bad("a note in a snapshot's place", &good);
}

pub fn a_config() -> config::Config {
    config::Config {
        number: 1,
        previous: ObjectHash([0; 32]),
        time: TIME,
        generation: 1,
        read_features: 0,
        write_features: 0,
        class: config::StoreClass::Shared,
        chunker: config::CHUNKER_FASTCDC,
        streams: Sizes::STREAMS,
        files: Sizes::FILES,
        level: 3,
        padding: config::PADDING_PADME,
        guard_seconds: 0,
        program: "esker 0.1.0".into(),
        extra: vec![],
    }
}

fn configs(maker: &mut Maker) {
    let good = a_config().encode().unwrap();
    maker.body("config", &good);
    let sizes = |min, avg, max| array([int(min), int(avg), int(max)]);
    maker.edits(
        &good,
        &[
            ("number 0", &[0], int(0)),
            ("number 2 without a previous", &[0], int(2)),
            ("number 1 with a previous", &[1], bytes(&[1; 32])),
            ("a short hash", &[1], bytes(&[0; 31])),
            ("a second of 10^9 ns", &[2, 1], int(1_000_000_000)),
            ("generation 0", &[3], int(0)),
            ("generation 2^32", &[3], int(1 << 32)),
            ("class 3", &[6], int(3)),
            ("chunker 2", &[7], int(2)),
            ("an average that is no power of two", &[8], sizes(64, 300, 4096)),
            ("odd sizes", &[8], sizes(65, 256, 4096)),
            ("sizes that do not rise", &[9], sizes(256, 256, 4096)),
            ("chunks of one byte", &[9], sizes(0, 256, 4096)),
            ("chunks above 16 MiB", &[9], sizes(64, 256, 1 << 25)),
            ("level 23", &[10], int(23)),
            ("level -8", &[10], int(-8)),
            ("padding 0", &[11], int(0)),
            ("a program that is bytes", &[13], bytes(b"esker")),
        ],
    );
    let field = |number: i128, value: &[u8]| array([int(number), Value::Bool(false), bytes(value)]);
    let packs = [[1; 32], [2; 32]].concat();
    let both = array([field(1, &[5]), field(2, &packs)]);
    maker.good("config", "5 % of parity and two damaged packs", &edit(&good, &[14], both));
    maker.good("config", "a key of cut points shared with another repository", &edit(&good, &[14], array([field(3, &[9; 32])])));
    maker.edits(
        &good,
        &[
            ("0 % of parity", &[14], array([field(1, &[0])])),
            ("51 % of parity", &[14], array([field(1, &[51])])),
            ("parity of two bytes", &[14], array([field(1, &[5, 0])])),
            ("no damaged pack", &[14], array([field(2, &[])])),
            ("half an id of a damaged pack", &[14], array([field(2, &packs[..48])])),
            ("the same damaged pack twice", &[14], array([field(2, &[1; 64])])),
            ("a key of cut points of 31 bytes", &[14], array([field(3, &[9; 31])])),
        ],
    );
}

/// The beginning of XOF(01 x 32), as the pack of a parity object.
pub fn parity_pack(length: usize) -> (PackId, Vec<u8>) {
    let mut bytes = vec![0; length];
    blake3::Hasher::new_keyed(&[1; 32]).finalize_xof().fill(&mut bytes);
    (PackId(*blake3::hash(&bytes).as_bytes()), bytes)
}

fn parities(maker: &mut Maker) {
    let make = |length, percent| {
        let (pack, bytes) = parity_pack(length);
        parity::make(pack, &[&bytes], percent).unwrap().1
    };
    maker.good("parity", "of a pack of the first 70000 bytes of XOF(01 x 32), 5 %", &make(70_000, 5));
    let good = make(100, 5);
    let end = good.len();
    maker.good("parity", "of a pack of the first 100 bytes of XOF(01 x 32), 50 %", &good);
    // A HEAD that fits its checksum, at both ends.
    let with = |at: usize, value: &[u8]| {
        let mut bytes = good.clone();
        bytes[at..at + value.len()].copy_from_slice(value);
        let sum = *blake3::hash(&bytes[..64]).as_bytes();
        bytes[64..72].copy_from_slice(&sum[..8]);
        bytes.copy_within(..72, end - 72);
        bytes
    };
    maker.bad("empty", &[]);
    maker.bad("HEAD alone", &good[..72]);
    maker.bad("the last byte missing", &good[..end - 1]);
    maker.bad("a byte behind the end", &[&good[..], &[0]].concat());
    maker.bad("another magic", &with(0, b"e"));
    maker.bad("version 0", &with(8, &[0]));
    maker.bad("version 2", &with(8, &[2]));
    maker.bad("a reserved byte", &with(9, &[1]));
    maker.bad("another reserved byte", &with(20, &[1]));
    maker.bad("shards of 8 KiB", &with(12, &8192u32.to_le_bytes()));
    maker.bad("no recovery shard", &with(16, &[0]));
    maker.bad("more recovery shards than shards", &with(16, &[2]));
    maker.bad("a pack of 0 bytes", &with(24, &[0]));
    maker.bad("a pack above the limit", &with(24, &(80u64 * 1024 * 1024 + 1).to_le_bytes()));
    maker.bad("a pack of 2^64-1 bytes", &with(24, &[0xff; 8]));
    maker.bad("HEAD damaged", &with_byte(&good, 40, good[40] ^ 1));
    maker.bad("the first table damaged", &with_byte(&good, 73, good[73] ^ 1));
    maker.bad("a recovery shard damaged", &with_byte(&good, 1000, good[1000] ^ 1));
    maker.bad("the second table damaged", &with_byte(&good, end - 80, good[end - 80] ^ 1));
    maker.bad("the second HEAD damaged", &with_byte(&good, end - 1, good[end - 1] ^ 1));
}

fn recipes(maker: &mut Maker) {
    let with = |bases: u8, raw: u32, recipe: &[u8]| [&[bases][..], &raw.to_le_bytes(), recipe].concat();
    let range = |base, offset, length| recipe::RecipeRange { base, offset, length };
    let good = recipe::encode(&recipe::Recipe { ranges: vec![range(1, 2, 3), range(0, 0, 2), range(1, 5, 1)] });
    maker.good("recipe", "three ranges of two bases", &with(2, 6, &good));
    maker.bad("no range", &with(0, 0, &[]));
    maker.bad("a base outside the list", &with(1, 6, &good));
    maker.bad("a base that no range uses", &with(3, 6, &good));
    maker.bad("another sum", &with(2, 7, &good));
    maker.bad("a length of 0", &with(1, 0, &[0, 0, 0]));
    maker.bad("an offset below 0", &with(1, 1, &[0, 1, 1]));
    maker.bad("an offset beyond 1 MiB", &with(1, 1, &[0, 0x80, 0x80, 0x80, 1, 1]));
    maker.bad("a length beyond 1 MiB", &with(1, (1 << 20) + 1, &[0, 0, 0x81, 0x80, 0x40]));
    maker.bad("a varint with a needless byte", &with(1, 1, &[0, 0x80, 0, 1]));
    maker.bad("a varint of six bytes", &with(1, 1, &[0, 0, 0x81, 0x80, 0x80, 0x80, 0x80, 0]));
    maker.bad("a range cut off", &with(1, 1, &[0, 0]));
}

fn prepared(keys: &Keys, chunk_type: ChunkType, chunks: &[&[u8]]) -> pack::PreparedFrame {
    let mut offset = 0;
    let rows = chunks.iter().map(|bytes| {
        let length = bytes.len() as u32;
        let encoding = pack::Encoding::Literal { offset, length };
        offset += length;
        pack::PreparedChunk { id: keys.chunk_id(chunk_type, bytes), chunk_type, encoding }
    });
    let rows = rows.collect();
    pack::PreparedFrame { codec: pack::Codec::Raw, raw_length: offset, bytes: chunks.concat(), chunks: rows }
}

fn a_metadata_pack() -> pack::PackFacts {
    let keys = owner();
    let recipe = recipe::encode(&recipe::Recipe { ranges: vec![recipe::RecipeRange { base: 0, offset: 1, length: 2 }] });
    let length = recipe.len() as u32;
    let encoding =
        pack::Encoding::Composed { offset: 0, length, raw_length: 2, bases: vec![keys.chunk_id(ChunkType::Data, b"base")] };
    let composed = pack::PreparedChunk { id: keys.chunk_id(ChunkType::Data, b"as"), chunk_type: ChunkType::Data, encoding };
    let frames = vec![
        prepared(&keys, ChunkType::Tree, &[b"a tree", b"another"]),
        pack::PreparedFrame { codec: pack::Codec::Raw, raw_length: length, bytes: recipe, chunks: vec![composed] },
    ];
    pack::seal_pack(&sealer(4), pack::Class::Metadata, frames).unwrap().facts
}

fn packs(maker: &mut Maker) {
    let facts = a_metadata_pack();
    let head = pack::Head::from_facts(&facts).unwrap().encode();
    maker.good("head", "a metadata pack of two frames", &head);
    maker.bad("one byte short", &head[..63]);
    maker.bad("class 3", &with_byte(&head, 0, 3));
    maker.bad("a reserved byte set", &with_byte(&head, 1, 1));
    maker.bad("no frame", &with_u32(&head, 4, 0));
    maker.bad("too many frames", &with_u32(&head, 4, 65_537));
    maker.bad("fewer chunks than frames", &with_u32(&head, 8, 1));
    maker.bad("too many chunks", &with_u32(&head, 8, 262_145));
    maker.bad("too many bases", &with_u32(&head, 12, 65_537));
    maker.bad("2^32-1 base numbers", &with_u32(&head, 16, u32::MAX));
    maker.bad("a directory of another length", &with_u32(&head, 20, 1000));
    maker.bad("a directory above 16 MiB", &with_u32(&head, 20, (16 << 20) + 1));
    maker.bad("a pad that is no box", &with_u32(&head, 24, 39));
    maker.bad("frames above 80 MiB", &with_u32(&head, 28, (80 << 20) + 1));
    maker.bad("frames of 2^64-1 bytes", &[&head[..28], &[0xff; 8][..], &head[36..]].concat());
    maker.bad("the last byte set", &with_byte(&head, 63, 1));
    // The tables: 1 base, 2 frames, 3 chunks, 1 base number.
    let directory = [&head[..], &facts.directory.encode()].concat();
    let (frame, chunk, composed, number) = (64 + 32, 64 + 32 + 32, 64 + 32 + 32 + 104, 64 + 32 + 32 + 156);
    maker.good("directory", "one base, two frames, three chunks", &directory);
    maker.bad("one byte short", &directory[..directory.len() - 1]);
    maker.bad("one byte long", &[&directory[..], &[0]].concat());
    maker.bad("a frame of another sealed length", &with_u32(&directory, frame, 54));
    maker.bad("a frame whose raw length is not that of its chunks", &with_u32(&directory, frame + 4, 12));
    maker.bad("a frame without chunks", &with_u32(&directory, frame + 8, 0));
    maker.bad("chunks that do not add up", &with_u32(&directory, frame + 8, 3));
    maker.bad("codec 2", &with_byte(&directory, frame + 12, 2));
    maker.bad("a reserved byte set", &with_byte(&directory, frame + 13, 1));
    maker.bad("a raw length beyond the limit", &with_u32(&directory, frame + 4, u32::MAX));
    maker.bad("chunk type 4", &with_byte(&directory, chunk + 32, 4));
    maker.bad("literal data in a metadata pack", &with_byte(&directory, chunk + 32, 1));
    maker.bad("encoding 3", &with_byte(&directory, chunk + 33, 3));
    maker.bad("a literal chunk with bases", &with_byte(&directory, chunk + 34, 1));
    maker.bad("a gap before a chunk", &with_u32(&directory, chunk + 36, 1));
    maker.bad("a chunk of no bytes", &with_u32(&directory, chunk + 40, 0));
    maker.bad("a literal chunk of two lengths", &with_u32(&directory, chunk + 44, 5));
    maker.bad("a literal chunk with a list", &with_u32(&directory, chunk + 48, 1));
    maker.bad("a composed tree", &with_byte(&directory, composed + 32, 2));
    maker.bad("a composed chunk without bases", &with_byte(&directory, composed + 34, 0));
    maker.bad("a composed chunk of 256 bases", &with_byte(&directory, composed + 35, 1));
    maker.bad("a composed chunk above 16 MiB", &with_u32(&directory, composed + 44, (16 << 20) + 1));
    maker.bad("a list beyond the table", &with_u32(&directory, composed + 48, 1));
    maker.bad("a list at the end of numbers", &with_u32(&directory, composed + 48, u32::MAX));
    maker.bad("a base number beyond the base table", &with_byte(&directory, number, 1));
}

fn indexes(maker: &mut Maker) {
    let facts = a_metadata_pack();
    let good = index::IndexFile { replaces: vec![IndexId([7; 32])], packs: vec![facts] }.encode().unwrap();
    maker.good("index", "one pack, one file replaced", &good);
    maker.good("index", "nothing", &[0; 8]);
    maker.bad("empty", &[]);
    maker.bad("one byte short", &good[..good.len() - 1]);
    maker.bad("one byte long", &[&good[..], &[0]].concat());
    maker.bad("2^32-1 replaced files", &with_u32(&good, 0, u32::MAX));
    maker.bad("2^32-1 packs", &with_u32(&good, 4, u32::MAX));
    maker.bad("another size", &with_byte(&good, 40 + 32, good[40 + 32] ^ 1));
    maker.bad("a header of another type", &with_byte(&good, 40 + 40 + 9, 3));
    maker.bad("a HEAD of another class", &with_byte(&good, 40 + 40 + 128, 1));
    maker.bad("a directory out of its rules", &with_byte(&good, good.len() - 1, 1));
}

fn a_file(name: &[u8], items: Vec<Item>) -> Node {
    Node {
        name: name.to_vec(),
        kind: NodeKind::File,
        mode: 0o644,
        uid: 1000,
        gid: 100,
        user: Some("ann".into()),
        group: None,
        mtime: Timestamp { seconds: -1, nanoseconds: 999_999_999 },
        ctime: Timestamp { seconds: 1_700_000_000, nanoseconds: 0 },
        size: items.iter().map(Item::length).sum(),
        content: Content { level: 0, items },
        link_target: vec![],
        device: 0,
        xattrs: vec![],
        hard_link: None,
        extra: vec![],
    }
}

fn trees(maker: &mut Maker) {
    let tree = |nodes| tree::TreeChunk { nodes, extra: vec![] }.encode().unwrap();
    let empty = tree(vec![a_file(b"a", vec![])]);
    maker.body("tree", &empty);
    let items = vec![Item::Chunk { id: ChunkId([9; 32]), length: 5 }, Item::Hole { length: 7 }];
    let folder = Node {
        content: Content { level: 0, items: vec![Item::Chunk { id: ChunkId([8; 32]), length: 3 }] },
        kind: NodeKind::Folder,
        ..a_file(b"b", vec![])
    };
    let link = Node { kind: NodeKind::Symlink, link_target: b"a".to_vec(), ..a_file(b"c", vec![]) };
    let good = tree(vec![a_file(b"a", items), folder, link]);
    maker.good("tree", "a file with a hole, a folder, a link", &good);
    let swapped = {
        let Value::Array(mut whole) = serde_cbor::from_slice(&good).unwrap() else { panic!("no array") };
        let Value::Array(nodes) = &mut whole[0] else { panic!("no array") };
        nodes.swap(0, 1);
        serde_cbor::to_vec(&Value::Array(whole)).unwrap()
    };
    maker.bad("names that do not rise", &swapped);
    let xattr = |value, content| array([array([bytes(b"user.x"), value, content])]);
    let chunk = |length| array([bytes(&[9; 32]), int(length)]);
    maker.edits(
        &good,
        &[
            ("no node", &[0], array([])),
            ("a name twice", &[0, 1, 0], bytes(b"a")),
            ("an empty name", &[0, 0, 0], bytes(b"")),
            ("the name ..", &[0, 0, 0], bytes(b"..")),
            ("a name with a slash", &[0, 0, 0], bytes(b"a/b")),
            ("a name with NUL", &[0, 0, 0], bytes(b"a\0")),
            ("a name of 1025 bytes", &[0, 2, 0], bytes(&[b'z'; 1025])),
            ("a name that is text", &[0, 0, 0], text("a")),
            ("kind 0", &[0, 0, 1], int(0)),
            ("kind 8", &[0, 0, 1], int(8)),
            ("a mode with its type", &[0, 0, 2], int(0o100_644)),
            ("a negative uid", &[0, 0, 3], int(-1)),
            ("a size that is not the content's", &[0, 0, 9], int(13)),
            ("an item of no bytes", &[0, 0, 10, 1, 1, 1], int(0)),
            ("items of 2^64 bytes", &[0, 0, 10, 1, 0, 1], int(i128::from(u64::MAX))),
            ("an id of 31 bytes", &[0, 0, 10, 1, 0, 0], bytes(&[9; 31])),
            ("a hole above level 0", &[0, 0, 10, 0], int(1)),
            ("level 17", &[0, 1, 10, 0], int(17)),
            ("65 items", &[0, 1, 10, 1], array((0..65).map(|_| chunk(1)))),
            ("a hole in a folder", &[0, 1, 10, 1], array([array([Value::Null, int(3)])])),
            ("a content of a link", &[0, 2, 10, 1], array([chunk(1)])),
            ("a link without a target", &[0, 2, 11], bytes(b"")),
            ("a target of a file", &[0, 0, 11], bytes(b"x")),
            ("a target of 4097 bytes", &[0, 2, 11], bytes(&[b'x'; 4097])),
            ("a device number of a file", &[0, 0, 12], int(1)),
            ("an attribute without a value", &[0, 0, 13], xattr(Value::Null, Value::Null)),
            ("an attribute with two values", &[0, 0, 13], xattr(bytes(b"x"), array([int(0), array([])]))),
            ("an attribute with a hole", &[0, 0, 13], xattr(Value::Null, array([int(0), array([array([Value::Null, int(3)])])]))),
            ("attributes above 64 KiB", &[0, 0, 13], xattr(bytes(&vec![0; 65_536]), Value::Null)),
            ("a folder with a hard link", &[0, 1, 14], array([int(0), int(1)])),
        ],
    );
    let mut flagged = a_file(b"a", vec![]);
    flagged.set_flags(tree::FileFlags::IMMUTABLE.and(tree::FileFlags::APPEND_ONLY));
    let mut partly = Node { kind: NodeKind::Folder, ..a_file(b"b", vec![]) };
    partly.leave_out(tree::LeftOut::UNREAD.and(tree::LeftOut::MARKED));
    maker.good("tree", "a file with flags, and a folder that leaves something out", &tree(vec![flagged, partly]));
}

fn lists(maker: &mut Maker) {
    let items = vec![Item::Chunk { id: ChunkId([9; 32]), length: 5 }, Item::Hole { length: 7 }];
    let good = content::ListChunk { level: 0, leaves: content::Leaves::Data, items, extra: vec![] }.encode().unwrap();
    maker.body("list", &good);
    let chunk = array([bytes(&[9; 32]), int(1)]);
    maker.edits(
        &good,
        &[
            ("level 16", &[0], array([int(16), array([chunk.clone()])])),
            ("no item", &[0, 1], array([])),
            ("1025 items", &[0, 1], array((0..1025).map(|_| chunk.clone()))),
            ("leaves 3", &[1], int(3)),
            ("a hole among trees", &[1], int(2)),
            ("a hole above level 0", &[0, 0], int(1)),
        ],
    );
}

pub fn a_snapshot() -> snapshot::Snapshot {
    snapshot::Snapshot {
        id: SnapshotId([4; 16]),
        time: TIME,
        host: "db1.example".into(),
        user: "backup".into(),
        program: "esker 0.1.0".into(),
        tags: vec!["daily".into(), "gold".into()],
        root: Content { level: 0, items: vec![Item::Chunk { id: ChunkId([1; 32]), length: 2 }] },
        previous: Some((SnapshotId([3; 16]), ObjectHash([9; 32]))),
        totals: snapshot::Totals { entries: 3, files: 2, bytes: 1 << 40 },
        incomplete: vec!["redis: connection refused".into()],
        sources: vec![snapshot::SourceEntry {
            name: "postgresql".into(),
            kind: "postgres".into(),
            path: b"postgresql".to_vec(),
            start: TIME,
            end: TIME,
            status: snapshot::SourceStatus::Ok,
            streams: vec![snapshot::Stream { path: b"postgresql/authentik.dump".to_vec(), bytes: 7, mac: [8; 32] }],
            facts: vec![("server".into(), "16.2".into()), ("tool".into(), "pg_dump 16.2".into())],
            extra: vec![],
        }],
        extra: vec![],
    }
}

fn snapshots(maker: &mut Maker) {
    let good = a_snapshot().encode().unwrap();
    maker.body("snapshot", &good);
    maker.edits(
        &good,
        &[
            ("a sid of 15 bytes", &[0], bytes(&[4; 15])),
            ("tags out of order", &[5], array([text("gold"), text("daily")])),
            ("a tag twice", &[5], array([text("gold"), text("gold")])),
            ("a hole in the root", &[6, 1], array([array([Value::Null, int(1)])])),
            ("a previous without a hash", &[7], array([bytes(&[3; 16])])),
            ("a negative total", &[8, 0], int(-1)),
            ("a source with a capital", &[10, 0, 0], text("Postgresql")),
            ("a source without a name", &[10, 0, 0], text("")),
            ("a source with a slash", &[10, 0, 0], text("a/b")),
            ("a path with ..", &[10, 0, 2], bytes(b"../etc")),
            ("a path that begins with a slash", &[10, 0, 2], bytes(b"/etc")),
            ("status 5", &[10, 0, 5], int(5)),
            ("a stream without a path", &[10, 0, 6, 0, 0], bytes(b"")),
            ("a MAC of 16 bytes", &[10, 0, 6, 0, 2], bytes(&[8; 16])),
            ("facts out of order", &[10, 0, 7, 0, 0], text("zebra")),
        ],
    );
    let original = |value: &[u8]| array([array([int(1), Value::Bool(false), bytes(value)])]);
    maker.good("snapshot", "a copy", &edit(&good, &[11], original(&[7; 48])));
    maker.edits(&good, &[("an original of 47 bytes", &[11], original(&[7; 47]))]);
    snapshot_runs(maker, &good);
    let again = revocation::Revocation { session: SessionId([4; 16]), time: TIME, reason: "gave up".into(), extra: vec![] };
    let good = again.encode().unwrap();
    maker.body("revocation", &good);
    let failed = |host: &[u8]| array([array([int(1), Value::Bool(false), bytes(host)])]);
    maker.good("revocation", "the record of a failed run of db1.example", &edit(&good, &[3], failed(b"db1.example")));
    maker.good("revocation", "a host that is not UTF-8, which is no host", &edit(&good, &[3], failed(&[0xff])));
    maker.edits(&good, &[("a host that is text and not bytes", &[3], array([array([int(1), Value::Bool(false), text("db1")])]))]);
}

/// Extra field 2: what the run stored, and how long it took.
fn snapshot_runs(maker: &mut Maker, good: &[u8]) {
    let run = |value: &[u8]| array([int(2), Value::Bool(false), bytes(value)]);
    let stored = [(1u64 << 33).to_be_bytes(), 61_005u64.to_be_bytes()].concat();
    let original = array([int(1), Value::Bool(false), bytes(&[7; 48])]);
    maker.good("snapshot", "its run stored 2^33 bytes in 61.005 seconds", &edit(good, &[11], array([run(&stored)])));
    maker.good("snapshot", "a copy with the run of its original", &edit(good, &[11], array([original.clone(), run(&stored)])));
    maker.edits(
        good,
        &[
            ("a run of 15 bytes", &[11], array([run(&stored[..15])])),
            ("a run of 17 bytes", &[11], array([run(&[&stored[..], &[0]].concat())])),
            ("a run before the original", &[11], array([run(&stored), original])),
        ],
    );
}

fn sessions(maker: &mut Maker) {
    let start = session::Start {
        session: SessionId([6; 16]),
        time: TIME,
        host: "db1".into(),
        program: "esker 0.1.0 backup".into(),
        machine: vec![1; 16],
        boot: vec![2; 16],
        pid: 4711,
        process_start: 99,
        encapsulated: [5; 32],
        extra: vec![],
    };
    let good = start.encode().unwrap();
    maker.body("session start", &good);
    maker.edits(&good, &[("a pid of 2^32", &[6], int(1 << 32)), ("an enc of 31 bytes", &[8], bytes(&[5; 31]))]);
    let pins = vec![PackId([1; 32]), PackId([2; 32])];
    let mut record = session::Acknowledgement { session: SessionId([6; 16]), number: 2, observed: 7, pins, extra: vec![] };
    let good = record.encode().unwrap();
    maker.body("acknowledgement", &good);
    let pack = |byte| bytes(&[byte; 32]);
    record.set_seen(&[ObjectHash([8; 32]), ObjectHash([9; 32])]);
    maker.good("acknowledgement", "two condemn records seen by their hash", &record.encode().unwrap());
    let seen = |value: &[u8]| array([Value::Array(vec![int(1), Value::Bool(false), bytes(value)])]);
    maker.edits(
        &good,
        &[
            ("seen condemn records of no length", &[4], seen(&[])),
            ("a seen condemn record cut off", &[4], seen(&[8; 33])),
            ("seen condemn records out of order", &[4], seen(&[[9; 32], [8; 32]].concat())),
            ("a seen condemn record twice", &[4], seen(&[8; 64])),
        ],
    );
    maker.edits(&good, &[("pins out of order", &[3], array([pack(2), pack(1)])), ("a pin twice", &[3], array([pack(1), pack(1)]))]);
    maker.body("closed", &session::Closed { session: SessionId([6; 16]), extra: vec![] }.encode().unwrap());
}

fn records(maker: &mut Maker) {
    let pack = |byte| bytes(&[byte; 32]);
    let condemn = gc::Condemn {
        number: 3,
        time: TIME,
        packs: vec![PackId([1; 32]), PackId([2; 32])],
        written: vec![PackId([3; 32])],
        snapshots: vec![(SnapshotId([1; 16]), ObjectHash([9; 32]))],
        extra: vec![],
    };
    let good = condemn.encode().unwrap();
    maker.body("condemn", &good);
    let seen = array([bytes(&[1; 16]), pack(9)]);
    maker.edits(
        &good,
        &[
            ("number 0", &[0], int(0)),
            ("packs out of order", &[2], array([pack(2), pack(1)])),
            ("a written pack twice", &[3], array([pack(3), pack(3)])),
            ("a snapshot twice", &[4], array([seen.clone(), seen])),
        ],
    );
    let verdict = gc::Verdict {
        number: 3,
        time: TIME,
        condemn: ObjectHash([4; 32]),
        delete: vec![PackId([1; 32])],
        pardon: vec![(PackId([2; 32]), gc::reason::PINNED)],
        extra: vec![],
    };
    let good = verdict.encode().unwrap();
    maker.body("verdict", &good);
    maker.edits(
        &good,
        &[
            ("number 0", &[0], int(0)),
            ("a pack deleted twice", &[3], array([pack(1), pack(1)])),
            ("a pack deleted and pardoned", &[3], array([pack(2)])),
        ],
    );
    let hash = ObjectHash([2; 32]);
    let forgotten =
        forgotten::Forgotten { snapshot: SnapshotId([1; 16]), hash, time: TIME, reason: "keep-daily 7".into(), extra: vec![] };
    maker.body("forgotten", &forgotten.encode().unwrap());
}

fn notes(maker: &mut Maker) {
    use note::{Keep, Value as Says, VerifiedHow};
    let values = [
        Says::FirstSeen,
        Says::Tag { tag: "gold".into(), present: true },
        Says::Comment("before the upgrade".into()),
        Says::Keep(Keep::Until(TIME)),
        Says::Verified { how: VerifiedHow::Content, bytes: 1 << 40, findings: 0 },
        Says::Drilled { what: "postgresql".into(), good: true, result: "12 tables".into() },
        Says::Listed { generation: 2 },
        Says::Later { kind: 200, value: vec![0x80] },
    ];
    let entry = |value| note::Entry { snapshot: SnapshotId([1; 16]), number: 1, time: TIME, value };
    let good = note::Note { entries: values.into_iter().map(entry).collect(), extra: vec![] }.encode().unwrap();
    maker.body("note", &good);
    maker.edits(
        &good,
        &[
            ("kind 0", &[0, 0, 1], int(0)),
            ("kind 256", &[0, 7, 1], int(256)),
            ("first seen with a value", &[0, 0, 4], bytes(&[0x81, 0])),
            ("a tag without its bool", &[0, 1, 4], bytes(&[0x81, 0x61, b'a'])),
            ("keep for ever with a time", &[0, 3, 4], bytes(&[0x82, 1, 0x82, 0, 0])),
            ("keep until no time", &[0, 3, 4], bytes(&[0x82, 2, 0xf6])),
            ("verified 3", &[0, 4, 4], bytes(&[0x83, 3, 0, 0])),
            ("a value not in its shortest form", &[0, 6, 4], bytes(&[0x81, 0x18, 2])),
            ("a value with a byte behind it", &[0, 6, 4], bytes(&[0x81, 2, 0])),
        ],
    );
    let pack = |first: u8| [first, 0, 0, 0, 0, 0, 0, 9];
    let good = proof::Proof {
        number: 3,
        time: TIME,
        complete: true,
        repairable: 1,
        data_affected: 2,
        good: vec![pack(1), pack(4)],
        mendable: vec![pack(2)],
        lost: vec![pack(3)],
    };
    let bytes = good.encode();
    maker.good("proof of reading", "good", &bytes);
    maker.good("proof of reading", "nothing read", &proof::Proof::default().encode());
    maker.bad("empty", &[]);
    maker.bad("the last byte missing", &bytes[..bytes.len() - 1]);
    maker.bad("a byte behind the end", &[&bytes[..], &[0]].concat());
    maker.bad("complete 2", &with_byte(&bytes, 20, 2));
    maker.bad("a second of nanoseconds", &with_u32(&bytes, 16, 1_000_000_000));
    maker.bad("4294967295 good packs", &with_u32(&bytes, 37, u32::MAX));
    maker.bad("packs out of order", &proof::Proof { good: vec![pack(4), pack(1)], ..good.clone() }.encode());
    maker.bad("a pack twice", &proof::Proof { lost: vec![pack(4), pack(4)], ..good }.encode());
}
