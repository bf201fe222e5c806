//! Event channels: sleeping until completions are there.

use std::ffi::c_void;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, RawFd};
use std::ptr::{NonNull, null_mut};
use std::sync::Arc;

use super::context::{Context, ContextInner, set_non_blocking};
use super::raw::types::{ibv_comp_channel, ibv_cq};
use super::raw::{check, made};

/// Why completions cannot be waited for.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// It cannot be made.
    #[error("cannot make an event channel on {device}: {source}")]
    Make {
        /// The device.
        device: String,
        /// The cause.
        source: io::Error,
    },
    /// Its events cannot be read.
    #[error("cannot read events of {device}: {source}; was it removed?")]
    Read {
        /// The device.
        device: String,
        /// The cause.
        source: io::Error,
    },
}

/// A file descriptor that becomes readable when a completion queue that has asked for it
/// ([`super::CompletionQueue::request_event`]) gets an entry. Several queues may share one. Clones
/// are the same.
#[derive(Clone)]
pub struct EventChannel {
    inner: Arc<ChannelInner>,
}

/// The channel itself; its completion queues keep it alive.
pub(super) struct ChannelInner {
    raw: NonNull<ibv_comp_channel>,
    context: Arc<ContextInner>,
}

// SAFETY: a channel belongs to no thread, and the verbs may be called from several at once (see
// `ContextInner`).
unsafe impl Send for ChannelInner {}
// SAFETY: as above.
unsafe impl Sync for ChannelInner {}

impl ChannelInner {
    pub(super) fn raw(&self) -> *mut ibv_comp_channel {
        self.raw.as_ptr()
    }

    pub(super) fn context(&self) -> &Arc<ContextInner> {
        &self.context
    }
}

impl Drop for ChannelInner {
    fn drop(&mut self) {
        // SAFETY: made by this library and destroyed once. Every completion queue on it holds an
        // `Arc` of this and has been destroyed before. On an error it is leaked.
        unsafe { (self.context.functions().ibv_destroy_comp_channel)(self.raw.as_ptr()) };
    }
}

impl EventChannel {
    /// A new channel.
    pub fn new(context: &Context) -> Result<Self, ChannelError> {
        let context = Arc::clone(context.inner());
        let device = context.name().to_owned();
        // SAFETY: the device is open.
        let raw = unsafe { (context.functions().ibv_create_comp_channel)(context.raw()) };
        match made(raw) {
            Ok(raw) => {
                let channel = Self { inner: Arc::new(ChannelInner { raw, context }) };
                set_non_blocking(channel.as_fd())
                    .map_err(|source| ChannelError::Make { device, source })?;
                Ok(channel)
            }
            Err(source) => Err(ChannelError::Make { device, source }),
        }
    }

    pub(super) fn inner(&self) -> &Arc<ChannelInner> {
        &self.inner
    }

    /// Takes one event and gives the token of the queue that it is from; nothing if there is no
    /// event. Never blocks. The queue must ask for the next one.
    pub fn next_event(&self) -> Result<Option<usize>, ChannelError> {
        let context = &self.inner.context;
        let (mut queue, mut token): (*mut ibv_cq, *mut c_void) = (null_mut(), null_mut());
        // SAFETY: the channel is alive; the call writes two pointers.
        let code = unsafe {
            let get = context.functions().ibv_get_cq_event;
            get(self.inner.raw.as_ptr(), &raw mut queue, &raw mut token)
        };
        match check(code) {
            Ok(()) => {
                // SAFETY: the queue of an event that was taken and is not acknowledged lives:
                // destroying it waits for that. Acknowledged once.
                unsafe { (context.functions().ibv_ack_cq_events)(queue, 1) };
                Ok(Some(token.addr()))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(None),
            Err(source) => Err(ChannelError::Read { device: context.name().to_owned(), source }),
        }
    }
}

impl AsFd for EventChannel {
    /// Readable when there is an event.
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: an open descriptor of the channel, set when it was made, which lives as long.
        unsafe { BorrowedFd::borrow_raw((*self.inner.raw.as_ptr()).fd as RawFd) }
    }
}

impl fmt::Debug for EventChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("EventChannel").field(&self.inner.context.name()).finish()
    }
}
