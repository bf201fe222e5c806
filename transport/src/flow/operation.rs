//! One operation: its flows, memory and gates.

use onepath_topology::{Nanos, Rank};

use crate::plan::{After, FlowTag, Kernel, LocalAction, Placement, ReceiveFlow, SendFlow, Span};
use crate::share::Share;
use crate::wire::{OperationId, Signature};

use super::chunk::{Combine, IncomingChunk, OutgoingChunk};
use super::memory::Memory;
use super::progress::{ChunkBits, Progress};
use super::table::{PostError, Posting, Slot};

#[derive(Debug)]
struct Send {
    flow: SendFlow,
    /// Bytes that transports have pulled.
    pulled: usize,
    progress: Progress,
}

#[derive(Debug)]
struct Receive {
    flow: ReceiveFlow,
    progress: Progress,
    /// Bit of the first chunk in `Operation::claims`.
    first_claim: usize,
}

#[derive(Debug)]
pub(super) struct Operation {
    pub(super) id: OperationId,
    pub(super) signature: Signature,
    pub(super) posted: Nanos,
    memory: Memory,
    kernel: Option<Kernel>,
    chunk_bytes: usize,
    sends: Vec<Send>,
    receives: Vec<Receive>,
    /// Indices of `receives` sorted by peer and tag.
    by_peer: Vec<u32>,
    epilogue: Vec<LocalAction>,
    shares: Vec<Share>,
    bits: ChunkBits,
    /// One bit for each chunk to be received that somebody is placing.
    claims: Vec<u64>,
    open_flows: usize,
}

impl Operation {
    pub(super) fn vacant() -> Self {
        let nothing = (std::ptr::null_mut(), 0);
        Self {
            id: OperationId::collective(0),
            signature: Signature::default(),
            posted: Nanos(0),
            memory: Memory::new((std::ptr::null(), 0), nothing, nothing),
            kernel: None,
            chunk_bytes: 1,
            sends: Vec::new(),
            receives: Vec::new(),
            by_peer: Vec::new(),
            epilogue: Vec::new(),
            shares: Vec::new(),
            bits: ChunkBits::new(),
            claims: Vec::new(),
            open_flows: 0,
        }
    }

    /// Takes over a posting and does its prologue. Vectors keep their capacity, so that a call of
    /// a shape seen before does not allocate.
    ///
    /// # Safety
    /// As `FlowTable::post`.
    pub(super) unsafe fn begin(&mut self, posting: &Posting<'_>) -> Result<(), PostError> {
        check(posting)?;
        let plan = posting.plan;
        self.id = posting.id;
        self.signature = posting.signature;
        self.posted = posting.now;
        self.memory = posting.memory;
        self.kernel = posting.kernel;
        self.chunk_bytes = posting.chunk_bytes;
        self.bits.clear();
        self.sends.clear();
        self.receives.clear();
        self.by_peer.clear();
        self.epilogue.clear();
        self.epilogue.extend_from_slice(&plan.epilogue);
        self.shares.clear();
        self.shares.extend_from_slice(plan.shares.list());
        let chunk = posting.chunk_bytes;
        for &flow in &plan.sends {
            let progress = Progress::new(flow.source.length, chunk, &mut self.bits);
            self.sends.push(Send { flow, pulled: 0, progress });
        }
        let mut chunks = 0;
        for &flow in &plan.receives {
            let progress = Progress::new(flow.target.length, chunk, &mut self.bits);
            self.receives.push(Receive { flow, progress, first_claim: chunks });
            chunks += flow.target.length.div_ceil(chunk);
        }
        self.claims.clear();
        self.claims.resize(chunks.div_ceil(64), 0);
        self.by_peer.extend(0..plan.receives.len() as u32);
        let receives = &self.receives;
        self.by_peer.sort_unstable_by_key(|&i| key(&receives[i as usize].flow));
        self.open_flows = self.sends.iter().filter(|s| !s.progress.is_complete()).count()
            + self.receives.iter().filter(|r| !r.progress.is_complete()).count();
        for &action in &plan.prologue {
            // SAFETY: spans were checked above; the caller of `post` gives us the buffers.
            unsafe { self.memory.perform(action, self.kernel) };
        }
        Ok(())
    }

    pub(super) fn is_drained(&self) -> bool {
        self.open_flows == 0
    }

    /// Does the epilogue.
    ///
    /// # Safety
    /// As `FlowTable::post`, and no chunk of this operation is under way.
    pub(super) unsafe fn end(&mut self) {
        for &action in &self.epilogue {
            // SAFETY: spans were checked in `begin`; the buffers are ours until completion.
            unsafe { self.memory.perform(action, self.kernel) };
        }
    }

