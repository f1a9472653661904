//! How an object comes to stand under its name, whole and durable.
//!
//! Four round trips for an object in a folder that is known: open, write and sync, link, sync the folder and drop the temporary name. Whatever
//! else is needed (folders to make, leftovers to sweep) travels beside these.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;

use super::connection::{Connection, Ticket, Trouble};
use super::wire::{Ask, Status, WRITE_NEW};
use super::{Failure, SftpStore};
use crate::locks::Unpoisoned;
use crate::store::{Name, StoreError, StoreErrorKind};

/// Unfinished files live here; the name belongs to the store.
pub(super) const TMP: &str = "tmp";
/// Most bytes of one write that are under way.
const WRITE_AHEAD: usize = 4 << 20;
/// Tries on one connection: a folder, or our temporary file, may be swept away under us.
const TRIES: usize = 3;

/// What stands under the name before.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Where {
    /// Nothing may: another's object is never touched.
    Free,
    /// Anything: it is replaced.
    Taken,
}

/// What became of a try.
enum Outcome {
    /// The object is there, durably.
    Published,
    /// It does not, and another try would not help.
    Refused(StoreError),
    /// The folder or our temporary file vanished under us: both can be made again.
    Vanished(Status),
}

impl SftpStore {
    /// Puts an object under its name.
    pub(super) fn publish(&self, name: &Name, parts: &[&[u8]], place: Where) -> Result<(), StoreError> {
        // Temporary files of tries whose connection broke.
        let mut orphans = Vec::new();
        // A link was asked for and its answer was lost. The object with that name may be ours.
        let mut in_doubt = false;
        let bytes = parts.iter().map(|part| part.len()).sum();
        self.run(bytes, |connection| {
            self.check_abilities(connection, place)?;
            let mut vanished = None;
            for _ in 0..TRIES {
                let path = self.temporary_path();
                orphans.push(path.clone());
                let outcome = self.publish_once(connection, name, parts, place, &path, &mut in_doubt)?;
                if !matches!(outcome, Outcome::Vanished(_)) {
                    for path in &orphans[..orphans.len() - 1] {
                        let _ = connection.ask(Ask::Remove { path });
                    }
                }
                match outcome {
                    Outcome::Published => return Ok(()),
                    Outcome::Refused(error) => return Err(error.into()),
                    Outcome::Vanished(status) => {
                        self.check_root(connection)?;
                        self.settled.lock().unpoisoned().clear();
                        vanished = Some(status);
                    }
                }
            }
            let status = vanished.unwrap_or(Status { code: Status::NOT_FOUND, message: String::new() });
            Err(self.refused("publish", name.as_str(), &status).into())
        })
    }

    fn check_abilities(&self, connection: &Connection, place: Where) -> Result<(), Failure> {
        let cannot = |what: &str| Err(StoreError::failed(format!("the server of {} {what}", self.address)).into());
        if !connection.extensions.sync && !self.options.without_fsync {
            return cannot(
                "cannot say when a file is on its disk (no fsync@openssh.com), so its power failing could lose what it took; \
                 --option without-fsync=yes takes it all the same",
            );
        }
        if place == Where::Taken && !connection.extensions.replace {
            return cannot("cannot replace a file at one moment (no posix-rename@openssh.com)");
        }
        Ok(())
    }

    fn temporary_path(&self) -> String {
        self.path(&format!("{TMP}/{:016x}-{}", self.temporary_prefix, self.temporary_next.fetch_add(1, Ordering::Relaxed)))
    }

