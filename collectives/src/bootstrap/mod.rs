//! How the ranks of a job find and trust each other before the first byte of a collective moves.
//!
//! Runs once at start, on tokio (a `current_thread` runtime is enough); nothing here is part of
//! the steady state.
//!
//! | module | what it holds |
//! |---|---|
//! | [`environment`] | [`Launch`]: who this rank is, from a launcher's variables or a file |
//! | [`host_port`] | [`HostPort`]: an address as people write it |
//! | [`node_list`] | the first host of a Slurm node list |
//! | [`interfaces`] | [`InterfaceChoice`]: which local addresses peers are told |
//! | [`secret`] | [`JobSecret`] and [`Trust`]: who may join |
//! | [`auth`] | the mutual challenge on a fresh connection |
//! | [`frame`] | length-prefixed frames |
//! | [`counters`] | [`Counters`] of connections, and why they are turned away |
//! | [`rendezvous`] | the store where all ranks exchange their addresses and compare parameters |

pub mod auth;
pub mod counters;
pub mod environment;
pub mod frame;
pub mod host_port;
pub mod interfaces;
pub mod node_list;
pub mod rendezvous;
pub mod secret;

pub use auth::{AuthError, Side, authenticate, authenticate_within};
pub use counters::{Counters, Rejection};
pub use environment::{Launch, LaunchError, Launcher};
pub use host_port::HostPort;
pub use interfaces::{InterfaceAddress, InterfaceChoice, InterfaceError};
pub use rendezvous::{
    Hosting, RendezvousClient, RendezvousConfig, RendezvousError, RendezvousServer,
};
pub use secret::{JobSecret, SecretError, Trust, UntrustedAddress};

/// Where variables are read from: the process's environment, or a map in tests.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A [`Lookup`] in the environment of this process. Bytes that are not UTF-8 become U+FFFD, so
/// that such a value is reported as wrong and not taken for unset.
pub fn process_environment(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

/// `value` as an error message shows it: at most 80 characters, control characters escaped.
pub(crate) fn shown(value: &str) -> String {
    const LONGEST: usize = 80;
    let mut text: String = value.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    if value.chars().nth(LONGEST).is_some() {
        text.push_str("...");
    }
    text
}
