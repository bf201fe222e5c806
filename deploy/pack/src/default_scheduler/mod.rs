//! What kube-scheduler's default profile does with pending pods, one pod at a time.
//!
//! Followed from Kubernetes 1.34, `pkg/scheduler`:
//!
//! | here | there |
//! |---|---|
//! | [`schedule`]: the queue | `queuesort.PrioritySort.Less`, `SchedulingQueue` |
//! | `state`: nodes that take a pod | `findNodesThatPassFilters`, `numFeasibleNodesToFind` |
//! | `state`: what fits | `noderesources.fitsRequest` |
//! | `rate`: the best of them | `leastResourceScorer`, `balancedResourceScorer`, `selectHost` |
//! | `preempt`: who gives way | `DefaultPreemption.SelectVictimsOnNode` |
//! | `preempt`: on which node | `pickOneNodeForPreemption` |
//!
//! Left out, since a [`Problem`] does not know of it: the soft scores of `PodTopologySpread`,
//! `InterPodAffinity`, `NodeAffinity`, `TaintToleration` and `ImageLocality`, disruption budgets (a
//! pod that may not be disturbed is [`Mobility::Fixed`], and never a victim), and the time that
//! victims take to end: they are gone at once. A node's fractions are of [`Node::capacity`], so
//! without what uses it from outside of the problem. Ties are broken by the seed where
//! kube-scheduler draws.
//!
//! [`Node::capacity`]: crate::problem::Node::capacity

mod preempt;
mod rate;
mod state;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use crate::placement::Placement;
use crate::problem::{Gang, Mobility, PodId, Problem, Rule, Tier};
use crate::random::Random;
use state::State;

/// When pending pods come to the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// All are there before the first is placed: more urgent ones go first.
    AllAtOnce,
    /// Each is placed, or found to be unschedulable, before the next one comes.
    OneByOne,
}

/// How pods are placed.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// When they come.
    pub arrival: Arrival,
    /// Whether less urgent pods give way.
    pub preemption: bool,
    /// Breaks ties.
    pub seed: u64,
}

/// Where the default scheduler leaves everything. It knows nothing of gangs, so the placement may
/// have them in part.
pub fn schedule(problem: &Problem, settings: &Settings) -> Placement {
    let mut run = Run {
        problem,
        state: State::new(problem),
        random: Random::new(settings.seed),
        preemption: settings.preemption,
        queue: BTreeSet::new(),
        unschedulable: Vec::new(),
        clock: problem.pods().len() as u64,
    };
    for (id, pod) in problem.numbered_pods() {
        if pod.runs_on.is_none() {
            run.queue.insert((pod.tier, u64::from(id.0), id));
            if settings.arrival == Arrival::OneByOne {
                run.drain();
            }
        }
    }
    run.drain();
    run.state.into_placement()
}

/// The default scheduler without preemption, less the gangs that it breaks: nothing that runs is
/// touched, so this is an allowed placement whenever the present state is one.
pub fn undisturbing(problem: &Problem, seed: u64) -> Placement {
    let settings = Settings { arrival: Arrival::AllAtOnce, preemption: false, seed };
    let mut placement = schedule(problem, &settings);
    for gang in problem.gangs() {
        if !is_whole(problem, gang, &placement) {
            for pod in &gang.pods {
                placement.put(*pod, problem.pods()[pod.index()].runs_on);
            }
        }
    }
    placement
}

/// Whether a gang to which pods were added is allowed now.
fn is_whole(problem: &Problem, gang: &Gang, placement: &Placement) -> bool {
    let placed = gang.pods.iter().filter(|pod| placement.node(**pod).is_some()).count();
    let mut parts: Vec<_> =
        gang.pods.iter().filter_map(|pod| problem.pods()[pod.index()].part).collect();
    parts.sort_unstable();
    parts.dedup();
    (placed == 0 || placed >= gang.minimum as usize)
        && parts.into_iter().all(|part| {
            let part = &problem.parts()[part.index()];
            let nodes = part.pods.iter().filter_map(|pod| placement.node(*pod));
            let level = part.rule.level();
            let mut domains: Vec<_> =
                nodes.map(|node| problem.nodes()[node.index()].domains[level]).collect();
            domains.sort_unstable();
            let most = match part.rule {
                Rule::Together(_) => u32::MAX,
                Rule::AtMost { pods, .. } => pods,
            };
            let together = !matches!(part.rule, Rule::Together(_));
            domains.iter().all(Option::is_some)
                && domains.chunk_by(|a, b| a == b).all(|same| same.len() <= most as usize)
                && (together || domains.first() == domains.last())
        })
}

/// One run of the scheduling loop.
struct Run<'a> {
    problem: &'a Problem,
    state: State<'a>,
    random: Random,
    preemption: bool,
    /// Most urgent first, then who came first.
    queue: BTreeSet<(Tier, u64, PodId)>,
    /// In the order in which they failed.
    unschedulable: Vec<(Tier, u64, PodId)>,
    /// Counts what happens, in place of the time.
    clock: u64,
}

impl Run<'_> {
    fn drain(&mut self) {
        while let Some((tier, _, pod)) = self.queue.pop_first() {
            if let Some(node) = self.choose(pod) {
                self.clock += 1;
                self.state.bind(pod, node, self.clock);
            } else if !(self.preemption && self.preempt(pod)) {
                self.clock += 1;
                self.unschedulable.push((tier, self.clock, pod));
            }
        }
    }

    fn choose(&mut self, pod: PodId) -> Option<crate::problem::NodeId> {
        let feasible = self.state.feasible(pod);
        rate::select_host(&self.state, pod, &feasible, &mut self.random)
    }

    /// Puts a pod in the place of less urgent ones. Their end lets all that failed try again
    /// (`EventAssignedPodDelete`), and whoever owns them makes them anew.
    fn preempt(&mut self, pod: PodId) -> bool {
        let Some(found) = preempt::find(&self.state, pod, &mut self.random) else {
            return false;
        };
        for victim in found.victims {
            self.state.unbind(victim);
            let Mobility::Movable = self.problem.pods()[victim.index()].mobility else {
                continue;
            };
            self.clock += 1;
            let tier = self.problem.pods()[victim.index()].tier;
            self.queue.insert((tier, self.clock, victim));
        }
        self.clock += 1;
        self.state.bind(pod, found.node, self.clock);
        self.queue.extend(self.unschedulable.drain(..));
        true
    }
}
