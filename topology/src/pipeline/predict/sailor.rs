//! Sailor's plan files (SOSP'25): `plan_config_*.json`.
//!
//! A replica there is `[[[gpu, GPUs of a node, zone], …], tensor degree]`; the measured iteration
//! time, reduction and memory stand beside the plan.

use serde::Deserialize;

use super::{Pipeline, Plan, PlanError, Replica, Stage};
use crate::cluster::{printable, shown};
use crate::units::Bytes;

/// What a run of a plan showed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// One iteration, in seconds.
    pub iteration_s: f64,
    /// Reduction of gradients, waiting included, in seconds.
    pub reduction_s: f64,
    /// Of the fullest GPU, as its driver counts it.
    pub max_memory: Bytes,
}

/// Why a file is refused.
#[derive(Debug, thiserror::Error)]
pub enum SailorError {
    /// Not the expected JSON.
    #[error("not a plan of Sailor: {}", printable(&.0.to_string(), 400))]
    Json(#[from] serde_json::Error),
    /// Lists that do not belong together.
    #[error("{field} of pipeline {pipeline} has {found} entries: num_stages is {stages}")]
    Length {
        /// Which list.
        field: &'static str,
        /// Which pipeline.
        pipeline: usize,
        /// Its length.
        found: usize,
        /// The right one.
        stages: usize,
    },
    /// A replica without a node.
    #[error("a replica of stage {stage} of pipeline {pipeline} names no node")]
    NoNode {
        /// Which pipeline.
        pipeline: usize,
        /// Which stage.
        stage: usize,
    },
    /// A replica of several kinds of GPU.
    #[error("a replica of stage {stage} of pipeline {pipeline} is of {first} and {other}")]
    Mixed {
        /// Which pipeline.
        pipeline: usize,
        /// Which stage.
        stage: usize,
        /// One kind.
        first: String,
        /// Another.
        other: String,
    },
    /// The plan itself.
    #[error(transparent)]
    Plan(#[from] PlanError),
}

#[derive(Deserialize)]
struct File {
    pipeline_list: Vec<Listed>,
    mbs: u32,
    gbs: u64,
    real: Option<f64>,
    red_grads: Option<f64>,
    max_mem: Option<f64>,
}

#[derive(Deserialize)]
struct Listed {
    num_stages: usize,
    layers_per_stage: Vec<Vec<u32>>,
    tmp_per_stage: Vec<Vec<ListedReplica>>,
}

/// Nodes (GPU, GPUs of a node, zone) and tensor degree.
type ListedReplica = (Vec<(String, u32, String)>, u32);

/// The plan of a file, and what was measured if the file says so.
pub fn parse_sailor(text: &str) -> Result<(Plan, Option<Measured>), SailorError> {
    let file: File = serde_json::from_str(text)?;
    let mut pipelines = Vec::with_capacity(file.pipeline_list.len());
    for (number, listed) in file.pipeline_list.into_iter().enumerate() {
        pipelines.push(convert(number, listed)?);
    }
    let plan = Plan::new(file.mbs, file.gbs, pipelines)?;
    let measured = file.real.map(|iteration_s| Measured {
        iteration_s,
        reduction_s: file.red_grads.unwrap_or(f64::NAN),
        max_memory: Bytes(file.max_mem.unwrap_or(0.0) as u64),
    });
    Ok((plan, measured))
}

fn convert(number: usize, listed: Listed) -> Result<Pipeline, SailorError> {
    let stages = listed.num_stages;
    let lists = [
        ("layers_per_stage", listed.layers_per_stage.len()),
        ("tmp_per_stage", listed.tmp_per_stage.len()),
    ];
    if let Some(&(field, found)) = lists.iter().find(|(_, found)| *found != stages) {
        return Err(SailorError::Length { field, pipeline: number, found, stages });
    }
    let pairs = listed.layers_per_stage.into_iter().zip(listed.tmp_per_stage);
    let stage = |(index, (layers, replicas)): (usize, (Vec<u32>, Vec<_>))| {
        let replicas = replicas.into_iter().map(|(nodes, degree)| replica(nodes, degree));
        let replicas: Result<Vec<_>, _> = replicas.collect();
        let replicas = replicas.map_err(|(first, other)| match other {
            Some(other) => SailorError::Mixed { pipeline: number, stage: index, first, other },
            None => SailorError::NoNode { pipeline: number, stage: index },
        })?;
        Ok(Stage { layers, replicas })
    };
    let stages: Result<Vec<_>, SailorError> = pairs.enumerate().map(stage).collect();
    Ok(Pipeline { stages: stages? })
}

/// Fails with the two kinds of GPU that were mixed, or with no second one when there is no node.
fn replica(
    nodes: Vec<(String, u32, String)>,
    tensor_parallel: u32,
) -> Result<Replica, (String, Option<String>)> {
    let mut nodes = nodes.into_iter();
    let Some((gpu, gpus_per_node, _)) = nodes.next() else {
        return Err((String::new(), None));
    };
    if let Some((other, ..)) = nodes.find(|(other, ..)| *other != gpu) {
        return Err((shown(&gpu), Some(shown(&other))));
    }
    Ok(Replica { gpu, gpus_per_node, tensor_parallel, node: None })
}
