//! Whether a fabric is what it claims to be: to be run before anything measured on it is believed.
//!
//! | file | what is checked |
//! |---|---|
//! | `reach` | every host reaches every other one; processes start where they should |
//! | `path` | probes and the kernel's own answer name the path that a connection really takes |
//! | `order` | packets of one path arrive in the order in which they were sent |
//! | `control` | changes take effect: rates, black holes, spraying |
//! | `socket` | sockets of hosts |

mod control;
mod order;
mod path;
mod reach;
mod socket;

use std::io;

use serde::Serialize;

use super::control::ControlError;
use super::count::CountError;
use super::namespace::NamespaceError;
use super::route::RouteError;
use super::spec::Host;
use super::{Fabric, FabricSpec};
use crate::lab::cpu::CpuError;

/// Why a check came to no end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckError {
    /// A namespace.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    /// A socket.
    #[error("host {}: {action}: {cause}", host.0)]
    Socket {
        /// Whose.
        host: Host,
        /// What was tried.
        action: &'static str,
        /// What the system says.
        cause: io::Error,
    },
    /// The counters.
    #[error(transparent)]
    Count(#[from] CountError),
    /// The kernel's answer to where a flow goes.
    #[error(transparent)]
    Route(#[from] RouteError),
    /// A change.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The processor's times.
    #[error(transparent)]
    Cpu(#[from] CpuError),
}

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// Which check.
    pub(crate) check: &'static str,
    /// How many cases were as they should be.
    pub(crate) right: u64,
    /// Of how many.
    pub(crate) of: u64,
    /// Whether that will do.
    pub(crate) passed: bool,
    /// What else is worth knowing.
    pub(crate) note: String,
}

impl Finding {
    /// All cases must be right, and there must be some.
    fn all(check: &'static str, right: u64, of: u64, note: String) -> Self {
        Self { check, right, of, passed: right == of && of > 0, note }
    }
}

/// What all checks found.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct SelfCheck {
    /// One a check.
    pub(crate) findings: Vec<Finding>,
    /// Idle share of the processors while all links were full of the largest packets, 0 to 1.
    pub(crate) idle: f64,
}

impl Fabric {
    /// Checks this fabric, which must be healthy and without other traffic; one to three seconds.
    pub(crate) fn check(&self) -> Result<SelfCheck, CheckError> {
        let mut findings = vec![reach::processes(self)?, reach::pairs(self)?];
        findings.extend(path::check(self)?);
        let (order, idle) = order::check(self)?;
        findings.extend(order);
        Ok(SelfCheck { findings, idle })
    }

    /// Makes every change that there is, checks that it took effect, and undoes it.
    pub(crate) fn check_controls(&mut self) -> Result<Vec<Finding>, CheckError> {
        control::check(self)
    }
}

/// The host in the same place of another leaf, `leaves` further on.
fn counterpart(spec: &FabricSpec, host: Host, leaves: usize) -> Host {
    let of_leaf = spec.host_count() / spec.leaf_count();
    Host(((host.index() + leaves * of_leaf) % spec.host_count()) as u32)
}
