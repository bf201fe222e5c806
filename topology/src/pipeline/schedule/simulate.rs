//! The timeline of a schedule.
//!
//! Every rank computes one thing at a time. Transfers either run beside computing, one after
//! another on the way from one rank to another, or both ends wait for them. Reductions run beside
//! computing on a network of their own.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Action, Peer, Schedule};
use crate::units::Nanos;

/// How transfers go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Delivery {
    /// A sender goes on at once; a receiver waits for what has not arrived.
    Buffered,
    /// Both ends wait until the transfer is done; it begins when both are there.
    Rendezvous,
}

/// A bucket of parameters in a collective.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Reducing: how long before the end of the last backward pass its gradients are complete.
    /// Gathering: how long after the begin of the first forward pass it is needed.
    pub margin: Nanos,
    /// How long its collective takes.
    pub time: Nanos,
}

/// How long everything takes. Stages of the model are `chunk · ranks + rank`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// Forward pass of each stage.
    pub forward: Vec<Nanos>,
    /// Backward pass of each stage.
    pub backward: Vec<Nanos>,
    /// The transfer of an activation from each stage to the next.
    pub activation: Vec<Nanos>,
    /// The transfer of a gradient from each stage to the one before.
    pub gradient: Vec<Nanos>,
    /// Buckets that each rank reduces, in order.
    pub reduce: Vec<Vec<Bucket>>,
    /// Buckets that each rank gathers, in order.
    pub gather: Vec<Vec<Bucket>>,
    /// The optimizer step of each rank.
    pub update: Vec<Nanos>,
}

/// What a span is drawn on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Track {
    /// Passes and updates.
    Compute,
    /// What the rank sends to other stages.
    Transfer,
    /// Reductions and gathers.
    Collective,
}

/// Something that takes time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Whose.
    pub rank: u32,
    /// On what.
    pub track: Track,
    /// What it is.
    pub action: Action,
    /// From.
    pub start: Nanos,
    /// To.
    pub end: Nanos,
}

/// All that happens in an iteration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeline {
    /// By rank, in the order in which they begin on their track.
    pub spans: Vec<Span>,
    /// When the last rank is done.
    pub end: Nanos,
    /// When the last pass ends.
    pub passes_end: Nanos,
    /// How long each rank computes passes.
    pub busy: Vec<Nanos>,
}

impl Timeline {
    /// Idle over busy time until the last pass ends, over all ranks.
    pub fn bubble(&self) -> f64 {
        let busy: u64 = self.busy.iter().map(|busy| busy.0).sum();
        let all = self.passes_end.0 * self.busy.len() as u64;
        (all - busy) as f64 / busy as f64
    }
}

/// One rank of a deadlock: it waits for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlock {
    /// The rank.
    pub rank: usize,
    /// How far it came.
    pub position: usize,
    /// What it cannot do.
    pub action: Action,
}

/// Why there is no timeline.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SimulateError {
    /// Ranks wait for each other.
    #[error(
        "deadlock: rank {} waits for ever at action {} ({}), and {} other ranks wait too",
        .0[0].rank, .0[0].position, .0[0].action, .0.len() - 1
    )]
    Deadlock(Vec<Deadlock>),
    /// A list of times is too short.
    #[error("{field} has {found} times: it must have {wanted}")]
    Times {
        /// Which list.
        field: &'static str,
        /// Its length.
        found: usize,
        /// The right one.
        wanted: usize,
    },
}

/// Runs a schedule.
pub fn simulate(
    schedule: &Schedule,
    timing: &Timing,
    delivery: Delivery,
) -> Result<Timeline, SimulateError> {
    check(schedule, timing)?;
    let mut run = Run::new(schedule, timing);
    loop {
        let mut moved = false;
        for rank in 0..schedule.ranks().len() {
            while run.step(rank, delivery) {
                moved = true;
            }
        }
        if !moved {
            break;
        }
    }
    run.finish()
}

