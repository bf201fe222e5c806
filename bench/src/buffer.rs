//! Ordinary heap memory that begins at a page, as the peers' buffers do.

use std::ops::{Deref, DerefMut};

use onepath_collectives::{Communicator, Element, RegisterError, RegisteredBuffer};

const PAGE_BYTES: usize = 4096;

/// Elements on the heap, the first one at the beginning of a page.
#[derive(Debug)]
pub(crate) struct Buffer<T> {
    store: Store<T>,
    start: usize,
    length: usize,
}

#[derive(Debug)]
enum Store<T> {
    Plain(Vec<T>),
    Registered(RegisteredBuffer<T>),
}

impl<T: Copy> Buffer<T> {
    /// `length` times `value`.
    pub(crate) fn filled(length: usize, value: T) -> Self {
        let page = PAGE_BYTES / size_of::<T>();
        let store = vec![value; length + page];
        // An element's size divides a page, so that the offset is there; else 0 is still right.
        let start = Some(store.as_ptr().align_offset(PAGE_BYTES)).filter(|&at| at <= page);
        Self { store: Store::Plain(store), start: start.unwrap_or(0), length }
    }
}

impl<T: Element> Buffer<T> {
    /// The same memory, which the communicator's device may read.
    pub(crate) fn registered(self, communicator: &Communicator) -> Result<Self, RegisterError> {
        let store = match self.store {
            Store::Plain(store) => Store::Registered(communicator.register(store)?),
            Store::Registered(_) => self.store,
        };
        Ok(Self { store, ..self })
    }
}

impl<T> Deref for Buffer<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        let all: &[T] = match &self.store {
            Store::Plain(store) => store,
            Store::Registered(store) => store,
        };
        &all[self.start..self.start + self.length]
    }
}

impl<T> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        let all: &mut [T] = match &mut self.store {
            Store::Plain(store) => store,
            Store::Registered(store) => store,
        };
        &mut all[self.start..self.start + self.length]
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
