//! One call with its arguments: made on a communicator, and its result checked.

use std::fmt;
use std::ops::{Deref, DerefMut};

use onepath_collectives::algorithm::Class;
use onepath_collectives::{
    Algorithm, CollectiveError, Communicator, DataType, ReduceOp, RegisteredBuffer,
};
use onepath_topology::Rank;

use crate::oracle::{Pool, Pools, Sample, hash};
use crate::with_type;

/// Elements around an output that nobody may write.
const GUARD: usize = 9;

/// Where in a pool inputs may begin: different offsets give calls of one shape different data,
/// and addresses of every alignment.
pub const MAX_OFFSET: usize = 61;

/// A call, the same on all ranks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Case {
    /// What is called.
    pub class: Class,
    /// How; nothing for the cost table's choice.
    pub algorithm: Option<Algorithm>,
    /// Type of the elements.
    pub data_type: DataType,
    /// For calls that reduce.
    pub op: Option<ReduceOp>,
    /// For calls with a root.
    pub root: Option<Rank>,
    /// In one buffer.
    pub in_place: bool,
    /// Elements, as the collective counts them.
    pub count: usize,
    /// Tells the data of one case from another's.
    pub number: u64,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "case {}: {} of {} {}", self.number, self.class, self.count, self.data_type)?;
        if let Some(op) = self.op {
            write!(f, ", {op}")?;
        }
        if let Some(root) = self.root {
            write!(f, ", root {root}")?;
        }
        let place = if self.in_place { "in place" } else { "out of place" };
        write!(f, ", {place}, {}", self.algorithm.map_or("by table", Algorithm::name))
    }
}

/// Why a case failed.
#[derive(Debug, thiserror::Error)]
pub enum CaseError {
    /// The call returned an error.
    #[error("rank {rank} of {ranks}, {case}: {error}")]
    Call {
        /// The case.
        case: Box<Case>,
        /// On which rank.
        rank: Rank,
        /// Of how many.
        ranks: usize,
        /// The error.
        error: CollectiveError,
    },
    /// An element is wrong.
    #[error("rank {rank} of {ranks}, {case}: element {at} of {what} is {got}, not {right}")]
    Wrong {
        /// The case.
        case: Box<Case>,
        /// On which rank.
        rank: Rank,
        /// Of how many.
        ranks: usize,
        /// Its place.
        at: usize,
        /// Part of the memory.
        what: &'static str,
        /// The element.
        got: String,
        /// The right one.
        right: String,
    },
}

impl CaseError {
    /// What the call returned; nothing if its result was wrong.
    pub fn collective(&self) -> Option<&CollectiveError> {
        match self {
            Self::Call { error, .. } => Some(error),
            Self::Wrong { .. } => None,
        }
    }
}

/// Whether a class's longest buffer has a segment for each rank.
pub const fn is_segmented(class: Class) -> bool {
    matches!(class, Class::ReduceScatter | Class::AllGather | Class::AllToAll)
}

impl Case {
    /// Makes the call and checks the result.
    pub fn run(&self, communicator: &Communicator, pools: &Pools) -> Result<(), CaseError> {
        self.run_on(communicator, pools, false)
    }

    /// As [`run`](Self::run), on buffers that are registered with the communicator.
    ///
    /// # Panics
    /// When they cannot be.
    pub fn run_registered(
        &self,
        communicator: &Communicator,
        pools: &Pools,
    ) -> Result<(), CaseError> {
        self.run_on(communicator, pools, true)
    }

    fn run_on(
        &self,
        communicator: &Communicator,
        pools: &Pools,
        registered: bool,
    ) -> Result<(), CaseError> {
        communicator.set_algorithm(self.algorithm);
        with_type!(self.data_type, T, {
            let pool = pools.get::<T>();
            Bound::<T> { registered, ..Bound::new(self, communicator, &pool) }.run()
        })
    }
}

/// A case on one rank, with its data.
struct Bound<'a, T> {
    case: &'a Case,
    communicator: &'a Communicator,
    pool: &'a Pool<T>,
    rank: usize,
    ranks: usize,
    offset: usize,
    registered: bool,
}

impl<'a, T: Sample> Bound<'a, T> {
    fn new(case: &'a Case, communicator: &'a Communicator, pool: &'a Pool<T>) -> Self {
        Self {
            case,
            communicator,
            pool,
            rank: communicator.rank().index(),
            ranks: communicator.world_size().get(),
            offset: (hash(case.number) % MAX_OFFSET as u64) as usize,
            registered: false,
        }
    }

