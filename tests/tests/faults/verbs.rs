//! What goes wrong with RDMA devices and the fabric between them, below running collectives.
//!
//! These need the devices `rxe0` to `rxe3` of the machine of `tests/rxe`, and its `fabric`, which
//! breaks what is between them: `tests/rxe/verbs/faults` runs them there.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use onepath_collectives::bootstrap::JobSecret;
use onepath_collectives::communicator::{BuildError, Builder, TransportKind};
use onepath_collectives::{Algorithm, CollectiveError, Communicator, ReduceOp, RegisteredBuffer};
use onepath_tests::verbs::{options, over};
use onepath_tests::world::{World, exclusive, free_port};
use onepath_topology::Rank;
use onepath_transport::verbs::FlowLabel;
use onepath_transport::verbs::transport::{Spread, VerbsOptions};

use super::death::worker;

const RANKS: usize = 4;

/// How long one test may take by the machine's clock.
const LIMIT: Duration = Duration::from_mins(5);

/// Elements of an all-reduce: 256 KiB.
const ELEMENTS: usize = 64 << 10;

/// Runs a program of the machine; what it prints.
fn program(name: &str, arguments: &str) -> String {
    let run = Command::new(name).args(arguments.split(' ')).output();
    let Output { status, stdout, stderr } = run.unwrap_or_else(|error| panic!("{name}: {error}"));
    let said = String::from_utf8_lossy(&stderr);
    assert!(status.success(), "{name} {arguments}: {status}: {said}");
    String::from_utf8_lossy(&stdout).into_owned()
}

fn fabric(arguments: &str) {
    program("fabric", arguments);
}

/// Bytes that have left a spine so far.
fn sent_by_spine(spine: usize) -> u64 {
    let counters = program("fabric", "counters");
    let of_spine = counters.lines().filter(|line| line.starts_with(&format!("spine{spine}-")));
    let bytes = of_spine.map(|line| line.split_whitespace().nth(1).and_then(|b| b.parse().ok()));
    bytes.map(|bytes: Option<u64>| bytes.expect("link, bytes, packets, dropped")).sum()
}

/// Puts the fabric back, however a test ends.
struct Healed;

impl Drop for Healed {
    fn drop(&mut self) {
        // The machine does it once more after the last test.
        let _ = Command::new("fabric").arg("reset").status();
    }
}

/// Two flow labels that take each spine from a rank's device to that of its neighbour in the ring
/// below the other leaf: the leaf is asked. Lane n takes spine n % 2, from both ends.
fn labels(rank: usize) -> Vec<FlowLabel> {
    let peer = RANKS - 1 - rank;
    let (leaf, far) = (rank / 2, peer / 2);
    let mut of_spine = [Vec::new(), Vec::new()];
    for label in 1..64 {
        let route = program(
            "ip",
            &format!(
                "netns exec leaf{leaf} ip route get 10.{far}.{peer}.1 from 10.{leaf}.{rank}.1 \
                 iif r{rank} ipproto 17 sport {} dport 4791",
                0xc000 + label
            ),
        );
        let spine = usize::from(route.contains(" dev s1 "));
        of_spine[spine].push(FlowLabel::new(label).expect("20 bits"));
        if of_spine.iter().all(|labels| labels.len() >= 2) {
            break;
        }
    }
    (0..4).map(|lane| of_spine[lane % 2][lane / 2]).collect()
}

fn over_both_spines(builder: Builder, rank: Rank, ack_timeout: u8) -> Builder {
    let labels = labels(rank.index());
    over(builder, VerbsOptions { labels, ack_timeout, ..options(Spread::Split) })
}

fn world(name: &str, adjust: fn(Builder, Rank) -> Builder) -> World {
    World::new(name, RANKS, TransportKind::Verbs).within(LIMIT).adjusted(adjust)
}

/// Element `at` of a rank's input in a round.
fn element(rank: usize, round: usize, at: usize) -> u32 {
    (at as u32).wrapping_mul(0x9e37_79b1) ^ (round as u32) << 8 ^ rank as u32
}

