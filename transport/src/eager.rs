//! Copies of short payloads, so that a call need not wait for their acknowledgement.

/// Copies at most, over all peers of a transport: 2 MiB with the default length.
const MOST: usize = 64;

/// Buffers for copies, made as they are needed and kept.
#[derive(Debug)]
pub(crate) struct EagerPool {
    free: Vec<Box<[u8]>>,
    made: usize,
    length: usize,
}

impl EagerPool {
    /// Buffers of `length` bytes.
    pub(crate) fn new(length: usize) -> Self {
        Self { free: Vec::with_capacity(MOST), made: 0, length }
    }

    /// A copy of `bytes`, which are at most as long as the buffers; nothing when all are in use.
    pub(crate) fn copy(&mut self, bytes: &[u8]) -> Option<Box<[u8]>> {
        let mut buffer = match self.free.pop() {
            Some(buffer) => buffer,
            None if self.made < MOST => {
                self.made += 1;
                vec![0; self.length].into_boxed_slice()
            }
            None => return None,
        };
        buffer.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(buffer)
    }

    /// Takes a buffer back.
    pub(crate) fn give_back(&mut self, buffer: Option<Box<[u8]>>) {
        self.free.extend(buffer);
    }
}
