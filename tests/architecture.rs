//! The map holds: what every file imports, against the floors drawn in `src/lib.rs`; and the few other rules a compiler does not know.
//!
//! The sources are read as tokens (comments and texts are skipped), so a doc link may point upwards and an import may not.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "also what helps a test may unwrap")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Outside crates that one room knows and nobody else: what a reader must look at when one of them changes.
const KNOWN_TO: [(&str, &[&str]); 22] = [
    ("rusqlite", &["cache"]),
    ("fastcdc", &["chunker"]),
    ("zstd", &["compress"]),
    ("reed_solomon_simd", &["parity"]),
    ("argon2", &["crypto"]),
    ("chacha20poly1305", &["crypto"]),
    ("hpke", &["crypto"]),
    ("getrandom", &["clock"]),
    ("ignore", &["filesystem"]),
    ("uzers", &["filesystem"]),
    ("saphyr_parser", &["source"]),
    ("opendal", &["store"]),
    ("reqwest", &["store", "notify"]),
    ("openssh_sftp_client", &["store"]),
    ("tokio", &["store", "notify"]),
    ("anyhow", &["bin"]),
    ("clap", &["bin"]),
    ("comfy_table", &["bin"]),
    ("indicatif", &["bin"]),
    ("rpassword", &["bin"]),
    ("toml", &["bin"]),
    ("etcetera", &["bin"]),
];

/// Calls that only one room makes; everybody else is given a thread, a time, randomness.
const CALLED_IN: [(&[&str], &str); 4] = [
    (&["thread", "::", "spawn"], "parallel"),
    (&["thread", "::", "Builder"], "parallel"),
    (&["SystemTime", "::", "now"], "clock"),
    (&["process", "::", "exit"], "bin"),
];

/// What an operation never writes: it knows plaintext and ids, and asks the waist, the records or the objects for the rest.
const BELOW_THE_WAIST: [&[&str]; 7] = [
    &["Keys"],
    &["Sealer"],
    &["Opener"],
    &[".", "sealer"],
    &[".", "opener"],
    &["objects", "(", ")", ".", "store"],
    &["objects", "(", ")", ".", "keys"],
];

// -- the map -----------------------------------------------------------------------------------------

/// Rooms and the floor each stands on; -1 is what everybody may use.
struct Map(BTreeMap<String, i32>);

impl Map {
    /// From the picture in `lib.rs`: a floor's number, then its rooms, then words about them. The second row of a number is one deeper.
    fn read(lib: &str) -> Self {
        let declared = lib
            .lines()
            .filter_map(|line| line.split_once("mod ").filter(|(before, _)| before.starts_with("pub"))?.1.strip_suffix(';'));
        let declared: BTreeSet<_> = declared.map(str::to_owned).collect();
        let mut floors = BTreeMap::new();
        let mut rows_of_zero = 0;
        for line in lib.lines().filter_map(|line| line.strip_prefix("//!")) {
            let mut words = line.split_whitespace();
            let Some(mut floor) = words.next().and_then(|word| word.parse::<i32>().ok()) else { continue };
            if floor == 0 {
                floor -= rows_of_zero;
                rows_of_zero += 1;
            }
            for room in words.take_while(|word| declared.contains(*word)) {
                assert_eq!(floors.insert(room.to_owned(), floor), None, "{room} stands on two floors");
            }
        }
        assert_eq!(floors.keys().cloned().collect::<BTreeSet<_>>(), declared, "the picture in lib.rs and its modules differ");
        Self(floors)
    }

    /// Does it stand above the waist?
    fn is_operation(&self, room: &str) -> bool {
        self.0.get(room) > self.0.get("repository")
    }

    fn may_import(&self, from: &str, to: &str) -> bool {
        from == to || from == "bin" || matches!((self.0.get(from), self.0.get(to)), (Some(from), Some(to)) if to < from)
    }
}

