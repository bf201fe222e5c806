//! The plan in the forms that others read.
//!
//! | file | what it writes |
//! |---|---|
//! | `hosts` | ordered hostfile, rankfile |
//! | `megatron` | arguments of Megatron-LM, and networks of its communicators |
//! | `torchrun` | a script with the environment of each node |
//! | `html` | a picture |
//! | `svg` | drawings as text |

mod hosts;
mod html;
mod megatron;
mod svg;
mod torchrun;

use onepath_topology::groups::SelectError;

use crate::arguments::{Emit, Format};
use crate::plan::{self, Plan};

/// What cannot be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EmitError {
    /// Serialization failed, which plain data does not do.
    #[error("the plan as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// Groups without a network.
    #[error(transparent)]
    Select(#[from] SelectError),
}

/// The plan as it was asked for.
pub(crate) fn write(plan: &Plan, emit: Option<Emit>, format: Format) -> Result<String, EmitError> {
    Ok(match (emit, format) {
        (Some(Emit::Json), _) | (None, Format::Json) => {
            serde_json::to_string_pretty(&plan.view())? + "\n"
        }
        (Some(Emit::Megatron), _) => megatron::arguments(plan),
        (Some(Emit::Nccl), _) => megatron::communicators(plan)?,
        (Some(Emit::Torchrun), _) => torchrun::script(plan),
        (Some(Emit::Hostfile), _) => hosts::hostfile(plan),
        (Some(Emit::Rankfile), _) => hosts::rankfile(plan),
        (Some(Emit::Html), _) => html::page(plan),
        (None, Format::Text) => plan::text(plan),
        (None, Format::Csv) => plan::csv(plan),
    })
}
