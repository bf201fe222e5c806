//! From options to a transport: the device, memory and queue pairs, and the peers' addresses.

use std::io;
use std::sync::Arc;

use onepath_topology::fabric::LeafId;
use onepath_topology::{Nanos, Rank, WorldSize};
use socket2::Socket;

use crate::path::roce::RoceSource;
use crate::proto::Random;
use crate::share::AssignFlows;
use crate::tcp::pinned::PeerPaths;
use crate::tcp::{OptionError, prepare};
use crate::verbs::{
    AddressError, AddressHandle, ChannelError, CompletionQueue, CompletionQueueError, Context,
    ContextError, DeviceAttributes, DeviceError, DeviceList, EventChannel, FlowLabel, Gid,
    GidChoice, GidEntry, GidError, GidTable, GidType, LinkLayer, LocalRoute, MemoryRegionError,
    NodeType, Packet, PathMtu, PortNumber, PortState, PostError, ProtectionDomain,
    ProtectionDomainError, QueuePair, QueuePairError, Route,
};

use super::control::Control;
use super::counters::LaneCell;
use super::hello::{Hello, LaneCard};
use super::labels::Labels;
use super::lane::{Lane, Maker, receives, sends};
use super::memory::{Landing, Layout, Staging};
use super::options::{VerbsOptionError, VerbsOptions};
use super::peer::{Destination, Peer};
use super::problem::LaneDeath;
use super::queue::Queue;
use super::registry::Registry;
use super::{Shared, VerbsTransport};

