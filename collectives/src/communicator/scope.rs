//! Several calls in flight: handles inside a scope.
//!
//! What keeps the engine's pointers good, whatever becomes of a [`Handle`]:
//!
//! - Buffers are borrowed for `'env`, which lasts at least until [`Communicator::scope`] returns,
//!   so that their owner cannot use or free them before, not even when the handle was dropped or
//!   forgotten. As with `std::thread::scope`, it is the scope that waits, not the handle.
//! - The scope returns when all that was started in it has ended, or after an error that ended the
//!   communicator; then no memory is touched any more (see `Engine::break_with`). If its body or
//!   the engine panics, [`Unwinding`] ends the communicator before the stack with the buffers goes.
//! - A handle cannot leave its scope (its `'scope` is any lifetime, so the body cannot name a place
//!   that would take it), and while the call is in flight it holds no reference to its buffer, see
//!   [`Lent`]. `wait` makes the reference again after the call has ended.

use std::marker::PhantomData;

use onepath_topology::Rank;

use crate::engine::{Request, Ticket};
use crate::error::CollectiveError;
use crate::types::{Element, ReduceOp};

use super::lent::Lent;
use super::{Communicator, Unwinding};

/// Starts calls that are in flight together while the caller does something else, and move whenever
/// it comes back (see [`Handle`] on progress). Made by [`Communicator::scope`].
#[derive(Debug)]
pub struct Scope<'scope, 'env: 'scope> {
    communicator: &'scope Communicator,
    /// Invariant in both lifetimes, so that neither can be shortened to let a buffer go early.
    lifetimes: PhantomData<(&'scope mut &'scope (), &'env mut &'env ())>,
}

/// A call in flight that returns `B`, its output buffer (of a send: its input), when it is waited
/// for.
///
/// **Progress is weak**, as MPI calls it: calls in flight move while this rank is inside a call of
/// their communicator (a start, [`wait`](Self::wait), [`test`](Self::test), [`Scope::progress`],
/// the end of the scope, any blocking call) and not in between; no thread of ours drives them. A
/// start hands over what sockets and rings take at once, which is all of a small message. A large
/// one stands still while the caller computes, also on the ranks that wait for this one's part. So
/// call `progress` every so often in a long computation, as the example `data_parallel` does, or
/// move the communicator to a thread of its own, which it may as it is [`Send`]. Being slow is no
/// danger: heartbeats come from another thread, and a rank that computes is late, not dead.
///
/// Dropping or forgetting a handle neither cancels the call nor ends its use of the buffer: the end
/// of the scope waits for it and returns its error.
#[derive(Debug)]
#[must_use = "the result is there only after `wait`; the scope's end waits too"]
pub struct Handle<'scope, B> {
    communicator: &'scope Communicator,
    ticket: Ticket,
    buffer: Lent<B>,
}

impl<B> Handle<'_, B> {
    /// Moves the calls in flight a step further; whether this one has ended. `wait` then returns
    /// at once. Finds dead ranks, aborts and time-outs as `wait` does.
    pub fn test(&self) -> Result<bool, CollectiveError> {
        self.communicator.test(&self.ticket)
    }
}

impl<'env, T: Element> Handle<'_, &'env mut [T]> {
    /// Waits for the call and gives the buffer back. After an error the buffer may be used when the
    /// scope has ended; its contents are undefined.
    pub fn wait(self) -> Result<&'env mut [T], CollectiveError> {
        self.communicator.finish(&self.ticket)?;
        // SAFETY: the operation of this ticket was started on this buffer (`Scope::start`), has
        // ended and is released, so the engine uses its pointers no more.
        Ok(unsafe { self.buffer.give_back() })
    }
}

impl<'env, T: Element> Handle<'_, &'env [T]> {
    /// Waits until everything is sent and gives the buffer back.
    pub fn wait(self) -> Result<&'env [T], CollectiveError> {
        self.communicator.finish(&self.ticket)?;
        Ok(self.buffer.get())
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
    ///
    /// A buffer is out of reach until its handle gives it back or the scope ends:
    ///
    /// ```compile_fail
    /// # use onepath_collectives::{Communicator, ReduceOp};
    /// # let communicator = Communicator::alone();
    /// let mut buffer = [1.0_f32; 4];
    /// communicator.scope(|scope| {
    ///     std::mem::forget(scope.all_reduce(&mut buffer, ReduceOp::Sum)?);
    ///     buffer[0] = 2.0; // borrowed until the scope ends
    ///     Ok(())
    /// })?;
    /// # Ok::<(), onepath_collectives::CollectiveError>(())
    /// ```
    ///
    /// and neither can a handle leave the scope, nor a buffer end before it:
    ///
    /// ```compile_fail
    /// # use onepath_collectives::{Communicator, ReduceOp};
    /// # let communicator = Communicator::alone();
    /// let mut buffer = [1.0_f32; 4];
    /// let handle = communicator.scope(|scope| scope.all_reduce(&mut buffer, ReduceOp::Sum))?;
    /// # Ok::<(), onepath_collectives::CollectiveError>(())
    /// ```
    ///
    /// ```compile_fail
    /// # use onepath_collectives::{Communicator, ReduceOp};
    /// # let communicator = Communicator::alone();
    /// communicator.scope(|scope| {
    ///     let mut buffer = [1.0_f32; 4];
    ///     scope.all_reduce(&mut buffer, ReduceOp::Sum)?;
    ///     Ok(())
    /// })?;
    /// # Ok::<(), onepath_collectives::CollectiveError>(())
    /// ```
    pub fn scope<'env, R>(
        &'env self,
        body: impl for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> Result<R, CollectiveError>,
    ) -> Result<R, CollectiveError> {
        let guard = Unwinding::guard(self);
        let scope = Scope { communicator: self, lifetimes: PhantomData };
        let result = body(&scope);
        let finished = self.finish_all();
        guard.disarm();
        result.and_then(|value| finished.map(|()| value))
    }
}

