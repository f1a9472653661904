//! CRC-64 as Redis ends an RDB file with: Jones' polynomial 0xad93d23594c935a9, reflected, start 0, nothing xored at the end.
//! ("123456789" gives 0xe9c6d914c4b8d9ca.) Eight tables take eight bytes a step.

/// Jones' polynomial with its bits reversed.
const POLYNOMIAL: u64 = 0xad93_d235_94c9_35a9_u64.reverse_bits();

static TABLES: [[u64; 256]; 8] = tables();

const fn tables() -> [[u64; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u64;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ POLYNOMIAL } else { crc >> 1 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut table = 1;
    while table < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[table - 1][byte];
            tables[table][byte] = before >> 8 ^ tables[0][(before & 255) as usize];
            byte += 1;
        }
        table += 1;
    }
    tables
}

/// The checksum of what had checksum `crc` (0 at the start) followed by `bytes`.
pub(super) fn update(mut crc: u64, bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        let folded = (crc ^ u64::from_le_bytes(*word)).to_le_bytes();
        crc = 0;
        for (at, &byte) in folded.iter().enumerate() {
            crc ^= TABLES[7 - at][usize::from(byte)];
        }
    }
    for &byte in rest {
        crc = crc >> 8 ^ TABLES[0][usize::from(crc as u8 ^ byte)];
    }
    crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_check_value_comes_out() {
        assert_eq!(update(0, b"123456789"), 0xe9c6_d914_c4b8_d9ca);
    }

    #[test]
    fn pieces_give_what_the_whole_gives() {
        let bytes: Vec<u8> = (0..1000_u32).map(|n| ((n * n) >> 3) as u8).collect();
        let whole = update(0, &bytes);
        for at in 0..40 {
            assert_eq!(update(update(0, &bytes[..at]), &bytes[at..]), whole, "{at}");
        }
    }
}
