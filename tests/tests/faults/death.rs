//! A random rank is killed or stopped at a random moment in random collectives.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use onepath_collectives::communicator::TransportKind;
use onepath_tests::processes::Processes;
use onepath_tests::product::TRANSPORTS;
use onepath_tests::world::free_port;
use onepath_tests::{number, status};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rustix::process::Signal;

const ROUNDS: u64 = 200;

/// Seconds after which a stopped rank counts as dead, and a killed one would: that is seen at once
/// from its connections, so a rank that does not get the processor for a while harms no round.
const SILENCE: (u64, u64) = (2, 10);

/// How long one thing may take.
const LIMIT: Duration = Duration::from_secs(25);

/// Transports of the rounds: those of the product, or that of `ONEPATH_FAULT_TRANSPORT`, for one
/// that needs devices.
static ROUND_TRANSPORTS: LazyLock<Vec<TransportKind>> =
    LazyLock::new(|| match std::env::var("ONEPATH_FAULT_TRANSPORT") {
        Ok(name) => vec![name.parse().expect("ONEPATH_FAULT_TRANSPORT is a transport")],
        Err(_) => TRANSPORTS.to_vec(),
    });

/// What is done to the victim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Killed,
    /// Stopped, and killed when the survivors are done.
    Stopped,
    /// Stopped, and continued while the survivors are still there.
    Frozen,
}

/// One round, all of it chosen by its seed.
#[derive(Clone, Copy, Debug)]
struct Round {
    seed: u64,
    transport: TransportKind,
    ranks: usize,
    victim: usize,
    fate: Fate,
    after: Duration,
}

impl Round {
    fn new(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let ranks = random.random_range(3..=5);
        Self {
            seed,
            transport: ROUND_TRANSPORTS[random.random_range(0..ROUND_TRANSPORTS.len())],
            ranks,
            victim: random.random_range(0..ranks),
            fate: [
                Fate::Killed,
                Fate::Stopped,
                Fate::Killed,
                Fate::Killed,
                Fate::Frozen,
                Fate::Killed,
            ][random.random_range(0..6)],
            after: Duration::from_micros(random.random_range(0..200_000)),
        }
    }

    fn arguments(&self, rank: usize, port: u16) -> Vec<String> {
        let Self { ranks, transport, seed, .. } = self;
        let silence = if self.fate == Fate::Killed { SILENCE.1 } else { SILENCE.0 };
        let text = format!(
            "--rank {rank} --ranks {ranks} --port {port} --transport {transport} --seed {seed} \
             --silence {silence} fault"
        );
        text.split(' ').map(str::to_owned).collect()
    }

    fn survivors(&self) -> impl Iterator<Item = usize> {
        let victim = self.victim;
        (0..self.ranks).filter(move |&rank| rank != victim)
    }

    /// Starts the ranks and checks that none is left afterwards, not even as a zombie.
    fn run(&self) -> Result<(), String> {
        let port = free_port();
        let worker = worker();
        let mut ranks = Processes::start(&worker, self.ranks, |rank| self.arguments(rank, port));
        let (ids, result) = (ranks.ids(), self.strike(&mut ranks));
        drop(ranks);
        match ids.into_iter().find(|&id| status::exists(id)) {
            Some(id) if result.is_ok() => Err(format!("process {id} is still there")),
            _ => result,
        }
    }

    fn strike(&self, ranks: &mut Processes) -> Result<(), String> {
        for rank in 0..self.ranks {
            expect(ranks, rank, "ready")?;
        }
        std::thread::sleep(self.after);
        ranks.signal(
            self.victim,
            if self.fate == Fate::Killed { Signal::KILL } else { Signal::STOP },
        );
        for rank in self.survivors() {
            expect(ranks, rank, &format!("dead {}: ", self.victim))?;
        }
        let left: u64 = self.survivors().map(|rank| 1 << rank).sum();
        for rank in self.survivors() {
            expect(ranks, rank, &format!("survivors {left:#b}"))?;
        }
        self.end_victim(ranks)?;
        for rank in self.survivors() {
            ranks.close_input(rank);
        }
        for rank in self.survivors() {
            let status = ranks.exit(rank, LIMIT)?;
            if !status.success() {
                return Err(format!("rank {rank} ends with {status}\n{}", ranks.errors()));
            }
        }
        Ok(())
    }

    fn end_victim(&self, ranks: &mut Processes) -> Result<(), String> {
        match self.fate {
            Fate::Killed => {}
            Fate::Stopped => ranks.signal(self.victim, Signal::KILL),
            Fate::Frozen => {
                ranks.signal(self.victim, Signal::CONT);
                // It has seen the others' deaths or its own: by then it has been silent to them
                // for as long as they to it.
                let line = ranks.line(self.victim, LIMIT)?;
                if !line.starts_with("excluded: ") {
                    expect(ranks, self.victim, "excluded: ")
                        .map_err(|error| format!("after '{line}': {error}"))?;
                }
            }
        }
        ranks.exit(self.victim, LIMIT).map(|_| ())
    }
}

/// The program of a rank, which is elsewhere when this test was carried into another machine.
pub(crate) fn worker() -> PathBuf {
    let elsewhere = std::env::var_os("ONEPATH_TEST_WORKER");
    elsewhere.map_or_else(|| env!("CARGO_BIN_EXE_onepath-test-worker").into(), PathBuf::from)
}

/// Waits for a line of a rank that begins like this.
fn expect(ranks: &Processes, rank: usize, start: &str) -> Result<(), String> {
    let line = ranks.line(rank, LIMIT)?;
    if line.starts_with(start) {
        return Ok(());
    }
    Err(format!("rank {rank} says '{line}' where '{start}' should be\n{}", ranks.errors()))
}

fn shared_memory() -> BTreeSet<String> {
    let Ok(entries) = std::fs::read_dir("/dev/shm") else { return BTreeSet::new() };
    let names = entries.filter_map(|entry| Some(entry.ok()?.file_name().to_str()?.to_owned()));
    names.filter(|name| name.contains("onepath")).collect()
}

/// Runs the rounds with these seeds and returns those that failed, with their reasons.
fn rounds(seeds: impl Iterator<Item = u64>) -> String {
    let mut failures = String::new();
    for seed in seeds {
        let (round, start) = (Round::new(seed), Instant::now());
        let result = round.run();
        println!(
            "{round:?}: {} in {:?}",
            if result.is_ok() { "ok" } else { "WRONG" },
            start.elapsed()
        );
        if let Err(problem) = result {
            // Writing to a String cannot fail.
            let _ = writeln!(failures, "{round:?}\n(repeat by ONEPATH_SEED={seed}): {problem}");
        }
    }
    failures
}

#[test]
fn survivors_name_the_dead_rank_and_go_on_whatever_rank_dies_in_whatever_call() {
    let failures = match number("ONEPATH_SEED") {
        Some(seed) => rounds(std::iter::once(seed)),
        None => rounds(1..=number("ONEPATH_FAULT_ROUNDS").unwrap_or(ROUNDS)),
    };
    assert!(failures.is_empty(), "{failures}");
    assert!(shared_memory().is_empty(), "left in /dev/shm: {:?}", shared_memory());
}
