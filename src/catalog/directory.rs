//! What a pack says of itself: its own directory, read from the pack.

use super::CatalogError;
use crate::format::pack::{self, PackFacts};
use crate::format::{FormatError, limits, names};
use crate::id::PackId;
use crate::objects::Objects;
use crate::store::get_widened;

/// Read of a pack before it is known how long its directory is: no pack is smaller.
const FRONT_SIZE_BYTES: u64 = limits::PACK_SIZE_MIN;

/// A pack's own directory. `size` is the listed one; the pack must have the size that its head claims.
///
/// # Errors
/// An object error when the sizes differ, or the head or the directory does not open; the store's.
pub fn own_facts(objects: &Objects, id: &PackId, size: u64) -> Result<PackFacts, CatalogError> {
    read(objects, id, size, true)
}

/// One read when the directory is short, else two.
fn read(objects: &Objects, id: &PackId, size: u64, must_fit: bool) -> Result<PackFacts, CatalogError> {
    let name = names::pack_name(*id);
    let store = &*objects.store;
    let mut front = get_widened(store, &name, size, 0, FRONT_SIZE_BYTES.min(size) as usize)?;
    let head = pack::read_head(&objects.opener, &front).map_err(CatalogError::object(&name))?;
    if must_fit && head.size() != size {
        let source = FormatError::TooShort { what: "pack", length: size, least: head.size() };
        return Err(CatalogError::object(&name)(source));
    }
    let (start, length) = head.directory_range();
    let directory = match front.get_mut(start as usize..start as usize + length as usize) {
        Some(sealed) => pack::read_directory(&objects.opener, &head, sealed),
        None => {
            let mut sealed = get_widened(store, &name, size, start, length as usize)?;
            pack::read_directory(&objects.opener, &head, &mut sealed)
        }
    };
    Ok(head.facts(*id, directory.map_err(CatalogError::object(&name))?))
}

/// What a pack says of itself, through parity when its directory is damaged: then the damage comes with the facts. With `must_fit`
/// a pack of another size than its head claims is damaged.
///
/// # Errors
/// Those of [`own_facts`], when parity does not help or nothing is damaged.
pub(crate) fn own_facts_mended(
    objects: &Objects,
    id: &PackId,
    size: u64,
    must_fit: bool,
) -> Result<(PackFacts, Option<CatalogError>), CatalogError> {
    let damage = match read(objects, id, size, must_fit) {
        Err(error) if error.is_damage(objects) => error,
        facts => return Ok((facts?, None)),
    };
    let mended = match objects.mend_pack(id) {
        // The parity of this pack is damaged too.
        Err(error) if objects.is_damage(&error) => None,
        mended => mended?,
    };
    match mended.and_then(|bytes| pack::read_facts(&objects.opener, *id, &bytes).ok()) {
        Some(facts) => Ok((facts, Some(damage))),
        None => Err(damage),
    }
}
