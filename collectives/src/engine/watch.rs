//! Dead ranks, late ranks, time-outs: what no connection shows.

use std::time::Duration;

use onepath_topology::{Nanos, Rank};
use onepath_transport::wire::OperationId;

use crate::call::CallDescription;
use crate::control::Control;
use crate::error::{CollectiveError, DeathCause};

use super::EngineConfig;

/// How long a closed data connection may wait for the control plane to say who died.
const VERDICT_LIMIT: Duration = Duration::from_secs(5);

/// Looks at the control plane on behalf of the engine.
#[derive(Debug)]
pub(crate) struct Watch {
    control: Option<Control>,
    /// The operation that was last reported late.
    warned: Option<OperationId>,
}

impl Watch {
    /// Watches through a control plane; nothing to watch in a world of one rank.
    pub(crate) fn new(control: Option<Control>) -> Self {
        Self { control, warned: None }
    }

    pub(crate) fn control(&self) -> Option<&Control> {
        self.control.as_ref()
    }
}
