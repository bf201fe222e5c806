//! Joining a world: everything that is said before the first call.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use onepath_topology::{Rank, WorldSize};
use onepath_transport::spray::{EntropyChoice, SprayOptions};
use onepath_transport::tcp::MAX_SUBFLOWS;
use onepath_transport::verbs::transport::VerbsOptions;

use crate::algorithm::Algorithm;
use crate::bootstrap::{HostPort, InterfaceChoice, JobSecret, Launch, Trust, process_environment};
use crate::engine::Waiting;
use crate::reduce::Isa;
use crate::types::{UnknownName, by_name};

use super::Communicator;
use super::build_error::BuildError;
use super::join::{self, Options};
use super::paths::Pinning;
use super::verbs::options_from_environment;

/// TCP connections to a rank of another host: two, so that one hash of a fabric does not decide.
const FAR_SUBFLOWS: u16 = 2;

/// TCP connections to a rank of the same host: there is one path, and each more costs system calls.
const NEAR_SUBFLOWS: u16 = 1;

/// How bytes travel between ranks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TransportKind {
    /// Shared memory inside a host, TCP between hosts.
    #[default]
    Auto,
    /// TCP everywhere, also inside a host.
    Tcp,
    /// Shared memory; all ranks must be on one host.
    Local,
    /// Datagrams everywhere, see [`onepath_transport::spray`]; never chosen by `Auto`.
    Spray,
    /// RDMA everywhere, see [`onepath_transport::verbs::transport`]; never chosen by `Auto`.
    Verbs,
}

impl TransportKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Auto, Self::Tcp, Self::Local, Self::Spray, Self::Verbs];

    /// Its name, as options spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Tcp => "tcp",
            Self::Local => "local",
            Self::Spray => "spray",
            Self::Verbs => "verbs",
        }
    }
}

impl FromStr for TransportKind {
    type Err = UnknownName;

    fn from_str(value: &str) -> Result<Self, UnknownName> {
        by_name("transport", value, &Self::ALL, Self::name)
    }
}

impl FromStr for Waiting {
    type Err = UnknownName;

    fn from_str(value: &str) -> Result<Self, UnknownName> {
        by_name("way of waiting", value, &Self::ALL, Self::name)
    }
}

impl std::fmt::Display for TransportKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// Where the cost table comes from that chooses among algorithms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TuningSource {
    /// Measured when the communicator is made, for less than a second; rank 0's times count.
    #[default]
    Measure,
    /// Computed from documented formulas, the same in every run.
    Model,
    /// Read by rank 0 from a file that an earlier run wrote.
    File(PathBuf),
}

/// Says who this rank is and how it talks, then joins.
///
/// What is not said is taken from the environment: `ONEPATH_ALGORITHM`, `ONEPATH_TRANSPORT`,
/// `ONEPATH_SUBFLOWS`, `ONEPATH_ENTROPY`, `ONEPATH_WAITING`, `ONEPATH_TUNING` (`measure`, `model`
/// or a file), `ONEPATH_JOB_SECRET`, `ONEPATH_SOCKET_IFNAME`, `ONEPATH_SOCKET_FAMILY`,
/// `ONEPATH_FLIGHT_RECORDS`; for RDMA `ONEPATH_VERBS_DEVICE` (names with commas between them, of
/// which the n-th rank of a host takes the n-th), `ONEPATH_VERBS_LANES`, `ONEPATH_VERBS_LABELS`
/// (flow labels with commas, one for each lane), `ONEPATH_VERBS_GID_INDEX`,
/// `ONEPATH_VERBS_TRAFFIC_CLASS`, `ONEPATH_VERBS_SPREAD` (`split`, `ecmp` or `spray`),
/// `ONEPATH_VERBS_ACK_TIMEOUT` (see [`VerbsOptions`]).
#[derive(Clone, Debug, Default)]
pub struct Builder {
    rank: Option<Rank>,
    world: Option<WorldSize>,
    rendezvous: Option<HostPort>,
    hosted_elsewhere: bool,
    transport: Option<TransportKind>,
    subflows: Option<u16>,
    pinning: Option<Pinning>,
    spray: SprayOptions,
    entropy: Option<EntropyChoice>,
    verbs: Option<VerbsOptions>,
    waiting: Option<Waiting>,
    algorithm: Option<Algorithm>,
    tuning: Option<TuningSource>,
    secret: Option<JobSecret>,
    insecure: bool,
    interfaces: Option<InterfaceChoice>,
    silence: Option<Duration>,
    operation_timeout: Option<Duration>,
    late_warning: Option<Duration>,
    flight_records: Option<PathBuf>,
    join_timeout: Option<Duration>,
}

impl Builder {
    /// Nothing said yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Rank, world size and rendezvous as a launcher set them (torchrun, mpirun, Slurm, our own).
    pub fn from_environment() -> Result<Self, BuildError> {
        Ok(Self::new().launch(Launch::from_environment(&process_environment)?))
    }

