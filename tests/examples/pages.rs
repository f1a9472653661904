//! The pages of the documentation: short, linked to what exists, and with a quick start that works as it is printed.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::files::{read, root, scripts};

/// README.md, SECURITY.md and every page of `docs/`.
pub fn pages() -> Vec<PathBuf> {
    let mut pages: Vec<PathBuf> = ["README.md", "SECURITY.md"].iter().map(|page| root().join(page)).collect();
    let tasks = std::fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    pages.extend(tasks.filter(|path| path.extension().is_some_and(|ending| ending == "md")));
    pages.sort();
    assert!(pages.len() > 10, "{pages:?}");
    pages
}

/// The targets of the links `[text](target)` on a page, outside of its fences.
fn links(text: &str) -> Vec<String> {
    let mut is_script = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_script = !is_script;
        } else if !is_script {
            let targets = line.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
            found.extend(targets.map(|(target, _)| target.to_owned()));
        }
    }
    found
}

#[test]
fn the_readme_fits_in_150_lines_and_each_page_in_200() {
    for page in pages() {
        let most = if page == root().join("README.md") { 150 } else { 200 };
        let lines = read(&page).lines().count();
        assert!(lines <= most, "{} has {lines} lines", page.display());
    }
}

#[test]
fn every_link_of_a_page_leads_to_a_file_that_exists() {
    let further = ["examples/README.md", "format-spec/README.md", "tests/README.md"].map(|page| root().join(page));
    let mut seen = 0;
    for page in pages().into_iter().chain(further) {
        for link in links(&read(&page)).iter().filter(|link| !link.contains("://")) {
            let file = link.split('#').next().unwrap();
            let target = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            assert!(target.exists(), "{} links to {link}", page.display());
            seen += 1;
        }
    }
    assert!(seen > 20, "only {seen} links were found");
}

#[test]
fn the_readme_lists_every_page() {
    let readme = read(&root().join("README.md"));
    let listed = links(&readme);
    for page in pages().iter().filter(|page| page.parent() == Some(root().join("docs").as_path())) {
        let name = format!("docs/{}", page.file_name().unwrap().to_str().unwrap());
        assert!(listed.contains(&name), "README.md does not list {name}");
    }
}

/// The first script below a heading.
fn script_below(page: &Path, heading: &str) -> String {
    let text = read(page);
    let (_, below) = text.split_once(heading).unwrap_or_else(|| panic!("{} has no {heading:?}", page.display()));
    let (_, script) = below.split_once("```sh\n").unwrap();
    script.split_once("```").unwrap().0.to_owned()
}

#[test]
fn the_quick_start_works_as_it_is_printed() {
    let script = script_below(&root().join("README.md"), "## Quick start");
    let folder = tempfile::tempdir().unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_esker")).parent().unwrap();
    let mut shell = Command::new("bash");
    shell.args(["-euo", "pipefail", "-c", &script]).current_dir(folder.path()).stdin(Stdio::null());
    shell.env_clear().env("HOME", folder.path()).env("PATH", format!("{}:/usr/bin:/bin", program.display()));
    let output = shell.output().unwrap();
    let (said, failed) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{failed}");
    assert!(said.lines().any(|line| line == "again"), "`dump` did not print the file:\n{said}");
    let restored = std::fs::read_to_string(folder.path().join("out/data/greeting.txt")).unwrap();
    assert_eq!(restored, "hello\nagain\n");
}

#[test]
fn the_scripts_of_a_page_are_shell_that_bash_can_parse() {
    for page in pages() {
        let text = read(&page);
        for script in text.split("```sh\n").skip(1).map(|rest| rest.split_once("```").unwrap().0) {
            let output = Command::new("bash").args(["-n", "-c", script]).output().unwrap();
            assert!(output.status.success(), "{}: {}", page.display(), String::from_utf8_lossy(&output.stderr));
        }
        assert!(!scripts(&page).contains("```"), "{}", page.display());
    }
}
