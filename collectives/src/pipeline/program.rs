//! The schedule of one rank with a buffer for each transfer, made once.
//!
//! A receive is posted before the pass that precedes its own, or earlier if its peer sends
//! something that is needed earlier behind it: between two ranks, receives are posted in the order
//! of the sends. An activation's buffers are used from then on until the micro-batch has gone back.

use std::collections::{BTreeMap, HashMap};

use onepath_topology::Rank;
use onepath_topology::pipeline::schedule::{Action, Delivery, Peer, Schedule, Timing, simulate};
use onepath_topology::units::Nanos;

use super::error::PipelineError;

/// One thing to do. Slots are of a virtual stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Begin to receive the input of a slot.
    PostActivation { chunk: usize, slot: usize, from: Rank },
    /// Begin to receive a gradient.
    PostGradient { chunk: usize, slot: usize, from: Rank },
    /// Wait for the input of a slot.
    AwaitActivation { chunk: usize, slot: usize },
    /// Wait for a gradient.
    AwaitGradient { chunk: usize, slot: usize },
    /// Compute.
    Forward { micro_batch: u32, chunk: usize, slot: usize },
    /// Compute, with the gradient of a slot; `last` if it completes the virtual stage's gradients.
    Backward { micro_batch: u32, chunk: usize, slot: usize, gradient: Option<usize>, last: bool },
    /// Begin to send the output of a slot.
    SendActivation { chunk: usize, slot: usize, to: Rank },
    /// Begin to send the gradient that was computed last.
    SendGradient { chunk: usize, to: Rank },
    /// As in the schedule.
    Gather,
    /// As in the schedule.
    Reduce,
    /// As in the schedule.
    Update,
}

/// What one rank does in an iteration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Program {
    pub(super) steps: Vec<Step>,
    /// Slots for activations of each virtual stage.
    pub(super) slots: Vec<usize>,
    /// Slots for gradients that come in, of each virtual stage.
    pub(super) gradients: Vec<usize>,
    /// Virtual stages that get their input from others, and that get gradients.
    pub(super) receives: Vec<(bool, bool)>,
}

/// A message by kind, micro-batch and virtual stage of the receiver.
type Message = (bool, u32, u32);

impl Program {
    /// The program of a rank.
    pub(super) fn new(schedule: &Schedule, rank: usize) -> Result<Self, PipelineError> {
        check(schedule)?;
        let actions = &schedule.ranks()[rank];
        let mut build = Build::new(schedule.virtual_stages() as usize, backward_passes(actions));
        let mut posts = posts(schedule, rank)?;
        for (position, &action) in actions.iter().enumerate() {
            for post in posts.remove(&position).unwrap_or_default() {
                build.post(post);
            }
            build.act(action);
        }
        Ok(build.program)
    }
}

/// The last backward pass of each virtual stage.
fn backward_passes(actions: &[Action]) -> HashMap<u32, u32> {
    let mut last = HashMap::new();
    for action in actions {
        if let Action::Backward { micro_batch, chunk } = *action {
            last.insert(chunk, micro_batch);
        }
    }
    last
}

/// Whether each rank's actions are possible, and all of them come to an end.
fn check(schedule: &Schedule) -> Result<(), PipelineError> {
    let (ranks, chunks) = (schedule.ranks().len(), schedule.virtual_stages());
    for (rank, actions) in schedule.ranks().iter().enumerate() {
        let mut passes = std::collections::HashSet::new();
        for (position, &action) in actions.iter().enumerate() {
            let problem = problem(action, rank, ranks, schedule);
            if let Some(problem) = problem {
                return Err(PipelineError::Action { rank, position, action, problem });
            }
            if matches!(action, Action::Forward { .. } | Action::Backward { .. }) {
                passes.insert(action);
            }
        }
        let wanted = 2 * chunks as usize * schedule.micro_batches() as usize;
        if passes.len() != wanted {
            return Err(PipelineError::Passes { rank, passes: passes.len(), wanted });
        }
    }
    let times = || vec![Nanos(1); ranks * chunks as usize];
    let timing = Timing {
        forward: times(),
        backward: times(),
        activation: times(),
        gradient: times(),
        reduce: vec![Vec::new(); ranks],
        gather: vec![Vec::new(); ranks],
        update: vec![Nanos(0); ranks],
    };
    simulate(schedule, &timing, Delivery::Buffered)?;
    Ok(())
}

