//! How even the load of the links between leaves and spines is.

use serde::Serialize;

use super::count::{Link, Traffic};
use super::spec::{Leaf, Spine};

/// A group carries load if it has at least this part of the fullest group's bytes: what comes back
/// as acknowledgements of one-way traffic (a few per cent) is no load to be spread.
const LOADED: f64 = 0.1;

/// A group of links of one leaf and one direction.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Imbalance {
    /// The most loaded link's bytes over the mean of the group; 1 is even.
    pub(crate) max_over_mean: f64,
    /// Of this leaf.
    pub(crate) leaf: Leaf,
    /// From the leaf to the spines, or back.
    pub(crate) up: bool,
}

impl Traffic {
    /// The least even group of links that carries load, over the links of `spines` (all that live);
    /// none if nothing was carried.
    pub(crate) fn max_over_mean(&self, spines: &[Spine]) -> Option<Imbalance> {
        let groups = self.groups(spines);
        let fullest = groups.iter().map(|(_, bytes)| total(bytes)).max().unwrap_or(0);
        let loaded = groups.iter().filter(|(_, bytes)| {
            total(bytes) > 0 && total(bytes) as f64 >= LOADED * fullest as f64
        });
        let imbalances = loaded.map(|((leaf, up), bytes)| {
            let max = bytes.iter().copied().max().unwrap_or(0) as f64;
            let max_over_mean = max * bytes.len() as f64 / total(bytes) as f64;
            Imbalance { max_over_mean, leaf: *leaf, up: *up }
        });
        imbalances.max_by(|a, b| a.max_over_mean.total_cmp(&b.max_over_mean))
    }

    /// Bytes of the links of each leaf and direction.
    fn groups(&self, spines: &[Spine]) -> Vec<((Leaf, bool), Vec<u64>)> {
        let leaves = (0..self.size().0 as u32).map(Leaf);
        let sides = leaves.flat_map(|leaf| [(leaf, true), (leaf, false)]);
        let bytes = |(leaf, up), spine| {
            let up_link = Link::Uplink { leaf, spine };
            self.count(if up { up_link } else { Link::Downlink { leaf, spine } }).bytes
        };
        let group = |side| spines.iter().map(|spine| bytes(side, *spine)).collect();
        sides.map(|side| (side, group(side))).collect()
    }
}

fn total(bytes: &[u64]) -> u64 {
    bytes.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::super::{FabricOptions, FabricSpec};
    use super::*;

    fn spec() -> FabricSpec {
        let (leaves, spines, hosts) = (Some(2), Some(4), Some(4));
        let options = FabricOptions { leaves, spines, hosts, ..FabricOptions::default() };
        FabricSpec::new(&options).expect("it is right")
    }

    fn all() -> Vec<Spine> {
        spec().spines().collect()
    }

    #[test]
    fn an_even_load_is_one_and_an_idle_fabric_has_none() {
        let even = Traffic::of_bytes(&spec(), |_| 1000);
        let found = even.max_over_mean(&all()).expect("it carries load");
        assert!((found.max_over_mean - 1.0).abs() < 1e-12);
        assert_eq!(Traffic::of_bytes(&spec(), |_| 0).max_over_mean(&all()), None);
        assert_eq!(even.max_over_mean(&[]), None);
    }

    #[test]
    fn the_worst_group_counts_and_hosts_do_not() {
        let traffic = Traffic::of_bytes(&spec(), |link| match link {
            Link::Uplink { leaf: Leaf(0), spine: Spine(3) } => 1600,
            Link::Downlink { leaf: Leaf(1), spine: Spine(2) } => 5000,
            Link::FromHost { .. } | Link::ToHost { .. } => 1 << 40,
            _ => 1000,
        });
        let found = traffic.max_over_mean(&all()).expect("it carries load");
        assert!((found.max_over_mean - 2.5).abs() < 1e-12);
        assert_eq!((found.leaf, found.up), (Leaf(1), false));
    }

    #[test]
    fn acknowledgements_are_no_load_and_dead_spines_are_left_out() {
        let traffic = Traffic::of_bytes(&spec(), |link| match link {
            Link::Uplink { spine: Spine(0), .. } => 0,
            Link::Uplink { .. } => 100_000,
            Link::Downlink { spine: Spine(1), .. } => 9_000,
            _ => 0,
        });
        let with_dead = traffic.max_over_mean(&all()).expect("it carries load");
        assert!((with_dead.max_over_mean - 4.0 / 3.0).abs() < 1e-12);
        let living = traffic.max_over_mean(&all()[1..]).expect("it carries load");
        assert!((living.max_over_mean - 1.0).abs() < 1e-12);
    }
}
