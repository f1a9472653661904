//! Sweeping: what earlier condemn records condemned is decided and deleted. B1 to B6.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use super::book::{Book, Pending};
use super::mark::Mark;
use super::verdict::Deciding;
use super::{PruneError, Pruner};
use crate::clock::Timestamp;
use crate::format::gc::{self, Verdict};
use crate::format::limits;
use crate::format::names::{self, ObjectName};
use crate::id::{ObjectHash, PackId, SessionId};
use crate::planted;
use crate::records::sessions::{SessionNames, SessionState};
use crate::repository::RepositoryError;
use crate::store::StoreError;

/// How often live sessions are looked at during the grace.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How often a request to stop is looked at meanwhile.
const STOP_EVERY: Duration = Duration::from_millis(100);

/// A live session that has not acknowledged what waits to be swept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Waiting {
    /// The session.
    pub session: SessionId,
    /// Its host, as it says; `None` when its first record cannot be read.
    pub host: Option<String>,
    /// Its process id there.
    pub pid: Option<u32>,
    /// When it began, by the clock of its host.
    pub since: Option<Timestamp>,
    /// The number it acknowledged last.
    pub acknowledged: u64,
}

/// What stands under the name of a verdict after it was put.
enum Made {
    Ours,
    /// Another owner's, or ours whose reply was lost.
    Theirs(Verdict),
    /// Nobody's: nothing is deleted by this number, ever.
    Forged,
}

/// Live sessions and what they say: B1.
struct Sessions {
    listed: BTreeMap<SessionId, SessionNames>,
    read: HashMap<SessionId, SessionState>,
    /// Revoked beside, listed after records were read (stores without create-if-absent).
    revoked_beside: HashSet<SessionId>,
}

impl Pruner {
    /// Sweeps every number that all live sessions have acknowledged, finishes the deletes of verdicts made before, and answers condemn
    /// records nobody can read. Returns true when something is still waiting to be decided.
    pub fn sweep(&mut self) -> Result<bool, PruneError> {
        self.again_when_renumbered(Self::sweep_once)
    }

    fn sweep_once(&mut self) -> Result<bool, PruneError> {
        let book = self.refresh()?;
        // Whoever lists a pack that a verdict deleted deletes it again: the run that decided may have died, the pack may have come back.
        self.carry_out(&book.deleted, &book)?;
        for &(number, hash) in &book.unanswered {
            self.answer(number, hash)?;
        }
        for (number, hash, name) in &book.forged {
            // First an answer, so that its number keeps a name: hosts remember the highest number they saw.
            self.answer(*number, Some(*hash))?;
            // M8: its name holds its hash and can hold nothing else, and no owner was ever bound by it.
            self.monitor.note(&format!("{name} was not made by an owner: it is cleared away"));
            self.repository.store().delete(name)?;
            self.changed = true;
        }
        self.summary.waiting.clear();
        self.count_waiting(&book);
        if book.pending.is_empty() {
            return Ok(false);
        }
        let sessions = self.list_sessions()?;
        let live = self.list_live(&book, &sessions.revoked_beside)?;
        let alive: Vec<SessionId> = sessions.listed.keys().filter(|id| !sessions.is_over(id, &live.over)).copied().collect();
        let mut pins = HashSet::new();
        // R1: only records that every live session has acknowledged.
        let mut swept: HashSet<ObjectHash> = book.pending.iter().map(|pending| pending.hash).collect();
        for id in &alive {
            let state = sessions.read.get(id).cloned().unwrap_or_default();
            let missing: Vec<ObjectHash> =
                book.pending.iter().filter(|pending| !has_acknowledged(&state, pending)).map(|pending| pending.hash).collect();
            if !planted::is("pins-disobeyed") {
                pins.extend(&state.pins);
            }
            if missing.is_empty() || planted::is("acknowledgements-not-waited-for") {
                continue;
            }
            swept.retain(|hash| !missing.contains(hash));
            self.summary.waiting.push(waiting(*id, &state));
        }
        if swept.is_empty() {
            return Ok(true);
        }
        // A pack that came after an earlier mark began cannot be decided by that mark.
        let decides = |pack: &PackId| self.reader.number(pack).is_none_or(|number| self.mark.covers(number));
        let mut packs = book.pending.iter().filter(|pending| swept.contains(&pending.hash)).flat_map(|pending| &pending.packs);
        if !packs.all(decides) {
            self.mark = Mark::default();
        }
        self.mark(&live)?;
        // R7: gc is listed after sessions and snapshots; then packs.
        let book = self.refresh()?;
        let (mut deleted, mut made_one) = (HashSet::new(), false);
        for pending in book.pending.iter().filter(|pending| swept.contains(&pending.hash)) {
            self.check_stop()?;
            let decided =
                Deciding { reader: &self.reader, mark: &self.mark, book: &book, pins: &pins, stop: &self.stop }.decide(pending)?;
            let verdict = Verdict {
                number: pending.number,
                time: self.repository.clock().now(),
                condemn: pending.hash,
                delete: decided.delete,
                pardon: decided.pardon,
                extra: Vec::new(),
            };
            if planted::is("delete-before-verdict") {
                self.carry_out(&verdict.delete.iter().copied().collect(), &book)?;
            }
            match self.put_verdict(&verdict, pending.by_hash)? {
                Made::Ours => {
                    made_one = true;
                    self.summary.packs_pardoned += verdict.pardon.len() as u64;
                    deleted.extend(verdict.delete);
                }
                Made::Theirs(verdict) => deleted.extend(verdict.delete),
                Made::Forged => {}
            }
        }
        if made_one {
            self.clear_after_verdict(&sessions.listed, &live, &sessions.revoked_beside);
        }
        self.carry_out(&deleted, &book)?;
        let rest: HashSet<ObjectHash> =
            book.pending.iter().map(|pending| pending.hash).filter(|hash| !swept.contains(hash)).collect();
        self.recount_waiting(&book, &rest);
        Ok(!rest.is_empty())
    }

