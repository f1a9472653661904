//! Structured bodies: CBOR arrays in field order, in one form only. The one file that knows `serde_cbor`.

use std::io;

use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, Bytes};

use super::Extra;
use super::error::FormatError;
use crate::clock::Timestamp;

/// A timestamp as it is written: seconds, nanoseconds.
pub(super) type WireTime = (i64, u32);
/// A field of a later version as it is written.
pub(super) type WireExtra<'a> = (u16, bool, &'a Bytes);

/// Encodes; the wire types of this room hold nothing that CBOR cannot.
pub(super) fn encode<T: Serialize>(what: &'static str, value: &T) -> Result<Vec<u8>, FormatError> {
    serde_cbor::to_vec(value).map_err(|_| FormatError::NotCanonical { what })
}

/// Decodes, and encodes again to see that these are the only bytes that mean this. Bytes and texts are borrowed: nothing is allocated
/// for a claimed length, and the nesting is bounded by the decoder (127) and by the wire types.
pub(super) fn decode<'a, T: Deserialize<'a> + Serialize>(what: &'static str, bytes: &'a [u8]) -> Result<T, FormatError> {
    let value: T = serde_cbor::from_slice(bytes).map_err(|_| FormatError::NotCanonical { what })?;
    let mut same = Same(bytes);
    match serde_cbor::to_writer(&mut same, &value) {
        Ok(()) if same.0.is_empty() => Ok(value),
        _ => Err(FormatError::NotCanonical { what }),
    }
}

/// Takes bytes only while they are those expected.
struct Same<'a>(&'a [u8]);

impl io::Write for Same<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.strip_prefix(bytes).ok_or(io::ErrorKind::InvalidData)?;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(super) fn bytes(bytes: &[u8]) -> &Bytes {
    Bytes::new(bytes)
}

pub(super) fn array<const N: usize>(bytes: &[u8; N]) -> ByteArray<N> {
    ByteArray::new(*bytes)
}

pub(super) fn time_out(time: Timestamp) -> WireTime {
    (time.seconds, time.nanoseconds)
}

pub(super) fn time_in(what: &'static str, (seconds, nanoseconds): WireTime) -> Result<Timestamp, FormatError> {
    if nanoseconds > 999_999_999 {
        return Err(FormatError::field(what, "a time", "has more than 999,999,999 nanoseconds"));
    }
    Ok(Timestamp { seconds, nanoseconds })
}

pub(super) fn extra_out(extra: &Extra) -> Vec<WireExtra<'_>> {
    extra.iter().map(|(number, required, value)| (*number, *required, Bytes::new(value))).collect()
}

/// Version 1 knows no required extra field: it stops at one, and keeps the others.
pub(super) fn extra_in(what: &'static str, wire: &[WireExtra<'_>]) -> Result<Extra, FormatError> {
    if !wire.is_sorted_by(|a, b| a.0 < b.0) {
        return Err(FormatError::field(what, "extra", "is not in rising order of numbers"));
    }
    if let Some((number, ..)) = wire.iter().find(|(_, required, _)| *required) {
        return Err(FormatError::RequiredExtra { what, number: *number });
    }
    Ok(wire.iter().map(|(number, required, value)| (*number, *required, value.to_vec())).collect())
}

/// Writes the head of an array of `count` elements, as [`encode`] would.
pub(super) fn array_head(out: &mut Vec<u8>, count: usize) {
    let count = count as u64;
    match count {
        0..=23 => out.push(0x80 | count as u8),
        24..=0xff => out.extend_from_slice(&[0x98, count as u8]),
        0x100..=0xffff => {
            out.push(0x99);
            out.extend_from_slice(&(count as u16).to_be_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            out.push(0x9a);
            out.extend_from_slice(&(count as u32).to_be_bytes());
        }
        _ => {
            out.push(0x9b);
            out.extend_from_slice(&count.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Wire<'a>(u64, #[serde(borrow)] &'a Bytes, Option<&'a str>, Vec<WireExtra<'a>>);

    #[test]
    fn what_is_encoded_decodes() {
        let value = Wire(300, Bytes::new(b"ab"), Some("c"), vec![(7, false, Bytes::new(b"x"))]);
        let bytes = encode("test", &value).unwrap();
        assert_eq!(crate::id::hex(&bytes), "8419012c426162616381 8307f44178".replace(' ', ""));
        assert_eq!(decode::<Wire<'_>>("test", &bytes).unwrap(), value);
    }

    #[test]
    fn any_other_form_of_the_same_value_is_refused() {
        let good = crate::id::unhex::<6>("84054161f680").unwrap();
        assert!(decode::<Wire<'_>>("test", &good).is_ok());
        for (why, bad) in [
            ("an integer that could be shorter", "8418054161f680"),
            ("an indefinite byte string", "84055f4161fff680"),
            ("an indefinite array", "9f054161f680ff"),
            ("undefined for null", "84054161f780"),
            ("a float for an integer", "84fa40a000004161f680"),
            ("trailing bytes", "84054161f68000"),
            ("too few elements", "83054161f6"),
            ("too many elements", "85054161f68000"),
            ("a text for bytes", "84056161f680"),
            ("a length far beyond the bytes", "84055bffffffffffffffff"),
            ("an array far beyond the bytes", "84054161f69bffffffffffffffff"),
            ("a tag", "8405c24161f680"),
        ] {
            let bytes: Vec<u8> = (0..bad.len() / 2).map(|i| u8::from_str_radix(&bad[i * 2..i * 2 + 2], 16).unwrap()).collect();
            assert!(matches!(decode::<Wire<'_>>("test", &bytes), Err(FormatError::NotCanonical { .. })), "{why}");
        }
    }

    #[test]
    fn a_required_field_of_a_later_version_stops_and_an_optional_one_is_kept() {
        let value = Bytes::new(b"x");
        assert_eq!(extra_in("test", &[(1, false, value), (2, false, value)]).unwrap().len(), 2);
        assert!(matches!(
            extra_in("test", &[(1, false, value), (2, true, value)]),
            Err(FormatError::RequiredExtra { number: 2, .. })
        ));
        assert!(extra_in("test", &[(2, false, value), (2, false, value)]).is_err());
        assert!(extra_in("test", &[(2, false, value), (1, false, value)]).is_err());
    }

    #[test]
    fn an_array_head_is_the_encoders() {
        for count in [0usize, 1, 23, 24, 255, 256, 65_535, 65_536] {
            let mut head = Vec::new();
            array_head(&mut head, count);
            let whole = encode("test", &vec![0u8; count]).unwrap();
            assert_eq!(whole[..whole.len() - count], head);
        }
    }
}
