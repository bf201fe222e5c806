//! What a model costs, layer by layer.
//!
//! | file | what it holds |
//! |---|---|
//! | `shape` | [`ModelShape`]: sizes to operations and bytes by formula |
//! | `profile` | [`Profile`]: measured times and bytes of each layer |
//! | `layers` | [`LayerCost`]: what planning needs of a layer, from either |

mod layers;
mod profile;
mod shape;

pub use layers::{Device, LayerCost, layers_of_profile, layers_of_shape};
pub use profile::{MAX_LAYERS, Profile, ProfileError, ProfiledLayer};
pub use shape::{ModelShape, ModelShapeError, Optimizer, Precision, Recompute};
