//! Randomness that is the same on every machine: `SplitMix64` and the Fisher–Yates shuffle.
//!
//! Integer arithmetic only, written out here, so that neither the platform nor the version of a
//! package can change which path a flow takes: ranks must agree, and runs must be repeatable.

/// A seed of an assignment; equal seeds give equal assignments, byte for byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seed(pub u64);

/// `SplitMix64` (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", OOPSLA
/// 2014): a counter and a finisher.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The finisher of `SplitMix64`.
const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Random {
    /// The stream of `seed` for one purpose: sources take their host's number, leaves their own.
    pub const fn new(seed: Seed, stream: u64) -> Self {
        Self { state: mix(seed.0.wrapping_add(GOLDEN)) ^ mix(stream.wrapping_mul(GOLDEN)) }
    }

    /// Any 64 bits.
    pub const fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GOLDEN);
        mix(self.state)
    }

    /// A number below `bound` (at least 1), by the high half of a product (Lemire 2019, without the
    /// rejection: the bias is below `bound / 2^64`).
    pub const fn below(&mut self, bound: u64) -> u64 {
        ((self.next() as u128 * bound as u128) >> 64) as u64
    }

    /// Fisher–Yates, from the back.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_gives_the_published_numbers() {
        // First outputs for state 1234567, as in the reference C code of Vigna.
        let mut random = Random { state: 1_234_567 };
        let numbers = [random.next(), random.next(), random.next()];
        let published =
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        assert_eq!(numbers, published);
    }

    #[test]
    fn a_shuffle_keeps_every_item_and_differs_between_sources() {
        let shuffled = |stream| {
            let mut items: Vec<u32> = (0..100).collect();
            Random::new(Seed(7), stream).shuffle(&mut items);
            items
        };
        let mut sorted = shuffled(1);
        sorted.sort_unstable();
        assert_eq!(sorted, (0..100).collect::<Vec<_>>());
        assert_eq!(shuffled(1), shuffled(1));
        assert_ne!(shuffled(1), shuffled(2));
    }
}
