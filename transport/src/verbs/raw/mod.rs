//! The binding: libibverbs as its C header declares it, with C's names.
//!
//! | file | what it holds |
//! |---|---|
//! | `types` | the structures |
//! | `constants` | the constants |
//! | `library` | opening the library, its exported functions |
//! | `inline` | its inline functions |
//! | `layout_table`, `layout_tests` | all of it compared with the installed header |
#![allow(
    non_camel_case_types,
    reason = "names of the C header, so that its documentation can be searched for them"
)]

pub(crate) mod constants;
pub(crate) mod inline;
#[cfg(test)]
#[macro_use]
mod layout_table;
#[cfg(test)]
mod layout_tests;
pub(crate) mod library;
pub(crate) mod types;

use std::ffi::c_int;
use std::io;

/// The result of functions that return 0, an error number (some of them negative), or -1 with the
/// number in `errno`. To be called right after the function.
pub(crate) fn check(code: c_int) -> io::Result<()> {
    match code {
        0 => Ok(()),
        -1 => Err(io::Error::last_os_error()),
        code => Err(io::Error::from_raw_os_error(code.saturating_abs())),
    }
}

/// The result of functions that return an object, or null with the error in `errno`. To be called
/// right after the function.
pub(crate) fn made<T>(object: *mut T) -> io::Result<std::ptr::NonNull<T>> {
    std::ptr::NonNull::new(object).ok_or_else(io::Error::last_os_error)
}
