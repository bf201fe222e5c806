use std::time::Duration;

use super::super::membership::Ballot;
use super::*;

const NOW: Nanos = Nanos(0);

fn rank(number: u32) -> Rank {
    Rank::new(number)
}

fn world() -> WorldSize {
    WorldSize::new(4).expect("a world size")
}

/// Rank 0 of four, with all others joined.
fn mesh() -> Mesh {
    let mut mesh = Mesh::new(rank(0), world(), Nanos::secs(10), NOW);
    for peer in 1..4 {
        mesh.on_joined(rank(peer), NOW);
    }
    assert_eq!(mesh.poll(), None);
    mesh
}

fn actions(mesh: &mut Mesh) -> Vec<Action> {
    std::iter::from_fn(|| mesh.poll()).collect()
}

fn failure(actions: &[Action]) -> Option<Failure> {
    actions.iter().find_map(|action| match action {
        Action::Failed(failure) => Some(failure.clone()),
        _ => None,
    })
}

fn sent_to(actions: &[Action], message: &Message) -> Vec<u32> {
    let receiver = |action: &Action| match action {
        Action::Send { to, message: sent } if sent == message => Some(to.number()),
        _ => None,
    };
    actions.iter().filter_map(receiver).collect()
}

#[test]
fn a_closed_connection_is_a_death_that_everybody_is_told_even_the_dead() {
    let mut mesh = mesh();
    mesh.on_closed(rank(2));
    let actions = actions(&mut mesh);
    let cause = DeathCause::Closed;
    assert_eq!(failure(&actions), Some(Failure::Dead { rank: rank(2), cause }));
    assert_eq!(sent_to(&actions, &Message::Dead { rank: rank(2), cause }), [1, 2, 3]);
    assert!(actions.contains(&Action::HangUp(rank(2))));
    mesh.on_closed(rank(2));
    assert_eq!(mesh.poll(), None);
}

#[test]
fn a_death_that_another_rank_tells_is_adopted_with_its_cause() {
    let mut mesh = mesh();
    let cause = DeathCause::Silent { span: Duration::from_secs(10) };
    mesh.on_message(rank(1), Message::Dead { rank: rank(3), cause }, NOW);
    let actions = actions(&mut mesh);
    assert_eq!(failure(&actions), Some(Failure::Dead { rank: rank(3), cause }));
    assert_eq!(sent_to(&actions, &Message::Dead { rank: rank(3), cause }), [1, 2, 3]);
}

#[test]
fn a_rank_that_joins_later_is_told_who_is_dead() {
    let mut mesh = Mesh::new(rank(0), world(), Nanos::secs(10), NOW);
    mesh.on_joined(rank(1), NOW);
    mesh.on_closed(rank(1));
    actions(&mut mesh);
    mesh.on_joined(rank(2), NOW);
    let cause = DeathCause::Closed;
    assert_eq!(sent_to(&actions(&mut mesh), &Message::Dead { rank: rank(1), cause }), [2]);
    assert_eq!(mesh.missing().collect::<Vec<_>>(), [rank(3)]);
}

#[test]
fn a_rank_that_is_told_its_own_death_is_excluded_and_accuses_nobody() {
    let mut mesh = mesh();
    let cause = DeathCause::Silent { span: Duration::from_secs(10) };
    mesh.on_message(rank(1), Message::Dead { rank: rank(0), cause }, NOW);
    mesh.on_closed(rank(1));
    mesh.on_closed(rank(2));
    let actions = actions(&mut mesh);
    let excluded = Failure::Dead { rank: rank(0), cause: DeathCause::Excluded };
    assert_eq!(failure(&actions), Some(excluded));
    assert!(!actions.iter().any(|action| matches!(action, Action::Dead { .. })));
    assert!(mesh.is_retired());
}

#[test]
fn a_goodbye_is_no_death_and_the_death_that_it_gives_as_its_reason_is_named_first() {
    let mut mesh = mesh();
    mesh.on_message(rank(1), Message::Goodbye(Departure { reason: None }), NOW);
    let done = actions(&mut mesh);
    assert_eq!(failure(&done), None);
    assert!(mesh.is_gone(rank(1)));

    let cause = DeathCause::Closed;
    let departure = Departure { reason: Some(Failure::Dead { rank: rank(3), cause }) };
    mesh.on_message(rank(2), Message::Goodbye(departure.clone()), NOW);
    let gave_up = actions(&mut mesh);
    assert_eq!(failure(&gave_up), Some(Failure::Dead { rank: rank(3), cause }));
    assert!(gave_up.contains(&Action::Departed { rank: rank(2), departure }));
}

