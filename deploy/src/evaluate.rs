//! The prediction of a plan that somebody else made.
//!
//! The plan is JSON, in our format (`onepath-plan/1`, `topology/src/pipeline/predict/mod.rs`) or in
//! Sailor's. Profiles are `DIR/GPU/mbsB_tmpT.json` (micro-batch B, tensor degree T); without the
//! folder of the GPU they serve plans of one kind of GPU only.
//! `topology/src/pipeline/model/profile.rs` and `predict/network.rs` document what is in profiles
//! and in the network's file.

use std::fmt::Write;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use onepath_topology::Bytes;
use onepath_topology::pipeline::model::{Profile, ProfileError};
use onepath_topology::pipeline::predict::{
    Constants, NetworkError, NetworkTable, Plan, PlanError, PredictError, Prediction, Profiles,
    SailorError, parse_sailor, predict, profile_of_name,
};

use crate::arguments::{EvaluateArguments, Format};
use crate::read::{self, ReadError};

/// The longest plan, profile or table, in bytes.
pub(crate) const MAX_FILE_BYTES: usize = 16 << 20;
/// The most files of a folder.
const MAX_ENTRIES: usize = 10_000;
/// The most layers that a warning names.
const MAX_NAMED: usize = 8;

/// Why there is no prediction.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EvaluateError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("{}: {source}", .path.display())]
    Folder { path: PathBuf, source: io::Error },
    #[error("{}: more than {MAX_ENTRIES} entries: fewer would be right", .0.display())]
    Entries(PathBuf),
    #[error("{}: {problem}", .path.display())]
    Plan { path: PathBuf, problem: PlanError },
    #[error("{}: {problem}", .path.display())]
    Sailor { path: PathBuf, problem: SailorError },
    #[error("{}: {problem}", .path.display())]
    Network { path: PathBuf, problem: NetworkError },
    #[error("{}: {problem}", .path.display())]
    Profile { path: PathBuf, problem: ProfileError },
    #[error("{}: no layer profile: [GPU/]mbsB_tmpT.json would be right", .0.display())]
    NoProfiles(PathBuf),
    #[error("{}: {problem}", .path.display())]
    Predict { path: PathBuf, problem: PredictError },
    #[error("the prediction as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

