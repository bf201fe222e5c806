//! Ports for what a test starts.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::id;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::net::sockopt::set_socket_reuseaddr;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};

/// A port that nobody listens on. It lies below the range from which systems take automatic ports,
/// so that no outgoing connection takes it meanwhile.
pub(crate) fn free_port() -> u16 {
    const FIRST: u32 = 18_000;
    const PORTS: u32 = 14_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let base = id().wrapping_mul(97);
    let tried = (0..PORTS).map(|_| {
        let next = base.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        (FIRST + next % PORTS) as u16
    });
    let free = tried.into_iter().find(|&port| is_free(port));
    free.unwrap_or_else(|| panic!("no port from {FIRST} to {} is free", FIRST + PORTS))
}

/// Whether a listener of this host could have the port. This socket itself never listens: a child
/// that another thread starts holds a copy of it until it executes its program, and a copy that
/// listens would keep the port from whom it is for.
fn is_free(port: u16) -> bool {
    let stream = SocketType::STREAM;
    let socket = socket_with(AddressFamily::INET, stream, SocketFlags::CLOEXEC, None);
    let socket = socket.expect("a socket");
    set_socket_reuseaddr(&socket, true).expect("it is not bound yet");
    bind(&socket, &SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port)).is_ok()
}