/// Why a transport could not be made.
#[derive(Debug, thiserror::Error)]
pub enum VerbsSetupError {
    /// Options do not fit.
    #[error(transparent)]
    Options(#[from] VerbsOptionError),
    /// There is no such device, or no RDMA at all.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// A device that does not answer.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// No device has a port that carries data.
    #[error(
        "no RDMA device has an active port; there are [{}]: bring a link up",
        .present.join(", ")
    )]
    NoPort {
        /// The devices.
        present: Vec<String>,
    },
    /// The port of the device that was named carries no data.
    #[error("port {port} of {device} is {state:?}: it must be active; bring its link up")]
    Port {
        /// The device.
        device: String,
        /// The port.
        port: PortNumber,
        /// What it does.
        state: PortState,
    },
    /// The port has no address that fits.
    #[error(transparent)]
    Gid(#[from] GidError),
    /// Something of a device could not be made.
    #[error(transparent)]
    Domain(#[from] ProtectionDomainError),
    /// As above.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// As above.
    #[error(transparent)]
    Queue(#[from] CompletionQueueError),
    /// As above.
    #[error(transparent)]
    Pair(#[from] QueuePairError),
    /// As above.
    #[error(transparent)]
    Memory(#[from] MemoryRegionError),
    /// Receive requests could not be posted.
    #[error(transparent)]
    Post(#[from] PostError),
    /// An address that is none.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The device has too little for so many peers, lanes and slots.
    #[error(
        "{device} has {limit} {what}, of which {needed} are needed for {peers} peers: choose fewer \
         lanes or slots"
    )]
    Limit {
        /// The device.
        device: String,
        /// Of what.
        what: &'static str,
        /// How many it has.
        limit: u32,
        /// How many are needed.
        needed: u64,
        /// For how many peers.
        peers: usize,
    },
    /// A peer works with other numbers.
    #[error("rank {peer} has {field} {there}, this rank {here}: say the same on all ranks")]
    Differs {
        /// The peer.
        peer: Rank,
        /// Which.
        field: &'static str,
        /// The peer's.
        there: String,
        /// This rank's.
        here: String,
    },
    /// A peer of which nothing was said at the start.
    #[error("rank {peer} is no peer of this transport")]
    Stranger {
        /// The peer.
        peer: Rank,
    },
    /// The connection for letters could not be prepared.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// No random number.
    #[error("no random number: {0}")]
    Random(#[source] io::Error),
}

/// A peer to be reached over RDMA.
#[derive(Debug)]
pub struct VerbsPeer {
    /// Its rank.
    pub rank: Rank,
    /// What it said of itself, over this connection.
    pub hello: Hello,
    /// An authenticated connection with it, for letters. Nothing else goes over it any more.
    pub connection: Socket,
    /// The paths to it, with the UDP source ports of RoCE that take them: the label of each lane
    /// is made from them, unless labels are given.
    pub paths: Option<PeerPaths>,
}

/// An open device with one port in use.
#[derive(Debug)]
struct Opened {
    context: Context,
    port: PortNumber,
    gid: GidEntry,
    mtu: PathMtu,
    link: LinkLayer,
    lid: u16,
}

/// What is made for a peer before it is heard of.
#[derive(Debug)]
struct Prepared {
    rank: Rank,
    pairs: Vec<(QueuePair, Packet)>,
    staging: Staging,
    landing: Landing,
}

/// A transport whose peers are not known yet.
#[derive(Debug)]
pub struct VerbsSetup {
    me: Rank,
    world: WorldSize,
    options: VerbsOptions,
    opened: Opened,
    layout: Layout,
    prepared: Vec<Prepared>,
    maker: Maker,
    queue: CompletionQueue,
    channel: EventChannel,
    random: Random,
}

impl VerbsSetup {
    /// Opens the device and makes what each of the other ranks needs. This rank is the n-th of its
    /// host.
    pub fn new(
        (me, world): (Rank, WorldSize),
        options: VerbsOptions,
        on_host: usize,
    ) -> Result<Self, VerbsSetupError> {
        options.check()?;
        let opened = open(&options, on_host)?;
        let layout = Layout {
            lanes: options.lanes(),
            slots: options.slots(),
            slot_bytes: options.slot_bytes(),
        };
        let peers = world.get() - 1;
        let entries = check_limits(&opened.context, &layout, peers)?;
        let domain = ProtectionDomain::new(&opened.context)?;
        let channel = EventChannel::new(&opened.context)?;
        let queue = CompletionQueue::new(&opened.context, entries, Some((&channel, 0)))?;
        let (ack_timeout, retries) = (options.timeout(), options.retries);
        let maker = Maker { domain, port: opened.port, layout, ack_timeout, retries };
        let seed = getrandom::u64().map_err(|error| VerbsSetupError::Random(error.into()))?;
        let mut random = Random::new(seed);
        let others = world.ranks().filter(|&rank| rank != me);
        let prepared: Result<Vec<Prepared>, VerbsSetupError> =
            others.map(|rank| prepare_for(rank, &maker, &queue, &mut random)).collect();
        let prepared = prepared?;
        Ok(Self { me, world, options, opened, layout, prepared, maker, queue, channel, random })
    }

    /// Where the queue pairs send from; nothing on InfiniBand, which has no UDP ports.
    pub fn source(&self) -> Result<Option<RoceSource>, GidError> {
        let Opened { context, port, gid, link, .. } = &self.opened;
        match link {
            LinkLayer::InfiniBand => Ok(None),
            _ => RoceSource::of(context, *port, gid).map(Some),
        }
    }

    /// What is to be said to a peer.
    pub fn hello(&self, peer: Rank) -> Option<Hello> {
        let prepared = self.prepared.iter().find(|prepared| prepared.rank == peer)?;
        let card =
            |(pair, first): &(QueuePair, Packet)| LaneCard { number: pair.number(), first: *first };
        Some(Hello {
            slots: self.layout.slots as u8,
            slot_bytes: self.layout.slot_bytes as u32,
            link: self.opened.link,
            mtu: self.opened.mtu,
            gid: self.opened.gid.gid,
            kind: self.opened.gid.kind,
            lid: self.opened.lid,
            region: prepared.landing.remote(),
            lanes: prepared.pairs.iter().map(card).collect(),
        })
    }

    /// Connects the queue pairs to those of the peers. Nothing may be sent before all ranks have
    /// done this.
    pub fn connect(
        self,
        peers: Vec<VerbsPeer>,
        assigner: Option<Arc<dyn AssignFlows>>,
    ) -> Result<VerbsTransport, VerbsSetupError> {
        let Self { me, world, options, opened, layout, mut prepared, .. } = self;
        let mtus = peers.iter().map(|peer| peer.hello.mtu).chain([opened.mtu]);
        let mtu = mtus.min().unwrap_or(opened.mtu);
        let chunk_bytes = options.chunk_bytes(mtu.bytes());
        let mut by_rank = vec![None; world.get()];
        let mut made = Vec::with_capacity(peers.len());
        for peer in peers {
            let rank = peer.rank;
            let at = prepared.iter().position(|prepared| prepared.rank == rank);
            let at = at.ok_or(VerbsSetupError::Stranger { peer: rank })?;
            let index = made.len() as u16;
            by_rank[rank.index()] = Some(u32::from(index));
            let own = prepared.swap_remove(at);
            let here = (&opened, &self.maker, layout);
            made.push(join((me, index), here, own, peer, &options)?);
        }
        let shared = Shared {
            context: opened.context,
            port: opened.port,
            maker: self.maker,
            queue: self.queue,
            channel: self.channel,
            random: self.random,
            now: Nanos(0),
            port_down: false,
            remind: Nanos(0),
            reminded: false,
            registry: Registry::default(),
        };
        Ok(VerbsTransport::assemble(me, shared, made, by_rank, assigner, chunk_bytes))
    }
}

/// The devices to choose among, and the one of this rank.
fn open(options: &VerbsOptions, on_host: usize) -> Result<Opened, VerbsSetupError> {
    let list = DeviceList::new()?;
    if !options.devices.is_empty() {
        let text = &options.devices[on_host % options.devices.len()];
        let (name, port) = name_and_port(text)?;
        return use_port(list.find(name)?.open()?, port, options);
    }
    let mut present: Vec<String> = list.iter().map(|device| device.name()).collect();
    present.sort_unstable();
    let (mut active, mut failed) = (Vec::new(), None);
    for name in &present {
        let device = list.find(name)?;
        // RDMA over TCP has neither flow labels nor addresses of RoCE.
        if device.node_type() == NodeType::Iwarp {
            continue;
        }
        match device.open() {
            Ok(context) => active.extend(active_port(&context).map(|port| (context, port))),
            // One that a container was not given, for example: another may do.
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    if active.is_empty() {
        return Err(failed.map_or(VerbsSetupError::NoPort { present }, Into::into));
    }
    let at = on_host % active.len();
    let (context, port) = active.swap_remove(at);
    use_port(context, port, options)
}

/// The first port of a device that carries data.
fn active_port(context: &Context) -> Option<PortNumber> {
    let ports = context.attributes().ok()?.ports;
    let is_active = |port: &PortNumber| {
        context.port(*port).is_ok_and(|attributes| attributes.state == PortState::Active)
    };
    (1..=ports).filter_map(PortNumber::new).find(is_active)
}

/// A device as `NAME` or `NAME:PORT`.
fn name_and_port(text: &str) -> Result<(&str, PortNumber), VerbsOptionError> {
    let Some((name, port)) = text.split_once(':') else { return Ok((text, PortNumber::ONE)) };
    let port = port.parse().ok().and_then(PortNumber::new);
    port.map(|port| (name, port)).ok_or_else(|| VerbsOptionError {
        field: "device",
        value: format!("'{text}'"),
        right: "it must be NAME or NAME:PORT, with a port from 1 to 255".to_owned(),
    })
}

fn use_port(
    context: Context,
    port: PortNumber,
    options: &VerbsOptions,
) -> Result<Opened, VerbsSetupError> {
    let attributes = context.port(port)?;
    if attributes.state != PortState::Active {
        let (device, state) = (context.name().to_owned(), attributes.state);
        return Err(VerbsSetupError::Port { device, port, state });
    }
    let table = GidTable::read(&context, port)?;
    let gid = match (options.gid_index, attributes.link) {
        (Some(index), _) => table.choose(GidChoice::Index(index)),
        (None, LinkLayer::InfiniBand) => table.choose(GidChoice::InfiniBand),
        (None, _) => table.choose(GidChoice::AnyRoceV2),
    }?;
    let (mtu, link, lid) = (attributes.active_mtu, attributes.link, attributes.lid);
    Ok(Opened { context, port, gid, mtu, link, lid })
}

/// The length of the completion queue: **it never runs over**, since each request of a queue pair
/// has its place there, and a queue pair is replaced only when all of its own were seen.
fn check_limits(context: &Context, layout: &Layout, peers: usize) -> Result<u32, VerbsSetupError> {
    let DeviceAttributes { max_queue_pairs, max_work_requests, max_completions, .. } =
        context.attributes()?;
    let pairs = peers as u64 * u64::from(layout.lanes);
    let entries = pairs * u64::from(receives(layout) + sends(layout));
    // The next queue pair of a lane is made before the last one ends.
    for (what, limit, needed) in [
        ("queue pairs", max_queue_pairs, pairs + 1),
        ("requests in a queue", max_work_requests, sends(layout).into()),
        ("entries in a completion queue", max_completions, entries),
    ] {
        if needed > limit.into() {
            let device = context.name().to_owned();
            return Err(VerbsSetupError::Limit { device, what, limit, needed, peers });
        }
    }
    Ok(entries.max(1) as u32)
}

fn prepare_for(
    rank: Rank,
    maker: &Maker,
    queue: &CompletionQueue,
    random: &mut Random,
) -> Result<Prepared, VerbsSetupError> {
    let pair = |_| Ok((maker.pair(queue)?, Packet::new(random.bits() as u32)));
    let pairs: Result<Vec<_>, QueuePairError> = (0..maker.layout.lanes).map(pair).collect();
    Ok(Prepared {
        rank,
        pairs: pairs?,
        staging: Staging::new(&maker.domain, maker.layout)?,
        landing: Landing::new(&maker.domain, maker.layout)?,
    })
}

/// What packets from an address look like: queue pairs of different kinds do not hear each other.
fn protocol(kind: GidType, gid: Gid) -> String {
    match kind {
        GidType::RoceV2 if gid.address().is_ipv4() => format!("{kind} over IPv4"),
        GidType::RoceV2 => format!("{kind} over IPv6"),
        GidType::InfiniBand | GidType::RoceV1 => kind.to_string(),
    }
}

/// Checks that the peer works with the same numbers.
fn compare(
    peer: Rank,
    hello: &Hello,
    layout: &Layout,
    own: (GidType, Gid),
) -> Result<(), VerbsSetupError> {
    let same = |field, there: String, here: String| {
        if there == here {
            return Ok(());
        }
        Err(VerbsSetupError::Differs { peer, field, there, here })
    };
    same("lanes", hello.lanes.len().to_string(), layout.lanes.to_string())?;
    same("slots", hello.slots.to_string(), layout.slots.to_string())?;
    same("slot bytes", hello.slot_bytes.to_string(), layout.slot_bytes.to_string())?;
    same("addresses of", protocol(hello.kind, hello.gid), protocol(own.0, own.1))?;
    same("region bytes", hello.region.bytes.to_string(), layout.bytes().to_string())
}

fn join(
    (me, index): (Rank, u16),
    (opened, maker, layout): (&Opened, &Maker, Layout),
    own: Prepared,
    peer: VerbsPeer,
    options: &VerbsOptions,
) -> Result<Peer, VerbsSetupError> {
    let VerbsPeer { rank, hello, connection, paths } = peer;
    compare(rank, &hello, &layout, (opened.gid.kind, opened.gid.gid))?;
    prepare(&connection)?;
    let salt = u64::from(me.number()) << 40 ^ u64::from(rank.number()) << 16;
    let seed = Random::new(options.seed ^ salt).bits();
    let labels = Labels::new(layout.lanes, seed, options.labels.clone(), paths.as_ref());
    let destination = Destination {
        address: address(opened, &hello, options)?,
        mtu: opened.mtu.min(hello.mtu),
        region: hello.region,
    };
    let mut lanes = Vec::with_capacity(own.pairs.len());
    for ((number, pair), card) in (0..).zip(own.pairs).zip(&hello.lanes) {
        let label = labels.first(number);
        let path = labels.path(number);
        let cell = Arc::new(LaneCell::new(rank, number, path, label));
        let mut lane = Lane::new((index, number), label, pair, &layout, cell);
        let mut address = destination.address;
        if let Route::Roce(route) = &mut address.route {
            route.flow_label = label;
        }
        lane.connect(maker, address, destination.mtu, (card.number, card.first))?;
        lane.replenish()?;
        lanes.push(lane);
    }
    let last_death = (lanes[0].name(), LaneDeath::Told);
    // Where paths are not known, which peers share them is not known either.
    let leaf = paths.map_or(LeafId(u32::MAX - rank.number()), |paths| paths.leaf);
    Ok(Peer {
        rank,
        queue: Queue::new(lanes.len(), layout.slots, options.sharing),
        live: Vec::with_capacity(lanes.len()),
        lanes,
        staging: own.staging,
        landing: own.landing,
        layout,
        destination,
        labels,
        control: Control::new(connection),
        leaf,
        spread: options.spread,
        turn: 0,
        deal_turn: 0,
        cut_off: None,
        last_death,
        left: None,
        changed: true,
        finished: Vec::with_capacity(usize::from(layout.lanes) * usize::from(layout.slots)),
    })
}

fn address(
    opened: &Opened,
    hello: &Hello,
    options: &VerbsOptions,
) -> Result<AddressHandle, AddressError> {
    let (port, index) = (opened.port, opened.gid.index);
    if opened.link == LinkLayer::InfiniBand {
        let route = Route::InfiniBand { local: LocalRoute::new(hello.lid, 0)?, global: None };
        return Ok(AddressHandle { port, route });
    }
    let mut address = AddressHandle::roce(port, index, hello.gid, FlowLabel::DRIVERS_CHOICE);
    if let Route::Roce(route) = &mut address.route {
        route.traffic_class = options.traffic_class;
    }
    Ok(address)
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::verbs::{QueuePairNumber, RemoteRegion};

    #[test]
    fn a_device_may_be_named_with_its_port() {
        assert_eq!(name_and_port("rxe0"), Ok(("rxe0", PortNumber::ONE)));
        let two = PortNumber::new(2).expect("a port");
        assert_eq!(name_and_port("mlx5_1:2"), Ok(("mlx5_1", two)));
        for wrong in ["mlx5_1:0", "mlx5_1:", "mlx5_1:x", "mlx5_1:256"] {
            let error = name_and_port(wrong).expect_err(wrong).to_string();
            assert!(error.contains(wrong) && error.contains("NAME:PORT"), "{error}");
        }
    }

    #[test]
    fn a_peer_with_addresses_of_another_kind_is_named_with_both_kinds() {
        let layout = Layout { lanes: 1, slots: 4, slot_bytes: 4096 };
        let gid = |text: &str| Gid::from(text.parse::<IpAddr>().expect("an address"));
        let own = (GidType::RoceV2, gid("10.0.0.1"));
        let card = LaneCard {
            number: QueuePairNumber::new(17).expect("24 bits"),
            first: Packet::default(),
        };
        let hello = |kind, text| Hello {
            slots: 4,
            slot_bytes: 4096,
            link: LinkLayer::Ethernet,
            mtu: PathMtu::Bytes1024,
            gid: gid(text),
            kind,
            lid: 0,
            region: RemoteRegion { address: 0, bytes: layout.bytes() as u64, key: 1 },
            lanes: vec![card],
        };
        let told = |kind, text| compare(Rank::new(3), &hello(kind, text), &layout, own);
        assert!(told(GidType::RoceV2, "10.0.0.2").is_ok());
        for (kind, text, expected) in [
            (GidType::RoceV2, "fd00::1", "RoCE v2 over IPv6"),
            (GidType::RoceV1, "10.0.0.2", "RoCE v1"),
            (GidType::InfiniBand, "fe80::1", "InfiniBand"),
        ] {
            let error = told(kind, text).expect_err(expected).to_string();
            let parts = ["rank 3 has addresses of", expected, "this rank RoCE v2 over IPv4"];
            assert!(parts.iter().all(|part| error.contains(part)), "{error}");
        }
    }

    #[test]
    fn without_the_device_there_is_one_line_that_says_what_is_missing() {
        let devices = vec!["no-such-device".to_owned()];
        let options = VerbsOptions { devices, ..VerbsOptions::default() };
        let world = WorldSize::new(2).expect("two ranks");
        let error = VerbsSetup::new((Rank::new(0), world), options, 0).expect_err("no such device");
        println!("{error}");
        assert!(!error.to_string().contains('\n'), "{error}");
    }
}