    fn root(&self) -> Rank {
        self.case.root.unwrap_or(Rank::new(0))
    }

    fn op(&self) -> ReduceOp {
        self.case.op.unwrap_or(ReduceOp::Sum)
    }

    fn input(&self, rank: usize, from: usize, count: usize) -> &[T] {
        &self.pool.input(self.case.op, rank)[self.offset + from..][..count]
    }

    fn reduced(&self, from: usize, count: usize) -> &[T] {
        &self.pool.reduced(self.op())[self.offset + from..][..count]
    }

    fn register(&self, memory: Vec<T>) -> RegisteredBuffer<T> {
        self.communicator.register(memory).expect("the device takes it")
    }

    /// An input as the call is to have it.
    fn given<'b>(&self, input: &'b [T]) -> Box<dyn Deref<Target = [T]> + 'b> {
        if self.registered { Box::new(self.register(input.to_vec())) } else { Box::new(input) }
    }

    fn output(&self, count: usize) -> Output<T> {
        let memory = vec![T::UNTOUCHED; count + 2 * GUARD];
        Output(if self.registered { Box::new(self.register(memory)) } else { Box::new(memory) })
    }

    fn run(&self) -> Result<(), CaseError> {
        match self.case.class {
            Class::AllReduce => self.all_reduce(),
            Class::ReduceScatter => self.reduce_scatter(),
            Class::AllGather => self.all_gather(),
            Class::Broadcast => self.broadcast(),
            Class::Reduce => self.reduce(),
            Class::AllToAll => self.all_to_all(),
            Class::Barrier => self.called(self.communicator.barrier()),
        }
    }

    fn all_reduce(&self) -> Result<(), CaseError> {
        let count = self.case.count;
        let input = self.input(self.rank, 0, count);
        let mut output = self.output(count);
        self.called(if self.case.in_place {
            output.own().copy_from_slice(input);
            self.communicator.all_reduce(output.own(), self.op())
        } else {
            self.communicator.all_reduce_into(&self.given(input), output.own(), self.op())
        })?;
        self.check(&mut output, 0, self.reduced(0, count))
    }

    fn reduce_scatter(&self) -> Result<(), CaseError> {
        let count = self.case.count;
        let input = self.input(self.rank, 0, count * self.ranks);
        let right = self.reduced(self.rank * count, count);
        if self.case.in_place {
            let mut output = self.output(input.len());
            output.own().copy_from_slice(input);
            self.called(self.communicator.reduce_scatter_in_place(output.own(), self.op()))?;
            return self.check(&mut output, self.rank * count, right);
        }
        let mut output = self.output(count);
        self.called(self.communicator.reduce_scatter(&self.given(input), output.own(), self.op()))?;
        self.check(&mut output, 0, right)
    }

    fn all_gather(&self) -> Result<(), CaseError> {
        let count = self.case.count;
        let input = self.input(self.rank, 0, count);
        let mut output = self.output(count * self.ranks);
        self.called(if self.case.in_place {
            output.own()[self.rank * count..][..count].copy_from_slice(input);
            self.communicator.all_gather_in_place(output.own())
        } else {
            self.communicator.all_gather(&self.given(input), output.own())
        })?;
        (0..self.ranks)
            .try_for_each(|rank| self.check(&mut output, rank * count, self.input(rank, 0, count)))
    }

    fn broadcast(&self) -> Result<(), CaseError> {
        let (count, root) = (self.case.count, self.root());
        let mut output = self.output(count);
        let right = self.input(root.index(), 0, count);
        let is_root = self.rank == root.index();
        self.called(if self.case.in_place {
            if is_root {
                output.own().copy_from_slice(right);
            }
            self.communicator.broadcast(output.own(), root)
        } else {
            let input = if is_root { right } else { &[] };
            self.communicator.broadcast_into(&self.given(input), output.own(), root)
        })?;
        self.check(&mut output, 0, right)
    }

    fn reduce(&self) -> Result<(), CaseError> {
        let (count, root) = (self.case.count, self.root());
        let input = self.input(self.rank, 0, count);
        let is_root = self.rank == root.index();
        // On the other ranks the output may be there or not.
        let given = is_root || self.case.in_place || self.case.number.is_multiple_of(2);
        let mut output = self.output(if given { count } else { 0 });
        self.called(if self.case.in_place {
            output.own().copy_from_slice(input);
            self.communicator.reduce_in_place(output.own(), self.op(), root)
        } else {
            self.communicator.reduce(&self.given(input), output.own(), self.op(), root)
        })?;
        if is_root {
            self.check(&mut output, 0, self.reduced(0, count))
        } else if self.case.in_place {
            self.check(&mut output, 0, &[])
        } else {
            let untouched = vec![T::UNTOUCHED; output.own().len()];
            self.check(&mut output, 0, &untouched)
        }
    }

    fn all_to_all(&self) -> Result<(), CaseError> {
        let count = self.case.count;
        let input = self.input(self.rank, 0, count * self.ranks);
        let mut output = self.output(input.len());
        self.called(self.communicator.all_to_all(&self.given(input), output.own()))?;
        (0..self.ranks).try_for_each(|rank| {
            let right = self.input(rank, self.rank * count, count);
            self.check(&mut output, rank * count, right)
        })
    }

    fn called(&self, result: Result<(), CollectiveError>) -> Result<(), CaseError> {
        result.map_err(|error| CaseError::Call {
            case: Box::new(*self.case),
            rank: self.communicator.rank(),
            ranks: self.ranks,
            error,
        })
    }

    /// Compares part of the output from `from` on, and that nothing around it was written.
    fn check(&self, output: &mut Output<T>, from: usize, right: &[T]) -> Result<(), CaseError> {
        let guard = [T::UNTOUCHED; GUARD];
        self.equal("the memory before the output", output.before(), &guard)?;
        self.equal("the memory after the output", output.after(), &guard)?;
        self.equal("the output", &output.own()[from..][..right.len()], right)
    }

    fn equal(&self, what: &'static str, got: &[T], right: &[T]) -> Result<(), CaseError> {
        let differ = |at: &usize| got[*at].bits() != right[*at].bits();
        let Some(at) = (0..right.len()).find(differ) else { return Ok(()) };
        Err(CaseError::Wrong {
            case: Box::new(*self.case),
            rank: self.communicator.rank(),
            ranks: self.ranks,
            at,
            what,
            got: format!("{:?}", got[at]),
            right: format!("{:?}", right[at]),
        })
    }
}

