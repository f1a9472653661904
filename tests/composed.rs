//! Composed chunks as no writer of ours makes them: repositories made by hand, restored, damaged, verified, written to again.

#![allow(clippy::unwrap_used, reason = "also what helps a test may unwrap")]

mod small;

use std::sync::Arc;

use esker::copy::{self, CopyOptions, Original};
use esker::crypto::{ChunkType, Passphrase};
use esker::format::index::{self, IndexFile};
use esker::format::names;
use esker::format::pack::recipe::{self, Recipe, RecipeRange};
use esker::format::pack::{self, Class, Codec, Encoding, PackFacts, PreparedChunk, PreparedFrame};
use esker::format::tree::{Content, Item, NodeKind};
use esker::id::{ChunkId, PackId, SessionId, SnapshotId};
use esker::monitor::Stop;
use esker::records::notes::SnapshotNotes;
use esker::repair::other;
use esker::repository::writer::{Named, Writer, WriterOptions};
use esker::repository::{Reader, Repository, RepositoryError};
use esker::store::{MemoryStore, Store};
use esker::verify::{FindingKind, ReadData};
use small::{chunk_id, noise};

/// Bytes taken from a base: (which of the listed bases, from, how many).
type Taken = (usize, usize, usize);

struct Made {
    store: Arc<MemoryStore>,
    repository: Arc<Repository>,
    line: String,
}

impl Made {
    fn new() -> Self {
        let store = Arc::new(MemoryStore::new());
        let (repository, line) = small::init(store.clone());
        Self { store, repository, line }
    }

    /// Seals, puts and indexes a pack.
    fn put(&self, class: Class, frame: PreparedFrame) -> PackFacts {
        let sealed = pack::seal_pack(self.repository.objects().sealer(), class, vec![frame]).unwrap();
        let parts: Vec<&[u8]> = sealed.parts.iter().map(Vec::as_slice).collect();
        self.store.create(&names::pack_name(sealed.facts.id), &parts).unwrap();
        let file = IndexFile { replaces: Vec::new(), packs: vec![sealed.facts.clone()] };
        let (id, bytes) = index::seal(self.repository.objects().sealer(), &file).unwrap();
        self.store.create(&names::index_name(id), &[&bytes]).unwrap();
        sealed.facts
    }

    /// A pack of literal chunks.
    fn literal(&self, chunks: &[&[u8]]) -> PackId {
        let mut frame = PreparedFrame { codec: Codec::Raw, raw_length: 0, bytes: Vec::new(), chunks: Vec::new() };
        for chunk in chunks {
            let encoding = Encoding::Literal { offset: frame.bytes.len() as u32, length: chunk.len() as u32 };
            frame.chunks.push(PreparedChunk { id: chunk_id(&self.repository, chunk), chunk_type: ChunkType::Data, encoding });
            frame.bytes.extend_from_slice(chunk);
        }
        frame.raw_length = frame.bytes.len() as u32;
        self.put(Class::Data, frame).id
    }

    /// A pack with one composed chunk named `id`, `raw_length` bytes long.
    fn composed(&self, id: ChunkId, raw_length: usize, bases: &[&[u8]], taken: &[Taken]) -> PackId {
        let ranges = taken
            .iter()
            .map(|&(base, offset, length)| RecipeRange { base: base as u8, offset: offset as u32, length: length as u32 })
            .collect();
        let bytes = recipe::encode(&Recipe { ranges });
        let encoding = Encoding::Composed {
            offset: 0,
            length: bytes.len() as u32,
            raw_length: raw_length as u32,
            bases: bases.iter().map(|base| chunk_id(&self.repository, base)).collect(),
        };
        let chunks = vec![PreparedChunk { id, chunk_type: ChunkType::Data, encoding }];
        self.put(Class::Metadata, PreparedFrame { codec: Codec::Raw, raw_length: bytes.len() as u32, bytes, chunks }).id
    }

