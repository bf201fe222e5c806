//! A bounded number of connections that have not said who they are.
//!
//! When all seats are taken, the one that has been silent for longest has to go, but not before
//! it had a fair time: strangers that say nothing can slow a job's start, never stop it.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;
use tokio::time::timeout;

/// Time for a seat to become free by itself; an honest handshake takes two round trips.
const FAIR_TIME: Duration = Duration::from_millis(250);

/// The right to be among those that authenticate; free again when the last clone is dropped.
pub(super) type Seat = Arc<OwnedSemaphorePermit>;

#[derive(Debug)]
pub(super) struct WaitingRoom {
    seats: Arc<Semaphore>,
    /// In the order of their coming; those who have gone are removed from the front.
    seated: VecDeque<(Weak<OwnedSemaphorePermit>, AbortHandle)>,
}

impl WaitingRoom {
    pub(super) fn new(seats: usize) -> Self {
        let seats = seats.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            seats: Arc::new(Semaphore::new(seats)),
            seated: VecDeque::new(),
        }
    }

    /// A seat, and whether somebody had to go for it.
    pub(super) async fn take_seat(&mut self) -> (Seat, bool) {
        let mut evicted = false;
        loop {
            self.seated.retain(|(seat, _)| seat.strong_count() > 0);
            let free = Arc::clone(&self.seats).acquire_owned();
            match timeout(FAIR_TIME, free).await {
                Ok(permit) => {
                    let permit = permit.expect("this semaphore is never closed");
                    return (Arc::new(permit), evicted);
                }
                Err(_) => {
                    if let Some((_, oldest)) = self.seated.pop_front() {
                        oldest.abort();
                        evicted = true;
                    }
                }
            }
        }
    }

    /// `task` authenticates the connection that has `seat`.
    pub(super) fn seated(&mut self, seat: &Seat, task: AbortHandle) {
        self.seated.push_back((Arc::downgrade(seat), task));
    }
}