    /// One try on one connection.
    fn publish_once(
        &self,
        connection: &Connection,
        name: &Name,
        parts: &[&[u8]],
        place: Where,
        temporary: &str,
        in_doubt: &mut bool,
    ) -> Result<Outcome, Failure> {
        let failed = |trouble| self.failed("publish", name.as_str(), trouble);
        let folder = name.folder();
        let settling = self.begin_settling(connection, folder)?;
        let open = Ask::Open { path: temporary, how: WRITE_NEW, mode: Some(0o600) };
        let file = match connection.ask(open).and_then(|ticket| connection.handle(ticket)) {
            Ok(file) => file,
            Err(Trouble::Refused(status)) if status.code == Status::NOT_FOUND => return Ok(Outcome::Vanished(status)),
            Err(Trouble::Refused(status)) => return Err(self.no_room_or(connection, "write", name.as_str(), &status, 1)),
            Err(trouble) => return Err(failed(trouble)),
        };
        let written = self.write(connection, name, &file, parts).and_then(|()| self.end_settling(connection, settling));
        if let Err(failure) = written {
            self.drop_temporary(connection, temporary, &file)?;
            return Err(failure);
        }
        // Opened before the link, so that its sync can follow the link at once.
        let opening = self.ask_for_folder(connection, &self.path(folder)).map_err(failed)?;
        let sweep = self.begin_sweep(connection, temporary).map_err(failed)?;
        let path = self.path(name.as_str());
        let publish = match place {
            Where::Taken => Ask::Replace { from: temporary, to: &path },
            Where::Free if connection.extensions.link => Ask::Link { from: temporary, to: &path },
            Where::Free => Ask::Rename { from: temporary, to: &path },
        };
        let was_in_doubt = std::mem::replace(in_doubt, true);
        let outcome = match connection.ask(publish).and_then(|ticket| connection.done(ticket)) {
            Ok(()) => Outcome::Published,
            Err(Trouble::Refused(status)) => {
                *in_doubt = was_in_doubt;
                match self.why_not_published(connection, name, parts, place, status, was_in_doubt) {
                    Err(Failure::Answer(error)) => Outcome::Refused(error),
                    outcome => outcome?,
                }
            }
            Err(trouble) => return Err(failed(trouble)),
        };
        let folder = self.opened_folder(connection, opening).map_err(failed)?;
        let is_published = matches!(outcome, Outcome::Published);
        let syncing = match &folder {
            Some(handle) if is_published => Some(connection.ask(Ask::Sync { handle }).map_err(failed)?),
            _ => None,
        };
        let removing = connection.ask(Ask::Remove { path: temporary }).map_err(failed)?;
        let is_synced = match syncing {
            Some(ticket) => self.synced_folder(connection.done(ticket)).map_err(failed)?,
            None => false,
        };
        if is_published && !is_synced && connection.extensions.sync {
            // Second best: file systems that keep a journal write a file's names with it.
            connection.ask(Ask::Sync { handle: &file }).and_then(|ticket| connection.done(ticket)).map_err(failed)?;
        }
        // It may be gone: moved, or swept. What cannot be removed is swept later.
        if let Err(Trouble::Broken(why)) = connection.done(removing) {
            return Err(Failure::Broken(why));
        }
        self.end_sweep(connection, sweep).map_err(failed)?;
        for handle in folder.iter().chain([&file]) {
            connection.ask(Ask::Close { handle }).map_err(failed)?;
        }
        Ok(outcome)
    }

    /// All of it, and synced.
    fn write(&self, connection: &Connection, name: &Name, file: &[u8], parts: &[&[u8]]) -> Result<(), Failure> {
        let size = parts.iter().map(|part| part.len() as u64).sum();
        let failed = |trouble| match trouble {
            Trouble::Refused(status) => self.no_room_or(connection, "write", name.as_str(), &status, size),
            trouble => self.failed("write", name.as_str(), trouble),
        };
        let (_, block) = connection.blocks();
        let mut asked: VecDeque<Ticket> = VecDeque::new();
        let mut offset = 0;
        for piece in pieces(parts, block as usize) {
            if asked.len() >= (WRITE_AHEAD / block as usize).max(1)
                && let Some(ticket) = asked.pop_front()
            {
                connection.done(ticket).map_err(failed)?;
            }
            let length = piece.iter().map(|part| part.len() as u32).sum();
            std::thread::sleep(self.meter.sending(u64::from(length)));
            asked.push_back(connection.ask_with(Ask::Write { handle: file, offset, length }, &piece).map_err(failed)?);
            offset += u64::from(length);
        }
        // The server does what concerns one file in the order it was asked.
        if connection.extensions.sync {
            asked.push_back(connection.ask(Ask::Sync { handle: file }).map_err(failed)?);
        }
        // A failed sync may have dropped the bytes: it is never tried again on this file.
        asked.into_iter().try_for_each(|ticket| connection.done(ticket).map_err(failed))
    }