#[test]
fn a_suspect_of_which_more_is_heard_is_alive_and_only_its_connection_broke() {
    let mut mesh = mesh();
    mesh.suspect(rank(1), Nanos::millis(200));
    mesh.suspect(rank(2), Nanos::millis(400));
    mesh.on_message(rank(1), Message::Heartbeat(Progress::default()), Nanos::millis(1_100));
    mesh.on_message(rank(2), Message::Heartbeat(Progress::default()), Nanos::millis(400));
    mesh.tick(Progress::default(), Nanos::millis(2_200));
    let actions_of_one = actions(&mut mesh);
    let reason = AbortReason::Unreachable { rank: rank(1) };
    assert_eq!(failure(&actions_of_one), Some(Failure::Aborted { by: rank(0), reason }));
    assert!(mesh.is_joined(rank(1)));
    mesh.tick(Progress::default(), Nanos::millis(2_400));
    let cause = DeathCause::Closed;
    assert!(actions(&mut mesh).contains(&Action::Dead { rank: rank(2), cause }));
}

#[test]
fn a_suspect_is_judged_only_after_what_arrived_was_read_and_not_for_this_ranks_own_absence() {
    let mut mesh = mesh();
    mesh.suspect(rank(1), NOW);
    assert!(!mesh.would_judge(Nanos::millis(1_999)) && mesh.would_judge(SUSPECT_GRACE));
    let back = Nanos::secs(30);
    mesh.tick(Progress::default(), back);
    mesh.tick(Progress::default(), back + Nanos::millis(1_999));
    assert_eq!(failure(&actions(&mut mesh)), None);
    mesh.tick(Progress::default(), back + SUSPECT_GRACE);
    let cause = DeathCause::Closed;
    assert_eq!(failure(&actions(&mut mesh)), Some(Failure::Dead { rank: rank(1), cause }));
}

#[test]
fn a_suspect_that_says_goodbye_in_time_has_left_and_else_is_dead() {
    let mut mesh = mesh();
    mesh.suspect(rank(1), NOW);
    mesh.suspect(rank(2), NOW);
    mesh.on_message(rank(1), Message::Goodbye(Departure { reason: None }), Nanos::millis(1_900));
    mesh.tick(Progress::default(), Nanos::millis(1_999));
    assert_eq!(failure(&actions(&mut mesh)), None);
    assert_eq!(mesh.next_tick(), SUSPECT_GRACE);
    mesh.tick(Progress::default(), SUSPECT_GRACE);
    let cause = DeathCause::Closed;
    assert_eq!(failure(&actions(&mut mesh)), Some(Failure::Dead { rank: rank(2), cause }));
}

#[test]
fn an_abort_is_told_to_everybody_and_kills_nobody() {
    let mut mesh = mesh();
    let reason = AbortReason::Left { rank: rank(2) };
    mesh.abort(reason.clone());
    let ours = actions(&mut mesh);
    assert_eq!(failure(&ours), Some(Failure::Aborted { by: rank(0), reason: reason.clone() }));
    assert_eq!(sent_to(&ours, &Message::Abort(reason)), [1, 2, 3]);
    mesh.on_message(rank(1), Message::Abort(AbortReason::Requested), NOW);
    assert_eq!(failure(&actions(&mut mesh)), None);
    assert!(mesh.is_joined(rank(1)));
}

#[test]
fn leaving_gives_the_first_failure_as_the_reason() {
    let mut mesh = mesh();
    mesh.on_closed(rank(3));
    mesh.abort(AbortReason::Requested);
    mesh.leave();
    let reason = Some(Failure::Dead { rank: rank(3), cause: DeathCause::Closed });
    let actions = actions(&mut mesh);
    assert_eq!(sent_to(&actions, &Message::Goodbye(Departure { reason })), [1, 2]);
    assert!(mesh.is_retired());
}

#[test]
fn an_agreement_ends_without_a_rank_that_dies_during_it() {
    let mut mesh = mesh();
    mesh.begin_agreement();
    mesh.on_closed(rank(3));
    let mut gone = RankSet::empty(world());
    gone.insert(rank(3));
    for peer in [1, 2] {
        let ballot = Ballot { epoch: 0, decided: false, gone: gone.clone() };
        mesh.on_message(rank(peer), Message::Ballot(ballot), NOW);
    }
    assert!(actions(&mut mesh).contains(&Action::Decided { epoch: 0, gone }));
}
