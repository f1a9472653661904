//! `format-spec/restore.py`, written from the pages alone, restores what the program writes.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::place::{installed, program};
use super::{folder, repository};

/// The restorer; none where Python and its modules may be missing.
fn restorer(repository: &Path) -> Option<Command> {
    let advice = "run .ci/servers, as make test does";
    let mut command = Command::new(program("Python with the modules of restore.py", installed("venv/bin/python"), advice)?);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("format-spec/restore.py")).arg(repository);
    Some(command)
}

fn succeeds(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// What is below a folder, as a person compares it.
#[derive(PartialEq, Debug)]
struct Entry {
    mode: u32,
    modified: (i64, i64),
    /// Of a file its bytes, of a link its target.
    content: Vec<u8>,
    attribute: Option<Vec<u8>>,
    /// The first path that is the same file.
    same_as: PathBuf,
}

fn entries(place: &Path) -> BTreeMap<PathBuf, Entry> {
    let mut paths = Vec::new();
    let mut open = vec![place.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.symlink_metadata().unwrap().is_dir() {
                open.push(path.clone());
            }
            paths.push(path);
        }
    }
    paths.sort();
    let mut first = BTreeMap::new();
    let mut entry = |path: PathBuf| {
        let about = path.symlink_metadata().unwrap();
        let below = path.strip_prefix(place).unwrap().to_owned();
        let content = match about.file_type() {
            kind if kind.is_file() => fs::read(&path).unwrap(),
            kind if kind.is_symlink() => fs::read_link(&path).unwrap().as_os_str().as_bytes().to_vec(),
            _ => Vec::new(),
        };
        let mut value = [0; 64];
        let attribute = rustix::fs::lgetxattr(&path, "user.note", &mut value).ok().map(|length| value[..length].to_vec());
        let same_as = first.entry(about.ino()).or_insert_with(|| below.clone()).clone();
        let modified = (about.mtime(), about.mtime_nsec());
        (below, Entry { mode: about.mode(), modified, content, attribute, same_as })
    };
    paths.into_iter().map(&mut entry).collect()
}

/// Hard links, symbolic links, attributes, holes, odd names, empty and large files.
fn write_files(place: &Path) {
    let write = |below: &[u8], bytes: &[u8]| {
        let path = place.join(OsStr::from_bytes(below));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    };
    let noted = write(b"media/logo.png", &noise(3_000_000));
    rustix::fs::setxattr(&noted, "user.note", b"kept", rustix::fs::XattrFlags::empty()).unwrap();
    fs::hard_link(&noted, place.join("media/again.png")).unwrap();
    write(b"media/deep/er/small.txt", b"small");
    fs::hard_link(&noted, place.join("media/deep/third.png")).unwrap();
    write(b"no text \xff", b"odd");
    write(b"empty", b"");
    fs::create_dir(place.join("empty folder")).unwrap();
    symlink("../elsewhere", place.join("media/link")).unwrap();
    let sparse = fs::File::create(place.join("sparse")).unwrap();
    sparse.set_len(9 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"at the end", (9 << 20) - 10).unwrap();
    for number in 0..700 {
        write(format!("many/{number}").as_bytes(), format!("number {number}").as_bytes());
    }
}

fn noise(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(b"restorer").finalize_xof().fill(&mut bytes);
    bytes
}

