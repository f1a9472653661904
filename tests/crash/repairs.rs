//! Power cuts while damage is mended, and while recovery data comes and goes.

use std::collections::BTreeSet;
use std::sync::Arc;

use esker::format::names::{self, ObjectName};
use esker::format::pack::Class;
use esker::id::{PackId, SnapshotId};
use esker::monitor::{Quiet, Stop};
use esker::repair::packs::{self, PacksOptions, PacksSummary};
use esker::repair::recover::{self, RecoverOptions};
use esker::repair::snapshots::{self, SnapshotsOptions};
use esker::repair::{index, parity};
use esker::repository::Repository;
use esker::store::{Name, Store};

use crate::small::{self, Files, noise};
use crate::story::Author;

const KIB: usize = 1 << 10;

fn put_back(repository: &Arc<Repository>, from: &[Arc<dyn Store>]) -> PacksSummary {
    packs::run(repository, &PacksOptions { from: from.to_vec(), ..PacksOptions::default() }, &Quiet, &Stop::new()).unwrap()
}

fn all(ids: &[SnapshotId]) -> BTreeSet<SnapshotId> {
    ids.iter().copied().collect()
}

/// The packs of one class, the largest first.
fn packs_of(author: &mut Author, class: Class) -> Vec<PackId> {
    let repository = author.open();
    let sized = author.names(names::PACKS).into_iter().map(|name| {
        let (id, size) = (names::parse_pack(&name).unwrap(), author.store.size(&name).unwrap());
        (size, id, repository.own_facts(&id, size).unwrap().class)
    });
    let mut found: Vec<_> = sized.filter(|(.., of)| *of == class).map(|(size, id, _)| (size, id)).collect();
    found.sort_unstable_by(|a, b| b.cmp(a));
    found.into_iter().map(|(_, id)| id).collect()
}

fn parity_names(author: &Author) -> Vec<Name> {
    author.names(names::PARITY)
}

#[test]
fn a_power_cut_while_packs_are_put_back_and_parity_comes_and_goes_loses_nothing() {
    let mut author = Author::begin(5);
    let files = |version: u64| {
        Files::from([("same".to_owned(), noise(1, 90 * KIB)), (format!("new/{version}"), noise(100 + version, 9 * KIB))])
    };
    let snapshots = [author.snapshot(&files(1)), author.snapshot(&files(2))];
    let rot_all = |author: &mut Author| {
        for name in author.names(names::PACKS) {
            author.rot(&name, |bytes| bytes[5000..9000].fill(7));
        }
        (BTreeSet::new(), Vec::new())
    };
    author.wound_and_mend("repair packs", rot_all, |repository| {
        let summary = put_back(repository, &[]);
        assert_eq!(summary.unmended(), 0);
    });
    let rot_parity = |author: &mut Author| {
        for name in parity_names(author) {
            author.rot(&name, |bytes| bytes[100] ^= 1);
        }
        (BTreeSet::new(), Vec::new())
    };
    author.wound_and_mend("repair packs, parity", rot_parity, |repository| _ = put_back(repository, &[]));
    // A pack is gone and another one is nothing but zeros: parity does not help.
    let mirror: Arc<dyn Store> = author.mirror();
    let from = Arc::clone(&mirror);
    let lose = |author: &mut Author| {
        let (data, metadata) = (packs_of(author, Class::Data), packs_of(author, Class::Metadata));
        author.lose(&names::pack_name(data[0]));
        author.rot(&names::pack_name(metadata[0]), |bytes| bytes.fill(0));
        (all(&snapshots), Vec::new())
    };
    author.wound_and_mend("repair packs from a mirror", lose, move |repository| {
        assert_eq!(put_back(repository, &[Arc::clone(&from)]).unmended(), 0);
    });
    author.command("parity drop", |repository| parity::remove(repository, false, &Stop::new()).unwrap());
    author.command("parity set 0", |repository| parity::set(repository, 0).unwrap());
    assert!(parity_names(&author).is_empty());
    author.snapshot(&files(3));
    author.command("parity set 10", |repository| parity::set(repository, 10).unwrap());
    let (_, added) = author.command("parity add", |repository| parity::add(repository, 10, false, &Quiet, &Stop::new()).unwrap());
    assert!(added.added >= 6 && added.damaged.is_empty(), "{added:?}");
    author.forget(snapshots[0]);
    author.prune();
    author.end().cut(|_| true, 800, 1_500);
}

