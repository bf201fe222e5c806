//! Deaths, departures, aborts, and agreement on who is left.

use std::time::{Duration, Instant};

use onepath_collectives::control::{
    AbortReason, AgreeError, DeathCause, Endpoint, Event, Failure, OldestOperation, Progress,
    Session, Survivors,
};
use onepath_transport::wire::Signature;

use super::*;

fn closed(number: usize) -> Failure {
    Failure::Dead { rank: rank(number), cause: DeathCause::Closed }
}

#[test]
fn a_rank_that_dies_is_named_at_once_on_all_others() {
    let endpoints = endpoints(4);
    let sessions = open(&endpoints, |_, _| ());
    endpoints[2].kill_for_test();
    assert_eq!(wait_for_failure(&sessions[2].control), Failure::Stopped);
    for me in [0, 1, 3] {
        assert_eq!(wait_for_failure(&sessions[me].control), closed(2));
        assert_eq!(sessions[me].control.failed_ranks(), ranks(&[2]));
        let (cause, dead) = (DeathCause::Closed, rank(2));
        let event = Event::PeerDead { session: SESSION, rank: dead, cause };
        assert!(endpoints[me].events().try_iter().any(|seen| seen == event));
    }
}

/// The connections of the rank stay open but it says nothing, as when it is stopped.
#[test]
fn a_silent_rank_is_dead_after_its_time_and_when_it_goes_on_it_is_excluded() {
    let silence = Duration::from_secs(3);
    let endpoints = endpoints(3);
    let sessions = open(&endpoints, |_, config| config.silence = silence);
    endpoints[1].pause_for_test(3 * silence);
    for me in [0, 2] {
        let failure = wait_for_failure(&sessions[me].control);
        let Failure::Dead { rank: dead, cause } = failure else { panic!("{failure}") };
        assert_eq!(dead, rank(1));
        assert!(matches!(cause, DeathCause::Silent { span } if span >= silence));
    }
    let excluded = Failure::Dead { rank: rank(1), cause: DeathCause::Excluded };
    assert_eq!(wait_for_failure(&sessions[1].control), excluded);
    assert_eq!(sessions[1].control.agree(LIMIT), Err(AgreeError::Excluded));
}

#[test]
fn heartbeats_keep_a_session_alive_and_carry_the_progress() {
    let silence = Duration::from_secs(4);
    let sessions = open(&endpoints(2), |_, config| config.silence = silence);
    let oldest = OldestOperation { number: 5, signature: Signature([7, 8]) };
    let progress = Progress { posted: 9, oldest: Some(oldest), waiting: true };
    sessions[0].control.publish(progress);
    wait_for("the progress", PROMPT, || {
        let seen = sessions[1].control.progress(rank(0))?;
        (seen.progress == progress).then_some(())
    });
    let received = |me: usize| Some(sessions[me].control.progress(rank(1 - me))?.received);
    let first = [0, 1].map(|me| received(me).expect("it has said something"));
    wait_for("more than the silence that is allowed", LIMIT, || {
        let later = [0, 1].map(|me| received(me).map(|at| at - first[me]));
        later.iter().all(|passed| passed.is_some_and(|passed| passed > silence)).then_some(())
    });
    assert!(sessions.iter().all(|session| !session.control.failure_flag()));
}

#[test]
fn an_abort_reaches_every_rank_with_its_author_and_its_first_reason() {
    let sessions = open(&endpoints(3), |_, _| ());
    let reason = AbortReason::Left { rank: rank(2) };
    sessions[1].control.abort(reason.clone());
    sessions[1].control.abort(AbortReason::Requested);
    assert!(sessions[1].control.failure_flag());
    for session in &sessions {
        let expected = Failure::Aborted { by: rank(1), reason: reason.clone() };
        assert_eq!(wait_for_failure(&session.control), expected);
    }
}

