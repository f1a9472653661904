//! Folder records on their way to the cache: they wait until the packs of their chunks are known.

use std::collections::VecDeque;

use crate::catalog::FolderRecord;
use crate::repository::writer::{Home, Writer};
use crate::snapshot::SnapshotError;
use crate::snapshot::state::{FolderState, Stat};

/// Records written to the cache in one transaction.
const STATES_TOGETHER: usize = 256;
/// Bytes of a record in one row of the cache.
const PAGE_BYTES: usize = 4 << 20;

/// What the next run needs to know of a file.
pub(super) enum Seen {
    /// As the old record says.
    Same,
    /// Read now; `stat` is none when the file changed too recently to be trusted next time.
    Read {
        /// Its stat.
        stat: Option<Stat>,
        /// Where its chunks are.
        homes: Vec<Home>,
    },
}

/// One file of a record to be.
pub(crate) struct SeenFile {
    /// Its name.
    pub name: Vec<u8>,
    /// Its encoded node.
    pub node: Vec<u8>,
    /// What is known.
    pub seen: Seen,
}

struct Waiting {
    source: String,
    path: Vec<u8>,
    old: Option<FolderState>,
    files: Vec<SeenFile>,
}

/// The records of one run, in order.
#[derive(Default)]
pub(crate) struct PendingStates {
    waiting: VecDeque<Waiting>,
    pushed: usize,
}

impl PendingStates {
    /// A folder's files, in rising order of names; `old` is the record they refer to with [`Seen::Same`].
    pub(super) fn push(&mut self, source: &str, path: Vec<u8>, old: Option<FolderState>, files: Vec<SeenFile>) {
        self.waiting.push_back(Waiting { source: source.to_owned(), path, old, files });
        self.pushed += 1;
    }

    /// Now and then, writes the records at the front whose chunks are durable.
    pub(crate) fn save_some(&mut self, writer: &mut Writer, host: &str) -> Result<(), SnapshotError> {
        if self.pushed < STATES_TOGETHER {
            return Ok(());
        }
        self.pushed = 0;
        let durable = |writer: &Writer, waiting: &Waiting| {
            waiting.files.iter().all(|file| match &file.seen {
                Seen::Read { homes, .. } => homes.iter().all(|&home| writer.is_settled(home)),
                Seen::Same => true,
            })
        };
        while self.waiting.front().is_some_and(|front| durable(writer, front)) {
            self.save_batch(writer, host, durable)?;
        }
        Ok(())
    }

    /// Writes all that are left; what has no pack by now is left out and read again next time.
    pub(crate) fn save_all(&mut self, writer: &mut Writer, host: &str) -> Result<(), SnapshotError> {
        while !self.waiting.is_empty() {
            self.save_batch(writer, host, |_, _| true)?;
        }
        Ok(())
    }

    fn save_batch(
        &mut self,
        writer: &mut Writer,
        host: &str,
        ready: impl Fn(&Writer, &Waiting) -> bool,
    ) -> Result<(), SnapshotError> {
        let Some(source) = self.waiting.front().map(|front| front.source.clone()) else { return Ok(()) };
        let mut states = Vec::new();
        while states.len() < STATES_TOGETHER
            && self.waiting.front().is_some_and(|next| next.source == source && ready(writer, next))
        {
            let Some(next) = self.waiting.pop_front() else { break };
            let state = record(writer, next.old.as_ref(), next.files);
            let pages = state.encode().chunks(PAGE_BYTES).map(<[u8]>::to_vec).collect();
            states.push(FolderRecord { path: next.path, pages });
        }
        if writer.is_dry_run() {
            return Ok(());
        }
        Ok(writer.put_folder_records(host, &source, &states)?)
    }
}

fn record(writer: &Writer, old: Option<&FolderState>, files: Vec<SeenFile>) -> FolderState {
    let mut state = FolderState::default();
    for file in files {
        match file.seen {
            Seen::Same => {
                if let Some((old, same)) = old.and_then(|old| Some((old, old.find(&file.name)?))) {
                    let packs: Vec<_> = old.packs(same).collect();
                    state.push(file.name, same.stat, same.node.clone(), &packs);
                }
            }
            Seen::Read { stat, homes } => {
                let packs: Option<Vec<_>> = homes.iter().map(|&home| writer.packs_of(home)).collect();
                match (stat, packs) {
                    (Some(stat), Some(packs)) => state.push(file.name, stat, file.node, &packs.concat()),
                    // Read again next time. Its node tells then whether it is new, changed, or what it was.
                    _ => state.push(file.name, Stat::NEVER, file.node, &[]),
                }
            }
        }
    }
    state
}
