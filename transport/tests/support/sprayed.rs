//! Worlds over datagrams, which may run through relays that misbehave.

use onepath_topology::Rank;
use onepath_topology::fabric::{LeafId, PathId};
use onepath_transport::Transport;
use onepath_transport::proto::{TagKey, TagKeys};
use onepath_transport::share::AssignFlows;
use onepath_transport::spray::{Hello, ReceivePort, SprayOptions, SprayPeer, SprayTransport};
use onepath_transport::tcp::pinned::{PathPorts, PeerPaths};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use super::pinned::EqualParts;
use super::worlds::{World, size};

/// The key of one direction.
fn key(from: usize, to: usize) -> TagKey {
    let mut key = [7; 16];
    (key[0], key[1]) = (from as u8, to as u8);
    TagKey::new(key)
}

/// Connects a world; `through` says where what one rank sends to another goes, whose address it is
/// given.
pub(crate) fn sprayed_through(
    ranks: usize,
    options: SprayOptions,
    paths: Option<u32>,
    mut through: impl FnMut(usize, usize, SocketAddr) -> SocketAddr,
) -> Vec<SprayTransport> {
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let bind = |_| ReceivePort::bind(loopback, options.receive_bytes).expect("loopback is bound");
    let ports: Vec<ReceivePort> = (0..ranks).map(bind).collect();
    let hellos: Vec<Hello> = ports
        .iter()
        .map(|port| Hello { address: port.address(), receive_bytes: port.receive_bytes() })
        .collect();
    let join = |(me, port): (usize, ReceivePort)| {
        let peer = |other: usize| {
            let path = |number| PathPorts { path: PathId(number), ports: Vec::new() };
            let found = |count| PeerPaths {
                leaf: LeafId(other as u32 / 2),
                paths: (0..count).map(path).collect(),
            };
            let address = through(me, other, hellos[other].address);
            SprayPeer {
                rank: Rank::from_index(other),
                hello: Hello { address, ..hellos[other] },
                keys: TagKeys { send: key(me, other), receive: key(other, me) },
                paths: paths.map(found),
            }
        };
        let peers = (0..ranks).filter(|&other| other != me).map(peer).collect();
        let assigner = paths.map(|_| Arc::new(EqualParts) as Arc<dyn AssignFlows>);
        let seat = (Rank::from_index(me), size(ranks));
        SprayTransport::new(seat, 0xC0FF_EE00, port, peers, assigner, options)
            .expect("loopback can be used")
    };
    ports.into_iter().enumerate().map(join).collect()
}

/// Datagrams over loopback.
pub(crate) fn sprayed(ranks: usize, options: SprayOptions) -> World {
    boxed(sprayed_through(ranks, options, None, |_, _, address| address))
}

/// Subflows over so many paths, each flow in equal parts.
pub(crate) fn split(ranks: usize, options: SprayOptions, paths: u32) -> World {
    boxed(sprayed_through(ranks, options, Some(paths), |_, _, address| address))
}

pub(crate) fn boxed(transports: Vec<SprayTransport>) -> World {
    transports.into_iter().map(|t| Box::new(t) as Box<dyn Transport>).collect()
}