    /// A server of version 3 does not say that its disk is full: then the room left does.
    pub(super) fn no_room_or(&self, connection: &Connection, verb: &str, name: &str, status: &Status, needed: u64) -> Failure {
        let error = self.refused(verb, name, status);
        let is_plain = matches!(error, StoreError { kind: StoreErrorKind::Failed, .. });
        match connection.room(&self.path("")) {
            Some((bytes, files)) if is_plain && (bytes < needed || files == 0) => {
                StoreError::full(format!("{error}; its disk has {bytes} bytes and {files} files left")).into()
            }
            _ => error.into(),
        }
    }

    fn drop_temporary(&self, connection: &Connection, temporary: &str, file: &[u8]) -> Result<(), Failure> {
        let removed = connection.ask(Ask::Remove { path: temporary });
        let closed = connection.ask(Ask::Close { handle: file });
        for ticket in [removed, closed] {
            if let Err(Trouble::Broken(why)) = ticket.and_then(|ticket| connection.done(ticket)) {
                return Err(Failure::Broken(why));
            }
        }
        Ok(())
    }

    /// What a refusal to publish means.
    fn why_not_published(
        &self,
        connection: &Connection,
        name: &Name,
        parts: &[&[u8]],
        place: Where,
        status: Status,
        in_doubt: bool,
    ) -> Result<Outcome, Failure> {
        if status.code == Status::NOT_FOUND {
            return Ok(Outcome::Vanished(status));
        }
        let is_taken = place == Where::Free
            && match self.size_of(connection, name) {
                Ok(_) => true,
                Err(Failure::Answer(StoreError { kind: StoreErrorKind::Missing, .. })) => status.code == Status::EXISTS,
                // The name belongs to something that is not an object.
                Err(Failure::Answer(StoreError { kind: StoreErrorKind::Failed, .. })) => true,
                Err(failure) => return Err(failure),
            };
        if is_taken {
            // After a link whose answer was lost it may be what we wrote ourselves.
            let is_ours = in_doubt && self.holds(connection, name, parts)?;
            return Ok(if is_ours { Outcome::Published } else { Outcome::Refused(StoreError::exists(name.clone())) });
        }
        if status.code == Status::DENIED || status.code == Status::UNSUPPORTED {
            let hint = "does its file system have no hard links, or may this login not write there?";
            let text = format!("{}; {hint}", self.refused("publish", name.as_str(), &status));
            return Ok(Outcome::Refused(StoreError::denied(text)));
        }
        Err(self.no_room_or(connection, "publish", name.as_str(), &status, 1))
    }

    /// Does the object hold exactly these bytes?
    fn holds(&self, connection: &Connection, name: &Name, parts: &[&[u8]]) -> Result<bool, Failure> {
        let object = self.open_object(connection, name)?;
        let size: usize = parts.iter().map(|part| part.len()).sum();
        let bytes = match object.size == size as u64 {
            true => self.read(connection, &object, name, 0, size).map(Some),
            false => Ok(None),
        };
        object.close(connection);
        Ok(bytes?.is_some_and(|bytes| bytes.iter().eq(parts.iter().copied().flatten())))
    }
}

/// The parts laid end to end and cut every `block` bytes, without copying.
fn pieces<'a>(parts: &'a [&'a [u8]], block: usize) -> impl Iterator<Item = Vec<&'a [u8]>> {
    let mut rest: VecDeque<&[u8]> = parts.iter().copied().filter(|part| !part.is_empty()).collect();
    std::iter::from_fn(move || {
        let mut piece = Vec::new();
        let mut left = block;
        while left > 0
            && let Some(part) = rest.pop_front()
        {
            let (now, later) = part.split_at(part.len().min(left));
            left -= now.len();
            piece.push(now);
            if !later.is_empty() {
                rest.push_front(later);
            }
        }
        (!piece.is_empty()).then_some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_all_bytes_in_their_order() {
        let parts: [&[u8]; 5] = [b"", b"abcde", b"f", b"", b"ghijklmnop"];
        let cut: Vec<Vec<u8>> = pieces(&parts, 4).map(|piece| piece.concat()).collect();
        assert_eq!(cut, [&b"abcd"[..], b"efgh", b"ijkl", b"mnop"]);
        assert_eq!(pieces(&[], 4).count(), 0);
    }
}
