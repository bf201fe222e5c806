//! The receiving half of a subflow over any bytes: an ordinary one without a socket, a pinned one
//! over a pair of connected sockets.
//!
//! For the fuzz targets; no part of the API.

use std::io::{self, ErrorKind, IoSliceMut, Read};
use std::ops::Range;

use onepath_topology::{Nanos, Rank, WorldSize};

use crate::flow::{FlowTable, Memory, Posting, Slot};
use crate::plan::{After, BufferId, FlowTag, Kernel, Placement, Plan, ReceiveFlow, Span};
use crate::wire::{OperationId, Signature};
use crate::{Activity, TransportError};

use super::pinned::fuzzing::Receiving;
use super::receive::Receiver;

/// The sender of everything.
pub const PEER: Rank = Rank::new(1);
/// The only operation.
pub const OPERATION: OperationId = OperationId::collective(5);
/// Its call.
pub const SIGNATURE: Signature = Signature([3, 4]);
/// Size of all chunks but each flow's last.
pub const CHUNK_BYTES: usize = 32;
/// Length of the output buffer; what is in no flow must never be written.
pub const OUTPUT_BYTES: usize = 364;
/// Where the flows go, by tag. The bytes of the second are added as `u32`; the third waits for the
/// second to end; the fourth has no bytes.
pub const FLOWS: [Range<usize>; 4] = [16..116, 132..232, 248..348, 350..350];
/// The tag whose bytes are added to what is there.
pub const ADDED: usize = 1;
/// The tag that waits for [`ADDED`].
pub const GATED: usize = 2;

/// One operation that receives.
#[derive(Debug)]
struct Posted {
    table: FlowTable,
    slot: Slot,
    output: Vec<u8>,
}

/// The operation, on one subflow.
#[derive(Debug)]
pub struct Subflow {
    receiver: Receiver,
    posted: Posted,
}

/// The operation, on one subflow that is pinned to a path.
#[derive(Debug)]
pub struct PinnedSubflow {
    receiving: Receiving,
    posted: Posted,
}

impl Posted {
    fn new(fill: u8) -> Self {
        let world = WorldSize::new(2).expect("two ranks are a world");
        let mut output = vec![fill; OUTPUT_BYTES];
        let mut table = FlowTable::new(world);
        let nothing = std::ptr::dangling_mut();
        let kernel = Kernel { element_bytes: 4, combine: add, finish: None, ranks: 2 };
        let posting = Posting {
            id: OPERATION,
            signature: SIGNATURE,
            plan: &plan(),
            memory: Memory::new((nothing, 0), (output.as_mut_ptr(), OUTPUT_BYTES), (nothing, 0)),
            kernel: Some(kernel),
            chunk_bytes: CHUNK_BYTES,
            now: Nanos(0),
        };
        // SAFETY: the vector is never resized and lives as long as the table beside it; `output`
        // and `receive` borrow the two in turn; `add` is a kernel of 4-byte elements.
        let slot = unsafe { table.post(&posting) }.expect("the plan fits its buffers");
        Self { table, slot, output }
    }
}

impl PinnedSubflow {
    /// Posts the operation, on an output of bytes `fill`.
    pub fn new(staging_bytes: usize, fill: u8) -> io::Result<Self> {
        Ok(Self { receiving: Receiving::new(staging_bytes)?, posted: Posted::new(fill) })
    }

    /// Receives `bytes`, which must fit into a socket, until nothing moves; how many chunks it
    /// acknowledges then.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<u64, TransportError> {
        self.receiving.receive(PEER, bytes, &mut self.posted.table)
    }

    /// The output buffer as it is.
    pub fn output(&self) -> &[u8] {
        &self.posted.output
    }

    /// Whether every byte of the operation has come.
    pub fn is_complete(&self) -> bool {
        self.posted.table.is_complete(self.posted.slot)
    }
}

impl Subflow {
    /// Posts the operation, on an output of bytes `fill`.
    pub fn new(staging_bytes: usize, fill: u8) -> Self {
        Self { receiver: Receiver::new(staging_bytes), posted: Posted::new(fill) }
    }

