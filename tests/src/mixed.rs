//! Seeded random sequences of calls, the same on all ranks.

use std::sync::Arc;

use onepath_collectives::algorithm::Class;
use onepath_collectives::{Algorithm, CollectiveError, Communicator, DataType, ReduceOp};
use onepath_topology::Rank;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::case::{Case, CaseError, MAX_OFFSET, is_segmented};
use crate::oracle::{Pools, Sample};
use crate::product;

/// Makes random calls and checks their results.
#[derive(Debug)]
pub struct Mixed {
    random: StdRng,
    pools: Arc<Pools>,
    calls: Vec<(Class, Algorithm)>,
    number: u64,
}

/// What [`Mixed::step`] does next.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// One call.
    Call(Case),
    /// Several all-reductions in flight at once.
    InFlight(Case, usize),
    /// Every rank sends to the next one and receives from the one before.
    Ring(usize),
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Call(case) => case.fmt(f),
            Self::InFlight(case, calls) => write!(f, "{calls} in flight of {case}"),
            Self::Ring(count) => write!(f, "ring of {count} elements"),
        }
    }
}

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// A call failed or its result was wrong.
    #[error(transparent)]
    Case(#[from] CaseError),
    /// A call of several in flight failed.
    #[error(transparent)]
    Call(#[from] CollectiveError),
    /// A result of several in flight was wrong.
    #[error("{0}: wrong result")]
    Wrong(Step),
}

impl StepError {
    /// What a call returned; nothing if a result was wrong.
    pub fn collective(&self) -> Option<&CollectiveError> {
        match self {
            Self::Case(error) => error.collective(),
            Self::Call(error) => Some(error),
            Self::Wrong(_) => None,
        }
    }
}

impl Mixed {
    /// A sequence of calls on the data of `pools`.
    pub fn new(seed: u64, pools: Arc<Pools>) -> Self {
        let random = StdRng::seed_from_u64(seed);
        Self { random, pools, calls: product::calls(), number: 0 }
    }

    /// Chooses the next step for a communicator of `ranks` ranks.
    pub fn next(&mut self, ranks: usize) -> Step {
        self.number += 1;
        let case = self.case(ranks);
        match self.random.random_range(0..12) {
            0 => Step::InFlight(case, self.random.random_range(2..=6)),
            1 if ranks > 1 => Step::Ring(case.count),
            _ => Step::Call(case),
        }
    }

    fn case(&mut self, ranks: usize) -> Case {
        let random = &mut self.random;
        let (class, algorithm) = self.calls[random.random_range(0..self.calls.len())];
        let reduces = matches!(class, Class::AllReduce | Class::ReduceScatter | Class::Reduce);
        let rooted = matches!(class, Class::Broadcast | Class::Reduce);
        let can_be_in_place = !matches!(class, Class::AllToAll | Class::Barrier);
        let room = self.pools.length() - MAX_OFFSET;
        let most = if is_segmented(class) { room / ranks } else { room };
        // As many calls of each order of magnitude.
        let bits = random.random_range(0..=most.ilog2());
        let count = random.random_range(0..(1_usize << (bits + 1)).min(most + 1));
        let op = ReduceOp::ALL[random.random_range(0..ReduceOp::ALL.len())];
        Case {
            class,
            algorithm: random.random_bool(0.7).then_some(algorithm),
            data_type: DataType::ALL[random.random_range(0..DataType::ALL.len())],
            op: reduces.then_some(op),
            root: rooted.then(|| Rank::from_index(random.random_range(0..ranks))),
            in_place: random.random_bool(0.5) && can_be_in_place,
            count: if class == Class::Barrier { 0 } else { count },
            number: self.number,
        }
    }

    /// Makes one step.
    pub fn run(&self, step: Step, communicator: &Communicator) -> Result<(), StepError> {
        match step {
            Step::Call(case) => Ok(case.run(communicator, &self.pools)?),
            Step::InFlight(case, calls) => self.in_flight(step, case.count, calls, communicator),
            Step::Ring(count) => self.ring(step, count, communicator),
        }
    }

    /// Chooses and makes the next step.
    pub fn step(&mut self, communicator: &Communicator) -> Result<(), StepError> {
        let step = self.next(communicator.world_size().get());
        self.run(step, communicator)
    }

    fn in_flight(
        &self,
        step: Step,
        count: usize,
        calls: usize,
        communicator: &Communicator,
    ) -> Result<(), StepError> {
        communicator.set_algorithm(None);
        let pool = self.pools.get::<i32>();
        let input = pool.input(None, communicator.rank().index());
        let part = |call: usize| call % MAX_OFFSET..call % MAX_OFFSET + count / (call + 1);
        let mut buffers: Vec<Vec<i32>> =
            (0..calls).map(|call| input[part(call)].to_vec()).collect();
        communicator.scope(|scope| {
            let started: Result<Vec<_>, _> =
                buffers.iter_mut().map(|buffer| scope.all_reduce(buffer, ReduceOp::Sum)).collect();
            // Every other one is waited for here, last first; the rest by the scope.
            started?.into_iter().rev().step_by(2).try_for_each(|handle| handle.wait().map(|_| ()))
        })?;
        let right = pool.reduced(ReduceOp::Sum);
        let wrong = (0..calls).any(|call| buffers[call] != right[part(call)]);
        if wrong { Err(StepError::Wrong(step)) } else { Ok(()) }
    }

    fn ring(&self, step: Step, count: usize, communicator: &Communicator) -> Result<(), StepError> {
        let pool = self.pools.get::<i32>();
        let (rank, ranks) = (communicator.rank().index(), communicator.world_size().get());
        let (before, after) = ((rank + ranks - 1) % ranks, (rank + 1) % ranks);
        let mut received = vec![i32::UNTOUCHED; count];
        let sent = &pool.input(None, rank)[..count];
        communicator.scope(|scope| {
            let incoming = scope.recv(&mut received, Rank::from_index(before))?;
            scope.send(sent, Rank::from_index(after))?.wait()?;
            incoming.wait()?;
            Ok(())
        })?;
        let wrong = received != pool.input(None, before)[..count];
        if wrong { Err(StepError::Wrong(step)) } else { Ok(()) }
    }
}
