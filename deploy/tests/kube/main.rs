//! `onepath scheduler` on a real control plane, with a kubelet for tests, the default scheduler
//! alive, and only the rights of `deploy/manifests`:
//!
//! ```sh
//! cargo build --release -p onepath-deploy --examples
//! tests/kube/run -- cargo test --release -p onepath-deploy --test kube
//! ONEPATH_KUBE_CLUSTERS=200 tests/kube/run -- \
//!     cargo test --release -p onepath-deploy --test kube random
//! ```
//!
//! | module | what it holds |
//! |---|---|
//! | `stage` | the programs, and what each test begins with |
//! | `objects` | nodes, pods, sets, budgets |
//! | `watchman` | an independent witness: room on nodes, budgets |
//! | `cases` | one plan each |
//! | `rights` | what the service account may do, and may not |
//! | `random` | seeded clusters, with pods arriving |

mod cases;
mod objects;
mod random;
mod rights;
mod stage;
mod watchman;
