//! libibverbs, opened at run time.

use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::fmt;
use std::ptr::NonNull;
use std::sync::OnceLock;

use super::types::{
    ibv_async_event, ibv_comp_channel, ibv_context, ibv_cq, ibv_device, ibv_device_attr, ibv_gid,
    ibv_gid_entry, ibv_mr, ibv_pd, ibv_port_attr, ibv_qp, ibv_qp_attr, ibv_qp_init_attr,
};

/// The name under which every distribution installs version 1 of the library.
const NAME: &CStr = c"libibverbs.so.1";

/// Why libibverbs cannot be used on this machine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// The library is not installed, or not where the dynamic linker looks.
    #[error(
        "RDMA needs {library}, which cannot be opened ({reason}): install the packages \
         libibverbs1 and ibverbs-providers (Debian, Ubuntu) or libibverbs and rdma-core (Fedora, \
         RHEL), or use the tcp transport"
    )]
    Missing {
        /// The name that was looked for.
        library: String,
        /// What the dynamic linker says.
        reason: String,
    },
    /// The library is there, but older than any that we can use.
    #[error(
        "RDMA needs function {symbol} of version {version}, which {library} does not have: \
         install rdma-core 17 or newer, or use the tcp transport"
    )]
    TooOld {
        /// The library.
        library: String,
        /// The function.
        symbol: String,
        /// The version of the symbol.
        version: String,
    },
}

/// Declares the functions of the library with their version and signature, and how all are found.
macro_rules! functions {
    ($($version:literal { $($name:ident($($argument:ty),*) $(-> $result:ty)?;)* })*) => {
        /// The functions of an open library, found by name and version. It is never closed:
        /// providers leave threads and handlers behind that would lose their code.
        pub(crate) struct Library {
            $($(pub(crate) $name: unsafe extern "C" fn($($argument),*) $(-> $result)?,)*)*
            /// Since rdma-core 32.
            pub(crate) query_gid_table: Option<QueryGidTable>,
        }

        impl Library {
            fn find(handle: Handle, library: &CStr) -> Result<Self, LoadError> {
                Ok(Self {
                    $($(
                        // SAFETY: a function of this name and version has the signature that the
                        // header of rdma-core gives it; versions exist to make that so. The types
                        // in it are held against the header by `layout_tests`. `dlvsym` gave an
                        // address that is not null, which a function pointer must be.
                        $name: unsafe {
                            std::mem::transmute::<
                                NonNull<c_void>,
                                unsafe extern "C" fn($($argument),*) $(-> $result)?,
                            >(handle.need(library, stringify!($name), $version)?)
                        },
                    )*)*
                    query_gid_table: handle.query_gid_table(),
                })
            }
        }
    };
}

/// `ssize_t _ibv_query_gid_table(context, entries, max_entries, flags, entry_size)`.
type QueryGidTable =
    unsafe extern "C" fn(*mut ibv_context, *mut ibv_gid_entry, usize, u32, usize) -> isize;

functions! {
    "IBVERBS_1.0" {
        ibv_create_comp_channel(*mut ibv_context) -> *mut ibv_comp_channel;
        ibv_destroy_comp_channel(*mut ibv_comp_channel) -> c_int;
    }
    "IBVERBS_1.1" {
        ibv_get_device_list(*mut c_int) -> *mut *mut ibv_device;
        ibv_free_device_list(*mut *mut ibv_device);
        ibv_get_device_name(*mut ibv_device) -> *const c_char;
        ibv_get_device_guid(*mut ibv_device) -> u64;
        ibv_open_device(*mut ibv_device) -> *mut ibv_context;
        ibv_close_device(*mut ibv_context) -> c_int;
        ibv_get_async_event(*mut ibv_context, *mut ibv_async_event) -> c_int;
        ibv_ack_async_event(*mut ibv_async_event);
        ibv_query_device(*mut ibv_context, *mut ibv_device_attr) -> c_int;
        ibv_query_port(*mut ibv_context, u8, *mut ibv_port_attr) -> c_int;
        ibv_query_gid(*mut ibv_context, u8, c_int, *mut ibv_gid) -> c_int;
        ibv_alloc_pd(*mut ibv_context) -> *mut ibv_pd;
        ibv_dealloc_pd(*mut ibv_pd) -> c_int;
        ibv_reg_mr(*mut ibv_pd, *mut c_void, usize, c_int) -> *mut ibv_mr;
        ibv_dereg_mr(*mut ibv_mr) -> c_int;
        ibv_create_cq(
            *mut ibv_context, c_int, *mut c_void, *mut ibv_comp_channel, c_int
        ) -> *mut ibv_cq;
        ibv_destroy_cq(*mut ibv_cq) -> c_int;
        ibv_get_cq_event(*mut ibv_comp_channel, *mut *mut ibv_cq, *mut *mut c_void) -> c_int;
        ibv_ack_cq_events(*mut ibv_cq, c_uint);
        ibv_create_qp(*mut ibv_pd, *mut ibv_qp_init_attr) -> *mut ibv_qp;
        ibv_destroy_qp(*mut ibv_qp) -> c_int;
        ibv_modify_qp(*mut ibv_qp, *mut ibv_qp_attr, c_int) -> c_int;
        ibv_query_qp(*mut ibv_qp, *mut ibv_qp_attr, c_int, *mut ibv_qp_init_attr) -> c_int;
    }
}

