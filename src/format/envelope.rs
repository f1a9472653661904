//! The envelope of every sealed object: page `format-spec/envelope.md`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use super::error::{FormatError, at_most};
use super::limits::{self, padme};
use super::table::Fields;
use crate::clock::{Rng, random};
use crate::crypto::{Agreed, BOX_OVERHEAD, Boxes, CryptoError, GenerationKeys, Keys, Received, Secret, context, equal, kdf, mac};
use crate::id::{RepositoryId, SessionId};
use crate::locks::Unpoisoned;
use crate::planted;

/// First bytes of every sealed object.
pub const MAGIC: [u8; 8] = *b"ESKEROBJ";
/// The version this program writes and reads.
pub const VERSION: u8 = 1;
/// X25519, HKDF-SHA256, BLAKE3, XChaCha20-Poly1305. 2 is reserved for X-Wing.
pub const SUITE: u8 = 1;
/// Bytes of a header.
pub const HEADER_SIZE: usize = 128;
/// Bytes of it that key derivation covers: all before the commitment.
const COVERED: usize = 96;

/// What a box holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum BoxKind {
    /// Counts and lengths of a pack.
    Head = 1,
    /// Directory of a pack.
    Directory = 2,
    /// One frame of a pack.
    Frame = 3,
    /// Zeros at the end of a pack.
    Pad = 4,
    /// The body of any other object.
    Body = 5,
}

/// Who can open an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum KeyExchange {
    /// The owner alone.
    ToOwner = 1,
    /// Whoever holds the writer secret of its generation.
    AmongWriters = 2,
}

