//! A job on a real control plane, whose pods are processes of this machine.
//!
//! `tests/kube/run` brings the control plane up; without one these tests say that they are skipped.
//! The kubelet is the example `onepath-fake-kubelet`, of `tests/kube/kubelet`.
//!
//! | file | what it holds |
//! |---|---|
//! | `plane` | the control plane, a namespace, nodes with their kubelet |
//! | `jobs` | a job alone: it runs, fails, waits, is evicted, is refused |
//! | `doubt` | answers of the API server that get lost |
//! | `manifests` | `deploy/manifests` are taken, and what they start works |
//! | `chain` | from a plan to ranks that reduce, over nodes that are nearly full |

mod chain;
mod doubt;
mod jobs;
mod manifests;
mod plane;
