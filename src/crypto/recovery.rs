//! The recovery key: 32 random bytes that a person prints and, one bad day, types.

use std::fmt;

use zeroize::Zeroizing;

use super::derive::{Secret, context, kdf};
use super::{CryptoError, base32};
use crate::clock::{Rng, random};

/// Bytes of checksum behind the key.
const CHECKSUM_SIZE: usize = 3;
/// Key and checksum: 280 bits, 56 characters without a bit left over.
const TYPED_SIZE: usize = 32 + CHECKSUM_SIZE;

/// Opens a keyslot without any passphrase.
#[derive(Debug)]
pub struct RecoveryKey(Secret);

impl RecoveryKey {
    /// A new one.
    pub fn generate(rng: &dyn Rng) -> Result<Self, CryptoError> {
        Ok(Self(Secret::new(random(rng)?)))
    }
    /// Takes over its bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Secret::new(bytes))
    }
    /// What a keyslot is wrapped under. It needs no cost: nobody guesses 256 bits.
    pub fn stretch(&self) -> Secret {
        kdf(context::RECOVERY, &[self.0.expose()])
    }
    /// 14 groups of four characters, with dashes.
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new([0; TYPED_SIZE]);
        bytes[..32].copy_from_slice(self.0.expose());
        bytes[32..].copy_from_slice(&checksum(self.0.expose()));
        let plain = Zeroizing::new(base32::encode(&*bytes));
        let mut text = Zeroizing::new(String::with_capacity(plain.len() * 5 / 4));
        for (place, character) in plain.chars().enumerate() {
            if place > 0 && place % 4 == 0 {
                text.push('-');
            }
            text.push(character);
        }
        text
    }
    /// From what was typed: case, spaces and dashes do not matter, and letters that look like digits count as them.
    pub fn from_text(text: &str) -> Result<Self, CryptoError> {
        let typed = |why| CryptoError::Typed { what: "this is not a recovery key", why };
        let bytes = base32::decode::<TYPED_SIZE>(text).map_err(typed)?;
        let (key, sum) = bytes.split_first_chunk::<32>().ok_or(typed("it is too short"))?;
        if *sum != checksum(key) {
            return Err(typed("its checksum is wrong: a character was mistyped"));
        }
        Ok(Self(Secret::new(*key)))
    }
}

impl PartialEq for RecoveryKey {
    fn eq(&self, other: &Self) -> bool {
        super::derive::equal(self.0.expose(), other.0.expose())
    }
}

impl fmt::Display for RecoveryKey {
    /// Never the key: [`RecoveryKey::to_text`] says when it is meant to be seen.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("..")
    }
}

fn checksum(key: &[u8; 32]) -> [u8; CHECKSUM_SIZE] {
    let sum = kdf(context::CHECKSUM, &[b"recovery", key]);
    let [a, b, c, ..] = *sum.expose();
    [a, b, c]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recovery_key_reads_back_however_it_is_typed() {
        let key = RecoveryKey::from_bytes(std::array::from_fn(|i| (i * 37) as u8));
        let text = key.to_text();
        assert_eq!(text.len(), 56 + 13);
        assert_eq!(RecoveryKey::from_text(&text).unwrap(), key);
        assert_eq!(RecoveryKey::from_text(&text.to_lowercase().replace('-', "  ")).unwrap(), key);
        assert_eq!(RecoveryKey::from_text(&format!(" {}\n", text.replace('-', ""))).unwrap(), key);
    }

    #[test]
    fn any_single_mistyped_character_is_noticed() {
        let text = RecoveryKey::from_bytes([0x5a; 32]).to_text();
        for place in (0..text.len()).filter(|&place| text.as_bytes()[place] != b'-') {
            for other in "0123456789ABCDEFGHJKMNPQRSTVWXYZ".chars() {
                let mut typed: Vec<char> = text.chars().collect();
                if typed[place] == other {
                    continue;
                }
                typed[place] = other;
                let typed: String = typed.iter().collect();
                // 24 bits of checksum: that one of these 1,736 slips through is a fixed fact of this key, and it does not.
                assert!(RecoveryKey::from_text(&typed).is_err(), "{typed}");
            }
        }
    }

    #[test]
    fn a_recovery_key_does_not_print() {
        let key = RecoveryKey::from_bytes([7; 32]);
        assert_eq!(format!("{key}"), "..");
        assert!(!format!("{key:?}").contains('7'));
    }
}
