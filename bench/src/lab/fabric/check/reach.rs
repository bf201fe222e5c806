//! Every host reaches every other one, and processes start where they should.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::net::UdpSocket;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::super::script::HOST_DEVICE;
use super::super::{Fabric, Host, NamespaceError};
use super::{CheckError, Finding};

/// Each host is asked for by at most so many others: all, unless the fabric is large.
const MOST_PEERS: usize = 63;

/// How often those that did not arrive are sent again.
const ROUNDS: usize = 5;

/// How long the last packet may take.
const PATIENCE: Duration = Duration::from_millis(200);

const PORT: u16 = 7001;

/// A process started on each host finds the host's device and only it.
pub(super) fn processes(fabric: &Fabric) -> Result<Finding, CheckError> {
    let mut right = 0;
    for host in fabric.spec().hosts() {
        let mut command = Command::new("/bin/cat");
        command.arg("/proc/self/net/dev").stdin(Stdio::null()).stdout(Stdio::piped());
        let namespace = fabric.host(host);
        let child = namespace.spawn(&mut command)?;
        let output = child.wait_with_output().map_err(|cause| NamespaceError::Spawn {
            name: namespace.name().to_owned(),
            program: "cat".to_owned(),
            cause,
        })?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let devices = text.lines().filter_map(|line| line.split_once(':'));
        let devices: HashSet<&str> = devices.map(|(name, _)| name.trim()).collect();
        right += u64::from(devices.contains(HOST_DEVICE) && !devices.contains("s0"));
    }
    let of = fabric.spec().host_count() as u64;
    Ok(Finding::all("processes", right, of, "processes started on their hosts".to_owned()))
}

/// A packet from each host to each other one.
pub(super) fn pairs(fabric: &Fabric) -> Result<Finding, CheckError> {
    let sockets: Result<Vec<UdpSocket>, CheckError> =
        fabric.spec().hosts().map(|host| fabric.udp(host, PORT)).collect();
    let sockets = sockets?;
    for (socket, host) in sockets.iter().zip(fabric.spec().hosts()) {
        let set = socket.set_nonblocking(true);
        set.map_err(|cause| CheckError::Socket { host, action: "setting a socket up", cause })?;
    }
    let count = sockets.len();
    let mut missing: HashSet<(usize, usize)> = (0..count)
        .flat_map(|from| (1..=MOST_PEERS.min(count - 1)).map(move |k| (from, (from + k) % count)))
        .collect();
    let of = missing.len() as u64;
    for _ in 0..ROUNDS {
        send_all(fabric, &sockets, &mut missing)?;
        let deadline = Instant::now() + PATIENCE;
        while !missing.is_empty() && Instant::now() < deadline {
            receive_all(&sockets, &mut missing);
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    let note = match missing.iter().min() {
        Some((from, to)) => format!("host {from} does not reach host {to}"),
        None => "pairs of hosts that reach each other".to_owned(),
    };
    Ok(Finding::all("reach", of - missing.len() as u64, of, note))
}

/// A few at a time, so that no queue overflows.
fn send_all(
    fabric: &Fabric,
    sockets: &[UdpSocket],
    missing: &mut HashSet<(usize, usize)>,
) -> Result<(), CheckError> {
    let mut to_send: Vec<(usize, usize)> = missing.iter().copied().collect();
    to_send.sort_unstable_by_key(|(from, to)| ((to + sockets.len() - from) % sockets.len(), *from));
    for (from, to) in to_send {
        let address = (fabric.spec().address(Host(to as u32)), PORT);
        match sockets[from].send_to(&(from as u32).to_be_bytes(), address) {
            Ok(_) => {}
            // It is sent again in the next round.
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(cause) => {
                let host = Host(from as u32);
                return Err(CheckError::Socket { host, action: "sending a packet", cause });
            }
        }
        if from + 1 == sockets.len() {
            receive_all(sockets, missing);
        }
    }
    Ok(())
}

fn receive_all(sockets: &[UdpSocket], missing: &mut HashSet<(usize, usize)>) {
    for (to, socket) in sockets.iter().enumerate() {
        let mut packet = [0; 4];
        while let Ok(4) = socket.recv(&mut packet) {
            missing.remove(&(u32::from_be_bytes(packet) as usize, to));
        }
    }
}
