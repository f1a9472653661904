//! A dry run: the same windows, compared and counted; nothing is written.

use crate::filesystem::FilesystemError;
use crate::format::tree::NodeKind;
use crate::restore::compare::holds_pieces;
use crate::restore::execute::pieces;
use crate::restore::file::FileJob;
use crate::restore::plan::{Action, LinkJob, Piece, Window};
use crate::restore::tally::{add, count};
use crate::restore::{Failure, IN_THE_WAY, Overwrite, RestoreError, Run};

/// What a dry run does with windows.
pub(crate) struct Pretended<'a>(pub Run<'a>);

impl Pretended<'_> {
    /// Counts what would be done.
    pub(crate) fn execute(&self, window: &Window) -> Result<(), RestoreError> {
        let Run { tally, monitor, stop, .. } = self.0;
        for segment in &window.segments {
            stop.check()?;
            let job = &*segment.job;
            if !self.is_right(job, pieces(window, segment)).unwrap_or(false) {
                job.note_written();
            }
            if segment.last {
                let changed = job.was_written();
                count(if changed { &tally.files_restored } else { &tally.files_unchanged });
                add(&tally.bytes_total, job.node.size);
                monitor.current(&job.path());
                monitor.advance(1, job.node.size);
                monitor.entry(if changed { "would restore" } else { "unchanged" }, &job.path(), job.node.size);
            }
        }
        for link in &window.links {
            self.link(link)?;
        }
        add(&tally.folders, window.folders.len() as u64);
        Ok(())
    }

    fn link(&self, link: &LinkJob) -> Result<(), RestoreError> {
        let Run { target, tally, options, deletions, .. } = self.0;
        let path = link.place.path();
        let folder = target.filter(|_| link.look).and_then(|target| target.folder(&link.place.folder).ok());
        let there = folder.and_then(|folder| folder.look_up(&link.place.name).ok().flatten());
        if there.is_some_and(|there| there.node.kind == NodeKind::Folder) && options.overwrite != Overwrite::Never {
            if deletions.of(&path).is_none() {
                tally.failure(Failure { path, detail: IN_THE_WAY.to_owned(), damage: false });
                return Ok(());
            }
            self.0.delete(&path)?;
        }
        count(&tally.hard_links);
        Ok(())
    }

    fn is_right(&self, job: &FileJob, pieces: &[Piece]) -> Result<bool, FilesystemError> {
        match (job.action, self.0.target) {
            (Action::Keep, _) => Ok(true),
            (Action::CompareThenReplace | Action::InPlace, Some(target)) if !job.was_written() => {
                let folder = target.folder(&job.folder)?;
                let Some(mut found) = folder.look_up(&job.node.name)? else { return Ok(false) };
                let file = folder.open_file(&mut found)?;
                Ok(found.node.size == job.node.size && holds_pieces(&file, &self.0.reader.repository().namer(), pieces)?)
            }
            _ => Ok(false),
        }
    }
}
