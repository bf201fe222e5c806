//! GID tables: which addresses a port of a device has, and of which kind.
//!
//! Over Ethernet each IP address of the port's network interfaces makes an entry for RoCE v1 and
//! one for RoCE v2. The index of the entry that a queue pair uses decides the protocol on the wire
//! and the source address of its packets.

use std::fmt;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::path::{Path, PathBuf};

use super::context::{Context, ContextError, PortNumber};
use super::raw::constants::{IBV_GID_TYPE_IB, IBV_GID_TYPE_ROCE_V1, IBV_GID_TYPE_ROCE_V2};
use super::raw::types::{ibv_gid, ibv_gid_entry};

/// Entries of a table that are looked at; drivers have at most 1024.
const MOST_ENTRIES: usize = 1 << 16;
/// The index is one byte in an address handle.
const MOST_INDEX: u32 = 255;

/// A global identifier: 16 bytes in network order, over Ethernet an IPv6 address or an IPv4 address
/// mapped into one.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Gid(pub [u8; 16]);

impl Gid {
    /// The IP address that it stands for over Ethernet.
    pub fn address(self) -> IpAddr {
        Ipv6Addr::from(self.0).to_canonical()
    }

    fn is_zero(self) -> bool {
        self.0 == [0; 16]
    }

    /// `fe80::/10`, made from the interface's hardware address, or `169.254.0.0/16`, which a host
    /// gives itself where nobody else does: not routed.
    fn is_link_local(self) -> bool {
        match self.address() {
            IpAddr::V4(address) => address.is_link_local(),
            IpAddr::V6(address) => address.is_unicast_link_local(),
        }
    }

    pub(super) fn to_raw(self) -> ibv_gid {
        ibv_gid { raw: self.0 }
    }
}

impl From<IpAddr> for Gid {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self(address.to_ipv6_mapped().octets()),
            IpAddr::V6(address) => Self(address.octets()),
        }
    }
}

impl fmt::Display for Gid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address())
    }
}

impl fmt::Debug for Gid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gid({self})")
    }
}

/// Which protocol packets with this source have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GidType {
    /// InfiniBand.
    InfiniBand,
    /// RDMA directly over Ethernet, which routers do not pass on.
    RoceV1,
    /// RDMA over UDP, port 4791.
    RoceV2,
}

impl GidType {
    fn from_raw(kind: u32) -> Option<Self> {
        match kind {
            IBV_GID_TYPE_IB => Some(Self::InfiniBand),
            IBV_GID_TYPE_ROCE_V1 => Some(Self::RoceV1),
            IBV_GID_TYPE_ROCE_V2 => Some(Self::RoceV2),
            _ => None,
        }
    }

    /// What the kernel writes into `gid_attrs/types/INDEX`; it has one text for InfiniBand and
    /// RoCE v1, which the link layer tells apart.
    fn from_sysfs(text: &str, over_ethernet: bool) -> Option<Self> {
        match text.trim() {
            "RoCE v2" => Some(Self::RoceV2),
            "IB/RoCE v1" if over_ethernet => Some(Self::RoceV1),
            "IB/RoCE v1" => Some(Self::InfiniBand),
            _ => None,
        }
    }
}

impl fmt::Display for GidType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InfiniBand => "InfiniBand",
            Self::RoceV1 => "RoCE v1",
            Self::RoceV2 => "RoCE v2",
        })
    }
}

/// One entry of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GidEntry {
    /// Its index in the port's table.
    pub index: u8,
    /// The address.
    pub gid: Gid,
    /// The protocol.
    pub kind: GidType,
}

impl GidEntry {
    /// The network interface whose address this entry of a port's table is, as in `eth0`.
    pub fn interface(&self, context: &Context, port: PortNumber) -> Result<String, GidError> {
        let folder = attributes_in_sysfs(context, port).join("ndevs");
        match fs::read_to_string(folder.join(self.index.to_string())) {
            Ok(name) => Ok(name.trim().to_owned()),
            Err(source) => Err(GidError::Interface {
                device: context.name().to_owned(),
                port,
                entry: *self,
                source,
            }),
        }
    }
}

impl fmt::Display for GidEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({})", self.index, self.gid, self.kind)
    }
}

