//! A two-layer fabric: every leaf has an uplink to every spine, on each rail.

use super::{
    HostId, LeafId, LeafPaths, Link, Path, PathId, PathTable, PathTables, RailId, SpineId,
};
use crate::fabric::MAX_PATHS;
use crate::units::Bandwidth;

/// The most links of one kind (and so the most hosts) that a fabric may have.
const MAX_LINKS: u64 = 1 << 24;

/// How large a fabric is and how fast its links are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    /// Leaves (racks).
    pub leaves: u32,
    /// Spines of each rail.
    pub spines: u32,
    /// Hosts under each leaf, numbered leaf after leaf.
    pub hosts_per_leaf: u32,
    /// NICs of each host; every rail has leaves and spines of its own.
    pub rails: u32,
    /// Rate of a host link, each direction.
    pub host_link: Bandwidth,
    /// Rate of a link between leaf and spine, each direction.
    pub uplink: Bandwidth,
}

impl Shape {
    /// The same with uplinks so fast that a leaf's host links are `ratio` times its uplinks
    /// (1.0: full bisection; 2.0: oversubscribed 2:1).
    pub fn oversubscribed(self, ratio: f64) -> Self {
        let down = self.host_link.0 * f64::from(self.hosts_per_leaf);
        Self { uplink: Bandwidth(down / (f64::from(self.spines) * ratio)), ..self }
    }

    /// Host links of a leaf over its uplinks.
    pub fn oversubscription(&self) -> f64 {
        let down = self.host_link.0 * f64::from(self.hosts_per_leaf);
        down / (self.uplink.0 * f64::from(self.spines))
    }
}

/// Why a shape is refused.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum ShapeError {
    /// A count of zero.
    #[error("{0} is 0: it must be at least 1")]
    Zero(&'static str),
    /// Too many links or paths.
    #[error("{field} would be {value}: at most {most} are accepted")]
    TooLarge {
        /// What there is too much of.
        field: &'static str,
        /// How much.
        value: u64,
        /// The limit.
        most: u64,
    },
    /// A rate that is no positive number.
    #[error("{field} is {value} bytes a second: it must be a positive, finite number")]
    Rate {
        /// Which rate.
        field: &'static str,
        /// What was given.
        value: f64,
    },
}

/// A leaf-spine fabric with the present rate of every link; a rate of `None` is a dead link.
#[derive(Clone, Debug, PartialEq)]
pub struct LeafSpine {
    shape: Shape,
    /// By rail, leaf, spine.
    up: Vec<Option<Bandwidth>>,
    /// By rail, leaf, spine.
    down: Vec<Option<Bandwidth>>,
}

impl LeafSpine {
    /// A healthy fabric.
    pub fn new(shape: Shape) -> Result<Self, ShapeError> {
        let counts = [
            ("leaves", shape.leaves),
            ("spines", shape.spines),
            ("hosts_per_leaf", shape.hosts_per_leaf),
            ("rails", shape.rails),
        ];
        if let Some((field, _)) = counts.iter().find(|(_, count)| *count == 0) {
            return Err(ShapeError::Zero(field));
        }
        let product = |a: u32, b: u32, c: u32| {
            u64::from(a).saturating_mul(u64::from(b)).saturating_mul(u64::from(c))
        };
        let limits = [
            ("links to spines", product(shape.leaves, shape.spines, shape.rails), MAX_LINKS),
            ("host links", product(shape.leaves, shape.hosts_per_leaf, shape.rails), MAX_LINKS),
            ("paths of a pair of leaves", product(shape.spines, shape.rails, 1), MAX_PATHS as u64),
        ];
        for (field, value, most) in limits {
            if value > most {
                return Err(ShapeError::TooLarge { field, value, most });
            }
        }
        for (field, rate) in [("host_link", shape.host_link), ("uplink", shape.uplink)] {
            if !rate.0.is_finite() || rate.0 <= 0.0 {
                return Err(ShapeError::Rate { field, value: rate.0 });
            }
        }
        let links = vec![Some(shape.uplink); limits[0].1 as usize];
        Ok(Self { shape, up: links.clone(), down: links })
    }

    /// Its size and healthy rates.
    pub const fn shape(&self) -> &Shape {
        &self.shape
    }

