//! A stage as a model of CP-SAT, and its solution as a placement.

use prost::Message;

use super::NAME;
use super::groups::{Group, groups};
use super::proto::{Constraint, Goal as Sum, Hint, Linear, Model, Variable};
use crate::number::gcd;
use crate::placement::Placement;
use crate::problem::{Gang, NodeId, Rule, Tier};
use crate::score::Goal;
use crate::solve::back_end::{Frozen, Stage, Unfit};

/// Above this CP-SAT would not get through its presolve in the budgets that there are.
const MOST_PLACES: usize = 400_000;

/// No sum in the model may reach `2^63`; CP-SAT wants a wide margin.
const LARGEST_SUM: i128 = 1 << 60;

/// `i64::MAX` and `MIN` stand for no limit.
const ANY: i64 = i64::MAX;

type Terms = Vec<(i32, i64)>;

/// The model of a stage.
pub(super) struct StageModel<'a> {
    stage: &'a Stage<'a>,
    groups: Vec<Group>,
    /// By group and place: the variable that counts.
    counts: Vec<Vec<i32>>,
    model: Model,
    hint: Vec<i64>,
    /// What is added to the model's objective to have the stage's value, negated for placed pods.
    offset: i64,
}

impl<'a> StageModel<'a> {
    pub(super) fn new(stage: &'a Stage<'a>) -> Result<Self, Unfit> {
        let groups = groups(stage);
        let size = groups.iter().map(|group| group.places.len()).sum();
        if size > MOST_PLACES {
            let (what, most) = ("places of pods", MOST_PLACES);
            return Err(Unfit::Size { back_end: NAME, what, size, most });
        }
        let (counts, model, hint) = (Vec::new(), Model::default(), Vec::new());
        let mut this = Self { stage, groups, counts, model, hint, offset: 0 };
        this.count_pods();
        this.fill_nodes()?;
        this.keep_gangs_whole();
        this.keep_parts_together();
        for frozen in stage.frozen {
            this.freeze(frozen);
        }
        this.set_goal();
        Ok(this)
    }

    /// As the library reads it.
    pub(super) fn message(&self) -> Vec<u8> {
        let vars = (0..self.hint.len() as i32).collect();
        let solution_hint = Some(Hint { vars, values: self.hint.clone() });
        Model { solution_hint, ..self.model.clone() }.encode_to_vec()
    }

    /// The placement of a solution, and the bound of the stage's value; none when the solution has
    /// not a value for each variable.
    pub(super) fn read(&self, solution: &[i64], objective_bound: f64) -> Option<(Placement, u32)> {
        if solution.len() != self.hint.len() {
            return None;
        }
        let mut placement = Placement::from_nodes(vec![None; self.stage.problem.pods().len()]);
        for (group, counts) in self.groups.iter().zip(&self.counts) {
            let counts: Vec<i64> = counts.iter().map(|at| solution[*at as usize]).collect();
            group.seat(self.stage.problem, &counts, &mut placement);
        }
        let bound = value_bound(self.stage.goal, objective_bound, self.offset);
        let bound = match self.stage.goal {
            Goal::Placed => self.stage.bound.min(bound),
            Goal::Disturbed => self.stage.bound.max(bound),
        };
        Some((placement, bound))
    }

    fn variable(&mut self, least: i64, most: i64, hint: i64) -> i32 {
        self.model.variables.push(Variable { domain: vec![least, most] });
        self.hint.push(hint);
        self.hint.len() as i32 - 1
    }

    fn linear(&mut self, terms: Terms, least: i64, most: i64) {
        let (vars, coeffs) = terms.into_iter().unzip();
        let least = if least == -ANY { i64::MIN } else { least };
        let linear = Linear { vars, coeffs, domain: vec![least, most] };
        self.model.constraints.push(Constraint { linear: Some(linear) });
    }

    /// One variable for each place of each group, not more than there are pods.
    fn count_pods(&mut self) {
        for at in 0..self.groups.len() {
            let group = &self.groups[at];
            let (fixed, pods) = (group.fixed, group.pods.len() as i64);
            let hints = group.counts(self.stage.incumbent);
            let bounds: Vec<i64> = group.places.iter().map(|place| place.most).collect();
            let of_place =
                |(most, hint): (i64, i64)| self.variable(if fixed { most } else { 0 }, most, hint);
            let counts: Vec<i32> = bounds.iter().copied().zip(hints).map(of_place).collect();
            if bounds.iter().sum::<i64>() > pods {
                self.linear(counts.iter().map(|at| (*at, 1)).collect(), 0, pods);
            }
            self.counts.push(counts);
        }
    }

