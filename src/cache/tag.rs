//! Tags: what makes a row of the cache trustworthy.
//!
//! `tag = MAC(key of the file, table u8 | fields)[..16]`, every field of fixed length or with its length before it. The key of a file
//! is derived from the repository's cache key, the repository's id and the file's own random salt: a row of another repository,
//! another file, another table or another place in its table has a bad tag.

use crate::id::RepositoryId;

/// Length of a tag in bytes.
pub(super) const TAG: usize = 16;

/// Which table a tag was made for. Chunks that arrived and chunks in order are one table in this sense.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Table {
    Head = 1,
    Chunk = 2,
    Pack = 3,
    Directory = 4,
    IndexFile = 5,
    Meta = 6,
    Folder = 7,
    Pieces = 8,
}

/// Makes and checks the tags of one file.
#[derive(Clone)]
pub(super) struct Tagger {
    key: [u8; 32],
}

impl Tagger {
    /// For what is checked before a file's salt is known: the salt itself.
    pub(super) fn of_repository(repository: &RepositoryId, cache_key: &[u8; 32]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("esker 2026-11 v1 cache of repository");
        hasher.update(cache_key).update(repository.as_bytes());
        Self { key: hasher.finalize().into() }
    }

    /// For the rows of the file that has this salt.
    pub(super) fn of_file(&self, salt: &[u8; 32]) -> Self {
        Self { key: blake3::Hasher::new_keyed(&self.key).update(b"file").update(salt).finalize().into() }
    }

    /// The tag of a row of any table but chunks.
    pub(super) fn tag(&self, table: Table, fields: &[&[u8]]) -> [u8; TAG] {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(&[table as u8]);
        for field in fields {
            hasher.update(&(field.len() as u64).to_le_bytes()).update(field);
        }
        cut(hasher.finalize())
    }

    /// The tag of a chunk's row. All fields have fixed lengths, and all together fit one BLAKE3 block: this runs for every row
    /// that is looked up.
    pub(super) fn chunk_tag(&self, id: &[u8; 32], kind: u8, pack: i64, place: i64) -> [u8; TAG] {
        let mut row = [0; 1 + 32 + 1 + 8 + 8];
        row[0] = Table::Chunk as u8;
        row[1..33].copy_from_slice(id);
        row[33] = kind;
        row[34..42].copy_from_slice(&pack.to_le_bytes());
        row[42..50].copy_from_slice(&place.to_le_bytes());
        cut(blake3::keyed_hash(&self.key, &row))
    }
}

fn cut(hash: blake3::Hash) -> [u8; TAG] {
    let mut tag = [0; TAG];
    tag.copy_from_slice(&hash.as_bytes()[..TAG]);
    tag
}

/// Are these the same tag? In constant time, though nobody who could measure it can write rows.
pub(super) fn same(stored: &[u8], expected: &[u8; TAG]) -> bool {
    use subtle::ConstantTimeEq;
    stored.ct_eq(expected).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_depends_on_repository_key_file_table_and_where_fields_end() {
        let tag = |repository: u8, key: u8, salt: u8, table, fields: &[&[u8]]| {
            Tagger::of_repository(&RepositoryId([repository; 32]), &[key; 32]).of_file(&[salt; 32]).tag(table, fields)
        };
        let tags = [
            tag(1, 2, 3, Table::Meta, &[b"ab", b"c"]),
            tag(9, 2, 3, Table::Meta, &[b"ab", b"c"]),
            tag(1, 9, 3, Table::Meta, &[b"ab", b"c"]),
            tag(1, 2, 9, Table::Meta, &[b"ab", b"c"]),
            tag(1, 2, 3, Table::Pack, &[b"ab", b"c"]),
            tag(1, 2, 3, Table::Meta, &[b"a", b"bc"]),
        ];
        for (n, one) in tags.iter().enumerate() {
            assert!(tags[..n].iter().all(|other| other != one));
        }
        assert!(same(&tags[0], &tag(1, 2, 3, Table::Meta, &[b"ab", b"c"])));
        assert!(!same(&tags[0][..15], &tags[0]));
    }

    #[test]
    fn a_chunk_tag_depends_on_every_field() {
        let tagger = Tagger::of_repository(&RepositoryId([1; 32]), &[2; 32]).of_file(&[3; 32]);
        let tags = [
            tagger.chunk_tag(&[7; 32], 1, 5, 6),
            tagger.chunk_tag(&[8; 32], 1, 5, 6),
            tagger.chunk_tag(&[7; 32], 2, 5, 6),
            tagger.chunk_tag(&[7; 32], 1, 6, 6),
            tagger.chunk_tag(&[7; 32], 1, 5, 7),
        ];
        for (n, one) in tags.iter().enumerate() {
            assert!(tags[..n].iter().all(|other| other != one));
        }
    }
}
