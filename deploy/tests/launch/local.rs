//! Ranks of this machine: their places, failures, signals, a launcher that is killed.

use std::collections::BTreeSet;
use std::path::Path;

use rustix::process::Signal;

use crate::run::{PLAN, Started, file, folder, launch, pids, texts, until, until_ended};

/// Says who it is, starts a child, and waits; ends when asked to.
const WAITS: &str = "sleep 1000 & echo \"$ONEPATH_JOB_SECRET_FILE pids=$$,$!\"; wait";

#[test]
fn each_rank_gets_its_place_and_a_secret_that_only_its_user_reads() {
    let script = "echo \"$RANK $WORLD_SIZE $LOCAL_RANK $LOCAL_WORLD_SIZE $MASTER_ADDR $COLOUR \
                  $(stat -c %a $ONEPATH_JOB_SECRET_FILE) $(cat $ONEPATH_JOB_SECRET_FILE)\"; \
                  tr '\\0' ' ' </proc/$PPID/cmdline; echo";
    let output =
        launch(&["--local", "--ranks", "3", "--env", "COLOUR=red", "--", "sh", "-c", script]);
    let (out, errors) = texts(&output);
    assert!(output.status.success(), "{errors}");
    let mut secrets = BTreeSet::new();
    for rank in 0..3 {
        let expected = format!("[{rank}] {rank} 3 {rank} 3 127.0.0.1 red 600 ");
        let line = out.lines().find_map(|line| line.strip_prefix(&expected));
        secrets.insert(line.unwrap_or_else(|| panic!("no {expected:?} in {out}")));
    }
    assert_eq!(secrets.len(), 1, "all ranks have the same secret");
    let secret = secrets.first().expect("one");
    assert_eq!(secret.len(), 64);
    let told = out.lines().filter(|line| line.contains("launch --local"));
    assert!(told.clone().count() == 3 && told.clone().all(|line| !line.contains(secret)), "{out}");
}

#[test]
fn variables_of_other_launchers_do_not_reach_ranks() {
    let mut command = crate::run::command(&["launch", "--local", "--ranks", "1", "--", "env"]);
    command.env("ONEPATH_RANK", "7").env("ONEPATH_JOB_SECRET", "old").env("RANK", "9");
    let (out, _) = texts(&command.output().expect("the command starts"));
    assert!(out.contains("[0] RANK=0\n"), "{out}");
    assert!(!out.contains("ONEPATH_RANK=") && !out.contains("ONEPATH_JOB_SECRET="), "{out}");
}

#[test]
fn a_plan_says_how_many_ranks() {
    let plan = file(&folder("plan"), "plan.json", PLAN);
    let output =
        launch(&["--local", "--plan", &plan, "--no-prefix", "--", "sh", "-c", "echo $WORLD_SIZE"]);
    assert_eq!(texts(&output).0, "5\n".repeat(5));
}

#[test]
fn the_first_failure_ends_the_others_and_is_named() {
    let script = "trap 'echo ended; exit 0' TERM; echo up >$UP/$RANK; \
                  if [ $RANK = 1 ]; then while [ $(ls $UP | wc -l) -lt 3 ]; do sleep 0.01; done; \
                  exit 7; fi; while :; do sleep 0.01; done";
    let up = format!("UP={}", folder("failure").display());
    let options = ["--local", "--ranks", "3", "--env", &up, "--grace", "60"];
    let output = launch(&[&options[..], &["--", "sh", "-c", script]].concat());
    let (out, errors) = texts(&output);
    assert_eq!(output.status.code(), Some(7));
    let expected = "onepath: rank 1 exited with status 7; the others were ended";
    assert_eq!(errors.lines().last(), Some(expected), "{errors}");
    let lines: BTreeSet<&str> = out.lines().collect();
    assert_eq!(lines, BTreeSet::from(["[0] ended", "[2] ended"]));
}

#[test]
fn a_rank_that_ignores_the_request_to_end_is_killed_after_the_grace_time() {
    let script = "trap '' TERM; [ $RANK = 0 ] && kill -9 $$; while :; do sleep 0.05; done";
    let output = launch(&["--local", "--ranks", "2", "--grace", "0", "--", "sh", "-c", script]);
    assert_eq!(output.status.code(), Some(128 + 9));
    let errors = texts(&output).1;
    assert!(errors.contains("rank 0 was killed by signal 9 (SIGKILL)"), "{errors}");
}

/// All processes of the lines end, and the folder of the secret goes.
fn nothing_is_left(lines: &[String]) {
    for pid in pids(lines) {
        until_ended(pid);
    }
    for line in lines {
        let secret = line.split(' ').find(|word| word.ends_with("/secret")).expect("a file");
        until("the secret is gone", || !Path::new(secret).parent().expect("a folder").exists());
    }
}

#[test]
fn an_interrupt_ends_all_ranks_and_what_they_started() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let mut started = Started::launch(&["--local", "--ranks", "2", "--", "sh", "-c", WAITS]);
        let lines = started.lines(2);
        started.signal(signal);
        assert_eq!(started.code(), Some(code));
        nothing_is_left(&lines);
    }
}

#[test]
fn a_launcher_that_is_killed_leaves_no_rank_nor_what_it_started_nor_a_secret() {
    let mut started = Started::launch(&["--local", "--ranks", "3", "--", "sh", "-c", WAITS]);
    let lines = started.lines(3);
    started.signal(Signal::KILL);
    assert_eq!(started.code(), None);
    assert_eq!(pids(&lines).len(), 6);
    nothing_is_left(&lines);
}

#[test]
fn what_a_rank_leaves_behind_ends_with_it() {
    let script = "sleep 1000 >/dev/null 2>&1 & echo pids=$!";
    let output = launch(&["--local", "--ranks", "1", "--", "sh", "-c", script]);
    let (out, errors) = texts(&output);
    assert!(output.status.success(), "{errors}");
    let lines: Vec<String> = out.lines().map(str::to_owned).collect();
    pids(&lines).into_iter().for_each(until_ended);
}

#[test]
fn a_command_that_is_not_there_is_named() {
    let output = launch(&["--local", "--ranks", "2", "--", "/nowhere/train"]);
    assert_eq!(output.status.code(), Some(1));
    let errors = texts(&output).1;
    assert!(errors.starts_with("onepath: rank 0: \"/nowhere/train\" cannot be started: No such"));
    assert_eq!(errors.lines().count(), 1);
}
