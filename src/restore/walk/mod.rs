//! The walk through the trees: makes folders, links and devices on its way, decides about files, and hands windows of work on.

mod entries;
mod forecast;

use std::collections::HashMap;
use std::iter::Peekable;
use std::sync::Arc;
use std::vec::IntoIter;

use crate::filesystem::{FilesystemError, Folder, Found, Named};
use crate::format::content::Leaves;
use crate::format::limits::DEPTH_MAX;
use crate::format::proportion::Budget;
use crate::format::tree::{HardLink, Item, LeftOut, Node, NodeKind};
use crate::path;
use crate::restore::compare::same_metadata;
use crate::restore::coverage::Why;
use crate::restore::file::FileJob;
use crate::restore::plan::{Action, FirstName, FolderJob, LinkJob, Piece, Place, Segment, Window, WindowSize, decide};
use crate::restore::select::Selected;
use crate::restore::tally::count;
use crate::restore::{Failure, IN_THE_WAY, Overwrite, RestoreError, Run, Start, is_loss};

pub(crate) use forecast::Forecast;

/// Where windows go.
pub(super) type Send<'a> = dyn FnMut(Window) -> Result<(), RestoreError> + 'a;

/// A folder on the way from the target to where the walk is.
struct Level {
    path: Arc<[u8]>,
    /// None: the target itself.
    node: Option<Node>,
    /// Tree chunks that come after `nodes`.
    items: IntoIter<Item>,
    nodes: IntoIter<Node>,
    last_name: Vec<u8>,
    /// It is selected, and all it holds unless a pattern leaves it out.
    selected: bool,
    state: State,
    /// What its record in the snapshot lacks.
    left_out: LeftOut,
    /// With `delete`: what stands in it and was not met yet, in rising order.
    listing: Option<Peekable<IntoIter<Named>>>,
    /// Why nothing that stands in it is deleted.
    keeps_all: Option<Why>,
}

enum State {
    /// Not needed yet: nothing in it was selected so far.
    Pending,
    /// There; in a dry run it may be no more than a thought.
    Open {
        folder: Option<Arc<Folder>>,
        existed: bool,
        /// The mode it had before it was opened for writing.
        narrow_mode: Option<u32>,
    },
    /// Could not be made, or must be left alone: so is all it holds.
    Closed,
}

/// See the top of this file.
pub(crate) struct Walker<'a> {
    run: Run<'a>,
    send: &'a mut Send<'a>,
    levels: Vec<Level>,
    window: Window,
    size: WindowSize,
    first_names: HashMap<HardLink, Arc<FirstName>>,
    files: u64,
    bytes: u64,
    found: Forecast,
    budget: Budget,
}

impl<'a> Walker<'a> {
    pub(super) fn new(run: Run<'a>, send: &'a mut Send<'a>) -> Self {
        let far = run.reader.repository().is_remote();
        let (window, size) = (Window::default(), WindowSize::first(far));
        Self {
            run,
            send,
            levels: Vec::new(),
            window,
            size,
            first_names: HashMap::new(),
            files: 0,
            bytes: 0,
            found: Forecast::default(),
            budget: Budget::of_entries(),
        }
    }

    /// Walks everything, depth first. Of a walk that only plans comes what it found.
    pub(super) fn walk(mut self, start: &Start) -> Result<Forecast, RestoreError> {
        let root = self.run.target.map(|target| Arc::clone(target.root()));
        let mut level = Level {
            path: Arc::from(&[][..]),
            node: None,
            items: Vec::new().into_iter(),
            nodes: Vec::new().into_iter(),
            last_name: Vec::new(),
            selected: self.run.selection.starts_selected(),
            state: State::Open { existed: root.is_some(), folder: root, narrow_mode: None },
            left_out: LeftOut::NOTHING,
            listing: None,
            keeps_all: None,
        };
        match start {
            Start::Entry(node) => level.nodes = vec![Node::clone(node)].into_iter(),
            Start::Folder(content, left_out) => {
                level.items = self.items_of(content, b"")?;
                level.left_out = *left_out;
                self.begin_in(&mut level)?;
            }
        }
        self.levels.push(level);
        while let Some(level) = self.levels.last_mut() {
            self.run.stop.check()?;
            if let Some(node) = level.nodes.next() {
                self.visit(node)?;
            } else if let Some(item) = level.items.next() {
                self.next_nodes(item)?;
            } else {
                self.leave()?;
            }
            self.send_if_full()?;
        }
        // Not sooner: the totals of what was walked so far would show 100 % half-way.
        self.run.monitor.total(self.files, self.bytes);
        self.send()?;
        Ok(self.found)
    }

