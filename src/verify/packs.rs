//! Packs and index files: what every pack says of itself goes into a fresh cache, and index files are held against it.
//!
//! Index files are written by hosts that cannot open packs, and the local cache is filled from them. A false fact in either would make a
//! chunk look stored that is not; so verification reads the directories in the packs.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;

use crate::catalog::{Catalog, NoMemo, View};
use crate::format::pack::PackFacts;
use crate::format::{limits, names};
use crate::id::{IndexId, ObjectHash, PackId};
use crate::parallel::{self, Feed};
use crate::repository::{Reader, Repository, RepositoryError};
use crate::store::{Entry, Name};
use crate::verify::Run;
use crate::verify::damage::{CauseNumber, Damage};
use crate::verify::findings::{Finding, FindingKind};
use crate::verify::lookup::{Lookup, store_harm};

/// Facts added to the cache in one transaction: this many packs, or this many rows.
const BATCH_PACKS: usize = 64;
const BATCH_ROWS: usize = 200_000;

/// What was learnt about packs before any tree is walked.
struct Known {
    catalog: Catalog,
    damage: Damage,
    listed: HashMap<PackId, u64>,
    bad: HashSet<PackId>,
    /// Listed packs whose own directory does not open.
    closed: HashMap<PackId, CauseNumber>,
    /// Packs an index file tells of.
    indexed: HashSet<PackId>,
}

/// Reads every directory and every index file; index files in the order they were listed, before packs were.
pub(super) fn learn(run: &mut Run<'_>) -> Result<(Lookup, Vec<(PackId, u64)>), RepositoryError> {
    let repository = run.repository;
    let index_files = repository.list_index_files()?;
    let gc = repository.gc_state(&mut NoMemo)?;
    let listed = repository.list_packs()?;
    let mut known = Known {
        catalog: repository.fresh_pack_catalog()?,
        damage: Damage::default(),
        listed,
        // What is only condemned may be needed and is then pardoned: until a verdict it is as good as any.
        bad: gc.deleted,
        closed: HashMap::new(),
        // A condemned pack may lack an index file: nobody uses it until it is pardoned, and then a prune names it.
        indexed: gc.bad,
    };
    known.read_directories(run)?;
    for (id, Entry { name, .. }) in index_files {
        run.stop.check()?;
        known.read_index_file(run, &id, &name)?;
    }
    let mut packs: Vec<(PackId, u64)> = known.listed.iter().map(|(&id, &size)| (id, size)).collect();
    packs.retain(|(id, _)| !known.bad.contains(id));
    packs.sort_unstable();
    run.summary.packs_listed = packs.len() as u64;
    Ok((known.into_lookup(repository)?, packs))
}

impl Known {
    fn read_directories(&mut self, run: &mut Run<'_>) -> Result<(), RepositoryError> {
        let repository = run.repository;
        let mut packs: Vec<(PackId, u64)> = self.listed.iter().map(|(&id, &size)| (id, size)).collect();
        packs.retain(|(id, _)| !self.bad.contains(id));
        packs.sort_unstable();
        let mut batch: Vec<PackFacts> = Vec::new();
        let mut rows = 0;
        let (stop, monitor) = (run.stop, run.monitor);
        parallel::pipeline(
            run.threads,
            run.threads * 2 + 2,
            |feed: &Feed<_, _>| -> Result<(), RepositoryError> {
                for pack in packs {
                    stop.check()?;
                    // The taker went away with an error, which is what is returned then.
                    if feed.push(pack).is_err() {
                        break;
                    }
                }
                Ok(())
            },
            |(id, size)| (id, size, repository.own_facts_mended(&id, size, false)),
            |(id, size, facts)| -> Result<(), RepositoryError> {
                monitor.advance(1, 0);
                match facts {
                    Ok((facts, damage)) => {
                        if let Some(damage) = damage {
                            // Nothing is hidden by it; what its frames need is found when they are read.
                            self.directory_failed(repository, &id, damage)?;
                            self.damage.mendable(names::pack_name(id).to_string());
                        }
                        if facts.size != size {
                            self.wrong_size(&facts, size);
                        }
                        rows += facts.directory.chunks.len();
                        batch.push(facts);
                    }
                    Err(error) => {
                        let cause = self.directory_failed(repository, &id, error)?;
                        self.closed.insert(id, cause);
                    }
                }
                if batch.len() >= BATCH_PACKS || rows >= BATCH_ROWS {
                    self.catalog.learn(&batch, false)?;
                    batch.clear();
                    rows = 0;
                }
                Ok(())
            },
        )?;
        Ok(self.catalog.learn(&batch, false)?)
    }

    fn directory_failed(
        &mut self,
        repository: &Repository,
        id: &PackId,
        error: RepositoryError,
    ) -> Result<CauseNumber, RepositoryError> {
        let name = names::pack_name(*id).to_string();
        let (kind, detail) = match error {
            RepositoryError::Store(error) => store_harm(repository, error)?.of_pack(),
            RepositoryError::Object { source, .. } | RepositoryError::Format(source) => {
                (FindingKind::PackDamaged, format!("its own directory cannot be read: {source}"))
            }
            other => return Err(other),
        };
        Ok(self.damage.cause(kind, name, detail))
    }

