//! Labels and annotations that only `launch` and `status` know; those that the pod scheduler reads
//! too are in `onepath_pack::kubernetes::marks`.

/// The stage of a pod.
pub(crate) const STAGE: &str = "onepath.io/stage";
/// First rank of a pod's stage.
pub(crate) const FIRST_RANK: &str = "onepath.io/first-rank";
/// Ranks of a pod's stage.
pub(crate) const STAGE_RANKS: &str = "onepath.io/stage-ranks";
/// Ranks of each pod but the last of a stage.
pub(crate) const RANKS_PER_POD: &str = "onepath.io/ranks-per-pod";
/// Which run of `launch` has made an object.
pub(super) const LAUNCH: &str = "onepath.io/launch";
/// The gate of `--gate`: it begins with `marks::GATE_PREFIX`.
pub(super) const GATE: &str = "onepath.io/gang";
