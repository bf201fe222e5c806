//! Probes, and the kernel's own answer, name the path that a connection really takes.

use std::collections::HashSet;
use std::io::Write;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use socket2::Socket;

use super::super::count::{Link, Snapshot};
use super::super::route::{FiveTuple, Protocol};
use super::super::{Fabric, Spine};
use super::{CheckError, Finding, counterpart};

/// How many connections are tried.
const FLOWS: usize = 40;

/// SYN, ACK and a segment: what a connection sends at least.
const PACKETS: u64 = 3;

/// How long a connection's packets may take to be counted.
const PATIENCE: Duration = Duration::from_secs(2);

const TO_PORT: u16 = 7002;
const FROM_PORTS: u16 = 21_000;

/// Two findings: of the kernel's answer, and of probes.
pub(super) fn check(fabric: &Fabric) -> Result<[Finding; 2], CheckError> {
    let flows: Vec<FiveTuple> = (0..FLOWS).map(|index| flow(fabric, index)).collect();
    let _listeners = listeners(fabric, &flows)?;
    let routed = fabric.route(&flows)?;
    // Connections stay open to the end: a FIN would be counted as the next one's packet.
    let mut connections = Vec::new();
    let (mut by_route, mut by_probe, mut lost) = (0, 0, 0);
    let mut spines = HashSet::new();
    for (flow, routed) in flows.iter().zip(routed) {
        let probed = fabric.probe(flow)?;
        let taken = path_taken(fabric, flow, &mut connections)?;
        by_route += u64::from(taken == Some(routed));
        by_probe += u64::from(taken.is_some() && taken == probed);
        lost += u64::from(probed.is_none());
        spines.extend(taken);
    }
    let used =
        format!("connections over {} of {} spines", spines.len(), fabric.spec().spine_count());
    let note = format!("{lost} probes without an answer");
    let of = FLOWS as u64;
    // Over one spine of several, the leaves would not spread at all.
    let spread = spines.len() > 1 || fabric.spec().spine_count() == 1;
    let prediction = Finding::all("prediction", by_route, of, used);
    let prediction = Finding { passed: prediction.passed && spread, ..prediction };
    Ok([prediction, Finding::all("probe", by_probe, of, note)])
}

/// Spread over all leaves and their hosts.
fn flow(fabric: &Fabric, index: usize) -> FiveTuple {
    let spec = fabric.spec();
    let leaves = spec.leaf_count();
    let from = spec.hosts().nth(index * 7 % spec.host_count()).expect("it is below the count");
    let to = counterpart(spec, from, 1 + index % (leaves - 1));
    let from_port = FROM_PORTS + 13 * index as u16;
    FiveTuple { protocol: Protocol::Tcp, from, from_port, to, to_port: TO_PORT }
}

fn listeners(fabric: &Fabric, flows: &[FiveTuple]) -> Result<Vec<TcpListener>, CheckError> {
    let hosts: HashSet<_> = flows.iter().map(|flow| flow.to).collect();
    hosts.into_iter().map(|host| fabric.listen(host, TO_PORT)).collect()
}

/// Connects, and looks at the counters which uplink it went over.
fn path_taken(
    fabric: &Fabric,
    flow: &FiveTuple,
    connections: &mut Vec<Socket>,
) -> Result<Option<Spine>, CheckError> {
    let before = fabric.snapshot()?;
    let Ok(mut connection) = fabric.connect(flow, PATIENCE)? else { return Ok(None) };
    let written = connection.write_all(b"one segment");
    written.map_err(|cause| CheckError::Socket { host: flow.from, action: "writing", cause })?;
    connections.push(connection);
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Some(spine) = only_path(fabric, flow, &before)? {
            return Ok(Some(spine));
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    Ok(None)
}

/// The spine whose uplink has the connection's packets since, if it is the only one.
fn only_path(
    fabric: &Fabric,
    flow: &FiveTuple,
    before: &Snapshot,
) -> Result<Option<Spine>, CheckError> {
    let traffic = fabric.snapshot()?.since(before);
    let leaf = fabric.spec().leaf_of(flow.from);
    let packets = |spine: &Spine| traffic.count(Link::Uplink { leaf, spine: *spine }).packets;
    let mut loaded = fabric.spec().spines().filter(|spine| packets(spine) >= PACKETS);
    Ok(loaded.next().filter(|_| loaded.next().is_none()))
}
