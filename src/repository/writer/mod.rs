//! The writer: the one place, on one thread, where a chunk is decided to be known or new.
//!
//! It keeps the order of the commit protocol (`format-spec/protocol.md`): session record, listings, chunks, packs, index file,
//! acknowledgement, snapshot object. Every reference to an existing chunk passes its test (R16). It never deletes anything. New
//! chunks of streams may be composed ([`composer`]); all others are literal.

mod composer;
mod memory;
mod records;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use crate::catalog::{Catalog, PackNumber, Trust};
use crate::crypto::ChunkType;
use crate::format::pack::Class;
use crate::format::snapshot::{RunFacts, Snapshot};
use crate::id::{ChunkId, PackId, SnapshotId};
use crate::monitor::{Monitor, Phase, Stop};
use crate::pieces::CutPiece;
use crate::planted;
use crate::records::session::Session;
use crate::records::{RecordError, Records};
use crate::repository::packing::{FrameNumber, Packer};
use crate::repository::{Repository, RepositoryError};

use composer::Composer;
pub use composer::{ComposedNumber, Of, PieceCutter, PiecesOf};

/// How long durable packs may wait for their index file.
const INDEX_EVERY: Duration = Duration::from_secs(180);
/// Directory rows that may wait for their index file.
const INDEX_CHUNKS_MAX: usize = 200_000;
/// How often a session acknowledges gc records.
const ACKNOWLEDGE_EVERY: Duration = Duration::from_secs(600);
/// Acknowledgements in a row that stop below a record which cannot be read before this run makes way. A shorter run commits: what it
/// does not acknowledge only makes a prune wait for its end, and a thief's garbage in gc/ must not stop backups.
const ROUNDS_BLOCKED_MAX: u32 = 3;
/// A dry run remembers this many new chunks to count repetitions once.
const DRY_RUN_CHUNKS_MAX: usize = 1 << 20;

/// A chunk with its name, ready for the decision.
#[derive(Clone, Copy, Debug)]
pub struct Named<'a> {
    /// Its type.
    pub chunk_type: ChunkType,
    /// Its name.
    pub id: ChunkId,
    /// Its plaintext.
    pub bytes: &'a [u8],
}

/// Where a chunk is, as far as this session needs to know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Home {
    /// In a durable pack.
    Pack(PackNumber),
    /// In a frame of this session; [`Writer::packs_of`] knows its pack once it is durable.
    Frame(FrameNumber),
    /// In several packs: a composed copy and its bases. [`Writer::packs_of`] knows them once all are durable.
    Composed(ComposedNumber),
    /// In several packs, or nowhere (a dry run): not worth remembering.
    Elsewhere,
}

/// The decision about one chunk.
#[derive(Clone, Copy, Debug)]
pub struct Placed {
    /// Was it stored by this call?
    pub new: bool,
    /// Where it is.
    pub home: Home,
}

/// What a session stored.
#[derive(Clone, Copy, Debug, Default)]
pub struct WriterTotals {
    /// New data chunks.
    pub data_chunks_new: u64,
    /// New tree and list chunks.
    pub tree_chunks_new: u64,
    /// Plaintext bytes of new chunks; of composed ones, those of their recipes and what is new of them.
    pub bytes_added: u64,
    /// New data chunks that are composed of others.
    pub chunks_composed: u64,
    /// Bytes of them that others hold, so that they were not stored again.
    pub bytes_composed: u64,
    /// Bytes handed to the store, everything included.
    pub bytes_stored: u64,
}

/// What a commit made.
#[derive(Clone, Copy, Debug)]
pub struct Committed {
    /// The snapshot.
    pub id: SnapshotId,
    /// Totals of the session.
    pub totals: WriterTotals,
}

/// How to write.
#[derive(Clone, Debug, Default)]
pub struct WriterOptions {
    /// Decide everything, store nothing.
    pub dry_run: bool,
}

/// One session of a writer; see the top of this file.
pub struct Writer {
    repository: Arc<Repository>,
    monitor: Arc<dyn Monitor>,
    stop: Stop,
    options: WriterOptions,
    session: Option<Session>,
    catalog: Catalog,
    packer: Packer,
    in_hand: HashMap<(ChunkType, ChunkId), FrameNumber>,
    frame_packs: Vec<Option<PackNumber>>,
    composer: Composer,
    used: HashSet<PackId>,
    last_used: Option<PackNumber>,
    indexed_at: Duration,
    acknowledged_at: Duration,
    rounds_blocked: u32,
    totals: WriterTotals,
}

