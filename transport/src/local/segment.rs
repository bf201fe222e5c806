//! A rank's own segment, and opening those of peers.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::{fs, io};

use onepath_topology::Rank;
use rustix::fs::{
    FallocateFlags, MemfdFlags, OFlags, SealFlags, fallocate, fcntl_add_seals, fcntl_get_seals,
    ftruncate, memfd_create,
};

use super::address::SegmentAddress;
use super::error::SegmentError;
use super::layout::{
    CLOSED, DOORBELL, IDENTITY, LEAST_SLOT_BYTES, Layout, LocalOptions, MOST_RING_BYTES,
};
use super::mapping::Mapping;
use super::pace::SlotCopy;
use super::slots::RingMemory;

const NAME: &str = "onepath";
/// How the kernel shows a memory file of this name.
const LINK: &str = "/memfd:onepath (deleted)";
const MAGIC: u64 = u64::from_le_bytes(*b"onepath\0");
const VERSION: u64 = 1;
const IDENTITY_WORDS: usize = 7;

fn seals() -> SealFlags {
    SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL
}

/// Shared memory of one rank: the rings of what it receives, and its doorbell. It has no name in
/// any file system; the kernel frees it when the last process that uses it ends, however it ends.
#[derive(Debug)]
pub struct Segment {
    /// Peers open it by this descriptor's number.
    #[expect(dead_code, reason = "kept open for peers")]
    file: OwnedFd,
    shared: Shared,
    address: SegmentAddress,
    copy: SlotCopy,
}

impl Segment {
    /// Makes the segment of a rank that has this many peers on its host.
    pub fn create(peers: usize, options: &LocalOptions) -> Result<Self, SegmentError> {
        let layout = Layout::fit(options, peers).ok_or(SegmentError::TooManyPeers {
            peers,
            total_bytes: options.total_bytes,
            least_slot_bytes: LEAST_SLOT_BYTES,
        })?;
        let bytes = layout.bytes() as u64;
        let file = new_file()?;
        let failed = |action| move |e: rustix::io::Errno| create_error(action, bytes, e.into());
        ftruncate(&file, bytes).map_err(failed("size"))?;
        // Takes the memory now: later there would be no error, only a killed process.
        fallocate(&file, FallocateFlags::empty(), 0, bytes).map_err(failed("allocate"))?;
        fcntl_add_seals(&file, seals()).map_err(failed("seal"))?;
        let mapping = Mapping::new(file.as_fd(), layout.bytes())
            .map_err(|source| create_error("map", bytes, source))?;
        let mut token = [0; 16];
        getrandom::fill(&mut token).map_err(|e| create_error("name", bytes, e.into()))?;
        let address = SegmentAddress {
            pid: std::process::id(),
            fd: file.as_raw_fd().cast_unsigned(),
            bytes,
            token: u128::from_le_bytes(token),
        };
        let shared = Shared { mapping: Arc::new(mapping), layout };
        shared.write_identity(address.token);
        Ok(Self { file, shared, address, copy: options.copy })
    }

    /// What peers need to open it.
    pub fn address(&self) -> SegmentAddress {
        self.address
    }

    /// How its owner is to write to other segments.
    pub(super) fn copy(&self) -> SlotCopy {
        self.copy
    }

    /// The segment as all ranks see it.
    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }
}

fn new_file() -> Result<OwnedFd, SegmentError> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Kernels from 6.3 on may demand the flag, older ones do not know it.
    memfd_create(NAME, flags | MemfdFlags::NOEXEC_SEAL)
        .or_else(|_| memfd_create(NAME, flags))
        .map_err(|e| create_error("create", 0, e.into()))
}

fn create_error(action: &'static str, bytes: u64, source: io::Error) -> SegmentError {
    SegmentError::Create { action, bytes, source }
}

/// A mapped segment, the own or a peer's.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    mapping: Arc<Mapping>,
    layout: Layout,
}

