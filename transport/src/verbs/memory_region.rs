//! Memory regions: memory that a device may reach, and its keys.

use std::ffi::{c_int, c_void};
use std::fmt;
use std::io;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::sync::Arc;

use super::memory::{Pages, load, store};
use super::protection_domain::{ProtectionDomain, ProtectionDomainInner};
use super::raw::constants::{IBV_ACCESS_LOCAL_WRITE, IBV_ACCESS_REMOTE_WRITE};
use super::raw::types::{ibv_mr, ibv_sge};
use super::raw::{check, made};

/// Why memory is not within reach of a device.
#[derive(Debug, thiserror::Error)]
pub enum MemoryRegionError {
    /// The kernel does not pin so much, or the device has no more regions.
    #[error(
        "cannot register {bytes} bytes with {device}: {source}; locked memory may be limited \
         (RLIMIT_MEMLOCK: ulimit -l, LimitMEMLOCK= of systemd, --ulimit memlock=-1 of a container)"
    )]
    Register {
        /// The device.
        device: String,
        /// How many bytes.
        bytes: usize,
        /// The cause.
        source: io::Error,
    },
    /// There is no so large memory.
    #[error("{bytes} bytes cannot be allocated: the address space is smaller")]
    TooLarge {
        /// How many bytes.
        bytes: usize,
    },
    /// Devices know no empty regions.
    #[error("a memory region must have at least one byte")]
    Empty,
    /// A range is not in the region.
    #[error("{length} bytes at {offset} are not inside a memory region of {bytes} bytes")]
    OutOfRange {
        /// Where the range begins.
        offset: u64,
        /// How long it is.
        length: u64,
        /// How long the region is.
        bytes: u64,
    },
    /// Only whoever lent memory knows how it may be used.
    #[error("the memory of this region is lent: reach it through its owner")]
    NotOwned,
    /// One segment of a work request has a length of 32 bits.
    #[error("{length} bytes do not fit into one segment: cut them at 4 GiB - 1")]
    SegmentTooLong {
        /// How long it is.
        length: u64,
    },
}

/// Who may do what with a region besides its owner's device reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing else: a source of sends and writes.
    LocalRead,
    /// The own device writes: a target of receives.
    LocalWrite,
    /// A peer that knows the remote key writes: a target of RDMA WRITE.
    RemoteWrite,
}

impl Access {
    pub(super) fn to_raw(self) -> u32 {
        match self {
            Self::LocalRead => 0,
            Self::LocalWrite => IBV_ACCESS_LOCAL_WRITE,
            // A device must be able to write locally what it writes for others.
            Self::RemoteWrite => IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE,
        }
    }
}

/// A range of a region as work requests name it. It may outlive the region: a device refuses keys
/// of regions that are gone, or finds another region that it may touch just as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct LocalSpan(pub(super) ibv_sge);

impl LocalSpan {
    /// A range of a region with this local key.
    pub(super) fn new(address: u64, length: u32, key: u32) -> Self {
        Self(ibv_sge { addr: address, length, lkey: key })
    }

    /// How many bytes.
    pub fn length(&self) -> u32 {
        self.0.length
    }
}

/// A region of a peer, as the peer describes it: to be sent over the connection that sets a queue
/// pair up. Who knows it may write the region, so it belongs on authenticated connections only.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RemoteRegion {
    /// Address of its first byte, in the peer's view.
    pub address: u64,
    /// How many bytes.
    pub bytes: u64,
    /// The remote key.
    pub key: u32,
}

impl RemoteRegion {
    /// A range of it.
    pub fn span(&self, offset: u64, length: u64) -> Result<RemoteSpan, MemoryRegionError> {
        inside(offset, length, self.bytes)?;
        // A description that wraps around is the peer's mistake, which its device refuses.
        Ok(RemoteSpan { address: self.address.wrapping_add(offset), length, key: self.key })
    }
}

impl fmt::Debug for RemoteRegion {
    /// Without the key, which is as good as a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteRegion").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

/// A range of a peer's region.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RemoteSpan {
    pub(super) address: u64,
    pub(super) length: u64,
    pub(super) key: u32,
}

impl RemoteSpan {
    /// How many bytes.
    pub fn length(&self) -> u64 {
        self.length
    }
}

impl fmt::Debug for RemoteSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteSpan").field("length", &self.length).finish_non_exhaustive()
    }
}

fn inside(offset: u64, length: u64, bytes: u64) -> Result<(), MemoryRegionError> {
    match offset.checked_add(length) {
        Some(end) if end <= bytes => Ok(()),
        _ => Err(MemoryRegionError::OutOfRange { offset, length, bytes }),
    }
}

