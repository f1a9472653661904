//! What one run may use: the table of `format-spec/keys.md`.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use super::derive::{Secret, context, equal, kdf, mac_of_place};
use super::{CryptoError, exchange};
use crate::clock::{Rng, random};
use crate::id::{ChunkId, RepositoryId};
use crate::locks::Unpoisoned;

/// What a chunk holds. Each type has its own id key, so that a data chunk can never be used as a tree.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum ChunkType {
    /// Bytes of files and streams.
    Data = 1,
    /// Rows of a folder.
    Tree = 2,
    /// Items of a long content.
    List = 3,
}

impl ChunkType {
    /// From its stored number.
    pub(crate) fn from_u8(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Data),
            2 => Some(Self::Tree),
            3 => Some(Self::List),
            _ => None,
        }
    }
}

/// Domain of ids and cut points that version 1 writes.
const DOMAIN: u8 = 0;

/// The secret an owner holds: everything follows from it.
#[derive(Debug)]
pub struct RootKey(Secret);

impl RootKey {
    /// A new root, from the randomness of the operating system.
    pub fn generate(rng: &dyn Rng) -> Result<Self, CryptoError> {
        Ok(Self(Secret::new(random(rng)?)))
    }
    /// Takes over the bytes of a root.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Secret::new(bytes))
    }
    /// The bytes, to wrap them.
    pub fn expose(&self) -> &[u8; 32] {
        self.0.expose()
    }
    /// Public identity of its repository.
    pub fn repository_id(&self) -> RepositoryId {
        RepositoryId(*kdf(context::REPOSITORY_ID, &[self.0.expose()]).expose())
    }
    /// The same root once more.
    pub(crate) fn duplicate(&self) -> Self {
        Self(self.0.duplicate())
    }
}

/// What a writer holds: it deduplicates and snapshots, but opens neither a pack nor a snapshot.
#[derive(Debug)]
pub struct WriterKey {
    /// Repository it belongs to.
    pub repository_id: RepositoryId,
    /// X25519 public key that packs and snapshots are sealed to.
    pub sealing_public: [u8; 32],
    /// From 1; raised by `key rotate`.
    pub generation: u32,
    /// Which writer; version 1 writes zeros.
    pub writer: [u8; 16],
    /// The writer secret of this generation.
    pub secret: Secret,
}

/// Everything derived from one writer secret.
pub struct GenerationKeys {
    /// From 1.
    pub generation: u32,
    /// Which writer; zeros in version 1.
    pub writer: [u8; 16],
    pub(super) secret: Secret,
    pub(super) psk: Secret,
    records: Secret,
    cache: Secret,
    hedge: Secret,
    ids: [Secret; 3],
    cut: Secret,
    stream: Secret,
}

impl fmt::Debug for GenerationKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GenerationKeys({}, ..)", self.generation)
    }
}

impl GenerationKeys {
    fn new(generation: u32, writer: [u8; 16], secret: Secret) -> Self {
        let of = |context| kdf(context, &[secret.expose()]);
        let id = |chunk_type: ChunkType| kdf(context::CHUNK_ID, &[secret.expose(), &[chunk_type as u8, DOMAIN]]);
        Self {
            generation,
            writer,
            psk: of(context::SEAL_PSK),
            records: of(context::RECORDS),
            cache: of(context::CACHE_ROWS),
            hedge: of(context::HEDGE),
            ids: [id(ChunkType::Data), id(ChunkType::Tree), id(ChunkType::List)],
            cut: kdf(context::CHUNKER, &[secret.expose(), &[0, DOMAIN]]),
            stream: of(context::STREAM),
            secret,
        }
    }

    /// The id of a chunk in this generation.
    pub fn chunk_id(&self, chunk_type: ChunkType, bytes: &[u8]) -> ChunkId {
        let key = &self.ids[chunk_type as usize - 1];
        ChunkId(*blake3::keyed_hash(key.expose(), bytes).as_bytes())
    }
    /// Key of cut points.
    pub fn cut_key(&self) -> &Secret {
        &self.cut
    }
    /// A MAC over a whole stream, to be fed.
    pub fn stream_mac(&self) -> blake3::Hasher {
        blake3::Hasher::new_keyed(self.stream.expose())
    }
    /// Key of objects among writers (kx 2).
    pub(crate) fn records_key(&self) -> &Secret {
        &self.records
    }
    /// Mixed into everything that should be random.
    pub(crate) fn hedge_key(&self) -> &Secret {
        &self.hedge
    }
}

