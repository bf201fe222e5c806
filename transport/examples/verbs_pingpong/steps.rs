//! What is tried. Each step connects queue pairs of its own and ends with an error that says what
//! was not as expected.

use std::fmt::Debug;
use std::time::Duration;

use onepath_transport::verbs::{
    Access, Completion, CompletionError, Done, FlowLabel, Payload, PortNumber, PostError,
    QueuePair, QueuePairError, QueuePairState, ReceiveRequest, RemoteRegion, SendOperation,
    SendRequest, SendSlots, SourcePortError, default_source_port, set_udp_source_port,
};

use crate::Outcome;
use crate::end::{End, connect};
use crate::sniff::Sniffer;

/// For packets to be seen that have arrived already.
const PATIENCE: Duration = Duration::from_secs(3);
const LABEL: FlowLabel = FlowLabel::DRIVERS_CHOICE;
const NO_SPANS: ReceiveRequest<'_> = ReceiveRequest { id: 1_000, spans: &[] };

#[expect(clippy::needless_pass_by_value, reason = "callers have temporaries")]
fn expect<T: PartialEq + Debug>(what: &str, found: T, expected: T) -> Outcome<()> {
    if found == expected {
        return Ok(());
    }
    Err(format!("{what}: found {found:?}, expected {expected:?}").into())
}

/// Bytes that differ from round to round and have no period that a page has.
fn pattern(seed: u32, bytes: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as u8
    };
    std::iter::repeat_with(next).take(bytes).collect()
}

