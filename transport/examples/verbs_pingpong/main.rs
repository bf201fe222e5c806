//! Two queue pairs in one process, on two RDMA devices or on one: are the verbs right here?
//!
//! `cargo run -p onepath-transport --example verbs_pingpong -- [DEVICE [DEVICE [BYTES [ROUNDS]]]]`
//!
//! Without a name the first device is used for both ends; 1 MiB and 8 rounds if not said otherwise.
//! Each step prints a line; the exit status is 0 when all were right, 1 when one was wrong, 2 for
//! arguments that make no sense, and 77 where there is no RDMA ("skipped: ...").
//!
//! | module | what it holds |
//! |---|---|
//! | `end` | an end: its device, memory and queues; connecting two |
//! | `steps` | what is tried |
//! | `sniff` | the UDP source ports of packets |
mod end;
mod sniff;
mod steps;

use std::error::Error;
use std::process::ExitCode;
use std::time::Instant;

use onepath_transport::verbs::{
    AddressFamily, DeviceError, DeviceList, FlowLabel, GidChoice, PortNumber,
};

use end::End;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// What was asked for.
struct Wanted {
    devices: [Option<String>; 2],
    bytes: usize,
    rounds: u32,
}

fn main() -> ExitCode {
    let wanted = match wanted() {
        Ok(wanted) => wanted,
        Err(problem) => {
            eprintln!("verbs_pingpong: {problem}");
            return ExitCode::from(2);
        }
    };
    let list = match DeviceList::new() {
        Ok(list) if list.iter().next().is_none() => {
            println!("skipped: no RDMA device");
            return ExitCode::from(77);
        }
        Ok(list) => list,
        Err(error @ (DeviceError::Load(_) | DeviceError::NoKernelSupport { .. })) => {
            println!("skipped: {error}");
            return ExitCode::from(77);
        }
        Err(error) => {
            eprintln!("verbs_pingpong: {error}");
            return ExitCode::FAILURE;
        }
    };
    match run(&list, &wanted) {
        Ok(()) => {
            println!("verbs_pingpong: all right");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("verbs_pingpong: {error}");
            ExitCode::FAILURE
        }
    }
}

fn wanted() -> Outcome<Wanted> {
    let mut arguments = std::env::args().skip(1);
    let first = arguments.next();
    let second = arguments.next().or_else(|| first.clone());
    let bytes = arguments.next().map_or(Ok(1 << 20), |text| text.parse())?;
    let rounds = arguments.next().map_or(Ok(8), |text| text.parse())?;
    if let Some(extra) = arguments.next() {
        return Err(format!("unexpected argument '{extra}'").into());
    }
    if bytes == 0 || bytes > 1 << 30 {
        return Err(format!("{bytes} bytes: choose 1 to 1073741824").into());
    }
    Ok(Wanted { devices: [first, second], bytes, rounds })
}

fn run(list: &DeviceList, wanted: &Wanted) -> Outcome<()> {
    let choice = GidChoice::Family(AddressFamily::V4);
    let mut ends = Vec::new();
    for name in &wanted.devices {
        let device = match name {
            Some(name) => list.find(name)?,
            None => list.iter().next().ok_or("no RDMA device")?,
        };
        ends.push(End::open(&device, PortNumber::ONE, choice, wanted.bytes)?);
    }
    let [a, b] = &mut ends[..] else { return Err("two ends".into()) };
    println!("a: {a}\nb: {b}");
    for label in [FlowLabel::DRIVERS_CHOICE, FlowLabel::for_source_port(50_001)?] {
        let started = Instant::now();
        steps::ping_pong(a, b, label, wanted.rounds)?;
        let mib = 2.0 * f64::from(wanted.rounds) * wanted.bytes as f64 / f64::from(1 << 20);
        let seconds = started.elapsed().as_secs_f64();
        println!(
            "write with immediate: {} rounds of {} bytes both ways, flow label {:#x}, {:.1} MiB/s",
            wanted.rounds,
            wanted.bytes,
            label.get(),
            mib / seconds
        );
    }
    steps::source_ports(a, b)?;
    steps::vendors_call(a, b)?;
    steps::inline_send(a, b)?;
    steps::gathered_send(a, b)?;
    steps::selective_signalling(a, b)?;
    steps::wrong_key(a, b)?;
    steps::beyond_the_region(a, b)?;
    steps::no_receive_posted(a, b)?;
    steps::failed_pair_is_flushed_and_replaced(a, b)?;
    steps::misuse_is_refused(a, b)
}
