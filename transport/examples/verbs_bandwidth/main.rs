//! What one queue pair carries: RDMA WRITEs between two devices of this machine, counted and timed.
//!
//! ```text
//! cargo run --release -p onepath-transport --example verbs_bandwidth -- \
//!     FROM TO [--bytes N] [--count N] [--window N] [--label N] [--ip 4|6] [--limit RATE]
//!     [--least RATIO]
//! ```
//!
//! Writes `--count` times (8) `--bytes` bytes (1 MiB) over one reliable-connected queue pair with
//! flow label `--label` (1), `--window` (4) of them under way at once, and sleeps on completion
//! events meanwhile, over IPv4 or IPv6. Time goes from the first request to the last
//! acknowledgement. With the rate of the slowest link (`--limit 20mbit`) it prints which share of
//! that link's payload rate was reached (`wire` has the formula). Exit status 0: done, and at least
//! `--least` of that rate; 1: less, or a failure; 2: arguments that make no sense.
//!
//! | module | what it holds |
//! |---|---|
//! | `arguments` | the command line |
//! | `wire` | headers: how much of a link's rate is left for payload |
//! | `end` | an end: its device, memory and queues (of the example `verbs_pingpong`) |
mod arguments;
#[allow(dead_code, reason = "the other example uses the rest")]
#[path = "../verbs_pingpong/end.rs"]
mod end;
mod wire;

use std::error::Error;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use onepath_transport::verbs::{
    DeviceList, Done, FlowLabel, GidChoice, Payload, PortNumber, QueuePair, SendOperation,
    SendRequest, SendSlots,
};

use arguments::Arguments;
use end::{End, connect};
use wire::Writes;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    let arguments = match Arguments::parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(problem) => {
            eprintln!("verbs_bandwidth: {problem}");
            return ExitCode::from(2);
        }
    };
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("verbs_bandwidth: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Outcome<()> {
    let list = DeviceList::new()?;
    let choice = GidChoice::Family(arguments.family);
    let open = |name: &str| -> Outcome<End> {
        End::open(&list.find(name)?, PortNumber::ONE, choice, arguments.bytes)
    };
    let [from, to] = &arguments.devices;
    let (mut from, to) = (open(from)?, open(to)?);
    println!("from: {from}\nto: {to}");
    let pattern: Vec<u8> = (0..arguments.bytes).map(|at| (at % 251) as u8).collect();
    from.source.store(0, &pattern)?;
    let (mut pair, _peer) = connect(&from, &to, FlowLabel::new(arguments.label)?)?;
    let took = write_all(arguments, &mut from, &to, &mut pair)?;
    let mut arrived = vec![0; arguments.bytes];
    to.target.load(0, &mut arrived)?;
    if arrived != pattern {
        return Err("the bytes that arrived are not those that were sent".into());
    }
    let mtu = from.mtu.min(to.mtu).bytes() as u64;
    let writes = Writes { payload: arguments.bytes as u64, mtu, family: arguments.family };
    report(arguments, writes, took)
}

/// Keeps `window` writes under way until all are acknowledged; how long that took.
fn write_all(
    arguments: &Arguments,
    from: &mut End,
    to: &End,
    pair: &mut QueuePair,
) -> Outcome<Duration> {
    let Arguments { bytes, count, window, .. } = *arguments;
    let mut slots = SendSlots::new(window, window / 4);
    let spans = [from.source.span(0, bytes)?];
    let target = to.region().span(0, bytes as u64)?;
    let operation = SendOperation::Write(target);
    let (mut posted, mut done) = (0, 0);
    let began = Instant::now();
    while done < count {
        while posted < count
            && let Some(slot) = slots.take(posted + 1 == count)
        {
            pair.post_send(SendRequest {
                id: slot.id,
                operation,
                payload: Payload::Registered(&spans),
                signalled: slot.signalled,
                solicited: false,
            })?;
            posted += 1;
        }
        for completion in from.completions()? {
            match completion.outcome? {
                Done::Written => done += u64::from(slots.retire(completion.id)),
                other => return Err(format!("a write completed as {other:?}").into()),
            }
        }
    }
    Ok(began.elapsed())
}

fn report(arguments: &Arguments, writes: Writes, took: Duration) -> Outcome<()> {
    let Arguments { bytes, count, window, label, .. } = *arguments;
    let payload = writes.payload * count;
    let rate = payload as f64 / took.as_secs_f64();
    let wire = writes.wire_bytes() * count;
    println!("{count} writes of {bytes} bytes, {window} under way, flow label {label:#x}");
    println!("{wire} bytes on the wire, by their headers");
    println!("{payload} bytes of payload in {:.4} s: {:.4} MB/s", took.as_secs_f64(), rate / 1e6);
    let Some(limit) = arguments.limit else { return Ok(()) };
    let most = limit.payload_per_second(writes);
    let ratio = rate / most;
    println!("limit: {limit} carry {:.4} MB/s of payload; ratio {ratio:.4}", most / 1e6);
    match arguments.least {
        Some(least) if ratio < least => {
            Err(format!("ratio {ratio:.4} is below --least {least}").into())
        }
        _ => Ok(()),
    }
}
