//! Keyslots: wrapped copies of a root or a writer key. Page `format-spec/keyslot.md`.

use super::error::FormatError;
use super::limits::KEYSLOT_SIZE;
use super::names;
use super::table::Fields;
use crate::clock::{Rng, random};
use crate::crypto::{Argon2Cost, Boxes, CryptoError, Passphrase, RecoveryKey, RootKey, Secret, WriterKey, context, equal, kdf};
use crate::id::{ObjectHash, RepositoryId};

const WHAT: &str = "keyslot";
/// First bytes of every keyslot.
pub const MAGIC: [u8; 8] = *b"ESKERKEY";
/// The version this program writes and reads.
pub const VERSION: u8 = 1;
/// Kind of the box that holds the payload; objects use 1 to 5.
pub const BOX_KIND: u8 = 6;
/// Bytes of a label.
pub(crate) const LABEL_SIZE: usize = 24;

const COVERED: usize = 88;
const COMMITTED: usize = 120;
/// Plaintext of the payload: 160 bytes less the tag.
const PAYLOAD_SIZE: usize = 144;
const SECRET_SIZE: usize = 84;

/// How the secret that opens a slot comes about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kdf {
    /// From a passphrase, by argon2id.
    Argon2id(Argon2Cost),
    /// From a recovery key.
    Recovery,
}

/// What a slot gives to whoever opens it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Level {
    /// The root.
    Owner = 1,
    /// The writer key of one generation.
    Writer = 2,
}

/// What is wrapped.
#[derive(Debug)]
pub enum SlotKey {
    /// The root.
    Owner(RootKey),
    /// A writer key.
    Writer(WriterKey),
}

impl SlotKey {
    /// Which level it is.
    pub fn level(&self) -> Level {
        match self {
            Self::Owner(_) => Level::Owner,
            Self::Writer(_) => Level::Writer,
        }
    }
    /// The repository it belongs to.
    pub fn repository_id(&self) -> RepositoryId {
        match self {
            Self::Owner(root) => root.repository_id(),
            Self::Writer(writer) => writer.repository_id,
        }
    }
}

/// What opens a slot.
#[derive(Debug)]
pub enum SlotSecret<'a> {
    /// A passphrase; when wrapping, the cost of the new slot.
    Passphrase(&'a Passphrase, Argon2Cost),
    /// A recovery key.
    Recovery(&'a RecoveryKey),
}

/// A keyslot as it is stored: what can be told without opening it was checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Keyslot {
    /// How the opening secret comes about; an argon2id cost is within the limits.
    pub kdf: Kdf,
    /// What it gives.
    pub level: Level,
    /// Its repository.
    pub repository_id: RepositoryId,
    salt: [u8; 32],
    bytes: [u8; KEYSLOT_SIZE],
}

/// A keyslot's content.
#[derive(Debug)]
pub struct Opened {
    /// The key in it.
    pub key: SlotKey,
    /// For a person: at most 24 bytes.
    pub label: String,
    /// When it was made, in seconds since the epoch.
    pub created: i64,
}