/// One all-reduce whose data no other round has, checked. Sums that wrap are not idempotent: what
/// is combined twice or not at all is seen.
fn round(communicator: &Communicator, number: usize) -> Result<(), CollectiveError> {
    round_in(&mut vec![0; ELEMENTS], communicator, number)
}

/// As `round`, in memory that each round writes anew.
fn round_in(
    sum: &mut [u32],
    communicator: &Communicator,
    round: usize,
) -> Result<(), CollectiveError> {
    let rank = communicator.rank().index();
    sum.iter_mut().enumerate().for_each(|(at, to)| *to = element(rank, round, at));
    communicator.all_reduce(sum, ReduceOp::Sum)?;
    for (at, &found) in sum.iter().enumerate() {
        let right = (0..RANKS).fold(0, |sum: u32, r| sum.wrapping_add(element(r, round, at)));
        assert_eq!(found, right, "rank {rank}, round {round}, element {at}");
    }
    Ok(())
}

/// Deaths of queue pairs, replacements and resends of this rank so far.
fn counted(communicator: &Communicator) -> [u64; 3] {
    let counts = communicator.verbs_counts();
    counts.iter().fold([0; 3], |[deaths, replacements, resends], count| {
        [deaths + count.deaths, replacements + count.replacements, resends + count.resends]
    })
}

fn add(all: &[[u64; 3]]) -> [u64; 3] {
    all.iter().fold([0; 3], |a, b| [a[0] + b[0], a[1] + b[1], a[2] + b[2]])
}

#[test]
#[ignore = "needs RDMA devices: tests/run --only rxe-tests"]
fn a_spine_that_swallows_packets_costs_queue_pairs_and_no_data() {
    let direct = swallow_packets("black hole", |_, memory| Memory::Plain(memory));
    assert_eq!(direct, 0);
}

#[test]
#[ignore = "needs RDMA devices: tests/run --only rxe-tests"]
fn a_spine_that_swallows_packets_of_registered_memory_costs_no_data_either() {
    let direct = swallow_packets("black hole, registered", |communicator, memory| {
        Memory::Registered(communicator.register(memory).expect("the device takes it"))
    });
    assert!(direct > 0, "everything was copied");
}

/// Memory that the rounds of a test have in common: each overwrites what the last one sent from.
enum Memory {
    Plain(Vec<u32>),
    Registered(RegisteredBuffer<u32>),
}

impl Memory {
    fn elements(&mut self) -> &mut [u32] {
        match self {
            Self::Plain(memory) => memory,
            Self::Registered(memory) => memory,
        }
    }
}

/// How many chunks were not copied.
fn swallow_packets(name: &str, memory: fn(&Communicator, Vec<u32>) -> Memory) -> u64 {
    let _healed = Healed;
    let adjust = |builder, rank| over_both_spines(builder, rank, 16);
    let counts = world(name, adjust).run(|seat| {
        let communicator = &seat.communicator;
        communicator.set_algorithm(Some(Algorithm::Ring));
        let mut memory = memory(communicator, vec![0; ELEMENTS]);
        let sum = memory.elements();
        let mut breaking = None;
        for number in 0..8 {
            seat.note(format_args!("round {number}"));
            if number == 3 && communicator.rank().index() == 0 {
                breaking = Some(std::thread::spawn(|| fabric("black-hole 1")));
            }
            round_in(sum, communicator, number).expect("the other spine carries everything");
        }
        if let Some(breaking) = breaking {
            breaking.join().expect("the fabric breaks");
        }
        // All that died by now are replaced, on other labels.
        let open = |[deaths, replacements, _]: [u64; 3]| deaths == replacements;
        for number in 8..200 {
            let mut ill = [u32::from(!open(counted(communicator)))];
            communicator.all_reduce(&mut ill, ReduceOp::Sum).expect("all are there");
            if ill == [0] {
                break;
            }
            std::thread::sleep(Duration::from_millis(200));
            round_in(sum, communicator, number).expect("the other spine carries everything");
        }
        let direct: u64 = communicator.verbs_counts().iter().map(|count| count.direct).sum();
        (counted(communicator), direct)
    });
    let (counts, direct): (Vec<[u64; 3]>, Vec<u64>) = counts.into_iter().unzip();
    println!("deaths, replacements and resends by rank: {counts:?}");
    let [deaths, replacements, resends] = add(&counts);
    assert!(deaths > 0 && resends > 0, "{counts:?}");
    assert_eq!(deaths, replacements, "{counts:?}");
    direct.iter().sum()
}

