//! Schedules.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The most actions of a schedule, over all ranks.
const MAX_ACTIONS: u64 = 1 << 26;

/// Which order of passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScheduleKind {
    /// All forward passes, then all backward passes, the last first (Huang et al. 2019).
    GPipe,
    /// One forward, one backward, after a warm-up (Narayanan et al. 2019).
    #[serde(rename = "1f1b")]
    OneForwardOneBackward,
    /// The same over several virtual stages a rank (Narayanan et al. 2021).
    Interleaved,
}

/// The other end of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Peer {
    /// The rank within the pipeline.
    pub rank: u32,
    /// Its virtual stage.
    pub chunk: u32,
}

/// One thing that a rank does. `chunk` counts the rank's virtual stages from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Wait for the parameters that the first forward pass needs.
    Gather,
    /// The forward pass of a micro-batch.
    Forward {
        /// Which micro-batch.
        micro_batch: u32,
        /// Through which virtual stage.
        chunk: u32,
    },
    /// The backward pass of a micro-batch.
    Backward {
        /// Which micro-batch.
        micro_batch: u32,
        /// Through which virtual stage.
        chunk: u32,
    },
    /// Hand an activation on.
    SendActivation {
        /// Which micro-batch.
        micro_batch: u32,
        /// From which virtual stage.
        chunk: u32,
        /// To whom.
        to: Peer,
    },
    /// Take an activation.
    ReceiveActivation {
        /// Which micro-batch.
        micro_batch: u32,
        /// For which virtual stage.
        chunk: u32,
        /// From whom.
        from: Peer,
    },
    /// Hand the gradient of an activation back.
    SendGradient {
        /// Which micro-batch.
        micro_batch: u32,
        /// From which virtual stage.
        chunk: u32,
        /// To whom.
        to: Peer,
    },
    /// Take the gradient of an activation.
    ReceiveGradient {
        /// Which micro-batch.
        micro_batch: u32,
        /// For which virtual stage.
        chunk: u32,
        /// From whom.
        from: Peer,
    },
    /// Wait for the reduction of gradients, which began with the last backward pass.
    Reduce,
    /// The optimizer step.
    Update,
}

impl Action {
    /// Whether it is one of the four transfers.
    pub const fn is_transfer(&self) -> bool {
        matches!(
            self,
            Self::SendActivation { .. }
                | Self::ReceiveActivation { .. }
                | Self::SendGradient { .. }
                | Self::ReceiveGradient { .. }
        )
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gather => f.write_str("gather"),
            Self::Forward { micro_batch, chunk } => write!(f, "F{micro_batch}.{chunk}"),
            Self::Backward { micro_batch, chunk } => write!(f, "B{micro_batch}.{chunk}"),
            Self::SendActivation { micro_batch, chunk, to } => {
                write!(f, "send activation {micro_batch}.{chunk} to {}", to.rank)
            }
            Self::ReceiveActivation { micro_batch, chunk, from } => {
                write!(f, "receive activation {micro_batch}.{chunk} from {}", from.rank)
            }
            Self::SendGradient { micro_batch, chunk, to } => {
                write!(f, "send gradient {micro_batch}.{chunk} to {}", to.rank)
            }
            Self::ReceiveGradient { micro_batch, chunk, from } => {
                write!(f, "receive gradient {micro_batch}.{chunk} from {}", from.rank)
            }
            Self::Reduce => f.write_str("reduce"),
            Self::Update => f.write_str("update"),
        }
    }
}

/// Why there is no schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// A count of zero.
    #[error("{0} is 0: it must be at least 1")]
    Zero(&'static str),
    /// Virtual stages without interleaving.
    #[error("virtual_stages is {0}: it must be 1 unless the schedule is interleaved")]
    VirtualStages(u32),
    /// Interleaving needs whole rounds.
    #[error("micro_batches is {micro_batches}: interleaved it must be a multiple of {ranks} ranks")]
    MicroBatches {
        /// What was given.
        micro_batches: u32,
        /// Ranks of the pipeline.
        ranks: u32,
    },
    /// Beyond all use.
    #[error("the schedule would have {0} actions: at most {MAX_ACTIONS} are accepted")]
    TooLarge(u64),
}

/// The actions of every rank of one pipeline. Transfers that follow each other without another
/// action between are posted together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Schedule {
    kind: ScheduleKind,
    micro_batches: u32,
    virtual_stages: u32,
    ranks: Vec<Vec<Action>>,
}

impl Schedule {
    /// The schedule of `ranks` ranks with `virtual_stages` stages each: stage `chunk · ranks +
    /// rank` of the model is virtual stage `chunk` of `rank`.
    pub fn new(
        kind: ScheduleKind,
        ranks: u32,
        micro_batches: u32,
        virtual_stages: u32,
    ) -> Result<Self, ScheduleError> {
        let counts = [
            ("ranks", ranks),
            ("micro_batches", micro_batches),
            ("virtual_stages", virtual_stages),
        ];
        if let Some((field, _)) = counts.iter().find(|(_, count)| *count == 0) {
            return Err(ScheduleError::Zero(field));
        }
        if kind != ScheduleKind::Interleaved && virtual_stages != 1 {
            return Err(ScheduleError::VirtualStages(virtual_stages));
        }
        if kind == ScheduleKind::Interleaved && !micro_batches.is_multiple_of(ranks) {
            return Err(ScheduleError::MicroBatches { micro_batches, ranks });
        }
        let passes = u64::from(micro_batches).saturating_mul(u64::from(virtual_stages));
        let actions = passes.saturating_mul(u64::from(ranks)).saturating_mul(6);
        if actions > MAX_ACTIONS {
            return Err(ScheduleError::TooLarge(actions));
        }
        let shape = Shape { ranks, micro_batches, virtual_stages };
        let ranks = (0..ranks).map(|rank| shape.with_transfers(rank, &shape.passes(kind, rank)));
        Ok(Self { kind, micro_batches, virtual_stages, ranks: ranks.collect() })
    }

