//! Objects with which hosts tried the store and which they could not delete.

use super::{RecordError, Records};
use crate::format::names;
use crate::store::Name;

impl Records<'_> {
    /// Lists `probe/`.
    ///
    /// # Errors
    /// The store's.
    pub(crate) fn list_probes(&self) -> Result<Vec<Name>, RecordError> {
        let mut listed = Vec::new();
        self.objects.store.list(names::PROBE, &mut |entry| listed.push(entry.name))?;
        Ok(listed)
    }

    /// Deletes an object that [`Records::list_probes`] listed.
    ///
    /// # Errors
    /// The store's; [`RecordError::Object`] for the name of any other object.
    pub(crate) fn delete_probe(&self, name: &Name) -> Result<(), RecordError> {
        match name.as_str().split_once('/') {
            Some((names::PROBE, _)) => Ok(self.objects.store.delete(name)?),
            _ => Err(RecordError::inconclusive(format!("{name} is not deleted: it is no probe"))),
        }
    }
}
