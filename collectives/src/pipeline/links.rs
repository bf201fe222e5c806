//! The communicators of a rank, moved together.
//!
//! Progress is weak (see [`Handle`](crate::Handle)), and ranks that wait in one group keep ranks of
//! another group waiting. So whoever waits for one communicator moves both.

use std::time::Duration;

use crate::communicator::owned::Owned;
use crate::{CollectiveError, Communicator};

/// The longest sleep while the other communicator may have something to do: nothing wakes for both.
const NAP: Duration = Duration::from_micros(500);

/// Which group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Group {
    /// The stages.
    Pipeline,
    /// The replicas of this stage.
    Data,
}

/// The groups that this rank is in.
#[derive(Debug)]
pub struct Links {
    /// The stages of this replica; its rank r is stage r.
    pub pipeline: Communicator,
    /// The replicas of this stage.
    pub data: Communicator,
}

/// Moves transfers and reductions while the caller computes.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a>(pub(super) &'a Links);

impl Progress<'_> {
    /// A step of everything in flight; cheap. A failure shows when something is next waited for.
    pub fn step(&self) {
        for communicator in [&self.0.pipeline, &self.0.data] {
            if communicator.world_size().get() > 1 {
                // The error is kept by the communicator, and returned by its next call.
                let _ = communicator.advance_beside();
            }
        }
    }
}

impl Links {
    pub(super) fn group(&self, group: Group) -> &Communicator {
        match group {
            Group::Pipeline => &self.pipeline,
            Group::Data => &self.data,
        }
    }

    /// Waits until no call uses this memory.
    pub(super) fn settle(&self, group: Group, memory: &mut Owned) -> Result<(), CollectiveError> {
        let own = self.group(group);
        if memory.settle(own)? {
            return Ok(());
        }
        let other = self.group(match group {
            Group::Pipeline => Group::Data,
            Group::Data => Group::Pipeline,
        });
        let together = other.world_size().get() > 1;
        let mut idle = own.idle();
        loop {
            let mut moved = own.advance()?;
            if together {
                moved |= other.advance()?;
            }
            if memory.settle(own)? {
                return Ok(());
            }
            if moved {
                idle.reset();
                continue;
            }
            let Some(limit) = idle.next() else { continue };
            if together {
                other.rest(Duration::ZERO)?;
            }
            own.rest(if together { limit.min(NAP) } else { limit })?;
        }
    }
}
