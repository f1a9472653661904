//! A run of bytes that lies in several parts, read as if it lay in one.

/// Parts laid end to end, with zeros behind the end.
pub(super) struct Pieces<'a> {
    parts: &'a [&'a [u8]],
    /// Where each part begins; one more, where the last ends.
    starts: Vec<usize>,
}

impl<'a> Pieces<'a> {
    pub(super) fn new(parts: &'a [&'a [u8]]) -> Self {
        let mut starts = vec![0];
        let mut end = 0;
        for part in parts {
            end += part.len();
            starts.push(end);
        }
        Self { parts, starts }
    }

    pub(super) fn length(&self) -> usize {
        self.starts.last().copied().unwrap_or(0)
    }

    /// `spare.len()` bytes from `offset`: where they lie if they lie in one part, else gathered in `spare`. `place` is a hint, the part
    /// the last call began in: calls come with rising offsets.
    pub(super) fn get<'b>(&self, offset: usize, spare: &'b mut [u8], place: &mut usize) -> &'b [u8]
    where
        'a: 'b,
    {
        while *place < self.parts.len() && self.starts[*place + 1] <= offset {
            *place += 1;
        }
        let wanted = spare.len();
        let mut part = *place;
        if let Some(bytes) = self.parts.get(part)
            && let Some(bytes) = bytes.get(offset - self.starts[part]..offset - self.starts[part] + wanted)
        {
            return bytes;
        }
        let mut filled = 0;
        while filled < wanted
            && let Some(bytes) = self.parts.get(part)
        {
            let from = &bytes[(offset + filled - self.starts[part]).min(bytes.len())..];
            let length = from.len().min(wanted - filled);
            spare[filled..filled + length].copy_from_slice(&from[..length]);
            filled += length;
            part += 1;
        }
        spare[filled..].fill(0);
        spare
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_piece_is_that_of_the_run_whole() {
        let whole: Vec<u8> = (0..=255).cycle().take(1000).collect();
        for ends in [vec![1000], vec![0, 0, 1, 1, 700, 1000], vec![10, 20, 30, 1000, 1000]] {
            let mut start = 0;
            let mut parts = Vec::new();
            for end in ends {
                parts.push(&whole[start..end]);
                start = end;
            }
            let pieces = Pieces::new(&parts);
            assert_eq!(pieces.length(), 1000);
            for step in [1, 7, 64] {
                let mut place = 0;
                for offset in (0..1100).step_by(step) {
                    let mut expected = whole[offset.min(1000)..(offset + 64).min(1000)].to_vec();
                    expected.resize(64, 0);
                    assert_eq!(pieces.get(offset, &mut [0xee; 64], &mut place), expected, "{offset}");
                }
            }
        }
    }
}
