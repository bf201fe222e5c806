//! Which nodes stand close together: switches, blocks, racks and zones, from Slurm or Kubernetes.
//!
//! A [`Structure`] is a forest of units; each host is in one innermost unit. It orders the hosts of
//! an inventory, so that neighbours in rank stand below one switch, and names sets of hosts
//! (`hosts_from`).
//!
//! | module | what it reads |
//! |---|---|
//! | `slurm` | `topology.yaml` of Slurm: trees, blocks, flat |
//! | `kubernetes` | a list of nodes as JSON, with topology labels |

mod error;
mod kubernetes;
mod slurm;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use error::StructureError;

/// The longest file that is read, in bytes.
pub const MAX_FILE_BYTES: usize = 64 << 20;
/// The longest line of a Slurm file, in bytes.
pub const MAX_LINE_BYTES: usize = 128 * 1024;
/// The most units of a structure.
pub const MAX_UNITS: usize = 65_536;
/// The most layers of switches above a node.
pub const MAX_DEPTH: usize = 16;

/// A switch, a block or a zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Its name; of Kubernetes with the layer, as in `leaf=s1`.
    pub name: String,
    /// The unit around it.
    pub parent: Option<usize>,
    /// How many are around it.
    pub depth: usize,
}

/// Units and the hosts in them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Structure {
    units: Vec<Unit>,
    /// Hosts in the order of the structure, each with its innermost unit.
    hosts: Vec<(String, Option<usize>)>,
    /// Place of each host in that order.
    places: BTreeMap<String, usize>,
    /// GPUs of each host, where the source says so.
    gpus: BTreeMap<String, u32>,
}

impl Structure {
    /// The structure of a Slurm `topology.yaml`: that with `cluster_default`, or the first, or the
    /// one of this name.
    pub fn from_slurm(text: &str, name: Option<&str>) -> Result<Self, StructureError> {
        slurm::parse(text, name)
    }

    /// The structure of what `kubectl get nodes -o json` prints.
    pub fn from_kubernetes(text: &str) -> Result<Self, StructureError> {
        kubernetes::parse(text)
    }

    /// A structure of these units and hosts, each with its innermost unit.
    fn new(
        units: Vec<Unit>,
        hosts: Vec<(String, Option<usize>)>,
        gpus: BTreeMap<String, u32>,
    ) -> Self {
        let place = |(index, (host, _)): (usize, &(String, _))| (host.clone(), index);
        let places = hosts.iter().enumerate().map(place).collect();
        Self { units, hosts, places, gpus }
    }

    /// Its units.
    pub fn units(&self) -> &[Unit] {
        &self.units
    }

    /// Its hosts in order, each with its innermost unit.
    pub fn hosts(&self) -> &[(String, Option<usize>)] {
        &self.hosts
    }

    /// Whether it orders hosts at all; a flat topology names none.
    pub const fn is_flat(&self) -> bool {
        self.hosts.is_empty()
    }

    /// The place of a host in the order.
    pub fn place(&self, host: &str) -> Option<usize> {
        self.places.get(host).copied()
    }

    /// How many GPUs the source says that a host has.
    pub fn gpus(&self, host: &str) -> Option<u32> {
        self.gpus.get(host).copied()
    }

    /// The hosts in the unit of this name, in order; none if there is no such unit.
    pub fn within(&self, unit: &str) -> Option<Vec<String>> {
        let wanted = self.units.iter().position(|known| known.name == unit)?;
        let inside = |mut at: Option<usize>| {
            while let Some(index) = at {
                if index == wanted {
                    return true;
                }
                at = self.units[index].parent;
            }
            false
        };
        let hosts = self.hosts.iter().filter(|(_, unit)| inside(*unit));
        Some(hosts.map(|(host, _)| host.clone()).collect())
    }
}
