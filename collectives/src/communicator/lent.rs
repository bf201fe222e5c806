//! A borrow that is set aside while a call in flight uses its memory by address.
//!
//! The engine writes through raw pointers. A `&mut` to the same memory must not be moved or passed
//! on meanwhile, even unused: each time it claims to be the only way to that memory, and the
//! pointers made from it before would lose their right to it. So a handle holds the address and
//! the length, and the lifetime of the borrow, and makes the `&mut` again when the call has ended.

use std::marker::PhantomData;
use std::ptr::NonNull;
use std::slice;

/// The borrow `B`, a slice of elements, taken apart.
#[derive(Debug)]
pub(super) struct Lent<B> {
    start: NonNull<u8>,
    /// Number of elements.
    length: usize,
    /// Keeps the owner of the memory from using it, as `B` did.
    borrow: PhantomData<B>,
}

impl<'env, T> Lent<&'env mut [T]> {
    pub(super) fn writing(buffer: &'env mut [T]) -> Self {
        let length = buffer.len();
        Self { start: NonNull::from(buffer).cast(), length, borrow: PhantomData }
    }

    /// The buffer, for the request of a call that has not been started.
    pub(super) fn as_mut(&mut self) -> &mut [T] {
        // SAFETY: `start` and `length` are those of the slice that `writing` took for `'env`, which
        // `self` cannot outlive. It took it by value, so nobody else can reach the memory but
        // through `self`, which is borrowed exclusively for as long as the result lives.
        unsafe { slice::from_raw_parts_mut(self.start.cast().as_ptr(), self.length) }
    }

    /// The borrow as it was.
    ///
    /// # Safety
    /// Pointers made from the result of [`as_mut`](Self::as_mut) are not used from now on.
    pub(super) unsafe fn give_back(self) -> &'env mut [T] {
        // SAFETY: as in `as_mut`, with `self` consumed, so that this is the only way to the memory
        // for the rest of `'env`: the caller vouches for the pointers that were made before.
        unsafe { slice::from_raw_parts_mut(self.start.cast().as_ptr(), self.length) }
    }
}

impl<'env, T> Lent<&'env [T]> {
    pub(super) fn reading(buffer: &'env [T]) -> Self {
        Self { start: NonNull::from(buffer).cast(), length: buffer.len(), borrow: PhantomData }
    }

    /// The buffer, of which there may be any number of borrows, also while a call reads it.
    pub(super) fn get(&self) -> &'env [T] {
        // SAFETY: `start` and `length` are those of the slice that `reading` took for `'env`; while
        // it is borrowed as shared, nobody writes to it.
        unsafe { slice::from_raw_parts(self.start.cast().as_ptr(), self.length) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_by_address_is_in_the_borrow_that_is_given_back() {
        let mut memory = [1_u16; 5];
        let mut lent = Lent::writing(&mut memory[1..4]);
        let (start, length) = {
            let buffer = lent.as_mut();
            (buffer.as_mut_ptr(), buffer.len())
        };
        let moved = std::hint::black_box(Box::new(lent));
        for at in 0..length {
            // SAFETY: inside the slice that was lent, and before it is given back.
            unsafe { start.add(at).write(at as u16 + 7) };
        }
        // SAFETY: `start` is not used any more.
        let back = unsafe { moved.give_back() };
        back[2] = 0;
        assert_eq!(memory, [1, 7, 8, 0, 1]);
    }

    #[test]
    fn an_empty_borrow_comes_back_empty() {
        let mut lent = Lent::writing(&mut [0_f64; 0][..]);
        assert!(lent.as_mut().is_empty());
        assert!(Lent::reading(&[0_f64; 0][..]).get().is_empty());
    }
}
