//! The load of the links between leaves and spines: a field for each, up and down.

use super::svg::{Anchor, Svg, short};
use crate::lab::fabric::{FabricSpec, Link, Traffic};

const FIELD: (f64, f64) = (46.0, 20.0);
const LEFT: f64 = 78.0;
const TOP: f64 = 34.0;
const MOST_WIDTH: f64 = 330.0;

/// A load relative to the mean that gets the darkest colour.
const DARKEST: f64 = 2.0;

/// Light for nothing, dark for twice the mean and more.
const LIGHT: [f64; 3] = [240.0, 245.0, 252.0];
const DARK: [f64; 3] = [8.0, 48.0, 107.0];

/// What went over the links in one run, relative to the mean of all.
pub(super) fn draw(spec: &FabricSpec, traffic: &Traffic) -> String {
    let spines = spec.spine_count() as f64;
    let field = ((MOST_WIDTH - LEFT) / spines).clamp(8.0, FIELD.0);
    let rows: Vec<(String, Vec<u64>)> = spec
        .leaves()
        .flat_map(|leaf| [(leaf, true), (leaf, false)])
        .map(|(leaf, up)| {
            let bytes = |spine| {
                let link =
                    if up { Link::Uplink { leaf, spine } } else { Link::Downlink { leaf, spine } };
                traffic.count(link).bytes
            };
            let direction = if up { "up" } else { "down" };
            (format!("leaf {} {direction}", leaf.0), spec.spines().map(bytes).collect())
        })
        .collect();
    let sum: u64 = rows.iter().flat_map(|(_, bytes)| bytes).sum();
    let mean = sum as f64 / (rows.len() as f64 * spines).max(1.0);
    let (width, height) = (LEFT + field * spines + 6.0, TOP + FIELD.1 * rows.len() as f64 + 6.0);
    let mut svg = Svg::new(width, height, "bytes on each link between leaves and spines");
    let note = format!("link bytes / mean ({} MB)", short(mean / 1e6));
    svg.text((0.0, 12.0), Anchor::Start, "note", &note);
    for spine in spec.spines() {
        let x = LEFT + (f64::from(spine.0) + 0.5) * field;
        svg.text((x, TOP - 6.0), Anchor::Middle, "note", &format!("s{}", spine.0));
    }
    for (index, (name, bytes)) in rows.iter().enumerate() {
        let y = TOP + FIELD.1 * index as f64;
        svg.text((LEFT - 6.0, y + 14.0), Anchor::End, "note", name);
        for (spine, bytes) in bytes.iter().enumerate() {
            let load = if mean > 0.0 { *bytes as f64 / mean } else { 0.0 };
            let at = (LEFT + field * spine as f64, y);
            let style = format!("fill:{};stroke:#fff", shade(load));
            let title = format!("{name}, spine {spine}: {bytes} bytes, {load:.3} of the mean");
            svg.rect(at, (field, FIELD.1), &style, &title);
            if field >= 30.0 {
                let class = if load > DARKEST * 0.4 { "light" } else { "note" };
                let middle = (at.0 + field / 2.0, y + 14.0);
                svg.text(middle, Anchor::Middle, class, &format!("{load:.2}"));
            }
        }
    }
    svg.finish()
}

fn shade(load: f64) -> String {
    let part = (load / DARKEST).clamp(0.0, 1.0);
    let [r, g, b] = std::array::from_fn(|i| LIGHT[i] + (DARK[i] - LIGHT[i]) * part);
    format!("rgb({r:.0},{g:.0},{b:.0})")
}