impl fmt::Debug for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Library")
            .field("query_gid_table", &self.query_gid_table.is_some())
            .finish_non_exhaustive()
    }
}

/// The library, opened by the first caller. The answer does not change while the process lives.
pub(crate) fn library() -> Result<&'static Library, LoadError> {
    static LIBRARY: OnceLock<Result<Library, LoadError>> = OnceLock::new();
    LIBRARY.get_or_init(|| open(NAME)).as_ref().map_err(LoadError::clone)
}

fn open(name: &CStr) -> Result<Library, LoadError> {
    // SAFETY: a string that ends with a null byte. Opening runs the initialisers of the library
    // that the system administrator has installed under this name, as linking to it would.
    let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    match NonNull::new(handle) {
        Some(handle) => Library::find(Handle(handle), name),
        None => Err(LoadError::Missing {
            library: name.to_string_lossy().into_owned(),
            reason: dl_error(),
        }),
    }
}

/// What the dynamic linker says of the last failure in this thread.
fn dl_error() -> String {
    // SAFETY: returns null or a string that is valid until the thread's next call of its kind; it
    // is copied at once.
    let text = unsafe { libc::dlerror() };
    if text.is_null() {
        return "no reason given".to_owned();
    }
    // SAFETY: not null, so a string that ends with a null byte, as said above.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// An open library, which stays open.
#[derive(Clone, Copy)]
struct Handle(NonNull<c_void>);

impl Handle {
    fn need(self, library: &CStr, name: &str, version: &str) -> Result<NonNull<c_void>, LoadError> {
        self.symbol(name, version).ok_or_else(|| LoadError::TooOld {
            library: library.to_string_lossy().into_owned(),
            symbol: name.to_owned(),
            version: version.to_owned(),
        })
    }

    fn query_gid_table(self) -> Option<QueryGidTable> {
        let found = self.symbol("_ibv_query_gid_table", "IBVERBS_1.11")?;
        // SAFETY: a function of this name and version has this signature, as in `Library::find`.
        Some(unsafe { std::mem::transmute::<NonNull<c_void>, QueryGidTable>(found) })
    }

    /// The library still has the functions of its version 1.0, with other structures under the same
    /// names: the version is part of the signature.
    #[cfg(target_env = "gnu")]
    fn symbol(self, name: &str, version: &str) -> Option<NonNull<c_void>> {
        let (name, version) = (CString::new(name).ok()?, CString::new(version).ok()?);
        // SAFETY: the handle is open (nothing closes it), both strings end with a null byte.
        NonNull::new(unsafe { libc::dlvsym(self.0.as_ptr(), name.as_ptr(), version.as_ptr()) })
    }

    /// Other C libraries know no versions and give the newest.
    #[cfg(not(target_env = "gnu"))]
    fn symbol(self, name: &str, _version: &str) -> Option<NonNull<c_void>> {
        let name = CString::new(name).ok()?;
        // SAFETY: the handle is open (nothing closes it), the string ends with a null byte.
        NonNull::new(unsafe { libc::dlsym(self.0.as_ptr(), name.as_ptr()) })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_library_that_is_not_there_is_named_with_the_packages_that_bring_it() {
        let error = open(c"libibverbs-that-nobody-has.so.1").expect_err("nobody has it");
        let LoadError::Missing { library, reason } = &error else { panic!("{error}") };
        assert_eq!(library, "libibverbs-that-nobody-has.so.1");
        assert!(reason.contains("libibverbs-that-nobody-has.so.1"), "{reason}");
        let text = error.to_string();
        for package in ["libibverbs1", "ibverbs-providers", "rdma-core", "Fedora", "Debian"] {
            assert!(text.contains(package), "{text}");
        }
        assert!(!text.contains('\n'), "{text}");
    }

    #[test]
    fn a_library_without_the_functions_is_refused_with_the_first_that_it_lacks() {
        let error = open(c"libc.so.6").expect_err("the C library has no verbs");
        let LoadError::TooOld { symbol, version, .. } = &error else { panic!("{error}") };
        assert_eq!((symbol.as_str(), version.as_str()), ("ibv_create_comp_channel", "IBVERBS_1.0"));
    }

    #[test]
    fn the_installed_library_has_every_function_or_is_missing() {
        match library() {
            Ok(library) => println!("{library:?}"),
            Err(error @ LoadError::Missing { .. }) => {
                drop(writeln!(std::io::stderr(), "skipped: {error}"));
            }
            Err(error) => panic!("{error}"),
        }
    }
}
