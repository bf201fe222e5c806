//! Mixed collectives for some minutes, every result checked, memory and descriptors watched.
//!
//! `cargo run --release -p onepath-tests --bin onepath-soak -- --minutes 10 --ranks 4 --seed 1`

mod rank;
mod samples;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use onepath_collectives::communicator::TransportKind;
use onepath_tests::processes::Processes;
use onepath_tests::world::free_port;

use samples::Samples;

/// How often memory and descriptors are looked at.
const INTERVAL: Duration = Duration::from_secs(10);

/// How long ranks may take to join, and to stop after their time.
const SLACK: Duration = Duration::from_mins(1);

/// What is said on the command line.
#[derive(Clone, Debug, Parser)]
#[command(
    about = "Mixed collectives for some minutes, checked, with memory and descriptors watched"
)]
struct Arguments {
    /// For how long.
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// How many ranks, as processes on this host.
    #[arg(long, default_value_t = 4)]
    ranks: usize,
    /// Of the calls and their data.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How bytes travel; one transport after the other, each for half of the time, if not said.
    #[arg(long)]
    transport: Option<TransportKind>,
    /// This process is a rank; set by the process that starts the ranks.
    #[arg(long, hide = true, requires = "port")]
    rank: Option<usize>,
    #[arg(long, hide = true)]
    port: Option<u16>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match (arguments.rank, arguments.port) {
        (Some(rank), Some(port)) => rank::run(&arguments, rank, port),
        _ => all(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn all(arguments: &Arguments) -> Result<(), String> {
    let transports = match arguments.transport {
        Some(transport) => vec![transport],
        None => vec![TransportKind::Tcp, TransportKind::Local],
    };
    let time = Duration::from_secs_f64(arguments.minutes * 60.0) / transports.len() as u32;
    transports.into_iter().try_for_each(|transport| soak(arguments, transport, time))
}

/// Runs all ranks over one transport.
fn soak(arguments: &Arguments, transport: TransportKind, time: Duration) -> Result<(), String> {
    let Arguments { ranks, seed, .. } = *arguments;
    let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("/proc/self/exe"));
    let (port, minutes) = (free_port(), time.as_secs_f64() / 60.0);
    println!("{ranks} ranks, {transport}, seed {seed}, {minutes:.1} minutes");
    let mut processes = Processes::start(&program, ranks, |rank| {
        let text = format!(
            "--rank {rank} --port {port} --ranks {ranks} --seed {seed} --transport {transport} \
             --minutes {minutes}"
        );
        text.split(' ').map(str::to_owned).collect()
    });
    for rank in 0..ranks {
        processes.line(rank, SLACK)?;
    }
    let (start, mut samples) = (Instant::now(), Samples::new(&processes.ids()));
    while start.elapsed() + INTERVAL < time {
        std::thread::sleep(INTERVAL);
        samples.take(start.elapsed()).map_err(|(rank, problem)| {
            let last = processes.line(rank, INTERVAL).unwrap_or_default();
            format!("rank {rank} {problem}\n{last}\n{}", processes.errors())
        })?;
    }
    for rank in 0..ranks {
        println!("rank {rank}: {}", processes.line(rank, INTERVAL + SLACK)?);
    }
    for rank in 0..ranks {
        let status = processes.exit(rank, SLACK)?;
        if !status.success() {
            return Err(format!("rank {rank} ends with {status}\n{}", processes.errors()));
        }
    }
    samples.judge()
}