impl Writer {
    /// S0 to S2 and the first acknowledgement.
    pub fn begin(
        repository: &Arc<Repository>,
        options: WriterOptions,
        monitor: &Arc<dyn Monitor>,
        stop: &Stop,
    ) -> Result<Self, RepositoryError> {
        Self::start(repository, options, false, monitor, stop)
    }

    /// The same for a run that is there because snapshots are gone: that the last one of this host is missing does not stop it.
    pub(crate) fn begin_after_loss(
        repository: &Arc<Repository>,
        options: WriterOptions,
        monitor: &Arc<dyn Monitor>,
        stop: &Stop,
    ) -> Result<Self, RepositoryError> {
        Self::start(repository, options, true, monitor, stop)
    }

    fn start(
        repository: &Arc<Repository>,
        options: WriterOptions,
        after_loss: bool,
        monitor: &Arc<dyn Monitor>,
        stop: &Stop,
    ) -> Result<Self, RepositoryError> {
        repository.need_write_features()?;
        if !options.dry_run {
            repository.try_store_once()?;
        }
        monitor.begin(Phase::Sync, 0, 0);
        // R10: the session record is durable before anything is listed.
        let mut session = if options.dry_run { None } else { Some(Session::start(&repository.records(), &repository.host)?) };
        let catalog = match Self::look_around(repository, after_loss, &mut session, &**monitor) {
            Ok(seen) => seen,
            Err(error) => {
                // Nothing was written and nothing will be: nobody has to wait for this session.
                if let Some(session) = session {
                    let _ = session.give_up(&repository.records());
                }
                return Err(error);
            }
        };
        let now = repository.objects.clock.monotonic();
        let mut writer = Self {
            repository: Arc::clone(repository),
            monitor: Arc::clone(monitor),
            stop: stop.clone(),
            options,
            session,
            catalog,
            packer: Packer::new(
                Arc::clone(&repository.objects.store),
                Arc::clone(&repository.objects.sealer),
                repository.config.level,
                repository.config.parity_percent(),
            ),
            in_hand: HashMap::new(),
            frame_packs: Vec::new(),
            composer: Composer::default(),
            used: HashSet::new(),
            last_used: None,
            indexed_at: now,
            acknowledged_at: now,
            rounds_blocked: 0,
            totals: WriterTotals::default(),
        };
        if let Err(error) = writer.adopt_orphans() {
            if let Some(session) = writer.session.take() {
                let _ = session.give_up(&repository.records());
            }
            return Err(error);
        }
        Ok(writer)
    }

    /// S1, S2 and the first acknowledgement.
    fn look_around(
        repository: &Arc<Repository>,
        after_loss: bool,
        session: &mut Option<Session>,
        monitor: &dyn Monitor,
    ) -> Result<Catalog, RepositoryError> {
        let mut catalog = repository.open_catalog()?;
        let seen = repository.sync(&mut catalog, monitor)?;
        // Packs that the config lists as damaged are in no writer's view: whoever still has their chunks stores them again.
        if !planted::is("damaged-packs-trusted") {
            catalog.distrust(repository.config.damaged_packs());
        }
        if !after_loss {
            repository.check_not_rolled_back(seen.number)?;
        }
        if let Some(session) = session {
            session.acknowledge(&repository.records(), seen.number, &seen.records, &[])?;
            // For the next prune, which would wait for them; it finds out itself what is not found out here.
            let _ = repository.revoke_dead_here(Some(session.id()));
        }
        Ok(catalog)
    }

    /// The repository this writes to.
    pub fn repository(&self) -> &Arc<Repository> {
        &self.repository
    }

    /// The session's id; the snapshot will carry it.
    pub fn snapshot_id(&self) -> Option<SnapshotId> {
        self.session.as_ref().map(|session| session.id().into())
    }

    /// Totals so far.
    pub fn totals(&self) -> WriterTotals {
        self.totals
    }

