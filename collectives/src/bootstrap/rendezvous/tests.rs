//! Members and a store over real sockets of this host.

use std::io::Write as _;
use std::net::TcpListener as StdListener;
use std::sync::atomic::Ordering;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, JoinSet};

use super::*;
use crate::bootstrap::auth::{AuthError, Side, authenticate};
use crate::bootstrap::frame::{read_frame, write_frame};
use crate::bootstrap::secret::JobSecret;

const SEED: u64 = 0x0e7e_57a1;

fn loopbacks() -> Vec<&'static str> {
    if is_local(SocketAddr::from((Ipv6Addr::LOCALHOST, 0))) {
        return vec!["127.0.0.1", "::1"];
    }
    drop(writeln!(std::io::stderr(), "skipped: no IPv6"));
    vec!["127.0.0.1"]
}

fn secret(text: &str) -> Trust {
    Trust::Secret(JobSecret::new(text.as_bytes().to_vec(), "test").expect("long enough"))
}

fn good_secret() -> Trust {
    secret("a secret of all ranks")
}

/// An address of this host on which nobody listened a moment ago.
fn free_address(host: &str) -> HostPort {
    let ip: std::net::IpAddr = host.parse().expect(host);
    let probe = StdListener::bind((ip, 0)).expect("a free port");
    HostPort::new(host, probe.local_addr().expect("bound").port()).expect("an address")
}

fn config(address: &HostPort, rank: u32, size: u64, trust: Trust) -> RendezvousConfig {
    let world_size = WorldSize::new(size).expect("size");
    RendezvousConfig::new(address.clone(), Rank::new(rank), world_size, trust)
}

fn blob(rank: u32) -> Bytes {
    Bytes::from(format!("blob of rank {rank}"))
}

type Outcome = Result<Vec<Bytes>, RendezvousError>;

/// Runs all members at once and returns what each of them got, by rank.
async fn run_all(members: Vec<RendezvousConfig>) -> Vec<Outcome> {
    let mut tasks = JoinSet::new();
    for member in members {
        tasks.spawn(async move {
            let rank = member.rank;
            (rank, rendezvous(&member, blob(rank.number())).await)
        });
    }
    let mut outcomes = tasks.join_all().await;
    outcomes.sort_by_key(|(rank, _)| *rank);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}

/// A store on its own, as a launcher hosts it, until the test ends.
fn store(trust: Trust, limits: ServerLimits) -> (HostPort, Arc<Counters>, JoinHandle<()>) {
    let counters = Arc::new(Counters::default());
    let server = RendezvousServer::bind_with(
        SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        trust,
        limits,
        Arc::clone(&counters),
    )
    .expect("bind");
    let address = HostPort::new("127.0.0.1", server.local_address().port()).expect("address");
    (address, counters, tokio::spawn(server.serve(std::future::pending())))
}

fn elsewhere(address: &HostPort, rank: u32, size: u64, trust: Trust) -> RendezvousConfig {
    RendezvousConfig { hosting: Hosting::Elsewhere, ..config(address, rank, size, trust) }
}

async fn two_meet(address: &HostPort, trust: &Trust) {
    let members = (0..2).map(|rank| elsewhere(address, rank, 2, trust.clone())).collect();
    for outcome in run_all(members).await {
        assert_eq!(outcome.expect("they meet"), [blob(0), blob(1)]);
    }
}

async fn stream_to(address: &HostPort) -> TcpStream {
    TcpStream::connect((address.host(), address.port())).await.expect("connect")
}

