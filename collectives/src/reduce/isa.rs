//! Which instruction set the kernels use: detected once, or said by the environment.

use std::env;
use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use crate::types::{UnknownName, by_name};

/// Name of the environment variable that overrides the detection.
pub const ISA_VARIABLE: &str = "ONEPATH_ISA";

/// An instruction set that kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Isa {
    /// What every CPU of the compile target has (on `x86_64` that includes SSE2).
    Scalar,
    /// `x86_64` with AVX2 and F16C.
    Avx2,
    /// `x86_64` with AVX-512 F, BW, DQ and VL.
    Avx512,
    /// `aarch64` with Advanced SIMD.
    Neon,
}

/// Why the environment's instruction set cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IsaError {
    /// No instruction set has this name.
    #[error("{ISA_VARIABLE}: {0}")]
    Unknown(UnknownName),
    /// The CPU (or this build) lacks it.
    #[error("instruction set '{asked}' is not available on this CPU: '{best}' is the best it has")]
    Unavailable {
        /// What was asked for.
        asked: Isa,
        /// What detection finds.
        best: Isa,
    },
}

impl Isa {
    /// Every instruction set, also those that this CPU lacks.
    pub const ALL: [Self; 4] = [Self::Scalar, Self::Avx2, Self::Avx512, Self::Neon];

    /// Its name, as [`ISA_VARIABLE`] spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Neon => "neon",
        }
    }

    /// Whether this CPU has it, and the operating system saves its registers.
    pub fn is_available(self) -> bool {
        match self {
            Self::Scalar => true,
            Self::Avx2 => has_avx2(),
            Self::Avx512 => has_avx512(),
            Self::Neon => has_neon(),
        }
    }

    /// The widest instruction set that this CPU has.
    pub fn detect() -> Self {
        [Self::Avx512, Self::Avx2, Self::Neon]
            .into_iter()
            .find(|isa| isa.is_available())
            .unwrap_or(Self::Scalar)
    }

    /// What [`ISA_VARIABLE`] asks for; `None` when it is not set or empty.
    ///
    /// [`isa`] ignores a bad value so that reductions always work; whoever reads the settings of a
    /// job calls this once, to report it.
    ///
    /// # Errors
    /// [`IsaError::Unknown`] for a value that is no name, [`IsaError::Unavailable`] for an
    /// instruction set that this CPU lacks.
    pub fn from_environment() -> Result<Option<Self>, IsaError> {
        match env::var_os(ISA_VARIABLE) {
            Some(value) if !value.is_empty() => Self::usable(&value.to_string_lossy()).map(Some),
            _ => Ok(None),
        }
    }

    /// The available instruction set with this name.
    pub(super) fn usable(name: &str) -> Result<Self, IsaError> {
        let asked: Self = name.parse().map_err(IsaError::Unknown)?;
        asked.checked()
    }

    /// Itself if this CPU has it.
    pub(super) fn checked(self) -> Result<Self, IsaError> {
        if self.is_available() {
            Ok(self)
        } else {
            Err(IsaError::Unavailable { asked: self, best: Self::detect() })
        }
    }
}

impl FromStr for Isa {
    type Err = UnknownName;

    fn from_str(value: &str) -> Result<Self, UnknownName> {
        by_name("instruction set", value, &Self::ALL, Self::name)
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The instruction set of [`super::kernel`]: the environment's if it is usable, else the detected
/// one. Decided at the first call, for the life of the process.
pub fn isa() -> Isa {
    static CHOSEN: OnceLock<Isa> = OnceLock::new();
    *CHOSEN.get_or_init(|| Isa::from_environment().ok().flatten().unwrap_or_else(Isa::detect))
}

#[cfg(target_arch = "x86_64")]
fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("f16c")
}

#[cfg(target_arch = "x86_64")]
fn has_avx512() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
}

#[cfg(not(target_arch = "x86_64"))]
const fn has_avx2() -> bool {
    false
}

#[cfg(not(target_arch = "x86_64"))]
const fn has_avx512() -> bool {
    false
}

#[cfg(target_arch = "aarch64")]
fn has_neon() -> bool {
    std::arch::is_aarch64_feature_detected!("neon")
}

#[cfg(not(target_arch = "aarch64"))]
const fn has_neon() -> bool {
    false
}
