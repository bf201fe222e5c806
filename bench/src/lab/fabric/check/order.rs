//! Packets of one path arrive in the order in which they were sent, while all paths are loaded.

use std::collections::{BTreeMap, HashMap};
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::super::count::Traffic;
use super::super::route::{FiveTuple, Protocol};
use super::super::{Fabric, Host, Spine};
use super::{CheckError, Finding, counterpart};
use crate::lab::cpu::CpuTimes;

/// How long packets are sent.
const SPAN: Duration = Duration::from_millis(600);

/// How long a packet may be on its way after the last one was sent.
const PATIENCE: Duration = Duration::from_millis(400);

/// Packets of a stream that follow each other: only close ones can overtake each other.
const BURST: u64 = 16;

/// Bytes of a small packet's payload.
const SMALL: usize = 100;

/// Bytes that the system counts for a packet beside its payload, about.
const BESIDE: usize = 700;

/// How many hosts send at most; each has two threads here.
const MOST_SENDERS: usize = 32;

/// Ports tried to find one for each spine; with 32 spines all are found in all but 1 of 10,000.
const PORTS_A_SPINE: usize = 12;

/// Headers of IP and UDP.
const HEADERS: usize = 28;

const TO_PORT: u16 = 7003;
const FROM_PORTS: u16 = 22_000;

/// What was received of one numbered stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Stream {
    received: u64,
    out_of_order: u64,
    next: u64,
}

impl Stream {
    /// A packet arrived: out of order if a later one came before.
    fn receive(&mut self, number: u64) {
        self.received += 1;
        if number < self.next {
            self.out_of_order += 1;
        } else {
            self.next = number + 1;
        }
    }
}

/// The streams of one host: each over another spine.
struct Sender {
    streams: Vec<(FiveTuple, UdpSocket)>,
    receiver: UdpSocket,
}

/// The largest packets and small ones, of which many follow each other at once; and the idle share
/// of the processors while the large ones were sent.
pub(super) fn check(fabric: &Fabric) -> Result<([Finding; 2], f64), CheckError> {
    let senders = senders(fabric)?;
    let before = CpuTimes::now()?;
    let large = streams(fabric, &senders, "order", fabric.spec().mtu() as usize - HEADERS)?;
    let idle = CpuTimes::now()?.idle_since(before);
    let small = streams(fabric, &senders, "order-small", SMALL)?;
    Ok(([large, small], idle))
}

/// Packets of all streams that were in order.
fn streams(
    fabric: &Fabric,
    senders: &[Sender],
    check: &'static str,
    payload_bytes: usize,
) -> Result<Finding, CheckError> {
    size_sockets(fabric, senders, payload_bytes)?;
    let before = fabric.snapshot()?;
    let payload = vec![0; payload_bytes];
    let done = AtomicBool::new(false);
    let results: Vec<Vec<Stream>> = thread::scope(|scope| {
        let receivers: Vec<_> =
            senders.iter().map(|sender| scope.spawn(|| receive(sender, &done))).collect();
        let threads: Vec<_> = senders
            .iter()
            .map(|sender| {
                let payload = payload.clone();
                scope.spawn(move || send(sender, payload))
            })
            .collect();
        for thread in threads {
            thread.join().expect("sending does not panic");
        }
        done.store(true, Ordering::Release);
        let joined = receivers.into_iter().map(thread::ScopedJoinHandle::join);
        joined.map(|streams| streams.expect("receiving does not panic")).collect()
    });
    let traffic = fabric.snapshot()?.since(&before);
    Ok(finding(fabric, check, &results.concat(), &traffic))
}

fn finding(fabric: &Fabric, check: &'static str, streams: &[Stream], traffic: &Traffic) -> Finding {
    let received: u64 = streams.iter().map(|stream| stream.received).sum();
    let out_of_order: u64 = streams.iter().map(|stream| stream.out_of_order).sum();
    let silent = streams.iter().filter(|stream| stream.received == 0).count();
    let spines: Vec<Spine> = fabric.spec().spines().collect();
    let even = traffic.max_over_mean(&spines).map_or(0.0, |imbalance| imbalance.max_over_mean);
    let note = format!(
        "packets of {} streams, one path each, {silent} silent, load max/mean {even:.3}",
        streams.len()
    );
    let order = Finding::all(check, received - out_of_order, received, note);
    Finding { passed: order.passed && silent == 0, ..order }
}