    /// How many hosts there are.
    pub const fn hosts(&self) -> u32 {
        self.shape.leaves * self.shape.hosts_per_leaf
    }

    /// The leaf of a host.
    pub const fn leaf_of(&self, host: HostId) -> LeafId {
        LeafId(host.0 / self.shape.hosts_per_leaf)
    }

    /// The path over `spine` of `rail`.
    pub const fn path_over(&self, spine: SpineId, rail: RailId) -> PathId {
        PathId(rail.0 * self.shape.spines + spine.0)
    }

    /// The spine and rail of a path.
    pub const fn spine_of(&self, path: PathId) -> (SpineId, RailId) {
        (SpineId(path.0 % self.shape.spines), RailId(path.0 / self.shape.spines))
    }

    /// The present rate of a link, `None` when it is dead. Host links are always healthy here: a
    /// host that is cut off is a dead rank, not a matter of paths.
    pub fn rate(&self, link: Link) -> Option<Bandwidth> {
        match link {
            Link::HostUp(..) | Link::HostDown(..) => Some(self.shape.host_link),
            Link::Up(leaf, spine, rail) => self.up[self.slot(leaf, spine, rail)],
            Link::Down(spine, leaf, rail) => self.down[self.slot(leaf, spine, rail)],
        }
    }

    /// Sets the rate of the two directions of the cable between a leaf and a spine.
    pub fn set_cable(
        &mut self,
        leaf: LeafId,
        spine: SpineId,
        rail: RailId,
        rate: Option<Bandwidth>,
    ) {
        let slot = self.slot(leaf, spine, rail);
        self.up[slot] = rate;
        self.down[slot] = rate;
    }

    /// Sets the rate of one direction; host links are left as they are.
    pub fn set_link(&mut self, link: Link, rate: Option<Bandwidth>) {
        match link {
            Link::Up(leaf, spine, rail) => {
                let slot = self.slot(leaf, spine, rail);
                self.up[slot] = rate;
            }
            Link::Down(spine, leaf, rail) => {
                let slot = self.slot(leaf, spine, rail);
                self.down[slot] = rate;
            }
            Link::HostUp(..) | Link::HostDown(..) => {}
        }
    }

    /// Sets the rate of all cables of a spine: half a rate for one that degrades, `None` for death.
    pub fn set_spine(&mut self, spine: SpineId, rail: RailId, rate: Option<Bandwidth>) {
        for leaf in 0..self.shape.leaves {
            self.set_cable(LeafId(leaf), spine, rail, rate);
        }
    }

    /// The paths from one leaf to another: one over each spine of each rail. The capacity is that
    /// of the slower of its two links; a path with a dead link is dead.
    pub fn paths(&self, from: LeafId, to: LeafId) -> LeafPaths {
        let path = |id: u32| {
            let (spine, rail) = self.spine_of(PathId(id));
            let up = self.rate(Link::Up(from, spine, rail));
            let down = self.rate(Link::Down(spine, to, rail));
            let rate = up.zip(down).map(|(up, down)| up.0.min(down.0));
            Path {
                id: PathId(id),
                rail,
                capacity: Bandwidth(rate.unwrap_or(self.shape.uplink.0)),
                alive: rate.is_some_and(|rate| rate > 0.0),
            }
        };
        let paths = (0..self.shape.spines * self.shape.rails).map(path).collect();
        LeafPaths::new(paths).expect("numbers differ and rates are checked")
    }

    /// The paths from `leaf` to every other leaf.
    pub fn table(&self, leaf: LeafId) -> PathTable {
        let mut table = PathTable::new(leaf);
        for to in (0..self.shape.leaves).map(LeafId).filter(|to| *to != leaf) {
            table.insert(to, self.paths(leaf, to));
        }
        table
    }

    /// The tables of all leaves.
    pub fn tables(&self) -> PathTables {
        (0..self.shape.leaves).map(|leaf| self.table(LeafId(leaf))).collect()
    }

    /// How many links there are, one direction each.
    pub fn links(&self) -> usize {
        2 * self.up.len() + 2 * self.host_links()
    }

