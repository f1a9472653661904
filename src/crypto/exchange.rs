//! Sealing to the owner: HPKE (RFC 9180) in mode_psk, export only. The one file that knows the `hpke` crate.

use std::convert::Infallible;

use hpke::aead::ExportOnlyAead;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256 as X25519;
use hpke::rand_core::{TryCryptoRng, TryRng};
use hpke::{Deserializable, Kem, OpModeR, OpModeS, PskBundle, Serializable};

use super::derive::{Secret, context};
use super::{CryptoError, GenerationKeys, Keys};
use crate::clock::{Rng, random};
use crate::id::{RepositoryId, SessionId};

type Sender = hpke::aead::AeadCtxS<ExportOnlyAead, HkdfSha256, X25519>;
type Receiver = hpke::aead::AeadCtxR<ExportOnlyAead, HkdfSha256, X25519>;

/// Exporter context of the secret that objects are sealed under.
const OBJECT: &[u8] = b"object";
/// Exporter context of a session key, before the session id.
const SESSION: &[u8] = b"session";

/// X25519 public key of a sealing secret.
pub(super) fn public_of(secret: &Secret) -> [u8; 32] {
    let secret = private(secret);
    X25519::sk_to_pk(&secret).to_bytes().into()
}

fn private(secret: &Secret) -> <X25519 as Kem>::PrivateKey {
    <X25519 as Kem>::PrivateKey::from_bytes(secret.expose()).expect("an X25519 secret is any 32 bytes; hpke clamps them")
}

fn info(repository: &RepositoryId) -> Vec<u8> {
    [context::SEAL_INFO.as_bytes(), repository.as_bytes()].concat()
}

fn psk<'a>(keys: &'a GenerationKeys, repository: &'a RepositoryId) -> PskBundle<'a> {
    PskBundle::new(keys.psk.expose(), repository.as_bytes()).expect("neither the psk nor its id is empty")
}

/// The sender's end: one per run.
pub struct Agreed {
    encapsulated: [u8; 32],
    object: Secret,
    context: Sender,
}

impl Agreed {
    /// Agrees on a fresh secret with the owner. The ephemeral secret mixes randomness with the hedge key.
    pub fn new(keys: &Keys, rng: &dyn Rng) -> Result<Self, CryptoError> {
        let public = <X25519 as Kem>::PublicKey::from_bytes(keys.sealing_public()).map_err(|_| CryptoError::Agreement)?;
        let repository = keys.repository_id();
        let mode = OpModeS::Psk(psk(keys.current(), &repository));
        let mut rng = Hedged::new(keys.current(), rng)?;
        let (encapsulated, context) =
            hpke::setup_sender_with_rng::<ExportOnlyAead, HkdfSha256, X25519>(&mode, &public, &info(&repository), &mut rng)
                .map_err(|_| CryptoError::Agreement)?;
        let mut object = [0; 32];
        context.export(OBJECT, &mut object).map_err(|_| CryptoError::Agreement)?;
        Ok(Self { encapsulated: encapsulated.to_bytes().into(), object: Secret::new(object), context })
    }

    /// Public: what the owner needs to agree on the same secret.
    pub fn encapsulated(&self) -> &[u8; 32] {
        &self.encapsulated
    }
    /// What objects are sealed under.
    pub fn object(&self) -> &Secret {
        &self.object
    }
    /// Key of the MACs on this session's records.
    pub fn session(&self, id: &SessionId) -> Result<Secret, CryptoError> {
        let mut key = [0; 32];
        self.context.export(&[SESSION, id.as_bytes()].concat(), &mut key).map_err(|_| CryptoError::Agreement)?;
        Ok(Secret::new(key))
    }
}

/// The owner's end.
pub struct Received {
    object: Secret,
    context: Receiver,
}

impl Received {
    /// What `encapsulated` agreed on; `None` for a writer, an error when the agreement fails (never a key).
    pub fn new(keys: &Keys, generation: &GenerationKeys, encapsulated: &[u8; 32]) -> Option<Result<Self, CryptoError>> {
        let secret = private(keys.sealing_secret()?);
        let repository = keys.repository_id();
        let open = || {
            let encapsulated = <X25519 as Kem>::EncappedKey::from_bytes(encapsulated)?;
            let mode = OpModeR::Psk(psk(generation, &repository));
            let context =
                hpke::setup_receiver::<ExportOnlyAead, HkdfSha256, X25519>(&mode, &secret, &encapsulated, &info(&repository))?;
            let mut object = [0; 32];
            context.export(OBJECT, &mut object)?;
            Ok(Self { object: Secret::new(object), context })
        };
        Some(open().map_err(|_: hpke::HpkeError| CryptoError::Agreement))
    }

