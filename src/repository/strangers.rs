//! What else a place may be used for: a repository of another program, or other people's files.
//!
//! Told by the names at the top of the place and nothing else: no key is needed, and one short listing answers it.

use crate::format::names;
use crate::repository::RepositoryError;
use crate::store::{Store, StoreError, StoreErrorKind, TOP_MAX};

/// Names that a message gives before it only counts.
const NAMES_SHOWN_MAX: usize = 3;

/// What file systems, servers and desktops put at the top of a disk by themselves.
const FURNITURE: [&str; 13] = [
    "lost+found/",
    ".DS_Store",
    ".Spotlight-V100/",
    ".TemporaryItems/",
    ".Trashes/",
    ".fseventsd/",
    ".snapshot/",
    ".snapshots/",
    ".zfs/",
    "$RECYCLE.BIN/",
    "System Volume Information/",
    "@eaDir/",
    "#recycle/",
];

/// The program whose repository stands at this place, if it is one that is known.
pub fn program_at(store: &dyn Store) -> Result<Option<&'static str>, StoreError> {
    Ok(program_of(&store.top()?))
}

/// Refuses a place for a new repository that another program's repository or other things occupy. What an `init` of ours left there,
/// and what a file system has at its top, is no obstacle.
pub fn check_is_free(store: &dyn Store) -> Result<(), RepositoryError> {
    let top = store.top()?;
    if let Some(program) = program_of(&top) {
        return Err(RepositoryError::PlaceTaken { place: store.location(), holds: format!("a {program} repository") });
    }
    let others: Vec<&String> = top.iter().filter(|name| !is_ours(name) && !is_furniture(name)).collect();
    match others.is_empty() {
        true => Ok(()),
        false => Err(RepositoryError::PlaceTaken { place: store.location(), holds: listed(&others, top.len() >= TOP_MAX) }),
    }
}

/// An opening that failed because the place belongs to another program says so, in place of what was odd about its files.
pub(super) fn explain(store: &dyn Store, error: RepositoryError) -> RepositoryError {
    use RepositoryError as E;
    match error {
        E::NoRepository(_)
        | E::Keyslot(_)
        | E::ForeignKey { .. }
        | E::Object { .. }
        | E::Store(StoreError { kind: StoreErrorKind::Failed, .. }) => {
            match program_at(store) {
                Ok(Some(program)) => E::OtherProgram { place: store.location(), program },
                // What was found first says more than that a second look failed.
                Ok(None) | Err(_) => error,
            }
        }
        error => error,
    }
}

/// By what each program writes when it makes a repository; an object store shows no empty folders, so few of them are asked for.
fn program_of(top: &[String]) -> Option<&'static str> {
    let has = |name: &str| top.iter().any(|found| found == name);
    let begins = |prefix: &str| top.iter().any(|found| found.starts_with(prefix));
    if has("config") && has("keys/") {
        // rustic writes the same format and makes no locks.
        return Some(if has("locks/") { "restic" } else { "rustic or restic" });
    }
    if has("config") && has("chunks/") {
        return Some("Duplicacy");
    }
    if has("config") && has("data/") {
        return Some(if has("README") { "borg" } else { "borg or restic" });
    }
    if has("config/") && (has("archives/") || has("manifest/")) && (has("data/") || has("packs/") || has("keys/")) {
        return Some("borg 2");
    }
    let marks: [(&str, bool); 7] = [
        ("kopia", begins("kopia.repository") || has("kopia.blobcfg.f") || has("_log_kopia")),
        ("bupstash", has("repo.lock") && (has("data/") || has("items/") || has("meta/"))),
        ("duplicity", begins("duplicity-full") || begins("duplicity-inc") || begins("duplicity-new")),
        // The prefix of its names can be chosen; the words behind it cannot.
        ("Duplicati", begins("duplicati-") || top.iter().any(|name| name.contains(".dlist.zip") || name.contains(".dblock.zip"))),
        ("Proxmox Backup Server", has(".chunks/")),
        ("rdiff-backup", has("rdiff-backup-data/")),
        ("conserve", has("CONSERVE")),
    ];
    marks.into_iter().find(|(_, found)| *found).map(|(program, _)| program)
}

/// Folders and files that a repository of ours has, whole or half made.
fn is_ours(name: &str) -> bool {
    name == "ballast" || name.strip_suffix('/').is_some_and(|folder| names::FOLDERS.contains(&folder))
}

fn is_furniture(name: &str) -> bool {
    FURNITURE.contains(&name) || name.starts_with(".Trash-")
}

fn listed(names: &[&String], more: bool) -> String {
    let shown: Vec<&str> = names.iter().take(NAMES_SHOWN_MAX).map(|name| name.as_str()).collect();
    let rest = names.len() - shown.len();
    match (rest, more) {
        (0, _) => shown.join(", "),
        (rest, false) => format!("{} and {rest} more", shown.join(", ")),
        (rest, true) => format!("{} and at least {rest} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(top: &[&str]) -> Option<&'static str> {
        program_of(&top.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn repositories_of_other_programs_are_known_by_their_files() {
        assert_eq!(program(&["config", "data/", "index/", "keys/", "locks/", "snapshots/"]), Some("restic"));
        assert_eq!(program(&["config", "data/", "index/", "keys/", "snapshots/"]), Some("rustic or restic"));
        assert_eq!(program(&["README", "config", "data/", "hints.1", "index.1", "integrity.1", "nonce"]), Some("borg"));
        assert_eq!(program(&["archives/", "cache/", "config/", "data/", "keys/", "locks/"]), Some("borg 2"));
        assert_eq!(program(&["kopia.blobcfg.f", "kopia.repository.f", "p/", "q/"]), Some("kopia"));
        assert_eq!(program(&["kopia.repository", "kopia.blobcfg"]), Some("kopia"));
        assert_eq!(program(&["data/", "items/", "meta/", "repo.lock", "tx.lock"]), Some("bupstash"));
        assert_eq!(program(&["duplicity-full.20260101T000000Z.manifest.gpg"]), Some("duplicity"));
        assert_eq!(program(&["chunks/", "config", "snapshots/"]), Some("Duplicacy"));
        assert_eq!(program(&["nightly-20161014090000.dlist.zip.aes", "nightly-b7fb.dblock.zip.aes"]), Some("Duplicati"));
        assert_eq!(program(&[".chunks/", ".lock", "ct/", "host/", "vm/"]), Some("Proxmox Backup Server"));
        assert_eq!(program(&["etc/", "rdiff-backup-data/"]), Some("rdiff-backup"));
        assert_eq!(program(&["CONSERVE", "b0000/", "d/"]), Some("conserve"));
    }

    #[test]
    fn our_own_and_other_things_are_nobodys_repository() {
        let ours: Vec<String> = names::FOLDERS.iter().map(|folder| format!("{folder}/")).chain(["ballast".to_owned()]).collect();
        assert_eq!(program_of(&ours), None);
        assert!(ours.iter().all(|name| is_ours(name)));
        assert_eq!(program(&["media/", "compose.yml", "config"]), None);
    }

    #[test]
    fn a_message_names_a_few_and_counts_the_rest() {
        let names: Vec<String> = ["a", "b", "c", "d", "e"].map(str::to_owned).to_vec();
        let names: Vec<&String> = names.iter().collect();
        assert_eq!(listed(&names[..2], false), "a, b");
        assert_eq!(listed(&names, false), "a, b, c and 2 more");
        assert_eq!(listed(&names, true), "a, b, c and at least 2 more");
    }
}
