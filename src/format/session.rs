//! Session records: a run of a writer, while it lives. Page `format-spec/session.md`.

use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, Bytes};

use super::cbor::{self, WireExtra, WireTime};
use super::envelope::{ObjectType, Opener, Sealer};
use super::error::FormatError;
use super::names::ObjectName;
use super::{Extra, Header};
use crate::clock::Timestamp;
use crate::crypto::{equal, mac_of_place};
use crate::id::{ObjectHash, PackId, SessionId};

const WHAT: &str = "session record";
/// Extra field of an acknowledgement: the condemn records it has seen whose names hold their hash, end to end, strictly rising. Not
/// there: none.
const EXTRA_SEEN: u16 = 1;

/// Record 0: durable before the session lists anything.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Start {
    /// Its session.
    pub session: SessionId,
    /// When it began, by the clock of the host.
    pub time: Timestamp,
    /// The host, for a person.
    pub host: String,
    /// Program, version and command.
    pub program: String,
    /// Identity of the machine (such as machine-id); empty when it has none.
    pub machine: Vec<u8>,
    /// Identity of this boot of the machine; empty when it has none.
    pub boot: Vec<u8>,
    /// Process id.
    pub pid: u32,
    /// When that process started, in the clock ticks of its boot: a pid is used again, this pair is not.
    pub process_start: u64,
    /// HPKE `enc` of the run.
    pub encapsulated: [u8; 32],
    /// Fields of later versions.
    pub extra: Extra,
}

/// Records 1, 2, ...: up to which gc number the session obeys, and what it relies on all the same.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Acknowledgement {
    /// Its session.
    pub session: SessionId,
    /// From 1; its name.
    pub number: u32,
    /// The number of its listing of gc/.
    pub observed: u64,
    /// Bad packs that it uses or wrote: in strictly rising order.
    pub pins: Vec<PackId>,
    /// Fields of later versions, and [`Acknowledgement::seen`].
    pub extra: Extra,
}

/// `closed`: housekeeping, nothing believes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Closed {
    /// Its session.
    pub session: SessionId,
    /// Fields of later versions.
    pub extra: Extra,
}

#[derive(Serialize, Deserialize)]
struct WireStart<'a>(
    ByteArray<16>,
    WireTime,
    &'a str,
    &'a str,
    #[serde(borrow)] &'a Bytes,
    #[serde(borrow)] &'a Bytes,
    u32,
    u64,
    ByteArray<32>,
    #[serde(borrow)] Vec<WireExtra<'a>>,
);

#[derive(Serialize, Deserialize)]
struct WireAcknowledgement<'a>(ByteArray<16>, u32, u64, Vec<ByteArray<32>>, #[serde(borrow)] Vec<WireExtra<'a>>);

#[derive(Serialize, Deserialize)]
struct WireClosed<'a>(ByteArray<16>, #[serde(borrow)] Vec<WireExtra<'a>>);

impl Start {
    /// Its body.
    pub fn encode(&self) -> Result<Vec<u8>, FormatError> {
        let wire = WireStart(
            cbor::array(&self.session.0),
            cbor::time_out(self.time),
            &self.host,
            &self.program,
            cbor::bytes(&self.machine),
            cbor::bytes(&self.boot),
            self.pid,
            self.process_start,
            cbor::array(&self.encapsulated),
            cbor::extra_out(&self.extra),
        );
        cbor::encode(WHAT, &wire)
    }

    /// From a body.
    pub fn decode(body: &[u8]) -> Result<Self, FormatError> {
        let wire: WireStart<'_> = cbor::decode(WHAT, body)?;
        Ok(Self {
            session: SessionId(wire.0.into_array()),
            time: cbor::time_in(WHAT, wire.1)?,
            host: wire.2.to_owned(),
            program: wire.3.to_owned(),
            machine: wire.4.to_vec(),
            boot: wire.5.to_vec(),
            pid: wire.6,
            process_start: wire.7,
            encapsulated: wire.8.into_array(),
            extra: cbor::extra_in(WHAT, &wire.9)?,
        })
    }
}

