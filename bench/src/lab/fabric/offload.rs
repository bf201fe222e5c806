//! The two settings of devices that only an ioctl reaches.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

/// `ETHTOOL_GTSO`, `ETHTOOL_STSO`, `ETHTOOL_GGRO` and `ETHTOOL_SGRO` of `linux/ethtool.h`: to get
/// and set whether TCP may leave segmentation to the device, and whether it may merge what it
/// receives.
const GET_TSO: u32 = 0x1e;
const SET_TSO: u32 = 0x1f;
const GET_GRO: u32 = 0x2b;
const SET_GRO: u32 = 0x2c;

/// `struct ethtool_value`.
#[repr(C)]
struct Value {
    command: u32,
    data: u32,
}

/// Makes a virtual cable whose ends are both set so keep the order of packets; the device is one of
/// the calling thread's network namespace.
///
/// With receive offload a veth device takes its packets from one queue of its own (NAPI), but only
/// those of a peer without TCP segmentation offload (`veth_skb_is_eligible_for_gro` in Linux's
/// `drivers/net/veth.c`). All others come over the queue of the processor that sent them, and two
/// processors reorder the packets of a path.
pub(crate) fn receive_in_order(device: &str) -> io::Result<()> {
    let mut name = [0; libc::IFNAMSIZ];
    if device.len() >= name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in name.iter_mut().zip(device.bytes()) {
        *to = from as libc::c_char;
    }
    let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    for (set, get, value) in [(SET_TSO, GET_TSO, 0), (SET_GRO, GET_GRO, 1)] {
        on_device(&socket, name, set, value)?;
        // A device that cannot do it may stay as it is without a word.
        if on_device(&socket, name, get, 0)? != value {
            return Err(io::ErrorKind::Unsupported.into());
        }
    }
    Ok(())
}

/// Carries a command out; the value afterwards.
fn on_device(
    socket: &OwnedFd,
    name: [libc::c_char; libc::IFNAMSIZ],
    command: u32,
    data: u32,
) -> io::Result<u32> {
    debug_assert!(name.contains(&0), "the name ends in a zero");
    let mut value = Value { command, data };
    let mut request = libc::ifreq {
        ifr_name: name,
        ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_data: (&raw mut value).cast() },
    };
    // SAFETY: SIOCETHTOOL reads `request`, all of which is initialised, and through `ifru_data`
    // reads and writes the two words of `value`, which is all that the four commands of this module
    // use. Both outlive the call, nothing else refers to them, and the kernel keeps neither
    // pointer.
    let result =
        unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL as _, &raw mut request) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(value.data) }
}
