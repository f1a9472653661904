//! Notes: what owners said about snapshots after they were taken, and what of it holds. Page `format-spec/note.md`.
//!
//! Every note is read, but only once from the store: the memo keeps its sealed bytes under its name. They are opened
//! again each time, so a memo to which the holder of a writer key can write makes nobody an owner.

use std::collections::{BTreeMap, HashMap};

use super::{RecordError, Records};
use crate::cache::Memo;
use crate::clock::Timestamp;
use crate::format::names::{self, ObjectName};
use crate::format::note::{self, Entry, Keep, Note, Value, VerifiedHow};
use crate::format::proof::{self, Proof};
use crate::format::{Authority, FormatError, limits};
use crate::id::{ObjectHash, SnapshotId};
use crate::objects::ObjectError;
use crate::store::Name;

/// Entries of one note. A comment or tag has at most a few hundred bytes, so a note stays far below its size limit.
const ENTRIES_MAX: usize = 2_000;
/// Bytes of a tag or comment.
pub const TEXT_SIZE_MAX: usize = 400;

/// The last verification of a snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Verified {
    /// When it ended.
    pub time: Timestamp,
    /// How far it went.
    pub how: VerifiedHow,
    /// Bytes of packs it read.
    pub bytes: u64,
    /// How many findings there were; 0: the snapshot is whole.
    pub findings: u64,
}

/// What owners said about one snapshot.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SnapshotNotes {
    /// Number and time of the first run that listed it.
    pub first_seen: Option<(u64, Timestamp)>,
    /// Tags set (true) or taken away.
    pub tags: BTreeMap<String, bool>,
    /// A comment.
    pub comment: Option<String>,
    /// Keep it whatever the rules say.
    pub keep: Option<Keep>,
    /// Its last verification.
    pub verified: Option<Verified>,
    /// The highest generation it was carried over to.
    pub listed: Option<u32>,
}

impl SnapshotNotes {
    /// The tags of a snapshot that was taken with the tags `taken`: sorted, without duplicates.
    pub fn tags(&self, taken: &[String]) -> Vec<String> {
        let mut tags: BTreeMap<&str, bool> = taken.iter().map(|tag| (tag.as_str(), true)).collect();
        tags.extend(self.tags.iter().map(|(tag, present)| (tag.as_str(), *present)));
        tags.into_iter().filter(|(_, present)| *present).map(|(tag, _)| tag.to_owned()).collect()
    }
}

/// Everything that notes say.
#[derive(Debug, Default)]
pub struct Notes {
    snapshots: HashMap<SnapshotId, SnapshotNotes>,
    runs: Vec<(u64, Timestamp)>,
    highest: u64,
    proofs: Vec<Proof>,
    /// Names of notes that are ignored, and why: they did not open, or no owner wrote them.
    pub ignored: Vec<(String, String)>,
}

/// An entry that nothing has overridden so far, with the hash of its note.
type Holding = (Entry, ObjectHash);

impl Notes {
    /// What owners said about a snapshot.
    pub fn of(&self, id: &SnapshotId) -> SnapshotNotes {
        self.snapshots.get(id).cloned().unwrap_or_default()
    }

    /// Numbers and times of the runs that saw snapshots for the first time.
    pub fn runs(&self) -> &[(u64, Timestamp)] {
        &self.runs
    }

    /// Proofs of reading, in rising order of numbers.
    pub fn proofs(&self) -> &[Proof] {
        &self.proofs
    }

    /// A number above all of them. An entry with this number overrides what was said before.
    pub fn next_number(&self) -> u64 {
        self.highest.saturating_add(1)
    }

