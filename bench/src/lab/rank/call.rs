//! The collective on real data, and the check of every element.

use onepath_collectives::{CollectiveError, Communicator, ReduceOp};
use onepath_topology::{Rank, WorldSize};

use crate::collective::{Collective as Kind, next};
use crate::lab::compare::collective::Collective;
use crate::lab::compare::message::Task;
use crate::verify::Pattern;

/// One call with its buffers.
#[derive(Debug)]
pub(super) struct Run {
    collective: Collective,
    count: usize,
    me: Rank,
    world: WorldSize,
    seed: u64,
    /// The receiver and the sender of this rank in a permutation.
    target: Rank,
    source: Rank,
    input: Vec<f32>,
    output: Vec<f32>,
}

impl Run {
    /// Buffers with seeded data.
    pub(super) fn new(task: &Task, me: Rank, world: WorldSize) -> Self {
        let Task { collective, count, .. } = *task;
        let target = task.targets.get(me.index()).copied().map_or(me, Rank::new);
        let source = task.targets.iter().position(|rank| *rank == me.number());
        let source = source.map_or(me, Rank::from_index);
        let (others, all) = ((world.get() - 1) * count, world.get() * count);
        let first = me == Rank::new(0);
        let (input, output) = match collective {
            Collective::AllToAll => (all, all),
            Collective::Incast if first => (0, others),
            Collective::Incast => (count, 0),
            _ => (count, count),
        };
        let mut run = Self {
            collective,
            count,
            me,
            world,
            seed: u64::from(task.seed),
            target,
            source,
            input: vec![0.0; input],
            output: vec![0.0; output],
        };
        run.pattern(me).fill(&mut run.input);
        run
    }

    /// What `rank` contributes and gets.
    fn pattern(&self, rank: Rank) -> Pattern {
        let collective = match self.collective {
            Collective::Permutation | Collective::Incast => Kind::SendReceive,
            Collective::AllToAll => Kind::AllToAll,
            Collective::Ring | Collective::HalvingDoubling | Collective::Direct => Kind::AllReduce,
        };
        Pattern {
            collective,
            op: ReduceOp::Sum,
            root: Rank::new(0),
            count: self.count,
            rank,
            world: self.world,
            seed: self.seed,
        }
    }

    /// Makes the call; returns when this rank has sent and received all.
    pub(super) fn call(&mut self, communicator: &Communicator) -> Result<(), CollectiveError> {
        let (input, output) = (&self.input[..], &mut self.output[..]);
        match self.collective {
            Collective::Permutation => communicator.scope(|scope| {
                let received = scope.recv(output, self.source)?;
                scope.send(input, self.target)?.wait()?;
                received.wait()?;
                Ok(())
            }),
            Collective::Incast if self.me == Rank::new(0) => communicator.scope(|scope| {
                for (part, from) in output.chunks_mut(self.count).zip(1..) {
                    // The scope's end waits for all.
                    let _in_flight = scope.recv(part, Rank::new(from))?;
                }
                Ok(())
            }),
            Collective::Incast => communicator.send(input, Rank::new(0)),
            Collective::AllToAll => communicator.all_to_all(input, output),
            Collective::Ring | Collective::HalvingDoubling | Collective::Direct => {
                communicator.all_reduce_into(input, output, ReduceOp::Sum)
            }
        }
    }

    /// Forgets the result, so that the next call cannot be right by the last one.
    pub(super) fn forget(&mut self) {
        self.output.fill(0.0);
    }

    /// How many elements of the result are not as they must be.
    pub(super) fn wrong(&self) -> u64 {
        // Of what comes from one rank, the pattern is that of the rank after it in a ring.
        let from = |rank| self.pattern(next(rank, self.world));
        match self.collective {
            Collective::Permutation => from(self.source).check(&self.output).wrong,
            Collective::Incast => {
                let parts = self.output.chunks(self.count).zip(1..);
                parts.map(|(part, rank)| from(Rank::new(rank)).check(part).wrong).sum()
            }
            _ => self.pattern(self.me).check(&self.output).wrong,
        }
    }

    /// To how many ranks this one sends.
    pub(super) fn receivers(&self) -> u64 {
        self.collective.receivers(self.me, self.count, self.world) as u64
    }
}
