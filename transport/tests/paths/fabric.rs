//! Two leaves, four spines and a few hosts out of network namespaces, without root: the test runs
//! itself again inside a user namespace of its own, whose end takes everything with it.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

pub(crate) const SPINES: usize = 4;

/// Set inside the namespace.
const INSIDE: &str = "ONEPATH_INSIDE_NAMESPACE";

/// Each host with its leaf and its number there.
const HOSTS: [(&str, usize, usize); 4] =
    [("h00", 0, 0), ("h01", 0, 1), ("h10", 1, 0), ("h11", 1, 1)];

/// Runs the test `name` again in namespaces of its own; the reason if that cannot be. True inside
/// of them.
pub(crate) fn enter(name: &str) -> Result<bool, String> {
    if std::env::var_os(INSIDE).is_some() {
        return Ok(true);
    }
    let run = |command: &mut Command| command.stdin(Stdio::null()).output();
    match run(Command::new("ip").arg("-V")) {
        Err(error) => return Err(format!("ip: {error}")),
        Ok(output) if !output.status.success() => return Err("ip does not run".to_owned()),
        Ok(_) => {}
    }
    let flags = ["-Urnm", "--kill-child"];
    match run(Command::new("unshare").args(flags).arg("true")) {
        Err(error) => return Err(format!("unshare: {error}")),
        Ok(output) if !output.status.success() => {
            return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
        }
        Ok(_) => {}
    }
    let program = std::env::current_exe().expect("the test has a file");
    let status = Command::new("unshare")
        .args(flags)
        .arg(program)
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "1")
        .status()
        .expect("unshare ran a moment ago");
    assert!(status.success(), "inside the namespace: {status}");
    Ok(false)
}

