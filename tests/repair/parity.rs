//! Parity: what a pack survives, what its parity object survives, and that nobody is fooled by a false one.

use std::sync::Arc;

use esker::format::names::{self, ObjectName};
use esker::format::parity;
use esker::store::{MemoryStore, Store};
use esker::verify::{FindingKind, ReadData};

use super::house::House;
use super::small::{self, noise};

const SECTOR: usize = 4096;

/// Numbers that look random and are the same for one seed.
fn random(seed: u64) -> impl FnMut(usize) -> usize {
    let mut turn = 0u64;
    move |below| {
        turn += 1;
        let hash = blake3::hash(&[seed.to_le_bytes(), turn.to_le_bytes()].concat());
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&hash.as_bytes()[..8]);
        (u64::from_le_bytes(bytes) % below as u64) as usize
    }
}

fn spoil_sectors(bytes: &mut [u8], seed: u64, count: usize) {
    let mut random = random(seed);
    for _ in 0..count {
        let sector = random(bytes.len() / SECTOR) * SECTOR;
        bytes[sector..sector + SECTOR].iter_mut().for_each(|byte| *byte ^= 0xa5);
    }
}

#[test]
fn a_full_pack_outlives_any_50_damaged_sectors() {
    let house = House::with_full_pack();
    let pack = house.largest();
    assert!(house.packs().pop().unwrap().1 >= 16 << 20);
    let whole = house.store.get(&names::pack_name(pack), u64::MAX).unwrap();
    for seed in 0..3 {
        house.damage(pack, |bytes| {
            bytes.copy_from_slice(&whole);
            spoil_sectors(bytes, seed, 50);
        });
        house.assert_mendable(&format!("seed {seed}"));
    }
}

#[test]
fn a_full_pack_outlives_a_hole_of_700_kib_anywhere_and_its_directory() {
    let house = House::with_full_pack();
    let pack = house.largest();
    let whole = house.store.get(&names::pack_name(pack), u64::MAX).unwrap();
    let mut random = random(9);
    let hole = 700 << 10;
    // The first one takes header, HEAD and directory with it.
    for start in [0, random(whole.len() - hole), whole.len() - hole] {
        house.damage(pack, |bytes| {
            bytes.copy_from_slice(&whole);
            bytes[start..start + hole].fill(0);
        });
        house.assert_mendable(&format!("a hole at {start}"));
    }
    house.damage(pack, |bytes| {
        bytes.clear();
        bytes.extend_from_slice(&whole[..whole.len() - hole]);
    });
    house.assert_mendable("cut off");
    house.damage(pack, |bytes| {
        bytes.clear();
        bytes.extend_from_slice(&whole);
        bytes[1 << 20..(1 << 20) + (900 << 10)].fill(0);
    });
    house.assert_lost("more than there is parity for");
}

#[test]
fn small_packs_of_data_and_metadata_outlive_four_sectors_a_lost_directory_and_a_cut_end() {
    for (kind, nth) in [("metadata or data", 0), ("the other", 1)] {
        let house = House::small();
        let (pack, size) = house.packs()[nth];
        let whole = house.store.get(&names::pack_name(pack), u64::MAX).unwrap();
        assert!(size < 1 << 20);
        let put = |change: &dyn Fn(&mut Vec<u8>)| {
            house.damage(pack, |bytes| {
                *bytes = whole.clone();
                change(bytes);
            });
        };
        for seed in 0..4 {
            put(&|bytes| spoil_sectors(bytes, seed, 4));
            house.assert_mendable(kind);
        }
        put(&|bytes| bytes[..3 * SECTOR].fill(0));
        house.assert_mendable(kind);
        put(&|bytes| bytes.truncate(bytes.len() - 3 * SECTOR));
        house.assert_mendable(kind);
        put(&|bytes| bytes.extend_from_slice(&[1; 100]));
        house.assert_mendable(kind);
        put(&|bytes| bytes[..6 * SECTOR].fill(0));
        let (_, summary) = small::check(&house.open(), ReadData::All);
        assert!(summary.data_affected > 0 && house.restore().is_err(), "{kind}");
    }
}

#[test]
fn a_lost_directory_is_read_through_parity_also_without_any_index_file() {
    let house = House::small();
    for (pack, _) in house.packs() {
        house.damage(pack, |bytes| bytes[..SECTOR].fill(0));
    }
    let mut index = Vec::new();
    house.store.list("index", &mut |entry| index.push(entry.name)).unwrap();
    index.iter().for_each(|name| house.store.delete(name).unwrap());
    assert!(house.restore().unwrap() == house.files);
    let (findings, summary) = small::check(&house.open(), ReadData::All);
    assert_eq!(summary.data_affected, 0, "{findings:?}");
}