/// `cache` of `src/cache/file.rs`, `id` of `src/id.rs`, `bin` of the binary; `None` for `lib.rs`, which only declares.
fn room_of(path: &str) -> Option<String> {
    let first = path.strip_prefix("src/")?.split('/').next()?;
    match first.strip_suffix(".rs").unwrap_or(first) {
        "lib" => None,
        room => Some(room.to_owned()),
    }
}

/// The module a file is: `["cache", "file"]`.
fn module_of(path: &str) -> Vec<String> {
    let inside = path.strip_prefix("src/").unwrap_or(path).trim_end_matches(".rs");
    inside.split('/').filter(|part| !matches!(*part, "mod" | "lib")).map(str::to_owned).collect()
}

// -- tokens ------------------------------------------------------------------------------------------

/// Identifiers, `::` and single signs; without comments, texts and characters.
fn tokens(source: &str) -> Vec<String> {
    let chars: Vec<char> = source.chars().collect();
    let starts = |at: usize, text: &str| text.chars().enumerate().all(|(n, c)| chars.get(at + n) == Some(&c));
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        if starts(at, "//") {
            at += chars[at..].iter().take_while(|&&c| c != '\n').count();
        } else if starts(at, "/*") {
            let mut depth = 0;
            while at < chars.len() {
                if starts(at, "/*") {
                    (depth, at) = (depth + 1, at + 2);
                } else if starts(at, "*/") {
                    (depth, at) = (depth - 1, at + 2);
                } else {
                    at += 1;
                }
                if depth == 0 {
                    break;
                }
            }
        } else if let Some(hashes) = raw_text(&chars[at..]) {
            let end: String = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
            at += chars[at..].iter().position(|&c| c == '"').unwrap() + 1;
            while at < chars.len() && !starts(at, &end) {
                at += 1;
            }
            at += end.len();
        } else if c == '"' {
            at += 1;
            while at < chars.len() && chars[at] != '"' {
                at += if chars[at] == '\\' { 2 } else { 1 };
            }
            at += 1;
        } else if c == '\'' && (chars.get(at + 1) == Some(&'\\') || chars.get(at + 2) == Some(&'\'')) {
            at += if chars[at + 1] == '\\' { 3 } else { 2 };
            while at < chars.len() && chars[at] != '\'' {
                at += 1;
            }
            at += 1;
        } else if is_word(c) {
            let word: String = chars[at..].iter().take_while(|&&c| is_word(c)).collect();
            at += word.chars().count();
            tokens.push(word);
        } else if starts(at, "::") {
            tokens.push("::".to_owned());
            at += 2;
        } else {
            if !c.is_whitespace() {
                tokens.push(c.to_string());
            }
            at += 1;
        }
    }
    tokens
}

/// Does a raw text (`r"`, `br##"`) begin here? With how many hashes?
fn raw_text(chars: &[char]) -> Option<usize> {
    let prefix = chars.iter().take_while(|&&c| matches!(c, 'b' | 'c' | 'r')).count();
    let hashes = chars[prefix..].iter().take_while(|&&c| c == '#').count();
    (prefix > 0 && prefix <= 2 && chars[prefix - 1] == 'r' && chars.get(prefix + hashes) == Some(&'"')).then_some(hashes)
}

/// The first parts of what may follow `crate::`: one name, or all of a group.
fn heads(tokens: &[String]) -> Vec<&str> {
    if tokens.first().map(String::as_str) != Some("{") {
        return tokens.first().map(String::as_str).into_iter().collect();
    }
    let mut heads = Vec::new();
    let mut depth = 0;
    for (n, token) in tokens.iter().enumerate() {
        match token.as_str() {
            "{" => depth += 1,
            "}" if depth == 1 => break,
            "}" => depth -= 1,
            word if depth == 1 && matches!(tokens[n - 1].as_str(), "{" | ",") => heads.push(word),
            _ => {}
        }
    }
    heads
}