macro_rules! object_types {
    ($($(#[$doc:meta])* $variant:ident = $number:literal, $text:literal, $exchange:ident, $size_max:ident;)*) => {
        /// The types of sealed objects.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
        #[repr(u8)]
        pub enum ObjectType { $($(#[$doc])* $variant = $number,)* }

        impl ObjectType {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];
            /// From its stored number.
            pub(crate) fn from_u8(number: u8) -> Option<Self> {
                match number { $($number => Some(Self::$variant),)* _ => None }
            }
            /// What a person calls it.
            pub fn text(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
            /// Who can open it.
            pub fn exchange(self) -> KeyExchange {
                match self { $(Self::$variant => KeyExchange::$exchange,)* }
            }
            /// Its largest size in bytes, header included.
            pub fn size_max(self) -> u64 {
                match self { $(Self::$variant => limits::$size_max,)* }
            }
        }
    };
}

object_types! {
    /// Frames and their directory.
    Pack = 1, "pack", ToOwner, PACK_SIZE_MAX;
    /// Directories of packs.
    Index = 2, "index file", AmongWriters, INDEX_SIZE_MAX;
    /// The commit.
    Snapshot = 3, "snapshot", ToOwner, SNAPSHOT_SIZE_MAX;
    /// What the repository agreed on.
    Config = 4, "config", AmongWriters, CONFIG_SIZE_MAX;
    /// A record of a session.
    Session = 5, "session record", AmongWriters, SESSION_SIZE_MAX;
    /// A condemn record or a verdict.
    Gc = 6, "gc record", AmongWriters, GC_SIZE_MAX;
    /// A tombstone of a snapshot.
    Forgotten = 7, "forgotten record", AmongWriters, FORGOTTEN_SIZE_MAX;
    /// In a snapshot's place: it will never come.
    Revocation = 8, "revocation", AmongWriters, REVOCATION_SIZE_MAX;
    /// What was added to snapshots afterwards.
    Note = 9, "note", AmongWriters, NOTE_SIZE_MAX;
}

/// The first 128 bytes of a sealed object, understood. Public: anybody who sees the object sees them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Header {
    /// What it is.
    pub object_type: ObjectType,
    /// Generation of the writer secret it was sealed in.
    pub generation: u32,
    /// Which writer; zeros in version 1.
    pub writer: [u8; 16],
    /// HPKE `enc`; zeros for objects among writers.
    pub encapsulated: [u8; 32],
    /// The bytes themselves.
    pub bytes: [u8; HEADER_SIZE],
}

impl Header {
    /// Reads the header of an object that should be of type `wanted`. Everything that can be told without a key is checked.
    pub fn parse(object: &[u8], wanted: ObjectType) -> Result<Self, FormatError> {
        let header = Self::parse_any(wanted.text(), object)?;
        if header.object_type != wanted {
            return Err(FormatError::WrongType { wanted: wanted.text(), found: header.object_type as u8 });
        }
        Ok(header)
    }

    /// Reads the header of an object of any type; `what` is for messages.
    pub fn parse_any(what: &'static str, object: &[u8]) -> Result<Self, FormatError> {
        let mut fields = Fields::new(what, object);
        let bytes: [u8; HEADER_SIZE] = fields.array()?;
        let mut fields = Fields::new(what, &bytes);
        if fields.array::<8>()? != MAGIC {
            return Err(FormatError::WrongMagic { what });
        }
        let version = fields.u8()?;
        if version > VERSION {
            return Err(FormatError::NewerVersion { what, version });
        }
        let (type_number, exchange, suite) = (fields.u8()?, fields.u8()?, fields.u8()?);
        let object_type = ObjectType::from_u8(type_number).ok_or(FormatError::field(what, "type", "is not one of version 1"))?;
        let header = Self { object_type, generation: fields.u32()?, writer: fields.array()?, encapsulated: fields.array()?, bytes };
        if version == 0 {
            return Err(FormatError::field(what, "version", "is 0"));
        }
        if exchange != object_type.exchange() as u8 {
            return Err(FormatError::field(what, "kx", "does not belong to its type"));
        }
        if suite != SUITE {
            return Err(FormatError::field(what, "suite", "is not 1"));
        }
        if header.generation == 0 {
            return Err(FormatError::field(what, "generation", "is 0"));
        }
        if object_type.exchange() == KeyExchange::AmongWriters && header.encapsulated != [0; 32] {
            return Err(FormatError::field(what, "ephemeral public key", "is not zero among writers"));
        }
        Ok(header)
    }

    fn commitment(&self) -> [u8; 32] {
        let mut commitment = [0; 32];
        commitment.copy_from_slice(&self.bytes[COVERED..]);
        commitment
    }
}

/// Commitment and pseudorandom key of a header's first 96 bytes under `ikm`.
fn schedule(covered: &[u8], repository: &RepositoryId, ikm: &Secret) -> ([u8; 32], Secret) {
    let prk = kdf(context::OBJECT_PRK, &[covered, repository.as_bytes(), ikm.expose()]);
    (*kdf(context::OBJECT_COMMIT, &[prk.expose()]).expose(), prk)
}

fn boxes(header: &[u8; HEADER_SIZE], repository: &RepositoryId, prk: &Secret) -> Boxes {
    let associated = kdf(context::OBJECT_HEADER, &[repository.as_bytes(), header]);
    let key = kdf(context::OBJECT_BOX, &[prk.expose()]);
    Boxes::new(&key, kdf(context::OBJECT_NONCE, &[prk.expose()]), *associated.expose())
}

/// Seals objects: one key agreement with the owner, used for a whole run.
pub struct Sealer {
    keys: Arc<Keys>,
    rng: Arc<dyn Rng>,
    agreed: Agreed,
}

impl Sealer {
    /// Agrees with the owner; the only step that costs anything (about 0.1 ms).
    pub fn new(keys: Arc<Keys>, rng: Arc<dyn Rng>) -> Result<Self, FormatError> {
        let agreed = Agreed::new(&keys, &*rng)?;
        Ok(Self { keys, rng, agreed })
    }

    /// The keys it seals with.
    pub fn keys(&self) -> &Arc<Keys> {
        &self.keys
    }
    /// HPKE `enc` of this run: what a session's first record holds.
    pub fn encapsulated(&self) -> &[u8; 32] {
        self.agreed.encapsulated()
    }
    /// Key of the MACs on this run's session records.
    pub(crate) fn session_key(&self, session: &SessionId) -> Result<Secret, FormatError> {
        Ok(self.agreed.session(session)?)
    }

    /// Starts an object whose first plaintext is `first`.
    pub(super) fn begin(&self, object_type: ObjectType, first: &[u8]) -> Result<Sealing<'_>, FormatError> {
        let current = self.keys.current();
        let (encapsulated, ikm) = match object_type.exchange() {
            KeyExchange::ToOwner => (*self.agreed.encapsulated(), self.agreed.object()),
            KeyExchange::AmongWriters => ([0; 32], current.records_key()),
        };
        // Three sources: a generator that repeats itself, or a cloned machine, repeats a salt only for the same content.
        let fresh: [u8; 32] = random(&*self.rng).map_err(CryptoError::from)?;
        let salt = mac(current.hedge_key(), &[b"salt", &fresh, blake3::hash(first).as_bytes()]);
        let mut header = [0; HEADER_SIZE];
        header[..8].copy_from_slice(&MAGIC);
        header[8..12].copy_from_slice(&[VERSION, object_type as u8, object_type.exchange() as u8, SUITE]);
        header[12..16].copy_from_slice(&current.generation.to_le_bytes());
        header[16..32].copy_from_slice(&current.writer);
        header[32..64].copy_from_slice(&encapsulated);
        header[64..96].copy_from_slice(&salt);
        let repository = self.keys.repository_id();
        let (commitment, prk) = schedule(&header[..COVERED], &repository, ikm);
        header[COVERED..].copy_from_slice(&commitment);
        Ok(Sealing { boxes: boxes(&header, &repository, &prk), header, rng: &*self.rng })
    }

    /// A whole object of one padded body. `body` is consumed because it is padded and encrypted where it lies.
    pub(super) fn seal_body(&self, object_type: ObjectType, body: &[u8]) -> Result<Vec<u8>, FormatError> {
        let what = object_type.text();
        at_most(what, body.len() as u64, object_type.size_max())?;
        let padded = padme(body.len() as u64 + 4).max(limits::BODY_SIZE_MIN);
        let size = HEADER_SIZE as u64 + BOX_OVERHEAD as u64 + padded;
        at_most(what, size, object_type.size_max())?;
        let sealing = self.begin(object_type, body)?;
        // Below the limit of its type, which is far below what a usize or a u32 holds.
        let mut object = Vec::with_capacity(size as usize);
        object.extend_from_slice(&sealing.header);
        object.extend_from_slice(&[0; 24]);
        object.extend_from_slice(&(body.len() as u32).to_le_bytes());
        object.extend_from_slice(body);
        object.resize(size as usize - 16, 0);
        let (nonce, tag) = sealing.seal(BoxKind::Body, 0, &mut object[HEADER_SIZE + 24..])?;
        object[HEADER_SIZE..HEADER_SIZE + 24].copy_from_slice(&nonce);
        object.extend_from_slice(&tag);
        Ok(object)
    }

    /// What anybody with these keys could write, whatever this program refuses to: `body` has its mark, good or not, behind it already.
    /// For tests of what happens then.
    #[doc(hidden)]
    pub fn seal_as_anybody(&self, object_type: ObjectType, body: &[u8]) -> Result<Vec<u8>, FormatError> {
        self.seal_body(object_type, body)
    }

    /// A body with the owner's mark behind it: of an owner the MAC over place and body, of anybody else zeros.
    pub(super) fn seal_marked(&self, object_type: ObjectType, place: &str, mut body: Vec<u8>) -> Result<Vec<u8>, FormatError> {
        let mark = self.keys.owner_mac(place, &body).unwrap_or([0; 32]);
        body.extend_from_slice(&mark);
        self.seal_body(object_type, &body)
    }

    /// Only an owner writes this.
    pub(super) fn need_owner(&self, what: &'static str) -> Result<(), FormatError> {
        if self.keys.is_owner() { Ok(()) } else { Err(FormatError::NeedsOwner { what }) }
    }
}

/// An object being sealed.
pub(super) struct Sealing<'a> {
    pub(super) header: [u8; HEADER_SIZE],
    boxes: Boxes,
    rng: &'a dyn Rng,
}

impl Sealing<'_> {
    pub(super) fn seal(&self, kind: BoxKind, number: u32, bytes: &mut [u8]) -> Result<([u8; 24], [u8; 16]), FormatError> {
        Ok(self.boxes.seal(self.rng, kind as u8, number, bytes)?)
    }
}

/// Whose word a record is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Authority {
    /// The owner's: its mark was checked.
    Owner,
    /// No owner's: its mark is zero. Only notes may be.
    Writer,
    /// This run holds no root and cannot tell.
    Unchecked,
}

