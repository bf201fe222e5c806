//! Training under a plan: one pipeline stage (or several virtual ones) on each rank, micro-batches
//! in the order of a [`Schedule`](onepath_topology::pipeline::schedule::Schedule), gradients
//! reduced and parameters gathered between the replicas of a stage.
//!
//! | file | what it holds |
//! |---|---|
//! | `stage` | [`Stage`]: what the user computes |
//! | `optimizer` | [`Optimizer`]: the rule by which parameters change; [`Sgd`], [`Adam`] |
//! | `links` | [`Links`]: the communicator of the pipeline and that of the replicas |
//! | `run` | [`Pipeline`]: executes the schedule |
//! | `program` | the schedule of one rank with a buffer for each transfer |
//! | `chunk` | one virtual stage with its buffers |
//! | `buckets` | parameters and gradients, cut into what is reduced at once |
//! | `error` | what goes wrong |
//! | [`perceptron`] | a small model, for tests and measurements |
//!
//! **Groups.** A rank is in two: the pipeline (rank = stage) and the replicas of its stage (rank =
//! replica). Each has a [`Communicator`](crate::Communicator) of its own, made by a
//! [`Builder`](crate::Builder) that names the network (interface and rendezvous) which the plan
//! gives that group, so that activations may cross Ethernet while gradients stay on a faster
//! network.
//!
//! **Transfers.** A send never waits for its receiver. A receive is posted one pass before it is
//! needed, in the order in which its peer sends, so that it comes in while that pass is computed.
//!
//! **The distributed optimizer** (Holmes, arXiv 2312.03549, after `ZeRO` stage 1). Gradients are
//! summed by reduce-scatter, each replica changes its share of the parameters, and all-gather
//! spreads them. With [`Overlap::Both`] a bucket is reduced as soon as the last micro-batch has
//! gone back through its layers, and gathered while the next iteration begins: a layer waits for
//! its own bucket only.
//!
//! **Bits.** Gradients are added in the order of the schedule's backward passes. Replicas are added
//! in an order that only their number and the algorithm decide. So losses repeat from run to run,
//! and overlapping changes none.
//!
//! Nothing is allocated in a step but the first ones, which show every call its shape.
//!
//! ```
//! use onepath_collectives::Communicator;
//! use onepath_collectives::pipeline::perceptron::Perceptron;
//! use onepath_collectives::pipeline::{Links, Pipeline, Settings, Sgd};
//! use onepath_topology::pipeline::schedule::{Schedule, ScheduleKind};
//!
//! // One stage and one replica; with more, each communicator is built on the network of its group.
//! let links = Links { pipeline: Communicator::alone(), data: Communicator::alone() };
//! let schedule = Schedule::new(ScheduleKind::OneForwardOneBackward, 1, 4, 1)?;
//! let model =
//!     Perceptron { layers: 3, width: 8, samples: 2, micro_batches: 4, replicas: 1, seed: 7 };
//! let stages = vec![model.stage(0..3)];
//! let settings = Settings::new(&schedule);
//! let mut pipeline = Pipeline::new(&settings, links, stages, Sgd { rate: 0.1 })?;
//! for _ in 0..10 {
//!     let losses = pipeline.step()?;
//!     assert_eq!(losses.len(), 4);
//! }
//! pipeline.finish()?;
//! assert!(pipeline.parameters(0, 2).is_some());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod buckets;
mod chunk;
mod error;
mod links;
mod optimizer;
pub mod perceptron;
mod program;
mod run;
mod stage;
#[cfg(test)]
mod tests;

pub use error::PipelineError;
pub use links::{Links, Progress};
pub use optimizer::{Adam, Optimizer, Sgd};
pub use run::{Overlap, Pipeline, Settings};
pub use stage::{Backward, Batch, Forward, LayerShape, Stage};
