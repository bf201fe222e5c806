//! An end of a connection, for the examples with verbs.

use std::fmt;
use std::time::{Duration, Instant};

use onepath_transport::verbs::{
    Access, AckTimeout, AddressHandle, Completion, CompletionQueue, Context, Device, EventChannel,
    EventOn, FlowLabel, GidChoice, GidEntry, GidTable, MemoryRegion, NotReadyTimer, Packet,
    PathMtu, PortNumber, PortState, ProtectionDomain, QueuePair, QueuePairLimits, QueuePairNumber,
    Reception, RemoteRegion, Sending,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::Outcome;

/// Longer than any step takes on an emulated machine.
const PATIENCE: Duration = Duration::from_mins(1);
const LIMITS: QueuePairLimits =
    QueuePairLimits { sends: 64, receives: 64, send_spans: 2, receive_spans: 1, inline_bytes: 64 };

/// One end: device, memory, queues.
pub(crate) struct End {
    pub(crate) context: Context,
    port: PortNumber,
    pub(crate) mtu: PathMtu,
    gid: GidEntry,
    domain: ProtectionDomain,
    channel: EventChannel,
    pub(crate) queue: CompletionQueue,
    /// What is sent from.
    pub(crate) source: MemoryRegion,
    /// What the peer writes to.
    pub(crate) target: MemoryRegion,
}

/// What an end tells its peer; between processes over an authenticated connection.
#[derive(Clone, Copy)]
struct Card {
    pair: QueuePairNumber,
    gid: GidEntry,
    mtu: PathMtu,
    first: Packet,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mtu = self.mtu.bytes();
        write!(f, "{} port {}, GID {}, MTU {mtu}", self.context.name(), self.port, self.gid)
    }
}

impl End {
    pub(crate) fn open(
        device: &Device<'_>,
        port: PortNumber,
        gid: GidChoice,
        bytes: usize,
    ) -> Outcome<Self> {
        let context = device.open()?;
        let attributes = context.port(port)?;
        if attributes.state != PortState::Active {
            return Err(format!("{} port {port} is {:?}", context.name(), attributes.state).into());
        }
        let gid = GidTable::read(&context, port)?.choose(gid)?;
        let domain = ProtectionDomain::new(&context)?;
        let channel = EventChannel::new(&context)?;
        let queue = CompletionQueue::new(&context, 256, Some((&channel, 42)))?;
        let source = MemoryRegion::allocate(&domain, bytes, Access::LocalRead)?;
        let target = MemoryRegion::allocate(&domain, bytes, Access::RemoteWrite)?;
        let mtu = attributes.active_mtu;
        Ok(Self { context, port, mtu, gid, domain, channel, queue, source, target })
    }

    /// A queue pair that can be connected.
    pub(crate) fn pair(&self) -> Outcome<QueuePair> {
        let mut pair = QueuePair::new(&self.domain, &self.queue, &self.queue, LIMITS)?;
        pair.initialise(self.port, Access::RemoteWrite)?;
        Ok(pair)
    }

    pub(crate) fn region(&self) -> RemoteRegion {
        self.target.remote()
    }

    /// A region that does not last.
    pub(crate) fn scratch(&self, bytes: usize) -> Outcome<MemoryRegion> {
        Ok(MemoryRegion::allocate(&self.domain, bytes, Access::RemoteWrite)?)
    }

    fn card(&self, pair: &QueuePair) -> Outcome<Card> {
        let first = Packet::new(getrandom::u32()?);
        Ok(Card { pair: pair.number(), gid: self.gid, mtu: self.mtu, first })
    }

    fn connect(
        &self,
        pair: &mut QueuePair,
        (own, peer): (Card, Card),
        label: FlowLabel,
    ) -> Outcome<()> {
        let address = AddressHandle::roce(self.port, self.gid.index, peer.gid.gid, label);
        pair.ready_to_receive(&Reception {
            peer: peer.pair,
            address,
            mtu: own.mtu.min(peer.mtu),
            first: peer.first,
            not_ready: NotReadyTimer::at_least(Duration::from_millis(1)),
        })?;
        pair.ready_to_send(&Sending {
            first: own.first,
            ack_timeout: AckTimeout::at_least(Duration::from_secs(1)),
            retries: 7,
            not_ready_retries: Some(3),
        })?;
        Ok(())
    }

    /// The next completions: looks, then sleeps until the device wakes it.
    pub(crate) fn completions(&mut self) -> Outcome<Vec<Completion>> {
        let started = Instant::now();
        loop {
            let found: Vec<_> = self.queue.poll()?.collect();
            if !found.is_empty() {
                return Ok(found);
            }
            self.queue.request_event(EventOn::Any)?;
            // What came between the look and the request makes no event.
            let found: Vec<_> = self.queue.poll()?.collect();
            if !found.is_empty() {
                return Ok(found);
            }
            let mut files = [PollFd::new(&self.channel, PollFlags::IN)];
            poll(&mut files, Some(&Timespec { tv_sec: 1, tv_nsec: 0 }))?;
            while let Some(token) = self.channel.next_event()? {
                assert_eq!(token, 42, "the token of the queue");
            }
            if started.elapsed() > PATIENCE {
                return Err(
                    format!("{}: no completion in {PATIENCE:?}", self.context.name()).into()
                );
            }
        }
    }

    /// The next completion, which must be the only one.
    pub(crate) fn completion(&mut self) -> Outcome<Completion> {
        match &self.completions()?[..] {
            [one] => Ok(*one),
            several => Err(format!("one completion expected, there are {several:?}").into()),
        }
    }
}

/// Connects two new queue pairs.
pub(crate) fn connect(a: &End, b: &End, label: FlowLabel) -> Outcome<(QueuePair, QueuePair)> {
    let (mut pair_a, mut pair_b) = (a.pair()?, b.pair()?);
    let (card_a, card_b) = (a.card(&pair_a)?, b.card(&pair_b)?);
    a.connect(&mut pair_a, (card_a, card_b), label)?;
    b.connect(&mut pair_b, (card_b, card_a), label)?;
    Ok((pair_a, pair_b))
}
