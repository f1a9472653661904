//! Keyslots: who may open the repository, and with what.

use std::path::Path;
use std::sync::Arc;

use crate::clock::{Rng, Timestamp};
use crate::crypto::{Argon2Cost, Keys, Passphrase, RecoveryKey, RootKey};
use crate::format::keyslot::{Kdf, Keyslot, Level, Opened, SlotKey, SlotSecret};
use crate::format::names::ObjectName;
use crate::format::{FormatError, Opener, limits, names};
use crate::id::{ObjectHash, RepositoryId};
use crate::objects::{self, ObjectError, create_same};
use crate::private;
use crate::records::configs::newest_config;
use crate::records::{RecordError, Records};
use crate::store::{Name, Store, StoreError, StoreErrorKind};

/// A keyslot to be made.
pub struct NewSlot<'a> {
    secret: SlotSecret<'a>,
    label: String,
    level: Level,
}

impl<'a> NewSlot<'a> {
    /// A keyslot that opens with a password and gives the owner's key.
    pub fn password(label: &str, passphrase: &'a Passphrase, cost: Argon2Cost) -> Self {
        Self { secret: SlotSecret::Passphrase(passphrase, cost), label: label.to_owned(), level: Level::Owner }
    }
    /// A keyslot that opens with a password and gives a writer key, for a host that only takes snapshots.
    pub fn writer_password(label: &str, passphrase: &'a Passphrase, cost: Argon2Cost) -> Self {
        Self { level: Level::Writer, ..Self::password(label, passphrase, cost) }
    }
    /// Which key it gives.
    pub fn level(&self) -> Level {
        self.level
    }
    /// A keyslot that opens with a recovery key and gives the owner's key.
    pub fn recovery(label: &str, recovery: &'a RecoveryKey) -> Self {
        Self { secret: SlotSecret::Recovery(recovery), label: label.to_owned(), level: Level::Owner }
    }
}

