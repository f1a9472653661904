//! Notes: what is added to snapshots afterwards. Page `format-spec/note.md`.

use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, Bytes};

use super::Extra;
use super::cbor::{self, WireExtra, WireTime};
use super::envelope::{Authority, ObjectType, Opener, Sealer};
use super::error::FormatError;
use super::names;
use crate::clock::Timestamp;
use crate::id::{ObjectHash, SnapshotId};

const WHAT: &str = "note";

/// How far a verification went.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[repr(u8)]
pub enum VerifiedHow {
    /// Names, headers, directories, trees.
    Structure = 1,
    /// Every chunk was read and its id recomputed.
    Content = 2,
}

/// One statement about a snapshot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// Kind 1: an owner's listing showed it. Lowest number wins.
    FirstSeen,
    /// Kind 2: a tag was set or taken away.
    Tag {
        /// The tag.
        tag: String,
        /// Is it there from now on?
        present: bool,
    },
    /// Kind 3: a comment; empty takes it away.
    Comment(String),
    /// Kind 4: keep it.
    Keep(Keep),
    /// Kind 5: it was verified.
    Verified {
        /// How far.
        how: VerifiedHow,
        /// Bytes read.
        bytes: u64,
        /// Findings; 0: it is whole.
        findings: u64,
    },
    /// Kind 6: it was restored as a test.
    Drilled {
        /// What was restored.
        what: String,
        /// Did it succeed?
        good: bool,
        /// What came out, for a person.
        result: String,
    },
    /// Kind 7: it was live when the generation was raised to this one.
    Listed {
        /// The new generation.
        generation: u32,
    },
    /// A kind of a later version; kept as it is.
    Later {
        /// Its number, above 7.
        kind: u8,
        /// Its value.
        value: Vec<u8>,
    },
}

/// How long a snapshot is kept whatever the rules of `forget` say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keep {
    /// No longer than the rules say.
    Release,
    /// For ever.
    ForEver,
    /// Until this moment.
    Until(Timestamp),
}

impl Value {
    /// Its number in the format.
    pub fn kind(&self) -> u8 {
        match self {
            Self::FirstSeen => 1,
            Self::Tag { .. } => 2,
            Self::Comment(_) => 3,
            Self::Keep(_) => 4,
            Self::Verified { .. } => 5,
            Self::Drilled { .. } => 6,
            Self::Listed { .. } => 7,
            Self::Later { kind, .. } => *kind,
        }
    }
}

/// A statement, with what decides between two of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The snapshot it is about.
    pub snapshot: SnapshotId,
    /// The highest number of a kind (and tag) wins, then the highest object name; of first seen the lowest of both.
    pub number: u64,
    /// When it was made.
    pub time: Timestamp,
    /// What it says.
    pub value: Value,
}

/// A note object.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Note {
    /// In any order.
    pub entries: Vec<Entry>,
    /// Fields of later versions.
    pub extra: Extra,
}

#[derive(Serialize, Deserialize)]
struct WireEntry<'a>(ByteArray<16>, u8, u64, WireTime, #[serde(borrow)] &'a Bytes);

#[derive(Serialize, Deserialize)]
struct Wire<'a>(#[serde(borrow)] Vec<WireEntry<'a>>, #[serde(borrow)] Vec<WireExtra<'a>>);

// The values, each an array of its own.
#[derive(Serialize, Deserialize)]
struct WireTag<'a>(&'a str, bool);
#[derive(Serialize, Deserialize)]
struct WireKeep(u8, Option<WireTime>);
#[derive(Serialize, Deserialize)]
struct WireVerified(u8, u64, u64);
#[derive(Serialize, Deserialize)]
struct WireDrilled<'a>(&'a str, bool, &'a str);

