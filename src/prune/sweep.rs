//! Sweeping: what earlier condemn records condemned is decided and deleted. B1 to B6.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use super::mark::Mark;
use super::verdict::Deciding;
use super::{PruneError, Pruner};
use crate::clock::Timestamp;
use crate::id::{ObjectHash, PackId, SessionId};
use crate::planted;
use crate::records::gc::{Book, Decided};
use crate::records::sessions::{SessionNames, SessionState};

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
            self.repository.delete_forged_gc_record(name)?;
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
                book.pending.iter().filter(|pending| !pending.is_acknowledged_by(&state)).map(|pending| pending.hash).collect();
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
            self.stop.check()?;
            let decided =
                Deciding { reader: &self.reader, mark: &self.mark, book: &book, pins: &pins, stop: &self.stop }.decide(pending)?;
            if planted::is("delete-before-verdict") {
                self.carry_out(&decided.delete.iter().copied().collect(), &book)?;
            }
            self.changed = true;
            let condemn = (pending.hash, pending.by_hash);
            match self.repository.decide(pending.number, condemn, decided.delete.clone(), decided.pardon.clone())? {
                Decided::Ours => {
                    made_one = true;
                    self.summary.packs_pardoned += decided.pardon.len() as u64;
                    deleted.extend(decided.delete);
                }
                Decided::Theirs(verdict) => deleted.extend(verdict.delete),
                Decided::Forged => {}
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
    pub(crate) fn sweep_waiting(&mut self) -> Result<(), PruneError> {
        let clock = std::sync::Arc::clone(self.repository.clock());
        let begun = clock.monotonic();
        while self.sweep()? {
            let left = self.options.grace.saturating_sub(clock.monotonic().saturating_sub(begun));
            if left.is_zero() {
                break;
            }
            let mut pause = left.min(LOOK_EVERY);
            while !pause.is_zero() {
                self.stop.check()?;
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

    /// An empty verdict for a condemn record that cannot be read, or that no owner wrote.
    fn answer(&mut self, number: u64, by_hash: Option<ObjectHash>) -> Result<(), PruneError> {
        self.monitor
            .note(&format!("gc record {number} is unreadable or was not made by an owner: it is answered, and deletes nothing"));
        self.changed = true;
        Ok(self.repository.answer_gc_record(number, by_hash)?)
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
            self.stop.check()?;
            self.repository.objects().delete_pack(&id)?;
            self.listed.remove(&id);
            self.summary.packs_deleted += 1;
            self.summary.bytes_deleted += size;
            self.monitor.advance(1, size);
        }
        self.delete_parity(&|pack| deleted.contains(pack) || book.deleted.contains(pack))
    }

    fn delete_parity(&mut self, of: &dyn Fn(&PackId) -> bool) -> Result<(), PruneError> {
        let mut going = Vec::new();
        self.repository.objects().list_parity(&mut |pack, hash, size| {
            if of(&pack) {
                going.push((pack, hash, size));
            }
        })?;
        for (pack, hash, size) in going {
            self.repository.objects().delete_parity(&pack, &hash)?;
            self.summary.bytes_deleted += size;
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
