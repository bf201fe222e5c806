//! The handle by which the data path of a communicator talks to the control plane.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crossbeam::channel::{RecvTimeoutError, Sender, bounded};
use onepath_topology::{Rank, WorldSize};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::endpoint::Endpoint;
use super::failure::{DeathCause, Departure, Failure};
use super::progress::{PeerProgress, Progress};
use super::reason::AbortReason;
use super::status::Status;

/// A time-out beyond this is this: sums with the present must stay representable.
pub(super) const FOR_EVER: Duration = Duration::from_hours(100 * 365 * 24);

/// How much longer than its deadline an answer of the control thread is waited for.
const ANSWER_SLACK: Duration = Duration::from_secs(5);

/// What a handle asks the driver for.
#[derive(Debug)]
pub(super) enum Command {
    Suspect(Rank),
    Abort(AbortReason),
    Leave,
    Agree(AgreeRequest),
}

/// A caller that waits for an agreement.
#[derive(Debug)]
pub(super) struct AgreeRequest {
    pub(super) limit: Duration,
    pub(super) deadline: Instant,
    pub(super) answer: Sender<Result<Survivors, AgreeError>>,
}

/// Who goes on after failures; the same on each of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survivors {
    /// Number of this agreement in its session, from 1.
    pub epoch: u32,
    /// The survivors by their ranks in the old session, ascending.
    pub ranks: Vec<Rank>,
    /// A number for the session in which they go on, different for each agreement.
    pub session: u128,
}

impl Survivors {
    pub(super) fn new(old_session: u128, epoch: u32, ranks: Vec<Rank>) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"onepath shrink");
        hash.update(old_session.to_le_bytes());
        hash.update(epoch.to_le_bytes());
        for rank in &ranks {
            hash.update(rank.number().to_le_bytes());
        }
        let mut half = [0; 16];
        half.copy_from_slice(&hash.finalize()[..16]);
        Self { epoch, ranks, session: u128::from_le_bytes(half) }
    }
}

/// Why there is no agreement on the survivors.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AgreeError {
    /// The others go on without this rank.
    #[error("the other ranks go on without this one")]
    Excluded,
    /// Ranks that are alive did not take part. Calling again goes on with the same agreement.
    #[error("no agreement on the survivors within {after:?}: {} not asked for it", named(.ranks))]
    Unanswered {
        /// Those that were waited for; empty when all have answered and are only late to decide.
        ranks: Vec<Rank>,
        /// How long they were waited for.
        after: Duration,
    },
    /// This rank has left the session, or the control thread has ended.
    #[error("this rank takes no part in the session any more")]
    Stopped,
}

/// "ranks 1, 2 have", for a sentence.
pub(super) fn named(ranks: &[Rank]) -> String {
    if ranks.is_empty() {
        return "some ranks have".to_owned();
    }
    let mut text = String::from(if ranks.len() == 1 { "rank" } else { "ranks" });
    for (position, rank) in ranks.iter().enumerate() {
        // Writing to a String cannot fail.
        let _ = write!(text, "{} {rank}", if position == 0 { "" } else { "," });
    }
    text.push_str(if ranks.len() == 1 { " has" } else { " have" });
    text
}

#[derive(Debug)]
struct Inner {
    session: u128,
    me: Rank,
    world: WorldSize,
    status: Arc<Status>,
    suspected: Vec<AtomicBool>,
    aborted: AtomicBool,
    agreeing: Mutex<()>,
    /// Dropped before the endpoint, so that the driver says goodbye before that ends.
    commands: mpsc::Sender<Command>,
    _endpoint: Endpoint,
}

/// A handle on the control plane of one session. Dropping the last clone says goodbye.
#[derive(Clone, Debug)]
pub struct Control(Arc<Inner>);

impl Control {
    /// Commands that can be under way at once: each rank is suspected once, the rest is one each.
    pub(super) const fn command_capacity(world: WorldSize) -> usize {
        world.get() + 8
    }

    pub(super) fn new(
        session: u128,
        me: Rank,
        world: WorldSize,
        status: Arc<Status>,
        commands: mpsc::Sender<Command>,
        endpoint: Endpoint,
    ) -> Self {
        let suspected = world.ranks().map(|_| AtomicBool::new(false)).collect();
        Self(Arc::new(Inner {
            session,
            me,
            world,
            status,
            suspected,
            aborted: AtomicBool::new(false),
            agreeing: Mutex::new(()),
            commands,
            _endpoint: endpoint,
        }))
    }

