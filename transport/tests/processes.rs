//! Shared memory between two processes, and what is left when one is killed.

mod support;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use onepath_topology::{Nanos, Rank};
use onepath_transport::flow::{FlowTable, Memory, Posting};
use onepath_transport::local::{
    HostId, LocalOptions, LocalTransport, Segment, SegmentAddress, SegmentError,
};
use onepath_transport::wire::{OperationId, Signature};
use onepath_transport::{Activity, Transport};
use support::plans::{all_gather, pattern};
use support::rank::HUNG;
use support::worlds::size;

const LENGTH: usize = 3_000_001;

fn segment() -> Segment {
    Segment::create(1, &LocalOptions::default()).expect("there is memory")
}

/// One all-gather with the peer at `address`.
fn exchange(own: u32, segment: Segment, address: SegmentAddress) -> Vec<u8> {
    let (rank, peer) = (Rank::new(own), Rank::new(1 - own));
    let connected = LocalTransport::connect(size(2), rank, segment, &[(peer, address)]);
    let mut transport = connected.expect("the segment opens");
    let mut table = FlowTable::new(size(2));
    let plan = all_gather(rank, 2, LENGTH);
    let input = pattern(rank, 4, LENGTH);
    let mut output = vec![0; 2 * LENGTH];
    let posting = Posting {
        id: OperationId::collective(0),
        signature: Signature::default(),
        plan: &plan,
        memory: Memory::new(
            (input.as_ptr(), input.len()),
            (output.as_mut_ptr(), output.len()),
            (std::ptr::null_mut(), 0),
        ),
        kernel: None,
        chunk_bytes: 100_000,
        now: Nanos(0),
    };
    // SAFETY: both buffers outlive the loop, which ends with completion or a panic that drops the
    // transport before them.
    let slot = unsafe { table.post(&posting) }.expect("the plan is right");
    transport.post(&table, slot);
    let started = Instant::now();
    while !table.is_complete(slot) {
        assert!(started.elapsed() < HUNG, "rank {rank} hangs");
        if transport.poll(&mut table).expect("the peer lives") == Activity::Idle {
            transport.wait(&table, HUNG);
        }
    }
    output
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

fn address_from(text: &str) -> SegmentAddress {
    let mut bytes = [0; SegmentAddress::ENCODED_BYTES];
    for (at, byte) in bytes.iter_mut().enumerate() {
        let digits = text.get(2 * at..2 * at + 2).expect("an address in hex");
        *byte = u8::from_str_radix(digits, 16).expect("an address in hex");
    }
    SegmentAddress::decode(&bytes)
}

#[test]
#[ignore = "the other process of the test below, which starts it"]
fn the_other_process() {
    let segment = segment();
    let host = HostId::of_this_process().expect("/proc is mounted");
    println!("\nother {} {}", hex(&host.0), hex(&segment.address().encode()));
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).expect("the parent says its address");
    exchange(1, segment, address_from(line.trim()));
    // Until it is killed.
    std::io::stdin().read_line(&mut line).expect("standard input is open");
}

/// The other process, its host and its segment.
fn start() -> (Child, String, SegmentAddress) {
    let mut child = Command::new(std::env::current_exe().expect("this test has a path"))
        .args(["the_other_process", "--exact", "--ignored", "--nocapture"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this test can be started again");
    let output = BufReader::new(child.stdout.take().expect("it is piped"));
    let said = output.lines().map_while(Result::ok).find_map(|line| {
        let mut words = line.strip_prefix("other ")?.split(' ');
        Some((words.next()?.to_owned(), address_from(words.next()?)))
    });
    let (host, address) = said.expect("the other process says where it is");
    (child, host, address)
}

#[test]
fn two_processes_exchange_and_a_killed_one_leaves_nothing_to_open() {
    let (mut child, host, address) = start();
    assert_eq!(host, hex(&HostId::of_this_process().expect("/proc is mounted").0));
    let own = segment();
    let mut line = hex(&own.address().encode());
    line.push('\n');
    child.stdin.as_mut().expect("it is piped").write_all(line.as_bytes()).expect("it reads");
    let output = exchange(0, own, address);
    assert!(output[LENGTH..] == pattern(Rank::new(1), 4, LENGTH));
    child.kill().expect("it runs until now");
    child.wait().expect("it is our child");
    let again =
        LocalTransport::connect(size(2), Rank::new(0), segment(), &[(Rank::new(1), address)]);
    assert!(matches!(again, Err(SegmentError::Open { .. })), "{again:?}");
}
