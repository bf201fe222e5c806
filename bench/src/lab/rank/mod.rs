//! What one rank of a run does: a process of its own on its own host of the fabric.
//!
//! | file | what it holds |
//! |---|---|
//! | `paths` | finding the paths to the other ranks |
//! | `call` | the collective on real data, and the check of every element |

mod call;
mod paths;

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use onepath_collectives::communicator::{
    BuildError, Builder, Pinning, TransportKind, TuningSource, Waiting,
};
use onepath_collectives::{CollectiveError, Communicator, Scope};
use onepath_topology::{Bandwidth, Nanos, Rank, WorldSize};
use onepath_transport::proto::congestion::{Marking, NsccConfig};
use onepath_transport::proto::{CongestionConfig, MtuConfig};
use onepath_transport::spray::SprayOptions;
use onepath_transport::tcp::pinned::PinnedOptions;

use super::compare::message::{Command, Event, Tally, Task};
use super::compare::scheme::Wiring;
use super::talk::{end, now_ns, tell};
use call::Run;
use paths::Probing;

/// Where the ranks meet.
const RENDEZVOUS_PORT: u16 = 29_400;

/// Control connections are not pinned: one over a dead spine is silent as long as the spine is
/// dead, and must not be taken for the death of its rank before the run is over.
const SILENCE_BEYOND: Duration = Duration::from_mins(1);

/// Headers of IPv4 and UDP.
const IP_AND_UDP: u32 = 20 + 8;

/// Links between two hosts of different leaves.
const LINKS: u32 = 4;

/// What the hosts themselves add to a round trip at most.
const HOSTS_RTT: Nanos = Nanos::millis(2);

/// The queuing delay that NSCC aims at, in round trips without queues. Processes that share cores
/// answer later than network cards do: with one round trip, links run dry in between.
const TARGET_RTTS: u64 = 2;

/// Between two looks of a rank that has nothing to do but to serve the others.
const LOOK: Duration = Duration::from_millis(1);

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
    #[error("told {0:?} out of turn")]
    Command(Command),
}

/// Does what the lab says on standard input, and tells it on standard output.
pub(crate) fn run() -> ExitCode {
    end(work(), |problem| Event::Failed { problem })
}

fn work() -> Result<(), RankError> {
    let commands = listen();
    let task: Task = serde_json::from_str(&next(&commands)?)?;
    let ranks = task.places.len();
    let world = WorldSize::new(ranks as u64).map_err(|_| RankError::World(ranks))?;
    let me = Rank::new(task.rank);
    let wiring = task.scheme.wiring(task.spines as usize);
    let probing = Arc::new(Probing::new(&task));
    let communicator = join(&task, (me, world), wiring, &probing)?;
    let mut run = Run::new(&task, me, world);
    communicator.barrier()?;
    tell(&Event::Joined { unpinned: probing.unpinned() })?;
    let mut command = parse(&next(&commands)?)?;
    let subflows = wiring.subflows(task.spines as usize).get();
    let mut before = Tally::default();
    while command == Command::Go {
        communicator.barrier()?;
        before = tally(&communicator, &run, subflows);
        let start_ns = now_ns();
        run.call(&communicator)?;
        tell(&Event::Done { start_ns, end_ns: now_ns() })?;
        command = attend(&communicator, &commands)?;
        if command == Command::Go {
            run.forget();
        }
    }
    if command != Command::Check {
        return Err(RankError::Command(command));
    }
    let counted = tally(&communicator, &run, subflows).since(&before);
    tell(&Event::Checked(Tally { wrong: run.wrong(), ..counted }))?;
    match attend(&communicator, &commands)? {
        Command::Leave => Ok(()),
        other => Err(RankError::Command(other)),
    }
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
        // Ranks of all hosts share the cores of this machine.
        .waiting(Waiting::Sleep)
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
        Wiring::Datagrams { entropy, entropies, pinned, .. } => {
            // As TCP does, they begin with the size that the links are known to carry.
            let size = task.mtu - IP_AND_UDP;
            let base_rtt = base_rtt(task);
            let nscc = NsccConfig {
                rate: Bandwidth(task.rate_bits as f64 / 8.0),
                base_rtt,
                target_queue_delay: Some(Nanos(TARGET_RTTS * base_rtt.get())),
                marking: Marking::Inferred,
            };
            let options = SprayOptions {
                congestion: CongestionConfig::Nscc(nscc),
                pacing: true,
                entropy,
                entropies,
                mtu: MtuConfig { safe: size, most: size },
                seed: u64::from(task.seed),
                give_up_after: Nanos::secs(limit.as_secs()),
                ..SprayOptions::default()
            };
            let builder = builder.transport(TransportKind::Spray).spray(options);
            if pinned {
                builder.pinning(Pinning::new(Arc::clone(probing) as Arc<_>))
            } else {
                builder
            }
        }
    }
    .build()
}

/// A full packet and its acknowledgement over the links between two hosts of different leaves,
/// without any queue. What is measured replaces it when it is less.
fn base_rtt(task: &Task) -> Nanos {
    let packet_s = f64::from(task.mtu) * 8.0 / task.rate_bits as f64;
    Nanos((packet_s * f64::from(LINKS) * 1e9) as u64) + HOSTS_RTT
}

/// What went over the subflows; of those that are not pinned, only how many there are is known.
fn tally(communicator: &Communicator, run: &Run, subflows: u16) -> Tally {
    let counts = communicator.path_counts();
    let subflows = u64::from(subflows);
    let datagrams = communicator.datagram_counts();
    if !datagrams.is_empty() {
        return datagrams.iter().fold(Tally::default(), |sum, count| {
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
        return Tally { opened, used, ..Tally::default() };
    }
    counts.iter().fold(Tally::default(), |sum, count| {
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

/// What the lab says, line by line, until it says nothing more.
fn listen() -> Receiver<io::Result<String>> {
    let (to, lines) = sync_channel(1);
    std::thread::spawn(move || {
        for line in io::stdin().lines() {
            if to.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// The next line; nothing but the lab's end closes the stream.
fn next(commands: &Receiver<io::Result<String>>) -> io::Result<String> {
    commands.recv().unwrap_or_else(|_| Err(io::ErrorKind::UnexpectedEof.into()))
}

/// Waits for a command as a training job would that goes on to its next call: calls of others may
/// need what this rank has to say, and ranks say it only while they make calls.
fn attend(
    communicator: &Communicator,
    commands: &Receiver<io::Result<String>>,
) -> Result<Command, RankError> {
    loop {
        match commands.recv_timeout(LOOK) {
            Ok(line) => return parse(&line?),
            Err(RecvTimeoutError::Disconnected) => {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            // Whether others fail is theirs to say: this rank's own part is done.
            Err(RecvTimeoutError::Timeout) => {
                let _ = communicator.scope(|scope: &Scope<'_, '_>| scope.progress());
            }
        }
    }
}

fn parse(line: &str) -> Result<Command, RankError> {
    Ok(serde_json::from_str(line)?)
}
