//! What is said before the rows: everything that is needed to repeat the run.

use std::fmt;

use serde::Serialize;

/// The most ranks that are listed in a table's heading.
const LISTED: usize = 64;

/// Where a rank runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct RankPlace {
    /// Its number.
    pub(crate) rank: u32,
    /// Its process.
    pub(crate) pid: u32,
    /// Its host.
    pub(crate) host: String,
}

/// One run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Heading {
    /// This program's version.
    pub(crate) version: &'static str,
    /// The subcommand.
    pub(crate) collective: &'static str,
    /// How many ranks.
    pub(crate) ranks: usize,
    /// As it was asked for.
    pub(crate) transport: String,
    /// As it was asked for; `auto` if the cost table chooses.
    pub(crate) algorithm: String,
    /// All-reduces in flight at once.
    pub(crate) channels: usize,
    /// The element type.
    #[serde(rename = "type")]
    pub(crate) data_type: &'static str,
    /// The reduction, if there is one.
    pub(crate) redop: Option<&'static str>,
    /// The root, if there is one.
    pub(crate) root: Option<u32>,
    /// Of the checked data.
    pub(crate) seed: u64,
    /// Where the ranks run.
    pub(crate) places: Vec<RankPlace>,
}

impl fmt::Display for Heading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# onepath-bench {}: {}", self.version, self.collective)?;
        writeln!(
            f,
            "# ranks {}, transport {}, algorithm {}, channels {}, seed {}",
            self.ranks, self.transport, self.algorithm, self.channels, self.seed
        )?;
        for place in self.places.iter().take(LISTED) {
            writeln!(f, "#   rank {:>3}  pid {:>7}  on {}", place.rank, place.pid, place.host)?;
        }
        if self.places.len() > LISTED {
            writeln!(f, "#   and {} more", self.places.len() - LISTED)?;
        }
        writeln!(f, "#")
    }
}
