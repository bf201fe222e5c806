//! One suite that every transport passes. Each case is a function of how a world is made.

mod support;

#[path = "cases/failures.rs"]
mod failures;
#[path = "cases/flows.rs"]
mod flows;
#[path = "cases/timing.rs"]
mod timing;

use onepath_transport::local::LocalOptions;
use onepath_transport::spray::{EntropyChoice, SprayOptions};
use onepath_transport::tcp::pinned::Sharing;
use support::relays::{Faults, relayed};
use support::{pinned, sprayed, worlds};

fn with(entropy: EntropyChoice) -> SprayOptions {
    SprayOptions { entropy, ..SprayOptions::default() }
}

macro_rules! suite {
    ($name:ident, $world:expr) => {
        mod $name {
            use super::*;

            suite!(@cases $world,
                flows::one_flow_of_any_size_arrives_in_both_directions,
                flows::many_flows_between_all_pairs_arrive_where_they_belong,
                flows::a_pipeline_of_three_ranks_forwards_bytes_as_they_come,
                flows::incoming_elements_are_combined_with_local_ones_and_finished_once,
                flows::operations_in_flight_complete_in_any_order,
                flows::point_to_point_transfers_are_matched_by_pair_and_number,
                flows::random_ring_reductions_equal_the_plain_sum,
                timing::data_waits_for_a_receiver_that_posts_late,
                timing::a_wait_with_nothing_to_come_ends_by_its_limit,
                timing::a_sleeping_rank_is_woken_by_bytes_and_by_room,
                timing::a_gate_opened_by_another_peer_wakes_the_flow_behind_it,
                failures::different_calls_are_found_by_the_receiver,
                failures::different_sizes_are_found_by_the_receiver,
                failures::a_cancelled_peer_ends_receiving_as_closed,
                failures::a_cancelled_peer_ends_sending_as_closed,
                failures::what_was_sent_before_a_clean_exit_arrives,
                failures::a_sleeping_rank_is_woken_by_a_peer_that_leaves
            );
        }
    };
    // Without what a rank sends as it leaves, which nobody can send again.
    (lossy $name:ident, $world:expr) => {
        mod $name {
            use super::*;

            suite!(@cases $world,
                flows::one_flow_of_any_size_arrives_in_both_directions,
                flows::many_flows_between_all_pairs_arrive_where_they_belong,
                flows::a_pipeline_of_three_ranks_forwards_bytes_as_they_come,
                flows::incoming_elements_are_combined_with_local_ones_and_finished_once,
                flows::operations_in_flight_complete_in_any_order,
                flows::point_to_point_transfers_are_matched_by_pair_and_number,
                flows::random_ring_reductions_equal_the_plain_sum,
                timing::data_waits_for_a_receiver_that_posts_late,
                timing::a_wait_with_nothing_to_come_ends_by_its_limit,
                timing::a_sleeping_rank_is_woken_by_bytes_and_by_room,
                timing::a_gate_opened_by_another_peer_wakes_the_flow_behind_it
            );
        }
    };
    (@cases $world:expr, $($module:ident::$case:ident),*) => {
        $(
            #[test]
            fn $case() {
                super::$module::$case($world);
            }
        )*
    };
}

suite!(tcp_with_one_subflow, |ranks| worlds::tcp(ranks, 1));
suite!(tcp_with_two_subflows, |ranks| worlds::tcp(ranks, 2));
suite!(tcp_with_four_subflows, |ranks| worlds::tcp(ranks, 4));
suite!(tcp_pinned_to_one_path, |ranks| pinned::pinned(ranks, 1, Sharing::Static));
suite!(tcp_pinned_to_three_paths, |ranks| pinned::pinned(ranks, 3, Sharing::Static));
suite!(tcp_pinned_with_shared_chunks, |ranks| pinned::pinned(ranks, 4, Sharing::Shared));
suite!(tcp_pinned_without_assignment, |ranks| pinned::unassigned(ranks, 2));
suite!(local, worlds::local);
suite!(local_with_the_smallest_rings, |ranks| worlds::local_with(
    ranks,
    &LocalOptions { slot_bytes: 0, slots: 0, ..LocalOptions::default() }
));
suite!(spray_round_robin, |ranks| sprayed::sprayed(ranks, with(EntropyChoice::RoundRobin)));
suite!(spray_at_random, |ranks| sprayed::sprayed(ranks, with(EntropyChoice::Random)));
suite!(spray_in_bursts, |ranks| sprayed::sprayed(ranks, with(EntropyChoice::Burst(5))));
suite!(spray_by_reps, |ranks| sprayed::sprayed(ranks, with(EntropyChoice::Reps)));
suite!(spray_by_flow, |ranks| sprayed::sprayed(ranks, with(EntropyChoice::PerSubflow)));
suite!(spray_by_subflow, |ranks| sprayed::split(ranks, with(EntropyChoice::PerSubflow), 3));
suite!(lossy spray_over_bad_links, |ranks| {
    relayed(ranks, with(EntropyChoice::RoundRobin), None, (Faults::ALL, 41))
});
suite!(lossy spray_by_subflow_over_bad_links, |ranks| {
    relayed(ranks, with(EntropyChoice::PerSubflow), Some(3), (Faults::ALL, 42))
});
suite!(lossy spray_by_reps_over_bad_links, |ranks| {
    relayed(ranks, with(EntropyChoice::Reps), None, (Faults::ALL, 43))
});
suite!(router_over_both, worlds::mixed);
