//! Records: the small objects with which runs tell each other what they do and what was decided.
//!
//! Leans on `objects`, `format` and `crypto`. It knows nothing of packs and chunks (`catalog` does), and `catalog` knows nothing of records:
//! the waist passes on what the records say about packs.

mod error;
pub mod gc;
pub mod host_state;
pub mod ledger;

pub use error::RecordError;
