//! Which ranges of which bases are worth a reference.

use std::collections::HashMap;

use super::cut::CutPiece;
use super::matcher::Place;
use crate::id::ChunkId;

/// What is worth a reference.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// A shorter run of known bytes is stored again.
    pub run_min: u32,
    /// A base that gives fewer bytes is not used.
    pub base_min: u32,
    /// Bases of one chunk.
    pub bases_max: usize,
}

impl Policy {
    /// What measured best for dumps. With 64 bases a day of a dump takes 1 % less, and a restore opens several times as many frames.
    pub const STREAMS: Self = Self { run_min: 128, base_min: 2048, bases_max: 12 };
    /// What measured best for files, most of which are one chunk.
    pub const FILES: Self = Self { run_min: 64, base_min: 256, bases_max: 12 };
}

/// Where a range of the chunk comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// A base: its number in [`Plan::bases`], and where in it.
    Base(u8, u32),
    /// New bytes.
    New,
}

/// A range of the chunk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Range {
    /// Where it comes from.
    pub source: Source,
    /// Bytes, at least 1.
    pub length: u32,
}

/// How a chunk is put together.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Plan {
    /// Literal chunks that are used, each by at least one range.
    pub bases: Vec<ChunkId>,
    /// In the order of the chunk.
    pub ranges: Vec<Range>,
    /// Bytes that no base gives.
    pub new_bytes: u32,
}

/// What things cost when they are stored, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// What 1,024 bytes of a literal chunk take.
    pub per_kib: u32,
}

/// Of a range in a compressed recipe.
const RANGE_COST: u64 = 5;
/// Of a base that a chunk uses: its number, and its share of the table of bases, in the pack and in the index file.
const BASE_COST: u64 = 2 * (2 + 16);

impl Plan {
    /// The ranges (base, offset, length) of the recipe, when new bytes start at `offset` of base number `new`.
    pub fn placed(&self, new: u8, mut offset: u32) -> Vec<(u8, u32, u32)> {
        let place = |range: &Range| match range.source {
            Source::Base(base, at) => (base, at, range.length),
            Source::New => {
                let at = offset;
                offset += range.length;
                (new, at, range.length)
            }
        };
        self.ranges.iter().map(place).collect()
    }

    /// What a composed copy takes, without what any copy takes.
    pub fn cost(&self, cost: Cost) -> u64 {
        self.ranges.len() as u64 * RANGE_COST + self.bases.len() as u64 * BASE_COST + cost.literal(self.new_bytes.into())
    }
}

impl Cost {
    /// What so many literal bytes take.
    pub fn literal(self, bytes: u64) -> u64 {
        bytes * u64::from(self.per_kib) / 1024
    }
}

/// Puts a chunk of these pieces together from what is known of them. `usable` is asked once about each base. None: all of it is new.
pub fn plan(
    pieces: &[CutPiece],
    places: &[Option<Place>],
    policy: Policy,
    usable: &mut dyn FnMut(&ChunkId) -> bool,
) -> Option<Plan> {
    let mut runs = runs(pieces, places);
    drop_runs(&mut runs, |run| run.length < policy.run_min);
    let mut given: HashMap<ChunkId, u32> = HashMap::new();
    for run in &runs {
        if let Some(place) = run.place {
            *given.entry(place.base).or_default() += run.length;
        }
    }
    given.retain(|base, bytes| *bytes >= policy.base_min && usable(base));
    let mut bases: Vec<(u32, ChunkId)> = given.into_iter().map(|(base, bytes)| (bytes, base)).collect();
    bases.sort_unstable_by(|a, b| b.cmp(a));
    bases.truncate(policy.bases_max);
    if bases.is_empty() {
        return None;
    }
    let numbers: HashMap<ChunkId, u8> = (0u8..).zip(&bases).map(|(number, &(_, base))| (base, number)).collect();
    drop_runs(&mut runs, |run| run.place.is_some_and(|place| !numbers.contains_key(&place.base)));
    let ranges: Vec<Range> = runs
        .iter()
        .map(|run| Range {
            source: run.place.map_or(Source::New, |place| Source::Base(numbers[&place.base], place.offset)),
            length: run.length,
        })
        .collect();
    let new_bytes = runs.iter().filter(|run| run.place.is_none()).map(|run| run.length).sum();
    Some(Plan { bases: bases.into_iter().map(|(_, base)| base).collect(), ranges, new_bytes })
}

/// Pieces in a row that follow each other in one base, or are all new.
#[derive(Clone, Copy)]
struct Run {
    place: Option<Place>,
    length: u32,
}

impl Run {
    fn joins(&self, place: Option<Place>) -> bool {
        match (self.place, place) {
            (None, None) => true,
            (Some(run), Some(next)) => run.base == next.base && run.offset + self.length == next.offset,
            _ => false,
        }
    }
}

fn runs(pieces: &[CutPiece], places: &[Option<Place>]) -> Vec<Run> {
    let mut runs = Vec::new();
    for (piece, &place) in pieces.iter().zip(places) {
        push(&mut runs, Run { place, length: piece.length });
    }
    runs
}

fn push(runs: &mut Vec<Run>, next: Run) {
    match runs.last_mut() {
        Some(last) if last.joins(next.place) => last.length += next.length,
        _ => runs.push(next),
    }
}

/// Makes runs of known bytes new, and joins them to new ones beside them.
fn drop_runs(runs: &mut Vec<Run>, doomed: impl Fn(&Run) -> bool) {
    let mut kept = Vec::with_capacity(runs.len());
    for run in runs.drain(..) {
        let place = run.place.filter(|_| !doomed(&run));
        push(&mut kept, Run { place, ..run });
    }
    *runs = kept;
}