#[test]
#[ignore = "needs RDMA devices: tests/run --only rxe-tests"]
fn writes_that_arrive_after_their_queue_pair_was_given_up_change_nothing() {
    let _healed = Healed;
    // 17 ms, six times again: packets that wait 1.5 s behind a spine outlive their queue pair.
    let adjust = |builder, rank| over_both_spines(builder, rank, 12);
    let counts = world("late writes", adjust).run(|seat| {
        let communicator = &seat.communicator;
        communicator.set_algorithm(Some(Algorithm::Ring));
        let first = communicator.rank().index() == 0;
        let mut late = 0;
        for number in 0..16 {
            seat.note(format_args!("round {number}"));
            if number == 4 {
                late = sent_by_spine(1);
            }
            if (4..7).contains(&number) {
                // They arrive between and during these rounds.
                std::thread::sleep(Duration::from_millis(700));
            }
            if first {
                match number {
                    2 => fabric("netem 1 delay 1500ms 400ms"),
                    7 => {
                        late = sent_by_spine(1) - late;
                        assert!(late > 2 * 4096, "{late} bytes came late");
                        fabric("netem all delay 3ms reorder 2%");
                    }
                    9 => fabric("black-hole 1"),
                    12 => fabric("heal 1"),
                    _ => {}
                }
            }
            round(communicator, number).expect("the other spine carries everything");
        }
        counted(communicator)
    });
    println!("deaths, replacements and resends by rank: {counts:?}");
    let [deaths, _, resends] = add(&counts);
    assert!(deaths > 0 && resends > 0, "{counts:?}");
}

fn link_up() {
    program("ip", "link set h2 up");
    // It went with the link.
    program("ip", "route replace default via 10.1.2.254 dev h2 metric 102");
}

#[test]
#[ignore = "needs RDMA devices: tests/run --only rxe-tests"]
fn a_port_that_is_down_for_seconds_costs_queue_pairs_and_no_data() {
    let adjust = |builder, _| over(builder, options(Spread::Split));
    let counts = world("port down for a moment", adjust).run(|seat| {
        let communicator = &seat.communicator;
        let breaking = (communicator.rank().index() == 2).then(|| {
            std::thread::spawn(|| {
                program("ip", "link set h2 down");
                std::thread::sleep(Duration::from_secs(10));
                link_up();
            })
        });
        for number in 0..12 {
            round(communicator, number).expect("the port is down for less than 30 s");
        }
        if let Some(breaking) = breaking {
            breaking.join().expect("the link goes down and up");
        }
        counted(communicator)
    });
    println!("deaths, replacements and resends by rank: {counts:?}");
    let [deaths, replacements, _] = add(&counts);
    assert!(deaths > 0 && replacements > 0, "{counts:?}");
}

#[test]
#[ignore = "needs RDMA devices: tests/run --only rxe-tests"]
fn a_port_that_goes_down_ends_calls_with_errors_that_name_ranks_and_serves_again_later() {
    const DOWN: usize = 2;
    let adjust = |builder, _| over(builder, options(Spread::Split));
    let ends = world("port down", adjust).run(|seat| {
        let communicator = &seat.communicator;
        round(communicator, 0).expect("all is well");
        if communicator.rank().index() == DOWN {
            program("ip", "link set h2 down");
        }
        let error = (1..100).find_map(|number| round(communicator, number).err());
        (error.expect("a port is down"), counted(communicator))
    });
    link_up();
    for (rank, (error, [deaths, ..])) in ends.iter().enumerate() {
        println!("rank {rank}: {error}; {deaths} queue pairs failed");
        // Of 12 lanes; tries become as rare as one a second.
        assert!(*deaths < 12 * 40, "{deaths}");
        match error {
            CollectiveError::Rdma { rank: named, .. } => {
                assert!(rank == DOWN || named.index() == DOWN, "rank {rank}: {error}");
            }
            CollectiveError::Unreachable { .. } => {}
            _ => panic!("rank {rank}: {error}"),
        }
    }
    let own = ends.iter().filter(|(error, _)| matches!(error, CollectiveError::Rdma { .. }));
    assert!(own.count() > 0, "somebody says why");
    // The link serves after a moment.
    std::thread::sleep(Duration::from_secs(2));
    world("port up", adjust).run(|seat| {
        round(&seat.communicator, 0).expect("all is well again");
    });
}

