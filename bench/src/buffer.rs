//! Ordinary heap memory that begins at a page, as the peers' buffers do.

use std::ops::{Deref, DerefMut};

const PAGE_BYTES: usize = 4096;

/// Elements on the heap, the first one at the beginning of a page.
#[derive(Debug)]
pub(crate) struct Buffer<T> {
    store: Vec<T>,
    start: usize,
    length: usize,
}

impl<T: Copy> Buffer<T> {
    /// `length` times `value`.
    pub(crate) fn filled(length: usize, value: T) -> Self {
        let page = PAGE_BYTES / size_of::<T>();
        let store = vec![value; length + page];
        // An element's size divides a page, so that the offset is there; else 0 is still right.
        let start = Some(store.as_ptr().align_offset(PAGE_BYTES)).filter(|&at| at <= page);
        Self { store, start: start.unwrap_or(0), length }
    }
}

impl<T> Deref for Buffer<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.store[self.start..self.start + self.length]
    }
}

impl<T> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.store[self.start..self.start + self.length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_begins_at_a_page_and_has_its_length() {
        for length in [0, 1, 1000, 5000] {
            let bytes = Buffer::filled(length, 7_u8);
            assert_eq!(bytes.len(), length);
            assert!(bytes.iter().all(|&byte| byte == 7));
            assert!((bytes.as_ptr() as usize).is_multiple_of(PAGE_BYTES));
            let words = Buffer::filled(length, 1_u64);
            assert!((words.as_ptr() as usize).is_multiple_of(PAGE_BYTES));
        }
    }
}