/// Versions of the Internet protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressFamily {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// What an entry must be like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GidChoice {
    /// RoCE v2 with this very address.
    Address(IpAddr),
    /// RoCE v2 with the first address of this family; link-local ones only where there is no other.
    Family(AddressFamily),
    /// RoCE v2 with the first address, IPv4 before IPv6; link-local ones of either only where there
    /// is no other.
    AnyRoceV2,
    /// The entry of this index, of whatever kind: an operator's word.
    Index(u8),
    /// The first InfiniBand entry. Untested: no machine that we have has InfiniBand.
    InfiniBand,
}

impl fmt::Display for GidChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "RoCE v2 entry for {address}"),
            Self::Family(AddressFamily::V4) => f.write_str("RoCE v2 entry for an IPv4 address"),
            Self::Family(AddressFamily::V6) => f.write_str("RoCE v2 entry for an IPv6 address"),
            Self::AnyRoceV2 => f.write_str("RoCE v2 entry"),
            Self::Index(index) => write!(f, "entry {index}"),
            Self::InfiniBand => f.write_str("InfiniBand entry"),
        }
    }
}

/// Why a GID cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum GidError {
    /// The library or the kernel does not give the table.
    #[error("cannot read the GID table of {device} port {port}: {source}")]
    Query {
        /// The device.
        device: String,
        /// The port.
        port: PortNumber,
        /// The cause.
        source: io::Error,
    },
    /// The kernel does not say to which network interface an entry belongs.
    #[error(
        "{device} port {port} has no network interface for GID {entry}: {source}; RoCE entries \
         that are in use have one"
    )]
    Interface {
        /// The device.
        device: String,
        /// The port.
        port: PortNumber,
        /// The entry.
        entry: GidEntry,
        /// The cause.
        source: io::Error,
    },
    /// The port could not be asked how long its table is.
    #[error(transparent)]
    Port(#[from] ContextError),
    /// No entry is like that.
    #[error(
        "{device} port {port} has no {wanted}; it has [{}]: give its network interface such an \
         address, bring the interface up, or choose another entry",
        list(.present)
    )]
    NoMatch {
        /// The device.
        device: String,
        /// The port.
        port: PortNumber,
        /// What was looked for.
        wanted: GidChoice,
        /// What is there.
        present: Vec<GidEntry>,
    },
}

