//! Reads Sailor's data from a folder: `profiles/MODEL/[GPU/]mbsB_tmpT.json`,
//! `measured/MODEL/N*/plan_config_*.json`, `network_coefficients.json`.

#![allow(
    clippy::disallowed_methods,
    reason = "the data is outside of the crate; reading it is \
    this module's one purpose"
)]

use std::fs;
use std::path::{Path, PathBuf};

use onepath_topology::pipeline::model::Profile;
use onepath_topology::pipeline::predict::{
    Constants, Measured, NetworkTable, Plan, Prediction, Profiles, parse_sailor, predict,
    profile_of_name,
};

/// One measured run beside its prediction.
pub(crate) struct Run {
    pub(crate) model: String,
    pub(crate) name: String,
    pub(crate) plan: Plan,
    pub(crate) measured: Measured,
    pub(crate) predicted: Prediction,
}

impl Run {
    /// Whether it counts: profiles at micro-batch 1 overshoot, and with few micro-batches an
    /// iteration is mostly what no profile holds.
    pub(crate) fn judged(&self) -> bool {
        self.plan.micro_batch >= 2 && self.plan.micro_batches() >= 4
    }

    /// Predicted over measured, minus 1, in percent.
    pub(crate) fn error_percent(&self) -> f64 {
        (self.predicted.iteration_s / self.measured.iteration_s - 1.0) * 100.0
    }
}

/// Every measured run of a folder, sorted by model, GPUs and name.
pub(crate) fn runs(data: &Path, constants: &Constants) -> Result<Vec<Run>, String> {
    let network = data.join("network_coefficients.json");
    let network = NetworkTable::parse(&text(&network)?).map_err(|error| at(&network, &error))?;
    let mut runs = Vec::new();
    for model in entries(&data.join("measured"))? {
        let profiles = profiles(&data.join("profiles"), &name(&model))?;
        for nodes in entries(&model)? {
            for file in entries(&nodes)? {
                let parsed = parse_sailor(&text(&file)?).map_err(|error| at(&file, &error))?;
                let (plan, Some(measured)) = parsed else { continue };
                let predicted = predict(&plan, &profiles, &network, constants);
                let predicted = predicted.map_err(|error| at(&file, &error))?;
                let run = name(&file).replace("plan_config_", "").replace(".json", "");
                runs.push(Run { model: name(&model), name: run, plan, measured, predicted });
            }
        }
    }
    runs.sort_by_key(|run| (run.model.clone(), run.plan.gpus(), run.name.clone()));
    Ok(runs)
}

/// The profiles of the model whose folder begins with this name, whatever the case.
fn profiles(folder: &Path, model: &str) -> Result<Profiles, String> {
    let model = model.to_lowercase();
    let mut folders = entries(folder)?.into_iter();
    let found = folders.find(|folder| name(folder).to_lowercase().starts_with(&model));
    let found = found.ok_or_else(|| format!("{}: no profiles of {model}", folder.display()))?;
    let mut profiles = Profiles::default();
    for entry in entries(&found)? {
        if entry.is_dir() {
            for file in entries(&entry)? {
                insert(&mut profiles, Some(name(&entry)), &file)?;
            }
        } else {
            insert(&mut profiles, None, &entry)?;
        }
    }
    Ok(profiles)
}

fn insert(profiles: &mut Profiles, gpu: Option<String>, file: &Path) -> Result<(), String> {
    let Some((micro_batch, tensor)) = profile_of_name(&name(file)) else {
        return Ok(());
    };
    let profile = Profile::parse(&text(file)?).map_err(|error| at(file, &error))?;
    profiles.insert(gpu, micro_batch, tensor, profile);
    Ok(())
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let read = fs::read_dir(folder).map_err(|error| at(folder, &error))?;
    let mut paths: Vec<PathBuf> = read.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    Ok(paths)
}

fn text(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| at(path, &error))
}

fn name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn at(path: &Path, error: &impl std::fmt::Display) -> String {
    format!("{}: {error}", path.display())
}