impl Acknowledgement {
    /// Its body, without the MAC.
    pub fn encode(&self) -> Result<Vec<u8>, FormatError> {
        check_pins(&self.pins)?;
        self.check_seen()?;
        let pins = self.pins.iter().map(|pin| cbor::array(&pin.0)).collect();
        let wire =
            WireAcknowledgement(cbor::array(&self.session.0), self.number, self.observed, pins, cbor::extra_out(&self.extra));
        cbor::encode(WHAT, &wire)
    }

    /// From a body without the MAC.
    pub fn decode(body: &[u8]) -> Result<Self, FormatError> {
        let wire: WireAcknowledgement<'_> = cbor::decode(WHAT, body)?;
        let pins: Vec<PackId> = wire.3.into_iter().map(|pin| PackId(pin.into_array())).collect();
        check_pins(&pins)?;
        let extra = cbor::extra_in(WHAT, &wire.4)?;
        let read = Self { session: SessionId(wire.0.into_array()), number: wire.1, observed: wire.2, pins, extra };
        read.check_seen()?;
        Ok(read)
    }

    /// The condemn records without a verdict that its listing of gc/ showed and that were read, among those whose names hold their hash:
    /// strictly rising. Where names can be overwritten a number says nothing about what stood there.
    pub fn seen(&self) -> Vec<ObjectHash> {
        let value = self.extra.iter().find(|(number, ..)| *number == EXTRA_SEEN).map_or(&[][..], |(.., value)| value);
        value.chunks_exact(32).filter_map(ObjectHash::from_slice).collect()
    }

    /// Sets [`Acknowledgement::seen`].
    pub fn set_seen(&mut self, seen: &[ObjectHash]) {
        self.extra.retain(|(number, ..)| *number != EXTRA_SEEN);
        if !seen.is_empty() {
            let mut seen = seen.to_vec();
            seen.sort_unstable();
            seen.dedup();
            let value = seen.iter().flat_map(|hash| hash.0).collect();
            let at = self.extra.partition_point(|(number, ..)| *number < EXTRA_SEEN);
            self.extra.insert(at, (EXTRA_SEEN, false, value));
        }
    }

    fn check_seen(&self) -> Result<(), FormatError> {
        match self.extra.iter().find(|(number, ..)| *number == EXTRA_SEEN) {
            Some((.., value)) if value.is_empty() || value.len() % 32 != 0 || !self.seen().is_sorted_by(|a, b| a < b) => {
                Err(FormatError::field(WHAT, "seen condemn records", "are no list of hashes that rises strictly"))
            }
            _ => Ok(()),
        }
    }
}

fn check_pins(pins: &[PackId]) -> Result<(), FormatError> {
    if pins.is_sorted_by(|a, b| a < b) { Ok(()) } else { Err(FormatError::field(WHAT, "pins", "are not strictly rising")) }
}

impl Closed {
    /// Its body, without the MAC.
    pub fn encode(&self) -> Result<Vec<u8>, FormatError> {
        cbor::encode(WHAT, &WireClosed(cbor::array(&self.session.0), cbor::extra_out(&self.extra)))
    }

    /// From a body without the MAC.
    pub fn decode(body: &[u8]) -> Result<Self, FormatError> {
        let wire: WireClosed<'_> = cbor::decode(WHAT, body)?;
        Ok(Self { session: SessionId(wire.0.into_array()), extra: cbor::extra_in(WHAT, &wire.1)? })
    }
}

/// Seals record 0. Its `encapsulated` is set to that of the sealer, which the session's later MACs follow from.
pub fn seal_start(sealer: &Sealer, start: &Start) -> Result<Vec<u8>, FormatError> {
    let start = Start { encapsulated: *sealer.encapsulated(), ..start.clone() };
    sealer.seal_body(ObjectType::Session, &start.encode()?)
}

/// A start as it was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OpenedStart {
    /// What it says.
    pub start: Start,
    /// The generation it was sealed in.
    pub generation: u32,
}

