//! Folders: those that objects stand in, made and synced before anything is put there; the place itself; and what lies in `tmp`.

use std::sync::atomic::Ordering;

use super::connection::{Connection, Ticket, Trouble};
use super::objects::{is_file, is_folder};
use super::publish::TMP;
use super::wire::{Ask, READ, Status};
use super::{Failure, SftpStore};
use crate::locks::Unpoisoned;
use crate::store::Name;

/// A leftover of a killed process is removed when it is this much older, in seconds, than a file made now (on the server's clock).
const LEFTOVER_AGE_SECONDS: u32 = 24 * 3600;

/// A folder that was asked for.
pub(super) struct Settling {
    folder: String,
    made: Ticket,
    seen: Ticket,
    above: Option<Ticket>,
}

/// A look at `tmp`.
pub(super) struct Sweep {
    mine: Ticket,
    folder: Ticket,
}

impl SftpStore {
    /// Asks for the folder and those above it, where this store has not settled them yet, and for `tmp`.
    pub(super) fn begin_settling(&self, connection: &Connection, folder: &str) -> Result<Vec<Settling>, Failure> {
        let mut wanted = vec![TMP];
        wanted.extend(folder.match_indices('/').map(|(end, _)| &folder[..end]));
        wanted.extend(Some(folder).filter(|folder| !folder.is_empty()));
        {
            let settled = self.settled.lock().unpoisoned();
            wanted.retain(|folder| !settled.contains(*folder));
        }
        let ask = |folder: &str| -> Result<Settling, Trouble> {
            let path = self.path(folder);
            let above = self.path(folder.rsplit_once('/').map_or("", |(above, _)| above));
            Ok(Settling {
                folder: folder.to_owned(),
                made: connection.ask(Ask::MakeFolder { path: &path, mode: 0o700 })?,
                seen: connection.ask(Ask::Stat { path: &path })?,
                // Nothing is lost with an entry of `tmp`.
                above: if folder == TMP { None } else { self.ask_for_folder(connection, &above)? },
            })
        };
        wanted.into_iter().map(|folder| ask(folder).map_err(|trouble| self.failed("make the folder", folder, trouble))).collect()
    }

    /// Each of them is there, and its entry in the folder above is on the disk: another process may have made it and died before that.
    pub(super) fn end_settling(&self, connection: &Connection, settling: Vec<Settling>) -> Result<(), Failure> {
        let mut syncing = Vec::new();
        for Settling { folder, made, seen, above } in settling {
            let failed = |trouble| self.failed("make the folder", &folder, trouble);
            let above = self.opened_folder(connection, above).map_err(failed)?;
            let (made, seen) = (connection.done(made), connection.attributes(seen));
            match (made, seen) {
                (Err(trouble @ Trouble::Broken(_)), _) | (_, Err(trouble @ Trouble::Broken(_))) => return Err(failed(trouble)),
                (_, Ok(attributes)) if is_folder(&attributes) => {}
                (Err(Trouble::Refused(status)), _) => {
                    self.check_root(connection)?;
                    return Err(self.no_room_or(connection, "make the folder", &folder, &status, 1));
                }
                (Ok(()), _) => {}
            }
            if let Some(handle) = above {
                let ticket = connection.ask(Ask::Sync { handle: &handle }).map_err(failed)?;
                connection.ask(Ask::Close { handle: &handle }).map_err(failed)?;
                syncing.push((folder, Some(ticket)));
            } else {
                syncing.push((folder, None));
            }
        }
        for (folder, ticket) in syncing {
            if let Some(ticket) = ticket {
                self.synced_folder(connection.done(ticket))
                    .map_err(|trouble| self.failed("sync the folder above", &folder, trouble))?;
            }
            self.settled.lock().unpoisoned().insert(folder);
        }
        Ok(())
    }

    /// Opens a folder as a file, which is how it can be synced; `None` where that is known not to work.
    pub(super) fn ask_for_folder(&self, connection: &Connection, path: &str) -> Result<Option<Ticket>, Trouble> {
        if !connection.extensions.sync || !self.syncs_folders.load(Ordering::Relaxed) {
            return Ok(None);
        }
        connection.ask(Ask::Open { path, how: READ, mode: None }).map(Some)
    }

    pub(super) fn opened_folder(&self, connection: &Connection, ticket: Option<Ticket>) -> Result<Option<Vec<u8>>, Trouble> {
        let Some(ticket) = ticket else { return Ok(None) };
        match connection.handle(ticket) {
            Ok(handle) => Ok(Some(handle)),
            Err(Trouble::Refused(status)) => {
                // Not there yet is no sign that it cannot be opened.
                if status.code != Status::NOT_FOUND {
                    self.syncs_folders.store(false, Ordering::Relaxed);
                }
                Ok(None)
            }
            Err(trouble) => Err(trouble),
        }
    }

