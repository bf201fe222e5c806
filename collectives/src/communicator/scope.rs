//! Several calls in flight: handles inside a scope.
//!
//! A handle that is forgotten must not leave the engine with pointers into memory that its owner
//! uses again. As with `std::thread::scope`, the scope itself waits for everything started in it,
//! whatever became of the handles.

use std::marker::PhantomData;

use onepath_topology::Rank;

use crate::engine::{Request, Ticket};
use crate::error::CollectiveError;
use crate::types::{Element, ReduceOp};

use super::Communicator;

/// Starts calls that run while the caller does something else. Made by [`Communicator::scope`].
#[derive(Debug)]
pub struct Scope<'scope, 'env: 'scope> {
    communicator: &'scope Communicator,
    /// Invariant in both lifetimes, so that neither can be shortened to let a buffer go early.
    lifetimes: PhantomData<(&'scope mut &'scope (), &'env mut &'env ())>,
}

/// A call in flight that returns `B`, its output buffer, when it is waited for.
#[derive(Debug)]
#[must_use = "the result is there only after `wait`; the scope's end waits too"]
pub struct Handle<'scope, B> {
    communicator: &'scope Communicator,
    ticket: Ticket,
    buffer: B,
}

impl<B> Handle<'_, B> {
    /// Waits for the call and gives the buffer back.
    pub fn wait(self) -> Result<B, CollectiveError> {
        self.communicator.finish(&self.ticket)?;
        Ok(self.buffer)
    }

    /// Moves the calls in flight a step further; whether this one has ended. `wait` then returns
    /// at once.
    pub fn test(&self) -> Result<bool, CollectiveError> {
        self.communicator.test(&self.ticket)
    }
}

/// Waits for all calls at the end of a scope, also when its body panics.
struct Finish<'a>(&'a Communicator);

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.abandon();
        }
    }
}

impl Communicator {
    /// Runs `body`, which may start calls on buffers that outlive the scope, and waits for all of
    /// them before it returns. The error of a call that was not waited for is returned here.
    ///
    /// ```
    /// use onepath_collectives::{Communicator, ReduceOp};
    ///
    /// let communicator = Communicator::alone();
    /// let (mut a, mut b) = ([1.0_f32; 4], [2.0_f32; 8]);
    /// communicator.scope(|scope| {
    ///     let first = scope.all_reduce(&mut a, ReduceOp::Sum)?;
    ///     let second = scope.all_reduce(&mut b, ReduceOp::Sum)?;
    ///     first.wait()?;
    ///     second.wait()?;
    ///     Ok(())
    /// })?;
    /// # Ok::<(), onepath_collectives::CollectiveError>(())
    /// ```
    pub fn scope<'env, R>(
        &'env self,
        body: impl for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> Result<R, CollectiveError>,
    ) -> Result<R, CollectiveError> {
        let guard = Finish(self);
        let scope = Scope { communicator: self, lifetimes: PhantomData };
        let result = body(&scope);
        let finished = self.finish_all();
        drop(guard);
        result.and_then(|value| finished.map(|()| value))
    }
}

