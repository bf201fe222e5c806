//! The fabric as data: hosts, leaves, spines, links, and the paths between two leaves.
//!
//! | module | what it holds |
//! |---|---|
//! | `ids` | [`HostId`], [`LeafId`], [`SpineId`], [`RailId`], [`PathId`] |
//! | `paths` | [`Path`], [`LeafPaths`] of a pair, [`PathTable`] of a source leaf, [`PathTables`] |
//! | `link` | [`Link`] and its dense number |
//! | `leaf_spine` | [`LeafSpine`]: two layers with rates, dead links, rails, oversubscription |

mod ids;
mod leaf_spine;
mod link;
mod paths;

pub use ids::{HostId, LeafId, PathId, RailId, SpineId};
pub use leaf_spine::{LeafSpine, Shape, ShapeError};
pub use link::Link;
pub use paths::{LeafPaths, MAX_PATHS, Path, PathTable, PathTables, PathsError};
