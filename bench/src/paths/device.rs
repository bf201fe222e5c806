//! The source of an RDMA device's queue pairs: its GID and network interface.

use std::net::IpAddr;

use onepath_transport::path::roce::RoceSource;
use onepath_transport::verbs::{
    AddressFamily, DeviceError, DeviceList, GidChoice, GidError, GidTable, PortNumber,
};

/// Why a device cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeviceProblem {
    /// It is not there, or cannot be opened.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// It has no such address.
    #[error(transparent)]
    Gid(#[from] GidError),
}

impl DeviceProblem {
    /// Whether another name or address would be right.
    pub(super) const fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::Device(DeviceError::NoSuchDevice { .. }) | Self::Gid(GidError::NoMatch { .. })
        )
    }
}

/// Opens the device for a moment, to learn its address: the given one, or the first of a family.
pub(super) fn source(
    device: &str,
    from: Option<IpAddr>,
    six: bool,
) -> Result<RoceSource, DeviceProblem> {
    let family = if six { AddressFamily::V6 } else { AddressFamily::V4 };
    let choice = from.map_or(GidChoice::Family(family), GidChoice::Address);
    let context = DeviceList::new()?.find(device)?.open()?;
    let gid = GidTable::read(&context, PortNumber::ONE)?.choose(choice)?;
    Ok(RoceSource::of(&context, PortNumber::ONE, &gid)?)
}
