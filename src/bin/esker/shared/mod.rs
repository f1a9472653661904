//! What several commands need. Commands import these rooms, and never one another.

pub mod class;
pub mod creation;
pub mod incomplete;
pub mod listing;
pub mod look;
pub mod moment;
pub mod other_repository;
pub mod place;
pub mod pruned;
pub mod warnings;