/// Opens record 0 of `session`.
pub fn open_start(opener: &Opener, session: SessionId, object: &[u8]) -> Result<OpenedStart, FormatError> {
    let (header, body) = opener.open_body(ObjectType::Session, object)?;
    let start = Start::decode(&body)?;
    if start.session != session {
        return Err(FormatError::WrongPlace { what: WHAT });
    }
    Ok(OpenedStart { start, generation: header.generation })
}

/// Seals an acknowledgement, with the session's MAC.
pub fn seal_acknowledgement(sealer: &Sealer, acknowledgement: &Acknowledgement) -> Result<Vec<u8>, FormatError> {
    if acknowledgement.number == 0 {
        return Err(FormatError::field(WHAT, "number", "is 0"));
    }
    let name = ObjectName::SessionRecord(acknowledgement.session, acknowledgement.number);
    seal_proved(sealer, acknowledgement.session, &name, acknowledgement.encode()?)
}

/// Opens acknowledgement `number` of the session that `start` began, and checks that this session wrote it. Owners only: a writer
/// cannot check the MAC, and nothing of a writer depends on another session's records.
pub fn open_acknowledgement(
    opener: &Opener,
    start: &OpenedStart,
    number: u32,
    object: &[u8],
) -> Result<Acknowledgement, FormatError> {
    let name = ObjectName::SessionRecord(start.start.session, number);
    let acknowledgement = Acknowledgement::decode(&open_proved(opener, start, &name, object)?)?;
    if acknowledgement.session != start.start.session || acknowledgement.number != number || number == 0 {
        return Err(FormatError::WrongPlace { what: WHAT });
    }
    Ok(acknowledgement)
}

/// Seals `closed`, with the session's MAC.
pub fn seal_closed(sealer: &Sealer, closed: &Closed) -> Result<Vec<u8>, FormatError> {
    seal_proved(sealer, closed.session, &ObjectName::SessionClosed(closed.session), closed.encode()?)
}

/// Opens `closed` of the session that `start` began. Owners only.
pub fn open_closed(opener: &Opener, start: &OpenedStart, object: &[u8]) -> Result<Closed, FormatError> {
    let name = ObjectName::SessionClosed(start.start.session);
    let closed = Closed::decode(&open_proved(opener, start, &name, object)?)?;
    if closed.session != start.start.session {
        return Err(FormatError::WrongPlace { what: WHAT });
    }
    Ok(closed)
}

fn seal_proved(sealer: &Sealer, session: SessionId, name: &ObjectName, mut body: Vec<u8>) -> Result<Vec<u8>, FormatError> {
    let mac = mac_of_place(&sealer.session_key(&session)?, &name.place(), &body);
    body.extend_from_slice(&mac);
    sealer.seal_body(ObjectType::Session, &body)
}

