//! Our labels and annotations, as the pod scheduler reads them (`onepath_pack::kubernetes::marks`).

/// The training job that an object is of.
pub(crate) const JOB: &str = "onepath.io/job";
/// The stage of a pod.
pub(crate) const STAGE: &str = "onepath.io/stage";
/// First rank of a pod's stage.
pub(crate) const FIRST_RANK: &str = "onepath.io/first-rank";
/// Ranks of a pod's stage.
pub(crate) const STAGE_RANKS: &str = "onepath.io/stage-ranks";
/// Ranks of each pod but the last of a stage.
pub(crate) const RANKS_PER_POD: &str = "onepath.io/ranks-per-pod";
/// The number of a pod of an Indexed Job.
pub(crate) const COMPLETION_INDEX: &str = "batch.kubernetes.io/job-completion-index";
/// The gang of a pod.
pub(super) const GANG: &str = "onepath.io/gang";
/// Pods of a gang.
pub(super) const GANG_SIZE: &str = "onepath.io/gang-size";
/// Pods of a gang that are of use without the others.
pub(super) const GANG_MINIMUM: &str = "onepath.io/gang-minimum";
/// The part of the gang that has a rule of its own.
pub(super) const PART: &str = "onepath.io/part";
/// How the pods of a part lie.
pub(super) const PART_RULE: &str = "onepath.io/part-rule";
/// Whether pods may be moved: their template has a gate of ours.
pub(super) const MOVABLE: &str = "onepath.io/movable";
/// The gate of `--gate`.
pub(super) const GATE: &str = "onepath.io/gang";
/// The name of our scheduler.
pub(super) const SCHEDULER: &str = "onepath";
