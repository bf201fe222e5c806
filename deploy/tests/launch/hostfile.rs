//! Ranks over ssh: a program in its place, and a real sshd on loopback.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;

use crate::ports::free_port;
use crate::run::{PLAN, Started, file, folder, launch, pids, texts, until, until_ended};

/// Called as ssh is: notes its arguments and runs the command here, in a session of its own, since
/// what kills an ssh does not reach its other end.
fn stand_in(folder: &Path) -> String {
    let log = folder.join("called");
    let text = format!("#!/bin/sh\necho \"$@\" >>'{}'\nsetsid -w sh -c \"$2\"\n", log.display());
    let path = file(folder, "ssh", &text);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("our own file");
    path
}

const HOSTS: &str = "a1 slots=2\nme@a2 slots=1\n";

#[test]
fn ranks_go_along_the_hosts_and_the_secret_is_on_no_command_line() {
    let folder = folder("hosts");
    let (ssh, hosts) = (stand_in(&folder), file(&folder, "hosts", HOSTS));
    let script = "echo \"$RANK $WORLD_SIZE $LOCAL_RANK $LOCAL_WORLD_SIZE $MASTER_ADDR:$MASTER_PORT \
                  $COLOUR $PWD $(stat -c %a $ONEPATH_JOB_SECRET_FILE)\"; \
                  cat $ONEPATH_JOB_SECRET_FILE";
    let output = launch(&[
        "--hostfile",
        &hosts,
        "--ssh",
        &ssh,
        "--env",
        "COLOUR=it's red",
        "--workdir",
        "/usr",
        "--port",
        "1234",
        "--",
        "sh",
        "-c",
        script,
    ]);
    let (out, errors) = texts(&output);
    assert!(output.status.success(), "{errors}");
    for place in ["0 3 0 2", "1 3 1 2", "2 3 0 1"] {
        let line = format!("[{}] {place} a1:1234 it's red /usr 600\n", &place[..1]);
        assert!(out.contains(&line), "{line}{out}");
    }
    let secret = out.lines().find_map(|line| line.split(' ').nth(1).filter(|w| w.len() == 64));
    let secret = secret.expect("the secret is printed").to_owned();
    let called = fs::read_to_string(folder.join("called")).expect("it was called");
    let hosts: Vec<&str> = called
        .lines()
        .filter(|line| line.contains("exec sh -c"))
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert_eq!(hosts.len(), 3);
    assert!(hosts.contains(&"me@a2"), "{hosts:?}");
    assert!(!called.contains(&secret));
}

#[test]
fn a_plan_gives_each_host_its_variables_and_must_have_the_same_hosts() {
    let folder = folder("hosts-of-plan");
    let (ssh, plan) = (stand_in(&folder), file(&folder, "plan.json", PLAN));
    let hosts = file(&folder, "hosts", "a1 slots=2\na2 slots=1\nb1 slots=2\n");
    let script = "echo $NCCL_IB_HCA";
    let run = |hosts: &str| {
        launch(&["--hostfile", hosts, "--plan", &plan, "--ssh", &ssh, "--", "sh", "-c", script])
    };
    let (out, errors) = texts(&run(&hosts));
    let mut lines: Vec<&str> = out.lines().collect();
    lines.sort_unstable();
    let expected = ["[0] =mlx5_0", "[1] =mlx5_0", "[2] =mlx5_0", "[3] =mlx5_9", "[4] =mlx5_9"];
    assert_eq!(lines, expected, "{errors}");
    let other = file(&folder, "other", "a1 slots=2\nb1 slots=2\na2 slots=1\n");
    let errors = texts(&run(&other)).1;
    assert!(errors.contains("host 2 is \"b1 slots=2\", the plan has \"a2 slots=1\""), "{errors}");
}

#[test]
fn a_rank_that_fails_is_named_with_its_host_and_ends_the_others() {
    let folder = folder("hosts-failure");
    let (ssh, hosts) = (stand_in(&folder), file(&folder, "hosts", HOSTS));
    let script = "[ $RANK != 2 ] || exit 7; exec sleep 1000";
    let output = launch(&["--hostfile", &hosts, "--ssh", &ssh, "--", "sh", "-c", script]);
    assert_eq!(output.status.code(), Some(7));
    let errors = texts(&output).1;
    let expected = "onepath: rank 2 on me@a2 exited with status 7; the others were ended";
    assert!(errors.lines().any(|line| line == expected), "{errors}");
}

/// Says where its secret is and which processes it has, and waits.
const WAITS: &str = "sleep 1000 & echo \"$ONEPATH_JOB_SECRET_FILE pids=$$,$!\"; wait";

