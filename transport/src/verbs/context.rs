//! An open device, its ports and its events.

use std::ffi::c_int;
use std::fmt;
use std::io;
use std::num::NonZeroU8;
use std::os::fd::{AsFd, BorrowedFd, RawFd};
use std::ptr::NonNull;
use std::sync::Arc;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use super::event::DeviceEvent;
use super::gid::Gid;
use super::raw::constants::{
    IBV_LINK_LAYER_ETHERNET, IBV_LINK_LAYER_INFINIBAND, IBV_MTU_256, IBV_MTU_512, IBV_MTU_1024,
    IBV_MTU_2048, IBV_MTU_4096, IBV_PORT_ACTIVE, IBV_PORT_ACTIVE_DEFER, IBV_PORT_ARMED,
    IBV_PORT_DOWN, IBV_PORT_INIT, IBV_PORT_NOP,
};
use super::raw::library::Library;
use super::raw::types::{
    ibv_async_event, ibv_context, ibv_device_attr, ibv_gid, ibv_gid_entry, ibv_port_attr,
};
use super::raw::{check, inline};

/// Why an open device does not answer.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// A port cannot be asked.
    #[error("cannot query {device} port {port}: {source}")]
    Port {
        /// The device.
        device: String,
        /// The port.
        port: PortNumber,
        /// The cause.
        source: io::Error,
    },
    /// The device cannot be asked.
    #[error("cannot query {device}: {source}; was it removed?")]
    Attributes {
        /// The device.
        device: String,
        /// The cause.
        source: io::Error,
    },
    /// Its events cannot be read.
    #[error("cannot read events of {device}: {source}; was it removed?")]
    Events {
        /// The device.
        device: String,
        /// The cause.
        source: io::Error,
    },
}

/// A port of a device, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortNumber(NonZeroU8);

impl PortNumber {
    /// The first port, the only one of most devices.
    pub const ONE: Self = Self(NonZeroU8::MIN);

    /// Nothing for 0.
    pub fn new(port: u8) -> Option<Self> {
        NonZeroU8::new(port).map(Self)
    }

    /// The number.
    pub fn get(self) -> u8 {
        self.0.get()
    }
}

impl fmt::Display for PortNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How many payload bytes a packet carries at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PathMtu {
    /// 256 bytes.
    Bytes256,
    /// 512 bytes.
    Bytes512,
    /// 1024 bytes: what fits in Ethernet frames of 1500.
    Bytes1024,
    /// 2048 bytes.
    Bytes2048,
    /// 4096 bytes, the most: needs Ethernet frames of about 4200.
    Bytes4096,
}

impl PathMtu {
    /// In bytes.
    pub fn bytes(self) -> usize {
        128 << self.to_raw()
    }

    /// The size of so many bytes, if there is one.
    pub fn of_bytes(bytes: u32) -> Option<Self> {
        let all =
            [Self::Bytes256, Self::Bytes512, Self::Bytes1024, Self::Bytes2048, Self::Bytes4096];
        all.into_iter().find(|size| size.bytes() as u32 == bytes)
    }

    pub(super) fn to_raw(self) -> u32 {
        match self {
            Self::Bytes256 => IBV_MTU_256,
            Self::Bytes512 => IBV_MTU_512,
            Self::Bytes1024 => IBV_MTU_1024,
            Self::Bytes2048 => IBV_MTU_2048,
            Self::Bytes4096 => IBV_MTU_4096,
        }
    }

    fn from_raw(mtu: u32) -> Option<Self> {
        let all =
            [Self::Bytes256, Self::Bytes512, Self::Bytes1024, Self::Bytes2048, Self::Bytes4096];
        all.into_iter().find(|candidate| candidate.to_raw() == mtu)
    }
}

/// What a port is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortState {
    /// The driver does not say.
    Unknown,
    /// No link.
    Down,
    /// Link, but not configured yet.
    Initialising,
    /// Configured, not in use yet.
    Armed,
    /// Carries data.
    Active,
    /// Active, while the link is interrupted for a moment.
    ActiveDeferred,
}

impl PortState {
    fn from_raw(state: u32) -> Self {
        match state {
            IBV_PORT_DOWN => Self::Down,
            IBV_PORT_INIT => Self::Initialising,
            IBV_PORT_ARMED => Self::Armed,
            IBV_PORT_ACTIVE => Self::Active,
            IBV_PORT_ACTIVE_DEFER => Self::ActiveDeferred,
            // IBV_PORT_NOP, and states that this version does not know.
            IBV_PORT_NOP.. => Self::Unknown,
        }
    }
}

