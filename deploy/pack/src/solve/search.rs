//! The search of this crate: a greedy placement, prices, and an exhaustive search that they lead.

use super::back_end::{BackEnd, Found, Stage, Unfit};
use super::capacity;
use super::clearing::seat_gangs;
use super::columns::{Dual, Kinds, prices};
use super::eject::Eject;
use super::losses::{Losses, Outcome};
use super::model::Model;
use super::near::Near;
use super::proof::Proof;
use super::refill::refill;
use super::room::Room;
use crate::check::check;
use crate::placement::Placement;
use crate::score::Goal;

/// Needs nothing beyond this crate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Search;

/// Rounds of ejections without a pod more before something else is tried.
const EJECTIONS: usize = 1_000;
/// Steps of the first try of the exhaustive search.
const EARLY_STEPS: u64 = 200_000;
/// Neighbourhoods in a row without anything better in between.
const FEW_MISSES: usize = 60;
/// Neighbourhoods in a row without anything better before the search ends.
const MOST_MISSES: usize = 2_000;
/// Spots times offers of models that are written down as a whole.
const MOST_OFFERS: usize = 400_000;
/// Spots of such a model.
const MOST_SPOTS: usize = 256;

/// As [`BackEnd::solve`]; it applies to everything.
pub(super) fn find(stage: &Stage<'_>) -> Found {
    let mut hunt = Hunt::new(stage);
    hunt.greedy();
    hunt.capacity();
    hunt.gangs();
    hunt.eject(EJECTIONS);
    hunt.go_home();
    if !hunt.done() && stage.problem.nodes().len() <= MOST_SPOTS {
        hunt.exact();
    }
    hunt.near(MOST_MISSES);
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

    /// Seats gangs that wait.
    fn gangs(&mut self) {
        let deadline = self.stage.deadline;
        if self.stage.goal == Goal::Placed
            && !self.done()
            && let Some(seated) = seat_gangs(self.stage, self.now(), &|| deadline.passed())
        {
            self.offer(seated);
        }
    }

    /// Pods that were moved without need go back where they run.
    fn go_home(&mut self) {
        let stage = self.stage;
        if self.best.is_none() {
            return;
        }
        let mut room = Room::of(stage.problem, self.now(), |pod| stage.is_active(pod));
        for (id, pod) in stage.problem.numbered_pods() {
            let moved = room.placement().node(id).is_some_and(|node| pod.runs_on != Some(node));
            if let Some(home) = pod.runs_on
                && moved
            {
                let away = room.take(id);
                let back = if room.fits(id, home) { Some(home) } else { away };
                if let Some(node) = back {
                    room.put(id, node);
                }
            }
        }
        let home = room.into_placement();
        if !self.offer(home.clone()) && stage.goal == Goal::Placed {
            self.replace_equal(home);
        }
    }

    /// Keeps a placement that is as good in this stage, for the sake of later ones.
    fn replace_equal(&mut self, placement: Placement) {
        let stage = self.stage;
        let Ok(score) = check(stage.problem, &placement) else { return };
        let same = score.value(stage.tier, stage.goal) == self.value;
        if self.best.is_some() && same && stage.keeps(&score) {
            self.best = Some(placement);
        }
    }

    /// Frees a few nodes again and again.
    fn near(&mut self, most_misses: usize) {
        let mut near = Near::new(self.stage);
        let mut misses = 0;
        while !self.done() && !self.stage.deadline.passed() && misses < most_misses {
            let misplaced = near.misplaced(self.now());
            let found = near.look(self.now(), self.value, &misplaced);
            if found.is_some_and(|found| self.offer(found)) {
                misses = 0;
            } else {
                misses += 1;
                if misses % 32 == 0 {
                    near.widen();
                }
            }
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
        self.near(FEW_MISSES);
        for steps in [EARLY_STEPS, u64::MAX / 2] {
            while !self.done() && !self.stage.deadline.passed() {
                if !self.target(&model, &kinds, &dual, steps) {
                    break;
                }
            }
            self.eject(10 * EJECTIONS);
            self.go_home();
            self.near(FEW_MISSES);
        }
    }

    /// Looks for a placement as good as the bound; false if that could not be decided.
    fn target(&mut self, model: &Model<'_>, kinds: &Kinds, dual: &Dual, steps: u64) -> bool {
        let target = model.worth(self.bound);
        let deadline = self.stage.deadline;
        let stop = || deadline.passed();
        let Some(mut losses) = Losses::new(model, kinds, dual, target, self.stage.seed, &stop)
        else {
            return false;
        };
        let outcome = losses.run(steps, &stop);
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
