//! What a pack says of itself: its own directory, read from the pack.

use super::{CatalogError, Objects};
use crate::format::pack::{self, PackFacts};
use crate::format::{FormatError, limits, names};
use crate::id::PackId;
use crate::repository::is_damage;
use crate::store::get_widened;

/// Read of a pack before it is known how long its directory is: no pack is smaller.
const FRONT_SIZE_BYTES: u64 = limits::PACK_SIZE_MIN;

/// A pack's own directory, whatever size its head claims. `size` is the listed one.
///
/// # Errors
/// An object error when the head or the directory does not open; the store's.
pub fn read_directory(objects: &Objects, id: &PackId, size: u64) -> Result<PackFacts, CatalogError> {
    read(objects, id, size, false)
}

/// As [`read_directory`], for a pack that must have the size its head claims.
///
/// # Errors
/// Those of [`read_directory`], and an object error when the sizes differ.
pub fn own_facts(objects: &Objects, id: &PackId, size: u64) -> Result<PackFacts, CatalogError> {
    read(objects, id, size, true)
}

/// One read when the directory is short, else two.
fn read(objects: &Objects, id: &PackId, size: u64, must_fit: bool) -> Result<PackFacts, CatalogError> {
    let name = names::pack_name(*id);
    let store = &**objects.store();
    let mut front = get_widened(store, &name, size, 0, FRONT_SIZE_BYTES.min(size) as usize)?;
    let head = pack::read_head(objects.opener(), &front).map_err(CatalogError::object(&name))?;
    if must_fit && head.size() != size {
        let source = FormatError::TooShort { what: "pack", length: size, least: head.size() };
        return Err(CatalogError::object(&name)(source));
    }
    let (start, length) = head.directory_range();
    let directory = match front.get_mut(start as usize..start as usize + length as usize) {
        Some(sealed) => pack::read_directory(objects.opener(), &head, sealed),
        None => {
            let mut sealed = get_widened(store, &name, size, start, length as usize)?;
            pack::read_directory(objects.opener(), &head, &mut sealed)
        }
    };
    Ok(head.facts(*id, directory.map_err(CatalogError::object(&name))?))
}

/// What a pack says of itself, through parity when its directory is damaged: then the damage comes with the facts. `read` is
/// [`read_directory`] or [`own_facts`].
///
/// # Errors
/// Those of `read`, when parity does not help or nothing is damaged.
pub fn own_facts_mended(
    objects: &Objects,
    id: &PackId,
    size: u64,
    read: impl FnOnce(&Objects, &PackId, u64) -> Result<PackFacts, CatalogError>,
) -> Result<(PackFacts, Option<CatalogError>), CatalogError> {
    let damage = match read(objects, id, size) {
        Err(error) if is_damage(objects, &error) => error,
        facts => return Ok((facts?, None)),
    };
    let mended = match objects.mend_pack(id) {
        // The parity of this pack is damaged too.
        Err(error) if is_damage(objects, &error) => None,
        mended => mended?,
    };
    match mended.and_then(|bytes| pack::read_facts(objects.opener(), *id, &bytes).ok()) {
        Some(facts) => Ok((facts, Some(damage))),
        None => Err(damage),
    }
}
