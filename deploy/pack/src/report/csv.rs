//! One line a pod.

use super::{Change, Report};
use crate::words::csv_field;

/// All pods that are decided on, with a line of names.
pub fn csv(report: &Report) -> String {
    let mut text = "pod,priority,gang,before,default,node,change,reason\n".to_owned();
    for pod in &report.pods {
        let fields = [
            pod.pod.as_str(),
            &pod.priority.to_string(),
            pod.gang.as_deref().unwrap_or_default(),
            pod.before.as_deref().unwrap_or_default(),
            pod.default.as_deref().unwrap_or_default(),
            pod.node.as_deref().unwrap_or_default(),
            word(pod.change),
            pod.reason.as_deref().unwrap_or_default(),
        ];
        text += &fields.map(csv_field).join(",");
        text.push('\n');
    }
    text
}

/// A change in a word.
pub(super) const fn word(change: Change) -> &'static str {
    match change {
        Change::Stays => "stays",
        Change::Placed => "placed",
        Change::Moved => "moved",
        Change::Evicted => "evicted",
        Change::Pending => "pending",
    }
}
