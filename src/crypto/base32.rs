//! Crockford's base32, for keys that a person copies: no letter looks like a digit, case does not matter.

/// In the order of the values 0..=31.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// Text of `bytes`, most significant bits first. Callers use multiples of five bytes, so that no bits are left over.
pub(super) fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(5) * 8);
    for group in bytes.chunks(5) {
        let mut value = [0; 8];
        value[3..3 + group.len()].copy_from_slice(group);
        let value = u64::from_be_bytes(value);
        for digit in 0..(group.len() * 8).div_ceil(5) {
            let bits = (value >> (35 - 5 * digit)) & 31;
            text.push(char::from(ALPHABET[bits as usize]));
        }
    }
    text
}

/// Bytes of exactly `N` (a multiple of five) from text: upper or lower case, `O` as 0, `I` and `L` as 1, dashes and white space ignored.
/// `Err` says what is wrong.
pub(super) fn decode<const N: usize>(text: &str) -> Result<zeroize::Zeroizing<[u8; N]>, &'static str> {
    const { assert!(N.is_multiple_of(5)) };
    let mut bytes = zeroize::Zeroizing::new([0; N]);
    let (mut value, mut digits, mut at) = (0u64, 0usize, 0usize);
    for character in text.chars() {
        if character == '-' || character.is_whitespace() {
            continue;
        }
        let upper = character.to_ascii_uppercase();
        let plain = match upper {
            'O' => '0',
            'I' | 'L' => '1',
            other => other,
        };
        let Some(bits) = ALPHABET.iter().position(|&letter| char::from(letter) == plain) else {
            return Err("it holds a character that cannot occur");
        };
        if at == N {
            return Err("it is too long");
        }
        value = value << 5 | bits as u64;
        digits += 1;
        if digits == 8 {
            bytes[at..at + 5].copy_from_slice(&value.to_be_bytes()[3..]);
            (value, digits, at) = (0, 0, at + 5);
        }
    }
    if at == N && digits == 0 { Ok(bytes) } else { Err("it is too short") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_reads_back() {
        for first in 0..=255u8 {
            let bytes = [first, first.wrapping_mul(7), 3, !first, first ^ 0x55, 1, 2, 3, first, 5];
            assert_eq!(*decode::<10>(&encode(&bytes)).unwrap(), bytes);
        }
        assert_eq!(encode(&[0, 0, 0, 0, 0]), "00000000");
        assert_eq!(encode(&[0xff; 5]), "ZZZZZZZZ");
    }

    #[test]
    fn case_spaces_dashes_and_look_alikes_are_forgiven() {
        assert_eq!(*decode::<5>("oOil-z zZz").unwrap(), *decode::<5>("0011ZZZZ").unwrap());
    }

    #[test]
    fn other_lengths_and_letters_are_refused() {
        assert!(decode::<5>("0000000").is_err());
        assert!(decode::<5>("000000000").is_err());
        assert!(decode::<5>("0000000U").is_err());
        assert!(decode::<5>("0000000é").is_err());
        assert!(decode::<5>("").is_err());
    }
}
