//! `onepath scheduler` on a real control plane, with a kubelet for tests, the default scheduler
//! alive, and only the rights of `deploy/manifests`:
//!
//! ```sh
//! cargo build --release -p onepath-deploy --examples
//! tests/kube/run -- cargo test --release -p onepath-deploy --test kube
//! ONEPATH_KUBE_CLUSTERS=200 tests/kube/run -- \
//!     cargo test --release -p onepath-deploy --test kube random
//! for first in 1 101; do                # the same, on two control planes at the same time
//!     ONEPATH_KUBE_FIRST_SEED=$first ONEPATH_KUBE_CLUSTERS=100 tests/kube/run -- \
//!         cargo test --release -p onepath-deploy --test kube random -- --nocapture &
//! done; wait
//! ```
//!
//! | module | what it holds |
//! |---|---|
//! | `stage` | the programs, and what each test begins with |
//! | `objects` | nodes, pods, sets, budgets |
//! | `watchman` | an independent witness: room on nodes, budgets |
//! | `cases` | one plan each |
//! | `manifests` | the objects of `deploy/manifests` |
//! | `denied` | what the API server does not grant |
//! | `rights` | what the service account may do, and may not |
//! | `random` | seeded clusters, with pods arriving |

mod cases;
mod denied;
#[path = "../support/manifests.rs"]
mod manifests;
mod objects;
mod random;
mod rights;
mod stage;
mod watchman;
