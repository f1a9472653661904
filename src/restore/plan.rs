//! What is to be done, as plain data: the decision about one entry, and the windows that carry the work.

use std::ops::Range;
use std::sync::Arc;

use crate::filesystem::Found;
use crate::format::tree::{Node, NodeKind};
use crate::id::ChunkId;
use crate::path;
use crate::restore::Overwrite;
use crate::restore::file::FileJob;

/// Existing files up to this size are replaced whole, by a new file that takes the place of the old one when it is complete; larger
/// ones are brought up to date in place, which writes only what differs and needs no space twice.
pub(crate) const REPLACED_SIZE_MAX: u64 = 4 << 20;
/// Weight of a full window: about the bytes it takes.
const WINDOW_WEIGHT_MAX: usize = 12 << 20;
/// Weight of the first window; each one is twice the last, so that writing starts soon.
const WINDOW_WEIGHT_FIRST: usize = 1 << 20;
/// The same where what is read stands far away: at the end of each window requests run out.
const WINDOW_WEIGHT_FIRST_FAR: usize = 6 << 20;

/// What happens to one entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Action {
    /// Nothing is there: make it.
    Create,
    /// Remove what is there, then make it.
    Clear,
    /// Leave what is there.
    Leave,
    /// The content (or link target) is right: only the metadata is brought up to date. For a folder: go in.
    Keep,
    /// A file: compare the content; if it differs, put a new file in its place.
    CompareThenReplace,
    /// A file: put a new one in its place, without looking.
    Replace,
    /// A file: compare piece by piece and write what differs.
    InPlace,
    /// A folder is in the way of something else.
    Refuse,
}

/// Decides what happens to `node` where `existing` stands (of a link with its target). Without `delete` a folder never makes place for something else: too much
/// could be lost by a name.
pub(super) fn decide(node: &Node, existing: Option<&Found>, overwrite: Overwrite, delete: bool) -> Action {
    let Some(found) = existing else { return Action::Create };
    let there = &found.node;
    match (node.kind, there.kind) {
        (NodeKind::Folder, NodeKind::Folder) => Action::Keep,
        _ if overwrite == Overwrite::Never => Action::Leave,
        (_, NodeKind::Folder) if delete => Action::Clear,
        (_, NodeKind::Folder) => Action::Refuse,
        (NodeKind::File, NodeKind::File) => decide_file(node, found, overwrite),
        (kind, there_kind) if kind == there_kind && node.device == there.device && node.link_target == there.link_target => {
            Action::Keep
        }
        _ => Action::Clear,
    }
}

fn decide_file(node: &Node, found: &Found, overwrite: Overwrite) -> Action {
    let there = &found.node;
    let same_size = node.size == there.size;
    // Metadata is set through the file itself, which other names may share: those may lie anywhere.
    let may_change = found.stat.nlink == 1;
    let same_access = (node.mode, node.uid, node.gid) == (there.mode, there.uid, there.gid);
    if overwrite == Overwrite::IfChanged && same_size && node.mtime == there.mtime && (may_change || same_access) {
        return Action::Keep;
    }
    // Content in lists may be more pieces than one window holds, however small they are.
    let small = node.size.max(there.size) <= REPLACED_SIZE_MAX && node.content.level == 0;
    match (small, same_size) {
        (true, true) => Action::CompareThenReplace,
        (true, false) => Action::Replace,
        (false, _) if may_change => Action::InPlace,
        (false, _) => Action::Clear,
    }
}

/// A run of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Piece {
    /// From the start of the file.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
    /// The chunk that holds them; none: a hole.
    pub chunk: Option<ChunkId>,
}

/// Neighbouring pieces of one file in a window.
#[derive(Clone)]
pub(crate) struct Segment {
    /// The file.
    pub job: Arc<FileJob>,
    /// Which pieces of the window.
    pub pieces: Range<u32>,
    /// No more of this file will come.
    pub last: bool,
}

/// A place in the target that entries were restored to.
#[derive(Debug)]
pub(super) struct Place {
    /// The folder, relative to the target.
    pub folder: Arc<[u8]>,
    /// The name in it.
    pub name: Box<[u8]>,
}