    /// A schedule from actions of another origin.
    pub fn of_actions(
        kind: ScheduleKind,
        micro_batches: u32,
        virtual_stages: u32,
        ranks: Vec<Vec<Action>>,
    ) -> Self {
        Self { kind, micro_batches, virtual_stages, ranks }
    }

    /// Its kind.
    pub const fn kind(&self) -> ScheduleKind {
        self.kind
    }

    /// Micro-batches of an iteration.
    pub const fn micro_batches(&self) -> u32 {
        self.micro_batches
    }

    /// Virtual stages of each rank.
    pub const fn virtual_stages(&self) -> u32 {
        self.virtual_stages
    }

    /// The actions of each rank, in order.
    pub fn ranks(&self) -> &[Vec<Action>] {
        &self.ranks
    }

    /// The most forward passes of a rank whose backward passes are still to come: so many
    /// activations of a virtual stage are kept at once.
    pub fn most_in_flight(&self, rank: usize) -> u32 {
        let (mut kept, mut most) = (0, 0);
        for action in &self.ranks[rank] {
            match action {
                Action::Forward { .. } => kept += 1,
                Action::Backward { .. } => kept -= 1,
                _ => {}
            }
            most = most.max(kept);
        }
        most
    }
}

#[derive(Clone, Copy)]
struct Shape {
    ranks: u32,
    micro_batches: u32,
    virtual_stages: u32,
}

impl Shape {
    /// Forward and backward passes of a rank, in order.
    fn passes(&self, kind: ScheduleKind, rank: u32) -> Vec<Action> {
        let all = self.micro_batches * self.virtual_stages;
        match kind {
            ScheduleKind::GPipe => {
                let forward = (0..all).map(|micro_batch| Action::Forward { micro_batch, chunk: 0 });
                let backward =
                    (0..all).rev().map(|micro_batch| Action::Backward { micro_batch, chunk: 0 });
                forward.chain(backward).collect()
            }
            ScheduleKind::OneForwardOneBackward => self.alternate((self.ranks - rank - 1).min(all)),
            ScheduleKind::Interleaved => {
                let warm_up = (self.ranks - rank - 1) * 2 + (self.virtual_stages - 1) * self.ranks;
                self.alternate(warm_up.min(all))
            }
        }
    }

    /// `warm_up` forward passes, then one forward and one backward by turns, then the rest.
    fn alternate(&self, warm_up: u32) -> Vec<Action> {
        let all = self.micro_batches * self.virtual_stages;
        let mut passes: Vec<Action> = (0..warm_up).map(|k| self.forward(k)).collect();
        for k in warm_up..all {
            passes.push(self.forward(k));
            passes.push(self.backward(k - warm_up));
        }
        passes.extend((all - warm_up..all).map(|k| self.backward(k)));
        passes
    }

    /// The k-th forward pass: rounds of one micro-batch a rank through each virtual stage.
    fn forward(&self, k: u32) -> Action {
        let (micro_batch, chunk) = self.round(k);
        Action::Forward { micro_batch, chunk }
    }

    fn backward(&self, k: u32) -> Action {
        let (micro_batch, chunk) = self.round(k);
        Action::Backward { micro_batch, chunk: self.virtual_stages - 1 - chunk }
    }

    fn round(&self, k: u32) -> (u32, u32) {
        if self.virtual_stages == 1 {
            return (k, 0);
        }
        let round = self.ranks * self.virtual_stages;
        (k / round * self.ranks + k % self.ranks, k % round / self.ranks)
    }

    /// Who is before and after a virtual stage of a rank.
    fn neighbours(&self, rank: u32, chunk: u32) -> (Option<Peer>, Option<Peer>) {
        let last = self.ranks - 1;
        let before = match (rank, chunk) {
            (0, 0) => None,
            (0, _) => Some(Peer { rank: last, chunk: chunk - 1 }),
            _ => Some(Peer { rank: rank - 1, chunk }),
        };
        let after = if rank < last {
            Some(Peer { rank: rank + 1, chunk })
        } else if chunk + 1 < self.virtual_stages {
            Some(Peer { rank: 0, chunk: chunk + 1 })
        } else {
            None
        };
        (before, after)
    }

    fn with_transfers(&self, rank: u32, passes: &[Action]) -> Vec<Action> {
        let mut actions = vec![Action::Gather];
        for pass in passes {
            match *pass {
                Action::Forward { micro_batch, chunk } => {
                    let (before, after) = self.neighbours(rank, chunk);
                    let receive =
                        before.map(|from| Action::ReceiveActivation { micro_batch, chunk, from });
                    let send = after.map(|to| Action::SendActivation { micro_batch, chunk, to });
                    actions.extend(receive.into_iter().chain([*pass]).chain(send));
                }
                Action::Backward { micro_batch, chunk } => {
                    let (before, after) = self.neighbours(rank, chunk);
                    let receive =
                        after.map(|from| Action::ReceiveGradient { micro_batch, chunk, from });
                    let send = before.map(|to| Action::SendGradient { micro_batch, chunk, to });
                    actions.extend(receive.into_iter().chain([*pass]).chain(send));
                }
                other => actions.push(other),
            }
        }
        actions.extend([Action::Reduce, Action::Update]);
        actions
    }
}