    /// Ranks from which bytes are missing.
    pub(super) fn waiting_for(&self) -> impl Iterator<Item = Rank> + '_ {
        self.receives.iter().filter(|r| !r.progress.is_complete()).map(|r| r.flow.peer)
    }

    /// Peers of the sends, in plan order, with the index of each.
    pub(super) fn send_peers(&self) -> impl Iterator<Item = (u32, Rank)> + '_ {
        let numbered = (0..).zip(&self.sends);
        numbered.filter(|(_, s)| s.flow.source.length > 0).map(|(i, s)| (i, s.flow.peer))
    }

    /// Peers of the receives that bring bytes.
    pub(super) fn receive_peers(&self) -> impl Iterator<Item = Rank> + '_ {
        self.receives.iter().filter(|r| r.flow.target.length > 0).map(|r| r.flow.peer)
    }

    fn gates_open(&self, after: After, span: Span, end: usize) -> bool {
        let hi = span.offset + end;
        let passed = |gate: Span, prefix: usize| {
            if gate.buffer != span.buffer {
                return prefix == gate.length;
            }
            hi <= gate.offset || gate.offset + prefix >= hi.min(gate.end())
        };
        let receive = after.receive.is_none_or(|i| {
            let gate = &self.receives[i as usize];
            passed(gate.flow.target, gate.progress.prefix())
        });
        receive
            && after.send.is_none_or(|i| {
                let gate = &self.sends[i as usize];
                passed(gate.flow.source, gate.progress.prefix())
            })
    }

    /// The next chunk of send `index`, if its gates are open; and whether it is the flow's last.
    pub(super) fn pull(&mut self, slot: Slot, index: u32) -> Option<(OutgoingChunk, bool)> {
        let offset = self.sends[index as usize].pulled;
        let chunk = self.chunk_at(slot, index, offset)?;
        let send = &mut self.sends[index as usize];
        send.pulled += chunk.length;
        Some((chunk, send.pulled == send.flow.source.length))
    }

    /// The chunk of send `index` that begins at `offset`, if its gates are open.
    pub(super) fn chunk_at(&self, slot: Slot, index: u32, offset: usize) -> Option<OutgoingChunk> {
        let flow = self.sends[index as usize].flow;
        let length = self.chunk_bytes.min(flow.source.length - offset);
        if !self.gates_open(flow.after, flow.source, offset + length) {
            return None;
        }
        // SAFETY: the span was checked in `begin`, offset is below its length.
        let data = unsafe { self.memory.address(flow.source, offset) }.cast_const();
        Some(OutgoingChunk {
            slot,
            send: index,
            operation: self.id,
            tag: flow.tag,
            offset,
            signature: self.signature,
            data,
            length,
        })
    }

    /// Size of all chunks but each flow's last.
    pub(super) fn chunk_bytes(&self) -> usize {
        self.chunk_bytes
    }

    /// Bytes of send `index`.
    pub(super) fn send_bytes(&self, index: u32) -> usize {
        self.sends[index as usize].flow.source.length
    }

    /// Which bytes of the sends take which path.
    pub(super) fn shares(&self) -> &[Share] {
        &self.shares
    }

    /// Notes that a pulled chunk has left; whether its flow is now complete.
    pub(super) fn sent(&mut self, chunk: &OutgoingChunk) -> bool {
        let progress = &mut self.sends[chunk.send as usize].progress;
        progress.finish_chunk(chunk.offset, self.chunk_bytes, &mut self.bits);
        let complete = progress.is_complete();
        self.open_flows -= usize::from(complete);
        complete
    }

    /// Notes that a matched chunk has been placed; whether its flow is now complete.
    pub(super) fn received(&mut self, chunk: &IncomingChunk) -> bool {
        let progress = &mut self.receives[chunk.receive as usize].progress;
        progress.finish_chunk(chunk.offset, self.chunk_bytes, &mut self.bits);
        let complete = progress.is_complete();
        self.open_flows -= usize::from(complete);
        complete
    }

    /// The receive flow of `peer` with this tag.
    pub(super) fn find(&self, peer: Rank, tag: FlowTag) -> Option<u32> {
        let wanted = (peer, tag);
        let at = self
            .by_peer
            .binary_search_by_key(&wanted, |&i| key(&self.receives[i as usize].flow))
            .ok()?;
        Some(self.by_peer[at])
    }

    /// Whether the chunk at `offset` of receive `index` has been placed.
    pub(super) fn has_chunk(&self, index: u32, offset: u64) -> bool {
        let progress = &self.receives[index as usize].progress;
        usize::try_from(offset).is_ok_and(|at| progress.has(at, self.chunk_bytes, &self.bits))
    }

    /// Whether a chunk `offset..offset + length` of receive `index` is one that the peer may send:
    /// one of the flow's, neither placed nor being placed.
    pub(super) fn is_chunk(&self, index: u32, offset: u64, length: usize) -> bool {
        let receive = &self.receives[index as usize];
        let total = receive.flow.target.length;
        let Ok(offset) = usize::try_from(offset) else {
            return false;
        };
        offset < total
            && offset.is_multiple_of(self.chunk_bytes)
            && length == self.chunk_bytes.min(total - offset)
            && !receive.progress.has(offset, self.chunk_bytes, &self.bits)
            && {
                let (word, bit) = self.claim_of(index, offset);
                self.claims[word] & bit == 0
            }
    }

    fn claim_of(&self, index: u32, offset: usize) -> (usize, u64) {
        let at = self.receives[index as usize].first_claim + offset / self.chunk_bytes;
        (at / 64, 1 << (at % 64))
    }

    /// The chunk has one who places it: a second one would write to memory that may have been
    /// handed back after the first.
    pub(super) fn claim(&mut self, chunk: &IncomingChunk) {
        let (word, bit) = self.claim_of(chunk.receive, chunk.offset);
        self.claims[word] |= bit;
    }

    /// Whoever placed the chunk will never do so again.
    pub(super) fn unclaim(&mut self, chunk: &IncomingChunk) {
        let (word, bit) = self.claim_of(chunk.receive, chunk.offset);
        self.claims[word] &= !bit;
    }

    /// The place of a chunk that `is_chunk` accepted, if the gates are open.
    pub(super) fn place(
        &self,
        slot: Slot,
        index: u32,
        offset: usize,
        length: usize,
    ) -> Option<IncomingChunk> {
        let flow = self.receives[index as usize].flow;
        if !self.gates_open(flow.after, flow.target, offset + length) {
            return None;
        }
        // SAFETY: the span was checked in `begin`, offset is below its length.
        let target = unsafe { self.memory.address(flow.target, offset) };
        let combine = match (flow.placement, self.kernel) {
            (Placement::Combine { local, finish }, Some(kernel)) => Some(Combine {
                // SAFETY: `local` was checked in `begin` to be as long as the target.
                local: unsafe { self.memory.address(local, offset) }.cast_const(),
                kernel: kernel.combine,
                finish: kernel.finish.filter(|_| finish),
                ranks: kernel.ranks,
                element_bytes: kernel.element_bytes,
            }),
            _ => None,
        };
        Some(IncomingChunk { slot, receive: index, offset, length, target, combine })
    }
}

