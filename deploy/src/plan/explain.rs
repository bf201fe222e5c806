//! The explanation for people, and groups as CSV.

use std::fmt::Write;

use onepath_topology::groups::SurveyedGroup;
use onepath_topology::{Bytes, Rank};

use super::Plan;
use super::view::PlanView;

/// The most rows of groups that people read.
const MAX_ROWS: usize = 60;

/// The most runs of ranks that people read.
const MAX_RUNS: usize = 4;

/// Rows of cells, the first row being names, as a table with aligned columns.
struct Table(Vec<Vec<String>>);

impl Table {
    fn new(names: &[&str]) -> Self {
        Self(vec![names.iter().map(|&name| name.to_owned()).collect()])
    }

    fn text(&self) -> String {
        let columns = self.0[0].len();
        let width = |column: usize| self.0.iter().map(|row| row[column].chars().count()).max();
        let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
        let mut text = String::new();
        for row in &self.0 {
            let cells: Vec<String> =
                row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}")).collect();
            text.push_str(cells.join("  ").trim_end());
            text.push('\n');
        }
        text
    }
}

/// The explanation.
pub(crate) fn text(plan: &Plan) -> String {
    let view = plan.view();
    let inventory = &plan.job.document.inventory;
    let d = view.degrees;
    let mut text = format!(
        "plan of {}: {} of {} GPUs on {} of {} nodes in {} cluster(s)\n\
         tensor {} x data {} x pipeline {}, order {}, {} micro-batches of {} a replica, \
         {} virtual stage(s)\n\
         predicted iteration {:.3} s: {:.2} samples/s, {:.1} TFLOPS a GPU, bubble {:.1}% (by the \
         {})\n\
         lower bound {:.3} s, gap {:.2}% ({} of {} combinations of degrees cut exactly, the others \
         excluded by their bounds)\n\n",
        view.name,
        plan.placement.world(),
        inventory.gpus(),
        view.nodes.len(),
        inventory.nodes(),
        inventory.clusters().len(),
        d.tensor,
        d.data,
        d.pipeline,
        view.order,
        view.micro_batches,
        d.micro_batch,
        d.virtual_stages,
        view.iteration_s,
        view.samples_per_s,
        view.tflops_per_gpu,
        100.0 * view.bubble,
        view.bubble_by,
        view.lower_bound_s,
        100.0 * view.gap,
        view.evaluated,
        view.candidates,
    );
    text += &stages(plan, &view);
    text.push('\n');
    text += &groups(plan);
    text.push('\n');
    text += &traffic(&view);
    for warning in &view.warnings {
        // Loud: a table above may hide it.
        writeln!(text, "\n*** WARNING: {warning}").expect("a string takes all");
    }
    text
}

fn stages(plan: &Plan, view: &PlanView<'_>) -> String {
    let names = ["stage", "cluster", "GPU", "ranks", "layers", "memory of a GPU", "nodes"];
    let mut table = Table::new(&names);
    let last = plan.job.shape.layers as usize + 1;
    for stage in &view.stages {
        let mut layers = Vec::new();
        if stage.first_layer == 0 {
            layers.push("embedding".to_owned());
        }
        if stage.blocks > 0 {
            let first = stage.first_layer.max(1);
            layers.push(format!("{} blocks {first}-{}", stage.blocks, first + stage.blocks - 1));
        }
        if stage.first_layer + stage.layers > last {
            layers.push("head".to_owned());
        }
        let hosts = match stage.hosts[..] {
            [only] => only.to_owned(),
            _ => format!(
                "{} to {} ({})",
                stage.hosts[0],
                stage.hosts[stage.hosts.len() - 1],
                stage.hosts.len()
            ),
        };
        table.0.push(vec![
            stage.stage.to_string(),
            stage.cluster.to_owned(),
            stage.gpu.to_owned(),
            format!("{}-{}", stage.first_rank, stage.first_rank + stage.ranks - 1),
            layers.join(", "),
            format!("{:.1} of {:.1} GiB", gib(stage.memory_bytes), gib(stage.memory_of_gpu_bytes)),
            hosts,
        ]);
    }
    table.text()
}

