//! Starting the command on files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// The example of the repository.
pub(crate) const HOLMES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/holmes-hybrid.toml");

/// Runs the command.
pub(crate) fn onepath(arguments: &[&str]) -> Output {
    let command = Command::new(env!("CARGO_BIN_EXE_onepath")).args(arguments).output();
    command.expect("the command starts")
}

/// Its standard output, if it succeeds.
pub(crate) fn text(arguments: &[&str]) -> String {
    let output = onepath(arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).expect("it writes text")
}

/// The plan of a file in a form.
pub(crate) fn emit(file: &Path, form: &str) -> String {
    text(&["plan", &file.display().to_string(), "--emit", form])
}

/// The plan of a file as data.
pub(crate) fn json(file: &Path) -> Value {
    serde_json::from_str(&emit(file, "json")).expect("it writes JSON")
}

/// A folder of its own for a test, below the build's.
pub(crate) fn folder(test: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
    if folder.exists() {
        fs::remove_dir_all(&folder).expect("the folder of an earlier run can go");
    }
    fs::create_dir_all(&folder).expect("a folder can be made");
    folder
}

/// A file in the folder of a test.
pub(crate) fn file(test: &str, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
    let path = folder(test).join(name);
    fs::write(&path, contents).expect("a file can be written");
    path
}

/// The example with parts replaced.
pub(crate) fn changed(changes: &[(&str, &str)]) -> String {
    let mut text = fs::read_to_string(HOLMES).expect("the example is there");
    for (old, new) in changes {
        assert!(text.contains(old), "the example has no {old:?}");
        text = text.replace(old, new);
    }
    text
}

/// Clusters in a row, InfiniBand and RoCE in turn, of so many nodes with 8 GPUs each.
pub(crate) fn clusters(nodes: &[usize], model: &str) -> String {
    let cluster = |(index, nodes): (usize, &usize)| {
        let kind = if index % 2 == 0 { "infiniband" } else { "roce" };
        format!(
            "[[cluster]]\nname = \"c{index}\"\n[[cluster.nodes]]\n\
             hosts = \"c{index}n[0001-{nodes}]\"\n\
             gpu = \"A100\"\ngpus = 8\nmemory_gib = 80\ngpu_link_gbit_s = 2400\ntflops = {}\n\
             [[cluster.nodes.nic]]\nkind = \"{kind}\"\nrate_gbit_s = 200\nhca = \"mlx5_[0-3]\"\n\
             [[cluster.nodes.nic]]\nkind = \"ethernet\"\nrate_gbit_s = 25\ninterface = \"eth0\"\n",
            220 - 20 * index
        )
    };
    let link = |index: usize| {
        let next = index + 1;
        format!("[[link]]\nbetween = [\"c{index}\", \"c{next}\"]\nrate_gbit_s = 25\n")
    };
    let parts: Vec<String> = nodes
        .iter()
        .enumerate()
        .map(cluster)
        .chain((1..nodes.len()).map(|n| link(n - 1)))
        .collect();
    parts.concat() + model
}

/// 175 billion parameters.
pub(crate) const LARGE: &str = "\
[model]
layers = 96
hidden = 12288
heads = 96
sequence = 2048
vocabulary = 51200
precision = \"bf16\"
optimizer = \"adam\"
recompute = \"full\"
[training]
global_batch = 8192
";
