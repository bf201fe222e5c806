//! Nodes as stacked bars, one for each resource, in three panels side by side.

use std::collections::BTreeMap;

use super::escape;
use crate::placement::Placement;
use crate::problem::{NodeId, Pod, PodId, Problem};
use crate::report::{Case, Report};

/// Widths and heights, in pixels.
const LABEL: f64 = 150.0;
const PANEL: f64 = 330.0;
const GAP: f64 = 30.0;
const BAR: f64 = 19.0;
const ROW_GAP: f64 = 14.0;
const TOP: f64 = 26.0;
/// The most nodes and resources that are drawn.
const MOST_NODES: usize = 200;
const MOST_RESOURCES: usize = 4;
/// Colours of tiers; further tiers have the last one.
const TIERS: usize = 6;

pub(super) struct Picture<'a> {
    case: Case<'a>,
    resources: Vec<usize>,
    nodes: Vec<NodeId>,
    panels: [(&'static str, Placement); 3],
}

impl<'a> Picture<'a> {
    pub(super) fn new(case: &Case<'a>) -> Self {
        let problem = case.problem;
        let panels = [
            ("now", Placement::as_it_is(problem)),
            ("by the default scheduler", case.default.clone()),
            ("by onepath", case.answer.placement.clone()),
        ];
        let nodes = nodes(problem, &panels);
        Self { case: *case, resources: resources(problem), nodes, panels }
    }

    /// What colours and outlines mean, and which nodes are not drawn.
    pub(super) fn legend(&self, report: &Report) -> String {
        let mut text = "<p>".to_owned();
        for (tier, row) in report.tiers.iter().enumerate() {
            put!(text, "{} priority {}", key(&format!("t{}", tier.min(TIERS - 1))), row.priority);
        }
        put!(text, "{} pods that stay whatever happens", key("others"));
        let hatch = "<svg class=\"key\"><rect class=\"t3\" width=\"14\" height=\"14\"/>\
            <rect class=\"mark\" width=\"14\" height=\"14\"/></svg>";
        put!(text, "{hatch} changes against now (in the first panel: by onepath)");
        let gang = "<svg class=\"key\"><rect class=\"t3\" x=\"2\" y=\"2\" width=\"10\" \
            height=\"10\" \
            stroke=\"#222\" stroke-width=\"2.5\"/></svg>";
        put!(text, "{gang} pod of a gang, one outline a gang</p>\n");
        let hidden = self.case.problem.nodes().len() - self.nodes.len();
        if hidden > 0 {
            put!(text, "<p>{hidden} more nodes are not drawn.</p>\n");
        }
        text
    }

    pub(super) fn draw(&self) -> String {
        let row = BAR * self.resources.len() as f64 + ROW_GAP;
        let height = TOP + row * self.nodes.len() as f64 + 10.0;
        let width = LABEL + 3.0 * (PANEL + GAP);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" aria-label=\"nodes now, by the \
             default scheduler and by onepath\" class=\"nodes\" width=\"{width:.0}\" \
             viewBox=\"0 0 {width:.0} {height:.0}\">\
             <defs><pattern id=\"hatch\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" \
             patternTransform=\"rotate(45)\"><rect width=\"2.5\" height=\"6\" fill=\"#fff\" \
             fill-opacity=\"0.5\"/></pattern></defs>\n"
        );
        for (panel, (title, placement)) in self.panels.iter().enumerate() {
            let x = LABEL + panel as f64 * (PANEL + GAP);
            put!(svg, "<text x=\"{x:.0}\" y=\"14\" class=\"title\">{title}</text>\n");
            let pods = by_node(placement);
            for (place, node) in self.nodes.iter().enumerate() {
                let y = TOP + row * place as f64;
                let pods = pods.get(node).map_or(&[][..], Vec::as_slice);
                self.node(&mut svg, (x, y), *node, pods, panel);
            }
        }
        for (place, node) in self.nodes.iter().enumerate() {
            self.label(&mut svg, TOP + row * place as f64, *node);
        }
        svg + "</svg>\n"
    }

    fn label(&self, svg: &mut String, y: f64, node: NodeId) {
        let name = &self.case.problem.nodes()[node.index()].name;
        put!(*svg, "<text x=\"0\" y=\"{:.1}\">{}</text>", y + 12.0, escape(&shortened(name, 14)));
        for (row, resource) in self.resources.iter().enumerate() {
            let resource = &self.case.problem.resources()[*resource].name;
            let short = resource.rsplit('/').next().unwrap_or(resource);
            let y = y + 12.0 + BAR * row as f64;
            put!(
                *svg,
                "<text class=\"small dim\" x=\"{:.0}\" y=\"{y:.1}\" \
                 text-anchor=\"end\">{}</text>\n",
                LABEL - 6.0,
                escape(&shortened(short, 8))
            );
        }
    }

    /// The bars of one node in one panel.
    fn node(
        &self,
        svg: &mut String,
        (x, y): (f64, f64),
        node: NodeId,
        pods: &[PodId],
        panel: usize,
    ) {
        for (row, &resource) in self.resources.iter().enumerate() {
            let y = y + BAR * row as f64;
            let all = self.case.mapping.allocatable[node.index()][resource];
            let ours = self.case.problem.nodes()[node.index()].capacity[resource];
            let height = BAR - 3.0;
            put!(
                *svg,
                "<rect class=\"frame\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{PANEL:.1}\" \
                 height=\"{height:.1}\"/>"
            );
            let scale = PANEL / all.max(ours).max(1) as f64;
            let others = (all - ours).max(0) as f64 * scale;
            if others > 0.0 {
                put!(
                    *svg,
                    "<rect class=\"others\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{others:.1}\" \
                     height=\"{height:.1}\"><title>pods that stay</title></rect>"
                );
            }
            let mut at = x + others;
            for pod in pods {
                let amount = self.case.problem.pods()[pod.index()].request[resource];
                let width = amount as f64 * scale;
                if width > 0.0 {
                    self.segment(svg, (at, y), (width, height), *pod, panel);
                    at += width;
                }
            }
            svg.push('\n');
        }
    }

    fn segment(
        &self,
        svg: &mut String,
        (x, y): (f64, f64),
        (width, height): (f64, f64),
        id: PodId,
        panel: usize,
    ) {
        let problem = self.case.problem;
        let pod = &problem.pods()[id.index()];
        let tier = pod.tier.index().min(TIERS - 1);
        let (class, outline) = match pod.gang {
            Some(gang) => ("pod gang", format!(" style=\"stroke:{}\"", outline(gang.index()))),
            None => ("pod", String::new()),
        };
        // Outlines of neighbours do not cover each other.
        let inset = if pod.gang.is_some() { 1.25 } else { 0.0 };
        put!(
            *svg,
            "<rect class=\"{class} t{tier}\"{outline} x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" \
             height=\"{:.1}\"><title>{}</title></rect>",
            x + inset,
            y + inset,
            (width - 2.0 * inset).max(0.5),
            height - 2.0 * inset,
            escape(&self.title(pod))
        );
        if self.is_changed(id, pod, panel) {
            put!(
                *svg,
                "<rect class=\"mark\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" \
                 height=\"{height:.1}\"/>"
            );
        }
        let letters = ((width - 4.0) / 6.0).max(0.0) as usize;
        if letters >= 4 {
            let name = pod.name.rsplit('/').next().unwrap_or(&pod.name);
            put!(
                *svg,
                "<text class=\"small\" x=\"{:.1}\" y=\"{:.1}\" pointer-events=\"none\">{}</text>",
                x + 3.0,
                y + 11.5,
                escape(&shortened(name, letters))
            );
        }
    }

    /// The first panel marks what we change, the others what they change.
    fn is_changed(&self, id: PodId, pod: &Pod, panel: usize) -> bool {
        let other = if panel == 0 { 2 } else { panel };
        self.panels[other].1.node(id) != pod.runs_on
    }

    fn title(&self, pod: &Pod) -> String {
        let problem = self.case.problem;
        let own = problem.resources().iter().take(problem.own_resources());
        let amounts = own.zip(&pod.request).filter(|(_, amount)| **amount > 0);
        let amounts: Vec<String> =
            amounts.map(|(one, amount)| format!("{} {amount}{}", one.name, one.unit)).collect();
        let priority = problem.priorities()[pod.tier.index()];
        let gang = pod.gang.map(|gang| format!(", gang {}", problem.gangs()[gang.index()].name));
        let gang = gang.unwrap_or_default();
        format!("{}: priority {priority}{gang}, {}", pod.name, amounts.join(", "))
    }
}

