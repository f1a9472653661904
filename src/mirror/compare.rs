//! Is the target an earlier state of the source? Told by names that are never taken back, and by the oldest and newest records both have.

use std::collections::BTreeMap;

use crate::format::names::{self, ObjectName};
use crate::mirror::{MirrorError, list_target, size_max};
use crate::repository::RepositoryError;
use crate::store::{Name, Store, StoreError, StoreErrorKind};

/// Names of ours below a folder, and their sizes in bytes.
pub(super) type Listing = BTreeMap<Name, u64>;

pub(super) fn list(store: &dyn Store, folder: &str) -> Result<Listing, StoreError> {
    let mut listing = Listing::new();
    store.list(folder, &mut |entry| {
        if ObjectName::parse(&entry.name).is_some() {
            listing.insert(entry.name, entry.size);
        }
    })?;
    Ok(listing)
}

/// Folders of which an owner deletes nothing, ever, and which nobody writes to who only looks at a mirror: whoever verifies one leaves
/// notes in it.
const KEPT: [&str; 3] = [names::CONFIG, names::GC, names::FORGOTTEN];

/// Refuses a target with another past. It is listed before the source: what another mirror run puts there meanwhile is no surprise.
pub(super) fn same_history(from: &dyn Store, to: &dyn Store) -> Result<(), MirrorError> {
    let refuse = |why: String| Err(MirrorError::OtherHistory { target: to.location(), source_place: from.location(), why });
    for folder in KEPT {
        let there = list_target(to, folder)?;
        let here = match list(from, folder) {
            Err(StoreError { kind: StoreErrorKind::NoStore { .. }, .. }) => Listing::new(),
            other => other?,
        };
        if folder == names::CONFIG && here.is_empty() {
            return Err(RepositoryError::NoRepository(from.location()).into());
        }
        if let Some(name) = there.keys().find(|name| !here.contains_key(*name)) {
            return refuse(format!("{name} is there and not in the source, where it would have been kept for ever"));
        }
        if !matches!(folder, names::CONFIG | names::GC) {
            continue;
        }
        // Whoever made the newest of these had those before it: if it is the same, so are they.
        for name in [there.keys().next(), there.keys().next_back()].into_iter().flatten() {
            let Some(object) = ObjectName::parse(name) else { continue };
            let most = size_max(&object);
            if there[name] != here[name] || from.get(name, most)? != to.get(name, most)? {
                return refuse(format!("{name} is another one there"));
            }
        }
    }
    let there = list_target(to, names::SNAPSHOTS)?;
    let here = list(from, names::SNAPSHOTS)?;
    for (name, size) in &there {
        if let Some(found) = here.get(name) {
            if found != size {
                return refuse(format!("{name} is another one there"));
            }
            continue;
        }
        // Forgotten in the source, and its object cleared away; a session that was revoked is never cleared away.
        let mut is_forgotten = false;
        from.list(&format!("{}/{}", names::FORGOTTEN, name.last_part()), &mut |_| is_forgotten = true)?;
        if !is_forgotten {
            return refuse(format!("{name} is there, and in the source it is neither found nor forgotten"));
        }
    }
    Ok(())
}