fn problem(action: Action, rank: usize, ranks: usize, schedule: &Schedule) -> Option<&'static str> {
    let (micro_batch, chunk, peer) = match action {
        Action::Gather | Action::Reduce | Action::Update => return None,
        Action::Forward { micro_batch, chunk } | Action::Backward { micro_batch, chunk } => {
            (micro_batch, chunk, None)
        }
        Action::SendActivation { micro_batch, chunk, to: peer }
        | Action::ReceiveActivation { micro_batch, chunk, from: peer }
        | Action::SendGradient { micro_batch, chunk, to: peer }
        | Action::ReceiveGradient { micro_batch, chunk, from: peer } => {
            (micro_batch, chunk, Some(peer))
        }
    };
    let chunks = schedule.virtual_stages();
    let beyond = |peer: Peer| peer.rank as usize >= ranks || peer.chunk >= chunks;
    if micro_batch >= schedule.micro_batches() {
        Some("there is no such micro-batch")
    } else if chunk >= chunks || peer.is_some_and(beyond) {
        Some("there is no such stage")
    } else if peer.is_some_and(|peer| peer.rank as usize == rank) {
        Some("a rank sends nothing to itself: one virtual stage would be right for one rank")
    } else {
        None
    }
}

/// What a rank receives, from whom.
fn received(action: Action) -> Option<(Message, Peer)> {
    match action {
        Action::ReceiveActivation { micro_batch, chunk, from } => {
            Some(((true, micro_batch, chunk), from))
        }
        Action::ReceiveGradient { micro_batch, chunk, from } => {
            Some(((false, micro_batch, chunk), from))
        }
        _ => None,
    }
}

/// What a rank sends to another, in order.
fn sent(actions: &[Action], receiver: usize) -> Vec<Message> {
    let message = |action: &Action| match *action {
        Action::SendActivation { micro_batch, to, .. } if to.rank as usize == receiver => {
            Some((true, micro_batch, to.chunk))
        }
        Action::SendGradient { micro_batch, to, .. } if to.rank as usize == receiver => {
            Some((false, micro_batch, to.chunk))
        }
        _ => None,
    };
    actions.iter().filter_map(message).collect()
}

/// A receive, ahead of the pass that needs it.
#[derive(Clone, Copy, Debug)]
struct Post {
    message: Message,
    from: u32,
}

/// The receives that are posted before each action.
fn posts(schedule: &Schedule, rank: usize) -> Result<BTreeMap<usize, Vec<Post>>, PipelineError> {
    let actions = &schedule.ranks()[rank];
    let mut wanted: HashMap<(u32, Message), (usize, usize)> = HashMap::new();
    let mut pass = 0;
    for (position, &action) in actions.iter().enumerate() {
        if matches!(action, Action::Forward { .. } | Action::Backward { .. }) {
            pass = position;
        }
        if let Some((message, from)) = received(action) {
            wanted.insert((from.rank, message), (position, pass));
        }
    }
    let mut posts: BTreeMap<usize, Vec<Post>> = BTreeMap::new();
    for peer in (0..schedule.ranks().len()).filter(|&peer| peer != rank) {
        let from = peer as u32;
        let mut latest = usize::MAX;
        let mut own = Vec::new();
        for message in sent(&schedule.ranks()[peer], rank).into_iter().rev() {
            let Some((_, pass)) = wanted.remove(&(from, message)) else {
                let sent = |action: &&Action| action.is_transfer();
                let position = schedule.ranks()[peer].iter().position(|a| sent(&a)).unwrap_or(0);
                let action = schedule.ranks()[peer][position];
                let problem = "one of its transfers is not received";
                return Err(PipelineError::Action { rank: peer, position, action, problem });
            };
            latest = latest.min(pass);
            own.push((latest, Post { message, from }));
        }
        for (position, post) in own.into_iter().rev() {
            posts.entry(position).or_default().push(post);
        }
    }
    if let Some((_, &(position, _))) = wanted.iter().min_by_key(|(_, (position, _))| *position) {
        let (action, problem) = (actions[position], "nobody sends it");
        return Err(PipelineError::Action { rank, position, action, problem });
    }
    Ok(posts)
}