fn value_out(value: &Value) -> Result<Vec<u8>, FormatError> {
    match value {
        Value::FirstSeen => cbor::encode(WHAT, &[(); 0]),
        Value::Tag { tag, present } => cbor::encode(WHAT, &WireTag(tag, *present)),
        Value::Comment(text) => cbor::encode(WHAT, &(text.as_str(),)),
        Value::Keep(Keep::Release) => cbor::encode(WHAT, &WireKeep(0, None)),
        Value::Keep(Keep::ForEver) => cbor::encode(WHAT, &WireKeep(1, None)),
        Value::Keep(Keep::Until(time)) => cbor::encode(WHAT, &WireKeep(2, Some(cbor::time_out(*time)))),
        Value::Verified { how, bytes, findings } => cbor::encode(WHAT, &WireVerified(*how as u8, *bytes, *findings)),
        Value::Drilled { what, good, result } => cbor::encode(WHAT, &WireDrilled(what, *good, result)),
        Value::Listed { generation } => cbor::encode(WHAT, &(*generation,)),
        Value::Later { kind, .. } if *kind <= 7 => Err(FormatError::field(WHAT, "kind", "is one of version 1")),
        Value::Later { value, .. } => Ok(value.clone()),
    }
}

fn value_in(kind: u8, value: &[u8]) -> Result<Value, FormatError> {
    Ok(match kind {
        0 => return Err(FormatError::field(WHAT, "kind", "is 0")),
        1 => {
            let [] = cbor::decode::<[(); 0]>(WHAT, value)?;
            Value::FirstSeen
        }
        2 => {
            let WireTag(tag, present) = cbor::decode(WHAT, value)?;
            Value::Tag { tag: tag.to_owned(), present }
        }
        3 => Value::Comment(cbor::decode::<(&str,)>(WHAT, value)?.0.to_owned()),
        4 => Value::Keep(match cbor::decode(WHAT, value)? {
            WireKeep(0, None) => Keep::Release,
            WireKeep(1, None) => Keep::ForEver,
            WireKeep(2, Some(time)) => Keep::Until(cbor::time_in(WHAT, time)?),
            _ => return Err(FormatError::field(WHAT, "keep", "is not 0, 1, or 2 with a time")),
        }),
        5 => {
            let WireVerified(how, bytes, findings) = cbor::decode(WHAT, value)?;
            let how = match how {
                1 => VerifiedHow::Structure,
                2 => VerifiedHow::Content,
                _ => return Err(FormatError::field(WHAT, "verified", "is neither 1 nor 2")),
            };
            Value::Verified { how, bytes, findings }
        }
        6 => {
            let WireDrilled(what, good, result) = cbor::decode(WHAT, value)?;
            Value::Drilled { what: what.to_owned(), good, result: result.to_owned() }
        }
        7 => Value::Listed { generation: cbor::decode::<(u32,)>(WHAT, value)?.0 },
        kind => Value::Later { kind, value: value.to_vec() },
    })
}

impl Note {
    /// Its body, without the mark.
    pub fn encode(&self) -> Result<Vec<u8>, FormatError> {
        let values = self.entries.iter().map(|entry| value_out(&entry.value)).collect::<Result<Vec<_>, _>>()?;
        let entries = self.entries.iter().zip(&values).map(|(entry, value)| {
            let (id, time) = (cbor::array(&entry.snapshot.0), cbor::time_out(entry.time));
            WireEntry(id, entry.value.kind(), entry.number, time, cbor::bytes(value))
        });
        cbor::encode(WHAT, &Wire(entries.collect(), cbor::extra_out(&self.extra)))
    }

    /// From a body without the mark.
    pub fn decode(body: &[u8]) -> Result<Self, FormatError> {
        let Wire(entries, extra) = cbor::decode(WHAT, body)?;
        let entries = entries.into_iter().map(|WireEntry(id, kind, number, time, value)| {
            let (snapshot, time) = (SnapshotId(id.into_array()), cbor::time_in(WHAT, time)?);
            Ok(Entry { snapshot, number, time, value: value_in(kind, value)? })
        });
        Ok(Self { entries: entries.collect::<Result<_, FormatError>>()?, extra: cbor::extra_in(WHAT, &extra)? })
    }
}

/// Seals a note and says what its name ends in. An owner's carries the owner's mark; only such notes keep, count or release a snapshot.
pub fn seal(sealer: &Sealer, note: &Note) -> Result<(ObjectHash, Vec<u8>), FormatError> {
    let object = sealer.seal_marked(ObjectType::Note, names::NOTES, note.encode()?)?;
    Ok((names::hash_of(&[&object]), object))
}

