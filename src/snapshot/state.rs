//! What a folder looked like last time: the reason an unchanged file is not read again.
//!
//! One record a folder: for each file its stat, the encoded node, and the packs its chunks were found in. Facts about chunks never change,
//! so a file is unchanged when its stat is equal and each of those packs is still in the view. The record is only ever a cache: lost or
//! refused, the files are read again.

use crate::catalog::PackNumber;
use crate::clock::Timestamp;

/// A file changed this close to the start of a session may have changed again within one tick of its clock: not remembered.
pub(crate) const SETTLED_SECONDS: i64 = 2;

/// A session is over long before a time this far ahead of its start.
const FAR_FUTURE_SECONDS: i64 = 30 * 86_400;

/// What must be equal for a file to count as unchanged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stat {
    /// Inode number.
    pub inode: u64,
    /// Bytes.
    pub size: u64,
    /// Last change of the content.
    pub mtime: Timestamp,
    /// Last change of the inode.
    pub ctime: Timestamp,
}

impl Stat {
    /// Equal to the stat of no file: what carries it is read again.
    pub(crate) const NEVER: Self = Self {
        inode: u64::MAX,
        size: u64::MAX,
        mtime: Timestamp { seconds: i64::MIN, nanoseconds: u32::MAX },
        ctime: Timestamp { seconds: i64::MIN, nanoseconds: u32::MAX },
    };

    /// Were its times long enough before `start` that a later change would show?
    ///
    /// ctime is the system's own and decides. mtime may be anything a user has set, also far in the future, where no change made
    /// now can collide with it; only one near the present may stand for a file system whose ctime means something else.
    pub(crate) fn is_settled(&self, start: Timestamp) -> bool {
        let before = |time: Timestamp| time.seconds.saturating_add(SETTLED_SECONDS) <= start.seconds;
        before(self.ctime) && (before(self.mtime) || self.mtime.seconds > start.seconds.saturating_add(FAR_FUTURE_SECONDS))
    }
}

/// One remembered file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct FileState {
    /// Its name in the folder.
    pub name: Vec<u8>,
    /// Its stat when it was read.
    pub stat: Stat,
    /// Its encoded node.
    pub node: Vec<u8>,
    /// Which packs hold its chunks: places in the folder's table.
    packs: Vec<u32>,
}

/// A folder's record, in rising order of names.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct FolderState {
    packs: Vec<PackNumber>,
    files: Vec<FileState>,
    /// Written before flags of files were recorded: that a node has none says nothing.
    without_flags: bool,
}

/// What ends a record whose nodes have their flags; older ones end without.
const WITH_FLAGS: u8 = 1;

impl FolderState {
    /// Adds a file; files come in rising order of names.
    pub(super) fn push(&mut self, name: Vec<u8>, stat: Stat, node: Vec<u8>, packs: &[PackNumber]) {
        let mut places = Vec::with_capacity(packs.len().min(1));
        for pack in packs {
            // The pack of the file before is nearly always the one: look from the end.
            let place = match self.packs.iter().rposition(|known| known == pack) {
                Some(place) => place,
                None => {
                    self.packs.push(*pack);
                    self.packs.len() - 1
                }
            };
            let place = place as u32;
            if !places.contains(&place) {
                places.push(place);
            }
        }
        self.files.push(FileState { name, stat, node, packs: places });
    }

    /// The remembered files, in rising order of names.
    pub(super) fn files(&self) -> &[FileState] {
        &self.files
    }

    /// Was it written before flags of files were recorded?
    pub(crate) fn is_without_flags(&self) -> bool {
        self.without_flags
    }

    /// The packs a file's chunks are in.
    pub(super) fn packs<'a>(&'a self, file: &'a FileState) -> impl Iterator<Item = PackNumber> + 'a {
        file.packs.iter().filter_map(|&place| self.packs.get(place as usize).copied())
    }

    /// Looks a name up.
    pub(super) fn find(&self, name: &[u8]) -> Option<&FileState> {
        self.files.binary_search_by(|file| file.name.as_slice().cmp(name)).ok().map(|place| &self.files[place])
    }

