//! What the tasks of an endpoint share.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Semaphore;

use super::accept::Pending;
use super::event::{Event, EventStream};
use super::waiting::WaitingRoom;
use crate::bootstrap::secret::Trust;
use crate::bootstrap::{Counters, Rejection};

/// Connections that an endpoint tries to make at once; the others wait for their turn. No more
/// than the other side keeps in its handshakes.
const MAX_DIALS: usize = 32;

/// What the tasks of an endpoint share. They never hold the endpoint itself, whose last owner waits
/// for them.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) trust: Arc<Trust>,
    pub(super) counters: Arc<Counters>,
    pub(super) events: EventStream,
    pub(super) pending: Mutex<Pending>,
    pub(super) dials: Semaphore,
    waiting: Mutex<WaitingRoom>,
}

impl Shared {
    pub(super) fn new(trust: Arc<Trust>) -> Self {
        Self {
            trust,
            counters: Arc::default(),
            events: EventStream::new(),
            pending: Mutex::default(),
            dials: Semaphore::new(MAX_DIALS),
            waiting: Mutex::default(),
        }
    }

    pub(super) fn waiting(&self) -> MutexGuard<'_, WaitingRoom> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn emit(&self, event: Event) {
        self.events.emit(event, &self.counters);
    }

    /// Counts and reports a connection that was turned away.
    pub(super) fn reject(&self, from: SocketAddr, reason: Rejection) {
        Counters::count(self.counters.rejected(reason));
        self.emit(Event::ConnectionRejected { from, reason });
    }
}
