//! The reference of `--json` (`docs/json.md`) and the program say the same of every field.

use std::collections::{BTreeMap, BTreeSet};

use assert_cmd::Command;
use serde_json::{Map, Value};

use super::common::{House, commands, exits, json_lines};

mod runs;

/// The page, as it is published.
const PAGE: &str = include_str!("../../../docs/json.md");

/// Fields whose names are data: folders of the store, and the names of the config file.
const KEYED_BY_DATA: [&str; 2] = ["objects", "settings"];

/// Fields that hold a path or a name. The true bytes stand beside them when they are not text.
const BYTES: [&str; 5] = ["path", "name", "target", "link_target", "attribute"];

/// These print their content as it is.
const WITHOUT_JSON: [&str; 3] = ["dump", "completions", "man"];

/// What no run of this test prints: an attribute of more than 64 KiB, which few file systems take, in a pack that is lost.
const UNSEEN: [&str; 1] = ["repair snapshots: lost attribute"];

/// What the page says of a field.
#[derive(Clone, Debug, Default)]
struct Field {
    may_be_absent: bool,
    is_array: bool,
    /// The fields of the object, or of the objects of the array.
    fields: Fields,
}

type Fields = BTreeMap<String, Field>;

/// A name and its marks, unless the word between backticks is a value or a flag.
fn field(word: &str) -> Option<(String, Field)> {
    let (word, may_be_absent) = word.strip_suffix('?').map_or((word, false), |word| (word, true));
    let (name, is_array) = word.strip_suffix("[]").map_or((word, false), |word| (word, true));
    let is_name = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && !["null", "true", "false"].contains(&name);
    is_name.then(|| (name.to_owned(), Field { may_be_absent, is_array, fields: Fields::new() }))
}

/// Reads a list of fields up to its first full stop, or to the parenthesis that ends it; what stands behind is left in `text`.
fn fields(text: &mut &str) -> Fields {
    let mut found = Fields::new();
    let mut last = None;
    while let Some(next) = text.chars().next() {
        let rest = &text[next.len_utf8()..];
        match next {
            '`' => {
                let (word, behind) = rest.split_once('`').unwrap();
                if let Some((name, field)) = field(word) {
                    last = Some(name.clone());
                    assert!(found.insert(name, field).is_none(), "docs/json.md names {word} twice");
                }
                *text = behind;
            }
            '[' => {
                let (link, behind) = rest.split_once(')').unwrap();
                found.extend(shared(link.split_once("](#").unwrap().1));
                *text = behind;
            }
            '(' if rest.starts_with('[') || rest.strip_prefix('`').and_then(|word| field(word.split('`').next()?)).is_some() => {
                *text = rest;
                let inner = fields(text);
                found.get_mut(last.as_ref().unwrap()).unwrap().fields.extend(inner);
            }
            '(' => {
                let mut depth = 0;
                let end = text.char_indices().find(|(_, c)| {
                    depth += i32::from(*c == '(') - i32::from(*c == ')');
                    depth == 0
                });
                *text = &text[end.unwrap().0 + 1..];
            }
            ')' | '.' => {
                *text = rest;
                break;
            }
            _ => *text = rest,
        }
    }
    found
}

/// The part of the page below a heading.
fn section(heading: &str) -> &'static str {
    let (_, rest) = PAGE.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("docs/json.md has no {heading}"));
    rest.split_once("\n#").map_or(rest, |(section, _)| section)
}

/// The fields of an object that several commands print.
fn shared(anchor: &str) -> Fields {
    let heading =
        PAGE.lines().find(|line| line.strip_prefix("### ").is_some_and(|words| words.to_lowercase().replace(' ', "-") == anchor));
    fields(&mut section(heading.unwrap_or_else(|| panic!("docs/json.md has no #{anchor}"))))
}

/// The cells of a table.
fn cells(heading: &str) -> impl Iterator<Item = Vec<&'static str>> {
    let rows = section(heading).lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| row.trim_matches(['|', ' ']).split(" | ").collect())
}

