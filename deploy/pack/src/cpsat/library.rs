//! The calls of libortools: the only unsafe code of this crate.
//!
//! Their declarations are those of `ortools/sat/c_api/cp_solver_c.h`.

use std::ffi::{c_int, c_void};
use std::path::{Path, PathBuf};
use std::ptr::{NonNull, null_mut};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use libloading::os::unix::{Library as Loaded, RTLD_LOCAL, RTLD_NOW};
use thiserror::Error;

/// Why libortools cannot be used.
#[derive(Debug, Error)]
pub enum OpenError {
    /// It was looked for and is not there.
    #[error(
        "OR-Tools not found ({tried}): run pip install ortools, or name libortools.so by --ortools \
         or ONEPATH_ORTOOLS"
    )]
    NotFound {
        /// Where.
        tried: String,
    },
    /// It is no library, or lacks one that it needs.
    #[error("{}: cannot be loaded: {source}", path.display())]
    Load {
        /// The file.
        path: PathBuf,
        /// What the loader said.
        source: libloading::Error,
    },
    /// It has not the calls of OR-Tools 9.
    #[error("{}: no {symbol}, must be libortools 9.12 or newer: {source}", path.display())]
    Symbol {
        /// The file.
        path: PathBuf,
        /// What it lacks.
        symbol: &'static str,
        /// What the loader said.
        source: libloading::Error,
    },
}

/// How often it is looked whether solving shall end.
const WATCH_EVERY: Duration = Duration::from_millis(2);

type NewEnv = unsafe extern "C" fn() -> *mut c_void;
type OfEnv = unsafe extern "C" fn(*mut c_void);
type Solve = unsafe extern "C" fn(
    *mut c_void,
    *const c_void,
    c_int,
    *const c_void,
    c_int,
    *mut *mut c_void,
    *mut c_int,
);

/// The calls. The library stays loaded until the process ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Library {
    new_env: NewEnv,
    destroy_env: OfEnv,
    stop_search: OfEnv,
    solve: Solve,
}

/// What one call of the solver uses; ended by `SolveCpDestroyEnv`.
struct Environment {
    library: Library,
    pointer: NonNull<c_void>,
}

// SAFETY: an environment is only shared for `stop`, and SolveCpStopSearch takes a lock of the
// library and sets a flag under it, for which it was made: another thread must call it, since the
// solving one is busy.
unsafe impl Sync for Environment {}

impl Library {
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        let flags = RTLD_NOW | RTLD_LOCAL | libc::RTLD_NODELETE;
        // SAFETY: loading runs the library's initialisers. Whoever names a file by option,
        // environment or Python installation trusts it as they trust this program's own libraries;
        // those of OR-Tools set up tables and have no demands on the caller.
        let loaded = unsafe { Loaded::open(Some(path), flags) };
        let loaded = loaded.map_err(|source| OpenError::Load { path: path.to_owned(), source })?;
        let missing = |symbol, source| OpenError::Symbol { path: path.to_owned(), symbol, source };
        // SAFETY: the types are those of cp_solver_c.h, which has had these four calls unchanged
        // since 9.7. RTLD_NODELETE keeps what they point to mapped when `loaded` is dropped.
        unsafe {
            let new_env = "SolveCpNewEnv";
            let new_env =
                *loaded.get::<NewEnv>(new_env.as_bytes()).map_err(|e| missing(new_env, e))?;
            let destroy = "SolveCpDestroyEnv";
            let destroy_env =
                *loaded.get::<OfEnv>(destroy.as_bytes()).map_err(|e| missing(destroy, e))?;
            let stop = "SolveCpStopSearch";
            let stop_search =
                *loaded.get::<OfEnv>(stop.as_bytes()).map_err(|e| missing(stop, e))?;
            let solve = "SolveCpInterruptible";
            let solve = *loaded.get::<Solve>(solve.as_bytes()).map_err(|e| missing(solve, e))?;
            Ok(Self { new_env, destroy_env, stop_search, solve })
        }
    }

    /// Solves on the calling thread; `enough` is asked by another one, from time to time, whether
    /// to end. All three are messages of protocol buffers: model, parameters and response. None
    /// when one of them is larger than the library's lengths can say.
    pub(super) fn solve(
        self,
        model: &[u8],
        parameters: &[u8],
        enough: impl Fn() -> bool + Send,
    ) -> Option<Vec<u8>> {
        let environment = Environment::new(self)?;
        let (done, ended) = sync_channel::<()>(1);
        std::thread::scope(|scope| {
            let environment = &environment;
            scope.spawn(move || {
                while ended.recv_timeout(WATCH_EVERY) == Err(RecvTimeoutError::Timeout) {
                    if enough() {
                        environment.stop();
                    }
                }
            });
            let response = environment.solve(model, parameters);
            drop(done);
            response
        })
    }
}