    /// Was the folder synced? A server or system that has no such thing is not asked again.
    pub(super) fn synced_folder(&self, outcome: Result<(), Trouble>) -> Result<bool, Trouble> {
        match outcome {
            Ok(()) => Ok(true),
            Err(Trouble::Refused(Status { code: Status::BAD_MESSAGE | Status::UNSUPPORTED | Status::NOT_FOUND, .. })) => {
                self.syncs_folders.store(false, Ordering::Relaxed);
                Ok(false)
            }
            Err(trouble) => Err(trouble),
        }
    }

    /// Makes the place and what is missing above it.
    pub(super) fn make_place(&self, connection: &Connection) -> Result<(), Failure> {
        let root = self.path("");
        let is_there = |path: &str| {
            let seen = connection.ask(Ask::Stat { path }).and_then(|ticket| connection.attributes(ticket));
            match seen {
                Ok(attributes) => Ok(attributes.mode.is_none() || is_folder(&attributes)),
                Err(Trouble::Refused(_)) => Ok(false),
                Err(trouble) => Err(self.failed("examine", "", trouble)),
            }
        };
        let starts: Vec<usize> = root.match_indices('/').map(|(at, _)| at).filter(|at| *at > 0).collect();
        let mut missing = Vec::new();
        for path in std::iter::once(root.as_str()).chain(starts.iter().rev().map(|end| &root[..*end])) {
            if is_there(path)? {
                break;
            }
            missing.push(path);
        }
        for path in missing.into_iter().rev() {
            let failed = |trouble| self.failed("make", "", trouble);
            match connection.ask(Ask::MakeFolder { path, mode: 0o700 }).and_then(|ticket| connection.done(ticket)) {
                Ok(()) => {}
                Err(trouble @ Trouble::Broken(_)) => return Err(failed(trouble)),
                // Somebody else was faster.
                Err(Trouble::Refused(_)) if is_there(path)? => {}
                Err(trouble) => return Err(failed(trouble)),
            }
            let above = match path.rsplit_once('/') {
                Some(("", _)) => "/",
                Some((above, _)) => above,
                None => ".",
            };
            let opening = self.ask_for_folder(connection, above).map_err(failed)?;
            if let Some(handle) = self.opened_folder(connection, opening).map_err(failed)? {
                let synced = connection.ask(Ask::Sync { handle: &handle }).map_err(failed)?;
                connection.ask(Ask::Close { handle: &handle }).map_err(failed)?;
                self.synced_folder(connection.done(synced)).map_err(failed)?;
            }
        }
        self.check_root(connection)
    }

    // -- leftovers ------------------------------------------------------------------------------------------

    /// Once for each store: asks what lies in `tmp`, and how late it is there.
    pub(super) fn begin_sweep(&self, connection: &Connection, mine: &str) -> Result<Option<Sweep>, Trouble> {
        if self.swept.swap(true, Ordering::Relaxed) {
            return Ok(None);
        }
        Ok(Some(Sweep {
            mine: connection.ask(Ask::Lstat { path: mine })?,
            folder: connection.ask(Ask::OpenFolder { path: &self.path(TMP) })?,
        }))
    }

    /// Removes what killed processes left long ago. A comfort: every refusal only leaves things lying. A writer that slept for a day loses its
    /// temporary file, and writes it again.
    pub(super) fn end_sweep(&self, connection: &Connection, sweep: Option<Sweep>) -> Result<(), Trouble> {
        let Some(Sweep { mine, folder }) = sweep else { return Ok(()) };
        let kept = |outcome: Trouble| match outcome {
            Trouble::Refused(_) => Ok(()),
            trouble => Err(trouble),
        };
        let now = match connection.attributes(mine) {
            Ok(attributes) => attributes.modified,
            Err(trouble) => return kept(trouble),
        };
        let handle = match connection.handle(folder) {
            Ok(handle) => handle,
            Err(trouble) => return kept(trouble),
        };
        let rows = match connection.ask(Ask::ReadFolder { handle: &handle }).and_then(|ticket| connection.rows(ticket)) {
            Ok(rows) => rows.unwrap_or_default(),
            Err(trouble) => return kept(trouble),
        };
        connection.ask(Ask::Close { handle: &handle })?;
        let mut removed = Vec::new();
        for row in rows {
            let (Some(now), Some(then), Ok(name)) = (now, row.attributes.modified, std::str::from_utf8(&row.name)) else {
                continue;
            };
            let name = format!("{TMP}/{name}");
            if Name::new(&*name).is_some() && is_file(&row.attributes) && now.saturating_sub(then) > LEFTOVER_AGE_SECONDS {
                removed.push(connection.ask(Ask::Remove { path: &self.path(&name) })?);
            }
        }
        // Waited for: a program that ends now takes the server with it, with what it had still to do.
        removed.into_iter().try_for_each(|ticket| connection.done(ticket).or_else(kept))
    }
}
