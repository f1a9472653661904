//! Chunks of packs that nothing gives back, looked for in another repository: the same data may be stored there under other names.
//!
//! Its data chunks are read one after the other and named as they would be here; those that are lost are stored again, in new packs, by
//! a session that commits nothing. Folders and lists name chunks, so they are other bytes there: copying a snapshot makes them anew.
//!
//! Memory: the ids that are lost, and some frames.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use crate::catalog::PackNumber;
use crate::crypto::ChunkType;
use crate::format::pack::{ChunkRow, Class, PackFacts, RowEncoding};
use crate::id::{ChunkId, PackId};
use crate::monitor::{Monitor, Phase, Stop};
use crate::parallel::{self, Feed};
use crate::repair::RepairError;
use crate::repository::writer::{Named, Writer, WriterOptions};
use crate::repository::{Reader, Repository, RepositoryError};

/// Rows asked about at a time.
const BATCH: usize = 4096;

/// What was lost, and found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct OtherSummary {
    /// Data chunks that no usable copy is left of.
    pub lost: u64,
    /// Those that were (or could be) stored again.
    pub found: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Trees and lists that no usable copy is left of: not looked for.
    pub trees_lost: u64,
    /// Packs whose contents nobody knows any more.
    pub unknown: u64,
}

impl OtherSummary {
    /// All that was lost is there again.
    pub fn is_whole(&self) -> bool {
        self.found == self.lost && self.trees_lost == 0 && self.unknown == 0
    }
}

/// Looks for what stood in `packs`, which are damaged or missing for good. A dry run says what would be found.
pub fn run(
    repository: &Arc<Repository>,
    others: &[Arc<Repository>],
    packs: &[PackId],
    dry_run: bool,
    monitor: &Arc<dyn Monitor>,
    stop: &Stop,
) -> Result<OtherSummary, RepairError> {
    repository.need_owner("repairing")?;
    for other in others {
        other.need_owner("reading another repository")?;
    }
    let mut writer = Writer::begin(repository, WriterOptions { dry_run }, monitor, stop)?;
    writer.distrust(packs);
    let mut search = Search { writer: &mut writer, summary: OtherSummary::default(), lost: HashSet::new(), dry_run };
    let found = search.lost(packs).and_then(|()| others.iter().try_for_each(|other| search.look_in(other, monitor, stop)));
    let summary = search.summary;
    // What was found stands in durable packs that index files name, also when the rest was not to be had.
    let stored = writer.flush();
    writer.abandon();
    found?;
    stored?;
    Ok(summary)
}

struct Search<'a> {
    writer: &'a mut Writer,
    summary: OtherSummary,
    /// Data chunks that are lost and not found yet.
    lost: HashSet<ChunkId>,
    dry_run: bool,
}

