//! Protection domains: which memory which queue pairs may touch.

use std::fmt;
use std::io;
use std::ptr::NonNull;
use std::sync::Arc;

use super::context::{Context, ContextInner};
use super::raw::made;
use super::raw::types::ibv_pd;

/// A protection domain that cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot make a protection domain on {device}: {source}")]
pub struct ProtectionDomainError {
    /// The device.
    pub device: String,
    /// The cause.
    pub source: io::Error,
}

/// A protection domain. Queue pairs reach the memory regions of their own domain only. Clones are
/// the same; it ends when the last of them and the last object made in it are gone.
#[derive(Clone)]
pub struct ProtectionDomain {
    inner: Arc<ProtectionDomainInner>,
}

/// The domain itself; whatever is made in it keeps it alive.
pub(super) struct ProtectionDomainInner {
    raw: NonNull<ibv_pd>,
    context: Arc<ContextInner>,
}

// SAFETY: a domain belongs to no thread, and the verbs may be called from several at once (see
// `ContextInner`).
unsafe impl Send for ProtectionDomainInner {}
// SAFETY: as above.
unsafe impl Sync for ProtectionDomainInner {}

impl ProtectionDomainInner {
    pub(super) fn raw(&self) -> *mut ibv_pd {
        self.raw.as_ptr()
    }

    pub(super) fn context(&self) -> &Arc<ContextInner> {
        &self.context
    }
}

impl Drop for ProtectionDomainInner {
    fn drop(&mut self) {
        // SAFETY: made by this library and ended once. Every object made in it holds an `Arc` of
        // this and has been destroyed before; the context is alive. On an error it is leaked.
        unsafe { (self.context.functions().ibv_dealloc_pd)(self.raw.as_ptr()) };
    }
}

impl ProtectionDomain {
    /// A new, empty domain.
    pub fn new(context: &Context) -> Result<Self, ProtectionDomainError> {
        let context = Arc::clone(context.inner());
        // SAFETY: the device is open.
        let raw = unsafe { (context.functions().ibv_alloc_pd)(context.raw()) };
        let device = || context.name().to_owned();
        let raw = made(raw).map_err(|source| ProtectionDomainError { device: device(), source })?;
        Ok(Self { inner: Arc::new(ProtectionDomainInner { raw, context }) })
    }

    pub(super) fn inner(&self) -> &Arc<ProtectionDomainInner> {
        &self.inner
    }
}

impl fmt::Debug for ProtectionDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ProtectionDomain").field(&self.inner.context.name()).finish()
    }
}
