//! Network namespaces without a name, held by a file descriptor.
//!
//! A namespace belongs to a thread, so what is done in one is done on a thread made for it: the
//! caller's never changes its own.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::thread;

use nix::sched::{CloneFlags, setns, unshare};

/// Where the calling thread's own namespace is.
const OWN: &str = "/proc/thread-self/ns/net";

/// Why nothing can be done in a namespace.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NamespaceError {
    /// None was made.
    #[error("no network namespace can be made for {name}: {cause}")]
    Create {
        /// Of the node.
        name: String,
        /// What the system says.
        cause: io::Error,
    },
    /// It cannot be entered.
    #[error("the network namespace of {name} cannot be entered: {cause}")]
    Enter {
        /// Of the node.
        name: String,
        /// What the system says.
        cause: io::Error,
    },
    /// No process was started in it.
    #[error("{program} cannot be started on {name}: {cause}")]
    Spawn {
        /// Of the node.
        name: String,
        /// What was to be started.
        program: String,
        /// What the system says.
        cause: io::Error,
    },
}

/// One network namespace. It lives as long as this value, a process, a thread or a socket in it.
#[derive(Debug)]
pub(crate) struct Namespace {
    name: String,
    handle: File,
}

impl Namespace {
    /// Makes an empty one; `name` is for messages only.
    pub(crate) fn create(name: String) -> Result<Self, NamespaceError> {
        let made = on_a_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            File::open(OWN)
        });
        match made {
            Ok(handle) => Ok(Self { name, handle }),
            Err(cause) => Err(NamespaceError::Create { name, cause }),
        }
    }

    /// The name that it was given.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The number of the descriptor by which this process holds it.
    pub(crate) fn descriptor(&self) -> i32 {
        self.handle.as_raw_fd()
    }

    /// A path by which other programs open it, while this value lives.
    pub(crate) fn path(&self) -> PathBuf {
        // The number of this process in the instance of /proc that is mounted.
        let own = std::fs::read_link("/proc/self");
        let own = own.unwrap_or_else(|_| std::process::id().to_string().into());
        PathBuf::from("/proc").join(own).join("fd").join(self.descriptor().to_string())
    }

    /// What `work` returns when it is done in this namespace. Sockets and files of `/proc/net` that
    /// it opens stay there, whoever uses them.
    pub(crate) fn run<T: Send>(
        &self,
        work: impl FnOnce() -> T + Send,
    ) -> Result<T, NamespaceError> {
        let done = on_a_thread(|| {
            setns(&self.handle, CloneFlags::CLONE_NEWNET)?;
            Ok(work())
        });
        done.map_err(|cause| NamespaceError::Enter { name: self.name.clone(), cause })
    }

    /// Starts a process in this namespace.
    ///
    /// The system takes the thread that starts it for its parent, and that thread ends here: such a
    /// process must not ask for a signal at its parent's death. It ends with the sandbox anyway.
    pub(crate) fn spawn(&self, command: &mut Command) -> Result<Child, NamespaceError> {
        let program = command.get_program().to_string_lossy().into_owned();
        let spawned = self.run(|| command.spawn())?;
        spawned.map_err(|cause| NamespaceError::Spawn { name: self.name.clone(), program, cause })
    }
}

fn on_a_thread<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().spawn_scoped(scope, work)?;
        thread.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}