impl Keyslot {
    /// Wraps `key`. `label` is cut to 24 bytes at a character's edge; `created` is in seconds since the epoch.
    pub fn wrap(secret: &SlotSecret<'_>, key: &SlotKey, label: &str, created: i64, rng: &dyn Rng) -> Result<Self, FormatError> {
        let (kdf_number, cost) = match secret {
            SlotSecret::Passphrase(_, cost) => (1, Some(*cost)),
            SlotSecret::Recovery(_) => (2, None),
        };
        let salt: [u8; 32] = random(rng).map_err(CryptoError::from)?;
        let mut bytes = [0; KEYSLOT_SIZE];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..11].copy_from_slice(&[VERSION, kdf_number, key.level() as u8]);
        if let Some(cost) = cost {
            bytes[12..16].copy_from_slice(&cost.memory_kib.to_le_bytes());
            bytes[16..20].copy_from_slice(&cost.passes.to_le_bytes());
            bytes[20..24].copy_from_slice(&cost.lanes.to_le_bytes());
        }
        bytes[24..56].copy_from_slice(&salt);
        bytes[56..88].copy_from_slice(key.repository_id().as_bytes());
        let stretched = match secret {
            SlotSecret::Passphrase(passphrase, cost) => passphrase.stretch(cost, &salt)?,
            SlotSecret::Recovery(recovery) => recovery.stretch(),
        };
        let (commitment, boxes) = schedule(&stretched, &bytes[..COVERED]);
        bytes[COVERED..COMMITTED].copy_from_slice(&commitment);
        let mut payload = encode_payload(key, label, created);
        let (nonce, tag) = boxes.seal(rng, BOX_KIND, 0, &mut *payload)?;
        bytes[COMMITTED..COMMITTED + 24].copy_from_slice(&nonce);
        bytes[COMMITTED + 24..KEYSLOT_SIZE - 16].copy_from_slice(&*payload);
        bytes[KEYSLOT_SIZE - 16..].copy_from_slice(&tag);
        Self::parse(&bytes)
    }

    /// Reads a stored slot. The size is checked first, the cost of opening before anybody pays it.
    pub fn parse(object: &[u8]) -> Result<Self, FormatError> {
        let bytes: [u8; KEYSLOT_SIZE] = object.try_into().map_err(|_| {
            let (length, size) = (object.len() as u64, KEYSLOT_SIZE as u64);
            if length < size {
                FormatError::TooShort { what: WHAT, length, least: size }
            } else {
                FormatError::TooLong { what: WHAT, length, most: size }
            }
        })?;
        let mut fields = Fields::new(WHAT, &bytes);
        if fields.array::<8>()? != MAGIC {
            return Err(FormatError::WrongMagic { what: WHAT });
        }
        match fields.u8()? {
            VERSION => {}
            0 => return Err(FormatError::field(WHAT, "version", "is 0")),
            version => return Err(FormatError::NewerVersion { what: WHAT, version }),
        }
        let (kdf_number, level) = (fields.u8()?, fields.u8()?);
        fields.zeros(1)?;
        let cost = Argon2Cost { memory_kib: fields.u32()?, passes: fields.u32()?, lanes: fields.u32()? };
        let kdf = match kdf_number {
            1 => {
                cost.check()?;
                Kdf::Argon2id(cost)
            }
            2 if cost == (Argon2Cost { memory_kib: 0, passes: 0, lanes: 0 }) => Kdf::Recovery,
            2 => return Err(FormatError::field(WHAT, "m, t, p", "are not zero for a recovery key")),
            _ => return Err(FormatError::field(WHAT, "kdf", "is neither 1 nor 2")),
        };
        let level = match level {
            1 => Level::Owner,
            2 => Level::Writer,
            _ => return Err(FormatError::field(WHAT, "level", "is neither 1 nor 2")),
        };
        Ok(Self { kdf, level, salt: fields.array()?, repository_id: RepositoryId(fields.array()?), bytes })
    }

    /// The bytes to store.
    pub fn as_bytes(&self) -> &[u8; KEYSLOT_SIZE] {
        &self.bytes
    }
    /// What its name ends in.
    pub fn hash(&self) -> ObjectHash {
        names::hash_of(&[&self.bytes])
    }

    /// Opens it with a passphrase. [`FormatError::WrongCommitment`]: another one. A slot for a recovery key is refused as a field error.
    pub(crate) fn open_with_passphrase(&self, passphrase: &Passphrase) -> Result<Opened, FormatError> {
        match &self.kdf {
            Kdf::Argon2id(cost) => self.open(&passphrase.stretch(cost, &self.salt)?),
            Kdf::Recovery => Err(FormatError::field(WHAT, "kdf", "asks for a recovery key")),
        }
    }

    /// Opens it with a recovery key. [`FormatError::WrongCommitment`]: another one.
    pub fn open_with_recovery(&self, recovery: &RecoveryKey) -> Result<Opened, FormatError> {
        match &self.kdf {
            Kdf::Recovery => self.open(&recovery.stretch()),
            Kdf::Argon2id(_) => Err(FormatError::field(WHAT, "kdf", "asks for a passphrase")),
        }
    }

    /// Opens it with an already stretched secret.
    fn open(&self, stretched: &Secret) -> Result<Opened, FormatError> {
        let (commitment, boxes) = schedule(stretched, &self.bytes[..COVERED]);
        let mut stored = [0; 32];
        stored.copy_from_slice(&self.bytes[COVERED..COMMITTED]);
        // Before the AEAD runs: ChaCha20-Poly1305 does not commit to its key, one slot could open under two passphrases.
        if !equal(&commitment, &stored) {
            return Err(FormatError::WrongCommitment { what: WHAT });
        }
        let mut sealed = zeroize::Zeroizing::new(self.bytes[COMMITTED..].to_vec());
        let payload = boxes.open(BOX_KIND, 0, &mut sealed).map_err(|_| FormatError::Damaged { what: WHAT })?;
        let opened = decode_payload(self.repository_id, payload)?;
        if opened.key.level() != self.level {
            return Err(FormatError::field(WHAT, "level", "is not that of its payload"));
        }
        // An owner slot proves itself: the public id commits to the root. A writer slot is proved by opening config.
        if opened.key.repository_id() != self.repository_id {
            return Err(FormatError::field(WHAT, "root", "is not that of the repository"));
        }
        Ok(opened)
    }
}