impl Environment {
    fn new(library: Library) -> Option<Self> {
        // SAFETY: the call has no argument, and its result is owned by the value made here.
        let pointer = NonNull::new(unsafe { (library.new_env)() })?;
        Some(Self { library, pointer })
    }

    fn stop(&self) {
        // SAFETY: the pointer came from SolveCpNewEnv and is destroyed only by `drop`, so it lives
        // while `self` is borrowed.
        unsafe { (self.library.stop_search)(self.pointer.as_ptr()) }
    }

    /// To be called once: an environment keeps the state of its search.
    fn solve(&self, model: &[u8], parameters: &[u8]) -> Option<Vec<u8>> {
        let lengths = (c_int::try_from(model.len()).ok()?, c_int::try_from(parameters.len()).ok()?);
        let (mut response, mut length) = (null_mut::<c_void>(), 0);
        // SAFETY: both messages are read only, within their lengths, until the call returns. The
        // environment lives as in `stop`. The results go to two live variables.
        unsafe {
            (self.library.solve)(
                self.pointer.as_ptr(),
                model.as_ptr().cast(),
                lengths.0,
                parameters.as_ptr().cast(),
                lengths.1,
                &raw mut response,
                &raw mut length,
            );
        }
        let response = NonNull::new(response)?;
        let length = usize::try_from(length).unwrap_or(0);
        // SAFETY: the library has filled `length` bytes there, and nothing else refers to them.
        let copy = unsafe { std::slice::from_raw_parts(response.as_ptr().cast::<u8>(), length) };
        let copy = copy.to_vec();
        // SAFETY: SolveCpInterruptible allocates the response by malloc of the C library that both
        // share, and leaves it to the caller; the slice of it is gone.
        unsafe { libc::free(response.as_ptr()) }
        Some(copy)
    }
}

impl Drop for Environment {
    fn drop(&mut self) {
        // SAFETY: made by SolveCpNewEnv, destroyed once; the solving call has returned and the
        // thread that stops it was joined, since both only borrow.
        unsafe { (self.library.destroy_env)(self.pointer.as_ptr()) }
    }
}

/// The processor time of one thread, to be read by others.
#[derive(Clone, Copy, Debug)]
pub(super) struct ThreadTime(libc::clockid_t);

impl ThreadTime {
    /// Of the calling thread; none if the system has no such clock.
    pub(super) fn of_this_thread() -> Option<Self> {
        let mut clock = 0;
        // SAFETY: the thread lives, since it makes this call, and the clock is a live variable.
        let error = unsafe { libc::pthread_getcpuclockid(libc::pthread_self(), &raw mut clock) };
        (error == 0).then_some(Self(clock))
    }

    /// None once the thread has ended.
    pub(super) fn now(self) -> Option<Duration> {
        let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the kernel checks the clock's number; the time is a live variable.
        let error = unsafe { libc::clock_gettime(self.0, &raw mut now) };
        (error == 0).then(|| Duration::new(now.tv_sec as u64, now.tv_nsec as u32))
    }
}
