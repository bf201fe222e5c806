//! What kube-scheduler's filters say of one pod and one node alone.

use std::collections::BTreeMap;

use super::objects::{
    Expression, Node, NodeSelector, NodeSelectorTerm, PodSpec, Taint, Toleration,
};

/// What nodes must be like; pods with equal conditions suit the same nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Conditions<'a> {
    labels: &'a BTreeMap<String, String>,
    affinity: Option<&'a NodeSelector>,
    tolerations: &'a [Toleration],
}

impl<'a> Conditions<'a> {
    pub(super) fn of(spec: &'a PodSpec) -> Self {
        Self {
            labels: &spec.node_selector,
            affinity: spec.affinity.node_affinity.required.as_ref(),
            tolerations: &spec.tolerations,
        }
    }

    /// Whether a node is like that.
    pub(super) fn suits(&self, node: &Node) -> bool {
        let has = |(key, value): (&String, &String)| node.metadata.labels.get(key) == Some(value);
        self.tolerates(node)
            && self.labels.iter().all(has)
            && self.affinity.is_none_or(|selector| selected(selector, node))
    }

    fn tolerates(&self, node: &Node) -> bool {
        let cordon = node.spec.unschedulable.then(|| Taint {
            key: "node.kubernetes.io/unschedulable".to_owned(),
            value: String::new(),
            effect: "NoSchedule".to_owned(),
        });
        let repels = |taint: &&Taint| matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute");
        let stands = |taint: &Taint| self.tolerations.iter().any(|one| stands(one, taint));
        node.spec.taints.iter().chain(&cordon).filter(repels).all(stands)
    }
}

/// Whether a toleration is about a taint (k8s.io/api, `Toleration.ToleratesTaint`).
fn stands(toleration: &Toleration, taint: &Taint) -> bool {
    let exists = toleration.operator == "Exists";
    let key = toleration.key == taint.key || (toleration.key.is_empty() && exists);
    let effect = toleration.effect.is_empty() || toleration.effect == taint.effect;
    let equal = matches!(toleration.operator.as_str(), "" | "Equal");
    key && effect && (exists || (equal && toleration.value == taint.value))
}

/// Whether one of the terms holds of a node.
pub(super) fn selected(selector: &NodeSelector, node: &Node) -> bool {
    selector.node_selector_terms.iter().any(|term| holds(term, node))
}

fn holds(term: &NodeSelectorTerm, node: &Node) -> bool {
    let field = |expression: &Expression| {
        let value = (expression.key == "metadata.name").then_some(node.metadata.name.as_str());
        expression.holds(value)
    };
    let empty = term.match_expressions.is_empty() && term.match_fields.is_empty();
    !empty
        && term.match_expressions.iter().all(|one| one.matches(&node.metadata.labels))
        && term.match_fields.iter().all(field)
}
