//! Which addresses of this host other ranks are told to connect to.
//!
//! The filter reads as NCCL's `NCCL_SOCKET_IFNAME` does (NCCL user guide, environment variables):
//! `eth,ib` are prefixes, `=eth0` whole names, `^docker` and `^=eth0` exclude.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::str::FromStr;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;

use super::{Lookup, shown};

/// The variable with the filter.
pub const FILTER_VARIABLE: &str = "ONEPATH_SOCKET_IFNAME";
/// NCCL's variable, read when ours is not set.
pub const NCCL_FILTER_VARIABLE: &str = "NCCL_SOCKET_IFNAME";
/// The variable with the address family.
pub const FAMILY_VARIABLE: &str = "ONEPATH_SOCKET_FAMILY";

const MAX_FILTER_BYTES: usize = 4096;

/// Bridges of containers and virtual machines on one host: their addresses are the same on many
/// hosts, and lead nowhere from another one.
const LOCAL_BRIDGES: [&str; 4] = ["docker", "br-", "virbr", "cni"];

/// A choice of interfaces by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceFilter {
    names: Vec<String>,
    exact: bool,
    exclude: bool,
}

/// A wrong text, in one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable}='{value}' is not right: use {expected}")]
pub struct InterfaceTextError {
    /// The variable, or what was parsed.
    pub variable: &'static str,
    /// What was given.
    pub value: String,
    /// What would be right.
    pub expected: &'static str,
}

impl FromStr for InterfaceFilter {
    type Err = InterfaceTextError;

    fn from_str(text: &str) -> Result<Self, InterfaceTextError> {
        let (exclude, rest) = text.strip_prefix('^').map_or((false, text), |rest| (true, rest));
        let (exact, rest) = rest.strip_prefix('=').map_or((false, rest), |rest| (true, rest));
        let names: Vec<String> = rest.split(',').map(|name| name.trim().to_owned()).collect();
        let wrong = |name: &String| {
            name.is_empty() || name.starts_with(['^', '=']) || name.contains(char::is_whitespace)
        };
        if text.len() > MAX_FILTER_BYTES || names.iter().any(wrong) {
            return Err(InterfaceTextError {
                variable: FILTER_VARIABLE,
                value: shown(text),
                expected: "interface names like 'eth0,ib' (prefixes), '=eth0' (whole names), \
                           '^docker' or '^=eth0' (all others)",
            });
        }
        Ok(Self { names, exact, exclude })
    }
}

impl fmt::Display for InterfaceFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (exclude, exact) =
            (if self.exclude { "^" } else { "" }, if self.exact { "=" } else { "" });
        write!(f, "{exclude}{exact}{}", self.names.join(","))
    }
}

impl InterfaceFilter {
    /// The place of the first name that fits.
    fn position(&self, interface: &str) -> Option<usize> {
        self.names.iter().position(|name| {
            if self.exact { interface == name } else { interface.starts_with(name.as_str()) }
        })
    }
}

/// Which kinds of addresses are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AddressFamily {
    /// Only IPv4.
    Ipv4,
    /// Only IPv6.
    Ipv6,
    /// Both.
    #[default]
    Any,
}

impl AddressFamily {
    /// Whether `address` is of this family.
    pub fn contains(self, address: IpAddr) -> bool {
        match self {
            Self::Ipv4 => address.is_ipv4(),
            Self::Ipv6 => address.is_ipv6(),
            Self::Any => true,
        }
    }
}

impl FromStr for AddressFamily {
    type Err = InterfaceTextError;

    fn from_str(text: &str) -> Result<Self, InterfaceTextError> {
        match text.trim().to_ascii_lowercase().as_str() {
            "ipv4" => Ok(Self::Ipv4),
            "ipv6" => Ok(Self::Ipv6),
            "any" => Ok(Self::Any),
            _ => Err(InterfaceTextError {
                variable: FAMILY_VARIABLE,
                value: shown(text),
                expected: "ipv4, ipv6 or any",
            }),
        }
    }
}

impl fmt::Display for AddressFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
            Self::Any => "any",
        })
    }
}

/// What the user said about interfaces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InterfaceChoice {
    /// By name; without it the rule of [`candidates`].
    pub filter: Option<InterfaceFilter>,
    /// By kind of address.
    pub family: AddressFamily,
}

impl InterfaceChoice {
    /// The choice that the environment tells.
    pub fn from_environment(lookup: Lookup<'_>) -> Result<Self, InterfaceTextError> {
        let filter = [FILTER_VARIABLE, NCCL_FILTER_VARIABLE]
            .into_iter()
            .find_map(|variable| Some((variable, lookup(variable)?)))
            .map(|(variable, text)| {
                text.parse().map_err(|error| InterfaceTextError { variable, ..error })
            })
            .transpose()?;
        let family = lookup(FAMILY_VARIABLE).map(|text| text.parse()).transpose()?;
        Ok(Self { filter, family: family.unwrap_or_default() })
    }
}

/// An address of an interface of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceAddress {
    /// The interface.
    pub name: String,
    /// The address.
    pub address: IpAddr,
    /// The zone of an IPv6 link-local address: the interface's index on this host.
    pub scope_id: Option<u32>,
}

