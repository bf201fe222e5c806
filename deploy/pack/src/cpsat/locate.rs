//! Where libortools is.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::library::OpenError;

/// The environment variable that names it.
pub const VARIABLE: &str = "ONEPATH_ORTOOLS";

/// The file that is named, or that of the Python package; a folder stands for the one in it.
pub fn locate(named: Option<&Path>) -> Result<PathBuf, OpenError> {
    let variable = env::var_os(VARIABLE).map(PathBuf::from);
    if let Some(path) = named.map(Path::to_owned).or(variable) {
        if path.is_dir() {
            return in_folder(&path)
                .ok_or_else(|| not_found(format!("no libortools.so in {}", path.display())));
        }
        return Ok(path);
    }
    let package = python_package()?;
    in_folder(&package.join(".libs"))
        .ok_or_else(|| not_found(format!("no libortools.so in {}/.libs", package.display())))
}

fn python_package() -> Result<PathBuf, OpenError> {
    let ask = "import ortools; print(list(ortools.__path__)[0])";
    let output = Command::new("python3").args(["-c", ask]).stdin(Stdio::null()).output();
    let output = output.map_err(|error| not_found(format!("python3: {error}")))?;
    if !output.status.success() {
        return Err(not_found("python3 has no package ortools".to_owned()));
    }
    Ok(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
}

fn in_folder(folder: &Path) -> Option<PathBuf> {
    let named = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("libortools.so"))
    };
    fs::read_dir(folder).ok()?.filter_map(|entry| Some(entry.ok()?.path())).find(named)
}

fn not_found(tried: String) -> OpenError {
    OpenError::NotFound { tried }
}
