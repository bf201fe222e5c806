//! Whole agreements in virtual time, with ranks that die in the middle of them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use onepath_topology::{Rank, WorldSize};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::*;

const EPOCHS: u32 = 3;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Packet {
    Ballot(Ballot),
    Dead(Rank),
    Goodbye,
    Closed,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Happening {
    Begin(Rank),
    Die(Rank),
    Arrive { from: Rank, to: Rank, packet: Packet },
}

struct Node {
    agreement: Agreement,
    alive: bool,
    left: bool,
    gone: RankSet,
    decisions: Vec<RankSet>,
}

struct Simulation {
    world: WorldSize,
    random: SmallRng,
    now: u64,
    serial: u64,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    happenings: BTreeMap<u64, Happening>,
    last_arrival: BTreeMap<(Rank, Rank), u64>,
    nodes: Vec<Node>,
    /// Whether deaths are told at once beside the views, as the mesh does.
    tells_deaths: bool,
    leaves_when_done: bool,
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let mut random = SmallRng::seed_from_u64(seed);
        let world = WorldSize::new(random.random_range(2..=9)).expect("a world size");
        let node = |me| Node {
            agreement: Agreement::new(me, world),
            alive: true,
            left: false,
            gone: RankSet::empty(world),
            decisions: Vec::new(),
        };
        let nodes = world.ranks().map(node).collect();
        let (tells_deaths, leaves_when_done) = (random.random(), random.random());
        Self {
            world,
            random,
            now: 0,
            serial: 0,
            queue: BinaryHeap::new(),
            happenings: BTreeMap::new(),
            last_arrival: BTreeMap::new(),
            nodes,
            tells_deaths,
            leaves_when_done,
        }
    }

    fn schedule(&mut self, at: u64, happening: Happening) {
        self.serial += 1;
        self.queue.push(Reverse((at, self.serial)));
        self.happenings.insert(self.serial, happening);
    }

    fn send(&mut self, from: Rank, to: Rank, packet: Packet) {
        let delay = self.random.random_range(1..50);
        let last = self.last_arrival.entry((from, to)).or_default();
        *last = (self.now + delay).max(*last);
        let at = *last;
        self.schedule(at, Happening::Arrive { from, to, packet });
    }

    fn send_to_present(&mut self, from: Rank, packet: &Packet) {
        for to in self.world.ranks().filter(|&to| to != from) {
            if !self.nodes[from.index()].gone.contains(to) {
                self.send(from, to, packet.clone());
            }
        }
    }

    /// The rank dies: of what it has under way to each peer, a random tail is lost.
    fn die(&mut self, rank: Rank) {
        self.nodes[rank.index()].alive = false;
        for to in self.world.ranks().filter(|&to| to != rank) {
            let under_way: Vec<u64> = self
                .happenings
                .iter()
                .filter(|(_, what)| match what {
                    Happening::Arrive { from, to: target, .. } => *from == rank && *target == to,
                    _ => false,
                })
                .map(|(&serial, _)| serial)
                .collect();
            let kept = self.random.random_range(0..=under_way.len());
            for serial in &under_way[kept..] {
                self.happenings.remove(serial);
            }
            self.send(rank, to, Packet::Closed);
        }
    }

    fn mark_gone(&mut self, at: Rank, gone: Rank) {
        if !self.nodes[at.index()].gone.insert(gone) {
            return;
        }
        if self.tells_deaths {
            self.send_to_present(at, &Packet::Dead(gone));
        }
        self.nodes[at.index()].agreement.on_gone(gone);
    }

    fn arrive(&mut self, from: Rank, to: Rank, packet: Packet) {
        let node = &mut self.nodes[to.index()];
        if !node.alive || node.left || node.gone.contains(from) {
            return;
        }
        match packet {
            Packet::Ballot(ballot) => node.agreement.on_ballot(from, &ballot),
            Packet::Dead(rank) => self.mark_gone(to, rank),
            Packet::Closed => self.mark_gone(to, from),
            Packet::Goodbye => {
                node.gone.insert(from);
                node.agreement.on_gone(from);
            }
        }
        self.drain(to);
    }

    fn drain(&mut self, rank: Rank) {
        while let Some(step) = self.nodes[rank.index()].agreement.poll() {
            match step {
                Step::Tell(ballot) => self.send_to_present(rank, &Packet::Ballot(ballot)),
                Step::Excluded => panic!("rank {rank} was excluded without a false suspicion"),
                Step::Decided(gone) => {
                    self.nodes[rank.index()].decisions.push(gone);
                    self.after_decision(rank);
                }
            }
        }
    }

    fn after_decision(&mut self, rank: Rank) {
        if self.nodes[rank.index()].decisions.len() < EPOCHS as usize {
            let at = self.now + self.random.random_range(0..100);
            self.schedule(at, Happening::Begin(rank));
        } else if self.leaves_when_done {
            self.send_to_present(rank, &Packet::Goodbye);
            self.nodes[rank.index()].left = true;
        }
    }

    fn run(&mut self) {
        for rank in self.world.ranks() {
            let at = self.random.random_range(0..200);
            self.schedule(at, Happening::Begin(rank));
        }
        let deaths = self.random.random_range(0..self.world.get());
        for _ in 0..deaths {
            let victim = Rank::from_index(self.random.random_range(0..self.world.get()));
            let at = self.random.random_range(0..500);
            self.schedule(at, Happening::Die(victim));
        }
        while let Some(Reverse((at, serial))) = self.queue.pop() {
            let Some(happening) = self.happenings.remove(&serial) else {
                continue;
            };
            self.now = at;
            match happening {
                Happening::Begin(rank) if self.nodes[rank.index()].alive => {
                    self.nodes[rank.index()].agreement.begin();
                    self.drain(rank);
                }
                Happening::Die(rank) if self.nodes[rank.index()].alive => self.die(rank),
                Happening::Arrive { from, to, packet } => self.arrive(from, to, packet),
                Happening::Begin(_) | Happening::Die(_) => {}
            }
        }
    }

    fn check(&self, seed: u64) {
        let alive = |rank: &Rank| self.nodes[rank.index()].alive;
        let survivors: Vec<Rank> = self.world.ranks().filter(alive).collect();
        for rank in &survivors {
            let node = &self.nodes[rank.index()];
            let decided = node.decisions.len();
            assert_eq!(decided, EPOCHS as usize, "seed {seed}: rank {rank} hangs");
            let first = &self.nodes[survivors[0].index()].decisions;
            assert_eq!(&node.decisions, first, "seed {seed}: rank {rank} decided differently");
            for gone in node.decisions.iter().flat_map(RankSet::iter) {
                let dead = !self.nodes[gone.index()].alive;
                assert!(dead, "seed {seed}: rank {gone} is alive and was left out");
            }
        }
    }
}

