//! What reading, listing and deleting ask of a server, on one connection.
//!
//! Where several answers are needed, all are asked for before the first is waited for.

use std::collections::VecDeque;

use super::connection::{Connection, Ticket, Trouble};
use super::wire::{Ask, Attributes, READ, Status};
use super::{Failure, SftpStore};
use crate::store::bounds::Bounds;
use crate::store::{Entry, Name, StoreError, TOP_MAX};

/// Most bytes of one read that are under way, about what ssh lets be under way itself.
const READ_AHEAD: usize = 2 << 20;
/// Most folders that are listed at once.
pub(super) const FOLDERS_AT_ONCE: usize = 64;
/// Requests for rows of one folder under way: OpenSSH gives 100 rows for each, so two are enough for most folders and their end.
const ROWS_AHEAD: usize = 2;

const KIND: u32 = 0o170_000;
const FOLDER: u32 = 0o040_000;
const FILE: u32 = 0o100_000;

/// An object open for reading.
pub(super) struct Object {
    handle: Vec<u8>,
    pub size: u64,
}

impl Object {
    pub(super) fn close(self, connection: &Connection) {
        // The answer is not needed.
        let _ = connection.ask(Ask::Close { handle: &self.handle });
    }
}

/// What stands in one folder.
#[derive(Default)]
pub(super) struct Listed {
    pub entries: Vec<Entry>,
    pub folders: Vec<String>,
}

pub(super) fn is_folder(attributes: &Attributes) -> bool {
    attributes.mode.is_some_and(|mode| mode & KIND == FOLDER)
}

pub(super) fn is_file(attributes: &Attributes) -> bool {
    attributes.mode.is_some_and(|mode| mode & KIND == FILE)
}

fn is_not_found(trouble: &Trouble) -> bool {
    matches!(trouble, Trouble::Refused(Status { code: Status::NOT_FOUND, .. }))
}

impl SftpStore {
    /// "Not there" may also mean that the whole store is not there, which must never look like an empty one.
    pub(super) fn check_root(&self, connection: &Connection) -> Result<(), Failure> {
        let path = self.path("");
        match connection.ask(Ask::Stat { path: &path }).and_then(|ticket| connection.attributes(ticket)) {
            Ok(attributes) if attributes.mode.is_none() || is_folder(&attributes) => Ok(()),
            Ok(_) => Err(self.no_store().into()),
            Err(trouble) if is_not_found(&trouble) => Err(self.no_store().into()),
            Err(trouble) => Err(self.failed("open", "", trouble)),
        }
    }

    fn absent<T>(&self, connection: &Connection, name: &Name) -> Result<T, Failure> {
        self.check_root(connection)?;
        Err(StoreError::missing(name.clone()).into())
    }

    fn regular(&self, name: &Name, attributes: &Attributes) -> Result<u64, Failure> {
        match attributes.size {
            Some(size) if attributes.mode.is_none_or(|mode| mode & KIND == FILE) => Ok(size),
            _ => Err(StoreError::failed(format!("{}/{name} is not a regular file", self.address)).into()),
        }
    }

    pub(super) fn size_of(&self, connection: &Connection, name: &Name) -> Result<u64, Failure> {
        self.regular(name, &self.attributes_of(connection, name)?)
    }

    pub(super) fn attributes_of(&self, connection: &Connection, name: &Name) -> Result<Attributes, Failure> {
        let path = self.path(name.as_str());
        match connection.ask(Ask::Lstat { path: &path }).and_then(|ticket| connection.attributes(ticket)) {
            Ok(attributes) => Ok(attributes),
            Err(trouble) if is_not_found(&trouble) => self.absent(connection, name),
            Err(trouble) => Err(self.failed("examine", name.as_str(), trouble)),
        }
    }