/// HPKE `enc`, generation and writer: what a run's secret follows from.
type RunOfWriter = ([u8; 32], u32, [u8; 16]);

/// Opens objects with what the keys may open.
pub struct Opener {
    keys: Arc<Keys>,
    /// Secrets agreed on with earlier runs: few runs sealed many objects each.
    received: Mutex<HashMap<RunOfWriter, Arc<Received>>>,
}

/// More runs than this are not remembered; agreeing again costs 0.1 ms.
const RECEIVED_MAX: usize = 4096;

impl Opener {
    /// Opens with `keys`.
    pub fn new(keys: Arc<Keys>) -> Self {
        Self { keys, received: Mutex::default() }
    }

    /// The keys it opens with.
    pub fn keys(&self) -> &Arc<Keys> {
        &self.keys
    }

    fn generation(&self, what: &'static str, header: &Header) -> Result<Arc<GenerationKeys>, FormatError> {
        self.keys.of(header.generation, &header.writer).ok_or(FormatError::OtherGeneration { what, generation: header.generation })
    }

    fn received(&self, what: &'static str, header: &Header) -> Result<Arc<Received>, FormatError> {
        let place = (header.encapsulated, header.generation, header.writer);
        if let Some(received) = self.received.lock().unpoisoned().get(&place) {
            return Ok(Arc::clone(received));
        }
        if !self.keys.is_owner() {
            return Err(FormatError::NeedsOwner { what });
        }
        let generation = self.generation(what, header)?;
        let made = Received::new(&self.keys, &generation, &header.encapsulated).ok_or(FormatError::NeedsOwner { what })??;
        let made = Arc::new(made);
        let mut received = self.received.lock().unpoisoned();
        if received.len() >= RECEIVED_MAX {
            received.clear();
        }
        received.insert(place, Arc::clone(&made));
        Ok(made)
    }

