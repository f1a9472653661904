//! A stream that changed a little costs a little: its chunks are composed of ranges of earlier ones. Whatever becomes of what a machine
//! remembers, and of the chunks that others are made of, every snapshot comes back.

#![allow(clippy::unwrap_used, reason = "also what helps a test may unwrap")]

mod common;
mod small;

use std::io::Read;
use std::sync::Arc;

use common::repository::{Place, directory};
use esker::crypto::ChunkType;
use esker::id::{PackId, SessionId, SnapshotId};
use esker::monitor::{Monitor, Quiet, Stop};
use esker::prune::{self, MaxUnused, PruneOptions};
use esker::repository::writer::{Named, Of, PiecesOf, Writer, WriterOptions};
use esker::repository::{Reader, Repository};
use esker::snapshot::{self, SnapshotOptions, SnapshotSummary};
use esker::source::{RunningStream, Source, SourceError, SourceKind, StreamEnd, StreamSource};
use esker::verify::{self, ReadData, VerifyOptions};

/// A stream of these bytes.
struct Bytes(Vec<u8>);

struct Running(std::io::Cursor<Vec<u8>>);

impl Read for Running {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer)
    }
}

impl RunningStream for Running {
    fn finish(self: Box<Self>) -> Result<StreamEnd, SourceError> {
        Ok(StreamEnd::Ok)
    }
    fn abort(self: Box<Self>) {}
}

impl StreamSource for Bytes {
    fn name(&self) -> &'static str {
        "dump"
    }
    fn kind(&self) -> SourceKind {
        SourceKind::Command
    }
    fn optional(&self) -> bool {
        false
    }
    fn prepare(&mut self, _: &Stop) -> Result<Vec<String>, SourceError> {
        Ok(vec![String::new()])
    }
    fn open(&mut self, _: usize) -> Result<Box<dyn RunningStream>, SourceError> {
        Ok(Box::new(Running(std::io::Cursor::new(self.0.clone()))))
    }
    fn facts(&self) -> Vec<(String, String)> {
        Vec::new()
    }
    fn remarks(&self) -> Vec<String> {
        Vec::new()
    }
}

