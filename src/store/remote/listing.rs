//! Whole listings, in spite of requests that fail in the middle.

use std::collections::VecDeque;

use futures_util::{StreamExt, stream};
use opendal::ErrorKind;
use opendal::options::ListOptions;

use super::answer::Trouble;
use super::{Entry, Remote, StoreError, StoreErrorKind, entry};
use crate::store::bounds::Bounds;
use crate::store::{Name, TOP_MAX};

/// Folders that are listed at the same time.
const AT_ONCE: usize = 16;

/// A service that lists by prefix, in the order of names: after a failure it goes on behind the last name that came, so
/// nothing is shown twice and nothing is kept in memory. One that cannot begin behind a name (Azure), or begins with it
/// (B2), is read over.
pub(super) fn in_order(remote: &Remote, folder: &str, each: &mut dyn FnMut(Entry)) -> Result<(), StoreError> {
    let mut last: Option<String> = None;
    let mut bounds = Bounds::new(&remote.place);
    let starts_after = remote.operator.info().capability().list_with_start_after;
    remote.ask("list", about(folder), async |_| {
        let shown = last.clone();
        let start_after = shown.clone().filter(|_| starts_after);
        let options = ListOptions { recursive: true, start_after, ..ListOptions::default() };
        let mut lister =
            remote.operator.lister_options(&path(folder), options).await.map_err(|error| remote.trouble(None, &error))?;
        while let Some(found) = lister.next().await {
            let found = found.map_err(|error| remote.trouble(None, &error))?;
            bounds.answer(1).map_err(Trouble::Final)?;
            if last == shown && shown.as_deref().is_some_and(|shown| found.path() <= shown) {
                continue;
            }
            // Names that do not grow would be shown twice after a failure; better no listing than a wrong one.
            if last.as_deref().is_some_and(|last| found.path() <= last) {
                return Err(Trouble::Final(StoreError::failed(format!(
                    "{}: the store does not list names in their order",
                    remote.place
                ))));
            }
            if let Some(entry) = entry(folder, &found) {
                each(entry);
            }
            last = Some(found.path().to_owned());
        }
        Ok(())
    })
}

/// A service with folders: each is asked for by itself, many at the same time. What one folder holds is shown when it
/// came whole.
pub(super) fn by_folders(remote: &Remote, folder: &str, each: &mut dyn FnMut(Entry)) -> Result<(), StoreError> {
    let mut waiting = VecDeque::from([path(folder)]);
    let mut found_any = false;
    let mut bounds = Bounds::new(&remote.place);
    while !waiting.is_empty() {
        let batch: Vec<String> = waiting.drain(..waiting.len().min(AT_ONCE)).collect();
        let listings = remote.ask("list", about(folder), async |_| {
            let listings: Vec<_> = stream::iter(&batch)
                .map(|folder| async move {
                    let found = remote.operator.list_options(folder, ListOptions::default()).await;
                    (folder, found)
                })
                .buffered(AT_ONCE)
                .collect()
                .await;
            let mut whole = Vec::with_capacity(listings.len());
            for (asked, found) in listings {
                match found {
                    Ok(found) => whole.push((asked.clone(), found)),
                    Err(error) if error.kind() == ErrorKind::NotFound => {}
                    Err(error) => return Err(remote.trouble(None, &error)),
                }
            }
            Ok(whole)
        })?;
        for (asked, found) in listings {
            bounds.answer(found.len())?;
            for found in &found {
                found_any = true;
                let below = found.path().trim_start_matches('/');
                if found.metadata().mode().is_dir() {
                    if is_directly_in(&asked, below) && below != "tmp/" {
                        bounds.folder()?;
                        waiting.push_back(below.to_owned());
                    }
                } else if let Some(entry) = entry(folder, found) {
                    each(entry);
                }
            }
        }
    }
    if !found_any {
        // Nothing there: is the folder absent, or the whole store?
        remote.ask("look at", "the folder", async |_| match remote.operator.stat("/").await {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(Trouble::Final(remote.no_store())),
            Err(error) => Err(remote.trouble(None, &error)),
        })?;
    }
    Ok(())
}

/// What stands directly below the prefix, with one request where the service groups names by folder.
pub(super) fn top(remote: &Remote) -> Result<Vec<String>, StoreError> {
    let listed = remote.ask("list", "the top of the store", async |_| {
        let options = ListOptions { limit: Some(TOP_MAX), ..ListOptions::default() };
        let mut lister = match remote.operator.lister_options("/", options).await {
            Ok(lister) => lister,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(remote.trouble(None, &error)),
        };
        let mut names = Vec::new();
        while names.len() < TOP_MAX {
            match lister.next().await {
                Some(Ok(found)) => names.push(found.path().trim_start_matches('/').to_owned()),
                Some(Err(error)) if error.kind() == ErrorKind::NotFound => break,
                Some(Err(error)) => return Err(remote.trouble(None, &error)),
                None => break,
            }
        }
        names.retain(|name| !name.is_empty());
        Ok(names)
    });
    match listed {
        Err(StoreError { kind: StoreErrorKind::NoStore { .. }, .. }) => Ok(Vec::new()),
        listed => listed,
    }
}

/// Is this a folder directly in the one that was asked for, in which objects may stand? A server may list any other, and itself.
fn is_directly_in(asked: &str, folder: &str) -> bool {
    let inside = folder.strip_prefix(asked.trim_start_matches('/')).and_then(|rest| rest.strip_suffix('/'));
    inside.is_some_and(|last| !last.is_empty() && !last.contains('/')) && Name::new(folder.trim_end_matches('/')).is_some()
}

fn path(folder: &str) -> String {
    if folder.is_empty() { "/".to_owned() } else { format!("{folder}/") }
}

fn about(folder: &str) -> &str {
    if folder.is_empty() { "everything" } else { folder }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_goes_into_the_folders_of_the_folder_that_was_asked_for_and_no_others() {
        for (asked, folder) in [("/", "packs/"), ("packs/", "packs/0f/"), ("a/b/", "a/b/c/")] {
            assert!(is_directly_in(asked, folder), "{asked} {folder}");
        }
        for (asked, folder) in [
            ("/", ""),
            ("packs/", "packs/"),
            ("packs/", "index/"),
            ("packs/", "packs/0f/ab/"),
            ("packs/", "packs/A B/"),
            ("packs/0f/", "packs/"),
        ] {
            assert!(!is_directly_in(asked, folder), "{asked} {folder}");
        }
        let deep = "a/".repeat(16);
        assert!(!is_directly_in(&deep, &format!("{deep}a/")));
    }
}
