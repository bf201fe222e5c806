//! Changes take effect: rates, black holes, spraying.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use super::super::count::{Link, Traffic};
use super::super::route::{FiveTuple, Protocol};
use super::super::{Fabric, Host, Leaf, Rate, Spine, Spray};
use super::{CheckError, Finding, counterpart};

/// How long a rate is measured.
const SPAN: Duration = Duration::from_millis(400);

/// How long a connection may take that should be made, and one that should not.
const PATIENCE: Duration = Duration::from_millis(600);

/// A measured rate is right in these parts of what was set: the next lower rate would be 0.5 of it,
/// and a busy processor may not fill the link.
const RATE_BOUNDS: (f64, f64) = (0.7, 1.06);

/// How often a rate is measured at most.
const TRIES: usize = 4;

/// Bytes of a sprayed packet's payload, and with all headers.
const SPRAYED_BYTES: (usize, u64) = (16, 58);

/// Packets a spine that are sprayed.
const SPRAYED: usize = 60;

/// Packets more or less on a spine than its share, by round robin and by chance (a binomial of 60
/// in 240 is off by more than 36 once in 10^7).
const OFF_BY: (u64, u64) = (0, 36);

const TO_PORT: u16 = 7004;
const FROM_PORTS: u16 = 23_000;

/// All changes; the fabric is as before afterwards, unless there is an error.
pub(super) fn check(fabric: &mut Fabric) -> Result<Vec<Finding>, CheckError> {
    let mut findings = vec![rates(fabric)?];
    findings.extend(black_hole(fabric)?);
    findings.push(spray(fabric)?);
    Ok(findings)
}

/// A flow from the first host to the next leaf, for each spine.
fn flows(fabric: &Fabric, protocol: Protocol) -> Result<Vec<(Spine, FiveTuple)>, CheckError> {
    let (from, spec) = (Host(0), fabric.spec());
    let to = counterpart(spec, from, 1);
    let ports = FROM_PORTS..FROM_PORTS + 12 * spec.spine_count() as u16;
    let flow = |from_port| FiveTuple { protocol, from, from_port, to, to_port: TO_PORT };
    let candidates: Vec<FiveTuple> = ports.map(flow).collect();
    let spines = fabric.route(&candidates)?;
    let first = |spine| spines.iter().position(|other| *other == spine);
    let with_port = spec.spines().filter_map(|spine| Some((spine, candidates[first(spine)?])));
    Ok(with_port.collect())
}

/// Half of a spine's rate, a quarter of one link's, and all of it again.
fn rates(fabric: &mut Fabric) -> Result<Finding, CheckError> {
    let full = fabric.spec().uplink_rate();
    let (spine, flow) = flows(fabric, Protocol::Udp)?[0];
    // A host alone must be able to fill what is left of the link.
    let most = full.get().min(fabric.spec().rate().get());
    let (half, quarter) = (Rate::bits(most / 2), Rate::bits(most / 4));
    fabric.set_spine_rate(spine, half)?;
    let at_half = measure(fabric, &flow, spine, half)?;
    fabric.set_link_rate(Leaf(0), spine, quarter)?;
    let at_quarter = measure(fabric, &flow, spine, quarter)?;
    fabric.set_spine_rate(spine, full)?;
    let at_full = measure(fabric, &flow, spine, Rate::bits(most))?;
    let parts = [at_half, at_quarter, at_full];
    let (least, greatest) = RATE_BOUNDS;
    let right = parts.iter().filter(|part| (least..=greatest).contains(*part)).count() as u64;
    let note =
        format!("measured over set: half {at_half:.3}, quarter {at_quarter:.3}, full {at_full:.3}");
    Ok(Finding::all("rate", right, parts.len() as u64, note))
}

/// As [`fill`], again if it is too low: a sender that does not get the processor sends less, and
/// nothing makes it send more.
fn measure(
    fabric: &Fabric,
    flow: &FiveTuple,
    spine: Spine,
    expected: Rate,
) -> Result<f64, CheckError> {
    let mut found = fill(fabric, flow, spine, expected)?;
    for _ in 1..TRIES {
        if found >= RATE_BOUNDS.0 {
            break;
        }
        found = fill(fabric, flow, spine, expected)?;
    }
    Ok(found)
}

/// The rate of the first leaf's uplink over what it should be, while one flow fills it.
fn fill(
    fabric: &Fabric,
    flow: &FiveTuple,
    spine: Spine,
    expected: Rate,
) -> Result<f64, CheckError> {
    let receiver = fabric.udp(flow.to, flow.to_port)?;
    let sender = fabric.udp_sender(flow)?;
    let packet = vec![0; fabric.spec().mtu() as usize - 28];
    // The first packets fill the queue.
    send_for(&sender, &packet, SPAN / 4);
    let before = fabric.snapshot()?;
    send_for(&sender, &packet, SPAN);
    let traffic = fabric.snapshot()?.since(&before);
    drop(receiver);
    let bits = 8 * traffic.count(Link::Uplink { leaf: Leaf(0), spine }).bytes;
    Ok(bits as f64 / traffic.span.as_secs_f64() / expected.get() as f64)
}

