//! Who does what when: schedules as explicit actions, and their timeline.
//!
//! | file | what it holds |
//! |---|---|
//! | `actions` | [`Schedule`]: the actions of each rank for `GPipe`, 1F1B, interleaved 1F1B |
//! | `simulate` | [`simulate()`]: the timeline of a schedule, or the deadlock that it runs into |
//! | `timing` | [`timing()`]: the times of a pipeline that was cut |
//! | `trace` | [`trace()`]: a timeline as a file for Perfetto |
//! | `bubble` | [`bubble()`]: idle over busy time, in closed form |

mod actions;
mod bubble;
mod simulate;
#[cfg(test)]
mod tests;
mod timing;
mod trace;

pub use actions::{Action, Peer, Schedule, ScheduleError, ScheduleKind};
pub use bubble::bubble;
pub use simulate::{
    Bucket, Deadlock, Delivery, SimulateError, Span, Timeline, Timing, Track, simulate,
};
pub use timing::timing;
pub use trace::trace;
