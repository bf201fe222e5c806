//! Calls over RDMA. They need devices, so they run where some are: `tests/rxe/verbs/conformance`
//! in the machine of `tests/rxe`, or by hand on a host with NICs.
//!
//! `ONEPATH_VERBS_CASES` is how many cases run, `all` for the full product, `FIRST..LAST` for a
//! part of it: its cases are numbered from 0, world after world, the same in every run with one
//! seed, so that machines can share them. The devices are those of `ONEPATH_VERBS_DEVICE`, or all
//! that there are.

use std::collections::HashSet;
use std::ops::Range;
use std::time::{Duration, Instant};

use onepath_collectives::DataType;
use onepath_collectives::algorithm::Class;
use onepath_collectives::communicator::{Builder, TransportKind};
use onepath_tests::case::{Case, MAX_OFFSET, is_segmented};
use onepath_tests::oracle::Pools;
use onepath_tests::product;
use onepath_tests::seed;
use onepath_tests::verbs::{options, over};
use onepath_tests::world::World;
use onepath_topology::Rank;
use onepath_transport::verbs::transport::Spread;

const LIMIT: Duration = Duration::from_mins(10);

/// Cases of all worlds together, if nothing is said.
const CASES: usize = 300;

/// Bytes of a buffer from which a case is large: more chunks than there are lanes.
const LARGE: usize = 64 << 10;

/// So many ranks share 4 devices: with 5, two of them are on one.
const RANKS: [usize; 4] = [2, 3, 4, 5];

type Adjust = fn(Builder, Rank) -> Builder;

/// The way whose buffers are registered, so that nothing is copied before it is sent.
const REGISTERED: &str = "registered";

/// Ways to spread a flow over queue pairs.
const WAYS: [(&str, Adjust); 4] = [
    (REGISTERED, |b, _| with(b, Spread::Split)),
    ("split", |b, _| with(b, Spread::Split)),
    ("ecmp", |b, _| with(b, Spread::Ecmp)),
    ("spray", |b, _| with(b, Spread::Spray)),
];

fn with(builder: Builder, spread: Spread) -> Builder {
    over(builder, options(spread))
}

/// Which cases run.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Wanted {
    /// So many, of all collectives and types.
    Some(usize),
    /// The full product.
    All,
    /// Of the full product, those with these numbers.
    Part(Range<usize>),
}

