//! One bit for each row of a pack's directory.

/// Rows that are in a set. Grows as far as the highest row.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Bits(Vec<u64>);

impl Bits {
    /// Puts a row in; was it new?
    pub fn set(&mut self, row: u32) -> bool {
        let (word, bit) = (row as usize / 64, 1u64 << (row % 64));
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        let was = self.0[word] & bit != 0;
        self.0[word] |= bit;
        !was
    }

    /// Is it in?
    pub fn get(&self, row: u32) -> bool {
        self.0.get(row as usize / 64).is_some_and(|word| word & (1 << (row % 64)) != 0)
    }

    /// How many.
    pub fn count(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    /// None?
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|&word| word == 0)
    }

    /// Each, in rising order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        (0u32..)
            .zip(&self.0)
            .flat_map(|(at, &word)| (0..64).filter(move |bit| word & (1 << bit) != 0).map(move |bit| at * 64 + bit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_in_is_there_once_and_in_order() {
        let mut bits = Bits::default();
        assert!(bits.is_empty() && !bits.get(1_000));
        assert_eq!([700, 0, 63, 64, 700].map(|row| bits.set(row)), [true, true, true, true, false]);
        assert_eq!(bits.iter().collect::<Vec<_>>(), [0, 63, 64, 700]);
        assert_eq!(bits.count(), 4);
        assert!(bits.get(63) && !bits.get(62));
    }
}
