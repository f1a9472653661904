//! How fast each stage of a backup is, on one core: cut, name, compress, look up, seal, open, put. `cargo bench` runs them all in under
//! two minutes; `cargo bench -- compress` one.
//!
//! The bytes are rows of text that compress about as well as a database dump does (3 to 5 times).

#![allow(clippy::unwrap_used, reason = "a bench that cannot run should stop")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use esker::cache::{Cache, ChunkKey, NewPack, PackRow, PackedChunk};
use esker::chunker::{Chunker, Sizes};
use esker::clock::SystemRng;
use esker::compress::{Compressor, Decompressor};
use esker::crypto::{ChunkType, Keys, RootKey};
use esker::format::pack::{self, Class, Codec, Encoding, PreparedChunk, PreparedFrame};
use esker::format::{Opener, Sealer, parity};
use esker::id::{ChunkId, PackId, RepositoryId};
use esker::store::{LocalStore, Name, Store};

const FRAME: usize = 1 << 20;
const PACK: usize = 16 << 20;

/// Rows of a dump: text with numbers, ids and a few words, different in each row.
fn rows(length: usize) -> Vec<u8> {
    const WORDS: [&str; 8] = ["active", "pending", "authentik", "user", "group", "flow", "application", "token"];
    let mut bytes = Vec::with_capacity(length + 200);
    let mut numbers = blake3::Hasher::new().finalize_xof();
    let mut row = 0u64;
    while bytes.len() < length {
        let mut noise = [0; 24];
        numbers.fill(&mut noise);
        let words = noise[..4].iter().map(|n| WORDS[usize::from(n % 8)]).collect::<Vec<_>>().join(" ");
        let id = esker::id::hex(&noise[4..12]);
        bytes.extend(
            format!("{row}\t{id}\t{words}\t2026-11-{:02} {:02}:00:00+00\t\\N\tt\n", noise[12] % 28 + 1, noise[13] % 24).bytes(),
        );
        row += 1;
    }
    bytes.truncate(length);
    bytes
}

fn cut(c: &mut Criterion) {
    let data = rows(PACK);
    let chunker = Chunker::new(&[7; 32]);
    let mut group = c.benchmark_group("cut");
    group.throughput(Throughput::Bytes(PACK as u64));
    for (class, sizes) in [("streams", Sizes::STREAMS), ("files", Sizes::FILES)] {
        group.bench_function(class, |b| {
            b.iter(|| {
                let mut rest = &data[..];
                while let Some(length) = chunker.cut(&sizes, black_box(rest), true) {
                    rest = &rest[length..];
                }
            });
        });
    }
    group.finish();
}

fn name(c: &mut Criterion) {
    let mut group = c.benchmark_group("name");
    for size in [1 << 10, 4 << 10, 64 << 10, 256 << 10] {
        let chunk = rows(size);
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(format!("{} KiB", size >> 10), |b| b.iter(|| blake3::keyed_hash(&[7; 32], black_box(&chunk))));
    }
    group.finish();
}

fn compress(c: &mut Criterion) {
    let frame = rows(FRAME);
    let mut noise = vec![0; FRAME];
    blake3::Hasher::new().finalize_xof().fill(&mut noise);
    let mut group = c.benchmark_group("compress");
    group.throughput(Throughput::Bytes(FRAME as u64));
    let mut compressor = Compressor::new(3).unwrap();
    group.bench_function("rows", |b| b.iter(|| compressor.compress(black_box(&frame)).unwrap()));
    group.bench_function("noise", |b| b.iter(|| compressor.compress(black_box(&noise)).unwrap()));
    let small = compressor.compress(&frame).unwrap().unwrap();
    let mut decompressor = Decompressor::new().unwrap();
    group.bench_function("back", |b| b.iter(|| decompressor.decompress(black_box(&small), FRAME).unwrap()));
    group.finish();
}

fn chunk_key(n: u64) -> ChunkKey {
    ChunkKey { kind: 1, id: ChunkId(*blake3::hash(&n.to_le_bytes()).as_bytes()) }
}

/// "Known or new" for a batch of chunks, against a repository of 200,000; and remembering a pack of 1,000.
fn look_up(c: &mut Criterion) {
    const CHUNKS: u64 = 1000;
    let pack = |n: u64| NewPack {
        row: PackRow {
            id: PackId(*blake3::hash(&n.to_be_bytes()).as_bytes()),
            size: PACK as u64,
            header: [0; 128],
            directory_sealed_length: 60_000,
            class: 1,
            directory: vec![7; 50_000],
        },
        chunks: (0..CHUNKS)
            .map(|row| PackedChunk { key: chunk_key(n * CHUNKS + row), row: u32::try_from(row).unwrap(), composed: false })
            .collect(),
    };
    let mut cache = Cache::temporary(&RepositoryId([1; 32]), &[2; 32]).unwrap();
    for n in 0..200 {
        cache.add_packs(&[pack(n)], None).unwrap();
    }
    let mut group = c.benchmark_group("look up");
    group.throughput(Throughput::Elements(CHUNKS));
    for (what, first, expected) in [("known", 0, CHUNKS), ("new", 1 << 40, 0)] {
        // Spread over everything there is, as the chunks of a changed tree are.
        let wanted: Vec<_> = (0..CHUNKS).map(|n| chunk_key(first + n * 7919 % (CHUNKS * 200))).collect();
        group.bench_function(format!("1,000 {what}"), |b| {
            b.iter(|| {
                let mut found = 0;
                cache.find(black_box(&wanted), &mut |_, _| found += 1).unwrap();
                assert_eq!(found, expected);
            });
        });
    }
    let mut next = 200;
    group.sample_size(10).bench_function("remember a pack", |b| {
        b.iter_batched(|| (next += 1, pack(next)).1, |pack| cache.add_packs(&[pack], None).unwrap(), BatchSize::PerIteration);
    });
    group.finish();
}

