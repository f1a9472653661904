//! Chunks that are put together from chunks which are stored already.
//!
//! A new chunk of a stream is looked for in the *table of pieces* that this machine keeps of the same stream as it was last time
//! ([`crate::pieces`]). What is found becomes ranges of literal chunks. What is new of several chunks is gathered, in order, into literal
//! chunks of their own. A chunk waits for its recipe until what it has of the gathered bytes has a name.
//!
//! A base is used only when a literal copy of it may be relied on (I12), and its pack counts as used by this session, as any other does.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock};

use super::{Home, Named, Writer};
use crate::catalog::{Catalog, PackNumber, PieceTable, Trust};
use crate::chunker::Chunker;
use crate::crypto::ChunkType;
use crate::format::limits;
use crate::format::pack::recipe::{self, Recipe, RecipeRange};
use crate::id::ChunkId;
use crate::pieces::{Blocks, ChunkPieces, Cost, CutPiece, Cutter, Matcher, Plan, Policy, Source, plan};
use crate::planted;
use crate::repository::{Repository, RepositoryError};

/// New bytes of composed chunks that become one literal chunk.
const GATHERED_MAX_BYTES: usize = 256 << 10;
/// Bytes of rows that wait to be put into the table.
const ROWS_WAITING_MAX_BYTES: usize = 1 << 20;
/// Chunks of the table that are held in memory, of some 10 KiB each.
const BLOCKS_MAX: usize = 512;
/// Rows of chunks that the stream has no more may make up this part of a table, one in so many. Of a full table of a directory so many of
/// the oldest go.
const STALE_ONE_IN: usize = 4;
/// Bytes that one table may hold, and rows. The pieces of what follows are not remembered.
const TABLE_MAX_BYTES: u64 = 128 << 20;
const TABLE_MAX_ROWS: usize = 1 << 18;
/// Composed chunks whose packs are remembered for the next run; files with others are read again then.
const HOMES_MAX: usize = 1 << 20;
/// A shorter chunk is not cut: what a composed copy costs besides its bytes is a good part of it.
const CHUNK_MIN_BYTES: usize = 2048;

/// Cuts chunks into pieces, on any thread.
#[derive(Clone)]
pub struct PieceCutter {
    cutter: Cutter,
    /// Chunks whose pieces are in the table; empty until it is loaded.
    known: Arc<OnceLock<HashSet<ChunkId>>>,
}

impl PieceCutter {
    /// The pieces of a chunk; none of a chunk whose pieces are known.
    pub fn cut(&self, id: &ChunkId, bytes: &[u8]) -> Option<Vec<CutPiece>> {
        if !(CHUNK_MIN_BYTES..=limits::BASE_SIZE_MAX as usize).contains(&bytes.len())
            || self.known.get().is_some_and(|known| known.contains(id))
        {
            return None;
        }
        Some(self.cutter.cut(bytes)).filter(|pieces| !pieces.is_empty())
    }
}

/// What chunks are of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Of {
    /// A stream: every chunk of it comes by.
    Stream,
    /// The files of a directory: only those that changed come by.
    Files,
}

/// Whose pieces: the same names mean the same table, run after run.
#[derive(Clone, Copy, Debug)]
pub struct PiecesOf<'a> {
    /// What it is.
    pub of: Of,
    /// The host.
    pub host: &'a str,
    /// The source.
    pub source: &'a str,
    /// The stream within its source; empty for a directory.
    pub stream: &'a str,
    /// New chunks may be composed.
    pub compose: bool,
}

/// What is known of the stream or directory that is written now.
struct Open {
    of: Of,
    /// Of the source.
    name: String,
    table: PieceTable,
    /// New chunks may be composed.
    compose: bool,
    /// The chunks of the table as it was: number of the row, and chunk. None: nothing needed them yet.
    rows: Option<Vec<(i64, ChunkId)>>,
    known: Arc<OnceLock<HashSet<ChunkId>>>,
    /// Made for the first chunk that is new.
    matcher: Option<Matcher>,
    blocks: HashMap<u32, Arc<ChunkPieces>>,
    /// Where a base was found.
    homes: HashMap<ChunkId, Option<Home>>,
    /// Chunks of the stream as it is now, by the first bytes of their ids.
    visited: HashSet<u64>,
    waiting: Vec<(ChunkId, Vec<u8>)>,
    waiting_bytes: usize,
    table_bytes: u64,
    table_rows: usize,
}

/// A composed chunk of this session whose packs are worth remembering.
pub type ComposedNumber = u32;

