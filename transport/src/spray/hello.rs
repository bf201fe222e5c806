//! How ranks tell each other where datagrams are to be sent: 32 bytes over an authenticated
//! connection, little-endian.
//!
//! | bytes | field | meaning |
//! |---|---|---|
//! | 0..4 | magic | "OPSP" |
//! | 4 | version | [`PROTOCOL_VERSION`] |
//! | 5 | family | 4 or 6 |
//! | 6..8 | | zero |
//! | 8..12 | room | bytes of its receiving socket's buffer |
//! | 12..14 | port | where it receives |
//! | 14..16 | | zero |
//! | 16..32 | address | 4 or 16 bytes, then zeros |

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::proto::packet::PROTOCOL_VERSION;

/// Bytes of an encoded [`Hello`].
pub const HELLO_BYTES: usize = 32;

const MAGIC: [u8; 4] = *b"OPSP";

/// Where and how a rank receives datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The receiving socket. Scopes of link-local addresses are for the receiver to add.
    pub address: SocketAddr,
    /// Bytes that its receiving socket keeps, for all its peers together.
    pub receive_bytes: u32,
}

/// Bytes that are no such message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HelloError {
    /// Something else.
    #[error("bytes {found:?} where a datagram address begins; it begins with {MAGIC:?}")]
    Magic {
        /// The first bytes.
        found: [u8; 4],
    },
    /// Another version.
    #[error("datagram protocol version {found} where this rank speaks {PROTOCOL_VERSION}")]
    Version {
        /// The peer's.
        found: u8,
    },
    /// Neither IPv4 nor IPv6.
    #[error("address family {found} is not known: it must be 4 or 6")]
    Family {
        /// The family.
        found: u8,
    },
    /// Something where nothing is defined.
    #[error("byte {at} is {found}: it must be zero")]
    Reserved {
        /// Its place.
        at: usize,
        /// Its value.
        found: u8,
    },
    /// No port.
    #[error("port 0 receives nothing: it must be from 1 to 65535")]
    Port,
}

impl Hello {
    /// As it goes over the wire.
    pub fn encode(&self) -> [u8; HELLO_BYTES] {
        let mut out = [0; HELLO_BYTES];
        out[..4].copy_from_slice(&MAGIC);
        out[4] = PROTOCOL_VERSION;
        out[8..12].copy_from_slice(&self.receive_bytes.to_le_bytes());
        out[12..14].copy_from_slice(&self.address.port().to_le_bytes());
        match self.address.ip() {
            IpAddr::V4(ip) => {
                out[5] = 4;
                out[16..20].copy_from_slice(&ip.octets());
            }
            IpAddr::V6(ip) => {
                out[5] = 6;
                out[16..].copy_from_slice(&ip.octets());
            }
        }
        out
    }

    /// Reads and checks it.
    pub fn decode(bytes: &[u8; HELLO_BYTES]) -> Result<Self, HelloError> {
        let found = [bytes[0], bytes[1], bytes[2], bytes[3]];
        if found != MAGIC {
            return Err(HelloError::Magic { found });
        }
        if bytes[4] != PROTOCOL_VERSION {
            return Err(HelloError::Version { found: bytes[4] });
        }
        let mut ip = [0; 16];
        ip.copy_from_slice(&bytes[16..]);
        let ip: IpAddr = match bytes[5] {
            4 => Ipv4Addr::new(ip[0], ip[1], ip[2], ip[3]).into(),
            6 => Ipv6Addr::from(ip).into(),
            found => return Err(HelloError::Family { found }),
        };
        if let Some(at) = [6, 7, 14, 15].into_iter().find(|&at| bytes[at] != 0) {
            return Err(HelloError::Reserved { at, found: bytes[at] });
        }
        let receive_bytes = u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
        let port = u16::from_le_bytes([bytes[12], bytes[13]]);
        if port == 0 {
            return Err(HelloError::Port);
        }
        Ok(Self { address: SocketAddr::new(ip, port), receive_bytes })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_address_of_either_family_survives() {
        for address in ["10.1.2.3:4567", "[2001:db8::7]:65535"] {
            let address = address.parse().expect(address);
            let hello = Hello { address, receive_bytes: 1 << 20 };
            assert_eq!(Hello::decode(&hello.encode()), Ok(hello));
        }
    }

    #[test]
    fn each_wrong_field_is_named() {
        let address = "127.0.0.1:9".parse().expect("an address");
        let good = Hello { address, receive_bytes: 0 }.encode();
        for (at, byte, expected) in
            [(0, 0, "begins with"), (4, 99, "version"), (5, 5, "family"), (7, 9, "byte 7 is 9")]
        {
            let mut bytes = good;
            bytes[at] = byte;
            let error = Hello::decode(&bytes).expect_err(expected).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_from_any_bytes_is_written_back(bytes in any::<[u8; HELLO_BYTES]>()) {
            let mut bytes = bytes;
            bytes[..4].copy_from_slice(&MAGIC);
            bytes[4] = PROTOCOL_VERSION;
            bytes[5] = 4 + 2 * (bytes[5] & 1);
            for at in [6, 7, 14, 15] {
                bytes[at] = 0;
            }
            if let Ok(hello) = Hello::decode(&bytes) {
                prop_assert_eq!(Hello::decode(&hello.encode()), Ok(hello));
            }
        }
    }
}
