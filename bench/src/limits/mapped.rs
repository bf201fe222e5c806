//! Memory mapped as ranks of one host map theirs.

use std::ops::{Deref, DerefMut};
use std::ptr::{NonNull, null_mut, slice_from_raw_parts_mut};

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// A shared anonymous mapping that no other process has.
#[derive(Debug)]
pub(super) struct Mapped(NonNull<[u8]>);

impl Mapped {
    /// `length` bytes of zeros, at least one.
    pub(super) fn new(length: usize) -> Result<Self, std::io::Error> {
        let length = length.max(1);
        // SAFETY: the kernel chooses an address where nothing is mapped, so that no memory in use
        // changes.
        let start = unsafe {
            mmap_anonymous(
                null_mut(),
                length,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
            )?
        };
        let slice = slice_from_raw_parts_mut(start.cast::<u8>(), length);
        // A mapping at address 0 was not asked for and is not given.
        NonNull::new(slice).map(Self).ok_or_else(|| std::io::ErrorKind::OutOfMemory.into())
    }
}

impl Deref for Mapped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the mapping is readable, zeroed by the kernel, as long as the slice says, and
        // lives until `drop`. It is shared with no process: anonymous memory is inherited only by
        // fork, and this program's children start with exec.
        unsafe { self.0.as_ref() }
    }
}

impl DerefMut for Mapped {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`; it is writable, and `&mut self` makes this the only reference.
        unsafe { self.0.as_mut() }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        let length = self.0.len();
        // SAFETY: exactly what `new` mapped, and no reference to it outlives `self`. An error
        // would mean that the range is wrong; there is nothing to do about it here.
        let _ = unsafe { munmap(self.0.as_ptr().cast(), length) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mapped_memory_holds_what_is_written() {
        let mut mapped = Mapped::new(10_000).expect("there is memory");
        assert!(mapped.iter().all(|&byte| byte == 0));
        mapped.fill(7);
        assert_eq!((mapped.len(), mapped[9_999]), (10_000, 7));
        assert_eq!(Mapped::new(0).expect("there is memory").len(), 1);
    }
}