    /// Opens an object for reading; with its size.
    pub(super) fn open_object(&self, connection: &Connection, name: &Name) -> Result<Object, Failure> {
        let path = self.path(name.as_str());
        let failed = |trouble| self.failed("open", name.as_str(), trouble);
        let attributes = connection.ask(Ask::Lstat { path: &path }).map_err(failed)?;
        let handle = connection.ask(Ask::Open { path: &path, how: READ, mode: None }).map_err(failed)?;
        let size = match connection.attributes(attributes) {
            Ok(attributes) => self.regular(name, &attributes),
            Err(trouble) if is_not_found(&trouble) => self.absent(connection, name),
            Err(trouble) => Err(failed(trouble)),
        };
        let handle = match connection.handle(handle) {
            Ok(handle) => handle,
            Err(trouble) if is_not_found(&trouble) => return size.and_then(|_| self.absent(connection, name)),
            Err(trouble) => return size.and(Err(failed(trouble))),
        };
        match size {
            Ok(size) => Ok(Object { handle, size }),
            Err(failure) => {
                Object { handle, size: 0 }.close(connection);
                Err(failure)
            }
        }
    }

    /// Exactly `length` bytes from `offset`, which the object has.
    pub(super) fn read(
        &self,
        connection: &Connection,
        object: &Object,
        name: &Name,
        offset: u64,
        length: usize,
    ) -> Result<Vec<u8>, Failure> {
        let failed = |trouble| self.failed("read", name.as_str(), trouble);
        let ask = |offset, length| {
            let ticket = connection.ask(Ask::Read { handle: &object.handle, offset, length }).map_err(failed)?;
            Ok::<_, Failure>((offset, length, ticket))
        };
        let mut bytes = Vec::with_capacity(length);
        if length == 0 {
            return Ok(bytes);
        }
        let (block, _) = connection.blocks();
        let at_once = (READ_AHEAD / block as usize).max(1);
        let (mut next, end) = (offset, offset + length as u64);
        let mut asked: VecDeque<(u64, u32, Ticket)> = VecDeque::new();
        while bytes.len() < length {
            while asked.len() < at_once && next < end {
                let some = u32::try_from(end - next).unwrap_or(u32::MAX).min(block);
                asked.push_back(ask(next, some)?);
                next += u64::from(some);
            }
            let shrank = || StoreError::failed(format!("{}/{name} shrank while it was read", self.address));
            let (at, wanted, ticket) = asked.pop_front().ok_or_else(shrank)?;
            let came = connection.data(ticket, wanted as usize).map_err(failed)?.ok_or_else(shrank)?;
            let came = came.as_ref();
            bytes.extend_from_slice(came);
            std::thread::sleep(self.meter.receiving(came.len() as u64));
            // At most `wanted`, which `data` has made sure of. A server may give less than it was asked for; the rest stands before all others.
            let got = came.len() as u32;
            if got < wanted {
                asked.push_front(ask(at + u64::from(got), wanted - got)?);
            }
        }
        Ok(bytes)
    }

    /// What stands in each of these folders. One that is not there is empty.
    pub(super) fn list_folders(&self, connection: &Connection, folders: &[String]) -> Result<Vec<Listed>, Failure> {
        let mut root_checked = false;
        let mut open = Vec::new();
        for folder in folders {
            let path = self.path(folder);
            let ticket = connection.ask(Ask::OpenFolder { path: &path }).map_err(|trouble| self.failed("list", folder, trouble))?;
            open.push((folder, ticket));
        }
        let mut under_way = Vec::new();
        for (folder, ticket) in open {
            match connection.handle(ticket) {
                Ok(handle) => under_way.push((folder, handle, Listed::default())),
                Err(trouble) if is_not_found(&trouble) => {
                    // Vanished while we look, or never there.
                    if !std::mem::replace(&mut root_checked, true) {
                        self.check_root(connection)?;
                    }
                }
                Err(trouble) => return Err(self.failed("list", folder, trouble)),
            }
        }
        let mut ended = Vec::new();
        let mut bounds = Bounds::new(&self.address);
        while !under_way.is_empty() {
            let mut asked = Vec::new();
            for (folder, handle, listed) in under_way.drain(..) {
                let ask = |_| connection.ask(Ask::ReadFolder { handle: &handle });
                let tickets = (0..ROWS_AHEAD).map(ask).collect::<Result<Vec<_>, _>>();
                asked.push((tickets.map_err(|trouble| self.failed("list", folder, trouble))?, folder, handle, listed));
            }
            for (tickets, folder, handle, mut listed) in asked {
                let mut is_whole = false;
                for ticket in tickets {
                    match connection.rows(ticket).map_err(|trouble| self.failed("list", folder, trouble))? {
                        None => is_whole = true,
                        Some(rows) => {
                            bounds.answer(rows.len())?;
                            for row in rows {
                                self.sort_in(connection, folder, &row.name, row.attributes, &mut listed)?;
                            }
                        }
                    }
                }
                match is_whole {
                    true => {
                        let _ = connection.ask(Ask::Close { handle: &handle });
                        ended.push(listed);
                    }
                    false => under_way.push((folder, handle, listed)),
                }
            }
        }
        Ok(ended)
    }

