//! What a plan sees of a request, what it may let happen, and what was counted.

use std::collections::BTreeMap;
use std::time::Duration;

/// What a request is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Verb {
    Put,
    Get,
    Head,
    Delete,
    List,
    /// WebDAV's `MOVE`.
    Move,
    /// WebDAV's `MKCOL`.
    MakeFolder,
}

/// A request, when its head has been read.
#[derive(Clone, Debug)]
pub struct Seen {
    /// From 1.
    pub number: u64,
    pub verb: Verb,
    /// The name of the object, or the prefix that is listed.
    pub key: String,
    /// Of the body to come.
    pub length: usize,
    /// It has `If-None-Match: *`.
    pub if_none_match: bool,
}

/// What happens to a request instead of what should.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// This connection and all others are reset, and nobody listens for so long: connections are refused.
    Gone(Duration),
    /// Reset before anything was done.
    Reset,
    /// Reset when half of the body was read (nothing is done; over WebDAV the half stands there), or when half of the answer was sent.
    ResetHalfway,
    /// Nothing is done and nothing said for so long, then the connection ends.
    Stall(Duration),
    /// Half of the answer, then nothing for so long, then the connection ends.
    StallHalfway(Duration),
    /// The connection ends in good order after half of the promised answer.
    Truncate,
    /// The answer promises and has half of what it should; for a listing: half of its text.
    Short,
    /// The answer promises and has nothing, as if that were all.
    Empty,
    /// Not done; this status, with this code of S3.
    Status(u16, &'static str),
    /// Done, then a reset in place of the answer.
    LoseReply,
    /// Done so long after it was asked that the client has given up; no answer.
    Late(Duration),
    /// Done twice, as when somebody between resends it; the second answer.
    Twice,
}

/// Requests and bytes of one verb. Bytes are those of bodies.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Tally {
    pub requests: u64,
    pub received: u64,
    pub sent: u64,
}

/// What was asked of the server.
#[derive(Clone, Default, Debug)]
pub struct Counts {
    pub by_verb: BTreeMap<Verb, Tally>,
    /// Each request in its order: for messages of tests that failed.
    pub log: Vec<String>,
    /// Requests under way at once, now and at most.
    pub under_way: u64,
    pub most_under_way: u64,
}

impl Counts {
    pub fn requests(&self) -> u64 {
        self.by_verb.values().map(|tally| tally.requests).sum()
    }
    pub fn sent(&self) -> u64 {
        self.by_verb.values().map(|tally| tally.sent).sum()
    }
    pub fn received(&self) -> u64 {
        self.by_verb.values().map(|tally| tally.received).sum()
    }
    pub fn of(&self, verb: Verb) -> Tally {
        self.by_verb.get(&verb).copied().unwrap_or_default()
    }
}
