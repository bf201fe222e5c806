//! Reading and writing cost tables.
//!
//! A table is a TOML file; the same bytes are what rank 0 broadcasts.

use std::str::FromStr;

use onepath_topology::{Bytes, Nanos, WorldSize};
use serde::{Deserialize, Serialize};

use super::{Algorithm, Class, CostTable, Model, Row, supports};
use crate::types::UnknownName;

/// The version of the format that is written and read.
pub const FORMAT: u32 = 1;

/// A longer table is not read. One of all rows at `MAX_SIZES` sizes is shorter.
pub const MAX_ENCODED_BYTES: usize = 64 << 10;

const MAX_SIZES: usize = 64;
const MAX_NAME_BYTES: usize = 32;

/// TOML integers are signed.
const MAX_INTEGER: u64 = i64::MAX as u64;

/// Why a cost table was not accepted. Rows and places in lists count from 1.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TableError {
    /// It is too long.
    #[error("the cost table has {length} bytes: at most {MAX_ENCODED_BYTES} are read")]
    TooLong {
        /// Its bytes.
        length: usize,
    },
    /// It is not text.
    #[error("the cost table is not UTF-8 text: byte {at} is wrong")]
    NotText {
        /// The first wrong byte, from 0.
        at: usize,
    },
    /// It is not TOML, lacks a field, or a field has the wrong type.
    #[error("the cost table cannot be read: {message}")]
    Syntax {
        /// What the TOML parser says, with the line.
        message: String,
    },
    /// It is of another version.
    #[error("format = {found} is not known: this version reads format = {FORMAT}")]
    Format {
        /// The version.
        found: u32,
    },
    /// A number is out of range.
    #[error("{field} = {value} is wrong: it must be {right}")]
    Number {
        /// The field.
        field: &'static str,
        /// Its value.
        value: String,
        /// What would be right.
        right: &'static str,
    },
    /// The transport's name is not a name.
    #[error(
        "transport = {value:?} is wrong: it must be 1 to {MAX_NAME_BYTES} letters, digits or -"
    )]
    Transport {
        /// The name.
        value: String,
    },
    /// There are no sizes, or too many.
    #[error("sizes has {found} entries: it must have 1 to {MAX_SIZES}")]
    SizesCount {
        /// How many there are.
        found: usize,
    },
    /// A size is not above the one before it.
    #[error("sizes[{at}] = {value} is wrong: sizes must rise from 1 to {MAX_INTEGER}")]
    Size {
        /// The place.
        at: usize,
        /// The size.
        value: u64,
    },
    /// A row names what does not exist.
    #[error("row {row}: {cause}")]
    Name {
        /// The row.
        row: usize,
        /// What and the accepted names.
        #[source]
        cause: UnknownName,
    },
    /// A row is for an algorithm that its collective does not have.
    #[error("row {row}: algorithm = \"{algorithm}\" is wrong: {class} has {}", names(*.class))]
    Unsupported {
        /// The row.
        row: usize,
        /// The collective.
        class: Class,
        /// The algorithm.
        algorithm: Algorithm,
    },
    /// Two rows are for the same.
    #[error("row {row} repeats {class} by {algorithm}: each may have one row")]
    Repeated {
        /// The second of them.
        row: usize,
        /// The collective.
        class: Class,
        /// The algorithm.
        algorithm: Algorithm,
    },
    /// A row has not one time for each size.
    #[error("row {row}: nanos has {found} entries: it must have {expected}, one for each size")]
    TimesCount {
        /// The row.
        row: usize,
        /// How many there are.
        found: usize,
        /// How many there must be.
        expected: usize,
    },
    /// A time is not above zero.
    #[error("row {row}: nanos[{at}] = {value} is wrong: it must be 1 to {MAX_INTEGER}")]
    Time {
        /// The row.
        row: usize,
        /// The place.
        at: usize,
        /// The time.
        value: u64,
    },
}

