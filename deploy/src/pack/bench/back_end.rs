//! Back ends that are ready to solve.

use std::path::Path;

use onepath_pack::cpsat::{CpSat, OpenError};
use onepath_pack::solve::BackEndChoice;
use onepath_pack::solve::back_end::BackEnd;

use super::{BackEndName, BenchArguments};

/// A back end: of the crate itself, or a library.
pub(crate) enum Ready {
    Own(BackEndChoice),
    CpSat(CpSat),
}

impl Ready {
    /// Loads the library if it is one: that is not part of a budget.
    pub(crate) fn open(name: BackEndName, ortools: Option<&Path>) -> Result<Self, OpenError> {
        Ok(match name {
            BackEndName::Search => Self::Own(BackEndChoice::Search),
            BackEndName::Pumpkin => Self::Own(BackEndChoice::Pumpkin),
            BackEndName::Cpsat => Self::CpSat(CpSat::open(ortools)?),
        })
    }

    /// What options say; of no matter beside a library.
    pub(crate) fn choice(&self) -> BackEndChoice {
        match self {
            Self::Own(choice) => *choice,
            Self::CpSat(_) => BackEndChoice::default(),
        }
    }

    /// The library.
    pub(crate) fn library(&mut self) -> Option<&mut dyn BackEnd> {
        match self {
            Self::Own(_) => None,
            Self::CpSat(solver) => Some(solver),
        }
    }
}

/// Those that are asked for, each once, and last the one that they are compared with.
pub(super) fn open_all(arguments: &BenchArguments) -> Result<Vec<Ready>, OpenError> {
    let mut names: Vec<BackEndName> = Vec::new();
    for name in arguments.back_end.iter().copied().chain(arguments.compare) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let open = |name| Ready::open(name, arguments.ortools.as_deref());
    names.into_iter().map(open).collect()
}
