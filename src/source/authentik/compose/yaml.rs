//! A YAML file as a tree whose nodes know their file and line. Anchors and merge keys are resolved; size and depth are bounded.

use std::path::Path;
use std::sync::Arc;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};

use super::super::super::SourceError;
use super::dotenv::read_small;
use super::interpolate::Replaced;

/// Most nodes of one file, anchors expanded: a file of a few lines can otherwise grow without end.
const MAX_NODES: usize = 100_000;
/// Deepest nesting.
const MAX_DEPTH: usize = 64;

/// Where something stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    file: Arc<Path>,
    /// From 1; 0 for a file as a whole.
    line: usize,
}

impl Place {
    /// A file as a whole.
    pub(crate) fn of_file(file: &Path) -> Self {
        Self { file: file.into(), line: 0 }
    }

    /// The refusal of what stands here.
    pub(crate) fn refuse(&self, why: impl std::fmt::Display) -> SourceError {
        SourceError::Settings(format!("{self}: {why}"))
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            0 => write!(f, "{}", self.file.display()),
            line => write!(f, "{}:{line}", self.file.display()),
        }
    }
}

/// What an override file does with the value below it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Merge {
    /// It joins the value below.
    #[default]
    Join,
    /// `!override`: it takes the place of the value below.
    Replace,
    /// `!reset`: the value below is taken away.
    Reset,
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// The value.
    pub value: Value,
    /// Where it begins.
    pub place: Place,
    /// What it does with the value below.
    pub merge: Merge,
}

/// The kinds of values.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// Nothing: `null`, `~`, or no text at all.
    Null,
    /// A text, a number, a truth value: the reader decides.
    Scalar {
        /// The text.
        text: String,
        /// A variable in it that has no value.
        unset: Option<String>,
    },
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order of the file.
    Map(Vec<(String, Node)>),
}

/// The documents of a file, which compose reads as if they were files of their own.
pub(super) fn read(path: &Path) -> Result<Vec<Node>, SourceError> {
    let text = read_small(path).map_err(|error| SourceError::Io { what: format!("cannot read {}", path.display()), error })?;
    parse(&text, path)
}

/// The same, from the text; `path` is for messages.
pub(super) fn parse(text: &str, path: &Path) -> Result<Vec<Node>, SourceError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut builder = Builder { events: Parser::new_from_str(text), file: path.into(), anchors: Vec::new(), nodes: 0 };
    let mut documents = Vec::new();
    loop {
        let (event, span) = builder.next()?;
        match event {
            Event::StreamEnd => return Ok(documents),
            Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
            event => documents.push(builder.node(event, span, 0)?),
        }
    }
}

struct Builder<'text> {
    events: Parser<'text, StrInput<'text>>,
    file: Arc<Path>,
    anchors: Vec<(usize, Node)>,
    nodes: usize,
}

