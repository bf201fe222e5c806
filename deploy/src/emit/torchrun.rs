//! torchrun: its environment on each node.
//!
//! torchrun takes each of its arguments from a variable `PET_` and the argument's name, so after
//! this script `torchrun train.py` needs no more. With a fixed number on each node, ranks go along
//! the nodes' numbers.

use std::fmt::Write;

use crate::plan::Plan;

/// Where rank 0 listens unless the caller sets `MASTER_PORT`.
const PORT: u16 = 29_500;

/// A script for a POSIX shell, to be sourced; it looks the node up by its name.
pub(super) fn script(plan: &Plan) -> String {
    let nodes = plan.nodes();
    let master = nodes[0].host;
    let mut text = format!(
        "# Plan of {}: source this on every node, then run torchrun with the script alone.\n\
         # ONEPATH_HOST overrides the node's name.\n\
         _onepath_host=${{ONEPATH_HOST:-$(hostname)}}\n\
         export PET_NNODES={}\n\
         export PET_MASTER_ADDR={master}\n\
         export PET_MASTER_PORT=\"${{MASTER_PORT:-{PORT}}}\"\n\
         unset NCCL_IB_HCA NCCL_IB_GID_INDEX NCCL_SOCKET_IFNAME\n\
         case \"$_onepath_host\" in\n",
        plan.job.name.replace(char::is_control, " "),
        nodes.len(),
    );
    let mut put = |line: std::fmt::Arguments<'_>| {
        text.write_fmt(line).expect("a string takes all");
    };
    for (number, node) in nodes.iter().enumerate() {
        let short = node.host.split('.').next().unwrap_or(node.host);
        let alone =
            nodes.iter().filter(|other| other.host.split('.').next() == Some(short)).count();
        if short != node.host && alone == 1 {
            put(format_args!("{} | {short})\n", node.host));
        } else {
            put(format_args!("{} | {}.*)\n", node.host, node.host));
        }
        put(format_args!("    export PET_NODE_RANK={number}\n"));
        put(format_args!("    export PET_NPROC_PER_NODE={}\n", node.ranks));
        for (name, value) in &node.environment {
            put(format_args!("    export {name}='{value}'\n"));
        }
        put(format_args!("    ;;\n"));
    }
    put(format_args!(
        "*)\n    echo \"node '$_onepath_host' is not in this plan\" >&2\n    unset _onepath_host\n\
         \x20   return 1 2>/dev/null || exit 1\n    ;;\nesac\nunset _onepath_host\n"
    ));
    text
}
