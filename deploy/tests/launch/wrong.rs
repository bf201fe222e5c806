//! Wrong command lines and files give one clear line.

use crate::run::{PLAN, command, file, folder, launch, texts};

/// The one line of a run that fails.
fn line(arguments: &[&str]) -> String {
    let output = launch(arguments);
    let (out, errors) = texts(&output);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {out}{errors}");
    assert_eq!(errors.lines().count(), 1, "{arguments:?}: {errors}");
    errors
}

#[test]
fn each_wrong_value_is_named_with_what_would_be_right() {
    let folder = folder("wrong");
    let plan = file(&folder, "plan.json", PLAN);
    let none = PLAN.split("\"constraints\"").next().expect("a plan").to_owned();
    let none = file(&folder, "none.json", &(none + "\"constraints\": []}"));
    let capital = file(&folder, "capital.json", &PLAN.replace("\"small\"", "\"My Plan\""));
    let good = ["--kubernetes", "--plan", &plan, "--image", "x"];
    let long = "x".repeat(60);
    let cases: &[(&[&str], &[&str])] = &[
        (&["--kubernetes", "--plan", &plan], &["image", "--image registry/name:tag"]),
        (&["--kubernetes", "--plan", &none, "--image", "x"], &["none.json", "constraints", "none"]),
        (&["--kubernetes", "--plan", &capital, "--image", "x"], &["My Plan", "RFC 1123", "--name"]),
        (&["--kubernetes", "--plan", "/nowhere", "--image", "x"], &["/nowhere", "No such file"]),
        (
            &["--kubernetes", "--plan", &plan, "--image", "a b"],
            &["--image", "a b", "registry/name"],
        ),
        (&[good.as_slice(), &["--name", "7up"]].concat(), &["--name", "7up", "letter first"]),
        (&[good.as_slice(), &["--name", &long]].concat(), &["--name", "xxx", "at most 58 letters"]),
        (&[good.as_slice(), &["--cpu", "much"]].concat(), &["--cpu", "much", "500m"]),
        (&[good.as_slice(), &["--memory", "1 GB"]].concat(), &["--memory", "1 GB", "64Gi"]),
        (&[good.as_slice(), &["--shm=-1"]].concat(), &["--shm", "-1", "64Gi"]),
        (&[good.as_slice(), &["--resource", "a b=1"]].concat(), &["--resource", "a b", "key"]),
        (&[good.as_slice(), &["--resource", "a/b=x"]].concat(), &["--resource", "x", "quantity"]),
        (
            &[good.as_slice(), &["--node-selector", "a=-"]].concat(),
            &["--node-selector", "-", "value"],
        ),
        (&[good.as_slice(), &["--gpu-label", "a b"]].concat(), &["--gpu-label", "a b", "key"]),
        (
            &[good.as_slice(), &["--stage-rule", "apart"]].concat(),
            &["--stage-rule", "together:LABEL"],
        ),
        (&[good.as_slice(), &["--namespace", "A"]].concat(), &["--namespace", "A", "RFC 1123"]),
        (
            &[good.as_slice(), &["--priority-class", "A"]].concat(),
            &["--priority-class", "RFC 1123"],
        ),
        (&[good.as_slice(), &["--kubeconfig", "/nowhere"]].concat(), &["--kubeconfig", "/nowhere"]),
        (&["--local"], &["--ranks N", "--plan"]),
        (&["--local", "--ranks", "1", "--env", "1X=2"], &["--env 1X=2", "letters"]),
        (&["--local", "--ranks", "1", "--env", "RANK=2"], &["--env RANK=2", "itself"]),
        (&["--hostfile", "/nowhere"], &["/nowhere", "No such file"]),
        (&["--hostfile", &plan], &["plan.json", "line 1", "host name"]),
    ];
    for (arguments, parts) in cases {
        let line = line(&[*arguments, &["--", "true"]].concat());
        for part in *parts {
            assert!(line.contains(part), "{arguments:?}: no {part:?} in {line}");
        }
    }
}

#[test]
fn a_wrong_command_line_is_refused() {
    for arguments in [
        &["launch", "--", "true"][..],
        &["launch", "--local", "--ranks", "2"],
        &["launch", "--local", "--ranks", "0", "--", "true"],
        &["launch", "--local", "--kubernetes", "--", "true"],
        &["launch", "--kubernetes", "--", "true"],
        &["launch", "--local", "--ranks", "1", "--image", "x", "--", "true"],
        &["launch", "--local", "--ranks", "1", "--env", "X", "--", "true"],
        &["status"],
        &["status", "x", "--format", "xml"],
    ] {
        let output = command(arguments).output().expect("the command starts");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", texts(&output).1);
    }
}