/// Whose the memory of a region is. Memory of other devices (dmabuf) would be a third kind, without
/// an address in this process: spans need only the region's own addresses.
#[derive(Debug)]
enum Backing {
    Owned(ManuallyDrop<Pages>),
    Lent,
}

/// Memory that a device may reach. The registration ends when this is dropped, before owned
/// memory is freed.
///
/// As long as it exists, the device may read the memory at any time, and change it if its
/// [`Access`] allows that. [`Self::load`] and [`Self::store`] are made for this.
///
/// A child of `fork` gets copies of registered pages (Linux 5.12 and newer): the parent's stay with
/// the device.
pub struct MemoryRegion {
    raw: NonNull<ibv_mr>,
    start: NonNull<u8>,
    bytes: usize,
    keys: Keys,
    backing: Backing,
    domain: Arc<ProtectionDomainInner>,
}

#[derive(Clone, Copy)]
struct Keys {
    local: u32,
    remote: u32,
}

// SAFETY: a region belongs to no thread, and the verbs may be called from several at once (see
// `ContextInner`). Its memory is owned, or lent under a contract that says as much.
unsafe impl Send for MemoryRegion {}
// SAFETY: what can be done through `&self` is atomic (`load`, `store`), or is an address that only
// `unsafe` code can use.
unsafe impl Sync for MemoryRegion {}

impl MemoryRegion {
    /// Registers zeroed memory of its own, in whole pages that it shares with nobody.
    pub fn allocate(
        domain: &ProtectionDomain,
        bytes: usize,
        access: Access,
    ) -> Result<Self, MemoryRegionError> {
        if bytes == 0 {
            return Err(MemoryRegionError::Empty);
        }
        let pages = Pages::new(bytes).ok_or(MemoryRegionError::TooLarge { bytes })?;
        let start = pages.start();
        // SAFETY: the pages are alive, ours alone, and are moved into the region, which frees
        // them after the registration has ended.
        let raw = unsafe { register(domain.inner(), start, bytes, access) }?;
        // SAFETY: just registered.
        Ok(unsafe {
            Self::from_raw(raw, start, bytes, Backing::Owned(ManuallyDrop::new(pages)), domain)
        })
    }

    /// Registers memory of somebody else.
    ///
    /// # Safety
    /// As long as the region exists: the memory is allocated, may be used from any thread, is
    /// writable if `access` lets anybody write; and whatever else reads or writes it in this
    /// process does so in the knowledge that the device may do so at the same time. So no reference
    /// to it lives while a peer may write it or a work request with a span of it is under way; that
    /// includes spans of an earlier region at the same addresses, whose key may be given out again.
    pub unsafe fn lend(
        domain: &ProtectionDomain,
        start: NonNull<u8>,
        bytes: usize,
        access: Access,
    ) -> Result<Self, MemoryRegionError> {
        if bytes == 0 {
            return Err(MemoryRegionError::Empty);
        }
        // SAFETY: the caller guarantees that the memory is allocated and may be used so.
        let raw = unsafe { register(domain.inner(), start, bytes, access) }?;
        // SAFETY: just registered.
        Ok(unsafe { Self::from_raw(raw, start, bytes, Backing::Lent, domain) })
    }

    /// # Safety
    /// `raw` is a live region that nobody else has, of `bytes` bytes from `start`, in `domain`.
    unsafe fn from_raw(
        raw: NonNull<ibv_mr>,
        start: NonNull<u8>,
        bytes: usize,
        backing: Backing,
        domain: &ProtectionDomain,
    ) -> Self {
        // SAFETY: the region is alive; its keys are set when it is made and never change.
        let keys = unsafe { Keys { local: (*raw.as_ptr()).lkey, remote: (*raw.as_ptr()).rkey } };
        Self { raw, start, bytes, keys, backing, domain: Arc::clone(domain.inner()) }
    }

    /// How many bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The address of its first byte, for code that may use it (see [`Self::lend`]).
    pub fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// A range of it for a work request.
    pub fn span(&self, offset: usize, length: usize) -> Result<LocalSpan, MemoryRegionError> {
        inside(offset as u64, length as u64, self.bytes as u64)?;
        let Ok(segment) = u32::try_from(length) else {
            return Err(MemoryRegionError::SegmentTooLong { length: length as u64 });
        };
        let addr = (self.start.as_ptr().addr() + offset) as u64;
        Ok(LocalSpan(ibv_sge { addr, length: segment, lkey: self.keys.local }))
    }

    /// What work requests name it by.
    pub(super) fn local_key(&self) -> u32 {
        self.keys.local
    }

