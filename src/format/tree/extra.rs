//! What a node says in its extra fields. A reader may overlook each of them.

use super::Node;

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
    pub const OTHER_FILE_SYSTEM: Self = Self(2);
    /// A file in it marks it as not to be backed up: only that file is recorded.
    pub const MARKED: Self = Self(4);
    /// It lies deeper than a backup goes.
    pub const TOO_DEEP: Self = Self(8);
    /// Only what was named was looked at.
    pub const NOT_NAMED: Self = Self(16);
    /// Some entries match an exclude pattern, or are larger than wanted; the facts of the source say which patterns and size.
    pub const BY_RULE: Self = Self(32);
    /// The repository itself, or esker's cache, stands in it.
    pub const OWN: Self = Self(64);

    /// Both.
    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// `self` when `condition` holds.
    pub fn when(self, condition: bool) -> Self {
        if condition { self } else { Self::NOTHING }
    }

    /// Nothing was left out.
    pub fn is_nothing(self) -> bool {
        self.0 == 0
    }

    /// All bits of `other` are among these.
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl Node {
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
    fn a_mark_of_another_form_never_passes_for_a_whole_folder() {
        for value in [vec![], vec![0], vec![0, 0], vec![128]] {
            let node = Node { extra: vec![(EXTRA_LEFT_OUT, false, value)], ..file(b"a", vec![]) };
            assert!(!node.left_out().is_nothing());
        }
    }
}