    fn visit(&mut self, node: Node) -> Result<(), RestoreError> {
        let Some(level) = self.levels.last() else { return Ok(()) };
        let path = path::join(&level.path, &node.name);
        let within = level.selected;
        let selected = self.run.selection.select(&path, node.kind == NodeKind::Folder, within);
        if selected == Selected::Yes && !self.open_levels()? {
            return Ok(());
        }
        self.plan_deletions_up_to(Some(&node.name))?;
        match (selected, node.kind) {
            (Selected::No, _) => Ok(()),
            (_, NodeKind::Folder) => self.enter(path, node, selected == Selected::Yes),
            _ => self.entry(path, node),
        }
    }

    fn enter(&mut self, path: Vec<u8>, node: Node, selected: bool) -> Result<(), RestoreError> {
        if self.levels.len() > DEPTH_MAX {
            let detail = format!("folders are nested deeper than {DEPTH_MAX}");
            self.run.tally.failure(Failure { path, detail, damage: true });
            return Ok(());
        }
        let items = self.items_of(&node.content, &path)?;
        self.levels.push(Level {
            path: path.into(),
            left_out: node.left_out(),
            node: Some(node),
            items,
            nodes: Vec::new().into_iter(),
            last_name: Vec::new(),
            selected,
            state: State::Pending,
            listing: None,
            keeps_all: None,
        });
        if selected && !self.open_levels()? {
            self.levels.pop();
        }
        Ok(())
    }

    /// Makes the folders from the target to here, those that are not there yet; false: one of them cannot be used.
    fn open_levels(&mut self) -> Result<bool, RestoreError> {
        for place in 0..self.levels.len() {
            match self.levels[place].state {
                State::Open { .. } => {}
                State::Closed => return Ok(false),
                State::Pending => {
                    let state = self.open_level(place)?;
                    let usable = matches!(state, State::Open { .. });
                    self.levels[place].state = state;
                    if !usable {
                        return Ok(false);
                    }
                    let mut level = self.levels.swap_remove(place);
                    let started = self.begin_in(&mut level);
                    self.levels.push(level);
                    let last = self.levels.len() - 1;
                    self.levels.swap(place, last);
                    started?;
                }
            }
        }
        Ok(true)
    }

    fn open_level(&self, place: usize) -> Result<State, RestoreError> {
        let (Some(parent), Some(level)) = (place.checked_sub(1).map(|above| &self.levels[above]), self.levels.get(place)) else {
            return Ok(State::Closed);
        };
        let (Some(node), State::Open { folder: parent, existed, .. }) = (&level.node, &parent.state) else {
            return Ok(State::Closed);
        };
        match self.make_folder(parent.as_ref().filter(|_| *existed), &level.path, node) {
            Ok(state) => Ok(state),
            Err(error) => {
                self.run.tally.refused(level.path.to_vec(), error)?;
                Ok(State::Closed)
            }
        }
    }