    /// A snapshot of one file `data/stream` made of these chunks.
    fn commit(&self, chunks: &[(ChunkId, usize)]) -> SnapshotId {
        let mut writer = small::writer(&self.repository);
        let size = chunks.iter().map(|(_, length)| *length as u64).sum();
        let items = chunks.iter().map(|&(id, length)| Item::Chunk { id, length: length as u64 }).collect();
        let node = small::node("stream", NodeKind::File, size, Content { level: 0, items });
        let content = small::store_folder(&mut writer, vec![node]);
        small::commit_source(writer, content, None)
    }

    fn delete(&self, pack: PackId) {
        self.store.delete(&names::pack_name(pack)).unwrap();
    }

    fn restore(&self) -> Result<Vec<u8>, RepositoryError> {
        let repository = small::open(self.store.clone(), &self.line).unwrap();
        let reader = Reader::new(&repository, &esker::monitor::Quiet)?;
        let list = repository.snapshots()?;
        let mut files = small::restore(&reader, &list.snapshots[0].snapshot.root)?;
        Ok(files.remove("stream").unwrap())
    }

    fn findings(&self, read_data: ReadData) -> Vec<(FindingKind, String, bool)> {
        let repository = small::open(self.store.clone(), &self.line).unwrap();
        let (findings, _) = small::check(&repository, read_data);
        findings.into_iter().map(|finding| (finding.kind, finding.object, finding.data_affected)).collect()
    }

    /// Would a writer use what is there, rather than store it again?
    fn is_known(&self, bytes: &[u8]) -> bool {
        let options = WriterOptions { dry_run: true };
        let mut writer = Writer::begin(&self.repository, options, &small::quiet(), &Stop::new()).unwrap();
        let named = Named { chunk_type: ChunkType::Data, id: chunk_id(&self.repository, bytes), bytes };
        let placed = writer.place(&[named]).unwrap();
        !placed[0].new
    }
}

/// What the recipe of these tests gives: the middle of one base between two pieces of another.
const TAKEN: [Taken; 3] = [(0, 1_000, 2_000), (1, 500, 700), (0, 3_500, 400)];

fn bases() -> [Vec<u8>; 2] {
    [noise(1, 4_000), noise(2, 1_500)]
}

fn result(bases: &[Vec<u8>], taken: &[Taken]) -> Vec<u8> {
    taken.iter().flat_map(|&(base, offset, length)| bases[base][offset..offset + length].to_vec()).collect()
}

/// Two bases in packs of their own, a chunk composed from both, a snapshot of it.
fn made() -> (Made, Vec<u8>, [PackId; 2], PackId) {
    let made = Made::new();
    let bases = bases();
    let packs = [made.literal(&[&bases[0]]), made.literal(&[&bases[1]])];
    let bytes = result(&bases, &TAKEN);
    let id = chunk_id(&made.repository, &bytes);
    let composed = made.composed(id, bytes.len(), &[&bases[0], &bases[1]], &TAKEN);
    made.commit(&[(id, bytes.len())]);
    (made, bytes, packs, composed)
}

fn pack(id: PackId) -> String {
    names::pack_name(id).to_string()
}

#[test]
fn a_composed_chunk_restores_from_bases_in_other_packs() {
    let (made, bytes, ..) = made();
    assert_eq!(made.restore().unwrap(), bytes);
    assert_eq!(made.findings(ReadData::All), []);
    assert!(made.is_known(&bytes));
}

#[test]
fn a_composed_chunk_restores_without_any_index_file() {
    let (made, bytes, ..) = made();
    for name in small::names(&made.store).into_iter().filter(|name| name.as_str().starts_with("index/")) {
        made.store.delete(&name).unwrap();
    }
    assert_eq!(made.restore().unwrap(), bytes);
    assert!(made.findings(ReadData::All).iter().all(|(kind, _, lost)| *kind == FindingKind::IndexMissing && !lost));
}

#[test]
fn a_base_whose_pack_is_gone_is_named_and_nothing_is_restored_wrong() {
    let (made, bytes, packs, _) = made();
    made.delete(packs[1]);
    assert!(made.restore().is_err());
    for read_data in [ReadData::Nothing, ReadData::All] {
        assert_eq!(made.findings(read_data), [(FindingKind::PackMissing, pack(packs[1]), true)]);
    }
    assert!(!made.is_known(&bytes), "a writer must store again what it cannot compose");
}

