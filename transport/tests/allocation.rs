//! No transport allocates in the steady state.

#[path = "support/counting.rs"]
mod counting;
mod support;

use std::time::Duration;

use counting::allocations;
use onepath_topology::Nanos;
use onepath_transport::Activity;
use onepath_transport::flow::{Memory, Posting};
use onepath_transport::plan::Plan;
use onepath_transport::spray::{EntropyChoice, SprayOptions};
use onepath_transport::tcp::pinned::Sharing;
use onepath_transport::wire::OperationId;
use support::pinned::pinned;
use support::plans::{adding, ring_all_reduce};
use support::rank::{RankEnd, run};
use support::sprayed::{split, sprayed};
use support::worlds::{self, World};

const ELEMENTS: usize = 100_000;

fn reduce(end: &mut RankEnd, number: u64, plan: &Plan, input: &[u8], output: &mut [u8]) {
    let posting = Posting {
        id: OperationId::collective(number),
        signature: end.signature,
        plan,
        memory: Memory::new(
            (input.as_ptr(), input.len()),
            (output.as_mut_ptr(), output.len()),
            (std::ptr::null_mut(), 0),
        ),
        kernel: end.kernel,
        chunk_bytes: end.chunk_bytes,
        now: Nanos(0),
    };
    // SAFETY: the borrows of both buffers outlive the loop below, which ends with completion.
    let slot = unsafe { end.table.post(&posting) }.expect("the plan is right");
    end.transport.post(&end.table, slot);
    while !end.table.is_complete(slot) {
        if end.step().expect("all ranks take part") == Activity::Idle {
            // The wait is part of what must not allocate, even when there is no need to sleep.
            end.transport.wait(&end.table, Duration::ZERO);
        }
    }
    end.table.release(slot);
}

fn no_allocation_after_warm_up(world: World) {
    let ranks = world.len();
    let counts = run(world, |mut end| {
        end.kernel = Some(adding(ranks));
        end.chunk_bytes = 16 << 10;
        let mut plan = ring_all_reduce(end.rank, ranks, ELEMENTS);
        end.transport.assign(&mut plan, end.chunk_bytes);
        let input = vec![1; 8 * ELEMENTS];
        let mut output = vec![0; 8 * ELEMENTS];
        for number in 0..10 {
            reduce(&mut end, number, &plan, &input, &mut output);
        }
        let before = allocations();
        for number in 10..60 {
            reduce(&mut end, number, &plan, &input, &mut output);
        }
        allocations() - before
    });
    assert_eq!(counts, vec![0; ranks]);
}

#[test]
fn shared_memory_reduces_without_allocating() {
    no_allocation_after_warm_up(worlds::local(3));
}

#[test]
fn tcp_reduces_without_allocating() {
    no_allocation_after_warm_up(worlds::tcp(3, 4));
}

#[test]
fn pinned_tcp_reduces_without_allocating() {
    no_allocation_after_warm_up(pinned(3, 4, Sharing::Static));
    no_allocation_after_warm_up(pinned(3, 4, Sharing::Shared));
}

#[test]
fn datagrams_reduce_without_allocating() {
    for entropy in EntropyChoice::ALL {
        no_allocation_after_warm_up(sprayed(3, SprayOptions { entropy, ..Default::default() }));
    }
    let entropy = EntropyChoice::PerSubflow;
    no_allocation_after_warm_up(split(3, SprayOptions { entropy, ..Default::default() }, 4));
}

#[test]
fn the_router_reduces_without_allocating() {
    no_allocation_after_warm_up(worlds::mixed(4));
}

#[test]
fn the_counter_counts() {
    let before = allocations();
    drop(std::hint::black_box(vec![1_u8; 100]));
    assert_eq!(allocations() - before, 1);
}