/// Rooms that a file names, through `crate::` or by climbing with `super::`.
fn imports(path: &str, tokens: &[String]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut module = module_of(path);
    // Of every open brace: does it end an inline module?
    let mut braces = Vec::new();
    let word = |n: usize| tokens.get(n).map_or("", String::as_str);
    for n in 0..tokens.len() {
        let begins_path = n == 0 || word(n - 1) != "::";
        match word(n) {
            "{" => {
                let opens_module = n >= 2 && word(n - 2) == "mod";
                if opens_module {
                    module.push(word(n - 1).to_owned());
                }
                braces.push(opens_module);
            }
            "}" if braces.pop() == Some(true) => _ = module.pop(),
            "crate" if word(n + 1) == "::" => found.extend(heads(&tokens[n + 2..]).into_iter().map(str::to_owned)),
            "super" if begins_path => {
                let climbs = (0..).take_while(|step| word(n + 2 * step) == "super" && word(n + 2 * step + 1) == "::").count();
                if climbs > 0 && climbs == module.len() {
                    found.extend(heads(&tokens[n + 2 * climbs..]).into_iter().map(str::to_owned));
                }
            }
            _ => {}
        }
    }
    found
}

// -- the rules -----------------------------------------------------------------------------------------

/// Everything that is wrong with one file of `src/`.
fn findings(map: &Map, path: &str, source: &str) -> Vec<String> {
    let mut findings = Vec::new();
    if !source.starts_with("//!") {
        findings.push(format!("{path} does not open with //!"));
    }
    let Some(room) = room_of(path) else { return findings };
    let tokens = tokens(source);
    if room == "bin" {
        // Inside the binary `crate::` is the binary; what it takes from the library are whole rooms.
        for n in 0..tokens.len().saturating_sub(2) {
            if tokens[n] == "esker" && tokens[n + 1] == "::" && (n == 0 || tokens[n - 1] != "::") {
                let strangers = heads(&tokens[n + 2..]).into_iter().filter(|head| !map.0.contains_key(*head));
                findings.extend(strangers.map(|head| format!("{path} imports esker::{head}, which is no room")));
            }
        }
    } else {
        for to in imports(path, &tokens) {
            if !map.may_import(&room, &to) {
                findings.push(format!("{path}: {room} imports {to}, which is not below it"));
            }
        }
    }
    for (outside, rooms) in KNOWN_TO {
        if !rooms.contains(&room.as_str()) && names_crate(&tokens, outside) {
            findings.push(format!("{path} uses {outside}, which only {rooms:?} may know"));
        }
    }
    if map.is_operation(&room) || room == "bin" {
        for words in BELOW_THE_WAIST.into_iter().filter(|words| holds(&tokens, words)) {
            findings.push(format!("{path} reaches below the waist: {}", words.concat()));
        }
    }
    for (call, only) in CALLED_IN {
        if room != only && holds(&tokens, call) {
            findings.push(format!("{path} calls {}, which only {only} may", call.concat()));
        }
    }
    findings
}

fn holds(tokens: &[String], words: &[&str]) -> bool {
    tokens.windows(words.len()).any(|window| window.iter().zip(words).all(|(a, b)| a == b))
}

/// Does a path begin with this crate?
fn names_crate(tokens: &[String], outside: &str) -> bool {
    let word = |n: usize| tokens.get(n).map_or("", String::as_str);
    (0..tokens.len()).any(|n| {
        let before = word(n.wrapping_sub(1));
        let is_first = !matches!(before, "::" | ".") || (before == "::" && !is_name(word(n.wrapping_sub(2))));
        word(n) == outside && is_first && (word(n + 1) == "::" || (before == "use" && matches!(word(n + 1), ";" | "as")))
    })
}

