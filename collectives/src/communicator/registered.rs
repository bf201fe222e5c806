//! Buffers that an RDMA device may read without a copy.

use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use onepath_transport::verbs::MemoryRegionError;
use onepath_transport::verbs::transport::Registration;

use crate::error::CollectiveError;
use crate::types::Element;

use super::Communicator;

/// Why a buffer was not registered. The buffer is gone with it; what was there can be kept by
/// registering before filling.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// The device does not take the memory: most often more than may be locked.
    #[error(transparent)]
    Memory(#[from] MemoryRegionError),
    /// The communicator has ended before.
    #[error(transparent)]
    Ended(#[from] CollectiveError),
}

/// A buffer that the device of one communicator may read: what is sent from it is not copied. It is
/// a slice, and goes to every call as one; so do parts of it.
///
/// ```
/// use onepath_collectives::{Communicator, ReduceOp};
///
/// let communicator = Communicator::alone();
/// let mut gradients = communicator.register(vec![1.0_f32; 1_000])?;
/// communicator.all_reduce(&mut gradients, ReduceOp::Sum)?;
/// communicator.all_reduce(&mut gradients[..10], ReduceOp::Sum)?;
/// let gradients: Vec<f32> = gradients.into_vec();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// - **Lifetime.** It owns its memory, so nothing is registered that was freed: if it is forgotten,
///   the memory is kept as well. It is deregistered when it is dropped, on any thread, before or
///   after the communicator. A call in flight borrows it, so it cannot be dropped meanwhile.
/// - **Aliasing.** The device only reads, and only for calls, whose borrow keeps others from
///   writing. A call ends when the device has let go of the memory and the receiver's device has
///   what was sent.
/// - **Elsewhere** it is an ordinary buffer: over other transports, and to other communicators,
///   also those made from this one by `split` or `shrink`.
///
/// Registered memory is locked and counts against `RLIMIT_MEMLOCK`.
#[derive(Debug)]
pub struct RegisteredBuffer<T> {
    // Goes first: the registration ends before the memory does.
    registration: Option<Registration>,
    memory: Vec<T>,
}

impl<T> RegisteredBuffer<T> {
    /// Whether a device may read it: the communicator uses RDMA, and the buffer is not empty.
    pub fn is_registered(&self) -> bool {
        self.registration.is_some()
    }

    /// The buffer as it was, registered no more.
    pub fn into_vec(self) -> Vec<T> {
        let Self { registration, memory } = self;
        drop(registration);
        memory
    }
}

impl<T> Deref for RegisteredBuffer<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.memory
    }
}

impl<T> DerefMut for RegisteredBuffer<T> {
    /// A slice alone: the vector would move its elements when it grows.
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.memory
    }
}

impl Communicator {
    /// Lets the device of this communicator read a buffer, if there is one; see
    /// [`RegisteredBuffer`]. Registering locks every page and takes about as long as copying once,
    /// so it is for buffers that are used again and again. No other rank needs to do the same.
    pub fn register<T: Element>(
        &self,
        mut memory: Vec<T>,
    ) -> Result<RegisteredBuffer<T>, RegisterError> {
        let bytes = size_of_val(&memory[..]);
        if bytes == 0 {
            return Ok(RegisteredBuffer { registration: None, memory });
        }
        let start = NonNull::from(&mut memory[..]).cast();
        let mut engine = self.engine.borrow_mut();
        // SAFETY: the elements of a vector stay where they are as long as it neither grows nor
        // shrinks, and nobody can make it do so while it is in the buffer, not even in safe code
        // that forgets the buffer. There the registration goes before the vector does, in its drop
        // as in `into_vec`; where none comes about, it has ended by itself.
        let registration = unsafe { engine.register(start, bytes) }?;
        drop(engine);
        Ok(RegisteredBuffer { registration, memory })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::ReduceOp;

    #[test]
    fn without_rdma_a_registered_buffer_is_a_buffer() {
        let communicator = Communicator::alone();
        let mut buffer = communicator.register(vec![3_u32; 5]).expect("nothing to do");
        assert!(!buffer.is_registered());
        buffer[1] = 4;
        communicator.all_reduce(&mut buffer, ReduceOp::Sum).expect("alone");
        drop(communicator);
        assert_eq!(buffer.into_vec(), [3, 4, 3, 3, 3]);
    }

    #[test]
    fn an_empty_buffer_needs_no_registration() {
        let buffer = Communicator::alone().register(Vec::<f64>::new()).expect("nothing to do");
        assert!(buffer.is_empty() && !buffer.is_registered());
    }

    #[test]
    fn a_buffer_may_go_to_another_thread() {
        fn check<B: Send + Sync>() {}
        check::<RegisteredBuffer<f32>>();
    }

    #[test]
    fn a_communicator_that_has_ended_registers_nothing() {
        let communicator = Communicator::alone();
        communicator.abort();
        let error = communicator.register(vec![0_u8; 4]).expect_err("it has ended");
        assert!(matches!(error, RegisterError::Ended(CollectiveError::Aborted { .. })), "{error}");
    }
}
