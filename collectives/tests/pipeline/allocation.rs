//! Steps allocate nothing.

use onepath_collectives::pipeline::{Adam, Overlap};
use onepath_topology::pipeline::schedule::ScheduleKind::{Interleaved, OneForwardOneBackward};

use crate::{Case, counting};

#[test]
fn a_step_allocates_nothing_in_the_steady_state() {
    for (kind, virtual_stages) in [(OneForwardOneBackward, 1), (Interleaved, 2)] {
        for overlap in [Overlap::Both, Overlap::None] {
            let case = Case { overlap, ..Case::new(kind, 2, virtual_stages, 2) };
            let counts = case.run(|links| {
                let schedule = case.schedule();
                let mut pipeline = case.pipeline(&schedule, links, Adam::new(0.01));
                let mut steps = |count| {
                    let before = counting::allocations();
                    for _ in 0..count {
                        pipeline.step().expect("all ranks are there");
                    }
                    counting::allocations() - before
                };
                let counts = (steps(10), steps(25));
                pipeline.finish().expect("all ranks are there");
                counts
            });
            for (first, later) in counts.into_iter().flatten() {
                assert!(first > 0, "the allocator does not count");
                assert_eq!(later, 0, "{case:?}");
            }
        }
    }
}