    /// The number of a link, below [`LeafSpine::links`].
    pub fn number(&self, link: Link) -> usize {
        let host_slot =
            |host: HostId, rail: RailId| host.index() * self.shape.rails as usize + rail.index();
        match link {
            Link::Up(leaf, spine, rail) => self.slot(leaf, spine, rail),
            Link::Down(spine, leaf, rail) => self.up.len() + self.slot(leaf, spine, rail),
            Link::HostUp(host, rail) => 2 * self.up.len() + host_slot(host, rail),
            Link::HostDown(host, rail) => {
                2 * self.up.len() + self.host_links() + host_slot(host, rail)
            }
        }
    }

    /// The link with this number: the inverse of [`LeafSpine::number`].
    pub fn link(&self, number: usize) -> Link {
        let core = self.up.len();
        let (spines, leaves) = (self.shape.spines as usize, self.shape.leaves as usize);
        if number < 2 * core {
            let slot = number % core;
            let spine = SpineId((slot % spines) as u32);
            let leaf = LeafId((slot / spines % leaves) as u32);
            let rail = RailId((slot / spines / leaves) as u32);
            return if number < core {
                Link::Up(leaf, spine, rail)
            } else {
                Link::Down(spine, leaf, rail)
            };
        }
        let slot = (number - 2 * core) % self.host_links();
        let rails = self.shape.rails as usize;
        let (host, rail) = (HostId((slot / rails) as u32), RailId((slot % rails) as u32));
        if number < 2 * core + self.host_links() {
            Link::HostUp(host, rail)
        } else {
            Link::HostDown(host, rail)
        }
    }

    fn host_links(&self) -> usize {
        self.hosts() as usize * self.shape.rails as usize
    }

    fn slot(&self, leaf: LeafId, spine: SpineId, rail: RailId) -> usize {
        let Shape { leaves, spines, rails, .. } = self.shape;
        assert!(leaf.0 < leaves && spine.0 < spines && rail.0 < rails, "a link of this fabric");
        (rail.index() * leaves as usize + leaf.index()) * spines as usize + spine.index()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape() -> Shape {
        Shape {
            leaves: 3,
            spines: 4,
            hosts_per_leaf: 5,
            rails: 2,
            host_link: Bandwidth(10.0),
            uplink: Bandwidth(5.0),
        }
    }

    #[test]
    fn every_link_has_a_number_of_its_own_and_back() {
        let fabric = LeafSpine::new(shape()).expect("a fabric");
        assert_eq!(fabric.links(), 2 * 3 * 4 * 2 + 2 * 15 * 2);
        for number in 0..fabric.links() {
            assert_eq!(fabric.number(fabric.link(number)), number);
        }
    }

    #[test]
    fn a_path_is_as_fast_as_its_slower_link_and_dies_with_either() {
        let mut fabric = LeafSpine::new(shape()).expect("a fabric");
        fabric.set_spine(SpineId(1), RailId(0), Some(Bandwidth(2.0)));
        fabric.set_link(Link::Down(SpineId(2), LeafId(1), RailId(1)), None);
        let there = fabric.paths(LeafId(0), LeafId(1));
        let back = fabric.paths(LeafId(1), LeafId(0));
        let dead = fabric.path_over(SpineId(2), RailId(1));
        assert_eq!(there.live(None).count(), 7);
        assert_eq!(back.live(None).count(), 8);
        assert!(there.live(Some(RailId(1))).all(|path| path.id != dead));
        assert_eq!(there.all()[1].capacity, Bandwidth(2.0));
    }

    #[test]
    fn oversubscription_sets_the_uplinks_and_is_read_back() {
        let shape = shape().oversubscribed(2.0);
        assert_eq!(shape.uplink, Bandwidth(6.25));
        assert!((shape.oversubscription() - 2.0).abs() < 1e-12);
    }

    #[test]
    fn a_fabric_without_spines_or_with_too_many_is_refused() {
        let none = LeafSpine::new(Shape { spines: 0, ..shape() });
        assert_eq!(none, Err(ShapeError::Zero("spines")));
        let many = LeafSpine::new(Shape { spines: 5000, ..shape() });
        assert!(matches!(many, Err(ShapeError::TooLarge { value: 10_000, .. })));
    }
}
