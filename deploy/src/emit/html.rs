//! A picture of the plan: clusters with their stages, links coloured by their load, groups, and the
//! timeline of a pipeline. One file without scripts and without anything from elsewhere.

use std::fmt::Write;

use onepath_topology::pipeline::schedule::{Action, Timeline, Track};

use super::svg::{Svg, escape};
use crate::plan::{Plan, PlanView, StageView, text};

const STYLE: &str = "body{font:14px sans-serif;margin:2em;color:#222}\
pre{background:#f6f6f4;padding:1em;overflow-x:auto}text{font:12px sans-serif;fill:#222}\
.cluster{fill:#f2f4f8;stroke:#8892a8}.stage{fill:#cfe0f5;stroke:#4a6fa5}\
.forward{fill:#6fa8dc}.backward{fill:#93c47d}.reduce{fill:#e69138}.gather{fill:#f6b26b}\
.transfer{fill:#b4a7d6}.warning{color:#a00;font-weight:bold}";

/// Widths of a stage and of a gap between neighbours.
const STAGE: (f64, f64) = (150.0, 40.0);
const TIMELINE_WIDTH: f64 = 1_100.0;
const ROW: f64 = 22.0;
/// The most rows and spans of the timeline that a browser draws at once.
const MAX_ROWS: usize = 64;
const MAX_SPANS: usize = 20_000;

/// The page.
pub(super) fn page(plan: &Plan) -> String {
    let view = plan.view();
    let title = escape(&format!("Plan of {}", view.name));
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
         <style>{STYLE}</style></head><body>\n<h1>{title}</h1>\n"
    );
    for warning in &view.warnings {
        page += &line(&format!("<p class=\"warning\">{}</p>", escape(warning)));
    }
    page += "<h2>Clusters, stages and links</h2>\n";
    page += &stages(&view);
    page += "<h2>Timeline of one pipeline</h2>\n";
    page += &match &plan.timeline {
        Some(timeline) => self::timeline(timeline),
        None => line("<p>It would be too long to be drawn.</p>"),
    };
    page += "<h2>Explanation</h2>\n";
    page += &line(&format!("<pre>{}</pre>", escape(&text(plan))));
    page + "</body></html>\n"
}

fn line(text: &str) -> String {
    format!("{text}\n")
}

/// Runs of neighbouring stages of one cluster.
fn runs<'a, 'b>(stages: &'b [StageView<'a>]) -> Vec<&'b [StageView<'a>]> {
    stages.chunk_by(|a, b| a.cluster == b.cluster).collect()
}

fn stages(view: &PlanView<'_>) -> String {
    let runs = runs(&view.stages);
    let count = view.stages.len() as f64;
    let width = count * (STAGE.0 + STAGE.1) + 40.0;
    let mut svg = Svg::new(width, 210.0, "stages of the pipeline in their clusters");
    let x = |stage: usize| 20.0 + stage as f64 * (STAGE.0 + STAGE.1);
    let most = view.links.iter().map(|link| link.bytes.0).max().unwrap_or(1).max(1);
    for run in &runs {
        let (first, last) = (run[0].stage, run[run.len() - 1].stage);
        let size = (x(last) + STAGE.0 - x(first) + 20.0, 150.0);
        svg.rect((x(first) - 10.0, 30.0), size, "cluster", run[0].cluster);
        svg.label((x(first), 24.0), &format!("{} ({})", run[0].cluster, run[0].gpu));
        for stage in *run {
            let hosts = stage.hosts.join(" ");
            svg.rect((x(stage.stage), 60.0), (STAGE.0, 90.0), "stage", &hosts);
            let gib = stage.memory_bytes.0 as f64 / f64::from(1 << 30);
            let labels = [
                format!("stage {}", stage.stage),
                format!("{} blocks", stage.blocks),
                format!("ranks {}-{}", stage.first_rank, stage.first_rank + stage.ranks - 1),
                format!("{} nodes, {gib:.1} GiB", stage.hosts.len()),
            ];
            for (row, label) in labels.iter().enumerate() {
                svg.label((x(stage.stage) + 8.0, 80.0 + 18.0 * row as f64), label);
            }
        }
    }
    for pair in view.stages.windows(2) {
        let (a, b) = (&pair[0], &pair[1]);
        let link = view.links.iter().find(|link| {
            [(link.from, link.to), (link.to, link.from)].contains(&(a.cluster, b.cluster))
        });
        let (bytes, title) = match link {
            Some(link) => {
                let kind = link.kind.map_or("", |kind| kind.name());
                let gb = link.bytes.0 as f64 / 1e9;
                (link.bytes.0, format!("{} - {}: {gb:.3} GB ({kind})", link.from, link.to))
            }
            None => (0, "inside of the cluster".to_owned()),
        };
        let load = bytes as f64 / most as f64;
        let colour = format!("rgb({:.0},{:.0},60)", 60.0 + 170.0 * load, 140.0 - 100.0 * load);
        let ends = ((x(a.stage) + STAGE.0, 105.0), (x(b.stage), 105.0));
        svg.line(ends.0, ends.1, (2.0 + 6.0 * load, &colour), &title);
        if link.is_some() {
            svg.label((x(a.stage) + STAGE.0 - 60.0, 200.0), &title);
        }
    }
    svg.finish()
}

fn timeline(timeline: &Timeline) -> String {
    let rows = timeline.busy.len().min(MAX_ROWS);
    let height = ROW * rows as f64 + 30.0;
    let mut svg = Svg::new(TIMELINE_WIDTH + 90.0, height, "what each stage does when");
    let scale = TIMELINE_WIDTH / timeline.end.0.max(1) as f64;
    for row in 0..rows {
        svg.label((4.0, ROW * row as f64 + 15.0), &format!("stage {row}"));
    }
    let shown = timeline.spans.iter().filter(|span| (span.rank as usize) < rows);
    for span in shown.take(MAX_SPANS) {
        let class = match span.action {
            Action::Forward { .. } => "forward",
            Action::Backward { .. } => "backward",
            Action::Reduce => "reduce",
            Action::Gather => "gather",
            _ => "transfer",
        };
        // Passes above, what runs beside them below.
        let (top, thick) = match span.track {
            Track::Compute => (2.0, 12.0),
            _ => (15.0, 4.0),
        };
        let at = (80.0 + span.start.0 as f64 * scale, ROW * f64::from(span.rank) + top);
        let size = ((span.end.0 - span.start.0) as f64 * scale, thick);
        let title = format!("{} from {} to {}", span.action, span.start, span.end);
        svg.rect(at, size, class, &title);
    }
    svg.label((80.0, height - 8.0), &format!("0 to {}", timeline.end));
    let mut text = svg.finish();
    for kind in ["forward", "backward", "transfer", "reduce", "gather"] {
        write!(
            text,
            "<svg width=\"12\" height=\"12\"><rect class=\"{kind}\" width=\"12\" \
             height=\"12\"/></svg> {kind} "
        )
        .expect("a string takes all");
    }
    text + "\n"
}
