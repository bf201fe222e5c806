//! What the kernel knows of a connection.

use std::os::fd::AsRawFd;

use onepath_topology::Nanos;
use socket2::Socket;

/// Bytes of `struct tcp_info` that are read: up to `tcpi_bytes_acked` and what follows it.
const INFO_BYTES: usize = 240;

/// Offsets in `struct tcp_info` of Linux (`include/uapi/linux/tcp.h`), which only ever grows.
const RETRANSMITS: usize = 2;
const PROBES: usize = 3;
const UNACKED: usize = 24;
const LAST_ACK_RECEIVED: usize = 56;
const RTT: usize = 68;
const RTT_DEVIATION: usize = 72;
const BYTES_ACKED: usize = 120;
const NOT_SENT: usize = 144;
const END: usize = 148;

/// A connection as the kernel sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KernelView {
    /// Time-outs in a row without an acknowledgement.
    pub(super) retransmits: u8,
    /// Probes of a closed window in a row without an answer.
    pub(super) probes: u8,
    /// Segments under way.
    pub(super) unacked: u32,
    /// Bytes that wait for the window.
    pub(super) not_sent: u32,
    /// Since anything was acknowledged.
    pub(super) silent: Nanos,
    /// Bytes acknowledged since the connection began.
    pub(super) bytes_acked: u64,
    /// The time-out of the first repetition, without back-off: RFC 6298, section 2.
    pub(super) timeout: Nanos,
}

impl KernelView {
    /// Asks the kernel; nothing where it does not say.
    pub(super) fn of(socket: &Socket) -> Option<Self> {
        let mut info = [0_u8; INFO_BYTES];
        let mut length = INFO_BYTES as libc::socklen_t;
        // SAFETY: the descriptor is open as long as `socket` is borrowed; the kernel writes at most
        // `length` bytes, the length of `info`, and the number written to `length`; both are
        // exclusively borrowed for the call.
        let result = unsafe {
            libc::getsockopt(
                socket.as_raw_fd(),
                libc::IPPROTO_TCP,
                libc::TCP_INFO,
                info.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        (result == 0 && length as usize >= END).then(|| Self::parse(&info))
    }

    fn parse(info: &[u8; INFO_BYTES]) -> Self {
        Self {
            retransmits: info[RETRANSMITS],
            probes: info[PROBES],
            unacked: u32::from_ne_bytes(array(info, UNACKED)),
            not_sent: u32::from_ne_bytes(array(info, NOT_SENT)),
            silent: Nanos::millis(u64::from(u32::from_ne_bytes(array(info, LAST_ACK_RECEIVED)))),
            bytes_acked: u64::from_ne_bytes(array(info, BYTES_ACKED)),
            timeout: Nanos::micros(
                u64::from(u32::from_ne_bytes(array(info, RTT)))
                    + 4 * u64::from(u32::from_ne_bytes(array(info, RTT_DEVIATION))),
            ),
        }
    }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn bytes_that_a_peer_has_are_acknowledged_and_nothing_is_under_way() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let mut one = TcpStream::connect(listener.local_addr().expect("bound")).expect("connect");
        let (mut other, _) = listener.accept().expect("accept");
        one.write_all(&[1; 5_000]).expect("room");
        other.read_exact(&mut [0; 5_000]).expect("bytes");
        let socket = Socket::from(one);
        // The last acknowledgement of loopback may be delayed by the receiver's kernel.
        for _ in 0..200 {
            let view = KernelView::of(&socket).expect("linux tells");
            if view.bytes_acked >= 5_000 {
                assert_eq!((view.unacked, view.not_sent, view.retransmits), (0, 0, 0));
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        panic!("not acknowledged");
    }
}