    /// Rank, world size and rendezvous from a TOML file.
    pub fn from_file(path: &Path) -> Result<Self, BuildError> {
        Ok(Self::new().launch(Launch::from_file(path, &process_environment)?))
    }

    fn launch(mut self, launch: Launch) -> Self {
        self.rank = Some(launch.rank);
        self.world = Some(launch.world_size);
        self.rendezvous = launch.rendezvous;
        self
    }

    /// This rank's number.
    #[must_use]
    pub fn rank(mut self, rank: Rank) -> Self {
        self.rank = Some(rank);
        self
    }

    /// How many ranks there are.
    #[must_use]
    pub fn world_size(mut self, world: WorldSize) -> Self {
        self.world = Some(world);
        self
    }

    /// Where the ranks meet, `host:port`; rank 0 listens there.
    pub fn rendezvous(mut self, address: &str) -> Result<Self, BuildError> {
        self.rendezvous =
            Some(HostPort::parse(address, crate::bootstrap::host_port::DEFAULT_PORT)?);
        Ok(self)
    }

    /// The rendezvous store runs in another process (a launcher's), rank 0 does not listen.
    #[must_use]
    pub fn hosted_elsewhere(mut self) -> Self {
        self.hosted_elsewhere = true;
        self
    }

    /// How bytes travel.
    #[must_use]
    pub fn transport(mut self, transport: TransportKind) -> Self {
        self.transport = Some(transport);
        self
    }

    /// TCP connections to each peer, 1 to 16; by default 2 to other hosts and 1 inside a host.
    #[must_use]
    pub fn subflows(mut self, subflows: u16) -> Self {
        self.subflows = Some(subflows);
        self
    }

    /// Pins TCP connections to paths, with failover, in place of [`subflows`](Self::subflows); on
    /// all ranks or on none. A call is then complete when the receivers have placed what it sent
    /// (short messages, when it was copied): a rank that sends waits for a rank that receives.
    #[must_use]
    pub fn pinning(mut self, pinning: Pinning) -> Self {
        self.pinning = Some(pinning);
        self
    }

    /// How [`TransportKind::Spray`] works; on all ranks with the same
    /// [`early_bytes`](SprayOptions::early_bytes). With [`pinning`](Self::pinning), datagrams take
    /// the paths that it finds, to the address where a peer receives them: subflows one path each
    /// ([`EntropyChoice::PerSubflow`]), others as many ports on each path.
    #[must_use]
    pub fn spray(mut self, options: SprayOptions) -> Self {
        self.spray = options;
        self
    }

    /// Which source port each datagram takes, whatever [`spray`](Self::spray) says.
    #[must_use]
    pub fn entropy(mut self, entropy: EntropyChoice) -> Self {
        self.entropy = Some(entropy);
        self
    }

    /// How [`TransportKind::Verbs`] works, in place of what the environment says; on all ranks with
    /// the same spread policy, lanes and slots. With [`pinning`](Self::pinning), flow labels are
    /// those of the UDP source ports that it finds for the peers' addresses and RoCE's port, as
    /// [`RocePaths`](super::RocePaths) does; with the spread policy ECMP labels stay random.
    #[must_use]
    pub fn verbs(mut self, options: VerbsOptions) -> Self {
        self.verbs = Some(options);
        self
    }

    /// What this rank does with its processor while it waits for others.
    #[must_use]
    pub fn waiting(mut self, waiting: Waiting) -> Self {
        self.waiting = Some(waiting);
        self
    }

    /// One algorithm for every call that it fits; otherwise the cost table chooses.
    #[must_use]
    pub fn algorithm(mut self, algorithm: Option<Algorithm>) -> Self {
        self.algorithm = algorithm;
        self
    }

    /// Where the cost table comes from.
    #[must_use]
    pub fn tuning(mut self, tuning: TuningSource) -> Self {
        self.tuning = Some(tuning);
        self
    }

    /// The job's secret.
    #[must_use]
    pub fn secret(mut self, secret: JobSecret) -> Self {
        self.secret = Some(secret);
        self
    }

    /// Accepts peers beyond loopback without a secret.
    #[must_use]
    pub fn insecure(mut self, insecure: bool) -> Self {
        self.insecure = insecure;
        self
    }

    /// Which interfaces peers are told to connect to.
    #[must_use]
    pub fn interfaces(mut self, interfaces: InterfaceChoice) -> Self {
        self.interfaces = Some(interfaces);
        self
    }

    /// A rank that is not heard of for this long is dead (default 10 s).
    #[must_use]
    pub fn silence(mut self, silence: Duration) -> Self {
        self.silence = Some(silence);
        self
    }

