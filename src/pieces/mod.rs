//! Pieces: what a changed chunk still shares with earlier chunks.
//!
//! A chunk is some 128 KiB. When one row of it changed, all the rest of its bytes are in chunks that are stored already. This room finds
//! them: [`Cutter`] cuts a chunk into *pieces* (rows of a dump, or a few hundred bytes) and names each by a keyed hash; [`ChunkPieces`] is
//! what one machine remembers of a chunk, namely which literal chunk holds each of its pieces, and where; [`Matcher`] looks for the pieces of
//! a new chunk among them; [`plan()`] decides which ranges of which bases are worth a reference.
//!
//! Nothing of this is stored in a repository. All of it may be lost: then a changed chunk is stored with all its bytes.
//!
//! Leans on `chunker` for cuts by content. Never knows keys, packs, SQLite or the form of a recipe.

mod cut;
mod matcher;
mod plan;
mod table;

pub use cut::{CutPiece, Cutter, PieceHash};
pub use matcher::{Blocks, Matcher, Place};
pub use plan::{Cost, Plan, Policy, Range, Source, plan};
pub use table::{ChunkPieces, Piece, TableError};

#[cfg(test)]
mod tests;
