//! The times that queue pairs wait, as the few bits that the hardware has for them.

use std::time::Duration;

/// How long a sender waits for an acknowledgement before it sends again: 4.096 µs × 2^code
/// (InfiniBand Architecture Specification, volume 1, section 9.9.2.1.1). Devices may wait up to
/// four times as long, and have a least time of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AckTimeout(u8);

impl AckTimeout {
    const UNIT: Duration = Duration::from_nanos(4_096);
    const MOST: u8 = 31;

    /// The longest, about 2.4 hours.
    pub const LONGEST: Self = Self(Self::MOST);

    /// The time of this code; nothing for 0, which would mean to wait for ever, or above 31.
    pub fn from_code(code: u8) -> Option<Self> {
        (1..=Self::MOST).contains(&code).then_some(Self(code))
    }

    /// The shortest that is at least this long; at most 4.096 µs × 2^31, about 2.4 hours.
    pub fn at_least(time: Duration) -> Self {
        // Code 0 would mean to wait for ever.
        let long_enough = |&code: &u8| Self(code).duration() >= time;
        Self((1..Self::MOST).find(long_enough).unwrap_or(Self::MOST))
    }

    /// The time it stands for.
    pub fn duration(self) -> Duration {
        Self::UNIT * (1 << self.0)
    }

    pub(super) fn to_raw(self) -> u8 {
        self.0
    }
}

/// How long a sender is asked to wait when it finds no receive request (specification, table 45).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotReadyTimer(u8);

/// The codes 1 to 31 in units of 10 µs; code 0 is the longest, 655.36 ms.
const NOT_READY: [u64; 31] = [
    1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048,
    3072, 4096, 6144, 8192, 12288, 16384, 24576, 32768, 49152,
];

impl NotReadyTimer {
    /// The shortest that is at least this long; at most 655.36 ms.
    pub fn at_least(time: Duration) -> Self {
        let found = NOT_READY.iter().position(|&ten| Duration::from_micros(10 * ten) >= time);
        Self(found.map_or(0, |at| at as u8 + 1))
    }

    /// The time it stands for.
    pub fn duration(self) -> Duration {
        let place = usize::from(self.0).checked_sub(1);
        Duration::from_micros(10 * place.map_or(65_536, |place| NOT_READY[place]))
    }

    pub(super) fn to_raw(self) -> u8 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_time_out_that_is_long_enough_is_taken() {
        let code = |time| AckTimeout::at_least(time).to_raw();
        assert_eq!(code(Duration::ZERO), 1);
        assert_eq!(code(Duration::from_nanos(8_192)), 1);
        assert_eq!(code(Duration::from_nanos(8_193)), 2);
        assert_eq!(code(Duration::from_secs(1)), 18);
        assert_eq!(AckTimeout::at_least(Duration::from_secs(1)).duration().as_millis(), 1073);
        assert_eq!(code(Duration::from_secs(1 << 30)), 31);
    }

    #[test]
    fn the_timer_of_missing_receives_has_the_codes_of_the_specification() {
        let code = |micros| NotReadyTimer::at_least(Duration::from_micros(micros)).to_raw();
        assert_eq!([code(0), code(10), code(11), code(640), code(641)], [1, 1, 2, 12, 13]);
        assert_eq!([code(491_520), code(491_521), code(10_000_000)], [31, 0, 0]);
        for code in 0..32 {
            let timer = NotReadyTimer(code);
            assert_eq!(NotReadyTimer::at_least(timer.duration()), timer);
        }
    }
}