    /// A call that takes longer than this fails (default 10 min).
    #[must_use]
    pub fn operation_timeout(mut self, timeout: Duration) -> Self {
        self.operation_timeout = Some(timeout);
        self
    }

    /// A call that takes longer than this is warned of on standard error (default 10 s).
    #[must_use]
    pub fn late_warning(mut self, after: Duration) -> Self {
        self.late_warning = Some(after);
        self
    }

    /// A folder that gets a file with the last operations of each rank whose communicator fails
    /// (default: `ONEPATH_FLIGHT_RECORDS`, else none). [`Communicator::flight_record`] has the
    /// text.
    #[must_use]
    pub fn flight_records(mut self, folder: PathBuf) -> Self {
        self.flight_records = Some(folder);
        self
    }

    /// How long the other ranks may take to join (default 60 s).
    #[must_use]
    pub fn join_timeout(mut self, timeout: Duration) -> Self {
        self.join_timeout = Some(timeout);
        self
    }

    /// Meets the other ranks and connects to them. Blocks until all are there.
    pub fn build(self) -> Result<Communicator, BuildError> {
        let options = self.resolve()?;
        join::world(options)
    }

    fn resolve(self) -> Result<Options, BuildError> {
        let lookup = &process_environment;
        Isa::from_environment()?;
        let rank = self.rank.ok_or(BuildError::Missing { what: "rank" })?;
        let world = self.world.ok_or(BuildError::Missing { what: "world size" })?;
        if !world.contains(rank) {
            return Err(BuildError::RankOutOfRange { rank, world });
        }
        let said = said_or(self.subflows, "ONEPATH_SUBFLOWS")?;
        let subflows = said.unwrap_or(FAR_SUBFLOWS);
        if !(1..=MAX_SUBFLOWS).contains(&usize::from(subflows)) {
            return Err(BuildError::Subflows { subflows });
        }
        self.pinning.as_ref().map_or(Ok(()), Pinning::check)?;
        let entropy = said_or(self.entropy, "ONEPATH_ENTROPY")?;
        let operation_timeout = self.operation_timeout.unwrap_or(Duration::from_mins(10));
        let spray = SprayOptions {
            entropy: entropy.unwrap_or(self.spray.entropy),
            // A rank that computes for as long as calls may take is not dead for that.
            give_up_after: self.spray.give_up_after.max(operation_timeout.into()),
            ..self.spray
        };
        spray.check()?;
        let verbs = self.verbs.map_or_else(options_from_environment, Ok)?;
        verbs.check()?;
        let trust = match self.secret {
            Some(secret) => Trust::Secret(secret),
            None => Trust::from_environment(lookup, self.insecure)?,
        };
        let interfaces = match self.interfaces {
            Some(interfaces) => interfaces,
            None => InterfaceChoice::from_environment(lookup)?,
        };
        Ok(Options {
            rank,
            world,
            rendezvous: self.rendezvous,
            hosted_elsewhere: self.hosted_elsewhere,
            transport: said_or(self.transport, "ONEPATH_TRANSPORT")?.unwrap_or_default(),
            subflows,
            near_subflows: said.unwrap_or(NEAR_SUBFLOWS),
            pinning: self.pinning,
            spray,
            verbs,
            waiting: said_or(self.waiting, "ONEPATH_WAITING")?.unwrap_or_default(),
            algorithm: said_or(self.algorithm, "ONEPATH_ALGORITHM")?,
            tuning: self.tuning.unwrap_or_else(tuning_from_environment),
            trust,
            interfaces,
            silence: self.silence.unwrap_or(Duration::from_secs(10)),
            operation_timeout,
            flight_records: said_or(self.flight_records, "ONEPATH_FLIGHT_RECORDS")?,
            late_warning: self.late_warning.unwrap_or(Duration::from_secs(10)),
            join_timeout: self.join_timeout.unwrap_or(Duration::from_mins(1)),
        })
    }
}

/// What was said in code, else what a variable of the environment says.
fn said_or<T: FromStr>(said: Option<T>, name: &'static str) -> Result<Option<T>, BuildError>
where
    T::Err: std::fmt::Display,
{
    if said.is_some() { Ok(said) } else { variable(name) }
}

pub(super) fn variable<T: FromStr>(name: &'static str) -> Result<Option<T>, BuildError>
where
    T::Err: std::fmt::Display,
{
    let Some(value) = process_environment(name).filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    match value.parse() {
        Ok(parsed) => Ok(Some(parsed)),
        Err(problem) => {
            Err(BuildError::Variable { name, value, problem: T::Err::to_string(&problem) })
        }
    }
}

fn tuning_from_environment() -> TuningSource {
    match process_environment("ONEPATH_TUNING").as_deref() {
        None | Some("" | "measure") => TuningSource::Measure,
        Some("model") => TuningSource::Model,
        Some(path) => TuningSource::File(path.into()),
    }
}
