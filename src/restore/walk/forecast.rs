//! What a walk finds out before anything is changed: what would be deleted, and how much would be written.

use std::sync::Arc;

use super::{Level, State, Walker};
use crate::filesystem::{Folder, Found};
use crate::format::content::Leaves;
use crate::format::tree::{Item, Node, NodeKind};
use crate::path;
use crate::repository::RepositoryError;
use crate::restore::coverage::Why;
use crate::restore::deletions::{Deletions, is_repository};
use crate::restore::plan::Action;
use crate::restore::select::Selected;
use crate::restore::{Overwrite, RestoreError, Run};

const UNKNOWN: Why = "the snapshot does not know what it lacks";
const UNSEEN: Why = "it cannot be looked at";

/// What a walk that only plans finds out.
#[derive(Default)]
pub(crate) struct Forecast {
    /// What would be deleted.
    pub deletions: Deletions,
    /// Bytes that new and changed files would take beyond what stands there.
    pub bytes_needed: u64,
}

impl Walker<'_> {
    /// Does the folder that stands in the way of the entry at `path` make place for it? The snapshot has something else under this
    /// name, so what the folder holds goes by the rule for all deletions: where the folder above was recorded completely, and only
    /// when nothing in it must stay. A plan lists it.
    pub(super) fn clears(
        &mut self,
        path: &[u8],
        folder: Option<&Arc<Folder>>,
        existing: Option<&Found>,
    ) -> Result<bool, RestoreError> {
        let Run { options, deletions, coverage, .. } = self.run;
        let (Some(level), Some(folder), Some(found)) = (self.levels.last(), folder, existing) else { return Ok(false) };
        if !options.delete || options.overwrite == Overwrite::Never || found.node.kind != NodeKind::Folder {
            return Ok(false);
        }
        if !self.run.planning {
            return Ok(deletions.of(path).is_some());
        }
        let planned = &mut self.found.deletions;
        let (Some((source, within)), None) = (coverage.of(path), level.keeps_all) else {
            planned.keep(path.to_vec(), level.keeps_all.unwrap_or(UNKNOWN));
            return Ok(false);
        };
        let (mut list, mut kept) = (Vec::new(), Vec::new());
        let all = match self.run.doom(source).list(folder, &found.node.name, &within, &mut list, &mut kept) {
            Ok(all) => all,
            Err(RestoreError::Filesystem(_)) => {
                planned.keep(path.to_vec(), UNSEEN);
                false
            }
            Err(error) => return Err(error),
        };
        if all {
            planned.add(path, list);
        }
        for kept in kept {
            planned.keep(kept.path, kept.why);
        }
        Ok(all)
    }

    /// Bytes that the file will take beyond what stands there.
    pub(super) fn needs(&self, node: &Node, action: Action, existing: Option<&Found>) -> u64 {
        let gives_back = match action {
            Action::Keep | Action::CompareThenReplace => return 0,
            Action::Create => 0,
            _ => existing.filter(|found| found.stat.nlink == 1).map_or(0, |found| found.stat.blocks.saturating_mul(512)),
        };
        let mut data = 0u64;
        let counted = self.run.reader.for_each_item::<RepositoryError>(&node.content, Leaves::Data, &mut |item| {
            if let Item::Chunk { length, .. } = *item {
                data = data.saturating_add(length);
            }
            Ok(())
        });
        // What cannot be read is not written either.
        counted.map_or(0, |()| data.saturating_sub(gives_back))
    }

    /// In a folder that was there before: what a killed restore left goes, and a plan lists what stands there.
    pub(super) fn begin_in(&self, level: &mut Level) -> Result<(), RestoreError> {
        let State::Open { folder: Some(folder), existed: true, .. } = &level.state else { return Ok(()) };
        let Run { options, tally, monitor, .. } = self.run;
        if !self.run.pretends() {
            match folder.remove_leftovers() {
                Ok(0) => {}
                Ok(count) => {
                    let place = crate::filesystem::shown(&level.path);
                    monitor.note(&format!("removed {count} unfinished files that an earlier restore left in {place}"));
                }
                Err(error) => tally.refused(level.path.to_vec(), error)?,
            }
        }
        // Beside the sources stands what no snapshot speaks of.
        let is_in_a_source = self.run.coverage.is_in_a_source(&level.path);
        if self.run.planning && options.delete && is_in_a_source {
            match folder.names() {
                Ok(names) => {
                    level.keeps_all = match is_repository(&names) {
                        true => Some("its folder looks like a backup repository"),
                        false => self.run.reason_to_keep_all(folder, &level.path, level.left_out),
                    };
                    level.listing = Some(names.into_iter().peekable());
                }
                Err(error) => {
                    level.keeps_all = Some("its folder cannot be looked at");
                    tally.refused(level.path.to_vec(), error)?;
                }
            }
        }
        Ok(())
    }

    /// Lists what stands before `name` in the folder where the walk is, or all that is left of it.
    pub(super) fn plan_deletions_up_to(&mut self, name: Option<&[u8]>) -> Result<(), RestoreError> {
        let is_root = self.levels.len() == 1;
        let Some(level) = self.levels.last_mut() else { return Ok(()) };
        let (Some(listing), State::Open { folder: Some(folder), .. }) = (&mut level.listing, &level.state) else { return Ok(()) };
        let Run { selection, coverage, .. } = self.run;
        let deletions = &mut self.found.deletions;
        let why = level.keeps_all;
        while let Some(there) = listing.next_if(|there| name.is_none_or(|name| there.name.as_slice() <= name)) {
            if name == Some(there.name.as_slice()) {
                deletions.has_common |= is_root;
                continue;
            }
            let path = path::join(&level.path, &there.name);
            if selection.select(&path, there.kind == Some(NodeKind::Folder), level.selected) != Selected::Yes {
                continue;
            }
            let (Some((source, within)), None) = (coverage.of(&path), why) else {
                deletions.keep(path, why.unwrap_or(UNKNOWN));
                continue;
            };
            let (mut list, mut kept) = (Vec::new(), Vec::new());
            match self.run.doom(source).list(folder, &there.name, &within, &mut list, &mut kept) {
                Ok(_) => deletions.add(&level.path, list),
                Err(RestoreError::Filesystem(_)) => deletions.keep(path, UNSEEN),
                Err(error) => return Err(error),
            }
            for kept in kept {
                deletions.keep(kept.path, kept.why);
            }
        }
        Ok(())
    }
}
