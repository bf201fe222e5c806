//! `pack bench --large`: clusters with gangs and leaves.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use onepath_pack::check::check;
use onepath_pack::instances::large::{Size, problem};
use onepath_pack::placement::Placement;
use onepath_pack::problem::{Gang, Problem, Tier};
use onepath_pack::score::{Goal, Objective, Score};
use onepath_pack::solve::deadline::{Clock, Stopwatch};
use onepath_pack::solve::report::Answer;
use onepath_pack::solve::{solve, solve_with};
use serde::Serialize;
use serde_json::json;

use super::{BenchArguments, BenchError, Ready, options};
use crate::arguments::Format;

/// One cluster solved by one back end.
#[derive(Debug, Serialize)]
struct Run {
    back_end: String,
    seed: u64,
    /// Pending gangs before and after.
    gangs_pending: [usize; 2],
    /// Processor and wall time.
    cpu_s: f64,
    wall_s: f64,
    better: bool,
    stages: Vec<Stage>,
}

/// One value of a tier.
#[derive(Debug, Serialize)]
struct Stage {
    tier: u32,
    goal: Goal,
    before: u32,
    after: u32,
    bound: u32,
    by: Option<String>,
}

/// What each back end makes of each seed.
pub(super) fn run(
    size: Size,
    arguments: &BenchArguments,
    back_ends: &mut [Ready],
    interrupt: &Arc<AtomicBool>,
) -> Result<String, BenchError> {
    let mut runs = Vec::new();
    'all: for number in 0..arguments.instances.unwrap_or(1) as u64 {
        let seed = arguments.seed.wrapping_add(number);
        if interrupt.load(Ordering::Relaxed) {
            break;
        }
        let Size { nodes, pods, gangs } = size;
        eprintln!("onepath: seed {seed}: making {nodes} nodes, {pods} pods, {gangs} gangs");
        let problem = problem(size, seed)?;
        let before = check(&problem, &Placement::as_it_is(&problem)).map_err(Box::new)?;
        for back_end in &mut *back_ends {
            let budget_s = arguments.budget.as_secs_f64();
            eprintln!("onepath: seed {seed}: solving, at most {budget_s} s");
            let (cpu, wall) = (Stopwatch::new(Clock::ThreadCpu), Stopwatch::new(Clock::Wall));
            let options = options(arguments, back_end, interrupt);
            let answer = match back_end.library() {
                Some(library) => solve_with(&problem, &options, &[], library)?,
                None => solve(&problem, &options, &[])?,
            };
            let times = (cpu.elapsed().as_secs_f64(), wall.elapsed().as_secs_f64());
            if interrupt.load(Ordering::Relaxed) {
                eprintln!("onepath: interrupted after {} runs", runs.len());
                break 'all;
            }
            runs.push(summary(arguments, &problem, &before, &answer, seed, times));
        }
    }
    let budget_s = arguments.budget.as_secs_f64();
    Ok(match arguments.format {
        Format::Text => text(size, budget_s, &runs),
        Format::Json => {
            let document = json!({ "budget_cpu_s": budget_s, "runs": runs });
            serde_json::to_string_pretty(&document)? + "\n"
        }
        Format::Csv => csv(&runs),
    })
}

fn summary(
    arguments: &BenchArguments,
    problem: &Problem,
    before: &Score,
    answer: &Answer,
    seed: u64,
    (cpu_s, wall_s): (f64, f64),
) -> Run {
    let objective: Objective = arguments.objective.into();
    let stages = answer.stages.iter().map(|stage| Stage {
        tier: stage.tier,
        goal: stage.goal,
        before: before.value(Tier(stage.tier), stage.goal),
        after: stage.value,
        bound: stage.bound,
        by: stage.back_end.clone(),
    });
    Run {
        back_end: answer.back_end.clone(),
        seed,
        gangs_pending: [
            gangs_pending(problem, &Placement::as_it_is(problem)),
            gangs_pending(problem, &answer.placement),
        ],
        cpu_s,
        wall_s,
        better: objective.compare(&answer.score, before).is_gt(),
        stages: stages.collect(),
    }
}

/// Gangs of which no pod has a node.
fn gangs_pending(problem: &Problem, placement: &Placement) -> usize {
    let pending = |gang: &&Gang| gang.pods.iter().all(|pod| placement.node(*pod).is_none());
    problem.gangs().iter().filter(pending).count()
}

fn goal(goal: Goal) -> &'static str {
    match goal {
        Goal::Placed => "placed",
        Goal::Disturbed => "disturbed",
    }
}

fn text(size: Size, budget_s: f64, runs: &[Run]) -> String {
    let mut text = String::new();
    for run in runs {
        let _ = writeln!(
            text,
            "{} nodes, {} pods, {} gangs; seed {}, {}, budget {budget_s} s of processor time: {}, \
             gangs pending {} -> {}, {:.2} s of processor time, {:.2} s on the clock",
            size.nodes,
            size.pods,
            size.gangs,
            run.seed,
            run.back_end,
            if run.better { "better" } else { "not better" },
            run.gangs_pending[0],
            run.gangs_pending[1],
            run.cpu_s,
            run.wall_s,
        );
        let _ = writeln!(text, "tier       goal  before   after   bound  by");
        for stage in &run.stages {
            let Stage { tier, before, after, bound, .. } = stage;
            let (goal, by) = (goal(stage.goal), stage.by.as_deref().unwrap_or("-"));
            let _ =
                writeln!(text, "{tier:>4}  {goal:>9}  {before:>6}  {after:>6}  {bound:>6}  {by}");
        }
    }
    text
}

fn csv(runs: &[Run]) -> String {
    let mut text = "back_end,seed,tier,goal,before,after,bound,cpu_s,wall_s\n".to_owned();
    for run in runs {
        for stage in &run.stages {
            let Stage { tier, before, after, bound, .. } = stage;
            let _ = writeln!(
                text,
                "{},{},{tier},{},{before},{after},{bound},{:.3},{:.3}",
                run.back_end,
                run.seed,
                goal(stage.goal),
                run.cpu_s,
                run.wall_s,
            );
        }
    }
    text
}
