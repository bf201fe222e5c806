//! One chunk, one placer.

use onepath_topology::{Nanos, Rank, WorldSize};

use crate::plan::{After, BufferId, FlowTag, Placement, Plan, ReceiveFlow, Span};
use crate::wire::{ChunkHeader, ChunkKind, OperationId, Signature};

use super::memory::Memory;
use super::table::{FlowTable, Match, MatchError, Posting, Slot};

const PEER: Rank = Rank::new(1);
const CHUNK: usize = 16;
const ID: OperationId = OperationId::collective(0);

fn post(table: &mut FlowTable, output: &mut [u8]) -> Slot {
    let target = Span::new(BufferId::Output, 0, output.len());
    let plan = Plan {
        receives: vec![ReceiveFlow {
            step: 0,
            peer: PEER,
            tag: FlowTag(0),
            target,
            placement: Placement::Store,
            after: After::NOTHING,
        }],
        ..Plan::default()
    };
    let output = (output.as_mut_ptr(), output.len());
    let posting = Posting {
        id: ID,
        signature: Signature::default(),
        plan: &plan,
        memory: Memory::new((std::ptr::null(), 0), output, (std::ptr::null_mut(), 0)),
        kernel: None,
        chunk_bytes: CHUNK,
        now: Nanos(0),
    };
    // SAFETY: the callers' buffers outlive their tables, which alone write them.
    unsafe { table.post(&posting) }.expect("the plan is right")
}

fn header(offset: usize) -> ChunkHeader {
    ChunkHeader {
        kind: ChunkKind::Data,
        length: CHUNK as u32,
        operation: ID,
        tag: FlowTag(0),
        offset: offset as u64,
        signature: Signature::default(),
        chunk: 1,
        acknowledged: 0,
    }
}

#[test]
fn a_chunk_that_is_being_placed_matches_nobody_else_until_it_is_abandoned() {
    let mut output = [0; 4 * CHUNK];
    let mut table = FlowTable::new(WorldSize::new(2).expect("a world"));
    post(&mut table, &mut output);
    for offset in [CHUNK, 0] {
        let first = match table.match_chunk(PEER, &header(offset)) {
            Ok(Match::Open(chunk)) => chunk,
            other => panic!("{other:?}"),
        };
        let second = table.match_chunk(PEER, &header(offset));
        assert!(matches!(second, Err(MatchError::ChunkUnknown { .. })), "{second:?}");
        table.abandon(&first);
        let third = table.match_chunk(PEER, &header(offset));
        assert!(matches!(third, Ok(Match::Open(_))), "{third:?}");
    }
}

#[test]
fn a_chunk_of_a_released_operation_counts_for_none_that_came_after_it() {
    let mut outputs = [[0; CHUNK]; 2];
    let [old, new] = &mut outputs;
    let mut table = FlowTable::new(WorldSize::new(2).expect("a world"));
    let slot = post(&mut table, old);
    let Ok(Match::Open(chunk)) = table.match_chunk(PEER, &header(0)) else { panic!("not open") };
    table.release(slot);
    let slot = post(&mut table, new);
    table.received(PEER, &chunk);
    assert!(!table.is_complete(slot));
}
