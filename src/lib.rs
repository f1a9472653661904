//! esker: an encrypted, content-addressed, deduplicating backup repository.
//!
//! This file is the map. Rooms stand on floors; every import points to a lower floor, and rooms on one floor do not import
//! each other (`tests/architecture.rs` holds the table below). Above the waist (`repository`) there is only plaintext and ids;
//! inside `format` plaintext becomes sealed bytes; below it a store sees only names and sealed bytes.
//!
//! ```text
//!  7   bin/esker                                    arguments in, words and exit code out
//!      --------------------------------------------------------------------------------------
//!  6   snapshot   restore   verify   prune            the operations; none knows another
//!  6   retention  repair    copy      mirror   rotate    more of them
//!      --------------------------------------------------------------------------------------
//!  5   source       filesystem     repository       what is read | the user's files | the narrow waist
//!      --------------------------------------------------------------------------------------
//!  4                catalog       records           which copies of a chunk may be relied on | sessions, gc, notes, keyslots
//!  3                objects                         sealed objects by name; a bad object is told from a bad store
//!  2                format                          plaintext things <-> sealed bytes (the spec in Rust)
//!  1   pieces       crypto        cache             what chunks share | keys | which pack holds which chunk (SQLite)
//!  0   chunker   compress   parity   store          cut | squeeze | mend | names -> bytes
//!      --------------------------------------------------------------------------------------
//!  0   id   monitor   parallel   clock   locks   planted   notify   environment   private   path   process    used by all
//! ```
//!
//! The library never prints and never exits; each room has its own small error.

#![warn(unreachable_pub)]

// used by all
pub mod clock;
pub mod environment;
pub mod id;
pub mod locks;
pub mod monitor;
pub mod notify;
pub mod parallel;
pub mod path;
pub(crate) mod planted;
pub mod private;
pub(crate) mod process;

// floor 0
pub mod chunker;
pub mod compress;
pub(crate) mod parity;
pub mod store;

// floor 1
pub mod cache;
pub mod crypto;
pub mod pieces;

// floor 2
pub mod format;

// floor 3
pub mod objects;

// floor 4
pub mod catalog;
pub mod records;

// floor 5
pub mod filesystem;
pub mod repository;
pub mod source;

// floor 6
pub mod copy;
pub mod mirror;
pub mod prune;
pub mod repair;
pub mod restore;
pub mod retention;
pub mod rotate;
pub mod snapshot;
pub mod verify;
