//! The format against its specification: constants against the tables of `format-spec/`, every vector, and a whole tiny repository.
//!
//! `ESKER_WRITE_VECTORS=1 cargo test --test format` writes the vectors anew. That is for a page that gets a new rule: vectors that are
//! there must not change, for repositories that are there will not.

#![allow(clippy::unwrap_used, reason = "helpers of tests, too, may fail by panicking")]

#[path = "servers/place.rs"]
mod place;
#[path = "format/protocol.rs"]
mod protocol;
#[path = "format/repository.rs"]
mod repository;
#[path = "format/restorer.rs"]
mod restorer;
#[path = "format/spec.rs"]
mod spec;
#[path = "format/vectors.rs"]
mod vectors;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use esker::chunker::{Chunker, Sizes};
use esker::clock::SeededRng;
use esker::crypto::{Agreed, ChunkType, Received, RecoveryKey, RootKey, WriterKey, context, kdf};
use esker::format::keyslot::{Keyslot, SlotKey};
use esker::format::names::ObjectName;
use esker::format::pack::{Directory, Head, recipe};
use esker::format::{
    FormatError, Opener, config, content, envelope, forgotten, gc, index, note, parity, proof, revocation, session, snapshot, tree,
};
use esker::id::{SessionId, SnapshotId, hex};
use esker::store::Name;
use vectors::{Case, RECOVERY, ROOT, owner};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("format-spec/vectors")
}

/// Are the vectors to be written rather than read?
fn writing() -> bool {
    std::env::var_os("ESKER_WRITE_VECTORS").is_some()
}

fn bytes_of(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2), "{text}");
    (0..text.len() / 2).map(|place| u8::from_str_radix(&text[place * 2..place * 2 + 2], 16).unwrap()).collect()
}

/// Decodes and encodes again; an error by its name.
fn decode(thing: &str, bytes: &[u8]) -> Result<Vec<u8>, String> {
    let name = |error: FormatError| format!("{error:?}").split([' ', '(', '{']).next().unwrap_or_default().to_owned();
    again(thing, bytes).map_err(name)
}

fn again(thing: &str, bytes: &[u8]) -> Result<Vec<u8>, FormatError> {
    let opener = Opener::new(owner());
    match thing {
        "keyslot" => {
            let slot = Keyslot::parse(bytes)?;
            let opened = slot.open_with_recovery(&RecoveryKey::from_bytes(RECOVERY))?;
            assert!(matches!(opened.key, SlotKey::Owner(root) if *root.expose() == ROOT));
            Ok(slot.as_bytes().to_vec())
        }
        // Sealing is random: that it opened is all there is to see.
        "note object" => note::open(&opener, bytes).map(|_| bytes.to_vec()),
        "snapshot object" => snapshot::open(&opener, SnapshotId([4; 16]), bytes).map(|_| bytes.to_vec()),
        "head" => Head::decode([0; 128], bytes).map(|head| head.encode().to_vec()),
        "directory" => {
            let head = Head::decode([0; 128], &bytes[..64])?;
            let directory = Directory::decode(&head, &bytes[64..])?;
            Ok([&head.encode()[..], &directory.encode()].concat())
        }
        "recipe" => {
            let (bases, raw) = (bytes[0], u32::from_le_bytes(bytes[1..5].try_into().unwrap()));
            let recipe = recipe::decode(&bytes[5..], bases.into(), raw)?;
            Ok([&bytes[..5], &recipe::encode(&recipe)].concat())
        }
        "index" => index::IndexFile::decode(bytes)?.encode(),
        "config" => config::Config::decode(bytes)?.encode(),
        "tree" => tree::TreeChunk::decode(bytes)?.encode(),
        "list" => content::ListChunk::decode(bytes)?.encode(),
        "snapshot" => snapshot::Snapshot::decode(bytes)?.encode(),
        "revocation" => revocation::Revocation::decode(bytes)?.encode(),
        "session start" => session::Start::decode(bytes)?.encode(),
        "acknowledgement" => session::Acknowledgement::decode(bytes)?.encode(),
        "closed" => session::Closed::decode(bytes)?.encode(),
        "condemn" => gc::Condemn::decode(bytes)?.encode(),
        "verdict" => gc::Verdict::decode(bytes)?.encode(),
        "forgotten" => forgotten::Forgotten::decode(bytes)?.encode(),
        "note" => note::Note::decode(bytes)?.encode(),
        "proof of reading" => proof::Proof::decode(bytes).map(|proof| proof.encode()),
        // What stands in it follows from the pack alone: that it is accepted is all there is to see.
        "parity" => parity::check(bytes).map(|_| bytes.to_vec()),
        other => panic!("no decoder for {other}"),
    }
}