    /// Receives `bytes` in reads of at most `most` of them (at least 1) until nothing moves.
    pub fn receive(&mut self, bytes: &[u8], most: usize) -> Result<(), TransportError> {
        let mut pieces = Pieces { bytes, most: most.max(1) };
        let table = &mut self.posted.table;
        while self.receiver.poll(PEER, &mut pieces, table)? == Activity::Moved {}
        Ok(())
    }

    /// The output buffer as it is.
    pub fn output(&self) -> &[u8] {
        &self.posted.output
    }

    /// Whether every byte of the operation has come.
    pub fn is_complete(&self) -> bool {
        self.posted.table.is_complete(self.posted.slot)
    }
}

fn plan() -> Plan {
    let flow = |(tag, range): (usize, Range<usize>)| {
        let target = Span::new(BufferId::Output, range.start, range.len());
        let (placement, after) = match tag {
            ADDED => (Placement::Combine { local: target, finish: false }, After::NOTHING),
            GATED => (Placement::Store, After::receive(ADDED as u32)),
            _ => (Placement::Store, After::NOTHING),
        };
        ReceiveFlow { step: 0, peer: PEER, tag: FlowTag(tag as u32), target, placement, after }
    };
    let receives = FLOWS.into_iter().enumerate().map(flow).collect();
    Plan { receives, ..Plan::default() }
}

/// # Safety
/// As [`crate::plan::CombineFn`], for `u32`.
unsafe fn add(target: *mut u8, local: *const u8, incoming: *const u8, elements: usize) {
    for i in 0..elements {
        // SAFETY: each pointer is valid for `elements` elements of 4 bytes; no alignment is needed.
        unsafe {
            let a = local.cast::<u32>().add(i).read_unaligned();
            let b = incoming.cast::<u32>().add(i).read_unaligned();
            target.cast::<u32>().add(i).write_unaligned(a.wrapping_add(b));
        }
    }
}

/// A socket that has these bytes and gives at most `most` of them at once.
struct Pieces<'a> {
    bytes: &'a [u8],
    most: usize,
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_vectored(&mut [IoSliceMut::new(buffer)])
    }

    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        if self.bytes.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        let mut left = self.most;
        for buffer in buffers {
            let take = left.min(buffer.len()).min(self.bytes.len());
            let (now, later) = self.bytes.split_at(take);
            buffer[..take].copy_from_slice(now);
            self.bytes = later;
            left -= take;
        }
        Ok(self.most - left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{ChunkHeader, ChunkKind, HEADER_BYTES};

    #[test]
    fn whole_flows_in_pieces_of_any_size_complete_and_leave_the_rest_alone() {
        let mut stream = Vec::new();
        for (tag, range) in FLOWS.into_iter().enumerate() {
            for offset in (0..range.len()).step_by(CHUNK_BYTES) {
                let length = CHUNK_BYTES.min(range.len() - offset);
                let header = ChunkHeader {
                    kind: ChunkKind::Data,
                    length: length as u32,
                    operation: OPERATION,
                    tag: FlowTag(tag as u32),
                    offset: offset as u64,
                    signature: SIGNATURE,
                    chunk: 1,
                    acknowledged: 0,
                };
                let mut bytes = [0; HEADER_BYTES];
                header.encode(&mut bytes);
                stream.extend_from_slice(&bytes);
                stream.extend(std::iter::repeat_n(1 + tag as u8, length));
            }
        }
        let mut expected = vec![5; OUTPUT_BYTES];
        for (range, value) in FLOWS.into_iter().zip([1, 5 + 2, 3, 4]) {
            expected[range].fill(value);
        }
        for most in [1, 7, 64, 1000] {
            let mut subflow = Subflow::new(0, 5);
            subflow.receive(&stream, most).expect("these are right");
            assert!(subflow.is_complete(), "in pieces of {most}");
            assert_eq!(subflow.output(), expected, "in pieces of {most}");
        }
    }
}
