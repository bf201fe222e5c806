//! The command `onepath`: what it writes is read back by parsers of its own.
//!
//! | file | what it shows |
//! |---|---|
//! | `run` | starting the command on files |
//! | `evaluate` | predictions of plans of others; Sailor's files |
//! | `launchers` | hostfile, rankfile and torchrun's script name the same ranks |
//! | `megatron` | the layout of the pipeline has every layer once; communicators' networks |
//! | `pack` | the placement of pods of files, its forms, and what is wrong |
//! | `pack_bench` | instances are the same each time; counts add up; a missing library is named |
//! | `pack_interrupt` | Ctrl-C gives the best so far, nothing half-written, and says so |
//! | `plans` | explanation, JSON, CSV, picture; clusters and groups; Slurm and Kubernetes; time |
//! | `detect` | a made-up node comes out as an entry that an inventory takes |
//! | `wrong` | wrong command lines and files give one clear line |

mod detect;
mod evaluate;
mod launchers;
mod megatron;
mod pack;
mod pack_bench;
mod pack_interrupt;
mod plans;
mod run;
mod wrong;
