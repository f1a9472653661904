//! Reads tables out of the pages of the specification.

use std::collections::BTreeMap;
use std::path::Path;

use esker::format::limits;

/// The text of a page.
pub fn page(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("format-spec").join(name)).unwrap()
}

/// The rows of the table whose first column is called `first`.
pub fn table(name: &str, first: &str) -> Vec<Vec<String>> {
    let page = page(name);
    let mut lines = page.lines().skip_while(|line| !line.starts_with(&format!("| {first} |")));
    assert!(lines.next().is_some() && lines.next().is_some(), "{name} has no table {first}");
    let rows: Vec<Vec<String>> = lines.take_while(|line| line.starts_with('|')).map(cells).collect();
    assert!(!rows.is_empty(), "{name}: the table {first} is empty");
    rows
}

fn cells(line: &str) -> Vec<String> {
    line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
}

/// The constants of `limits`, by name.
pub fn limits() -> BTreeMap<String, u64> {
    macro_rules! named {
        ($($name:ident)*) => { BTreeMap::from([$((stringify!($name).to_owned(), limits::$name as u64),)*]) };
    }
    #[allow(trivial_numeric_casts, clippy::unnecessary_cast)]
    let named = named! {
        PACK_SIZE_MAX PACK_FRAMES_MAX PACK_CHUNKS_MAX PACK_BASES_MAX PACK_BASE_NUMBERS_MAX DIRECTORY_SIZE_MAX CHUNK_BASES_MAX
        BASE_SIZE_MAX RECIPE_RANGES_MAX CHUNK_SIZE_MAX FRAME_RAW_SIZE_MAX FRAME_EXCESS_MAX PACK_SIZE_MIN BODY_SIZE_MIN INDEX_SIZE_MAX
        SNAPSHOT_SIZE_MAX CONFIG_SIZE_MAX SESSION_SIZE_MAX GC_SIZE_MAX NOTE_SIZE_MAX FORGOTTEN_SIZE_MAX REVOCATION_SIZE_MAX
        PARITY_SIZE_MAX KEYSLOT_SIZE LIST_ITEMS_MAX LIST_ITEMS_MIN CONTENT_ITEMS_MAX CONTENT_LEVEL_MAX TREE_ENTRIES_MAX TREE_ENTRIES_MIN
        TREE_SIZE_MAX NAME_SIZE_MAX LINK_TARGET_SIZE_MAX XATTRS_SIZE_MAX DEPTH_MAX SOURCES_MAX
    };
    named
}