/// Fifteen frames of 1 MiB into one pack, without compression: encryption, the directory, the name. And a frame back.
fn seal(c: &mut Criterion) {
    let keys = Arc::new(Keys::owner(RootKey::from_bytes([3; 32]), 1));
    let sealer = Sealer::new(Arc::clone(&keys), Arc::new(SystemRng)).unwrap();
    let opener = Opener::new(Arc::clone(&keys));
    let data = rows(FRAME);
    let frames = || -> Vec<_> {
        let chunk = |n: u32, part: u32| PreparedChunk {
            id: ChunkId([u8::try_from(16 * n + part).unwrap(); 32]),
            chunk_type: ChunkType::Data,
            encoding: Encoding::Literal { offset: part << 17, length: 1 << 17 },
        };
        let frame = |n| PreparedFrame {
            codec: Codec::Raw,
            raw_length: 1 << 20,
            bytes: data.clone(),
            chunks: (0..8).map(|part| chunk(n, part)).collect(),
        };
        (0..15).map(frame).collect()
    };
    let mut group = c.benchmark_group("pack");
    group.sample_size(10).throughput(Throughput::Bytes(15 << 20));
    group.bench_function("seal", |b| {
        b.iter_batched(frames, |frames| pack::seal_pack(&sealer, Class::Data, frames).unwrap(), BatchSize::PerIteration);
    });
    let sealed = pack::seal_pack(&sealer, Class::Data, frames()).unwrap();
    let file = sealed.parts.concat();
    let facts = sealed.facts;
    let range = |n: usize| {
        let range = facts.directory.frames[n].range();
        usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()
    };
    group.throughput(Throughput::Bytes(FRAME as u64));
    group.bench_function("open a frame", |b| {
        b.iter_batched(
            || file[range(7)].to_vec(),
            |mut sealed| pack::open_frame(&opener, &facts.header, 7, &facts.directory.frames[7], &mut sealed).unwrap(),
            BatchSize::PerIteration,
        );
    });
    group.throughput(Throughput::Bytes(file.len() as u64));
    group.bench_function("open a directory", |b| b.iter(|| pack::read_facts(&opener, facts.id, black_box(&file)).unwrap()));
    group.finish();
}

/// A pack onto this disk and back: mostly the disk's own speed, with every sync.
fn protect(c: &mut Criterion) {
    let bytes = rows(PACK);
    let pack = PackId(*blake3::hash(&bytes).as_bytes());
    let (_, object) = parity::make(pack, &[&bytes], 5).unwrap();
    let mut damaged = bytes.clone();
    damaged[..700 << 10].fill(0);
    let mut group = c.benchmark_group("parity");
    group.throughput(Throughput::Bytes(PACK as u64)).sample_size(20);
    group.bench_function("make, 5 %", |b| b.iter(|| parity::make(pack, black_box(&[&bytes]), 5).unwrap()));
    group.bench_function("mend a hole of 700 KiB", |b| b.iter(|| parity::mend(&object, pack, black_box(&damaged)).unwrap()));
    group.finish();
}

fn put(c: &mut Criterion) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let store = LocalStore::open(folder.path());
    let pack = rows(PACK);
    let mut next = 0;
    let mut fresh = || {
        next += 1;
        Name::new(format!("packs/{:02x}/{next}", next % 256)).unwrap()
    };
    let mut group = c.benchmark_group("put");
    group.sample_size(10);
    for (what, size) in [("pack of 16 MiB", PACK), ("record of 4 KiB", 4 << 10)] {
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(what, |b| {
            b.iter_batched(
                &mut fresh,
                |name| {
                    store.create(&name, &[&pack[..size]]).unwrap();
                    store.delete(&name).unwrap();
                },
                BatchSize::PerIteration,
            );
        });
    }
    let stored = fresh();
    store.create(&stored, &[&pack]).unwrap();
    group.throughput(Throughput::Bytes(FRAME as u64));
    group.bench_function("range of 1 MiB back", |b| b.iter(|| store.get_range(&stored, 12_345, FRAME).unwrap()));
    group.finish();
}

fn settings() -> Criterion {
    Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2)).sample_size(20)
}

criterion_group! { name = stages; config = settings(); targets = cut, name, compress, look_up, seal, protect, put }
criterion_main!(stages);
