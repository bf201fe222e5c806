//! Results as table, CSV and JSON.

use std::fmt::{self, Write as _};
use std::io::{self, Write};
use std::time::Duration;

use serde_json::Value;

use super::measure::Measured;
use super::row::Row;
use crate::lab::arguments::LabFormat;

/// Writes all rows.
pub(super) fn write(
    measured: &[Measured],
    format: LabFormat,
    elapsed: Duration,
    mut to: impl Write,
) -> io::Result<()> {
    let rows: Vec<&Row> = measured.iter().map(|one| &one.row).collect();
    match format {
        LabFormat::Table => write!(to, "{}", Table { rows: &rows, elapsed })?,
        LabFormat::Csv => write!(to, "{}", csv(&rows))?,
        LabFormat::Json => {
            serde_json::to_writer_pretty(&mut to, &rows)?;
            writeln!(to)?;
        }
    }
    to.flush()
}

fn csv(rows: &[&Row]) -> String {
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        let fields = row.fields();
        if index == 0 {
            let names: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
            writeln!(text, "{}", names.join(",")).expect("a string takes all");
        }
        let values: Vec<String> = fields.iter().map(|(_, value)| plain(value)).collect();
        writeln!(text, "{}", values.join(",")).expect("a string takes all");
    }
    text
}

/// Without the quotes of JSON, unless something in it would be taken for a separator.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) if text.contains([',', '"', '\n']) => {
            format!("\"{}\"", text.replace('"', "\"\""))
        }
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Rows that differ in their seeds only, in the order in which they were measured.
pub(super) fn by_seed<'a>(rows: &[&'a Row]) -> Vec<Vec<&'a Row>> {
    let mut groups: Vec<Vec<&Row>> = Vec::new();
    for row in rows {
        match groups.iter_mut().find(|group| group[0].differs_in_seed_only(row)) {
            Some(group) => group.push(row),
            None => groups.push(vec![row]),
        }
    }
    groups
}

/// Of an even number, the mean of the two in the middle; nothing of nothing.
pub(super) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        length if length.is_multiple_of(2) => {
            Some(f64::midpoint(values[middle - 1], values[middle]))
        }
        _ => Some(values[middle]),
    }
}

/// Medians over seeds, to be read.
struct Table<'a> {
    rows: &'a [&'a Row],
    elapsed: Duration,
}

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let groups = by_seed(self.rows);
        let version = env!("CARGO_PKG_VERSION");
        writeln!(
            f,
            "# onepath-bench {version}: lab, {} runs in {:.0} s",
            self.rows.len(),
            self.elapsed.as_secs_f64()
        )?;
        let mut shown = None;
        for group in &groups {
            if shown != Some(&group[0].spec) {
                heading(f, group[0])?;
                shown = Some(&group[0].spec);
            }
            line(f, group)?;
        }
        writeln!(
            f,
            "# done: runs that ended in time with the right data; \
             times, loads and counts are medians over seeds"
        )
    }
}

fn heading(f: &mut fmt::Formatter<'_>, row: &Row) -> fmt::Result {
    let spec = &row.spec;
    writeln!(
        f,
        "#\n# {} leaves, {} spines, {} hosts, host links {}, uplinks {}, mtu {}, queues of {} \
         packets, buffers of {}",
        spec.leaf_count(),
        spec.spine_count(),
        spec.host_count(),
        spec.rate(),
        spec.uplink_rate(),
        spec.mtu(),
        spec.queue_packets(),
        crate::sizes::Bytes(row.cell.bytes),
    )?;
    writeln!(
        f,
        "# {:<17}{:<15}{:<11}{:<17}{:>6}{:>8}{:>8}{:>7}{:>9}{:>8}{:>8}{:>9}{:>6}",
        "collective",
        "condition",
        "order",
        "scheme",
        "done",
        "time s",
        "ideal s",
        "ratio",
        "max/mean",
        "resent",
        "disord",
        "subflows",
        "idle"
    )
}

fn line(f: &mut fmt::Formatter<'_>, group: &[&Row]) -> fmt::Result {
    let row = group[0];
    let of = |value: &dyn Fn(&Row) -> Option<f64>| {
        median(group.iter().filter_map(|r| value(r)).collect())
    };
    let done = group.iter().filter(|row| row.is_right()).count();
    let time = of(&|row| row.completion_s);
    let time = time.map_or_else(|| format!(">{:.1}", row.limit_s), |time| format!("{time:.2}"));
    let ratio = of(&|row| row.completion_s.map(|time| time / row.ideal_s));
    let ideal = of(&|row| Some(row.ideal_s)).unwrap_or_default();
    let number = |value: Option<f64>, digits: usize| {
        value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
    };
    let bound = if group.iter().any(|row| row.cpu_bound) { " cpu-bound" } else { "" };
    let calls = match row.cell.warm_ups {
        0 => String::new(),
        calls => format!(" after {calls} calls"),
    };
    writeln!(
        f,
        "  {:<17}{:<15}{:<11}{:<17}{:>6}{:>8}{:>8.2}{:>7}{:>9}{:>8}{:>8}{:>9}{:>5}%{bound}{calls}",
        row.cell.collective.name(),
        row.cell.condition.name(),
        row.cell.order.name(),
        row.cell.scheme.name(),
        format!("{done}/{}", group.len()),
        time,
        ideal,
        number(ratio, 2),
        number(of(&|row| row.max_over_mean), 3),
        number(of(&|row| row.losses().map(|counts| counts.retransmits as f64)), 0),
        number(of(&|row| row.losses().map(|counts| counts.out_of_order as f64)), 0),
        number(of(&|row| row.tally.map(|tally| tally.used as f64)), 0),
        number(of(&|row| Some(row.idle * 100.0)), 0),
    )?;
    for problem in group.iter().filter_map(|row| Some((row.cell.seed, row.problem.as_ref()?))) {
        writeln!(f, "#   seed {}: {}", problem.0, problem.1)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_those_of_sorted_values() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn values_that_hold_separators_are_quoted() {
        assert_eq!(plain(&Value::from("a,\"b\"")), "\"a,\"\"b\"\"\"");
        assert_eq!((plain(&Value::from(1.5)), plain(&Value::Null)), ("1.5".into(), String::new()));
    }
}
