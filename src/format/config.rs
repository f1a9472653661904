//! Config: what the repository agreed on, as a chain of objects. Page `format-spec/config.md`.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;

use super::cbor::{self, WireExtra, WireTime};
use super::envelope::{Authority, ObjectType, Opener, Sealer};
use super::error::{FormatError, at_most};
use super::names::ObjectName;
use super::{Extra, limits};
use crate::chunker::Sizes;
use crate::clock::Timestamp;
use crate::id::{ObjectHash, PackId};

const WHAT: &str = "config";
/// FastCDC v2020 with keyed gear tables.
pub const CHUNKER_FASTCDC: u8 = 1;
/// Padmé.
pub const PADDING_PADME: u8 = 1;
/// Bits of `read_features` this program knows: none in version 1.
pub(crate) const READ_FEATURES_KNOWN: u64 = 0;
/// Bits of `write_features` this program knows: none in version 1.
pub(crate) const WRITE_FEATURES_KNOWN: u64 = 0;

/// Extra field: one byte, the percentage of recovery shards beside new packs. Not there: none.
pub(crate) const EXTRA_PARITY: u16 = 1;
/// Extra field: ids of packs known to be damaged, end to end, strictly rising. Not there: none.
pub(crate) const EXTRA_DAMAGED: u16 = 2;
/// Extra field: 32 bytes, the key of cut points in place of the derived one. Not there: the derived one.
pub(crate) const EXTRA_CUT_KEY: u16 = 3;
/// Packs that may be listed as damaged: half a config.
pub(crate) const DAMAGED_PACKS_MAX: usize = 16_384;

/// What the store was found to be good for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum StoreClass {
    /// Create-if-absent has exactly one winner: several maintainers may work.
    Shared = 1,
    /// It has not: one maintainer at a time.
    SingleMaintainer = 2,
}

/// What the repository agreed on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// From 1; its name.
    pub number: u32,
    /// BLAKE3 of the config before it; zeros for the first.
    pub previous: ObjectHash,
    /// When it was made.
    pub time: Timestamp,
    /// Generation writers must be of. A config may name the generation after its own: then it stops writers.
    pub generation: u32,
    /// A bit that a program does not know stops it.
    pub read_features: u64,
    /// A bit that a program does not know stops its writers, prune and repair.
    pub write_features: u64,
    /// What the store is good for.
    pub class: StoreClass,
    /// How data is cut.
    pub chunker: u8,
    /// Chunks of streams.
    pub streams: Sizes,
    /// Chunks of files.
    pub files: Sizes,
    /// zstd level.
    pub level: i32,
    /// How packs and bodies are padded.
    pub padding: u8,
    /// Seconds since it was first seen in which no rule forgets a snapshot; 0: none.
    pub guard_seconds: u64,
    /// Program and version that wrote it.
    pub program: String,
    /// Fields of later versions.
    pub extra: Extra,
}

type WireSizes = (u32, u32, u32);

#[derive(Serialize, Deserialize)]
struct Wire<'a>(
    u32,
    ByteArray<32>,
    WireTime,
    u32,
    u64,
    u64,
    u8,
    u8,
    WireSizes,
    WireSizes,
    i32,
    u8,
    u64,
    &'a str,
    #[serde(borrow)] Vec<WireExtra<'a>>,
);

impl Config {
    /// Its body, without the owner's mark.
    pub fn encode(&self) -> Result<Vec<u8>, FormatError> {
        self.check()?;
        let sizes = |sizes: &Sizes| (sizes.min, sizes.avg, sizes.max);
        let wire = Wire(
            self.number,
            cbor::array(&self.previous.0),
            cbor::time_out(self.time),
            self.generation,
            self.read_features,
            self.write_features,
            self.class as u8,
            self.chunker,
            sizes(&self.streams),
            sizes(&self.files),
            self.level,
            self.padding,
            self.guard_seconds,
            &self.program,
            cbor::extra_out(&self.extra),
        );
        cbor::encode(WHAT, &wire)
    }

