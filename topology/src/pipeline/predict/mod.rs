//! How long an iteration of a given plan takes, which part of it is the reduction of gradients,
//! and how much memory the fullest GPU uses.
//!
//! | file | what it holds |
//! |---|---|
//! | `plan` | [`Plan`]: stages, layers, replicas, in a JSON format of our own |
//! | `sailor` | the same from Sailor's plan files, with what was measured |
//! | `network` | [`NetworkTable`]: bandwidth by message size, within and between nodes |
//! | `profiles` | [`Profiles`]: which profile is for which GPU, micro-batch and tensor degree |
//! | `constants` | [`Constants`]: what no profile holds, each with its meaning |
//! | `place` | which replicas share a node, and so its NICs |
//! | `evaluate` | [`predict`] |
//!
//! # The plan format
//!
//! ```
//! use onepath_topology::pipeline::predict::Plan;
//! let text = r#"{
//!   "format": "onepath-plan/1",
//!   "micro_batch": 4,
//!   "global_batch": 64,
//!   "pipelines": [{"stages": [
//!     {"layers": [0, 1], "replicas": [{"gpu": "GH-96", "gpus_per_node": 4,
//!                                      "tensor_parallel": 4}]},
//!     {"layers": [2, 3], "replicas": [{"gpu": "A100-40", "gpus_per_node": 4,
//!                                      "tensor_parallel": 2, "node": 0}]}
//!   ]}]
//! }"#;
//! let plan = Plan::parse(text).expect("a good plan");
//! assert_eq!(plan.micro_batches(), 16);
//! # let error = Plan::parse(&text.replace("64", "63")).expect_err("63 is no multiple of 4");
//! # assert!(error.to_string().starts_with("global_batch is 63"));
//! ```
//!
//! `layers` are numbers of the profile's layers (embedding 0, head last). The replicas of a stage
//! hold the same layers; the r-th replicas of all stages of a pipeline form one pipeline of GPUs.
//! Replicas may be of different GPUs and tensor degrees. `node` numbers the nodes of one kind of
//! GPU; without it replicas fill nodes in the order of stages, then replicas. All replicas of all
//! `pipelines` share the global batch evenly. `"schedule"` may be `"1f1b"` (meant when it
//! is missing) or `"gpipe"`.

mod constants;
mod evaluate;
mod network;
mod place;
mod plan;
mod profiles;
mod sailor;
#[cfg(test)]
mod tests;

pub use constants::{Constants, expected_largest};
pub use evaluate::{PredictError, Prediction, StagePrediction, predict};
pub use network::{Curve, NetworkError, NetworkTable, Scope};
pub use plan::{Pipeline, Plan, PlanError, PlanSchedule, Replica, Stage};
pub use profiles::{Profiles, profile_of_name};
pub use sailor::{Measured, SailorError, parse_sailor};
