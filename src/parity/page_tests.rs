//! The code of `parity.md`, word for word from the page, against what the program writes.

use super::{Shape, protect};

/// The page, as it is published.
const PAGE: &str = include_str!("../../format-spec/parity.md");

/// The field of the page.
struct Field {
    polynomial: u32,
    /// The element that a number stands for, as a polynomial in x.
    element: Vec<u16>,
    /// And back.
    number: Vec<u16>,
}

impl Field {
    fn of_the_page() -> Self {
        let hex = |text: &str| u32::from_str_radix(text, 16).unwrap();
        let polynomial = hex(PAGE.split_once("x^2 + 1 (`").unwrap().1.split_once('`').unwrap().0);
        let line = PAGE.lines().find(|line| line.starts_with("    0001 acca ")).unwrap();
        let basis: Vec<u16> = line.split_whitespace().map(|word| u16::try_from(hex(word)).unwrap()).collect();
        assert_eq!(basis.len(), 16);
        let sum = |number: usize| basis.iter().enumerate().filter(|(bit, _)| number >> bit & 1 == 1).fold(0, |sum, (_, b)| sum ^ b);
        let element: Vec<u16> = (0..1 << 16).map(sum).collect();
        let mut number = vec![0; 1 << 16];
        for (place, element) in element.iter().enumerate() {
            number[usize::from(*element)] = place as u16;
        }
        Self { polynomial, element, number }
    }

    fn product(&self, a: u16, b: u16) -> u16 {
        let (mut a, b) = (u32::from(self.element[usize::from(a)]), self.element[usize::from(b)]);
        let mut product = 0;
        for bit in 0..16 {
            product ^= if b >> bit & 1 == 1 { a } else { 0 };
            a <<= 1;
            a ^= if a >> 16 == 1 { self.polynomial } else { 0 };
        }
        self.number[product as usize]
    }

    /// By Fermat: every element but 0 to the power of 2^16 - 1 is 1.
    fn inverse(&self, a: u16) -> u16 {
        let (mut inverse, mut power) = (1, a);
        for _ in 1..16 {
            power = self.product(power, power);
            inverse = self.product(inverse, power);
        }
        inverse
    }

    /// Lagrange: what the value at each of `places` contributes to the value at `at`.
    fn shares(&self, places: &[u16], at: u16) -> Vec<u16> {
        let share = |place: &u16| {
            let others = || places.iter().filter(|other| *other != place);
            let above = others().fold(1, |product, other| self.product(product, at ^ other));
            let below = others().fold(1, |product, other| self.product(product, place ^ other));
            self.product(above, self.inverse(below))
        };
        places.iter().map(share).collect()
    }
}

/// The places of the table: those where p is known, the first of the pack's shards among them, and the first of the recovery shards.
fn places(shards: usize, recovery: usize) -> (Vec<u16>, usize) {
    let (up_k, up_r) = (shards.next_power_of_two(), recovery.next_power_of_two());
    let (known, first) = match up_k == up_r && recovery < shards {
        true => (0..up_k, up_k),
        false => (up_r..(up_r + shards).next_power_of_two(), 0),
    };
    (known.map(|place| place as u16).collect(), first)
}

#[test]
fn recovery_shards_are_those_of_the_page() {
    let field = Field::of_the_page();
    // No writer makes the second shape, which is of the second row of the table; a reader takes it.
    let shape = |length, recovery| Shape::new(length, 4096, recovery).unwrap();
    for shape in [Shape::of_share(70_000, 5).unwrap(), shape(28_672, 6), shape(28_672, 7), Shape::of_share(1_200_000, 5).unwrap()] {
        let (length, size, shards, recovery) = (shape.length(), shape.shard_size(), shape.shards(), shape.recovery());
        let mut bytes = vec![0; length];
        blake3::Hasher::new_keyed(&[1; 32]).finalize_xof().fill(&mut bytes);
        let made = protect(&shape, &[&bytes]).unwrap();
        let mut padded = bytes;
        padded.resize(shards * size, 0);
        let element = |bytes: &[u8], i: usize| u16::from_le_bytes([bytes[i], bytes[32 + i]]);
        let (known, first) = places(shards, recovery);
        for shard in 0..recovery {
            let shares = field.shares(&known, (first + shard) as u16);
            let at = shard * size;
            for (group, i) in [(0, 0), (64, 31), (size - 64, 17)] {
                let sum = (0..shards).fold(0, |sum, of| sum ^ field.product(shares[of], element(&padded[of * size + group..], i)));
                assert_eq!(
                    sum,
                    element(&made[at + group..], i),
                    "{length} bytes, {recovery} recovery shards, shard {shard}, group {group}"
                );
            }
        }
    }
}
