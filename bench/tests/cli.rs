//! The program as a user runs it.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

/// Far more than any of these runs takes.
const PATIENCE: Duration = Duration::from_mins(1);

/// What a launcher would have set.
const LAUNCHERS: [&str; 12] = [
    "ONEPATH_RANK",
    "ONEPATH_WORLD_SIZE",
    "ONEPATH_RENDEZVOUS",
    "RANK",
    "WORLD_SIZE",
    "OMPI_COMM_WORLD_RANK",
    "OMPI_COMM_WORLD_SIZE",
    "PMI_RANK",
    "PMI_SIZE",
    "PMIX_RANK",
    "SLURM_PROCID",
    "SLURM_NTASKS",
];

fn program(line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_onepath-bench"));
    command.args(line.split_whitespace()).stdin(Stdio::null());
    for name in LAUNCHERS {
        command.env_remove(name);
    }
    command
}

fn run(line: &str) -> Output {
    program(line).output().expect("the program starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A run that goes on until something ends it, and the processes of its ranks.
struct LongRun {
    child: Child,
    ranks: Vec<Pid>,
    /// Open to the end: a rank that still writes would fail otherwise.
    _stdout: BufReader<ChildStdout>,
}

impl LongRun {
    /// Starts it and waits until the table begins.
    fn start(ranks: usize) -> Self {
        let line = format!(
            "allreduce --ranks {ranks} --transport tcp --sizes 4K --iterations 1000000 --no-check"
        );
        let mut child = program(&line)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let stdout = child.stdout.take().expect("standard output is a pipe");
        let mut pids = Vec::new();
        let mut stdout = BufReader::new(stdout);
        for line in stdout.by_ref().lines() {
            let line = line.expect("the table is text");
            let words: Vec<&str> = line.split_whitespace().collect();
            if let ["#", "rank", _, "pid", pid, ..] = words[..] {
                pids.push(Pid::from_raw(pid.parse().expect("a number")).expect("not zero"));
            }
            if pids.len() == ranks {
                break;
            }
        }
        assert_eq!(pids.len(), ranks, "the heading names every rank");
        Self { child, ranks: pids, _stdout: stdout }
    }

    /// Waits for the end; the status and what was said on standard error.
    fn end(mut self) -> (ExitStatus, String, Vec<Pid>) {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                break status;
            }
            if Instant::now() > deadline {
                self.child.kill().expect("it is our child");
                panic!("the run did not end within {PATIENCE:?}");
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        let mut said = String::new();
        let mut stderr = self.child.stderr.take().expect("standard error is a pipe");
        stderr.read_to_string(&mut said).expect("messages are text");
        (status, said, self.ranks)
    }
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(child.id() as i32).expect("a process has a number")
}

fn none_is_left(ranks: &[Pid]) {
    for &rank in ranks {
        assert!(test_kill_process(rank).is_err(), "process {rank:?} is still there");
    }
}

#[test]
fn help_names_every_subcommand_and_ends_with_0() {
    let output = run("--help");
    assert_eq!(output.status.code(), Some(0));
    let help = text(&output.stdout);
    for name in [
        "allreduce",
        "reducescatter",
        "allgather",
        "broadcast",
        "reduce",
        "alltoall",
        "sendrecv",
        "barrier",
        "limits",
        "paths",
    ] {
        assert!(help.contains(name), "{name} is missing:\n{help}");
    }
}

#[test]
fn a_wrong_option_is_one_line_and_exit_code_2() {
    for (line, parts) in [
        ("allreduce --sizes 4,12Q", ["--sizes", "12Q"]),
        ("allreduce --sizes 6", ["size 6", "--type f32"]),
        ("allreduce --algorithm rings", ["--algorithm", "halving-doubling"]),
        ("broadcast --ranks 2 --root 5", ["--root 5", "below 2"]),
        ("allgather --format peers", ["--format peers", "allgather"]),
        ("limits --ranks 1", ["--ranks 2", "1"]),
        ("paths --to 10.0.0.1 --ttl 2-1", ["--ttl", "2-1"]),
        ("paths --to 10.0.0.1 --from 203.0.113.9", ["203.0.113.9", "of this host"]),
        ("paths --to 127.0.0.1:7,127.0.0.1:7", ["127.0.0.1:7", "twice"]),
        ("paths --to host.invalid", ["--to host.invalid:29400", "known host"]),
    ] {
        let output = run(line);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{line}: {said}");
        assert_eq!(said.lines().count(), 1, "{line}: {said}");
        assert!(parts.iter().all(|part| said.contains(part)), "{line}: {said}");
        assert!(output.stdout.is_empty(), "{line}");
    }
}

#[test]
fn a_path_to_this_host_has_nothing_to_choose() {
    for line in ["paths --to 127.0.0.1:9", "paths --to 127.0.0.1:9 --protocol udp"] {
        let output = run(line);
        let (table, said) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(0), "{line}: {said}");
        assert!(table.contains("127.0.0.1:9: nearer than hops 2"), "{line}: {table}");
    }
}

#[test]
fn a_device_that_is_not_there_is_one_line_that_says_what_there_is_or_lacks() {
    for (line, wrong_name, named) in [
        ("paths --to 10.0.0.1 --roce nobody0", 2, "--roce nobody0"),
        ("allreduce --transport verbs --verbs-device nobody0", 1, "transport verbs"),
    ] {
        let output = run(line);
        let said = text(&output.stderr);
        assert_eq!(said.lines().count(), 1, "{line}: {said}");
        assert!(output.stdout.is_empty(), "{line}");
        // Another device would be right; or the kernel has none; or the library is missing.
        let (code, part) = if said.contains("no RDMA device 'nobody0'") {
            (wrong_name, "libibverbs offers")
        } else if said.contains("this kernel") {
            (1, "ib_uverbs")
        } else {
            (1, "libibverbs1")
        };
        assert_eq!(output.status.code(), Some(code), "{line}: {said}");
        assert!(said.contains(named) && said.contains(part), "{line}: {said}");
    }
}

#[test]
fn half_of_a_launcher_s_variables_is_a_wrong_start() {
    let output = program("allreduce").env("RANK", "1").output().expect("the program starts");
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("WORLD_SIZE"));
}

