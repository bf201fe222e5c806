//! Paths that swallow or crawl in the middle of an operation, through relays in this process.
//!
//! Relays acknowledge what they swallow. What a network does that just drops packets is shown by
//! the ignored tests, in a network namespace with rules of nftables:
//! `unshare -rn sh -c 'ip link set lo up; cargo test -p onepath-transport --test failover --
//! --ignored --test-threads=1'`.

mod support;

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Barrier, PoisonError};
use std::time::Duration;

use onepath_topology::Rank;
use onepath_topology::fabric::PathId;
use onepath_transport::TransportError;
use onepath_transport::plan::{After, Plan};
use onepath_transport::tcp::pinned::{PathCount, PathDeath, PathEvent, Sharing};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use support::pinned::{Relay, Watch, Wiring};
use support::plans::{
    adding, all_gather, input, output, pattern, ring_all_reduce, send, store, sum_of,
};
use support::rank::{Buffers, run};

const PATHS: usize = 4;

/// Between two rounds.
const PAUSE: Duration = Duration::from_millis(20);

/// Rounds in which paths that died may still be replaced.
const MORE_ROUNDS: u64 = 1_000;

fn events(watch: &Watch) -> Vec<PathEvent> {
    watch.events.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

fn count(watch: &Watch, peer: usize, path: usize) -> PathCount {
    let id = PathId(path as u32);
    let all = watch.counters.read();
    *all.iter().find(|c| c.peer == Rank::from_index(peer) && c.path == id).expect("counted")
}

/// Rank 0 sends `length` bytes to rank 1.
fn one_way(rank: Rank, length: usize) -> (Plan, Buffers) {
    let mut plan = Plan::default();
    let other = Rank::new(1 - rank.number());
    if rank.index() == 0 {
        plan.sends.push(send(0, other, 0, input(0, length), After::NOTHING));
        (plan, Buffers::new(pattern(rank, 3, length), 0, 0))
    } else {
        plan.receives.push(store(0, other, 0, output(0, length), After::NOTHING));
        (plan, Buffers::new(Vec::new(), length, 0))
    }
}

/// Whether every path that died was replaced.
fn is_whole(watch: &Watch) -> bool {
    let told = events(watch);
    let died = told.iter().filter(|event| matches!(event, PathEvent::Died { .. })).count();
    let replaced = told.iter().filter(|event| matches!(event, PathEvent::Replaced { .. })).count();
    died == replaced
}

/// Reductions of `rounds` seeded sizes over a ring whose relays fail somewhere, checked; and more
/// of them until paths are replaced that are to be.
fn reduce(wiring: &Wiring<'_>, ranks: usize, rounds: u64, seed: u64) -> Vec<Watch> {
    println!("seed {seed}");
    let (world, watches) = wiring.make(ranks);
    let replaces = wiring.replaces;
    let (together, is_over) = (Barrier::new(ranks), AtomicBool::new(false));
    run(world, |mut end| {
        let mut random = SmallRng::seed_from_u64(seed);
        end.kernel = Some(adding(ranks));
        for round in 0..rounds + MORE_ROUNDS {
            if together.wait().is_leader() {
                let whole = !replaces || watches.iter().all(is_whole);
                is_over.store(round >= rounds && whole, Ordering::Relaxed);
            }
            together.wait();
            if is_over.load(Ordering::Relaxed) {
                break;
            }
            end.chunk_bytes = 8 * random.random_range(500..5_000);
            let elements = random.random_range(1..200_000);
            // Time for what goes on in the background; every rank polls in between.
            std::thread::sleep(PAUSE);
            let salt = round as usize;
            let inputs: Vec<Vec<u8>> =
                (0..ranks).map(|r| pattern(Rank::from_index(r), salt, 8 * elements)).collect();
            let plan = ring_all_reduce(end.rank, ranks, elements);
            let buffers = Buffers::new(inputs[end.rank.index()].clone(), 8 * elements, 0);
            let done = end.run(&plan, buffers).expect("a dead path is survived");
            assert!(done.output == sum_of(&inputs, ranks as u32), "round {round}");
        }
    });
    watches
}

#[test]
fn a_path_that_swallows_bytes_in_the_middle_loses_none_and_is_replaced() {
    for (seed, sharing) in [(1, Sharing::Shared), (2, Sharing::Static)] {
        let mut random = SmallRng::seed_from_u64(seed);
        let limit = random.random_range(1_000..300_000);
        let relay = |from, _, path| (from == 1 && path == 2).then_some(Relay::Swallow(limit));
        let wiring = Wiring { relay: &relay, ..Wiring::new(PATHS, sharing) };
        let watches = reduce(&wiring, 3, 12, seed);
        let told = events(&watches[1]);
        let (peer, path) = (Rank::new(2), PathId(2));
        let died = PathEvent::Died { peer, path, cause: PathDeath::Silent };
        assert!(told.contains(&died), "{told:?}");
        assert!(told.contains(&PathEvent::Replaced { peer, path }), "{told:?}");
        let path = count(&watches[1], 2, 2);
        assert!(path.deaths == 1 && path.subflows_opened == 2, "{path:?}");
        assert!(watches[0].counters.read().iter().all(|c| c.deaths == 0), "healthy paths died");
        let resends: u64 = watches[1].counters.read().iter().map(|c| c.resends).sum();
        assert!(resends > 0, "something was under way");
    }
}

#[test]
fn combined_bytes_are_combined_once_wherever_a_path_is_cut() {
    // Cuts inside headers, elements and chunks.
    for seed in 10..18 {
        let mut random = SmallRng::seed_from_u64(seed);
        let limit = random.random_range(0..100_000);
        let relay = |_, _, path| (path == 1).then_some(Relay::Swallow(limit));
        let wiring = Wiring { relay: &relay, ..Wiring::new(2, Sharing::Shared) };
        reduce(&wiring, 2, 4, seed);
    }
}

#[test]
fn without_replacement_the_other_paths_carry_everything() {
    let relay = |_, _, path| (path > 0).then_some(Relay::Swallow(50_000 * path));
    let wiring = Wiring { relay: &relay, replaces: false, ..Wiring::new(3, Sharing::Static) };
    let watches = reduce(&wiring, 2, 6, 5);
    for (me, watch) in watches.iter().enumerate() {
        let other = 1 - me;
        assert_eq!(count(watch, other, 0).deaths, 0);
        assert_eq!(count(watch, other, 1).subflows_open, 0);
        assert_eq!(count(watch, other, 2).subflows_open, 0);
    }
}

#[test]
fn a_crawling_path_gives_its_chunks_to_the_others_and_is_not_killed() {
    const LENGTH: usize = 32 << 20;
    let relay = |from, _, path| (from == 0 && path == 3).then_some(Relay::Crawl(64 << 10));
    let wiring = Wiring { relay: &relay, ..Wiring::new(PATHS, Sharing::Shared) };
    let (world, watches) = wiring.make(2);
    run(world, |mut end| {
        let (plan, buffers) = one_way(end.rank, LENGTH);
        let done = end.run(&plan, buffers).expect("a slow path is survived");
        assert!(end.rank.index() == 0 || done.output == pattern(Rank::new(0), 3, LENGTH));
    });
    let counts: Vec<PathCount> = (0..PATHS).map(|path| count(&watches[0], 1, path)).collect();
    let slow = counts[3];
    // What sockets had taken before they were full, of a share of 8 MiB.
    assert!(slow.bytes < 6 << 20, "{counts:?}");
    // The others differ by how often each got the processor.
    assert!(counts[..3].iter().all(|c| c.bytes >= 4 << 20), "{counts:?}");
    assert_eq!(counts.iter().map(|c| c.bytes).sum::<u64>(), LENGTH as u64);
    assert!(counts.iter().map(|c| c.taken).sum::<u64>() > 0, "{counts:?}");
    assert!(counts.iter().all(|c| c.deaths == 0), "{counts:?}");
}

#[test]
fn static_chunks_stay_on_their_paths() {
    const LENGTH: usize = 8 << 20;
    let (world, watches) = Wiring::new(PATHS, Sharing::Static).make(2);
    run(world, |mut end| {
        let (plan, buffers) = one_way(end.rank, LENGTH);
        end.run(&plan, buffers).expect("all is well");
    });
    for path in 0..PATHS {
        let counted = count(&watches[0], 1, path);
        assert_eq!((counted.bytes, counted.taken), ((LENGTH / PATHS) as u64, 0));
        assert_eq!((counted.subflows_open, counted.subflows_used), (0, 1), "closed by now");
    }
}

#[test]
fn a_connection_that_breaks_is_replaced_and_nothing_is_lost() {
    for seed in 20..24 {
        let mut random = SmallRng::seed_from_u64(seed);
        let limit = random.random_range(1_000..300_000);
        let relay = |from, _, path| (from == 0 && path == 0).then_some(Relay::Break(limit));
        let wiring = Wiring { relay: &relay, ..Wiring::new(2, Sharing::Shared) };
        let watches = reduce(&wiring, 2, 15, seed);
        let path = count(&watches[0], 1, 0);
        assert!(path.deaths == 1 && path.subflows_opened == 2, "{path:?}");
        let (peer, path) = (Rank::new(1), PathId(0));
        let died = PathEvent::Died { peer, path, cause: PathDeath::Closed };
        assert_eq!(events(&watches[0]), [died, PathEvent::Replaced { peer, path }]);
    }
}

#[test]
fn the_death_of_all_paths_names_the_rank() {
    let relay = |from, _, _| (from == 0).then_some(Relay::Break(10_000));
    let wiring = Wiring { relay: &relay, replaces: false, ..Wiring::new(2, Sharing::Shared) };
    let (world, _) = wiring.make(2);
    run(world, |mut end| {
        let plan = all_gather(end.rank, 2, 1 << 20);
        let buffers = Buffers::new(vec![1; 1 << 20], 2 << 20, 0);
        let error = end.run(&plan, buffers).expect_err("there is no path");
        let other = Rank::new(1 - end.rank.number());
        assert!(matches!(error, TransportError::Closed { peer } if peer == other), "{error}");
    });
}

#[test]
fn a_peer_that_posts_late_kills_no_path() {
    let (world, watches) = Wiring::new(2, Sharing::Shared).make(2);
    let late = Duration::from_millis(1_500);
    run(world, |mut end| {
        if end.rank.index() == 1 {
            std::thread::sleep(late);
        }
        let (plan, buffers) = one_way(end.rank, 4 << 20);
        let done = end.run(&plan, buffers).expect("late is not dead");
        assert!(end.rank.index() == 0 || done.output == pattern(Rank::new(0), 3, 4 << 20));
    });
    assert!(watches[0].counters.read().iter().all(|c| c.deaths == 0 && c.resends == 0));
}

/// The port of rank 1 at the end of a path.
#[expect(clippy::unnecessary_wraps, reason = "as `Wiring` wants it")]
fn port(path: usize) -> Option<u16> {
    Some(40_100 + path as u16)
}

/// Drops, in both directions, what belongs to connections to these ports that have carried 300 kB.
fn black_hole(ports: &str) {
    let rules = format!(
        "flush ruleset
         table ip hole {{
           chain hole {{
             type filter hook output priority 0;
             tcp dport {ports} ct original bytes > 300000 drop
             tcp sport {ports} ct original bytes > 300000 drop
           }}
         }}"
    );
    let done = Command::new("nft").arg(rules).status().expect("nft is installed");
    assert!(done.success(), "run this in a network namespace of its own, see the file's head");
}

#[test]
#[ignore = "needs a network namespace of its own: tests/run --only black-holes"]
fn a_path_that_the_network_swallows_is_found_and_replaced_even_if_it_is_the_only_one() {
    for (paths, ports) in [(1, "40100"), (4, "40102")] {
        black_hole(ports);
        let wiring = Wiring { ports: port, ..Wiring::new(paths, Sharing::Shared) };
        let watches = reduce(&wiring, 2, 20, paths as u64);
        let lost = if paths == 1 { 0 } else { 2 };
        let (peer, path) = (Rank::new(1), PathId(lost));
        let died = PathEvent::Died { peer, path, cause: PathDeath::Silent };
        assert_eq!(events(&watches[0]), [died, PathEvent::Replaced { peer, path }]);
        assert!(watches[1].counters.read().iter().all(|c| c.deaths == 0));
        let counts = watches[0].counters.read();
        assert!(counts.iter().map(|c| c.resends).sum::<u64>() > 0, "{counts:?}");
    }
}

#[test]
#[ignore = "needs a network namespace of its own: tests/run --only black-holes"]
fn a_network_that_swallows_all_paths_ends_in_an_error_that_names_the_rank() {
    black_hole("40100-40103");
    let wiring = Wiring { ports: port, replaces: false, ..Wiring::new(PATHS, Sharing::Static) };
    let (world, _) = wiring.make(2);
    let (started, found) = (std::time::Instant::now(), AtomicBool::new(false));
    run(world, |mut end| {
        let (plan, buffers) = one_way(end.rank, 32 << 20);
        if end.rank.index() == 0 {
            let error = end.run(&plan, buffers).expect_err("there is no path");
            found.store(true, Ordering::SeqCst);
            let peer = Rank::new(1);
            assert!(matches!(error, TransportError::Closed { peer: p } if p == peer), "{error}");
            return;
        }
        // The receiver hears nothing at all any more; in a communicator the sender tells it.
        let _call = end.post(&plan, buffers);
        while !found.load(Ordering::SeqCst) {
            end.step().expect("nothing is heard");
        }
        end.transport.cancel();
    });
    println!("found after {:?}", started.elapsed());
}
