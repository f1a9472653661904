//! The two classes of store, and everything that differs between them.
//!
//! * **Shared**: create-if-absent can be trusted. A name is a fence: of several runs that create it, one succeeds.
//! * **Single maintainer**: a name that is taken may be overwritten. So no name is a fence. Names hold the hash of
//!   their object (M1), and a revocation is put beside the snapshot instead of in its place (M4).
//!
//! Readers always accept both forms of a name, because a writer cannot tell who wrote the config that names the class.

use std::collections::HashSet;

use super::{RecordError, Records};
use crate::format::config::StoreClass;
use crate::format::names::{self, ObjectName};
use crate::id::SessionId;
use crate::store::Name;

/// May a name that is taken be overwritten, so that no create decides anything?
pub fn has_no_fences(class: StoreClass) -> bool {
    class == StoreClass::SingleMaintainer
}

/// Is a store of class `found` good enough for a repository of class `needed`?
pub(crate) fn is_enough(found: StoreClass, needed: StoreClass) -> bool {
    !has_no_fences(found) || has_no_fences(needed)
}

/// What a class means for the user of the repository, in one sentence.
pub fn meaning(class: StoreClass) -> &'static str {
    match has_no_fences(class) {
        false => "any number of hosts may take snapshots, forget and prune at the same time",
        true => {
            "any number of hosts may take snapshots at the same time, but only one at a time may run forget, prune, repair, key or parity"
        }
    }
}

/// The name of a class for a person.
pub fn title(class: StoreClass) -> &'static str {
    if has_no_fences(class) { "single maintainer" } else { "shared" }
}

/// The name of a class for a script.
pub fn word(class: StoreClass) -> &'static str {
    if has_no_fences(class) { "single_maintainer" } else { "shared" }
}

/// The name of a config.
pub(super) fn config_name(class: StoreClass, number: u32, sealed: &[u8]) -> Name {
    match has_no_fences(class) {
        true => ObjectName::ConfigByHash(number, names::hash_of(&[sealed])).name(),
        false => ObjectName::Config(number).name(),
    }
}

impl Records<'_> {
    pub(super) fn has_no_fences(&self) -> bool {
        has_no_fences(self.class)
    }

    /// The name of the condemn record with this number, and whether creating it decides who gets the number.
    pub(super) fn condemn_name(&self, number: u64, sealed: &[u8]) -> (Name, bool) {
        match self.has_no_fences() {
            // What a run before this one still has on its way is another record of this number, and no session
            // acknowledges it.
            true => (ObjectName::GcCondemnByHash(number, names::hash_of(&[sealed])).name(), false),
            false => (ObjectName::GcCondemn(number).name(), true),
        }
    }

    /// The name of the revocation of a session: the name of its snapshot, or a name beside it.
    pub(super) fn revocation_name(&self, session: SessionId) -> Name {
        match self.has_no_fences() {
            true => ObjectName::Revoked(session).name(),
            false => names::snapshot_name(session.into()),
        }
    }

    /// Sessions with a revocation beside their snapshot. Always empty where a revocation takes the place of the
    /// snapshot.
    ///
    /// # Errors
    /// The store's.
    pub fn revoked_beside(&self) -> Result<HashSet<SessionId>, RecordError> {
        if self.has_no_fences() { self.list_revoked() } else { Ok(HashSet::new()) }
    }

    /// Do packs stay bad although a verdict pardons them? Where another verdict may still arrive, they do (M3).
    pub(crate) fn pardoned_packs_stay_bad(&self) -> bool {
        self.has_no_fences()
    }
}
