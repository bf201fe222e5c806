//! `lab fabric`: builds a fabric, checks it, says what it found.

use super::arguments::FabricArguments;
use super::fabric::{BuildError, Fabric, FabricSpec};
use super::sandbox;

#[derive(Debug, thiserror::Error)]
pub(super) enum InspectError {
    #[error(transparent)]
    Build(#[from] BuildError),
}
impl InspectError {
    pub(super) fn exit_code(&self) -> u8 { 1 }
}
pub(super) fn run(spec: FabricSpec, _a: &FabricArguments) -> Result<bool, InspectError> {
    let t = std::time::Instant::now();
    let fabric = Fabric::build(spec)?;
    println!("built in {:?} rootless {}", t.elapsed(), sandbox::rootless());
    let t = std::time::Instant::now();
    let s = fabric.snapshot();
    println!("snapshot {:?}", t.elapsed());
    let t = std::time::Instant::now();
    let d = fabric.drops().unwrap();
    println!("drops {} {:?}", d.len(), t.elapsed());
    s.unwrap();
    Ok(true)
}
