//! The SFTP protocol, version 3 (draft-ietf-secsh-filexfer-02) with OpenSSH's extensions: requests to bytes, bytes to replies.
//!
//! Replies are a stranger's bytes: every length is checked against what is there before it is believed.

/// Largest reply that is accepted, in bytes: what we ask for is at most half of it.
pub(super) const MAX_REPLY: usize = 512 << 10;

/// The version we speak.
pub(super) const VERSION: u32 = 3;

/// How to open a file.
pub(super) const READ: u32 = 0x1;
/// Write, make it, and fail where one is.
pub(super) const WRITE_NEW: u32 = 0x2 | 0x8 | 0x20;

/// One request; each does what its name says.
#[derive(Clone, Copy)]
pub(super) enum Ask<'a> {
    Open {
        path: &'a str,
        how: u32,
        mode: Option<u32>,
    },
    Close {
        handle: &'a [u8],
    },
    Read {
        handle: &'a [u8],
        offset: u64,
        length: u32,
    },
    /// `length` bytes follow the encoded request.
    Write {
        handle: &'a [u8],
        offset: u64,
        length: u32,
    },
    /// Of a link the link itself.
    Lstat {
        path: &'a str,
    },
    Stat {
        path: &'a str,
    },
    OpenFolder {
        path: &'a str,
    },
    ReadFolder {
        handle: &'a [u8],
    },
    Remove {
        path: &'a str,
    },
    MakeFolder {
        path: &'a str,
        mode: u32,
    },
    /// Does not replace what is there.
    Rename {
        from: &'a str,
        to: &'a str,
    },
    /// `posix-rename@openssh.com`: replaces what is there.
    Replace {
        from: &'a str,
        to: &'a str,
    },
    /// `hardlink@openssh.com`
    Link {
        from: &'a str,
        to: &'a str,
    },
    /// `fsync@openssh.com`
    Sync {
        handle: &'a [u8],
    },
    /// `statvfs@openssh.com`
    Room {
        path: &'a str,
    },
    /// `limits@openssh.com`
    Limits,
}

/// The extensions above, as servers name them.
pub(super) const REPLACE: &str = "posix-rename@openssh.com";
pub(super) const LINK: &str = "hardlink@openssh.com";
pub(super) const SYNC: &str = "fsync@openssh.com";
pub(super) const ROOM: &str = "statvfs@openssh.com";
pub(super) const LIMITS: &str = "limits@openssh.com";

const ATTRIBUTE_SIZE: u32 = 0x1;
const ATTRIBUTE_OWNER: u32 = 0x2;
const ATTRIBUTE_MODE: u32 = 0x4;
const ATTRIBUTE_TIMES: u32 = 0x8;
const ATTRIBUTE_MORE: u32 = 0x8000_0000;

/// Builds one packet; its first four bytes, the length, are set at the end.
struct Packet(Vec<u8>);

impl Packet {
    fn new(kind: u8, id: u32) -> Self {
        Self(vec![0, 0, 0, 0, kind]).number(id)
    }
    fn number(mut self, number: u32) -> Self {
        self.0.extend(number.to_be_bytes());
        self
    }
    fn long(mut self, number: u64) -> Self {
        self.0.extend(number.to_be_bytes());
        self
    }
    /// Paths, handles and names are far below 4 GiB: a `Name` has at most 255 bytes, a handle 256, the rest was typed by a person.
    fn text(self, text: &[u8]) -> Self {
        let mut packet = self.number(u32::try_from(text.len()).unwrap_or(u32::MAX));
        packet.0.extend(text);
        packet
    }
    fn mode(self, mode: Option<u32>) -> Self {
        match mode {
            Some(mode) => self.number(ATTRIBUTE_MODE).number(mode),
            None => self.number(0),
        }
    }
    fn end(mut self, follows: u32) -> Vec<u8> {
        let length = u32::try_from(self.0.len() - 4).unwrap_or(u32::MAX).saturating_add(follows);
        self.0[..4].copy_from_slice(&length.to_be_bytes());
        self.0
    }
}

