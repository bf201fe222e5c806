//! The results as one page of HTML that needs nothing else.
//!
//! | file | what it holds |
//! |---|---|
//! | `svg` | drawings as text |
//! | `bars` | completion times with their spread |
//! | `heat` | the load of every link |
//! | `time` | what arrives over each path over time |

mod bars;
mod heat;
mod svg;
mod time;

use std::fmt::Write;
use std::time::Duration;

use super::measure::Measured;
use super::output::by_seed;
use super::row::Row;
use crate::lab::fabric::FabricSpec;
use crate::sizes::Bytes;
use svg::escape;

const STYLE: &str = "
body { font: 14px/1.45 system-ui, sans-serif; color: #1c2330; background: #fff;
  max-width: 1240px; margin: 24px auto; padding: 0 20px; }
h1 { font-size: 22px; } h2 { font-size: 18px; margin-top: 36px; border-top: 1px solid #d6dbe3;
  padding-top: 18px; } h3 { font-size: 15px; margin: 26px 0 6px; }
p { color: #4c5667; margin: 4px 0 10px; }
.cards { display: flex; flex-wrap: wrap; gap: 14px; }
.card { border: 1px solid #e1e5eb; border-radius: 6px; padding: 10px 12px; }
.card h4 { margin: 0 0 6px; font-size: 13px; } .card p { font-size: 12px; margin: 0 0 6px; }
.card div { display: flex; flex-wrap: wrap; gap: 12px; align-items: flex-start; }
svg { font: 11px system-ui, sans-serif; } .note { fill: #5b6575; } .light { fill: #fff; }
.name { font-size: 13px; fill: #1c2330; } .value { font-size: 12px; fill: #1c2330; }
.grid { stroke: #e4e8ee; } .ideal { stroke: #1c2330; stroke-dasharray: 4 3; }
.spread { stroke: #1c2330; stroke-width: 1.5; }
.dot { fill: #fff; stroke: #1c2330; } .curve { fill: none; stroke-width: 1.6; }
.death { stroke: #c22f3d; stroke-dasharray: 3 3; } .death-note { fill: #c22f3d; }
table { border-collapse: collapse; font-size: 12px; } td, th { padding: 2px 8px;
  border-bottom: 1px solid #e4e8ee; text-align: right; } td.t, th.t { text-align: left; }
details { margin-top: 30px; overflow-x: auto; }";

/// The pattern of bars of runs that did not end.
const PATTERN: &str = "<svg width=\"0\" height=\"0\" style=\"position:absolute\"><defs>\
    <pattern id=\"late\" width=\"8\" height=\"8\" patternUnits=\"userSpaceOnUse\" \
    patternTransform=\"rotate(45)\"><rect width=\"8\" height=\"8\" fill=\"#f3dede\"/>\
    <rect width=\"3\" height=\"8\" fill=\"#c98b8b\"/></pattern></defs></svg>";

/// Writing to a string does not fail.
macro_rules! put {
    ($page:expr, $($text:tt)*) => {
        write!($page, $($text)*).expect("a string takes all")
    };
}

/// The whole page.
pub(super) fn page(measured: &[Measured], elapsed: Duration) -> String {
    let mut page = String::from("<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">");
    put!(page, "<title>onepath lab</title><style>{STYLE}</style></head><body>{PATTERN}");
    put!(page, "<h1>onepath-bench {} lab</h1>", env!("CARGO_PKG_VERSION"));
    put!(
        page,
        "<p>{} runs in {:.0} s. Bars end at the median over seeds, dots are single runs; the \
         dashed line is the ideal: the bytes, with headers, of the most loaded link under the best \
         routing, over its rate. Heat maps and curves are of the first seed.</p>",
        measured.len(),
        elapsed.as_secs_f64()
    );
    let mut fabrics: Vec<&FabricSpec> = Vec::new();
    for one in measured {
        if !fabrics.iter().any(|spec| spec.is_like(&one.row.spec)) {
            fabrics.push(&one.row.spec);
        }
    }
    for spec in fabrics {
        let here: Vec<&Measured> =
            measured.iter().filter(|one| one.row.spec.is_like(spec)).collect();
        fabric(&mut page, spec, &here);
    }
    table(&mut page, measured);
    page.push_str("</body></html>\n");
    page
}

fn fabric(page: &mut String, spec: &FabricSpec, measured: &[&Measured]) {
    put!(
        page,
        "<h2>{} leaves, {} spines, {} hosts</h2><p>Host links {}, uplinks {} ({:.2}:1), MTU {}, \
         queues of {} packets.</p>",
        spec.leaf_count(),
        spec.spine_count(),
        spec.host_count(),
        spec.rate(),
        spec.uplink_rate(),
        spec.oversubscription(),
        spec.mtu(),
        spec.queue_packets()
    );
    let mut contests: Vec<Vec<&Measured>> = Vec::new();
    for one in measured {
        let like = |other: &Row| {
            let (a, b) = (&one.row.cell, &other.cell);
            (a.collective, a.condition, a.order, a.bytes)
                == (b.collective, b.condition, b.order, b.bytes)
        };
        match contests.iter_mut().find(|contest| like(&contest[0].row)) {
            Some(contest) => contest.push(one),
            None => contests.push(vec![one]),
        }
    }
    for contest in contests {
        section(page, &contest);
    }
}

/// One collective under one condition, by all schemes.
fn section(page: &mut String, contest: &[&Measured]) {
    let cell = &contest[0].row.cell;
    put!(
        page,
        "<h3>{}, {}, {} ranks, buffers of {}</h3>",
        escape(&cell.collective),
        escape(cell.condition.name()),
        escape(cell.order.name()),
        escape(&Bytes(cell.bytes))
    );
    let rows: Vec<&Row> = contest.iter().map(|one| &one.row).collect();
    let schemes = by_seed(&rows);
    page.push_str(&bars::draw(&schemes));
    page.push_str("<div class=\"cards\">");
    for scheme in &schemes {
        let first = contest.iter().find(|one| std::ptr::eq(&raw const one.row, scheme[0]));
        if let Some(first) = first {
            card(page, first);
        }
    }
    page.push_str("</div>");
}

fn card(page: &mut String, one: &Measured) {
    let (row, samples) = (&one.row, &one.samples);
    put!(page, "<div class=\"card\"><h4>{}</h4>", escape(&row.cell.scheme));
    let losses = row.losses().map_or_else(String::new, |counts| {
        format!(" {} retransmits, {} out of order,", counts.retransmits, counts.out_of_order)
    });
    put!(
        page,
        "<p>seed {}: {};{losses} idle {:.0}%{}</p><div>",
        row.cell.seed,
        escape(&row.summary()),
        row.idle * 100.0,
        if row.cpu_bound { ", <b>CPU-bound</b>" } else { "" }
    );
    if let [first, .., last] = samples.as_slice() {
        page.push_str(&heat::draw(&row.spec, &last.since(first)));
        page.push_str(&time::draw(&row.spec, samples, row.death_s));
    }
    page.push_str("</div></div>");
}

/// All there is to know of every run.
fn table(page: &mut String, measured: &[Measured]) {
    page.push_str("<details><summary>All runs</summary><table>");
    for (index, one) in measured.iter().enumerate() {
        let fields = one.row.fields();
        if index == 0 {
            page.push_str("<tr>");
            for (name, _) in &fields {
                put!(page, "<th>{}</th>", escape(name));
            }
            page.push_str("</tr>");
        }
        page.push_str("<tr>");
        for (_, value) in &fields {
            let class = if value.is_string() { " class=\"t\"" } else { "" };
            put!(page, "<td{class}>{}</td>", escape(&super::output::plain(value)));
        }
        page.push_str("</tr>");
    }
    page.push_str("</table></details>");
}