fn send_for(socket: &UdpSocket, packet: &[u8], span: Duration) {
    let deadline = Instant::now() + span;
    while Instant::now() < deadline {
        // What is not sent is missing from the measured rate.
        let _ = socket.send(packet);
    }
}

/// A swallowing spine answers nothing, the others go on, and a healed one works again.
fn black_hole(fabric: &mut Fabric) -> Result<[Finding; 2], CheckError> {
    let flows = flows(fabric, Protocol::Tcp)?;
    let _listener = fabric.listen(flows[0].1.to, TO_PORT)?;
    let (dead, into) = flows[0];
    fabric.black_hole(dead)?;
    let mut swallowed = 0;
    swallowed += u64::from(fabric.connect(&into, PATIENCE)?.is_err());
    swallowed += u64::from(fabric.probe(&into)?.is_none());
    swallowed += u64::from(fabric.link_is_up(Leaf(0), dead)?);
    let around = others(fabric, &flows, dead)?;
    let of = 3 + around.len() as u64;
    for flow in &around {
        swallowed += u64::from(fabric.connect(flow, PATIENCE)?.is_ok());
    }
    fabric.heal(dead)?;
    let mut healed = u64::from(fabric.probe(&into)? == Some(dead));
    healed += u64::from(fabric.connect(&into, PATIENCE)?.is_ok());
    let note = format!("spine {} swallows, tells nobody, and the others go on", dead.0);
    let healed_note = format!("spine {} answers probes and connects again", dead.0);
    Ok([
        Finding::all("black-hole", swallowed, of, note),
        Finding::all("heal", healed, 2, healed_note),
    ])
}

/// Flows over other spines whose way back does not lead over the dead one either.
fn others(
    fabric: &Fabric,
    flows: &[(Spine, FiveTuple)],
    dead: Spine,
) -> Result<Vec<FiveTuple>, CheckError> {
    let around: Vec<FiveTuple> =
        flows.iter().filter(|(spine, _)| *spine != dead).map(|(_, flow)| *flow).collect();
    let back: Vec<FiveTuple> = around.iter().map(|flow| flow.reversed()).collect();
    let back = fabric.route(&back)?;
    let both = around.into_iter().zip(back).filter(|(_, spine)| *spine != dead);
    Ok(both.map(|(flow, _)| flow).collect())
}

/// One flow over all spines by either way of spraying, and over one without.
fn spray(fabric: &mut Fabric) -> Result<Finding, CheckError> {
    let flow = flows(fabric, Protocol::Udp)?[0].1;
    let receiver = fabric.udp(flow.to, flow.to_port)?;
    fabric.set_spray(Some(Spray::RoundRobin))?;
    let in_turn = sprayed(fabric, &flow)?;
    fabric.set_spray(Some(Spray::Random))?;
    let by_chance = sprayed(fabric, &flow)?;
    fabric.set_spray(None)?;
    let by_flow = sprayed(fabric, &flow)?;
    drop(receiver);
    let share = SPRAYED as u64;
    let off = |packets: &[u64]| packets.iter().map(|n| n.abs_diff(share)).max().unwrap_or(0);
    let all = share * fabric.spec().spine_count() as u64;
    let checks = [
        off(&in_turn) <= OFF_BY.0,
        off(&by_chance) <= OFF_BY.1,
        by_flow.iter().any(|packets| *packets >= all),
    ];
    let right = checks.iter().filter(|check| **check).count() as u64;
    let note = format!(
        "packets a spine: {in_turn:?} in turn, {by_chance:?} by chance, {by_flow:?} by flow"
    );
    Ok(Finding::all("spray", right, checks.len() as u64, note))
}

/// Packets over each spine of a flow of [`SPRAYED`] packets a spine.
fn sprayed(fabric: &Fabric, flow: &FiveTuple) -> Result<Vec<u64>, CheckError> {
    let sender = fabric.udp_sender(flow)?;
    let before = fabric.snapshot()?;
    let packets = SPRAYED * fabric.spec().spine_count();
    // No faster than one uplink takes them, so that none is lost when all go over one.
    let bits = 8 * SPRAYED_BYTES.1 * 1_000_000_000;
    let pause = Duration::from_nanos(bits / fabric.spec().uplink_rate().get());
    for _ in 0..packets {
        std::thread::sleep(pause);
        let sent = sender.send(&[0; SPRAYED_BYTES.0]);
        sent.map_err(|cause| CheckError::Socket { host: flow.from, action: "sending", cause })?;
    }
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = uplinks(fabric, &fabric.snapshot()?.since(&before));
        if found.iter().sum::<u64>() >= packets as u64 || Instant::now() > deadline {
            return Ok(found);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn uplinks(fabric: &Fabric, traffic: &Traffic) -> Vec<u64> {
    let packets = |spine| traffic.count(Link::Uplink { leaf: Leaf(0), spine }).packets;
    fabric.spec().spines().map(packets).collect()
}