/// What a composed chunk needs.
#[derive(Default)]
struct Needs {
    /// Nothing will be added.
    complete: bool,
    homes: Vec<Home>,
}

/// A chunk that waits for the name of what is gathered.
struct Pending {
    id: ChunkId,
    length: u32,
    plan: Plan,
    pieces: Vec<CutPiece>,
    /// Where its new bytes start among the gathered ones.
    gathered_at: u32,
    home: Home,
}

/// The state of composing in a writer.
#[derive(Default)]
pub(super) struct Composer {
    open: Option<Open>,
    gathered: Vec<u8>,
    pending: Vec<Pending>,
    /// Composed chunks whose packs are not durable yet.
    in_hand: HashMap<ChunkId, Home>,
    /// By [`ComposedNumber`].
    needs: Vec<Needs>,
}

impl Composer {
    pub(super) fn in_hand(&self, id: &ChunkId) -> Option<Home> {
        self.in_hand.get(id).copied()
    }

    /// What a composed chunk needs, once all of it is known.
    pub(super) fn homes(&self, number: ComposedNumber) -> Option<&[Home]> {
        self.needs.get(number as usize).filter(|needs| needs.complete).map(|needs| needs.homes.as_slice())
    }

    /// The home of a composed copy that is durable, and needs these packs.
    pub(super) fn known(&mut self, packs: &[PackNumber]) -> Home {
        self.remember(Needs { complete: true, homes: packs.iter().map(|&number| Home::Pack(number)).collect() })
    }

    /// Only of files is anything remembered for the next run.
    fn remember(&mut self, needs: Needs) -> Home {
        let of_files = self.open.as_ref().is_some_and(|open| open.of == Of::Files);
        if !of_files || self.needs.len() >= HOMES_MAX {
            return Home::Elsewhere;
        }
        self.needs.push(needs);
        Home::Composed(self.needs.len() as u32 - 1)
    }

    /// Adds to what a composed chunk needs.
    fn needs_also(&mut self, home: Home, more: &[Home]) {
        if let Home::Composed(number) = home
            && let Some(needs) = self.needs.get_mut(number as usize)
        {
            needs.homes.extend_from_slice(more);
            needs.complete = true;
        }
    }

    pub(super) fn is_durable(&mut self, id: &ChunkId) {
        self.in_hand.remove(id);
    }
}

struct Rows<'a> {
    catalog: &'a Catalog,
    table: PieceTable,
    rows: &'a [(i64, ChunkId)],
    blocks: &'a mut HashMap<u32, Arc<ChunkPieces>>,
}

impl Blocks for Rows<'_> {
    fn block(&mut self, number: u32) -> Option<Arc<ChunkPieces>> {
        if let Some(known) = self.blocks.get(&number) {
            return Some(Arc::clone(known));
        }
        let (_, chunk) = self.rows.get(number as usize)?;
        let bytes = self.catalog.pieces(self.table, chunk).ok().flatten()?;
        let block = Arc::new(ChunkPieces::decode(&bytes).ok()?);
        if self.blocks.len() >= BLOCKS_MAX {
            self.blocks.clear();
        }
        self.blocks.insert(number, Arc::clone(&block));
        Some(block)
    }
}

impl Open {
    fn find(&mut self, catalog: &Catalog, pieces: &[CutPiece]) -> Vec<Option<crate::pieces::Place>> {
        let mut rows =
            Rows { catalog, table: self.table, rows: self.rows.as_deref().unwrap_or_default(), blocks: &mut self.blocks };
        let matcher = self.matcher.get_or_insert_with(|| {
            let mut matcher = Matcher::default();
            for number in 0..rows.rows.len() as u32 {
                if let Some(block) = rows.block(number) {
                    matcher.add(number, &block);
                }
            }
            matcher
        });
        matcher.find(pieces, &mut rows)
    }

    fn is_nearly_full(&self) -> bool {
        self.table_bytes > TABLE_MAX_BYTES / 4 * 3 || self.table_rows > TABLE_MAX_ROWS / 4 * 3
    }

    fn policy(&self) -> Policy {
        match self.of {
            Of::Stream => Policy::STREAMS,
            Of::Files => Policy::FILES,
        }
    }

    fn remember(&mut self, chunk: ChunkId, pieces: &ChunkPieces) {
        let row = pieces.encode();
        if self.table_bytes + row.len() as u64 > TABLE_MAX_BYTES || self.table_rows >= TABLE_MAX_ROWS {
            return;
        }
        self.table_rows += 1;
        self.table_bytes += row.len() as u64;
        self.waiting_bytes += row.len();
        self.waiting.push((chunk, row));
    }
}

