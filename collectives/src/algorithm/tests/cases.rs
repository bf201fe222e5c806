use onepath_topology::Rank;
use proptest::prelude::*;

use super::super::{Algorithm, Call, Class, Collective, fits};
use super::interpreter::{Node, Schedule, World};
use super::oracle::{self, Kernel};
use super::{check, plans, world};

/// What an output holds before a call.
const POISON: u8 = 0x5A;

/// A call of all ranks.
#[derive(Clone, Debug)]
struct Case {
    n: usize,
    class: Class,
    algorithm: Algorithm,
    root: usize,
    count: usize,
    /// A bit for each rank.
    in_place: u32,
    finish: bool,
    kernel: Kernel,
    /// In elements.
    scratch_limit: usize,
    seed: u64,
}

impl Case {
    fn call(&self) -> Call {
        let root = Rank::from_index(self.root % self.n);
        let collective = match self.class {
            Class::AllReduce => Collective::AllReduce,
            Class::ReduceScatter => Collective::ReduceScatter,
            Class::AllGather => Collective::AllGather,
            Class::Broadcast => Collective::Broadcast { root },
            Class::Reduce => Collective::Reduce { root },
            Class::AllToAll => Collective::AllToAll,
            Class::Barrier => Collective::Barrier,
        };
        Call {
            collective,
            count: self.count,
            element_bytes: self.kernel.element_bytes(),
            in_place: false,
            finish: self.finish && self.reduces(),
        }
    }

    fn reduces(&self) -> bool {
        matches!(self.class, Class::AllReduce | Class::ReduceScatter | Class::Reduce)
    }

    /// The case with nobody in place if the scratch does not suffice for it.
    fn fitted(mut self) -> Self {
        let call = Call { in_place: true, ..self.call() };
        if !fits(&call, world(self.n), self.scratch_limit * self.kernel.element_bytes()) {
            self.in_place = 0;
        }
        self
    }

    fn is_in_place(&self, rank: usize) -> bool {
        self.in_place >> rank & 1 == 1
    }

    fn inputs(&self) -> Vec<Vec<u8>> {
        let elements = oracle::elements(&self.call(), self.n).0;
        (0..self.n).map(|rank| self.kernel.values(rank, elements, self.seed)).collect()
    }

    /// Input and output of a rank before the call, and where in the output its result will be.
    fn memory(&self, rank: usize, input: &[u8]) -> ([Vec<u8>; 2], usize) {
        let call = self.call();
        let (from, to) = oracle::elements(&call, self.n);
        let (from, to) = (from * call.element_bytes, to * call.element_bytes);
        if !self.is_in_place(rank) {
            return ([input.to_vec(), vec![POISON; to]], 0);
        }
        let segment = rank * self.count * call.element_bytes;
        let mut buffer = vec![POISON; from.max(to)];
        let at = if self.class == Class::AllGather { segment } else { 0 };
        buffer[at..at + from].copy_from_slice(input);
        let result_at = if self.class == Class::ReduceScatter { segment } else { 0 };
        ([Vec::new(), buffer], result_at)
    }

    /// Checks the plans, runs them, compares with the oracle; returns the results.
    fn run(&self, schedule: Schedule) -> Vec<Vec<u8>> {
        let call = self.call();
        let limit = self.scratch_limit * call.element_bytes;
        let plans = plans(&call, self.algorithm, self.n, self.in_place, limit);
        let inputs = self.inputs();
        let lengths = |rank: usize| self.memory(rank, &inputs[rank]).0.map(|buffer| buffer.len());
        let limit = if self.class == Class::Barrier { 17 } else { limit };
        check::check(&plans, &lengths, limit);
        let node = |(rank, plan)| {
            let [input, output] = self.memory(rank, &inputs[rank]).0;
            Node::new(plan, input, output)
        };
        let nodes = plans.into_iter().enumerate().map(node).collect();
        let mut world = World::new(nodes, self.kernel, schedule);
        world.run();
        let ends = world.nodes.into_iter().map(|node| node.result.expect("the rank has ended"));
        ends.enumerate().map(|(rank, end)| self.compare(rank, &inputs, &end)).collect()
    }