    /// What a peer must know to write to it.
    pub fn remote(&self) -> RemoteRegion {
        let address = self.start.as_ptr().addr() as u64;
        RemoteRegion { address, bytes: self.bytes as u64, key: self.keys.remote }
    }

    fn owned(&self) -> Result<(), MemoryRegionError> {
        match self.backing {
            Backing::Owned(_) => Ok(()),
            Backing::Lent => Err(MemoryRegionError::NotOwned),
        }
    }

    /// Copies bytes out of it, while anybody may be changing them: they are as they were at some
    /// time, each 8 bytes or fewer at its own. After the completion of what changed them they are
    /// what was written. For memory of its own only.
    pub fn load(&self, offset: usize, to: &mut [u8]) -> Result<(), MemoryRegionError> {
        self.owned()?;
        inside(offset as u64, to.len() as u64, self.bytes as u64)?;
        // SAFETY: inside the region (just checked), whose pages are alive and its own: nobody but
        // the device, `load` and `store` reaches them, without references. (What `start` gives is
        // used in `unsafe` code only, which has read this.)
        unsafe { load(self.start.as_ptr().add(offset), to) };
        Ok(())
    }

    /// Copies bytes into it. What the device reads meanwhile is some mixture of old and new. For
    /// memory of its own only.
    pub fn store(&self, offset: usize, from: &[u8]) -> Result<(), MemoryRegionError> {
        self.owned()?;
        inside(offset as u64, from.len() as u64, self.bytes as u64)?;
        // SAFETY: as in `load`.
        unsafe { store(self.start.as_ptr().add(offset), from) };
        Ok(())
    }
}

/// # Safety
/// The memory is allocated, and stays so until the region is deregistered.
unsafe fn register(
    domain: &ProtectionDomainInner,
    start: NonNull<u8>,
    bytes: usize,
    access: Access,
) -> Result<NonNull<ibv_mr>, MemoryRegionError> {
    let start: *mut c_void = start.as_ptr().cast();
    let access = access.to_raw() as c_int;
    // SAFETY: the domain is alive; the memory is by the contract.
    let raw =
        unsafe { (domain.context().functions().ibv_reg_mr)(domain.raw(), start, bytes, access) };
    let device = || domain.context().name().to_owned();
    made(raw).map_err(|source| MemoryRegionError::Register { device: device(), bytes, source })
}

impl Drop for MemoryRegion {
    fn drop(&mut self) {
        let library = self.domain.context().functions();
        // SAFETY: registered by this library and deregistered once; the domain is alive.
        let ended = check(unsafe { (library.ibv_dereg_mr)(self.raw.as_ptr()) });
        match (&mut self.backing, ended) {
            // SAFETY: taken once, here; nobody can use the region afterwards.
            (Backing::Owned(pages), Ok(())) => unsafe { ManuallyDrop::drop(pages) },
            // After an error the device may still write to the memory: it is better leaked.
            (Backing::Lent, Ok(())) | (Backing::Owned(_), Err(_)) => {}
            (Backing::Lent, Err(error)) => {
                let name = self.domain.context().name();
                eprintln!(
                    "{name} does not give back {} bytes of lent memory ({error}), which its owner \
                     is about to use for something else: aborting",
                    self.bytes
                );
                std::process::abort();
            }
        }
    }
}

impl fmt::Debug for MemoryRegion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryRegion")
            .field("device", &self.domain.context().name())
            .field("bytes", &self.bytes)
            .field("backing", &self.backing)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_of_a_remote_region_must_lie_inside_it() {
        let region = RemoteRegion { address: 1 << 40, bytes: 100, key: 7 };
        let span = region.span(90, 10).expect("the last ten bytes");
        assert_eq!((span.address, span.length, span.key), ((1 << 40) + 90, 10, 7));
        for (offset, length) in [(91, 10), (101, 0), (u64::MAX, 2)] {
            let error = region.span(offset, length).expect_err("not inside");
            assert!(error.to_string().contains("100 bytes"), "{error}");
        }
    }

    #[test]
    fn keys_are_not_shown() {
        let region = RemoteRegion { address: 123_456, bytes: 100, key: 987_654 };
        let text = format!("{region:?} {:?}", region.span(0, 1).expect("inside"));
        assert!(!text.contains("987654") && !text.contains("123456"), "{text}");
    }

    #[test]
    fn a_target_of_remote_writes_is_locally_writable_too() {
        assert_eq!(Access::LocalRead.to_raw(), 0);
        assert_eq!(Access::RemoteWrite.to_raw(), IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE);
    }
}
