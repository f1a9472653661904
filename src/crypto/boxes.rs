//! The one way esker encrypts: boxes of XChaCha20-Poly1305 with a synthetic nonce, sealed and opened where the bytes lie.

use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{Tag, XChaCha20Poly1305, XNonce};

use super::CryptoError;
use super::derive::Secret;
use crate::clock::{Rng, random};

/// Bytes before the ciphertext.
pub(crate) const NONCE_SIZE: usize = 24;
/// Bytes behind it.
pub(crate) const TAG_SIZE: usize = 16;
/// What a box adds to its plaintext.
pub(crate) const BOX_OVERHEAD: usize = NONCE_SIZE + TAG_SIZE;

/// Seals and opens the boxes of one object.
pub(crate) struct Boxes {
    cipher: XChaCha20Poly1305,
    nonce_key: Secret,
    header: [u8; 32],
}

impl Boxes {
    /// Boxes under `box_key`, nonces under `nonce_key`; `header` stands for the object in the associated data.
    pub(crate) fn new(box_key: &Secret, nonce_key: Secret, header: [u8; 32]) -> Self {
        Self { cipher: XChaCha20Poly1305::new(box_key.expose().into()), nonce_key, header }
    }

    fn associated(&self, kind: u8, number: u32) -> [u8; 40] {
        let mut data = [0; 40];
        data[..32].copy_from_slice(&self.header);
        data[32] = kind;
        data[36..].copy_from_slice(&number.to_le_bytes());
        data
    }

    /// Encrypts `bytes` where they lie; returns what stands before and behind them.
    pub(crate) fn seal(
        &self,
        rng: &dyn Rng,
        kind: u8,
        number: u32,
        bytes: &mut [u8],
    ) -> Result<([u8; NONCE_SIZE], [u8; TAG_SIZE]), CryptoError> {
        let associated = self.associated(kind, number);
        // Random and of the content: a generator that repeats itself repeats a nonce only with the plaintext it already encrypted.
        let fresh: [u8; 32] = random(rng)?;
        let mut hasher = blake3::Hasher::new_keyed(self.nonce_key.expose());
        hasher.update(&fresh).update(&associated).update(bytes);
        let mut nonce = [0; NONCE_SIZE];
        nonce.copy_from_slice(&hasher.finalize().as_bytes()[..NONCE_SIZE]);
        let length = bytes.len();
        let tag = self
            .cipher
            .encrypt_inout_detached(&XNonce::from(nonce), &associated, bytes.into())
            .map_err(|_| CryptoError::TooLong(length))?;
        Ok((nonce, tag.into()))
    }

    /// Decrypts a sealed box where it lies and returns the part that is its plaintext. On an error the bytes are unchanged.
    pub(crate) fn open<'a>(&self, kind: u8, number: u32, sealed: &'a mut [u8]) -> Result<&'a mut [u8], CryptoError> {
        let (nonce, rest) = sealed.split_first_chunk_mut::<NONCE_SIZE>().ok_or(CryptoError::Forged)?;
        let (bytes, tag) = rest.split_last_chunk_mut::<TAG_SIZE>().ok_or(CryptoError::Forged)?;
        let associated = self.associated(kind, number);
        self.cipher
            .decrypt_inout_detached(&XNonce::from(*nonce), &associated, bytes.into(), &Tag::from(*tag))
            .map_err(|_| CryptoError::Forged)?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SeededRng;

    fn boxes() -> Boxes {
        Boxes::new(&Secret::new([1; 32]), Secret::new([2; 32]), [3; 32])
    }

    fn sealed(kind: u8, number: u32, text: &[u8]) -> Vec<u8> {
        let mut bytes = text.to_vec();
        let (nonce, tag) = boxes().seal(&SeededRng::new(1), kind, number, &mut bytes).unwrap();
        [&nonce[..], &bytes, &tag].concat()
    }

    #[test]
    fn a_box_opens_to_what_was_sealed() {
        for text in [&b""[..], b"x", &[7; 5000]] {
            assert_eq!(boxes().open(3, 9, &mut sealed(3, 9, text)).unwrap(), text);
        }
    }

    #[test]
    fn another_kind_number_or_bit_does_not_open() {
        let good = sealed(3, 9, b"text");
        assert!(boxes().open(4, 9, &mut good.clone()).is_err());
        assert!(boxes().open(3, 8, &mut good.clone()).is_err());
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(boxes().open(3, 9, &mut bad).is_err());
        }
        for length in 0..good.len() {
            assert!(boxes().open(3, 9, &mut good[..length].to_vec()).is_err());
        }
    }

    #[test]
    fn a_generator_that_repeats_does_not_repeat_a_nonce_for_another_text() {
        assert_ne!(sealed(3, 9, b"text")[..24], sealed(3, 9, b"texu")[..24]);
        assert_ne!(sealed(3, 9, b"text")[..24], sealed(3, 8, b"text")[..24]);
    }
}