    /// `parent`: to be looked into; none when it is new.
    fn make_folder(&self, parent: Option<&Arc<Folder>>, path: &[u8], node: &Node) -> Result<State, FilesystemError> {
        let Run { options, .. } = self.run;
        let existing = parent.map(|parent| parent.look_up(&node.name)).transpose()?.flatten();
        let action = decide(node, existing.as_ref(), options.overwrite, false);
        match action {
            Action::Leave | Action::Refuse => {
                self.left_alone(path.to_vec(), action);
                return Ok(State::Closed);
            }
            _ => {}
        }
        let Some(target) = self.run.target.filter(|_| !self.run.pretends()) else {
            let folder = match (action, parent) {
                (Action::Keep, Some(parent)) => Some(Arc::new(parent.open_folder(&node.name)?)),
                _ => None,
            };
            return Ok(State::Open { existed: folder.is_some(), folder, narrow_mode: None });
        };
        if action == Action::Clear {
            target.remove(path)?;
        }
        // The user's own folder that the user may not write to: its mode is set again when all that is in it is done.
        let narrow_mode = match (action, parent) {
            (Action::Keep, Some(parent)) => parent.widen(&node.name)?,
            _ => None,
        };
        let created = target.create_folder(path)?;
        Ok(State::Open { folder: Some(created.folder), existed: created.existed, narrow_mode })
    }

    fn left_alone(&self, path: Vec<u8>, action: Action) {
        let Run { tally, monitor, .. } = self.run;
        if action == Action::Leave {
            count(&tally.entries_skipped);
            monitor.entry(self.run.action("skipped", "would skip"), &path, 0);
        } else {
            tally.failure(Failure { path, detail: IN_THE_WAY.to_owned(), damage: false });
        }
    }

    fn entry(&mut self, path: Vec<u8>, node: Node) -> Result<(), RestoreError> {
        let Some(level) = self.levels.last() else { return Ok(()) };
        let State::Open { folder, existed, .. } = &level.state else { return Ok(()) };
        let (folder, look, place) = (folder.clone(), *existed, Arc::clone(&level.path));
        if let Some(group) = node.hard_link
            && let Some(first) = self.first_names.get(&group)
        {
            let first = Arc::clone(first);
            if self.run.planning
                && let Some(folder) = folder.as_ref().filter(|_| look)
            {
                let existing = folder.look_up(&node.name).ok().flatten();
                self.clears(&path, Some(folder), existing.as_ref())?;
            }
            let place = Place { folder: place, name: node.name.clone().into() };
            self.window.push_link(LinkJob { place, first, look, node });
            return Ok(());
        }
        let Run { tally, .. } = self.run;
        let existing = match folder.as_ref().filter(|_| look).map(|folder| self.look(folder, &node)).transpose() {
            Ok(existing) => existing.flatten(),
            Err(error) => return tally.refused(path, error),
        };
        let clears = self.clears(&path, folder.as_ref(), existing.as_ref())?;
        let mut action = decide(&node, existing.as_ref(), self.run.options.overwrite, clears);
        if matches!(action, Action::Leave | Action::Refuse) {
            self.left_alone(path, action);
            return Ok(());
        }
        if action == Action::Clear && clears {
            self.run.delete(&path)?;
            if !self.run.pretends() {
                action = Action::Create;
            }
        }
        if node.kind == NodeKind::File {
            if self.run.planning {
                self.found.bytes_needed += self.needs(&node, action, existing.as_ref());
            }
            return self.file(place, node, action);
        }
        let (group, name) = (node.hard_link, node.name.clone());
        let node = self.run.readable_attributes(&path, &node)?;
        let made = match folder {
            Some(folder) if !self.run.pretends() => self.special(&folder, &path, &node, action, existing.as_ref()),
            _ => Ok(()),
        };
        match made {
            Ok(()) => {
                count(&tally.others);
                self.run.monitor.entry(self.run.action("restored", "would restore"), &path, 0);
                self.remember(group, Place { folder: place, name: name.into() }, None);
                Ok(())
            }
            Err(error) => tally.refused(path, error),
        }
    }

    /// What stands there, of links and devices with all that could differ.
    fn look(&self, folder: &Folder, node: &Node) -> Result<Option<Found>, FilesystemError> {
        let mut existing = folder.look_up(&node.name)?;
        if let Some(found) = &mut existing
            && node.kind != NodeKind::File
            && found.node.kind == node.kind
        {
            folder.complete(found, self.run.owners)?;
        }
        Ok(existing)
    }

