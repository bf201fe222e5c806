//! Which bytes of a chunk are done: one bit for each [`GRANULE_BYTES`].

use std::ops::Range;

use super::packet::GRANULE_BYTES;

/// How a piece lies to what is done already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overlap {
    /// Nothing of it was done; now all of it is.
    None,
    /// Some of it is done; nothing was changed.
    Part,
    /// All of it was done before.
    Whole,
}

/// A set of granules of one chunk. Keeps its memory when it is used again.
#[derive(Debug, Default)]
pub(super) struct Granules {
    words: Vec<u64>,
    length: usize,
    /// Bytes that are done.
    done: usize,
}

impl Granules {
    /// Empties the set, for a chunk of `length` bytes.
    pub(super) fn reset(&mut self, length: usize) {
        self.words.clear();
        self.words.resize(length.div_ceil(GRANULE_BYTES * 64), 0);
        self.length = length;
        self.done = 0;
    }

    /// Makes room for chunks of up to `length` bytes; what is in the set stays.
    pub(super) fn reserve(&mut self, length: usize) {
        let words = length.div_ceil(GRANULE_BYTES * 64);
        self.words.reserve(words.saturating_sub(self.words.len()));
    }

    pub(super) fn is_complete(&self) -> bool {
        self.done == self.length
    }

    /// Adds the bytes `offset..offset + length`, a piece on the grid, if none of them is done.
    pub(super) fn insert(&mut self, offset: usize, length: usize) -> Overlap {
        let bits = bits(offset, length);
        let count = bits.len();
        let mut set = 0;
        for (word, mask) in masks(bits.clone()) {
            set += (self.words[word] & mask).count_ones() as usize;
        }
        if set == count {
            return Overlap::Whole;
        }
        if set > 0 {
            return Overlap::Part;
        }
        for (word, mask) in masks(bits) {
            self.words[word] |= mask;
        }
        self.done += length;
        Overlap::None
    }

    /// Adds all bytes of `offset..offset + length` that are not done.
    pub(super) fn cover(&mut self, offset: usize, length: usize) {
        let end = offset + length;
        let mut at = offset;
        while let Some(run) = self.missing(at, end) {
            at = run.end;
            self.insert(run.start, run.len());
        }
    }

    /// The first run of bytes in `from..end` that is not done.
    pub(super) fn missing(&self, from: usize, end: usize) -> Option<Range<usize>> {
        self.run(from, end, false)
    }

    /// The first run of bytes in `from..end` that is done.
    pub(super) fn present(&self, from: usize, end: usize) -> Option<Range<usize>> {
        self.run(from, end, true)
    }

    fn run(&self, from: usize, end: usize, wanted: bool) -> Option<Range<usize>> {
        let end = end.min(self.length);
        if from >= end {
            return None;
        }
        let last = end.div_ceil(GRANULE_BYTES);
        let first = self.next(from / GRANULE_BYTES, last, wanted)?;
        let stop = self.next(first, last, !wanted).unwrap_or(last);
        Some(first * GRANULE_BYTES..(stop * GRANULE_BYTES).min(end))
    }

    /// The first bit of value `wanted` in `from..end`.
    fn next(&self, from: usize, end: usize, wanted: bool) -> Option<usize> {
        let mut at = from;
        while at < end {
            let word = self.words[at / 64];
            let word = if wanted { word } else { !word } >> (at % 64);
            if word != 0 {
                let found = at + word.trailing_zeros() as usize;
                return (found < end).then_some(found);
            }
            at = (at / 64 + 1) * 64;
        }
        None
    }
}

fn bits(offset: usize, length: usize) -> Range<usize> {
    offset / GRANULE_BYTES..(offset + length).div_ceil(GRANULE_BYTES)
}

/// The words that a range of bits touches, each with the bits touched.
fn masks(bits: Range<usize>) -> impl Iterator<Item = (usize, u64)> {
    let words = bits.start / 64..bits.end.div_ceil(64);
    words.map(move |word| {
        let low = bits.start.saturating_sub(word * 64);
        let high = (bits.end - word * 64).min(64);
        let below = |count: usize| if count == 64 { u64::MAX } else { (1 << count) - 1 };
        (word, below(high) & !below(low))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pieces_in_any_order_are_taken_once_each(
            length in 1_usize..20_000,
            piece in 1_usize..9,
            order in prop::collection::vec(any::<prop::sample::Index>(), 1..200),
        ) {
            let piece = piece * GRANULE_BYTES;
            let mut set = Granules::default();
            set.reset(7);
            set.reset(length);
            let mut taken = vec![false; length.div_ceil(piece)];
            for index in order {
                let at = index.index(taken.len());
                let bytes = piece.min(length - at * piece);
                let expected = if taken[at] { Overlap::Whole } else { Overlap::None };
                prop_assert_eq!(set.insert(at * piece, bytes), expected);
                taken[at] = true;
            }
            let first = taken.iter().position(|t| !t);
            let missing = set.missing(0, length).map(|run| run.start);
            prop_assert_eq!(missing, first.map(|at| at * piece));
            prop_assert_eq!(set.is_complete(), first.is_none());
            let present = set.present(0, length).map(|run| run.start);
            prop_assert_eq!(present, taken.iter().position(|&t| t).map(|at| at * piece));
            set.cover(0, length);
            prop_assert!(set.is_complete());
        }
    }

    #[test]
    fn a_piece_that_is_partly_done_changes_nothing() {
        let mut set = Granules::default();
        set.reset(320);
        assert_eq!(set.insert(32, 32), Overlap::None);
        assert_eq!(set.insert(0, 96), Overlap::Part);
        assert_eq!(set.missing(0, 320), Some(0..32));
        assert_eq!(set.missing(32, 320), Some(64..320));
        assert_eq!(set.present(0, 320), Some(32..64));
    }
}
