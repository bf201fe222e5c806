//! Our labels and annotations. Each may be either; an annotation counts more than a label.

/// The name of our scheduler in `spec.schedulerName`.
pub const SCHEDULER: &str = "onepath";
/// Scheduling gates of ours begin so.
pub const GATE_PREFIX: &str = "onepath.io/";
/// `true` on a pod whose template has a gate of ours: made anew, it waits for us.
pub const MOVABLE: &str = "onepath.io/movable";
/// The name of a pod's gang, in its namespace.
pub const GANG: &str = "onepath.io/gang";
/// How many pods of the gang are of use without the others.
pub const GANG_MINIMUM: &str = "onepath.io/gang-minimum";
/// How many pods the gang has when it is complete.
pub const GANG_SIZE: &str = "onepath.io/gang-size";
/// The part of the gang that a pod is of.
pub const PART: &str = "onepath.io/part";
/// `together:LABEL` or `at-most:N:LABEL`.
pub const PART_RULE: &str = "onepath.io/part-rule";
/// The training job that a worker pod is of: the name of its plan.
pub const JOB: &str = "onepath.io/job";
/// The first rank in a worker pod.
pub const RANK: &str = "onepath.io/rank";
/// The number of a pod of an Indexed Job.
pub const COMPLETION_INDEX: &str = "batch.kubernetes.io/job-completion-index";