impl Shared {
    /// Opens a peer's segment and makes sure that it is the one that the address means.
    pub(super) fn open(peer: Rank, address: &SegmentAddress) -> Result<Self, SegmentError> {
        let path = address.path();
        let failed = |source| SegmentError::Open { peer, path: path.clone(), source };
        let wrong = |found: String| SegmentError::NotTheSegment { peer, path: path.clone(), found };
        // Looked at before it is opened: opening some other file could block or have effects.
        let link = fs::read_link(&path).map_err(failed)?;
        if link.as_os_str() != LINK {
            return Err(wrong(format!("the file {}", link.display())));
        }
        let file = File::options()
            .read(true)
            .write(true)
            .custom_flags(OFlags::NONBLOCK.bits() as i32)
            .open(&path)
            .map_err(failed)?;
        let found = fcntl_get_seals(&file).map_err(|e| failed(e.into()))?;
        if !found.contains(seals()) {
            return Err(wrong(format!("seals {found:?}")));
        }
        let bytes = file.metadata().map_err(failed)?.len();
        // Bounded before it is mapped, since mapping makes every page present.
        let most = (MOST_RING_BYTES + 8192) as u64;
        if bytes != address.bytes || !(4096..=most).contains(&bytes) {
            return Err(wrong(format!("{bytes} bytes instead of {}", address.bytes)));
        }
        let mapping = Mapping::new(file.as_fd(), bytes as usize).map_err(failed)?;
        let layout = read_identity(&mapping, address).map_err(wrong)?;
        Ok(Self { mapping: Arc::new(mapping), layout })
    }

    fn write_identity(&self, token: u128) {
        let [rings, slots, slot_bytes] = self.layout.words();
        let (low, high) = (token as u64, (token >> 64) as u64);
        let words = [MAGIC, VERSION, rings, slots, slot_bytes, low, high];
        for (at, word) in words.into_iter().enumerate() {
            let cell = self.mapping.word(IDENTITY + 8 * at);
            cell.store(word, Ordering::Release);
        }
    }

    /// The doorbell of the segment's owner.
    pub(super) fn doorbell(&self) -> &AtomicU32 {
        self.mapping.half(DOORBELL)
    }

    /// Tells peers that the owner will neither read nor write any more.
    pub(super) fn close(&self) {
        self.closed().store(1, Ordering::Release);
    }

    /// Whether the owner has left. What it published before is then visible.
    pub(super) fn is_closed(&self) -> bool {
        self.closed().load(Ordering::Acquire) != 0
    }

    fn closed(&self) -> &AtomicU32 {
        self.mapping.half(CLOSED)
    }

    /// Any word, to spoil it.
    #[cfg(test)]
    pub(super) fn word(&self, at: usize) -> &std::sync::atomic::AtomicU64 {
        self.mapping.word(at)
    }

    /// A ring, to read from it.
    pub(super) fn ring(&self, ring: usize) -> Option<RingMemory> {
        let start = self.layout.ring(ring)?;
        Some(RingMemory::new(Arc::clone(&self.mapping), self.layout, start))
    }

    /// A ring of a peer's segment, to write to it; each ring is given to one producer only.
    pub(super) fn attach(
        &self,
        peer: Rank,
        ring: usize,
        own: Rank,
    ) -> Result<RingMemory, SegmentError> {
        let start = self.layout.ring(ring).ok_or(SegmentError::NoSuchRing { peer, ring })?;
        let mark = self.mapping.half(Layout::attached(start));
        mark.compare_exchange(0, own.number() + 1, Ordering::AcqRel, Ordering::Acquire)
            .map_err(|by| SegmentError::RingTaken { peer, ring, by: by.wrapping_sub(1) })?;
        Ok(RingMemory::new(Arc::clone(&self.mapping), self.layout, start))
    }
}

/// The layout that a segment's first page claims; or what is wrong there.
fn read_identity(mapping: &Mapping, address: &SegmentAddress) -> Result<Layout, String> {
    let mut words = [0; IDENTITY_WORDS];
    for (at, word) in words.iter_mut().enumerate() {
        *word = mapping.word(IDENTITY + 8 * at).load(Ordering::Acquire);
    }
    let [magic, version, rings, slots, slot_bytes, low, high] = words;
    if magic != MAGIC {
        return Err(format!("first word {magic:#x}"));
    }
    if version != VERSION {
        return Err(format!("layout version {version} instead of {VERSION}"));
    }
    if u128::from(high) << 64 | u128::from(low) != address.token {
        return Err("the segment of another run (its token differs)".to_owned());
    }
    Layout::check(rings, slots, slot_bytes, address.bytes)
        .ok_or_else(|| format!("{rings} rings of {slots} slots of {slot_bytes} bytes"))
}
