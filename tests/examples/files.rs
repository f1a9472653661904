//! Every file of `examples/` is what its kind must be. The program takes every `esker` command in them and in the pages.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below `examples/`.
fn examples() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut waiting = vec![root().join("examples")];
    while let Some(folder) = waiting.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { waiting.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    assert!(found.len() > 10, "{found:?}");
    found
}

fn of_kind(endings: &[&str]) -> Vec<PathBuf> {
    let is = |path: &PathBuf| path.extension().is_some_and(|ending| endings.contains(&ending.to_str().unwrap()));
    let found: Vec<_> = examples().into_iter().filter(is).collect();
    assert!(!found.is_empty(), "no file ends with {endings:?}");
    found
}

pub fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

fn esker(arguments: &[&str]) -> std::process::Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_esker"));
    command.env_clear().env("HOME", "/nowhere").args(arguments).stdin(Stdio::null());
    command.output().unwrap()
}

#[test]
fn policies_and_settings_of_buckets_are_json() {
    for path in of_kind(&["json"]) {
        let value: Result<Value, _> = serde_json::from_str(&read(&path));
        assert!(value.is_ok_and(|value| value.is_object()), "{}", path.display());
    }
}

#[test]
fn config_files_are_taken_by_the_program_as_strictly_as_always() {
    for path in of_kind(&["toml"]) {
        let path = path.to_str().unwrap();
        let output = esker(&["-c", path, "cache", "path"]);
        assert!(output.status.success(), "{path}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn compose_and_kubernetes_files_are_yaml() {
    // PyYAML comes with moto.
    let python = crate::servers::installed("venv/bin/python");
    let files = of_kind(&["yaml", "yml"]);
    if !python.exists() && std::env::var_os("ESKER_WITHOUT_SERVERS").is_some() {
        println!("SKIPPED: no python with PyYAML, and ESKER_WITHOUT_SERVERS is set");
        return;
    }
    let program = "import json, sys, yaml\nprint(json.dumps([[d for d in yaml.safe_load_all(open(p))] for p in sys.argv[1:]]))";
    let output = Command::new(python).args(["-c", program]).args(&files).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let parsed: Vec<Vec<Value>> = serde_json::from_slice(&output.stdout).unwrap();
    for (path, documents) in files.iter().zip(parsed) {
        let text = read(path);
        if path.starts_with(root().join("examples/kubernetes")) {
            for document in &documents {
                assert!(document["kind"].is_string() && document["metadata"]["name"].is_string(), "{}", path.display());
            }
            let job = documents.iter().find(|document| document["kind"] == "CronJob").unwrap();
            assert_eq!(job["spec"]["concurrencyPolicy"], "Forbid");
            let pod = &job["spec"]["jobTemplate"]["spec"]["template"]["spec"];
            for container in pod["containers"].as_array().unwrap() {
                assert_eq!(container["securityContext"]["allowPrivilegeEscalation"], false);
                assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
                let mounts = container["volumeMounts"].as_array().unwrap();
                assert!(mounts.iter().all(|mount| {
                    let is_named = |list: &Value| list.as_array().unwrap().iter().any(|volume| volume["name"] == mount["name"]);
                    is_named(&pod["volumes"])
                }));
            }
        } else {
            assert!(documents.iter().all(|document| document["services"].is_object()), "{}", path.display());
        }
        assert!(!text.contains("docker.sock:/"), "{} hands out the machine", path.display());
    }
}

#[test]
fn units_of_systemd_are_sections_of_settings_that_it_knows() {
    let units = of_kind(&["service", "timer"]);
    for path in &units {
        let mut section = None;
        for line in read(path).lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            match line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                Some(name) => section = Some(name.to_owned()),
                None => assert!(section.is_some() && line.contains('='), "{}: {line}", path.display()),
            }
        }
    }
    // The program need not be where a unit looks for it.
    let folder = tempfile::tempdir().unwrap();
    for path in &units {
        let text = read(path).replace("/usr/local/bin/esker", env!("CARGO_BIN_EXE_esker"));
        std::fs::write(folder.path().join(path.file_name().unwrap()), text).unwrap();
    }
    let here: Vec<_> = units.iter().map(|path| folder.path().join(path.file_name().unwrap())).collect();
    match Command::new("systemd-analyze").args(["verify", "--man=no", "--recursive-errors=no"]).args(&here).output() {
        Err(_) => println!("SKIPPED: no systemd-analyze"),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let ours: Vec<_> = said.lines().filter(|line| line.contains("esker-")).collect();
            assert!(output.status.success() && ours.is_empty(), "{ours:#?}");
        }
    }
}