    fn read_index_file(&mut self, run: &mut Run<'_>, id: &IndexId, name: &Name) -> Result<(), RepositoryError> {
        let repository = run.repository;
        let Some(sealed) = run.get(name, limits::INDEX_SIZE_MAX, FindingKind::IndexDamaged)? else { return Ok(()) };
        if *blake3::hash(&sealed).as_bytes() != id.0 {
            run.found(Finding::new(FindingKind::IndexDamaged, name.as_str(), "its bytes do not hash to its name"));
            // It may open all the same; but then its facts are those of another file, which is listed under its own name.
            return Ok(());
        }
        let file = match repository.objects().open_index_file(*id, &sealed) {
            Ok(file) => file,
            Err(error) => {
                run.found(Finding::new(FindingKind::IndexDamaged, name.as_str(), error.to_string()));
                return Ok(());
            }
        };
        let mut wrong = Vec::new();
        for facts in &file.packs {
            if let Some(what) = self.compare(repository, facts)? {
                wrong.push(format!("{} ({what})", names::pack_name(facts.id)));
            }
        }
        if let Some(first) = wrong.first() {
            let more = if wrong.len() > 1 { format!(" and {} more packs", wrong.len() - 1) } else { String::new() };
            let detail = format!("it does not say what the packs themselves say: {first}{more}");
            run.found(Finding::new(FindingKind::IndexDisagrees, name.as_str(), detail));
        }
        Ok(())
    }

    /// Holds the facts of an index file against the pack's own; says what is wrong with them.
    fn compare(&mut self, repository: &Repository, facts: &PackFacts) -> Result<Option<&'static str>, RepositoryError> {
        let Some(&size) = self.listed.get(&facts.id) else {
            // Gone; kept outside the view, so that a pack somebody misses has a name.
            self.catalog.learn(std::slice::from_ref(facts), false)?;
            return Ok(None);
        };
        if self.bad.contains(&facts.id) {
            return Ok(None);
        }
        self.indexed.insert(facts.id);
        if let Some(&cause) = self.closed.get(&facts.id) {
            if facts.size != size {
                self.damage.bad_pack(facts.id, cause);
            }
            // What a reader goes by when the pack's own directory does not open.
            self.catalog.learn(std::slice::from_ref(facts), false)?;
            return Ok(None);
        }
        let Some(own) = self.catalog.facts_of(&facts.id)? else { return Ok(None) };
        let what = if own.header != facts.header {
            "header"
        } else if own.class != facts.class || own.directory_sealed_length != facts.directory_sealed_length {
            "class or length of the directory"
        } else if own.size != facts.size {
            "size"
        } else if own.directory != facts.directory {
            "directory"
        } else {
            return Ok(None);
        };
        if self.is_another_pack(repository, &facts.id)? {
            self.catalog.forget_pack(&facts.id)?;
            self.catalog.learn(std::slice::from_ref(facts), false)?;
            return Ok(None);
        }
        Ok(Some(what))
    }

    /// Pack and index file disagree: the pack's bytes say who is right. When they do not hash to its name, what opens there is another
    /// pack in its place, and the index file still knows the one that is gone.
    fn is_another_pack(&mut self, repository: &Repository, id: &PackId) -> Result<bool, RepositoryError> {
        let name = names::pack_name(*id);
        let (kind, detail) = match repository.objects().pack_bytes(id) {
            Ok(bytes) if *blake3::hash(&bytes).as_bytes() == id.0 => return Ok(false),
            Ok(_) => (FindingKind::PackDamaged, "another pack's bytes stand under its name".to_owned()),
            Err(error) => store_harm(repository, error)?.of_pack(),
        };
        let cause = self.damage.cause(kind, name.to_string(), detail);
        self.damage.bad_pack(*id, cause);
        Ok(true)
    }

    fn wrong_size(&mut self, facts: &PackFacts, size: u64) {
        let detail = format!("it has {size} bytes, and its own head says {}", facts.size);
        let cause = self.damage.cause(FindingKind::PackSize, names::pack_name(facts.id).to_string(), detail);
        self.damage.bad_pack(facts.id, cause);
    }

    fn into_lookup(self, repository: &std::sync::Arc<Repository>) -> Result<Lookup, RepositoryError> {
        let mut view = View::with_bad(self.bad.clone());
        let mut parity: HashMap<PackId, Vec<ObjectHash>> = HashMap::new();
        repository.objects().list_parity(&mut |pack, hash, _| parity.entry(pack).or_default().push(hash))?;
        let mut absent = HashMap::new();
        let mut unindexed = HashSet::new();
        let mut with_facts = HashSet::new();
        for (number, id) in self.catalog.known()? {
            with_facts.insert(id);
            let usable = self.listed.contains_key(&id) && !self.bad.contains(&id) && self.damage.pack(&id).is_none();
            if usable {
                view.insert(number, id);
                if !self.indexed.contains(&id) {
                    unindexed.insert(number);
                }
            } else {
                absent.insert(number, id);
            }
        }
        let opaque = self.closed.iter().filter(|(id, _)| !with_facts.contains(*id)).map(|(_, &cause)| cause).collect();
        let mut catalog = self.catalog;
        catalog.replace_view(view.clone());
        Ok(Lookup {
            reader: Reader::over(repository, catalog)?,
            view,
            damage: self.damage.into(),
            unindexed,
            absent,
            opaque,
            parity,
            beyond_mending: Mutex::default(),
        })
    }
}
