//! A row of a collective: one size, in both placements.

use std::fmt::Write;

use serde::Serialize;

use super::{Heading, Line, without_trailing_blanks};
use crate::collective::Place;
use crate::limits::Limit;
use crate::measure::Summary;

/// What was found in one placement.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct PlaceResult {
    /// Times of the slowest rank.
    #[serde(flatten)]
    pub(crate) times: Summary,
    /// The larger buffer's bytes by the mean time, in 10⁹ bytes a second.
    pub(crate) algbw_gbps: f64,
    /// That by the collective's bus factor.
    pub(crate) busbw_gbps: f64,
    /// Wrong elements on all ranks; none if nothing was checked.
    pub(crate) wrong: Option<u64>,
}

/// One size.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Row {
    /// Bytes of the larger buffer.
    pub(crate) size: usize,
    /// Elements of the call.
    pub(crate) count: usize,
    /// With separate buffers.
    pub(crate) out_of_place: Option<PlaceResult>,
    /// With one buffer.
    pub(crate) in_place: Option<PlaceResult>,
    /// What a bare loop takes.
    pub(crate) limit: Option<Limit>,
    /// What was sent for a call; over RDMA.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) payload: Option<Payload>,
}

/// Bytes that a rank sent for one call of an all-reduce, in the last placement.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Payload {
    /// Of the rank that sent least.
    pub(crate) least: u64,
    /// Of the rank that sent most.
    pub(crate) most: u64,
    /// Less cannot be, as the mean of all ranks: 2 (n - 1) / n of the buffer.
    pub(crate) minimum: f64,
}

impl PlaceResult {
    /// Bandwidths of a call whose larger buffer has `size` bytes.
    pub(crate) fn new(times: Summary, size: usize, bus_factor: f64, wrong: Option<u64>) -> Self {
        let seconds = times.mean_us * 1e-6;
        let algbw_gbps = if seconds > 0.0 { size as f64 / seconds * 1e-9 } else { 0.0 };
        Self { times, algbw_gbps, busbw_gbps: algbw_gbps * bus_factor, wrong }
    }
}

impl Row {
    fn results(&self) -> impl Iterator<Item = (Place, &PlaceResult)> {
        let places = [(Place::Out, &self.out_of_place), (Place::In, &self.in_place)];
        places.into_iter().filter_map(|(place, result)| Some((place, result.as_ref()?)))
    }

    /// The limit's time by that of the row, in place if it was made so: 1 is all that is possible.
    pub(crate) fn limit_fraction(&self) -> Option<f64> {
        let ours = self.in_place.as_ref().or(self.out_of_place.as_ref())?;
        Some(self.limit?.median_us / ours.times.median_us)
    }
}

