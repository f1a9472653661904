//! The labels of the protocol (S0, R10, B5, ...): the page defines each that the code names, and the code names each that the page defines.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The kinds of label: steps of a writer (S, D), of a prune (A, B), rules (R, V, M), brakes (K) and invariants (I).
const KINDS: &str = "SDABRVMKI";
/// Names of other things that look like labels.
const OTHERS: [&str; 1] = ["S3"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every label in a text: one letter of a kind and a number, as a word of its own.
fn labels(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let is_label = |word: &&str| {
        let number = word.strip_prefix(|first| KINDS.contains(first)).unwrap_or_default();
        matches!(number.len(), 1 | 2) && number.bytes().all(|digit| digit.is_ascii_digit()) && !OTHERS.contains(word)
    };
    words.filter(is_label).map(str::to_owned).collect()
}

/// The labels that the page defines: in bold at the start of a row or an item.
fn defined(page: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for line in page.lines() {
        let Some(rest) = line.strip_prefix("| **").or_else(|| line.strip_prefix("* **")) else { continue };
        let of_line = labels(rest.split_once("**").unwrap().0);
        assert!(of_line.iter().all(|label| found.insert(label.clone())), "{of_line:?} is defined twice");
    }
    found
}

/// The comments of every Rust file below a folder, each with its file.
fn comments(folder: &str) -> Vec<(PathBuf, String)> {
    let (mut found, mut waiting) = (Vec::new(), vec![root().join(folder)]);
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            waiting.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|ending| ending == "rs") && !path.ends_with(file!()) {
            let text = fs::read_to_string(&path).unwrap();
            let comments: Vec<&str> = text.lines().filter_map(|line| line.split_once("//")).map(|(_, comment)| comment).collect();
            found.push((path, comments.join("\n")));
        }
    }
    assert!(found.len() > 20, "{folder} has no sources");
    found
}

fn page() -> String {
    fs::read_to_string(root().join("format-spec/protocol.md")).unwrap()
}

#[test]
fn every_label_in_a_comment_is_on_the_page() {
    let defined = defined(&page());
    for (path, text) in comments("src").into_iter().chain(comments("tests")) {
        let unknown: Vec<_> = labels(&text).difference(&defined).cloned().collect();
        assert!(unknown.is_empty(), "{} names {unknown:?}, which format-spec/protocol.md does not define", path.display());
    }
}

#[test]
fn every_rule_on_the_page_is_named_where_the_code_keeps_it() {
    let named: BTreeSet<String> = comments("src").iter().flat_map(|(_, text)| labels(text)).collect();
    let nowhere: Vec<_> = defined(&page()).difference(&named).cloned().collect();
    assert!(nowhere.is_empty(), "no comment in src names {nowhere:?}");
}

#[test]
fn every_label_that_the_page_mentions_is_one_that_it_defines() {
    let page = page();
    let (mentioned, defined) = (labels(&page), defined(&page));
    assert!(defined.len() > 40, "{defined:?}");
    assert_eq!(mentioned.difference(&defined).collect::<Vec<_>>(), Vec::<&String>::new());
}

#[test]
fn labels_are_told_from_other_words() {
    let found = labels("D3, the commit (R10); A1 to A7; S3, Z0, A5A5, B, B123 and I9_x are none");
    assert_eq!(found.into_iter().collect::<Vec<_>>(), ["A1", "A7", "D3", "R10"]);
    let rows = defined("| **S0** | put |\n* **R1** A rule names R2.\n**I1** is not at the start of a row");
    assert_eq!(rows.into_iter().collect::<Vec<_>>(), ["R1", "S0"]);
}