#[test]
fn two_ranks_print_csv_with_every_element_right() {
    for transport in ["tcp", "local"] {
        let line =
            format!("allreduce --ranks 2 --transport {transport} --sizes 4,1K,64K --format csv");
        let output = run(&format!("{line} --iterations 5 --seed 11"));
        let (csv, said) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(0), "{said}");
        let lines: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
        assert_eq!(lines.len(), 1 + 3 * 2, "{csv}");
        let wrong = lines[0].iter().position(|name| *name == "wrong").expect("a field");
        assert!(lines[1..].iter().all(|line| line[wrong] == "0"), "{csv}");
    }
}

#[test]
fn a_tuning_file_of_another_number_of_ranks_is_refused() {
    let file = std::env::temp_dir().join(format!("onepath-tuning-{}.toml", std::process::id()));
    let line = |ranks: u32, option: &str| {
        let file = file.display();
        run(&format!("allreduce --ranks {ranks} --sizes 4 --iterations 1 --{option} {file}"))
    };
    let written = line(2, "write-tuning");
    assert_eq!(written.status.code(), Some(0), "{}", text(&written.stderr));
    let (same, other) = (line(2, "tuning"), line(3, "tuning"));
    std::fs::remove_file(&file).expect("it was written");
    assert_eq!(same.status.code(), Some(0), "{}", text(&same.stderr));
    let said = text(&other.stderr);
    assert_eq!(other.status.code(), Some(1), "{said}");
    assert!(said.contains("ranks = 2 is wrong: this job has 3"), "{said}");
}

