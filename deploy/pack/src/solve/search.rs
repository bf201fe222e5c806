//! The search of this crate: a greedy placement, prices, and an exhaustive search that they lead.

use super::back_end::{BackEnd, Found, Stage, Unfit};
use super::capacity;
use super::columns::{Dual, Kinds, prices};
use super::eject::Eject;
use super::losses::{Losses, Outcome};
use super::model::Model;
use super::proof::Proof;
use super::refill::refill;
use super::room::Room;
use crate::check::check;
use crate::placement::Placement;
use crate::score::Goal;

/// Needs nothing beyond this crate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Search;

/// Spots times offers of models that are written down as a whole.
const MOST_OFFERS: usize = 400_000;
/// Spots of such a model.
const MOST_SPOTS: usize = 256;

/// As [`BackEnd::solve`]; it applies to everything.
pub(super) fn find(stage: &Stage<'_>) -> Found {
    let mut hunt = Hunt::new(stage);
    hunt.greedy();
    hunt.capacity();
    hunt.eject(1_000);
    if !hunt.done() && stage.problem.nodes().len() <= MOST_SPOTS {
        hunt.exact();
    }
    hunt.found()
}

/// What is known of a stage.
struct Hunt<'s, 'p> {
    stage: &'s Stage<'p>,
    best: Option<Placement>,
    value: u32,
    bound: u32,
    proof: Proof,
    steps: u64,
}

impl<'s, 'p> Hunt<'s, 'p> {
    fn new(stage: &'s Stage<'p>) -> Self {
        let proof = Proof::default();
        Self { stage, best: None, value: stage.value, bound: stage.bound, proof, steps: 0 }
    }

    fn done(&self) -> bool {
        self.value == self.bound
    }

    fn now(&self) -> &Placement {
        self.best.as_ref().unwrap_or(self.stage.incumbent)
    }

    /// Keeps a placement of the active pods if it is allowed and better.
    fn offer(&mut self, placement: Placement) -> bool {
        let Ok(score) = check(self.stage.problem, &placement) else { return false };
        let value = score.value(self.stage.tier, self.stage.goal);
        let better = self.stage.keeps(&score) && self.stage.is_better(value, self.value);
        if better {
            (self.best, self.value) = (Some(placement), value);
        }
        better
    }

    /// Places whatever fits without a move.
    fn greedy(&mut self) {
        let stage = self.stage;
        let mut room = Room::of(stage.problem, stage.incumbent, |pod| stage.is_active(pod));
        refill(&mut room, |pod| stage.is_active(pod));
        self.offer(room.into_placement());
    }

    fn capacity(&mut self) {
        if self.stage.goal == Goal::Placed
            && !self.done()
            && let Some((bound, weights)) = capacity::best(self.stage)
        {
            self.take_bound(bound, || Proof::Capacity { weights });
        }
    }

    /// Places more by ejections.
    fn eject(&mut self, rounds: usize) {
        if self.stage.goal != Goal::Placed {
            return;
        }
        let deadline = self.stage.deadline;
        let mut eject = Eject::new(self.stage, self.now());
        while !self.done() && !deadline.passed() {
            let Some(placement) = eject.run(rounds, &|| deadline.passed()) else { return };
            self.offer(placement);
        }
    }

    /// Target by target from the bound of prices down to what is known.
    fn exact(&mut self) {
        let model = Model::of(self.stage);
        if model.spots.iter().map(|spot| spot.offers.len()).sum::<usize>() > MOST_OFFERS {
            return;
        }
        let kinds = Kinds::of(&model);
        let known = model.worth(self.value);
        let start = model.patterns(self.now());
        let Some(dual) = prices(&model, &kinds, &start, known, self.stage.deadline) else { return };
        self.take_bound(model.value(dual.worth()), || {
            Proof::Prices(dual.proof(self.stage, &model))
        });
        while !self.done() && !self.stage.deadline.passed() {
            if !self.target(&model, &kinds, &dual) {
                return;
            }
        }
    }

    /// Looks for a placement as good as the bound; false if that could not be decided.
    fn target(&mut self, model: &Model<'_>, kinds: &Kinds, dual: &Dual) -> bool {
        let target = model.worth(self.bound);
        let Some(mut losses) = Losses::new(model, kinds, dual, target, self.stage.seed) else {
            return false;
        };
        let deadline = self.stage.deadline;
        let outcome = losses.run(u64::MAX / 2, &|| deadline.passed());
        self.steps += losses.steps;
        match outcome {
            Outcome::Found(patterns) => self.offer(model.placement(&patterns)),
            Outcome::None => {
                let (solver, steps, seed) = (Search.name().to_owned(), self.steps, self.stage.seed);
                let proof = || Proof::Exhausted { solver, steps, seed };
                self.take_bound(model.value(target - 1), proof);
                true
            }
            Outcome::GaveUp => false,
        }
    }

    fn take_bound(&mut self, bound: u32, proof: impl FnOnce() -> Proof) {
        if self.stage.is_better(self.bound, bound) {
            (self.bound, self.proof) = (bound, proof());
        }
    }

    fn found(self) -> Found {
        Found { placement: self.best, bound: self.bound, proof: self.proof }
    }
}

impl BackEnd for Search {
    fn name(&self) -> &'static str {
        "search"
    }

    fn solve(&mut self, stage: &Stage<'_>) -> Result<Found, Unfit> {
        Ok(find(stage))
    }
}
