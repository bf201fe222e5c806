use super::super::message::Answer;
use super::*;

const KEY: &str = "world";

fn table() -> Table {
    Table::new(TableLimits { exchanges: 2, bytes: 100 })
}

fn post(rank: u32, count: u32) -> Post {
    Post {
        key: KEY.to_owned(),
        rank,
        count,
        parameters: vec![("subflows".to_owned(), "2".to_owned())],
        blob: Bytes::from(vec![rank as u8]),
        patience: Duration::from_mins(1),
    }
}

fn peer(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn answer(receiver: &mut oneshot::Receiver<Frames>) -> Answer {
    let frames = receiver.try_recv().expect("answered");
    let length = u32::from_le_bytes(frames[..4].try_into().expect("four bytes")) as usize;
    Answer::decode(frames.slice(4..4 + length)).expect("a good answer")
}

fn failure(receiver: &mut oneshot::Receiver<Frames>) -> Failure {
    match answer(receiver) {
        Answer::Failed(failure) => failure,
        other @ Answer::Good { .. } => panic!("a failure was expected, not {other:?}"),
    }
}

#[test]
fn the_last_post_answers_all_and_the_answers_settle_the_exchange() {
    let mut table = table();
    let mut first = table.post(post(1, 2), peer(1));
    assert!(first.try_recv().is_err(), "rank 0 is missing");
    let mut second = table.post(post(0, 2), peer(2));
    assert_eq!(answer(&mut first), Answer::Good { count: 2 });
    assert_eq!(answer(&mut second), Answer::Good { count: 2 });
    table.answered(KEY);
    assert_eq!(table.progress(KEY), Progress::Open);
    table.answered(KEY);
    assert_eq!(table.progress(KEY), Progress::Settled);
    assert_eq!(table.bytes, 0);
}

#[test]
fn a_differing_parameter_ends_it_for_all_and_for_those_who_come_later() {
    let mut table = table();
    let mut first = table.post(post(0, 3), peer(1));
    let other = vec![("subflows".to_owned(), "4".to_owned())];
    let mut second = table.post(Post { parameters: other, ..post(2, 3) }, peer(2));
    let expected = "parameter 'subflows' differs: rank 0 has 2, rank 2 has 4";
    assert_eq!(failure(&mut first).to_string(), expected);
    assert_eq!(failure(&mut second).to_string(), expected);
    table.answered(KEY);
    table.answered(KEY);
    assert_eq!(table.progress(KEY), Progress::Failed);
    let mut late = table.post(post(1, 3), peer(3));
    assert_eq!(failure(&mut late).to_string(), expected);
    table.answered(KEY);
    assert_eq!(table.progress(KEY), Progress::Settled);
}

#[test]
fn a_parameter_that_only_one_rank_has_differs() {
    let mut table = table();
    let mut first = table.post(post(0, 3), peer(1));
    let mut more = post(1, 3);
    more.parameters.push(("transport".to_owned(), "tcp".to_owned()));
    drop(table.post(more, peer(2)));
    let text = failure(&mut first).to_string();
    assert_eq!(text, "parameter 'transport' differs: rank 0 has (nothing), rank 1 has tcp");
}

#[test]
fn a_differing_count_or_a_rank_that_comes_twice_ends_it() {
    let mut table = table();
    let mut first = table.post(post(0, 3), peer(1));
    drop(table.post(post(1, 4), peer(2)));
    let text = failure(&mut first).to_string();
    assert_eq!(text, "the number of members differs: rank 0 says 3, rank 1 says 4");

    let mut table = self::table();
    let mut first = table.post(post(0, 3), peer(1));
    let mut twin = table.post(post(0, 3), peer(2));
    let expected = "two processes came as rank 0: from 127.0.0.1:1 and from 127.0.0.1:2";
    assert_eq!(failure(&mut first).to_string(), expected);
    assert_eq!(failure(&mut twin).to_string(), expected);
}

#[test]
fn a_rank_of_another_version_ends_it_and_is_named() {
    let mut table = table();
    let mut first = table.post(post(0, 3), peer(1));
    let told = table.refuse_version(KEY, 2, 9);
    assert_eq!(failure(&mut first), told);
    assert!(told.to_string().contains("rank 2 has 9, the store has 1"), "{told}");
}

#[test]
fn another_version_after_a_good_end_changes_nothing() {
    let mut table = table();
    let mut only = table.post(post(0, 1), peer(1));
    table.refuse_version(KEY, 2, 9);
    assert_eq!(answer(&mut only), Answer::Good { count: 1 });
    table.answered(KEY);
    assert_eq!(table.progress(KEY), Progress::Settled);
}

#[test]
fn impatience_names_who_is_missing() {
    let mut table = table();
    let mut waiting: Vec<_> =
        [0, 1, 3, 4].map(|rank| table.post(post(rank, 6), peer(1))).into_iter().collect();
    table.expire(KEY, Duration::from_mins(1), 0);
    for receiver in &mut waiting {
        let text = failure(receiver).to_string();
        assert_eq!(text, "rendezvous timed out after 60 s: ranks 2, 5 did not come");
        table.answered(KEY);
    }
    assert_eq!(table.progress(KEY), Progress::Settled);
    table.expire(KEY, Duration::from_mins(1), 0);
}

#[test]
fn of_many_missing_ranks_the_first_are_named() {
    let mut table = table();
    let mut first = table.post(post(0, 65_536), peer(1));
    table.expire(KEY, Duration::from_secs(1), 2);
    let text = failure(&mut first).to_string();
    assert!(text.contains(", 64 and 65471 more did not come (2 connections"), "{text}");
}

#[test]
fn a_member_that_leaves_ends_it_for_the_others() {
    let mut table = table();
    let mut first = table.post(post(0, 3), peer(1));
    drop(table.post(post(1, 3), peer(2)));
    table.leave(KEY, 1);
    assert_eq!(failure(&mut first), Failure::Left { rank: 1 });
    assert_eq!(table.bytes, 0);
}

#[test]
fn a_good_exchange_can_not_be_joined_again_and_is_forgotten_in_the_end() {
    let mut table = table();
    drop(table.post(post(0, 1), peer(1)));
    let mut again = table.post(post(0, 1), peer(1));
    assert_eq!(failure(&mut again), Failure::Ended { key: KEY.to_owned() });
    for key in ["a", "b"] {
        drop(table.post(Post { key: key.to_owned(), ..post(0, 1) }, peer(1)));
    }
    assert_eq!(table.closed.len(), 2);
    let mut anew = table.post(post(0, 1), peer(1));
    assert_eq!(answer(&mut anew), Answer::Good { count: 1 });
}

#[test]
fn a_full_store_refuses_bytes_and_exchanges_above_its_limits() {
    let mut table = table();
    let blob = Bytes::from(vec![0; 101]);
    let mut large = table.post(Post { blob, ..post(0, 2) }, peer(1));
    assert!(matches!(failure(&mut large), Failure::Full { limit: 100, .. }));
    let named = |key: &str| Post { key: key.to_owned(), ..post(0, 2) };
    let _waiting = [table.post(named("a"), peer(1)), table.post(named("b"), peer(1))];
    let mut third = table.post(named("c"), peer(1));
    assert!(matches!(failure(&mut third), Failure::Full { limit: 2, .. }));
    assert_eq!(table.gathering.len(), 2);
}

#[test]
fn a_store_that_stops_tells_everybody() {
    let mut table = table();
    let mut first = table.post(post(0, 3), peer(1));
    table.stop();
    assert_eq!(failure(&mut first), Failure::Stopped);
}
