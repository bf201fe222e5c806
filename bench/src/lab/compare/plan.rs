//! What is to be measured: options, plan files, and the runs that come of them.

use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::{Args, value_parser};
use serde::Deserialize;

use super::cell::{Cell, Condition};
use super::collective::{Collective, ELEMENT};
use super::places::Order;
use super::scheme::Scheme;
use crate::lab::DescriptionError;
use crate::lab::fabric::{FabricOptions, FabricSpec, read_toml};
use crate::sizes::{SizeError, parse_size};

/// The most runs of one plan.
const MOST_RUNS: usize = 10_000;

/// The most calls before the one that is timed.
const MOST_WARM_UPS: u32 = 100;

/// How much slower the uplinks of a leaf are than its hosts when they are oversubscribed.
const OVERSUBSCRIPTION: f64 = 2.0;

/// Bytes of a buffer, written `8M`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Size(usize);

impl FromStr for Size {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        parse_size(text).map(Self)
    }
}

impl TryFrom<String> for Size {
    type Error = SizeError;

    fn try_from(text: String) -> Result<Self, SizeError> {
        text.parse()
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::sizes::Bytes(self.0).fmt(f)
    }
}

/// The schemes without option: the fabric as it is, the answer, and the two whose only difference
/// is the choice of paths.
const QUICK: [Scheme; 4] = [Scheme::Ecmp, Scheme::Split, Scheme::SplitUdp, Scheme::Spray];

/// A set of runs: every collective by every scheme under every condition, in every order, with
/// every seed. What is not said takes the value of the quick plan.
#[derive(Clone, Debug, Default, PartialEq, Args, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RunOptions {
    /// permutation, ring, halving-doubling, direct, all-to-all, incast
    /// [default: permutation,direct]
    #[arg(long, value_delimiter = ',', value_name = "LIST", hide_possible_values = true)]
    pub(crate) collectives: Vec<Collective>,
    /// ecmp, ecmp-k, split-equal, split-line, split, switch-spray over TCP; ecmp-udp, split-udp,
    /// spray, reps, switch-spray-udp over datagrams [default: ecmp,split,split-udp,spray]
    #[arg(long, value_delimiter = ',', value_name = "LIST", hide_possible_values = true)]
    pub(crate) schemes: Vec<Scheme>,
    /// healthy, half-rate, black-hole, oversubscribed [default: healthy,black-hole]
    #[arg(long, value_delimiter = ',', value_name = "LIST", hide_possible_values = true)]
    pub(crate) conditions: Vec<Condition>,
    /// How ranks are laid out: contiguous, shuffled [default: shuffled]
    #[arg(long, value_delimiter = ',', value_name = "LIST", hide_possible_values = true)]
    pub(crate) orders: Vec<Order>,
    /// So many seeds, from --seed on, 1 to 1000 [default: 1]
    #[arg(long, value_parser = value_parser!(u32).range(1..=1000))]
    pub(crate) seeds: Option<u32>,
    /// Bytes of a rank's buffer, 1K to 1G [default: 4M]
    #[arg(long)]
    pub(crate) bytes: Option<Size>,
    /// The same call so many times before the one that is timed, 0 to 100 [default: 0]
    #[arg(long, value_name = "CALLS", value_parser = value_parser!(u32).range(..=100))]
    pub(crate) warm_ups: Option<u32>,
    /// Another fabric than that of the whole plan.
    #[arg(skip)]
    pub(crate) fabric: FabricOptions,
}

/// A plan file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct PlanFile {
    fabric: FabricOptions,
    run: Vec<RunOptions>,
}

/// Why there is nothing to be measured.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlanError {
    /// A file or a fabric.
    #[error(transparent)]
    Description(#[from] DescriptionError),
    /// A file without runs.
    #[error("{}: it has no [[run]], at least one would be right", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// Too much of it.
    #[error("the plan has {runs} runs: at most {MOST_RUNS} are accepted")]
    TooMany {
        /// How many.
        runs: usize,
    },
    /// A number of seeds that is none.
    #[error("seeds = {0} is out of range: it must be from 1 to 1000")]
    Seeds(u32),
    /// Too many calls.
    #[error("warm_ups = {0} is out of range: it must be from 0 to {MOST_WARM_UPS}")]
    WarmUps(u32),
    /// Too small to be cut, or too large.
    #[error("bytes = {bytes} is out of range: with {hosts} hosts it must be from {least} to 1G")]
    Bytes {
        /// What was given.
        bytes: Size,
        /// Hosts.
        hosts: usize,
        /// The least.
        least: usize,
    },
}

/// Runs on one fabric.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Group {
    pub(crate) spec: FabricSpec,
    pub(crate) cells: Vec<Cell>,
}

/// All runs, those on one fabric together.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Plan {
    pub(crate) groups: Vec<Group>,
}

impl Plan {
    /// From options, or from a file whose fabric options have the last word over.
    pub(crate) fn new(
        fabric: &FabricOptions,
        options: RunOptions,
        file: Option<&Path>,
    ) -> Result<Self, PlanError> {
        let (base, runs) = match file {
            None => (FabricOptions::default(), vec![options]),
            Some(path) => {
                let file: PlanFile = read_toml(path).map_err(DescriptionError::from)?;
                if file.run.is_empty() {
                    return Err(PlanError::Empty { path: path.to_owned() });
                }
                (file.fabric, file.run)
            }
        };
        let mut plan = Self::default();
        for run in runs {
            let here = fabric.or(run.fabric).or(base);
            plan.add(&run, &here)?;
        }
        let runs = plan.runs();
        if runs > MOST_RUNS { Err(PlanError::TooMany { runs }) } else { Ok(plan) }
    }

