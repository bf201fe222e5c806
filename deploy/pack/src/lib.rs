//! Placing gangs of worker pods on nodes that are nearly full.
//!
//! After "Priority Matters" (arXiv 2511.08373): per priority tier, most urgent first, place as many
//! pods as can be, then disturb as few running ones as can be; each stage's value is kept in the
//! following ones. Beyond it: gangs (all or none), topology, certificates.
//!
//! This crate performs no I/O beyond parsing; back ends that are libraries of others are opened at
//! run time.
//!
//! | module | what it holds |
//! |---|---|
//! | [`problem`] | nodes, pods, tiers, gangs: what is to be placed where |
//! | [`placement`] | a node, or none, for each pod |
//! | [`score`] | what a placement is worth, and the order of objectives |
//! | [`kubernetes`] | nodes and pods of Kubernetes as a problem |
//! | [`report`] | what came of it, beside what the default scheduler would do |
//! | [`evictions`] | running pods that a placement leaves out for nobody more urgent |
//! | [`check`] | independent of every solver: is a placement allowed, and what is it worth |
//! | [`solve`] | stage by stage: the best placement within a budget, and its proof |
//! | [`default_scheduler`] | what kube-scheduler's default profile does |
//! | [`instances`] | problems made from a seed |
//! | [`cpsat`] | OR-Tools CP-SAT as a back end |
//! | `random` | numbers that follow from a seed |
//! | [`words`] | words of others, made fit to be printed |
//! | `number` | the greatest common divisor |
//! | [`mod@bench`] | measuring back ends on instances |

pub mod bench;
pub mod check;
pub mod cpsat;
pub mod default_scheduler;
pub mod evictions;
pub mod instances;
pub mod kubernetes;
mod number;
pub mod placement;
pub mod problem;
mod random;
pub mod report;
pub mod score;
pub mod solve;
pub mod words;
