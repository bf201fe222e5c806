//! How fast shared memory moves bytes, for several ring shapes, beside a bare copy in the same run.
//!
//! `cargo run --release -p onepath-transport --example local_speed -- [bytes] [rounds]`
//!
//! Two ranks (threads that share only the rings) send `bytes` to each other at the same time.
//! `copy`: two threads that copy as many bytes from each other's buffer. `store`: the transport,
//! bytes stored. `reduce`: an all-reduce of `bytes` in place, half of it combined, then gathered.
//! Best and median time of all calls; GB/s are bytes by best time. Rounds go over all shapes, so
//! that a slow moment of the machine hits all alike.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use onepath_topology::{Nanos, Rank, WorldSize};
use onepath_transport::flow::{FlowTable, Memory, Posting};
use onepath_transport::local::{LocalOptions, LocalTransport, Segment, SlotCopy};
use onepath_transport::plan::{
    After, BufferId, FlowTag, Kernel, Placement, Plan, ReceiveFlow, SendFlow, Span,
};
use onepath_transport::wire::{OperationId, Signature};
use onepath_transport::{Activity, Transport};

/// Slot in KiB, slots, how slots are written.
const SHAPES: [(usize, usize, SlotCopy); 7] = [
    (32, 8, SlotCopy::Plain),
    (32, 8, SlotCopy::Measured),
    (32, 32, SlotCopy::Measured),
    (64, 16, SlotCopy::Plain),
    (64, 16, SlotCopy::Streaming),
    (64, 16, SlotCopy::Measured),
    (64, 32, SlotCopy::Measured),
];
const CHUNK_BYTES: usize = 1024 << 10;
/// Idle polls before a rank sleeps: about 10 microseconds.
const SPINS: u32 = 1_000;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Work {
    Copy,
    Store,
    Reduce,
}

fn main() {
    let mut arguments = std::env::args().skip(1).map(|a| a.parse::<usize>());
    let bytes = arguments.next().map_or(64 << 20, |a| a.expect("bytes is a number"));
    let rounds = arguments.next().map_or(5, |a| a.expect("rounds is a number"));
    let bytes = bytes.next_multiple_of(16);
    let mut rows = vec![(Work::Copy, (0, 0, SlotCopy::Plain), Vec::new())];
    for work in [Work::Store, Work::Reduce] {
        rows.extend(SHAPES.map(|shape| (work, shape, Vec::new())));
    }
    let calls = ((64 << 20) / bytes).clamp(3, 2_000);
    for _ in 0..rounds {
        for (work, (kib, slots, how), times) in &mut rows {
            let options = LocalOptions {
                slot_bytes: *kib << 10,
                slots: *slots,
                copy: *how,
                ..LocalOptions::default()
            };
            times.extend(match work {
                Work::Copy => copy(bytes, calls),
                _ => exchange(*work, bytes, calls, &options),
            });
        }
    }
    println!("{bytes} bytes, {rounds} rounds of {calls} calls");
    println!("work    slot KiB  slots  stores      best us  median us   GB/s");
    for (work, (kib, slots, how), times) in &mut rows {
        times.sort_unstable();
        let (best, median) = (times[0], times[times.len() / 2]);
        let us = |time: Duration| time.as_secs_f64() * 1e6;
        let rate = bytes as f64 / best.as_secs_f64() / 1e9;
        let name = format!("{work:?}");
        let how = format!("{how:?}");
        println!(
            "{name:7} {kib:8} {slots:6} {how:9} {:9.1} {:10.1} {rate:6.2}",
            us(best),
            us(median)
        );
    }
}

/// Both threads copy from the other's buffer, together.
fn copy(bytes: usize, calls: usize) -> Vec<Duration> {
    let sources = [vec![1_u8; bytes], vec![2_u8; bytes]];
    let together = Barrier::new(2);
    let body = |rank: usize| {
        let mut target = vec![0_u8; bytes];
        let mut times = Vec::with_capacity(calls);
        for _ in 0..calls {
            together.wait();
            let start = Instant::now();
            target.copy_from_slice(std::hint::black_box(&sources[1 - rank]));
            std::hint::black_box(&mut target);
            times.push(start.elapsed());
        }
        times
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(|| body(1));
        let times = body(0);
        other.join().expect("a copy does not fail");
        times
    })
}

