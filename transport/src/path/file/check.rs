//! From what is written to what is meant.

use std::collections::BTreeSet;

use core::net::{IpAddr, SocketAddr};

use super::error::shown;
use super::raw::{RawEntry, RawFile, RawPath};
use super::{Entry, MAX_ENTRIES, PathFile, PathFileError, To, prefix};
use crate::path::config::{MAX_PATHS, MAX_PORTS_PER_PATH};
use crate::path::table::PathId;
use crate::path::{HopRange, Protocol};
use crate::verbs::{FlowLabel, ROCE_UDP_PORT};

/// The most characters of a path's name.
const MAX_NAME: usize = 64;
/// The most addresses of the last router: one for each path.
const MAX_LAST_HOPS: usize = MAX_PATHS;

const ADDRESS: &str = "IPv4 or IPv6 address";
const DESTINATION: &str = "destination: as in 10.1.0.2:29500, [2001:db8::2]:29500, 10.1.0.2 or \
                           10.1.0.0/16, where the bits after the prefix are 0";

pub(super) fn file(raw: RawFile) -> Result<PathFile, PathFileError> {
    let protocol = raw.protocol.parse()?;
    let source = raw.source.map(|text| address("source", &text)).transpose()?;
    let hops = raw.hops.map_or(Ok(HopRange::SPINE), |text| text.parse())?;
    if raw.destination.len() > MAX_ENTRIES {
        return Err(PathFileError::entries(raw.destination.len()));
    }
    let mut seen = BTreeSet::new();
    let mut entries = Vec::with_capacity(raw.destination.len());
    for (index, raw) in raw.destination.into_iter().enumerate() {
        let field = format!("destination[{index}]");
        let entry = entry(&field, raw, (protocol, hops))?;
        if !seen.insert(entry.to) {
            return Err(PathFileError::Twice { field: field + ".to", to: entry.to });
        }
        entries.push(entry);
    }
    Ok(PathFile { protocol, source, hops, entries })
}

/// What the file says of all its entries.
type Common = (Protocol, HopRange);

fn entry(field: &str, raw: RawEntry, common: Common) -> Result<Entry, PathFileError> {
    let to = destination(&raw.to).ok_or_else(|| PathFileError::Address {
        field: format!("{field}.to"),
        value: shown(&raw.to),
        expected: DESTINATION,
    })?;
    let (protocol, _) = common;
    if let To::Port(address) = to
        && protocol == Protocol::Roce
        && address.port() != ROCE_UDP_PORT
    {
        return Err(PathFileError::NotRoce { field: format!("{field}.to"), to });
    }
    let count = raw.last_hops.len();
    if count > MAX_LAST_HOPS {
        let field = format!("{field}.last_hops");
        return Err(PathFileError::Count { field, count, least: 0, most: MAX_LAST_HOPS });
    }
    let last_hop =
        |(index, text): (usize, &String)| address(&format!("{field}.last_hops[{index}]"), text);
    let last_hops = raw.last_hops.iter().enumerate().map(last_hop).collect::<Result<_, _>>()?;
    if !(1..=MAX_PATHS).contains(&raw.path.len()) {
        return Err(PathFileError::paths(format!("{field}.path"), raw.path.len()));
    }
    let (mut paths, mut seen) = (Vec::with_capacity(raw.path.len()), Seen::default());
    for (index, raw) in raw.path.into_iter().enumerate() {
        paths.push(path(&format!("{field}.path[{index}]"), raw, common, &mut seen)?);
    }
    Ok(Entry { to, last_hops, paths })
}

/// What was listed before in the same destination.
#[derive(Default)]
struct Seen {
    ports: BTreeSet<u16>,
    paths: BTreeSet<PathId>,
}

fn path(
    field: &str,
    raw: RawPath,
    (protocol, hops): Common,
    seen: &mut Seen,
) -> Result<(PathId, Vec<u16>), PathFileError> {
    let id = match (raw.hops, raw.name) {
        (Some(list), None) => identity(&format!("{field}.hops"), &list, hops)?,
        (None, Some(text)) => PathId::Named(name(field, text)?),
        _ => return Err(PathFileError::Identity { field: field.to_owned() }),
    };
    if !seen.paths.insert(id.clone()) {
        let path = shown(&id.to_string());
        return Err(PathFileError::PathTwice { field: field.to_owned(), path });
    }
    let field = format!("{field}.ports");
    if !(1..=usize::from(MAX_PORTS_PER_PATH)).contains(&raw.ports.len()) {
        return Err(PathFileError::ports(field, raw.ports.len()));
    }
    let mut ports = Vec::with_capacity(raw.ports.len());
    for (index, &value) in raw.ports.iter().enumerate() {
        let field = format!("{field}[{index}]");
        let port = match u16::try_from(value) {
            Ok(port) if port > 0 => port,
            _ => return Err(PathFileError::Port { field, value }),
        };
        if protocol == Protocol::Roce && !FlowLabel::SOURCE_PORTS.contains(&port) {
            return Err(PathFileError::NoLabel { field, port });
        }
        if !seen.ports.insert(port) {
            return Err(PathFileError::PortTwice { field, port });
        }
        ports.push(port);
    }
    Ok((id, ports))
}

fn identity(field: &str, list: &[String], hops: HopRange) -> Result<PathId, PathFileError> {
    let expected = usize::from(hops.last() - hops.first()) + 1;
    let named = list.iter().filter(|hop| *hop != "*").count();
    if list.len() != expected || named == 0 {
        let (field, count) = (field.to_owned(), list.len());
        return Err(PathFileError::HopCount { field, count, named, hops, expected });
    }
    let hop = |(index, text): (usize, &String)| match text.as_str() {
        "*" => Ok(None),
        text => address(&format!("{field}[{index}]"), text).map(Some),
    };
    Ok(PathId::Hops(list.iter().enumerate().map(hop).collect::<Result<_, _>>()?))
}

fn name(field: &str, text: String) -> Result<String, PathFileError> {
    let length = text.chars().count();
    if !(1..=MAX_NAME).contains(&length) || text.chars().any(char::is_control) {
        let field = format!("{field}.name");
        return Err(PathFileError::Name { field, value: shown(&text) });
    }
    Ok(text)
}

fn address(field: &str, text: &str) -> Result<IpAddr, PathFileError> {
    text.parse().map_err(|_| PathFileError::Address {
        field: field.to_owned(),
        value: shown(text),
        expected: ADDRESS,
    })
}

fn destination(text: &str) -> Option<To> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return (address.port() != 0).then_some(To::Port(address));
    }
    let (network, bits) = if let Some((network, bits)) = text.split_once('/') {
        (network.parse::<IpAddr>().ok()?, bits.parse().ok()?)
    } else {
        let address: IpAddr = text.parse().ok()?;
        (address, if address.is_ipv4() { 32 } else { 128 })
    };
    (prefix(network, bits) == Some(network)).then_some(To::Prefix { network, bits })
}