    /// How many runs there are.
    pub(crate) fn runs(&self) -> usize {
        self.groups.iter().map(|group| group.cells.len()).sum()
    }

    fn add(&mut self, run: &RunOptions, fabric: &FabricOptions) -> Result<(), PlanError> {
        let seeds = run.seeds.unwrap_or(1);
        if !(1..=1000).contains(&seeds) {
            return Err(PlanError::Seeds(seeds));
        }
        let warm_ups = run.warm_ups.unwrap_or(0);
        if warm_ups > MOST_WARM_UPS {
            return Err(PlanError::WarmUps(warm_ups));
        }
        for condition in or(&run.conditions, &[Condition::Healthy, Condition::BlackHole]) {
            let spec = spec_of(fabric, condition)?;
            let bytes = bytes_of(run, &spec)?;
            let mut cells = Vec::new();
            for collective in or(&run.collectives, &[Collective::Permutation, Collective::Direct]) {
                for order in or(&run.orders, &[Order::Shuffled]) {
                    for seed in 0..seeds {
                        let seed = spec.seed().wrapping_add(seed);
                        // Schemes innermost: what drifts with time hits all of them alike.
                        for scheme in or(&run.schemes, &QUICK) {
                            cells.push(Cell {
                                collective,
                                scheme,
                                condition,
                                order,
                                seed,
                                bytes,
                                warm_ups,
                            });
                        }
                    }
                }
            }
            self.put(spec, cells);
        }
        Ok(())
    }

    /// With the others on the same fabric; what is there already is not measured twice.
    fn put(&mut self, spec: FabricSpec, cells: Vec<Cell>) {
        let at = self.groups.iter().position(|group| group.spec == spec).unwrap_or_else(|| {
            self.groups.push(Group { spec, cells: Vec::new() });
            self.groups.len() - 1
        });
        let known: HashSet<Cell> = self.groups[at].cells.iter().copied().collect();
        self.groups[at].cells.extend(cells.into_iter().filter(|cell| !known.contains(cell)));
    }
}

fn or<T: Copy>(said: &[T], otherwise: &[T]) -> Vec<T> {
    if said.is_empty() { otherwise.to_vec() } else { said.to_vec() }
}

fn spec_of(fabric: &FabricOptions, condition: Condition) -> Result<FabricSpec, PlanError> {
    let mut options = *fabric;
    if condition == Condition::Oversubscribed {
        options.uplink_rate = None;
        options.oversubscription = Some(OVERSUBSCRIPTION);
    }
    Ok(FabricSpec::new(&options).map_err(DescriptionError::from)?)
}

/// At least one element for each pair of ranks.
fn bytes_of(run: &RunOptions, spec: &FabricSpec) -> Result<usize, PlanError> {
    let bytes = run.bytes.unwrap_or(Size(4 << 20));
    let hosts = spec.host_count();
    let least = (hosts * ELEMENT.size()).max(1 << 10);
    if (least..=1 << 30).contains(&bytes.0) {
        Ok(bytes.0)
    } else {
        Err(PlanError::Bytes { bytes, hosts, least })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(text: &str) -> Result<Plan, PlanError> {
        let file: PlanFile = toml::from_str(text).expect("it is TOML");
        let mut plan = Plan::default();
        for run in file.run {
            plan.add(&run, &run.fabric.or(file.fabric))?;
        }
        Ok(plan)
    }

    #[test]
    fn the_plan_without_options_is_the_quick_one() {
        let fabric = FabricOptions::default();
        let plan = Plan::new(&fabric, RunOptions::default(), None).expect("it is right");
        assert_eq!((plan.groups.len(), plan.runs()), (1, 16));
    }

    #[test]
    fn runs_on_one_fabric_come_together_and_none_twice() {
        let text = "[[run]]\nconditions = [\"healthy\"]\nseeds = 2\n\
                    [[run]]\nconditions = [\"oversubscribed\", \"healthy\"]\nbytes = \"4M\"\n\
                    [[run]]\nconditions = [\"half-rate\"]\n[run.fabric]\nspines = 3\nhosts = 12\n";
        let plan = plan(text).expect("it is right");
        let sizes: Vec<usize> = plan.groups.iter().map(|group| group.cells.len()).collect();
        assert_eq!(sizes, [16, 8, 8]);
        assert!((plan.groups[1].spec.oversubscription() - 2.0).abs() < 1e-9);
        assert_eq!(plan.groups[2].spec.spine_count(), 3);
    }

    #[test]
    fn what_is_out_of_range_is_told_with_what_would_be_right() {
        let message = plan("[[run]]\nseeds = 0\n").expect_err("no seeds").to_string();
        assert!(message.contains("seeds = 0") && message.contains("1000"), "{message}");
        let message = plan("[[run]]\nwarm_ups = 101\n").expect_err("too many").to_string();
        assert!(message.contains("warm_ups = 101") && message.contains("100"), "{message}");
        let message = plan("[[run]]\nbytes = \"16\"\n").expect_err("too small").to_string();
        assert!(message.contains("bytes = 16") && message.contains("1024"), "{message}");
    }

    #[test]
    fn the_plans_that_come_with_the_program_are_right() {
        for (text, most) in [
            (include_str!("../../../plans/lab-small.toml"), 20),
            (include_str!("../../../plans/lab-quick.toml"), 100),
            (include_str!("../../../plans/lab-full.toml"), 1000),
        ] {
            let runs = plan(text).expect("it is right").runs();
            assert!((1..=most).contains(&runs), "{runs}");
        }
    }
}
