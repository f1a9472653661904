//! The shape of an RDB file, checked while it streams by: its magic, its EOF opcode and its checksum.
//!
//! ```text
//! "REDIS" | version, 4 digits | ... | 0xff | CRC-64 of every byte before, little-endian (0: checksums are off)
//! ```

use super::{SourceError, crc64};

/// Bytes at the end that are not fed to the checksum yet: the checksum itself.
const CHECKSUM: usize = 8;
/// First bytes of every RDB file, without the version.
const MAGIC: &[u8; 5] = b"REDIS";
/// Magic and version.
const HEAD: usize = 9;
/// How many first bytes are kept, to tell the server's version.
const KEPT: usize = 64;
/// The first field that every server writes behind the head: a name of 9 bytes and its text.
const SERVER_VERSION: &[u8] = b"\xfa\x09redis-ver";
/// The opcode before the checksum.
const EOF: u8 = 0xff;
/// The first version that ends with a checksum (Redis 2.6).
const FIRST_WITH_CHECKSUM: u32 = 5;

/// Watches an RDB stream pass.
#[derive(Default)]
pub(super) struct RdbCheck {
    head: Vec<u8>,
    crc: u64,
    /// The last byte that went into the checksum.
    last: u8,
    /// The last bytes, at most [`CHECKSUM`], that did not.
    held: Vec<u8>,
}

/// What a whole RDB file says about itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct RdbFacts {
    /// Version of the RDB format (10 for Redis 7.0).
    pub version: u32,
    /// False: the server writes no checksums (`rdbchecksum no`), so only the end mark was checked.
    pub checksum: bool,
    /// Version of the server that wrote it.
    pub server: Option<String>,
}

impl RdbCheck {
    /// The next bytes of the stream.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        let missing = KEPT - self.head.len();
        self.head.extend_from_slice(&bytes[..missing.min(bytes.len())]);
        let sure = (self.held.len() + bytes.len()).saturating_sub(CHECKSUM);
        let from_held = sure.min(self.held.len());
        let from_bytes = sure - from_held;
        self.crc = crc64::update(self.crc, &self.held[..from_held]);
        self.crc = crc64::update(self.crc, &bytes[..from_bytes]);
        self.last = bytes[..from_bytes].last().or(self.held[..from_held].last()).copied().unwrap_or(self.last);
        self.held.drain(..from_held);
        self.held.extend_from_slice(&bytes[from_bytes..]);
    }

    /// The server's version as it stands in the first field.
    fn server(&self) -> Option<String> {
        let (length, rest) = self.head.get(HEAD..)?.strip_prefix(SERVER_VERSION)?.split_first()?;
        // A short text has its length in one byte; the upper bits would announce another form.
        let text = rest.get(..usize::from(*length))?;
        let plain = text.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'));
        (plain && *length < 64).then(|| String::from_utf8_lossy(text).into_owned())
    }

    /// After the last byte: was that one whole RDB file?
    pub(super) fn finish(&self, what: &str) -> Result<RdbFacts, SourceError> {
        let wrong = |detail: String| Err(SourceError::Shape { what: what.to_owned(), detail });
        let digits = self.head.get(..HEAD).and_then(|head| head.strip_prefix(MAGIC));
        let digits = digits.filter(|digits| digits.iter().all(u8::is_ascii_digit));
        let version = digits.and_then(|digits| std::str::from_utf8(digits).ok()?.parse::<u32>().ok());
        let Some(version) = version else {
            return wrong("it does not begin as an RDB file does (\"REDIS\" and a version)".into());
        };
        if version < FIRST_WITH_CHECKSUM {
            return wrong(format!("RDB version {version} is too old: it has no checksum"));
        }
        let (Ok(stored), EOF) = (<[u8; CHECKSUM]>::try_from(self.held.as_slice()), self.last) else {
            return wrong("it does not end with the EOF opcode and a checksum: it was cut off".into());
        };
        let stored = u64::from_le_bytes(stored);
        if stored != 0 && stored != self.crc {
            return wrong(format!("its checksum is {:016x} and should be {stored:016x}", self.crc));
        }
        Ok(RdbFacts { version, checksum: stored != 0, server: self.server() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rdb(checksum: bool) -> Vec<u8> {
        let mut bytes = b"REDIS0010\xfa\x09redis-ver\x067.0.15\xfe\x00\x00\x01k\x01v\xff".to_vec();
        let crc = if checksum { crc64::update(0, &bytes) } else { 0 };
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn check(bytes: &[u8], piece: usize) -> Result<RdbFacts, SourceError> {
        let mut check = RdbCheck::default();
        bytes.chunks(piece).for_each(|piece| check.feed(piece));
        check.finish("the RDB")
    }

    #[test]
    fn a_whole_file_is_accepted_in_pieces_of_any_size() {
        for piece in 1..60 {
            let facts = RdbFacts { version: 10, checksum: true, server: Some("7.0.15".into()) };
            assert_eq!(check(&rdb(true), piece).unwrap(), facts);
            assert_eq!(check(&rdb(false), piece).unwrap(), RdbFacts { checksum: false, ..facts });
        }
    }

    #[test]
    fn every_cut_and_every_flipped_bit_is_found() {
        let whole = rdb(true);
        for length in 0..whole.len() {
            assert!(check(&whole[..length], 7).is_err(), "cut to {length}");
        }
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut wrong = whole.clone();
                wrong[at] ^= 1 << bit;
                assert!(check(&wrong, 7).is_err(), "bit {bit} of byte {at}");
            }
        }
        assert!(check(&[whole.as_slice(), b"*1\r\n"].concat(), 7).is_err(), "something behind it");
    }
}