/// The first packet of a connection.
pub(super) fn hello() -> Vec<u8> {
    // Where others have an id, this one has the version.
    Packet::new(1, VERSION).end(0)
}

impl Ask<'_> {
    /// The request as a packet.
    pub(super) fn encode(self, id: u32) -> Vec<u8> {
        let plain = |kind| Packet::new(kind, id);
        let extended = |name: &str| Packet::new(200, id).text(name.as_bytes());
        match self {
            Self::Open { path, how, mode } => plain(3).text(path.as_bytes()).number(how).mode(mode).end(0),
            Self::Close { handle } => plain(4).text(handle).end(0),
            Self::Read { handle, offset, length } => plain(5).text(handle).long(offset).number(length).end(0),
            Self::Write { handle, offset, length } => plain(6).text(handle).long(offset).number(length).end(length),
            Self::Lstat { path } => plain(7).text(path.as_bytes()).end(0),
            Self::Stat { path } => plain(17).text(path.as_bytes()).end(0),
            Self::OpenFolder { path } => plain(11).text(path.as_bytes()).end(0),
            Self::ReadFolder { handle } => plain(12).text(handle).end(0),
            Self::Remove { path } => plain(13).text(path.as_bytes()).end(0),
            Self::MakeFolder { path, mode } => plain(14).text(path.as_bytes()).mode(Some(mode)).end(0),
            Self::Rename { from, to } => plain(18).text(from.as_bytes()).text(to.as_bytes()).end(0),
            Self::Replace { from, to } => extended(REPLACE).text(from.as_bytes()).text(to.as_bytes()).end(0),
            Self::Link { from, to } => extended(LINK).text(from.as_bytes()).text(to.as_bytes()).end(0),
            Self::Sync { handle } => extended(SYNC).text(handle).end(0),
            Self::Room { path } => extended(ROOM).text(path.as_bytes()).end(0),
            Self::Limits => extended(LIMITS).end(0),
        }
    }
}

/// What a request was answered with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// Done, or why not.
    Status(Status),
    /// An open file or folder.
    Handle(Vec<u8>),
    /// `packet[at..]`: not copied.
    Data { packet: Vec<u8>, at: usize },
    /// Part of a folder.
    Rows(Vec<Row>),
    /// Of one file.
    Attributes(Attributes),
    /// Of an extension: `packet[at..]`.
    Extended { packet: Vec<u8>, at: usize },
}

/// Done, or why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Status {
    /// One of the `SSH_FX` numbers.
    pub code: u32,
    /// In the server's words, as it sent them.
    pub message: String,
}

impl Status {
    pub(super) const OK: u32 = 0;
    pub(crate) const END: u32 = 1;
    pub(crate) const NOT_FOUND: u32 = 2;
    pub(crate) const DENIED: u32 = 3;
    pub(crate) const BAD_MESSAGE: u32 = 5;
    pub(crate) const UNSUPPORTED: u32 = 8;
    // Of later versions of the protocol, but servers of version 3 send them too.
    pub(crate) const EXISTS: u32 = 11;
    pub(crate) const READ_ONLY: u32 = 12;
    pub(crate) const NO_ROOM: u32 = 14;
    pub(crate) const QUOTA: u32 = 15;
}

/// One row of a folder.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub name: Vec<u8>,
    pub attributes: Attributes,
}

/// What a server tells of a file; each part may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Attributes {
    pub size: Option<u64>,
    pub mode: Option<u32>,
    /// In seconds, by the server's clock.
    pub modified: Option<u32>,
}

