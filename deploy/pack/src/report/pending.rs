//! Why a pod stays without a node.

use crate::problem::{PodId, Problem};
use crate::score::Goal;
use crate::solve::report::{Answer, Status};

/// For a pod that has no node in the answer.
pub(super) fn reason(problem: &Problem, answer: &Answer, id: PodId) -> String {
    let pod = &problem.pods()[id.index()];
    let suits = &problem.classes()[pod.class.index()].suits;
    let nodes = || problem.nodes().iter().zip(suits).filter(|(_, suits)| **suits);
    if nodes().next().is_none() {
        return "no node suits it (taints, labels, affinity, anti-affinity of pods that stay)"
            .to_owned();
    }
    let resources = problem.resources().iter().enumerate();
    let short = resources.clone().find_map(|(index, resource)| {
        let most = nodes().map(|(node, _)| node.capacity[index]).max()?;
        let asked = pod.request[index];
        let unit = resource.unit;
        let beside = if index < problem.own_resources() {
            "beside pods that stay"
        } else {
            "for a pod that never preempts"
        };
        let name = &resource.name;
        (asked > most).then(|| {
            format!("asks for {asked}{unit} of {name}, no node has more than {most}{unit} {beside}")
        })
    });
    if let Some(short) = short {
        return short;
    }
    let priority = problem.priorities()[pod.tier.index()];
    let gang = pod.gang.map(|gang| &problem.gangs()[gang.index()]);
    let mut what = gang.map_or_else(String::new, |gang| {
        format!("its gang {} needs {} pods at once: ", gang.name, gang.minimum)
    });
    if pod.runs_on.is_none() && !problem.preempts(id) {
        what += "its preemptionPolicy is Never, so it takes only room that is free now: ";
    }
    let proved = answer.stages.iter().any(|stage| {
        let tier = stage.tier as usize == pod.tier.index();
        tier && stage.goal == Goal::Placed && stage.status == Status::Optimal
    });
    if proved && pod.tier.index() == 0 {
        format!("{what}no placement has more pods of priority {priority}")
    } else if proved {
        format!(
            "{what}none has more pods of priority {priority} and is as good for more urgent ones"
        )
    } else {
        format!("{what}no room was found in the time")
    }
}