/// Runs `work` on a thread inside a namespace; sockets made there stay there.
pub(crate) fn within<T: Send>(namespace: &str, work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let file = File::open(format!("/run/netns/{namespace}")).expect("it was made");
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
                .expect("the namespace belongs to our user namespace");
            work()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// The address of a host.
pub(crate) fn host(leaf: usize, number: usize, six: bool) -> IpAddr {
    let text =
        if six { format!("fd00:{leaf}:{number}::2") } else { format!("10.{leaf}.{number}.2") };
    text.parse().expect("an address")
}

pub(crate) fn socket_address(leaf: usize, number: usize, six: bool, port: u16) -> SocketAddr {
    SocketAddr::new(host(leaf, number, six), port)
}

/// The address with which a spine answers hosts below leaf 0.
pub(crate) fn spine_address(spine: usize, six: bool) -> IpAddr {
    let text = if six { format!("fd01:{spine}:0::b") } else { format!("10.{}.0.1", 200 + spine) };
    text.parse().expect("an address")
}

/// Bytes that left leaf 0 toward each spine.
pub(crate) fn uplinks() -> [u64; SPINES] {
    let text =
        within("l0", || fs::read_to_string("/proc/thread-self/net/dev")).expect("it is there");
    std::array::from_fn(|spine| {
        let name = format!("s{spine}:");
        let line = text.lines().find_map(|line| line.trim_start().strip_prefix(&name));
        let sent = line.and_then(|line| line.split_whitespace().nth(8)).expect("its counters");
        sent.parse().expect("a number")
    })
}

/// Runs a batch of `ip` commands in a namespace, or outside of all.
pub(crate) fn ip(namespace: Option<&str>, batch: &str) {
    let mut command = Command::new("ip");
    if let Some(name) = namespace {
        command.args(["-n", name]);
    }
    let mut child =
        command.args(["-batch", "-"]).stdin(Stdio::piped()).spawn().expect("ip ran a moment ago");
    child.stdin.take().expect("a pipe").write_all(batch.as_bytes()).expect("ip reads it");
    let status = child.wait().expect("our child");
    assert!(status.success(), "ip in {namespace:?}: {status}\n{batch}");
}

fn sysctl(namespace: &str, values: &[(&str, &str)]) {
    within(namespace, || {
        for (name, value) in values {
            let path = format!("/proc/sys/net/{}", name.replace('.', "/"));
            fs::write(&path, value)
                .unwrap_or_else(|error| panic!("{path} in {namespace}: {error}"));
        }
    });
}

/// Builds it.
pub(crate) fn build() {
    let mounted = Command::new("mount").args(["-t", "tmpfs", "none", "/run"]).status();
    assert!(mounted.expect("mount is there").success());
    fs::create_dir("/run/netns").expect("the tmpfs is empty");
    let mut batch = String::new();
    let spines = (0..SPINES).map(|spine| format!("s{spine}"));
    let hosts = HOSTS.iter().map(|(name, ..)| (*name).to_owned());
    for name in spines.chain(hosts).chain(["l0".to_owned(), "l1".to_owned(), "alone".to_owned()]) {
        let _ = writeln!(batch, "netns add {name}");
    }
    for leaf in 0..2 {
        for spine in 0..SPINES {
            let _ = writeln!(
                batch,
                "link add name s{spine} netns l{leaf} type veth peer name l{leaf} netns s{spine}"
            );
        }
    }
    for (name, leaf, number) in HOSTS {
        let _ = writeln!(
            batch,
            "link add name h{number} netns l{leaf} type veth peer name eth0 netns {name}"
        );
    }
    ip(None, &batch);
    (0..SPINES).for_each(build_spine);
    (0..2).for_each(build_leaf);
    for (name, leaf, number) in HOSTS {
        ip(
            Some(name),
            &format!(
                "link set lo up\n\
                 addr add 10.{leaf}.{number}.2/24 dev eth0\n\
                 addr add fd00:{leaf}:{number}::2/64 dev eth0 nodad\n\
                 link set eth0 up\n\
                 route add default via 10.{leaf}.{number}.1\n\
                 route add default via fd00:{leaf}:{number}::1\n"
            ),
        );
    }
}

/// What makes a namespace a router that answers every probe.
const ROUTER: [(&str, &str); 7] = [
    ("ipv4.ip_forward", "1"),
    ("ipv4.icmp_ratelimit", "0"),
    ("ipv4.icmp_msgs_per_sec", "1000000"),
    ("ipv4.icmp_msgs_burst", "100000"),
    ("ipv4.icmp_errors_use_inbound_ifaddr", "1"),
    ("ipv6.conf.all.forwarding", "1"),
    ("ipv6.icmp.ratelimit", "0"),
];

fn build_spine(spine: usize) {
    let name = format!("s{spine}");
    sysctl(&name, &ROUTER);
    let mut batch = "link set lo up\n".to_owned();
    for leaf in 0..2 {
        let v4 = format!("10.{}.{leaf}", 200 + spine);
        let v6 = format!("fd01:{spine}:{leaf}");
        let _ = write!(
            batch,
            "addr add {v4}.1/31 dev l{leaf}\n\
             addr add {v6}::b/64 dev l{leaf} nodad\n\
             link set l{leaf} up\n\
             route add 10.{leaf}.0.0/16 via {v4}.0 dev l{leaf}\n\
             route add fd00:{leaf}::/32 via {v6}::a dev l{leaf}\n"
        );
    }
    ip(Some(&name), &batch);
}

fn build_leaf(leaf: usize) {
    let name = format!("l{leaf}");
    sysctl(&name, &ROUTER);
    let seed = (leaf + 1).to_string();
    // Policy 1 takes the hash that the socket left in the packet, which is another for each
    // connection; policy 3 with these fields reads addresses, protocol and ports from the packet.
    sysctl(
        &name,
        &[
            ("ipv4.fib_multipath_hash_policy", "3"),
            ("ipv4.fib_multipath_hash_fields", "55"),
            ("ipv6.fib_multipath_hash_policy", "3"),
            ("ipv6.fib_multipath_hash_fields", "55"),
            ("ipv4.fib_multipath_hash_seed", &seed),
        ],
    );
    let mut batch = "link set lo up\n".to_owned();
    let other = 1 - leaf;
    let (mut v4, mut v6) =
        (format!("route add 10.{other}.0.0/16"), format!("route add fd00:{other}::/32"));
    for spine in 0..SPINES {
        let _ = write!(
            batch,
            "addr add 10.{}.{leaf}.0/31 dev s{spine}\n\
             addr add fd01:{spine}:{leaf}::a/64 dev s{spine} nodad\n\
             link set s{spine} up\n",
            200 + spine
        );
        let _ = write!(v4, " nexthop via 10.{}.{leaf}.1 dev s{spine}", 200 + spine);
        let _ = write!(v6, " nexthop via fd01:{spine}:{leaf}::b dev s{spine}");
    }
    for number in 0..2 {
        let _ = write!(
            batch,
            "addr add 10.{leaf}.{number}.1/24 dev h{number}\n\
             addr add fd00:{leaf}:{number}::1/64 dev h{number} nodad\n\
             link set h{number} up\n"
        );
    }
    ip(Some(&name), &format!("{batch}{v4}\n{v6}\n"));
}
