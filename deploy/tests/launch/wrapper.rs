//! The shell that starts the ranks of a pod, run here as a container would run it.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::run::{folder, until_ended};

const WRAPPER: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/launch/kubernetes/wrapper.sh"));

/// Longer than any rank takes to end when it is asked to.
const LONG: &str = "60";

/// A pod of a stage with 5 ranks from 10 on, 2 a pod, with so many seconds to end.
fn pod(index: u32, grace_s: &str, script: &str) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", WRAPPER, "onepath", "sh", "-c", script])
        .env("JOB_COMPLETION_INDEX", index.to_string())
        .env("ONEPATH_STAGE_FIRST_RANK", "10")
        .env("ONEPATH_STAGE_RANKS", "5")
        .env("ONEPATH_RANKS_PER_POD", "2")
        .env("ONEPATH_GRACE", grace_s)
        .stdin(Stdio::null())
        .process_group(0);
    command
}

#[test]
fn ranks_follow_from_the_number_of_the_pod_and_the_last_pod_may_have_fewer() {
    let script = "echo $RANK $LOCAL_RANK $LOCAL_WORLD_SIZE";
    for (index, expected) in
        [(0, &["10 0 2", "11 1 2"][..]), (1, &["12 0 2", "13 1 2"]), (2, &["14 0 1"])]
    {
        let output = pod(index, LONG, script).output().expect("a shell");
        assert!(output.status.success());
        let text = String::from_utf8_lossy(&output.stdout);
        let lines: BTreeSet<&str> = text.lines().collect();
        assert_eq!(lines, expected.iter().copied().collect());
    }
}

#[test]
fn a_rank_that_fails_is_named_and_ends_the_others_with_its_status() {
    // Rank 10 runs before the other one fails.
    let up = "[ $RANK = 10 ] && touch $UP; while [ ! -e $UP ]; do sleep 0.01; done;";
    let never_ends = "while :; do sleep 0.05; done";
    for (expected, grace_s, script) in [
        (7, LONG, format!("{up} [ $RANK = 11 ] && exit 7; exec sleep 1000")),
        (126, LONG, format!("{up} [ $RANK = 11 ] && exec /nowhere; exec sleep 1000")),
        // One that does not end when asked to: the pod ends all the same. The shell of the rank
        // that failed is to end within the time.
        (7, "6", format!("trap '' TERM; {up} [ $RANK = 11 ] && exit 7; {never_ends}")),
    ] {
        let up = folder("wrapper").join("up");
        let child =
            pod(0, grace_s, &script).env("UP", up).stderr(Stdio::piped()).spawn().expect("a shell");
        let group = Pid::from_child(&child);
        let mut child = child;
        let mut errors = BufReader::new(child.stderr.take().expect("a pipe")).lines();
        let said = errors.by_ref().map_while(Result::ok).find(|line| line.contains("onepath"));
        let own = if expected == 126 { 127 } else { 7 };
        assert_eq!(said, Some(format!("onepath: rank 11 exited with status {own}")));
        let status = child.wait().expect("a child");
        // A container's other processes end with its first one.
        let _ = kill_process_group(group, Signal::KILL);
        assert!(status.code() == Some(expected), "{status}");
    }
}

#[test]
fn a_pod_that_is_to_end_asks_its_ranks_to_and_says_that_it_was_ended() {
    let script = "trap 'echo bye; exit 0' TERM; echo up $$; while :; do sleep 0.05; done";
    let mut child = pod(0, LONG, script).stdout(Stdio::piped()).spawn().expect("a shell");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut next = || lines.next().expect("a line").expect("text");
    let ups = [next(), next()];
    let group = Pid::from_child(&child);
    kill_process(group, Signal::TERM).expect("it runs");
    assert_eq!([next(), next()], ["bye", "bye"]);
    assert_eq!(child.wait().expect("a child").code(), Some(143));
    // A container's other processes end with its first one.
    let _ = kill_process_group(group, Signal::KILL);
    for up in ups {
        let pid = up.strip_prefix("up ").and_then(|pid| pid.parse().ok());
        until_ended(pid.and_then(Pid::from_raw).expect("a number"));
    }
}
