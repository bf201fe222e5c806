//! A timeline as Chrome's trace event format, which Perfetto opens.

use std::fmt::Write;

use super::{Action, Timeline, Track};

/// The text of a trace file: a process for each rank, a thread for each of its tracks.
pub fn trace(timeline: &Timeline) -> String {
    let mut text = String::from("{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n");
    for rank in 0..timeline.busy.len() {
        name(&mut text, "process_name", rank, None, &format!("rank {rank}"));
        for (track, label) in
            [(Track::Compute, "compute"), (Track::Transfer, "send"), (Track::Collective, "reduce")]
        {
            name(&mut text, "thread_name", rank, Some(track), label);
        }
    }
    for span in &timeline.spans {
        let (start, time) = (span.start.0 as f64 / 1e3, (span.end.0 - span.start.0) as f64 / 1e3);
        let category = match span.action {
            Action::Forward { .. } => "forward",
            Action::Backward { .. } => "backward",
            Action::Gather => "gather",
            Action::Reduce => "reduce",
            Action::Update => "update",
            _ => "transfer",
        };
        writeln!(
            text,
            "{{\"name\":\"{}\",\"cat\":\"{category}\",\"ph\":\"X\",\"ts\":{start:.3},\
             \"dur\":{time:.3},\"pid\":{},\"tid\":{}}},",
            span.action, span.rank, span.track as u32
        )
        .expect("a string takes all");
    }
    // Every event ends in a comma; the format has none after the last.
    text.truncate(text.trim_end_matches(",\n").len());
    text.push_str("\n]}\n");
    text
}

fn name(text: &mut String, what: &str, rank: usize, track: Option<Track>, label: &str) {
    let thread = track.map_or(0, |track| track as u32);
    writeln!(
        text,
        "{{\"name\":\"{what}\",\"ph\":\"M\",\"pid\":{rank},\"tid\":{thread},\
         \"args\":{{\"name\":\"{label}\"}}}},"
    )
    .expect("a string takes all");
}
