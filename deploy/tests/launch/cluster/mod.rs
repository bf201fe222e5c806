//! A job on a real control plane, whose pods are processes of this machine.
//!
//! `tests/kube/run` brings the control plane up; without one these tests say that they are skipped.
//!
//! | file | what it holds |
//! |---|---|
//! | `plane` | the control plane, a namespace, nodes |
//! | `kubelet` | runs the pods of its nodes |
//! | `container` | one container as processes of this machine |
//! | `jobs` | what is tried |

mod container;
mod jobs;
mod kubelet;
mod plane;
