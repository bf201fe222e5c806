//! Settings of the kernel for one network namespace.

use std::fs;
use std::io;

use super::spec::{FabricSpec, Leaf};

/// Below this all settings are.
const ROOT: &str = "/proc/sys/net/";

/// Over the fields of each packet. With policy 1 the hash that a sending socket gave the packet at
/// random would survive the virtual cable, and its ports would choose nothing.
const LEAF: [(&str, &str); 2] = [
    ("ipv4/fib_multipath_hash_policy", "3"),
    // Source, destination, protocol, source port, destination port.
    ("ipv4/fib_multipath_hash_fields", "55"),
];

/// A switch forwards, whatever way packets come back, and answers every probe with the address of
/// the link that the probe came in by.
const SWITCH: [(&str, &str); 7] = [
    ("ipv4/ip_forward", "1"),
    ("ipv4/conf/all/rp_filter", "0"),
    ("ipv4/conf/default/rp_filter", "0"),
    ("ipv4/conf/all/send_redirects", "0"),
    ("ipv4/conf/default/send_redirects", "0"),
    ("ipv4/icmp_ratelimit", "0"),
    ("ipv4/icmp_errors_use_inbound_ifaddr", "1"),
];

/// Settings that some kernels have once for all namespaces, or lack, or do not let one choose.
/// IPv6 chatter would only blur the counters; a metric that TCP remembers of one run would change
/// the next.
const IF_THERE: [(&str, &str); 7] = [
    ("ipv4/icmp_msgs_per_sec", "1000000"),
    ("ipv4/icmp_msgs_burst", "100000"),
    ("ipv4/tcp_no_metrics_save", "1"),
    // The system's own may be one for few long flows (bbr). A namespace of users gets cubic only if
    // the system lets everybody choose it; else it keeps reno.
    ("ipv4/tcp_congestion_control", "reno"),
    ("ipv4/tcp_congestion_control", "cubic"),
    ("ipv6/conf/all/disable_ipv6", "1"),
    ("ipv6/conf/default/disable_ipv6", "1"),
];

/// A setting that was not taken.
#[derive(Debug, thiserror::Error)]
#[error("the kernel does not take net/{setting} = {value}: {cause} (Linux 6.11 or newer does)")]
pub(crate) struct SysctlError {
    setting: &'static str,
    value: String,
    cause: io::Error,
}

/// For the calling thread's namespace, which is a leaf.
pub(crate) fn leaf(spec: &FabricSpec, leaf: Leaf) -> Result<(), SysctlError> {
    switch()?;
    for (setting, value) in LEAF {
        set(setting, value)?;
    }
    hash_seed(spec, leaf)
}

/// Of the calling thread's namespace, which is a leaf: other seeds, other paths of the same flows.
pub(crate) fn hash_seed(spec: &FabricSpec, leaf: Leaf) -> Result<(), SysctlError> {
    set("ipv4/fib_multipath_hash_seed", &spec.hash_seed(leaf).to_string())
}

/// For the calling thread's namespace, which is a leaf or a spine.
pub(crate) fn switch() -> Result<(), SysctlError> {
    host();
    SWITCH.into_iter().try_for_each(|(setting, value)| set(setting, value))
}

/// For the calling thread's namespace, whatever it is.
pub(crate) fn host() {
    for (setting, value) in IF_THERE {
        let _ = set(setting, value);
    }
}

fn set(setting: &'static str, value: &str) -> Result<(), SysctlError> {
    let written = fs::write(format!("{ROOT}{setting}"), value);
    written.map_err(|cause| SysctlError { setting, value: value.to_owned(), cause })
}