fn nothing_is_left(lines: &[String]) {
    pids(lines).into_iter().for_each(until_ended);
    for line in lines {
        let secret = line.split(' ').find(|word| word.ends_with("/secret")).expect("a file");
        until("the secret is gone", || !Path::new(secret).parent().expect("a folder").exists());
    }
}

/// Ranks end on a signal to the launcher, and when it is killed.
fn they_end_with_the_launcher(arguments: &[&str]) {
    for (signal, code) in [(Signal::INT, Some(130)), (Signal::KILL, None)] {
        let mut all = arguments.to_vec();
        all.extend(["--", "sh", "-c", WAITS]);
        let mut started = Started::launch(&all);
        let lines = started.lines(3);
        assert_eq!(pids(&lines).len(), 6);
        started.signal(signal);
        assert_eq!(started.code(), code);
        nothing_is_left(&lines);
    }
}

#[test]
fn ranks_end_when_the_connection_does() {
    let folder = folder("hosts-ends");
    let (ssh, hosts) = (stand_in(&folder), file(&folder, "hosts", HOSTS));
    they_end_with_the_launcher(&["--hostfile", &hosts, "--ssh", &ssh]);
}

/// A server on loopback that lets us in by a fresh key.
struct Server {
    child: Child,
    ssh: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        // What cannot be killed has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts one, or says why there is none.
fn server(folder: &Path) -> Result<Server, String> {
    let sshd = ["/usr/sbin/sshd", "/usr/local/sbin/sshd"].map(PathBuf::from);
    let sshd = sshd.into_iter().find(|path| path.exists()).ok_or("there is no sshd")?;
    for name in ["host", "user"] {
        let key = folder.join(name);
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(key);
        let made = keygen.status().map_err(|error| format!("ssh-keygen: {error}"))?;
        assert!(made.success(), "a key is made");
    }
    // Somebody else may take a port before the server does.
    for _ in 0..5 {
        if let Some(server) = server_at(free_port(), &sshd, folder)? {
            return Ok(server);
        }
    }
    let said = fs::read_to_string(folder.join("sshd.log")).expect("its log");
    panic!("sshd ends: {said}");
}

/// Starts one at a port; none if it ends instead of listening there.
fn server_at(port: u16, sshd: &Path, folder: &Path) -> Result<Option<Server>, String> {
    let at = |name: &str| folder.join(name).display().to_string();
    let text = format!(
        "ListenAddress 127.0.0.1:{port}\nHostKey {}\nAuthorizedKeysFile {}\nStrictModes no\n\
         UsePAM no\nPidFile none\nPermitRootLogin prohibit-password\nPasswordAuthentication no\n",
        at("host"),
        at("user.pub"),
    );
    let config = file(folder, "sshd_config", &text);
    let check = Command::new(sshd).args(["-t", "-f", &config]).output();
    let check = check.map_err(|error| format!("sshd: {error}"))?;
    if !check.status.success() {
        return Err(format!("sshd -t: {}", String::from_utf8_lossy(&check.stderr).trim()));
    }
    let log = folder.join("sshd.log");
    let child = Command::new(sshd)
        .args(["-D", "-e", "-f", &config])
        .stdin(Stdio::null())
        .stderr(fs::File::create(&log).expect("a file"))
        .spawn()
        .map_err(|error| format!("sshd: {error}"))?;
    let ssh = format!(
        "ssh -F none -p {port} -i {} -o BatchMode=yes -o StrictHostKeyChecking=no \
         -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR",
        at("user")
    );
    let mut server = Server { child, ssh };
    let mut has_ended = false;
    // Whoever took the port would let us connect.
    until("sshd listens or ends", || {
        has_ended = server.child.try_wait().expect("a child").is_some();
        has_ended || fs::read_to_string(&log).is_ok_and(|said| said.contains("listening on"))
    });
    Ok((!has_ended).then_some(server))
}

#[test]
fn a_real_sshd_starts_ranks_and_ends_them_with_the_connection() {
    let folder = folder("sshd");
    let server = match server(&folder) {
        Ok(server) => server,
        Err(reason) => return drop(writeln!(std::io::stderr(), "skipped: {reason}")),
    };
    let hosts = file(&folder, "hosts", "127.0.0.1 slots=2\nlocalhost slots=1\n");
    let all = ["--hostfile", &hosts, "--ssh", &server.ssh];
    let mut arguments = all.to_vec();
    arguments.extend(["--", "sh", "-c", "echo $RANK of $WORLD_SIZE; exit $((RANK / 2 * 7))"]);
    let output = launch(&arguments);
    let (out, errors) = texts(&output);
    assert_eq!(output.status.code(), Some(7), "{errors}");
    assert!(errors.contains("rank 2 on localhost exited with status 7"), "{errors}");
    assert!(out.contains("[2] 2 of 3\n"), "{out}");
    they_end_with_the_launcher(&all);
}
