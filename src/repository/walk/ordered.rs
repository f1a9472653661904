//! Entries one by one with their place, depth first in rising order of names. See the top of `walk`.

use crate::format::content::{Items, Leaves};
use crate::format::folder::Entries;
use crate::format::limits::DEPTH_MAX;
use crate::format::proportion::Budget;
use crate::format::reference::{self, Reference};
use crate::format::tree::{Content, Item, Node, NodeKind, XattrValue};
use crate::format::{FormatError, folder};
use crate::path;
use crate::repository::{Reader, RepositoryError};

/// Decoded entries held at once. Beyond, those of the outermost folders are dropped, and read again when the walk comes back to them.
const HELD_BYTES_MAX: usize = 64 << 20;

/// The folders from a root to where a walk is. `fetch` returns the plaintext of a tree or list chunk, its id verified.
pub(crate) struct Ordered<F> {
    fetch: F,
    levels: Vec<Level>,
    held_bytes: usize,
    budget: Budget,
}

struct Level {
    entries: Entries,
    /// The chunk that `held_bytes` were counted of.
    chunk: Option<Reference>,
    held_bytes: usize,
}

impl<F: FnMut(&Reference) -> Result<Vec<u8>, RepositoryError>> Ordered<F> {
    /// Stands nowhere.
    pub(crate) fn new(fetch: F) -> Self {
        Self { fetch, levels: Vec::new(), held_bytes: 0, budget: Budget::of_entries() }
    }

    /// Goes into a folder: the next entry is its first.
    pub(crate) fn enter(&mut self, folder: &Content) -> Result<(), RepositoryError> {
        let depth = self.levels.len();
        if depth > DEPTH_MAX {
            return Err(too_deep(depth).into());
        }
        let mut outer = self.levels.iter_mut();
        while self.held_bytes > HELD_BYTES_MAX
            && let Some(level) = outer.next()
        {
            level.entries.release();
            self.held_bytes -= std::mem::take(&mut level.held_bytes);
            level.chunk = None;
        }
        self.levels.push(Level { entries: Entries::new(folder)?, chunk: None, held_bytes: 0 });
        Ok(())
    }

    /// The next entry of the innermost folder; `None` at its end. A chunk that cannot be had is an error in its place, and the next call
    /// goes on behind it.
    pub(crate) fn next(&mut self) -> Option<Result<Node, RepositoryError>> {
        let level = self.levels.last_mut()?;
        let node = match level.entries.next(&mut self.fetch)? {
            Ok(node) => node,
            Err(error) => return Some(Err(error)),
        };
        if level.chunk.as_ref() != level.entries.chunk() {
            level.chunk = level.entries.chunk().copied();
            let bytes = size_of_node(&node) + level.entries.held().iter().map(size_of_node).sum::<usize>();
            self.held_bytes = self.held_bytes - level.held_bytes + bytes;
            level.held_bytes = bytes;
            if let Some(chunk) = &level.chunk
                && let Err(error) = self.budget.meet(&chunk.id, level.entries.held().len() + 1, 0)
            {
                // Nothing that comes later is better.
                self.levels.clear();
                self.held_bytes = 0;
                return Some(Err(error.into()));
            }
        }
        Some(Ok(node))
    }

    /// Leaves the innermost folder.
    pub(crate) fn leave(&mut self) {
        if let Some(level) = self.levels.pop() {
            self.held_bytes -= level.held_bytes;
        }
    }
}

fn too_deep(depth: usize) -> FormatError {
    FormatError::TooLong { what: "folders inside each other", length: depth as u64, most: DEPTH_MAX as u64 }
}

/// What an entry takes in memory.
fn size_of_node(node: &Node) -> usize {
    let of_items = reference::contents(node).map(|(content, _)| size_of_val(content.items.as_slice())).sum::<usize>();
    let of_xattrs = node.xattrs.iter().map(|xattr| {
        size_of_val(xattr) + xattr.name.len() + if let XattrValue::Inline(value) = &xattr.value { value.len() } else { 0 }
    });
    size_of_val(node) + node.name.len() + node.link_target.len() + of_items + of_xattrs.sum::<usize>()
}

/// Gets a path and a node, and says whether to go into it if it is a folder.
pub(crate) type Visit<'a, E> = dyn FnMut(&[u8], &Node) -> Result<bool, E> + 'a;

impl Reader {
    /// The plaintext of a chunk, for the walks.
    fn fetch(&self) -> impl FnMut(&Reference) -> Result<Vec<u8>, RepositoryError> {
        |chunk| self.read_chunk(chunk.chunk_type(), &chunk.id)
    }

    /// Calls `each` for every leaf item of a content, in order: data chunks and holes of a file, tree chunks of a folder.
    pub fn for_each_item<E: From<RepositoryError>>(
        &self,
        content: &Content,
        leaves: Leaves,
        each: &mut dyn FnMut(&Item) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut items = Items::new(content, leaves).map_err(RepositoryError::from)?;
        while let Some(item) = items.next(&mut self.fetch()) {
            each(&item?)?;
        }
        Ok(())
    }

    /// Calls `each` for every row of a folder, in rising order of names.
    pub(crate) fn for_each_node<E: From<RepositoryError>>(
        &self,
        content: &Content,
        each: &mut dyn FnMut(Node) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut entries = folder::Entries::new(content).map_err(RepositoryError::from)?;
        while let Some(node) = entries.next(&mut self.fetch()) {
            each(node?)?;
        }
        Ok(())
    }

    /// The rows of a folder.
    pub fn nodes(&self, content: &Content) -> Result<Vec<Node>, RepositoryError> {
        let mut nodes = Vec::new();
        self.for_each_node::<RepositoryError>(content, &mut |node| {
            nodes.push(node);
            Ok(())
        })?;
        Ok(nodes)
    }

    /// The node at `path` (parts separated by `/`, empty parts ignored) below a folder; `None` for the folder itself.
    pub fn resolve(&self, root: &Content, path: &[u8], snapshot: &str) -> Result<Option<Node>, RepositoryError> {
        let mut found: Option<Node> = None;
        for part in path::parts(path) {
            let missing = || RepositoryError::PathNotFound {
                path: String::from_utf8_lossy(path).into_owned(),
                snapshot: snapshot.to_owned(),
            };
            let content = match &found {
                None => root,
                Some(node) if node.kind == NodeKind::Folder => &node.content,
                Some(_) => return Err(missing()),
            };
            let mut next = None;
            self.for_each_node::<RepositoryError>(content, &mut |node| {
                if node.name == part {
                    next = Some(node);
                }
                Ok(())
            })?;
            found = Some(next.ok_or_else(missing)?);
        }
        Ok(found)
    }

    /// Walks everything below a folder, depth first in order of names. `each` gets the path (relative, `/`-separated), the node, and says
    /// whether to go into a folder.
    pub fn walk<E: From<RepositoryError>>(&self, root: &Content, each: &mut Visit<'_, E>) -> Result<(), E> {
        let mut walk = Ordered::new(self.fetch());
        let mut path = Vec::new();
        // The length of the path of each folder on the way.
        let mut lengths = vec![0];
        walk.enter(root)?;
        while let Some(&length) = lengths.last() {
            path.truncate(length);
            let Some(node) = walk.next() else {
                walk.leave();
                lengths.pop();
                continue;
            };
            let node = node?;
            path::push(&mut path, &node.name);
            if each(&path, &node)? && node.kind == NodeKind::Folder {
                walk.enter(&node.content)?;
                lengths.push(path.len());
            }
        }
        Ok(())
    }
}