#[test]
fn a_power_cut_while_index_files_and_snapshots_are_repaired_loses_nothing_that_was_left() {
    let mut author = Author::begin(0);
    // Of a size that gives it a pack of its own.
    let (lost, kept) = (noise(1, 700 * KIB), noise(2, 5 * KIB));
    let first = author.snapshot(&Files::from([("lost".to_owned(), lost.clone()), ("kept".to_owned(), kept.clone())]));
    author.snapshot(&Files::from([("kept".to_owned(), kept.clone()), ("other".to_owned(), noise(3, 20 * KIB))]));
    let lose_index = |author: &mut Author| {
        author.names(names::INDEX).iter().for_each(|name| author.lose(name));
        (BTreeSet::new(), Vec::new())
    };
    author.wound_and_mend("repair index", lose_index, |repository| {
        let summary = index::run(repository, false, &small::quiet(), &Stop::new()).unwrap();
        assert!(summary.unreadable.is_empty());
    });
    author.snapshot(&Files::from([("more".to_owned(), noise(4, 3 * KIB))]));
    let begun = author.steps();
    let rot = |author: &mut Author| {
        let data = packs_of(author, Class::Data)[0];
        author.rot(&names::pack_name(data), |bytes| bytes[100 * KIB..600 * KIB].fill(0));
        (all(&[first]), Vec::new())
    };
    // It cannot be mended, only be written down: whoever still has the data stores it again.
    author.wound_and_mend("repair packs, what nothing gives back", rot, |repository| {
        let listed = put_back(repository, &[]).listed_damaged;
        assert_eq!(listed, 1);
    });
    let begun_beside = author.steps();
    let repair = |repository: &Arc<Repository>| {
        snapshots::run(repository, &SnapshotsOptions::default(), &small::quiet(), &Stop::new(), &mut |_, _| {}).unwrap();
    };
    author.wound_and_mend("repair snapshots", |_| (all(&[first]), vec![kept.clone()]), repair);
    assert!(author.steps() > begun_beside);
    author.forget(first);
    let summary = author.prune();
    assert!(summary.packs_deleted > 0, "{summary:?}");
    let ended = author.steps();
    author.cost(begun, Some(ended), all(&[first]));
    author.snapshot(&Files::from([("kept".to_owned(), kept), ("again".to_owned(), lost)]));
    author.end().cut(|_| true, 600, 1_000);
}

#[test]
fn a_power_cut_while_lost_folders_are_recovered_loses_nothing_that_was_left() {
    let mut author = Author::begin(0);
    let files = Files::from([("a".to_owned(), noise(1, 9 * KIB)), ("folder/b".to_owned(), noise(2, 5 * KIB))]);
    author.snapshot(&Files::from([("other".to_owned(), noise(3, 20 * KIB))]));
    let gone = author.snapshot(&files);
    let begun = author.steps();
    let saved: Vec<Vec<u8>> = files.into_values().collect();
    let lose = |author: &mut Author| {
        author.lose(&ObjectName::Snapshot(gone).name());
        (all(&[gone]), saved)
    };
    author.wound_and_mend("recover", lose, |repository| {
        let options = RecoverOptions { host: "host".into(), user: "user".into(), program: "test".into(), dry_run: false };
        recover::run(repository, &options, &small::quiet(), &Stop::new()).unwrap();
    });
    // It was not forgotten, so it stays missed.
    author.cost(begun, None, all(&[gone]));
    author.prune();
    author.snapshot(&Files::from([("other".to_owned(), noise(4, 20 * KIB))]));
    author.end().cut(|place| place > 1, 400, 500);
}