    /// Key of the MACs on the records of a session, from what its first record holds. Owners only.
    pub(crate) fn session_key(&self, generation: u32, encapsulated: &[u8; 32], session: &SessionId) -> Result<Secret, FormatError> {
        let what = ObjectType::Session.text();
        if !self.keys.is_owner() {
            return Err(FormatError::NeedsOwner { what });
        }
        let generation = self.keys.of(generation, &[0; 16]).ok_or(FormatError::OtherGeneration { what, generation })?;
        let received = Received::new(&self.keys, &generation, encapsulated).ok_or(FormatError::NeedsOwner { what })??;
        Ok(received.session(session)?)
    }

    /// Checks a header's commitment and makes what opens the object's boxes. Nothing was decrypted yet when this fails.
    pub(super) fn begin(&self, header: &Header) -> Result<Boxes, FormatError> {
        let what = header.object_type.text();
        let repository = self.keys.repository_id();
        let covered = &header.bytes[..COVERED];
        let (commitment, prk) = match header.object_type.exchange() {
            KeyExchange::ToOwner => schedule(covered, &repository, self.received(what, header)?.object()),
            KeyExchange::AmongWriters => schedule(covered, &repository, self.generation(what, header)?.records_key()),
        };
        if !equal(&commitment, &header.commitment()) {
            return Err(FormatError::WrongCommitment { what });
        }
        Ok(boxes(&header.bytes, &repository, &prk))
    }