/// A dump of so many rows; those that `changed` names have another text.
fn dump(rows: usize, changed: &[usize]) -> Vec<u8> {
    let mut dump = Vec::new();
    for row in 0..rows {
        let day = changed.iter().filter(|&&one| one == row).count();
        let mut word = [0; 24];
        blake3::Hasher::new().update(&row.to_le_bytes()).update(&day.to_le_bytes()).finalize_xof().fill(&mut word);
        dump.extend_from_slice(format!("{row}\t{}\tsome text that every row of this table has\n", hex(&word)).as_bytes());
    }
    dump
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Ten rows of every thousand changed on each of these days.
fn day(day: usize) -> Vec<u8> {
    let changed: Vec<usize> = (1..=day).flat_map(|day| (0..40).map(move |n| n * 1_000 + day * 37)).collect();
    dump(40_000, &changed)
}

struct Case(Place);

impl Case {
    fn take(&self, bytes: Vec<u8>) -> SnapshotSummary {
        self.take_with(&self.0.open(), bytes, false)
    }

    fn take_with(&self, repository: &Arc<Repository>, bytes: Vec<u8>, no_compose: bool) -> SnapshotSummary {
        let options = SnapshotOptions { host: "host".into(), program: "test".into(), no_compose, ..Default::default() };
        let monitor: Arc<dyn Monitor> = Arc::new(Quiet);
        snapshot::run(repository, vec![Source::Stream(Box::new(Bytes(bytes)))], &options, &monitor, &Stop::new()).unwrap()
    }

    fn bytes(&self, id: SnapshotId) -> Vec<u8> {
        let repository = self.0.open();
        let stored = repository.snapshot(&id).unwrap().unwrap();
        let reader = Reader::new(&repository, &Quiet).unwrap();
        let node = reader.resolve(&stored.snapshot.root, b"dump", "test").unwrap().unwrap();
        self.0.bytes(&reader, &node)
    }

    fn forget(&self, id: SnapshotId) {
        let repository = self.0.open();
        repository.forget(id, repository.snapshot_hash(&id).unwrap(), "test").unwrap();
    }

    fn prune(&self, max_unused: MaxUnused) {
        let options = PruneOptions { max_unused, force: true, ..PruneOptions::default() };
        let monitor: Arc<dyn Monitor> = Arc::new(Quiet);
        prune::run(&self.0.open(), &options, &monitor, &Stop::new()).unwrap();
    }

    fn verify(&self) {
        let options = VerifyOptions { read_data: ReadData::All, ..VerifyOptions::default() };
        let mut findings = Vec::new();
        let monitor: Arc<dyn Monitor> = Arc::new(Quiet);
        verify::run(&self.0.open(), &options, &monitor, &Stop::new(), &mut |finding| findings.push(finding.clone())).unwrap();
        assert!(findings.is_empty(), "{findings:?}");
    }
}

#[test]
fn a_few_changed_rows_of_a_dump_store_little_more_than_themselves() {
    let case = Case(Place::new());
    let first = case.take(day(0));
    assert_eq!(first.totals.chunks_composed, 0);
    let mut taken = vec![first.id.unwrap()];
    for n in 1..=4 {
        let next = case.take(day(n));
        let rows = 40 * 100;
        assert!(next.totals.chunks_composed > 10, "{:?}", next.totals);
        assert!(next.totals.bytes_added < rows * 12, "day {n}: {:?}", next.totals);
        taken.push(next.id.unwrap());
    }
    // The same once more: nothing is new, and nothing is composed again.
    let again = case.take(day(4));
    assert_eq!((again.totals.data_chunks_new, again.totals.chunks_composed), (0, 0));
    for (n, id) in taken.into_iter().enumerate() {
        assert_eq!(case.bytes(id), day(n), "day {n}");
    }
    case.verify();
}

#[test]
fn a_host_that_cannot_read_composes_as_well() {
    let case = Case(Place::new());
    let writer = case.0.open_with_writer_key();
    case.take_with(&writer, day(0), false);
    let next = case.take_with(&writer, day(1), false);
    assert!(next.totals.chunks_composed > 10, "{:?}", next.totals);
    assert_eq!(case.bytes(next.id.unwrap()), day(1));
    case.verify();
}

#[test]
fn without_composing_changed_chunks_are_stored_whole() {
    let case = Case(Place::new());
    case.take(day(0));
    let repository = case.0.open();
    let next = case.take_with(&repository, day(1), true);
    assert_eq!(next.totals.chunks_composed, 0);
    assert!(next.totals.bytes_added > 1_000_000, "{:?}", next.totals);
    // What was stored whole serves the next day.
    let last = case.take(day(2));
    assert!(last.totals.chunks_composed > 10 && last.totals.bytes_added < 50_000, "{:?}", last.totals);
    assert_eq!(case.bytes(last.id.unwrap()), day(2));
}

#[test]
fn a_lost_cache_costs_the_bytes_and_nothing_else() {
    let mut case = Case(Place::new());
    case.take(day(0));
    case.0.drop_cache();
    let next = case.take(day(1));
    assert_eq!(next.totals.chunks_composed, 0);
    assert_eq!(case.bytes(next.id.unwrap()), day(1));
    let last = case.take(day(2));
    assert!(last.totals.chunks_composed > 10, "what the second run learnt serves the third: {:?}", last.totals);
    assert_eq!(case.bytes(last.id.unwrap()), day(2));
}

#[test]
fn what_others_are_made_of_stays_until_nothing_needs_it() {
    for max_unused in [MaxUnused::Unlimited, MaxUnused::Bytes(0)] {
        let case = Case(Place::new());
        let mut kept = case.take(day(0)).id.unwrap();
        for n in 1..=4 {
            let next = case.take(day(n)).id.unwrap();
            case.forget(kept);
            case.prune(max_unused);
            assert_eq!(case.bytes(next), day(n), "day {n}");
            case.verify();
            kept = next;
        }
    }
}

#[test]
fn a_chunk_that_a_prune_made_away_with_is_no_base() {
    let case = Case(Place::new());
    let old = case.take(day(0)).id.unwrap();
    // Another stream takes its place, so that nothing needs the chunks that the table of pieces tells of.
    let repository = case.0.open();
    let monitor: Arc<dyn Monitor> = Arc::new(Quiet);
    let other = SnapshotOptions { host: "other".into(), program: "test".into(), ..Default::default() };
    let sources = vec![Source::Stream(Box::new(Bytes(b"something else".to_vec())))];
    snapshot::run(&repository, sources, &other, &monitor, &Stop::new()).unwrap();
    case.forget(old);
    case.prune(MaxUnused::Bytes(0));
    let next = case.take(day(1));
    assert_eq!(next.totals.chunks_composed, 0, "{:?}", next.totals);
    assert_eq!(case.bytes(next.id.unwrap()), day(1));
    case.verify();
}

#[test]
fn a_dry_run_says_what_would_be_composed_and_remembers_nothing() {
    let case = Case(Place::new());
    case.take(day(0));
    let options = SnapshotOptions { host: "host".into(), program: "test".into(), dry_run: true, ..Default::default() };
    let monitor: Arc<dyn Monitor> = Arc::new(Quiet);
    let mut told = Vec::new();
    for _ in 0..2 {
        let sources = vec![Source::Stream(Box::new(Bytes(day(1))))];
        let summary = snapshot::run(&case.0.open(), sources, &options, &monitor, &Stop::new()).unwrap();
        told.push((summary.totals.chunks_composed, summary.totals.bytes_added));
    }
    assert!(told[0].0 > 10 && told[0].1 < 50_000, "{told:?}");
    assert_eq!(told[0], told[1]);
}

#[test]
fn files_that_changed_a_little_cost_a_little_and_are_not_read_again() {
    let place = Place::new();
    let text = |day: usize, file: usize| {
        let line = |n: usize| {
            let mut word = [0; 12];
            blake3::Hasher::new().update(&(n * 1_000 + file).to_le_bytes()).finalize_xof().fill(&mut word);
            format!("    \"key {n}\": {{\"value\": \"{}\", \"day\": {}}},\n", hex(&word), if n % 97 == file % 97 { day } else { 0 })
        };
        (0..600).map(line).collect::<String>()
    };
    let write = |day: usize| (0..40).for_each(|n| place.write(&format!("folder/file{n}.json"), text(day, n).as_bytes()));
    write(0);
    place.settle();
    let first = place.snapshot(vec![directory("files", place.source())]);
    assert_eq!(first.totals.chunks_composed, 0);
    for day in 1..=3 {
        write(day);
        place.settle();
        let next = place.snapshot(vec![directory("files", place.source())]);
        assert_eq!(next.totals.chunks_composed, 40, "day {day}");
        assert!(next.totals.bytes_added < first.totals.bytes_added / 20, "day {day}: {:?} {:?}", first.totals, next.totals);
        let repository = place.open();
        let record = repository.open_catalog().unwrap().folder_record("host", "files", b"folder").unwrap().unwrap().concat();
        assert!(!record.windows(9).any(|bytes| bytes == [0xff; 9]), "a file is to be read again");
        let same = place.snapshot(vec![directory("files", place.source())]);
        assert_eq!((same.totals.data_chunks_new, same.counts.files_unmodified), (0, 40));
        let reader = Reader::new(&repository, &Quiet).unwrap();
        let stored = repository.find_snapshot("latest", &|_| true).unwrap();
        for file in 0..40 {
            let path = format!("files/folder/file{file}.json");
            let node = reader.resolve(&stored.snapshot.root, path.as_bytes(), "latest").unwrap().unwrap();
            assert_eq!(place.bytes(&reader, &node), text(day, file).as_bytes());
        }
    }
}

#[test]
fn a_session_pins_the_packs_of_the_bases_that_it_composes_from() {
    let case = Case(Place::new());
    case.take(day(0));
    let mut packs = Vec::new();
    case.0.store().list("packs", &mut |entry| packs.push((entry.size, entry.name))).unwrap();
    let (_, largest) = packs.into_iter().max().unwrap();
    let base = PackId(unhex(largest.as_str().rsplit('/').next().unwrap()));
    let repository = case.0.open();
    let mut writer = Writer::begin(&repository, WriterOptions::default(), &small::quiet(), &Stop::new()).unwrap();
    let session = SessionId(writer.snapshot_id().unwrap().0);
    let of = PiecesOf { of: Of::Stream, host: "host", source: "dump", stream: "", compose: true };
    let cutter = writer.begin_pieces(of).unwrap();
    writer.load_pieces().unwrap();
    let bytes = &day(1)[..60_000];
    let id = small::chunk_id(&repository, bytes);
    let pieces = [cutter.cut(&id, bytes)];
    assert!(writer.place_cut(&[Named { chunk_type: ChunkType::Data, id, bytes }], &pieces).unwrap()[0].new);
    assert_eq!(writer.totals().chunks_composed, 1);
    writer.end_pieces().unwrap();
    small::condemn(&repository, 1, vec![base]);
    let content = small::store_folder(&mut writer, Vec::new());
    small::commit_source(writer, content, None);
    let (number, pins) = small::acknowledged(&case.0.open(), session);
    assert_eq!((number, pins.into_iter().collect::<Vec<_>>()), (1, vec![base]));
}

fn unhex(text: &str) -> [u8; 32] {
    std::array::from_fn(|n| u8::from_str_radix(&text[2 * n..2 * n + 2], 16).unwrap())
}