fn is_name(word: &str) -> bool {
    word.chars().next().is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '>')
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            // What a build leaves behind is no source of ours: `cargo fuzz` builds below `fuzz/target`.
            if !path.ends_with("target") {
                sources(&path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Every Rust file below `folder` of this package, by its path in the package, with what it holds.
fn read_all(folder: &str) -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    sources(&root.join(folder), &mut found);
    let path_in_package = |path: &Path| path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
    found.into_iter().map(|path| (path_in_package(&path), std::fs::read_to_string(&path).unwrap())).collect()
}

// -- the tests -----------------------------------------------------------------------------------------

#[test]
fn every_file_keeps_to_the_map() {
    let files = read_all("src");
    let map = Map::read(&files["src/lib.rs"]);
    let findings: Vec<_> = files.iter().flat_map(|(path, source)| findings(&map, path, source)).collect();
    assert!(files.len() > 20 && findings.is_empty(), "{findings:#?}");
}

#[test]
fn tests_and_benches_say_what_they_are_for() {
    let files: Vec<_> = ["tests", "benches", "fuzz"].iter().flat_map(|folder| read_all(folder)).collect();
    assert!(files.iter().any(|(path, _)| path == "tests/architecture.rs"));
    let silent: Vec<_> =
        files.iter().filter(|(_, source)| !source.starts_with("//!") && !source.starts_with("#![no_main]\n//!")).collect();
    assert!(silent.is_empty(), "{:?} do not open with //!", silent.iter().map(|(path, _)| path).collect::<Vec<_>>());
}

#[test]
fn every_room_with_a_folder_has_a_door() {
    let files = read_all("src");
    let rooms: BTreeSet<_> = files.keys().filter(|path| path.matches('/').count() > 1).filter_map(|path| room_of(path)).collect();
    for room in rooms.iter().filter(|room| *room != "bin") {
        assert!(files.contains_key(&format!("src/{room}/mod.rs")), "src/{room}/mod.rs is missing");
    }
}

/// Paths that a page links to, without those into the web.
fn links(page: &str) -> BTreeSet<String> {
    let ends = page.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    ends.map(|(link, _)| link.to_owned()).filter(|link| !link.contains("://")).collect()
}

#[test]
fn the_page_of_the_architecture_names_every_room_and_only_what_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let links = links(&std::fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap());
    assert!(links.len() > 30, "{links:?}");
    let missing: Vec<_> = links.iter().filter(|link| !root.join(link).exists()).collect();
    assert!(missing.is_empty(), "ARCHITECTURE.md links to {missing:?}, which do not exist");
    // Rooms that all others use are in the picture of lib.rs only.
    let folders = std::fs::read_dir(root.join("src")).unwrap().map(|entry| entry.unwrap());
    for folder in folders.filter(|entry| entry.file_type().unwrap().is_dir()) {
        let room = format!("src/{}", folder.file_name().to_str().unwrap());
        assert!(links.iter().any(|link| link.starts_with(&room)), "ARCHITECTURE.md does not name {room}");
    }
}

/// A small house, and what must be found wrong with a file in it.
fn found_in(path: &str, source: &str) -> Vec<String> {
    let map = Map::read(
        "//!  4   restore   verify    the operations\n//!  3   repository    the waist\n//!  1   cache     rows\n//!  0   store    names\n//!  0   id    for all\n\
         pub mod restore;\npub mod verify;\npub mod repository;\npub mod cache;\npub mod store;\npub mod id;\n",
    );
    findings(&map, path, &format!("//! A file.\n{source}"))
}

#[test]
fn a_planted_import_of_a_higher_or_neighbouring_room_is_caught() {
    for (path, source, caught) in [
        ("src/store/mod.rs", "use crate::cache::Cache;", "store imports cache"),
        ("src/id.rs", "use crate::store;", "id imports store"),
        ("src/verify/mod.rs", "use crate::restore::Plan;", "verify imports restore"),
        ("src/store/local.rs", "use crate::{id::ChunkId, cache};", "store imports cache"),
        ("src/store/local.rs", "use crate::{id::{ChunkId, PackId}, cache::{A, B}};", "store imports cache"),
        ("src/store/local.rs", "use super::super::cache::Cache;", "store imports cache"),
        ("src/store/mod.rs", "use super::{id, cache};", "store imports cache"),
        ("src/store/mod.rs", "mod tests { use super::super::cache::Cache; }", "store imports cache"),
        ("src/store/mod.rs", "fn f() -> crate::cache::Cache { g(crate::cache::Cache::new()) }", "store imports cache"),
        ("src/store/mod.rs", "let c = '\"'; use crate::cache; let d = '\"';", "store imports cache"),
        ("src/store/mod.rs", "fn f<'a>(x: &'a str) { crate::cache::y('a') }", "store imports cache"),
        ("src/store/mod.rs", "let t = r#\"a \" b\"#; use crate::cache;", "store imports cache"),
    ] {
        let findings = found_in(path, source);
        assert!(findings.len() == 1 && findings[0].contains(caught), "{source}: {findings:?}");
    }
}