#[test]
fn survivors_of_random_deaths_decide_alike_in_every_epoch_and_never_hang() {
    let seeds = 0..4_000;
    println!("seeds {seeds:?}");
    let mut with_deaths = 0;
    for seed in seeds {
        let mut simulation = Simulation::new(seed);
        simulation.run();
        simulation.check(seed);
        with_deaths += usize::from(simulation.nodes.iter().any(|node| !node.alive));
    }
    assert!(with_deaths > 2_000, "only {with_deaths} runs had a death");
}

#[test]
fn a_rank_alone_decides_at_once() {
    let world = WorldSize::new(1).expect("a world size");
    let mut agreement = Agreement::new(Rank::new(0), world);
    agreement.begin();
    let steps: Vec<Step> = std::iter::from_fn(|| agreement.poll()).collect();
    assert_eq!(steps.last(), Some(&Step::Decided(RankSet::empty(world))));
}

#[test]
fn a_rank_that_finds_itself_in_a_view_is_excluded() {
    let world = WorldSize::new(3).expect("a world size");
    let mut agreement = Agreement::new(Rank::new(0), world);
    agreement.begin();
    let mut gone = RankSet::empty(world);
    gone.insert(Rank::new(0));
    agreement.on_ballot(Rank::new(1), &Ballot { epoch: 0, decided: false, gone });
    let steps: Vec<Step> = std::iter::from_fn(|| agreement.poll()).collect();
    assert_eq!(steps.last(), Some(&Step::Excluded));
    assert!(!agreement.is_running());
}

#[test]
fn ranks_that_have_not_answered_are_named() {
    let world = WorldSize::new(4).expect("a world size");
    let mut agreement = Agreement::new(Rank::new(0), world);
    agreement.on_gone(Rank::new(3));
    agreement.begin();
    let gone = RankSet::empty(world);
    agreement.on_ballot(Rank::new(1), &Ballot { epoch: 0, decided: false, gone });
    assert_eq!(agreement.unanswered(), [Rank::new(2)]);
}
