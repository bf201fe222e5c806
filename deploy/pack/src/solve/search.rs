//! The search of this crate.

use super::back_end::{BackEnd, Found, Stage, Unfit};
use super::proof::Proof;
use super::refill::refill;
use super::room::Room;

/// Needs nothing beyond this crate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Search;

/// As [`BackEnd::solve`]; it applies to everything.
pub(super) fn find(stage: &Stage<'_>) -> Found {
    let mut room = Room::of(stage.problem, stage.incumbent, |pod| stage.is_active(pod));
    refill(&mut room, |pod| stage.is_active(pod));
    Found { placement: Some(room.into_placement()), bound: stage.bound, proof: Proof::default() }
}

impl BackEnd for Search {
    fn name(&self) -> &'static str {
        "search"
    }

    fn solve(&mut self, stage: &Stage<'_>) -> Result<Found, Unfit> {
        Ok(find(stage))
    }
}