fn exchange(work: Work, bytes: usize, calls: usize, options: &LocalOptions) -> Vec<Duration> {
    let world = WorldSize::new(2).expect("2 is a world size");
    let segments = [0, 1].map(|_| Segment::create(1, options).expect("there is memory"));
    let addresses = [segments[0].address(), segments[1].address()];
    let [one, two] = segments;
    let connect = |rank: u32, segment| {
        let peer = [(Rank::new(1 - rank), addresses[1 - rank as usize])];
        LocalTransport::connect(world, Rank::new(rank), segment, &peer).expect("it opens")
    };
    let (mut here, mut there) = (connect(0, one), connect(1, two));
    std::thread::scope(|scope| {
        let other = scope.spawn(move || drive(work, Rank::new(1), &mut there, bytes, calls));
        let times = drive(work, Rank::new(0), &mut here, bytes, calls);
        other.join().expect("the other rank ends");
        times
    })
}

fn drive(
    work: Work,
    rank: Rank,
    transport: &mut LocalTransport,
    bytes: usize,
    calls: usize,
) -> Vec<Duration> {
    let plan = if work == Work::Store { store_plan(rank, bytes) } else { reduce_plan(rank, bytes) };
    let mut table = FlowTable::new(WorldSize::new(2).expect("2 is a world size"));
    let input = vec![1_u8; bytes];
    let mut output = vec![0_u8; bytes];
    let mut times = Vec::with_capacity(calls);
    for number in 0..calls as u64 {
        let start = Instant::now();
        let posting = Posting {
            id: OperationId::collective(number),
            signature: Signature::default(),
            plan: &plan,
            memory: Memory::new(
                (input.as_ptr(), bytes),
                (output.as_mut_ptr(), bytes),
                (std::ptr::null_mut(), 0),
            ),
            kernel: Some(Kernel { element_bytes: 4, combine: add, finish: None, ranks: 2 }),
            chunk_bytes: CHUNK_BYTES,
            now: Nanos(0),
        };
        // SAFETY: both buffers outlive the loop below, which ends with completion or the process.
        let slot = unsafe { table.post(&posting) }.expect("the plan is right");
        transport.post(&table, slot);
        let mut spins = 0;
        while !table.is_complete(slot) {
            spins += 1;
            if transport.poll(&mut table).expect("the peer lives") == Activity::Moved {
                spins = 0;
            } else if spins > SPINS {
                transport.wait(&table, Duration::from_millis(1));
            } else {
                std::hint::spin_loop();
            }
        }
        table.release(slot);
        times.push(start.elapsed());
    }
    times
}

fn send(step: u32, rank: Rank, source: Span, after: After) -> SendFlow {
    SendFlow { step, peer: Rank::new(1 - rank.number()), tag: FlowTag(step), source, after }
}

fn receive(step: u32, rank: Rank, target: Span, placement: Placement, after: After) -> ReceiveFlow {
    let (peer, tag) = (Rank::new(1 - rank.number()), FlowTag(step));
    ReceiveFlow { step, peer, tag, target, placement, after }
}

fn store_plan(rank: Rank, bytes: usize) -> Plan {
    let mut plan = Plan::default();
    plan.sends.push(send(0, rank, Span::new(BufferId::Input, 0, bytes), After::NOTHING));
    let target = Span::new(BufferId::Output, 0, bytes);
    plan.receives.push(receive(0, rank, target, Placement::Store, After::NOTHING));
    plan
}

fn reduce_plan(rank: Rank, bytes: usize) -> Plan {
    let half = |which: usize| Span::new(BufferId::Output, which * bytes / 2, bytes / 2);
    let (mine, theirs) = (half(rank.index()), half(1 - rank.index()));
    let mut plan = Plan::default();
    plan.sends.push(send(0, rank, theirs, After::NOTHING));
    plan.sends.push(send(1, rank, mine, After::receive(0)));
    let combine = Placement::Combine { local: mine, finish: false };
    plan.receives.push(receive(0, rank, mine, combine, After::NOTHING));
    plan.receives.push(receive(1, rank, theirs, Placement::Store, After::send(0)));
    plan
}

/// # Safety
/// As [`onepath_transport::plan::CombineFn`].
unsafe fn add(target: *mut u8, local: *const u8, incoming: *const u8, elements: usize) {
    for at in (0..elements).map(|i| 4 * i) {
        // SAFETY: the contract gives `elements` elements at each pointer.
        unsafe {
            let a = f32::from_ne_bytes(local.add(at).cast::<[u8; 4]>().read());
            let b = f32::from_ne_bytes(incoming.add(at).cast::<[u8; 4]>().read());
            target.add(at).cast::<[u8; 4]>().write((a + b).to_ne_bytes());
        }
    }
}
