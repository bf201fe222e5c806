//! Results as table, CSV and JSON.

use std::io::{self, Write};
use std::time::Duration;

use serde::Serialize;

use super::Work;
use super::measure::Trained;
use super::placement::Placement;
use super::plan::PlanOfJob;
use crate::lab::arguments::LabFormat;
use crate::lab::cpu;
use crate::lab::fabric::clusters::ClustersSpec;

/// How losses compare with those of one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Verdict {
    /// Every bit.
    SameBits,
    /// But for the rounding of sums in another order.
    WithinRounding,
    /// They are others.
    Wrong,
}

impl Verdict {
    const fn name(self) -> &'static str {
        match self {
            Self::SameBits => "same-bits",
            Self::WithinRounding => "within-rounding",
            Self::Wrong => "WRONG",
        }
    }
}

/// One line of results.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Row {
    plan: String,
    placement: &'static str,
    overlap: bool,
    ranks: usize,
    replicas: u32,
    stages: u32,
    iteration_s: f64,
    /// Between clusters, in one iteration.
    slow_link_bytes: f64,
    data_networks: Vec<String>,
    pipeline_networks: Vec<String>,
    /// The sum over all micro-batches in the first and in the last iteration.
    first_loss: f32,
    last_loss: f32,
    losses: Verdict,
    idle: f64,
    cpu_bound: bool,
    iterations: u64,
    slowdown: u64,
    width: usize,
    samples: usize,
    seed: u64,
}

impl Row {
    pub(super) fn new(
        plan: &PlanOfJob,
        placement: &Placement,
        work: &Work,
        trained: &Trained,
        losses: Verdict,
    ) -> Self {
        let carriers = |data| {
            placement.carriers(plan, data).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let sum = |losses: Option<&Vec<f32>>| losses.map_or(0.0, |losses| losses.iter().sum());
        Self {
            plan: plan.name.chars().filter(|c| !c.is_control()).take(80).collect(),
            placement: placement.kind.name(),
            overlap: trained.overlap,
            ranks: plan.ranks(),
            replicas: plan.degrees.data,
            stages: plan.degrees.pipeline,
            iteration_s: trained.iteration_s,
            slow_link_bytes: trained.between_bytes,
            data_networks: carriers(true),
            pipeline_networks: carriers(false),
            first_loss: sum(trained.losses.first()),
            last_loss: sum(trained.losses.last()),
            losses,
            idle: trained.idle,
            cpu_bound: cpu::is_bound(trained.idle),
            iterations: work.iterations,
            slowdown: work.slowdown,
            width: work.model.width,
            samples: work.model.samples,
            seed: work.model.seed,
        }
    }

    /// Whether the losses are as they should be.
    pub(super) fn is_right(&self) -> bool {
        self.losses != Verdict::Wrong
    }

    /// In one line.
    pub(super) fn summary(&self) -> String {
        let overlap = if self.overlap { "with" } else { "without" };
        format!(
            "{} placement, {overlap} overlap: {:.3} s an iteration, losses {}",
            self.placement,
            self.iteration_s,
            self.losses.name()
        )
    }
}

/// Writes all rows.
pub(super) fn write(
    plan: &PlanOfJob,
    work: &Work,
    spec: &ClustersSpec,
    rows: &[Row],
    format: LabFormat,
    elapsed: Duration,
    mut to: impl Write,
) -> io::Result<()> {
    match format {
        LabFormat::Table => table(plan, work, spec, rows, elapsed, &mut to)?,
        LabFormat::Csv => csv(rows, &mut to)?,
        LabFormat::Json => {
            serde_json::to_writer_pretty(&mut to, rows)?;
            writeln!(to)?;
        }
    }
    to.flush()
}

fn csv(rows: &[Row], to: &mut impl Write) -> io::Result<()> {
    writeln!(
        to,
        "placement,overlap,ranks,replicas,stages,iteration_s,slow_link_bytes,data_networks,\
         pipeline_networks,first_loss,last_loss,losses,idle,cpu_bound,iterations,slowdown,width,\
         samples,seed"
    )?;
    for row in rows {
        writeln!(
            to,
            "{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}",
            row.placement,
            row.overlap,
            row.ranks,
            row.replicas,
            row.stages,
            row.iteration_s,
            row.slow_link_bytes,
            row.data_networks.join("+"),
            row.pipeline_networks.join("+"),
            row.first_loss,
            row.last_loss,
            row.losses.name(),
            row.idle,
            row.cpu_bound,
            row.iterations,
            row.slowdown,
            row.width,
            row.samples,
            row.seed
        )?;
    }
    Ok(())
}

fn heading(
    plan: &PlanOfJob,
    work: &Work,
    spec: &ClustersSpec,
    name: &str,
    elapsed: Duration,
    to: &mut impl Write,
) -> io::Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    writeln!(
        to,
        "# onepath-bench {version}: lab, plan of {name} in {:.0} s",
        elapsed.as_secs_f64()
    )?;
    let model = work.model;
    writeln!(
        to,
        "# {} ranks: {} stages x {} replicas, {} virtual; {} layers of width {}, {} micro-batches \
         of {} samples a replica",
        plan.ranks(),
        plan.degrees.pipeline,
        plan.degrees.data,
        plan.degrees.virtual_stages,
        model.layers,
        model.width,
        model.micro_batches,
        model.samples,
    )?;
    for switch in &spec.switches {
        writeln!(to, "# {}: {} hosts with {} each", switch.name, switch.hosts.len(), switch.rate)?;
    }
    for link in &spec.links {
        let (a, b) = link.switches;
        let [a, b] = [a, b].map(|switch| &spec.switches[switch].name);
        writeln!(to, "# between {a} and {b}: {}", link.rate)?;
    }
    writeln!(to, "# rates are the plan's divided by {}, seed {}", work.slowdown, model.seed)
}