/// A time in at most eight characters.
fn micros(value: f64) -> String {
    match value {
        100_000.0.. => format!("{value:.0}"),
        1000.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// `-` for what does not exist.
fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

fn place_columns(result: Option<&PlaceResult>) -> String {
    let columns = match result {
        Some(result) => [
            micros(result.times.mean_us),
            format!("{:.2}", result.algbw_gbps),
            format!("{:.2}", result.busbw_gbps),
            result.wrong.map_or_else(|| "N/A".to_owned(), |wrong| wrong.to_string()),
            micros(result.times.median_us),
            micros(result.times.p99_us),
        ],
        None => std::array::from_fn(|_| "N/A".to_owned()),
    };
    let [time, algbw, busbw, wrong, median, p99] = columns;
    format!(" {time:>9} {algbw:>7} {busbw:>7} {wrong:>6} {median:>9} {p99:>9}")
}

impl Line for Row {
    fn table_names() -> String {
        let place = format!(
            " {:>9} {:>7} {:>7} {:>6} {:>9} {:>9}",
            "time", "algbw", "busbw", "#wrong", "median", "p99"
        );
        let units = format!(
            " {:>9} {:>7} {:>7} {:>6} {:>9} {:>9}",
            "(us)", "(GB/s)", "(GB/s)", "", "(us)", "(us)"
        );
        let mut names = String::new();
        // Writing to a string does not fail.
        let _ = writeln!(names, "#{:>42}{:^53}{:^53}", "", "out-of-place", "in-place");
        let _ = writeln!(
            names,
            "#{:>11}{:>12}{:>7}{:>7}{:>5}{place}{place}",
            "size", "count", "type", "redop", "root"
        );
        let _ = writeln!(
            names,
            "#{:>11}{:>12}{:>7}{:>7}{:>5}{units}{units}",
            "(B)", "(elements)", "", "", ""
        );
        without_trailing_blanks(&names)
    }

    fn table(&self, heading: &Heading) -> String {
        let mut line = format!(
            "{:>12}{:>12}{:>7}{:>7}{:>5}{}{}",
            self.size,
            self.count,
            heading.data_type,
            heading.redop.unwrap_or("none"),
            or_dash(heading.root),
            place_columns(self.out_of_place.as_ref()),
            place_columns(self.in_place.as_ref()),
        );
        if let (Some(limit), Some(fraction)) = (self.limit, self.limit_fraction()) {
            let _ =
                write!(line, "  limit {:>9} us, reached {fraction:.2}", micros(limit.median_us));
        }
        line
    }

    const CSV_NAMES: &'static str = "collective,ranks,transport,algorithm,channels,size,count,\
        type,redop,root,placement,iterations,time_us,median_us,p99_us,algbw_gbps,busbw_gbps,\
        wrong,limit_us,limit_fraction";

    fn csv(&self, heading: &Heading) -> String {
        let fields = |(place, result): (Place, &PlaceResult)| {
            let times = result.times;
            let limit = self.limit.map(|limit| limit.median_us / times.median_us);
            [
                heading.collective.to_owned(),
                heading.ranks.to_string(),
                heading.transport.clone(),
                heading.algorithm.clone(),
                heading.channels.to_string(),
                self.size.to_string(),
                self.count.to_string(),
                heading.data_type.to_owned(),
                heading.redop.unwrap_or_default().to_owned(),
                heading.root.map(|root| root.to_string()).unwrap_or_default(),
                place.name().to_owned(),
                times.iterations.to_string(),
                format!("{:.3}", times.mean_us),
                format!("{:.3}", times.median_us),
                format!("{:.3}", times.p99_us),
                format!("{:.4}", result.algbw_gbps),
                format!("{:.4}", result.busbw_gbps),
                result.wrong.map(|wrong| wrong.to_string()).unwrap_or_default(),
                self.limit.map(|limit| format!("{:.3}", limit.median_us)).unwrap_or_default(),
                limit.map(|limit| format!("{limit:.4}")).unwrap_or_default(),
            ]
            .join(",")
        };
        self.results().map(fields).collect::<Vec<_>>().join("\n")
    }

    fn peers(&self, heading: &Heading) -> String {
        let row = |(_, result): (Place, &PlaceResult)| {
            let Summary { iterations, median_us, p99_us, .. } = result.times;
            let (ranks, size) = (heading.ranks, self.size);
            format!("onepath,{ranks},{size},{iterations},{median_us:.2},{p99_us:.2}")
        };
        self.results().map(row).collect::<Vec<_>>().join("\n")
    }

    fn table_end(rows: &[Self]) -> String {
        let results = || rows.iter().flat_map(Self::results).map(|(_, result)| result);
        let mut end = String::new();
        if results().any(|result| result.wrong.is_some()) {
            let wrong: u64 = results().filter_map(|result| result.wrong).sum();
            let verdict = if wrong == 0 { "OK" } else { "FAILED" };
            let _ = writeln!(end, "# Wrong elements: {wrong} {verdict}");
        } else {
            end.push_str("# Wrong elements: not checked\n");
        }
        let mean = results().map(|result| result.busbw_gbps).sum::<f64>()
            / results().count().max(1) as f64;
        let _ = writeln!(end, "# Average bus bandwidth: {mean:.3} GB/s");
        for (size, payload) in rows.iter().filter_map(|row| Some((row.size, row.payload?))) {
            let Payload { least, most, minimum } = payload;
            let _ = writeln!(
                end,
                "# Payload a rank sent for a call of {size} bytes: {least} to {most}, minimum \
                 {minimum}"
            );
        }
        end
    }
}
