//! What is measured once: a collective by a scheme under a condition, with a seed.

use std::fmt;
use std::time::Duration;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::collective::Collective;
use super::ideal::OddSpine;
use super::places::Order;
use super::scheme::Scheme;
use crate::lab::fabric::{FabricSpec, Rate, Spine};

/// What the fabric is like.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Condition {
    /// As it was asked for
    Healthy,
    /// One spine has half of its rate from the beginning; nobody is told
    HalfRate,
    /// One spine swallows everything from the middle on; nobody is told
    BlackHole,
    /// The uplinks of a leaf have half the rate of its hosts
    Oversubscribed,
}

/// One run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Cell {
    pub(crate) collective: Collective,
    pub(crate) scheme: Scheme,
    pub(crate) condition: Condition,
    pub(crate) order: Order,
    pub(crate) seed: u32,
    /// Of a rank's buffer, at most.
    pub(crate) bytes: usize,
    /// The same call so many times before the one that is timed.
    pub(crate) warm_ups: u32,
}

impl Condition {
    /// Its name in results and options.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::HalfRate => "half-rate",
            Self::BlackHole => "black-hole",
            Self::Oversubscribed => "oversubscribed",
        }
    }

    /// How many times the ideal time a run may take before it is given up. What does not get past
    /// a black hole never does; the rest may be as unlucky as hashes are.
    pub(crate) const fn patience(self) -> f64 {
        match self {
            Self::BlackHole => 4.0,
            Self::Healthy | Self::HalfRate | Self::Oversubscribed => 12.0,
        }
    }

    /// What is added to that: small messages have other costs, and where nothing is wrong with the
    /// fabric only a rank that does not get the processor takes so long.
    pub(crate) const fn least_limit(self) -> Duration {
        match self {
            Self::Healthy => Duration::from_secs(30),
            Self::HalfRate | Self::BlackHole | Self::Oversubscribed => Duration::from_secs(5),
        }
    }
}

impl Cell {
    /// The spine that is worse than the others, decided by the seed.
    pub(crate) fn odd_spine(&self, spec: &FabricSpec) -> Option<OddSpine> {
        let spine = Spine(self.seed % spec.spine_count() as u32);
        match self.condition {
            Condition::Healthy | Condition::Oversubscribed => None,
            Condition::HalfRate => {
                let half = Rate::bits(spec.uplink_rate().get() / 2);
                Some(OddSpine { spine, rate: Some(half) })
            }
            Condition::BlackHole => Some(OddSpine { spine, rate: None }),
        }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { collective, scheme, condition, order, seed, .. } = self;
        let (condition, order) = (condition.name(), order.name());
        write!(f, "{collective} {scheme} {condition} {order} seed {seed}")?;
        match self.warm_ups {
            0 => Ok(()),
            calls => write!(f, " after {calls} calls"),
        }
    }
}
