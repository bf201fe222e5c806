//! What the kernel says of a process.

use std::collections::BTreeSet;
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

/// Whether there is a process `id`, running or not yet waited for.
pub fn exists(id: u32) -> bool {
    fs::exists(format!("/proc/{id}")).unwrap_or(true)
}

/// Ports of this process's listening TCP sockets.
pub fn listening_ports() -> io::Result<BTreeSet<u16>> {
    let mut inodes = BTreeSet::new();
    for entry in fs::read_dir("/proc/self/fd")? {
        // A descriptor may be closed while the folder is read, as that of the folder is.
        let Ok(target) = fs::read_link(entry?.path()) else { continue };
        let inode = target.to_str().and_then(|name| name.strip_prefix("socket:["));
        inodes.extend(inode.map(|inode| inode.trim_end_matches(']').to_owned()));
    }
    let mut ports = BTreeSet::new();
    for table in ["/proc/self/net/tcp", "/proc/self/net/tcp6"] {
        for line in fs::read_to_string(table).unwrap_or_default().lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let [_, local, _, state, .., _, _] = fields[..] else { continue };
            let port =
                local.rsplit_once(':').and_then(|(_, hex)| u16::from_str_radix(hex, 16).ok());
            if state == LISTENING && fields.get(9).is_some_and(|inode| inodes.contains(*inode)) {
                ports.extend(port);
            }
        }
    }
    Ok(ports)
}

/// The kernel's number of the state of a listening socket.
const LISTENING: &str = "0A";
