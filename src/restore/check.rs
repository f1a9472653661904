//! Reading back what was restored: every byte of a window's files is named again and compared with the snapshot.

use crate::filesystem::FilesystemError;
use crate::parallel;
use crate::restore::compare::holds_pieces;
use crate::restore::execute::{Executor, pieces};
use crate::restore::file::FileJob;
use crate::restore::plan::{Piece, Segment, Window};
use crate::restore::tally::count;
use crate::restore::{Failure, RestoreError};

/// Reads back the files of a window that was executed; one that goes on in the next window as far as it is.
pub(super) fn window(executor: &Executor<'_>, window: &Window) -> Result<(), RestoreError> {
    let run = &executor.run;
    parallel::for_each(run.threads, window.segments.iter(), |segment: &Segment| {
        run.stop.check()?;
        let job = &*segment.job;
        if job.trouble().is_some() {
            return Ok(());
        }
        let detail = match is_right(executor, job, pieces(window, segment)) {
            Ok(true) if segment.last => {
                count(&run.tally.files_verified);
                return Ok(());
            }
            Ok(true) => return Ok(()),
            Ok(false) => "what is read back is not what the snapshot holds".to_owned(),
            Err(error) => format!("cannot be read back: {error}"),
        };
        run.tally.failure(Failure { path: job.path(), detail, damage: false });
        Ok(())
    })
}

fn is_right(executor: &Executor<'_>, job: &FileJob, pieces: &[Piece]) -> Result<bool, FilesystemError> {
    let folder = executor.target.folder(&job.folder)?;
    let Some(mut found) = folder.look_up(&job.node.name)? else { return Ok(false) };
    let file = folder.open_file(&mut found)?;
    Ok(found.node.size == job.node.size && holds_pieces(&file, &executor.namer, pieces)?)
}
