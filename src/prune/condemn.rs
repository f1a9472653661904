//! Condemning: what no snapshot needs is put on a list that every writer will see. A1 to A7.

use std::collections::HashSet;

use super::choose::{Choice, choose, facts, share};
use super::live::Live;
use super::mark::Mark;
use super::plan::{PackUse, Plan, plan};
use super::{ATTEMPTS_MAX, PruneError, Pruner};
use crate::catalog::{Memo, PackNumber};
use crate::id::PackId;
use crate::records::gc::Book;
use crate::repository::RepositoryError;

/// Packs of one condemn record: some MiB. More go with the next prune.
const PACKS_MAX: usize = 100_000;
/// More than these tenths of all bytes go only when what was forgotten explains it.
const TENTHS_MAX: u64 = 3;

/// Cache note: bytes that prunes found unused and left where they are.
const LEFT_UNUSED: &[u8] = b"left unused";

/// What was seen, A1 to A5, and what follows, A6.
struct Decision {
    book: Book,
    live: Live,
    choice: Choice,
    plan: Plan,
}

impl Pruner {
    /// Condemns what is not needed, after storing again what is still used of packs that are mostly not. True when there is something to
    /// sweep now. A dry run only counts.
    pub fn condemn(&mut self) -> Result<bool, PruneError> {
        self.again_when_renumbered(Self::condemn_once)
    }

    fn condemn_once(&mut self) -> Result<bool, PruneError> {
        for _ in 0..ATTEMPTS_MAX {
            let decision = match self.decide() {
                // Another prune may have freed them since they were listed, and cleared away what explained it.
                Err(error @ PruneError::TooMuch { .. }) => {
                    let before = self.gc_seen;
                    self.refresh()?;
                    if self.gc_seen == before {
                        return Err(error);
                    }
                    continue;
                }
                other => other?,
            };
            let Plan { remove, repack, unused_after, used, .. } = &decision.plan;
            self.summary.bytes_unused = *unused_after;
            self.summary.bytes_used = *used;
            self.summary.packs_seen = decision.choice.uses.len() as u64;
            if self.options.dry_run {
                self.summary.packs_condemned = (remove.len() + repack.len()) as u64;
                self.summary.bytes_condemned = remove.iter().chain(repack).map(|pack| pack.size).sum();
                self.summary.packs_repacked = repack.len() as u64;
                self.summary.bytes_written = repack.iter().map(|pack| pack.used).sum();
                return Ok(false);
            }
            let mut victims = remove.clone();
            if !repack.is_empty() {
                victims.extend(self.repack(repack, &decision.choice)?);
            }
            let given_up: u64 = if self.summary.too_full_to_repack { repack.iter().map(PackUse::unused).sum() } else { 0 };
            self.put_left_unused(unused_after + given_up)?;
            if victims.is_empty() {
                return Ok(false);
            }
            if self.put_condemn(&decision, &victims)? {
                self.summary.packs_condemned += victims.len() as u64;
                self.summary.bytes_condemned += victims.iter().map(|pack| pack.size).sum::<u64>();
                return Ok(true);
            }
            // R5: another prune took the number. What it decided has to be seen first, and what was repacked has to be marked.
            self.mark = Mark::default();
        }
        Err(RepositoryError::Inconclusive("other prunes took every number this one wanted; run it again".to_owned()).into())
    }

    /// A1 to A6, without storing anything.
    fn decide(&mut self) -> Result<Decision, PruneError> {
        // A1, A2; what is in packs (A4) is learnt from the packs themselves.
        let book = self.refresh()?;
        let mut from = self.candidates(&book);
        // A3: sessions before snapshots (R2).
        let revoked_beside = self.repository.revoked_beside()?;
        self.repository.session_names()?;
        // A5
        let live = self.list_live(&book, &revoked_beside)?;
        // What came after an earlier mark began may hold copies that mark does not know of.
        if from.iter().any(|(number, _)| !self.mark.covers(*number)) {
            self.mark = Mark::default();
        }
        self.mark(&live)?;
        from.retain(|(number, _)| self.mark.covers(*number));
        let mut choice = choose(&self.reader, &self.mark, &from, &book.stuck)?;
        for of in &mut choice.uses {
            of.must_go = book.stuck.contains(&of.id);
        }
        // A6
        let mut plan = plan(&choice.uses, self.options.max_unused, self.options.max_repack);
        plan.remove.truncate(PACKS_MAX);
        plan.repack.truncate(PACKS_MAX - plan.remove.len());
        self.brake(&mut plan, &choice, &live)?;
        if self.drops() != self.mark.drops() {
            return Err(PruneError::Renumbered);
        }
        Ok(Decision { book, live, choice, plan })
    }