/// Slots that are free, and how many there are.
#[derive(Clone, Debug, Default)]
struct Slots {
    free: Vec<usize>,
    count: usize,
    taken: HashMap<u32, usize>,
}

impl Slots {
    fn take(&mut self, micro_batch: u32) -> usize {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.count += 1;
            self.count - 1
        });
        self.taken.insert(micro_batch, slot);
        slot
    }

    fn of(&mut self, micro_batch: u32) -> usize {
        match self.taken.get(&micro_batch) {
            Some(&slot) => slot,
            None => self.take(micro_batch),
        }
    }

    fn leave(&mut self, micro_batch: u32) -> Option<usize> {
        let slot = self.taken.remove(&micro_batch)?;
        self.free.push(slot);
        Some(slot)
    }
}

struct Build {
    activations: Vec<Slots>,
    gradients: Vec<Slots>,
    last: HashMap<u32, u32>,
    program: Program,
}

impl Build {
    fn new(chunks: usize, last: HashMap<u32, u32>) -> Self {
        Self {
            activations: vec![Slots::default(); chunks],
            gradients: vec![Slots::default(); chunks],
            last,
            program: Program {
                steps: Vec::new(),
                slots: vec![0; chunks],
                gradients: vec![0; chunks],
                receives: vec![(false, false); chunks],
            },
        }
    }

    fn post(&mut self, Post { message, from }: Post) {
        let (activation, micro_batch, chunk) = message;
        let (chunk, from) = (chunk as usize, Rank::new(from));
        self.program.steps.push(if activation {
            self.program.receives[chunk].0 = true;
            let slot = self.activations[chunk].take(micro_batch);
            Step::PostActivation { chunk, slot, from }
        } else {
            self.program.receives[chunk].1 = true;
            let slot = self.gradients[chunk].take(micro_batch);
            Step::PostGradient { chunk, slot, from }
        });
    }

    fn act(&mut self, action: Action) {
        let step = match action {
            Action::Gather => Step::Gather,
            Action::Reduce => Step::Reduce,
            Action::Update => Step::Update,
            Action::ReceiveActivation { micro_batch, chunk, .. } => {
                let chunk = chunk as usize;
                let slot = self.activations[chunk].of(micro_batch);
                Step::AwaitActivation { chunk, slot }
            }
            Action::ReceiveGradient { micro_batch, chunk, .. } => {
                let chunk = chunk as usize;
                Step::AwaitGradient { chunk, slot: self.gradients[chunk].of(micro_batch) }
            }
            Action::SendActivation { micro_batch, chunk, to } => {
                let chunk = chunk as usize;
                let slot = self.activations[chunk].of(micro_batch);
                Step::SendActivation { chunk, slot, to: Rank::new(to.rank) }
            }
            Action::SendGradient { chunk, to, .. } => {
                Step::SendGradient { chunk: chunk as usize, to: Rank::new(to.rank) }
            }
            Action::Forward { micro_batch, chunk } => {
                let chunk = chunk as usize;
                let slot = self.activations[chunk].of(micro_batch);
                Step::Forward { micro_batch, chunk, slot }
            }
            Action::Backward { micro_batch, chunk } => {
                let last = self.last.get(&chunk) == Some(&micro_batch);
                let chunk = chunk as usize;
                let slot = self.activations[chunk].of(micro_batch);
                self.activations[chunk].leave(micro_batch);
                let gradient = self.gradients[chunk].leave(micro_batch);
                Step::Backward { micro_batch, chunk, slot, gradient, last }
            }
        };
        self.program.steps.push(step);
        for (chunk, slots) in self.activations.iter().enumerate() {
            self.program.slots[chunk] = slots.count;
        }
        for (chunk, slots) in self.gradients.iter().enumerate() {
            self.program.gradients[chunk] = slots.count;
        }
    }
}