/// What is known of a keyslot without opening it.
#[derive(Clone, Debug)]
pub struct KeyslotInfo {
    /// BLAKE3 of the object: its name.
    pub id: ObjectHash,
    /// How it is opened.
    pub kdf: Kdf,
    /// Which key it gives.
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
fn load(store: &dyn Store) -> Result<Vec<StoredSlot>, RecordError> {
    let mut listed: Vec<(Name, ObjectHash)> = Vec::new();
    let each = &mut |entry: crate::store::Entry| {
        if let Some(ObjectName::Keyslot(id)) = ObjectName::parse(&entry.name) {
            listed.push((entry.name, id));
        }
    };
    match store.list(names::KEYS, each) {
        Ok(()) => {}
        Err(error) => return Err(RecordError::of_listing(error)),
    }
    let mut slots = Vec::with_capacity(listed.len());
    for (name, id) in listed {
        // All have one size. Anything else is refused before it is read.
        let slot = match objects::get(store, &name, limits::KEYSLOT_SIZE as u64) {
            Ok(Some(bytes)) => Keyslot::parse(&bytes),
            Ok(None) => continue,
            Err(ObjectError::Object { source, .. }) => Err(source),
            Err(error) => return Err(error.into()),
        };
        slots.push(StoredSlot { id, slot });
    }
    Ok(slots)
}

/// Which repository a store holds, as its keyslots say. This needs no key and proves nothing. `None`: no keyslot can be
/// read.
///
/// # Errors
/// The store's.
pub fn repository_at(store: &dyn Store) -> Result<Option<RepositoryId>, RecordError> {
    match load(store) {
        Ok(slots) => Ok(slots.into_iter().find_map(|stored| Some(stored.slot.ok()?.repository_id))),
        Err(RecordError::NoRepository(_)) => Ok(None),
        Err(RecordError::Object(ObjectError::Store(StoreError { kind: StoreErrorKind::NoStore { .. }, .. }))) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The root in one of these keyslots that opens with this password, if there is one.
///
/// # Errors
/// The store's.
pub(crate) fn owner_root(store: &dyn Store, ids: &[ObjectHash], passphrase: &Passphrase) -> Result<Option<RootKey>, RecordError> {
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

/// Is there a keyslot of another repository than `id`, or one that cannot be read? This needs no key.
///
/// # Errors
/// The store's.
pub(crate) fn are_of_several(store: &dyn Store, id: &RepositoryId) -> Result<bool, RecordError> {
    Ok(load(store)?.iter().any(|stored| stored.slot.as_ref().ok().is_none_or(|slot| slot.repository_id != *id)))
}

/// Deletes keyslots that no run needs. A failure is no error: those that stay do no harm.
pub fn delete(store: &dyn Store, ids: &[ObjectHash]) {
    for id in ids {
        let _ = store.delete(&ObjectName::Keyslot(*id).name());
    }
}

/// Opens a keyslot with this password or recovery key. Tries those of the right kind in turn, cheapest first; `wanted`
/// is a prefix of the id of the only ones to be tried. `states` is this machine's folder of host states.
///
/// # Errors
/// [`RecordError::NoRepository`], [`RecordError::Keyslot`], [`RecordError::WrongSecret`], [`RecordError::ForeignKey`];
/// the store's.
pub fn unlock(
    store: &dyn Store,
    states: Option<&Path>,
    passphrase: &Passphrase,
    wanted: Option<&str>,
) -> Result<(Arc<Keys>, ObjectHash), RecordError> {
    let remembered = states.map(|folder| Remembered::of(store, folder));
    if let Some(found) = remembered.as_ref().and_then(|slot| slot.open(store, passphrase, wanted)) {
        return Ok(found);
    }
    let slots = load(store)?;
    if slots.is_empty() {
        return Err(RecordError::NoRepository(store.location()));
    }
    let mut slots: Vec<(ObjectHash, Keyslot)> = slots
        .into_iter()
        .filter(|stored| wanted.is_none_or(|prefix| stored.id.to_hex().starts_with(prefix)))
        .filter_map(|stored| Some((stored.id, stored.slot.ok()?)))
        .collect();
    if slots.is_empty() {
        let what =
            wanted.map_or("every keyslot is damaged".to_owned(), |prefix| format!("no keyslot {prefix:?} that could be read"));
        return Err(RecordError::Keyslot(what));
    }
    // Costs nothing to try and never collides with a password: 256 bits with a checksum.
    let recovery = passphrase.as_recovery_key();
    // A stranger who can write to the store may add any number of keyslots of any kind. So a recovery key is tried only
    // on keyslots for recovery keys, which costs next to nothing each. A password is tried on those for passwords, the
    // cheapest first: then a forged one delays no longer than a try of the real one takes. None is left out.
    slots.retain(|(_, slot)| match slot.kdf {
        Kdf::Recovery => recovery.is_some(),
        Kdf::Argon2id(_) => recovery.is_none() || wanted.is_some(),
    });
    slots.sort_by_key(|(id, slot)| (cost(&slot.kdf), *id));
    // Of two `init`s at the same time, the loser may have died before it deleted its keyslots. Its password may be the
    // same.
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
            // The secret is right, but the keyslot is damaged: the message must not be "wrong password".
            Err(error) => {
                return Err(ObjectError::object(ObjectName::Keyslot(*id).name())(error).into());
            }
        };
        let keys = Arc::new(keys);
        if of_several && let Err(error @ RecordError::ForeignKey { .. }) = config_of(store, &keys) {
            foreign = Some(error);
            continue;
        }
        if let Some(remembered) = &remembered {
            remembered.keep(*id);
        }
        return Ok((keys, *id));
    }
    Err(foreign.unwrap_or(RecordError::WrongSecret { slots: tried }))
}

/// An id in hexadecimal and a line's end.
const ID_TEXT_BYTES_MAX: u64 = 72;

/// Which keyslot this machine opened last. It is tried first, which saves a listing and tries of other keyslots.
/// Nothing relies on it: the keyslot itself decides.
struct Remembered {
    path: std::path::PathBuf,
}

impl Remembered {
    fn of(store: &dyn Store, states: &Path) -> Self {
        let place = blake3::hash(store.location().as_bytes()).to_hex();
        Self { path: states.join(format!("{}.slot", &place[..32])) }
    }

    /// Opens the keyslot; `None` when anything is in the way.
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

    /// A failure costs only the short cut.
    fn keep(&self, id: ObjectHash) {
        let _ = private::replace(&self.path, id.to_hex().as_bytes());
    }
}

fn config_of(store: &dyn Store, keys: &Arc<Keys>) -> Result<(), RecordError> {
    newest_config(store, keys, &Opener::new(Arc::clone(keys))).map(|_| ())
}

fn cost(kdf: &Kdf) -> u64 {
    match kdf {
        Kdf::Recovery => 0,
        Kdf::Argon2id(cost) => u64::from(cost.memory_kib) * u64::from(cost.passes),
    }
}

/// Makes a keyslot for these keys.
///
/// # Errors
/// [`RecordError::NeedsOwner`] for an owner's keyslot without the owner's key; the store's.
pub fn put(store: &dyn Store, rng: &dyn Rng, keys: &Keys, new: &NewSlot<'_>, now: Timestamp) -> Result<ObjectHash, RecordError> {
    let key = match (new.level, keys.root()) {
        (Level::Owner, Some(root)) => SlotKey::Owner(root.duplicate()),
        (Level::Owner, None) => return Err(RecordError::NeedsOwner("adding an owner's keyslot")),
        (Level::Writer, _) => SlotKey::Writer(keys.writer_key()),
    };
    let slot = Keyslot::wrap(&new.secret, &key, &new.label, now.seconds, rng)?;
    create_same(store, &ObjectName::Keyslot(slot.hash()).name(), &[slot.as_bytes()])?;
    Ok(slot.hash())
}

impl Records<'_> {
    /// Every keyslot. Labels are sealed: only kind and level are known. `opened_with`: the keyslot that opened this
    /// run.
    ///
    /// # Errors
    /// The store's.
    pub fn keyslots(&self, opened_with: Option<ObjectHash>) -> Result<Vec<KeyslotInfo>, RecordError> {
        let mut infos = Vec::new();
        for stored in load(&*self.objects.store)? {
            let current = opened_with == Some(stored.id);
            let info = match stored.slot {
                Ok(slot) => {
                    let is_foreign = slot.repository_id != self.objects.keys.repository_id();
                    let damaged = is_foreign.then(|| format!("belongs to repository {}", slot.repository_id.short()));
                    KeyslotInfo { id: stored.id, kdf: slot.kdf, level: slot.level, current, damaged }
                }
                Err(error) => {
                    let damaged = Some(error.to_string());
                    KeyslotInfo { id: stored.id, kdf: Kdf::Recovery, level: Level::Writer, current, damaged }
                }
            };
            infos.push(info);
        }
        infos.sort_by_key(|info| info.id);
        Ok(infos)
    }

    /// Adds a keyslot for the keys of this run.
    ///
    /// # Errors
    /// [`RecordError::NeedsOwner`] for an owner's keyslot without the owner's key; the store's.
    pub fn add_keyslot(&self, new: &NewSlot<'_>) -> Result<ObjectHash, RecordError> {
        put(&*self.objects.store, &*self.objects.rng, &self.objects.keys, new, self.objects.clock.now())
    }

    /// Removes a keyslot by a prefix of its id, but never the last one that gives the owner's key. Owners only.
    ///
    /// # Errors
    /// [`RecordError::Keyslot`] when there is no such keyslot, several, or it is the last one; the store's.
    pub fn remove_keyslot(&self, prefix: &str) -> Result<ObjectHash, RecordError> {
        self.need_owner("removing a key")?;
        let slots = self.keyslots(None)?;
        let fitting: Vec<&KeyslotInfo> = slots.iter().filter(|slot| slot.id.to_hex().starts_with(prefix)).collect();
        let slot = match fitting.as_slice() {
            [slot] if !prefix.is_empty() => *slot,
            [] => return Err(RecordError::Keyslot(format!("there is no key {prefix:?}"))),
            several => return Err(RecordError::Keyslot(format!("{prefix:?} fits {} keys; type more of it", several.len()))),
        };
        let is_owner = |slot: &KeyslotInfo| slot.damaged.is_none() && slot.level == Level::Owner;
        if is_owner(slot) && slots.iter().filter(|slot| is_owner(slot)).count() == 1 {
            return Err(RecordError::Keyslot(format!(
                "{} is the last owner key: without it nothing could ever be restored; add another one first",
                slot.id.short()
            )));
        }
        self.delete_keyslot(slot.id)?;
        Ok(slot.id)
    }

    /// Deletes a keyslot.
    ///
    /// # Errors
    /// The store's.
    pub(crate) fn delete_keyslot(&self, id: ObjectHash) -> Result<(), RecordError> {
        Ok(self.objects.store.delete(&ObjectName::Keyslot(id).name())?)
    }

    /// Replaces the keyslot `old` by one for a new password.
    ///
    /// # Errors
    /// The store's; keys could not be made.
    pub fn change_password(&self, old: ObjectHash, passphrase: &Passphrase, cost: Argon2Cost) -> Result<ObjectHash, RecordError> {
        let new = match self.objects.keys.is_owner() {
            true => NewSlot::password("password", passphrase, cost),
            false => NewSlot::writer_password("password", passphrase, cost),
        };
        let id = self.add_keyslot(&new)?;
        if self.keyslots(None)?.iter().any(|slot| slot.id == old && matches!(slot.kdf, Kdf::Argon2id(_))) {
            self.delete_keyslot(old)?;
        }
        Ok(id)
    }
}