/// By generation and writer.
type Derived = HashMap<(u32, [u8; 16]), Arc<GenerationKeys>>;

struct Owner {
    root: RootKey,
    sealing_secret: Secret,
    mac: Secret,
    /// Generations met while reading; few, and small.
    derived: Mutex<Derived>,
}

/// What one run may use. Made from a root or from a writer key; prints nothing, is not `Clone`.
pub struct Keys {
    repository_id: RepositoryId,
    sealing_public: [u8; 32],
    current: Arc<GenerationKeys>,
    owner: Option<Owner>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = if self.is_owner() { "owner" } else { "writer" };
        write!(f, "Keys({who} of {}, generation {}, ..)", self.repository_id.short(), self.current.generation)
    }
}

/// More generations than any repository sees are not remembered.
const DERIVED_MAX: usize = 1024;

impl Keys {
    /// An owner that writes in `generation` (at least 1) and reads every generation.
    pub fn owner(root: RootKey, generation: u32) -> Self {
        let sealing_secret = kdf(context::SEALING_SECRET, &[root.expose()]);
        let mac = kdf(context::OWNER_MAC, &[root.expose()]);
        let current = Arc::new(derive(&root, generation, [0; 16]));
        Self {
            repository_id: root.repository_id(),
            sealing_public: exchange::public_of(&sealing_secret),
            current,
            owner: Some(Owner { root, sealing_secret, mac, derived: Mutex::default() }),
        }
    }

    /// A writer of the generation its key is of.
    pub fn writer(key: WriterKey) -> Self {
        let WriterKey { repository_id, sealing_public, generation, writer, secret } = key;
        let current = Arc::new(GenerationKeys::new(generation, writer, secret));
        Self { repository_id, sealing_public, current, owner: None }
    }

    /// Public identity of the repository.
    pub fn repository_id(&self) -> RepositoryId {
        self.repository_id
    }
    /// The generation this run writes in.
    pub fn generation(&self) -> u32 {
        self.current.generation
    }
    /// May it open packs and snapshots, and is it obeyed?
    pub fn is_owner(&self) -> bool {
        self.owner.is_some()
    }
    /// The keys this run writes with.
    pub fn current(&self) -> &Arc<GenerationKeys> {
        &self.current
    }
    /// The keys of a generation: any from 1 for an owner, its own for a writer, else `None`.
    pub fn of(&self, generation: u32, writer: &[u8; 16]) -> Option<Arc<GenerationKeys>> {
        if (generation, writer) == (self.current.generation, &self.current.writer) {
            return Some(Arc::clone(&self.current));
        }
        let owner = self.owner.as_ref().filter(|_| generation > 0)?;
        let make = || Arc::new(derive(&owner.root, generation, *writer));
        let mut derived = owner.derived.lock().unpoisoned();
        if derived.len() >= DERIVED_MAX {
            derived.clear();
        }
        Some(Arc::clone(derived.entry((generation, *writer)).or_insert_with(make)))
    }
    /// Public key that packs and snapshots are sealed to.
    pub fn sealing_public(&self) -> &[u8; 32] {
        &self.sealing_public
    }
    pub(super) fn sealing_secret(&self) -> Option<&Secret> {
        self.owner.as_ref().map(|owner| &owner.sealing_secret)
    }

    /// The id of a chunk in the generation this run writes in. Speed of keyed BLAKE3; nothing is copied.
    pub fn chunk_id(&self, chunk_type: ChunkType, bytes: &[u8]) -> ChunkId {
        self.current.chunk_id(chunk_type, bytes)
    }
    /// The id of a chunk in `generation`; `None` when this run does not hold its keys.
    pub(crate) fn chunk_id_at(&self, generation: u32, chunk_type: ChunkType, bytes: &[u8]) -> Option<ChunkId> {
        if generation == self.current.generation {
            return Some(self.chunk_id(chunk_type, bytes));
        }
        Some(self.of(generation, &[0; 16])?.chunk_id(chunk_type, bytes))
    }
    /// Key of cut points of the current generation.
    pub fn cut_key(&self) -> [u8; 32] {
        *self.current.cut.expose()
    }
    /// Key of cache rows of the current generation.
    pub(crate) fn cache_key(&self) -> [u8; 32] {
        *self.current.cache.expose()
    }
    /// Key of what this host remembers of the store. An owner's does not change with the generation: what a host saw before a rotation
    /// is what tells it that the store was put back to before it.
    pub(crate) fn host_state_key(&self) -> [u8; 32] {
        self.of(1, &[0; 16]).map_or_else(|| self.cache_key(), |first| *first.cache.expose())
    }
    /// A MAC over a whole stream in the current generation, to be fed.
    pub fn stream_mac(&self) -> blake3::Hasher {
        self.current.stream_mac()
    }
    /// A MAC over a whole stream in `generation`, to check one; `None` when this run does not hold its keys.
    pub(crate) fn stream_mac_at(&self, generation: u32) -> Option<blake3::Hasher> {
        Some(self.of(generation, &[0; 16])?.stream_mac())
    }