fn open_proved(opener: &Opener, start: &OpenedStart, name: &ObjectName, object: &[u8]) -> Result<Vec<u8>, FormatError> {
    let (Header { generation, .. }, mut body) = opener.open_body(ObjectType::Session, object)?;
    let key = opener.session_key(start.generation, &start.start.encapsulated, &start.start.session)?;
    let length = body.len() as u64;
    let Some((bytes, mac)) = body.split_last_chunk::<32>() else {
        return Err(FormatError::TooShort { what: WHAT, length, least: 32 });
    };
    if generation != start.generation || !equal(&mac_of_place(&key, &name.place(), bytes), mac) {
        return Err(FormatError::WrongSessionMac { what: WHAT });
    }
    body.truncate(body.len() - 32);
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::super::envelope::tests::{owner, with, writer};
    use super::*;
    use crate::crypto::{Keys, RootKey};

    const SESSION: SessionId = SessionId([6; 16]);

    fn start() -> Start {
        Start {
            session: SESSION,
            time: Timestamp { seconds: 1_800_000_000, nanoseconds: 0 },
            host: "db1".into(),
            program: "esker 0.1.0 backup".into(),
            machine: vec![1; 16],
            boot: vec![2; 16],
            pid: 4711,
            process_start: 99,
            encapsulated: [0; 32],
            extra: vec![],
        }
    }

    fn acknowledgement() -> Acknowledgement {
        Acknowledgement { session: SESSION, number: 2, observed: 7, pins: vec![PackId([1; 32]), PackId([2; 32])], extra: vec![] }
    }

    #[test]
    fn the_records_of_a_session_open_for_the_owner() {
        let ((sealer, reader), (_, opener)) = (writer(), owner());
        let opened = open_start(&opener, SESSION, &seal_start(&sealer, &start()).unwrap()).unwrap();
        assert_eq!(opened.start, Start { encapsulated: *sealer.encapsulated(), ..start() });
        let object = seal_acknowledgement(&sealer, &acknowledgement()).unwrap();
        assert_eq!(open_acknowledgement(&opener, &opened, 2, &object).unwrap(), acknowledgement());
        assert!(matches!(open_acknowledgement(&reader, &opened, 2, &object), Err(FormatError::NeedsOwner { .. })));
        let closed = Closed { session: SESSION, extra: vec![] };
        assert_eq!(open_closed(&opener, &opened, &seal_closed(&sealer, &closed).unwrap()).unwrap(), closed);
    }

    #[test]
    fn an_acknowledgement_of_another_run_or_place_does_not_count() {
        let ((sealer, _), (_, opener)) = (writer(), owner());
        let opened = open_start(&opener, SESSION, &seal_start(&sealer, &start()).unwrap()).unwrap();
        let object = seal_acknowledgement(&sealer, &acknowledgement()).unwrap();
        assert!(matches!(open_acknowledgement(&opener, &opened, 3, &object), Err(FormatError::WrongSessionMac { .. })));
        // A thief with the writer key, another run: everything but the MAC is right.
        let thief = Keys::writer(Keys::owner(RootKey::from_bytes([7; 32]), 1).writer_key());
        let thief = Sealer::new(thief.into(), std::sync::Arc::new(crate::clock::SeededRng::new(77))).unwrap();
        let forged = seal_acknowledgement(&thief, &acknowledgement()).unwrap();
        assert!(matches!(open_acknowledgement(&opener, &opened, 2, &forged), Err(FormatError::WrongSessionMac { .. })));
        let (later, _) = with(Keys::owner(RootKey::from_bytes([7; 32]), 2));
        let other = seal_acknowledgement(&later, &acknowledgement()).unwrap();
        assert!(matches!(open_acknowledgement(&opener, &opened, 2, &other), Err(FormatError::WrongSessionMac { .. })));
        assert!(open_start(&opener, SessionId([7; 16]), &seal_start(&sealer, &start()).unwrap()).is_err());
    }

    #[test]
    fn the_condemn_records_it_has_seen_read_back_and_none_leaves_no_byte() {
        let mut record = acknowledgement();
        let without = record.encode().unwrap();
        record.set_seen(&[ObjectHash([9; 32]), ObjectHash([3; 32]), ObjectHash([9; 32])]);
        assert_eq!(record.seen(), [ObjectHash([3; 32]), ObjectHash([9; 32])]);
        assert_eq!(Acknowledgement::decode(&record.encode().unwrap()).unwrap(), record);
        for bad in [vec![], vec![1; 31], vec![1; 64]] {
            assert!(Acknowledgement { extra: vec![(EXTRA_SEEN, false, bad)], ..acknowledgement() }.encode().is_err());
        }
        record.set_seen(&[]);
        assert_eq!(record.encode().unwrap(), without);
    }

    #[test]
    fn pins_out_of_order_and_number_0_are_refused() {
        let (sealer, _) = writer();
        let mut bad = acknowledgement();
        bad.pins.reverse();
        assert!(seal_acknowledgement(&sealer, &bad).is_err());
        assert!(seal_acknowledgement(&sealer, &Acknowledgement { number: 0, ..acknowledgement() }).is_err());
    }
}