impl InterfaceAddress {
    /// This address with a port, to bind to.
    pub fn socket_address(&self, port: u16) -> SocketAddr {
        match self.address {
            IpAddr::V6(address) => {
                SocketAddrV6::new(address, port, 0, self.scope_id.unwrap_or(0)).into()
            }
            IpAddr::V4(_) => SocketAddr::new(self.address, port),
        }
    }

    fn is_link_local(&self) -> bool {
        match self.address {
            IpAddr::V4(address) => address.is_link_local(),
            IpAddr::V6(address) => address.is_unicast_link_local(),
        }
    }
}

/// Why there is no address to tell.
#[derive(Debug, thiserror::Error)]
pub enum InterfaceError {
    /// The system did not list its interfaces.
    #[error("the interfaces of this host can not be listed: {0}")]
    System(#[source] io::Error),
    /// No address fits.
    #[error(
        "no address fits {FILTER_VARIABLE}='{filter}' and {FAMILY_VARIABLE}='{family}'; \
         this host has {existing}"
    )]
    NothingFits {
        /// The filter, or empty.
        filter: String,
        /// The family.
        family: AddressFamily,
        /// Names and addresses that there are.
        existing: String,
    },
}

/// One address as the system lists it.
#[derive(Clone, Debug)]
struct Listed {
    address: InterfaceAddress,
    up: bool,
}

/// The addresses that `choice` allows, best first.
///
/// - With names to include: only those interfaces, in the order of the names.
/// - Else, if `loopback` (the rendezvous is at a loopback address): only loopback addresses.
/// - Else all but loopback and the bridges of containers (a filter that excludes names speaks for
///   all others, so bridges count then); loopback only if there is nothing else.
///
/// Interfaces that are down never count. Link-local addresses come last, and those of IPv6 only
/// where an interface is included by name: their zone means nothing on another host.
pub fn candidates(
    choice: &InterfaceChoice,
    loopback: bool,
) -> Result<Vec<InterfaceAddress>, InterfaceError> {
    let listed = list().map_err(InterfaceError::System)?;
    let chosen = select(&listed, choice, loopback);
    if chosen.is_empty() {
        return Err(InterfaceError::NothingFits {
            filter: choice.filter.as_ref().map(ToString::to_string).unwrap_or_default(),
            family: choice.family,
            existing: existing(&listed),
        });
    }
    Ok(chosen)
}

fn list() -> io::Result<Vec<Listed>> {
    let mut listed = Vec::new();
    for interface in getifaddrs()? {
        let Some(storage) = interface.address else {
            continue;
        };
        let (address, scope_id) = if let Some(v4) = storage.as_sockaddr_in() {
            (IpAddr::V4(v4.ip()), 0)
        } else if let Some(v6) = storage.as_sockaddr_in6() {
            (IpAddr::V6(v6.ip()), v6.scope_id())
        } else {
            continue;
        };
        let scope_id = (scope_id != 0).then_some(scope_id);
        let up = interface.flags.contains(InterfaceFlags::IFF_UP | InterfaceFlags::IFF_RUNNING);
        let name = interface.interface_name;
        listed.push(Listed { address: InterfaceAddress { name, address, scope_id }, up });
    }
    Ok(listed)
}

fn select(listed: &[Listed], choice: &InterfaceChoice, loopback: bool) -> Vec<InterfaceAddress> {
    let usable =
        || listed.iter().filter(|item| item.up && choice.family.contains(item.address.address));
    let mut chosen: Vec<(usize, InterfaceAddress)> = match &choice.filter {
        Some(filter) if !filter.exclude => usable()
            .filter_map(|item| Some((filter.position(&item.address.name)?, item.address.clone())))
            .collect(),
        filter => by_rule(usable().map(|item| &item.address), filter.as_ref(), loopback),
    };
    // Stable: otherwise the system's order.
    chosen.sort_by_key(|(position, address)| (address.is_link_local(), *position));
    chosen.into_iter().map(|(_, address)| address).collect()
}

fn by_rule<'a>(
    usable: impl Iterator<Item = &'a InterfaceAddress>,
    excluding: Option<&InterfaceFilter>,
    loopback: bool,
) -> Vec<(usize, InterfaceAddress)> {
    let is_bridge = |name: &str| LOCAL_BRIDGES.iter().any(|bridge| name.starts_with(bridge));
    let allowed = |item: &&InterfaceAddress| match excluding {
        Some(filter) => filter.position(&item.name).is_none(),
        None => !is_bridge(&item.name),
    };
    let (near, far): (Vec<_>, Vec<_>) = usable
        .filter(allowed)
        .filter(|item| item.address.is_ipv4() || !item.is_link_local())
        .map(|item| (0, item.clone()))
        .partition(|(_, item)| item.address.is_loopback());
    if loopback || far.is_empty() { near } else { far }
}

/// `eth0 (10.0.0.1, ::1), eth1 (down)`, as far as the system listed addresses.
fn existing(listed: &[Listed]) -> String {
    const MOST: usize = 64;
    let mut parts: Vec<String> = listed
        .iter()
        .take(MOST)
        .map(|item| {
            let down = if item.up { "" } else { ", down" };
            format!("{} ({}{down})", item.address.name, item.address.address)
        })
        .collect();
    if listed.len() > MOST {
        parts.push("more".to_owned());
    }
    if parts.is_empty() { "no addresses at all".to_owned() } else { parts.join(", ") }
}

#[cfg(test)]
#[path = "interfaces_tests.rs"]
mod tests;