/// The commands in a text: from the word `esker` (after a prompt, a variable, a path, `sudo`) to the end of the command.
pub fn commands(text: &str) -> Vec<Vec<String>> {
    let joined = text.replace("\\\n", " ");
    let mut found = Vec::new();
    for line in joined.lines() {
        let line = line.trim();
        let line = line.strip_prefix("ExecStart=").or_else(|| line.strip_prefix("- ")).unwrap_or(line);
        for part in split(line) {
            let is_assignment = |word: &String| {
                word.split_once('=').is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
            };
            let mut words = part.into_iter().skip_while(|word| ["sudo", "do"].contains(&word.as_str()) || is_assignment(word));
            if words.next().is_some_and(|word| word == "esker" || word.ends_with("/bin/esker")) {
                found.push(words.collect());
            }
        }
    }
    found
}

/// Words of a line of shell, apart at `|`, `&&`, `||`, `;` and `$(`; without redirections and remarks.
fn split(line: &str) -> Vec<Vec<String>> {
    let (mut parts, mut words, mut word, mut quote) = (Vec::new(), Vec::new(), String::new(), None);
    let mut is_redirected = false;
    let end_word = |word: &mut String, words: &mut Vec<String>, is_redirected: &mut bool| {
        if !word.is_empty() {
            let word = std::mem::take(word);
            if !std::mem::take(is_redirected) {
                words.push(word);
            }
        }
    };
    for c in line.chars() {
        match (c, quote) {
            (c, Some(open)) if c == open => quote = None,
            (c, Some(_)) => word.push(c),
            ('\'' | '"', None) => quote = Some(c),
            ('#', None) if word.is_empty() => break,
            ('>' | '<', None) => {
                word.clear();
                is_redirected = true;
            }
            ('|' | ';' | '&' | '(' | ')' | '`', None) => {
                end_word(&mut word, &mut words, &mut is_redirected);
                parts.push(std::mem::take(&mut words));
            }
            (c, None) if c.is_whitespace() => end_word(&mut word, &mut words, &mut is_redirected),
            (c, None) => word.push(c),
        }
    }
    end_word(&mut word, &mut words, &mut is_redirected);
    parts.push(words);
    parts
}

/// What stands in fences of a page, or the whole of any other file.
pub fn scripts(path: &Path) -> String {
    let text = read(path);
    if path.extension().is_none_or(|ending| ending != "md") {
        return text;
    }
    let mut inside = false;
    let mut lines = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            inside = !inside;
        } else if inside {
            lines.push(line);
        }
    }
    lines.join("\n")
}

#[test]
fn every_command_in_the_examples_and_the_pages_is_one_that_the_program_takes() {
    let mut pages = crate::examples::pages::pages();
    pages.extend(examples());
    let mut seen = 0;
    for path in pages {
        let mut found = commands(&scripts(&path));
        found.extend(lists(&path));
        for words in found {
            // The words before `--help` are looked at before it is obeyed.
            let mut arguments: Vec<&str> = words.iter().map(String::as_str).collect();
            arguments.push("--help");
            let output = esker(&arguments);
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{}: esker {words:?}:\n{said}", path.display());
            seen += 1;
        }
    }
    assert!(seen >= 50, "only {seen} commands were found");
}

/// `command: ["esker", ...]` of compose and Kubernetes, also `["/bin/sh", "-c", SCRIPT]`.
fn lists(path: &Path) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for line in read(path).lines().map(str::trim) {
        let Some(list) = line.strip_prefix("command: ").filter(|list| list.starts_with("[\"")) else { continue };
        let words: Vec<String> = serde_json::from_str(list).unwrap_or_else(|error| panic!("{}: {list}: {error}", path.display()));
        match words.split_first() {
            Some((first, rest)) if first.ends_with("esker") => found.push(rest.to_vec()),
            Some((first, _)) if first.ends_with("/sh") => {
                found.extend(words.last().into_iter().flat_map(|script| commands(script)))
            }
            _ => {}
        }
    }
    found
}

#[test]
fn the_test_of_commands_finds_them() {
    let text = "$ x\nsudo -u backup true\nA=b esker -r s3://b init --guard 14d # why\nesker dump latest:a | esker --quiet stats > x && esker ls 'a b'\nExecStart=/usr/local/bin/esker -c /etc/x snapshot";
    let found: Vec<String> = commands(text).iter().map(|words| words.join(" ")).collect();
    assert_eq!(found, ["-r s3://b init --guard 14d", "dump latest:a", "--quiet stats", "ls a b", "-c /etc/x snapshot"]);
    assert!(!esker(&["snapshot", "--no-such-flag", "--help"]).status.success());
}
