//! Histories of edits: whatever is remembered, a plan gives the bytes of the chunk.

use std::collections::HashMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::chunker::Chunker;
use crate::id::ChunkId;

/// Literal chunks, and what is remembered of the chunks of one stream.
#[derive(Default)]
struct Model {
    literal: HashMap<ChunkId, Vec<u8>>,
    table: Vec<Arc<ChunkPieces>>,
}

struct Table<'a>(&'a [Arc<ChunkPieces>]);

impl Blocks for Table<'_> {
    fn block(&mut self, number: u32) -> Option<Arc<ChunkPieces>> {
        self.0.get(number as usize).map(Arc::clone)
    }
}

fn cutter() -> Cutter {
    Cutter::new(&[3; 16], Chunker::new(&[7; 32]))
}

fn id(bytes: &[u8]) -> ChunkId {
    ChunkId(*blake3::hash(bytes).as_bytes())
}

impl Model {
    /// Stores a stream, and returns how many of its bytes were new.
    fn take(&mut self, stream: &[u8], policy: Policy, lost: impl Fn(&ChunkId) -> bool) -> usize {
        let mut matcher = Matcher::default();
        for (number, block) in (0..).zip(&self.table) {
            matcher.add(number, block);
        }
        let (mut table, mut new) = (Vec::new(), 0);
        for chunk in stream.chunks(10_000) {
            let pieces = cutter().cut(chunk);
            let places = matcher.find(&pieces, &mut Table(&self.table));
            let plan = plan(&pieces, &places, policy, &mut |base| !lost(base));
            let Some(plan) = plan else {
                new += chunk.len();
                table.push(Arc::new(ChunkPieces::literal(id(chunk), &pieces)));
                self.literal.insert(id(chunk), chunk.to_vec());
                continue;
            };
            assert!(plan.bases.len() <= policy.bases_max && plan.bases.iter().all(|base| !lost(base)));
            let (mut rebuilt, mut gathered) = (Vec::new(), Vec::new());
            for range in &plan.ranges {
                let length = range.length as usize;
                match range.source {
                    Source::Base(base, offset) => {
                        let base = &self.literal[&plan.bases[usize::from(base)]];
                        rebuilt.extend_from_slice(&base[offset as usize..offset as usize + length]);
                    }
                    Source::New => {
                        let at = rebuilt.len();
                        gathered.extend_from_slice(&chunk[at..at + length]);
                        rebuilt.extend_from_slice(&chunk[at..at + length]);
                    }
                }
            }
            assert_eq!(rebuilt, chunk);
            assert_eq!(gathered.len(), plan.new_bytes as usize);
            new += gathered.len();
            let mut bases = plan.bases.clone();
            bases.push(id(&gathered));
            let row = ChunkPieces::composed(bases, plan.placed(plan.bases.len() as u8, 0), &pieces);
            self.literal.insert(id(&gathered), gathered);
            table.push(Arc::new(ChunkPieces::decode(&row.encode()).unwrap()));
        }
        self.table = table;
        new
    }
}

fn rows(seed: u64, count: usize) -> Vec<Vec<u8>> {
    let row = |n: usize| {
        let mut words = vec![0; 8];
        blake3::Hasher::new().update(&seed.to_le_bytes()).update(&n.to_le_bytes()).finalize_xof().fill(&mut words);
        let long = "a longer field ".repeat(usize::from(words[0]) / 16);
        format!("{n}\t{words:?}\t{long}\n").into_bytes()
    };
    (0..count).map(row).collect()
}

#[derive(Clone, Debug)]
enum Edit {
    Change(usize),
    Insert(usize),
    Remove(usize),
    Move(usize, usize),
}

fn edit() -> impl Strategy<Value = Edit> {
    let at = 0usize..10_000;
    prop_oneof![
        at.clone().prop_map(Edit::Change),
        at.clone().prop_map(Edit::Insert),
        at.clone().prop_map(Edit::Remove),
        (at.clone(), at).prop_map(|(from, to)| Edit::Move(from, to)),
    ]
}

fn apply(rows: &mut Vec<Vec<u8>>, edit: &Edit, day: usize) {
    let count = rows.len();
    match *edit {
        Edit::Change(at) => {
            rows[at % count] = format!("{at}\tchanged on day {day}, with a text of some length in it\n").into_bytes()
        }
        Edit::Insert(at) => {
            rows.insert(at % count, format!("{at}\tinserted on day {day}, with a text of some length\n").into_bytes())
        }
        Edit::Remove(at) => drop((count > 10).then(|| rows.remove(at % count))),
        Edit::Move(from, to) => {
            let row = rows.remove(from % count);
            rows.insert(to % count, row);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn every_day_of_a_history_is_rebuilt(
        days in proptest::collection::vec(proptest::collection::vec(edit(), 0..20), 1..6),
        run_min in prop_oneof![Just(1u32), Just(128)],
        base_min in prop_oneof![Just(1u32), Just(512)],
        bases_max in prop_oneof![Just(1usize), Just(3), Just(64)],
        losing in 0u8..4,
    ) {
        let (mut model, mut rows) = (Model::default(), rows(1, 400));
        let policy = Policy { run_min, base_min, bases_max };
        for (day, edits) in days.iter().enumerate() {
            model.take(&rows.concat(), policy, |base| losing > 0 && base.0[0] % 4 < losing - 1);
            edits.iter().for_each(|edit| apply(&mut rows, edit, day));
        }
        model.take(&rows.concat(), policy, |_| false);
    }
}

#[test]
fn a_few_changed_rows_cost_little_more_than_themselves() {
    let (mut model, mut rows) = (Model::default(), rows(2, 2_000));
    let policy = Policy { base_min: 64, ..Policy::STREAMS };
    let first = model.take(&rows.concat(), policy, |_| false);
    assert_eq!(first, rows.concat().len());
    assert_eq!(model.take(&rows.concat(), policy, |_| false), 0);
    for day in 0..5 {
        for at in [100, 700, 1_500] {
            apply(&mut rows, &Edit::Change(at + day), day);
            apply(&mut rows, &Edit::Insert(at + 10 * day), day);
        }
        let new = model.take(&rows.concat(), policy, |_| false);
        assert!(new > 0 && new < first / 15, "day {day}: {new} of {first}");
    }
}

#[test]
fn of_too_many_pieces_some_are_found_and_the_others_beside_them() {
    let chunk = rows(3, 400).concat();
    let pieces = cutter().cut(&chunk);
    let table = vec![Arc::new(ChunkPieces::literal(id(&chunk), &pieces))];
    let mut matcher = Matcher::with_entries_max(40);
    matcher.add(0, &table[0]);
    // Without its first rows nothing stands where it is expected.
    let places = matcher.find(&pieces[50..], &mut Table(&table));
    assert!(places.iter().all(Option::is_some));
    let offset: u32 = pieces[..50].iter().map(|piece| piece.length).sum();
    assert_eq!(places[0], Some(Place { base: id(&chunk), offset }));
}
