//! Bytes that came before their place was known.

use super::inbox::IncomingPiece;

/// A ring as long as the credit: the byte at position `p` of the stream of all chunks lies at
/// `p mod length`. Two bytes of undelivered chunks never meet, since the credit is no longer than
/// the ring; pieces begin on the grid of granules, so no element is cut where the ring ends.
#[derive(Debug)]
pub struct EarlyBuffer {
    bytes: Box<[u8]>,
}

impl EarlyBuffer {
    /// For a credit of [`early_bytes`](crate::proto::Config::early_bytes). The operating system
    /// gives memory only for the pages that are used.
    pub fn new(early_bytes: u32) -> Self {
        Self { bytes: vec![0; early_bytes as usize].into_boxed_slice() }
    }

    /// Keeps the bytes of a piece; there are as many as the piece is long.
    pub fn store(&mut self, piece: &IncomingPiece, payload: &[u8]) {
        let at = self.at(piece.position);
        let (now, later) = payload.split_at(payload.len().min(self.bytes.len() - at));
        self.bytes[at..at + now.len()].copy_from_slice(now);
        self.bytes[..later.len()].copy_from_slice(later);
    }

    /// `length` bytes from a position on, in one or two parts.
    pub fn load(&self, position: u64, length: u32) -> [&[u8]; 2] {
        let at = self.at(position);
        let now = (length as usize).min(self.bytes.len() - at);
        [&self.bytes[at..at + now], &self.bytes[..length as usize - now]]
    }

    fn at(&self, position: u64) -> usize {
        (position % self.bytes.len() as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::super::inbox::ChunkNumber;
    use super::*;

    #[test]
    fn bytes_come_back_also_around_the_end() {
        let mut buffer = EarlyBuffer::new(128);
        let payload: Vec<u8> = (0..64).collect();
        let piece = IncomingPiece {
            chunk: ChunkNumber(0),
            offset: 0,
            length: 64,
            open: false,
            position: 128 * 5 + 96,
            complete: false,
        };
        buffer.store(&piece, &payload);
        assert_eq!(buffer.load(piece.position, 64), [&payload[..32], &payload[32..]]);
        assert_eq!(buffer.load(piece.position + 32, 32), [&payload[32..], &[]]);
    }
}
