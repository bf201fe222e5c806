//! A rank that goes away ends the step of all others, in any group.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use onepath_collectives::pipeline::{Overlap, PipelineError, Sgd};
use onepath_topology::pipeline::schedule::ScheduleKind::{Interleaved, OneForwardOneBackward};

use crate::Case;

/// Far below the limit of a call, a minute.
const SOON: Duration = Duration::from_secs(20);

#[test]
fn ranks_of_all_groups_end_with_an_error_when_one_leaves() {
    for (kind, virtual_stages) in [(OneForwardOneBackward, 1), (Interleaved, 2)] {
        for overlap in [Overlap::Both, Overlap::None] {
            let case = Case { overlap, ..Case::new(kind, 2, virtual_stages, 2) };
            let finished = Barrier::new(4);
            let errors = case.run(|links| {
                let leaves = (links.pipeline.rank().index(), links.data.rank().index()) == (1, 0);
                let schedule = case.schedule();
                let mut pipeline = case.pipeline(&schedule, links, Sgd { rate: 0.1 });
                for _ in 0..2 {
                    pipeline.step().expect("all ranks are there");
                }
                pipeline.finish().expect("all ranks are there");
                finished.wait();
                if leaves {
                    return None;
                }
                let start = Instant::now();
                let error = pipeline.step().map(drop).expect_err("a rank is missing");
                assert!(start.elapsed() < SOON, "{error} after {:?}", start.elapsed());
                // It stays so.
                assert_eq!(pipeline.step().map(drop), Err(error.clone()));
                assert_eq!(pipeline.finish(), Err(error.clone()));
                Some(error)
            });
            let errors: Vec<PipelineError> = errors.into_iter().flatten().flatten().collect();
            assert_eq!(errors.len(), 3);
            assert!(errors.iter().all(|error| matches!(error, PipelineError::Collective(_))));
        }
    }
}
