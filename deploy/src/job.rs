//! What is to be planned: the inventory, and the tables `model` and `training` of the same file.
//!
//! ```toml
//! [model]
//! layers = 30
//! hidden = 3072
//! heads = 32
//! sequence = 2048
//! vocabulary = 51200
//! precision = "bf16"          # or "fp16", "fp32"
//! optimizer = "adam"          # or "momentum", "sgd"
//! recompute = "full"          # or "selective", "none"
//!
//! [training]
//! global_batch = 768          # samples of an iteration
//! micro_batch = [1, 2, 4]     # optional: sizes to be tried
//! virtual_stages = [1]        # optional: numbers to be tried
//! max_tensor = 8              # optional
//! max_pipeline = 128          # optional
//! bucket_mib = 160            # optional: gradients that are reduced at once
//! transfers = "blocking"      # optional: or "overlapped"
//! ```

use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use onepath_topology::Bytes;
use onepath_topology::cluster::file::{Document, InventoryFileError, MAX_FILE_BYTES};
use onepath_topology::cluster::structure::{self, Structure, StructureError};
use onepath_topology::pipeline::model::{ModelShape, ModelShapeError};
use onepath_topology::pipeline::partition::Transfers;
use onepath_topology::pipeline::search::SearchOptions;

use crate::arguments::PlanArguments;
use crate::read::{self, ReadError};

/// The most sizes that are tried.
const MAX_CHOICES: usize = 16;

/// What is to be planned.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) name: String,
    pub(crate) document: Document,
    pub(crate) shape: ModelShape,
    pub(crate) options: SearchOptions,
}

/// What cannot be planned.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JobError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("{file}: {problem}")]
    Structure { file: String, problem: StructureError },
    #[error("{file}: {problem}")]
    Inventory { file: String, problem: InventoryFileError },
    #[error("{file}: table [{table}] is missing: the documented fields would be right")]
    Missing { file: String, table: &'static str },
    #[error("{file}: [{table}]: {problem}")]
    Table { file: String, table: &'static str, problem: String },
    #[error("{file}: [model]: {problem}")]
    Model { file: String, problem: ModelShapeError },
    #[error("{file}: training.{field}: {value}: {expected} would be right")]
    Value { file: String, field: &'static str, value: String, expected: String },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTraining {
    global_batch: u64,
    micro_batch: Option<Vec<u32>>,
    virtual_stages: Option<Vec<u32>>,
    max_tensor: Option<u32>,
    max_pipeline: Option<u32>,
    bucket_mib: Option<u64>,
    transfers: Option<String>,
}

/// Reads all files of a command line.
pub(crate) fn read(arguments: &PlanArguments, path: &Path) -> Result<Job, JobError> {
    let file = path.display().to_string();
    let structure = structure_of(arguments)?;
    let text = read::text(path, MAX_FILE_BYTES)?;
    let document = Document::parse(&text, structure.as_ref())
        .map_err(|problem| JobError::Inventory { file: file.clone(), problem })?;
    let shape: ModelShape = table(&file, &document, "model")?;
    let shape =
        shape.checked().map_err(|problem| JobError::Model { file: file.clone(), problem })?;
    let options = options(&file, table(&file, &document, "training")?)?;
    let name =
        path.file_stem().map_or_else(|| file.clone(), |stem| stem.to_string_lossy().into_owned());
    Ok(Job { name, document, shape, options })
}

fn structure_of(arguments: &PlanArguments) -> Result<Option<Structure>, JobError> {
    let (path, parsed) = match (&arguments.slurm, &arguments.kubernetes) {
        (Some(path), _) => {
            let text = read::text(path, structure::MAX_FILE_BYTES)?;
            (path, Structure::from_slurm(&text, arguments.topology.as_deref()))
        }
        (None, Some(path)) => {
            let text = read::text(path, structure::MAX_FILE_BYTES)?;
            (path, Structure::from_kubernetes(&text))
        }
        (None, None) => return Ok(None),
    };
    let file = path.display().to_string();
    parsed.map(Some).map_err(|problem| JobError::Structure { file, problem })
}

fn table<T: DeserializeOwned>(
    file: &str,
    document: &Document,
    table: &'static str,
) -> Result<T, JobError> {
    let file = file.to_owned();
    let Some(found) = document.table(table) else {
        return Err(JobError::Missing { file, table });
    };
    found.clone().try_into().map_err(|error: toml::de::Error| {
        let problem = error.to_string().lines().map(str::trim).collect::<Vec<_>>().join(", ");
        let problem = problem.chars().filter(|c| !c.is_control()).take(400).collect();
        JobError::Table { file, table, problem }
    })
}

fn options(file: &str, raw: RawTraining) -> Result<SearchOptions, JobError> {
    let wrong = |field, value: &dyn std::fmt::Debug, expected: &str| JobError::Value {
        file: file.to_owned(),
        field,
        value: format!("{value:?}"),
        expected: expected.to_owned(),
    };
    let mut options = SearchOptions::new(raw.global_batch);
    for (field, given, place) in [
        ("micro_batch", raw.micro_batch, &mut options.micro_batches),
        ("virtual_stages", raw.virtual_stages, &mut options.virtual_stages),
    ] {
        let Some(list) = given else { continue };
        let sizes = list.iter().all(|size| (1..=65_536).contains(size));
        if list.is_empty() || list.len() > MAX_CHOICES || !sizes {
            return Err(wrong(field, &list, "a list of 1 to 16 numbers from 1 to 65536"));
        }
        *place = list;
    }
    for (field, given, place) in [
        ("max_tensor", raw.max_tensor, &mut options.max_tensor),
        ("max_pipeline", raw.max_pipeline, &mut options.max_pipeline),
    ] {
        let Some(most) = given else { continue };
        if !(1..=65_536).contains(&most) {
            return Err(wrong(field, &most, "a number from 1 to 65536"));
        }
        *place = most;
    }
    if let Some(bucket) = raw.bucket_mib {
        if !(1..=1 << 20).contains(&bucket) {
            return Err(wrong("bucket_mib", &bucket, "a number from 1 to 1048576"));
        }
        options.bucket = Bytes::mib(bucket);
    }
    options.transfers = match raw.transfers.as_deref() {
        None | Some("blocking") => Transfers::Blocking,
        Some("overlapped") => Transfers::Overlapped,
        Some(other) => {
            let other: String = other.chars().take(64).collect();
            return Err(wrong("transfers", &other, "\"blocking\" or \"overlapped\""));
        }
    };
    Ok(options)
}