#[test]
fn who_says_goodbye_has_left_and_is_not_dead() {
    let endpoints = endpoints(3);
    let mut sessions = open(&endpoints, |_, _| ());
    drop(sessions.remove(2));
    sessions[1].control.goodbye();
    let zero = &sessions[0].control;
    wait_for("two departures", PROMPT, || (zero.departures() == 2).then_some(()));
    for left in [1, 2] {
        assert_eq!(zero.departed(rank(left)).expect("left").reason, None);
    }
    // Their data connections close too, which is no death either.
    zero.report_suspect(rank(1));
    std::thread::sleep(Duration::from_millis(1_200));
    assert_eq!(zero.failure(), None);
    assert_eq!(zero.agree(LIMIT).expect("agreed").ranks, ranks(&[0]));
}

#[test]
fn a_rank_that_gives_up_because_of_a_death_names_the_dead_rank() {
    let endpoints = endpoints(3);
    let mut sessions = open(&endpoints, |_, _| ());
    endpoints[2].kill_for_test();
    assert_eq!(wait_for_failure(&sessions[1].control), closed(2));
    drop(sessions.remove(1));
    let zero = &sessions[0].control;
    wait_for("a departure", PROMPT, || (zero.departures() == 1).then_some(()));
    assert_eq!(zero.departed(rank(1)).expect("left").reason, Some(closed(2)));
    assert_eq!(zero.failure(), Some(closed(2)));
    assert_eq!(zero.failed_ranks(), ranks(&[2]));
}

#[test]
fn a_suspect_that_goes_on_to_live_is_unreachable_and_nobody_is_dead() {
    let sessions = open(&endpoints(3), |_, _| ());
    let start = Instant::now();
    sessions[0].control.report_suspect(rank(1));
    sessions[0].control.report_suspect(rank(1));
    let reason = AbortReason::Unreachable { rank: rank(1) };
    let unreachable = Failure::Aborted { by: rank(0), reason };
    for session in &sessions {
        assert_eq!(wait_for_failure(&session.control), unreachable);
        assert_eq!(session.control.failed_ranks(), ranks(&[]));
    }
    assert!(start.elapsed() >= Duration::from_millis(1_990), "its time to explain itself");
}

/// All these ranks agree at once, and alike.
fn agree_all(sessions: &[&Session]) -> Survivors {
    let decided: Vec<Survivors> = std::thread::scope(|scope| {
        let agree = |session: &&Session| {
            let control = session.control.clone();
            scope.spawn(move || control.agree(LIMIT).expect("agreed"))
        };
        let threads: Vec<_> = sessions.iter().map(agree).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    assert!(decided.iter().all(|other| other == &decided[0]), "{decided:?}");
    decided[0].clone()
}

#[test]
fn survivors_agree_and_go_on_in_a_new_session_and_again_after_the_next_death() {
    let all = endpoints(5);
    let sessions = open(&all, |_, _| ());
    all[1].kill_for_test();
    let first = agree_all(&[0, 2, 3, 4].map(|me: usize| &sessions[me]));
    assert_eq!((first.epoch, &first.ranks), (1, &ranks(&[0, 2, 3, 4])));

    let shrunk: Vec<Endpoint> = [0, 2, 3, 4].iter().map(|&me: &usize| all[me].clone()).collect();
    let next = open(&shrunk, |_, config| config.session = first.session);
    all[3].kill_for_test();
    for me in [0, 1, 3] {
        assert_eq!(wait_for_failure(&next[me].control), closed(2));
    }
    let second = agree_all(&[0, 2, 4].map(|me: usize| &sessions[me]));
    assert_eq!((second.epoch, &second.ranks), (2, &ranks(&[0, 2, 4])));
    assert_ne!(first.session, second.session);
}

#[test]
fn a_rank_that_does_not_take_part_in_the_agreement_is_named_and_may_come_later() {
    let sessions = open(&endpoints(3), |_, _| ());
    let error = sessions[0].control.agree(Duration::from_millis(200)).expect_err("alone");
    let AgreeError::Unanswered { ranks: absent, .. } = &error else { panic!("{error}") };
    assert_eq!(absent, &ranks(&[1, 2]));
    assert!(error.to_string().contains("ranks 1, 2 have not asked for it"), "{error}");
    assert_eq!(agree_all(&[0, 1, 2].map(|me: usize| &sessions[me])).epoch, 1);
}
