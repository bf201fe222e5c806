//! The ring and the doorbell under every interleaving that loom finds.

use std::time::Duration;

use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};
use loom::sync::{Arc, Condvar, Mutex};
use loom::{cell::UnsafeCell, thread};

use super::doorbell::{self, AWAKE, DoorbellCell};
use super::ring::{Consumer, Counter, Producer, RingCells};

impl Counter for AtomicU64 {
    fn acquire(&self) -> u64 {
        self.load(Ordering::Acquire)
    }

    fn release(&self, value: u64) {
        self.store(value, Ordering::Release);
    }
}

const SLOTS: usize = 2;

/// A ring whose payloads loom watches: an access that overlaps another fails the test.
struct Memory {
    published: [AtomicU64; SLOTS],
    freed: AtomicU64,
    payload: [UnsafeCell<(u64, u64)>; SLOTS],
}

impl RingCells for Arc<Memory> {
    type Counter = AtomicU64;

    fn slots(&self) -> usize {
        SLOTS
    }

    fn published(&self, slot: usize) -> &AtomicU64 {
        &self.published[slot]
    }

    fn freed(&self) -> &AtomicU64 {
        &self.freed
    }
}

fn memory() -> Arc<Memory> {
    Arc::new(Memory {
        published: [AtomicU64::new(0), AtomicU64::new(0)],
        freed: AtomicU64::new(0),
        payload: [UnsafeCell::new((0, 0)), UnsafeCell::new((0, 0))],
    })
}

#[test]
fn loom_finds_no_torn_lost_or_repeated_slot() {
    const MESSAGES: u64 = 3;
    loom::model(|| {
        let memory = memory();
        let mut producer = Producer::new(Arc::clone(&memory));
        let mut consumer = Consumer::new(memory);
        let writer = thread::spawn(move || {
            let mut sent = 0;
            while sent < MESSAGES {
                match producer.claim().expect("the consumer counts right") {
                    Some(slot) => {
                        let cell = &producer.cells().payload[slot];
                        // SAFETY: loom checks that nobody else uses the cell.
                        cell.with_mut(|p| unsafe { *p = (sent, !sent) });
                        producer.publish();
                        sent += 1;
                    }
                    None => thread::yield_now(),
                }
            }
        });
        let mut seen = 0;
        while seen < MESSAGES {
            match consumer.peek() {
                Some(slot) => {
                    let cell = &consumer.cells().payload[slot];
                    // SAFETY: loom checks that nobody writes the cell.
                    let got = cell.with(|p| unsafe { *p });
                    assert_eq!(got, (seen, !seen));
                    consumer.give_back();
                    seen += 1;
                }
                None => thread::yield_now(),
            }
        }
        writer.join().expect("the writer ends");
    });
}

/// A futex: the word is compared and the sleeper queued in one step.
struct Bell {
    word: AtomicU32,
    queue: Mutex<()>,
    woken: Condvar,
}

impl DoorbellCell for Bell {
    fn load(&self) -> u32 {
        self.word.load(Ordering::Relaxed)
    }

    fn swap(&self, value: u32) -> u32 {
        self.word.swap(value, Ordering::AcqRel)
    }

    fn fence(&self) {
        fence(Ordering::SeqCst);
    }

    fn sleep(&self, expected: u32, _limit: Duration) {
        let guard = self.queue.lock().expect("no thread panics");
        // A read-modify-write sees the newest value, as the kernel's comparison does.
        if self.word.fetch_add(0, Ordering::AcqRel) == expected {
            drop(self.woken.wait(guard).expect("no thread panics"));
        }
    }

    fn wake(&self) {
        let _guard = self.queue.lock().expect("no thread panics");
        self.woken.notify_one();
    }
}

/// `peers` publish once each and ring; the owner sleeps without time-out until it has seen all. A
/// lost wake-up is a deadlock, which loom reports.
///
/// `preemptions` bounds the search: three threads have too many interleavings to try all.
fn every_wake_up_arrives(peers: usize, preemptions: Option<usize>) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = preemptions;
    model.check(move || {
        let bell = Arc::new(Bell {
            word: AtomicU32::new(AWAKE),
            queue: Mutex::new(()),
            woken: Condvar::new(),
        });
        let work: Vec<_> = (0..peers).map(|_| Arc::new(AtomicBool::new(false))).collect();
        let threads: Vec<_> = work
            .iter()
            .map(|work| {
                let (bell, work) = (Arc::clone(&bell), Arc::clone(work));
                thread::spawn(move || {
                    work.store(true, Ordering::Release);
                    doorbell::ring(&*bell);
                })
            })
            .collect();
        let mut taken = 0;
        while taken < peers {
            let mut looked = work.iter().filter(|w| w.load(Ordering::Acquire));
            let before = taken;
            while let Some(work) = looked.next() {
                work.store(false, Ordering::Relaxed);
                taken += 1;
            }
            if taken == before {
                let is_idle = || !work.iter().any(|w| w.load(Ordering::Acquire));
                doorbell::sleep(&*bell, is_idle, Duration::MAX);
            }
        }
        for thread in threads {
            thread.join().expect("the peer ends");
        }
    });
}

#[test]
fn loom_finds_no_lost_wake_up_from_one_peer() {
    every_wake_up_arrives(1, None);
}

#[test]
fn loom_finds_no_lost_wake_up_from_two_peers() {
    every_wake_up_arrives(2, Some(3));
}