impl Writer {
    /// A stream or directory follows: its chunks may be composed of what it had last time.
    pub fn begin_pieces(&mut self, pieces: PiecesOf<'_>) -> Result<PieceCutter, RepositoryError> {
        self.close_gathered()?;
        let PiecesOf { of, host, source, stream, compose } = pieces;
        let known: Arc<OnceLock<HashSet<ChunkId>>> = Arc::default();
        self.composer.open = Some(Open {
            of,
            name: source.to_owned(),
            table: table_of(&self.repository, host, source, stream),
            compose,
            known: Arc::clone(&known),
            table_rows: 0,
            table_bytes: 0,
            rows: None,
            matcher: None,
            blocks: HashMap::new(),
            homes: HashMap::new(),
            visited: HashSet::new(),
            waiting: Vec::new(),
            waiting_bytes: 0,
        });
        let chunker = Chunker::new(&self.repository.objects.keys.cut_key());
        Ok(PieceCutter { cutter: Cutter::new(&piece_key(&self.repository), chunker), known })
    }

    /// A chunk is about to be cut: what is known of the table is needed now. Of a directory in which nothing changed it never is.
    pub fn load_pieces(&mut self) -> Result<(), RepositoryError> {
        let Some(open) = self.composer.open.as_mut().filter(|open| open.rows.is_none()) else { return Ok(()) };
        let rows = self.catalog.piece_chunks(open.table)?;
        if rows.is_empty() && !self.catalog.view().is_empty() {
            self.monitor.note(&format!(
                "nothing is known of the pieces of {} as it was last time: chunks that changed are stored whole",
                open.name
            ));
        }
        open.table_rows = rows.len();
        open.table_bytes = self.catalog.pieces_bytes(open.table)?;
        open.known.get_or_init(|| rows.iter().map(|&(_, chunk)| chunk).collect());
        open.rows = Some(rows);
        Ok(())
    }

    /// The stream ended well: what was learnt of its pieces is kept for the next run on this host. It may be lost.
    pub fn end_pieces(&mut self) -> Result<(), RepositoryError> {
        self.close_gathered()?;
        self.put_rows()?;
        let Some(open) = self.composer.open.take() else { return Ok(()) };
        if self.options.dry_run {
            return Ok(());
        }
        let Some(rows) = &open.rows else { return Ok(()) };
        let stale: Vec<i64> =
            rows.iter().filter(|(_, chunk)| !open.visited.contains(&prefix(chunk))).map(|&(number, _)| number).collect();
        let doomed = match open.of {
            Of::Stream if stale.len() * STALE_ONE_IN > rows.len() => stale.as_slice(),
            // Files that did not change were not met: the oldest rows are as likely stale as any.
            Of::Files if open.is_nearly_full() => &stale[..stale.len() / STALE_ONE_IN],
            _ => return Ok(()),
        };
        Ok(self.catalog.forget_pieces(doomed)?)
    }

    /// A chunk of the stream that is stored already.
    pub(super) fn seen_known(&mut self, chunk: &Named<'_>, home: Home, pieces: Option<&[CutPiece]>) -> Result<(), RepositoryError> {
        let Some(open) = &mut self.composer.open else { return Ok(()) };
        open.visited.insert(prefix(&chunk.id));
        // Where the bytes of a composed chunk are is known only to the run that composed it.
        if let (Some(pieces), Home::Pack(_) | Home::Frame(_)) = (pieces, home) {
            open.remember(chunk.id, &ChunkPieces::literal(chunk.id, pieces));
            self.put_rows_if_many()?;
        }
        Ok(())
    }

    /// Composes a new chunk, if that costs less than storing its bytes.
    pub(super) fn compose(&mut self, chunk: &Named<'_>, pieces: &[CutPiece]) -> Result<Option<Home>, RepositoryError> {
        let Some(open) = &mut self.composer.open else { return Ok(None) };
        open.visited.insert(prefix(&chunk.id));
        if !open.compose || open.rows.as_ref().is_none_or(Vec::is_empty) {
            return Ok(None);
        }
        let places = open.find(&self.catalog, pieces);
        self.find_bases(places.iter().flatten().map(|place| place.base))?;
        let Some(open) = &self.composer.open else { return Ok(None) };
        let view = self.catalog.view();
        let usable = &mut |base: &ChunkId| {
            *base != chunk.id
                && match open.homes.get(base).copied().flatten() {
                    Some(Home::Pack(number)) => view.contains(number),
                    Some(Home::Frame(_)) => self.in_hand.contains_key(&(ChunkType::Data, *base)),
                    _ => planted::is("composed-from-lost-bases"),
                }
        };
        let Some(plan) = plan(pieces, &places, open.policy(), usable) else { return Ok(None) };
        let cost = Cost { per_kib: self.packer.data_per_kib() };
        if plan.cost(cost) >= cost.literal(chunk.bytes.len() as u64) {
            return Ok(None);
        }
        self.hold(chunk, pieces, plan).map(Some)
    }