/// What is below RDMA at a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkLayer {
    /// InfiniBand: addressed by LID and service level.
    InfiniBand,
    /// Ethernet: addressed by GID.
    Ethernet,
    /// The driver does not say.
    Unspecified,
}

impl LinkLayer {
    fn from_raw(layer: u8) -> Self {
        match u32::from(layer) {
            IBV_LINK_LAYER_INFINIBAND => Self::InfiniBand,
            IBV_LINK_LAYER_ETHERNET => Self::Ethernet,
            _ => Self::Unspecified,
        }
    }

    /// Whether it is Ethernet.
    pub fn is_ethernet(self) -> bool {
        self == Self::Ethernet
    }
}

/// What a port is like now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortAttributes {
    /// What it is doing.
    pub state: PortState,
    /// What is below it.
    pub link: LinkLayer,
    /// The largest packets that its link carries now; the smallest if the driver does not say.
    pub active_mtu: PathMtu,
    /// The longest message in bytes.
    pub max_message_bytes: u32,
    /// Length of its GID table.
    pub gid_entries: u32,
    /// Its InfiniBand address; 0 over Ethernet.
    pub lid: u16,
}

/// What a device is able to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceAttributes {
    /// Ports.
    pub ports: u8,
    /// Queue pairs.
    pub max_queue_pairs: u32,
    /// Work requests that a queue of a queue pair holds.
    pub max_work_requests: u32,
    /// Segments of a work request.
    pub max_segments: u32,
    /// Completion queues.
    pub max_completion_queues: u32,
    /// Entries of a completion queue.
    pub max_completions: u32,
    /// Memory regions.
    pub max_memory_regions: u32,
    /// Bytes of a memory region.
    pub max_memory_region_bytes: u64,
}

/// An open device. Clones are the same; it is closed when the last of them and the last object
/// made from it are gone.
#[derive(Clone)]
pub struct Context {
    inner: Arc<ContextInner>,
}

/// The open device itself; whatever the library makes from it keeps it alive.
pub(super) struct ContextInner {
    raw: NonNull<ibv_context>,
    functions: &'static Library,
    name: String,
}

// SAFETY: an open device belongs to no thread, and the verbs are safe to be called from several
// threads at once (rdma-core, libibverbs/man/ibv_get_device_list.3 and Documentation/libibverbs.md:
// "libibverbs is thread safe"). What we read of the structure itself is constant after opening.
unsafe impl Send for ContextInner {}
// SAFETY: as above.
unsafe impl Sync for ContextInner {}

impl ContextInner {
    pub(super) fn raw(&self) -> *mut ibv_context {
        self.raw.as_ptr()
    }

    pub(super) fn functions(&self) -> &'static Library {
        self.functions
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for ContextInner {
    fn drop(&mut self) {
        // SAFETY: opened by this library and closed once. Every object made from it holds an `Arc`
        // of this and has been destroyed before. There is nothing to be done about an error.
        unsafe { (self.functions.ibv_close_device)(self.raw.as_ptr()) };
    }
}

impl Context {
    /// # Safety
    /// `raw` was opened by `library` and belongs to nobody else.
    pub(super) unsafe fn from_raw(
        raw: NonNull<ibv_context>,
        functions: &'static Library,
        name: String,
    ) -> io::Result<Self> {
        let context = Self { inner: Arc::new(ContextInner { raw, functions, name }) };
        set_non_blocking(context.as_fd())?;
        Ok(context)
    }

    pub(super) fn inner(&self) -> &Arc<ContextInner> {
        &self.inner
    }

    /// The name of the device.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// What the device is able to.
    pub fn attributes(&self) -> Result<DeviceAttributes, ContextError> {
        let mut raw = std::mem::MaybeUninit::<ibv_device_attr>::zeroed();
        // SAFETY: the device is open; the structure has the size and layout that this version of
        // the function writes.
        let code =
            unsafe { (self.inner.functions.ibv_query_device)(self.inner.raw(), raw.as_mut_ptr()) };
        let failed = |source| ContextError::Attributes { device: self.name().to_owned(), source };
        check(code).map_err(failed)?;
        // SAFETY: integers and arrays of them, for which zeros were valid before the call.
        let raw = unsafe { raw.assume_init() };
        let number = |value: c_int| u32::try_from(value).unwrap_or(0);
        Ok(DeviceAttributes {
            ports: raw.phys_port_cnt,
            max_queue_pairs: number(raw.max_qp),
            max_work_requests: number(raw.max_qp_wr),
            max_segments: number(raw.max_sge),
            max_completion_queues: number(raw.max_cq),
            max_completions: number(raw.max_cqe),
            max_memory_regions: number(raw.max_mr),
            max_memory_region_bytes: raw.max_mr_size,
        })
    }