    /// From a body without the owner's mark.
    pub fn decode(body: &[u8]) -> Result<Self, FormatError> {
        let wire: Wire<'_> = cbor::decode(WHAT, body)?;
        let sizes = |(min, avg, max): WireSizes| Sizes { min, avg, max };
        let config = Self {
            number: wire.0,
            previous: ObjectHash(wire.1.into_array()),
            time: cbor::time_in(WHAT, wire.2)?,
            generation: wire.3,
            read_features: wire.4,
            write_features: wire.5,
            class: match wire.6 {
                1 => StoreClass::Shared,
                2 => StoreClass::SingleMaintainer,
                _ => return Err(FormatError::field(WHAT, "class", "is neither 1 nor 2")),
            },
            chunker: wire.7,
            streams: sizes(wire.8),
            files: sizes(wire.9),
            level: wire.10,
            padding: wire.11,
            guard_seconds: wire.12,
            program: wire.13.to_owned(),
            extra: cbor::extra_in(WHAT, &wire.14)?,
        };
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), FormatError> {
        let refuse = |field, why| Err(FormatError::field(WHAT, field, why));
        if self.number == 0 {
            return refuse("number", "is 0");
        }
        if (self.number == 1) != (self.previous.0 == [0; 32]) {
            return refuse("previous", "must be zero in the first config and in no other");
        }
        if self.generation == 0 {
            return refuse("generation", "is 0");
        }
        if self.chunker != CHUNKER_FASTCDC {
            return refuse("chunker", "is not 1");
        }
        for (field, sizes) in [("streams", &self.streams), ("files", &self.files)] {
            if sizes.check().is_err() || sizes.max > limits::CHUNK_SIZE_MAX {
                return refuse(field, "are chunk sizes outside the limits");
            }
        }
        if !crate::compress::LEVELS.contains(&self.level) {
            return refuse("level", "is none of zstd");
        }
        if self.padding != PADDING_PADME {
            return refuse("padding", "is not 1");
        }
        self.check_extra()
    }

    /// Percentage of recovery shards that a writer puts beside each new pack; 0: none.
    pub fn parity_percent(&self) -> u8 {
        self.extra_field(EXTRA_PARITY).and_then(|value| value.first().copied()).unwrap_or(0)
    }

    /// Sets [`Config::parity_percent`].
    pub(crate) fn set_parity_percent(&mut self, percent: u8) {
        self.set_extra_field(EXTRA_PARITY, (percent > 0).then(|| vec![percent]));
    }

    /// Packs that `repair` found damaged and could not mend, in rising order. Readers still try them; writers store again what stands in
    /// them. A writer cannot check who says so, but all that obeying costs is space.
    pub fn damaged_packs(&self) -> Vec<PackId> {
        self.extra_field(EXTRA_DAMAGED).unwrap_or_default().chunks_exact(PackId::SIZE).filter_map(PackId::from_slice).collect()
    }

    /// Sets [`Config::damaged_packs`], in any order.
    pub(crate) fn set_damaged_packs(&mut self, packs: &[PackId]) {
        let mut packs = packs.to_vec();
        packs.sort_unstable();
        packs.dedup();
        self.set_extra_field(EXTRA_DAMAGED, (!packs.is_empty()).then(|| packs.iter().flat_map(|id| id.0).collect()));
    }

    /// The key of cut points that another repository cuts with too; none: the one derived from the writer secret. Opened only by who
    /// may derive that one, and worth as much.
    pub(crate) fn shared_cut_key(&self) -> Option<[u8; 32]> {
        self.extra_field(EXTRA_CUT_KEY)?.try_into().ok()
    }

    /// Sets [`Config::shared_cut_key`].
    pub(crate) fn set_shared_cut_key(&mut self, key: Option<[u8; 32]>) {
        self.set_extra_field(EXTRA_CUT_KEY, key.map(Vec::from));
    }

    fn extra_field(&self, number: u16) -> Option<&[u8]> {
        self.extra.iter().find(|field| field.0 == number).map(|field| field.2.as_slice())
    }

    /// In its place in the order of numbers.
    fn set_extra_field(&mut self, number: u16, value: Option<Vec<u8>>) {
        self.extra.retain(|field| field.0 != number);
        if let Some(value) = value {
            let place = self.extra.partition_point(|field| field.0 < number);
            self.extra.insert(place, (number, false, value));
        }
    }

