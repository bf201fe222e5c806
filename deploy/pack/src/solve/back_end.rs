//! What an exact solver must do: one stage.

use super::deadline::Deadline;
use super::proof::Proof;
use crate::placement::Placement;
use crate::problem::{Mobility, Pod, PodId, Problem, Tier};
use crate::score::{Goal, Score};

/// What an earlier stage found, to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frozen {
    /// Whose tier.
    pub tier: Tier,
    /// Which value.
    pub goal: Goal,
    /// The value.
    pub value: u32,
    /// It cannot be better, so `==`; if not, as good or better.
    pub proved: bool,
}

/// One stage: make one value as good as can be, with those of earlier stages kept.
///
/// Only [active](Self::is_active) pods count. All others are thought away; they come back as far as
/// they fit in later stages.
#[derive(Clone, Debug)]
pub struct Stage<'a> {
    /// What is to be placed where.
    pub problem: &'a Problem,
    /// Whose value is wanted.
    pub tier: Tier,
    /// Most placed, or fewest disturbed.
    pub goal: Goal,
    /// The values of earlier stages, in their order.
    pub frozen: &'a [Frozen],
    /// By pod, whether it takes part: it is of this tier or one of an earlier stage, or of a gang
    /// with a pod that must stay.
    pub active: &'a [bool],
    /// Allowed, and keeps what is frozen; the hint.
    pub incumbent: &'a Placement,
    /// The wanted value of the incumbent.
    pub value: u32,
    /// What is known already: no more placed, or no fewer disturbed.
    pub bound: u32,
    /// When to stop.
    pub deadline: &'a Deadline,
    /// Of whatever is random.
    pub seed: u64,
    /// Threads that may be used.
    pub threads: usize,
}

impl Frozen {
    /// Whether a score is as good or better.
    pub fn kept_by(&self, score: &Score) -> bool {
        let value = score.value(self.tier, self.goal);
        match self.goal {
            Goal::Placed => value >= self.value,
            Goal::Disturbed => value <= self.value,
        }
    }
}

impl Stage<'_> {
    /// Whether a pod takes part in this stage.
    pub fn is_active(&self, pod: PodId) -> bool {
        self.active[pod.index()]
    }

    /// Whether a value is better than another one for this goal.
    pub fn is_better(&self, value: u32, than: u32) -> bool {
        match self.goal {
            Goal::Placed => value > than,
            Goal::Disturbed => value < than,
        }
    }

    /// Whether a score keeps the frozen values.
    pub fn keeps(&self, score: &Score) -> bool {
        self.frozen.iter().all(|frozen| frozen.kept_by(score))
    }
}

/// What came of a stage.
#[derive(Clone, Debug)]
pub struct Found {
    /// A better placement than the incumbent, of the active pods (others are not looked at).
    pub placement: Option<Placement>,
    /// The best bound that was proved: at least as good as the stage's.
    pub bound: u32,
    /// How it was proved, when it is better than the stage's.
    pub proof: Proof,
}

/// A stage that a back end cannot do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// The model has no such rule.
    #[error("{back_end}: knows no {what}")]
    Rule {
        /// Which back end.
        back_end: &'static str,
        /// What it does not know.
        what: &'static str,
    },
    /// Too large to be written down.
    #[error("{back_end}: {size} {what}, at most {most}")]
    Size {
        /// Which back end.
        back_end: &'static str,
        /// Of what.
        what: &'static str,
        /// How many there are.
        size: usize,
        /// How many it takes.
        most: usize,
    },
    /// A library that is not there, or that failed.
    #[error("{back_end}: {reason}")]
    Library {
        /// Which back end.
        back_end: &'static str,
        /// What it said.
        reason: String,
    },
}

/// One exact solver.
///
/// Whatever it returns is checked by [`crate::check`], its bounds aside.
pub trait BackEnd {
    /// As it is named in certificates.
    fn name(&self) -> &'static str;

    /// Solves one stage, or says why it cannot; another back end does it then, but where a library
    /// failed.
    fn solve(&mut self, stage: &Stage<'_>) -> Result<Found, Unfit>;
}

/// By pod, whether it takes part while tiers down to `deepest` do.
pub(super) fn active(problem: &Problem, deepest: Tier) -> Vec<bool> {
    let fixed = |pod: PodId| {
        let pod = &problem.pods()[pod.index()];
        pod.runs_on.is_some() && pod.mobility == Mobility::Fixed
    };
    let pinned: Vec<bool> =
        problem.gangs().iter().map(|gang| gang.pods.iter().any(|pod| fixed(*pod))).collect();
    let takes_part = |(id, pod): (PodId, &Pod)| {
        pod.tier <= deepest || fixed(id) || pod.gang.is_some_and(|gang| pinned[gang.index()])
    };
    problem.numbered_pods().map(takes_part).collect()
}

/// What is known of a stage without looking.
pub(super) fn trivial(problem: &Problem, tier: Tier, goal: Goal) -> (u32, Proof) {
    match goal {
        Goal::Placed => {
            let pods = problem.pods().iter().filter(|pod| pod.tier == tier).count();
            (pods as u32, Proof::AllPlaced)
        }
        Goal::Disturbed => (0, Proof::NothingDisturbed),
    }
}
