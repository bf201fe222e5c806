//! Connections that do not belong to the job: it goes on unharmed, and they are counted.

mod endpoint;
mod garbage;
mod rendezvous;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use onepath_collectives::bootstrap::{Counters, JobSecret};
use onepath_collectives::communicator::Builder;
use onepath_tests::mixed::Mixed;
use onepath_tests::oracle::Pools;
use onepath_tests::status;
use onepath_tests::world::{Seat, World};
use onepath_topology::Rank;

/// Where the ranks of a job listen, and what they count.
struct Target {
    addresses: Vec<SocketAddr>,
    counters: Vec<Arc<Counters>>,
}

impl Target {
    /// The sum of one counter over all ranks.
    fn count(&self, counter: impl Fn(&Counters) -> u64) -> u64 {
        self.counters.iter().map(|counters| counter(counters)).sum()
    }

    /// Waits until a counter has reached `least`.
    fn wait_for(&self, what: &str, least: u64, counter: impl Fn(&Counters) -> u64) -> u64 {
        let start = Instant::now();
        loop {
            let count = self.count(&counter);
            if count >= least {
                return count;
            }
            let late = start.elapsed() > Duration::from_secs(20);
            assert!(!late, "{what}: {count} are counted, {least} should be; {:?}", self.counters);
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn secret(text: &str) -> JobSecret {
    JobSecret::new(text.as_bytes().to_vec(), "test").expect("long enough")
}

fn with_secret(builder: Builder, _: Rank) -> Builder {
    builder.secret(secret("the secret of this job"))
}

/// Runs a job that makes random calls and splits, checking the results, while `attack` runs.
fn under_attack<R: Send>(world: &World, attack: impl Fn(&Target) -> R + Send + Sync) -> R {
    let (ended, found) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    let (ended, found) = (&ended, &found);
    let attacker = |ranks: usize| {
        let target = meet(found, ranks);
        // The job must end also when the attack's checks fail.
        let end = End(ended);
        let result = attack(&target);
        drop(end);
        result
    };
    std::thread::scope(|scope| {
        let attack = scope.spawn(|| attacker(world.ranks));
        world.run(|seat| work(&seat, ended, found));
        attack.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

type Found = Mutex<Vec<(Vec<SocketAddr>, Arc<Counters>)>>;

/// Waits for all ranks to say where they listen, and compares with what the kernel says.
fn meet(found: &Found, ranks: usize) -> Target {
    let start = Instant::now();
    loop {
        let found = found.lock().unwrap_or_else(PoisonError::into_inner);
        if found.len() == ranks {
            let (addresses, counters): (Vec<_>, Vec<_>) = found.iter().cloned().unzip();
            let addresses = addresses.concat();
            let said = addresses.iter().map(SocketAddr::port).collect();
            assert_eq!(status::listening_ports().expect("Linux"), said, "every listening port");
            return Target { addresses, counters };
        }
        drop(found);
        assert!(start.elapsed() < Duration::from_secs(30), "the ranks do not join");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Random calls, and now and then a new communicator, until the attack has ended.
fn work(seat: &Seat, ended: &AtomicBool, found: &Found) {
    let communicator = &seat.communicator;
    let ranks = communicator.world_size().get();
    let pools = Arc::new(Pools::new(ranks, 20_000, 11));
    let mut mixed = Mixed::new(11, pools);
    communicator.barrier().expect("all ranks are there");
    let here = communicator.listen_addresses().to_vec();
    let counters = communicator.connection_counters().expect("a control plane");
    found.lock().unwrap_or_else(PoisonError::into_inner).push((here, counters));
    for number in 0.. {
        let step = mixed.next(ranks);
        seat.note(format_args!("step {number}: {step}"));
        mixed.run(step, communicator).unwrap_or_else(|error| panic!("{error}"));
        if number % 20 == 0 {
            let part = communicator.split(Some(0), 0).expect("a split under attack");
            part.expect("a color was said").barrier().expect("all ranks are there");
            let mut end = [u8::from(ended.load(Ordering::Relaxed))];
            communicator.broadcast(&mut end, Rank::new(0)).expect("all ranks are there");
            if end == [1] {
                return;
            }
        }
    }
}