fn schedule(stretched: &Secret, covered: &[u8]) -> ([u8; 32], Boxes) {
    let commitment = *kdf(context::SLOT_COMMIT, &[stretched.expose(), covered]).expose();
    let key = kdf(context::SLOT_BOX, &[stretched.expose(), covered]);
    let nonce = kdf(context::SLOT_NONCE, &[stretched.expose(), covered]);
    (commitment, Boxes::new(&key, nonce, commitment))
}

fn encode_payload(key: &SlotKey, label: &str, created: i64) -> zeroize::Zeroizing<[u8; PAYLOAD_SIZE]> {
    let mut payload = zeroize::Zeroizing::new([0; PAYLOAD_SIZE]);
    payload[0] = key.level() as u8;
    let secret = &mut payload[1..1 + SECRET_SIZE];
    match key {
        SlotKey::Owner(root) => secret[..32].copy_from_slice(root.expose()),
        SlotKey::Writer(writer) => {
            secret[..32].copy_from_slice(&writer.sealing_public);
            secret[32..36].copy_from_slice(&writer.generation.to_le_bytes());
            secret[36..52].copy_from_slice(&writer.writer);
            secret[52..].copy_from_slice(writer.secret.expose());
        }
    }
    let mut length = label.len().min(LABEL_SIZE);
    while !label.is_char_boundary(length) {
        length -= 1;
    }
    payload[85..85 + length].copy_from_slice(&label.as_bytes()[..length]);
    payload[109..117].copy_from_slice(&created.to_le_bytes());
    payload
}

