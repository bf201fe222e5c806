//! Selective signalling: which send requests make a completion, and what a completion frees.

/// The places of a send queue. Requests complete in order, so one completion stands for itself and
/// all unsignalled requests before it; asking for few of them spares the device and the poller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendSlots {
    capacity: u32,
    every: u32,
    posted: u64,
    retired: u64,
    unsignalled: u32,
}

/// A place for one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendSlot {
    /// For [`super::SendRequest::id`]: how many requests came before.
    pub id: u64,
    /// For [`super::SendRequest::signalled`].
    pub signalled: bool,
}

impl SendSlots {
    /// The places of a queue of `capacity` requests, of which every `every`th is signalled. Both
    /// are at least 1, and `every` at most half of the capacity, so that a full queue always has a
    /// completion to come that frees much of it.
    pub fn new(capacity: u32, every: u32) -> Self {
        let capacity = capacity.max(1);
        let every = every.clamp(1, (capacity / 2).max(1));
        Self { capacity, every, posted: 0, retired: 0, unsignalled: 0 }
    }

    /// How many requests can be posted now.
    pub fn free(&self) -> u32 {
        self.capacity - (self.posted - self.retired) as u32
    }

    /// The next place; nothing if the queue is full. `wanted` makes a completion in any case: for
    /// the last request for a while, which nothing would follow that could stand for it.
    pub fn take(&mut self, wanted: bool) -> Option<SendSlot> {
        if self.free() == 0 {
            return None;
        }
        let id = self.posted;
        self.posted += 1;
        self.unsignalled += 1;
        let signalled = wanted || self.unsignalled >= self.every;
        if signalled {
            self.unsignalled = 0;
        }
        Some(SendSlot { id, signalled })
    }

    /// Frees the place of the request that has completed and those before it. How many those are:
    /// 0 for one that was freed before, or that was never posted.
    pub fn retire(&mut self, id: u64) -> u32 {
        if id >= self.posted || id < self.retired {
            return 0;
        }
        let freed = id + 1 - self.retired;
        self.retired = id + 1;
        freed as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_nth_request_is_signalled_and_its_completion_frees_all_before() {
        let mut slots = SendSlots::new(8, 4);
        let taken: Vec<_> = std::iter::from_fn(|| slots.take(false)).collect();
        assert_eq!(taken.len(), 8);
        let signalled: Vec<u64> = taken.iter().filter(|s| s.signalled).map(|s| s.id).collect();
        assert_eq!(signalled, [3, 7]);
        assert_eq!((slots.free(), slots.retire(3), slots.free()), (0, 4, 4));
        assert_eq!((slots.retire(3), slots.retire(99)), (0, 0));
        assert_eq!((slots.retire(7), slots.free()), (4, 8));
    }

    #[test]
    fn a_full_queue_always_has_a_completion_to_come() {
        for capacity in 1..20 {
            for every in 0..25 {
                let mut slots = SendSlots::new(capacity, every);
                let taken: Vec<_> = std::iter::from_fn(|| slots.take(false)).collect();
                assert_eq!(taken.len(), capacity as usize);
                assert!(taken.iter().any(|slot| slot.signalled), "{capacity} every {every}");
            }
        }
    }

    #[test]
    fn a_wanted_completion_starts_the_count_again() {
        let mut slots = SendSlots::new(16, 3);
        let taken = [false, true, false, false, false].map(|wanted| slots.take(wanted));
        let signalled = taken.map(|slot| slot.expect("not full").signalled);
        assert_eq!(signalled, [false, true, false, false, true]);
    }
}
