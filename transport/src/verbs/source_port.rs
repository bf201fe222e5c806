//! The UDP source port of a queue pair by a call of its vendor, beside the flow label: for drivers
//! that make no port of the label, and for moving a live queue pair to another path.
//!
//! libibverbs has no call for it; two vendors' libraries have one, of the same signature:
//!
//! | call | where |
//! |---|---|
//! | `mlx5dv_modify_qp_udp_sport` | libmlx5 of rdma-core 33 and later (`MLX5_1.17`) |
//! | `bnxt_re_dv_modify_qp_udp_sport` | Broadcom's own libbnxt\_re; not rdma-core's (as of 64) |
//!
//! **Untested**: no machine that we have has such a device. Tested is that the call is found in the
//! library that drives the device and nowhere else, that devices without one are told apart
//! (soft-RoCE, in `examples/verbs_pingpong`), and that the declaration is that of `mlx5dv.h`.
use std::ffi::{CStr, CString, c_int, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::path::Path;
use std::ptr::NonNull;

use super::address::FlowLabel;
use super::queue_pair::{QueuePair, QueuePairState};
use super::raw::check;
use super::raw::types::ibv_qp;

/// `int CALL(struct ibv_qp *qp, uint16_t udp_sport)`: 0, or an error number of either sign.
type SetSourcePort = unsafe extern "C" fn(*mut ibv_qp, u16) -> c_int;

const CALLS: [&CStr; 2] = [c"mlx5dv_modify_qp_udp_sport", c"bnxt_re_dv_modify_qp_udp_sport"];

/// Why a queue pair keeps its source port.
#[derive(Debug, thiserror::Error)]
pub enum SourcePortError {
    /// It is none of RoCE v2.
    #[error(
        "UDP source port {port}: from {} to {} it would be right for RoCE v2",
        FlowLabel::SOURCE_PORTS.start(), FlowLabel::SOURCE_PORTS.end()
    )]
    Range {
        /// The value.
        port: u16,
    },
    /// Only queue pairs that send can be changed.
    #[error("queue pair {number} is {state}: the source port can be set when it is ready to send")]
    State {
        /// The queue pair.
        number: u32,
        /// Where it is.
        state: QueuePairState,
    },
    /// The vendor has no such call.
    #[error(
        "{device}: its library {library} has no call that sets the UDP source port; choose the \
         path by the flow label"
    )]
    NotOffered {
        /// The device.
        device: String,
        /// The file that drives it.
        library: String,
    },
    /// The device refuses; "Operation not supported" when its firmware cannot.
    #[error("{device} does not set UDP source port {port} of queue pair {number}: {source}")]
    Refused {
        /// The device.
        device: String,
        /// The queue pair.
        number: u32,
        /// The port.
        port: u16,
        /// The cause.
        source: io::Error,
    },
}

/// Makes packets of a queue pair that is ready to send leave from another UDP source port, and so
/// perhaps take another path, by the call of the device's vendor.
pub fn set_udp_source_port(pair: &QueuePair, port: u16) -> Result<(), SourcePortError> {
    if !FlowLabel::SOURCE_PORTS.contains(&port) {
        return Err(SourcePortError::Range { port });
    }
    let (number, state) = (pair.number().get(), pair.state());
    if state != QueuePairState::ReadyToSend {
        return Err(SourcePortError::State { number, state });
    }
    let device = || pair.device().to_owned();
    let Some(library) = Provider::of(pair) else {
        let library = "(unknown)".to_owned();
        return Err(SourcePortError::NotOffered { device: device(), library });
    };
    let Some(call) = CALLS.iter().find_map(|name| library.find(name)) else {
        return Err(SourcePortError::NotOffered { device: device(), library: library.name() });
    };
    // SAFETY: a function of one of these names has this signature: that of mlx5 is compared with
    // its header below, that of bnxt_re is as in Broadcom's. It is in the very library that posts
    // to this queue pair, so the queue pair is one of its own, which bnxt_re's takes for granted.
    // The library stays open as long as `library` lives, the queue pair as long as it is borrowed;
    // the verbs, of which this is one, may be called from several threads at once (`ContextInner`).
    let code = unsafe {
        let call = std::mem::transmute::<NonNull<c_void>, SetSourcePort>(call);
        call(pair.raw(), port)
    };
    check(code).map_err(|source| SourcePortError::Refused {
        device: device(),
        number,
        port,
        source,
    })
}

/// The library of a vendor, found by a function of it.
struct Provider {
    file: CString,
    /// Where it is in memory; tells it from those that it needs itself.
    base: *mut c_void,
    handle: NonNull<c_void>,
}

impl Provider {
    /// The library that posts to a queue pair.
    fn of(pair: &QueuePair) -> Option<Self> {
        // SAFETY: a live queue pair points to its live context, whose table the library has filled.
        let post_send = unsafe { (*(*pair.raw()).context).ops.post_send }?;
        Self::with(post_send as *const c_void)
    }

    /// The library that has this function.
    fn with(function: *const c_void) -> Option<Self> {
        let (file, base) = place(function)?;
        // SAFETY: a string that ends with a null byte. With `RTLD_NOLOAD` only what is loaded
        // already is found, so no code of the library runs.
        let handle = unsafe { libc::dlopen(file.as_ptr(), libc::RTLD_LAZY | libc::RTLD_NOLOAD) };
        Some(Self { file, base, handle: NonNull::new(handle)? })
    }

