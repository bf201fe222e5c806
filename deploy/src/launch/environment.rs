//! The variables that tell a rank its place, as `onepath_collectives::bootstrap` and torch's
//! `env://` read them.

use super::arguments::Variable;

/// Variables that other launchers set and ranks read first, or that contradict ours.
pub(super) const FOREIGN: [&str; 8] = [
    "ONEPATH_RANK",
    "ONEPATH_WORLD_SIZE",
    "ONEPATH_LOCAL_RANK",
    "ONEPATH_LOCAL_WORLD_SIZE",
    "ONEPATH_RENDEZVOUS",
    "ONEPATH_JOB_SECRET",
    "TORCHELASTIC_USE_AGENT_STORE",
    "GROUP_RANK",
];

/// The variable that names the file with the job's secret.
pub(super) const SECRET_FILE: &str = "ONEPATH_JOB_SECRET_FILE";

/// Where rank 0 listens unless the caller says otherwise; torchrun's choice too.
pub(super) const DEFAULT_PORT: u16 = 29_500;

/// Variables that `launch` sets itself.
const OURS: [&str; 7] = [
    "RANK",
    "WORLD_SIZE",
    "LOCAL_RANK",
    "LOCAL_WORLD_SIZE",
    "MASTER_ADDR",
    "MASTER_PORT",
    SECRET_FILE,
];

/// A rank's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seat {
    pub(super) rank: u32,
    pub(super) world: u32,
    /// Its number among the ranks of its host.
    pub(super) local_rank: u32,
    pub(super) local_world: u32,
}

/// Where rank 0 listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Master {
    pub(super) host: String,
    pub(super) port: u16,
}

/// A variable that cannot be set.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnvironmentError {
    /// No name of a variable.
    #[error("--env {name}={value}: the name has letters, digits and _, and begins with no digit")]
    Name {
        /// The name.
        name: String,
        /// The value.
        value: String,
    },
    /// One of ours.
    #[error("--env {name}={value}: launch sets or clears {name} itself")]
    Ours {
        /// The name.
        name: String,
        /// The value.
        value: String,
    },
}

impl Seat {
    /// All variables but the secret's.
    pub(super) fn variables(&self, master: &Master) -> [(&'static str, String); 6] {
        [
            ("RANK", self.rank.to_string()),
            ("WORLD_SIZE", self.world.to_string()),
            ("LOCAL_RANK", self.local_rank.to_string()),
            ("LOCAL_WORLD_SIZE", self.local_world.to_string()),
            ("MASTER_ADDR", master.host.clone()),
            ("MASTER_PORT", master.port.to_string()),
        ]
    }
}

/// Refuses variables that a shell could not set or that are ours.
pub(super) fn check(variables: &[Variable]) -> Result<(), EnvironmentError> {
    for Variable { name, value } in variables {
        let (name, value) = (name.clone(), value.clone());
        let letters = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !letters || name.starts_with(|first: char| first.is_ascii_digit()) {
            return Err(EnvironmentError::Name { name, value });
        }
        if OURS.contains(&name.as_str()) || FOREIGN.contains(&name.as_str()) {
            return Err(EnvironmentError::Ours { name, value });
        }
    }
    Ok(())
}
