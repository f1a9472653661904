//! How this repository names chunks and proves streams, without showing its keys.

use std::sync::Arc;

use crate::crypto::{ChunkType, Keys};
use crate::format::pack::PackFacts;
use crate::id::ChunkId;
use crate::repository::Repository;

/// Names data chunks. It can be cloned and handed to threads.
#[derive(Clone)]
pub(crate) struct Namer(Arc<Keys>);

impl Namer {
    /// The id of a data chunk with these bytes.
    pub(crate) fn id(&self, bytes: &[u8]) -> ChunkId {
        self.0.chunk_id(ChunkType::Data, bytes)
    }

    /// Do these bytes give this id, in this generation or an earlier one?
    pub(crate) fn gives(&self, id: &ChunkId, bytes: &[u8]) -> bool {
        let Self(keys) = self;
        (1..=keys.generation()).rev().any(|generation| keys.chunk_id_at(generation, ChunkType::Data, bytes) == Some(*id))
    }
}

impl Repository {
    /// Was it opened with the owner's key?
    pub fn is_owner(&self) -> bool {
        self.objects.keys.is_owner()
    }

    /// Is the store far away? Then a read costs a round trip, and a read that fails says nothing about the object.
    pub(crate) fn is_remote(&self) -> bool {
        self.objects.is_remote()
    }

    /// The generation in which this run writes.
    pub fn generation(&self) -> u32 {
        self.objects.keys.generation()
    }

    /// Names data chunks.
    pub(crate) fn namer(&self) -> Namer {
        Namer(Arc::clone(&self.objects.keys))
    }

    /// The id of a data chunk with these bytes.
    pub(crate) fn data_id(&self, bytes: &[u8]) -> ChunkId {
        self.objects.keys.chunk_id(ChunkType::Data, bytes)
    }

    /// The id that a chunk of this pack must have: under the keys of the pack's generation. `None` when this run does
    /// not hold them.
    pub(crate) fn chunk_id_in(&self, facts: &PackFacts, chunk_type: ChunkType, bytes: &[u8]) -> Option<ChunkId> {
        self.objects.keys.chunk_id_at(facts.generation(), chunk_type, bytes)
    }

    /// A MAC over a whole stream, to be written.
    pub fn stream_mac(&self) -> blake3::Hasher {
        self.objects.keys.stream_mac()
    }

    /// A MAC over a whole stream of that generation, to be checked. `None` when this run does not hold its keys.
    pub(crate) fn stream_mac_at(&self, generation: u32) -> Option<blake3::Hasher> {
        self.objects.keys.stream_mac_at(generation)
    }
}