/// Lets tasks run until `counter` has reached `value`.
async fn reaches(counter: &std::sync::atomic::AtomicU64, value: u64) {
    let reached = async {
        while counter.load(Ordering::Relaxed) < value {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_mins(1), reached).await;
    in_time.unwrap_or_else(|_| panic!("{} of {value}", counter.load(Ordering::Relaxed)));
}

#[tokio::test]
async fn nine_ranks_meet_in_any_order_of_coming_on_each_loopback_with_and_without_a_secret() {
    println!("seed {SEED:#x}");
    let mut random = StdRng::seed_from_u64(SEED);
    for host in loopbacks() {
        for trust in [good_secret(), Trust::LoopbackOnly] {
            let address = free_address(host);
            let mut members: Vec<_> =
                (0..9).map(|rank| config(&address, rank, 9, trust.clone())).collect();
            members.shuffle(&mut random);
            let expected: Vec<Bytes> = (0..9).map(blob).collect();
            for outcome in run_all(members).await {
                assert_eq!(outcome.expect("all meet"), expected);
            }
        }
    }
}

#[tokio::test]
async fn a_host_name_works_and_the_port_is_free_again_at_once() {
    let address = HostPort::new("localhost", free_address("127.0.0.1").port()).expect("address");
    for _ in 0..3 {
        let members = (0..2).map(|rank| config(&address, rank, 2, Trust::LoopbackOnly)).collect();
        for outcome in run_all(members).await {
            assert_eq!(outcome.expect("they meet").len(), 2);
        }
    }
}

#[tokio::test]
async fn a_world_of_one_rank_needs_no_store() {
    let address = HostPort::new("nowhere.invalid", 1).expect("address");
    let outcome = rendezvous(&config(&address, 0, 1, Trust::LoopbackOnly), blob(0)).await;
    assert_eq!(outcome.expect("alone"), [blob(0)]);
}

#[tokio::test]
async fn a_differing_parameter_is_told_to_all_ranks_with_both_values() {
    let address = free_address("127.0.0.1");
    let members = (0..4)
        .map(|rank| {
            let subflows = if rank == 3 { "4" } else { "2" };
            let parameters = vec![("subflows".to_owned(), subflows.to_owned())];
            RendezvousConfig { parameters, ..config(&address, rank, 4, good_secret()) }
        })
        .collect();
    for outcome in run_all(members).await {
        match outcome.expect_err("they differ") {
            RendezvousError::Failed(Failure::ParameterDiffers {
                name,
                first_rank,
                first_value,
                other_rank,
                other_value,
            }) => {
                let mut both = [(first_rank, first_value), (other_rank, other_value)];
                both.sort();
                assert_eq!(name, "subflows");
                assert!(both[0].0 < 3 && both[0].1 == "2", "{both:?}");
                assert_eq!(both[1], (3, "4".to_owned()));
            }
            other => panic!("{other}"),
        }
    }
}

#[tokio::test]
async fn a_differing_world_size_is_named_as_such() {
    let (address, _, _store) = store(good_secret(), ServerLimits::default());
    let members =
        vec![elsewhere(&address, 0, 2, good_secret()), elsewhere(&address, 2, 3, good_secret())];
    for outcome in run_all(members).await {
        let text = outcome.expect_err("they differ").to_string();
        assert!(text.starts_with("parameter 'world_size' differs: rank "), "{text}");
    }
}

#[tokio::test]
async fn missing_ranks_are_named_to_those_who_came() {
    let address = free_address("127.0.0.1");
    let timeout = Duration::from_secs(5);
    let members = [0, 1, 3, 4]
        .map(|rank| RendezvousConfig { timeout, ..config(&address, rank, 6, good_secret()) });
    for outcome in run_all(members.into()).await {
        match outcome.expect_err("ranks are missing") {
            RendezvousError::Failed(Failure::Missing { ranks, missing, refused, .. }) => {
                assert_eq!((ranks, missing, refused), (vec![2, 5], 2, 0));
            }
            other => panic!("{other}"),
        }
    }
}

#[tokio::test]
async fn a_rank_that_dies_while_it_waits_ends_the_waiting_of_the_others() {
    let (address, _, _store) = store(good_secret(), ServerLimits::default());
    let trust = good_secret();
    let mut client =
        RendezvousClient::connect(&address, &trust, DEFAULT_TIMEOUT).await.expect("connect");
    let post = config(&address, 1, 3, trust.clone()).post(blob(1), DEFAULT_TIMEOUT);
    let dying = async {
        // Cut off in the middle of its waiting, once the other one has come.
        tokio::select! {
            outcome = client.exchange(&post) => panic!("rank 2 is missing: {outcome:?}"),
            () = tokio::time::sleep(Duration::from_millis(100)) => {}
        }
        drop(client);
    };
    let survivor = elsewhere(&address, 0, 3, trust.clone());
    let ((), outcome) = tokio::join!(dying, rendezvous(&survivor, blob(0)));
    match outcome.expect_err("rank 1 left") {
        RendezvousError::Failed(failure) => assert_eq!(failure, Failure::Left { rank: 1 }),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_wrong_secret_or_none_is_refused_at_once_and_counted_and_the_job_goes_on() {
    let (address, counters, _store) = store(good_secret(), ServerLimits::default());
    for trust in [secret("some other secret"), Trust::LoopbackOnly] {
        let outcome = rendezvous(&elsewhere(&address, 1, 2, trust), blob(1)).await;
        let error = outcome.expect_err("refused");
        assert!(
            matches!(
                error,
                RendezvousError::Refused {
                    cause: ConnectCause::Auth { cause: AuthError::WrongSecret, .. },
                    ..
                }
            ),
            "{error}"
        );
    }
    reaches(&counters.wrong_secret, 2).await;
    two_meet(&address, &good_secret()).await;
    assert_eq!(counters.all_rejected(), 2);
}

#[tokio::test]
async fn garbage_is_counted_and_the_job_goes_on() {
    let (address, counters, _store) = store(good_secret(), ServerLimits::default());
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 100], &[0xff; 3]] {
        let mut stream = stream_to(&address).await;
        stream.write_all(garbage).await.expect("write");
        // The end, or a reset: in any case not an answer.
        assert!(!matches!(stream.read(&mut [0; 10]).await, Ok(1..)));
    }
    reaches(&counters.garbage, 3).await;
    two_meet(&address, &good_secret()).await;
}

#[tokio::test]
async fn more_silent_connections_than_seats_are_turned_away_and_the_job_goes_on() {
    let limits = ServerLimits {
        handshakes: 4,
        handshake_time: Duration::from_secs(5),
        ..ServerLimits::default()
    };
    let (address, counters, _store) = store(good_secret(), limits);
    let mut silent = Vec::new();
    for _ in 0..8 {
        silent.push(stream_to(&address).await);
    }
    two_meet(&address, &good_secret()).await;
    // Those that had to make room, and the four that had seats until their time was over.
    reaches(&counters.displaced, 1).await;
    reaches(&counters.silent, 1).await;
    while counters.all_rejected() < 8 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let both = counters.displaced.load(Ordering::Relaxed) + counters.silent.load(Ordering::Relaxed);
    assert_eq!(both, 8, "{counters:?}");
}

#[tokio::test]
async fn another_version_of_the_handshake_is_told_both_versions() {
    let (address, counters, _store) = store(good_secret(), ServerLimits::default());
    let mut stream = stream_to(&address).await;
    let mut hello = b"ONEPATH\x1a\x09\x00".to_vec();
    hello.extend([1; 33]);
    stream.write_all(&hello).await.expect("write");
    let mut told = [0; 10];
    stream.read_exact(&mut told).await.expect("magic and version");
    assert_eq!(&told, b"ONEPATH\x1a\x01\x00");
    drop(stream);
    reaches(&counters.version_mismatch, 1).await;
    two_meet(&address, &good_secret()).await;
}

/// Authenticates and sends one frame, as a member that is out of order.
async fn raw_request(address: &HostPort, frame: &[u8]) -> message::Answer {
    let mut stream = stream_to(address).await;
    authenticate(&mut stream, Side::Connector, &good_secret(), CONTEXT).await.expect("trusted");
    write_frame(&mut stream, frame, usize::MAX).await.expect("write");
    let answer = read_frame(&mut stream, message::MAX_ANSWER_BYTES).await.expect("an answer");
    message::Answer::decode(answer).expect("a good answer")
}

#[tokio::test]
async fn a_member_of_another_version_ends_the_exchange_for_all() {
    let (address, _, _store) = store(good_secret(), ServerLimits::default());
    let waiting = elsewhere(&address, 0, 2, good_secret());
    let mut request = config(&address, 1, 2, good_secret()).post(blob(1), DEFAULT_TIMEOUT).encode();
    request[0] = 9;
    let (outcome, answer) =
        tokio::join!(rendezvous(&waiting, blob(0)), raw_request(&address, &request));
    let expected = Failure::VersionDiffers { rank: 1, theirs: 9, ours: PROTOCOL_VERSION };
    assert_eq!(answer, message::Answer::Failed(expected.clone()));
    match outcome.expect_err("another version") {
        RendezvousError::Failed(failure) => assert_eq!(failure, expected),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_members_malformed_request_is_refused_with_the_reason_and_counted() {
    let (address, counters, _store) = store(good_secret(), ServerLimits::default());
    for (frame, expected) in [(b"xyz".to_vec(), "ends too early"), (vec![0; 200_000], "200000")] {
        match raw_request(&address, &frame).await {
            message::Answer::Failed(Failure::Malformed { reason }) => {
                assert!(reason.contains(expected), "{reason}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(counters.malformed.load(Ordering::Relaxed), 2);
    two_meet(&address, &good_secret()).await;
}

#[tokio::test]
async fn one_connection_serves_several_exchanges() {
    let (address, _, _store) = store(Trust::Insecure, ServerLimits::default());
    let mut tasks = JoinSet::new();
    for rank in 0..2 {
        let address = address.clone();
        tasks.spawn(async move {
            let mut client =
                RendezvousClient::connect(&address, &Trust::LoopbackOnly, DEFAULT_TIMEOUT)
                    .await
                    .expect("connect");
            for key in ["a", "b"] {
                let mut post = config(&address, rank, 2, Trust::LoopbackOnly)
                    .post(vec![7; MAX_BLOB_BYTES].into(), DEFAULT_TIMEOUT);
                post.key = key.to_owned();
                let blobs = client.exchange(&post).await.expect(key);
                assert_eq!(blobs[1 - rank as usize].len(), MAX_BLOB_BYTES);
            }
        });
    }
    tasks.join_all().await;
}

#[tokio::test]
async fn a_store_that_is_not_there_is_named_with_the_last_cause() {
    let address = free_address("127.0.0.1");
    let timeout = Duration::from_millis(300);
    let lonely = RendezvousConfig { timeout, ..config(&address, 1, 2, good_secret()) };
    let text = rendezvous(&lonely, blob(1)).await.expect_err("nobody listens").to_string();
    let start = format!("the rendezvous at {address} was not reached within ");
    assert!(text.starts_with(&start), "{text}");
    assert!(text.contains(" s; last attempt: 127.0.0.1:") && text.contains("refused"), "{text}");
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let taken = StdListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("bound").port();
    let address = HostPort::new("127.0.0.1", port).expect("address");
    let outcome = rendezvous(&config(&address, 0, 2, good_secret()), blob(0)).await;
    let text = outcome.expect_err("taken").to_string();
    assert!(text.contains(&format!("port {port} at 127.0.0.1 is taken")), "{text}");
}

#[tokio::test]
async fn a_port_that_becomes_free_in_time_is_taken() {
    let other = StdListener::bind("127.0.0.1:0").expect("a free port");
    let port = other.local_addr().expect("bound").port();
    let address = HostPort::new("127.0.0.1", port).expect("address");
    let members = (0..2).map(|rank| config(&address, rank, 2, good_secret())).collect();
    let ends = async {
        tokio::time::sleep(Duration::from_millis(40)).await;
        drop(other);
    };
    let (outcomes, ()) = tokio::join!(run_all(members), ends);
    for outcome in outcomes {
        assert_eq!(outcome.expect("they meet"), [blob(0), blob(1)]);
    }
}

#[tokio::test]
async fn without_a_secret_another_hosts_address_is_neither_served_nor_called() {
    let far = HostPort::new("192.0.2.77", 29400).expect("address");
    for rank in 0..2 {
        let outcome = rendezvous(&config(&far, rank, 2, Trust::LoopbackOnly), blob(rank)).await;
        let text = outcome.expect_err("not trusted").to_string();
        assert!(text.contains("192.0.2.77") && text.contains("ONEPATH_JOB_SECRET"), "{text}");
    }
    let everywhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let error = RendezvousServer::bind(everywhere, Trust::LoopbackOnly).expect_err("not trusted");
    assert!(matches!(error, BindError::Untrusted(_)), "{error}");
}

#[tokio::test]
async fn a_store_that_is_stopped_tells_those_who_wait() {
    let server = RendezvousServer::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), good_secret())
        .expect("bind");
    let address = HostPort::new("127.0.0.1", server.local_address().port()).expect("address");
    let counters = Arc::clone(server.counters());
    let until = async {
        reaches(&counters.admitted, 1).await;
        // Many turns of the runtime, each of which moves what is on the wire: then it has posted.
        for _ in 0..50 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let member = elsewhere(&address, 0, 2, good_secret());
    let ((), outcome) = tokio::join!(server.serve(until), rendezvous(&member, blob(0)));
    match outcome.expect_err("stopped") {
        RendezvousError::Failed(failure) => assert_eq!(failure, Failure::Stopped),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_post_out_of_bounds_is_refused_before_anything_is_sent() {
    let address = free_address("127.0.0.1");
    let large = Bytes::from(vec![0; MAX_BLOB_BYTES + 1]);
    let outcome = rendezvous(&config(&address, 0, 2, good_secret()), large).await;
    assert!(matches!(outcome, Err(RendezvousError::Post(Malformed::TooLong { .. }))));
}
