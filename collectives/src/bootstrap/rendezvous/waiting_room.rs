//! A bounded number of connections that have not said who they are.
//!
//! When all seats are taken, the one that has been silent for longest has to go, but not before
//! it had a fair time: strangers that say nothing can slow a job's start, never stop it.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Time for a seat to become free by itself; an honest handshake takes two round trips.
const FAIR_TIME: Duration = Duration::from_millis(250);

/// The right to be among those that authenticate; free again when the last clone is dropped.
pub(super) type Seat = Arc<Chair>;

#[derive(Debug)]
pub(super) struct Chair {
    _permit: OwnedSemaphorePermit,
    evicted: Notify,
}

impl Chair {
    /// Ends when whoever sits here has to go.
    pub(super) async fn evicted(&self) {
        self.evicted.notified().await;
    }
}

#[derive(Debug)]
pub(super) struct WaitingRoom {
    free: Arc<Semaphore>,
    /// In the order of their coming.
    seated: VecDeque<Weak<Chair>>,
}

impl WaitingRoom {
    pub(super) fn new(seats: usize) -> Self {
        let seats = seats.clamp(1, Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(seats)), seated: VecDeque::new() }
    }

    /// A seat; somebody may have to go for it.
    pub(super) async fn take_seat(&mut self) -> Seat {
        self.seated.retain(|chair| chair.strong_count() > 0);
        loop {
            let free = Arc::clone(&self.free).acquire_owned();
            if let Ok(permit) = timeout(FAIR_TIME, free).await {
                let permit = permit.expect("this semaphore is never closed");
                let seat = Arc::new(Chair { _permit: permit, evicted: Notify::new() });
                self.seated.push_back(Arc::downgrade(&seat));
                return seat;
            }
            if let Some(oldest) = self.seated.pop_front().and_then(|chair| chair.upgrade()) {
                oldest.evicted.notify_one();
            }
        }
    }
}