#[test]
fn a_base_that_stands_nowhere_is_named() {
    let made = Made::new();
    let bases = bases();
    made.literal(&[&bases[0]]);
    let bytes = result(&bases, &TAKEN);
    let id = chunk_id(&made.repository, &bytes);
    let composed = made.composed(id, bytes.len(), &[&bases[0], &bases[1]], &TAKEN);
    made.commit(&[(id, bytes.len())]);
    let error = made.restore().unwrap_err().to_string();
    assert!(error.contains(&chunk_id(&made.repository, &bases[1]).to_string()) || error.contains(&id.to_string()), "{error}");
    assert_eq!(made.findings(ReadData::All), [(FindingKind::BaseMissing, pack(composed), true)]);
    assert!(!made.is_known(&bytes));
}

#[test]
fn a_composed_chunk_is_no_base() {
    let (made, middle, ..) = made();
    // `middle` can be had, but only composed; what is composed from it cannot.
    let taken = [(0, 100, 1_000)];
    let bytes = result(std::slice::from_ref(&middle), &taken);
    let id = chunk_id(&made.repository, &bytes);
    let composed = made.composed(id, bytes.len(), &[&middle], &taken);
    let ids = [(chunk_id(&made.repository, &middle), middle.len()), (id, bytes.len())];
    made.commit(&ids);
    let findings = made.findings(ReadData::All);
    assert_eq!(findings, [(FindingKind::BaseMissing, pack(composed), true)]);
    assert!(made.is_known(&middle) && !made.is_known(&bytes));
    let reader = Reader::new(&made.repository, &esker::monitor::Quiet).unwrap();
    assert_eq!(reader.read_chunk(ChunkType::Data, &ids[0].0).unwrap(), middle);
    assert!(reader.read_chunk(ChunkType::Data, &id).is_err());
}

#[test]
fn a_literal_copy_saves_a_chunk_whose_composed_copy_lost_its_base() {
    let (made, bytes, packs, _) = made();
    made.literal(&[&bytes]);
    made.delete(packs[0]);
    assert_eq!(made.restore().unwrap(), bytes);
    assert_eq!(made.findings(ReadData::All), []);
    assert!(made.is_known(&bytes));
}

#[test]
fn a_composed_copy_saves_a_chunk_whose_literal_copy_is_damaged() {
    let (made, bytes, ..) = made();
    let literal = made.literal(&[&bytes]);
    let name = names::pack_name(literal);
    let mut file = made.store.get(&name, u64::MAX).unwrap();
    // Well inside the frame: 3,100 bytes of noise, sealed right behind head and directory.
    let facts = pack_facts(&made, literal);
    file[facts.directory.frames[0].offset as usize + 1_000] ^= 1;
    made.store.replace(&name, &[&file]).unwrap();
    assert_eq!(made.restore().unwrap(), bytes);
    assert_eq!(made.findings(ReadData::All), [(FindingKind::FrameDamaged, pack(literal), false)]);
}

fn pack_facts(made: &Made, id: PackId) -> PackFacts {
    let size = made.store.size(&names::pack_name(id)).unwrap();
    made.repository.own_facts(&id, size).unwrap()
}

#[test]
fn a_recipe_that_gives_other_bytes_is_found_and_never_restored() {
    let made = Made::new();
    let bases = bases();
    made.literal(&[&bases[0], &bases[1]]);
    let bytes = result(&bases, &TAKEN);
    let id = chunk_id(&made.repository, &bytes);
    let mut wrong = TAKEN;
    wrong[1].1 += 1;
    let composed = made.composed(id, bytes.len(), &[&bases[0], &bases[1]], &wrong);
    made.commit(&[(id, bytes.len())]);
    assert!(matches!(made.restore(), Err(RepositoryError::ChunkDamaged { .. })));
    assert_eq!(made.findings(ReadData::All), [(FindingKind::ChunkDamaged, pack(composed), true)]);
}