/// Bytes that are no reply.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// The rest of a packet.
struct Cursor<'a> {
    packet: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let end = self.at.checked_add(length).ok_or(Malformed)?;
        let bytes = self.packet.get(self.at..end).ok_or(Malformed)?;
        self.at = end;
        Ok(bytes)
    }
    fn byte(&mut self) -> Result<u8, Malformed> {
        self.take(1).map(|bytes| bytes[0])
    }
    fn number(&mut self) -> Result<u32, Malformed> {
        self.take(4)?.try_into().map(u32::from_be_bytes).map_err(|_| Malformed)
    }
    fn long(&mut self) -> Result<u64, Malformed> {
        self.take(8)?.try_into().map(u64::from_be_bytes).map_err(|_| Malformed)
    }
    fn text(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.number()?;
        self.take(length as usize)
    }
    fn attributes(&mut self) -> Result<Attributes, Malformed> {
        let flags = self.number()?;
        let mut attributes = Attributes::default();
        if flags & ATTRIBUTE_SIZE != 0 {
            attributes.size = Some(self.long()?);
        }
        if flags & ATTRIBUTE_OWNER != 0 {
            self.long()?;
        }
        if flags & ATTRIBUTE_MODE != 0 {
            attributes.mode = Some(self.number()?);
        }
        if flags & ATTRIBUTE_TIMES != 0 {
            self.number()?;
            attributes.modified = Some(self.number()?);
        }
        if flags & ATTRIBUTE_MORE != 0 {
            for _ in 0..self.number()? {
                self.text()?;
                self.text()?;
            }
        }
        Ok(attributes)
    }
}

/// The names in the first packet of a server that speaks our version, with their values.
pub(super) fn decode_hello(packet: &[u8]) -> Result<Vec<(String, String)>, Malformed> {
    let mut cursor = Cursor { packet, at: 0 };
    if cursor.byte()? != 2 || cursor.number()? != VERSION {
        return Err(Malformed);
    }
    let mut extensions = Vec::new();
    while cursor.at < packet.len() {
        let pair = [cursor.text()?, cursor.text()?].map(|text| String::from_utf8_lossy(text).into_owned());
        extensions.push(pair.into());
    }
    Ok(extensions)
}

/// A packet, without its length, as the reply to the request with the given number.
pub(super) fn decode(packet: Vec<u8>) -> Result<(u32, Reply), Malformed> {
    let mut cursor = Cursor { packet: &packet, at: 0 };
    let kind = cursor.byte()?;
    let id = cursor.number()?;
    let reply = match kind {
        101 => {
            let code = cursor.number()?;
            // Old servers leave the message out.
            let message = cursor.text().map(|text| String::from_utf8_lossy(text).into_owned()).unwrap_or_default();
            Reply::Status(Status { code, message })
        }
        102 => match cursor.text()? {
            handle if handle.len() <= 256 => Reply::Handle(handle.to_vec()),
            _ => return Err(Malformed),
        },
        103 => {
            let length = cursor.number()? as usize;
            let at = cursor.at;
            if packet.len() - at != length {
                return Err(Malformed);
            }
            Reply::Data { packet, at }
        }
        104 => {
            // Not reserved by the count, which is only a claim.
            let mut rows = Vec::new();
            for _ in 0..cursor.number()? {
                let name = cursor.text()?.to_vec();
                cursor.text()?; // as `ls -l` would show it
                rows.push(Row { name, attributes: cursor.attributes()? });
            }
            Reply::Rows(rows)
        }
        105 => Reply::Attributes(cursor.attributes()?),
        201 => Reply::Extended { at: cursor.at, packet },
        _ => return Err(Malformed),
    };
    Ok((id, reply))
}

/// What `statvfs@openssh.com` tells: bytes and files that may still be made.
pub(super) fn decode_room(bytes: &[u8]) -> Result<(u64, u64), Malformed> {
    let mut cursor = Cursor { packet: bytes, at: 0 };
    let mut numbers = [0; 8];
    for number in &mut numbers {
        *number = cursor.long()?;
    }
    let [_, fragment, _, _, available, files, _, files_available] = numbers;
    // Some file systems do not count files and say 0 of 0.
    Ok((fragment.saturating_mul(available), if files == 0 { u64::MAX } else { files_available }))
}

