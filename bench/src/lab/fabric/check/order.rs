//! Packets of one path arrive in the order in which they were sent, while all paths are loaded.

use std::collections::{BTreeMap, HashMap};
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::super::count::Traffic;
use super::super::route::{FiveTuple, Protocol};
use super::super::{Fabric, Host, Spine};
use super::{CheckError, Finding, counterpart};

/// How long packets are sent.
const SPAN: Duration = Duration::from_millis(600);

/// How long a packet may be on its way after the last one was sent.
const PATIENCE: Duration = Duration::from_millis(400);

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

/// One finding: packets of all streams that were in order.
pub(super) fn check(fabric: &Fabric) -> Result<Vec<Finding>, CheckError> {
    let senders = senders(fabric)?;
    let before = fabric.snapshot()?;
    let payload = vec![0; fabric.spec().mtu() as usize - HEADERS];
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
        let joined = receivers.into_iter().map(|thread| thread.join());
        joined.map(|streams| streams.expect("receiving does not panic")).collect()
    });
    let traffic = fabric.snapshot()?.since(&before);
    Ok(vec![finding(fabric, &results.concat(), &traffic)])
}

fn finding(fabric: &Fabric, streams: &[Stream], traffic: &Traffic) -> Finding {
    let received: u64 = streams.iter().map(|stream| stream.received).sum();
    let out_of_order: u64 = streams.iter().map(|stream| stream.out_of_order).sum();
    let silent = streams.iter().filter(|stream| stream.received == 0).count();
    let spines: Vec<Spine> = fabric.spec().spines().collect();
    let even = traffic.max_over_mean(&spines).map_or(0.0, |imbalance| imbalance.max_over_mean);
    let note = format!(
        "packets of {} streams, one path each, {silent} silent, load max/mean {even:.3}",
        streams.len()
    );
    let order = Finding::all("order", received - out_of_order, received, note);
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

/// One packet of each stream after the other, as fast as the host's link takes them.
fn send(sender: &Sender, mut packet: Vec<u8>) {
    let deadline = Instant::now() + SPAN;
    for number in 0_u64.. {
        packet[..8].copy_from_slice(&number.to_be_bytes());
        for (_, socket) in &sender.streams {
            // A packet that was not sent is missing and not out of order.
            let _ = socket.send(&packet);
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
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) if done.load(Ordering::Acquire) => return streams.into_values().collect(),
            Err(_) => {}
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