    /// A function of this library, not of those that it needs.
    fn find(&self, name: &CStr) -> Option<NonNull<c_void>> {
        // SAFETY: the handle is open until `self` is dropped; a string that ends with a null byte.
        let found = unsafe { libc::dlsym(self.handle.as_ptr(), name.as_ptr()) };
        let (_, base) = place(found)?;
        NonNull::new(found).filter(|_| base == self.base)
    }

    fn name(&self) -> String {
        let path = self.file.to_string_lossy().into_owned();
        let name = Path::new(&path).file_name().map(|name| name.to_string_lossy().into_owned());
        name.unwrap_or(path)
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        // SAFETY: opened once by `with`, closed once. It was loaded before and stays loaded.
        unsafe { libc::dlclose(self.handle.as_ptr()) };
    }
}

/// In which file an address is, and where that is loaded; nothing for what is in none.
fn place(address: *const c_void) -> Option<(CString, *mut c_void)> {
    let mut info = MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: any address may be asked about; the call fills the structure when it returns no zero.
    if unsafe { libc::dladdr(address, info.as_mut_ptr()) } == 0 {
        return None;
    }
    // SAFETY: pointers, for which zeros are valid.
    let info = unsafe { info.assume_init() };
    if info.dli_fname.is_null() {
        return None;
    }
    // SAFETY: a string that ends with a null byte and is valid as long as the file is loaded, which
    // it is while code of it is in use; it is copied at once.
    Some((unsafe { CStr::from_ptr(info.dli_fname) }.to_owned(), info.dli_fbase))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::Command;
    use std::{env, fs, process};

    use super::*;

    #[test]
    fn a_function_is_found_in_the_library_of_another_and_what_that_lacks_is_not() {
        let library = Provider::with(libc::getpid as *const c_void).expect("the C library");
        assert!(library.name().starts_with("lib"), "{}", library.name());
        let found = library.find(c"getppid").expect("it has that as well");
        assert_eq!(found.as_ptr().cast_const(), libc::getppid as *const c_void);
        for name in CALLS {
            assert!(library.find(name).is_none(), "{name:?}");
        }
    }

    #[test]
    fn a_function_of_a_library_that_is_needed_by_another_is_not_that_ones() {
        // The C library is needed by every program and library.
        let ours = a_function_of_a_library_that_is_needed_by_another_is_not_that_ones;
        let Some(program) = Provider::with(ours as fn() as *const c_void) else {
            drop(writeln!(
                std::io::stderr(),
                "skipped: the program itself cannot be opened by its name"
            ));
            return;
        };
        assert!(program.find(c"getppid").is_none());
    }

    #[test]
    fn what_is_in_no_library_has_no_place() {
        assert!(place(std::ptr::null()).is_none());
        let value = 5;
        assert!(place((&raw const value).cast()).is_none(), "the stack is in no file");
    }

    /// Without a device: the library has it, with the version of the manual page's time.
    #[test]
    fn an_installed_libmlx5_has_the_call() {
        let name = c"libmlx5.so.1";
        // SAFETY: opens a library of the system and runs its initialisers, as libibverbs does.
        let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        if handle.is_null() {
            drop(writeln!(std::io::stderr(), "skipped: no {name:?}"));
            return;
        }
        // SAFETY: the handle is open, both are strings that end with a null byte.
        #[cfg(target_env = "gnu")]
        let found = unsafe { libc::dlvsym(handle, CALLS[0].as_ptr(), c"MLX5_1.17".as_ptr()) };
        // SAFETY: as above.
        #[cfg(not(target_env = "gnu"))]
        let found = unsafe { libc::dlsym(handle, CALLS[0].as_ptr()) };
        let library = Provider::with(found).expect("the call is there, so its library is");
        assert!(library.name().starts_with("libmlx5"), "{}", library.name());
        assert!(library.find(CALLS[0]).is_some());
        assert!(library.find(CALLS[1]).is_none());
    }

    #[test]
    fn the_declaration_is_that_of_the_installed_header() {
        let folder = env::temp_dir().join(format!("onepath-source-port-{}", process::id()));
        fs::create_dir_all(&folder).expect("a folder for the program");
        let source = folder.join("port.c");
        let text = "#include <infiniband/mlx5dv.h>\n\
                    int (*call)(struct ibv_qp *, uint16_t) = mlx5dv_modify_qp_udp_sport;\n";
        fs::write(&source, text).expect("the program can be written");
        let compiler = env::var("CC").unwrap_or_else(|_| "cc".to_owned());
        let run = |arguments: &[&str]| {
            Command::new(&compiler).args(arguments).arg(&source).output().map(|done| {
                (done.status.success(), String::from_utf8_lossy(&done.stderr).into_owned())
            })
        };
        let header = run(&["-E", "-o", "/dev/null"]);
        let built = run(&["-fsyntax-only", "-Werror"]);
        let _ = fs::remove_dir_all(&folder);
        match (header, built) {
            (Ok((true, _)), Ok((right, said))) => assert!(right, "{said}"),
            _ => drop(writeln!(
                std::io::stderr(),
                "skipped: no C compiler, or no <infiniband/mlx5dv.h> (libibverbs-dev)"
            )),
        }
    }
}