/// Real resources that pods ask for, but for their number.
fn resources(problem: &Problem) -> Vec<usize> {
    let asked = |index: usize| problem.pods().iter().any(|pod| pod.request[index] > 0);
    let named = problem.resources().iter().take(problem.own_resources()).enumerate();
    let real = named.filter(|(_, one)| {
        one.name != "pods" && !one.name.starts_with("host port") && !one.name.starts_with("anti-")
    });
    real.map(|(index, _)| index).filter(|index| asked(*index)).take(MOST_RESOURCES).collect()
}

/// The nodes that are drawn, in their order: those where something changes are preferred.
fn nodes(problem: &Problem, panels: &[(&str, Placement); 3]) -> Vec<NodeId> {
    let mut changed = vec![false; problem.nodes().len()];
    for (id, pod) in problem.numbered_pods() {
        for (_, placement) in panels {
            let node = placement.node(id);
            if node != pod.runs_on {
                node.into_iter().chain(pod.runs_on).for_each(|node| changed[node.index()] = true);
            }
        }
    }
    let mut nodes: Vec<NodeId> = (0..problem.nodes().len() as u32).map(NodeId).collect();
    nodes.sort_by_key(|node| !changed[node.index()]);
    nodes.truncate(MOST_NODES);
    nodes.sort_unstable();
    nodes
}

fn by_node(placement: &Placement) -> BTreeMap<NodeId, Vec<PodId>> {
    let mut pods: BTreeMap<NodeId, Vec<PodId>> = BTreeMap::new();
    for (id, node) in (0..).map(PodId).zip(placement.nodes()) {
        if let Some(node) = node {
            pods.entry(*node).or_default().push(id);
        }
    }
    pods
}

fn key(class: &str) -> String {
    format!("<svg class=\"key\"><rect class=\"{class}\" width=\"14\" height=\"14\"/></svg>")
}

/// A colour that neighbours in number do not share: steps by the golden angle.
fn outline(gang: usize) -> String {
    format!("hsl({},90%,25%)", (gang * 137) % 360)
}

fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}
