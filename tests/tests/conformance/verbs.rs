//! Calls over RDMA. They need devices, so they run where some are: `tests/rxe/verbs/conformance`
//! in the machine of `tests/rxe`, or by hand on a host with NICs.
//!
//! `ONEPATH_VERBS_CASES` is how many cases run, `all` for the full product; the devices are those
//! of `ONEPATH_VERBS_DEVICE`, or all that there are.

use std::time::{Duration, Instant};

use onepath_collectives::DataType;
use onepath_collectives::algorithm::Class;
use onepath_collectives::communicator::{Builder, TransportKind, Waiting};
use onepath_tests::case::{Case, MAX_OFFSET};
use onepath_tests::oracle::Pools;
use onepath_tests::product;
use onepath_tests::seed;
use onepath_tests::world::World;
use onepath_topology::Rank;
use onepath_transport::verbs::transport::{Spread, VerbsOptions};

const LIMIT: Duration = Duration::from_mins(10);

/// Cases of all worlds together, if nothing is said.
const CASES: usize = 300;

/// So many ranks share 4 devices: with 5, two of them are on one.
const RANKS: [usize; 4] = [2, 3, 4, 5];

type Adjust = fn(Builder, Rank) -> Builder;

/// Ways to spread a flow over queue pairs.
const WAYS: [(&str, Adjust); 3] = [
    ("split", |b, _| with(b, Spread::Split)),
    ("ecmp", |b, _| with(b, Spread::Ecmp)),
    ("spray", |b, _| with(b, Spread::Spray)),
];

fn with(builder: Builder, spread: Spread) -> Builder {
    // Sleeping, since more ranks than cores wait for each other.
    let options = VerbsOptions { spread, ..VerbsOptions::default() };
    builder.verbs(options).waiting(Waiting::Sleep)
}

/// How many cases each of `worlds` worlds runs; nothing for all.
fn cases_each(worlds: usize) -> Option<usize> {
    let text = std::env::var("ONEPATH_VERBS_CASES").ok();
    let total = match text.as_deref() {
        None => CASES,
        Some("all") => return None,
        Some(number) => match number.parse() {
            Ok(total) if total > 0 => total,
            _ => panic!("ONEPATH_VERBS_CASES={number} is wrong: it must be all or a number"),
        },
    };
    Some(total.div_ceil(worlds))
}

/// `most` cases of a shuffled product: first one of each collective and type, then any.
fn choose(cases: Vec<Case>, most: Option<usize>) -> Vec<Case> {
    let Some(most) = most else { return cases };
    let mut seen: Vec<(Class, DataType)> = Vec::new();
    let (mut first, rest): (Vec<Case>, Vec<Case>) = cases.into_iter().partition(|case| {
        let kind = (case.class, case.data_type);
        let new = case.count > 2 && !seen.contains(&kind);
        if new {
            seen.push(kind);
        }
        new
    });
    first.extend(rest);
    first.truncate(most);
    first
}

#[test]
#[ignore = "needs RDMA devices: tests/run --only rxe"]
fn every_collective_and_type_is_right_over_verbs() {
    let seed = seed(41);
    println!("seed {seed}");
    let worlds = RANKS.len() * WAYS.len();
    let (start, mut total) = (Instant::now(), 0);
    for (at, ranks) in RANKS.into_iter().enumerate() {
        for (way, (name, adjust)) in WAYS.into_iter().enumerate() {
            // Each world begins elsewhere, so that together they have run more.
            let mut cases = product::all(ranks, seed + (WAYS.len() * at + way) as u64);
            cases = choose(cases, cases_each(worlds));
            let world = Instant::now();
            run_world((name, adjust), ranks, &cases, seed);
            println!("{ranks} ranks, {name}: {} cases in {:?}", cases.len(), world.elapsed());
            total += cases.len();
        }
    }
    println!("{total} cases in {:?}", start.elapsed());
}

/// Cases of one type after the other, so that one type's data is in memory at a time.
fn run_world((name, adjust): (&str, Adjust), ranks: usize, cases: &[Case], seed: u64) {
    let length = product::longest(ranks) + MAX_OFFSET;
    let by_type = |data_type| cases.iter().filter(move |case| case.data_type == data_type);
    World::new(name, ranks, TransportKind::Verbs).within(LIMIT).adjusted(adjust).run(|seat| {
        for data_type in DataType::ALL {
            if by_type(data_type).next().is_none() {
                continue;
            }
            let pools = Pools::new(ranks, length, seed);
            for case in by_type(data_type) {
                seat.note(format_args!("{case}"));
                if let Err(error) = case.run(&seat.communicator, &pools) {
                    panic!("{name}: {error}");
                }
            }
        }
    });
}

#[test]
#[ignore = "needs RDMA devices: tests/run --only rxe"]
fn parts_and_survivors_have_queue_pairs_of_their_own() {
    use onepath_collectives::ReduceOp;

    World::new("parts", 4, TransportKind::Verbs).within(LIMIT).adjusted(WAYS[0].1).run(|seat| {
        let rank = seat.communicator.rank().number();
        let part = seat.communicator.split(Some(rank % 2), rank).expect("split").expect("a part");
        let mut one = [1_u64; 1_000];
        part.all_reduce(&mut one, ReduceOp::Sum).expect("both are there");
        seat.communicator.all_reduce(&mut one, ReduceOp::Sum).expect("all are there");
        assert_eq!(one[999], 8);
        drop(part);
        let all = seat.communicator.shrink(LIMIT).expect("all survive");
        all.all_reduce(&mut one, ReduceOp::Sum).expect("all are there");
        assert_eq!(one[0], 32);
    });
}
