//! From stage to stage.

use std::time::Duration;

use super::back_end::{BackEnd, Found, Frozen, Stage, Unfit, active, trivial};
use super::deadline::{Deadline, Stopwatch};
use super::refill::refill;
use super::report::{Answer, StageReport, Status};
use super::room::Room;
use super::search::{self, Search};
use super::{Options, SolveError, start};
use crate::check::check;
use crate::placement::Placement;
use crate::problem::{Problem, Tier};
use crate::score::{Goal, Score};

/// Of the budget, what is guaranteed to stages in equal shares; the rest goes to whoever needs it.
const GUARANTEED: f64 = 0.6;
/// Of the budget, what is kept back at least for the end of the last stage.
const RESERVED: f64 = 0.01;

/// The state between two stages.
pub(super) struct Driver<'a> {
    problem: &'a Problem,
    options: &'a Options,
    deadline: Deadline,
    best: Placement,
    score: Score,
    start: Score,
    frozen: Vec<Frozen>,
    reports: Vec<StageReport>,
    /// So much sooner than the deadline back ends are stopped.
    reserve: Duration,
}

impl<'a> Driver<'a> {
    /// With the best of the starts.
    pub(super) fn new(
        problem: &'a Problem,
        options: &'a Options,
        starts: &[Placement],
    ) -> Result<Self, SolveError> {
        let (deadline, watch) =
            (Deadline::of(&options.budget), Stopwatch::new(options.budget.clock));
        let as_it_is = Placement::as_it_is(problem);
        let mut all = vec![as_it_is.clone()];
        all.extend_from_slice(starts);
        if all.iter().all(|start| check(problem, start).is_err()) {
            all.extend(start::repaired(problem));
        }
        let allowed = all.into_iter().filter_map(|start| {
            let score = check(problem, &start).ok()?;
            Some((start, score))
        });
        let best = allowed.reduce(|best, other| {
            if options.objective.compare(&other.1, &best.1).is_gt() { other } else { best }
        });
        let Some((best, score)) = best else {
            let Err(as_it_is) = check(problem, &as_it_is) else { unreachable!("it was a start") };
            return Err(SolveError::NoStart { as_it_is: Box::new(as_it_is) });
        };
        let (start, frozen, reports) = (score.clone(), Vec::new(), Vec::new());
        // A placement is completed and checked twice at the end of a stage, as it was here.
        let reserve = options.budget.time.mul_f64(RESERVED).max(watch.elapsed() * 2);
        Ok(Self { problem, options, deadline, best, score, start, frozen, reports, reserve })
    }

    /// All stages.
    pub(super) fn run(mut self, back_end: &mut dyn BackEnd) -> Result<Answer, SolveError> {
        let stages = self.options.objective.stages(self.problem.priorities().len());
        let share = self.options.budget.time.mul_f64(GUARANTEED / stages.len().max(1) as f64);
        let mut deepest = Tier(0);
        for (number, (tier, goal)) in stages.iter().copied().enumerate() {
            deepest = deepest.max(tier);
            let later = share * (stages.len() - number - 1) as u32;
            let deadline = self.deadline.sooner(later + self.reserve);
            self.stage(tier, goal, deepest, &deadline, back_end)?;
        }
        Ok(self.finish(back_end.name()))
    }

    fn stage(
        &mut self,
        tier: Tier,
        goal: Goal,
        deepest: Tier,
        deadline: &Deadline,
        back_end: &mut dyn BackEnd,
    ) -> Result<(), SolveError> {
        let value = self.score.value(tier, goal);
        let (mut bound, mut proof) = trivial(self.problem, tier, goal);
        let mut by = None;
        if value != bound && !deadline.passed() {
            let active = active(self.problem, deepest);
            let before = self.best.clone();
            let stage = Stage {
                problem: self.problem,
                tier,
                goal,
                frozen: &self.frozen.clone(),
                active: &active,
                incumbent: &before,
                value,
                bound,
                deadline,
                seed: self.options.seed,
                threads: self.options.budget.threads,
            };
            let (name, found) = ask(&stage, back_end)?;
            by = Some(name.to_owned());
            let (late, watch) = (deadline.late(), Stopwatch::new(self.options.budget.clock));
            self.take(&stage, name, &found)?;
            self.reserve = self.reserve.max(late + watch.elapsed().mul_f64(1.5));
            let beyond = stage.is_better(self.score.value(tier, goal), found.bound);
            if beyond {
                let (value, tier) = (self.score.value(tier, goal), tier.0);
                return Err(SolveError::FalseBound {
                    back_end: name,
                    bound: found.bound,
                    value,
                    tier,
                });
            }
            if found.bound != bound {
                (bound, proof) = (found.bound, found.proof);
            }
        }
        let value = self.score.value(tier, goal);
        self.frozen.push(Frozen { tier, goal, value, proved: value == bound });
        let status = Status::TimedOut;
        self.reports.push(StageReport {
            tier: tier.0,
            goal,
            value,
            bound,
            status,
            proof,
            back_end: by,
        });
        Ok(())
    }

    /// Completes a placement of a back end, and keeps it if it is better.
    fn take(
        &mut self,
        stage: &Stage<'_>,
        back_end: &'static str,
        found: &Found,
    ) -> Result<(), SolveError> {
        let Some(placement) = &found.placement else { return Ok(()) };
        let mut only = placement.clone();
        for (pod, _) in self.problem.numbered_pods().filter(|(pod, _)| !stage.is_active(*pod)) {
            only.put(pod, None);
        }
        let wrong = |violation| SolveError::Wrong { back_end, violation: Box::new(violation) };
        check(self.problem, &only).map_err(wrong)?;
        let mut room = Room::of(self.problem, &only, |_| true);
        refill(&mut room, |_| true);
        let placement = room.into_placement();
        let score = check(self.problem, &placement).map_err(wrong)?;
        if stage.keeps(&score) && self.options.objective.compare(&score, &self.score).is_gt() {
            (self.best, self.score) = (placement, score);
        }
        Ok(())
    }

    /// Values as they are in the end: a later stage may have made one better that was not proved.
    fn finish(mut self, back_end: &str) -> Answer {
        for report in &mut self.reports {
            let tier = Tier(report.tier);
            report.value = self.score.value(tier, report.goal);
            let better = report.value != self.start.value(tier, report.goal);
            report.status = match (report.value == report.bound, better) {
                (true, _) => Status::Optimal,
                (false, true) => Status::Feasible,
                (false, false) => Status::TimedOut,
            };
        }
        let all = self.reports.iter().all(|report| report.status == Status::Optimal);
        let better = self.options.objective.compare(&self.score, &self.start).is_gt();
        let status = match (all, better) {
            (true, _) => Status::Optimal,
            (false, true) => Status::Feasible,
            (false, false) => Status::TimedOut,
        };
        Answer {
            placement: self.best,
            score: self.score,
            start: self.start,
            stages: self.reports,
            status,
            back_end: back_end.to_owned(),
            seed: self.options.seed,
        }
    }
}

/// A back end's answer, or that of the search of this crate where the stage is not for it.
fn ask(stage: &Stage<'_>, back_end: &mut dyn BackEnd) -> Result<(&'static str, Found), SolveError> {
    match back_end.solve(stage) {
        Ok(found) => Ok((back_end.name(), found)),
        Err(Unfit::Rule { .. } | Unfit::Size { .. }) => Ok((Search.name(), search::find(stage))),
        Err(failure @ Unfit::Library { .. }) => Err(SolveError::Library(failure)),
    }
}
