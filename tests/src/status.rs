//! What the kernel says of a process.

use std::fs;
use std::io;

/// Memory of a process, in KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Resident now, shared pages included.
    pub resident_kib: u64,
    /// The most that was ever resident.
    pub peak_kib: u64,
}

/// Memory of process `id` (or `self`).
pub fn memory(id: &str) -> io::Result<Memory> {
    let text = fs::read_to_string(format!("/proc/{id}/status"))?;
    Ok(Memory { resident_kib: field(&text, "VmRSS:")?, peak_kib: field(&text, "VmHWM:")? })
}

fn field(text: &str, name: &str) -> io::Result<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let value = line.and_then(|line| line.split_whitespace().next());
    let number = value.and_then(|value| value.parse().ok());
    number.ok_or_else(|| io::Error::other(format!("no {name} in a process's status")))
}

/// Open descriptors of process `id`.
pub fn descriptors(id: &str) -> io::Result<usize> {
    Ok(fs::read_dir(format!("/proc/{id}/fd"))?.count())
}

/// Files of `/dev/shm` that this process has mapped.
pub fn named_shared_memory() -> io::Result<Vec<String>> {
    let maps = fs::read_to_string("/proc/self/maps")?;
    let named = maps.lines().filter(|line| line.contains("/dev/shm/"));
    Ok(named.map(str::to_owned).collect())
}

/// Children of this process, running or not yet waited for.
pub fn children() -> io::Result<Vec<u32>> {
    let mut children = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(id) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // A process may end while it is looked at.
        let Ok(stat) = fs::read_to_string(format!("/proc/{id}/stat")) else { continue };
        // The name in brackets may hold anything; state and parent follow it.
        let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let parent = rest.split_whitespace().nth(1).and_then(|parent| parent.parse().ok());
        if parent == Some(std::process::id()) {
            children.push(id);
        }
    }
    Ok(children)
}
