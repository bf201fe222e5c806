//! What a placement is worth, and the order of objectives.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use crate::problem::Tier;

/// The order in which values are weighed against each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Objective {
    /// Tier by tier, the most urgent first: most pods placed, then fewest disturbed. So no more of
    /// an urgent tier is disturbed for one less urgent (the paper, section 3).
    #[default]
    TierByTier,
    /// Most pods placed tier by tier, and only then fewest disturbed tier by tier: places more
    /// where moving pods of an urgent tier makes room.
    PlacementFirst,
}

/// One tier's part of a score.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TierScore {
    /// Its pods that have a node.
    pub placed: u32,
    /// Its running pods that do not stay; all running pods of a gang when one of them does not.
    pub disturbed: u32,
}

/// The worth of a placement: one entry a tier, the most urgent first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Score {
    /// By tier.
    pub tiers: Vec<TierScore>,
}

/// What is decided by one stage of solving.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Goal {
    /// Most pods of the tier placed.
    Placed,
    /// Fewest running pods of the tier disturbed.
    Disturbed,
}

impl Objective {
    /// The stages in their order.
    pub fn stages(self, tiers: usize) -> Vec<(Tier, Goal)> {
        let tiers = (0..tiers as u32).map(Tier);
        match self {
            Self::TierByTier => {
                tiers.flat_map(|tier| [(tier, Goal::Placed), (tier, Goal::Disturbed)]).collect()
            }
            Self::PlacementFirst => {
                let placed = tiers.clone().map(|tier| (tier, Goal::Placed));
                placed.chain(tiers.map(|tier| (tier, Goal::Disturbed))).collect()
            }
        }
    }

    /// Greater is better.
    pub fn compare(self, a: &Score, b: &Score) -> Ordering {
        for (tier, goal) in self.stages(a.tiers.len()) {
            let order = match goal {
                Goal::Placed => a.value(tier, goal).cmp(&b.value(tier, goal)),
                Goal::Disturbed => b.value(tier, goal).cmp(&a.value(tier, goal)),
            };
            if order.is_ne() {
                return order;
            }
        }
        Ordering::Equal
    }
}

impl Score {
    /// What a stage is about.
    pub fn value(&self, tier: Tier, goal: Goal) -> u32 {
        let tier = self.tiers[tier.index()];
        match goal {
            Goal::Placed => tier.placed,
            Goal::Disturbed => tier.disturbed,
        }
    }
}
