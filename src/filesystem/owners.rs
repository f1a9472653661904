//! Names of users and groups <-> their numbers, each asked for once per run.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::RwLock;

/// A cache in front of the system's user database, shared by all threads.
#[derive(Debug, Default)]
pub struct Owners {
    users: Cached<u32, String>,
    groups: Cached<u32, String>,
    uids: Cached<String, u32>,
    gids: Cached<String, u32>,
}

#[derive(Debug)]
struct Cached<K, V>(RwLock<HashMap<K, Option<V>>>);

impl<K, V> Default for Cached<K, V> {
    fn default() -> Self {
        Self(RwLock::default())
    }
}

impl<K: Eq + Hash, V: Clone> Cached<K, V> {
    fn get<Q>(&self, key: &Q, ask: impl FnOnce() -> Option<V>) -> Option<V>
    where
        Q: Eq + Hash + ToOwned<Owned = K> + ?Sized,
        K: std::borrow::Borrow<Q>,
    {
        if let Ok(known) = self.0.read()
            && let Some(value) = known.get(key)
        {
            return value.clone();
        }
        let value = ask();
        if let Ok(mut known) = self.0.write() {
            known.insert(key.to_owned(), value.clone());
        }
        value
    }
}

impl Owners {
    /// Nothing asked yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The name of a user; none when there is none or it is not UTF-8.
    pub fn user_name(&self, uid: u32) -> Option<String> {
        self.users.get(&uid, || uzers::get_user_by_uid(uid)?.name().to_str().map(str::to_owned))
    }

    /// The name of a group; none when there is none or it is not UTF-8.
    pub(crate) fn group_name(&self, gid: u32) -> Option<String> {
        self.groups.get(&gid, || uzers::get_group_by_gid(gid)?.name().to_str().map(str::to_owned))
    }

    /// The number of the user called so.
    pub fn uid(&self, name: &str) -> Option<u32> {
        // A NUL would make the lookup panic; no user is called so.
        if name.contains('\0') {
            return None;
        }
        self.uids.get(name, || uzers::get_user_by_name(name).map(|user| user.uid()))
    }

    /// The number of the group called so.
    pub fn gid(&self, name: &str) -> Option<u32> {
        if name.contains('\0') {
            return None;
        }
        self.gids.get(name, || uzers::get_group_by_name(name).map(|group| group.gid()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_lead_to_each_other() {
        let owners = Owners::new();
        for _ in 0..2 {
            assert_eq!(owners.user_name(0).as_deref(), Some("root"));
            assert_eq!(owners.uid("root"), Some(0));
            assert_eq!(owners.gid(&owners.group_name(0).unwrap()), Some(0));
            assert_eq!(owners.user_name(3_999_999_999), None);
            assert_eq!(owners.uid("no such user"), None);
            assert_eq!(owners.uid("a\0b"), None);
        }
    }
}