    /// The catalog of this session.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Does a remembered number still name a pack that may be relied on?
    pub(crate) fn is_usable(&self, number: PackNumber) -> bool {
        self.catalog.view().contains(number)
    }

    /// Relies on no copy in these packs, so their chunks are stored again.
    pub(crate) fn distrust(&mut self, packs: &[PackId]) {
        self.catalog.distrust(packs.iter().copied());
    }

    /// Records that chunks in this pack are used, without a look-up of each.
    pub(crate) fn use_pack(&mut self, number: PackNumber) {
        if self.last_used == Some(number) {
            return;
        }
        self.last_used = Some(number);
        if let Some(id) = self.catalog.view().id(number) {
            self.used.insert(id);
        }
    }

    /// The packs that a chunk needs, once they are durable and worth remembering.
    pub(crate) fn packs_of(&self, home: Home) -> Option<Vec<PackNumber>> {
        match home {
            Home::Pack(number) => Some(vec![number]),
            Home::Frame(frame) => self.frame_packs.get(frame as usize).copied().flatten().map(|number| vec![number]),
            Home::Composed(number) => {
                let homes = self.composer.homes(number)?;
                Some(homes.iter().map(|&home| self.packs_of(home)).collect::<Option<Vec<_>>>()?.concat())
            }
            Home::Elsewhere => None,
        }
    }