    /// The body of a whole object.
    pub(super) fn open_body(&self, object_type: ObjectType, object: &[u8]) -> Result<(Header, Vec<u8>), FormatError> {
        let what = object_type.text();
        at_most(what, object.len() as u64, object_type.size_max())?;
        let header = Header::parse(object, object_type)?;
        let boxes = self.begin(&header)?;
        let mut sealed = object[HEADER_SIZE..].to_vec();
        let length = open_box(&boxes, what, BoxKind::Body, 0, &mut sealed)?.len();
        // The plaintext stands behind the nonce; move the body to the front instead of copying it again.
        sealed.truncate(24 + length);
        sealed.drain(..24);
        unpad(what, sealed).map(|body| (header, body))
    }

    /// The body of an object with the owner's mark, and whose word it is. `marked_only`: an owner takes no other.
    pub(super) fn open_marked(
        &self,
        object_type: ObjectType,
        place: &str,
        marked_only: bool,
        object: &[u8],
    ) -> Result<(Header, Vec<u8>, Authority), FormatError> {
        let what = object_type.text();
        let (header, mut body) = self.open_body(object_type, object)?;
        let length = body.len() as u64;
        let Some((bytes, mark)) = body.split_last_chunk::<32>() else {
            return Err(FormatError::TooShort { what, length, least: 32 });
        };
        let authority = match self.keys.check_owner_mac(place, bytes, mark) {
            Some(true) => Authority::Owner,
            Some(false) if planted::is("owner-mac-unchecked") => Authority::Owner,
            Some(false) if *mark == [0; 32] && !marked_only => Authority::Writer,
            Some(false) => return Err(FormatError::WrongOwnerMac { what }),
            None if *mark == [0; 32] && !marked_only => Authority::Writer,
            None => Authority::Unchecked,
        };
        body.truncate(body.len() - 32);
        Ok((header, body, authority))
    }
}

/// The plaintext of one box, decrypted where it lies.
pub(super) fn open_box<'a>(
    boxes: &Boxes,
    what: &'static str,
    kind: BoxKind,
    number: u32,
    sealed: &'a mut [u8],
) -> Result<&'a mut [u8], FormatError> {
    boxes.open(kind as u8, number, sealed).map_err(|_| FormatError::Damaged { what })
}

