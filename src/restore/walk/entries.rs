//! The entries of the folders on the way: read one tree chunk at a time. What is lost is reported, and the walk goes on behind it.

use std::sync::Arc;
use std::vec::IntoIter;

use super::Walker;
use crate::format::FormatError;
use crate::format::content::Leaves;
use crate::format::tree::{Content, Item};
use crate::repository::RepositoryError;
use crate::restore::{Failure, RestoreError, is_loss};

impl Walker<'_> {
    /// The tree chunks of a folder; those behind a damaged list are missing, which is reported.
    pub(super) fn items_of(&self, content: &Content, path: &[u8]) -> Result<IntoIter<Item>, RestoreError> {
        let mut items = Vec::new();
        let listed = self.run.reader.for_each_item::<RepositoryError>(content, Leaves::Tree, &mut |item| {
            items.push(*item);
            Ok(())
        });
        if let Err(error) = listed {
            self.damaged_folder(path, error)?;
            // An item nobody can read: whoever comes to the end of this folder knows that it is not the true one.
            items.push(Item::Hole { length: 0 });
        }
        Ok(items.into_iter())
    }

    fn damaged_folder(&self, path: &[u8], error: RepositoryError) -> Result<(), RestoreError> {
        if !is_loss(&error) {
            return Err(error.into());
        }
        let detail = format!("entries of this folder are lost: {error}");
        self.run.tally.failure(Failure { path: path.to_vec(), detail, damage: true });
        Ok(())
    }

    pub(super) fn next_nodes(&mut self, item: Item) -> Result<(), RestoreError> {
        let Some(level) = self.levels.last_mut() else { return Ok(()) };
        if matches!(item, Item::Hole { .. }) {
            level.listing = None;
            return Ok(());
        }
        let nodes = match self.run.reader.nodes(&Content { level: 0, items: vec![item] }) {
            Ok(nodes) if nodes.first().is_some_and(|node| node.name > level.last_name) || nodes.is_empty() => Some(nodes),
            Ok(_) => {
                let detail = "entries of this folder are lost: its names do not rise".to_owned();
                self.run.tally.failure(Failure { path: level.path.to_vec(), detail, damage: true });
                None
            }
            Err(error) => {
                let path = Arc::clone(&level.path);
                self.damaged_folder(&path, error)?;
                if let Err(spent) = self.budget.spend(0) {
                    return self.give_up(spent);
                }
                None
            }
        };
        if let (Some(nodes), Item::Chunk { id, .. }) = (&nodes, item)
            && let Err(error) = self.budget.meet(&id, nodes.len(), 0)
        {
            return self.give_up(error);
        }
        let Some(level) = self.levels.last_mut() else { return Ok(()) };
        match nodes {
            Some(nodes) => {
                if let Some(last) = nodes.last() {
                    level.last_name.clone_from(&last.name);
                }
                level.nodes = nodes.into_iter();
            }
            // What is lost would look as if it was not in the snapshot.
            None => level.listing = None,
        }
        Ok(())
    }

    /// The snapshot has more paths than any data could have. The folders on the way are finished with what they have, and nothing that
    /// is not in them counts as absent from the snapshot.
    fn give_up(&mut self, error: FormatError) -> Result<(), RestoreError> {
        let path = self.levels.last().map_or_else(|| Arc::from(&[][..]), |level| Arc::clone(&level.path));
        for level in &mut self.levels {
            (level.items, level.nodes, level.listing) = (Vec::new().into_iter(), Vec::new().into_iter(), None);
        }
        self.damaged_folder(&path, error.into())
    }
}
