//! Calls on memory that belongs to the call while it is in flight.
//!
//! A [`Scope`](super::Scope) borrows its buffers, so calls cannot outlast the function that started
//! them. An executor that works through a list of actions starts a call in one step and waits for
//! it in another; its buffers are [`Owned`], which keeps them apart from the caller meanwhile.

use std::ptr::NonNull;
use std::slice;

use onepath_topology::Rank;

use crate::engine::{Idle, Request, Ticket};
use crate::error::CollectiveError;
use crate::types::ReduceOp;

use super::Communicator;

/// What uses the memory.
#[derive(Clone, Copy, Debug)]
struct Flight {
    ticket: Ticket,
    /// Of the communicator.
    identity: u64,
    /// Whether the call only reads.
    reads: bool,
}

/// Memory of a fixed length that the caller may use when no call does.
#[derive(Debug)]
pub(crate) struct Owned {
    start: NonNull<f32>,
    length: usize,
    flight: Option<Flight>,
}

// SAFETY: it is the only owner of plain memory, as a boxed slice is.
unsafe impl Send for Owned {}

impl Owned {
    /// So many zeros.
    pub(crate) fn zeros(length: usize) -> Self {
        let memory = Box::into_raw(vec![0.0_f32; length].into_boxed_slice());
        let start = NonNull::new(memory.cast::<f32>()).expect("a box is somewhere");
        Self { start, length, flight: None }
    }

    /// Whether a call uses it.
    pub(crate) fn is_in_flight(&self) -> bool {
        self.flight.is_some()
    }

    /// What is in it; a call may be reading, but not writing.
    ///
    /// # Panics
    /// While a call writes to it.
    pub(crate) fn read(&self) -> &[f32] {
        assert!(self.flight.is_none_or(|flight| flight.reads), "a call writes to this memory");
        // SAFETY: `start` and `length` are those of the box; no call writes to it, and `&self`
        // keeps one from being started.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }

    /// What is in it, to be changed.
    ///
    /// # Panics
    /// While a call uses it.
    pub(crate) fn write(&mut self) -> &mut [f32] {
        assert!(self.flight.is_none(), "a call uses this memory");
        // SAFETY: as in `read`; no call uses it, and `&mut self` keeps everybody else away.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.length) }
    }

    /// Sends it to a peer.
    pub(crate) fn send(&mut self, over: &Communicator, to: Rank) -> Result<(), CollectiveError> {
        assert!(self.flight.is_none(), "a call uses this memory");
        let request = over.send_request(self.read(), to)?;
        self.start(over, &request, true)
    }

    /// Receives it from a peer.
    pub(crate) fn receive(
        &mut self,
        over: &Communicator,
        from: Rank,
    ) -> Result<(), CollectiveError> {
        let request = over.recv_request(self.write(), from)?;
        self.start(over, &request, false)
    }

    /// Sums it over all ranks; this rank's part is right afterwards.
    pub(crate) fn reduce_scatter(&mut self, over: &Communicator) -> Result<(), CollectiveError> {
        let request = over.reduce_scatter_in_place_request(self.write(), ReduceOp::Sum)?;
        self.start(over, &request, false)
    }

    /// Spreads this rank's part, and gets those of the others.
    pub(crate) fn all_gather(&mut self, over: &Communicator) -> Result<(), CollectiveError> {
        let request = over.all_gather_in_place_request(self.write())?;
        self.start(over, &request, false)
    }

    /// Starts the call of `request`, which was made from this memory.
    fn start(
        &mut self,
        over: &Communicator,
        request: &Request,
        reads: bool,
    ) -> Result<(), CollectiveError> {
        let mut engine = over.engine.borrow_mut();
        // SAFETY: the request was made from this memory while no call used it. It is freed by
        // `drop` alone, which leaves it when a call is in flight, and nobody else reaches it before
        // `settle`, which is after the call's end or the communicator's; a call that reads shares
        // it with readers.
        let ticket = unsafe { engine.start(request)? };
        self.flight = Some(Flight { ticket, identity: over.identity, reads });
        engine.step()
    }

    /// Whether the call has ended, so far as is known without looking.
    fn has_ended(&self, over: &Communicator) -> bool {
        let Some(flight) = self.flight else { return true };
        assert_eq!(flight.identity, over.identity, "the communicator that started the call");
        over.engine.borrow().is_complete(&flight.ticket)
    }

    /// Gives the memory back when its call has ended; whether it is back.
    ///
    /// An error has ended the communicator, which then touches no memory any more.
    pub(crate) fn settle(&mut self, over: &Communicator) -> Result<bool, CollectiveError> {
        if !self.has_ended(over) {
            return Ok(false);
        }
        if let Some(flight) = self.flight.take() {
            over.engine.borrow_mut().finish(&flight.ticket)?;
        }
        Ok(true)
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        if self.flight.is_some() {
            // A call may still write here: the memory stays until the process ends.
            return;
        }
        let memory = std::ptr::slice_from_raw_parts_mut(self.start.as_ptr(), self.length);
        // SAFETY: made by `Box::into_raw` in `zeros`, used by nobody, and dropped once.
        drop(unsafe { Box::from_raw(memory) });
    }
}

impl Communicator {
    /// A step of calls in flight: whether anything moved.
    pub(crate) fn advance(&self) -> Result<bool, CollectiveError> {
        let mut engine = self.engine.borrow_mut();
        Ok(engine.progress()? == onepath_transport::Activity::Moved)
    }

    /// A step for a caller that computes in between, see [`super::Scope::progress`].
    pub(crate) fn advance_beside(&self) -> Result<(), CollectiveError> {
        self.progress()
    }

    /// How this rank waits.
    pub(crate) fn idle(&self) -> Idle {
        Idle::new(self.engine.borrow().config().idle)
    }

    /// Looks for failures, then sleeps until something arrives, at most for `limit`.
    pub(crate) fn rest(&self, limit: std::time::Duration) -> Result<(), CollectiveError> {
        self.engine.borrow_mut().rest(limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_comes_back_with_the_result_of_its_call() {
        let communicator = Communicator::alone();
        let mut memory = Owned::zeros(5);
        memory.write().fill(2.0);
        memory.reduce_scatter(&communicator).expect("one rank");
        assert!(memory.is_in_flight());
        assert_eq!(memory.settle(&communicator), Ok(true));
        assert_eq!(memory.read(), [2.0; 5]);
    }

    /// Memory in flight is leaked when it is dropped, so it is settled after the panic.
    #[test]
    fn memory_in_flight_cannot_be_written() {
        let communicator = Communicator::alone();
        let mut memory = Owned::zeros(1);
        memory.all_gather(&communicator).expect("one rank");
        let written = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            memory.write();
        }));
        assert!(written.is_err());
        assert_eq!(memory.settle(&communicator), Ok(true));
    }

    #[test]
    fn another_communicator_does_not_give_it_back() {
        let communicator = Communicator::alone();
        let mut memory = Owned::zeros(1);
        memory.all_gather(&communicator).expect("one rank");
        let settled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _ = memory.settle(&Communicator::alone());
        }));
        assert!(settled.is_err());
        assert_eq!(memory.settle(&communicator), Ok(true));
    }
}