    /// What objects are sealed under.
    pub fn object(&self) -> &Secret {
        &self.object
    }
    /// Key of the MACs on a session's records.
    pub fn session(&self, id: &SessionId) -> Result<Secret, CryptoError> {
        let mut key = [0; 32];
        self.context.export(&[SESSION, id.as_bytes()].concat(), &mut key).map_err(|_| CryptoError::Agreement)?;
        Ok(Secret::new(key))
    }
}

/// The generator hpke draws the ephemeral secret from: XOF of the hedge key over fresh randomness, so that a broken generator of the
/// operating system alone gives nothing away.
struct Hedged(blake3::OutputReader);

impl Hedged {
    fn new(keys: &GenerationKeys, rng: &dyn Rng) -> Result<Self, CryptoError> {
        let fresh: zeroize::Zeroizing<[u8; 32]> = random(rng)?.into();
        Ok(Self(blake3::Hasher::new_keyed(keys.hedge_key().expose()).update(b"ephemeral").update(&*fresh).finalize_xof()))
    }
}

impl TryRng for Hedged {
    type Error = Infallible;
    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }
    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }
    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill(bytes);
        Ok(())
    }
}

impl TryCryptoRng for Hedged {}

impl Drop for Hedged {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{RngError, SeededRng};
    use crate::crypto::RootKey;

    struct Dead;
    impl Rng for Dead {
        fn fill(&self, _: &mut [u8]) -> Result<(), RngError> {
            Ok(())
        }
    }

    #[test]
    fn both_ends_agree() {
        let owner = Keys::owner(RootKey::from_bytes([3; 32]), 1);
        let writer = Keys::writer(owner.writer_key());
        let agreed = Agreed::new(&writer, &SeededRng::new(1)).unwrap();
        let received = Received::new(&owner, owner.current(), agreed.encapsulated()).unwrap().unwrap();
        assert_eq!(agreed.object().expose(), received.object().expose());
        let session = SessionId([9; 16]);
        assert_eq!(agreed.session(&session).unwrap().expose(), received.session(&session).unwrap().expose());
        assert_ne!(agreed.session(&session).unwrap().expose(), agreed.session(&SessionId([8; 16])).unwrap().expose());
    }

    #[test]
    fn another_generation_agrees_on_something_else() {
        let owner = Keys::owner(RootKey::from_bytes([3; 32]), 1);
        let agreed = Agreed::new(&owner, &SeededRng::new(1)).unwrap();
        let other = Received::new(&owner, &owner.of(2, &[0; 16]).unwrap(), agreed.encapsulated()).unwrap().unwrap();
        assert_ne!(agreed.object().expose(), other.object().expose());
    }

    #[test]
    fn a_writer_cannot_receive() {
        let writer = Keys::writer(Keys::owner(RootKey::from_bytes([3; 32]), 1).writer_key());
        let agreed = Agreed::new(&writer, &SeededRng::new(1)).unwrap();
        assert!(Received::new(&writer, writer.current(), agreed.encapsulated()).is_none());
    }

    #[test]
    fn a_point_of_small_order_is_an_error_and_not_a_key() {
        let owner = Keys::owner(RootKey::from_bytes([3; 32]), 1);
        for point in [[0; 32], {
            let mut one = [0; 32];
            one[0] = 1;
            one
        }] {
            assert!(matches!(Received::new(&owner, owner.current(), &point), Some(Err(CryptoError::Agreement))));
        }
    }

    #[test]
    fn a_dead_generator_still_gives_different_secrets_to_different_repositories() {
        let a = Agreed::new(&Keys::owner(RootKey::from_bytes([3; 32]), 1), &Dead).unwrap();
        let b = Agreed::new(&Keys::owner(RootKey::from_bytes([4; 32]), 1), &Dead).unwrap();
        assert_ne!(a.encapsulated(), b.encapsulated());
    }
}
