//! This node's GPUs and NICs as an entry of an inventory file.
//!
//! | file | what it holds |
//! |---|---|
//! | `sysfs` | files of the kernel: `sys/class/net`, `sys/class/infiniband`, `proc/driver/nvidia` |
//! | `entry` | what was found as our TOML |

mod entry;
mod sysfs;

use crate::arguments::DetectArguments;

pub(crate) use sysfs::DetectError;

/// Reads the node and writes its entry.
pub(crate) fn run(arguments: &DetectArguments) -> Result<String, DetectError> {
    let node = sysfs::read(&arguments.root, arguments.host.as_deref())?;
    Ok(entry::text(&node))
}