impl Place {
    /// Both together.
    pub(super) fn path(&self) -> Vec<u8> {
        path::join(&self.folder, &self.name)
    }
}

/// The first name of a file with several.
#[derive(Debug)]
pub(crate) struct FirstName {
    /// Where it is.
    pub place: Place,
    /// The file behind it, if it is one; asked whether it came to be.
    pub job: Option<Arc<FileJob>>,
}

/// A further name of a file.
pub(crate) struct LinkJob {
    /// Where the link will be.
    pub place: Place,
    /// The file.
    pub first: Arc<FirstName>,
    /// The name may be taken.
    pub look: bool,
    /// For counting.
    pub node: Node,
}

/// A folder whose entries are all in this window or an earlier one.
pub(crate) struct FolderJob {
    /// Where it is, relative to the target.
    pub path: Arc<[u8]>,
    /// Its metadata.
    pub node: Node,
    /// It was there before.
    pub existed: bool,
    /// Set: nothing of it changes, and it gets this mode, which it had before, again.
    pub only_mode: Option<u32>,
}

/// A bounded amount of work, complete in itself when it is done after the windows before it.
#[derive(Default)]
pub(super) struct Window {
    /// Pieces of all segments.
    pub pieces: Vec<Piece>,
    /// Files, in the order of the walk.
    pub segments: Vec<Segment>,
    /// Made after the files.
    pub links: Vec<LinkJob>,
    /// Finished last, in this order: what is deeper comes before what holds it.
    pub folders: Vec<FolderJob>,
    weight: usize,
}

impl Window {
    /// Adds a piece.
    pub(crate) fn push_piece(&mut self, piece: Piece) {
        // The wanted chunk and its location travel with it.
        self.weight += size_of::<Piece>() + 120;
        self.pieces.push(piece);
    }

    /// Where the next piece will be.
    pub(crate) fn next_piece(&self) -> u32 {
        // The weight bounds it far below.
        u32::try_from(self.pieces.len()).unwrap_or(u32::MAX)
    }

    /// Adds a file, or as much of it as this window holds.
    pub(crate) fn push_segment(&mut self, segment: Segment) {
        self.weight += size_of::<Segment>() + size_of::<FileJob>() + node_weight(&segment.job.node);
        self.segments.push(segment);
    }

    /// Adds a further name.
    pub(crate) fn push_link(&mut self, link: LinkJob) {
        self.weight += size_of::<LinkJob>() + node_weight(&link.node);
        self.links.push(link);
    }

    /// Adds a folder that is left.
    pub(crate) fn push_folder(&mut self, folder: FolderJob) {
        self.weight += size_of::<FolderJob>() + node_weight(&folder.node);
        self.folders.push(folder);
    }

    /// Nothing to do.
    pub(super) fn is_empty(&self) -> bool {
        self.segments.is_empty() && self.links.is_empty() && self.folders.is_empty()
    }
}

fn node_weight(node: &Node) -> usize {
    let xattrs: usize = node.xattrs.iter().map(|xattr| 128 + xattr.name.len() + inline_size(&xattr.value)).sum();
    128 + node.name.len() + node.link_target.len() + node.content.items.len() * 48 + xattrs
}

fn inline_size(value: &crate::format::tree::XattrValue) -> usize {
    match value {
        crate::format::tree::XattrValue::Inline(bytes) => bytes.len(),
        crate::format::tree::XattrValue::Content(_) => 0,
    }
}

/// How large windows are: the first small, so that writing starts soon.
pub(crate) struct WindowSize(usize);

impl WindowSize {
    /// That of the first window.
    pub(super) fn first(far: bool) -> Self {
        Self(if far { WINDOW_WEIGHT_FIRST_FAR } else { WINDOW_WEIGHT_FIRST })
    }

    /// Is the window full?
    pub(crate) fn is_reached(&self, window: &Window) -> bool {
        window.weight >= self.0
    }

