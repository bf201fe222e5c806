//! The limit of shared memory: memcpy between two mapped buffers.

use onepath_collectives::Communicator;

use super::LimitError;
use super::mapped::Mapped;
use crate::measure::Timed;

/// Copies of the bytes that an all-reduce moves.
#[derive(Debug)]
pub(super) struct MemoryCopy {
    source: Mapped,
    target: Mapped,
    moved: usize,
}

impl MemoryCopy {
    /// Two buffers of `size` bytes, between which `moved` bytes are copied, from the beginning
    /// again at the end.
    pub(super) fn new(size: usize, moved: usize) -> Result<Self, LimitError> {
        let map = || Mapped::new(size).map_err(LimitError::system("map memory"));
        Ok(Self { source: map()?, target: map()?, moved })
    }
}

impl Timed for MemoryCopy {
    type Error = LimitError;

    fn prepare(&mut self) {
        self.source.fill(1);
    }

    fn call(&mut self, _: &Communicator) -> Result<(), LimitError> {
        let mut left = self.moved;
        while left > 0 {
            let part = left.min(self.source.len());
            self.target[..part].copy_from_slice(&self.source[..part]);
            std::hint::black_box(&mut self.target[..part]);
            left -= part;
        }
        Ok(())
    }
}