fn check(schedule: &Schedule, timing: &Timing) -> Result<(), SimulateError> {
    let ranks = schedule.ranks().len();
    let stages = ranks * schedule.virtual_stages() as usize;
    let lists = [
        ("forward", timing.forward.len(), stages),
        ("backward", timing.backward.len(), stages),
        ("activation", timing.activation.len(), stages),
        ("gradient", timing.gradient.len(), stages),
        ("reduce", timing.reduce.len(), ranks),
        ("gather", timing.gather.len(), ranks),
        ("update", timing.update.len(), ranks),
    ];
    match lists.into_iter().find(|(_, found, wanted)| found != wanted) {
        Some((field, found, wanted)) => Err(SimulateError::Times { field, found, wanted }),
        None => Ok(()),
    }
}

/// What a transfer carries: gradient or activation, micro-batch, stage that receives it.
type Message = (bool, u32, usize);

/// When the two ends of a transfer were ready.
#[derive(Clone, Copy, Default)]
struct Ends {
    sender: Option<Nanos>,
    receiver: Option<Nanos>,
}

struct Run<'a> {
    schedule: &'a Schedule,
    timing: &'a Timing,
    /// The next action of each rank, and when it may begin.
    next: Vec<(usize, Nanos)>,
    /// Up to which action a rank has posted its transfers.
    posted: Vec<usize>,
    arrived: BTreeMap<Message, Nanos>,
    ends: BTreeMap<Message, Ends>,
    ways: BTreeMap<(usize, u32), Nanos>,
    spans: Vec<Vec<Span>>,
    busy: Vec<Nanos>,
    passes_end: Nanos,
}

impl<'a> Run<'a> {
    fn new(schedule: &'a Schedule, timing: &'a Timing) -> Self {
        let ranks = schedule.ranks().len();
        Self {
            schedule,
            timing,
            next: vec![(0, Nanos(0)); ranks],
            posted: vec![0; ranks],
            arrived: BTreeMap::new(),
            ends: BTreeMap::new(),
            ways: BTreeMap::new(),
            spans: vec![Vec::new(); ranks],
            busy: vec![Nanos(0); ranks],
            passes_end: Nanos(0),
        }
    }

    fn stage(&self, rank: usize, chunk: u32) -> usize {
        chunk as usize * self.schedule.ranks().len() + rank
    }

    /// Does what `rank` can do next; false when it is done or must wait.
    fn step(&mut self, rank: usize, delivery: Delivery) -> bool {
        let (position, now) = self.next[rank];
        let Some(&action) = self.schedule.ranks()[rank].get(position) else {
            return false;
        };
        if action.is_transfer() {
            return match delivery {
                Delivery::Buffered => self.buffered(rank, action),
                Delivery::Rendezvous => self.rendezvous(rank),
            };
        }
        let end = match action {
            Action::Gather => self.gather(rank, now),
            Action::Reduce => self.reduce(rank, now),
            Action::Update => self.compute(rank, action, now, self.timing.update[rank]),
            Action::Forward { chunk, .. } => {
                let time = self.timing.forward[self.stage(rank, chunk)];
                self.pass(rank, action, now, time)
            }
            Action::Backward { chunk, .. } => {
                let time = self.timing.backward[self.stage(rank, chunk)];
                self.pass(rank, action, now, time)
            }
            _ => now,
        };
        self.next[rank] = (position + 1, end);
        true
    }

    fn compute(&mut self, rank: usize, action: Action, start: Nanos, time: Nanos) -> Nanos {
        let end = start + time;
        self.draw(rank, Track::Compute, action, start, end);
        end
    }

    fn pass(&mut self, rank: usize, action: Action, start: Nanos, time: Nanos) -> Nanos {
        self.busy[rank] = self.busy[rank] + time;
        let end = self.compute(rank, action, start, time);
        self.passes_end = self.passes_end.max(end);
        end
    }

    fn draw(&mut self, rank: usize, track: Track, action: Action, start: Nanos, end: Nanos) {
        if end > start {
            self.spans[rank].push(Span { rank: rank as u32, track, action, start, end });
        }
    }

    /// The buckets arrive one after another from now on; forward passes wait for the latest.
    fn gather(&mut self, rank: usize, now: Nanos) -> Nanos {
        let (mut network, mut wait) = (now, now);
        for bucket in &self.timing.gather[rank] {
            let start = network;
            network = network + bucket.time;
            wait = wait.max(network - bucket.margin);
            self.draw(rank, Track::Collective, Action::Gather, start, network);
        }
        wait
    }

