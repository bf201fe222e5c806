//! Megatron-LM.
//!
//! The layout of the pipeline is a text: `E` the embedding, `t` a transformer layer, `L` the loss,
//! `|` between stages, `*n` repeats what stands before it. Virtual stages follow each other: first
//! those of number 0 of all pipeline ranks, then those of number 1 (Megatron Core's user guide,
//! Custom Pipeline Model Parallel Layout).

use std::collections::BTreeSet;
use std::fmt::Write;

use onepath_topology::groups::{GroupKind, survey};
use onepath_topology::pipeline::model::{Precision, Recompute};

use super::EmitError;
use crate::plan::{Plan, net_name};

/// Bytes of a gradient, which is kept in 32 bits.
const GRADIENT_BYTES: u64 = 4;

/// The arguments, one a line, each line but the last ending in a backslash for a shell.
pub(super) fn arguments(plan: &Plan) -> String {
    let (shape, degrees) = (&plan.job.shape, plan.found.degrees);
    let mut lines: Vec<String> = Vec::new();
    let mut option = |name: &str, value: &dyn std::fmt::Display| {
        lines.push(format!("--{name} {value}"));
    };
    option("num-layers", &shape.layers);
    option("hidden-size", &shape.hidden);
    option("num-attention-heads", &shape.heads);
    option("seq-length", &shape.sequence);
    option("max-position-embeddings", &shape.sequence);
    option("tensor-model-parallel-size", &degrees.tensor);
    option("pipeline-model-parallel-size", &degrees.pipeline);
    option("micro-batch-size", &degrees.micro_batch);
    option("global-batch-size", &plan.job.options.global_batch);
    option("ddp-bucket-size", &(plan.job.options.bucket.0 / GRADIENT_BYTES));
    if degrees.pipeline > 1 {
        option("pipeline-model-parallel-layout", &format!("'{}'", layout(plan)));
    }
    match shape.precision {
        Precision::Fp32 => {}
        Precision::Fp16 => lines.push("--fp16".to_owned()),
        Precision::Bf16 => lines.push("--bf16".to_owned()),
    }
    match shape.recompute {
        Recompute::None => {}
        Recompute::Selective => lines.push("--recompute-granularity selective".to_owned()),
        Recompute::Full => lines.push(
            "--recompute-granularity full --recompute-method uniform --recompute-num-layers 1"
                .to_owned(),
        ),
    }
    if degrees.data > 1 {
        lines.push(
            "--use-distributed-optimizer --overlap-grad-reduce --overlap-param-gather".to_owned(),
        );
    }
    lines.join(" \\\n") + "\n"
}

/// The layout of the pipeline.
pub(super) fn layout(plan: &Plan) -> String {
    let parts = plan.found.degrees.virtual_stages as usize;
    let last = plan.job.shape.layers as usize + 1;
    let mut stages = Vec::new();
    for part in 0..parts {
        for stage in &plan.found.stages {
            // As the timeline has it: the layers of a rank in nearly equal parts.
            let first = stage.first_layer + stage.layers * part / parts;
            let end = stage.first_layer + stage.layers * (part + 1) / parts;
            stages.push((first, end));
        }
    }
    // Numbers of layers are those of a plan without virtual stages; with them, the model runs
    // through the first parts of all ranks before the second ones. Blocks are alike, so only their
    // counts matter, and the embedding and the head are moved to the ends.
    let count = stages.len();
    let blocks = |(first, end): (usize, usize)| end.min(last).saturating_sub(first.max(1));
    let text = |(index, range): (usize, &(usize, usize))| {
        let blocks = match blocks(*range) {
            0 => String::new(),
            1 => "t".to_owned(),
            n => format!("t*{n}"),
        };
        let embedding = if index == 0 { "E" } else { "" };
        let head = if index + 1 == count { "L" } else { "" };
        format!("{embedding}{blocks}{head}")
    };
    stages.iter().enumerate().map(text).collect::<Vec<_>>().join("|")
}

/// Networks of the communicators, as YAML for `--nccl-communicator-config-path`: a name of a kind
/// of group, and `net_name` (`IB` or `Socket`) below it. Inside of one node nothing is said.
///
/// Megatron-LM makes every kind of group, also those that equal another one here.
pub(super) fn communicators(plan: &Plan) -> Result<String, EmitError> {
    let names = [
        (GroupKind::Tensor, "tp"),
        (GroupKind::Context, "cp"),
        (GroupKind::Data, "dp"),
        (GroupKind::DataContext, "dp_cp"),
        (GroupKind::Pipeline, "pp"),
        // The first and the last stage share an embedding.
        (GroupKind::Pipeline, "embd"),
        (GroupKind::Model, "mp"),
        (GroupKind::TensorData, "tp_dp"),
        (GroupKind::TensorData, "tp_dp_cp"),
        (GroupKind::TensorContext, "tp_cp"),
    ];
    let inventory = &plan.job.document.inventory;
    let mut text = String::new();
    for (kind, name) in names {
        let groups = survey(inventory, &plan.layout, &plan.placement, &[kind])?;
        let nets: BTreeSet<&str> =
            groups.iter().filter_map(|group| net_name(group.selection.carrier)).collect();
        // Sockets work for all of them, RDMA does not.
        let net = if nets.contains("Socket") { Some("Socket") } else { nets.first().copied() };
        if let Some(net) = net {
            writeln!(text, "{name}:\n  net_name: {net}").expect("a string takes all");
        }
    }
    Ok(if text.is_empty() { "{}\n".to_owned() } else { text })
}