    fn resolve(notes: Vec<(ObjectHash, Note)>) -> Self {
        let mut resolved = Self::default();
        let mut holding: HashMap<(SnapshotId, u8, String), Holding> = HashMap::new();
        for (hash, note) in notes {
            // A proof that is not understood proves nothing.
            let of_note = note.extra.iter().filter(|(number, ..)| *number == proof::EXTRA_NUMBER);
            for proof in of_note.filter_map(|(_, _, value)| Proof::decode(value).ok()) {
                resolved.highest = resolved.highest.max(proof.number);
                resolved.proofs.push(proof);
            }
            for entry in note.entries {
                resolved.highest = resolved.highest.max(entry.number);
                // No run has number 0: it means "before all runs".
                if matches!(entry.value, Value::FirstSeen) && entry.number > 0 {
                    resolved.runs.push((entry.number, entry.time));
                }
                let tag = if let Value::Tag { tag, .. } = &entry.value { tag.clone() } else { String::new() };
                let place = holding.entry((entry.snapshot, entry.value.kind(), tag));
                match place {
                    std::collections::hash_map::Entry::Occupied(mut held) => {
                        let (other, other_hash) = held.get();
                        if note::wins((&entry, &hash), (other, other_hash)) {
                            held.insert((entry, hash));
                        }
                    }
                    std::collections::hash_map::Entry::Vacant(place) => drop(place.insert((entry, hash))),
                }
            }
        }
        resolved.runs.sort_unstable();
        resolved.runs.dedup();
        resolved.proofs.sort_by_key(|proof| proof.number);
        for (entry, _) in holding.into_values() {
            let of = resolved.snapshots.entry(entry.snapshot).or_default();
            match entry.value {
                Value::FirstSeen => of.first_seen = Some((entry.number, entry.time)),
                Value::Tag { tag, present } => drop(of.tags.insert(tag, present)),
                Value::Comment(text) => of.comment = Some(text).filter(|text| !text.is_empty()),
                Value::Keep(keep) => of.keep = Some(keep),
                Value::Verified { how, bytes, findings } => {
                    of.verified = Some(Verified { time: entry.time, how, bytes, findings });
                }
                Value::Listed { generation } => of.listed = of.listed.max(Some(generation)),
                Value::Drilled { .. } | Value::Later { .. } => {}
            }
        }
        resolved
    }
}

impl Records<'_> {
    /// Reads every note and says what holds. Owners only: a writer cannot tell who wrote a note.
    ///
    /// # Errors
    /// The store's; no cache can be kept; an owner's note that only a newer esker understands.
    pub fn notes(&self, memo: &mut dyn Memo) -> Result<Notes, RecordError> {
        self.need_owner("reading notes")?;
        let mut listed: Vec<(Name, ObjectHash)> = Vec::new();
        self.objects.store.list(names::NOTES, &mut |entry| {
            if let Some(ObjectName::Note(hash)) = ObjectName::parse(&entry.name) {
                listed.push((entry.name, hash));
            }
        })?;
        let (mut good, mut ignored) = (Vec::new(), Vec::new());
        for (name, hash) in listed {
            let sealed = match self.recall_or_get(memo, &name, &hash, limits::NOTE_SIZE_MAX)? {
                Ok(sealed) => sealed,
                Err(why) => {
                    ignored.push((name.to_string(), why));
                    continue;
                }
            };
            match note::open(&self.objects.opener, &sealed) {
                Ok((note, Authority::Owner)) => good.push((hash, note)),
                Ok(_) => ignored.push((name.to_string(), "no owner wrote it".to_owned())),
                // A later version has said something that must not be overlooked: perhaps that a snapshot is kept.
                Err(error @ FormatError::RequiredExtra { .. })
                    if note::authority(&self.objects.opener, &sealed).is_ok_and(|authority| authority == Authority::Owner) =>
                {
                    return Err(ObjectError::object(&name)(error).into());
                }
                Err(error) => ignored.push((name.to_string(), error.to_string())),
            }
        }
        Ok(Notes { ignored, ..Notes::resolve(good) })
    }

    /// Puts notes with these entries and these proofs of reading. Owners only.
    ///
    /// # Errors
    /// The store's; sealing failed.
    pub fn put_notes(&self, entries: Vec<Entry>, proofs: Vec<Proof>) -> Result<(), RecordError> {
        self.need_owner("writing notes")?;
        let mut notes: Vec<Note> = Vec::new();
        for part in entries.chunks(ENTRIES_MAX) {
            notes.push(Note { entries: part.to_vec(), extra: Vec::new() });
        }
        for proof in proofs {
            notes.push(Note { entries: Vec::new(), extra: proof.into_extra() });
        }
        for note in notes {
            let (hash, sealed) = note::seal(&self.objects.sealer, &note)?;
            self.create_small_same(&ObjectName::Note(hash).name(), &sealed)?;
        }
        Ok(())
    }
}