/// `length | body | zeros` -> body.
fn unpad(what: &'static str, mut padded: Vec<u8>) -> Result<Vec<u8>, FormatError> {
    let there = padded.len() as u64;
    let Some((length, rest)) = padded.split_first_chunk::<4>() else {
        return Err(FormatError::TooShort { what, length: there, least: 4 });
    };
    let length = u32::from_le_bytes(*length);
    let least = u64::from(length) + 4;
    // Checked against what is there, so this index is in range and nothing is allocated for a claimed length.
    let Some(zeros) = rest.get(length as usize..) else {
        return Err(FormatError::TooShort { what, length: there, least });
    };
    if zeros.iter().any(|&byte| byte != 0) {
        return Err(FormatError::field(what, "padding", "is not zero"));
    }
    padded.truncate(4 + length as usize);
    padded.drain(..4);
    Ok(padded)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::clock::SeededRng;
    use crate::crypto::RootKey;

    /// An owner's keys of generation 1 and what seals and opens with them.
    pub(crate) fn owner() -> (Sealer, Opener) {
        with(Keys::owner(RootKey::from_bytes([7; 32]), 1))
    }

    /// The same for a writer of that repository.
    pub(crate) fn writer() -> (Sealer, Opener) {
        with(Keys::writer(Keys::owner(RootKey::from_bytes([7; 32]), 1).writer_key()))
    }

    pub(crate) fn with(keys: Keys) -> (Sealer, Opener) {
        let keys = Arc::new(keys);
        (Sealer::new(Arc::clone(&keys), Arc::new(SeededRng::new(5))).unwrap(), Opener::new(keys))
    }

    #[test]
    fn a_body_opens_to_what_was_sealed() {
        let (sealer, opener) = owner();
        for length in [0, 1, 4_091, 4_092, 4_093, 60_000] {
            let body = vec![9; length];
            let object = sealer.seal_body(ObjectType::Index, &body).unwrap();
            assert_eq!(object.len() as u64, 168 + padme(length as u64 + 4).max(4096));
            assert_eq!(opener.open_body(ObjectType::Index, &object).unwrap().1, body);
        }
    }

    #[test]
    fn a_writer_opens_records_but_nothing_that_was_sealed_to_the_owner() {
        let ((sealer, opener), (_, owner)) = (writer(), owner());
        let record = sealer.seal_body(ObjectType::Session, b"x").unwrap();
        assert_eq!(opener.open_body(ObjectType::Session, &record).unwrap().1, b"x");
        let snapshot = sealer.seal_body(ObjectType::Snapshot, b"x").unwrap();
        assert!(matches!(opener.open_body(ObjectType::Snapshot, &snapshot), Err(FormatError::NeedsOwner { .. })));
        assert_eq!(owner.open_body(ObjectType::Snapshot, &snapshot).unwrap().1, b"x");
    }

    #[test]
    fn every_flipped_bit_of_an_object_is_refused_and_the_header_before_anything_is_decrypted() {
        let (sealer, opener) = owner();
        for object_type in [ObjectType::Snapshot, ObjectType::Note] {
            let good = sealer.seal_body(object_type, b"body").unwrap();
            for bit in (0..good.len() * 8).filter(|bit| bit / 8 < 300 || bit % 64 == 3) {
                let mut bad = good.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                let error = opener.open_body(object_type, &bad).unwrap_err();
                let right = match bit / 8 {
                    0..8 => matches!(error, FormatError::WrongMagic { .. }),
                    8 => matches!(error, FormatError::NewerVersion { .. } | FormatError::Field { field: "version", .. }),
                    9 => matches!(error, FormatError::Field { .. } | FormatError::WrongType { .. }),
                    10..12 => matches!(error, FormatError::Field { .. }),
                    12..32 => matches!(error, FormatError::WrongCommitment { .. } | FormatError::Field { field: "generation", .. }),
                    32..64 if object_type == ObjectType::Note => matches!(error, FormatError::Field { .. }),
                    32..64 => matches!(error, FormatError::WrongCommitment { .. } | FormatError::Crypto(CryptoError::Agreement)),
                    64..128 => matches!(error, FormatError::WrongCommitment { .. }),
                    _ => matches!(error, FormatError::Damaged { .. }),
                };
                assert!(right, "{object_type:?} bit {bit}: {error:?}");
            }
            for length in 0..good.len() {
                assert!(opener.open_body(object_type, &good[..length]).is_err(), "{length} bytes");
            }
        }
    }

    #[test]
    fn another_repository_or_generation_does_not_open() {
        let (sealer, _) = owner();
        let object = sealer.seal_body(ObjectType::Note, b"x").unwrap();
        let (_, stranger) = with(Keys::owner(RootKey::from_bytes([8; 32]), 1));
        assert!(matches!(stranger.open_body(ObjectType::Note, &object), Err(FormatError::WrongCommitment { .. })));
        let later = Keys::writer(Keys::owner(RootKey::from_bytes([7; 32]), 2).writer_key());
        let (_, later) = with(later);
        assert!(matches!(later.open_body(ObjectType::Note, &object), Err(FormatError::OtherGeneration { generation: 1, .. })));
        let (_, owner_later) = with(Keys::owner(RootKey::from_bytes([7; 32]), 2));
        assert_eq!(owner_later.open_body(ObjectType::Note, &object).unwrap().1, b"x");
    }

    #[test]
    fn a_dead_generator_repeats_no_key_for_another_content() {
        struct Dead;
        impl Rng for Dead {
            fn fill(&self, _: &mut [u8]) -> Result<(), crate::clock::RngError> {
                Ok(())
            }
        }
        let keys = Arc::new(Keys::owner(RootKey::from_bytes([7; 32]), 1));
        let seal = |body| {
            let sealer = Sealer::new(Arc::clone(&keys), Arc::new(Dead)).unwrap();
            sealer.seal_body(ObjectType::Snapshot, body).unwrap()
        };
        let (one, two) = (seal(b"one"), seal(b"two"));
        assert_ne!(one[64..96], two[64..96], "salts");
        assert_ne!(one[96..128], two[96..128], "keys");
        assert_ne!(one[128..152], two[128..152], "nonces");
        assert_eq!(one, seal(b"one"), "the generator is dead indeed");
    }

    #[test]
    fn a_generator_that_fails_seals_nothing() {
        struct Failing;
        impl Rng for Failing {
            fn fill(&self, _: &mut [u8]) -> Result<(), crate::clock::RngError> {
                Err(crate::clock::RngError("test".into()))
            }
        }
        let keys = Arc::new(Keys::owner(RootKey::from_bytes([7; 32]), 1));
        assert!(matches!(Sealer::new(keys, Arc::new(Failing)), Err(FormatError::Crypto(CryptoError::Rng(_)))));
    }

    #[test]
    fn bad_padding_and_claimed_lengths_are_refused() {
        assert_eq!(unpad("test", vec![1, 0, 0, 0, 9, 0, 0]).unwrap(), [9]);
        assert!(matches!(unpad("test", vec![1, 0, 0, 0, 9, 0, 1]), Err(FormatError::Field { field: "padding", .. })));
        assert!(matches!(unpad("test", vec![4, 0, 0, 0, 9, 0, 0]), Err(FormatError::TooShort { .. })));
        assert!(matches!(unpad("test", vec![0xff; 6]), Err(FormatError::TooShort { .. })));
        assert!(matches!(unpad("test", vec![0; 3]), Err(FormatError::TooShort { .. })));
    }

    #[test]
    fn an_object_above_its_limit_is_refused_at_both_ends() {
        let (sealer, opener) = owner();
        assert!(matches!(sealer.seal_body(ObjectType::Revocation, &[0; 65_536]), Err(FormatError::TooLong { .. })));
        assert!(matches!(sealer.seal_body(ObjectType::Revocation, &[0; 65_500]), Err(FormatError::TooLong { .. })));
        assert!(matches!(opener.open_body(ObjectType::Revocation, &[0; 65_537]), Err(FormatError::TooLong { .. })));
    }

    #[test]
    fn an_owner_obeys_its_own_mark_only() {
        let ((owner_seals, owner_opens), (writer_seals, writer_opens)) = (owner(), writer());
        let good = owner_seals.seal_marked(ObjectType::Gc, "gc/1", b"x".to_vec()).unwrap();
        let forged = writer_seals.seal_marked(ObjectType::Gc, "gc/1", b"x".to_vec()).unwrap();
        let open = |opener: &Opener, place, only, object: &[u8]| {
            opener.open_marked(ObjectType::Gc, place, only, object).map(|opened| opened.2)
        };
        assert_eq!(open(&owner_opens, "gc/1", true, &good).unwrap(), Authority::Owner);
        assert!(matches!(open(&owner_opens, "gc/2", true, &good), Err(FormatError::WrongOwnerMac { .. })));
        assert!(matches!(open(&owner_opens, "gc/1", true, &forged), Err(FormatError::WrongOwnerMac { .. })));
        assert_eq!(open(&owner_opens, "gc/1", false, &forged).unwrap(), Authority::Writer);
        assert_eq!(open(&writer_opens, "gc/1", true, &good).unwrap(), Authority::Unchecked);
        assert_eq!(open(&writer_opens, "gc/1", true, &forged).unwrap(), Authority::Unchecked);
    }
}
