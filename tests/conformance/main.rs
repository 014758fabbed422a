//! What every runtime must do, over real sockets and processes: one suite, run on each by name.
//!
//! Every server of every case is recorded, and when a case is done all recordings are replayed:
//! so nothing that decides behaviour lives in a runtime. The cases wait for conditions, half a
//! minute at most for each, so they hold on a busy machine too. What the environment changes:
//!
//! - `CHATROOM_STRICT=1` also asserts the bounds on time, which are otherwise only measured and
//!   printed (`--nocapture` shows them). For a calm machine, with `--test-threads=1`.
//! - `CHATROOM_LONG=1` runs the longer form of the cases that have one.
//! - `CHATROOM_TEST_BINARY=PATH` tests another binary than the one of this build.

mod cases;
mod grid;

use grid::Kind;
use grid::turn::{Turn, Weight};

/// Runs one case on one runtime.
fn run(weight: Weight, case: fn(Kind), kind: Kind) {
    let _turn = Turn::take(weight);
    case(kind);
}

/// Declares cases, to be run on each runtime.
macro_rules! on_each_runtime {
    ($($weight:ident $module:ident::$case:ident;)*) => {
        mod on_std {
            $(#[test] fn $case() {
                crate::run(crate::Weight::$weight, crate::cases::$module::$case, crate::Kind::Std);
            })*
        }
        mod on_smol {
            $(#[test] fn $case() {
                crate::run(crate::Weight::$weight, crate::cases::$module::$case, crate::Kind::Smol);
            })*
        }
    };
}

on_each_runtime! {
    Light input::broken_lines_close_their_link_and_touch_nothing_else;
    Light input::wrong_commands_are_answered_with_an_error_each;
    Light input::a_peer_that_resets_at_any_byte_disturbs_nobody;
    Light input::a_master_that_resets_at_any_byte_disturbs_nobody;
    Light peers::a_peer_that_never_reads_is_dropped_and_holds_up_nobody;
    Light peers::silent_connections_make_room_for_those_that_speak;
    Light peers::a_second_link_takes_over_from_one_that_ends_or_falls_silent;
    Light peers::a_second_link_does_not_replace_one_that_is_heard;
    Light peers::a_flood_past_the_descriptors_leaves_links_and_masters_working;
    Light ends::each_server_killed_is_noticed_and_comes_back_empty;
    Light ends::each_server_stopped_is_noticed_and_comes_back;
    Light ends::a_server_that_was_stopped_misses_nothing;
    Light ends::a_server_that_was_stopped_tells_of_no_sessions_that_never_were;
    Light ends::an_observer_that_slept_accuses_nobody;
    Light ends::a_server_that_comes_back_before_its_death_was_noticed_is_taken_in;
    Light ends::a_signal_under_load_loses_nothing_that_was_accepted;
    Light ends::a_taken_port_ends_the_newcomer_alone;
    Heavy ends::twenty_kills_and_restarts_leave_a_whole_grid;
    Heavy ends::sixteen_restarted_at_once_become_whole;
    Light masters::masters_that_leave_and_return_disturb_nobody;
    Light masters::masters_in_numbers_each_have_their_order;
    Light masters::a_master_that_does_not_read_holds_up_nobody_and_gets_every_reply;
    Light masters::a_master_that_is_done_speaking_gets_its_answers;
    Light masters::a_watcher_is_told_what_happens_as_it_happens;
    Light masters::each_get_extends_the_one_before_while_messages_pour_in;
    Light clients::masters_that_come_and_go_are_all_heard;
    Light clients::masters_that_come_and_go_at_once_are_all_heard;
    Light clients::masters_that_come_and_go_while_a_server_is_stopped_are_all_heard;
    Light clients::masters_that_reset_once_they_spoke_are_all_heard;
    Light clients::peers_that_come_and_go_are_all_heard;
    Light clients::peers_that_come_and_go_while_a_server_is_stopped_are_all_heard;
    Light clients::a_peer_that_comes_back_again_and_again_to_a_stopped_server_is_heard;
    Light clients::peers_that_reset_once_they_spoke_are_all_heard;
    Light full::a_full_log_announces_its_gaps_and_stays_in_the_grid;
    Light readers::steady_readers_of_100_kb_a_second_keep_their_sessions;
    Light readers::steady_readers_of_1_mb_a_second_keep_their_sessions;
    Light readers::steady_readers_of_3_mb_a_second_keep_their_sessions;
    Light readers::steady_readers_of_6_mb_a_second_keep_their_sessions;
    Heavy readers::steady_readers_of_50_mb_a_second_keep_their_sessions;
    Heavy readers::peers_that_ping_and_take_nothing_hold_up_nobody;
    Light readers::the_longest_text_fits_any_limits_that_are_not_refused;
    Light readers::masters_that_ask_and_do_not_read_cost_little;
    Light strangers::an_http_request_is_closed_and_not_obeyed;
    Light strangers::idle_masters_give_way_and_who_is_refused_is_told;
    Light strangers::a_peer_impersonated_10_times_a_second_stays_up;
    Light strangers::a_peer_impersonated_100_times_a_second_stays_up;
    Heavy strangers::a_thousand_silent_connections_a_second_keep_nobody_out;
    Heavy strangers::five_thousand_silent_connections_a_second_keep_nobody_out;
    Heavy strangers::one_accept_a_second_makes_a_whole_grid;
    Heavy strangers::two_accepts_a_second_make_a_whole_grid;
    Heavy strangers::five_accepts_a_second_make_a_whole_grid;
    Heavy bursts::ten_thousand_broadcasts_in_one_write_arrive_in_order;
    Heavy bursts::a_receiver_killed_in_a_burst_costs_the_others_nothing;
    Heavy bursts::a_receiver_stopped_under_a_burst_holds_up_nobody_and_catches_up;
    Heavy bursts::a_receiver_past_its_limit_is_dropped_and_heals;
    Light mixed::both_runtimes_live_in_one_grid;
    Light mixed::a_foreign_server_in_the_first_place_works;
    Light mixed::a_foreign_server_in_the_middle_works;
    Light mixed::a_foreign_server_in_the_last_place_works;
    Light mixed::a_foreign_server_that_speaks_before_its_ping_works;
}
