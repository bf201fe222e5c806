//! A plan as Indexed Jobs of a Kubernetes cluster.
//!
//! | module | what it holds |
//! |---|---|
//! | `spec` | options and plan together, checked |
//! | `names` | names and quantities that Kubernetes takes |
//! | `rule` | how the pods of a stage lie |
//! | `labels` | labels and annotations that the pod scheduler does not know |
//! | `objects` | the objects of a job |
//! | `yaml` | objects as YAML |
//! | `create` | making them in a cluster, all or none |
//! | `refusal` | why one was not made, and what is left of the others |

mod create;
pub(crate) mod labels;
mod names;
mod objects;
mod refusal;
mod rule;
mod spec;
mod yaml;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::arguments::LaunchArguments;
use super::secret::{Secret, hexadecimal};
use super::{LaunchError, plan};
use crate::connect::{self, ConnectError};
use objects::Objects;
use refusal::CreateError;
use spec::JobSpec;

/// Why no Jobs were made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KubernetesError {
    /// A plan that does not say how its ranks belong together.
    #[error(
        "{}: constraints: none: what 'onepath plan --emit json' writes would be right",
        .path.display()
    )]
    NoConstraints {
        /// The plan.
        path: PathBuf,
    },
    /// No image.
    #[error("--kubernetes needs a container image: --image registry/name:tag would be right")]
    NoImage,
    /// An option that cannot be.
    #[error("{field} {value:?}: {expected} would be right")]
    Value {
        /// The option.
        field: &'static str,
        /// Its value.
        value: String,
        /// What would be right.
        expected: &'static str,
    },
    /// Pods could not have host names.
    #[error(
        "--name {name:?}: host names of pods get too long: at most {most} letters would be right"
    )]
    LongName {
        /// The job's name.
        name: String,
        /// The most letters.
        most: usize,
    },
    /// No runtime for the client.
    #[error("the client of the cluster cannot be started: {0}")]
    Runtime(#[source] io::Error),
    /// Nowhere to print to.
    #[error("standard output: {0}")]
    Output(#[source] io::Error),
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Create(#[from] CreateError),
}

/// Makes the Jobs, or writes or checks them; the exit code.
pub(super) fn run(arguments: &LaunchArguments) -> Result<u8, LaunchError> {
    let options = &arguments.kubernetes;
    let path = arguments.plan.as_deref().unwrap_or_else(|| Path::new(""));
    let plan = plan::read(path)?;
    let spec = spec::read(arguments, path, &plan)?;
    let (secret, launch) = (Secret::new()?, hexadecimal::<8>()?);
    let text = if options.emit {
        rule::comment(&spec) + &yaml::documents(Objects::new(&spec, &secret, launch).all())
    } else {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(KubernetesError::Runtime)?;
        runtime.block_on(in_cluster(spec, &secret, launch))?
    };
    print(&text)?;
    Ok(0)
}

/// Makes the objects of a job; what was done.
async fn in_cluster(
    mut spec: JobSpec<'_>,
    secret: &Secret,
    launch: String,
) -> Result<String, KubernetesError> {
    let cluster = connect::connect(&spec.options.cluster).await?;
    let said = rule::settle(&mut spec, &cluster).await;
    let objects = Objects::new(&spec, secret, launch);
    Ok(said + &create::run(&spec, &objects, cluster).await?)
}

/// Prints a result; a reader that has read enough is no failure.
fn print(text: &str) -> Result<(), KubernetesError> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(KubernetesError::Output(error))
        }
        _ => Ok(()),
    }
}
