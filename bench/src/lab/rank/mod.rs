//! What one rank of a run does: a process of its own on its own host of the fabric.
//!
//! | file | what it holds |
//! |---|---|
//! | `paths` | finding the paths to the other ranks |
//! | `call` | the collective on real data, and the check of every element |

mod call;
mod paths;

use std::io::{self, BufRead, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use onepath_collectives::communicator::{
    BuildError, Builder, Pinning, TransportKind, TuningSource,
};
use onepath_collectives::{CollectiveError, Communicator};
use onepath_topology::{Nanos, Rank, WorldSize};
use onepath_transport::proto::MtuConfig;
use onepath_transport::spray::SprayOptions;
use onepath_transport::tcp::pinned::PinnedOptions;
use rustix::time::{ClockId, clock_gettime};

use super::compare::message::{Command, Event, Tally, Task, line};
use super::compare::scheme::Wiring;
use call::Run;
use paths::Probing;

/// Where the ranks meet.
const RENDEZVOUS_PORT: u16 = 29_400;

/// Control connections are not pinned: one over a dead spine is silent as long as the spine is
/// dead, and must not be taken for the death of its rank before the run is over.
const SILENCE_BEYOND: Duration = Duration::from_mins(1);

/// Headers of IPv4 and UDP.
const IP_AND_UDP: u32 = 20 + 8;

/// How long joining may take, probes included.
const JOIN: Duration = Duration::from_mins(1);

/// Why a rank cannot do its part.
#[derive(Debug, thiserror::Error)]
enum RankError {
    /// Nobody tells it anything, or listens.
    #[error("talking to the lab: {0}")]
    Talk(#[from] io::Error),
    /// What it is told makes no sense.
    #[error("this is for the lab's own use: {0}")]
    Message(#[from] serde_json::Error),
    /// A world of no ranks.
    #[error("{0} ranks are no world")]
    World(usize),
    /// It does not come together with the others.
    #[error("joining: {0}")]
    Join(#[from] BuildError),
    /// The call fails.
    #[error("the call: {0}")]
    Call(#[from] CollectiveError),
    /// It is told something at the wrong time.
    #[error("told {found:?} instead of {expected:?}")]
    Command { found: Command, expected: Command },
}

/// Does what the lab says on standard input, and tells it on standard output.
pub(crate) fn run() -> ExitCode {
    match work() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // If nobody listens, the exit code says it.
            let _ = tell(&Event::Failed { problem: error.to_string() });
            ExitCode::from(crate::FAILURE)
        }
    }
}

fn work() -> Result<(), RankError> {
    let task: Task = serde_json::from_str(&listen()?)?;
    let ranks = task.places.len();
    let world = WorldSize::new(ranks as u64).map_err(|_| RankError::World(ranks))?;
    let me = Rank::new(task.rank);
    let wiring = task.scheme.wiring(task.spines as usize);
    let probing = Arc::new(Probing::new(&task));
    let communicator = join(&task, (me, world), wiring, &probing)?;
    let mut run = Run::new(&task, me, world);
    communicator.barrier()?;
    tell(&Event::Joined { unpinned: probing.unpinned() })?;
    await_command(Command::Go)?;
    communicator.barrier()?;
    let start_ns = now_ns();
    run.call(&communicator)?;
    tell(&Event::Done { start_ns, end_ns: now_ns() })?;
    await_command(Command::Check)?;
    let subflows = wiring.subflows(task.spines as usize).get();
    let wrong = run.wrong();
    tell(&Event::Checked(tally(&communicator, wrong, &run, subflows)))?;
    await_command(Command::Leave)
}

fn join(
    task: &Task,
    (me, world): (Rank, WorldSize),
    wiring: Wiring,
    probing: &Arc<Probing>,
) -> Result<Communicator, BuildError> {
    let limit = Duration::from_secs(task.timeout_s);
    let address = task.places[0].address;
    let builder = Builder::new()
        .rank(me)
        .world_size(world)
        .rendezvous(&format!("{address}:{RENDEZVOUS_PORT}"))?
        .transport(TransportKind::Tcp)
        // Nobody else is on this fabric.
        .insecure(true)
        .algorithm(task.collective.algorithm())
        .tuning(TuningSource::Model)
        .join_timeout(JOIN)
        .silence(limit + SILENCE_BEYOND)
        .operation_timeout(limit)
        .late_warning(limit);
    match wiring {
        Wiring::Tcp { subflows } => builder.subflows(subflows),
        Wiring::PinnedTcp { sharing, .. } => {
            let find = Arc::clone(probing) as Arc<_>;
            let options = PinnedOptions { sharing, ..PinnedOptions::default() };
            builder.pinning(Pinning { options, ..Pinning::new(find) })
        }
        Wiring::Datagrams { entropy, entropies, assign } => {
            // As TCP does, they begin with the size that the links are known to carry.
            let size = task.mtu - IP_AND_UDP;
            let options = SprayOptions {
                entropy,
                entropies,
                mtu: MtuConfig { safe: size, most: size },
                seed: u64::from(task.seed),
                give_up_after: Nanos::secs(limit.as_secs()),
                ..SprayOptions::default()
            };
            let builder = builder.transport(TransportKind::Spray).spray(options);
            match assign {
                None => builder,
                Some(_) => builder.pinning(Pinning::new(Arc::clone(probing) as Arc<_>)),
            }
        }
    }
    .build()
}

/// What went over the subflows; of those that are not pinned, only how many there are is known.
fn tally(communicator: &Communicator, wrong: u64, run: &Run, subflows: u16) -> Tally {
    let counts = communicator.path_counts();
    let subflows = u64::from(subflows);
    let datagrams = communicator.datagram_counts();
    if !datagrams.is_empty() {
        let empty = Tally { wrong, ..Tally::default() };
        return datagrams.iter().fold(empty, |sum, count| {
            sum.plus(Tally {
                opened: subflows,
                used: count.ports_used,
                deaths: count.stats.retired,
                resends: count.stats.retransmissions,
                out_of_order: count.stats.out_of_order,
                ..Tally::default()
            })
        });
    }
    if counts.is_empty() {
        let peers = communicator.world_size().get() as u64 - 1;
        let (opened, used) = (peers * subflows, run.receivers() * subflows);
        return Tally { wrong, opened, used, ..Tally::default() };
    }
    let empty = Tally { wrong, ..Tally::default() };
    counts.iter().fold(empty, |sum, count| {
        sum.plus(Tally {
            wrong: 0,
            opened: count.subflows_opened,
            used: count.subflows_used,
            deaths: count.deaths,
            resends: count.resends,
            taken: count.taken,
            out_of_order: 0,
        })
    })
}

/// The next line; nothing but the lab's end closes the stream.
fn listen() -> io::Result<String> {
    let mut text = String::new();
    match io::stdin().lock().read_line(&mut text)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(text),
    }
}

fn await_command(expected: Command) -> Result<(), RankError> {
    let found = serde_json::from_str(&listen()?)?;
    if found == expected { Ok(()) } else { Err(RankError::Command { found, expected }) }
}

fn tell(event: &Event) -> io::Result<()> {
    let mut to = io::stdout().lock();
    to.write_all(line(event).as_bytes())?;
    to.flush()
}

/// Of the clock that all processes of the machine share.
fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