    /// The buckets leave one after another, each when its gradients are complete.
    fn reduce(&mut self, rank: usize, now: Nanos) -> Nanos {
        let mut network = Nanos(0);
        for bucket in &self.timing.reduce[rank] {
            let start = network.max(now - bucket.margin);
            network = start + bucket.time;
            self.draw(rank, Track::Collective, Action::Reduce, start, network);
        }
        now.max(network)
    }

    /// What a transfer carries, how long it takes, and for a send to whom it goes.
    fn message(&self, rank: usize, action: Action) -> (Message, Nanos, Option<Peer>) {
        match action {
            Action::SendActivation { micro_batch, chunk, to } => {
                let time = self.timing.activation[self.stage(rank, chunk)];
                let stage = self.stage(to.rank as usize, to.chunk);
                ((false, micro_batch, stage), time, Some(to))
            }
            Action::SendGradient { micro_batch, chunk, to } => {
                let time = self.timing.gradient[self.stage(rank, chunk)];
                let stage = self.stage(to.rank as usize, to.chunk);
                ((true, micro_batch, stage), time, Some(to))
            }
            Action::ReceiveActivation { micro_batch, chunk, from } => {
                let time = self.timing.activation[self.stage(from.rank as usize, from.chunk)];
                ((false, micro_batch, self.stage(rank, chunk)), time, None)
            }
            Action::ReceiveGradient { micro_batch, chunk, from } => {
                let time = self.timing.gradient[self.stage(from.rank as usize, from.chunk)];
                ((true, micro_batch, self.stage(rank, chunk)), time, None)
            }
            _ => unreachable!("only transfers carry messages"),
        }
    }

    fn buffered(&mut self, rank: usize, action: Action) -> bool {
        let (position, now) = self.next[rank];
        let (message, time, to) = self.message(rank, action);
        if let Some(to) = to {
            let way = self.ways.entry((rank, to.rank)).or_default();
            let start = now.max(*way);
            *way = start + time;
            self.arrived.insert(message, start + time);
            self.draw(rank, Track::Transfer, action, start, start + time);
            self.next[rank] = (position + 1, now);
            return true;
        }
        let Some(arrival) = self.arrived.remove(&message) else {
            return false;
        };
        self.next[rank] = (position + 1, now.max(arrival));
        true
    }

    /// Posts all transfers that follow each other; goes on when all of them are done.
    fn rendezvous(&mut self, rank: usize) -> bool {
        let (position, now) = self.next[rank];
        let actions = &self.schedule.ranks()[rank][position..];
        let run: Vec<Action> = actions.iter().copied().take_while(Action::is_transfer).collect();
        if self.posted[rank] <= position {
            for &action in &run {
                let (message, _, to) = self.message(rank, action);
                let ends = self.ends.entry(message).or_default();
                let end = if to.is_some() { &mut ends.sender } else { &mut ends.receiver };
                *end = Some(now);
            }
            self.posted[rank] = position + run.len();
        }
        let mut done = now;
        let mut sent = Vec::new();
        for &action in &run {
            let (message, time, to) = self.message(rank, action);
            let Ends { sender: Some(sender), receiver: Some(receiver) } = self.ends[&message]
            else {
                return false;
            };
            let start = sender.max(receiver);
            done = done.max(start + time);
            if to.is_some() {
                sent.push((action, start, start + time));
            }
        }
        for (action, start, end) in sent {
            self.draw(rank, Track::Transfer, action, start, end);
        }
        self.next[rank] = (position + run.len(), done);
        true
    }

    fn finish(self) -> Result<Timeline, SimulateError> {
        let waiting = self.next.iter().enumerate().filter_map(|(rank, &(position, _))| {
            let action = *self.schedule.ranks()[rank].get(position)?;
            Some(Deadlock { rank, position, action })
        });
        let waiting: Vec<Deadlock> = waiting.collect();
        if !waiting.is_empty() {
            return Err(SimulateError::Deadlock(waiting));
        }
        let end = self.next.iter().map(|(_, end)| *end).max().unwrap_or_default();
        Ok(Timeline {
            spans: self.spans.into_iter().flatten().collect(),
            end,
            passes_end: self.passes_end,
            busy: self.busy,
        })
    }
}
