//! RDMA verbs: the objects of libibverbs, safe to use.
//!
//! # Why it is opened at run time
//!
//! A program that links libibverbs does not start where that is not installed, and most machines
//! have neither RDMA nor the library. So it is opened with `dlopen` when the first RDMA device is
//! asked for; without it there is a [`LoadError`] that names the packages, and TCP works as ever.
//! The crates that bind it (`rdma-sys`, `ibverbs-sys`) link it, and need libclang or cmake to
//! build. We need two dozen functions and structures, whose layout rdma-core has kept since 2005
//! under symbol versions; they are declared in `raw`. What could go wrong with that, a layout that
//! is not the header's, is tested: against the header with the C compiler where both are installed,
//! and in `tests/verbs_layout` against `rdma-sys`, which is generated from the header. (That is a
//! workspace of its own: a feature of this crate would make whoever asks for all features link
//! libibverbs.)
//!
//! # The objects
//!
//! ```text
//! DeviceList ─▶ Device ─▶ Context ─┬─▶ ProtectionDomain ─┬─▶ MemoryRegion ─▶ spans
//!                                  │                     └─▶ QueuePair ◀── AddressHandle
//!                                  ├─▶ EventChannel ─▶ CompletionQueue ──────┘
//!                                  └─▶ GidTable
//! ```
//!
//! | module | object |
//! |---|---|
//! | `device` | [`DeviceList`], [`Device`] |
//! | `context` | [`Context`]: an open device, its ports |
//! | `event` | [`DeviceEvent`]: port down, device removed, queue pair broken |
//! | `gid` | [`GidTable`]: own addresses, and the choice of one |
//! | `address` | [`AddressHandle`]: the peer's address; [`FlowLabel`] selects the path |
//! | `protection_domain` | [`ProtectionDomain`] |
//! | `memory_region` | [`MemoryRegion`]: memory within reach of the device; `memory`: its bytes |
//! | `channel` | [`EventChannel`]: sleeping until there are completions |
//! | `completion_queue`, `completion` | [`CompletionQueue`], [`Completion`], [`CompletionError`] |
//! | `queue_pair` | [`QueuePair`], its states and work requests |
//! | `source_port` | [`set_udp_source_port`]: the path by a call of the vendor |
//! | [`transport`] | flows between ranks over queue pairs |
//! | `raw` | the binding |
//!
//! Each object holds references to those that it was made from, so they go in the order that the
//! library wants. Each has one error type. `unsafe` is where the library is called.
//!
//! # Why posting is safe
//!
//! A work request makes the device read or write memory later, when Rust's borrows have ended. The
//! device checks each access against the memory regions of the queue pair's protection domain, and
//! a region ends before its memory is freed. So no request, whatever spans it has, reaches memory
//! outside of regions. Memory inside of regions is never handed out by reference: owned memory is
//! read and written by atomics only, and who lends memory vouches for its use
//! ([`MemoryRegion::lend`]). A peer that knows a remote key can write into that region at any time
//! and make nonsense of its bytes, but nothing else.
//!
//! # What was tested
//!
//! Soft-RoCE only (rdma\_rxe of Linux 6.12, RoCE v2): `examples/verbs_pingpong`. InfiniBand
//! addresses are there, untested.
mod address;
mod channel;
mod completion;
mod completion_queue;
mod context;
mod device;
mod event;
mod gid;
mod memory;
mod memory_region;
mod protection_domain;
mod queue_pair;
mod raw;
mod source_port;
pub mod transport;

pub use address::{
    AddressError, AddressHandle, FlowLabel, GlobalRoute, LocalRoute, ROCE_UDP_PORT, Route,
    default_source_port,
};
pub use channel::{ChannelError, EventChannel};
pub use completion::{Completion, CompletionError, Done};
pub use completion_queue::{CompletionQueue, CompletionQueueError, EventOn};
pub use context::{
    Context, ContextError, DeviceAttributes, LinkLayer, PathMtu, PortAttributes, PortNumber,
    PortState,
};
pub use device::{Device, DeviceError, DeviceList, NodeType};
pub use event::{DeviceEvent, QueuePairFault};
pub use gid::{AddressFamily, Gid, GidChoice, GidEntry, GidError, GidTable, GidType};
pub use memory_region::{
    Access, LocalSpan, MemoryRegion, MemoryRegionError, RemoteRegion, RemoteSpan,
};
pub use protection_domain::{ProtectionDomain, ProtectionDomainError};
pub use queue_pair::{
    AckTimeout, NotReadyTimer, Packet, Payload, PostError, QueuePair, QueuePairError,
    QueuePairLimits, QueuePairNumber, QueuePairState, ReceiveRequest, Reception, SendOperation,
    SendRequest, SendSlot, SendSlots, Sending,
};
pub use raw::library::LoadError;
pub use source_port::{SourcePortError, set_udp_source_port};
