//! A report as text, JSON, CSV.

use std::fmt::Write;

use k8s_openapi::jiff::Timestamp;

use super::report::{Report, Row, State};
use crate::arguments::Format;

/// A report as it was asked for.
pub(super) fn report(report: &Report, format: Format) -> String {
    match format {
        Format::Text => text(report, Timestamp::now()),
        Format::Json => {
            serde_json::to_string_pretty(report).expect("plain data is serialized") + "\n"
        }
        Format::Csv => csv(report),
    }
}

fn text(report: &Report, now: Timestamp) -> String {
    let state = match report.state {
        State::Pending => "pending",
        State::Running => "running",
        State::Succeeded => "succeeded",
        State::Failed => "failed",
    };
    let runs = report.pods.iter().filter(|row| row.phase == "Running").count();
    let mut text =
        format!("job {}: {state}, {runs} of {} pods run\n\n", report.job, report.pods.len());
    let mut table = vec![
        ["ranks", "stage", "pod", "phase", "node", "since", "restarts", "why"].map(str::to_owned),
    ];
    table.extend(report.pods.iter().map(|row| cells(row, now)));
    let width = |column: usize| table.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..8).map(|column| width(column).unwrap_or(0)).collect();
    for row in &table {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}")).collect();
        writeln!(text, "{}", cells.join("  ").trim_end()).expect("a string takes all");
    }
    if !report.events.is_empty() {
        text.push_str("\nevents\n");
    }
    for line in &report.events {
        let ago = line.time.map(|time| age(time, now)).unwrap_or_default();
        let times = if line.count > 1 { format!(" (x{})", line.count) } else { String::new() };
        writeln!(text, "{ago:>4}  {}  {}: {}{times}", line.object, line.reason, line.message)
            .expect("a string takes all");
    }
    text
}

fn ranks(row: &Row) -> String {
    if row.first_rank == row.last_rank {
        row.first_rank.to_string()
    } else {
        format!("{}-{}", row.first_rank, row.last_rank)
    }
}

fn cells(row: &Row, now: Timestamp) -> [String; 8] {
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    [
        ranks(row),
        row.stage.clone(),
        or_none(&row.pod),
        row.phase.clone(),
        or_none(&row.node),
        row.since.map_or_else(|| "-".to_owned(), |since| age(since, now)),
        row.restarts.to_string(),
        row.why.clone(),
    ]
}

/// How long ago, in the largest unit of which there are two, or seconds.
fn age(time: Timestamp, now: Timestamp) -> String {
    let seconds = (now.as_second() - time.as_second()).max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

fn csv(report: &Report) -> String {
    let mut text =
        String::from("job,state,first_rank,last_rank,stage,pod,phase,node,since,restarts,why\n");
    let state = serde_json::to_value(report.state).expect("plain data is serialized");
    for row in &report.pods {
        let fields = [
            report.job.clone(),
            state.as_str().unwrap_or_default().to_owned(),
            row.first_rank.to_string(),
            row.last_rank.to_string(),
            row.stage.clone(),
            row.pod.clone().unwrap_or_default(),
            row.phase.clone(),
            row.node.clone().unwrap_or_default(),
            row.since.map(|since| since.to_string()).unwrap_or_default(),
            row.restarts.to_string(),
            row.why.clone(),
        ];
        let fields: Vec<String> = fields.iter().map(|field| csv_field(field)).collect();
        writeln!(text, "{}", fields.join(",")).expect("a string takes all");
    }
    text
}

/// In quotes where RFC 4180 wants them.
fn csv_field(field: &str) -> String {
    if field.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_in_the_largest_unit_of_which_there_are_two() {
        let now = Timestamp::from_second(1_000_000).expect("a time");
        for (ago, expected) in [
            (-5, "0s"),
            (119, "119s"),
            (120, "2m"),
            (7_199, "119m"),
            (7_200, "2h"),
            (200_000, "2d"),
        ] {
            let time = Timestamp::from_second(1_000_000 - ago).expect("a time");
            assert_eq!(age(time, now), expected);
        }
    }

    #[test]
    fn a_field_with_a_comma_stands_in_quotes() {
        assert_eq!(csv_field("a"), "a");
        assert_eq!(csv_field("a, \"b\""), "\"a, \"\"b\"\"\"");
    }
}
