//! What is mounted, as folders: secrets are written there, everything else begins empty.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::{Api, Client, ResourceExt};

/// By the path in the container, the folder that is in its place here.
pub(crate) type Mounts = BTreeMap<String, PathBuf>;

/// Makes the volumes of the first container in a folder.
pub(crate) async fn make(client: &Client, pod: &Pod, folder: &Path) -> Result<Mounts, String> {
    let mut mounts = Mounts::new();
    let Some(spec) = &pod.spec else { return Ok(mounts) };
    let secrets: Api<Secret> =
        Api::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
    for mount in spec.containers.iter().take(1).flat_map(|one| one.volume_mounts.iter().flatten()) {
        let here = folder.join(&mount.name);
        fs::create_dir_all(&here).map_err(|error| format!("{}: {error}", here.display()))?;
        mounts.insert(mount.mount_path.clone(), here.clone());
        let volume = spec.volumes.iter().flatten().find(|volume| volume.name == mount.name);
        let Some(source) = volume.and_then(|volume| volume.secret.as_ref()) else { continue };
        let name = source.secret_name.as_deref().unwrap_or_default();
        let mode = source.default_mode.unwrap_or(0o644) as u32;
        let secret = secrets.get(name).await;
        let secret = secret.map_err(|error| format!("volume {}: {error}", mount.name))?;
        for (name, value) in secret.data.unwrap_or_default() {
            let path = here.join(name);
            let open = OpenOptions::new().write(true).create(true).mode(mode).open(&path);
            let written = open.and_then(|mut file| file.write_all(&value.0));
            written.map_err(|error| format!("{}: {error}", path.display()))?;
        }
    }
    Ok(mounts)
}

/// A path below a mounted one as it is here; other texts as they are.
pub(crate) fn here(mounts: &Mounts, text: &str) -> String {
    let place = |(path, here): (&String, &PathBuf)| {
        let rest = text.strip_prefix(path.as_str()).filter(|rest| rest.starts_with('/'))?;
        Some(format!("{}{rest}", here.display()))
    };
    mounts.iter().find_map(place).unwrap_or_else(|| text.to_owned())
}
