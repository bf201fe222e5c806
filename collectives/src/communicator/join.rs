//! From options to a communicator: rendezvous, control plane, data connections, shared memory.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use onepath_topology::{Rank, WorldSize};
use onepath_transport::NoTransport;
use onepath_transport::local::HostId;
use onepath_transport::proto::packet::PROTOCOL_VERSION;
use onepath_transport::spray::SprayOptions;
use onepath_transport::verbs::transport::VerbsOptions;
use onepath_transport::verbs::transport::hello::VERBS_VERSION;
use onepath_transport::wire::WIRE_VERSION;
use serde::{Deserialize, Serialize};

use crate::algorithm::Algorithm;
use crate::bootstrap::interfaces::candidates;
use crate::bootstrap::rendezvous::rendezvous;
use crate::bootstrap::{Counters, HostPort, Hosting, InterfaceChoice, RendezvousConfig, Trust};
use crate::control::{Endpoint, EndpointConfig};
use crate::engine::Waiting;

use super::build_error::BuildError;
use super::builder::{TransportKind, TuningSource};
use super::connect::{Group, connect};
use super::paths::Pinning;
use super::{Communicator, SCRATCH_LIMIT, tune};

/// Everything that a builder resolved.
#[derive(Clone, Debug)]
pub(super) struct Options {
    pub(super) rank: Rank,
    pub(super) world: WorldSize,
    pub(super) rendezvous: Option<HostPort>,
    pub(super) hosted_elsewhere: bool,
    pub(super) transport: TransportKind,
    /// TCP connections to a rank of another host.
    pub(super) subflows: u16,
    /// TCP connections to a rank of the same host.
    pub(super) near_subflows: u16,
    pub(super) pinning: Option<Pinning>,
    pub(super) spray: SprayOptions,
    pub(super) verbs: VerbsOptions,
    pub(super) waiting: Waiting,
    pub(super) algorithm: Option<Algorithm>,
    pub(super) tuning: TuningSource,
    pub(super) trust: Trust,
    pub(super) interfaces: InterfaceChoice,
    pub(super) silence: Duration,
    pub(super) operation_timeout: Duration,
    pub(super) late_warning: Duration,
    pub(super) flight_records: Option<PathBuf>,
    pub(super) join_timeout: Duration,
}

/// How a rank introduces itself to the others.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Card {
    /// Where its endpoint listens, best first.
    pub(super) addresses: Vec<SocketAddr>,
    /// Ranks with the same one can share memory; nothing where that cannot be found out.
    pub(super) host: Option<[u8; 16]>,
    /// Rank 0's part of the session number.
    nonce: u128,
}

/// Joins the world.
pub(super) fn world(options: Options) -> Result<Communicator, BuildError> {
    if options.world.get() == 1 {
        let mut communicator =
            Communicator::over_transport(options.rank, options.world, Box::new(NoTransport));
        communicator.engine.get_mut().set_algorithm(options.algorithm);
        return Ok(communicator);
    }
    let address =
        options.rendezvous.clone().ok_or(BuildError::Missing { what: "rendezvous address" })?;
    let endpoint = Endpoint::start(EndpointConfig {
        listen: listen_addresses(&options, &address)?,
        trust: Arc::new(options.trust.clone()),
    })?;
    let mut nonce = [0; 16];
    getrandom::fill(&mut nonce).map_err(|error| BuildError::Runtime(error.into()))?;
    let card = Card {
        addresses: endpoint.addresses().to_vec(),
        host: HostId::of_this_process().ok().map(|host| host.0),
        nonce: u128::from_le_bytes(nonce),
    };
    let cards = meet(&options, address, &card, Arc::clone(endpoint.counters()))?;
    let session = cards[0].nonce;
    let (rank, world) = (options.rank, options.world);
    let group = Group { options: Arc::new(options), endpoint, cards, session };
    let communicator = connect(group, rank, world, None)?;
    tune::agree(&communicator)?;
    Ok(communicator)
}

fn listen_addresses(options: &Options, address: &HostPort) -> Result<Vec<IpAddr>, BuildError> {
    let loopback = address.is_loopback() || matches!(options.trust, Trust::LoopbackOnly);
    let found = candidates(&options.interfaces, loopback)?;
    Ok(found.into_iter().map(|candidate| candidate.address).collect())
}

fn meet(
    options: &Options,
    address: HostPort,
    card: &Card,
    counters: Arc<Counters>,
) -> Result<Vec<Card>, BuildError> {
    let mut config =
        RendezvousConfig::new(address, options.rank, options.world, options.trust.clone());
    config.timeout = options.join_timeout;
    if options.hosted_elsewhere {
        config.hosting = Hosting::Elsewhere;
    }
    config.parameters = parameters(options);
    config.counters = counters;
    let blob = serde_json::to_vec(card)
        .map_err(|error| BuildError::Card { rank: options.rank, problem: error.to_string() })?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(BuildError::Runtime)?;
    let blobs = runtime.block_on(rendezvous(&config, Bytes::from(blob)))?;
    options.world.ranks().zip(&blobs).map(|(rank, blob)| parse(rank, blob)).collect()
}

pub(super) fn parse(rank: Rank, blob: &[u8]) -> Result<Card, BuildError> {
    serde_json::from_slice(blob)
        .map_err(|error| BuildError::Card { rank, problem: error.to_string() })
}

/// What must be the same on all ranks for their plans and chunks to fit together.
fn parameters(options: &Options) -> Vec<(String, String)> {
    let algorithm = options.algorithm.map_or("by cost table", Algorithm::name);
    let tuning = match options.tuning {
        TuningSource::Measure => "measured",
        TuningSource::Model => "modelled",
        TuningSource::File(_) => "from a file",
    };
    let pinned = |pinning: &Pinning| format!("in chunks of {}", pinning.chunk_bytes);
    let pinned = options.pinning.as_ref().map_or_else(|| "no".to_owned(), pinned);
    [
        ("onepath version", env!("CARGO_PKG_VERSION").to_owned()),
        ("wire version", WIRE_VERSION.to_string()),
        ("transport", options.transport.to_string()),
        ("datagram version", PROTOCOL_VERSION.to_string()),
        ("datagrams", options.spray.agreed()),
        ("verbs version", VERBS_VERSION.to_string()),
        ("verbs", options.verbs.agreed()),
        ("subflows", options.subflows.to_string()),
        ("subflows inside a host", options.near_subflows.to_string()),
        ("pinned to paths", pinned),
        ("algorithm", algorithm.to_owned()),
        ("tuning", tuning.to_owned()),
        ("scratch limit", SCRATCH_LIMIT.to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_survives_the_wire_with_its_largest_number() {
        let addresses = ["10.0.0.1:7", "[fe80::1%2]:8"].map(|text| text.parse().expect(text));
        let card = Card { addresses: addresses.to_vec(), host: Some([9; 16]), nonce: u128::MAX };
        let written = serde_json::to_vec(&card).expect("a card is plain data");
        let read = parse(Rank::new(0), &written).expect("a written card is one");
        assert_eq!(
            (read.addresses, read.host, read.nonce),
            (card.addresses, card.host, card.nonce)
        );
    }

    #[test]
    fn what_is_no_card_is_told_with_the_rank_that_sent_it() {
        for wrong in [&b""[..], b"{}", b"[]", br#"{"addresses":["x"],"host":null,"nonce":1}"#] {
            let error = parse(Rank::new(3), wrong).expect_err("no card").to_string();
            assert!(error.contains("rank 3") && !error.contains('\n'), "{error}");
        }
    }
}
