//! A row of the limits.

use serde::Serialize;

use super::{Heading, Line, without_trailing_blanks};
use crate::limits::Limit;
use crate::sizes::Bytes;

/// The limit of one size.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct LimitRow {
    /// Bytes of the all-reduce.
    pub(crate) size: usize,
    /// What a bare loop takes.
    #[serde(flatten)]
    pub(crate) limit: Limit,
}

impl LimitRow {
    /// The all-reduce's bytes by the median, in 10⁹ bytes a second.
    fn algbw_gbps(&self) -> f64 {
        self.size as f64 / self.limit.median_us * 1e-3
    }

    /// The moved bytes by the median, in 10⁹ bytes a second and direction.
    fn busbw_gbps(&self) -> f64 {
        self.limit.moved_bytes as f64 / self.limit.median_us * 1e-3
    }
}

impl Line for LimitRow {
    fn table_names() -> String {
        let names = ["size", "moved", "median", "algbw", "busbw", "chunk", "connections"];
        let units = ["(B)", "(B)", "(us)", "(GB/s)", "(GB/s)", "", ""];
        let line = |[size, moved, median, algbw, busbw, chunk, connections]: [&str; 7]| {
            let first = format!("#{size:>11}{moved:>12}{median:>11}{algbw:>8}{busbw:>8}");
            format!("{first}{chunk:>8}{connections:>13}\n")
        };
        let both = line(names) + &line(units);
        without_trailing_blanks(&both)
    }

    fn table(&self, _: &Heading) -> String {
        let Limit { moved_bytes, median_us, way } = self.limit;
        format!(
            "{:>12}{moved_bytes:>12}{median_us:>11.2}{:>8.2}{:>8.2}{:>8}{:>13}",
            self.size,
            self.algbw_gbps(),
            self.busbw_gbps(),
            Bytes(way.chunk_bytes),
            way.connections,
        )
    }

    const CSV_NAMES: &'static str =
        "ranks,transport,size,moved_bytes,median_us,algbw_gbps,busbw_gbps,chunk_bytes,connections";

    fn csv(&self, heading: &Heading) -> String {
        let Limit { moved_bytes, median_us, way } = self.limit;
        format!(
            "{},{},{},{moved_bytes},{median_us:.3},{:.4},{:.4},{},{}",
            heading.ranks,
            heading.transport,
            self.size,
            self.algbw_gbps(),
            self.busbw_gbps(),
            way.chunk_bytes,
            way.connections,
        )
    }

    fn peers(&self, _: &Heading) -> String {
        String::new()
    }

    fn table_end(_: &[Self]) -> String {
        String::new()
    }
}
