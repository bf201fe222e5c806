//! What can go wrong while a transport over RDMA is in use.

use std::io;

use crate::verbs::{
    ChannelError, CompletionError, CompletionQueueError, ContextError, FlowLabel,
    MemoryRegionError, PostError, QueuePairError, QueuePairFault,
};

use super::letter::LetterError;
use super::life::GenerationError;
use super::outbox::SlotError;
use super::word::WordError;

/// What the device was doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Writing to the peer.
    Write,
    /// Waiting for the peer to write.
    Receive,
}

impl std::fmt::Display for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Write => "an RDMA write",
            Self::Receive => "the reception of an RDMA write",
        })
    }
}

/// A lane as errors name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneName {
    /// Its number among the lanes to the peer.
    pub lane: u8,
    /// The flow label of what this rank sends over it.
    pub label: FlowLabel,
}

impl std::fmt::Display for LaneName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "lane {} (flow label {:#x})", self.lane, self.label.get())
    }
}

/// Why a peer cannot be reached over RDMA. What only a lane dies of is not told: see
/// [`super::VerbsCount::deaths`].
#[derive(Debug, thiserror::Error)]
pub enum VerbsProblem {
    /// A work request failed for a reason that would come again over any path.
    #[error("{operation} over {lane} failed: {status}")]
    Failed {
        /// The lane.
        lane: LaneName,
        /// What failed.
        operation: Operation,
        /// Why.
        status: CompletionError,
    },
    /// The device says that the peer broke the rules of memory, or that it cannot go on.
    #[error("{device}: the queue pair of {lane} was broken by {}", broken_by(*.fault))]
    Fault {
        /// The own device.
        device: String,
        /// The lane.
        lane: LaneName,
        /// By what.
        fault: QueuePairFault,
    },
    /// Nothing gets through on any lane, and no new queue pair does better.
    #[error(
        "no lane is open since {seconds} s; {lane} was the last to fail, of: {last}{}",
        if *.port_down { "; the own port is down" } else { "" }
    )]
    CutOff {
        /// The lane that was last to fail.
        lane: LaneName,
        /// What it failed of.
        last: LaneDeath,
        /// For how long, in seconds.
        seconds: u64,
        /// Whether the own port carries no data.
        port_down: bool,
    },
    /// A lane failed and the peer says nothing of what arrived over it.
    #[error("{lane} failed ({cause}), and the peer has not answered for {seconds} s")]
    NoAnswer {
        /// The lane.
        lane: LaneName,
        /// What it failed of.
        cause: LaneDeath,
        /// For how long, in seconds.
        seconds: u64,
    },
    /// A work request could not be posted.
    #[error("{lane}: {source}")]
    Post {
        /// The lane.
        lane: LaneName,
        /// The cause.
        source: PostError,
    },
    /// A queue pair could not be replaced.
    #[error("{lane} cannot be replaced: {source}")]
    Replace {
        /// The lane.
        lane: LaneName,
        /// The cause.
        source: QueuePairError,
    },
    /// Completions cannot be had.
    #[error(transparent)]
    Queue(#[from] CompletionQueueError),
    /// Events of completions cannot be had.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// Events of the device cannot be had.
    #[error(transparent)]
    Device(#[from] ContextError),
    /// The device has gone.
    #[error("{device} has a fault or was removed")]
    DeviceGone {
        /// The device.
        device: String,
    },
    /// The completion queue ran over.
    #[error("the completion queue of {device} ran over")]
    Overrun {
        /// The device.
        device: String,
    },
    /// A slot does not lie in its region.
    #[error(transparent)]
    Memory(#[from] MemoryRegionError),
    /// The peer sent an immediate without meaning.
    #[error(transparent)]
    Word(#[from] WordError),
    /// The peer sent a letter that cannot be read.
    #[error(transparent)]
    Letter(#[from] LetterError),
    /// The peer sent a letter that cannot be.
    #[error(transparent)]
    Generation(#[from] GenerationError),
    /// The peer breaks the rules of slots.
    #[error("{lane}: {problem}")]
    Slot {
        /// The lane.
        lane: LaneName,
        /// How.
        problem: SlotError,
    },
    /// A message has another length than its header says.
    #[error("{lane}: a message of {found} bytes, whose header says {expected}")]
    Length {
        /// The lane.
        lane: LaneName,
        /// How many arrived.
        found: u32,
        /// What the header says.
        expected: u64,
    },
    /// Chunks do not fit into slots.
    #[error("chunks of {found} bytes were posted; slots hold {most}")]
    Chunk {
        /// The size.
        found: usize,
        /// What would be right at most.
        most: usize,
    },
    /// Bytes for letters could not be moved.
    #[error("the connection for letters: {0}")]
    Letters(#[source] io::Error),
}

fn broken_by(fault: QueuePairFault) -> &'static str {
    match fault {
        QueuePairFault::Fatal => "a fault of the device",
        QueuePairFault::Request => "a request of the peer that it does not allow",
        QueuePairFault::Access => "a write of the peer outside of the memory given to it",
    }
}

/// What a lane died of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaneDeath {
    /// A work request ended so.
    Status(Operation, CompletionError),
    /// The peer said that its end failed.
    Told,
    /// The device said that the queue pair broke.
    Event,
    /// The device refused to connect it, as it does without a route to the peer.
    NotConnected,
}

impl std::fmt::Display for LaneDeath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Status(operation, status) => write!(f, "{operation}: {status}"),
            Self::Told => f.write_str("the peer's end of it failed"),
            Self::Event => f.write_str("the device broke its queue pair"),
            Self::NotConnected => f.write_str("the device could not connect its queue pair"),
        }
    }
}