#[test]
fn what_is_allowed_is_not_caught() {
    for (path, source) in [
        ("src/cache/mod.rs", "use crate::store::{Name, Store}; use crate::id::ChunkId; use crate::cache::file;"),
        ("src/cache/file.rs", "use super::{Cache, verify}; mod tests { use super::super::verify::x; use super::*; }"),
        (
            "src/store/mod.rs",
            "/// See [`crate::cache`].\n// use crate::cache;\n/* use /* crate::cache; */ crate::cache; */ fn f() {}",
        ),
        ("src/store/mod.rs", "const T: &str = \"use crate::cache; \\\" crate::cache\"; const B: &[u8] = br\"crate::cache\";"),
        ("src/store/mod.rs", "pub(crate) fn f() {} impl Store for Arc<Store> {}"),
        ("src/restore/mod.rs", "use crate::{cache, store::Store, id};"),
        ("src/store/mod.rs", "fn f(zstd: u8) { g.zstd(); h::zstd::x(); thread::scope(|s| s.spawn(f)) }"),
        ("src/bin/esker/main.rs", "use esker::{restore, verify::Finding}; use crate::terminal; use clap::Parser;"),
    ] {
        assert_eq!(found_in(path, source), Vec::<String>::new(), "{source}");
    }
}

#[test]
fn planted_breaches_of_the_other_rules_are_caught() {
    for (path, source, caught) in [
        ("src/store/mod.rs", "use rusqlite::Connection;", "rusqlite"),
        ("src/store/mod.rs", "fn f() { ::zstd::bulk::compress() }", "zstd"),
        ("src/cache/mod.rs", "use clap;", "clap"),
        ("src/restore/mod.rs", "use indicatif as bars;", "indicatif"),
        ("src/bin/esker/main.rs", "use rusqlite::Connection;", "rusqlite"),
        ("src/bin/esker/main.rs", "use esker::secret_door;", "no room"),
        ("src/store/mod.rs", "std::thread::spawn(f)", "thread::spawn"),
        ("src/store/mod.rs", "thread::Builder::new()", "thread::Builder"),
        ("src/restore/mod.rs", "let now = SystemTime::now();", "SystemTime::now"),
        ("src/restore/mod.rs", "std::process::exit(1)", "process::exit"),
        ("src/restore/mod.rs", "repository.objects().store().delete(name)", "objects().store"),
        ("src/verify/mod.rs", "gc::open_condemn(&objects.opener, 1, sealed)", ".opener"),
        ("src/verify/mod.rs", "gc::open_condemn(objects.opener(), 1, sealed)", ".opener"),
        ("src/verify/mod.rs", "let keys: Keys = made();", "Keys"),
        ("src/bin/esker/main.rs", "let keys = repository.objects().keys();", "objects().keys"),
    ] {
        let findings = found_in(path, source);
        assert!(findings.len() == 1 && findings[0].contains(caught), "{source}: {findings:?}");
    }
    let map = Map::read("//! 0 id\npub mod id;\n");
    assert_eq!(findings(&map, "src/id.rs", "use std::fmt;"), ["src/id.rs does not open with //!"]);
    assert_eq!(found_in("src/repository/mod.rs", "objects.opener()"), [""; 0]);
}

#[test]
#[should_panic(expected = "differ")]
fn a_room_that_is_not_in_the_picture_is_caught() {
    Map::read("//! 0 id\npub mod id;\npub mod cellar;\n");
}