    /// The session's number.
    pub fn session(&self) -> u128 {
        self.0.session
    }

    /// This rank.
    pub fn me(&self) -> Rank {
        self.0.me
    }

    /// How many ranks the session was opened with.
    pub fn world(&self) -> WorldSize {
        self.0.world
    }

    /// Whether the session has failed: one atomic load, for the data path's loop.
    #[inline]
    pub fn failure_flag(&self) -> bool {
        self.0.status.has_failed()
    }

    /// How many ranks have left in good order: one atomic load. An operation that needs a rank
    /// looks at [`Self::departed`] when this changes.
    #[inline]
    pub fn departures(&self) -> usize {
        self.0.status.departures()
    }

    /// The first failure of the session.
    pub fn failure(&self) -> Option<Failure> {
        self.0.status.failure()
    }

    /// All ranks that are dead, ascending.
    pub fn failed_ranks(&self) -> Vec<Rank> {
        self.0.status.dead()
    }

    /// How it was found that `rank` is dead, if it is.
    pub fn death(&self, rank: Rank) -> Option<DeathCause> {
        self.0.status.death(rank)
    }

    /// How `rank` left, if it did. An operation that still needs it fails, and names the dead rank
    /// of the reason where there is one.
    pub fn departed(&self, rank: Rank) -> Option<Departure> {
        self.0.status.departed(rank)
    }

    /// Tells the peers, with the next heartbeat, how far this rank is. Without locks; by one thread
    /// at a time.
    #[inline]
    pub fn publish(&self, progress: Progress) {
        self.0.status.own_progress.write(progress);
    }

    /// What `rank` said last; nothing before its first heartbeat.
    pub fn progress(&self, rank: Rank) -> Option<PeerProgress> {
        self.0.status.progress(rank)
    }

    /// The data path saw a connection of `rank` close: unless the rank explains itself within a
    /// second by a goodbye, it is dead. Repeating this costs nothing.
    pub fn report_suspect(&self, rank: Rank) {
        let Some(suspected) = self.0.suspected.get(rank.index()) else {
            return;
        };
        if !suspected.swap(true, Ordering::Relaxed) {
            self.command(Command::Suspect(rank));
        }
    }

    /// Fails the session on every rank, and tells them why. Only the first call counts.
    pub fn abort(&self, reason: AbortReason) {
        if !self.0.aborted.swap(true, Ordering::Relaxed) {
            // At once here; the driver tells the others.
            self.0.status.fail(Failure::Aborted { by: self.0.me, reason: reason.clone() });
            self.command(Command::Abort(reason));
        }
    }

    /// Leaves the session in good order, with its failure as the reason if there is one. The other
    /// ranks' deaths are not noticed any more.
    pub fn goodbye(&self) {
        self.command(Command::Leave);
    }

    /// Agrees with all other survivors on who they are. Blocks until each of them has called this
    /// too, at most for `deadline`. May be called again after further deaths, for the next epoch.
    ///
    /// Not to be called on a thread that runs asynchronous tasks.
    pub fn agree(&self, deadline: Duration) -> Result<Survivors, AgreeError> {
        let _one = self.0.agreeing.lock().unwrap_or_else(PoisonError::into_inner);
        let (answer, answered) = bounded(1);
        let until = Instant::now() + deadline.min(FOR_EVER);
        let request = AgreeRequest { limit: deadline, deadline: until, answer };
        if self.0.commands.try_send(Command::Agree(request)).is_err() {
            return Err(self.ended());
        }
        match answered.recv_timeout(deadline.saturating_add(ANSWER_SLACK)) {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => Err(self.ended()),
        }
    }

    fn ended(&self) -> AgreeError {
        if self.0.status.is_excluded() { AgreeError::Excluded } else { AgreeError::Stopped }
    }

    fn command(&self, command: Command) {
        // Full is impossible for the commands that are sent once; a repeated goodbye may be lost.
        // A driver that has ended needs no commands.
        let _ = self.0.commands.try_send(command);
    }
}