/// An output with elements around it that nobody may write.
struct Output<T>(Box<dyn DerefMut<Target = [T]>>);

impl<T: Sample> Output<T> {
    fn own(&mut self) -> &mut [T] {
        let end = self.0.len() - GUARD;
        &mut self.0[GUARD..end]
    }

    fn before(&self) -> &[T] {
        &self.0[..GUARD]
    }

    fn after(&self) -> &[T] {
        &self.0[self.0.len() - GUARD..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_element_is_found_and_named() {
        // The reduction of one rank's elements is not that of two.
        let pools = Pools::new(2, 1_000, 1);
        let case = Case {
            class: Class::AllReduce,
            algorithm: None,
            data_type: DataType::I64,
            op: Some(ReduceOp::Sum),
            root: None,
            in_place: true,
            count: 10,
            number: 3,
        };
        let error = case.run(&Communicator::alone(), &pools).expect_err("wrong");
        let text = error.to_string();
        assert!(error.collective().is_none());
        assert!(text.starts_with("rank 0 of 1, case 3: all_reduce of 10 i64, sum"), "{text}");
        assert!(text.contains("element 0 of the output is"), "{text}");
    }

    #[test]
    fn an_element_beyond_the_output_is_found() {
        let (pools, alone) = (Pools::new(1, 1_000, 1), Communicator::alone());
        let case = Case {
            class: Class::Barrier,
            algorithm: None,
            data_type: DataType::U8,
            op: None,
            root: None,
            in_place: false,
            count: 0,
            number: 0,
        };
        let pool = pools.get::<u8>();
        let bound = Bound::new(&case, &alone, &pool);
        for at in [0, GUARD - 1, GUARD + 4, 2 * GUARD + 3] {
            let mut output = bound.output(4);
            assert!(bound.check(&mut output, 0, &[u8::UNTOUCHED; 4]).is_ok());
            output.0[at] = 1;
            assert!(bound.check(&mut output, 0, &[]).is_err(), "{at}");
        }
    }
}
