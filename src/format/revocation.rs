//! Revocations: stand where a snapshot would, so that it never comes. Page `format-spec/snapshot.md`.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;

use super::Extra;
use super::cbor::{self, WireExtra, WireTime};
use super::envelope::{Header, ObjectType, Opener, Sealer};
use super::error::FormatError;
use crate::clock::Timestamp;
use crate::id::SessionId;

const WHAT: &str = "revocation";
/// Extra field of the revocation that a failed snapshot run leaves: the host whose snapshot it was to be, UTF-8.
pub(crate) const EXTRA_FAILED_HOST: u16 = 1;

/// Ends a session that will not commit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Revocation {
    /// The session.
    pub session: SessionId,
    /// When it was decided.
    pub time: Timestamp,
    /// Why, for a person.
    pub reason: String,
    /// Fields of later versions.
    pub extra: Extra,
}

#[derive(Serialize, Deserialize)]
struct Wire<'a>(ByteArray<16>, WireTime, &'a str, #[serde(borrow)] Vec<WireExtra<'a>>);

impl Revocation {
    /// The host whose snapshot this run was to take, if it is the record of a run that failed.
    pub(crate) fn failed_host(&self) -> Option<&str> {
        let (.., value) = self.extra.iter().find(|field| field.0 == EXTRA_FAILED_HOST)?;
        std::str::from_utf8(value).ok()
    }

    /// Its body.
    pub fn encode(&self) -> Result<Vec<u8>, FormatError> {
        let wire = Wire(cbor::array(&self.session.0), cbor::time_out(self.time), &self.reason, cbor::extra_out(&self.extra));
        cbor::encode(WHAT, &wire)
    }

    /// From a body.
    pub fn decode(body: &[u8]) -> Result<Self, FormatError> {
        let wire: Wire<'_> = cbor::decode(WHAT, body)?;
        Ok(Self {
            session: SessionId(wire.0.into_array()),
            time: cbor::time_in(WHAT, wire.1)?,
            reason: wire.2.to_owned(),
            extra: cbor::extra_in(WHAT, &wire.3)?,
        })
    }
}

/// Does a revocation stand here rather than a snapshot? Told from the public header; [`open`] says whether it is a good one.
pub(crate) fn stands_here(object: &[u8]) -> bool {
    Header::parse(object, ObjectType::Revocation).is_ok()
}

/// Seals a revocation.
pub fn seal(sealer: &Sealer, revocation: &Revocation) -> Result<Vec<u8>, FormatError> {
    sealer.seal_body(ObjectType::Revocation, &revocation.encode()?)
}

/// Opens the revocation of `session`.
pub fn open(opener: &Opener, session: SessionId, object: &[u8]) -> Result<Revocation, FormatError> {
    let (_, body) = opener.open_body(ObjectType::Revocation, object)?;
    let revocation = Revocation::decode(&body)?;
    if revocation.session != session {
        return Err(FormatError::WrongPlace { what: WHAT });
    }
    Ok(revocation)
}

#[cfg(test)]
mod tests {
    use super::super::envelope::tests::writer;
    use super::*;

    #[test]
    fn a_revocation_opens_for_its_session_only() {
        let (sealer, opener) = writer();
        let revocation = Revocation {
            session: SessionId([1; 16]),
            time: Timestamp { seconds: 1, nanoseconds: 2 },
            reason: "gave up".into(),
            extra: vec![],
        };
        let object = seal(&sealer, &revocation).unwrap();
        assert!(stands_here(&object));
        assert_eq!(open(&opener, SessionId([1; 16]), &object).unwrap(), revocation);
        assert!(matches!(open(&opener, SessionId([2; 16]), &object), Err(FormatError::WrongPlace { .. })));
        assert!(!stands_here(&sealer.seal_body(ObjectType::Snapshot, b"x").unwrap()));
    }
}