    /// Where these chunks have literal copies that may be relied on.
    fn find_bases(&mut self, bases: impl Iterator<Item = ChunkId>) -> Result<(), RepositoryError> {
        let Some(open) = &mut self.composer.open else { return Ok(()) };
        let mut wanted: Vec<(ChunkType, ChunkId)> = Vec::new();
        for base in bases {
            let key = (ChunkType::Data, base);
            match open.homes.get(&base) {
                Some(Some(Home::Pack(number))) if self.catalog.view().contains(*number) => {}
                _ => match self.in_hand.get(&key) {
                    Some(&frame) => drop(open.homes.insert(base, Some(Home::Frame(frame)))),
                    None => {
                        if open.homes.insert(base, None).is_none_or(|home| home.is_some()) {
                            wanted.push(key);
                        }
                    }
                },
            }
        }
        for (nth, copy) in self.catalog.find(self.repository.objects(), &wanted, Trust::Reliable)? {
            if !copy.composed {
                open.homes.insert(wanted[nth].1, Some(Home::Pack(copy.pack)));
            }
        }
        Ok(())
    }

    /// Takes a composed chunk in hand, with what is new of it.
    fn hold(&mut self, chunk: &Named<'_>, pieces: &[CutPiece], plan: Plan) -> Result<Home, RepositoryError> {
        self.totals.data_chunks_new += 1;
        self.totals.chunks_composed += 1;
        self.totals.bytes_composed += chunk.bytes.len() as u64 - u64::from(plan.new_bytes);
        if self.options.dry_run {
            self.totals.bytes_added += u64::from(plan.new_bytes);
            self.composer.in_hand.insert(chunk.id, Home::Elsewhere);
            return Ok(Home::Elsewhere);
        }
        let mut needs = Needs::default();
        for base in &plan.bases {
            let home = self.composer.open.as_ref().and_then(|open| open.homes.get(base).copied().flatten());
            needs.homes.extend(home);
            if let Some(Home::Pack(number)) = home.filter(|_| !planted::is("composed-from-unpinned-bases")) {
                self.use_pack(number);
            }
        }
        if self.composer.gathered.len() + plan.new_bytes as usize > GATHERED_MAX_BYTES {
            self.close_gathered()?;
        }
        let composer = &mut self.composer;
        let gathered_at = composer.gathered.len() as u32;
        let mut at = 0;
        for range in &plan.ranges {
            let bytes = &chunk.bytes[at..at + range.length as usize];
            if range.source == Source::New {
                composer.gathered.extend_from_slice(bytes);
            }
            at += bytes.len();
        }
        let home = composer.remember(needs);
        composer.in_hand.insert(chunk.id, home);
        composer.pending.push(Pending {
            id: chunk.id,
            length: chunk.bytes.len() as u32,
            plan,
            pieces: pieces.to_vec(),
            gathered_at,
            home,
        });
        Ok(home)
    }

    /// Gives the gathered bytes a name, and stores the recipes that waited for it.
    pub(super) fn close_gathered(&mut self) -> Result<(), RepositoryError> {
        let pending = std::mem::take(&mut self.composer.pending);
        if pending.is_empty() {
            return Ok(());
        }
        let gathered = std::mem::take(&mut self.composer.gathered);
        let mut name = None;
        if !gathered.is_empty() {
            let id = self.repository.objects.keys.chunk_id(ChunkType::Data, &gathered);
            let home = self.place_literal(&Named { chunk_type: ChunkType::Data, id, bytes: &gathered })?;
            name = Some((id, home));
        }
        for chunk in pending {
            self.store_recipe(chunk, name)?;
        }
        self.put_rows_if_many()
    }