    /// The record as bytes.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + self.files.iter().map(|file| file.name.len() + file.node.len() + 64).sum::<usize>());
        put(&mut out, self.packs.len() as u64);
        for pack in &self.packs {
            out.extend_from_slice(&pack.0.to_le_bytes());
        }
        put(&mut out, self.files.len() as u64);
        for file in &self.files {
            put_bytes(&mut out, &file.name);
            put(&mut out, file.stat.inode);
            put(&mut out, file.stat.size);
            for time in [file.stat.mtime, file.stat.ctime] {
                out.extend_from_slice(&time.seconds.to_le_bytes());
                out.extend_from_slice(&time.nanoseconds.to_le_bytes());
            }
            put_bytes(&mut out, &file.node);
            put(&mut out, file.packs.len() as u64);
            for &place in &file.packs {
                put(&mut out, u64::from(place));
            }
        }
        if !self.without_flags {
            out.push(WITH_FLAGS);
        }
        out
    }

    /// Reads a record; anything odd is `None`, and the files are read again.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let mut state = Self::default();
        for _ in 0..get(&mut rest)? {
            state.packs.push(PackNumber(i64::from_le_bytes(take(&mut rest, 8)?.try_into().ok()?)));
        }
        for _ in 0..get(&mut rest)? {
            let name = get_bytes(&mut rest)?.to_vec();
            let (inode, size) = (get(&mut rest)?, get(&mut rest)?);
            let mut times = [Timestamp::default(); 2];
            for time in &mut times {
                time.seconds = i64::from_le_bytes(take(&mut rest, 8)?.try_into().ok()?);
                time.nanoseconds = u32::from_le_bytes(take(&mut rest, 4)?.try_into().ok()?);
            }
            let node = get_bytes(&mut rest)?.to_vec();
            let mut packs = Vec::new();
            for _ in 0..get(&mut rest)? {
                let place = u32::try_from(get(&mut rest)?).ok()?;
                // A place beyond the table would make a file look as if it needed no pack.
                packs.push(((place as usize) < state.packs.len()).then_some(place)?);
            }
            let stat = Stat { inode, size, mtime: times[0], ctime: times[1] };
            state.files.push(FileState { name, stat, node, packs });
        }
        state.without_flags = rest.is_empty();
        matches!(rest, [] | [WITH_FLAGS]).then_some(state)
    }
}

/// LEB128.
fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn get(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn get_bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(get(rest)?).ok()?;
    take(rest, length)
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(inode: u64) -> Stat {
        let time = Timestamp { seconds: -5, nanoseconds: 999_999_999 };
        Stat { inode, size: inode * 300, mtime: time, ctime: time }
    }

    fn sample() -> FolderState {
        let mut state = FolderState::default();
        state.push(b"a".to_vec(), stat(1), vec![1, 2, 3], &[PackNumber(7)]);
        state.push(b"b\xff".to_vec(), stat(1 << 40), vec![], &[PackNumber(9), PackNumber(7), PackNumber(9)]);
        state.push(b"c".to_vec(), stat(3), vec![0; 300], &[]);
        state
    }

    #[test]
    fn a_record_reads_back() {
        let state = sample();
        assert_eq!(FolderState::decode(&state.encode()), Some(state.clone()));
        let b = state.find(b"b\xff").unwrap();
        assert_eq!(state.packs(b).collect::<Vec<_>>(), [PackNumber(9), PackNumber(7)]);
        assert!(state.find(b"bb").is_none());
    }

    #[test]
    fn a_cut_or_stretched_record_is_refused() {
        let bytes = sample().encode();
        // Without its last byte it is a record from before flags were recorded.
        assert!(FolderState::decode(&bytes[..bytes.len() - 1]).unwrap().is_without_flags());
        for length in 0..bytes.len() - 1 {
            assert_eq!(FolderState::decode(&bytes[..length]), None, "cut to {length}");
        }
        assert_eq!(FolderState::decode(&[bytes.as_slice(), &[0]].concat()), None);
    }

    #[test]
    fn a_file_changed_just_before_the_session_is_not_settled() {
        let start = Timestamp { seconds: 100, nanoseconds: 0 };
        let time = |seconds| Timestamp { seconds, nanoseconds: 0 };
        let at = |mtime, ctime| Stat { mtime: time(mtime), ctime: time(ctime), ..stat(1) };
        assert!(at(98, 98).is_settled(start));
        assert!(!at(99, 98).is_settled(start));
        assert!(!at(98, 99).is_settled(start));
        assert!(!at(500, 98).is_settled(start));
        // A date set by hand, years ahead: nothing written during the session can have it.
        assert!(at(100_000_000, 98).is_settled(start));
        assert!(!at(98, 100_000_000).is_settled(start));
    }
}