    /// Sweeps, for as long as the grace allows.
    pub fn sweep_waiting(&mut self) -> Result<(), PruneError> {
        let clock = std::sync::Arc::clone(self.repository.clock());
        let begun = clock.monotonic();
        while self.sweep()? {
            let left = self.options.grace.saturating_sub(clock.monotonic().saturating_sub(begun));
            if left.is_zero() {
                break;
            }
            let mut pause = left.min(LOOK_EVERY);
            while !pause.is_zero() {
                self.check_stop()?;
                let slice = pause.min(STOP_EVERY);
                std::thread::sleep(slice);
                pause = pause.saturating_sub(slice);
            }
        }
        Ok(())
    }

    /// B1: sessions are listed, their records read; only then is looked which of them are over.
    fn list_sessions(&self) -> Result<Sessions, PruneError> {
        let listed = self.repository.session_names()?;
        let mut read = HashMap::new();
        for (id, names) in &listed {
            // What ended before this listing began is over whatever its records say, and the listing of snapshots to come shows it again.
            if !self.over.contains(id) {
                read.insert(*id, self.repository.session_state(*id, names)?);
            }
        }
        let revoked_beside = self.repository.revoked_beside()?;
        Ok(Sessions { listed, read, revoked_beside })
    }

    /// An empty verdict for a condemn record that cannot be read, or that no owner made.
    fn answer(&mut self, number: u64, by_hash: Option<ObjectHash>) -> Result<(), PruneError> {
        let name = ObjectName::GcCondemn(number).name();
        let condemn = match by_hash {
            Some(hash) => hash,
            None => match self.repository.store().get(&name, limits::GC_SIZE_MAX) {
                Ok(sealed) => names::hash_of(&[&sealed]),
                Err(StoreError::Size { .. }) => ObjectHash([0; 32]),
                Err(error) => return Err(error.into()),
            },
        };
        self.monitor
            .note(&format!("gc record {number} is unreadable or was not made by an owner: it is answered, and deletes nothing"));
        let time = self.repository.clock().now();
        let verdict = Verdict { number, time, condemn, delete: Vec::new(), pardon: Vec::new(), extra: Vec::new() };
        self.put_verdict(&verdict, by_hash.is_some())?;
        Ok(())
    }