    fn check_extra(&self) -> Result<(), FormatError> {
        if let Some(value) = self.extra_field(EXTRA_PARITY)
            && !matches!(value, [1..=super::parity::PERCENT_MAX])
        {
            return Err(FormatError::field(WHAT, "parity", "is not one byte of 1 to 50"));
        }
        if self.extra_field(EXTRA_CUT_KEY).is_some_and(|value| value.len() != 32) {
            return Err(FormatError::field(WHAT, "cut key", "is not 32 bytes"));
        }
        if let Some(value) = self.extra_field(EXTRA_DAMAGED) {
            at_most("damaged packs", (value.len() / PackId::SIZE) as u64, DAMAGED_PACKS_MAX as u64)?;
            if value.is_empty()
                || !value.len().is_multiple_of(PackId::SIZE)
                || !value.chunks(PackId::SIZE).is_sorted_by(|a, b| a < b)
            {
                return Err(FormatError::field(WHAT, "damaged packs", "are not ids in strictly rising order"));
            }
        }
        Ok(())
    }

    /// Bits of `read_features` this program does not know: if any, it must stop.
    pub(crate) fn unknown_read_features(&self) -> u64 {
        self.read_features & !READ_FEATURES_KNOWN
    }
    /// Bits of `write_features` this program does not know: if any, it may only read.
    pub(crate) fn unknown_write_features(&self) -> u64 {
        self.write_features & !WRITE_FEATURES_KNOWN
    }
}

/// A config as it was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opened {
    /// What it says.
    pub config: Config,
    /// The generation it was sealed in.
    pub sealed_in: u32,
    /// An owner takes only its own; a writer cannot tell.
    pub authority: Authority,
}

/// Seals a config; owners only.
pub fn seal(sealer: &Sealer, config: &Config) -> Result<Vec<u8>, FormatError> {
    sealer.need_owner(WHAT)?;
    sealer.seal_marked(ObjectType::Config, &ObjectName::Config(config.number).place(), config.encode()?)
}

/// Opens the config called `number`. For an owner one without the owner's mark is [`FormatError::WrongOwnerMac`].
pub fn open(opener: &Opener, number: u32, object: &[u8]) -> Result<Opened, FormatError> {
    let place = ObjectName::Config(number).place();
    let (header, body, authority) = opener.open_marked(ObjectType::Config, &place, true, object)?;
    let config = Config::decode(&body)?;
    if config.number != number {
        return Err(FormatError::WrongPlace { what: WHAT });
    }
    // A config names its own generation, or the next one: it is how a rotation stops the writers before it.
    if config.generation != header.generation && Some(config.generation) != header.generation.checked_add(1) {
        return Err(FormatError::field(WHAT, "generation", "is neither that it is sealed in nor the next"));
    }
    Ok(Opened { config, sealed_in: header.generation, authority })
}

#[cfg(test)]
mod tests {
    use super::super::envelope::tests::{owner, writer};
    use super::*;

    fn config() -> Config {
        Config {
            number: 1,
            previous: ObjectHash([0; 32]),
            time: Timestamp { seconds: 1_800_000_000, nanoseconds: 1 },
            generation: 1,
            read_features: 0,
            write_features: 1 << 63,
            class: StoreClass::Shared,
            chunker: CHUNKER_FASTCDC,
            streams: Sizes::STREAMS,
            files: Sizes::FILES,
            level: -3,
            padding: PADDING_PADME,
            guard_seconds: 14 * 86_400,
            program: "esker 0.1.0".into(),
            extra: vec![(7, false, b"kept".to_vec())],
        }
    }

    #[test]
    fn a_config_opens_to_what_was_sealed() {
        let ((sealer, opener), (_, reader)) = (owner(), writer());
        let object = seal(&sealer, &config()).unwrap();
        let opened = open(&opener, 1, &object).unwrap();
        assert_eq!((opened.config, opened.sealed_in, opened.authority), (config(), 1, Authority::Owner));
        let opened = open(&reader, 1, &object).unwrap();
        assert_eq!((opened.config, opened.authority), (config(), Authority::Unchecked));
        assert_eq!(config().unknown_write_features(), 1 << 63);
    }