    /// No node takes more than it has.
    fn fill_nodes(&mut self) -> Result<(), Unfit> {
        let problem = self.stage.problem;
        let mut on_node: Vec<Vec<(i32, usize, i64)>> = vec![Vec::new(); problem.nodes().len()];
        for (group, counts) in self.groups.iter().zip(&self.counts) {
            for (place, at) in group.places.iter().zip(counts) {
                on_node[place.node.index()].push((*at, group.pods[0].index(), place.most));
            }
        }
        for (node, on_node) in problem.nodes().iter().zip(on_node) {
            for (resource, capacity) in node.capacity.iter().enumerate() {
                let request = |pod: usize| problem.pods()[pod].request[resource];
                let asked = on_node.iter().filter(|(_, pod, _)| request(*pod) > 0);
                let terms: Terms = asked.clone().map(|(at, pod, _)| (*at, request(*pod))).collect();
                let sum: i128 =
                    asked.map(|(_, pod, most)| i128::from(request(*pod)) * i128::from(*most)).sum();
                let divisor = terms.iter().fold(0, |divisor, term| gcd(divisor, term.1)).max(1);
                if sum / i128::from(divisor) > LARGEST_SUM {
                    let (what, most) = ("units of a resource", LARGEST_SUM as usize);
                    return Err(Unfit::Size { back_end: NAME, what, size: usize::MAX, most });
                }
                if sum > i128::from(*capacity) {
                    let terms = terms.into_iter().map(|(at, asked)| (at, asked / divisor));
                    self.linear(terms.collect(), 0, capacity / divisor);
                }
            }
        }
        Ok(())
    }

    /// Variables of the groups that fulfil a condition.
    fn placed(&self, of: impl Fn(&Group) -> bool) -> Terms {
        let groups = self.groups.iter().zip(&self.counts).filter(|(group, _)| of(group));
        groups.flat_map(|(_, counts)| counts.iter().map(|at| (*at, 1))).collect()
    }

    /// No pod of a gang, or enough of them.
    fn keep_gangs_whole(&mut self) {
        for (number, gang) in self.stage.problem.gangs().iter().enumerate() {
            let of_gang = |group: &Group| group.gang.is_some_and(|id| id.index() == number);
            let mut terms = self.placed(of_gang);
            let least = i64::from(gang.minimum).max(self.running(gang));
            if terms.is_empty() || least < 2 {
                continue;
            }
            let here = self.value(&terms);
            let on = self.variable(0, 1, i64::from(here > 0));
            let size = gang.pods.len() as i64;
            terms.push((on, -least));
            self.linear(terms.clone(), 0, ANY);
            terms.pop();
            terms.push((on, -size));
            self.linear(terms, -ANY, 0);
        }
    }

    fn running(&self, gang: &Gang) -> i64 {
        let runs =
            |pod: &&crate::problem::PodId| self.stage.problem.pods()[pod.index()].runs_on.is_some();
        gang.pods.iter().filter(runs).count() as i64
    }

    /// What the hint makes of a sum.
    fn value(&self, terms: &Terms) -> i64 {
        terms.iter().map(|(at, factor)| self.hint[*at as usize] * factor).sum()
    }

    fn keep_parts_together(&mut self) {
        let problem = self.stage.problem;
        for (number, part) in problem.parts().iter().enumerate() {
            let level = part.rule.level();
            let domain = |node: NodeId| problem.nodes()[node.index()].domains[level];
            let mut inside: Vec<(Option<u32>, i32)> = Vec::new();
            for (group, counts) in self.groups.iter().zip(&self.counts) {
                if group.part.is_some_and(|id| id.index() == number) {
                    let places = group.places.iter().zip(counts);
                    inside.extend(places.map(|(place, at)| (domain(place.node), *at)));
                }
            }
            inside.sort_unstable();
            let mut chosen = Terms::new();
            for same in inside.chunk_by(|a, b| a.0 == b.0) {
                let mut terms: Terms = same.iter().map(|(_, at)| (*at, 1)).collect();
                match (same[0].0, part.rule) {
                    (None, _) => self.linear(terms, 0, 0),
                    (_, Rule::AtMost { pods, .. }) => self.linear(terms, 0, i64::from(pods)),
                    (_, Rule::Together(_)) => {
                        let here = self.value(&terms);
                        let on = self.variable(0, 1, i64::from(here > 0));
                        terms.push((on, -(part.pods.len() as i64)));
                        self.linear(terms, -ANY, 0);
                        chosen.push((on, 1));
                    }
                }
            }
            if chosen.len() > 1 {
                self.linear(chosen, 0, 1);
            }
        }
    }

