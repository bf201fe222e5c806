//! The sending half of a subflow.

use std::io::{ErrorKind, IoSlice};

use onepath_topology::Rank;
use socket2::Socket;

use crate::flow::{FlowTable, OutgoingChunk, SendQueue};
use crate::wire::HEADER_BYTES;
use crate::{Activity, TransportError};

/// Chunks that one gathered write takes at most.
const BATCH_CHUNKS: usize = 8;

/// Chunks pulled for this subflow that have not wholly left, with their headers.
#[derive(Debug)]
pub(super) struct Sender {
    headers: [[u8; HEADER_BYTES]; BATCH_CHUNKS],
    chunks: [Option<OutgoingChunk>; BATCH_CHUNKS],
    count: usize,
    /// Chunks of the batch that have wholly left.
    left: usize,
    /// Bytes (header and payload) of chunk `left` that have left.
    partial: usize,
    /// Chunks pulled so far: the number of the latest.
    chunk_number: u64,
    batch_bytes: usize,
}

impl Sender {
    pub(super) fn new(batch_bytes: usize) -> Self {
        Self {
            headers: [[0; HEADER_BYTES]; BATCH_CHUNKS],
            chunks: [None; BATCH_CHUNKS],
            count: 0,
            left: 0,
            partial: 0,
            chunk_number: 0,
            batch_bytes,
        }
    }

    /// Whether a batch waits for the socket.
    pub(super) fn is_busy(&self) -> bool {
        self.left < self.count
    }

    fn fill(&mut self, queue: &mut SendQueue, table: &mut FlowTable, acknowledged: u64) {
        let mut bytes = 0;
        self.left = 0;
        self.count = 0;
        self.partial = 0;
        while self.count < BATCH_CHUNKS && bytes < self.batch_bytes {
            let Some(chunk) = table.pull(queue) else {
                break;
            };
            self.chunk_number += 1;
            chunk.header(self.chunk_number, acknowledged).encode(&mut self.headers[self.count]);
            bytes += chunk.length();
            self.chunks[self.count] = Some(chunk);
            self.count += 1;
        }
    }

    /// Writes what the socket takes, once.
    pub(super) fn poll(
        &mut self,
        peer: Rank,
        socket: &Socket,
        queue: &mut SendQueue,
        table: &mut FlowTable,
        acknowledged: u64,
    ) -> Result<Activity, TransportError> {
        if !self.is_busy() {
            self.fill(queue, table, acknowledged);
            if self.count == 0 {
                return Ok(Activity::Idle);
            }
        }
        let mut slices = [IoSlice::new(&[]); 2 * BATCH_CHUNKS];
        let mut used = 0;
        let mut skip = self.partial;
        for at in self.left..self.count {
            let Some(chunk) = &self.chunks[at] else {
                continue;
            };
            // SAFETY: the table keeps the operation until `sent` below has been called for every
            // chunk of it, and `cancel` drops this sender.
            let payload = unsafe { chunk.payload() };
            for part in [&self.headers[at][..], payload] {
                let rest = &part[skip.min(part.len())..];
                skip -= part.len() - rest.len();
                if !rest.is_empty() {
                    slices[used] = IoSlice::new(rest);
                    used += 1;
                }
            }
        }
        let written = match socket.send_vectored(&slices[..used]) {
            Ok(written) => written,
            Err(error) => return failed(peer, error),
        };
        self.advance(written, table);
        Ok(Activity::Moved)
    }

    fn advance(&mut self, written: usize, table: &mut FlowTable) {
        self.partial += written;
        while let Some(chunk) = self.chunks[..self.count].get(self.left).copied().flatten() {
            let size = HEADER_BYTES + chunk.length();
            if self.partial < size {
                break;
            }
            self.partial -= size;
            self.left += 1;
            table.sent(&chunk);
        }
    }
}

fn failed(peer: Rank, source: std::io::Error) -> Result<Activity, TransportError> {
    match source.kind() {
        ErrorKind::WouldBlock | ErrorKind::Interrupted => Ok(Activity::Idle),
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => Err(TransportError::Closed { peer }),
        _ => Err(TransportError::Io { peer, action: "send to", source }),
    }
}