    /// What stands directly in the store's own folder, whatever it is called.
    pub(super) fn list_top(&self, connection: &Connection) -> Result<Vec<String>, Failure> {
        let failed = |trouble| self.failed("list", "", trouble);
        let opened = connection.ask(Ask::OpenFolder { path: &self.path("") }).map_err(failed)?;
        let handle = match connection.handle(opened) {
            Ok(handle) => handle,
            Err(trouble) if is_not_found(&trouble) => return Err(self.no_store().into()),
            Err(trouble) => return Err(failed(trouble)),
        };
        let mut names = Vec::new();
        let mut bounds = Bounds::new(&self.address);
        while names.len() < TOP_MAX {
            let asked = connection.ask(Ask::ReadFolder { handle: &handle }).map_err(failed)?;
            let Some(rows) = connection.rows(asked).map_err(failed)? else { break };
            bounds.answer(rows.len())?;
            for row in rows.iter().filter(|row| ![&b"."[..], b".."].contains(&&row.name[..])) {
                let slash = if is_folder(&row.attributes) { "/" } else { "" };
                names.push(format!("{}{slash}", String::from_utf8_lossy(&row.name)));
            }
        }
        let _ = connection.ask(Ask::Close { handle: &handle });
        names.truncate(TOP_MAX);
        Ok(names)
    }

    /// Puts one row of a folder where it belongs, or leaves it out.
    fn sort_in(
        &self,
        connection: &Connection,
        folder: &str,
        row: &[u8],
        mut attributes: Attributes,
        listed: &mut Listed,
    ) -> Result<(), Failure> {
        let Ok(last) = std::str::from_utf8(row) else { return Ok(()) };
        let Some(name) = Name::new(if folder.is_empty() { last.to_owned() } else { format!("{folder}/{last}") }) else {
            return Ok(());
        };
        if name.as_str() == super::publish::TMP {
            return Ok(());
        }
        if attributes.mode.is_none() || attributes.size.is_none() {
            // A server that tells little in its listings.
            let path = self.path(name.as_str());
            match connection.ask(Ask::Lstat { path: &path }).and_then(|ticket| connection.attributes(ticket)) {
                Ok(told) => attributes = told,
                Err(trouble) if is_not_found(&trouble) => return Ok(()),
                Err(trouble) => return Err(self.failed("examine", name.as_str(), trouble)),
            }
        }
        match (attributes.mode.map(|mode| mode & KIND), attributes.size) {
            (Some(FOLDER), _) => listed.folders.push(name.to_string()),
            (Some(FILE), Some(size)) => listed.entries.push(Entry { name, size }),
            (None, _) | (Some(FILE), None) => {
                let text = format!("{}: the server does not tell what {name} is", self.address);
                return Err(StoreError::failed(text).into());
            }
            _ => {}
        }
        Ok(())
    }

    pub(super) fn remove(&self, connection: &Connection, name: &Name) -> Result<(), Failure> {
        let path = self.path(name.as_str());
        match connection.ask(Ask::Remove { path: &path }).and_then(|ticket| connection.done(ticket)) {
            Ok(()) => Ok(()),
            Err(trouble) if is_not_found(&trouble) => self.check_root(connection),
            Err(trouble) => Err(self.failed("delete", name.as_str(), trouble)),
        }
    }
}
