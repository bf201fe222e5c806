//! The job's secret: fresh for each job, never on a command line.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

const SECRET_BYTES: usize = 32;

/// A secret as hexadecimal digits.
pub(super) struct Secret(String);

/// Why there is no secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretError {
    /// No random bytes.
    #[error("the system gave no random bytes for the job's secret: {0}")]
    Random(#[source] getrandom::Error),
    /// No file.
    #[error("{}: the job's secret cannot be kept there: {cause}", .path.display())]
    File {
        /// The file or its folder.
        path: PathBuf,
        /// The system's reason.
        cause: io::Error,
    },
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

impl Secret {
    /// A fresh one.
    pub(super) fn new() -> Result<Self, SecretError> {
        hexadecimal::<SECRET_BYTES>().map(Self)
    }

    /// Its digits.
    pub(super) fn digits(&self) -> &str {
        &self.0
    }
}

/// Random bytes as hexadecimal digits.
pub(super) fn hexadecimal<const BYTES: usize>() -> Result<String, SecretError> {
    let mut bytes = [0_u8; BYTES];
    getrandom::fill(&mut bytes).map_err(SecretError::Random)?;
    let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(digits.concat())
}

/// A file that only this user reads, in a folder of its own; both go with this value.
#[derive(Debug)]
pub(super) struct SecretFile {
    folder: PathBuf,
}

impl SecretFile {
    /// Writes a secret to a file in the user's run-time folder, which lies in memory, or among
    /// temporary files.
    pub(super) fn create(secret: &Secret) -> Result<Self, SecretError> {
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        let runtime = runtime.filter(|folder| folder.is_dir());
        let parent = runtime.unwrap_or_else(std::env::temp_dir);
        let folder = parent.join(format!("onepath-{}", hexadecimal::<8>()?));
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |cause| SecretError::File { path, cause }
        };
        DirBuilder::new().mode(0o700).create(&folder).map_err(failed(&folder))?;
        let kept = Self { folder };
        let path = kept.path();
        let open = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        open.and_then(|mut file: File| writeln!(file, "{}", secret.digits()))
            .map_err(failed(&path))?;
        Ok(kept)
    }

    /// The file.
    pub(super) fn path(&self) -> PathBuf {
        self.folder.join("secret")
    }

    /// The folder that holds it and nothing else.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for SecretFile {
    fn drop(&mut self) {
        // The warden tries again.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_secret_file_is_its_owners_alone_and_goes_with_its_value() {
        let secret = Secret::new().expect("random bytes");
        assert_eq!(secret.digits().len(), 2 * SECRET_BYTES);
        assert!(!format!("{secret:?}").contains(secret.digits()));
        let file = SecretFile::create(&secret).expect("a file");
        let path = file.path();
        let mode = fs::metadata(&path).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_to_string(&path).expect("text").trim(), secret.digits());
        let folder = file.folder().to_owned();
        drop(file);
        assert!(!folder.exists());
    }
}
