//! Nodes now, by the default scheduler, and by us: one page without scripts and without anything
//! from elsewhere.

mod bars;

use bars::Picture;

use super::csv::word;
use super::{Case, Change, PodRow, Report};

const STYLE: &str = "body{font:14px sans-serif;margin:2em;color:#222}\
table{border-collapse:collapse;margin:0 0 1.5em}td,th{padding:.25em .9em .25em 0;text-align:left;\
border-bottom:1px solid #ddd}td.n,th.n{text-align:right}text{font:12px sans-serif;fill:#222}\
.nodes{max-width:100%}text.small{font-size:11px}text.title{font-weight:bold}\
text.dim{fill:#777}.frame{fill:#fafafa;stroke:#999}\
.others{fill:#c8c8c8}.pod{stroke:#fff;stroke-width:1}.gang{stroke-width:2.5}\
.mark{fill:url(#hatch);pointer-events:none}.t0{fill:#d1495b}.t1{fill:#edae49}.t2{fill:#66a182}\
.t3{fill:#3d7ea6}.t4{fill:#8d80ad}.t5{fill:#b08968}.key{display:inline-block;\
width:14px;height:14px;\
vertical-align:-2px;margin:0 .4em 0 1.2em}";

/// The most pods of the table below the picture.
const MOST_ROWS: usize = 500;

/// The page.
pub fn page(case: &Case<'_>, report: &Report) -> String {
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <title>Pods on nodes</title>\
         <style>{STYLE}</style></head><body>\n<h1>{} pods on {} nodes</h1>\n",
        report.pods.len(),
        report.nodes
    );
    page += &tiers(report);
    let picture = Picture::new(case);
    page += &picture.legend(report);
    page += &picture.draw();
    page += &changes(&report.pods);
    for note in &report.notes {
        put!(page, "<p>Note: {}</p>\n", escape(note));
    }
    page + "</body></html>\n"
}

fn tiers(report: &Report) -> String {
    let mut table = "<table><tr><th>priority<th class=\"n\">pods<th class=\"n\">running now\
        <th class=\"n\">placed by default<th class=\"n\">placed by onepath\
        <th class=\"n\">disturbed by default<th class=\"n\">disturbed by onepath</tr>\n"
        .to_owned();
    for tier in &report.tiers {
        let useless = match tier.default_useless {
            0 => String::new(),
            pods => format!(" ({pods} in gangs not whole)"),
        };
        put!(
            table,
            "<tr><td>{}<td class=\"n\">{}<td class=\"n\">{}<td class=\"n\">{}{useless}\
             <td class=\"n\">{}<td class=\"n\">{}<td class=\"n\">{}</tr>\n",
            tier.priority,
            tier.pods,
            tier.before,
            tier.default,
            tier.placed,
            tier.default_disturbed,
            tier.disturbed
        );
    }
    table + "</table>\n"
}

fn changes(pods: &[PodRow]) -> String {
    let changed = pods.iter().filter(|pod| pod.change != Change::Stays);
    let mut table = "<h2>Changes</h2>\n<table><tr><th>pod<th>priority<th>gang<th>now<th>default\
        <th>onepath<th>change<th>why without a node</tr>\n"
        .to_owned();
    for pod in changed.take(MOST_ROWS) {
        let priority = pod.priority.to_string();
        let or_none = |text: &Option<String>| escape(text.as_deref().unwrap_or("-"));
        let cells = [
            escape(&pod.pod),
            priority,
            or_none(&pod.gang),
            or_none(&pod.before),
            or_none(&pod.default),
            or_none(&pod.node),
            word(pod.change).to_owned(),
            escape(pod.reason.as_deref().unwrap_or_default()),
        ];
        put!(table, "<tr><td>{}</tr>\n", cells.join("<td>"));
    }
    table + "</table>\n"
}

/// A text that stands for itself in HTML.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
