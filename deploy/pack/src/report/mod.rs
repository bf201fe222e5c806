//! What came of placing pods, beside what the default scheduler would do.
//!
//! | module | what it holds |
//! |---|---|
//! | `view` | everything as plain data |
//! | `pending` | why a pod stays without a node |
//! | `text` | for people |
//! | `csv` | one line a pod |
//! | `html` | nodes before and after, as a picture |

/// Writing to a string does not fail.
macro_rules! put {
    ($text:expr, $($format:tt)*) => {
        std::fmt::Write::write_fmt(&mut $text, format_args!($($format)*))
            .expect("a string takes all")
    };
}

mod csv;
mod html;
mod pending;
#[cfg(test)]
mod tests;
mod text;
mod view;

pub use csv::csv;
pub use html::page;
pub use text::text;
pub use view::{Change, LeftRow, PodRow, Report, StageRow, TierRow};

use crate::kubernetes::{Mapping, Snapshot};
use crate::placement::Placement;
use crate::problem::Problem;
use crate::score::Objective;
use crate::solve::report::Answer;

/// What there is to be reported.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// The objects.
    pub snapshot: &'a Snapshot,
    /// What was to be placed where.
    pub problem: &'a Problem,
    /// From the problem back to the objects.
    pub mapping: &'a Mapping,
    /// What the default scheduler would do.
    pub default: &'a Placement,
    /// What was found.
    pub answer: &'a Answer,
    /// What is better.
    pub objective: Objective,
}