#[test]
fn a_pack_and_its_parity_object_may_be_damaged_both() {
    let house = House::with_full_pack();
    let pack = house.largest();
    let object = house.parity_names(pack).pop().unwrap();
    house.damage(pack, |bytes| spoil_sectors(bytes, 1, 25));
    house.change(&object, |bytes| {
        let end = bytes.len();
        // Its beginning is gone, and 20 sectors are bad.
        bytes[..3 * SECTOR].fill(0);
        spoil_sectors(&mut bytes[3 * SECTOR..end - 5 * SECTOR], 2, 20);
    });
    assert!(house.restore().unwrap() == house.files);
    let (findings, summary) = small::check(&house.open(), ReadData::All);
    assert_eq!(summary.data_affected, 0, "{findings:?}");
    assert!(findings.iter().any(|finding| finding.kind == FindingKind::ParityDamaged && finding.object == object.as_str()));
    house.change(&object, |bytes| bytes.fill(0));
    house.assert_lost("no parity is left");
}

#[test]
fn a_damaged_parity_object_alone_costs_nothing_and_is_found() {
    let house = House::small();
    let object = house.parity_names(house.largest()).pop().unwrap();
    house.change(&object, |bytes| bytes[100] ^= 1);
    assert!(house.restore().unwrap() == house.files);
    let (findings, summary) = small::check(&house.open(), ReadData::All);
    assert_eq!((findings[0].kind, findings.len(), summary.data_affected), (FindingKind::ParityDamaged, 1, 0));
    assert_eq!(findings[0].object, object.as_str());
    let (findings, _) = small::check(&house.open(), ReadData::Nothing);
    assert!(findings.is_empty(), "structure reads no parity");
}

#[test]
fn parity_of_another_pack_and_forged_parity_mend_nothing_and_spoil_nothing() {
    let house = House::small();
    let packs = house.packs();
    let ((first, _), (second, _)) = (packs[0], packs[1]);
    let objects = [house.parity_names(first).pop().unwrap(), house.parity_names(second).pop().unwrap()];
    let bytes = objects.each_ref().map(|name| house.store.get(name, u64::MAX).unwrap());
    // Swapped: each stands where the other belongs.
    house.store.replace(&objects[0], &[&bytes[1]]).unwrap();
    house.store.replace(&objects[1], &[&bytes[0]]).unwrap();
    assert!(house.restore().unwrap() == house.files);
    let (findings, _) = small::check(&house.open(), ReadData::All);
    assert_eq!(findings.iter().map(|finding| finding.kind).collect::<Vec<_>>(), [FindingKind::ParityDamaged; 2]);
    house.damage(first, |bytes| bytes[..SECTOR].fill(0));
    house.damage(second, |bytes| bytes[..SECTOR].fill(0));
    house.assert_lost("their parity is gone");
    // A thief's: made of bytes of his own, under the pack's name, beside the true one.
    house.store.replace(&objects[0], &[&bytes[0]]).unwrap();
    house.store.replace(&objects[1], &[&bytes[1]]).unwrap();
    for (id, size) in packs {
        let (hash, forged) = parity::make(id, &[&noise(77, size as usize)], 50).unwrap();
        house.store.create(&ObjectName::Parity(id, hash).name(), &[&forged]).unwrap();
    }
    house.assert_mendable("a forged one beside the true one");
}

#[test]
fn a_writer_key_makes_parity_and_without_it_none_is_made() {
    let house = House::small();
    for (pack, size) in house.packs() {
        let objects = house.parity_names(pack);
        assert_eq!(objects.len(), 1);
        let object = house.store.get(&objects[0], u64::MAX).unwrap();
        assert_eq!(parity::check(&object).unwrap(), pack);
        assert!((object.len() as u64) < size / 3);
    }
    let line = house.open().export_key(esker::format::keyslot::Level::Writer).unwrap();
    let writer = small::open(house.store.clone(), &line).unwrap();
    assert_eq!(writer.config().parity_percent(), 5);
    let mut session = small::writer(&writer);
    let content = small::store_folder(&mut session, Vec::new());
    small::commit_source(session, content, None);
    assert!(house.packs().len() > 2);
    assert!(house.packs().iter().all(|(pack, _)| house.parity_names(*pack).len() == 1));

    let store = Arc::new(MemoryStore::new());
    let (repository, _) = small::init(store.clone());
    small::commit(&repository, &house.files, None);
    let mut count = 0;
    store.list("parity", &mut |_| count += 1).unwrap();
    assert_eq!(count, 0);
}

#[test]
fn a_copy_that_only_parity_gives_never_counts_as_one_that_stands_in_the_store() {
    let house = House::small();
    let pack = house.packs().into_iter().map(|(pack, _)| pack).find(|pack| house.holds_data(*pack)).unwrap();
    house.damage(pack, |bytes| bytes[5000] ^= 1);
    let repository = house.open();
    let reader = esker::repository::Reader::new(&repository, &esker::monitor::Quiet).unwrap();
    let number = reader.view().number(&pack).unwrap();
    let facts = reader.facts(number).unwrap();
    let row = &facts.directory.chunks[0];
    assert!(reader.read_chunk(row.chunk_type, &row.id).is_ok());
    // What deletes asks like this, also after somebody read through parity.
    assert!(reader.read_copy(row.chunk_type, &row.id, number, 0).is_err());
    assert!(reader.read_copy_mended(row.chunk_type, &row.id, number, 0).is_ok());
}