#[test]
fn every_collective_is_right_in_every_type() {
    println!("seed 5");
    let (options, json) = ("--ranks 3 --iterations 2 --warmup 1 --seed 5", "--format json");
    for (collective, extra) in [
        ("allreduce", "--type bf16 --op avg --channels 3"),
        ("allreduce", "--type i8 --op sum"),
        ("allreduce", "--type u64 --op prod"),
        ("allreduce", "--type f16 --op prod"),
        ("reducescatter", "--type f64 --op max"),
        ("allgather", "--type u8"),
        ("broadcast", "--type i64 --root 2"),
        ("reduce", "--type i32 --op min --root 1"),
        ("alltoall", "--type u32"),
        ("sendrecv", "--type f32"),
    ] {
        let output = run(&format!("{collective} {options} {json} --sizes 24,6000 {extra}"));
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{collective} {extra}: {said}");
        let document: serde_json::Value =
            serde_json::from_slice(&output.stdout).expect("the output is JSON");
        let rows = document["rows"].as_array().expect("there are rows");
        assert_eq!(rows.len(), 2, "{collective} {extra}");
        assert!(rows.iter().all(|row| row["out_of_place"]["wrong"] == 0));
    }
    assert_eq!(run(&format!("barrier {options} {json}")).status.code(), Some(0));
}

#[test]
fn the_peers_rows_have_the_peers_iterations() {
    let output = run("allreduce --ranks 2 --transport tcp --sizes 4,256K --format peers");
    let rows = text(&output.stdout);
    let rows: Vec<Vec<&str>> = rows.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(rows.len(), 2, "{}", text(&output.stderr));
    assert_eq!(rows[0][..4], ["onepath", "2", "4", "400"]);
    assert_eq!(rows[1][..4], ["onepath", "2", "262144", "60"]);
    assert!(rows.iter().all(|row| row.len() == 6 && row[4].parse::<f64>().is_ok()));
}

#[test]
fn limits_of_both_transports_stand_beside_the_rows() {
    let document = |arguments: &str| -> serde_json::Value {
        let output = run(arguments);
        let problem = || format!("{arguments}: {:?}: {}", output.status, text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", problem()))
    };
    for transport in ["tcp", "local"] {
        let common = format!("--ranks 2 --transport {transport} --iterations 4 --format json");
        let limits = document(&format!("limits {common} --sizes 4,1M"));
        assert_eq!(limits["rows"][1]["moved_bytes"], 1 << 20);
        let rows = document(&format!("allreduce {common} --sizes 64K --limits"));
        let limit = rows["rows"][0]["limit"]["median_us"].as_f64();
        assert!(limit.is_some_and(|limit| limit > 0.0), "{rows}");
    }
}

#[test]
fn ctrl_c_ends_all_ranks_and_the_exit_code_says_so() {
    let run = LongRun::start(3);
    kill_process(pid(&run.child), Signal::INT).expect("the program runs");
    let (status, said, ranks) = run.end();
    assert_eq!(status.code(), Some(130), "{said}");
    none_is_left(&ranks);
}

#[test]
fn a_killed_rank_ends_the_run_and_is_named() {
    let run = LongRun::start(3);
    kill_process(run.ranks[2], Signal::KILL).expect("the rank runs");
    let (status, said, ranks) = run.end();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("rank 2 was ended by signal 9 (SIGKILL)"), "{said}");
    none_is_left(&ranks);
}

#[test]
fn ranks_end_with_the_process_that_started_them() {
    let mut run = LongRun::start(2);
    run.child.kill().expect("it is our child");
    run.child.wait().expect("it is our child");
    let deadline = Instant::now() + PATIENCE;
    // They are no children of ours: whoever adopted them waits for them when it can.
    while run.ranks.iter().any(|&rank| alive(rank)) {
        assert!(Instant::now() < deadline, "a rank is still there");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Whether a process is there and no zombie.
fn alive(process: Pid) -> bool {
    let path = format!("/proc/{}/stat", process.as_raw_nonzero());
    std::fs::read_to_string(path).is_ok_and(|stat| !stat.contains(") Z "))
}