/// The objects of standard error by their `message_type`.
fn messages() -> BTreeMap<String, Fields> {
    cells("## Standard error").map(|cells| (cells[0].replace('`', ""), fields(&mut { cells[1] }))).collect()
}

/// The objects of standard output by command and `message_type`; without one it is `array`.
fn objects() -> BTreeMap<(String, String), Fields> {
    let plain = |cell: &str| cell.replace('`', "");
    cells("## Commands").map(|cells| ((plain(cells[0]), plain(cells[1])), fields(&mut { cells[2] }))).collect()
}

/// What runs have shown.
struct Shown {
    /// See [`objects`].
    objects: BTreeMap<(String, String), Fields>,
    /// See [`messages`].
    messages: BTreeMap<String, Fields>,
    /// Each path of names, below the command and the object.
    paths: BTreeSet<String>,
    /// Those of fields that an object went without.
    absent: BTreeSet<String>,
    /// Where program and page differ.
    mistakes: BTreeSet<String>,
}

impl Shown {
    fn new() -> Self {
        Self {
            objects: objects(),
            messages: messages(),
            paths: BTreeSet::new(),
            absent: BTreeSet::new(),
            mistakes: BTreeSet::new(),
        }
    }

    fn extend(&mut self, other: Self) {
        self.paths.extend(other.paths);
        self.absent.extend(other.absent);
        self.mistakes.extend(other.mistakes);
    }

    /// Runs a command and holds all that it prints to the page.
    fn run(&mut self, row: &str, mut esker: Command, arguments: &[&str], code: i32) -> Vec<Value> {
        esker.arg("--json");
        let output = exits(esker, arguments, code);
        let lines = json_lines(&output.stdout);
        if lines.is_empty() {
            self.mistakes.insert(format!("esker {arguments:?} --json prints nothing"));
        }
        for line in &lines {
            match line {
                Value::Array(values) => values.iter().for_each(|value| self.printed(row, "array", value)),
                _ => self.printed(row, line["message_type"].as_str().unwrap_or_default(), line),
            }
        }
        self.messages(&output.stderr);
        lines
    }

    fn printed(&mut self, row: &str, kind: &str, value: &Value) {
        let place = format!("{row}: {kind}");
        match self.objects.get(&(row.to_owned(), kind.to_owned())).cloned() {
            Some(documented) => self.object(&place, value.as_object().unwrap(), &documented),
            None => drop(self.mistakes.insert(format!("docs/json.md has no row of `{place}`"))),
        }
        self.paths.insert(place);
    }

    /// The same for what is on standard error.
    fn messages(&mut self, stderr: &[u8]) {
        for line in json_lines(stderr) {
            let kind = line["message_type"].as_str().unwrap_or_default();
            match self.messages.get(kind).cloned() {
                Some(documented) => self.object(kind, line.as_object().unwrap(), &documented),
                None => drop(self.mistakes.insert(format!("docs/json.md has no message `{kind}`"))),
            }
            self.paths.insert(kind.to_owned());
        }
    }

    /// Holds an object to the page: nothing undocumented, nothing missing, and each value of its kind.
    fn object(&mut self, place: &str, object: &Map<String, Value>, documented: &Fields) {
        for (name, field) in documented.iter().filter(|(name, _)| !object.contains_key(*name)) {
            if !field.may_be_absent {
                self.mistakes.insert(format!("{place} has no {name}, and docs/json.md does not say that it may be absent"));
            }
            self.absent.insert(format!("{place} {name}"));
        }
        for (name, value) in object.iter().filter(|(name, _)| *name != "message_type") {
            let path = format!("{place} {name}");
            match documented.get(name) {
                Some(field) => self.value(&path, name, value, field),
                None if is_hex_of_documented(name, documented) => {}
                None => drop(self.mistakes.insert(format!("docs/json.md does not say what `{path}` means"))),
            }
            self.paths.insert(path);
        }
    }

