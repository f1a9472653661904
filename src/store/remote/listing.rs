//! Whole listings, in spite of requests that fail in the middle.

use std::collections::VecDeque;

use futures_util::{StreamExt, stream};
use opendal::ErrorKind;
use opendal::options::ListOptions;

use super::answer::Trouble;
use super::{Entry, Remote, StoreError, StoreErrorKind, entry};
use crate::store::TOP_MAX;

/// Folders that are listed at the same time.
const AT_ONCE: usize = 16;

/// A service that lists by prefix, in the order of names: after a failure it goes on behind the last name that came, so
/// nothing is shown twice and nothing is kept in memory. One that cannot begin behind a name (Azure), or begins with it
/// (B2), is read over.
pub(super) fn in_order(remote: &Remote, folder: &str, each: &mut dyn FnMut(Entry)) -> Result<(), StoreError> {
    let mut last: Option<String> = None;
    let starts_after = remote.operator.info().capability().list_with_start_after;
    remote.ask("list", about(folder), async |_| {
        let shown = last.clone();
        let start_after = shown.clone().filter(|_| starts_after);
        let options = ListOptions { recursive: true, start_after, ..ListOptions::default() };
        let mut lister =
            remote.operator.lister_options(&path(folder), options).await.map_err(|error| remote.trouble(None, &error))?;
        while let Some(found) = lister.next().await {
            let found = found.map_err(|error| remote.trouble(None, &error))?;
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
            for found in &found {
                found_any = true;
                let below = found.path().trim_start_matches('/');
                if found.metadata().mode().is_dir() && below != asked && !below.is_empty() && below != "tmp/" {
                    waiting.push_back(below.to_owned());
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

fn path(folder: &str) -> String {
    if folder.is_empty() { "/".to_owned() } else { format!("{folder}/") }
}

fn about(folder: &str) -> &str {
    if folder.is_empty() { "everything" } else { folder }
}