    /// Checks a rank's memory at the end and returns its result.
    fn compare(&self, rank: usize, inputs: &[Vec<u8>], end: &[Vec<u8>; 2]) -> Vec<u8> {
        let ([input, mut output], at) = self.memory(rank, &inputs[rank]);
        assert_eq!(end[0], input, "the input of rank {rank} was changed");
        let Some(expected) = oracle::expected(&self.call(), self.kernel, inputs, rank) else {
            assert_eq!(end[1], output, "rank {rank} gets no result, but its output was changed");
            return Vec::new();
        };
        let result = end[1][at..at + expected.len()].to_vec();
        // The oracle's order is another than the algorithm's, which matters to this kernel.
        let comparable = !(self.reduces() && self.kernel == Kernel::Mixed);
        let near = !comparable || oracle::is_near(self.kernel, &expected, &result);
        assert!(near, "the result of rank {rank} is wrong");
        output[at..at + result.len()].copy_from_slice(&result);
        assert_eq!(end[1], output, "rank {rank} changed its output outside of the result");
        result
    }
}

/// Schedules of different kinds from one seed; chunks of `chunk` elements.
fn schedules(case: &Case, chunk: usize) -> [Schedule; 3] {
    let chunk_bytes = chunk * case.kernel.element_bytes();
    let one = |seed, on_the_way, unfair| Schedule { seed, chunk_bytes, on_the_way, unfair };
    [
        one(case.seed, 0, case.seed.is_multiple_of(2)),
        one(case.seed ^ 1, 1, case.seed.is_multiple_of(3)),
        one(case.seed ^ 2, 5, true),
    ]
}

/// Runs a case under several schedules: the results are right and always the same bits.
fn prove(case: &Case, chunk: usize) {
    let [first, second, third] = schedules(case, chunk);
    let results = case.run(first);
    assert_eq!(results, case.run(second), "the result depends on the timing");
    let swapped = Case { in_place: !case.in_place, ..case.clone() }.fitted();
    assert_eq!(results, swapped.run(third), "the result depends on the timing or the buffers");
    if case.class == Class::AllReduce {
        assert!(results.iter().all(|r| *r == results[0]), "ranks have different results");
    }
}

const KERNELS: [Kernel; 3] = [Kernel::Sum, Kernel::Float, Kernel::Mixed];

/// Few elements are allowed only where few are moved: else plans have thousands of flows.
fn scratch_limits(count: usize) -> &'static [usize] {
    if count > 40 { &[0, 60, 1_000, 1 << 20] } else { &[0, 1, 2, 3, 7, 60, 1_000, 1 << 20] }
}

fn cases() -> impl Strategy<Value = Case> {
    let counts = prop_oneof![0_usize..=40, 0_usize..=300];
    let shape = (1_usize..=17, 0..Class::ALL.len(), 0..Algorithm::ALL.len(), 0_usize..17, counts);
    let modes = prop_oneof![Just(0), Just(u32::MAX), any::<u32>()];
    let rest = (modes, any::<bool>(), 0..KERNELS.len(), 0_usize..8, any::<u64>());
    (shape, rest).prop_map(|(shape, (in_place, finish, kernel, scratch, seed))| {
        let (n, class, algorithm, root, count) = shape;
        let limits = scratch_limits(count);
        Case {
            n,
            class: Class::ALL[class],
            algorithm: Algorithm::ALL[algorithm],
            root,
            count,
            in_place,
            finish,
            kernel: KERNELS[kernel],
            scratch_limit: limits[scratch % limits.len()],
            seed,
        }
        .fitted()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn every_call_ends_with_the_right_bits_under_any_schedule(
        case in cases(),
        chunk in 1_usize..=40,
    ) {
        prove(&case, chunk);
    }
}

/// Each class with each algorithm for `n` ranks, with small counts and a scratch limit.
fn prove_all(n: usize, counts: &[usize], scratch_limit: usize) {
    for class in Class::ALL {
        for algorithm in Algorithm::ALL {
            for (index, &count) in counts.iter().enumerate() {
                let case = Case {
                    n,
                    class,
                    algorithm,
                    root: index * 5 + 2,
                    count,
                    in_place: 0,
                    finish: index % 2 == 0,
                    kernel: KERNELS[(index + n) % KERNELS.len()],
                    scratch_limit,
                    seed: (n * 1_000 + index) as u64,
                };
                prove(&case.fitted(), 3);
            }
        }
    }
}

#[test]
fn every_collective_by_every_algorithm_is_right_for_one_to_nine_ranks() {
    for n in 1..=9 {
        prove_all(n, &[0, 1, n - 1, n, n + 1, 31], 1 << 20);
    }
}

#[test]
fn every_collective_by_every_algorithm_is_right_with_two_elements_of_scratch() {
    for n in 1..=9 {
        prove_all(n, &[1, 5, 13], 2);
    }
}

#[test]
fn every_collective_by_every_algorithm_is_right_without_scratch() {
    for n in 1..=9 {
        prove_all(n, &[1, 13], 0);
    }
}
