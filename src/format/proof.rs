//! Proofs of reading: what one verification read back, in the extra field 1 of a note. Page `format-spec/note.md`.

use super::Extra;
use super::error::FormatError;
use super::limits;
use super::table::Fields;
use crate::clock::Timestamp;
use crate::id::PackId;

const WHAT: &str = "proof of reading";
/// The number of the extra field of a note that holds one.
pub(crate) const EXTRA_NUMBER: u16 = 1;
/// Bytes of a pack's id that a proof names it by. Its maker chose among the packs there were, so two that begin alike are not to be
/// feared by accident, and whoever could make them so (2^64 attempts) gains that one of them is read again later than it should be.
pub const PREFIX_SIZE: usize = 8;
/// Packs of one proof: far below the size of a note.
pub(crate) const PACKS_MAX: usize = 100_000;

/// The first bytes of a pack's id.
pub type Prefix = [u8; PREFIX_SIZE];

/// What one verification found about packs.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Proof {
    /// Of two proofs about one pack the one with the higher number holds.
    pub number: u64,
    /// When it ended, by the clock of who verified.
    pub time: Timestamp,
    /// Structure was checked for everything: all objects, all packs' directories, all trees.
    pub complete: bool,
    /// Findings that cost no data.
    pub repairable: u64,
    /// Findings that make data unreadable.
    pub data_affected: u64,
    /// Packs read whole and found good; strictly rising.
    pub good: Vec<Prefix>,
    /// Packs with damage that costs no data; strictly rising.
    pub mendable: Vec<Prefix>,
    /// Packs with damage that costs data; strictly rising.
    pub lost: Vec<Prefix>,
}

/// What a proof calls a pack.
pub fn prefix(id: &PackId) -> Prefix {
    let mut prefix = [0; PREFIX_SIZE];
    prefix.copy_from_slice(&id.0[..PREFIX_SIZE]);
    prefix
}

impl Proof {
    /// The value of the extra field.
    pub fn encode(&self) -> Vec<u8> {
        let lists = [&self.good, &self.mendable, &self.lost];
        let count: usize = lists.iter().map(|list| list.len()).sum();
        let mut out = Vec::with_capacity(49 + count * PREFIX_SIZE);
        out.extend_from_slice(&self.number.to_le_bytes());
        out.extend_from_slice(&self.time.seconds.to_le_bytes());
        out.extend_from_slice(&self.time.nanoseconds.to_le_bytes());
        out.push(u8::from(self.complete));
        out.extend_from_slice(&self.repairable.to_le_bytes());
        out.extend_from_slice(&self.data_affected.to_le_bytes());
        for list in lists {
            // A list is no longer than there are packs to keep in memory.
            out.extend_from_slice(&(list.len() as u32).to_le_bytes());
        }
        lists.into_iter().flatten().for_each(|prefix| out.extend_from_slice(prefix));
        out
    }

    /// From the value of the extra field.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        super::error::at_most(WHAT, bytes.len() as u64, limits::NOTE_SIZE_MAX)?;
        let mut fields = Fields::new(WHAT, bytes);
        let mut proof = Self { number: fields.u64()?, ..Self::default() };
        proof.time.seconds = i64::from_le_bytes(fields.array()?);
        proof.time.nanoseconds = fields.u32()?;
        if proof.time.nanoseconds > 999_999_999 {
            return Err(FormatError::field(WHAT, "a time", "has more than 999,999,999 nanoseconds"));
        }
        proof.complete = match fields.u8()? {
            0 => false,
            1 => true,
            _ => return Err(FormatError::field(WHAT, "complete", "is neither 0 nor 1")),
        };
        proof.repairable = fields.u64()?;
        proof.data_affected = fields.u64()?;
        let counts = [fields.u32()?, fields.u32()?, fields.u32()?];
        for (list, count) in [&mut proof.good, &mut proof.mendable, &mut proof.lost].into_iter().zip(counts) {
            for _ in 0..count {
                // Grows with what is there: a claimed count allocates nothing.
                list.push(fields.array()?);
            }
            if !list.is_sorted_by(|a, b| a < b) {
                return Err(FormatError::field(WHAT, "packs", "are not strictly rising"));
            }
        }
        fields.end()?;
        Ok(proof)
    }

    /// As the extra fields of a note.
    pub(crate) fn into_extra(self) -> Extra {
        vec![(EXTRA_NUMBER, false, self.encode())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proof() -> Proof {
        Proof {
            number: 7,
            time: Timestamp { seconds: -5, nanoseconds: 9 },
            complete: true,
            repairable: 1,
            data_affected: 2,
            good: vec![[1; 8], [2; 8]],
            mendable: vec![[0; 8]],
            lost: vec![[3; 8], [9; 8]],
        }
    }

    #[test]
    fn a_proof_reads_back() {
        assert_eq!(Proof::decode(&proof().encode()).unwrap(), proof());
        assert_eq!(Proof::decode(&Proof::default().encode()).unwrap(), Proof::default());
        assert_eq!(prefix(&PackId([4; 32])), [4; 8]);
    }

    #[test]
    fn no_other_bytes_are_a_proof() {
        let good = proof().encode();
        for length in 0..good.len() {
            assert!(Proof::decode(&good[..length]).is_err(), "{length}");
        }
        assert!(Proof::decode(&[good.as_slice(), &[0]].concat()).is_err());
        let unsorted = Proof { good: vec![[2; 8], [1; 8]], ..proof() };
        assert!(Proof::decode(&unsorted.encode()).is_err());
        let mut claims_much = good;
        claims_much[37..41].copy_from_slice(&[0xff; 4]);
        assert!(Proof::decode(&claims_much).is_err());
    }
}
