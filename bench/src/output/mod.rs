//! Results on standard output, and nothing else there.
//!
//! | file | what it holds |
//! |---|---|
//! | `row` | a row of a collective |
//! | `limit_row` | a row of the limits |
//! | `heading` | what is said before the rows |
mod heading;
mod limit_row;
mod row;

use std::io::{self, Write};

use serde::Serialize;

use crate::arguments::Format;
use crate::verbs::{self, Lane};

pub(crate) use heading::{Heading, RankPlace};
pub(crate) use limit_row::LimitRow;
pub(crate) use row::{Payload, PlaceResult, Row};

/// A kind of rows in all formats.
pub(crate) trait Line: Serialize {
    /// The names above a table, lines that begin with `#`.
    fn table_names() -> String;

    /// One line of a table.
    fn table(&self, heading: &Heading) -> String;

    /// The names of the fields of [`csv`](Self::csv).
    const CSV_NAMES: &'static str;

    /// One or more lines of comma separated fields.
    fn csv(&self, heading: &Heading) -> String;

    /// The peers' row, if there is one.
    fn peers(&self, heading: &Heading) -> String;

    /// What is said below a table.
    fn table_end(rows: &[Self]) -> String
    where
        Self: Sized;
}

/// Writes rows as they come.
pub(crate) struct Printer<L, W> {
    format: Format,
    heading: Heading,
    rows: Vec<L>,
    to: W,
}

/// The JSON document.
#[derive(Serialize)]
struct Document<'a, L> {
    #[serde(flatten)]
    heading: &'a Heading,
    rows: &'a [L],
    /// Of RDMA; left out over other transports.
    #[serde(skip_serializing_if = "<[Lane]>::is_empty")]
    lanes: &'a [Lane],
}

impl<L: Line, W: Write> Printer<L, W> {
    /// Writes what comes before the rows.
    pub(crate) fn start(format: Format, heading: Heading, mut to: W) -> io::Result<Self> {
        match format {
            Format::Table => write!(to, "{heading}{}", L::table_names())?,
            Format::Csv => writeln!(to, "{}", L::CSV_NAMES)?,
            Format::Json | Format::Peers => {}
        }
        to.flush()?;
        Ok(Self { format, heading, rows: Vec::new(), to })
    }

    /// Writes a row.
    pub(crate) fn row(&mut self, row: L) -> io::Result<()> {
        match self.format {
            Format::Table => writeln!(self.to, "{}", row.table(&self.heading))?,
            Format::Csv => writeln!(self.to, "{}", row.csv(&self.heading))?,
            Format::Peers => writeln!(self.to, "{}", row.peers(&self.heading))?,
            Format::Json => {}
        }
        self.rows.push(row);
        self.to.flush()
    }

    /// Writes what comes after the rows, with what went over the lanes of RDMA.
    pub(crate) fn finish(mut self, lanes: &[Lane]) -> io::Result<()> {
        match self.format {
            Format::Table => {
                write!(self.to, "{}{}", L::table_end(&self.rows), verbs::table_end(lanes))?;
            }
            Format::Json => {
                let document = Document { heading: &self.heading, rows: &self.rows, lanes };
                serde_json::to_writer_pretty(&mut self.to, &document)?;
                writeln!(self.to)?;
            }
            Format::Csv | Format::Peers => {}
        }
        self.to.flush()
    }
}

/// The same lines, each ending with its last word.
fn without_trailing_blanks(text: &str) -> String {
    let mut lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.push("");
    lines.join("\n")
}

#[cfg(test)]
mod tests;