fn send(operation: SendOperation, payload: Payload<'_>, id: u64) -> SendRequest<'_> {
    SendRequest { id, operation, payload, signalled: true, solicited: true }
}

/// `from` writes its whole source to `to` with a number; both completions and all bytes are
/// checked.
fn write(
    (from, from_pair): (&mut End, &mut QueuePair),
    (to, to_pair): (&mut End, &mut QueuePair),
    number: u32,
) -> Outcome<()> {
    let bytes = from.source.bytes();
    let data = pattern(number, bytes);
    from.source.store(0, &data)?;
    to_pair.post_receives(&[NO_SPANS])?;
    let spans = [from.source.span(0, bytes)?];
    let target = to.region().span(0, bytes as u64)?;
    let operation = SendOperation::WriteWithImmediate(target, number);
    from_pair.post_send(send(operation, Payload::Registered(&spans), u64::from(number)))?;
    let arrived = to.completion()?;
    let expected = Done::WriteArrived { bytes: bytes as u32, immediate: number };
    expect("the receiver's completion", (arrived.id, arrived.outcome), (1_000, Ok(expected)))?;
    expect("its queue pair", arrived.queue_pair, to_pair.number().get())?;
    let mut found = vec![0; bytes];
    to.target.load(0, &mut found)?;
    let wrong = found.iter().zip(&data).filter(|(found, sent)| found != sent).count();
    expect("wrong bytes", wrong, 0)?;
    let sent = from.completion()?;
    expect("the sender's completion", sent.outcome, Ok(Done::Written))?;
    expect("its id", sent.id, u64::from(number))
}

pub(crate) fn ping_pong(a: &mut End, b: &mut End, label: FlowLabel, rounds: u32) -> Outcome<()> {
    let (mut pair_a, mut pair_b) = connect(a, b, label)?;
    for round in 0..rounds {
        write((a, &mut pair_a), (b, &mut pair_b), 2 * round)?;
        write((b, &mut pair_b), (a, &mut pair_a), 2 * round + 1)?;
    }
    Ok(())
}

/// The path that a flow label chooses: packets must come from the UDP source port that we foretell.
pub(crate) fn source_ports(a: &mut End, b: &mut End) -> Outcome<()> {
    let sniffer = match Sniffer::open() {
        Ok(sniffer) => sniffer,
        Err(error) => {
            println!("source ports: skipped: packets cannot be seen ({error})");
            return Ok(());
        }
    };
    let mut labels = vec![LABEL];
    for label in [1, 5_002, 0x3fff, 0x4000, 0x4001, 0xa_bcde, 0xf_ffff] {
        labels.push(FlowLabel::new(label)?);
    }
    for label in labels {
        let (mut pair_a, mut pair_b) = connect(a, b, label)?;
        let (from, to) = (pair_a.number().get(), pair_b.number().get());
        pair_b.post_receives(&[NO_SPANS])?;
        let target = SendOperation::WriteWithImmediate(b.region().span(0, 0)?, 0);
        pair_a.post_send(send(target, Payload::Registered(&[]), 0))?;
        b.completion()?.outcome?;
        a.completion()?.outcome?;
        let found = sniffer.source_port(to, PATIENCE)?;
        if found.is_none() && a.context.name() == b.context.name() {
            println!("source ports: skipped: packets to the own device do not leave it");
            return Ok(());
        }
        let expected = label.source_port().unwrap_or_else(|| default_source_port(from, to));
        expect(&format!("source port of flow label {:#x}", label.get()), found, Some(expected))?;
    }
    println!("source ports: as foretold from 8 flow labels");
    Ok(())
}

pub(crate) fn inline_send(a: &mut End, b: &mut End) -> Outcome<()> {
    let (mut pair_a, mut pair_b) = connect(a, b, LABEL)?;
    let spans = [b.target.span(0, 64.min(b.target.bytes()))?];
    pair_b.post_receives(&[ReceiveRequest { id: 5, spans: &spans }])?;
    let text = b"inline".to_vec();
    let request = send(SendOperation::SendWithImmediate(77), Payload::Inline(&text), 6);
    pair_a.post_send(request)?;
    // The device has its copy: the memory is free before anything has completed.
    drop(text);
    let bytes = 6;
    let received = Done::Received { bytes, immediate: Some(77) };
    expect("the receiver's completion", b.completion()?.outcome, Ok(received))?;
    expect("the sender's completion", a.completion()?.outcome, Ok(Done::Sent))?;
    let mut found = [0; 6];
    b.target.load(0, &mut found)?;
    expect("the bytes", &found, b"inline")?;
    println!("inline send with immediate: right");
    Ok(())
}

pub(crate) fn gathered_send(a: &mut End, b: &mut End) -> Outcome<()> {
    let (mut pair_a, mut pair_b) = connect(a, b, LABEL)?;
    a.source.store(0, b"behindbefore")?;
    let spans = [a.source.span(6, 6)?, a.source.span(0, 6)?];
    let receive = [b.target.span(1, 20)?];
    pair_b.post_receives(&[ReceiveRequest { id: 5, spans: &receive }])?;
    pair_a.post_send(send(SendOperation::Send, Payload::Registered(&spans), 6))?;
    let received = Done::Received { bytes: 12, immediate: None };
    expect("the receiver's completion", b.completion()?.outcome, Ok(received))?;
    expect("the sender's completion", a.completion()?.outcome, Ok(Done::Sent))?;
    let mut found = [0; 12];
    b.target.load(1, &mut found)?;
    expect("the bytes", &found, b"beforebehind")?;
    println!("send gathered from two spans: right");
    Ok(())
}

/// 200 small writes, of which every 16th makes a completion; the queue never has more than 32.
pub(crate) fn selective_signalling(a: &mut End, b: &mut End) -> Outcome<()> {
    const WRITES: u64 = 200;
    let (mut pair_a, _pair_b) = connect(a, b, LABEL)?;
    let mut slots = SendSlots::new(32, 16);
    let spans = [a.source.span(0, 8)?];
    let target = b.region().span(0, 8)?;
    let (mut posted, mut completions, mut freed) = (0, 0, 0);
    while freed < WRITES {
        while posted < WRITES
            && let Some(slot) = slots.take(posted + 1 == WRITES)
        {
            let request = send(SendOperation::Write(target), Payload::Registered(&spans), slot.id);
            pair_a.post_send(SendRequest { signalled: slot.signalled, ..request })?;
            posted += 1;
        }
        for completion in a.completions()? {
            expect("a write", completion.outcome, Ok(Done::Written))?;
            freed += u64::from(slots.retire(completion.id));
            completions += 1;
        }
    }
    expect("completions", completions, WRITES.div_ceil(16))?;
    println!("selective signalling: {WRITES} writes, {completions} completions");
    Ok(())
}

/// One write to a range of the peer, and how it ended.
fn one_write(a: &mut End, b: &End, region: RemoteRegion, offset: u64) -> Outcome<Completion> {
    let (mut pair_a, _pair_b) = connect(a, b, LABEL)?;
    let spans = [a.source.span(0, 8)?];
    let operation = SendOperation::Write(region.span(offset, 8)?);
    pair_a.post_send(send(operation, Payload::Registered(&spans), 9))?;
    let completion = a.completion()?;
    expect("the state", pair_a.query_state()?, QueuePairState::Error)?;
    Ok(completion)
}

pub(crate) fn wrong_key(a: &mut End, b: &mut End) -> Outcome<()> {
    let region = b.region();
    let wrong = RemoteRegion { key: region.key ^ 0x5500, ..region };
    let completion = one_write(a, b, wrong, 0)?;
    expect("a wrong key", completion.outcome, Err(CompletionError::RemoteAccess))?;
    println!("wrong remote key: {}", CompletionError::RemoteAccess);
    while let Some(event) = b.context.next_event()? {
        println!("event of {}: {event:?}", b.context.name());
    }
    Ok(())
}

pub(crate) fn beyond_the_region(a: &mut End, b: &mut End) -> Outcome<()> {
    let region = b.region();
    let longer = RemoteRegion { bytes: region.bytes + 8, ..region };
    let completion = one_write(a, b, longer, region.bytes)?;
    expect("beyond the region", completion.outcome, Err(CompletionError::RemoteAccess))?;
    println!("write beyond the region: refused");
    Ok(())
}

pub(crate) fn no_receive_posted(a: &mut End, b: &mut End) -> Outcome<()> {
    let (mut pair_a, _pair_b) = connect(a, b, LABEL)?;
    pair_a.post_send(send(SendOperation::Send, Payload::Inline(b"knock"), 3))?;
    let outcome = a.completion()?.outcome;
    expect("no receive", outcome, Err(CompletionError::ReceiverNotReady))?;
    println!("no receive request: {}", CompletionError::ReceiverNotReady);
    Ok(())
}

/// A queue pair is taken to error with receives posted; these come back as flushed, and a new
/// queue pair on another path works.
pub(crate) fn failed_pair_is_flushed_and_replaced(a: &mut End, b: &mut End) -> Outcome<()> {
    let (_pair_a, mut pair_b) = connect(a, b, LABEL)?;
    pair_b.post_receives(&[NO_SPANS; 20])?;
    pair_b.fail()?;
    let mut flushed = 0;
    while flushed < 20 {
        for completion in b.completions()? {
            expect("a flushed receive", completion.outcome, Err(CompletionError::Flushed))?;
            flushed += 1;
        }
    }
    ping_pong(a, b, FlowLabel::for_source_port(60_000)?, 1)?;
    println!("failed queue pair: {flushed} receives flushed, a new one works");
    Ok(())
}

/// A device whose vendor offers no call for the source port is told apart, and the queue pair goes
/// on; with one that has a call packets must come from the new port.
pub(crate) fn vendors_call(a: &mut End, b: &mut End) -> Outcome<()> {
    const PORT: u16 = 55_555;
    let (mut pair_a, mut pair_b) = connect(a, b, LABEL)?;
    let early = set_udp_source_port(&a.pair()?, PORT);
    expect("early", matches!(early, Err(SourcePortError::State { .. })), true)?;
    let low = set_udp_source_port(&pair_a, 4_791);
    expect("low", matches!(low, Err(SourcePortError::Range { .. })), true)?;
    let sniffer = Sniffer::open();
    let offered = match set_udp_source_port(&pair_a, PORT) {
        Ok(()) => true,
        Err(error @ SourcePortError::NotOffered { .. }) => {
            println!("vendor's call: {error}");
            false
        }
        Err(error) => return Err(error.into()),
    };
    write((a, &mut pair_a), (b, &mut pair_b), 1)?;
    if let (Ok(sniffer), true) = (sniffer, offered) {
        let found = sniffer.source_port(pair_b.number().get(), PATIENCE)?;
        expect("the source port that was set", found, Some(PORT))?;
    }
    Ok(())
}

/// What the types do not forbid is refused with an error, and harms nothing.
pub(crate) fn misuse_is_refused(a: &mut End, b: &mut End) -> Outcome<()> {
    let mut early = a.pair()?;
    let posted = early.post_send(send(SendOperation::Send, Payload::Inline(b"x"), 1));
    expect("early", matches!(posted, Err(PostError::WrongState { .. })), true)?;
    let (mut pair_a, mut pair_b) = connect(a, b, LABEL)?;
    let again = pair_a.initialise(PortNumber::ONE, Access::LocalWrite);
    expect("again", matches!(again, Err(QueuePairError::WrongState { .. })), true)?;
    let long = vec![0; pair_a.limits().inline_bytes as usize + 1];
    let posted = pair_a.post_send(send(SendOperation::Send, Payload::Inline(&long), 1));
    expect("long", matches!(posted, Err(PostError::InlineTooLong { .. })), true)?;
    let spans = [a.source.span(0, 9)?];
    let target = SendOperation::Write(b.region().span(0, 8)?);
    let posted = pair_a.post_send(send(target, Payload::Registered(&spans), 1));
    expect("beyond", matches!(posted, Err(PostError::BeyondTarget { .. })), true)?;
    let room = pair_b.limits().receives as usize;
    let posted = pair_b.post_receives(&vec![NO_SPANS; room + 1]);
    match posted {
        Err(PostError::QueueFull { posted, .. }) => expect("receives", posted, room)?,
        other => return Err(format!("a full queue: {other:?}").into()),
    }
    println!("misuse: refused ({room} receives fit)");
    // A region that ends while its span is still in use: the device refuses, memory is safe.
    let stale = {
        let region = b.scratch(8)?;
        let span = region.remote().span(0, 8)?;
        drop(region);
        SendOperation::Write(span)
    };
    let spans = [a.source.span(0, 8)?];
    pair_a.post_send(send(stale, Payload::Registered(&spans), 4))?;
    let outcome = a.completion()?.outcome;
    expect("a region that has ended", outcome, Err(CompletionError::RemoteAccess))?;
    println!("write to a region that has ended: refused");
    Ok(())
}
