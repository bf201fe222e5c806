//! Prints predicted beside measured iteration times of a folder of Sailor's data.
//!
//! `cargo run -p onepath-topology --example sailor_table -- FOLDER [--format text|json|csv]`

#![allow(clippy::disallowed_methods, reason = "a command reads its arguments")]

#[path = "../tests/sailor/read.rs"]
mod read;

use std::path::Path;
use std::process::ExitCode;

use onepath_topology::Nanos;
use onepath_topology::pipeline::predict::Constants;
use read::Run;

const USAGE: &str = "usage: sailor_table FOLDER [--format text|json|csv]";

#[derive(Clone, Copy)]
enum Format {
    Text,
    Json,
    Csv,
}

fn main() -> ExitCode {
    let (folder, format) = match arguments() {
        Ok(found) => found,
        Err(message) => {
            eprintln!("{message}; {USAGE}");
            return ExitCode::from(2);
        }
    };
    let folder = Path::new(&folder);
    let runs = match read::runs(folder, &Constants::default()) {
        Ok(runs) => runs,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::FAILURE;
        }
    };
    match format {
        Format::Text => {
            text(&runs);
            sensitivity(folder);
        }
        Format::Json => json(&runs),
        Format::Csv => csv(&runs),
    }
    ExitCode::SUCCESS
}

fn arguments() -> Result<(String, Format), String> {
    let mut folder = None;
    let mut format = Format::Text;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--format" => {
                format = match arguments.next().as_deref() {
                    Some("text") => Format::Text,
                    Some("json") => Format::Json,
                    Some("csv") => Format::Csv,
                    other => {
                        let other = other.unwrap_or("missing");
                        return Err(format!("--format is {other}"));
                    }
                }
            }
            option if option.starts_with('-') => return Err(format!("{option} is no option")),
            path if folder.is_none() => folder = Some(path.to_owned()),
            extra => return Err(format!("'{extra}' is too much")),
        }
    }
    let folder = folder.ok_or_else(|| "no folder".to_owned())?;
    Ok((folder, format))
}

/// Number, mean and largest of the judged runs' errors in percent.
fn summary(runs: &[Run]) -> (usize, f64, f64) {
    let errors: Vec<f64> =
        runs.iter().filter(|run| run.judged()).map(|run| run.error_percent().abs()).collect();
    let mean = errors.iter().sum::<f64>() / errors.len().max(1) as f64;
    (errors.len(), mean, errors.iter().copied().fold(0.0, f64::max))
}

fn text(runs: &[Run]) {
    println!(
        "model    run           GPUs  pp  dp  mb    m  predicted  measured   error   reduction \
         (measured)  memory (measured), GiB"
    );
    for run in runs {
        let stages = run.plan.pipelines[0].stages.len();
        let gib = |bytes: u64| bytes as f64 / (1_u64 << 30) as f64;
        println!(
            "{:<8} {:<12} {:>5} {:>3} {:>3} {:>3} {:>4} {:>9.3}s {:>8.3}s {:>+6.1}%{} {:>8.4}s \
             ({:.4}s) {:>11.1} ({:.1})",
            run.model,
            run.name,
            run.plan.gpus(),
            stages,
            run.plan.replicas(),
            run.plan.micro_batch,
            run.plan.micro_batches(),
            run.predicted.iteration_s,
            run.measured.iteration_s,
            run.error_percent(),
            if run.judged() { " *" } else { "  " },
            run.predicted.reduction_s,
            run.measured.reduction_s,
            gib(run.predicted.max_memory.0),
            gib(run.measured.max_memory.0),
        );
    }
    let (judged, mean, worst) = summary(runs);
    println!(
        "* judged (micro-batch 2 or more, 4 micro-batches or more): {judged}; mean {mean:.2}%, \
         worst {worst:.2}%"
    );
}

/// What the judged runs say to other values of the constants that time depends on most.
fn sensitivity(folder: &Path) {
    let usual = Constants::default();
    let transfers = |factor: f64| Constants {
        transfer_overhead: Nanos((usual.transfer_overhead.0 as f64 * factor) as u64),
        ..usual
    };
    let spread = |factor: f64| Constants { gpu_spread: usual.gpu_spread * factor, ..usual };
    let cases = [
        ("no transfer_overhead", transfers(0.0)),
        ("half of it", transfers(0.5)),
        ("twice", transfers(2.0)),
        ("no gpu_spread", spread(0.0)),
        ("half of it", spread(0.5)),
        ("twice", spread(2.0)),
        ("neither", Constants { gpu_spread: 0.0, ..transfers(0.0) }),
    ];
    for (name, constants) in cases {
        if let Ok(runs) = read::runs(folder, &constants) {
            let (_, mean, worst) = summary(&runs);
            println!("{name}: mean {mean:.2}%, worst {worst:.2}%");
        }
    }
}

fn json(runs: &[Run]) {
    let rows: Vec<serde_json::Value> = runs
        .iter()
        .map(|run| {
            serde_json::json!({
                "model": run.model,
                "run": run.name,
                "gpus": run.plan.gpus(),
                "micro_batch": run.plan.micro_batch,
                "micro_batches": run.plan.micro_batches(),
                "judged": run.judged(),
                "predicted": {
                    "iteration_s": run.predicted.iteration_s,
                    "reduction_s": run.predicted.reduction_s,
                    "max_memory_bytes": run.predicted.max_memory.0,
                },
                "measured": {
                    "iteration_s": run.measured.iteration_s,
                    "reduction_s": run.measured.reduction_s,
                    "max_memory_bytes": run.measured.max_memory.0,
                },
                "error_percent": run.error_percent(),
            })
        })
        .collect();
    let (judged, mean, worst) = summary(runs);
    let all = serde_json::json!({
        "runs": rows, "judged": judged, "mean_percent": mean, "worst_percent": worst,
    });
    println!("{all:#}");
}

fn csv(runs: &[Run]) {
    println!(
        "model,run,gpus,micro_batch,micro_batches,judged,predicted_iteration_s,\
         measured_iteration_s,error_percent,predicted_reduction_s,measured_reduction_s,\
         predicted_max_memory_bytes,measured_max_memory_bytes"
    );
    for run in runs {
        println!(
            "{},{},{},{},{},{},{},{},{:.3},{},{},{},{}",
            run.model,
            run.name,
            run.plan.gpus(),
            run.plan.micro_batch,
            run.plan.micro_batches(),
            run.judged(),
            run.predicted.iteration_s,
            run.measured.iteration_s,
            run.error_percent(),
            run.predicted.reduction_s,
            run.measured.reduction_s,
            run.predicted.max_memory.0,
            run.measured.max_memory.0
        );
    }
}
