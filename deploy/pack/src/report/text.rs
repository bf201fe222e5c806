//! For people.

use std::collections::BTreeMap;

use super::csv::word;
use super::{Change, LeftRow, PodRow, Report, StageRow, TierRow};
use crate::score::{Goal, Objective};
use crate::solve::report::Status;

/// The most pods that are listed.
const MOST_ROWS: usize = 100;

/// Tiers, stages, changes, and why pods stay pending.
pub fn text(report: &Report) -> String {
    let objective = match report.objective {
        Objective::TierByTier => "tier by tier",
        Objective::PlacementFirst => "placement first",
    };
    let mut text = format!(
        "{} pods on {} nodes, {objective}: {}\n\n",
        report.pods.len(),
        report.nodes,
        status(report.status)
    );
    text += &tiers(&report.tiers);
    text += &stages(&report.stages);
    text += &changes(&report.pods);
    text += &pending(&report.pods, &report.left);
    text += &held(&report.held);
    for note in &report.notes {
        put!(text, "note: {note}\n");
    }
    text
}

const fn status(status: Status) -> &'static str {
    match status {
        Status::Optimal => "optimal",
        Status::Feasible => "feasible",
        Status::TimedOut => "timed out",
    }
}

fn tiers(tiers: &[TierRow]) -> String {
    let row = |tier: &TierRow| {
        let by_default = match tier.default_useless {
            0 => tier.default.to_string(),
            useless => format!("{} ({useless} in gangs not whole)", tier.default),
        };
        vec![
            tier.priority.to_string(),
            tier.pods.to_string(),
            tier.before.to_string(),
            by_default,
            tier.placed.to_string(),
            tier.default_disturbed.to_string(),
            tier.disturbed.to_string(),
        ]
    };
    let names = [
        "priority",
        "pods",
        "running",
        "default places",
        "onepath places",
        "default disturbs",
        "onepath disturbs",
    ];
    table(&names, &tiers.iter().map(row).collect::<Vec<_>>())
}

fn stages(stages: &[StageRow]) -> String {
    let row = |stage: &StageRow| {
        let goal = match stage.goal {
            Goal::Placed => "most placed",
            Goal::Disturbed => "fewest disturbed",
        };
        vec![
            format!("{} {goal}", stage.priority),
            stage.value.to_string(),
            stage.bound.to_string(),
            status(stage.status).to_owned(),
            stage.back_end.clone().unwrap_or_else(|| "-".to_owned()),
        ]
    };
    table(&["stage", "value", "bound", "status", "by"], &stages.iter().map(row).collect::<Vec<_>>())
}

fn changes(pods: &[PodRow]) -> String {
    let differs = |pod: &&PodRow| {
        !matches!(pod.change, Change::Stays | Change::Pending) || pod.default != pod.before
    };
    let rows = pods.iter().filter(differs).map(|pod| {
        let node = |node: &Option<String>| node.clone().unwrap_or_else(|| "-".to_owned());
        vec![
            pod.pod.clone(),
            pod.priority.to_string(),
            node(&pod.gang),
            node(&pod.before),
            node(&pod.default),
            node(&pod.node),
            word(pod.change).to_owned(),
        ]
    });
    let rows: Vec<_> = rows.collect();
    if rows.is_empty() {
        return "No pod is placed, moved or evicted.\n\n".to_owned();
    }
    let shown = &rows[..rows.len().min(MOST_ROWS)];
    let mut text = table(&["pod", "priority", "gang", "now", "default", "onepath", ""], shown);
    if rows.len() > shown.len() {
        text.truncate(text.len() - 1);
        put!(text, "and {} more (--format csv has all)\n\n", rows.len() - shown.len());
    }
    text
}

/// Why pods have no node, those of one reason together.
fn pending(pods: &[PodRow], left: &[LeftRow]) -> String {
    let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for pod in pods {
        if let Some(reason) = &pod.reason {
            reasons.entry(reason).or_default().push(&pod.pod);
        }
    }
    for LeftRow { pod, reason, .. } in left {
        reasons.entry(reason).or_default().push(pod);
    }
    if reasons.is_empty() {
        return String::new();
    }
    let rows = reasons.into_iter().map(|(reason, pods)| vec![listed(&pods), reason.to_owned()]);
    table(&["without a node", "why"], &rows.collect::<Vec<_>>())
}

/// How many running pods stay, by reason.
fn held(held: &[LeftRow]) -> String {
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    for row in held {
        *reasons.entry(&row.reason).or_default() += 1;
    }
    if reasons.is_empty() {
        return String::new();
    }
    let rows = reasons.into_iter().map(|(reason, pods)| vec![pods.to_string(), reason.to_owned()]);
    table(&["pods that stay", "why"], &rows.collect::<Vec<_>>())
}

/// The first few names, and how many more there are.
fn listed(names: &[&str]) -> String {
    const MOST: usize = 3;
    let more = names.len().saturating_sub(MOST);
    let names = names[..names.len().min(MOST)].join(", ");
    if more == 0 { names } else { format!("{names} and {more} more") }
}

/// Columns of the width of their longest entry, and an empty line.
fn table(names: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let entries = rows.iter().map(|row| row[column].chars().count());
        entries.chain([names[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..names.len()).map(width).collect();
    let line = |entries: &mut dyn Iterator<Item = &str>| {
        let padded = entries.zip(&widths).map(|(entry, width)| format!("{entry:width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    let mut text = line(&mut names.iter().copied());
    for row in rows {
        text += &line(&mut row.iter().map(String::as_str));
    }
    text + "\n"
}
