//! Programs of schedules.

use onepath_topology::pipeline::schedule::{Action, Peer, Schedule, ScheduleKind};

use super::error::PipelineError;
use super::program::{Program, Step};

fn schedule(kind: ScheduleKind, ranks: u32, micro_batches: u32, virtual_stages: u32) -> Schedule {
    Schedule::new(kind, ranks, micro_batches, virtual_stages).expect("it fits")
}

#[test]
fn as_many_slots_as_the_schedule_keeps_in_flight_and_one_ahead() {
    let one = schedule(ScheduleKind::OneForwardOneBackward, 4, 32, 1);
    for rank in 0..4 {
        let program = Program::new(&one, rank).expect("it is right");
        let kept = one.most_in_flight(rank) as usize;
        let ahead = usize::from(rank > 0);
        assert!((kept..=kept + ahead).contains(&program.slots[0]), "{rank}: {program:?}");
        assert!(program.gradients[0] <= 2, "{rank}: {program:?}");
    }
    let all = schedule(ScheduleKind::GPipe, 4, 32, 1);
    assert_eq!(Program::new(&all, 2).expect("it is right").slots, [32]);
}

/// A slot is written by one micro-batch only between its first use and its backward pass.
#[test]
fn no_buffer_is_used_twice_at_once() {
    let kinds = [
        (ScheduleKind::GPipe, 1),
        (ScheduleKind::OneForwardOneBackward, 1),
        (ScheduleKind::Interleaved, 2),
        (ScheduleKind::Interleaved, 3),
    ];
    for (kind, virtual_stages) in kinds {
        for ranks in 2..6 {
            let schedule = schedule(kind, ranks, ranks * 3, virtual_stages);
            for rank in 0..ranks as usize {
                let program = Program::new(&schedule, rank).expect("it is right");
                let mut busy: Vec<Vec<bool>> =
                    program.slots.iter().map(|&count| vec![false; count]).collect();
                let mut gradients: Vec<Vec<bool>> =
                    program.gradients.iter().map(|&count| vec![false; count]).collect();
                let take = |place: &mut bool, free: bool| {
                    assert_eq!(*place, !free, "{kind:?} {ranks} {rank}");
                    *place = free;
                };
                for &step in &program.steps {
                    match step {
                        Step::PostActivation { chunk, slot, .. } => {
                            take(&mut busy[chunk][slot], true);
                        }
                        Step::Forward { chunk, slot, .. } if !program.receives[chunk].0 => {
                            take(&mut busy[chunk][slot], true);
                        }
                        Step::PostGradient { chunk, slot, .. } => {
                            take(&mut gradients[chunk][slot], true);
                        }
                        Step::Backward { chunk, slot, gradient, .. } => {
                            take(&mut busy[chunk][slot], false);
                            if let Some(slot) = gradient {
                                take(&mut gradients[chunk][slot], false);
                            }
                        }
                        _ => {}
                    }
                }
            }
        }
    }
}

/// Between two ranks, receives are posted in the order of the sends.
#[test]
fn receives_are_posted_in_the_order_of_the_sends() {
    for (ranks, virtual_stages) in [(2, 2), (2, 4), (4, 2), (3, 3)] {
        let schedule = schedule(ScheduleKind::Interleaved, ranks, 2 * ranks, virtual_stages);
        let programs: Vec<Program> = (0..ranks as usize)
            .map(|rank| Program::new(&schedule, rank).expect("it is right"))
            .collect();
        for (sender, from) in programs.iter().enumerate() {
            for (receiver, to) in programs.iter().enumerate() {
                let sent = from.steps.iter().filter_map(|step| match *step {
                    Step::SendActivation { to, .. } if to.index() == receiver => Some(true),
                    Step::SendGradient { to, .. } if to.index() == receiver => Some(false),
                    _ => None,
                });
                let posted = to.steps.iter().filter_map(|step| match *step {
                    Step::PostActivation { from, .. } if from.index() == sender => Some(true),
                    Step::PostGradient { from, .. } if from.index() == sender => Some(false),
                    _ => None,
                });
                assert!(sent.eq(posted), "{ranks} {virtual_stages} {sender} {receiver}");
            }
        }
    }
}

#[test]
fn a_deadlock_and_a_transfer_without_its_other_end_are_refused() {
    let kind = ScheduleKind::OneForwardOneBackward;
    let good = schedule(kind, 2, 1, 1);
    let mut ranks = good.ranks().to_vec();
    // The first rank waits for the gradient before it computes.
    let receive = ranks[0].iter().position(|a| matches!(a, Action::ReceiveGradient { .. }));
    let receive = ranks[0].remove(receive.expect("there is one"));
    ranks[0].insert(1, receive);
    let circular = Schedule::of_actions(kind, 1, 1, ranks);
    assert!(matches!(Program::new(&circular, 0), Err(PipelineError::Deadlock(_))));
    let mut ranks = good.ranks().to_vec();
    let to = Peer { rank: 1, chunk: 0 };
    let more = Action::SendActivation { micro_batch: 0, chunk: 0, to };
    ranks[0].insert(3, more);
    let twice = Schedule::of_actions(kind, 1, 1, ranks);
    let text = Program::new(&twice, 1).expect_err("it is wrong").to_string();
    assert!(text.contains("not received"), "{text}");
}