/// Opens a note, and says whose word it is.
pub fn open(opener: &Opener, object: &[u8]) -> Result<(Note, Authority), FormatError> {
    let (_, body, authority) = opener.open_marked(ObjectType::Note, names::NOTES, false, object)?;
    Ok((Note::decode(&body)?, authority))
}

/// Whose word a note is, whether or not this version understands what it says.
pub fn authority(opener: &Opener, object: &[u8]) -> Result<Authority, FormatError> {
    opener.open_marked(ObjectType::Note, names::NOTES, false, object).map(|(_, _, authority)| authority)
}

/// Of two statements of one snapshot, kind (and tag), is the first the one that holds? Each with the name of its object.
pub fn wins(first: (&Entry, &ObjectHash), second: (&Entry, &ObjectHash)) -> bool {
    let (a, b) = ((first.0.number, first.1), (second.0.number, second.1));
    if matches!(first.0.value, Value::FirstSeen) { a < b } else { a > b }
}

#[cfg(test)]
mod tests {
    use super::super::envelope::tests::{owner, writer};
    use super::*;

    fn note() -> Note {
        let time = Timestamp { seconds: 9, nanoseconds: 8 };
        let values = [
            Value::FirstSeen,
            Value::Tag { tag: "gold".into(), present: false },
            Value::Comment("before the upgrade".into()),
            Value::Keep(Keep::Release),
            Value::Keep(Keep::ForEver),
            Value::Keep(Keep::Until(time)),
            Value::Verified { how: VerifiedHow::Content, bytes: 1 << 40, findings: 0 },
            Value::Drilled { what: "postgresql".into(), good: true, result: "12 tables".into() },
            Value::Listed { generation: 2 },
            Value::Later { kind: 200, value: vec![0x80] },
        ];
        let entry = |(number, value)| Entry { snapshot: SnapshotId([1; 16]), number: number as u64, time, value };
        Note { entries: values.into_iter().enumerate().map(entry).collect(), extra: vec![] }
    }

    #[test]
    fn a_note_opens_to_what_was_sealed_and_says_whose_it_is() {
        let ((sealer, opener), (writer_seals, writer_opens)) = (owner(), writer());
        let (hash, object) = seal(&sealer, &note()).unwrap();
        assert_eq!(hash, names::hash_of(&[&object]));
        assert_eq!(open(&opener, &object).unwrap(), (note(), Authority::Owner));
        assert_eq!(open(&writer_opens, &object).unwrap().1, Authority::Unchecked);
        let (_, object) = seal(&writer_seals, &note()).unwrap();
        assert_eq!(open(&opener, &object).unwrap(), (note(), Authority::Writer));
    }

    #[test]
    fn values_of_another_form_are_refused() {
        for (kind, value) in [
            (0, &[0x80][..]),
            (1, &[0x81, 0]),
            (2, &[0x80]),
            (4, &[0x82, 1, 0x82, 0, 0]),
            (4, &[0x82, 2, 0xf6]),
            (5, &[0x83, 3, 0, 0]),
            (7, &[0x81, 0x18, 1]),
        ] {
            assert!(value_in(kind, value).is_err(), "{kind}");
        }
        let disguised = Value::Later { kind: 2, value: vec![] };
        assert!(value_out(&disguised).is_err());
    }

    #[test]
    fn the_highest_number_wins_but_the_lowest_of_first_seen() {
        let entry = |number, value| Entry { snapshot: SnapshotId([1; 16]), number, time: Timestamp::default(), value };
        let (low, high) = (ObjectHash([1; 32]), ObjectHash([2; 32]));
        let comment = |number| entry(number, Value::Comment("x".into()));
        let seen = |number| entry(number, Value::FirstSeen);
        assert!(wins((&comment(2), &low), (&comment(1), &high)));
        assert!(wins((&comment(2), &high), (&comment(2), &low)));
        assert!(wins((&seen(1), &high), (&seen(2), &low)));
        assert!(wins((&seen(1), &low), (&seen(1), &high)));
    }
}
