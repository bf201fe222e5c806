//! What the kernels of the hosts count of TCP.

use std::fs;
use std::io;

use crate::lab::fabric::{Fabric, Namespace};

use super::RunError;

/// Of all hosts together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct TcpCounts {
    /// Segments sent again.
    pub(super) retransmits: u64,
    /// Segments that came before others which were sent earlier.
    pub(super) out_of_order: u64,
}

impl TcpCounts {
    /// Now; some milliseconds for 16 hosts.
    pub(super) fn now(fabric: &Fabric) -> Result<Self, RunError> {
        let mut sum = Self::default();
        for host in fabric.spec().hosts() {
            let namespace = fabric.host(host);
            sum.retransmits += counter(namespace, "snmp", "Tcp:", "RetransSegs")?;
            sum.out_of_order += counter(namespace, "netstat", "TcpExt:", "TCPOFOQueue")?;
        }
        Ok(sum)
    }

    /// What came since.
    pub(super) fn since(self, earlier: Self) -> Self {
        Self {
            retransmits: self.retransmits.saturating_sub(earlier.retransmits),
            out_of_order: self.out_of_order.saturating_sub(earlier.out_of_order),
        }
    }
}

fn counter(
    namespace: &Namespace,
    file: &'static str,
    group: &str,
    name: &'static str,
) -> Result<u64, RunError> {
    let failed = |cause| RunError::Counter { host: namespace.name().to_owned(), name, cause };
    let text = namespace.run(|| fs::read_to_string(format!("/proc/thread-self/net/{file}")))?;
    let text = text.map_err(failed)?;
    find(&text, group, name).ok_or_else(|| failed(io::ErrorKind::NotFound.into()))
}

/// The number of a name: each group has a line of names, then one of numbers.
fn find(text: &str, group: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().filter(|line| line.starts_with(group));
    let (names, numbers) = (lines.next()?, lines.next()?);
    let place = names.split_whitespace().position(|word| word == name)?;
    numbers.split_whitespace().nth(place)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_found_under_its_name_in_its_group() {
        let text = "Ip: A B\nIp: 1 2\nTcp: A RetransSegs C\nTcp: 3 4 5\n";
        assert_eq!(find(text, "Tcp:", "RetransSegs"), Some(4));
        assert_eq!(find(text, "Ip:", "A"), Some(1));
        assert_eq!(find(text, "Ip:", "C"), None);
        assert_eq!(find("Tcp: A\n", "Tcp:", "A"), None);
    }
}