    /// Decides each chunk in order: known chunks are used, new ones are stored. Gives one answer for each chunk.
    pub fn place(&mut self, chunks: &[Named<'_>]) -> Result<Vec<Placed>, RepositoryError> {
        self.place_cut(chunks, &[])
    }

    /// As [`Writer::place`], with the pieces of each chunk where they are known: new chunks may be composed.
    pub fn place_cut(&mut self, chunks: &[Named<'_>], pieces: &[Option<Vec<CutPiece>>]) -> Result<Vec<Placed>, RepositoryError> {
        self.stop.check()?;
        self.settle()?;
        let mut homes: Vec<Option<Home>> = chunks.iter().map(|chunk| self.in_hand(chunk)).collect();
        self.look_up(chunks, &mut homes)?;
        let mut placed = Vec::with_capacity(chunks.len());
        for (nth, (chunk, home)) in chunks.iter().zip(homes).enumerate() {
            // The same chunk may have come earlier in this batch.
            let home = home.or_else(|| self.in_hand(chunk));
            let pieces = pieces.get(nth).and_then(Option::as_deref);
            placed.push(match home {
                Some(home) => {
                    if let Home::Pack(number) = home {
                        self.use_pack(number);
                    }
                    self.seen_known(chunk, home, pieces)?;
                    Placed { new: false, home }
                }
                None => Placed { new: true, home: self.store(chunk, pieces)? },
            });
        }
        Ok(placed)
    }

    /// Is the place of this chunk final, whether or not it is worth remembering?
    pub(crate) fn is_settled(&self, home: Home) -> bool {
        !matches!(home, Home::Frame(_) | Home::Composed(_)) || self.packs_of(home).is_some()
    }

    /// Nothing is stored by this writer.
    pub(crate) fn is_dry_run(&self) -> bool {
        self.options.dry_run
    }

    /// Are all these chunks known? If so, they count as used.
    pub fn use_if_known(&mut self, wanted: &[(ChunkType, ChunkId)]) -> Result<bool, RepositoryError> {
        let chunks: Vec<Named<'_>> = wanted.iter().map(|&(chunk_type, id)| Named { chunk_type, id, bytes: &[] }).collect();
        let mut homes = vec![None; chunks.len()];
        self.look_up(&chunks, &mut homes)?;
        if homes.iter().any(Option::is_none) {
            return Ok(false);
        }
        for home in homes {
            if let Some(Home::Pack(number)) = home {
                self.use_pack(number);
            }
        }
        Ok(true)
    }

    /// Where each of these chunks is, if it is known. A known chunk counts as used. Chunks of this session are known, durable or not.
    pub(crate) fn find_known(&mut self, wanted: &[(ChunkType, ChunkId)]) -> Result<Vec<Option<Home>>, RepositoryError> {
        self.settle()?;
        let chunks: Vec<Named<'_>> = wanted.iter().map(|&(chunk_type, id)| Named { chunk_type, id, bytes: &[] }).collect();
        let mut homes: Vec<Option<Home>> = chunks.iter().map(|chunk| self.in_hand(chunk)).collect();
        self.look_up(&chunks, &mut homes)?;
        for home in &homes {
            if let Some(Home::Pack(number)) = *home {
                self.use_pack(number);
            }
        }
        Ok(homes)
    }

    /// Names and places one tree or list chunk.
    pub fn place_metadata(&mut self, chunk_type: ChunkType, bytes: &[u8]) -> Result<(ChunkId, Placed), RepositoryError> {
        let id = self.repository.objects.keys.chunk_id(chunk_type, bytes);
        let placed = self.place(&[Named { chunk_type, id, bytes }])?;
        let placed = placed.first().copied().unwrap_or(Placed { new: false, home: Home::Elsewhere });
        Ok((id, placed))
    }

    /// Another source follows: its chunks get frames of their own.
    pub(crate) fn begin_source(&mut self) -> Result<(), RepositoryError> {
        self.packer.close_frame(Class::Data)
    }

    /// As [`Writer::commit`], for the run that took the snapshot: records what it stored and how long it took.
    pub(crate) fn commit_run(self, mut snapshot: Snapshot, duration: &dyn Fn() -> Duration) -> Result<Committed, RepositoryError> {
        self.commit_as(&snapshot.host.clone(), |totals| {
            snapshot.set_run(Some(RunFacts { bytes_added: totals.bytes_stored, duration: duration() }));
            snapshot
        })
    }

    /// Makes everything durable, indexes it, acknowledges, and then commits.
    pub fn commit(self, snapshot: &Snapshot) -> Result<Committed, RepositoryError> {
        self.commit_as(&snapshot.host, |_| snapshot.clone())
    }

    fn commit_as(mut self, host: &str, snapshot: impl FnOnce(&WriterTotals) -> Snapshot) -> Result<Committed, RepositoryError> {
        self.monitor.begin(Phase::Commit, 0, 0);
        if self.options.dry_run {
            return Ok(Committed { id: SnapshotId([0; 16]), totals: self.totals });
        }
        // I2 and I10: every pack and index file is durable, or there is no commit.
        let ready =
            if planted::is("commit-before-packs") { self.acknowledge() } else { self.flush().and_then(|()| self.acknowledge()) };
        let Some(session) = self.session.take() else { return Err(RepositoryError::Revoked) };
        if let Err(error) = ready {
            // Nothing was committed and nothing will be: nobody has to wait for this session.
            let _ = session.fail(&self.repository.records(), host, &error.to_string());
            return Err(error);
        }
        let (id, stored) = session
            .commit(&self.repository.records(), &snapshot(&self.totals), |id, hash| self.repository.remember_commit(id, hash))?;
        self.totals.bytes_stored += stored;
        self.monitor.uploaded(stored);
        Ok(Committed { id, totals: self.totals })
    }

    /// Gives up: nothing is committed. What is in hand is stored and indexed if possible, so that the next run finds it.
    pub fn abandon(self) {
        self.end(Session::give_up);
    }

    /// As [`Writer::abandon`], for a snapshot of `host` that failed: the reason is kept in the repository.
    pub fn fail(self, host: &str, reason: &str) {
        self.end(|session, records| session.fail(records, host, reason));
    }

    fn end(mut self, session_ends: impl FnOnce(Session, &Records<'_>) -> Result<(), RecordError>) {
        if self.options.dry_run {
            return;
        }
        if let Err(error) = self.flush() {
            self.monitor.note(&format!("not everything uploaded could be indexed: {error}"));
        }
        if let Some(session) = self.session.take()
            && let Err(error) = session_ends(session, &self.repository.records())
        {
            self.monitor.note(&format!("the session could not be closed: {error}"));
        }
    }

    fn look_up(&mut self, chunks: &[Named<'_>], homes: &mut [Option<Home>]) -> Result<(), RepositoryError> {
        if self.catalog.view().is_empty() {
            return Ok(());
        }
        let (mut wanted, mut places) = (Vec::new(), Vec::new());
        for (place, (chunk, home)) in chunks.iter().zip(homes.iter()).enumerate() {
            if home.is_none() {
                wanted.push((chunk.chunk_type, chunk.id));
                places.push(place);
            }
        }
        if wanted.is_empty() {
            return Ok(());
        }
        let mut composed = Vec::new();
        for (nth, copy) in self.catalog.find(self.repository.objects(), &wanted, Trust::Reliable)? {
            let home = &mut homes[places[nth]];
            if home.is_some() {
            } else if copy.composed {
                composed.push((places[nth], copy));
            } else {
                *home = Some(Home::Pack(copy.pack));
            }
        }
        for (place, copy) in composed {
            if homes[place].is_some() {
                continue;
            }
            if let Some(packs) = self.catalog.packs_of_composed(&copy)? {
                let packs = if planted::is("bases-not-pinned") { &[copy.pack][..] } else { &packs };
                self.used.extend(packs.iter().filter_map(|&number| self.catalog.view().id(number)));
                homes[place] = Some(self.composer.known(packs));
            }
        }
        Ok(())
    }

    /// A chunk that this session stored, or is about to.
    fn in_hand(&self, chunk: &Named<'_>) -> Option<Home> {
        match self.in_hand.get(&(chunk.chunk_type, chunk.id)) {
            Some(&frame) => Some(Home::Frame(frame)),
            None if chunk.chunk_type == ChunkType::Data => self.composer.in_hand(&chunk.id),
            None => None,
        }
    }

    /// Stores a new chunk: composed if its pieces are known and that costs less, else with all its bytes.
    fn store(&mut self, chunk: &Named<'_>, pieces: Option<&[CutPiece]>) -> Result<Home, RepositoryError> {
        if let Some(pieces) = pieces
            && let Some(home) = self.compose(chunk, pieces)?
        {
            return Ok(home);
        }
        let home = self.store_new(chunk)?;
        if chunk.chunk_type == ChunkType::Data {
            self.seen_stored(chunk, pieces)?;
        }
        Ok(home)
    }

    fn store_new(&mut self, chunk: &Named<'_>) -> Result<Home, RepositoryError> {
        match chunk.chunk_type {
            ChunkType::Data => self.totals.data_chunks_new += 1,
            ChunkType::Tree | ChunkType::List => self.totals.tree_chunks_new += 1,
        }
        self.totals.bytes_added += chunk.bytes.len() as u64;
        if self.options.dry_run {
            if self.in_hand.len() >= DRY_RUN_CHUNKS_MAX {
                self.in_hand.clear();
            }
            self.in_hand.insert((chunk.chunk_type, chunk.id), FrameNumber::MAX);
            return Ok(Home::Elsewhere);
        }
        let frame = self.packer.append(chunk.chunk_type, chunk.id, chunk.bytes)?;
        self.in_hand.insert((chunk.chunk_type, chunk.id), frame);
        Ok(Home::Frame(frame))
    }

    /// Takes over packs that became durable. Writes an index file and acknowledges when it is time to.
    fn settle(&mut self) -> Result<(), RepositoryError> {
        self.packer.take_ready()?;
        for stored in self.packer.drain_stored() {
            self.totals.bytes_stored += stored.facts.size + stored.parity_size;
            self.monitor.uploaded(stored.facts.size + stored.parity_size);
            for row in &stored.facts.directory.chunks {
                self.in_hand.remove(&(row.chunk_type, row.id));
                self.composer.is_durable(&row.id);
            }
            let number = self.catalog.add_own(self.repository.objects(), stored.facts)?;
            for frame in stored.frames {
                let frame = frame as usize;
                if self.frame_packs.len() <= frame {
                    self.frame_packs.resize(frame + 1, None);
                }
                self.frame_packs[frame] = number;
            }
        }
        self.catalog.take_remarks().iter().for_each(|remark| self.monitor.note(remark));
        let now = self.repository.objects.clock.monotonic();
        if self.catalog.unindexed_rows() >= INDEX_CHUNKS_MAX
            || (self.catalog.has_unindexed() && now.saturating_sub(self.indexed_at) >= INDEX_EVERY)
        {
            self.put_index()?;
        }
        if now.saturating_sub(self.acknowledged_at) >= ACKNOWLEDGE_EVERY {
            self.acknowledge()?;
        }
        Ok(())
    }
}