#[test]
fn every_vector_is_accepted_or_refused_as_its_page_says() {
    for (page, made) in vectors::pages() {
        let file = folder().join(format!("{page}.json"));
        if writing() {
            fs::write(&file, serde_json::to_string_pretty(&made).unwrap() + "\n").unwrap();
        }
        let cases: Vec<Case> = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        let refused = cases.iter().filter(|case| case.refused.is_some()).count();
        assert!(refused * 2 > cases.len() && refused < cases.len(), "{page}: mostly refused, some accepted");
        for case in &cases {
            let bytes = bytes_of(&case.hex);
            match (decode(&case.thing, &bytes), &case.refused) {
                (Ok(encoded), None) => assert_eq!(hex(&encoded), case.hex, "{page}: {}", case.name),
                (Err(error), Some(expected)) => assert_eq!(&error, expected, "{page}: {}", case.name),
                (found, expected) => panic!("{page}: {}: expected {expected:?}, found {found:?}", case.name),
            }
        }
        // What this program writes today is what it wrote when the vectors were made.
        let today: Vec<&String> = made.iter().map(|case| &case.hex).collect();
        let then: Vec<&String> = cases.iter().map(|case| &case.hex).collect();
        assert_eq!(today, then, "{page}");
    }
}

fn check_values(file: &str, made: &BTreeMap<String, String>) {
    let file = folder().join(file);
    if writing() {
        fs::write(&file, serde_json::to_string_pretty(made).unwrap() + "\n").unwrap();
    }
    let golden: BTreeMap<String, String> = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(made, &golden, "{}", file.display());
}

#[test]
fn keys_and_ids_are_the_golden_ones() {
    let owner = owner();
    let mut made = BTreeMap::new();
    let mut put = |name: &str, bytes: &[u8]| {
        made.insert(name.to_owned(), hex(bytes));
    };
    put("root", &ROOT);
    put("generation", &1u32.to_le_bytes());
    put("repo_id", owner.repository_id().as_bytes());
    assert_eq!(owner.repository_id().0, *kdf(context::REPOSITORY_ID, &[&ROOT]).expose());
    put("sk_seal", kdf(context::SEALING_SECRET, &[&ROOT]).expose());
    put("pk_seal", owner.sealing_public());
    put("k_owner", kdf(context::OWNER_MAC, &[&ROOT]).expose());
    put("owner_mac of body 80 at notes", &owner.owner_mac("notes", &[0x80]).unwrap());
    let writer = kdf(context::WRITER, &[&ROOT, &1u32.to_le_bytes(), &[0; 16]]);
    assert_eq!(writer.expose(), owner.writer_key().secret.expose());
    put("writer(1, 0)", writer.expose());
    for (name, context) in [("psk", context::SEAL_PSK), ("k_records", context::RECORDS), ("k_cache", context::CACHE_ROWS)] {
        put(name, kdf(context, &[writer.expose()]).expose());
    }
    put("k_hedge", kdf(context::HEDGE, &[writer.expose()]).expose());
    put("k_stream", kdf(context::STREAM, &[writer.expose()]).expose());
    let cut = kdf(context::CHUNKER, &[writer.expose(), &[0, 0]]);
    assert_eq!(owner.cut_key(), *cut.expose());
    put("k_cut", cut.expose());
    for chunk_type in [ChunkType::Data, ChunkType::Tree, ChunkType::List] {
        let key = kdf(context::CHUNK_ID, &[writer.expose(), &[chunk_type as u8, 0]]);
        put(&format!("k_id({})", chunk_type as u8), key.expose());
        let id = owner.chunk_id(chunk_type, b"esker");
        assert_eq!(id.0, *blake3::keyed_hash(key.expose(), b"esker").as_bytes());
        put(&format!("id of \"esker\" as type {}", chunk_type as u8), &id.0);
    }
    put("stream MAC of \"esker\"", owner.stream_mac().update(b"esker").finalize().as_bytes());
    // HPKE: the ephemeral secret is drawn from a seeded generator; what counts is what the owner makes of enc.
    let agreed = Agreed::new(&owner, &SeededRng::new(9)).unwrap();
    let received = Received::new(&owner, owner.current(), agreed.encapsulated()).unwrap().unwrap();
    put("enc", agreed.encapsulated());
    put("Export(\"object\")", received.object().expose());
    put("Export(\"session\" | 06 x 16)", received.session(&SessionId([6; 16])).unwrap().expose());
    made.insert("owner line".into(), RootKey::from_bytes(ROOT).to_line(1).to_string());
    made.insert("writer line".into(), owner.writer_key().to_line().to_string());
    made.insert("recovery key".into(), RecoveryKey::from_bytes(RECOVERY).to_text().to_string());
    made.insert("recovery key bytes".into(), hex(&RECOVERY));
    check_values("keys.json", &made);
    let (root, generation) = RootKey::from_line(&made["owner line"]).unwrap();
    assert_eq!((root.expose(), generation), (&ROOT, 1));
    assert_eq!(WriterKey::from_line(&made["writer line"]).unwrap().repository_id, owner.repository_id());
    assert!(RecoveryKey::from_text(&made["recovery key"]).unwrap() == RecoveryKey::from_bytes(RECOVERY));
}

