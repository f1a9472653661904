//! What this host saw last of a store. A store that shows less now was rolled back, and a backup must not hide that
//! (K5).
//!
//! It is a small file of its own, because a cache may be deleted at any time. Losing the file costs only this warning
//! (I7).

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::{RecordError, Records};

use crate::crypto::Secret;
use crate::format::config::StoreClass;
use crate::format::names;
use crate::id::{ObjectHash, RepositoryId, SnapshotId};
use crate::locks::Unpoisoned;
use crate::private;
use crate::store::{StoreError, StoreErrorKind};

const MAGIC: &[u8; 8] = b"ESKERST2";
const SIZE: usize = 8 + 4 + 8 + 1 + 16 + 32 + 1 + 16 + 32;

/// The highest numbers seen, the last commit made, and what the store is like.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct HostState {
    /// Highest config number.
    pub config: u32,
    /// Highest gc number.
    pub gc: u64,
    /// Last snapshot committed from here, and the BLAKE3 of its object.
    pub last: Option<(SnapshotId, ObjectHash)>,
    /// What this host found when it tried the store, and at which place.
    pub tried: Option<(StoreClass, PlaceHash)>,
}

/// Which place was tried: the first bytes of the BLAKE3 of its name.
pub(crate) type PlaceHash = [u8; 16];

impl HostState {
    /// Reads the file. A missing, foreign or damaged one is the empty state.
    fn load(path: &Path, repository: &RepositoryId, key: &[u8; 32]) -> Self {
        private::read(path, SIZE as u64).ok().and_then(|bytes| Self::decode(&bytes, repository, key)).unwrap_or_default()
    }

    /// Replaces the file, atomically.
    fn save(&self, path: &Path, repository: &RepositoryId, key: &[u8; 32]) -> std::io::Result<()> {
        private::replace(path, &self.encode(repository, key))
    }

    fn encode(&self, repository: &RepositoryId, key: &[u8; 32]) -> Vec<u8> {
        let mut out = Vec::with_capacity(SIZE);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&self.config.to_le_bytes());
        out.extend_from_slice(&self.gc.to_le_bytes());
        let (flag, (id, hash)) = match self.last {
            Some(last) => (1, last),
            None => (0, (SnapshotId([0; 16]), ObjectHash([0; 32]))),
        };
        out.push(flag);
        out.extend_from_slice(id.as_bytes());
        out.extend_from_slice(hash.as_bytes());
        let (class, place) = self.tried.map_or((0, [0; 16]), |(class, place)| (class as u8, place));
        out.push(class);
        out.extend_from_slice(&place);
        let tag = tag(&out, repository, key);
        out.extend_from_slice(&tag);
        out
    }

    fn decode(bytes: &[u8], repository: &RepositoryId, key: &[u8; 32]) -> Option<Self> {
        let (body, found) = bytes.split_at_checked(SIZE - 32)?;
        if bytes.len() != SIZE || !body.starts_with(MAGIC) || tag(body, repository, key) != *found {
            return None;
        }
        let number = |at: usize, length: usize| body.get(at..at + length);
        Some(Self {
            config: u32::from_le_bytes(number(8, 4)?.try_into().ok()?),
            gc: u64::from_le_bytes(number(12, 8)?.try_into().ok()?),
            last: match body.get(20)? {
                0 => None,
                _ => Some((SnapshotId::from_slice(number(21, 16)?)?, ObjectHash::from_slice(number(37, 32)?)?)),
            },
            tried: match body.get(69)? {
                1 => Some((StoreClass::Shared, number(70, 16)?.try_into().ok()?)),
                2 => Some((StoreClass::SingleMaintainer, number(70, 16)?.try_into().ok()?)),
                _ => None,
            },
        })
    }
}

/// The state of this host, in memory and in its file.
#[derive(Debug)]
pub(crate) struct HostMemory {
    path: Option<PathBuf>,
    repository: RepositoryId,
    key: Secret,
    state: Mutex<HostState>,
}

