//! Completion queues: where the ends of work requests are found.

use std::ffi::{c_int, c_void};
use std::fmt;
use std::io;
use std::ptr::{NonNull, null_mut, without_provenance_mut};
use std::sync::Arc;

use super::channel::{ChannelInner, EventChannel};
use super::completion::Completion;
use super::context::{Context, ContextInner};
use super::raw::types::{ibv_cq, ibv_wc};
use super::raw::{check, inline, made};

/// How many entries one poll takes at most.
const BATCH: usize = 32;

/// Why completions cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum CompletionQueueError {
    /// It cannot be made.
    #[error("cannot make a completion queue of {entries} entries on {device}: {source}")]
    Make {
        /// The device.
        device: String,
        /// Entries wanted.
        entries: u32,
        /// The cause.
        source: io::Error,
    },
    /// The channel is of another device.
    #[error("a completion queue of {device} cannot use an event channel of {other}")]
    OtherDevice {
        /// The queue's device.
        device: String,
        /// The channel's device.
        other: String,
    },
    /// It cannot be polled: it ran over, or the device has a fault.
    #[error("cannot poll a completion queue of {device}: driver's code {code}; did it run over?")]
    Poll {
        /// The device.
        device: String,
        /// A negative number of the driver's own.
        code: i32,
    },
    /// Events cannot be had.
    #[error("cannot ask {device} for an event of a completion queue: {source}")]
    Notify {
        /// The device.
        device: String,
        /// The cause.
        source: io::Error,
    },
}

/// Which completions make an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventOn {
    /// Every one.
    Any,
    /// Those of messages that the sender marked ([`super::SendRequest::solicited`]), and errors.
    Solicited,
}

/// A completion queue. Its queue pairs keep it alive; it is polled only here.
///
/// It must have room for every signalled request that its queue pairs can have under way: one that
/// runs over is lost, and so are its queue pairs.
pub struct CompletionQueue {
    inner: Arc<CompletionQueueInner>,
    batch: Box<[ibv_wc; BATCH]>,
}

/// The queue itself; queue pairs that report to it keep it alive.
pub(super) struct CompletionQueueInner {
    raw: NonNull<ibv_cq>,
    capacity: u32,
    context: Arc<ContextInner>,
    /// Keeps the channel alive.
    _channel: Option<Arc<ChannelInner>>,
}

// SAFETY: a queue belongs to no thread, and the verbs may be called from several at once (see
// `ContextInner`).
unsafe impl Send for CompletionQueueInner {}
// SAFETY: as above.
unsafe impl Sync for CompletionQueueInner {}

impl CompletionQueueInner {
    pub(super) fn raw(&self) -> *mut ibv_cq {
        self.raw.as_ptr()
    }

    pub(super) fn context(&self) -> &Arc<ContextInner> {
        &self.context
    }
}

impl Drop for CompletionQueueInner {
    fn drop(&mut self) {
        // SAFETY: made by this library and destroyed once. Every queue pair that reports to it
        // holds an `Arc` of this and has been destroyed before. Every event that was taken is
        // acknowledged (`EventChannel::next_event`), so this does not wait for long. On an error it
        // is leaked.
        unsafe { (self.context.functions().ibv_destroy_cq)(self.raw.as_ptr()) };
    }
}

impl CompletionQueue {
    /// How many completions one poll takes at most.
    pub const BATCH: usize = BATCH;

    /// A queue with room for at least `entries` completions. Its events, if it has a channel, carry
    /// `token`.
    pub fn new(
        context: &Context,
        entries: u32,
        channel: Option<(&EventChannel, usize)>,
    ) -> Result<Self, CompletionQueueError> {
        let context = Arc::clone(context.inner());
        let device = || context.name().to_owned();
        let (channel, token) = channel.map_or((None, 0), |(c, token)| (Some(c.inner()), token));
        if let Some(channel) = channel
            && !Arc::ptr_eq(channel.context(), &context)
        {
            let other = channel.context().name().to_owned();
            return Err(CompletionQueueError::OtherDevice { device: device(), other });
        }
        let count = c_int::try_from(entries).unwrap_or(c_int::MAX);
        let token: *mut c_void = without_provenance_mut(token);
        let raw_channel = channel.map_or(null_mut(), |channel| channel.raw());
        // SAFETY: the device is open, the channel null or alive and of this device. The token is
        // only handed back. Interrupt vector 0 is always there.
        let raw = unsafe {
            (context.functions().ibv_create_cq)(context.raw(), count, token, raw_channel, 0)
        };
        let raw = made(raw).map_err(|source| CompletionQueueError::Make {
            device: device(),
            entries,
            source,
        })?;
        // SAFETY: just made; the member is not changed afterwards, since we never resize.
        let capacity = u32::try_from(unsafe { (*raw.as_ptr()).cqe }).unwrap_or(entries);
        let channel = channel.map(Arc::clone);
        let inner = CompletionQueueInner { raw, capacity, context, _channel: channel };
        Ok(Self { inner: Arc::new(inner), batch: Box::new([ibv_wc::default(); BATCH]) })
    }

    pub(super) fn inner(&self) -> &Arc<CompletionQueueInner> {
        &self.inner
    }

    /// How many entries it has room for.
    pub fn capacity(&self) -> u32 {
        self.inner.capacity
    }

    /// Takes what there is, at most [`Self::BATCH`] completions; an empty answer means that there
    /// is nothing.
    pub fn poll(
        &mut self,
    ) -> Result<impl ExactSizeIterator<Item = Completion> + '_, CompletionQueueError> {
        // SAFETY: the queue is alive; the batch has room for so many entries.
        let count =
            unsafe { inline::poll_cq(self.inner.raw(), BATCH as c_int, self.batch.as_mut_ptr()) };
        let Ok(count) = usize::try_from(count) else {
            let device = self.inner.context.name().to_owned();
            return Err(CompletionQueueError::Poll { device, code: count });
        };
        Ok(self.batch[..count.min(BATCH)].iter().map(Completion::from_raw))
    }

    /// Asks for one event on the queue's channel at the next completion. What is already there
    /// makes none: poll once more after asking, before sleeping.
    pub fn request_event(&self, on: EventOn) -> Result<(), CompletionQueueError> {
        // SAFETY: the queue is alive.
        let code = unsafe { inline::req_notify_cq(self.inner.raw(), on == EventOn::Solicited) };
        check(code).map_err(|source| CompletionQueueError::Notify {
            device: self.inner.context.name().to_owned(),
            source,
        })
    }
}

impl fmt::Debug for CompletionQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompletionQueue")
            .field("device", &self.inner.context.name())
            .field("capacity", &self.inner.capacity)
            .finish_non_exhaustive()
    }
}