#[test]
fn cut_points_are_the_golden_ones() {
    let mut data = vec![0; 8 << 20];
    blake3::Hasher::new_keyed(&[1; 32]).finalize_xof().fill(&mut data);
    // A run of zeros has no cut but the longest chunk.
    data[3 << 20..6 << 20].fill(0);
    let mut made =
        BTreeMap::from([("data".into(), "8 MiB of XOF(01 x 32), bytes 3 MiB to 6 MiB zeroed; k_cut as in keys.json".into())]);
    for (name, sizes) in [("streams", Sizes::STREAMS), ("files", Sizes::FILES)] {
        let (chunker, mut rest, mut lengths) = (Chunker::new(&owner().cut_key()), &data[..], Vec::new());
        while let Some(length) = chunker.cut(&sizes, rest, true) {
            assert_eq!(length, cut_by_the_page(&sizes, rest), "the page says something else than the code does");
            lengths.push(length.to_string());
            rest = &rest[length..];
        }
        made.insert(format!("lengths, {name}"), lengths.join(" "));
    }
    check_values("chunker.json", &made);
}

/// Word for word from `chunks.md`.
fn cut_by_the_page(sizes: &Sizes, data: &[u8]) -> usize {
    let mut gear = [0u64; 256];
    let mut xof = blake3::Hasher::new_keyed(&owner().cut_key()).finalize_xof();
    for value in &mut gear {
        let mut bytes = [0; 8];
        xof.fill(&mut bytes);
        *value = u64::from_le_bytes(bytes);
    }
    let rows = spec::table("chunks.md", "avg");
    let row = rows.iter().find(|row| row[0].starts_with(&sizes.avg.to_string())).unwrap();
    let mask = |text: &str| u64::from_str_radix(text.trim_matches('`'), 16).unwrap();
    let (mask_s, mask_l) = (mask(&row[1]), mask(&row[2]));
    let (min, avg, max) = (sizes.min as usize, sizes.avg as usize, sizes.max as usize);
    if data.len() <= min {
        return data.len();
    }
    let end = data.len().min(max);
    let center = avg.min(end);
    let mut h = 0u64;
    for (i, &byte) in data.iter().enumerate().take(end / 2 * 2).skip(min) {
        h = (h << 1).wrapping_add(gear[usize::from(byte)]);
        if h & (if i < center / 2 * 2 { mask_s } else { mask_l }) == 0 {
            return i;
        }
    }
    end
}