    /// R3: one verdict for a number. What stands there counts, if an owner made it; else it deletes nothing, for ever. On a record that
    /// stands under its hash there may be several: each holds, and none makes a pack good again.
    fn put_verdict(&mut self, verdict: &Verdict, by_hash: bool) -> Result<Made, PruneError> {
        let sealed = gc::seal_verdict(self.repository.sealer(), verdict).map_err(RepositoryError::from)?;
        self.changed = true;
        if by_hash {
            let name = ObjectName::GcVerdictByHash(verdict.number, names::hash_of(&[&sealed])).name();
            self.repository.create_small_same(&name, &sealed)?;
            return Ok(Made::Ours);
        }
        let name = ObjectName::GcVerdict(verdict.number).name();
        match self.repository.create_small(&name, &sealed) {
            Ok(()) => Ok(Made::Ours),
            Err(StoreError::AlreadyExists(_)) => {
                let found = match self.repository.store().get(&name, limits::GC_SIZE_MAX) {
                    Ok(found) => found,
                    Err(StoreError::Size { .. }) => return Ok(Made::Forged),
                    Err(error) => return Err(error.into()),
                };
                let opened = gc::open_verdict(self.repository.opener(), verdict.number, &found);
                Ok(opened.map_or(Made::Forged, |opened| Made::Theirs(opened.record)))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// B6: deletes what is listed and what a verdict lists, and nothing else (I5).
    fn carry_out(&mut self, deleted: &HashSet<PackId>, book: &Book) -> Result<(), PruneError> {
        let mut going: Vec<(PackId, u64)> =
            self.listed.iter().filter(|(id, _)| deleted.contains(id)).map(|(&id, &size)| (id, size)).collect();
        if going.is_empty() {
            return Ok(());
        }
        going.sort_unstable();
        self.changed = true;
        self.monitor.begin(crate::monitor::Phase::Delete, going.len() as u64, going.iter().map(|(_, size)| size).sum());
        for (id, size) in going {
            self.check_stop()?;
            self.repository.store().delete(&names::pack_name(id))?;
            self.listed.remove(&id);
            self.summary.packs_deleted += 1;
            self.summary.bytes_deleted += size;
            self.monitor.advance(1, size);
        }
        self.delete_parity(&|pack| deleted.contains(pack) || book.deleted.contains(pack))
    }

    fn delete_parity(&mut self, of: &dyn Fn(&PackId) -> bool) -> Result<(), PruneError> {
        let mut going = Vec::new();
        self.repository.store().list(names::PARITY, &mut |entry| {
            if matches!(ObjectName::parse(&entry.name), Some(ObjectName::Parity(pack, _)) if of(&pack)) {
                going.push(entry);
            }
        })?;
        for entry in going {
            self.repository.store().delete(&entry.name)?;
            self.summary.bytes_deleted += entry.size;
        }
        Ok(())
    }

    fn count_waiting(&mut self, book: &Book) {
        let all: HashSet<ObjectHash> = book.pending.iter().map(|pending| pending.hash).collect();
        self.recount_waiting(book, &all);
    }

    fn recount_waiting(&mut self, book: &Book, records: &HashSet<ObjectHash>) {
        let packs: HashSet<PackId> = book
            .pending
            .iter()
            .filter(|pending| records.contains(&pending.hash))
            .flat_map(|pending| pending.packs.iter().copied())
            .collect();
        self.summary.packs_waiting = packs.len() as u64;
        self.summary.bytes_waiting = packs.iter().filter_map(|id| self.listed.get(id)).sum();
        if packs.is_empty() {
            self.summary.waiting.clear();
        }
    }
}

impl Sessions {
    fn is_over(&self, id: &SessionId, over: &HashSet<SessionId>) -> bool {
        over.contains(id) || self.revoked_beside.contains(id)
    }
}

/// M2: a number that was seen says nothing about a record that may have come under it later. Such a record is acknowledged by its hash.
fn has_acknowledged(state: &SessionState, pending: &Pending) -> bool {
    match pending.by_hash && !planted::is("records-acknowledged-by-number") {
        true => state.seen.contains(&pending.hash),
        false => state.acknowledged >= pending.number,
    }
}

fn waiting(session: SessionId, state: &SessionState) -> Waiting {
    let start = state.start.as_ref().map(|opened| &opened.start);
    Waiting {
        session,
        host: start.map(|start| start.host.clone()),
        pid: start.map(|start| start.pid),
        since: start.map(|start| start.time),
        acknowledged: state.acknowledged,
    }
}
