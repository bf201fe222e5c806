//! Prints predicted beside published points of Holmes (arXiv 2312.03549).
//!
//! `cargo run -p onepath-topology --example holmes_table -- [--format text|json|csv]`

#![allow(clippy::disallowed_methods, reason = "a command reads its arguments")]

use std::process::ExitCode;

use onepath_topology::pipeline::partition::holmes;
use onepath_topology::pipeline::published::{Calibration, PUBLISHED, Point, Setting};

const USAGE: &str = "usage: holmes_table [--format text|json|csv]";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let format = match arguments[..] {
        [] | ["--format", "text"] => text,
        ["--format", "json"] => json,
        ["--format", "csv"] => csv,
        _ => {
            eprintln!("arguments are {arguments:?}; {USAGE}");
            return ExitCode::from(2);
        }
    };
    let table = Calibration::new().and_then(|calibration| {
        let rows = 0..PUBLISHED.len();
        let cells = rows.flat_map(|row| Setting::ALL.map(|setting| (row, setting)));
        let points = cells.map(|(row, setting)| calibration.point(row, setting));
        Ok((calibration, points.collect::<Result<Vec<_>, _>>()?))
    });
    match table {
        Ok((calibration, points)) => format(&calibration, &points),
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn text(calibration: &Calibration, points: &[Point]) {
    println!(
        "calibrated on the homogeneous columns at 4 nodes: {:.0} TFLOPS a GPU alone; a node gets \
         {:.1} GB/s of InfiniBand (given), {:.1} of RoCE, {:.1} of Ethernet",
        calibration.flop_per_s / 1e12,
        calibration.infiniband.gigabytes(),
        calibration.roce.gigabytes(),
        calibration.ethernet.gigabytes()
    );
    println!("nodes  network     predicted  published   error   TFLOPS  published  blocks");
    for point in points {
        println!(
            "{:>5}  {:<10} {:>8.2}/s {:>8.2}/s {:>+6.1}% {:>8.0} {:>10.0}  {:?}",
            point.nodes,
            point.setting.name(),
            point.samples_per_s,
            point.published,
            point.error_percent(),
            point.tflops(point.samples_per_s),
            point.tflops(point.published),
            point.blocks
        );
    }
    for alpha in [1.0, 1.05] {
        let speeds = [points[0].tflops(points[0].published), points[1].tflops(points[1].published)];
        let Ok(blocks) = holmes(30, &speeds, alpha) else { continue };
        if let Some(samples) = calibration.hybrid_cut(0, [blocks[0], blocks[1]]) {
            println!(
                "hybrid at 4 nodes cut by Holmes' rule, alpha {alpha}: {blocks:?}, \
                      {samples:.2}/s"
            );
        }
    }
}

fn json(calibration: &Calibration, points: &[Point]) {
    let rows: Vec<serde_json::Value> = points
        .iter()
        .map(|point| {
            serde_json::json!({
                "nodes": point.nodes,
                "network": point.setting.name(),
                "predicted_samples_per_s": point.samples_per_s,
                "published_samples_per_s": point.published,
                "error_percent": point.error_percent(),
                "blocks": point.blocks,
            })
        })
        .collect();
    let all = serde_json::json!({
        "flop_per_s": calibration.flop_per_s,
        "infiniband_bytes_per_s": calibration.infiniband.0,
        "roce_bytes_per_s": calibration.roce.0,
        "ethernet_bytes_per_s": calibration.ethernet.0,
        "points": rows,
    });
    println!("{all:#}");
}

fn csv(_: &Calibration, points: &[Point]) {
    println!("nodes,network,predicted_samples_per_s,published_samples_per_s,error_percent,blocks");
    for point in points {
        let blocks: Vec<String> = point.blocks.iter().map(ToString::to_string).collect();
        println!(
            "{},{},{:.3},{},{:.3},{}",
            point.nodes,
            point.setting.name(),
            point.samples_per_s,
            point.published,
            point.error_percent(),
            blocks.join("/")
        );
    }
}
