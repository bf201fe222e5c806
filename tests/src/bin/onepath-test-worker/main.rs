//! One rank as a process of its own, for tests that kill, stop and measure ranks.
//!
//! It writes a line for each thing that happens and ends with status 0 when all was as it should
//! be. When whoever started it ends, it is killed.

mod fault;
mod late;
mod memory;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use onepath_collectives::Communicator;
use onepath_collectives::communicator::{BuildError, Builder, TransportKind};
use onepath_tests::{verbs, world};
use onepath_transport::verbs::transport::Spread;
use rustix::process::{Signal, set_parent_process_death_signal};

/// Which rank this is, and what it does.
#[derive(Debug, Parser)]
struct Arguments {
    /// This rank.
    #[arg(long)]
    rank: usize,
    /// How many ranks there are.
    #[arg(long)]
    ranks: usize,
    /// Where they meet.
    #[arg(long)]
    port: u16,
    /// How bytes travel.
    #[arg(long)]
    transport: TransportKind,
    /// Of the calls and their data.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Seconds of silence after which a rank counts as dead.
    #[arg(long, default_value_t = 1)]
    silence: u64,
    #[command(subcommand)]
    job: Job,
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum Job {
    /// Makes random calls until a rank dies, then goes on with the survivors.
    Fault,
    /// Rank 1 makes its call after some seconds.
    Late {
        /// How late.
        #[arg(long)]
        seconds: u64,
        /// When the others give up.
        #[arg(long)]
        timeout: u64,
    },
    /// Measures the memory of large calls.
    Memory {
        /// Size of the buffer.
        #[arg(long)]
        mebibytes: usize,
    },
}

impl Arguments {
    fn builder(&self) -> Result<Builder, BuildError> {
        let builder = world::builder(self.rank, self.ranks, self.port)?.transport(self.transport);
        Ok(match self.transport {
            TransportKind::Verbs => verbs::over(builder, verbs::options(Spread::Split)),
            _ => builder,
        })
    }

    fn join(&self) -> Result<Communicator, BuildError> {
        self.builder()?.silence(Duration::from_secs(self.silence)).build()
    }
}

/// Why a rank did not do what it should.
#[derive(Debug, thiserror::Error)]
enum WorkerError {
    #[error("cannot join: {0}")]
    Join(#[from] BuildError),
    #[error("{0}")]
    Step(#[from] onepath_tests::mixed::StepError),
    #[error("{0}")]
    Call(#[from] onepath_collectives::CollectiveError),
    #[error("cannot shrink: {0}")]
    Shrink(#[from] onepath_collectives::ShrinkError),
    #[error("after shrinking there are {ranks} ranks, and their sum is {sum}")]
    WrongSurvivors { ranks: usize, sum: u64 },
    #[error("named shared memory: {0:?}")]
    NamedMemory(Vec<String>),
    #[error("{0}")]
    System(#[from] std::io::Error),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        eprintln!("cannot ask to be killed with the parent: {error}");
        return ExitCode::FAILURE;
    }
    let result = match arguments.job {
        Job::Fault => fault::run(&arguments),
        Job::Late { seconds, timeout } => late::run(&arguments, seconds, timeout),
        Job::Memory { mebibytes } => memory::run(&arguments, mebibytes),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("error {error}");
            ExitCode::FAILURE
        }
    }
}
