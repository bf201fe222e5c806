//! Options of `pack bench`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use onepath_pack::instances::large::Size;
use onepath_pack::score::Objective;

use crate::arguments::Format;

/// Options of `pack bench`.
#[derive(Debug, Args)]
pub(crate) struct BenchArguments {
    /// Numbers of nodes
    #[arg(long, value_delimiter = ',', default_value = "4,8,16,32", value_name = "N,...",
        value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) nodes: Vec<u32>,
    /// Numbers of pods for each node
    #[arg(long, value_delimiter = ',', default_value = "4,8", value_name = "N,...",
        value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) pods_per_node: Vec<u32>,
    /// Numbers of priorities
    #[arg(long, value_delimiter = ',', default_value = "4", value_name = "N,...",
        value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) priorities: Vec<u32>,
    /// What all pods ask for, in percent of what all nodes have
    #[arg(long, value_delimiter = ',', default_value = "90,95,100,105", value_name = "PERCENT,...",
        value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) utilisation: Vec<u32>,
    /// Instances of each kind; a kind is one number of each list [default: 6, and 1 large cluster]
    #[arg(long, value_name = "N")]
    pub(crate) instances: Option<usize>,
    /// Large clusters instead, with gangs that are to be placed below one leaf, 16 nodes each
    #[arg(long, value_name = "NODES,PODS,GANGS", value_parser = size,
        conflicts_with_all = ["nodes", "pods_per_node", "priorities", "utilisation"])]
    pub(crate) large: Option<Size>,
    /// The first seed that is tried; those where the default scheduler leaves no pod pending are
    /// passed over
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Processor time of one thread for each instance, in s or ms
    #[arg(long, default_value = "1s", value_parser = duration, value_name = "TIME")]
    pub(crate) budget: Duration,
    /// What counts as better
    #[arg(long, value_enum, default_value_t)]
    pub(crate) objective: ObjectiveName,
    /// Who solves them
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "search",
        value_name = "NAME,..."
    )]
    pub(crate) back_end: Vec<BackEndName>,
    /// Solves them too, and the others are compared with it
    #[arg(long, value_enum, value_name = "NAME")]
    pub(crate) compare: Option<BackEndName>,
    /// libortools.so, or the folder that it is in [default: that of the Python package]
    #[arg(long, env = "ONEPATH_ORTOOLS", value_name = "PATH")]
    pub(crate) ortools: Option<PathBuf>,
    /// In which form the table is printed
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// Who solves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BackEndName {
    /// The search of onepath
    Search,
    /// The constraint solver Pumpkin, for pods without gangs
    Pumpkin,
    /// OR-Tools CP-SAT, from the Python package ortools
    Cpsat,
}

impl BackEndName {
    /// As it is named in answers.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Search => "search",
            Self::Pumpkin => "pumpkin",
            Self::Cpsat => "cpsat",
        }
    }
}

/// What counts as better.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ObjectiveName {
    /// Tier by tier: most pods placed, then fewest disturbed
    #[default]
    TierByTier,
    /// Most pods placed in all tiers, then fewest disturbed
    PlacementFirst,
}

impl From<ObjectiveName> for Objective {
    fn from(name: ObjectiveName) -> Self {
        match name {
            ObjectiveName::TierByTier => Self::TierByTier,
            ObjectiveName::PlacementFirst => Self::PlacementFirst,
        }
    }
}

/// Nodes, pods and gangs.
fn size(text: &str) -> Result<Size, String> {
    let numbers: Result<Vec<u32>, _> = text.split(',').map(str::parse).collect();
    match numbers.as_deref() {
        Ok(&[nodes @ 1..=50_000, pods @ 1..=1_000_000, gangs @ 0..=10_000]) => {
            Ok(Size { nodes, pods, gangs })
        }
        _ => Err(format!("{text:?} is no size, should be like 1000,8000,50")),
    }
}

/// Seconds or milliseconds, at most a day.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no time, should be like 1s, 2.5s or 200ms");
    let (number, scale) = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(number), _) => (number, 1e-3),
        (None, Some(number)) => (number, 1.0),
        (None, None) => return Err(wrong()),
    };
    let seconds = number.parse::<f64>().map_err(|_| wrong())? * scale;
    if seconds > 0.0 && seconds <= 86_400.0 {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err(format!("{text} is out of range, should be above 0s and at most 86400s"))
    }
}

#[cfg(test)]
mod tests {
    use super::{Size, duration, size};

    #[test]
    fn times_are_read_with_their_unit_and_refused_without() {
        assert_eq!(duration("200ms").map(|time| time.as_millis()), Ok(200));
        assert_eq!(duration("2.5s").map(|time| time.as_millis()), Ok(2500));
        for wrong in ["1", "s", "-1s", "0s", "NaNs", "1e9s", "1m"] {
            duration(wrong).expect_err(wrong);
        }
    }

    #[test]
    fn a_size_has_three_numbers_within_bounds() {
        assert_eq!(size("10,80,2"), Ok(Size { nodes: 10, pods: 80, gangs: 2 }));
        for wrong in ["", "10,80", "0,80,2", "10,80,2,1", "10,80,-1", "100000,1,1"] {
            size(wrong).expect_err(wrong);
        }
    }
}