fn names(class: Class) -> String {
    let has = Algorithm::ALL.into_iter().filter(|&algorithm| supports(class, algorithm));
    has.map(Algorithm::name).collect::<Vec<_>>().join(", ")
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTable {
    format: u32,
    ranks: u32,
    hosts: u32,
    transport: String,
    sizes: Vec<u64>,
    model: Model,
    #[serde(default, rename = "row")]
    rows: Vec<RawRow>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRow {
    collective: String,
    algorithm: String,
    nanos: Vec<u64>,
}

/// The version alone, so that a file of another one is refused for its version and not for the
/// first field that differs.
#[derive(Deserialize)]
struct RawFormat {
    format: u32,
}

impl CostTable {
    /// Reads a table, from a file's or a broadcast's bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, TableError> {
        if bytes.len() > MAX_ENCODED_BYTES {
            return Err(TableError::TooLong { length: bytes.len() });
        }
        let text = std::str::from_utf8(bytes)
            .map_err(|error| TableError::NotText { at: error.valid_up_to() })?;
        text.parse()
    }

    /// Writes a table: at most [`MAX_ENCODED_BYTES`], which [`decode`](Self::decode) reads.
    pub fn encode(&self) -> Vec<u8> {
        self.to_string().into_bytes()
    }
}

impl FromStr for CostTable {
    type Err = TableError;

    fn from_str(text: &str) -> Result<Self, TableError> {
        let syntax = |error: toml::de::Error| TableError::Syntax {
            message: error.to_string().trim_end().to_owned(),
        };
        let RawFormat { format } = toml::from_str(text).map_err(syntax)?;
        if format != FORMAT {
            return Err(TableError::Format { found: format });
        }
        let raw: RawTable = toml::from_str(text).map_err(syntax)?;
        let ranks = WorldSize::try_from(raw.ranks)
            .map_err(|_| number("ranks", &raw.ranks, "1 to 65536"))?;
        let rows = raw.rows.into_iter().zip(1..).map(|(row, at)| parse_row(row, at));
        let table = Self {
            ranks,
            hosts: raw.hosts,
            transport: raw.transport,
            model: raw.model,
            sizes: raw.sizes.into_iter().map(Bytes).collect(),
            rows: rows.collect::<Result<_, _>>()?,
        };
        check(&table)?;
        Ok(table)
    }
}

fn parse_row(raw: RawRow, row: usize) -> Result<Row, TableError> {
    let name = |cause| TableError::Name { row, cause };
    Ok(Row {
        class: raw.collective.parse().map_err(name)?,
        algorithm: raw.algorithm.parse().map_err(name)?,
        times: raw.nanos.into_iter().map(Nanos).collect(),
    })
}

fn number(field: &'static str, value: &dyn ToString, right: &'static str) -> TableError {
    TableError::Number { field, value: value.to_string(), right }
}

/// Checks everything that types do not say.
pub(super) fn check(table: &CostTable) -> Result<(), TableError> {
    let fits = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
    let name = &table.transport;
    if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.chars().all(fits) {
        return Err(TableError::Transport { value: name.chars().take(MAX_NAME_BYTES).collect() });
    }
    if table.hosts == 0 || u32::from(table.ranks) < table.hosts {
        return Err(number("hosts", &table.hosts, "from 1 to the number of ranks"));
    }
    check_model(&table.model)?;
    if !(1..=MAX_SIZES).contains(&table.sizes.len()) {
        return Err(TableError::SizesCount { found: table.sizes.len() });
    }
    let mut smallest = 1;
    for (at, &Bytes(value)) in (1..).zip(&table.sizes) {
        if !(smallest..=MAX_INTEGER).contains(&value) {
            return Err(TableError::Size { at, value });
        }
        smallest = value + 1;
    }
    check_rows(table)
}

fn check_model(model: &Model) -> Result<(), TableError> {
    const RATE: &str = "above 0 and finite";
    const SPAN: &str = "0 to 9223372036854775807";
    let rates = [
        ("model.beta_bytes_per_second", model.beta_bytes_per_second.0),
        ("model.gamma_bytes_per_second", model.gamma_bytes_per_second.0),
    ];
    for (field, value) in rates {
        if !(value.is_finite() && value > 0.0) {
            return Err(number(field, &value, RATE));
        }
    }
    let spans = [("model.alpha_ns", model.alpha_ns), ("model.overhead_ns", model.overhead_ns)];
    for (field, value) in spans {
        if value.get() > MAX_INTEGER {
            return Err(number(field, &value.get(), SPAN));
        }
    }
    if !(0.0..=1.0).contains(&model.incast) {
        return Err(number("model.incast", &model.incast, "0 to 1"));
    }
    Ok(())
}

fn check_rows(table: &CostTable) -> Result<(), TableError> {
    for (row, entry) in (1..).zip(&table.rows) {
        let (class, algorithm) = (entry.class, entry.algorithm);
        if !supports(class, algorithm) {
            return Err(TableError::Unsupported { row, class, algorithm });
        }
        let same = |other: &Row| other.class == class && other.algorithm == algorithm;
        if table.rows[..row - 1].iter().any(same) {
            return Err(TableError::Repeated { row, class, algorithm });
        }
        let (found, expected) = (entry.times.len(), table.sizes.len());
        if found != expected {
            return Err(TableError::TimesCount { row, found, expected });
        }
        let wrong = |&Nanos(time): &Nanos| !(1..=MAX_INTEGER).contains(&time);
        if let Some(at) = entry.times.iter().position(wrong) {
            return Err(TableError::Time { row, at: at + 1, value: entry.times[at].get() });
        }
    }
    Ok(())
}

/// As TOML.
impl std::fmt::Display for CostTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let row = |row: &Row| RawRow {
            collective: row.class.name().to_owned(),
            algorithm: row.algorithm.name().to_owned(),
            nanos: row.times.iter().map(|time| time.get()).collect(),
        };
        let raw = RawTable {
            format: FORMAT,
            ranks: u32::from(self.ranks),
            hosts: self.hosts,
            transport: self.transport.clone(),
            sizes: self.sizes.iter().map(|size| size.get()).collect(),
            model: self.model,
            rows: self.rows.iter().map(row).collect(),
        };
        f.write_str(&toml::to_string(&raw).map_err(|_| std::fmt::Error)?)
    }
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
