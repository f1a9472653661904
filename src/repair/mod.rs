//! Mending: index files, damaged packs, snapshots that lost files, root trees nobody reaches. Never deletes what it mends.
//!
//! Leans on `repository` and `format`. Never knows how damage was found, or who asks.
