//! What arrives over each path while a run goes on.

use super::svg::{Anchor, Svg, marks, short};
use crate::lab::fabric::{FabricSpec, Link, Snapshot, Spine};

const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 190.0;
const LEFT: f64 = 44.0;
const RIGHT: f64 = 86.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 28.0;

/// The most points of a curve; neighbours are taken together beyond.
const MOST_POINTS: usize = 150;

/// Of spines, in turn.
const COLOURS: [&str; 8] =
    ["#2a78d6", "#e07b39", "#1b9e77", "#b8860b", "#6a51a3", "#d1495b", "#00798c", "#7f7f7f"];

/// The rate of each spine, all its links to leaves together; `death_s` is when one dies.
pub(super) fn draw(spec: &FabricSpec, samples: &[Snapshot], death_s: Option<f64>) -> String {
    let curves: Vec<(Spine, Vec<(f64, f64)>)> =
        spec.spines().map(|spine| (spine, rates(spec, samples, spine))).collect();
    let points = || curves.iter().flat_map(|(_, points)| points);
    let last = points().map(|(time, _)| *time).fold(0.1, f64::max);
    let full = spec.uplink_rate().get() as f64 * spec.leaf_count() as f64 / 1e6;
    let most = points().map(|(_, rate)| *rate).fold(full, f64::max) * 1.03;
    let x = |time: f64| LEFT + time / last * (WIDTH - LEFT - RIGHT);
    let y = |rate: f64| HEIGHT - BOTTOM - rate / most * (HEIGHT - TOP - BOTTOM);
    let mut svg = Svg::new(WIDTH, HEIGHT, "rate of each spine over time");
    svg.text((0.0, 12.0), Anchor::Start, "note", "Mbit/s out of each spine over seconds");
    for mark in marks(most) {
        svg.line((LEFT, y(mark)), (WIDTH - RIGHT, y(mark)), "grid");
        svg.text((LEFT - 6.0, y(mark) + 4.0), Anchor::End, "note", &short(mark));
    }
    for mark in marks(last) {
        svg.text((x(mark), HEIGHT - BOTTOM + 16.0), Anchor::Middle, "note", &short(mark));
    }
    svg.line((LEFT, y(full)), (WIDTH - RIGHT, y(full)), "ideal");
    svg.text((WIDTH - RIGHT + 4.0, y(full) + 4.0), Anchor::Start, "note", "all links full");
    if let Some(death) = death_s.filter(|death| *death <= last) {
        svg.line((x(death), TOP - 4.0), (x(death), HEIGHT - BOTTOM), "death");
        svg.text((x(death) + 4.0, TOP + 4.0), Anchor::Start, "death-note", "a spine dies");
    }
    for (index, (spine, points)) in curves.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        let points: Vec<(f64, f64)> = points.iter().map(|(t, r)| (x(*t), y(*r))).collect();
        svg.polyline(&points, colour, &format!("spine {}", spine.0));
        if curves.len() <= COLOURS.len() {
            let at =
                (WIDTH - RIGHT + 6.0, HEIGHT - BOTTOM - 14.0 * (curves.len() - 1 - index) as f64);
            svg.rect((at.0, at.1 - 8.0), (8.0, 8.0), &format!("fill:{colour}"), "");
            svg.text((at.0 + 12.0, at.1), Anchor::Start, "note", &format!("s{}", spine.0));
        }
    }
    svg.finish()
}

/// Time in the middle of each interval, and the rate in it in Mbit/s.
fn rates(spec: &FabricSpec, samples: &[Snapshot], spine: Spine) -> Vec<(f64, f64)> {
    let together = samples.len().div_ceil(MOST_POINTS).max(1);
    let Some(first) = samples.first() else { return Vec::new() };
    let ends: Vec<&Snapshot> = samples.iter().step_by(together).chain(samples.last()).collect();
    let rate = |pair: &[&Snapshot]| {
        let traffic = pair[1].since(pair[0]);
        let seconds = traffic.span.as_secs_f64();
        let links = spec.leaves().map(|leaf| Link::Downlink { leaf, spine });
        let bytes: u64 = links.map(|link| traffic.count(link).bytes).sum();
        let time = pair[1].since(first).span.as_secs_f64() - seconds / 2.0;
        // The last interval may be too short to say anything.
        (seconds > 0.01).then(|| (time, bytes as f64 * 8.0 / 1e6 / seconds))
    };
    ends.windows(2).filter_map(rate).collect()
}
