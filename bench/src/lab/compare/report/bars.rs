//! Completion times: a bar for each scheme to its median, a dot for each seed.

use super::super::output::median;
use super::super::row::Row;
use super::svg::{Anchor, Svg, marks, short};

const WIDTH: f64 = 760.0;
const LEFT: f64 = 130.0;
const RIGHT: f64 = 190.0;
const TOP: f64 = 24.0;
const BAR: f64 = 18.0;
const GAP: f64 = 10.0;

/// One bar a group of runs that differ in their seeds.
pub(super) fn draw(schemes: &[Vec<&Row>]) -> String {
    let height = TOP + schemes.len() as f64 * (BAR + GAP) + 30.0;
    let mut svg = Svg::new(WIDTH, height, "completion time of each scheme");
    let all = || schemes.iter().flatten();
    let end = |row: &&&Row| row.completion_s.unwrap_or(row.limit_s);
    let most = all().map(|row| end(&row)).fold(0.0, f64::max).max(1e-3) * 1.02;
    let x = |seconds: f64| LEFT + seconds / most * (WIDTH - LEFT - RIGHT);
    let bottom = height - 26.0;
    for mark in marks(most) {
        svg.line((x(mark), TOP - 4.0), (x(mark), bottom), "grid");
        svg.text((x(mark), bottom + 14.0), Anchor::Middle, "note", &short(mark));
    }
    svg.text((x(most), bottom + 14.0), Anchor::Start, "note", "  s");
    for (index, rows) in schemes.iter().enumerate() {
        bar(&mut svg, rows, TOP + index as f64 * (BAR + GAP), &x);
    }
    let ideal = median(all().map(|row| row.ideal_s).collect()).unwrap_or_default();
    svg.line((x(ideal), TOP - 6.0), (x(ideal), bottom), "ideal");
    let label = format!("ideal {} s", short(ideal));
    svg.text((x(ideal), TOP - 10.0), Anchor::Middle, "note", &label);
    svg.finish()
}

fn bar(svg: &mut Svg, rows: &[&Row], y: f64, x: &impl Fn(f64) -> f64) {
    let scheme = rows[0].cell.scheme;
    let middle = y + BAR / 2.0;
    svg.text((LEFT - 8.0, middle + 4.0), Anchor::End, "name", scheme.name());
    let times: Vec<f64> = rows.iter().filter_map(|row| row.completion_s).collect();
    let late = rows.len() - times.len();
    let limit = rows[0].limit_s;
    let Some(time) = median(times.clone()) else {
        let label = format!("not done after {} s", short(limit));
        svg.rect((x(0.0), y), (x(limit) - x(0.0), BAR), "fill:url(#late)", &label);
        svg.text((x(limit) + 6.0, middle + 4.0), Anchor::Start, "value", &label);
        return;
    };
    let style = format!("fill:{}", colour(scheme.name()));
    let title = format!("{scheme}: median {} s of {} runs", short(time), times.len());
    svg.rect((x(0.0), y), (x(time) - x(0.0), BAR), &style, &title);
    let (least, most) = times.iter().fold((time, time), |(a, b), t| (a.min(*t), b.max(*t)));
    svg.line((x(least), middle), (x(most), middle), "spread");
    for row in rows {
        if let Some(time) = row.completion_s {
            let title = format!("seed {}: {} s", row.cell.seed, short(time));
            svg.dot((x(time), middle), &title);
        }
    }
    let ratio =
        median(rows.iter().filter_map(|row| Some(row.completion_s? / row.ideal_s)).collect());
    let mut label = format!("{} s, {} × ideal", short(time), short(ratio.unwrap_or_default()));
    if late > 0 {
        label = format!("{label}, {late} of {} not done", rows.len());
    }
    svg.text((x(most) + 8.0, middle + 4.0), Anchor::Start, "value", &label);
}

/// By family, so that the eye finds them again.
pub(super) fn colour(scheme: &str) -> &'static str {
    match scheme {
        name if name.starts_with("split") => "#2a78d6",
        name if name.starts_with("ecmp") => "#8c95a4",
        _ => "#e07b39",
    }
}