    /// The pods of a tier that are disturbed: a sum, and a number to be added.
    fn disturbed(&mut self, tier: Tier) -> (Terms, i64) {
        let (mut terms, mut offset) = (Terms::new(), 0);
        for at in 0..self.groups.len() {
            let group = &self.groups[at];
            if group.tier != tier || group.gang.is_some() {
                continue;
            }
            let places = group.places.iter().zip(&self.counts[at]);
            let running: Vec<(i32, i64, i64)> = places
                .filter(|(place, _)| place.running > 0)
                .map(|(place, at)| (*at, place.running, place.most))
                .collect();
            for (count, running, most) in running {
                offset += running;
                terms.push((self.stays(count, running, most), -1));
            }
        }
        for (number, gang) in self.stage.problem.gangs().iter().enumerate() {
            let of_tier = gang.pods.first().is_some_and(|pod| {
                let pod = &self.stage.problem.pods()[pod.index()];
                pod.tier == tier
            });
            let running = self.running(gang);
            if of_tier && running > 0 {
                terms.push((self.restarts(number), running));
            }
        }
        (terms, offset)
    }

    /// How many of the pods that run somewhere stay: not more than are there at all.
    fn stays(&mut self, count: i32, running: i64, most: i64) -> i32 {
        if most <= running {
            return count;
        }
        let hint = self.hint[count as usize].min(running);
        let stays = self.variable(0, running, hint);
        self.linear(vec![(stays, 1), (count, -1)], -ANY, 0);
        stays
    }

    /// 1 when a running pod of the gang does not stay.
    fn restarts(&mut self, gang: usize) -> i32 {
        let of_gang = self.groups.iter().zip(&self.counts);
        let of_gang = of_gang.filter(|(group, _)| group.gang.is_some_and(|id| id.index() == gang));
        let places = of_gang.flat_map(|(group, counts)| group.places.iter().zip(counts));
        let running: Vec<(i32, i64)> = places
            .filter(|(place, _)| place.running > 0)
            .map(|(place, at)| (*at, place.running))
            .collect();
        let hint = running.iter().any(|(at, running)| self.hint[*at as usize] < *running);
        let restarts = self.variable(0, 1, i64::from(hint));
        for (count, running) in running {
            self.linear(vec![(count, 1), (restarts, running)], running, ANY);
        }
        restarts
    }

    /// Keeps the value of an earlier stage.
    fn freeze(&mut self, frozen: &Frozen) {
        let Frozen { tier, goal, value, proved } = *frozen;
        match goal {
            Goal::Placed => {
                let terms = self.placed(|group| group.tier == tier);
                let value = i64::from(value);
                self.linear(terms, value, if proved { value } else { ANY });
            }
            Goal::Disturbed => {
                let (terms, offset) = self.disturbed(tier);
                self.linear(terms, -ANY, i64::from(value) - offset);
            }
        }
    }

    /// What is wanted, with the bound that is known.
    fn set_goal(&mut self) {
        let Stage { tier, goal, bound, .. } = *self.stage;
        let terms = match goal {
            Goal::Placed => {
                let terms = self.placed(|group| group.tier == tier);
                self.linear(terms.clone(), 0, i64::from(bound));
                terms.into_iter().map(|(at, _)| (at, -1)).collect()
            }
            Goal::Disturbed => {
                let (terms, offset) = self.disturbed(tier);
                self.offset = offset;
                self.linear(terms.clone(), i64::from(bound) - offset, ANY);
                terms
            }
        };
        let (vars, coeffs) = terms.into_iter().unzip();
        self.model.objective = Some(Sum { vars, coeffs });
    }
}

/// What a bound of the objective says of a stage's value: nothing, if it is no number of pods.
fn value_bound(goal: Goal, objective_bound: f64, offset: i64) -> u32 {
    let nothing = match goal {
        Goal::Placed => u32::MAX,
        Goal::Disturbed => 0,
    };
    if objective_bound.is_nan() {
        return nothing;
    }
    // The objective is a sum of integers, so the next one is a bound too.
    let least = ((objective_bound - 1e-6).ceil() as i64).saturating_add(offset);
    match goal {
        Goal::Placed => u32::try_from(least.saturating_neg().max(0)).unwrap_or(nothing),
        Goal::Disturbed => u32::try_from(least).unwrap_or(nothing),
    }
}

#[cfg(test)]
mod tests {
    use super::{Goal, value_bound};

    #[test]
    fn a_bound_that_is_no_number_of_pods_proves_nothing() {
        assert_eq!(value_bound(Goal::Placed, -6.0, -1), 7);
        assert_eq!(value_bound(Goal::Placed, 1.0, 0), 0);
        assert_eq!(value_bound(Goal::Disturbed, 2.1, 1), 4);
        for far in [-1e300, f64::NEG_INFINITY, f64::NAN] {
            assert_eq!(value_bound(Goal::Placed, far, -1), u32::MAX, "{far}");
            assert_eq!(value_bound(Goal::Disturbed, far, -1), 0, "{far}");
        }
        assert_eq!(value_bound(Goal::Disturbed, f64::INFINITY, 1), 0);
    }
}
