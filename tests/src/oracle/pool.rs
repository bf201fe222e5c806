//! Inputs of all ranks and the results of all operations over them, computed once and cut from.

use std::any::Any;
use std::sync::{Arc, OnceLock};

use onepath_collectives::{DataType, ReduceOp};

use super::{Sample, hash};

/// Inputs and results of one type.
#[derive(Debug)]
pub struct Pool<T> {
    /// By whether they are for products, then by rank.
    inputs: [Vec<Vec<T>>; 2],
    /// By operation.
    reduced: Vec<Vec<T>>,
}

const fn for_products(op: Option<ReduceOp>) -> bool {
    matches!(op, Some(ReduceOp::Prod))
}

impl<T: Sample> Pool<T> {
    /// `length` elements of each of `ranks` ranks.
    pub fn new(ranks: usize, length: usize, seed: u64) -> Self {
        let input = |prod: bool, rank: usize| -> Vec<T> {
            let start = hash(seed ^ hash((rank * 2 + usize::from(prod)) as u64));
            (0..length).map(|i| T::exact(prod, hash(start.wrapping_add(i as u64)))).collect()
        };
        let inputs = |prod| (0..ranks).map(|rank| input(prod, rank)).collect::<Vec<_>>();
        let inputs = [inputs(false), inputs(true)];
        let over = |op| &inputs[usize::from(for_products(Some(op)))];
        let reduced = ReduceOp::ALL.map(|op| reduce(op, over(op)));
        Self { reduced: reduced.into(), inputs }
    }

    /// What `rank` contributes to a call with this operation.
    pub fn input(&self, op: Option<ReduceOp>, rank: usize) -> &[T] {
        &self.inputs[usize::from(for_products(op))][rank]
    }

    /// The reduction of all ranks' inputs.
    pub fn reduced(&self, op: ReduceOp) -> &[T] {
        &self.reduced[op as usize]
    }
}

/// In rank order, one element at a time.
fn reduce<T: Sample>(op: ReduceOp, inputs: &[Vec<T>]) -> Vec<T> {
    (0..inputs[0].len())
        .map(|i| {
            let first = inputs[0][i];
            let result = inputs[1..].iter().fold(first, |sum, input| T::combine(op, sum, input[i]));
            if op == ReduceOp::Avg { result.divide(inputs.len()) } else { result }
        })
        .collect()
}

/// Pools of all types, each made when it is first asked for.
#[derive(Debug)]
pub struct Pools {
    ranks: usize,
    length: usize,
    seed: u64,
    made: [OnceLock<Arc<dyn Any + Send + Sync>>; DataType::ALL.len()],
}

impl Pools {
    /// For `ranks` ranks and calls on up to `length` elements a rank.
    pub fn new(ranks: usize, length: usize, seed: u64) -> Self {
        Self { ranks, length, seed, made: [const { OnceLock::new() }; DataType::ALL.len()] }
    }

    /// Elements a rank.
    pub fn length(&self) -> usize {
        self.length
    }

    /// The pool of one type.
    pub fn get<T: Sample>(&self) -> Arc<Pool<T>> {
        let make = || -> Arc<dyn Any + Send + Sync> {
            Arc::new(Pool::<T>::new(self.ranks, self.length, self.seed))
        };
        let pool = Arc::clone(self.made[T::DATA_TYPE as usize].get_or_init(make));
        pool.downcast().unwrap_or_else(|_| unreachable!("made with the type of its place"))
    }
}