fn key(flow: &ReceiveFlow) -> (Rank, FlowTag) {
    (flow.peer, flow.tag)
}

/// Checks everything that later address arithmetic relies on.
fn check(posting: &Posting<'_>) -> Result<(), PostError> {
    use crate::plan::BufferId::Input;
    let plan = posting.plan;
    let inside = |span: Span| {
        posting.memory.contains(span).then_some(()).ok_or(PostError::SpanOutOfRange { span })
    };
    let written = |span: Span| match span.buffer {
        Input => Err(PostError::InputWritten { span }),
        _ => inside(span),
    };
    let same = |a: Span, b: Span| {
        let equal = a.length == b.length;
        equal.then_some(()).ok_or(PostError::LengthsDiffer { one: a, other: b })
    };
    let gates = |after: After| {
        let receive = after.receive.is_none_or(|i| (i as usize) < plan.receives.len());
        let send = after.send.is_none_or(|i| (i as usize) < plan.sends.len());
        (receive && send).then_some(()).ok_or(PostError::GateUnknown { after })
    };
    for flow in &plan.sends {
        inside(flow.source)?;
        gates(flow.after)?;
    }
    for flow in &plan.receives {
        written(flow.target)?;
        gates(flow.after)?;
        if let Placement::Combine { local, .. } = flow.placement {
            inside(local)?;
            same(local, flow.target)?;
            posting.kernel.map(|_| ()).ok_or(PostError::NoKernel)?;
        }
    }
    for action in plan.prologue.iter().chain(&plan.epilogue) {
        match *action {
            LocalAction::Copy { source, target } => {
                inside(source)?;
                written(target)?;
                same(source, target)?;
            }
            LocalAction::Combine { target, local, incoming, .. } => {
                written(target)?;
                inside(local)?;
                inside(incoming)?;
                same(target, local)?;
                same(target, incoming)?;
                posting.kernel.map(|_| ()).ok_or(PostError::NoKernel)?;
            }
            LocalAction::Finish { target } => written(target)?,
        }
    }
    Ok(())
}
