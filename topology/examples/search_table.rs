//! Searches the degrees of parallelism for clusters of several sizes and prints what was found
//! and how long that took.
//!
//! `cargo run --release -p onepath-topology --example search_table -- [--format text|json|csv]`

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a command reads its arguments and a clock"
)]

use std::process::ExitCode;
use std::time::Instant;

use onepath_topology::cluster::{
    Cluster, ClusterId, Gpu, Inventory, InventoryError, Link, Network, NetworkKind, Nic, Pool,
    gigabits,
};
use onepath_topology::pipeline::model::{ModelShape, Optimizer, Precision, Recompute};
use onepath_topology::pipeline::search::{Found, SearchOptions, search};
use onepath_topology::{Bytes, Nanos};

const USAGE: &str = "usage: search_table [--format text|json|csv]";

struct Row {
    name: &'static str,
    nodes: usize,
    gpus: usize,
    seconds: f64,
    found: Found,
}

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
    match rows() {
        Ok(rows) => format(&rows),
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// 39 billion parameters.
fn medium() -> ModelShape {
    ModelShape {
        layers: 48,
        hidden: 8_192,
        heads: 64,
        sequence: 2_048,
        vocabulary: 51_200,
        precision: Precision::Bf16,
        optimizer: Optimizer::Adam,
        recompute: Recompute::Full,
    }
}

/// 175 billion parameters.
fn large() -> ModelShape {
    ModelShape { layers: 96, hidden: 12_288, heads: 96, ..medium() }
}

/// Clusters of 8-GPU nodes by (nodes, network, TFLOPS), with 100 Gbit/s a node between.
fn inventory(clusters: &[(usize, NetworkKind, f64)]) -> Result<Inventory, InventoryError> {
    let mut made = Vec::new();
    for (index, &(nodes, kind, tflops)) in clusters.iter().enumerate() {
        let gpu = Gpu {
            kind: "A100".to_owned(),
            per_node: 8,
            memory: Bytes(80_000_000_000),
            tflops: Some(tflops),
            rate: gigabits(2_000.0),
        };
        let nic = |kind: NetworkKind, rate: f64| Nic {
            name: kind.name().to_owned(),
            kind,
            rate: gigabits(rate),
            hca: Some("mlx5_0".to_owned()),
            interface: Some("eth0".to_owned()),
            gid_index: None,
        };
        let nics = vec![nic(kind, 800.0), nic(NetworkKind::Ethernet, 100.0)];
        let hosts = (0..nodes).map(|node| format!("c{index}n{node}")).collect();
        let pool = Pool::new(hosts, gpu, nics, None);
        made.push(Cluster::new(format!("c{index}"), vec![pool]));
    }
    let network = Network {
        kind: NetworkKind::Ethernet,
        rate: gigabits(100.0),
        latency: Nanos::micros(50),
        total: None,
    };
    let links = (1..clusters.len() as u32)
        .map(|index| Link { ends: (ClusterId(index - 1), ClusterId(index)), network });
    Inventory::new(made, links.collect())
}

fn rows() -> Result<Vec<Row>, String> {
    use NetworkKind::{InfiniBand, Roce};
    let cases = [
        ("1,000 nodes, one cluster", medium(), 1_536, vec![(1_000, InfiniBand, 200.0)]),
        (
            "1,000 nodes, two clusters",
            medium(),
            1_536,
            vec![(500, InfiniBand, 200.0), (500, Roce, 160.0)],
        ),
        ("10,000 GPUs, one cluster", large(), 3_072, vec![(1_250, InfiniBand, 200.0)]),
        (
            "10,000 GPUs, four clusters",
            large(),
            3_072,
            vec![
                (400, InfiniBand, 200.0),
                (300, Roce, 160.0),
                (300, InfiniBand, 220.0),
                (250, Roce, 180.0),
            ],
        ),
    ];
    let mut rows = Vec::new();
    for (name, shape, samples, clusters) in cases {
        let inventory = inventory(&clusters).map_err(|error| error.to_string())?;
        let start = Instant::now();
        let found = search(&inventory, &shape, &SearchOptions::new(samples));
        let found = found.map_err(|error| error.to_string())?;
        let seconds = start.elapsed().as_secs_f64();
        let (nodes, gpus) = (inventory.nodes(), inventory.gpus());
        rows.push(Row { name, nodes, gpus, seconds, found });
    }
    Ok(rows)
}

fn text(rows: &[Row]) {
    println!(
        "clusters                     nodes   GPUs  search    tp   dp  pp  mb  v   iteration   \
         bound      gap   cut of combinations"
    );
    for row in rows {
        let degrees = &row.found.degrees;
        println!(
            "{:<27} {:>6} {:>6} {:>6.2}s {:>5} {:>4} {:>3} {:>3} {:>2} {:>10.3}s {:>8.3}s \
             {:>6.2}% {:>5} of {}",
            row.name,
            row.nodes,
            row.gpus,
            row.seconds,
            degrees.tensor,
            degrees.data,
            degrees.pipeline,
            degrees.micro_batch,
            degrees.virtual_stages,
            row.found.iteration.0 as f64 / 1e9,
            row.found.bound.0 as f64 / 1e9,
            row.found.gap() * 100.0,
            row.found.evaluated,
            row.found.candidates
        );
    }
}

fn json(rows: &[Row]) {
    let rows: Vec<serde_json::Value> = rows
        .iter()
        .map(|row| {
            serde_json::json!({
                "clusters": row.name,
                "nodes": row.nodes,
                "gpus": row.gpus,
                "search_s": row.seconds,
                "found": row.found,
                "gap": row.found.gap(),
            })
        })
        .collect();
    println!("{:#}", serde_json::Value::from(rows));
}

fn csv(rows: &[Row]) {
    println!(
        "clusters,nodes,gpus,search_s,tensor,data,pipeline,micro_batch,virtual_stages,\
         iteration_ns,bound_ns,evaluated,candidates"
    );
    for row in rows {
        let degrees = &row.found.degrees;
        println!(
            "\"{}\",{},{},{:.3},{},{},{},{},{},{},{},{},{}",
            row.name,
            row.nodes,
            row.gpus,
            row.seconds,
            degrees.tensor,
            degrees.data,
            degrees.pipeline,
            degrees.micro_batch,
            degrees.virtual_stages,
            row.found.iteration.0,
            row.found.bound.0,
            row.found.evaluated,
            row.found.candidates
        );
    }
}