#[test]
fn a_recipe_that_breaks_a_rule_is_found_and_never_restored() {
    let bases = bases();
    let bytes = result(&bases, &TAKEN);
    let beyond = [(0, 3_000, 2_000), (1, 500, 700), (0, 3_500, 400)];
    let short = [(0, 1_000, 2_000), (1, 500, 700)];
    let unused = [(0, 0, 3_100)];
    for wrong in [&beyond[..], &short, &unused] {
        let made = Made::new();
        made.literal(&[&bases[0], &bases[1]]);
        let id = chunk_id(&made.repository, &bytes);
        let composed = made.composed(id, bytes.len(), &[&bases[0], &bases[1]], wrong);
        made.commit(&[(id, bytes.len())]);
        assert!(made.restore().is_err(), "{wrong:?}");
        assert_eq!(made.findings(ReadData::All), [(FindingKind::ChunkDamaged, pack(composed), true)], "{wrong:?}");
    }
}

#[test]
fn a_writer_stores_again_what_lost_its_base_and_then_it_restores() {
    let (made, bytes, packs, _) = made();
    made.delete(packs[0]);
    assert!(made.restore().is_err());
    let mut writer = small::writer(&made.repository);
    let id = chunk_id(&made.repository, &bytes);
    let placed = writer.place(&[Named { chunk_type: ChunkType::Data, id, bytes: &bytes }]).unwrap();
    assert!(placed[0].new);
    let node = small::node(
        "other",
        NodeKind::File,
        bytes.len() as u64,
        Content { level: 0, items: vec![Item::Chunk { id, length: bytes.len() as u64 }] },
    );
    let content = small::store_folder(&mut writer, vec![node]);
    small::commit_source(writer, content, None);
    assert_eq!(made.findings(ReadData::All), [], "the new copy heals the old snapshot too");
    let repository = small::open(made.store.clone(), &made.line).unwrap();
    let reader = Reader::new(&repository, &esker::monitor::Quiet).unwrap();
    for stored in repository.snapshots().unwrap().snapshots {
        let files = small::restore(&reader, &stored.snapshot.root).unwrap();
        assert!(files.into_values().all(|file| file == bytes));
    }
}

#[test]
fn a_session_that_uses_a_composed_chunk_pins_its_bases_too() {
    let (made, bytes, packs, composed) = made();
    let mut writer = small::writer(&made.repository);
    let session = SessionId(writer.snapshot_id().unwrap().0);
    let id = chunk_id(&made.repository, &bytes);
    assert!(!writer.place(&[Named { chunk_type: ChunkType::Data, id, bytes: &bytes }]).unwrap()[0].new);
    let mut all = vec![packs[0], packs[1], composed];
    all.sort_unstable();
    small::condemn(&made.repository, 1, all.clone());
    let content = small::store_folder(&mut writer, Vec::new());
    small::commit_source(writer, content, None);
    let owner = small::open(made.store.clone(), &made.line).unwrap();
    let (number, pins) = small::acknowledged(&owner, session);
    assert_eq!((number, pins.into_iter().collect::<Vec<_>>()), (1, all));
}

/// Prunes with everything that may go going.
fn prune(made: &Made) -> esker::prune::PruneSummary {
    let options = esker::prune::PruneOptions {
        max_unused: esker::prune::MaxUnused::Bytes(0),
        force: true,
        ..esker::prune::PruneOptions::default()
    };
    esker::prune::run(&made.repository, &options, &small::quiet(), &Stop::new()).unwrap()
}

#[test]
fn a_prune_keeps_the_bases_of_what_is_needed() {
    let (made, bytes, packs, composed) = made();
    prune(&made);
    for id in packs.into_iter().chain([composed]) {
        assert!(made.store.size(&names::pack_name(id)).is_ok());
    }
    assert_eq!(made.restore().unwrap(), bytes);
}

