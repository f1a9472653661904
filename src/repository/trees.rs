//! Walking what snapshots hold: folders, files, paths. Plaintext rows in, no sealed bytes in sight.

use crate::crypto::ChunkType;
use crate::format::content::{self, Leaves};
use crate::format::tree::{Content, Item, Node, NodeKind};
use crate::format::{FormatError, folder, limits};
use crate::id::ChunkId;
use crate::repository::{Reader, RepositoryError};

/// Gets a path and a node, and says whether to go into it if it is a folder.
pub type Visit<'a, E> = dyn FnMut(&[u8], &Node) -> Result<bool, E> + 'a;

/// The parts of a path as a person may type it: between slashes, without those that mean nothing.
pub fn parts(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&byte| byte == b'/').filter(|part| !part.is_empty() && *part != b".")
}

impl Reader {
    /// Calls `each` for every leaf item of a content, in order: data chunks and holes of a file, tree chunks of a folder.
    pub fn for_each_item<E: From<RepositoryError>>(
        &self,
        content: &Content,
        leaves: Leaves,
        each: &mut dyn FnMut(&Item) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut fetch = |id: &ChunkId| self.read_chunk(ChunkType::List, id).map_err(|error| Walk(error.into()));
        content::walk(content, leaves, &mut fetch, &mut |item| each(item).map_err(Walk)).map_err(|Walk(error)| error)
    }

    /// Calls `each` for every row of a folder, in rising order of names.
    pub fn for_each_node<E: From<RepositoryError>>(
        &self,
        content: &Content,
        each: &mut dyn FnMut(Node) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut fetch = |kind: ChunkType, id: &ChunkId| self.read_chunk(kind, id).map_err(|error| Walk(error.into()));
        folder::walk(content, &mut fetch, &mut |node| each(node).map_err(Walk)).map_err(|Walk(error)| error)
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
        for part in parts(path) {
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
        self.walk_below(root, &mut Vec::new(), 0, each)
    }

    fn walk_below<E: From<RepositoryError>>(
        &self,
        content: &Content,
        path: &mut Vec<u8>,
        depth: usize,
        each: &mut Visit<'_, E>,
    ) -> Result<(), E> {
        if depth > limits::DEPTH_MAX {
            return Err(RepositoryError::Inconclusive(format!("folders are nested deeper than {}", limits::DEPTH_MAX)).into());
        }
        self.for_each_node(content, &mut |node| {
            let length = path.len();
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(&node.name);
            if each(path, &node)? && node.kind == NodeKind::Folder {
                self.walk_below(&node.content, path, depth + 1, each)?;
            }
            path.truncate(length);
            Ok(())
        })
    }
}

/// Carries the caller's error through the format's walks, which know only their own.
struct Walk<E>(E);

impl<E: From<RepositoryError>> From<FormatError> for Walk<E> {
    fn from(error: FormatError) -> Self {
        Self(RepositoryError::Format(error).into())
    }
}
