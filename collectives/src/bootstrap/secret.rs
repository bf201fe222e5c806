//! The job secret, and who is trusted without one.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use onepath_topology::Rank;

use super::Lookup;

/// The variable that holds the secret itself.
pub const SECRET_VARIABLE: &str = "ONEPATH_JOB_SECRET";
/// The variable that names a file with the secret.
pub const SECRET_FILE_VARIABLE: &str = "ONEPATH_JOB_SECRET_FILE";
/// The shortest secret, in bytes.
pub const MIN_SECRET_BYTES: usize = 16;
/// The longest secret, in bytes.
pub const MAX_SECRET_BYTES: usize = 4096;

/// A secret that all ranks of a job share: 16 to 4096 bytes. It is never printed, and its memory
/// is cleared when the last clone is dropped.
#[derive(Clone)]
pub struct JobSecret(Arc<Zeroizing<Vec<u8>>>);

impl fmt::Debug for JobSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JobSecret(hidden)")
    }
}

/// Why there is no secret. No message contains any part of it.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// Both variables are set.
    #[error("{SECRET_VARIABLE} and {SECRET_FILE_VARIABLE} are both set: set only one of them")]
    Both,
    /// Too short or too long, without its line end.
    #[error(
        "the job secret from {origin} has {length} bytes: \
         it must have from {MIN_SECRET_BYTES} to {MAX_SECRET_BYTES}"
    )]
    Length {
        /// Variable or file.
        origin: String,
        /// Its length in bytes; one more than the maximum stands for "longer".
        length: usize,
    },
    /// The variable's value is not UTF-8, so that part of it would be lost.
    #[error("{SECRET_VARIABLE} is not UTF-8: put the secret into a file, {SECRET_FILE_VARIABLE}")]
    NotText,
    /// The file can not be read.
    #[error("the job secret's file '{path}' can not be read: {cause}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        cause: io::Error,
    },
    /// Everybody on the machine may read or change the file.
    #[error(
        "the job secret's file '{path}' has mode {mode:04o}: \
         others may not read or write it, use 'chmod 600'",
        path = path.display()
    )]
    OpenToAll {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
}

impl JobSecret {
    /// A secret of these bytes, less one line end; `origin` is for the message.
    pub fn new(bytes: Vec<u8>, origin: &str) -> Result<Self, SecretError> {
        let mut bytes = Zeroizing::new(bytes);
        if bytes.ends_with(b"\n") {
            bytes.pop();
            if bytes.ends_with(b"\r") {
                bytes.pop();
            }
        }
        if (MIN_SECRET_BYTES..=MAX_SECRET_BYTES).contains(&bytes.len()) {
            Ok(Self(Arc::new(bytes)))
        } else {
            let length = bytes.len().min(MAX_SECRET_BYTES + 1);
            Err(SecretError::Length { origin: origin.to_owned(), length })
        }
    }

    /// The secret in a file that others may neither read nor write.
    pub fn from_file(path: &Path) -> Result<Self, SecretError> {
        let failed = |cause| SecretError::File { path: path.to_owned(), cause };
        let file = File::open(path).map_err(failed)?;
        // The open file is asked, not the path, which may change in between.
        let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o7777;
        if mode & 0o006 != 0 {
            return Err(SecretError::OpenToAll { path: path.to_owned(), mode });
        }
        // Room for all that is read from the start: growing would leave copies in freed memory.
        let limit = MAX_SECRET_BYTES + 3;
        let mut bytes = Vec::with_capacity(limit + 64);
        if let Err(cause) = file.take(limit as u64).read_to_end(&mut bytes) {
            return Err(failed(cause));
        }
        Self::new(bytes, &format!("file '{}'", path.display()))
    }

    /// The secret that the environment gives or points to, if it does.
    pub fn from_environment(lookup: Lookup<'_>) -> Result<Option<Self>, SecretError> {
        match (lookup(SECRET_VARIABLE), lookup(SECRET_FILE_VARIABLE)) {
            (None, None) => Ok(None),
            (Some(_), Some(_)) => Err(SecretError::Both),
            (None, Some(path)) => Self::from_file(Path::new(&path)).map(Some),
            (Some(value), None) if value.contains(char::REPLACEMENT_CHARACTER) => {
                Err(SecretError::NotText)
            }
            (Some(value), None) => Self::new(value.into_bytes(), SECRET_VARIABLE).map(Some),
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Who may take part in a job.
#[derive(Clone, Debug)]
pub enum Trust {
    /// Whoever proves to know the secret, from anywhere.
    Secret(JobSecret),
    /// Whoever connects from this host to this host.
    LoopbackOnly,
    /// Anybody from anywhere: only for networks where nobody else is.
    Insecure,
}

/// An address outside this host, without a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{address} is not a loopback address, and there is no job secret: \
     set {SECRET_VARIABLE} (the same on all ranks) or say --insecure"
)]
pub struct UntrustedAddress {
    /// The address.
    pub address: IpAddr,
}

impl Trust {
    /// What the environment says: a secret if there is one, else loopback only unless `insecure`.
    pub fn from_environment(lookup: Lookup<'_>, insecure: bool) -> Result<Self, SecretError> {
        Ok(match (JobSecret::from_environment(lookup)?, insecure) {
            (Some(secret), _) => Self::Secret(secret),
            (None, true) => Self::Insecure,
            (None, false) => Self::LoopbackOnly,
        })
    }

    /// Whether a peer at `address` may be spoken to at all.
    pub fn check_address(&self, address: IpAddr) -> Result<(), UntrustedAddress> {
        match self {
            Self::LoopbackOnly if !address.to_canonical().is_loopback() => {
                Err(UntrustedAddress { address })
            }
            _ => Ok(()),
        }
    }