    /// Makes sure that a chunk has a literal copy, and says where.
    fn place_literal(&mut self, chunk: &Named<'_>) -> Result<Home, RepositoryError> {
        let key = (chunk.chunk_type, chunk.id);
        if let Some(&frame) = self.in_hand.get(&key) {
            return Ok(Home::Frame(frame));
        }
        let copies = self.catalog.find(self.repository.objects(), &[key], Trust::Reliable)?;
        match copies.iter().find(|(_, copy)| !copy.composed) {
            Some((_, copy)) => {
                self.use_pack(copy.pack);
                Ok(Home::Pack(copy.pack))
            }
            None => {
                self.totals.data_chunks_new += 1;
                self.totals.bytes_added += chunk.bytes.len() as u64;
                let frame = self.packer.append_gathered(chunk.id, chunk.bytes)?;
                self.in_hand.insert(key, frame);
                Ok(Home::Frame(frame))
            }
        }
    }

    fn store_recipe(&mut self, chunk: Pending, gathered: Option<(ChunkId, Home)>) -> Result<(), RepositoryError> {
        let Pending { id, length, plan, pieces, gathered_at, home } = chunk;
        let mut bases = plan.bases.clone();
        let own = bases.len() as u8;
        if plan.new_bytes > 0 {
            bases.extend(gathered.map(|(id, _)| id));
        }
        let gathered = gathered.filter(|_| plan.new_bytes > 0).map(|(_, home)| home);
        let placed = plan.placed(own, gathered_at);
        if let Some(open) = &mut self.composer.open {
            open.remember(id, &ChunkPieces::composed(bases.clone(), placed.clone(), &pieces));
        }
        let ranges = placed.into_iter().map(|(base, offset, length)| RecipeRange { base, offset, length }).collect();
        let recipe = Recipe { ranges };
        let bytes = recipe::encode(&recipe);
        // What cannot be read is not written.
        recipe::decode(&bytes, bases.len(), length)?;
        self.totals.bytes_added += bytes.len() as u64;
        let frame = self.packer.append_recipe(id, length, bases, &bytes)?;
        let more: Vec<Home> = gathered.into_iter().chain([Home::Frame(frame)]).collect();
        self.composer.needs_also(home, &more);
        Ok(())
    }

    fn put_rows_if_many(&mut self) -> Result<(), RepositoryError> {
        match &self.composer.open {
            Some(open) if open.waiting_bytes >= ROWS_WAITING_MAX_BYTES => self.put_rows(),
            _ => Ok(()),
        }
    }

    fn put_rows(&mut self) -> Result<(), RepositoryError> {
        let Some(open) = &mut self.composer.open else { return Ok(()) };
        let rows = std::mem::take(&mut open.waiting);
        open.waiting_bytes = 0;
        if !rows.is_empty() && !self.options.dry_run {
            self.catalog.put_pieces(open.table, &rows)?;
        }
        Ok(())
    }

    /// A chunk of the stream that was stored with all its bytes.
    pub(super) fn seen_stored(&mut self, chunk: &Named<'_>, pieces: Option<&[CutPiece]>) -> Result<(), RepositoryError> {
        let Some(open) = &mut self.composer.open else { return Ok(()) };
        open.visited.insert(prefix(&chunk.id));
        if let Some(pieces) = pieces {
            open.remember(chunk.id, &ChunkPieces::literal(chunk.id, pieces));
            self.put_rows_if_many()?;
        }
        Ok(())
    }
}

fn prefix(id: &ChunkId) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = id.0;
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

/// The key of piece names: of one repository, one generation and nothing else, and it never leaves this machine.
fn piece_key(repository: &Repository) -> [u8; 16] {
    let mut key = [0; 16];
    derive(repository, b"names").fill(&mut key);
    key
}

fn table_of(repository: &Repository, host: &str, source: &str, stream: &str) -> PieceTable {
    let mut output = {
        let mut hasher = hasher(repository, b"table");
        for name in [host, source, stream] {
            hasher.update(&(name.len() as u64).to_le_bytes()).update(name.as_bytes());
        }
        hasher.finalize_xof()
    };
    let mut number = [0; 8];
    output.fill(&mut number);
    PieceTable(i64::from_le_bytes(number))
}

fn derive(repository: &Repository, what: &[u8]) -> blake3::OutputReader {
    hasher(repository, what).finalize_xof()
}

fn hasher(repository: &Repository, what: &[u8]) -> blake3::Hasher {
    let mut hasher = blake3::Hasher::new_derive_key("esker 2026-11 v1 pieces");
    hasher.update(&repository.objects.keys.cache_key()).update(&repository.id().0).update(what);
    hasher
}