/// What `limits@openssh.com` tells: the most bytes of a read and of a write; 0 is no answer.
pub(super) fn decode_limits(bytes: &[u8]) -> Result<(u64, u64), Malformed> {
    let mut cursor = Cursor { packet: bytes, at: 0 };
    cursor.long()?;
    Ok((cursor.long()?, cursor.long()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A reply as a server would send it, without the length.
    fn reply(kind: u8, id: u32, rest: impl FnOnce(Packet) -> Packet) -> Vec<u8> {
        rest(Packet::new(kind, id)).end(0).split_off(4)
    }

    #[test]
    fn requests_have_the_bytes_of_the_draft() {
        let open = Ask::Open { path: "a/b", how: WRITE_NEW, mode: Some(0o600) }.encode(7);
        assert_eq!(open, b"\0\0\0\x18\x03\0\0\0\x07\0\0\0\x03a/b\0\0\0\x2a\0\0\0\x04\0\0\x01\x80");
        let write = Ask::Write { handle: b"hh", offset: 1 << 32, length: 5 }.encode(8);
        // The length counts the five bytes that follow.
        assert_eq!(write, b"\0\0\0\x1c\x06\0\0\0\x08\0\0\0\x02hh\0\0\0\x01\0\0\0\0\0\0\0\x05");
        let link = Ask::Link { from: "t", to: "n" }.encode(9);
        assert_eq!(link, b"\0\0\0\x27\xc8\0\0\0\x09\0\0\0\x14hardlink@openssh.com\0\0\0\x01t\0\0\0\x01n");
        assert_eq!(hello(), b"\0\0\0\x05\x01\0\0\0\x03");
    }

    #[test]
    fn replies_are_read_back() {
        let status = |code, message: &str| Reply::Status(Status { code, message: message.to_owned() });
        assert_eq!(decode(reply(101, 1, |p| p.number(4).text(b"Failure").text(b""))), Ok((1, status(4, "Failure"))));
        assert_eq!(decode(reply(101, 1, |p| p.number(0))), Ok((1, status(0, ""))));
        assert_eq!(decode(reply(102, 2, |p| p.text(b"\0\0\0\x01"))), Ok((2, Reply::Handle(vec![0, 0, 0, 1]))));
        let Ok((3, Reply::Data { packet, at })) = decode(reply(103, 3, |p| p.text(b"bytes"))) else { panic!("no data") };
        assert_eq!(&packet[at..], b"bytes");
        let attributes = Attributes { size: Some(9), mode: Some(0o100600), modified: Some(12) };
        let all = |p: Packet| p.number(0xd).long(9).number(0o100600).number(11).number(12);
        assert_eq!(decode(reply(105, 4, all)), Ok((4, Reply::Attributes(attributes))));
        let row = |p: Packet| all(p.number(1).text(b"x").text(b"-rw------- x"));
        assert_eq!(decode(reply(104, 5, row)), Ok((5, Reply::Rows(vec![Row { name: b"x".to_vec(), attributes }]))));
        let hello = reply(2, 3, |p| p.text(SYNC.as_bytes()).text(b"1"));
        assert_eq!(decode_hello(&hello), Ok(vec![(SYNC.to_owned(), "1".to_owned())]));
        let room: Vec<u8> = (1..=11u64).flat_map(u64::to_be_bytes).collect();
        assert_eq!(decode_room(&room), Ok((2 * 5, 8)));
        assert_eq!(decode_limits(&room), Ok((2, 3)));
    }

    #[test]
    fn a_length_that_is_a_lie_is_refused() {
        for lie in [
            reply(102, 1, |p| p.number(u32::MAX)),
            reply(102, 1, |p| p.text(&[0; 257])),
            reply(103, 1, |p| p.number(6).number(0)),
            reply(104, 1, |p| p.number(u32::MAX)),
            reply(105, 1, |p| p.number(ATTRIBUTE_MORE).number(u32::MAX)),
            reply(99, 1, |p| p),
            vec![101, 0, 0],
            vec![],
        ] {
            assert_eq!(decode(lie.clone()), Err(Malformed), "{lie:?}");
        }
        assert_eq!(decode_hello(&reply(2, 2, |p| p)), Err(Malformed), "another version");
        assert_eq!(decode_hello(&reply(2, 3, |p| p.number(9))), Err(Malformed));
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), kind in 99u8..108) {
            let _ = (decode_hello(&bytes), decode_room(&bytes), decode_limits(&bytes));
            let _ = decode(bytes.clone());
            if let Some(first) = bytes.first_mut() {
                *first = kind;
            }
            let _ = decode(bytes);
        }
    }
}
