//! The control plane of a process: who is there, who is alive, and who goes on.
//!
//! One thread with a tokio runtime serves all communicators of a process. It accepts and
//! authenticates connections, hands the data sockets of a session to its data path, and keeps one
//! control connection between each two ranks of a session, on which they tell that they are alive,
//! how far they are, who died, who left, and who survives. Nothing here touches data connections
//! once a session is open.
//!
//! | module | what it holds |
//! |---|---|
//! | `endpoint` | [`Endpoint`]: listeners and thread |
//! | `accept`, `hello`, `waiting` | from a stranger's connection to one that belongs to a session |
//! | `dial` | the connecting side |
//! | `session`, `opening` | [`SessionConfig`], [`Session`], and how all ranks come to have it |
//! | `pinned` | connections pinned to paths, also in the place of dead ones |
//! | `handle`, `status`, `progress` | [`Control`]: what the data path sees and says |
//! | `driver`, `link`, `message` | the task of a session, its connections, what goes over them |
//! | `mesh`, `heartbeat`, `membership` | the decisions, without I/O and clock |
//! | `failure`, `reason`, `event` | what is reported |
//! | `fuzzing` | parsers for the fuzz targets |

mod accept;
mod dial;
mod driver;
mod endpoint;
mod event;
mod failure;
pub(crate) mod fuzzing;
mod handle;
mod heartbeat;
mod hello;
mod link;
mod membership;
mod mesh;
mod message;
mod opening;
mod pinned;
mod progress;
mod rank_set;
mod reason;
mod session;
mod shared;
mod status;
mod waiting;

pub use dial::DialError;
pub use endpoint::{Endpoint, EndpointConfig, EndpointError};
pub use event::Event;
pub use failure::{DeathCause, Departure, Failure};
pub use handle::{AgreeError, Control, Survivors};
pub use pinned::{PinnedPorts, PinnedSockets, Redialer};
pub use progress::{OldestOperation, PeerProgress, Progress};
pub use reason::AbortReason;
pub use session::{
    DEFAULT_SILENCE, Loss, LostRank, MAX_SUBFLOWS, MissingRank, Parent, Session, SessionConfig,
    SessionError,
};