    /// The key of the tags of datagrams from one rank to another in a session: HKDF-Expand (RFC
    /// 5869) of the secret, of which one block is more than enough. Without a secret it is made of
    /// the session's number alone, which ranks learn by connections of which strangers know
    /// nothing: it keeps out what goes astray, not who listens.
    pub(crate) fn tag_key(&self, session: u128, from: Rank, to: Rank) -> [u8; 16] {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(self.key()).expect("HMAC takes keys of any length");
        mac.update(b"onepath datagram tag\0");
        mac.update(&session.to_le_bytes());
        mac.update(&from.number().to_le_bytes());
        mac.update(&to.number().to_le_bytes());
        mac.update(&[1]);
        let mut key = [0; 16];
        key.copy_from_slice(&mac.finalize().into_bytes()[..16]);
        key
    }

    /// The key of the challenge. Without a secret it is empty: the format on the wire is the same,
    /// and a side that has a secret notices a side that has none.
    pub(super) fn key(&self) -> &[u8] {
        match self {
            Self::Secret(secret) => secret.bytes(),
            Self::LoopbackOnly | Self::Insecure => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const GOOD: &str = "0123456789abcdef";

    fn file(name: &str, content: &[u8], mode: u32) -> PathBuf {
        let path =
            std::env::temp_dir().join(format!("onepath-secret-{}-{name}", std::process::id()));
        fs::write(&path, content).expect("temporary file");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("mode");
        path
    }

    #[test]
    fn a_secret_loses_its_line_end_and_is_never_printed() {
        for end in ["", "\n", "\r\n"] {
            let secret = JobSecret::new(format!("{GOOD}{end}").into_bytes(), "test").expect("good");
            assert_eq!(secret.bytes(), GOOD.as_bytes());
            assert!(!format!("{:?}", Trust::Secret(secret)).contains("0123"));
        }
    }

    #[test]
    fn a_secret_of_15_or_4097_bytes_is_refused_without_showing_it() {
        for length in [0, 15, 4097, 10_000] {
            let error = JobSecret::new(vec![b'x'; length], "test").expect_err("length");
            assert!(!error.to_string().contains("xx"), "{error}");
        }
        assert!(JobSecret::new(vec![b'x'; 4096], "test").is_ok());
    }

    #[test]
    fn a_file_gives_the_secret_unless_others_may_read_or_write_it() {
        let path = file("good", b"0123456789abcdef\n", 0o600);
        assert_eq!(JobSecret::from_file(&path).expect("good").bytes(), GOOD.as_bytes());
        for mode in [0o604, 0o602, 0o644] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("mode");
            let error = JobSecret::from_file(&path).expect_err("open to all");
            assert!(error.to_string().contains("chmod 600"), "{error}");
        }
        fs::remove_file(&path).expect("remove");
        assert!(matches!(JobSecret::from_file(&path), Err(SecretError::File { .. })));
    }

    #[test]
    fn a_file_with_the_longest_secret_and_a_line_end_is_read_whole() {
        let mut content = vec![b'x'; MAX_SECRET_BYTES];
        content.extend_from_slice(b"\r\n");
        let path = file("long", &content, 0o600);
        assert!(JobSecret::from_file(&path).is_ok());
        fs::write(&path, vec![b'x'; MAX_SECRET_BYTES + 100]).expect("write");
        assert!(matches!(JobSecret::from_file(&path), Err(SecretError::Length { .. })));
        fs::remove_file(&path).expect("remove");
    }

    #[test]
    fn the_environment_decides_the_trust() {
        let none = |_: &str| None;
        assert!(matches!(Trust::from_environment(&none, false), Ok(Trust::LoopbackOnly)));
        assert!(matches!(Trust::from_environment(&none, true), Ok(Trust::Insecure)));
        let secret = |name: &str| (name == SECRET_VARIABLE).then(|| GOOD.to_owned());
        assert!(matches!(Trust::from_environment(&secret, true), Ok(Trust::Secret(_))));
        let both = |_: &str| Some(GOOD.to_owned());
        assert!(matches!(Trust::from_environment(&both, false), Err(SecretError::Both)));
        let empty = |name: &str| (name == SECRET_VARIABLE).then(String::new);
        assert!(matches!(
            Trust::from_environment(&empty, false),
            Err(SecretError::Length { length: 0, .. })
        ));
    }

    #[test]
    fn tag_keys_differ_by_secret_session_and_direction() {
        let secret = |text: &str| {
            Trust::Secret(JobSecret::new(text.as_bytes().to_vec(), "test").expect("good"))
        };
        let (one, two) = (Rank::new(1), Rank::new(2));
        let keys = [
            secret(GOOD).tag_key(5, one, two),
            secret(GOOD).tag_key(5, two, one),
            secret(GOOD).tag_key(6, one, two),
            secret("another secret of ours").tag_key(5, one, two),
            Trust::Insecure.tag_key(5, one, two),
        ];
        for (at, key) in keys.iter().enumerate() {
            assert!(!keys[..at].contains(key));
        }
        assert_eq!(keys[0], secret(GOOD).tag_key(5, one, two));
    }

    #[test]
    fn without_a_secret_only_loopback_is_trusted_unless_insecure() {
        let far: IpAddr = "10.0.0.1".parse().expect("address");
        for near in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            assert!(Trust::LoopbackOnly.check_address(near.parse().expect(near)).is_ok());
        }
        let error = Trust::LoopbackOnly.check_address(far).expect_err("far");
        assert!(error.to_string().contains("10.0.0.1"), "{error}");
        assert!(Trust::Insecure.check_address(far).is_ok());
    }
}