    /// What a port is like now.
    pub fn port(&self, port: PortNumber) -> Result<PortAttributes, ContextError> {
        let mut raw = ibv_port_attr::default();
        // SAFETY: the device is open.
        let code = unsafe {
            inline::query_port(self.inner.functions, self.inner.raw(), port.get(), &mut raw)
        };
        let failed = |source| ContextError::Port { device: self.name().to_owned(), port, source };
        check(code).map_err(failed)?;
        Ok(PortAttributes {
            state: PortState::from_raw(raw.state),
            link: LinkLayer::from_raw(raw.link_layer),
            active_mtu: PathMtu::from_raw(raw.active_mtu).unwrap_or(PathMtu::Bytes256),
            max_message_bytes: raw.max_msg_sz,
            gid_entries: u32::try_from(raw.gid_tbl_len).unwrap_or(0),
            lid: raw.lid,
        })
    }

    /// At most `most` entries of all ports; nothing if the library has no such function.
    pub(super) fn query_gid_table(&self, most: usize) -> io::Result<Option<Vec<ibv_gid_entry>>> {
        let Some(query) = self.inner.functions.query_gid_table else { return Ok(None) };
        let mut entries = vec![ibv_gid_entry::default(); most];
        // SAFETY: the device is open; the array has room for `most` entries of the given size.
        let count = unsafe {
            query(self.inner.raw(), entries.as_mut_ptr(), most, 0, size_of::<ibv_gid_entry>())
        };
        match usize::try_from(count) {
            Ok(count) => {
                entries.truncate(count);
                Ok(Some(entries))
            }
            Err(_) => Err(io::Error::from_raw_os_error(count.unsigned_abs() as i32)),
        }
    }

    /// One entry of a port's GID table.
    pub(super) fn query_gid(&self, port: PortNumber, index: u8) -> io::Result<Gid> {
        let mut raw = ibv_gid::default();
        // SAFETY: the device is open; the call writes one GID.
        let code = unsafe {
            let query = self.inner.functions.ibv_query_gid;
            query(self.inner.raw(), port.get(), c_int::from(index), &raw mut raw)
        };
        check(code)?;
        Ok(Gid(raw.raw))
    }

    /// The next event of the device, if there is one: a port that goes down, a queue pair that
    /// broke, the device's removal. Never blocks; poll the context's file descriptor to wait.
    pub fn next_event(&self) -> Result<Option<DeviceEvent>, ContextError> {
        let mut raw = ibv_async_event { element: std::ptr::null_mut(), event_type: 0 };
        // SAFETY: the device is open; the call writes one event.
        let code =
            unsafe { (self.inner.functions.ibv_get_async_event)(self.inner.raw(), &raw mut raw) };
        match check(code) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(None),
            Err(source) => {
                return Err(ContextError::Events { device: self.name().to_owned(), source });
            }
        }
        // SAFETY: just given by the library and not acknowledged, so the object in it lives:
        // destroying one waits for the acknowledgement of its events.
        let event = unsafe { DeviceEvent::from_raw(&raw) };
        // SAFETY: given by the library, acknowledged once, not used afterwards.
        unsafe { (self.inner.functions.ibv_ack_async_event)(&raw mut raw) };
        Ok(Some(event))
    }
}

impl AsFd for Context {
    /// Readable when there is an event.
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: an open descriptor of the context, set before it was given to us, which lives as
        // long as the context.
        unsafe { BorrowedFd::borrow_raw((*self.inner.raw()).async_fd as RawFd) }
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Context").field(&self.inner.name).finish()
    }
}

pub(super) fn set_non_blocking(file: BorrowedFd<'_>) -> io::Result<()> {
    let flags = fcntl_getfl(file)?;
    Ok(fcntl_setfl(file, flags | OFlags::NONBLOCK)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mtu_comes_back_from_its_code_with_its_bytes() {
        let sizes = [256, 512, 1024, 2048, 4096];
        for (code, bytes) in (1..).zip(sizes) {
            let mtu = PathMtu::from_raw(code).expect("a code of the standard");
            assert_eq!((mtu.bytes(), mtu.to_raw()), (bytes, code));
        }
        assert_eq!(PathMtu::from_raw(0).or(PathMtu::from_raw(6)), None);
    }

    #[test]
    fn states_that_nobody_knows_are_unknown_not_active() {
        assert_eq!(PortState::from_raw(IBV_PORT_ACTIVE), PortState::Active);
        assert_eq!(PortState::from_raw(0), PortState::Unknown);
        assert_eq!(PortState::from_raw(77), PortState::Unknown);
    }
}