impl<'scope, 'env> Scope<'scope, 'env> {
    fn start<B>(
        &'scope self,
        request: &Request,
        buffer: B,
    ) -> Result<Handle<'scope, B>, CollectiveError> {
        let ticket = self.communicator.start(request)?;
        Ok(Handle { communicator: self.communicator, ticket, buffer })
    }

    /// Moves the calls in flight a step further.
    pub fn progress(&self) -> Result<(), CollectiveError> {
        self.communicator.progress()
    }

    /// [`Communicator::all_reduce`] in flight.
    pub fn all_reduce<T: Element>(
        &'scope self,
        buffer: &'env mut [T],
        op: ReduceOp,
    ) -> Result<Handle<'scope, &'env mut [T]>, CollectiveError> {
        self.start(&Communicator::all_reduce_request(buffer, op), buffer)
    }

    /// [`Communicator::all_reduce_into`] in flight.
    pub fn all_reduce_into<T: Element>(
        &'scope self,
        input: &'env [T],
        output: &'env mut [T],
        op: ReduceOp,
    ) -> Result<Handle<'scope, &'env mut [T]>, CollectiveError> {
        self.start(&Communicator::all_reduce_into_request(input, output, op)?, output)
    }

    /// [`Communicator::reduce_scatter`] in flight.
    pub fn reduce_scatter<T: Element>(
        &'scope self,
        input: &'env [T],
        output: &'env mut [T],
        op: ReduceOp,
    ) -> Result<Handle<'scope, &'env mut [T]>, CollectiveError> {
        self.start(&self.communicator.reduce_scatter_request(input, output, op)?, output)
    }

    /// [`Communicator::all_gather`] in flight.
    pub fn all_gather<T: Element>(
        &'scope self,
        input: &'env [T],
        output: &'env mut [T],
    ) -> Result<Handle<'scope, &'env mut [T]>, CollectiveError> {
        self.start(&self.communicator.all_gather_request(input, output)?, output)
    }

    /// [`Communicator::broadcast`] in flight.
    pub fn broadcast<T: Element>(
        &'scope self,
        buffer: &'env mut [T],
        root: Rank,
    ) -> Result<Handle<'scope, &'env mut [T]>, CollectiveError> {
        self.start(&self.communicator.broadcast_request(buffer, root)?, buffer)
    }

    /// [`Communicator::reduce`] in flight.
    pub fn reduce<T: Element>(
        &'scope self,
        input: &'env [T],
        output: &'env mut [T],
        op: ReduceOp,
        root: Rank,
    ) -> Result<Handle<'scope, &'env mut [T]>, CollectiveError> {
        self.start(&self.communicator.reduce_request(input, output, op, root)?, output)
    }

    /// [`Communicator::all_to_all`] in flight.
    pub fn all_to_all<T: Element>(
        &'scope self,
        input: &'env [T],
        output: &'env mut [T],
    ) -> Result<Handle<'scope, &'env mut [T]>, CollectiveError> {
        self.start(&self.communicator.all_to_all_request(input, output)?, output)
    }

    /// [`Communicator::send`] in flight.
    pub fn send<T: Element>(
        &'scope self,
        buffer: &'env [T],
        peer: Rank,
    ) -> Result<Handle<'scope, &'env [T]>, CollectiveError> {
        self.start(&self.communicator.send_request(buffer, peer)?, buffer)
    }

    /// [`Communicator::recv`] in flight.
    pub fn recv<T: Element>(
        &'scope self,
        buffer: &'env mut [T],
        peer: Rank,
    ) -> Result<Handle<'scope, &'env mut [T]>, CollectiveError> {
        self.start(&self.communicator.recv_request(buffer, peer)?, buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_is_good_after_an_inner_scope_has_waited_for_everything() {
        let communicator = Communicator::alone();
        let (mut outer, mut inner) = ([1_u32; 3], [2_u32; 5]);
        let sums = communicator.scope(|scope| {
            let handle = scope.all_reduce(&mut outer, ReduceOp::Sum)?;
            communicator.scope(|scope| {
                scope.all_reduce(&mut inner, ReduceOp::Sum)?.wait()?;
                Ok(())
            })?;
            Ok(handle.wait()?.to_vec())
        });
        assert_eq!(sums, Ok(vec![1; 3]));
    }

    #[test]
    fn a_forgotten_handle_is_waited_for_at_the_end_of_its_scope() {
        let communicator = Communicator::alone();
        let mut buffer = [7_i64; 4];
        let done = communicator.scope(|scope| {
            std::mem::drop(scope.all_reduce(&mut buffer, ReduceOp::Avg)?);
            Ok(())
        });
        assert_eq!((done, buffer), (Ok(()), [7; 4]));
    }

    #[test]
    fn a_panic_in_a_scope_ends_the_communicator() {
        let communicator = Communicator::alone();
        let body = std::panic::AssertUnwindSafe(|| {
            communicator.scope(|_| -> Result<(), CollectiveError> { panic!("the body's own") })
        });
        assert!(std::panic::catch_unwind(body).is_err());
        let by = communicator.rank();
        assert_eq!(communicator.barrier(), Err(CollectiveError::Aborted { by }));
    }
}
