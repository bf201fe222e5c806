//! A rank's place from a small TOML file.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde::Deserialize;

use super::address::{address, rendezvous};
use super::{FAMILIES, Launch, LaunchError, Launcher, Texts, half_set};
use crate::bootstrap::Lookup;
use crate::bootstrap::host_port::DEFAULT_PORT;

/// The longest launch file that is read, in bytes.
pub const MAX_FILE_BYTES: usize = 64 * 1024;

impl Launch {
    /// This rank's place as a TOML file tells it:
    ///
    /// ```toml
    /// world_size = 4
    /// rendezvous = "10.0.0.1:29400"
    /// rank = 0              # these three may be missing, so that all ranks can share a file:
    /// local_rank = 0        # then ONEPATH_RANK, ONEPATH_LOCAL_RANK
    /// local_world_size = 4  # and ONEPATH_LOCAL_WORLD_SIZE are read
    /// ```
    pub fn from_file(path: &Path, lookup: Lookup<'_>) -> Result<Self, LaunchError> {
        Self::from_text(path, &read_file(path)?, lookup)
    }

    /// As [`from_file`](Self::from_file), from the content of the file.
    pub(crate) fn from_text(
        path: &Path,
        content: &str,
        lookup: Lookup<'_>,
    ) -> Result<Self, LaunchError> {
        let file: LaunchFile = toml::from_str(content).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            let line = 1 + content.bytes().take(start).filter(|&byte| byte == b'\n').count();
            let message = error.message().replace('\n', " ");
            LaunchError::Content { path: path.to_owned(), line, message }
        })?;
        file.into_launch(lookup)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LaunchFile {
    rank: Option<u32>,
    world_size: u32,
    local_rank: Option<u32>,
    local_world_size: Option<u32>,
    rendezvous: Option<String>,
}

impl LaunchFile {
    fn into_launch(self, lookup: Lookup<'_>) -> Result<Launch, LaunchError> {
        let [own, ..] = &FAMILIES;
        let either = |field: &'static str, value: Option<u32>, variable: &'static str| {
            let inside = value.map(|number| (field, number.to_string()));
            inside.or_else(|| Some((variable, lookup(variable)?)))
        };
        let rank = either("rank", self.rank, own.rank).ok_or_else(|| {
            half_set("world_size", &self.world_size.to_string(), "rank (or ONEPATH_RANK)")
        })?;
        let local_size =
            own.local_size.and_then(|name| either("local_world_size", self.local_world_size, name));
        let mut launch = Texts {
            rank,
            size: ("world_size", self.world_size.to_string()),
            local_rank: either("local_rank", self.local_rank, own.local_rank),
            local_size,
        }
        .parse(Launcher::File)?;
        launch.rendezvous = match self.rendezvous {
            Some(text) => Some(address("rendezvous", &text, DEFAULT_PORT)?),
            None => rendezvous(&launch, lookup)?,
        };
        Ok(launch)
    }
}

fn read_file(path: &Path) -> Result<String, LaunchError> {
    let failed = |cause| LaunchError::File { path: path.to_owned(), cause };
    let file = File::open(path).map_err(failed)?;
    let mut content = String::new();
    let limit = MAX_FILE_BYTES as u64 + 1;
    let length = file.take(limit).read_to_string(&mut content).map_err(failed)?;
    if length > MAX_FILE_BYTES {
        return Err(failed(io::ErrorKind::FileTooLarge.into()));
    }
    Ok(content)
}