    fn value(&mut self, path: &str, name: &str, value: &Value, field: &Field) {
        let fits = match value {
            Value::Null => true,
            Value::Object(_) if KEYED_BY_DATA.contains(&name) => true,
            Value::Array(values) => {
                for object in values.iter().filter_map(Value::as_object) {
                    self.object(path, object, &field.fields);
                }
                field.is_array && values.iter().all(|value| value.is_object() != field.fields.is_empty())
            }
            Value::Object(object) => {
                self.object(path, object, &field.fields);
                !field.is_array
            }
            _ => !field.is_array && field.fields.is_empty() && is_of_its_kind(name, value),
        };
        if !fits {
            self.mistakes.insert(format!("docs/json.md does not say that `{path}` can be {value}"));
        }
    }
}

fn is_hex_of_documented(name: &str, documented: &Fields) -> bool {
    name.strip_suffix("_hex").is_some_and(|name| BYTES.contains(&name) && documented.contains_key(name))
}

/// The rules at the top of the page for numbers, times and ids.
fn is_of_its_kind(name: &str, value: &Value) -> bool {
    let is_id = |text: &str| [32, 64].contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_time = |text: &str| text.len() >= 20 && text.as_bytes()[10] == b'T' && text.ends_with('Z');
    match name {
        "short_id" => value.is_string(),
        "id" => value.as_str().is_some_and(is_id),
        "time" | "mtime" | "since" | "ended_at" => value.as_str().is_some_and(is_time),
        "duration" | "total_duration" => value.is_number(),
        _ if name.ends_with("_id") => value.as_str().is_some_and(is_id),
        _ if name.ends_with("_seconds") => value.is_number(),
        _ if name.contains("bytes") || name.contains("size") || name.starts_with("data_added") => value.is_u64(),
        _ => true,
    }
}

/// Every path of names that the page has, and of each whether it may be absent.
fn documented(place: &str, fields: &Fields, into: &mut Vec<(String, bool)>) {
    for (name, field) in fields {
        let path = format!("{place} {name}");
        documented(&path, &field.fields, into);
        into.push((path, field.may_be_absent));
    }
}

#[test]
fn the_reference_has_every_command_and_no_other() {
    let house = House::new();
    let commands: BTreeSet<String> =
        commands(&house).iter().map(|words| words.join(" ")).filter(|words| !words.is_empty()).collect();
    let objects = objects();
    let rows: BTreeSet<&str> = objects.keys().map(|(row, _)| row.as_str()).collect();
    let is_about =
        |row: &str, command: &str| row.strip_prefix(command).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '));
    for command in commands.iter().filter(|command| !WITHOUT_JSON.contains(&command.as_str())) {
        let is_group = commands.iter().any(|other| other.starts_with(&format!("{command} ")));
        assert!(is_group || rows.iter().any(|row| is_about(row, command)), "docs/json.md has no row of `esker {command}`");
    }
    for row in rows {
        let command = row.split(" --").next().unwrap().split(" with ").next().unwrap();
        assert!(commands.contains(command), "docs/json.md has a row of `{row}`, which is no command");
    }
}

#[test]
fn the_program_prints_every_field_of_the_reference_and_no_other() {
    let shown = runs::all();
    let mut wanted = Vec::new();
    for ((row, kind), fields) in &shown.objects {
        wanted.push((format!("{row}: {kind}"), false));
        documented(&format!("{row}: {kind}"), fields, &mut wanted);
    }
    for (kind, fields) in &shown.messages {
        wanted.push((kind.clone(), false));
        documented(kind, fields, &mut wanted);
    }
    let unseen: Vec<_> =
        wanted.iter().filter(|(path, _)| !shown.paths.contains(path) && !UNSEEN.contains(&path.as_str())).collect();
    let never_absent: Vec<_> =
        wanted.iter().filter(|(path, may_be_absent)| *may_be_absent && !shown.absent.contains(path)).collect();
    let mistakes = &shown.mistakes;
    assert!(
        mistakes.is_empty() && unseen.is_empty() && never_absent.is_empty(),
        "docs/json.md and the program differ: {mistakes:#?}\nno run of this test prints: {unseen:#?}\nalways there: {never_absent:#?}"
    );
}
