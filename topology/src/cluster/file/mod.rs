//! Our inventory file.
//!
//! ```toml
//! [[cluster]]                     # nodes that share a fast fabric
//! name = "east"
//!
//! [[cluster.nodes]]               # nodes of one kind; a cluster may have several
//! hosts = "east[01-04]"           # a host list; or count = 4 (named east-0 to east-3);
//!                                 # or hosts_from = "leaf=s1": a unit of Slurm or Kubernetes
//! gpu = "A100"                    # the kind
//! gpus = 8                        # a node
//! memory_gib = 80                 # of each GPU
//! gpu_link_gbit_s = 2400          # optional: between GPUs of a node; 256 (PCIe 4.0 x16)
//! tflops = 240                    # optional: what a GPU computes when it waits for no network
//! latency_us = 2                  # optional: between two nodes; by default 2, 4 or 30 by the kind
//!
//! [[cluster.nodes.nic]]           # NICs of each node, a table for each kind
//! kind = "roce"                   # or "infiniband" or "ethernet"
//! rate_gbit_s = 200               # of one
//! hca = "mlx5_[0-3]"              # RDMA devices, a list like hosts; not for Ethernet
//! interface = "rdma[0-3]"         # interfaces, as many; needed for Ethernet
//! gid_index = 3                   # optional, of RoCE
//! name = "rail[0-3]"              # optional: by default that of the device or interface
//!
//! [[link]]                        # between two clusters
//! between = ["east", "west"]
//! kind = "ethernet"               # optional: "ethernet" is meant
//! rate_gbit_s = 25                # what one node gets
//! total_gbit_s = 400              # optional: what all nodes share
//! latency_us = 50                 # optional: by default 2, 4 or 30 by the kind
//! ```
//!
//! The tables `model`, `training` and `plan` are left to those who read them ([`Document::table`]).

mod check;
mod error;
mod raw;
#[cfg(test)]
mod tests;

use super::structure::Structure;
use super::{Inventory, shown};

pub use error::InventoryFileError;

/// The longest file that is read, in bytes.
pub const MAX_FILE_BYTES: usize = 4 << 20;
/// The longest line, in bytes.
pub const MAX_LINE_BYTES: usize = 128 * 1024;

/// Tables of the file that are not the inventory's.
pub const OTHER_TABLES: [&str; 3] = ["model", "training", "plan"];

/// A file, read.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// Clusters and links.
    pub inventory: Inventory,
    others: [Option<toml::Table>; 3],
}

impl Document {
    /// Reads an inventory file. A `structure` orders the hosts and names them for `hosts_from`.
    pub fn parse(text: &str, structure: Option<&Structure>) -> Result<Self, InventoryFileError> {
        if text.len() > MAX_FILE_BYTES {
            return Err(InventoryFileError::TooLong(text.len()));
        }
        let mut lines = text.lines().enumerate();
        if let Some((index, line)) = lines.find(|(_, line)| line.len() > MAX_LINE_BYTES) {
            return Err(InventoryFileError::LongLine { line: index + 1, bytes: line.len() });
        }
        let raw: raw::RawFile =
            toml::from_str(text).map_err(|error| InventoryFileError::syntax(text, &error))?;
        let others = [raw.model, raw.training, raw.plan];
        let inventory = check::inventory(raw.cluster, raw.link, structure)?;
        Ok(Self { inventory, others })
    }

    /// One of [`OTHER_TABLES`], if the file has it.
    pub fn table(&self, name: &str) -> Option<&toml::Table> {
        let index = OTHER_TABLES.iter().position(|known| *known == name)?;
        self.others[index].as_ref()
    }
}
