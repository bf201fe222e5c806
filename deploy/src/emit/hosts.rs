//! Hosts for launchers that number ranks along a file.

use std::fmt::Write;

use crate::plan::Plan;

/// `host slots=n` in the order of the ranks, as mpirun and `DeepSpeed` read it.
pub(super) fn hostfile(plan: &Plan) -> String {
    let lines: Vec<String> =
        plan.nodes().iter().map(|node| format!("{} slots={}\n", node.host, node.ranks)).collect();
    lines.concat()
}

/// `rank i=host slot=k`, as Open MPI reads it; the slot is the number of the GPU.
pub(super) fn rankfile(plan: &Plan) -> String {
    let mut text = String::new();
    let inventory = &plan.job.document.inventory;
    for rank in plan.placement.world().ranks() {
        let seat = plan.placement.seat(rank);
        writeln!(text, "rank {rank}={} slot={}", inventory.host(seat.node), seat.gpu)
            .expect("a string takes all");
    }
    text
}