#[test]
#[ignore = "needs RDMA devices: tests/run --only rxe-tests"]
fn a_rank_with_a_wrong_secret_gets_no_queue_pair() {
    let adjust = |builder: Builder, rank: Rank| {
        let text = ["the secret of this job", "the secret of that job"][rank.index()];
        let secret = JobSecret::new(text.as_bytes().to_vec(), "test").expect("long enough");
        let builder = over(builder, options(Spread::Split));
        builder.secret(secret).join_timeout(Duration::from_secs(5))
    };
    let world = World::new("wrong secret", 2, TransportKind::Verbs).adjusted(adjust);
    let _only = exclusive();
    let port = free_port();
    let results: Vec<Result<Communicator, BuildError>> = std::thread::scope(|scope| {
        let world = &world;
        let threads = [0, 1].map(|rank| scope.spawn(move || world.try_join(rank, port)));
        threads.map(|thread| thread.join().expect("no panic")).into()
    });
    for (rank, result) in results.into_iter().enumerate() {
        let error = result.expect_err("they do not trust each other").to_string();
        println!("rank {rank}: {error}");
        assert!(rank == 0 || error.contains("secret"), "{error}");
    }
}

/// Some user who may not lock more memory than the limit says.
const USER: u32 = 4_711;

fn files_in(folder: &str) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{folder}: {error}"));
    entries.map(|entry| entry.expect("a readable folder").path()).collect()
}

#[test]
#[ignore = "needs RDMA devices: tests/run --only rxe-tests"]
fn too_little_lockable_memory_is_one_line_that_says_how_much_and_what_to_raise() {
    use std::os::unix::fs::PermissionsExt as _;

    let _only = exclusive();
    for file in files_in("/dev/infiniband") {
        let everybody = std::fs::Permissions::from_mode(0o666);
        std::fs::set_permissions(&file, everybody).expect("root may do that");
    }
    let port = free_port();
    let start = |rank: usize| {
        let arguments =
            format!("--rank {rank} --ranks 2 --port {port} --transport verbs --seed 1 fault");
        Command::new("bash")
            .args(["-c", "ulimit -l 64 && exec \"$0\" \"$@\""])
            .arg(program_file(&worker()))
            .args(arguments.split(' '))
            .uid(USER)
            .gid(USER)
            .output()
            .expect("bash is there")
    };
    let ranks: Vec<Output> = std::thread::scope(|scope| {
        let start = &start;
        let threads = [0, 1].map(|rank| scope.spawn(move || start(rank)));
        threads.map(|thread| thread.join().expect("no panic")).into()
    });
    for Output { status, stdout, stderr } in ranks {
        let said = String::from_utf8_lossy(&stdout).into_owned();
        print!("{said}{}", String::from_utf8_lossy(&stderr));
        assert_eq!((status.code(), said.lines().count()), (Some(1), 1), "{said}");
        for part in ["cannot register", "bytes", "ulimit -l", "memlock"] {
            assert!(said.contains(part), "no '{part}' in: {said}");
        }
    }
}

/// By its whole name, since another user has another PATH.
fn program_file(name: &Path) -> std::path::PathBuf {
    std::fs::canonicalize(name).unwrap_or_else(|error| panic!("{}: {error}", name.display()))
}
