//! `onepath launch` and `onepath status`: ranks that are started are there, and end as they should.
//!
//! | file | what it shows |
//! |---|---|
//! | `ports` | ports for what a test starts |
//! | `run` | starting the command, and waiting for what it does |
//! | `local` | ranks of this machine: their places, failures, signals, a launcher that is killed |
//! | `hostfile` | ranks over ssh: a program in its place, and a real sshd on loopback |
//! | `emit` | YAML of a job is read back, and says what the plan says |
//! | `wrapper` | the shell that starts the ranks of a pod |
//! | `wrong` | wrong command lines and files give one clear line |
//! | `manifests` | the objects of `deploy/manifests` |
//! | `cluster` | a job on a real control plane, whose pods are processes of this machine |

mod cluster;
mod emit;
mod hostfile;
mod local;
#[path = "../support/manifests.rs"]
mod manifests;
mod ports;
mod run;
mod wrapper;
mod wrong;