impl<'scope, 'env> Scope<'scope, 'env> {
    /// Starts the call of `request`, which was made from `buffer`.
    fn start<B>(
        &'scope self,
        request: &Request,
        buffer: Lent<B>,
    ) -> Result<Handle<'scope, B>, CollectiveError> {
        let ticket = self.communicator.start(request)?;
        Ok(Handle { communicator: self.communicator, ticket, buffer })
    }

    /// Moves the calls in flight a step further, all of them; for long computations between starts
    /// and waits (see [`Handle`] on progress).
    pub fn progress(&self) -> Result<(), CollectiveError> {
        self.communicator.progress()
    }

    /// [`Communicator::all_reduce`] in flight.
    pub fn all_reduce<T: Element>(
        &'scope self,
        buffer: &'env mut [T],
        op: ReduceOp,
    ) -> Result<Handle<'scope, &'env mut [T]>, CollectiveError> {
        let mut buffer = Lent::writing(buffer);
        let request = Communicator::all_reduce_request(buffer.as_mut(), op);
        self.start(&request, buffer)
    }

    /// [`Communicator::all_reduce_into`] in flight.
    pub fn all_reduce_into<T: Element>(
        &'scope self,
        input: &'env [T],
        output: &'env mut [T],
        op: ReduceOp,
    ) -> Result<Handle<'scope, &'env mut [T]>, CollectiveError> {
        let mut output = Lent::writing(output);
        let request = Communicator::all_reduce_into_request(input, output.as_mut(), op)?;
        self.start(&request, output)
    }

    /// [`Communicator::reduce_scatter`] in flight.
    pub fn reduce_scatter<T: Element>(
        &'scope self,
        input: &'env [T],
        output: &'env mut [T],
        op: ReduceOp,
    ) -> Result<Handle<'scope, &'env mut [T]>, CollectiveError> {
        let mut output = Lent::writing(output);
        let request = self.communicator.reduce_scatter_request(input, output.as_mut(), op)?;
        self.start(&request, output)
    }

    /// [`Communicator::all_gather`] in flight.
    pub fn all_gather<T: Element>(
        &'scope self,
        input: &'env [T],
        output: &'env mut [T],
    ) -> Result<Handle<'scope, &'env mut [T]>, CollectiveError> {
        let mut output = Lent::writing(output);
        let request = self.communicator.all_gather_request(input, output.as_mut())?;
        self.start(&request, output)
    }

    /// [`Communicator::broadcast`] in flight.
    pub fn broadcast<T: Element>(
        &'scope self,
        buffer: &'env mut [T],
        root: Rank,
    ) -> Result<Handle<'scope, &'env mut [T]>, CollectiveError> {
        let mut buffer = Lent::writing(buffer);
        let request = self.communicator.broadcast_request(buffer.as_mut(), root)?;
        self.start(&request, buffer)
    }

    /// [`Communicator::reduce`] in flight.
    pub fn reduce<T: Element>(
        &'scope self,
        input: &'env [T],
        output: &'env mut [T],
        op: ReduceOp,
        root: Rank,
    ) -> Result<Handle<'scope, &'env mut [T]>, CollectiveError> {
        let mut output = Lent::writing(output);
        let request = self.communicator.reduce_request(input, output.as_mut(), op, root)?;
        self.start(&request, output)
    }

    /// [`Communicator::all_to_all`] in flight.
    pub fn all_to_all<T: Element>(
        &'scope self,
        input: &'env [T],
        output: &'env mut [T],
    ) -> Result<Handle<'scope, &'env mut [T]>, CollectiveError> {
        let mut output = Lent::writing(output);
        let request = self.communicator.all_to_all_request(input, output.as_mut())?;
        self.start(&request, output)
    }

    /// [`Communicator::send`] in flight.
    pub fn send<T: Element>(
        &'scope self,
        buffer: &'env [T],
        peer: Rank,
    ) -> Result<Handle<'scope, &'env [T]>, CollectiveError> {
        let buffer = Lent::reading(buffer);
        let request = self.communicator.send_request(buffer.get(), peer)?;
        self.start(&request, buffer)
    }

    /// [`Communicator::recv`] in flight.
    pub fn recv<T: Element>(
        &'scope self,
        buffer: &'env mut [T],
        peer: Rank,
    ) -> Result<Handle<'scope, &'env mut [T]>, CollectiveError> {
        let mut buffer = Lent::writing(buffer);
        let request = self.communicator.recv_request(buffer.as_mut(), peer)?;
        self.start(&request, buffer)
    }
}

#[cfg(test)]
mod tests {
    use std::mem::ManuallyDrop;

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
            let _never_dropped = ManuallyDrop::new(scope.all_reduce(&mut buffer, ReduceOp::Avg)?);
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
