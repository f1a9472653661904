//! What a node says in its extra fields. A reader may overlook each of them.

use super::Node;

/// Extra field of a file's or folder's node: u32, the bits of [`FileFlags`]. Not there: none of them.
const EXTRA_FLAGS: u16 = 1;
/// Extra field of a folder's node: one byte, the bits of [`LeftOut`]. Not there: the folder is recorded completely.
const EXTRA_LEFT_OUT: u16 = 2;

/// Why a recorded folder does not name all that stood in it. About its own entries only, not about those of its subfolders.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LeftOut(u8);

impl LeftOut {
    /// Nothing was left out.
    pub const NOTHING: Self = Self(0);
    /// The folder, or some of its entries, could not be read.
    pub const UNREAD: Self = Self(1);
    /// Another file system is mounted on it, and the snapshot stays on one.
    pub(crate) const OTHER_FILE_SYSTEM: Self = Self(2);
    /// A file in it marks it as not to be backed up: only that file is recorded.
    pub const MARKED: Self = Self(4);
    /// It lies deeper than a backup goes.
    pub(crate) const TOO_DEEP: Self = Self(8);
    /// Only what was named was looked at.
    pub(crate) const NOT_NAMED: Self = Self(16);
    /// Some entries match an exclude pattern, or are larger than wanted; the facts of the source say which patterns and size.
    pub(crate) const BY_RULE: Self = Self(32);
    /// The repository itself, or esker's cache, stands in it.
    pub(crate) const OWN: Self = Self(64);

    /// Both.
    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// `self` when `condition` holds.
    pub fn when(self, condition: bool) -> Self {
        if condition { self } else { Self::NOTHING }
    }

    /// Nothing was left out.
    pub(crate) fn is_nothing(self) -> bool {
        self.0 == 0
    }

    /// All bits of `other` are among these.
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// Flags of a file or folder as `chattr` sets them, in the bits of Linux's FS_IOC_GETFLAGS: those that can be put back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FileFlags(u32);

impl FileFlags {
    /// None.
    pub const NONE: Self = Self(0);
    /// `i`: nothing may change it.
    pub const IMMUTABLE: Self = Self(0x10);
    /// `a`: it may only be appended to.
    pub const APPEND_ONLY: Self = Self(0x20);

    /// Each flag that is kept, with its letter in `lsattr`. Not kept: what the file system sets itself (extents, inline data, an index),
    /// encryption and verity, which are no switches, and those that only an empty file or folder takes (no copy-on-write, case folding).
    const KEPT: [(u32, char); 12] = [
        (0x1, 's'),
        (0x2, 'u'),
        (0x4, 'c'),
        (0x8, 'S'),
        (0x10, 'i'),
        (0x20, 'a'),
        (0x40, 'd'),
        (0x80, 'A'),
        (0x4000, 'j'),
        (0x8000, 't'),
        (0x1_0000, 'D'),
        (0x2_0000, 'T'),
    ];

    /// Those of `bits` that are kept.
    pub const fn kept(bits: u32) -> Self {
        let (mut mask, mut at) = (0, 0);
        while at < Self::KEPT.len() {
            mask |= Self::KEPT[at].0;
            at += 1;
        }
        Self(bits & mask)
    }

    /// As the system has them.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Both.
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those that are not in `other`.
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Those that are in `other` too.
    pub const fn only(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// All of `other` are among these.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// There is none.
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// One by one.
    pub fn each(self) -> impl Iterator<Item = Self> {
        Self::KEPT.into_iter().filter(move |(bit, _)| self.0 & bit != 0).map(|(bit, _)| Self(bit))
    }
}

impl std::fmt::Display for FileFlags {
    /// In the letters of `lsattr`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Self::KEPT.iter().filter(|(bit, _)| self.0 & bit != 0).try_for_each(|(_, letter)| write!(f, "{letter}"))
    }
}

impl Node {
    /// Its flags. A form that this version does not know says nothing.
    pub fn flags(&self) -> FileFlags {
        let value = self.find_extra(EXTRA_FLAGS).and_then(|value| value.try_into().ok());
        value.map_or(FileFlags::NONE, |bytes| FileFlags::kept(u32::from_le_bytes(bytes)))
    }

    /// Sets its flags.
    pub fn set_flags(&mut self, flags: FileFlags) {
        self.put_extra(EXTRA_FLAGS, (!flags.is_none()).then(|| flags.0.to_le_bytes().to_vec()));
    }

    /// What the record of this folder leaves out. A bit or a form that this version does not know still means that it is not complete.
    pub fn left_out(&self) -> LeftOut {
        match self.find_extra(EXTRA_LEFT_OUT) {
            None => LeftOut::NOTHING,
            Some([bits]) if *bits != 0 => LeftOut(*bits),
            Some(_) => LeftOut::UNREAD,
        }
    }

    /// Adds to what the record of this folder leaves out.
    pub fn leave_out(&mut self, more: LeftOut) {
        let all = self.left_out().and(more);
        self.put_extra(EXTRA_LEFT_OUT, (!all.is_nothing()).then(|| vec![all.0]));
    }

    fn find_extra(&self, number: u16) -> Option<&[u8]> {
        self.extra.iter().find(|field| field.0 == number).map(|(.., value)| value.as_slice())
    }

    fn put_extra(&mut self, number: u16, value: Option<Vec<u8>>) {
        self.extra.retain(|field| field.0 != number);
        if let Some(value) = value {
            let place = self.extra.partition_point(|field| field.0 < number);
            self.extra.insert(place, (number, false, value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::file;
    use super::*;

    #[test]
    fn a_folder_remembers_why_it_is_not_whole() {
        let mut node = file(b"a", vec![]);
        node.extra = vec![(1, false, vec![9]), (7, false, vec![])];
        assert!(node.left_out().is_nothing());
        node.leave_out(LeftOut::NOTHING);
        assert_eq!(node.extra.len(), 2);
        node.leave_out(LeftOut::MARKED);
        node.leave_out(LeftOut::UNREAD);
        assert_eq!(node.left_out(), LeftOut::MARKED.and(LeftOut::UNREAD));
        assert_eq!(node.extra, [(1, false, vec![9]), (2, false, vec![5]), (7, false, vec![])]);
        assert!(!node.left_out().has(LeftOut::TOO_DEEP));
    }

    #[test]
    fn flags_read_back_and_only_those_that_can_be_set_again() {
        let mut node = file(b"a", vec![]);
        node.set_flags(FileFlags::kept(0x0008_0000 | 0x10 | 0x40));
        assert_eq!((node.flags().to_string().as_str(), node.extra.len()), ("id", 1));
        assert_eq!(node.flags().each().count(), 2);
        node.set_flags(FileFlags::NONE);
        assert!(node.extra.is_empty() && node.flags().is_none());
        node.extra = vec![(EXTRA_FLAGS, false, vec![1, 2])];
        assert!(node.flags().is_none());
    }

    #[test]
    fn a_mark_of_another_form_never_passes_for_a_whole_folder() {
        for value in [vec![], vec![0], vec![0, 0], vec![128]] {
            let node = Node { extra: vec![(EXTRA_LEFT_OUT, false, value)], ..file(b"a", vec![]) };
            assert!(!node.left_out().is_nothing());
        }
    }
}
