//! From which UDP source port the packets to a queue pair come.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use onepath_transport::verbs::ROCE_UDP_PORT;
use socket2::{Domain, Protocol, Socket, Type};

/// `ETH_P_IP`.
const IPV4: u16 = 0x0800;
/// From the start of the UDP header: 8 bytes, then 5 of the base transport header.
const DESTINATION_PAIR: usize = 8 + 5;

/// Sees the IPv4 packets that arrive on any interface. Needs `CAP_NET_RAW`.
pub(crate) struct Sniffer {
    socket: Socket,
}

impl Sniffer {
    pub(crate) fn open() -> io::Result<Self> {
        let protocol = Protocol::from(i32::from(IPV4.to_be()));
        let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(protocol))?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        Ok(Self { socket })
    }

    /// The source port of the next packet to this queue pair; nothing if none comes in time.
    pub(crate) fn source_port(&self, pair: u32, patience: Duration) -> io::Result<Option<u16>> {
        let started = Instant::now();
        let mut buffer = [0; 128];
        while started.elapsed() < patience {
            match (&self.socket).read(&mut buffer) {
                Ok(length) => {
                    if let Some((port, found)) = roce(&buffer[..length])
                        && found == pair
                    {
                        return Ok(Some(port));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }
}

/// UDP source port and destination queue pair of a RoCE v2 packet, from its IPv4 header on.
fn roce(packet: &[u8]) -> Option<(u16, u32)> {
    const UDP: u8 = 17;
    let header = usize::from(packet.first()? & 0xf) * 4;
    let udp = packet.get(header..)?;
    let word = |at: usize| Some(u16::from_be_bytes(*udp.get(at..)?.first_chunk()?));
    if packet.get(9) != Some(&UDP) || word(2)? != ROCE_UDP_PORT {
        return None;
    }
    let [a, b, c] = *udp.get(DESTINATION_PAIR..)?.first_chunk()?;
    Some((word(0)?, u32::from_be_bytes([0, a, b, c])))
}
