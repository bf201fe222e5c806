//! One transport or the other, by peer: shared memory inside a host, TCP between hosts.

use std::time::Duration;

use crate::flow::{FlowTable, Slot};
use crate::local::LocalTransport;
use crate::plan::Plan;
use crate::tcp::TcpTransport;
use crate::tcp::pinned::PinnedTransport;
use crate::{Activity, Transport, TransportError};

/// The first sleep when both transports may bring something.
const FIRST_NAP: Duration = Duration::from_micros(20);
/// The longest such sleep.
const LONGEST_NAP: Duration = Duration::from_millis(1);

/// Subflows that take any path, or pinned ones.
#[derive(Debug)]
pub enum Tcp {
    /// Any chunk on any subflow.
    Plain(TcpTransport),
    /// Subflows pinned to paths.
    Pinned(Box<PinnedTransport>),
}

impl Tcp {
    fn is_waiting(&self, table: &FlowTable) -> bool {
        match self {
            Self::Plain(tcp) => tcp.is_waiting(table),
            Self::Pinned(tcp) => tcp.is_waiting(table),
        }
    }

    fn transport(&mut self) -> &mut dyn Transport {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Pinned(tcp) => tcp.as_mut(),
        }
    }
}

impl From<TcpTransport> for Tcp {
    fn from(tcp: TcpTransport) -> Self {
        Self::Plain(tcp)
    }
}

impl From<PinnedTransport> for Tcp {
    fn from(tcp: PinnedTransport) -> Self {
        Self::Pinned(Box::new(tcp))
    }
}

/// Carries each flow by the transport that serves its peer. At most one of the two serves a peer.
#[derive(Debug)]
pub struct Router {
    local: Option<LocalTransport>,
    tcp: Option<Tcp>,
    /// How long the next sleep is when both are waited for.
    nap: Duration,
    /// What the last poll did, or a post since.
    last: Activity,
}

impl Router {
    /// A transport over either or both.
    pub fn new(local: Option<LocalTransport>, tcp: Option<Tcp>) -> Self {
        Self { local, tcp, nap: FIRST_NAP, last: Activity::Idle }
    }
}

impl crate::sealed::Sealed for Router {}

impl Transport for Router {
    fn assign(&mut self, plan: &mut Plan, chunk_bytes: usize) {
        if let Some(tcp) = &mut self.tcp {
            tcp.transport().assign(plan, chunk_bytes);
        }
    }

    fn post(&mut self, table: &FlowTable, slot: Slot) {
        if let Some(local) = &mut self.local {
            local.post(table, slot);
        }
        if let Some(tcp) = &mut self.tcp {
            tcp.transport().post(table, slot);
        }
        self.last = Activity::Moved;
    }

    fn poll(&mut self, table: &mut FlowTable) -> Result<Activity, TransportError> {
        let mut activity = Activity::Idle;
        if let Some(local) = &mut self.local {
            activity = local.poll(table)?;
        }
        if let Some(tcp) = &mut self.tcp {
            activity = activity.or(tcp.transport().poll(table)?);
        }
        if activity == Activity::Moved {
            self.nap = FIRST_NAP;
        }
        self.last = activity;
        Ok(activity)
    }

    /// With something under way over one transport only, sleeps as that one does. With both, there
    /// is no one thing to sleep on (a doorbell is a futex, sockets are descriptors), so it sleeps
    /// on the doorbell for 20 microseconds, the next time twice as long, up to 1 ms, until a poll
    /// moves something: bytes from a local peer are noticed at once, those from a socket at most
    /// 1 ms late.
    fn wait(&mut self, table: &FlowTable, limit: Duration) {
        // What moved over one transport may have opened a gate of the other.
        if self.last == Activity::Moved {
            return;
        }
        match (&mut self.local, &mut self.tcp) {
            (Some(local), Some(tcp)) => {
                if !tcp.is_waiting(table) {
                    local.wait(table, limit);
                } else if local.is_waiting(table) {
                    local.wait(table, limit.min(self.nap));
                    self.nap = LONGEST_NAP.min(2 * self.nap);
                } else {
                    tcp.transport().wait(table, limit);
                }
            }
            (Some(local), None) => local.wait(table, limit),
            (None, Some(tcp)) => tcp.transport().wait(table, limit),
            // Nobody to hear from: a world of one rank.
            (None, None) => std::thread::sleep(limit),
        }
    }

    fn cancel(&mut self) {
        if let Some(local) = &mut self.local {
            local.cancel();
        }
        if let Some(tcp) = &mut self.tcp {
            tcp.transport().cancel();
        }
    }
}
