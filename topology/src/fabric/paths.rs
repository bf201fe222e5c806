//! The paths between leaves: what a rank must know of a fabric to choose among them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{LeafId, PathId, RailId};
use crate::units::Bandwidth;

/// The most paths between two leaves that are accepted.
pub const MAX_PATHS: usize = 4096;

/// One path from a leaf to another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Path {
    /// Its number, see [`PathId`].
    pub id: PathId,
    /// The rail it belongs to: which NIC of the source a flow must leave by.
    pub rail: RailId,
    /// Its capacity, or any weight: only ratios between the paths of a pair count.
    pub capacity: Bandwidth,
    /// Whether it carries packets. A dead path is never assigned anything.
    pub alive: bool,
}

/// Why a list of paths is refused.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum PathsError {
    /// Longer than [`MAX_PATHS`].
    #[error("{0} paths between two leaves: at most {MAX_PATHS} are accepted")]
    TooMany(usize),
    /// A number stands twice in the list.
    #[error("path {0} is listed twice: numbers must differ")]
    Repeated(PathId),
    /// A capacity that is no positive number.
    #[error("path {path} has capacity {}: it must be a positive, finite number", capacity.0)]
    Capacity {
        /// The path.
        path: PathId,
        /// What was given.
        capacity: Bandwidth,
    },
}

/// The paths from one leaf to another, alive or dead, of all rails. Cheap to clone.
#[derive(Clone, Debug, PartialEq)]
pub struct LeafPaths {
    paths: Arc<[Path]>,
}

impl LeafPaths {
    /// These paths, in this order.
    pub fn new(paths: Vec<Path>) -> Result<Self, PathsError> {
        if paths.len() > MAX_PATHS {
            return Err(PathsError::TooMany(paths.len()));
        }
        let mut seen = BTreeSet::new();
        for path in &paths {
            if !seen.insert(path.id) {
                return Err(PathsError::Repeated(path.id));
            }
            if !path.capacity.0.is_finite() || path.capacity.0 <= 0.0 {
                return Err(PathsError::Capacity { path: path.id, capacity: path.capacity });
            }
        }
        Ok(Self { paths: paths.into() })
    }

    /// `count` live paths of equal capacity on rail 0, numbered from 0.
    pub fn equal(count: u32) -> Result<Self, PathsError> {
        let path =
            |id| Path { id: PathId(id), rail: RailId(0), capacity: Bandwidth(1.0), alive: true };
        if count as usize > MAX_PATHS {
            return Err(PathsError::TooMany(count as usize));
        }
        Self::new((0..count).map(path).collect())
    }

    /// All paths, dead ones too.
    pub fn all(&self) -> &[Path] {
        &self.paths
    }

    /// The live paths of `rail`, or of every rail.
    pub fn live(&self, rail: Option<RailId>) -> impl Iterator<Item = &Path> {
        let on_rail = move |path: &&Path| rail.is_none_or(|rail| path.rail == rail);
        self.paths.iter().filter(|path| path.alive).filter(on_rail)
    }

    /// The same paths with those that `dead` names marked dead.
    pub fn without(&self, dead: impl Fn(PathId) -> bool) -> Self {
        let mark = |path: &Path| Path { alive: path.alive && !dead(path.id), ..*path };
        Self { paths: self.paths.iter().map(mark).collect() }
    }

    /// The same paths with equal capacities: what a scheme sees that knows of deaths only.
    pub fn unweighted(&self) -> Self {
        let level = |path: &Path| Path { capacity: Bandwidth(1.0), ..*path };
        Self { paths: self.paths.iter().map(level).collect() }
    }
}

/// The paths from one leaf to every other: the view of a rank on that leaf.
#[derive(Clone, Debug, PartialEq)]
pub struct PathTable {
    leaf: LeafId,
    to: BTreeMap<LeafId, LeafPaths>,
}

impl PathTable {
    /// A table for ranks on `leaf` that knows no destination yet.
    pub const fn new(leaf: LeafId) -> Self {
        Self { leaf, to: BTreeMap::new() }
    }

    /// Sets the paths to `destination`, in place of earlier ones.
    pub fn insert(&mut self, destination: LeafId, paths: LeafPaths) {
        self.to.insert(destination, paths);
    }

    /// The leaf that the paths start from.
    pub const fn leaf(&self) -> LeafId {
        self.leaf
    }

    /// The paths to `destination`.
    pub fn to(&self, destination: LeafId) -> Option<&LeafPaths> {
        self.to.get(&destination)
    }

    /// All destinations with their paths, by number.
    pub fn destinations(&self) -> impl Iterator<Item = (LeafId, &LeafPaths)> {
        self.to.iter().map(|(leaf, paths)| (*leaf, paths))
    }

    /// The table with every list replaced, as by [`LeafPaths::unweighted`].
    pub fn map(&self, change: impl Fn(&LeafPaths) -> LeafPaths) -> Self {
        let to = self.to.iter().map(|(leaf, paths)| (*leaf, change(paths))).collect();
        Self { leaf: self.leaf, to }
    }
}

/// The tables of all source leaves.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PathTables {
    from: BTreeMap<LeafId, PathTable>,
}

impl PathTables {
    /// The table of ranks on `leaf`.
    pub fn from(&self, leaf: LeafId) -> Option<&PathTable> {
        self.from.get(&leaf)
    }

    /// All tables, by source leaf.
    pub fn iter(&self) -> impl Iterator<Item = &PathTable> {
        self.from.values()
    }

    /// Every list replaced, as by [`LeafPaths::unweighted`].
    pub fn map(&self, change: impl Fn(&LeafPaths) -> LeafPaths) -> Self {
        self.from.values().map(|table| table.map(&change)).collect()
    }
}

impl FromIterator<PathTable> for PathTables {
    fn from_iter<I: IntoIterator<Item = PathTable>>(tables: I) -> Self {
        Self { from: tables.into_iter().map(|table| (table.leaf, table)).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_path_and_a_capacity_of_zero_are_refused_by_name() {
        let path = |id, capacity| Path {
            id: PathId(id),
            rail: RailId(0),
            capacity: Bandwidth(capacity),
            alive: true,
        };
        let repeated = LeafPaths::new(vec![path(3, 1.0), path(3, 1.0)]);
        assert_eq!(repeated, Err(PathsError::Repeated(PathId(3))));
        let zero = LeafPaths::new(vec![path(1, 0.0)]).map_err(|error| error.to_string());
        let text = "path 1 has capacity 0: it must be a positive, finite number";
        assert_eq!(zero, Err(text.to_owned()));
        assert!(LeafPaths::new(vec![path(1, f64::NAN)]).is_err());
        assert_eq!(LeafPaths::equal(5000), Err(PathsError::TooMany(5000)));
    }

    #[test]
    fn dead_paths_and_other_rails_are_left_out() {
        let paths = LeafPaths::equal(4).expect("4 paths").without(|id| id == PathId(2));
        let live: Vec<u32> = paths.live(None).map(|path| path.id.0).collect();
        assert_eq!(live, [0, 1, 3]);
        assert_eq!(paths.live(Some(RailId(1))).count(), 0);
        assert_eq!(paths.all().len(), 4);
    }
}
