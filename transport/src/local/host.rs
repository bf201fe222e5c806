//! Which ranks can share memory.

use std::os::unix::fs::MetadataExt;
use std::{fs, io};

/// A fact about this host that could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot tell which ranks are on this host: reading {path}: {source}; is /proc mounted?")]
pub struct HostIdError {
    /// What was read.
    pub path: &'static str,
    /// The cause.
    pub source: io::Error,
}

/// Two processes with the same identity can open each other's segments: same boot of the same
/// kernel, same PID namespace (so that a process number means the same), same user namespace and
/// user (so that the kernel allows it).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HostId(pub [u8; 16]);

impl HostId {
    /// The identity of the calling process.
    pub fn of_this_process() -> Result<Self, HostIdError> {
        let failed = |path| move |source| HostIdError { path, source };
        let boot = "/proc/sys/kernel/random/boot_id";
        let boot_id = fs::read(boot).map_err(failed(boot))?;
        let mut hash = Fnv128::default();
        hash.write(boot_id.trim_ascii());
        for path in ["/proc/self/ns/pid", "/proc/self/ns/user"] {
            let namespace = fs::metadata(path).map_err(failed(path))?;
            hash.write(&namespace.ino().to_le_bytes());
        }
        let user = rustix::process::geteuid().as_raw();
        hash.write(&user.to_le_bytes());
        Ok(Self(hash.0.to_le_bytes()))
    }
}

/// The hash FNV-1a in 128 bits (Fowler, Noll, Vo): the same in every build of this program. The
/// boot id is random already; nothing here needs to withstand an attack.
struct Fnv128(u128);

impl Default for Fnv128 {
    fn default() -> Self {
        Self(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d)
    }
}

impl Fnv128 {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 ^= u128::from(byte);
            self.0 = self.0.wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_always_has_one_identity() {
        let first = HostId::of_this_process().expect("/proc is mounted");
        assert_eq!(first, HostId::of_this_process().expect("/proc is mounted"));
    }

    #[test]
    fn the_hash_is_the_published_one() {
        let mut hash = Fnv128::default();
        hash.write(b"a");
        assert_eq!(hash.0, 0xd228_cb69_6f1a_8caf_7891_2b70_4e4a_8964);
    }
}
