//! Keyslots: who may open the repository, and with what.

use std::sync::Arc;

use crate::clock::{Rng, Timestamp};
use crate::crypto::{Argon2Cost, Keys, Passphrase, RecoveryKey, RootKey};
use crate::format::keyslot::{Kdf, Keyslot, Level, Opened, SlotKey, SlotSecret};
use crate::format::names::ObjectName;
use crate::format::{FormatError, Opener, limits, names};
use crate::id::{ObjectHash, RepositoryId};
use crate::objects::{ObjectError, create_same};
use crate::private;
use crate::repository::open::newest_config;
use crate::repository::{Environment, Repository, RepositoryError, listed};
use crate::store::{Name, Store, StoreError};

/// A keyslot to be made.
pub struct NewSlot<'a> {
    secret: SlotSecret<'a>,
    label: String,
    level: Level,
}

impl<'a> NewSlot<'a> {
    /// Opened by a password, owner level.
    pub fn password(label: &str, passphrase: &'a Passphrase, cost: Argon2Cost) -> Self {
        Self { secret: SlotSecret::Passphrase(passphrase, cost), label: label.to_owned(), level: Level::Owner }
    }
    /// Opened by a password, for a host that only writes.
    pub fn writer_password(label: &str, passphrase: &'a Passphrase, cost: Argon2Cost) -> Self {
        Self { level: Level::Writer, ..Self::password(label, passphrase, cost) }
    }
    /// Opened by a recovery key, owner level.
    pub fn recovery(label: &str, recovery: &'a RecoveryKey) -> Self {
        Self { secret: SlotSecret::Recovery(recovery), label: label.to_owned(), level: Level::Owner }
    }
}

/// What can be told of a keyslot without opening it.
#[derive(Clone, Debug)]
pub struct KeyslotInfo {
    /// BLAKE3 of the object: its name.
    pub id: ObjectHash,
    /// How it is opened.
    pub kdf: Kdf,
    /// What it gives.
    pub level: Level,
    /// Was this run opened with it?
    pub current: bool,
    /// Why it cannot be used, if it is damaged.
    pub damaged: Option<String>,
}

struct StoredSlot {
    id: ObjectHash,
    slot: Result<Keyslot, FormatError>,
}

/// Reads every keyslot.
fn load(store: &dyn Store) -> Result<Vec<StoredSlot>, RepositoryError> {
    let mut listed: Vec<(Name, ObjectHash)> = Vec::new();
    let each = &mut |entry: crate::store::Entry| {
        if let Some(ObjectName::Keyslot(id)) = ObjectName::parse(&entry.name) {
            listed.push((entry.name, id));
        }
    };
    match store.list(names::KEYS, each) {
        Ok(()) => {}
        Err(StoreError::NoStore(place)) => return Err(RepositoryError::NoRepository(place)),
        Err(error) => return Err(error.into()),
    }
    let mut slots = Vec::with_capacity(listed.len());
    for (name, id) in listed {
        // One fixed size: anything else is refused before it is read.
        let slot = match listed::get(store, &name, limits::KEYSLOT_SIZE as u64) {
            Ok(Some(bytes)) => Keyslot::parse(&bytes),
            Ok(None) => continue,
            Err(ObjectError::Object { source, .. }) => Err(source),
            Err(error) => return Err(error.into()),
        };
        slots.push(StoredSlot { id, slot });
    }
    Ok(slots)
}

