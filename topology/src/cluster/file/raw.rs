//! The file as it is written. What must be there is optional here, so that `check` can say of a
//! missing field what would be right.

use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawFile {
    #[serde(default)]
    pub(super) cluster: Vec<RawCluster>,
    #[serde(default)]
    pub(super) link: Vec<RawLink>,
    pub(super) model: Option<toml::Table>,
    pub(super) training: Option<toml::Table>,
    pub(super) plan: Option<toml::Table>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCluster {
    pub(super) name: Option<String>,
    #[serde(default)]
    pub(super) nodes: Vec<RawNodes>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawNodes {
    pub(super) hosts: Option<String>,
    pub(super) hosts_from: Option<String>,
    pub(super) count: Option<i64>,
    pub(super) gpu: Option<String>,
    pub(super) gpus: Option<i64>,
    pub(super) memory_gib: Option<f64>,
    pub(super) gpu_link_gbit_s: Option<f64>,
    pub(super) tflops: Option<f64>,
    pub(super) latency_us: Option<f64>,
    #[serde(default)]
    pub(super) nic: Vec<RawNic>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawNic {
    pub(super) name: Option<String>,
    pub(super) kind: Option<String>,
    pub(super) rate_gbit_s: Option<f64>,
    pub(super) hca: Option<String>,
    pub(super) interface: Option<String>,
    pub(super) gid_index: Option<i64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLink {
    pub(super) between: Option<Vec<String>>,
    pub(super) kind: Option<String>,
    pub(super) rate_gbit_s: Option<f64>,
    pub(super) total_gbit_s: Option<f64>,
    pub(super) latency_us: Option<f64>,
}