    /// Takes the window and grows.
    pub(super) fn take(&mut self, window: &mut Window) -> Window {
        self.0 = (self.0 * 2).min(WINDOW_WEIGHT_MAX);
        std::mem::take(window)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::filesystem::FileStat;
    use crate::format::tree::Content;

    fn node(kind: NodeKind, size: u64) -> Node {
        Node {
            name: b"x".to_vec(),
            kind,
            mode: 0o644,
            uid: 0,
            gid: 0,
            user: None,
            group: None,
            mtime: Timestamp { seconds: 5, nanoseconds: 0 },
            ctime: Timestamp::default(),
            size,
            content: Content::default(),
            link_target: Vec::new(),
            device: 0,
            xattrs: Vec::new(),
            hard_link: None,
            extra: Vec::new(),
        }
    }

    fn found(kind: NodeKind, size: u64, nlink: u64) -> Found {
        let time = Timestamp::default();
        Found { node: node(kind, size), stat: FileStat { dev: 1, ino: 1, nlink, size, mtime: time, ctime: time, blocks: 0 } }
    }

    #[test]
    fn never_leaves_everything_but_goes_into_folders() {
        for kind in [NodeKind::File, NodeKind::Symlink, NodeKind::Folder] {
            assert_eq!(decide(&node(NodeKind::File, 1), Some(&found(kind, 9, 1)), Overwrite::Never, true), Action::Leave);
        }
        let folder = node(NodeKind::Folder, 0);
        assert_eq!(decide(&folder, Some(&found(NodeKind::Folder, 0, 2)), Overwrite::Never, false), Action::Keep);
        assert_eq!(decide(&folder, None, Overwrite::Never, false), Action::Create);
    }

    #[test]
    fn a_folder_makes_place_only_when_deleting_was_asked_for() {
        let there = found(NodeKind::Folder, 0, 2);
        assert_eq!(decide(&node(NodeKind::File, 1), Some(&there), Overwrite::Always, false), Action::Refuse);
        assert_eq!(decide(&node(NodeKind::Symlink, 0), Some(&there), Overwrite::IfChanged, true), Action::Clear);
    }

    #[test]
    fn a_link_in_the_place_of_a_folder_or_file_is_removed_and_not_followed() {
        let there = found(NodeKind::Symlink, 0, 1);
        assert_eq!(decide(&node(NodeKind::Folder, 0), Some(&there), Overwrite::Always, false), Action::Clear);
        assert_eq!(decide(&node(NodeKind::File, 0), Some(&there), Overwrite::Always, false), Action::Clear);
    }

    #[test]
    fn size_and_time_are_enough_only_for_if_changed() {
        let (file, there) = (node(NodeKind::File, 7), found(NodeKind::File, 7, 1));
        assert_eq!(decide(&file, Some(&there), Overwrite::IfChanged, false), Action::Keep);
        assert_eq!(decide(&file, Some(&there), Overwrite::Always, false), Action::CompareThenReplace);
        let later = Found { node: Node { mtime: Timestamp { seconds: 6, nanoseconds: 0 }, ..there.node.clone() }, ..there };
        assert_eq!(decide(&file, Some(&later), Overwrite::IfChanged, false), Action::CompareThenReplace);
        assert_eq!(decide(&file, Some(&found(NodeKind::File, 8, 1)), Overwrite::IfChanged, false), Action::Replace);
    }

    #[test]
    fn a_large_file_with_other_names_is_not_written_in_place() {
        let file = node(NodeKind::File, REPLACED_SIZE_MAX + 1);
        assert_eq!(decide(&file, Some(&found(NodeKind::File, 1, 1)), Overwrite::Always, false), Action::InPlace);
        assert_eq!(decide(&file, Some(&found(NodeKind::File, 1, 2)), Overwrite::Always, false), Action::Clear);
    }

    #[test]
    fn windows_grow_from_small_to_their_bound() {
        let mut size = WindowSize::first(false);
        let mut taken = Vec::new();
        for _ in 0..6 {
            let mut window = Window::default();
            while !size.is_reached(&window) {
                window.push_piece(Piece { offset: 0, length: 1, chunk: None });
            }
            taken.push(size.take(&mut window).pieces.len());
            assert!(window.is_empty() && window.pieces.is_empty());
        }
        assert!(taken[0] * 2 <= taken[1] + 1 && taken[4] == taken[5], "{taken:?}");
    }
}