#[derive(Serialize)]
struct View {
    format: &'static str,
    iteration_s: f64,
    reduction_s: f64,
    max_memory_bytes: Bytes,
    gpus: u64,
    micro_batches: u64,
    stages: Vec<StageView>,
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct StageView {
    pipeline: usize,
    stage: usize,
    gpus: Vec<String>,
    layers: usize,
    compute_s: f64,
    transfers_s: f64,
    reduction_s: f64,
    update_s: f64,
    memory_bytes: Bytes,
}

/// The prediction as text, and its warnings on standard error.
pub(crate) fn run(arguments: &EvaluateArguments) -> Result<String, EvaluateError> {
    let plan = plan(&arguments.plan)?;
    let path = arguments.network.clone();
    let network = NetworkTable::parse(&read::text(&path, MAX_FILE_BYTES)?)
        .map_err(|problem| EvaluateError::Network { path, problem })?;
    let profiles = profiles(&arguments.profiles)?;
    let path = arguments.plan.clone();
    let found = predict(&plan, &profiles, &network, &Constants::default())
        .map_err(|problem| EvaluateError::Predict { path, problem })?;
    let view = view(&plan, &found);
    for warning in &view.warnings {
        eprintln!("onepath: warning: {warning}");
    }
    Ok(match arguments.format {
        Format::Text => text(&view),
        Format::Json => serde_json::to_string_pretty(&view)? + "\n",
        Format::Csv => csv(&view),
    })
}

/// A plan in our format or in Sailor's, told apart by Sailor's list of pipelines.
fn plan(path: &Path) -> Result<Plan, EvaluateError> {
    let text = read::text(path, MAX_FILE_BYTES)?;
    let sailor = serde_json::from_str::<serde_json::Value>(&text)
        .is_ok_and(|value| value.get("pipeline_list").is_some());
    let path = path.to_owned();
    if sailor {
        let parsed = parse_sailor(&text);
        return parsed
            .map(|(plan, _)| plan)
            .map_err(|problem| EvaluateError::Sailor { path, problem });
    }
    Plan::parse(&text).map_err(|problem| EvaluateError::Plan { path, problem })
}

/// All profiles of a folder; other files are left alone.
fn profiles(folder: &Path) -> Result<Profiles, EvaluateError> {
    let mut profiles = Profiles::default();
    for (gpu, path) in profile_files(folder)? {
        let Some((micro_batch, tensor)) = profile_of_name(&name(&path)) else { continue };
        let text = read::text(&path, MAX_FILE_BYTES)?;
        let profile = Profile::parse(&text)
            .map_err(|problem| EvaluateError::Profile { path: path.clone(), problem })?;
        profiles.insert(gpu, micro_batch, tensor, profile);
    }
    if profiles.is_empty() {
        return Err(EvaluateError::NoProfiles(folder.to_owned()));
    }
    Ok(profiles)
}

/// Files named as profiles, in the folder and one below, with the GPU of the folder below.
pub(crate) fn profile_files(
    folder: &Path,
) -> Result<Vec<(Option<String>, PathBuf)>, EvaluateError> {
    let mut files = Vec::new();
    for path in entries(folder)? {
        if path.is_dir() {
            let gpu = name(&path);
            files.extend(entries(&path)?.into_iter().map(|file| (Some(gpu.clone()), file)));
        } else {
            files.push((None, path));
        }
    }
    files.retain(|(_, path)| profile_of_name(&name(path)).is_some());
    Ok(files)
}

/// What is in a folder, sorted.
pub(crate) fn entries(folder: &Path) -> Result<Vec<PathBuf>, EvaluateError> {
    let problem = |source| EvaluateError::Folder { path: folder.to_owned(), source };
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(problem)? {
        if paths.len() == MAX_ENTRIES {
            return Err(EvaluateError::Entries(folder.to_owned()));
        }
        paths.push(entry.map_err(problem)?.path());
    }
    paths.sort();
    Ok(paths)
}

/// The last part of a path.
pub(crate) fn name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn view(plan: &Plan, found: &Prediction) -> View {
    let mut stages = Vec::new();
    for (pipeline, (given, predicted)) in plan.pipelines.iter().zip(&found.stages).enumerate() {
        for (stage, (given, predicted)) in given.stages.iter().zip(predicted).enumerate() {
            let mut gpus: Vec<String> =
                given.replicas.iter().map(|replica| replica.gpu.clone()).collect();
            gpus.sort();
            gpus.dedup();
            stages.push(StageView {
                pipeline,
                stage,
                gpus,
                layers: given.layers.len(),
                compute_s: predicted.compute_s,
                transfers_s: predicted.transfers_s,
                reduction_s: predicted.reduction_s,
                update_s: predicted.update_s,
                memory_bytes: predicted.memory,
            });
        }
    }
    View {
        format: "onepath-prediction/1",
        iteration_s: found.iteration_s,
        reduction_s: found.reduction_s,
        max_memory_bytes: found.max_memory,
        gpus: plan.gpus(),
        micro_batches: plan.micro_batches(),
        stages,
        warnings: warnings(plan),
    }
}

/// Layers below a pipeline's highest that it never or repeatedly computes.
fn warnings(plan: &Plan) -> Vec<String> {
    let mut warnings = Vec::new();
    for (number, pipeline) in plan.pipelines.iter().enumerate() {
        let mut layers: Vec<u32> =
            pipeline.stages.iter().flat_map(|stage| stage.layers.iter().copied()).collect();
        layers.sort_unstable();
        let twice: Vec<u32> =
            layers.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
        let mut never: Vec<u32> = Vec::new();
        let mut next = 0;
        for &layer in &layers {
            never.extend((next..layer).take(MAX_NAMED));
            next = layer + 1;
        }
        for (layers, what) in [(never, "never"), (twice, "more than once")] {
            if !layers.is_empty() {
                let named: Vec<String> =
                    layers.iter().take(MAX_NAMED).map(u32::to_string).collect();
                let more = if layers.len() > MAX_NAMED { ", ..." } else { "" };
                warnings.push(format!(
                    "pipeline {number} computes layer {}{more} {what}: once would be right",
                    named.join(", ")
                ));
            }
        }
    }
    warnings
}

fn text(view: &View) -> String {
    let gib = |bytes: Bytes| bytes.0 as f64 / f64::from(1 << 30);
    let mut text = format!(
        "iteration {:.4} s, reduction {:.4} s, fullest GPU {:.2} GiB; {} GPUs, {} micro-batches\n\n\
         pipeline  stage  layers  compute     transfers   reduction   update      memory     GPU\n",
        view.iteration_s,
        view.reduction_s,
        gib(view.max_memory_bytes),
        view.gpus,
        view.micro_batches
    );
    for stage in &view.stages {
        let gpus: String = stage.gpus.join(", ").chars().filter(|c| !c.is_control()).collect();
        writeln!(
            text,
            "{:<8}  {:<5}  {:<6}  {:<10}  {:<10}  {:<10}  {:<10}  {:<9}  {gpus}",
            stage.pipeline,
            stage.stage,
            stage.layers,
            format!("{:.6} s", stage.compute_s),
            format!("{:.6} s", stage.transfers_s),
            format!("{:.6} s", stage.reduction_s),
            format!("{:.6} s", stage.update_s),
            format!("{:.2} GiB", gib(stage.memory_bytes)),
        )
        .expect("a string takes all");
    }
    for warning in &view.warnings {
        writeln!(text, "\n*** WARNING: {warning}").expect("a string takes all");
    }
    text
}

fn csv(view: &View) -> String {
    format!(
        "iteration_s,reduction_s,max_memory_bytes,gpus,micro_batches\n{},{},{},{},{}\n",
        view.iteration_s, view.reduction_s, view.max_memory_bytes.0, view.gpus, view.micro_batches
    )
}