/// Neighbouring groups of a kind that differ in their members only are one row.
fn groups(plan: &Plan) -> String {
    let names = ["group", "members", "network", "slowest link", "rate", "latency", "why"];
    let mut table = Table::new(&names);
    let alike = |a: &SurveyedGroup, b: &SurveyedGroup| {
        let (x, y) = (&a.selection, &b.selection);
        a.kind == b.kind
            && a.ranks.len() == b.ranks.len()
            && x.carrier == y.carrier
            && x.rate == y.rate
            && x.reason == y.reason
            && cluster(plan, a) == cluster(plan, b)
    };
    let mut runs: Vec<(&SurveyedGroup, usize)> = Vec::new();
    for group in &plan.groups {
        match runs.last_mut().filter(|(first, _)| alike(first, group)) {
            Some((_, count)) => *count += 1,
            None => runs.push((group, 1)),
        }
    }
    for (group, count) in runs.iter().take(MAX_ROWS) {
        let inventory = &plan.job.document.inventory;
        let (a, b) = group.selection.slowest;
        let ends = if a == b {
            inventory.host(a).to_owned()
        } else {
            format!("{} - {}", inventory.host(a), inventory.host(b))
        };
        let name = if *count == 1 {
            format!("{} {}", group.kind.name(), group.index)
        } else {
            format!("{} {}-{}", group.kind.name(), group.index, group.index + count - 1)
        };
        let more = if *count == 1 { "" } else { ", ..." };
        table.0.push(vec![
            name,
            format!("{}{more}", ranks_text(&group.ranks)),
            match group.selection.fallback_from {
                Some(from) => format!("{} (not {from})", group.selection.carrier),
                None => group.selection.carrier.to_string(),
            },
            ends,
            format!("{:.1} Gbit/s", group.selection.rate.0 * 8.0 / 1e9),
            group.selection.latency.to_string(),
            group.selection.reason.to_string(),
        ]);
    }
    let mut text = table.text();
    if runs.len() > MAX_ROWS {
        let left = runs.len() - MAX_ROWS;
        writeln!(text, "and {left} more rows: --format csv has every group")
            .expect("a string takes all");
    }
    text
}

fn cluster(plan: &Plan, group: &SurveyedGroup) -> u32 {
    plan.job.document.inventory.pool_of(group.selection.slowest.0).cluster().0
}

fn traffic(view: &PlanView<'_>) -> String {
    let mut table = Table::new(&["traffic", "carried by", "GB an iteration"]);
    for class in &view.traffic {
        table.0.push(vec![
            class.kind.to_owned(),
            class.carrier.clone(),
            format!("{:.3}", class.bytes.0 as f64 / 1e9),
        ]);
    }
    for link in &view.links {
        let kind = link.kind.map_or("", |kind| kind.name());
        table.0.push(vec![
            "between clusters".to_owned(),
            format!("{} - {} ({kind})", link.from, link.to),
            format!("{:.3}", link.bytes.0 as f64 / 1e9),
        ]);
    }
    table.text()
}

fn gib(bytes: Bytes) -> f64 {
    bytes.0 as f64 / f64::from(1 << 30)
}

/// Ranks in short: `0-7`, `0-56 step 8`, or `0-7,16-23`; of many runs the first.
pub(crate) fn ranks_text(ranks: &[Rank]) -> String {
    let numbers: Vec<u32> = ranks.iter().map(|rank| rank.number()).collect();
    if let [first, second, _, ..] = numbers[..] {
        let step = second.wrapping_sub(first);
        if step != 1 && numbers.windows(2).all(|pair| pair[1].wrapping_sub(pair[0]) == step) {
            return format!("{first}-{} step {step}", numbers[numbers.len() - 1]);
        }
    }
    let runs: Vec<&[u32]> = numbers.chunk_by(|a, b| a.wrapping_add(1) == *b).collect();
    let run = |run: &&[u32]| match run {
        [only] => only.to_string(),
        _ => format!("{}-{}", run[0], run[run.len() - 1]),
    };
    let mut text = runs.iter().take(MAX_RUNS).map(run).collect::<Vec<_>>().join(",");
    if runs.len() > MAX_RUNS {
        write!(text, ",... ({} ranks)", ranks.len()).expect("a string takes all");
    }
    text
}

/// Every group, one a line.
pub(crate) fn csv(plan: &Plan) -> String {
    let mut text = String::from(
        "kind,index,members,nodes,carrier,rate_gbit_s,latency_us,slowest_from,slowest_to,\
         fallback_from,net_name,why\n",
    );
    for group in plan.view().groups {
        let members: Vec<String> = group.group.ranks.iter().map(Rank::to_string).collect();
        let selection = &group.group.selection;
        writeln!(
            text,
            "{},{},{},{},{},{},{},{},{},{},{},\"{}\"",
            group.group.kind.name(),
            group.group.index,
            members.join(" "),
            group.group.nodes,
            selection.carrier,
            selection.rate.0 * 8.0 / 1e9,
            selection.latency.0 as f64 / 1e3,
            group.slowest_hosts.0,
            group.slowest_hosts.1,
            selection.fallback_from.map_or("", |kind| kind.name()),
            group.net_name.unwrap_or(""),
            group.explanation,
        )
        .expect("a string takes all");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_written_in_short() {
        let text = |numbers: &[u32]| {
            ranks_text(&numbers.iter().map(|&number| Rank::new(number)).collect::<Vec<_>>())
        };
        assert_eq!(text(&[]), "");
        assert_eq!(text(&[7]), "7");
        assert_eq!(text(&[0, 32]), "0,32");
        assert_eq!(text(&[0, 1, 2, 3]), "0-3");
        assert_eq!(text(&[0, 8, 16]), "0-16 step 8");
        assert_eq!(text(&[0, 1, 8, 9]), "0-1,8-9");
        assert_eq!(text(&[0, 2, 4, 9, 11, 20]), "0,2,4,9,... (6 ranks)");
    }
}