/// Each host to its counterpart at the next leaf, with a port for every spine.
fn senders(fabric: &Fabric) -> Result<Vec<Sender>, CheckError> {
    let spec = fabric.spec();
    let every = spec.host_count().div_ceil(MOST_SENDERS);
    let hosts: Vec<Host> = spec.hosts().step_by(every).collect();
    let ports = FROM_PORTS..FROM_PORTS + (PORTS_A_SPINE * spec.spine_count()) as u16;
    let candidates: Vec<FiveTuple> = hosts
        .iter()
        .flat_map(|from| ports.clone().map(move |from_port| (*from, from_port)))
        .map(|(from, from_port)| {
            let to = counterpart(spec, from, 1);
            FiveTuple { protocol: Protocol::Udp, from, from_port, to, to_port: TO_PORT }
        })
        .collect();
    let spines = fabric.route(&candidates)?;
    let mut first: BTreeMap<(Host, Spine), FiveTuple> = BTreeMap::new();
    for (flow, spine) in candidates.into_iter().zip(spines) {
        first.entry((flow.from, spine)).or_insert(flow);
    }
    hosts.iter().map(|host| sender(fabric, *host, &first)).collect()
}

fn sender(
    fabric: &Fabric,
    host: Host,
    flows: &BTreeMap<(Host, Spine), FiveTuple>,
) -> Result<Sender, CheckError> {
    let to = counterpart(fabric.spec(), host, 1);
    let receiver = fabric.udp(to, TO_PORT)?;
    let wrong = |cause| CheckError::Socket { host: to, action: "setting a socket up", cause };
    receiver.set_read_timeout(Some(PATIENCE)).map_err(wrong)?;
    let own = flows.iter().filter(|((from, _), _)| *from == host);
    let streams: Result<Vec<_>, CheckError> = own
        .map(|(_, flow)| {
            let socket = fabric.udp_sender(flow)?;
            socket.set_write_timeout(Some(PATIENCE)).map_err(wrong)?;
            Ok((*flow, socket))
        })
        .collect();
    Ok(Sender { streams: streams?, receiver })
}

/// Lets the streams of a host together fill half of its queue, so that few packets are lost there.
fn size_sockets(fabric: &Fabric, senders: &[Sender], payload: usize) -> Result<(), CheckError> {
    let spec = fabric.spec();
    let packets = (spec.queue_packets() as usize / 2 / spec.spine_count()).max(1);
    // The system doubles it.
    let bytes = packets * (payload + BESIDE) / 2;
    for (flow, socket) in senders.iter().flat_map(|sender| &sender.streams) {
        SockRef::from(socket).set_send_buffer_size(bytes).map_err(|cause| CheckError::Socket {
            host: flow.from,
            action: "setting a socket up",
            cause,
        })?;
    }
    Ok(())
}

/// A burst of each stream after the other, as fast as the host's link takes them.
fn send(sender: &Sender, mut packet: Vec<u8>) {
    let deadline = Instant::now() + SPAN;
    for burst in 0_u64.. {
        for (_, socket) in &sender.streams {
            for number in burst * BURST..(burst + 1) * BURST {
                packet[..8].copy_from_slice(&number.to_be_bytes());
                // A packet that was not sent is missing and not out of order.
                let _ = socket.send(&packet);
            }
        }
        if Instant::now() >= deadline {
            return;
        }
    }
}

/// Until all has been sent and nothing comes any more.
fn receive(sender: &Sender, done: &AtomicBool) -> Vec<Stream> {
    let mut streams: HashMap<u16, Stream> =
        sender.streams.iter().map(|(flow, _)| (flow.from_port, Stream::default())).collect();
    let mut packet = [0_u8; 8];
    loop {
        match sender.receiver.recv_from(&mut packet) {
            Ok((8, SocketAddr::V4(from))) => {
                if let Some(stream) = streams.get_mut(&from.port()) {
                    stream.receive(u64::from_be_bytes(packet));
                }
            }
            // A pause of this process interrupts it too.
            Err(error)
                if error.kind() != ErrorKind::Interrupted && done.load(Ordering::Acquire) =>
            {
                return streams.into_values().collect();
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_packets_are_no_disorder_and_late_ones_are() {
        let mut stream = Stream::default();
        for number in [0, 1, 4, 2, 3, 5, 5] {
            stream.receive(number);
        }
        assert_eq!(stream, Stream { received: 7, out_of_order: 3, next: 6 });
    }
}