fn table(
    plan: &PlanOfJob,
    work: &Work,
    spec: &ClustersSpec,
    rows: &[Row],
    elapsed: Duration,
    to: &mut impl Write,
) -> io::Result<()> {
    let name = rows.first().map_or("", |row| row.plan.as_str());
    heading(plan, work, spec, name, elapsed, to)?;
    writeln!(
        to,
        "#\n# {:<11}{:<9}{:>13}{:>16}  {:<18}{:<18}{:>9}{:>9}  {:<16}{:>5}",
        "placement",
        "overlap",
        "s/iteration",
        "slow link MB",
        "gradients over",
        "activations over",
        "loss",
        "then",
        "losses",
        "idle"
    )?;
    for row in rows {
        let bound = if row.cpu_bound { " cpu-bound" } else { "" };
        writeln!(
            to,
            "  {:<11}{:<9}{:>13.3}{:>16.3}  {:<18}{:<18}{:>9.4}{:>9.4}  {:<16}{:>4.0}%{bound}",
            row.placement,
            if row.overlap { "yes" } else { "no" },
            row.iteration_s,
            row.slow_link_bytes / 1e6,
            row.data_networks.join("+"),
            row.pipeline_networks.join("+"),
            row.first_loss,
            row.last_loss,
            row.losses.name(),
            row.idle * 100.0
        )?;
    }
    for overlap in [true, false] {
        let time = |placement| {
            let is = |row: &&Row| row.placement == placement && row.overlap == overlap;
            rows.iter().find(is).map(|row| row.iteration_s)
        };
        if let (Some(planned), Some(naive)) = (time("planned"), time("naive")) {
            let how = if overlap { "with" } else { "without" };
            let ratio = naive / planned;
            writeln!(to, "# planned is {ratio:.2} times as fast as naive {how} overlap")?;
        }
    }
    writeln!(
        to,
        "# losses: of every micro-batch, against one process without pipeline; MB of an iteration, \
         both directions"
    )
}