    /// `owner_mac` of a body at a place; `None` for a writer.
    pub fn owner_mac(&self, place: &str, body: &[u8]) -> Option<[u8; 32]> {
        Some(mac_of_place(&self.owner.as_ref()?.mac, place, body))
    }
    /// Is `mac` the owner's? `None` for a writer, who cannot tell.
    pub(crate) fn check_owner_mac(&self, place: &str, body: &[u8], mac: &[u8; 32]) -> Option<bool> {
        Some(equal(&self.owner_mac(place, body)?, mac))
    }

    /// The root, to wrap it in a keyslot; `None` for a writer.
    pub fn root(&self) -> Option<&RootKey> {
        self.owner.as_ref().map(|owner| &owner.root)
    }
    /// The writer key of the current generation, to wrap or export it.
    pub fn writer_key(&self) -> WriterKey {
        WriterKey {
            repository_id: self.repository_id,
            sealing_public: self.sealing_public,
            generation: self.current.generation,
            writer: self.current.writer,
            secret: self.current.secret.duplicate(),
        }
    }
}

fn derive(root: &RootKey, generation: u32, writer: [u8; 16]) -> GenerationKeys {
    let secret = kdf(context::WRITER, &[root.expose(), &generation.to_le_bytes(), &writer]);
    GenerationKeys::new(generation, writer, secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner() -> Keys {
        Keys::owner(RootKey::from_bytes([3; 32]), 2)
    }

    #[test]
    fn a_writer_names_and_cuts_as_its_owner_does() {
        let (owner, writer) = (owner(), Keys::writer(owner().writer_key()));
        assert_eq!(owner.repository_id(), writer.repository_id());
        assert_eq!(owner.sealing_public(), writer.sealing_public());
        assert_eq!(owner.chunk_id(ChunkType::Tree, b"x"), writer.chunk_id(ChunkType::Tree, b"x"));
        assert_eq!(owner.cut_key(), writer.cut_key());
        assert_eq!(owner.cache_key(), writer.cache_key());
        assert_eq!(owner.stream_mac().finalize(), writer.stream_mac().finalize());
    }

    #[test]
    fn types_and_generations_do_not_share_ids() {
        let keys = owner();
        let ids = [
            keys.chunk_id(ChunkType::Data, b"x"),
            keys.chunk_id(ChunkType::Tree, b"x"),
            keys.chunk_id(ChunkType::List, b"x"),
            keys.chunk_id_at(1, ChunkType::Data, b"x").unwrap(),
            keys.chunk_id_at(3, ChunkType::Data, b"x").unwrap(),
        ];
        let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
        assert_eq!(distinct.len(), ids.len());
        assert_eq!(keys.chunk_id_at(2, ChunkType::Data, b"x"), Some(ids[0]));
    }

    #[test]
    fn a_writer_holds_no_other_generation_and_no_owner_mac() {
        let writer = Keys::writer(owner().writer_key());
        assert!(writer.of(1, &[0; 16]).is_none());
        assert!(writer.chunk_id_at(3, ChunkType::Data, b"x").is_none());
        assert!(writer.owner_mac("gc", b"x").is_none());
        assert!(writer.root().is_none());
        assert!(owner().of(0, &[0; 16]).is_none(), "generations start at 1");
    }

    #[test]
    fn an_owner_mac_holds_for_its_place_and_body_only() {
        let keys = owner();
        let mac = keys.owner_mac("notes", b"body").unwrap();
        assert_eq!(keys.check_owner_mac("notes", b"body", &mac), Some(true));
        assert_eq!(keys.check_owner_mac("note", b"sbody", &mac), Some(false));
        assert_eq!(keys.check_owner_mac("notes", b"bodz", &mac), Some(false));
    }

    #[test]
    fn keys_do_not_print() {
        let shown = format!("{:?} {:?} {:?}", owner(), owner().writer_key(), RootKey::from_bytes([3; 32]));
        assert!(!shown.contains("3, 3"), "{shown}");
        assert!(!shown.contains("0303"), "{shown}");
    }
}
