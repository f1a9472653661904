//! Passphrases, stretched by argon2id. The one file that knows the `argon2` crate.

use std::fmt;

use zeroize::Zeroizing;

use super::CryptoError;
use super::derive::Secret;

/// A passphrase as it was typed: bytes, UTF-8 as a rule, without the end of its line.
pub struct Passphrase(Zeroizing<Vec<u8>>);

impl Passphrase {
    /// Takes over a text.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text.into_bytes()))
    }
    /// Takes over bytes, such as those of a file, without the end of its line.
    pub fn from_bytes(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(bytes)
    }
    /// An empty passphrase protects nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The recovery key that was typed in its place, if it is one.
    pub(crate) fn as_recovery_key(&self) -> Option<super::RecoveryKey> {
        super::RecoveryKey::from_text(std::str::from_utf8(&self.0).ok()?).ok()
    }

    /// 32 bytes from it, by argon2id version 0x13. The cost is checked before anything runs.
    pub fn stretch(&self, cost: &Argon2Cost, salt: &[u8; 32]) -> Result<Secret, CryptoError> {
        cost.check()?;
        let parameters = argon2::Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(32))
            .map_err(|error| CryptoError::Stretch(error.to_string()))?;
        let mut secret = Zeroizing::new([0; 32]);
        argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, parameters)
            .hash_password_into(&self.0, salt, &mut *secret)
            .map_err(|error| CryptoError::Stretch(error.to_string()))?;
        Ok(Secret::new(*secret))
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("..")
    }
}

/// How hard guessing a passphrase is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Argon2Cost {
    /// Memory in KiB: 19 MiB to 1 GiB.
    pub memory_kib: u32,
    /// Passes over it: 1 to 10.
    pub passes: u32,
    /// Lanes: 1 to 16.
    pub lanes: u32,
}

impl Argon2Cost {
    /// 256 MiB, 3 passes, 4 lanes.
    pub const DEFAULT: Self = Self { memory_kib: 256 << 10, passes: 3, lanes: 4 };
    /// 64 MiB, for small machines.
    pub const LOW: Self = Self { memory_kib: 64 << 10, passes: 3, lanes: 4 };
    /// The least that is accepted on read; what tests use.
    pub const LEAST: Self = Self { memory_kib: 19 << 10, passes: 1, lanes: 1 };
    /// Least memory in KiB accepted on read.
    pub(crate) const MEMORY_KIB_MIN: u32 = 19 << 10;
    /// Most memory in KiB accepted on read.
    pub(crate) const MEMORY_KIB_MAX: u32 = 1 << 20;
    /// Most passes accepted on read.
    pub(crate) const PASSES_MAX: u32 = 10;
    /// Most lanes accepted on read.
    pub(crate) const LANES_MAX: u32 = 16;

    /// Is it within the limits? A stored slot may claim anything: 4 TiB are a valid parameter of argon2.
    pub fn check(&self) -> Result<(), CryptoError> {
        let good = (Self::MEMORY_KIB_MIN..=Self::MEMORY_KIB_MAX).contains(&self.memory_kib)
            && (1..=Self::PASSES_MAX).contains(&self.passes)
            && (1..=Self::LANES_MAX).contains(&self.lanes);
        let Self { memory_kib, passes, lanes } = *self;
        if good { Ok(()) } else { Err(CryptoError::Cost { memory_kib, passes, lanes }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_outside_the_limits_are_refused_before_anything_runs() {
        let good = Argon2Cost::LEAST;
        assert!(good.check().is_ok() && Argon2Cost::DEFAULT.check().is_ok() && Argon2Cost::LOW.check().is_ok());
        for bad in [
            Argon2Cost { memory_kib: u32::MAX, ..good },
            Argon2Cost { memory_kib: Argon2Cost::MEMORY_KIB_MIN - 1, ..good },
            Argon2Cost { passes: 0, ..good },
            Argon2Cost { passes: 11, ..good },
            Argon2Cost { lanes: 0, ..good },
            Argon2Cost { lanes: 17, ..good },
        ] {
            assert!(matches!(Passphrase::new("p".into()).stretch(&bad, &[0; 32]), Err(CryptoError::Cost { .. })));
        }
    }

    #[test]
    fn passphrase_salt_and_cost_all_count() {
        let stretch = |text: &str, salt, passes| {
            let cost = Argon2Cost { passes, ..Argon2Cost::LEAST };
            *Passphrase::new(text.into()).stretch(&cost, &[salt; 32]).unwrap().expose()
        };
        let first = stretch("p", 1, 1);
        assert_eq!(first, stretch("p", 1, 1));
        assert_ne!(first, stretch("q", 1, 1));
        assert_ne!(first, stretch("p", 2, 1));
        assert_ne!(first, stretch("p", 1, 2));
    }
}
