//! What came of solving.

use serde::{Deserialize, Serialize};

use super::proof::Proof;
use crate::placement::Placement;
use crate::score::{Goal, Score};

/// How sure a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// It cannot be better.
    Optimal,
    /// Better than at the start; it may be better still.
    Feasible,
    /// Not better than at the start, and nothing proved: time ran out.
    TimedOut,
}

/// One stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageReport {
    /// Whose tier: 0 the most urgent.
    pub tier: u32,
    /// What was to be good.
    pub goal: Goal,
    /// What was found.
    pub value: u32,
    /// What it cannot be better than, given the values of the earlier stages.
    pub bound: u32,
    /// Optimal when both are equal.
    pub status: Status,
    /// Why the bound holds.
    pub proof: Proof,
    /// Who solved it; none where nothing was left to be solved.
    pub back_end: Option<String>,
}

/// The best placement that was found, and how good it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The placement.
    pub placement: Placement,
    /// Its score, by [`crate::check`].
    pub score: Score,
    /// The score of the best start.
    pub start: Score,
    /// By stage, in their order.
    pub stages: Vec<StageReport>,
    /// Optimal if all stages are; feasible if better than the best start.
    pub status: Status,
    /// The back end that was asked for.
    pub back_end: String,
    /// The seed.
    pub seed: u64,
}