/// The payload of a slot of `repository_id`: the bounded decoder behind opening.
pub fn decode_payload(repository_id: RepositoryId, payload: &[u8]) -> Result<Opened, FormatError> {
    if payload.len() != PAYLOAD_SIZE {
        return Err(FormatError::TooShort { what: WHAT, length: payload.len() as u64, least: PAYLOAD_SIZE as u64 });
    }
    let mut fields = Fields::new(WHAT, payload);
    let key = match fields.u8()? {
        1 => {
            let root = RootKey::from_bytes(fields.array()?);
            fields.zeros(SECRET_SIZE - 32)?;
            SlotKey::Owner(root)
        }
        2 => {
            let sealing_public = fields.array()?;
            let generation = fields.u32()?;
            if generation == 0 {
                return Err(FormatError::field(WHAT, "generation", "is 0"));
            }
            let (writer, secret) = (fields.array()?, Secret::new(fields.array()?));
            SlotKey::Writer(WriterKey { repository_id, sealing_public, generation, writer, secret })
        }
        _ => return Err(FormatError::field(WHAT, "kind", "is neither 1 nor 2")),
    };
    let label: [u8; LABEL_SIZE] = fields.array()?;
    let length = label.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    let label = match std::str::from_utf8(&label[..length]) {
        Ok(text) if !text.contains('\0') => text.to_owned(),
        _ => return Err(FormatError::field(WHAT, "label", "is not a text padded with zeros")),
    };
    let created = i64::from_le_bytes(fields.array()?);
    fields.zeros(PAYLOAD_SIZE - 117)?;
    fields.end()?;
    Ok(Opened { key, label, created })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SeededRng;
    use crate::crypto::Keys;

    fn root() -> RootKey {
        RootKey::from_bytes([5; 32])
    }

    fn recovery_slot(key: &SlotKey) -> (RecoveryKey, Keyslot) {
        let recovery = RecoveryKey::from_bytes([1; 32]);
        let slot = Keyslot::wrap(&SlotSecret::Recovery(&recovery), key, "paper", 1_700_000_000, &SeededRng::new(1)).unwrap();
        (recovery, slot)
    }

    #[test]
    fn a_slot_opens_with_its_passphrase_only() {
        let passphrase = Passphrase::new("correct horse".into());
        let secret = SlotSecret::Passphrase(&passphrase, Argon2Cost::LEAST);
        let slot = Keyslot::wrap(&secret, &SlotKey::Owner(root()), "ops ä", -5, &SeededRng::new(1)).unwrap();
        let slot = Keyslot::parse(slot.as_bytes()).unwrap();
        let opened = slot.open_with_passphrase(&passphrase).unwrap();
        assert!(matches!(&opened.key, SlotKey::Owner(opened) if opened.expose() == root().expose()));
        assert_eq!((opened.label.as_str(), opened.created), ("ops ä", -5));
        let wrong = slot.open_with_passphrase(&Passphrase::new("correct horsf".into()));
        assert!(matches!(wrong, Err(FormatError::WrongCommitment { .. })));
        assert!(slot.open_with_recovery(&RecoveryKey::from_bytes([1; 32])).is_err());
    }

    #[test]
    fn a_writer_slot_gives_the_writer_key() {
        let key = Keys::owner(root(), 3).writer_key();
        let line = key.to_line();
        let (recovery, slot) = recovery_slot(&SlotKey::Writer(key));
        let SlotKey::Writer(opened) = slot.open_with_recovery(&recovery).unwrap().key else { panic!("not a writer key") };
        assert_eq!(*opened.to_line(), *line);
        assert_eq!(slot.level, Level::Writer);
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        let (recovery, slot) = recovery_slot(&SlotKey::Owner(root()));
        for bit in 0..KEYSLOT_SIZE * 8 {
            let mut bad = *slot.as_bytes();
            bad[bit / 8] ^= 1 << (bit % 8);
            let error = match Keyslot::parse(&bad) {
                Err(error) => error,
                Ok(slot) => slot.open_with_recovery(&recovery).unwrap_err(),
            };
            let right = match bit / 8 {
                0..8 => matches!(error, FormatError::WrongMagic { .. }),
                8 => matches!(error, FormatError::NewerVersion { .. } | FormatError::Field { .. }),
                9..12 => matches!(error, FormatError::Field { .. } | FormatError::Crypto(_) | FormatError::WrongCommitment { .. }),
                12..24 => matches!(error, FormatError::Field { .. }),
                24..120 => matches!(error, FormatError::WrongCommitment { .. }),
                _ => matches!(error, FormatError::Damaged { .. }),
            };
            assert!(right, "bit {bit}: {error:?}");
        }
    }

    #[test]
    fn another_size_is_refused_before_anything_is_parsed() {
        let (_, slot) = recovery_slot(&SlotKey::Owner(root()));
        assert!(matches!(Keyslot::parse(&slot.as_bytes()[..303]), Err(FormatError::TooShort { .. })));
        assert!(matches!(Keyslot::parse(&[slot.as_bytes().as_slice(), &[0]].concat()), Err(FormatError::TooLong { .. })));
    }

    #[test]
    fn a_claimed_cost_beyond_the_limits_is_refused_before_it_is_paid() {
        let passphrase = Passphrase::new("p".into());
        let secret = SlotSecret::Passphrase(&passphrase, Argon2Cost::LEAST);
        let slot = Keyslot::wrap(&secret, &SlotKey::Owner(root()), "", 0, &SeededRng::new(1)).unwrap();
        for (at, value) in [(12, u32::MAX), (12, 0), (16, 11), (16, 0), (20, 17), (20, 0)] {
            let mut bad = *slot.as_bytes();
            bad[at..at + 4].copy_from_slice(&value.to_le_bytes());
            assert!(matches!(Keyslot::parse(&bad), Err(FormatError::Crypto(CryptoError::Cost { .. }))));
        }
    }

    #[test]
    fn a_slot_that_names_another_repository_is_refused_even_when_it_authenticates() {
        // Whoever knows the passphrase could make such a slot; the root must still match the name it stands under.
        let recovery = RecoveryKey::from_bytes([1; 32]);
        let mut bytes = *recovery_slot(&SlotKey::Owner(root())).1.as_bytes();
        bytes[56] ^= 1;
        let (commitment, boxes) = schedule(&recovery.stretch(), &bytes[..COVERED]);
        bytes[COVERED..COMMITTED].copy_from_slice(&commitment);
        let mut payload = encode_payload(&SlotKey::Owner(root()), "", 0);
        let (nonce, tag) = boxes.seal(&SeededRng::new(1), BOX_KIND, 0, &mut *payload).unwrap();
        bytes[120..144].copy_from_slice(&nonce);
        bytes[144..288].copy_from_slice(&*payload);
        bytes[288..].copy_from_slice(&tag);
        let slot = Keyslot::parse(&bytes).unwrap();
        assert!(matches!(slot.open_with_recovery(&recovery), Err(FormatError::Field { field: "root", .. })));
    }

    #[test]
    fn a_long_label_is_cut_at_a_characters_edge() {
        let long = "ä".repeat(12) + "bc";
        let payload = encode_payload(&SlotKey::Owner(root()), &format!("x{long}"), 0);
        let opened = decode_payload(root().repository_id(), &*payload).unwrap();
        assert_eq!(opened.label, format!("x{}", "ä".repeat(11)));
    }
}