/// Which repository a store holds, as its keyslots say: told without a key, and proved by nothing. `None`: no keyslot can be read.
pub fn repository_at(store: &dyn Store) -> Result<Option<RepositoryId>, RepositoryError> {
    match load(store) {
        Ok(slots) => Ok(slots.into_iter().find_map(|stored| Some(stored.slot.ok()?.repository_id))),
        Err(RepositoryError::NoRepository(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The root in one of these keyslots that opens with this password, if there is one.
pub(super) fn owner_root(
    store: &dyn Store,
    ids: &[ObjectHash],
    passphrase: &Passphrase,
) -> Result<Option<RootKey>, RepositoryError> {
    let stored = if ids.is_empty() { Vec::new() } else { load(store)? };
    for stored in stored.into_iter().filter(|stored| ids.contains(&stored.id)) {
        let Ok(slot) = stored.slot else { continue };
        if matches!(slot.kdf, Kdf::Argon2id(_))
            && let Ok(Opened { key: SlotKey::Owner(root), .. }) = slot.open_with_passphrase(passphrase)
        {
            return Ok(Some(root));
        }
    }
    Ok(None)
}

/// Does a keyslot stand there that is not of repository `id`, or cannot be read? Told without a key.
pub(super) fn are_of_several(store: &dyn Store, id: &RepositoryId) -> Result<bool, RepositoryError> {
    Ok(load(store)?.iter().any(|stored| stored.slot.as_ref().ok().is_none_or(|slot| slot.repository_id != *id)))
}

/// Deletes keyslots that nobody needs; those that stay do no harm.
pub(super) fn delete(store: &dyn Store, ids: &[ObjectHash]) {
    for id in ids {
        let _ = store.delete(&ObjectName::Keyslot(*id).name());
    }
}

/// Tries the keyslots of the kind of this secret in turn, cheapest first.
pub(super) fn unlock(
    environment: &Environment,
    passphrase: &Passphrase,
    wanted: Option<&str>,
) -> Result<(Arc<Keys>, ObjectHash), RepositoryError> {
    let remembered = Remembered::of(environment);
    if let Some(found) = remembered.as_ref().and_then(|slot| slot.open(&*environment.store, passphrase, wanted)) {
        return Ok(found);
    }
    let slots = load(&*environment.store)?;
    if slots.is_empty() {
        return Err(RepositoryError::NoRepository(environment.store.location()));
    }
    let mut slots: Vec<(ObjectHash, Keyslot)> = slots
        .into_iter()
        .filter(|stored| wanted.is_none_or(|prefix| stored.id.to_hex().starts_with(prefix)))
        .filter_map(|stored| Some((stored.id, stored.slot.ok()?)))
        .collect();
    if slots.is_empty() {
        let what =
            wanted.map_or("every keyslot is damaged".to_owned(), |prefix| format!("no keyslot {prefix:?} that could be read"));
        return Err(RepositoryError::Keyslot(what));
    }
    // Costs nothing to try and never collides with a password: 256 bits with a checksum.
    let recovery = passphrase.as_recovery_key();
    // A stranger who can write to the store may add keyslots of any kind and number. So a recovery key is tried on the slots of recovery
    // keys alone, which costs next to nothing each, and a password on those of passwords, the cheapest first: a forged one then never
    // delays more than a try of the real one takes. None is left out.
    slots.retain(|(_, slot)| match slot.kdf {
        Kdf::Recovery => recovery.is_some(),
        Kdf::Argon2id(_) => recovery.is_none() || wanted.is_some(),
    });
    slots.sort_by_key(|(id, slot)| (cost(&slot.kdf), *id));
    // Of two `init`s at once the loser may have died before it took its keyslots away; its password may be the same.
    let of_several = slots.iter().any(|(_, slot)| slot.repository_id != slots[0].1.repository_id);
    let (mut tried, mut foreign) = (0, None);
    for (id, slot) in &slots {
        let opened = match (&slot.kdf, &recovery) {
            (Kdf::Recovery, Some(recovery)) => slot.open_with_recovery(recovery),
            (Kdf::Recovery, None) => continue,
            (Kdf::Argon2id(_), _) => slot.open_with_passphrase(passphrase),
        };
        tried += 1;
        let keys = match opened {
            Ok(Opened { key: SlotKey::Owner(root), .. }) => Keys::owner(root, 1),
            Ok(Opened { key: SlotKey::Writer(writer), .. }) => Keys::writer(writer),
            Err(FormatError::WrongCommitment { .. }) => continue,
            Err(FormatError::Crypto(error)) => return Err(error.into()),
            // The right secret, and yet not what it should be: say so rather than "wrong password".
            Err(error) => {
                return Err(RepositoryError::Object { object: ObjectName::Keyslot(*id).name().to_string(), source: error });
            }
        };
        let keys = Arc::new(keys);
        if of_several && let Err(error @ RepositoryError::ForeignKey { .. }) = config_of(&*environment.store, &keys) {
            foreign = Some(error);
            continue;
        }
        if let Some(remembered) = &remembered {
            remembered.keep(*id);
        }
        return Ok((keys, *id));
    }
    Err(foreign.unwrap_or(RepositoryError::WrongSecret { slots: tried }))
}

/// An id in hexadecimal and a line's end.
const ID_TEXT_BYTES_MAX: u64 = 72;

/// Which keyslot opened last from this machine: tried first, it saves a listing, and the work of trying others. Nothing is believed
/// because of it: the keyslot itself decides.
struct Remembered {
    path: std::path::PathBuf,
}

impl Remembered {
    fn of(environment: &Environment) -> Option<Self> {
        let place = blake3::hash(environment.store.location().as_bytes()).to_hex();
        Some(Self { path: environment.states.as_ref()?.join(format!("{}.slot", &place[..32])) })
    }

    /// Opens with it; anything in the way means the usual way.
    fn open(&self, store: &dyn Store, passphrase: &Passphrase, wanted: Option<&str>) -> Option<(Arc<Keys>, ObjectHash)> {
        let text = String::from_utf8(private::read(&self.path, ID_TEXT_BYTES_MAX).ok()?).ok()?;
        let id = ObjectHash::from_hex(text.trim())?;
        if wanted.is_some_and(|prefix| !id.to_hex().starts_with(prefix)) {
            return None;
        }
        let slot = Keyslot::parse(&store.get(&ObjectName::Keyslot(id).name(), limits::KEYSLOT_SIZE as u64).ok()?).ok()?;
        let opened = match (&slot.kdf, passphrase.as_recovery_key()) {
            (Kdf::Recovery, recovery) => slot.open_with_recovery(&recovery?),
            (Kdf::Argon2id(_), _) => slot.open_with_passphrase(passphrase),
        };
        let keys = match opened.ok()?.key {
            SlotKey::Owner(root) => Keys::owner(root, 1),
            SlotKey::Writer(writer) => Keys::writer(writer),
        };
        (slot.hash() == id).then(|| (Arc::new(keys), id))
    }

    /// Failing costs only the short cut.
    fn keep(&self, id: ObjectHash) {
        let _ = private::replace(&self.path, id.to_hex().as_bytes());
    }
}

fn config_of(store: &dyn Store, keys: &Arc<Keys>) -> Result<(), RepositoryError> {
    newest_config(store, keys, &Opener::new(Arc::clone(keys))).map(|_| ())
}

fn cost(kdf: &Kdf) -> u64 {
    match kdf {
        Kdf::Recovery => 0,
        Kdf::Argon2id(cost) => u64::from(cost.memory_kib) * u64::from(cost.passes),
    }
}

/// Makes a keyslot for what `keys` hold.
pub(super) fn put(
    store: &dyn Store,
    rng: &dyn Rng,
    keys: &Keys,
    new: &NewSlot<'_>,
    now: Timestamp,
) -> Result<ObjectHash, RepositoryError> {
    let key = match (new.level, keys.root()) {
        (Level::Owner, Some(root)) => SlotKey::Owner(root.duplicate()),
        (Level::Owner, None) => return Err(RepositoryError::NeedsOwner("adding an owner's keyslot")),
        (Level::Writer, _) => SlotKey::Writer(keys.writer_key()),
    };
    let slot = Keyslot::wrap(&new.secret, &key, &new.label, now.seconds, rng)?;
    create_same(store, &ObjectName::Keyslot(slot.hash()).name(), &[slot.as_bytes()])?;
    Ok(slot.hash())
}

impl Repository {
    /// Every keyslot. Labels are sealed: only the slots' kind and level are shown.
    pub fn keyslots(&self) -> Result<Vec<KeyslotInfo>, RepositoryError> {
        let mut infos = Vec::new();
        for stored in load(&*self.objects.store)? {
            let current = self.opened_with == Some(stored.id);
            let info = match stored.slot {
                Ok(slot) if slot.repository_id != self.id() => KeyslotInfo {
                    id: stored.id,
                    kdf: slot.kdf,
                    level: slot.level,
                    current,
                    damaged: Some(format!("belongs to repository {}", slot.repository_id.short())),
                },
                Ok(slot) => KeyslotInfo { id: stored.id, kdf: slot.kdf, level: slot.level, current, damaged: None },
                Err(error) => KeyslotInfo {
                    id: stored.id,
                    kdf: Kdf::Recovery,
                    level: Level::Writer,
                    current,
                    damaged: Some(error.to_string()),
                },
            };
            infos.push(info);
        }
        infos.sort_by_key(|info| info.id);
        Ok(infos)
    }

    /// Adds a keyslot.
    pub fn add_keyslot(&self, new: &NewSlot<'_>) -> Result<ObjectHash, RepositoryError> {
        self.need_owner("adding a key")?;
        self.need_finished_rotation(new.level)?;
        put(&*self.objects.store, &*self.objects.rng, &self.objects.keys, new, self.objects.clock.now())
    }

    /// Removes a keyslot by a prefix of its id; never the last one that gives the owner's key.
    pub fn remove_keyslot(&self, prefix: &str) -> Result<ObjectHash, RepositoryError> {
        self.need_owner("removing a key")?;
        let slots = self.keyslots()?;
        let fitting: Vec<&KeyslotInfo> = slots.iter().filter(|slot| slot.id.to_hex().starts_with(prefix)).collect();
        let slot = match fitting.as_slice() {
            [slot] if !prefix.is_empty() => *slot,
            [] => return Err(RepositoryError::Keyslot(format!("there is no key {prefix:?}"))),
            several => return Err(RepositoryError::Keyslot(format!("{prefix:?} fits {} keys; type more of it", several.len()))),
        };
        let is_owner = |slot: &KeyslotInfo| slot.damaged.is_none() && slot.level == Level::Owner;
        if is_owner(slot) && slots.iter().filter(|slot| is_owner(slot)).count() == 1 {
            return Err(RepositoryError::Keyslot(format!(
                "{} is the last owner key: without it nothing could ever be restored; add another one first",
                slot.id.short()
            )));
        }
        self.objects.store.delete(&ObjectName::Keyslot(slot.id).name())?;
        Ok(slot.id)
    }

    /// Replaces the keyslot this run was opened with by one for a new password.
    pub fn change_password(&self, passphrase: &Passphrase, cost: Argon2Cost) -> Result<ObjectHash, RepositoryError> {
        let Some(old) = self.opened_with else {
            return Err(RepositoryError::Keyslot("opened with a key file: there is no password to change; use `key add`".into()));
        };
        let new = match self.objects.keys.is_owner() {
            true => NewSlot::password("password", passphrase, cost),
            false => NewSlot::writer_password("password", passphrase, cost),
        };
        let id = put(&*self.objects.store, &*self.objects.rng, &self.objects.keys, &new, self.objects.clock.now())?;
        if self.keyslots()?.iter().any(|slot| slot.id == old && matches!(slot.kdf, Kdf::Argon2id(_))) {
            self.objects.store.delete(&ObjectName::Keyslot(old).name())?;
        }
        Ok(id)
    }

    /// Until a config is sealed in the new generation a writer key of it opens nothing.
    fn need_finished_rotation(&self, level: Level) -> Result<(), RepositoryError> {
        match level == Level::Writer && self.is_rotation_unfinished {
            true => Err(RepositoryError::Keyslot("a `key rotate` was cut off: run it again, it finishes".to_owned())),
            false => Ok(()),
        }
    }

    /// The line of a key file: the owner's, or one for a host that only writes.
    pub fn export_key(&self, level: Level) -> Result<zeroize::Zeroizing<String>, RepositoryError> {
        self.need_finished_rotation(level)?;
        match (level, self.objects.keys.root()) {
            (Level::Owner, Some(root)) => Ok(root.to_line(self.objects.keys.generation())),
            (Level::Owner, None) => Err(RepositoryError::NeedsOwner("exporting the owner key")),
            (Level::Writer, _) => Ok(self.objects.keys.writer_key().to_line()),
        }
    }
}