#[test]
fn names_are_accepted_or_ignored_as_the_page_says() {
    let hash = "ab".repeat(32);
    let sid = "cd".repeat(16);
    let good = [
        "config/00000001".to_owned(),
        format!("keys/{hash}"),
        format!("packs/ab/{hash}"),
        format!("index/{hash}"),
        format!("sessions/{sid}/0"),
        format!("sessions/{sid}/10"),
        format!("sessions/{sid}/closed"),
        format!("snapshots/{sid}"),
        format!("forgotten/{sid}/{hash}"),
        "gc/0000000000000001-condemn".to_owned(),
        "gc/00000000000000ff-verdict".to_owned(),
        format!("config/0000000a-{hash}"),
        format!("gc/0000000000000001-condemn-{hash}"),
        format!("gc/00000000000000ff-verdict-{hash}"),
        format!("notes/{hash}"),
        format!("parity/{hash}/{hash}"),
        format!("revoked/{sid}"),
    ];
    for text in &good {
        let name = Name::new(text.as_str()).unwrap();
        assert_eq!(ObjectName::parse(&name).map(|parsed| parsed.name()), Some(name));
    }
    let folders: std::collections::BTreeSet<&str> = good.iter().map(|name| name.split('/').next().unwrap()).collect();
    for row in spec::table("names.md", "name") {
        let names = row[0].split(", ").map(|name| name.trim_matches('`').split('/').next().unwrap());
        for folder in names {
            assert!(folders.contains(folder) || ["probe", "tmp", "ballast"].contains(&folder), "{folder}");
        }
    }
    for text in [
        "config/1".to_owned(),
        "config/00000000".into(),
        format!("packs/cd/{hash}"),
        format!("packs/{hash}"),
        format!("sessions/{sid}/01"),
        format!("sessions/{sid}/4294967296"),
        "gc/0000000000000000-condemn".into(),
        "gc/1-verdict".into(),
        format!("gc/0000000000000000-condemn-{hash}"),
        format!("gc/0000000000000001-{hash}"),
        format!("gc/0000000000000001-verdict-{sid}"),
        format!("config/00000001-{hash}-{hash}"),
        format!("snapshots/{hash}"),
    ] {
        assert_eq!(ObjectName::parse(&Name::new(text.as_str()).unwrap()), None, "{text}");
    }
}

#[test]
fn magics_versions_and_kinds_are_those_of_the_pages() {
    assert!(spec::page("envelope.md").contains(&format!("`{}` = `{}`", "ESKEROBJ", hex(&envelope::MAGIC))));
    assert!(spec::page("keyslot.md").contains(&format!("`{}` = `{}`", "ESKERKEY", hex(&esker::format::keyslot::MAGIC))));
    assert_eq!((envelope::VERSION, envelope::SUITE, envelope::HEADER_SIZE), (1, 1, 128));
    let types = spec::table("envelope.md", "type");
    assert_eq!(types.len(), envelope::ObjectType::ALL.len());
    for (row, of) in types.iter().zip(envelope::ObjectType::ALL) {
        let numbers = [*of as u64, of.exchange() as u64, of.size_max()];
        assert_eq!(row[0], of.text());
        assert_eq!(row[1..].iter().map(|cell| cell.parse::<u64>().unwrap()).collect::<Vec<_>>(), numbers);
    }
    use envelope::BoxKind;
    let kinds = [BoxKind::Head, BoxKind::Directory, BoxKind::Frame, BoxKind::Pad, BoxKind::Body];
    let kinds: Vec<_> = kinds.map(|kind| (format!("`{kind:?}`"), (kind as u8).to_string())).into();
    let rows = spec::table("envelope.md", "box");
    assert_eq!(rows.iter().map(|row| (row[0].clone(), row[1].clone())).take(5).collect::<Vec<_>>(), kinds);
    assert_eq!(rows[5][1], esker::format::keyslot::BOX_KIND.to_string());
    let chunk_types = [ChunkType::Data, ChunkType::Tree, ChunkType::List];
    let chunk_types = chunk_types.map(|of| (format!("`{of:?}`"), (of as u8).to_string()));
    let rows = spec::table("chunks.md", "type");
    assert_eq!(rows.iter().map(|row| (row[0].clone(), row[1].clone())).collect::<Vec<_>>(), chunk_types);
}

#[test]
fn contexts_are_those_of_the_page() {
    let listed: Vec<String> = spec::table("keys.md", "constant").iter().map(|row| row[1].trim_matches('`').to_owned()).collect();
    assert_eq!(listed, context::ALL);
}

#[test]
fn limits_are_those_of_the_page() {
    let listed: BTreeMap<String, u64> = spec::table("limits.md", "constant")
        .iter()
        .map(|row| (row[0].trim_matches('`').to_owned(), row[1].parse().unwrap()))
        .collect();
    assert_eq!(listed, spec::limits());
}

#[test]
fn a_whole_repository_opens_object_by_object() {
    if writing() {
        repository::write(&folder().join("repository"));
    }
    repository::read(&folder().join("repository"));
}