#[test]
fn the_restorer_of_the_specification_restores_what_the_program_writes() {
    let house = tempfile::tempdir().unwrap();
    let at = |below: &str| house.path().join(below);
    let Some(_) = restorer(&at("repo")) else { return };
    write_files(&at("data"));
    let esker = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_esker"));
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", house.path());
        command.env("ESKER_REPOSITORY", at("repo")).env("ESKER_PASSWORD", "correct horse").env("ESKER_CACHE_DIR", at("cache"));
        command.current_dir(house.path()).args(arguments);
        succeeds(&mut command)
    };
    let made = esker(&["init", "--kdf", "low", "--parity", "10%", "--json"]);
    let made: serde_json::Value = serde_json::from_slice(&made.stdout).unwrap();
    fs::write(at("recovery"), made["recovery_key"].as_str().unwrap()).unwrap();
    fs::write(at("password"), "correct horse\n").unwrap();
    esker(&["key", "export", "--owner", "--output", "owner.key"]);
    esker(&["snapshot", "data", "--command", "numbers=seq 1 300000"]);
    // The second refers to packs of the first.
    fs::write(at("data/later"), "later").unwrap();
    esker(&["snapshot", "data", "--command", "numbers=seq 1 300001"]);
    assert!(fs::read_dir(at("repo/parity")).unwrap().count() > 0);
    let newest = esker(&["snapshots", "latest", "--json"]);
    let newest: serde_json::Value = serde_json::from_slice(&newest.stdout).unwrap();
    let id = newest[0]["id"].as_str().unwrap().to_owned();

    let restorer = || restorer(&at("repo")).unwrap();
    succeeds(restorer().args(["restore", &id, "out", "--key-file", "owner.key"]).current_dir(house.path()));
    assert_eq!(entries(&at("out/data")), entries(&at("data")));
    let numbers: String = (1..=300_001).map(|number| format!("{number}\n")).collect();
    assert!(fs::read_to_string(at("out/numbers")).unwrap() == numbers, "the stream differs");
    for secret in [["--passphrase-file", "password"], ["--recovery-key-file", "recovery"]] {
        let listed = succeeds(restorer().arg("list").args(secret).current_dir(house.path()));
        assert_eq!(String::from_utf8(listed.stdout).unwrap().lines().count(), 2);
    }

    // It refuses damage, and restores again once parity has mended the pack.
    let pack = largest(&at("repo/packs"));
    let whole = fs::read(&pack).unwrap();
    let mut damaged = whole.clone();
    damaged[whole.len() / 2] ^= 1;
    fs::write(&pack, &damaged).unwrap();
    let refused = restorer().args(["restore", &id, "bad", "--key-file", "owner.key"]).current_dir(house.path()).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("does not hash to its name") && said.contains("no good copy"), "{said}");
    esker(&["repair", "packs"]);
    assert!(fs::read(&pack).unwrap() == whole, "parity gives back the very bytes");
    succeeds(restorer().args(["restore", &id, "again", "--key-file", "owner.key"]).current_dir(house.path()));
    assert_eq!(entries(&at("again/data")), entries(&at("data")));
}

fn largest(place: &Path) -> PathBuf {
    let folders = fs::read_dir(place).unwrap().map(|entry| entry.unwrap().path());
    let files = folders.flat_map(|folder| fs::read_dir(folder).unwrap()).map(|entry| entry.unwrap().path());
    files.max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap()
}

#[test]
fn the_restorer_of_the_specification_restores_the_repository_of_the_vectors() {
    let place = folder().join("repository");
    let Some(mut restorer) = restorer(&place) else { return };
    let house = tempfile::tempdir().unwrap();
    let keys: BTreeMap<String, String> = serde_json::from_str(&fs::read_to_string(folder().join("keys.json")).unwrap()).unwrap();
    fs::write(house.path().join("owner.key"), &keys["owner line"]).unwrap();
    let id = fs::read_dir(place.join("snapshots")).unwrap().next().unwrap().unwrap().file_name();
    restorer.arg("restore").arg(id).args(["out", "--key-file", "owner.key"]).current_dir(house.path());
    succeeds(&mut restorer);
    let found = entries(&house.path().join("out"));
    let found: BTreeMap<String, Vec<u8>> = found
        .into_iter()
        .map(|(path, entry)| {
            let content = match entry.mode & 0o170_000 {
                0o040_000 => b"/".to_vec(),
                0o120_000 => [b"-> ", &entry.content[..]].concat(),
                _ => entry.content,
            };
            (path.to_str().unwrap().to_owned(), content)
        })
        .collect();
    assert_eq!(found, repository::expected());
}