impl Search<'_> {
    /// Everything in these packs of which nothing usable is left, and what is composed of it.
    fn lost(&mut self, packs: &[PackId]) -> Result<(), RepositoryError> {
        for id in packs {
            match self.writer.catalog().facts_of(id)? {
                Some(facts) => self.lost_rows(&facts, |_| true)?,
                None => self.summary.unknown += 1,
            }
        }
        for (number, _) in self.writer.catalog().known()? {
            let Some(facts) = self.writer.catalog().facts(number)? else { continue };
            if facts.directory.bases.iter().any(|base| self.lost.contains(base)) {
                let lost = self.lost.clone();
                let directory = &facts.directory;
                self.lost_rows(&facts, |encoding| directory.bases_of(encoding).any(|base| lost.contains(&base)))?;
            }
        }
        self.summary.lost = self.lost.len() as u64;
        Ok(())
    }

    fn lost_rows(&mut self, facts: &PackFacts, counts: impl Fn(&RowEncoding) -> bool) -> Result<(), RepositoryError> {
        // A session stores in its own generation: what an older one named is named otherwise now.
        if facts.generation() != self.writer.repository().generation() {
            self.summary.unknown += 1;
            return Ok(());
        }
        let rows: Vec<(ChunkType, ChunkId)> = facts
            .directory
            .chunks
            .iter()
            .filter(|chunk| counts(&chunk.encoding))
            .map(|chunk| (chunk.chunk_type, chunk.id))
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect();
        for batch in rows.chunks(BATCH) {
            for ((kind, id), home) in batch.iter().zip(self.writer.find_known(batch)?) {
                match (kind, home) {
                    (_, Some(_)) => {}
                    (ChunkType::Data, None) => drop(self.lost.insert(*id)),
                    (ChunkType::Tree | ChunkType::List, None) => self.summary.trees_lost += 1,
                }
            }
        }
        Ok(())
    }

    /// Reads every data pack of another repository, until nothing is lost any more.
    fn look_in(&mut self, other: &Arc<Repository>, monitor: &Arc<dyn Monitor>, stop: &Stop) -> Result<(), RepositoryError> {
        if self.lost.is_empty() {
            return Ok(());
        }
        let reader = Reader::new(other, &**monitor)?;
        let mut packs: Vec<PackNumber> = reader.view().iter().map(|(number, _)| number).collect();
        packs.sort_unstable();
        monitor.begin(Phase::Copy, packs.len() as u64, 0);
        // Workers look at what was lost when this began; a chunk found twice is stored once.
        let (wanted, repository) = (self.lost.clone(), Arc::clone(self.writer.repository()));
        parallel::pipeline::<_, _, _, RepositoryError>(
            parallel::cores(),
            parallel::cores() + 1,
            |feed| frames(&reader, &packs, &**monitor, stop, feed),
            |(pack, frame)| find_in(&reader, &repository, &wanted, pack, frame),
            |found| {
                stop.check()?;
                for (id, bytes) in found? {
                    self.take(id, &bytes)?;
                }
                Ok(())
            },
        )
    }

    fn take(&mut self, id: ChunkId, bytes: &[u8]) -> Result<(), RepositoryError> {
        if !self.lost.remove(&id) {
            return Ok(());
        }
        self.summary.found += 1;
        self.summary.bytes += bytes.len() as u64;
        if !self.dry_run {
            self.writer.place(&[Named { chunk_type: ChunkType::Data, id, bytes }])?;
        }
        Ok(())
    }
}

/// Frames that hold data, in their order: those of data packs, and of metadata packs with composed chunks.
fn frames<U>(
    reader: &Reader,
    packs: &[PackNumber],
    monitor: &dyn Monitor,
    stop: &Stop,
    feed: &Feed<(PackNumber, u32), U>,
) -> Result<(), RepositoryError> {
    for &pack in packs {
        stop.check()?;
        let facts = reader.facts(pack)?;
        if facts.class == Class::Data || !facts.directory.bases.is_empty() {
            for frame in 0..facts.directory.frames.len() as u32 {
                if feed.push((pack, frame)).is_err() {
                    return Ok(());
                }
            }
        }
        monitor.advance(1, facts.size);
    }
    Ok(())
}

/// The wanted chunks of one frame, each by the name it has here. A frame that cannot be read has none.
fn find_in(
    reader: &Reader,
    repository: &Repository,
    wanted: &HashSet<ChunkId>,
    pack: PackNumber,
    frame: u32,
) -> Result<Vec<(ChunkId, Vec<u8>)>, RepositoryError> {
    let facts = reader.facts(pack)?;
    let mut found = Vec::new();
    let is_data = |chunk: &ChunkRow| chunk.frame == frame && chunk.chunk_type == ChunkType::Data;
    for (row, chunk) in (0u32..).zip(&facts.directory.chunks).filter(|(_, chunk)| is_data(chunk)) {
        let bytes = match reader.read_copy(chunk.chunk_type, &chunk.id, pack, row) {
            Ok(bytes) => bytes,
            Err(RepositoryError::Stopped) => return Err(RepositoryError::Stopped),
            Err(_) => continue,
        };
        let id = repository.data_id(&bytes);
        if wanted.contains(&id) {
            found.push((id, bytes));
        }
    }
    Ok(found)
}