    fn special(
        &self,
        folder: &Folder,
        path: &[u8],
        node: &Node,
        action: Action,
        existing: Option<&Found>,
    ) -> Result<(), FilesystemError> {
        let Run { target, rules, tally, options, .. } = self.run;
        let shortfalls = match (action, existing) {
            (Action::Keep, Some(found)) if same_metadata(&found.node, node, !options.no_ownership) => return Ok(()),
            (Action::Keep, _) => folder.update_special(node, rules)?,
            _ => {
                if let (Action::Clear, Some(target)) = (action, target) {
                    target.remove(path)?;
                }
                folder.create_special(node, rules)?
            }
        };
        tally.shortfalls(path, &shortfalls);
        Ok(())
    }

    fn remember(&mut self, group: Option<HardLink>, place: Place, job: Option<Arc<FileJob>>) {
        if let Some(group) = group {
            self.first_names.insert(group, Arc::new(FirstName { place, job }));
        }
    }

    fn file(&mut self, folder: Arc<[u8]>, node: Node, action: Action) -> Result<(), RestoreError> {
        self.files += 1;
        self.bytes = self.bytes.saturating_add(node.size);
        let job = Arc::new(FileJob::new(self.files, folder, node, action));
        let place = Place { folder: Arc::clone(&job.folder), name: job.node.name.clone().into() };
        self.remember(job.node.hard_link, place, Some(Arc::clone(&job)));
        let mut first = self.window.next_piece();
        // An unchanged file needs none, unless it is read back; a plan needs none at all.
        if !self.run.planning && (action != Action::Keep || self.run.options.verify) {
            self.pieces(&job, &mut first)?;
        }
        let pieces = first..self.window.next_piece();
        self.window.push_segment(Segment { job, pieces, last: true });
        Ok(())
    }

    /// The pieces of a file, in order; a file that needs more than a window holds is cut into segments.
    fn pieces(&mut self, job: &Arc<FileJob>, first: &mut u32) -> Result<(), RestoreError> {
        let Self { run, send, window, size, .. } = self;
        let content = &job.node.content;
        let mut offset = 0u64;
        let listed = run.reader.for_each_item::<RestoreError>(content, Leaves::Data, &mut |item| {
            let (length, chunk) = match *item {
                Item::Chunk { id, length } => (length, Some(id)),
                Item::Hole { length } => (length, None),
            };
            window.push_piece(Piece { offset, length, chunk });
            offset = offset.saturating_add(length);
            if content.level > 0 && size.is_reached(window) {
                let pieces = *first..window.next_piece();
                window.push_segment(Segment { job: Arc::clone(job), pieces, last: false });
                send(size.take(window))?;
                *first = 0;
            }
            Ok(())
        });
        match listed {
            Ok(()) if offset == job.node.size => {}
            Ok(()) => job.fail("its content has another length than it should".to_owned(), true),
            Err(RestoreError::Repository(error)) if is_loss(&error) => job.fail(error.to_string(), true),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn leave(&mut self) -> Result<(), RestoreError> {
        self.plan_deletions_up_to(None)?;
        let Some(level) = self.levels.pop() else { return Ok(()) };
        let State::Open { existed, narrow_mode, .. } = level.state else { return Ok(()) };
        self.run.delete(&level.path)?;
        if let Some(node) = level.node {
            // A folder that was there is touched only when it was itself asked for, and files in it may be touched.
            let finish = !existed || (level.selected && self.run.options.overwrite != Overwrite::Never);
            if finish {
                self.window.push_folder(FolderJob { path: level.path, node, existed, only_mode: None });
            } else if narrow_mode.is_some() {
                self.window.push_folder(FolderJob { path: level.path, node, existed, only_mode: narrow_mode });
            }
        }
        Ok(())
    }

    fn send_if_full(&mut self) -> Result<(), RestoreError> {
        if self.size.is_reached(&self.window) { self.send() } else { Ok(()) }
    }

    fn send(&mut self) -> Result<(), RestoreError> {
        if self.window.is_empty() {
            return Ok(());
        }
        (self.send)(self.size.take(&mut self.window))
    }
}
