//! The end of files, further names and folders: owner, attributes, mode and times, each when nothing more will happen to it.

use std::borrow::Cow;

use crate::crypto::ChunkType;
use crate::filesystem::{FilesystemError, NewFile};
use crate::format::content::Leaves;
use crate::format::tree::{Content, Item, Node, NodeKind, XattrValue};
use crate::repository::RepositoryError;
use crate::restore::execute::Executor;
use crate::restore::file::{FileJob, Way};
use crate::restore::plan::{FolderJob, LinkJob};
use crate::restore::tally::{add, count};
use crate::restore::{Failure, IN_THE_WAY, Overwrite, RestoreError, Run, is_loss};

/// The kernel takes no longer value of an attribute.
const XATTR_SIZE_MAX: u64 = 64 << 10;
/// Values of one entry's attributes that are held at once: a thousand of the longest.
const XATTRS_SIZE_MAX: u64 = 64 << 20;

impl Executor<'_> {
    /// So many pieces are done with; the last one finishes the file.
    pub(super) fn done(&self, job: &FileJob, pieces: u64) -> Result<(), RestoreError> {
        if pieces > 0 && job.done(pieces) { self.settle(job) } else { Ok(()) }
    }

    fn settle(&self, job: &FileJob) -> Result<(), RestoreError> {
        if job.is_settled() {
            return Ok(());
        }
        if job.trouble().is_none() {
            let finished = match job.way() {
                Way::Keep => self.finish_kept(job).map_err(RestoreError::from),
                // Whoever put the new file together finished it too.
                Way::Replace => Ok(()),
                // Setting what is right already would move the time of the inode, and the next snapshot would read it all.
                Way::InPlace if !job.was_written() => {
                    self.handles.close(job);
                    self.finish_kept(job).map_err(RestoreError::from)
                }
                Way::InPlace | Way::Fresh => {
                    self.handles.take(job).map_err(RestoreError::from).and_then(|file| self.finish_file(file, job))
                }
            };
            match finished {
                Ok(()) => {}
                Err(RestoreError::Filesystem(error)) => self.refused(job, error)?,
                Err(RestoreError::Repository(error)) if is_loss(&error) => job.fail(error.to_string(), true),
                Err(error) => return Err(error),
            }
        }
        if let Some(trouble) = job.trouble().filter(|_| !job.is_settled()) {
            let mut detail = trouble.detail.clone();
            if let Err(error) = self.handles.discard(job) {
                detail = format!("{detail}; and what was written of it could not be removed: {error}");
            }
            job.settle();
            self.run.tally.failure(Failure { path: job.path(), detail, damage: trouble.damage });
        }
        Ok(())
    }

    /// The target refused something of this file; a full disk ends everything.
    pub(super) fn refused(&self, job: &FileJob, error: FilesystemError) -> Result<(), RestoreError> {
        if error.is_full() {
            return Err(error.into());
        }
        job.fail(error.to_string(), false);
        Ok(())
    }

    fn finish_kept(&self, job: &FileJob) -> Result<(), FilesystemError> {
        let folder = self.target.folder(&job.folder)?;
        let mut found = folder.look_up(&job.node.name)?;
        if let Some(found) = &mut found {
            folder.complete(found, self.run.owners)?;
        }
        if found.is_none_or(|found| !self.is_same(&found.node, &job.node)) {
            return self.finish_plain(folder.update_file(&job.node.name)?, job);
        }
        self.finished(job);
        Ok(())
    }

    /// As [`Executor::finish_plain`], for nodes whose attributes may stand in chunks.
    pub(super) fn finish_file(&self, file: NewFile, job: &FileJob) -> Result<(), RestoreError> {
        let node = self.run.with_attributes(&job.node)?;
        let shortfalls = file.finish(&node, self.run.rules)?;
        if !shortfalls.is_empty() {
            self.run.tally.shortfalls(&job.path(), &shortfalls);
        }
        self.finished(job);
        Ok(())
    }

    pub(super) fn finish_plain(&self, file: NewFile, job: &FileJob) -> Result<(), FilesystemError> {
        match self.finish_file(file, job) {
            Err(RestoreError::Filesystem(error)) => Err(error),
            Err(error) => {
                job.fail(error.to_string(), true);
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    pub(super) fn finished(&self, job: &FileJob) {
        let Run { tally, monitor, .. } = self.run;
        job.settle();
        let unchanged = job.way() == Way::Keep || (job.way() == Way::InPlace && !job.was_written());
        count(if unchanged { &tally.files_unchanged } else { &tally.files_restored });
        add(&tally.bytes_total, job.node.size);
        monitor.advance(1, job.not_shown());
        monitor.entry(if unchanged { "unchanged" } else { "restored" }, &job.path(), job.node.size);
    }

    pub(super) fn link(&self, link: &LinkJob) -> Result<(), RestoreError> {
        let Run { tally, monitor, .. } = self.run;
        let path = link.place.path();
        if let Some(trouble) = link.first.job.as_ref().and_then(|job| job.trouble()) {
            let detail = format!("another name of {}, which is not restored", crate::filesystem::shown(&link.first.place.path()));
            tally.failure(Failure { path, detail, damage: trouble.damage });
            return Ok(());
        }
        match self.make_link(link, &path) {
            Ok(Some(failure)) => tally.failure(failure),
            Ok(None) => {}
            Err(RestoreError::Filesystem(error)) => tally.refused(path, error)?,
            Err(error) => return Err(error),
        }
        monitor.advance(1, 0);
        Ok(())
    }

    fn make_link(&self, link: &LinkJob, path: &[u8]) -> Result<Option<Failure>, RestoreError> {
        let Run { tally, monitor, options, .. } = self.run;
        let folder = self.target.folder(&link.place.folder)?;
        let first_folder = self.target.folder(&link.first.place.folder)?;
        if link.look
            && let Some(there) = folder.look_up(&link.place.name)?
        {
            if options.overwrite == Overwrite::Never {
                count(&tally.entries_skipped);
                monitor.entry("skipped", path, 0);
                return Ok(None);
            }
            let first = first_folder.look_up(&link.first.place.name)?;
            if first.is_some_and(|first| (first.stat.dev, first.stat.ino) == (there.stat.dev, there.stat.ino)) {
                count(&tally.hard_links);
                return Ok(None);
            }
            if there.node.kind == NodeKind::Folder {
                // Only with what was listed in it. What was not keeps it in the way, and the link below fails.
                if self.run.deletions.of(path).is_none() {
                    return Ok(Some(Failure { path: path.to_vec(), detail: IN_THE_WAY.to_owned(), damage: false }));
                }
                self.run.delete(path)?;
            } else {
                self.target.remove(path)?;
            }
        }
        folder.hard_link(&link.place.name, &first_folder, &link.first.place.name)?;
        count(&tally.hard_links);
        monitor.entry("restored", path, link.node.size);
        Ok(None)
    }

    pub(super) fn folder(&self, folder: &FolderJob) -> Result<(), RestoreError> {
        let Run { tally, monitor, rules, .. } = self.run;
        if let Some(mode) = folder.only_mode {
            return match self.target.folder(&folder.path).and_then(|open| open.set_mode(mode)) {
                Ok(()) => Ok(()),
                Err(error) => tally.refused(folder.path.to_vec(), error),
            };
        }
        let node = self.run.readable_attributes(&folder.path, &folder.node)?;
        let finished = self.target.folder(&folder.path).and_then(|open| open.finish(&node, rules, folder.existed));
        match finished {
            Ok(shortfalls) => {
                count(&tally.folders);
                tally.shortfalls(&folder.path, &shortfalls);
                monitor.entry("restored", &folder.path, 0);
                Ok(())
            }
            Err(error) => tally.refused(folder.path.to_vec(), error),
        }
    }
}

impl Run<'_> {
    /// The node with the values of its attributes that stand in chunks.
    fn with_attributes<'n>(&self, node: &'n Node) -> Result<Cow<'n, Node>, RepositoryError> {
        if node.xattrs.iter().all(|xattr| matches!(xattr.value, XattrValue::Inline(_))) {
            return Ok(Cow::Borrowed(node));
        }
        let mut node = node.clone();
        let mut left = XATTRS_SIZE_MAX;
        for xattr in &mut node.xattrs {
            let XattrValue::Content(content) = &xattr.value else { continue };
            let length = content.items.iter().fold(0u64, |sum, item| sum.saturating_add(item.length()));
            // Stays as it is: reported as an attribute that could not be set.
            if length > XATTR_SIZE_MAX || length > left {
                continue;
            }
            left -= length;
            xattr.value = XattrValue::Inline(self.attribute(content)?);
        }
        Ok(Cow::Owned(node))
    }

    /// The value of an attribute that claims at most [`XATTR_SIZE_MAX`] bytes. A chunk that has more bytes than its item claims is
    /// damage, so what is held is one chunk more than what is claimed.
    fn attribute(&self, content: &Content) -> Result<Vec<u8>, RepositoryError> {
        let mut value = Vec::new();
        self.reader.for_each_item::<RepositoryError>(content, Leaves::Data, &mut |item| {
            match *item {
                Item::Chunk { id, length } => {
                    let bytes = self.reader.read_chunk(ChunkType::Data, &id)?;
                    if bytes.len() as u64 != length {
                        let detail = format!("it has {} bytes, and the attribute that it belongs to says {length}", bytes.len());
                        return Err(RepositoryError::ChunkDamaged { id, detail });
                    }
                    value.extend(bytes);
                }
                Item::Hole { length } => value.resize(value.len() + length.min(XATTR_SIZE_MAX) as usize, 0),
            }
            Ok(())
        })?;
        Ok(value)
    }

    /// The same; attributes that cannot be read are reported, and the rest is restored without them.
    pub(super) fn readable_attributes<'n>(&self, path: &[u8], node: &'n Node) -> Result<Cow<'n, Node>, RestoreError> {
        match self.with_attributes(node) {
            Ok(node) => Ok(node),
            Err(error) if is_loss(&error) => {
                self.tally.failure(Failure { path: path.to_vec(), detail: error.to_string(), damage: true });
                Ok(Cow::Borrowed(node))
            }
            Err(error) => Err(error.into()),
        }
    }
}
