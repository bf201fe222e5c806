//! The bubble in closed form.

use super::ScheduleKind;

/// Idle over busy time of a pipeline whose stages are equal and whose transfers take no time:
/// (p − 1)/m, interleaved (p − 1)/(v m) (Narayanan et al. 2021, section 2.2).
pub fn bubble(kind: ScheduleKind, ranks: u32, micro_batches: u32, virtual_stages: u32) -> f64 {
    let shares = match kind {
        ScheduleKind::GPipe | ScheduleKind::OneForwardOneBackward => 1,
        ScheduleKind::Interleaved => virtual_stages,
    };
    f64::from(ranks - 1) / (f64::from(shares) * f64::from(micro_batches))
}