    #[test]
    fn a_config_of_another_number_or_of_a_thief_is_refused() {
        let ((sealer, opener), (thief, _)) = (owner(), writer());
        let object = seal(&sealer, &config()).unwrap();
        assert!(matches!(open(&opener, 2, &object), Err(FormatError::WrongOwnerMac { .. })));
        assert!(matches!(seal(&thief, &config()), Err(FormatError::NeedsOwner { .. })));
        let forged = thief.seal_marked(ObjectType::Config, "config/00000001", config().encode().unwrap()).unwrap();
        assert!(matches!(open(&opener, 1, &forged), Err(FormatError::WrongOwnerMac { .. })));
    }

    #[test]
    fn fields_outside_the_limits_are_neither_written_nor_read() {
        let good = config();
        let bad = [
            Config { number: 0, ..good.clone() },
            Config { number: 2, ..good.clone() },
            Config { previous: ObjectHash([1; 32]), ..good.clone() },
            Config { generation: 0, ..good.clone() },
            Config { chunker: 2, ..good.clone() },
            Config { streams: Sizes { min: 1, avg: 128, max: 512 }, ..good.clone() },
            Config { files: Sizes { min: 64 << 10, avg: 256 << 10, max: 32 << 20 }, ..good.clone() },
            Config { level: 23, ..good.clone() },
            Config { padding: 0, ..good.clone() },
        ];
        for config in bad {
            assert!(matches!(config.encode(), Err(FormatError::Field { .. })), "{config:?}");
        }
    }

    #[test]
    fn parity_and_damaged_packs_are_kept_beside_fields_of_later_versions() {
        let mut config = config();
        assert_eq!((config.parity_percent(), config.damaged_packs()), (0, vec![]));
        config.set_damaged_packs(&[PackId([2; 32]), PackId([1; 32]), PackId([2; 32])]);
        config.set_parity_percent(5);
        let mut config = Config::decode(&config.encode().unwrap()).unwrap();
        assert_eq!((config.parity_percent(), config.damaged_packs()), (5, vec![PackId([1; 32]), PackId([2; 32])]));
        assert_eq!(config.extra.iter().map(|field| field.0).collect::<Vec<_>>(), [1, 2, 7]);
        config.set_parity_percent(0);
        config.set_damaged_packs(&[]);
        assert_eq!(config, super::tests::config());
        for bad in [(1, vec![0]), (1, vec![51]), (1, vec![5, 5]), (1, vec![]), (2, vec![1; 31]), (2, vec![1; 64]), (2, vec![])] {
            let config = Config { extra: vec![(bad.0, false, bad.1)], ..config.clone() };
            assert!(config.encode().is_err(), "{:?}", config.extra);
        }
        config.set_parity_percent(51);
        assert!(config.encode().is_err());
    }

    #[test]
    fn a_shared_cut_key_is_32_bytes_and_opens_for_writers() {
        let ((sealer, _), (_, reader)) = (owner(), writer());
        let mut config = config();
        assert_eq!(config.shared_cut_key(), None);
        config.set_shared_cut_key(Some([9; 32]));
        let opened = open(&reader, 1, &seal(&sealer, &config).unwrap()).unwrap();
        assert_eq!(opened.config.shared_cut_key(), Some([9; 32]));
        config.set_shared_cut_key(None);
        assert_eq!(config, super::tests::config());
        for bad in [vec![], vec![9; 31], vec![9; 33]] {
            assert!(Config { extra: vec![(EXTRA_CUT_KEY, false, bad)], ..config.clone() }.encode().is_err());
        }
    }

    #[test]
    fn a_config_names_its_own_generation_or_the_next() {
        let (sealer, opener) = owner();
        let next = Config { generation: 2, ..config() };
        assert_eq!(open(&opener, 1, &seal(&sealer, &next).unwrap()).unwrap().config.generation, 2);
        let far = Config { generation: 3, ..config() };
        assert!(open(&opener, 1, &seal(&sealer, &far).unwrap()).is_err());
    }
}