#[test]
fn a_condemned_base_is_pardoned_unless_the_chunk_has_another_copy() {
    for (other_copy, condemned) in [(false, 0), (false, 1), (false, 2), (true, 0), (true, 1), (true, 2)] {
        let (made, bytes, packs, composed) = made();
        if other_copy {
            made.literal(&[&bytes]);
        }
        let victim = [packs[0], packs[1], composed][condemned];
        let record = esker::format::gc::Condemn {
            number: 1,
            time: made.repository.clock().now(),
            packs: vec![victim],
            written: Vec::new(),
            snapshots: Vec::new(),
            extra: Vec::new(),
        };
        let sealed = esker::format::gc::seal_condemn(made.repository.objects().sealer(), &record).unwrap();
        made.store.create(&names::ObjectName::GcCondemn(1).name(), &[&sealed]).unwrap();
        let options = esker::prune::PruneOptions::default();
        let mut pruner = esker::prune::Pruner::begin(&made.repository, options, &small::quiet(), &Stop::new()).unwrap();
        assert!(!pruner.sweep().unwrap());
        assert_eq!(pruner.summary().packs_deleted, u64::from(other_copy), "other copy {other_copy}, condemned {condemned}");
        assert_eq!(made.restore().unwrap(), bytes);
    }
}

#[test]
fn bases_in_one_pack_with_what_nobody_needs_are_repacked_with_it() {
    let made = Made::new();
    let [one, two] = bases();
    let waste = noise(7, 900_000);
    made.literal(&[&one, &two, &waste]);
    let bytes = result(&[one.clone(), two.clone()], &TAKEN);
    let id = chunk_id(&made.repository, &bytes);
    made.composed(id, bytes.len(), &[&one, &two], &TAKEN);
    made.commit(&[(id, bytes.len())]);
    let summary = prune(&made);
    assert!(summary.packs_repacked == 1 && summary.packs_deleted == 1, "{summary:?}");
    assert_eq!(made.restore().unwrap(), bytes);
    assert!(made.findings(ReadData::All).iter().all(|(_, _, lost)| !lost));
}

#[test]
fn a_composed_chunk_is_copied_and_found_by_another_repository_as_the_bytes_it_stands_for() {
    let made = Made::new();
    let (a, b) = (noise(1, 40_000), noise(2, 40_000));
    made.literal(&[&a, &b]);
    let bytes = [&a[..10_000], &b[20_000..30_000]].concat();
    let id = chunk_id(&made.repository, &bytes);
    made.composed(id, bytes.len(), &[&a, &b], &[(0, 0, 10_000), (1, 20_000, 10_000)]);
    made.commit(&[(id, bytes.len())]);
    let store = Arc::new(MemoryStore::new());
    let password = Passphrase::new("another".to_owned());
    let to = Arc::new(Repository::init(small::environment(store, 77), &password, &small::cheapest()).unwrap().repository);
    let stored = made.repository.snapshots().unwrap().snapshots.remove(0);
    let originals = [Original { stored, notes: SnapshotNotes::default(), is_believed: true }];
    let options = CopyOptions::default();
    let summary = copy::run(&made.repository, &to, &originals, options, &small::quiet(), &Stop::new(), &mut |_| {}).unwrap();
    assert_eq!((summary.totals.data_chunks_new, summary.bytes_read), (1, 20_000), "its bases stay where they are");
    let reader = Reader::new(&to, &esker::monitor::Quiet).unwrap();
    let copied = to.snapshots().unwrap().snapshots.remove(0);
    assert!(small::restore(&reader, &copied.snapshot.root).unwrap()["stream"] == bytes);
    // Lost there, it comes back from here.
    let mut packs = Vec::new();
    to.objects().store().list(names::PACKS, &mut |entry| packs.extend(names::parse_pack(&entry.name))).unwrap();
    packs.iter().for_each(|&pack| to.objects().store().delete(&names::pack_name(pack)).unwrap());
    let others = [Arc::clone(&made.repository)];
    let found = other::run(&to, &others, &packs, false, &small::quiet(), &Stop::new()).unwrap();
    assert_eq!((found.lost, found.found), (1, 1));
}