impl<'text> Builder<'text> {
    fn next(&mut self) -> Result<(Event<'text>, Span), SourceError> {
        let wrong = |file: &Arc<Path>, error: ScanError| {
            Place { file: Arc::clone(file), line: error.marker().line() }.refuse(format_args!("no valid YAML: {}", error.info()))
        };
        match self.events.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => Err(wrong(&self.file, error)),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn node(&mut self, event: Event<'text>, span: Span, depth: usize) -> Result<Node, SourceError> {
        let place = Place { file: Arc::clone(&self.file), line: span.start.line() };
        self.nodes += 1;
        if depth > MAX_DEPTH || self.nodes > MAX_NODES {
            return Err(place.refuse("too large or too deeply nested for a compose file"));
        }
        let (value, anchor, tag) = match event {
            Event::Alias(anchor) => {
                let found = self.anchors.iter().rev().find(|(id, _)| *id == anchor).map(|(_, node)| node.clone());
                let mut node = found.ok_or_else(|| place.refuse("an alias inside its own anchor"))?;
                self.nodes += node.size();
                if self.nodes > MAX_NODES {
                    return Err(place.refuse("its anchors and aliases grow beyond all bounds"));
                }
                node.place = place;
                return Ok(node);
            }
            Event::Scalar(text, style, anchor, tag) => (scalar(&text, style, tag.as_deref()), anchor, tag),
            Event::SequenceStart(anchor, tag) => (Value::List(self.list(depth)?), anchor, tag),
            Event::MappingStart(anchor, tag) => (Value::Map(self.map(depth)?), anchor, tag),
            _ => return Err(place.refuse("no valid YAML")),
        };
        let merge = match tag.as_deref() {
            Some(Tag { handle, suffix }) if handle == "!" && suffix == "reset" => Merge::Reset,
            Some(Tag { handle, suffix }) if handle == "!" && suffix == "override" => Merge::Replace,
            _ => Merge::Join,
        };
        let node = Node { value, place, merge };
        if anchor != 0 {
            self.anchors.push((anchor, node.clone()));
        }
        Ok(node)
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Node>, SourceError> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(items),
                (event, span) => items.push(self.node(event, span, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Vec<(String, Node)>, SourceError> {
        let (mut entries, mut merged) = (Vec::<(String, Node)>::new(), Vec::new());
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                break;
            }
            let is_merge = matches!(&event, Event::Scalar(text, ScalarStyle::Plain, ..) if text == "<<");
            let key = self.node(event, span, depth + 1)?;
            let (event, span) = self.next()?;
            let value = self.node(event, span, depth + 1)?;
            if is_merge {
                merged.push(value);
                continue;
            }
            let name = match key.value {
                Value::Scalar { text, .. } => text,
                Value::Null => String::new(),
                _ => return Err(key.place.refuse("a key that is no text")),
            };
            if entries.iter().any(|(known, _)| *known == name) {
                return Err(key.place.refuse(format_args!("the key {name:?} is given twice")));
            }
            entries.push((name, value));
        }
        for value in merged {
            let place = value.place.clone();
            let maps = match value.value {
                Value::List(maps) => maps,
                _ => vec![value],
            };
            for map in maps {
                let Value::Map(inherited) = map.value else { return Err(place.refuse("`<<` merges something that is no mapping")) };
                for (name, node) in inherited {
                    // A key of its own wins, and so does the first of several mappings.
                    if entries.iter().all(|(known, _)| *known != name) {
                        entries.push((name, node));
                    }
                }
            }
        }
        Ok(entries)
    }
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Value {
    let plain = style == ScalarStyle::Plain && tag.is_none_or(|tag| !tag.is_yaml_core_schema());
    match text {
        "" | "~" | "null" | "Null" | "NULL" if plain => Value::Null,
        text => Value::Scalar { text: text.to_owned(), unset: None },
    }
}

impl Node {
    /// A node of an answer in JSON.
    pub(crate) fn of_json(json: &serde_json::Value, place: &Place) -> Self {
        let below = |json| Self::of_json(json, place);
        let text = |text: String| Value::Scalar { text, unset: None };
        let value = match json {
            serde_json::Value::Null => Value::Null,
            serde_json::Value::Bool(truth) => text(truth.to_string()),
            serde_json::Value::Number(number) => text(number.to_string()),
            serde_json::Value::String(string) => text(string.clone()),
            serde_json::Value::Array(items) => Value::List(items.iter().map(below).collect()),
            serde_json::Value::Object(entries) => {
                Value::Map(entries.iter().map(|(name, value)| (name.clone(), below(value))).collect())
            }
        };
        Self { value, place: place.clone(), merge: Merge::Join }
    }

    fn size(&self) -> usize {
        match &self.value {
            Value::Null | Value::Scalar { .. } => 1,
            Value::List(items) => 1 + items.iter().map(Self::size).sum::<usize>(),
            Value::Map(entries) => 1 + entries.iter().map(|(_, node)| node.size()).sum::<usize>(),
        }
    }

    /// Changes every text below, and notes the variable without a value that `change` found in it.
    pub(crate) fn change_texts(&mut self, change: &mut dyn FnMut(&str) -> Replaced) -> Result<(), SourceError> {
        match &mut self.value {
            Value::Null => Ok(()),
            Value::Scalar { text, unset } => {
                if text.contains('$') {
                    (*text, *unset) = change(text).map_err(|why| self.place.refuse(why))?;
                }
                Ok(())
            }
            Value::List(items) => items.iter_mut().try_for_each(|item| item.change_texts(change)),
            Value::Map(entries) => entries.iter_mut().try_for_each(|(_, node)| node.change_texts(change)),
        }
    }

    /// The entries of a mapping; none for null.
    pub(crate) fn map(&self, what: &str) -> Result<&[(String, Self)], SourceError> {
        match &self.value {
            Value::Map(entries) => Ok(entries),
            Value::Null => Ok(&[]),
            _ => Err(self.place.refuse(format_args!("{what} is no mapping"))),
        }
    }

    /// The items of a list; none for null.
    pub(crate) fn list(&self, what: &str) -> Result<&[Self], SourceError> {
        match &self.value {
            Value::List(items) => Ok(items),
            Value::Null => Ok(&[]),
            _ => Err(self.place.refuse(format_args!("{what} is no list"))),
        }
    }

    /// One item, or a list of them.
    pub(crate) fn items(&self) -> &[Self] {
        match &self.value {
            Value::List(items) => items,
            Value::Null => &[],
            _ => std::slice::from_ref(self),
        }
    }

    /// The value of a key of this mapping.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|(name, _)| name == key).map(|(_, node)| node),
            _ => None,
        }
    }

    /// The text; empty for null.
    pub(crate) fn text(&self, what: &str) -> Result<&str, SourceError> {
        match &self.value {
            Value::Scalar { text, .. } => Ok(text),
            Value::Null => Ok(""),
            _ => Err(self.place.refuse(format_args!("{what} is no text"))),
        }
    }

    /// The text under a key, if it is there and not empty.
    pub(crate) fn text_of(&self, key: &str) -> Result<Option<&str>, SourceError> {
        match self.get(key) {
            Some(node) => Ok(Some(node.text(key)?).filter(|text| !text.is_empty())),
            None => Ok(None),
        }
    }

    /// A truth value under a key.
    pub(crate) fn truth_of(&self, key: &str, otherwise: bool) -> Result<bool, SourceError> {
        let Some(node) = self.get(key) else { return Ok(otherwise) };
        match node.text(key)?.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "y" => Ok(true),
            "false" | "no" | "off" | "n" => Ok(false),
            "" => Ok(otherwise),
            other => Err(node.place.refuse(format_args!("{key} is {other:?}, neither true nor false"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_one(text: &str) -> Result<Node, String> {
        parse(text, Path::new("f.yml")).map(|mut nodes| nodes.remove(0)).map_err(|error| error.to_string())
    }

    #[test]
    fn merge_keys_fill_in_what_a_mapping_does_not_say_itself() {
        let text = "x: &x {a: 1, b: 2}\ny: &y {b: 3, c: 4}\nz:\n  <<: [*x, *y]\n  a: own # comment\n";
        let node = parse_one(text).unwrap();
        let z = node.get("z").unwrap();
        let seen = ["a", "b", "c"].map(|key| z.text_of(key).unwrap().unwrap());
        assert_eq!(seen, ["own", "2", "4"]);
    }

    #[test]
    fn what_is_no_yaml_is_refused_with_its_line() {
        for (text, says) in [
            ("a: 1\nb: [1\n", "f.yml:"),
            ("a: 1\na: 2\n", "f.yml:2: the key \"a\" is given twice"),
            ("a: &a [*a]\n", "f.yml:1"),
            ("a: 1\n<<: 5\n", "f.yml:2: `<<` merges"),
        ] {
            let error = parse_one(text).unwrap_err();
            assert!(error.contains(says), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_file_that_would_grow_without_end_is_refused() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for n in 1..12 {
            let before = format!("*a{}", n - 1);
            text += &format!("a{n}: &a{n} [{}]\n", vec![before; 10].join(", "));
        }
        assert!(parse_one(&text).unwrap_err().contains("grow beyond all bounds"));
        assert!(parse_one(&"[".repeat(5000)).is_err());
    }

    #[test]
    fn null_and_an_empty_text_are_told_apart() {
        let node = parse_one("a:\nb: \"\"\nc: ~\nd: 'null'\n").unwrap();
        let null = ["a", "b", "c", "d"].map(|key| matches!(node.get(key).unwrap().value, Value::Null));
        assert_eq!(null, [true, false, true, false]);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text in "([a-z&*<:\\-\\[\\]{}, \n\"'|>#!]|.)*") {
            let _ = parse(&text, Path::new("f"));
        }
    }
}