impl Wanted {
    fn from_environment() -> Self {
        match std::env::var("ONEPATH_VERBS_CASES") {
            Err(_) => Self::Some(CASES),
            Ok(text) => Self::parse(&text).unwrap_or_else(|| {
                panic!(
                    "ONEPATH_VERBS_CASES={text} is wrong: it must be all, a number or FIRST..LAST"
                )
            }),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        if text == "all" {
            return Some(Self::All);
        }
        if let Some((first, last)) = text.split_once("..") {
            let part = first.parse().ok()?..last.parse().ok()?;
            return (!part.is_empty()).then_some(Self::Part(part));
        }
        text.parse().ok().filter(|&count| count > 0).map(Self::Some)
    }

    /// How many of the chosen cases each of `worlds` worlds runs.
    fn each(&self, worlds: usize) -> Option<usize> {
        match self {
            Self::Some(count) => Some((count / worlds).max(1)),
            Self::All | Self::Part(_) => None,
        }
    }

    /// Those of a world's cases that are wanted, where `before` are the other worlds'.
    fn of_world(&self, cases: Vec<Case>, before: usize) -> Vec<Case> {
        let Self::Part(part) = self else { return cases };
        let within = |number: usize| number.saturating_sub(before).min(cases.len());
        cases[within(part.start)..within(part.end)].to_vec()
    }
}

/// Elements that a rank needs for a case.
fn elements(case: &Case, ranks: usize) -> usize {
    case.count * if is_segmented(case.class) { ranks } else { 1 }
}

/// `most` cases of a shuffled product for the `part`-th of the worlds that spread alike: one of
/// many chunks, then those collectives and types that fall to this part (together the worlds have
/// all), then any. Large ones cost an emulated machine most and show no more than the first.
fn choose(cases: Vec<Case>, (part, parts): (usize, usize), most: Option<usize>) -> Vec<Case> {
    let Some(most) = most else { return cases };
    let ranks = RANKS[part];
    let large = |case: &&Case| elements(case, ranks) * case.data_type.size() > LARGE;
    let mut chosen: Vec<Case> = cases.iter().find(large).copied().into_iter().collect();
    let small = || cases.iter().filter(|case| !large(case));
    for (at, (class, data_type)) in kinds().into_iter().enumerate() {
        let of_kind =
            |case: &&Case| case.class == class && case.data_type == data_type && case.count != 1;
        if at % parts == part {
            chosen.extend(small().find(of_kind));
        }
    }
    let rest = small().filter(|case| !chosen.contains(case));
    let mut all = chosen.clone();
    all.extend(rest);
    all.truncate(most.max(chosen.len()));
    all
}

fn kinds() -> Vec<(Class, DataType)> {
    let of_class = |class| DataType::ALL.into_iter().map(move |data_type| (class, data_type));
    Class::ALL.into_iter().flat_map(of_class).collect()
}

#[test]
#[ignore = "needs RDMA devices: tests/run --only rxe-tests"]
fn every_collective_and_type_is_right_over_verbs() {
    let seed = seed(41);
    println!("seed {seed}");
    let worlds = RANKS.len() * WAYS.len();
    let wanted = Wanted::from_environment();
    let (start, mut total, mut covered) = (Instant::now(), 0, HashSet::new());
    let mut before = 0;
    for (part, ranks) in RANKS.into_iter().enumerate() {
        for (way, (name, adjust)) in WAYS.into_iter().enumerate() {
            // Each world begins elsewhere, so that together they have run more.
            let cases = product::all(ranks, seed + (WAYS.len() * part + way) as u64);
            let all = cases.len();
            let cases = choose(cases, (part, RANKS.len()), wanted.each(worlds));
            let cases = wanted.of_world(cases, before);
            before += all;
            if cases.is_empty() {
                continue;
            }
            let world = Instant::now();
            run_world((name, adjust), ranks, &cases, seed);
            println!("{ranks} ranks, {name}: {} cases in {:?}", cases.len(), world.elapsed());
            total += cases.len();
            covered.extend(cases.iter().map(|case| (name, case.class, case.data_type)));
        }
    }
    let kinds = covered.len();
    println!(
        "{total} of {before} cases, {kinds} spreads, collectives and types, in {:?}",
        start.elapsed()
    );
    assert!(total > 0, "{wanted:?}: there are {before} cases");
    let most = WAYS.len() * self::kinds().len();
    let few = wanted.each(worlds).is_some_and(|each| each < CASES / worlds);
    assert!(kinds >= most || few || matches!(wanted, Wanted::Part(_)));
}

#[test]
fn parts_of_the_product_have_each_case_once_and_wrong_ones_are_refused() {
    for (text, right) in [
        ("all", Wanted::All),
        ("12", Wanted::Some(12)),
        ("0..7", Wanted::Part(0..7)),
        ("100..200000", Wanted::Part(100..200_000)),
    ] {
        assert_eq!(Wanted::parse(text), Some(right));
    }
    for wrong in ["", "0", "-1", "some", "7..7", "9..8", "..8", "8..", "1..x", "1...2"] {
        assert_eq!(Wanted::parse(wrong), None, "{wrong}");
    }
    let worlds = [product::all(2, 1), product::all(3, 2)];
    let all = worlds[0].len() + worlds[1].len();
    let borders = [0, worlds[0].len() - 3, worlds[0].len() + 5, all + 9];
    let mut found = Vec::new();
    for part in borders.windows(2) {
        let part = Wanted::Part(part[0]..part[1]);
        found.extend(part.of_world(worlds[0].clone(), 0));
        found.extend(part.of_world(worlds[1].clone(), worlds[0].len()));
    }
    assert!(found == worlds.concat(), "{} of {all}", found.len());
}

/// Cases of one type after the other, so that one type's data is in memory at a time.
fn run_world((name, adjust): (&str, Adjust), ranks: usize, cases: &[Case], seed: u64) {
    let by_type = |data_type| cases.iter().filter(move |case| case.data_type == data_type);
    World::new(name, ranks, TransportKind::Verbs).within(LIMIT).adjusted(adjust).run(|seat| {
        for data_type in DataType::ALL {
            let longest = by_type(data_type).map(|case| elements(case, ranks)).max();
            let Some(longest) = longest else { continue };
            let pools = Pools::new(ranks, longest + MAX_OFFSET, seed);
            for case in by_type(data_type) {
                seat.note(format_args!("{case}"));
                let result = if name == REGISTERED {
                    case.run_registered(&seat.communicator, &pools)
                } else {
                    case.run(&seat.communicator, &pools)
                };
                if let Err(error) = result {
                    panic!("{name}: {error}");
                }
            }
        }
        let direct: u64 = seat.communicator.verbs_counts().iter().map(|lane| lane.direct).sum();
        assert_eq!(direct > 0, name == REGISTERED, "{name}: {direct} chunks were not copied");
    });
}

#[test]
#[ignore = "needs RDMA devices: tests/run --only rxe-tests"]
fn parts_and_survivors_have_queue_pairs_of_their_own() {
    use onepath_collectives::ReduceOp;

    World::new("parts", 4, TransportKind::Verbs).within(LIMIT).adjusted(WAYS[1].1).run(|seat| {
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