fn list(entries: &[GidEntry]) -> String {
    entries.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The entries of one port that are in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GidTable {
    device: String,
    port: PortNumber,
    entries: Vec<GidEntry>,
}

impl GidTable {
    /// Reads the table of a port: from the library, or from sysfs where it is older than rdma-core
    /// 32. Entries of kinds that we do not know and those past index 255 are left out.
    pub fn read(context: &Context, port: PortNumber) -> Result<Self, GidError> {
        let entries = match from_library(context, port)? {
            Some(entries) => {
                let own = entries.iter().filter(|entry| entry.port_num == u32::from(port.get()));
                own.filter_map(entry_of).collect()
            }
            None => from_sysfs(context, port).map_err(|source| GidError::Query {
                device: context.name().to_owned(),
                port,
                source,
            })?,
        };
        Ok(Self::new(context.name().to_owned(), port, entries))
    }

    /// A table with these entries.
    pub fn new(device: String, port: PortNumber, entries: Vec<GidEntry>) -> Self {
        Self { device, port, entries }
    }

    /// The entries in the order of their indices.
    pub fn entries(&self) -> &[GidEntry] {
        &self.entries
    }

    /// The first entry that is as wanted.
    pub fn choose(&self, wanted: GidChoice) -> Result<GidEntry, GidError> {
        let v2 = |entry: &&GidEntry| entry.kind == GidType::RoceV2;
        let mut entries = self.entries.iter();
        let found = match wanted {
            GidChoice::Address(address) => {
                entries.filter(v2).find(|entry| entry.gid == Gid::from(address))
            }
            GidChoice::Family(family) => {
                let of_family = |entry: &&GidEntry| {
                    entry.gid.address().is_ipv4() == (family == AddressFamily::V4)
                };
                // Of equal keys the first is taken, so the order of the table decides.
                entries.filter(v2).filter(of_family).min_by_key(|entry| entry.gid.is_link_local())
            }
            GidChoice::AnyRoceV2 => entries
                .filter(v2)
                .min_by_key(|entry| (entry.gid.is_link_local(), entry.gid.address().is_ipv6())),
            GidChoice::Index(index) => entries.find(|entry| entry.index == index),
            GidChoice::InfiniBand => entries.find(|entry| entry.kind == GidType::InfiniBand),
        };
        found.copied().ok_or_else(|| GidError::NoMatch {
            device: self.device.clone(),
            port: self.port,
            wanted,
            present: self.entries.clone(),
        })
    }
}

/// All entries of all ports, or nothing if the library has no such function.
fn from_library(
    context: &Context,
    port: PortNumber,
) -> Result<Option<Vec<ibv_gid_entry>>, GidError> {
    let ports = context.attributes()?.ports;
    let lengths = (1..=ports).filter_map(PortNumber::new).map(|port| {
        // A port that cannot be asked has no entries for us.
        context.port(port).map_or(0, |port| port.gid_entries as usize)
    });
    let most = lengths.sum::<usize>().min(MOST_ENTRIES);
    let device = || context.name().to_owned();
    let failed = |source| GidError::Query { device: device(), port, source };
    context.query_gid_table(most).map_err(failed)
}

/// Where the kernel says of what kind each entry is, and to which network interface it belongs.
fn attributes_in_sysfs(context: &Context, port: PortNumber) -> PathBuf {
    let device = PathBuf::from("/sys/class/infiniband").join(context.name());
    device.join(format!("ports/{port}/gid_attrs"))
}

/// The entries of a port one by one, with their kinds from sysfs.
fn from_sysfs(context: &Context, port: PortNumber) -> io::Result<Vec<GidEntry>> {
    let attributes = context.port(port).map_err(io::Error::other)?;
    let types = attributes_in_sysfs(context, port).join("types");
    let count = attributes.gid_entries.min(MOST_INDEX + 1);
    let mut entries = Vec::new();
    for (number, index) in (0..count).zip(0..=u8::MAX) {
        let kind = kind_in(&types, number, attributes.link.is_ethernet())?;
        let Some(kind) = kind else { continue };
        let gid = context.query_gid(port, index)?;
        if !gid.is_zero() {
            entries.push(GidEntry { index, gid, kind });
        }
    }
    Ok(entries)
}

fn entry_of(raw: &ibv_gid_entry) -> Option<GidEntry> {
    let gid = Gid(raw.gid.raw);
    let index = u8::try_from(raw.gid_index).ok()?;
    let kind = GidType::from_raw(raw.gid_type)?;
    (!gid.is_zero()).then_some(GidEntry { index, gid, kind })
}

/// The kind of an entry by its file in sysfs; nothing for an entry that is not in use, whose file
/// cannot be read.
fn kind_in(types: &Path, index: u32, over_ethernet: bool) -> io::Result<Option<GidType>> {
    match fs::read_to_string(types.join(index.to_string())) {
        Ok(text) => Ok(GidType::from_sysfs(&text, over_ethernet)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: u8, address: &str, kind: GidType) -> GidEntry {
        let address: IpAddr = address.parse().expect("an address");
        GidEntry { index, gid: address.into(), kind }
    }

    fn table() -> GidTable {
        let entries = vec![
            entry(0, "fe80::1", GidType::RoceV1),
            entry(1, "fe80::1", GidType::RoceV2),
            entry(2, "10.0.0.1", GidType::RoceV1),
            entry(3, "10.0.0.1", GidType::RoceV2),
            entry(5, "10.0.0.2", GidType::RoceV2),
            entry(7, "2001:db8::1", GidType::RoceV2),
        ];
        GidTable::new("mlx5_0".to_owned(), PortNumber::ONE, entries)
    }

    fn chosen(wanted: GidChoice) -> u8 {
        table().choose(wanted).expect("there is one").index
    }

    #[test]
    fn a_family_gets_its_first_version_2_entry_and_a_routable_one_before_a_link_local() {
        assert_eq!(chosen(GidChoice::Family(AddressFamily::V4)), 3);
        assert_eq!(chosen(GidChoice::Family(AddressFamily::V6)), 7);
        let mut only_local = table();
        only_local.entries.retain(|entry| entry.index != 7);
        let found = only_local.choose(GidChoice::Family(AddressFamily::V6)).expect("link-local");
        assert_eq!(found.index, 1);
    }

    #[test]
    fn a_routable_address_of_either_family_comes_before_any_link_local_one() {
        assert_eq!(chosen(GidChoice::AnyRoceV2), 3);
        let entries = vec![
            entry(1, "fe80::1", GidType::RoceV2),
            entry(3, "169.254.7.7", GidType::RoceV2),
            entry(5, "2001:db8::1", GidType::RoceV2),
            entry(7, "10.0.0.1", GidType::RoceV2),
        ];
        let mut table = GidTable::new("mlx5_0".to_owned(), PortNumber::ONE, entries);
        let family = GidChoice::Family(AddressFamily::V4);
        assert_eq!(table.choose(family).expect("routable").index, 7);
        for expected in [7, 5, 3, 1] {
            let found = table.choose(GidChoice::AnyRoceV2).expect("there is one");
            assert_eq!(found.index, expected);
            table.entries.retain(|entry| entry.index != expected);
        }
        let text = table.choose(GidChoice::AnyRoceV2).expect_err("empty").to_string();
        assert!(text.contains("no RoCE v2 entry;"), "{text}");
    }

    #[test]
    fn an_address_or_an_index_gets_just_that_entry() {
        assert_eq!(chosen(GidChoice::Address("10.0.0.2".parse().expect("an address"))), 5);
        assert_eq!(chosen(GidChoice::Index(2)), 2);
    }

    #[test]
    fn a_missing_entry_is_named_with_those_that_are_there() {
        let wanted = GidChoice::Address("10.0.0.9".parse().expect("an address"));
        let text = table().choose(wanted).expect_err("not there").to_string();
        for part in ["mlx5_0 port 1", "10.0.0.9", "3: 10.0.0.1 (RoCE v2)", "0: fe80::1 (RoCE v1)"] {
            assert!(text.contains(part), "{text}");
        }
        let text = table().choose(GidChoice::InfiniBand).expect_err("not there").to_string();
        assert!(text.contains("no InfiniBand entry"), "{text}");
    }

    #[test]
    fn mapped_addresses_are_shown_as_ipv4() {
        let gid = Gid::from("10.1.2.3".parse::<IpAddr>().expect("an address"));
        assert_eq!(gid.0[10..], [0xff, 0xff, 10, 1, 2, 3]);
        assert_eq!(gid.to_string(), "10.1.2.3");
    }

    #[test]
    fn entries_of_unknown_kind_or_unused_or_beyond_one_byte_are_left_out() {
        let good = ibv_gid_entry {
            gid: ibv_gid { raw: [1; 16] },
            gid_index: 255,
            port_num: 1,
            gid_type: IBV_GID_TYPE_ROCE_V2,
            ndev_ifindex: 2,
        };
        assert_eq!(entry_of(&good).map(|entry| entry.index), Some(255));
        assert_eq!(entry_of(&ibv_gid_entry { gid_index: 256, ..good }), None);
        assert_eq!(entry_of(&ibv_gid_entry { gid_type: 9, ..good }), None);
        assert_eq!(entry_of(&ibv_gid_entry { gid: ibv_gid::default(), ..good }), None);
    }

    #[test]
    fn the_text_of_the_kernel_gives_the_kind_and_an_entry_without_file_is_unused() {
        let folder = std::env::temp_dir().join(format!("onepath-gid-types-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join("0"), "IB/RoCE v1\n").expect("a file");
        fs::write(folder.join("1"), "RoCE v2\n").expect("a file");
        let kinds = [(0, true), (0, false), (1, true), (2, true)]
            .map(|(index, ethernet)| kind_in(&folder, index, ethernet).expect("readable"));
        fs::remove_dir_all(&folder).expect("ours");
        let expected = [GidType::RoceV1, GidType::InfiniBand, GidType::RoceV2].map(Some);
        assert_eq!(kinds[..3], expected);
        assert_eq!(kinds[3], None);
    }
}
