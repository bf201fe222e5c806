//! Which crate may depend on which, and which code may not do I/O.

use crate::files::File;
use crate::lexer::{code_only, words};
use crate::{files, report};

/// Folders of crates by layer; a crate depends on lower layers only.
const LAYERS: [(&str, u32); 8] = [
    ("topology", 0),
    ("transport", 1),
    ("collectives", 2),
    ("deploy/pack", 2),
    ("pack", 2),
    ("bench", 3),
    ("deploy", 3),
    ("tests", 4),
];

/// What only `deploy` may depend on: the Kubernetes API and solvers.
const ONLY_FOR_DEPLOY: [&str; 11] = [
    "kube",
    "k8s-openapi",
    "good_lp",
    "highs",
    "highs-sys",
    "russcip",
    "coin_cbc",
    "pumpkin-solver",
    "selen",
    "microlp",
    "minilp",
];

/// Crates with which a program reaches outside; `topology` has none of them.
const REACHING_OUT: [&str; 7] =
    ["tokio", "socket2", "rustix", "libc", "mio", "rand", "signal-hook"];

/// Protocol and plans: events and the time come in, decisions go out.
const SANS_IO: [&str; 11] = [
    "deploy/src/scheduler/core/",
    "topology/src/",
    "transport/src/plan.rs",
    "transport/src/wire.rs",
    "transport/src/flow/",
    "transport/src/path/config.rs",
    "transport/src/path/file/",
    "transport/src/path/leaves.rs",
    "transport/src/path/probe/",
    "transport/src/path/table.rs",
    "transport/src/proto/",
];

/// What reads a clock, opens a socket or a file, or starts a thread.
const IO: [&str; 10] = [
    "Instant::now",
    "SystemTime",
    "std::net",
    "std::fs",
    "std::thread",
    "std::env",
    "std::process",
    "rustix",
    "socket2",
    "tokio",
];

#[test]
fn dependencies_point_one_way() {
    let mut offences = Vec::new();
    for manifest in manifests() {
        let own = layer(&manifest.path);
        for (line, name) in dependencies(&manifest.text) {
            let Some(other) = name.strip_prefix("onepath-") else {
                continue;
            };
            if layer(other) >= own && own != layer("tests") {
                offences.push(format!("{}: on {name}", manifest.at(line)));
            }
        }
    }
    report("topology <- transport <- collectives <- {bench, deploy} <- tests.", &offences);
}

#[test]
fn only_deploy_knows_kubernetes_and_solvers() {
    let mut offences = Vec::new();
    for manifest in manifests().iter().filter(|manifest| layer(&manifest.path) < layer("tests")) {
        let topology = layer(&manifest.path) == layer("topology");
        for (line, name) in dependencies(&manifest.text) {
            let for_deploy = ONLY_FOR_DEPLOY.contains(&name.as_str());
            let reaching_out = topology && REACHING_OUT.contains(&name.as_str());
            if (for_deploy && !manifest.path.starts_with("deploy/")) || reaching_out {
                offences.push(format!("{}: on {name}", manifest.at(line)));
            }
        }
    }
    report("Kubernetes and solvers belong to deploy; topology reaches nothing.", &offences);
}

#[test]
fn every_crate_takes_the_lints_of_the_workspace() {
    let without = manifests().into_iter().filter(|manifest| {
        !manifest.text.contains("[workspace]")
            && !manifest.text.contains("[lints]\nworkspace = true")
    });
    let offences: Vec<String> = without.map(|manifest| manifest.path).collect();
    report("Add [lints] workspace = true.", &offences);
}

#[test]
fn protocol_code_performs_no_io() {
    let mut offences = Vec::new();
    for file in files::rust() {
        let sans_io = SANS_IO.iter().any(|path| file.path.starts_with(path));
        // The tests of a module may use what they like.
        if !sans_io || file.path.ends_with("tests.rs") {
            continue;
        }
        let code = code_only(&file.text);
        let code = code.split("#[cfg(test)]").next().unwrap_or_default();
        for (index, line) in code.lines().enumerate() {
            if let Some(name) = IO.iter().find(|name| words(line, name).next().is_some()) {
                offences.push(format!("{}: {name}", file.at(index)));
            }
        }
    }
    report("Take the time and the bytes from the caller.", &offences);
}

fn manifests() -> Vec<File> {
    let all = files::all().into_iter();
    let manifests: Vec<File> = all.filter(|file| file.path.ends_with("/Cargo.toml")).collect();
    assert!(manifests.len() >= 5, "only {} manifests found", manifests.len());
    manifests
}

/// The layer of a crate, by its folder or a path inside it.
fn layer(path: &str) -> u32 {
    let inside = |folder: &str| {
        path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let found = LAYERS.iter().find(|(folder, _)| inside(folder));
    found.unwrap_or_else(|| panic!("'{path}' has no layer: add it to LAYERS")).1
}

/// Line (from 0) and package name of each dependency of a manifest, of every kind and target.
fn dependencies(manifest: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut in_list = false;
    for (index, line) in manifest.lines().enumerate() {
        let line = line.trim();
        if let Some(header) = line.strip_prefix('[') {
            let header = header.trim_end_matches(']');
            in_list = header.ends_with("dependencies");
            if let Some((_, name)) = header.split_once("dependencies.") {
                found.push((index, name.to_owned()));
            }
        } else if in_list && !line.is_empty() && !line.starts_with('#') {
            let name = line.split(['.', '=', ' ']).next().unwrap_or_default();
            let renamed =
                line.split_once("package = \"").and_then(|(_, rest)| rest.split_once('"'));
            found.push((index, renamed.map_or(name, |(package, _)| package).to_owned()));
        }
    }
    found
}

#[test]
fn dependencies_of_every_form_are_read() {
    let manifest = "[package]\nname = \"x\"\n[dependencies]\na.workspace = true\nb = \"1\"\n\
                    [target.'cfg(loom)'.dev-dependencies]\n\
                    c = { package = \"d\", version = \"1\" }\n\
                    [build-dependencies.e]\nversion = \"1\"\n";
    let names: Vec<String> = dependencies(manifest).into_iter().map(|(_, name)| name).collect();
    assert_eq!(names, ["a", "b", "d", "e"]);
}