    /// Packs of A2's list that may be condemned: readable, not waiting for a verdict, not deleted for good.
    fn candidates(&self, book: &Book) -> Vec<(PackNumber, PackId)> {
        let mut from: Vec<(PackNumber, PackId)> = self.reader.with_catalog(|catalog| {
            let view = catalog.view();
            let stuck = view.condemned().filter(|(_, id)| book.stuck.contains(id));
            view.iter().chain(stuck).collect()
        });
        let waiting: HashSet<PackId> = book.pending.iter().flat_map(|pending| pending.packs.iter().copied()).collect();
        from.retain(|(_, id)| !waiting.contains(id));
        from.sort_unstable();
        from
    }

    /// K4: much would go; is that what was forgotten? What no snapshot ever needed may be what a run under way has stored so far: then it
    /// is left for a prune that comes after that run.
    fn brake(&mut self, plan: &mut Plan, choice: &Choice, live: &Live) -> Result<(), PruneError> {
        let total: u64 = choice.uses.iter().map(|of| of.size).sum();
        let much = |going: u64| going.saturating_mul(10) > total.saturating_mul(TENTHS_MAX);
        if self.options.force || !much(plan.going()) {
            return Ok(());
        }
        let mut remains = Mark::default();
        remains.walk_remains(&self.ground(), &live.remains)?;
        let is_somebody_at_work = self.has_live_sessions()?;
        let mut explained = 0;
        let mut remove = Vec::with_capacity(plan.remove.len());
        (self.summary.packs_unexplained, self.summary.bytes_unexplained) = (0, 0);
        for pack in std::mem::take(&mut plan.remove) {
            let of_it = self.explained(&pack, &remains, |_| true)?.min(pack.size);
            if of_it > 0 || !is_somebody_at_work {
                explained += of_it;
                remove.push(pack);
            } else {
                self.summary.packs_unexplained += 1;
                self.summary.bytes_unexplained += pack.size;
            }
        }
        plan.remove = remove;
        let going = plan.going();
        for pack in &plan.repack {
            let kept = choice.rows(pack.number);
            explained += self.explained(pack, &remains, |row| !kept.get(row))?.min(pack.unused());
        }
        // What earlier prunes found unused and left was explained to them; without that note a person has to say so once more.
        explained = going.min(explained.saturating_add(self.left_unused()?));
        if much(going - explained) {
            return Err(PruneError::TooMuch { going, total, explained });
        }
        Ok(())
    }

    fn left_unused(&self) -> Result<u64, PruneError> {
        let kept = self.reader.with_catalog(|catalog| catalog.recall(LEFT_UNUSED)).map_err(RepositoryError::from)?;
        Ok(kept.and_then(|kept| Some(u64::from_le_bytes(kept.try_into().ok()?))).unwrap_or(0))
    }

    fn put_left_unused(&self, bytes: u64) -> Result<(), PruneError> {
        let put = self.reader.with_catalog(|catalog| catalog.remember(LEFT_UNUSED, Some(&bytes.to_le_bytes())));
        Ok(put.map_err(RepositoryError::from)?)
    }

    /// Bytes of a pack's rows that forgotten snapshots needed, or that are copies of what stays elsewhere; of a pack that goes whole, its
    /// padding and directory in proportion.
    fn explained(&self, pack: &PackUse, remains: &Mark, counts: impl Fn(u32) -> bool) -> Result<u64, PruneError> {
        let Some(facts) = facts(&self.reader, pack.number)? else { return Ok(0) };
        let is_explained =
            |row: u32| [remains, &self.mark].iter().any(|mark| mark.of(pack.number).is_some_and(|marks| marks.reachable.get(row)));
        let needed: u64 =
            (0..pack.rows).filter(|&row| counts(row) && is_explained(row)).map(|row| share(&facts.directory, row)).sum();
        let whole = if pack.chosen == 0 { pack.size } else { pack.stored };
        Ok((u128::from(needed) * u128::from(whole) / u128::from(pack.stored.max(1))) as u64)
    }

    /// A7: create-if-absent. False: the number was taken. No number is used twice (R13).
    fn put_condemn(&mut self, decision: &Decision, victims: &[PackUse]) -> Result<bool, PruneError> {
        let mut packs: Vec<PackId> = victims.iter().map(|pack| pack.id).collect();
        packs.sort_unstable();
        packs.dedup();
        let mut snapshots: Vec<_> = decision.live.roots.iter().map(|root| (root.id, root.hash)).collect();
        snapshots.sort_unstable_by_key(|(id, _)| *id);
        let written = self.written.iter().copied().collect();
        self.changed = true;
        Ok(self.repository.condemn(decision.book.named + 1, packs, written, snapshots)?)
    }
}
