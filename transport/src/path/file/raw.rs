//! A path file as it is written.

use core::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{Entry, PathFile};
use crate::path::table::PathId;

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawFile {
    pub(super) protocol: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) source: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hops: Option<String>,
    #[serde(default)]
    pub(super) destination: Vec<RawEntry>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawEntry {
    pub(super) to: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) last_hops: Vec<String>,
    #[serde(default)]
    pub(super) path: Vec<RawPath>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPath {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hops: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    pub(super) ports: Vec<i64>,
}

impl RawFile {
    pub(super) fn of(file: &PathFile) -> Self {
        Self {
            protocol: file.protocol.to_string(),
            source: file.source.map(|source| source.to_string()),
            hops: Some(file.hops.to_string()),
            destination: file.entries.iter().map(entry).collect(),
        }
    }
}

fn entry(entry: &Entry) -> RawEntry {
    RawEntry {
        to: entry.to.to_string(),
        last_hops: entry.last_hops.iter().map(IpAddr::to_string).collect(),
        path: entry.paths.iter().map(|(id, ports)| path(id, ports)).collect(),
    }
}

fn path(id: &PathId, ports: &[u16]) -> RawPath {
    let ports = ports.iter().map(|&port| i64::from(port)).collect();
    let hop = |hop: &Option<IpAddr>| hop.map_or_else(|| "*".to_owned(), |hop| hop.to_string());
    match id {
        PathId::Hops(hops) => {
            RawPath { hops: Some(hops.iter().map(hop).collect()), name: None, ports }
        }
        PathId::Named(name) => RawPath { hops: None, name: Some(name.clone()), ports },
    }
}