impl HostMemory {
    /// Reads the file of this repository in the folder of host states. Without a folder, nothing outlives this run.
    pub(crate) fn open(folder: Option<&Path>, repository: RepositoryId, key: [u8; 32]) -> Self {
        let path = folder.map(|folder| folder.join(format!("{repository}.state")));
        let state = path.as_deref().map(|path| HostState::load(path, &repository, &key)).unwrap_or_default();
        Self { path, repository, key: Secret::new(key), state: Mutex::new(state) }
    }

    /// What was seen so far.
    pub(crate) fn state(&self) -> HostState {
        *self.state.lock().unpoisoned()
    }

    /// Does it outlive this run?
    pub(crate) fn is_kept(&self) -> bool {
        self.path.is_some()
    }

    /// Changes what was seen, also in the file. A file that cannot be written costs only a warning about a store that
    /// was rolled back.
    pub(crate) fn remember(&self, change: impl FnOnce(&mut HostState)) {
        let mut state = self.state.lock().unpoisoned();
        let before = *state;
        change(&mut state);
        if let Some(path) = &self.path
            && *state != before
        {
            let _ = state.save(path, &self.repository, self.key.expose());
        }
    }

    fn advice(&self) -> String {
        match &self.path {
            Some(path) => format!(" (if that was you, remove {})", path.display()),
            None => String::new(),
        }
    }
}

impl Records<'_> {
    /// Does the store still show what this host saw of it last? A snapshot that was forgotten may be gone. `gc_number`
    /// is the highest gc number without a gap that was understood.
    ///
    /// # Errors
    /// [`RecordError::Brake`] when it was rolled back; the store's.
    pub(crate) fn check_not_rolled_back(&self, host: &HostMemory, gc_number: u64) -> Result<(), RecordError> {
        let seen = host.state();
        if gc_number < seen.gc {
            return Err(RecordError::Brake(format!(
                "the store shows gc records up to {gc_number}, this host has seen {}: it was rolled back{}",
                seen.gc,
                host.advice()
            )));
        }
        host.remember(|seen| seen.gc = gc_number);
        let Some((id, _)) = seen.last else { return Ok(()) };
        // A store that does not answer here proves nothing.
        if !matches!(self.objects.store.size(&names::snapshot_name(id)), Err(StoreError { kind: StoreErrorKind::Missing, .. })) {
            return Ok(());
        }
        let mut was_forgotten = false;
        self.objects.store.list(&format!("{}/{id}", names::FORGOTTEN), &mut |_| was_forgotten = true)?;
        if !was_forgotten {
            return Err(RecordError::Brake(format!(
                "snapshot {} that this host committed last is gone and was not forgotten: the store was rolled back or somebody deleted \
                 it{}",
                id.short(),
                host.advice()
            )));
        }
        Ok(())
    }
}

fn tag(body: &[u8], repository: &RepositoryId, key: &[u8; 32]) -> [u8; 32] {
    *blake3::Hasher::new_keyed(key).update(b"host state").update(repository.as_bytes()).update(body).finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPOSITORY: RepositoryId = RepositoryId([3; 32]);

    #[test]
    fn what_was_seen_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/state");
        let tried = Some((StoreClass::SingleMaintainer, [8; 16]));
        let state = HostState { config: 3, gc: 1 << 40, last: Some((SnapshotId([7; 16]), ObjectHash([9; 32]))), tried };
        state.save(&path, &REPOSITORY, &[1; 32]).unwrap();
        assert_eq!(HostState::load(&path, &REPOSITORY, &[1; 32]), state);
        assert_eq!(HostState::load(&path, &RepositoryId([4; 32]), &[1; 32]), HostState::default());
        assert_eq!(HostState::load(&path, &REPOSITORY, &[2; 32]), HostState::default());
    }

    #[test]
    fn a_damaged_file_is_no_state() {
        let bytes = HostState { config: 3, ..HostState::default() }.encode(&REPOSITORY, &[1; 32]);
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            assert_eq!(HostState::decode(&flipped, &REPOSITORY, &[1; 32]), None, "byte {at}");
            assert_eq!(HostState::decode(&bytes[..at], &REPOSITORY, &[1; 32]), None);
        }
    }
}
