//! The table of a bench.

use std::fmt::Write;

use onepath_pack::bench::Run;
use onepath_pack::bench::agreement::contradictions;
use onepath_pack::bench::row::{Row, rows};
use onepath_pack::instances::paper::Setup;
use serde_json::json;

use super::{BenchArguments, BenchError};
use crate::arguments::Format;

const HEADER: [&str; 15] = [
    "nodes",
    "pods/node",
    "priorities",
    "util%",
    "back end",
    "instances",
    "better+proved",
    "better",
    "default optimal",
    "failed",
    "improved",
    "stages left",
    "median",
    "p99",
    "max",
];

const CSV_HEADER: &str = "nodes,pods_per_node,priorities,utilisation,back_end,instances,\
    better_proved,better,default_optimal,failed,improved,stages_left,median_s,p99_s,max_s";

/// The table in the form that was asked for, and contradictions on standard error.
pub(super) fn write(arguments: &BenchArguments, runs: &[Run]) -> Result<String, BenchError> {
    let rows = rows(runs);
    for found in contradictions(runs, arguments.objective.into()) {
        eprintln!(
            "onepath: warning: seed {}: proof of {} refuted by {}",
            found.proof.seed, found.proof.back_end, found.refuted_by.back_end
        );
    }
    Ok(match arguments.format {
        Format::Text => text(arguments, &rows),
        Format::Json => {
            let budget_s = arguments.budget.as_secs_f64();
            let document = json!({
                "budget_cpu_s": budget_s, "seed": arguments.seed, "rows": rows, "runs": runs,
            });
            serde_json::to_string_pretty(&document)? + "\n"
        }
        Format::Csv => csv(&rows),
    })
}

fn cells(row: &Row) -> [String; 15] {
    let kind = |of: fn(&Setup) -> u32| {
        row.setup.as_ref().map_or_else(|| "all".to_owned(), |setup| of(setup).to_string())
    };
    let seconds = |time: std::time::Duration| format!("{:.3}", time.as_secs_f64());
    [
        kind(|setup| setup.nodes),
        kind(|setup| setup.pods_per_node),
        kind(|setup| setup.priorities),
        kind(|setup| setup.utilisation),
        row.back_end.clone(),
        row.instances.to_string(),
        row.better_proved.to_string(),
        row.better.to_string(),
        row.default_optimal.to_string(),
        row.failed.to_string(),
        row.improved().to_string(),
        row.left.to_string(),
        seconds(row.median),
        seconds(row.p99),
        seconds(row.max),
    ]
}

fn csv(rows: &[Row]) -> String {
    let lines = rows.iter().map(|row| cells(row).join(","));
    std::iter::once(CSV_HEADER.to_owned())
        .chain(lines)
        .fold(String::new(), |text, line| text + &line + "\n")
}

fn text(arguments: &BenchArguments, rows: &[Row]) -> String {
    let lines: Vec<[String; 15]> = rows.iter().map(cells).collect();
    let names = HEADER.map(str::to_owned);
    let width = |column: usize| {
        let all = std::iter::once(&names).chain(&lines);
        all.map(|cells| cells[column].len()).max().unwrap_or(0)
    };
    let mut text = String::new();
    for line in std::iter::once(&names).chain(&lines) {
        let padded: Vec<String> =
            line.iter().enumerate().map(|(at, cell)| format!("{cell:>0$}", width(at))).collect();
        let _ = writeln!(text, "{}", padded.join("  "));
    }
    let (budget, seed) = (arguments.budget.as_secs_f64(), arguments.seed);
    let _ = writeln!(
        text,
        "Processor time of one thread in seconds, budget {budget} s; seeds from {seed} on."
    );
    if rows.iter().any(|row| row.left > 0) {
        text += "Stages left: not for the back end (gangs, size), so solved by search.\n";
    }
    compare(arguments, rows, &mut text);
    text
}

/// Each back end in percent of the one that is compared with.
fn compare(arguments: &BenchArguments, rows: &[Row], text: &mut String) {
    let Some(with) = arguments.compare else { return };
    let totals = || rows.iter().filter(|row| row.setup.is_none());
    let Some(with) = totals().find(|row| row.back_end == with.as_str()) else { return };
    for row in totals().filter(|row| row.back_end != with.back_end) {
        let percent = |count: usize, of: usize| 100.0 * count as f64 / of.max(1) as f64;
        let _ = writeln!(
            text,
            "{}: {} improved, {:.1}% of {}'s {}; {} proved, {:.1}% of its {}.",
            row.back_end,
            row.improved(),
            percent(row.improved(), with.improved()),
            with.back_end,
            with.improved(),
            row.proved(),
            percent(row.proved(), with.proved()),
            with.proved(),
        );
    }
}
