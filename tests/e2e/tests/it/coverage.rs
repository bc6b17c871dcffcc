//! Whether every row of the attack catalogue that speaks of requests (groups A to G), of questions to people (group H, but for what only
//! a dashboard could do) or of what requests do to the gateway (most of group J) is held by something: a row of the corpus that is played, or a test that exists. A row without either fails here; so does a name that is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use e2e::corpus::rows;
use e2e::house::root;

/// Groups of the catalogue with their rows.
const GROUPS: [(char, &[RangeInclusive<u32>]); 9] = [
    ('A', &[1..=15]),
    ('B', &[16..=33]),
    ('C', &[34..=45]),
    ('D', &[46..=55]),
    ('E', &[56..=67]),
    ('F', &[68..=83]),
    ('G', &[84..=95]),
    ('H', &[96..=105]),
    ('J', &[116..=134, 138..=142]),
];

/// Groups that no row of the corpus can tell: it takes a person.
const WITHOUT_CORPUS: [char; 1] = ['H'];

/// Rows that tests hold, alone or beside the corpus: the row, the file, the test in it.
const TESTS: &[(u32, &str, &str)] = &[
    (8, "crates/catalog/tests/it/hosts.rs", "credentials_go_only_where_requests_are_judged"),
    (15, "crates/proxy/src/net/dial_tests.rs", "blocked_addresses_are_not_dialled"),
    (26, "crates/model/src/canonical/headers.rs", "what_tells_of_network_country_or_person_does_not_travel"),
    (34, "crates/proxy/src/net/frame_tests.rs", "no_mutation_of_transfer_encoding_passes_beside_a_length"),
    (34, "crates/proxy/src/net/guard_tests.rs", "no_mutation_smuggles_a_request_past_hyper"),
    (37, "crates/catalog/tests/it/files.rs", "mistakes_have_places"),
    (37, "crates/inject/src/scheme/suite.rs", "values_that_break_their_line_are_refused"),
    (37, "crates/vault/src/kind/mod.rs", "values_are_checked"),
    (37, "tests/e2e/tests/it/rows.rs", "a_template_that_breaks_its_line_is_refused"),
    (37, "tests/e2e/tests/it/rows.rs", "a_value_that_breaks_its_line_is_refused_when_saved_and_when_used"),
    (42, "tests/e2e/tests/it/faults.rs", "interim_answers_and_odd_octets_are_scrubbed"),
    (44, "tests/e2e/tests/it/rows.rs", "no_answer_is_kept_for_another"),
    (45, "crates/proxy/src/net/pool_tests.rs", "one_connection_for_one_key_and_never_for_another"),
    (45, "tests/e2e/tests/it/rows.rs", "agents_never_share_a_connection_to_the_upstream"),
    (46, "tests/e2e/tests/it/tripwires.rs", "sixty_placements_are_never_substituted"),
    (51, "tests/e2e/tests/it/tripwires.rs", "anothers_placeholder_is_an_alert_in_any_form_and_place"),
    (52, "crates/inject/tests/it/placements.rs", "a_thousand_chats_pass"),
    (52, "tests/e2e/tests/it/tripwires.rs", "a_thousand_bodies_that_quote_placeholders_pass"),
    (54, "tests/e2e/tests/it/rows.rs", "nothing_signs_what_an_agent_sends"),
    (55, "crates/inject/src/scheme/suite.rs", "the_account_is_never_the_agents"),
    (56, "crates/inject/tests/it/echo_oracle.rs", "echo_oracle"),
    (59, "crates/inject/tests/it/echo.rs", "every_encoding_at_every_split"),
    (59, "crates/inject/tests/it/echo_oracle.rs", "echo_oracle"),
    (60, "crates/inject/tests/it/echo_oracle.rs", "echo_oracle"),
    (63, "tests/e2e/tests/it/rows.rs", "what_is_packed_is_out_of_reach_and_documented"),
    (66, "tests/e2e/tests/it/rows.rs", "no_rule_but_its_own_reaches_what_mints"),
    (66, "tests/e2e/tests/it/rows.rs", "what_is_minted_is_captured"),
    (67, "tests/e2e/tests/it/logins.rs", "a_program_logs_in_by_device_flow_and_reads_its_tokens"),
    (67, "tests/e2e/tests/it/logins.rs", "a_program_logs_in_by_loopback_redirect_and_refreshes"),
    (67, "tests/e2e/tests/it/rows.rs", "a_refresh_with_a_foreign_placeholder_gets_nothing"),
    (72, "crates/proxy/src/net/dial_tests.rs", "rebinding_never_connects"),
    (72, "tests/e2e/tests/it/names.rs", "names_are_resolved_once_and_by_name_servers_alone"),
    (73, "tests/e2e/tests/it/names.rs", "names_are_resolved_once_and_by_name_servers_alone"),
    (74, "crates/proxy/src/net/dial_tests.rs", "bad_certificates_are_untrusted"),
    (74, "tests/e2e/tests/it/faults.rs", "faulty_upstreams"),
    (75, "tests/e2e/tests/it/tunnels.rs", "the_environment_neither_adds_trust_nor_takes_keys"),
    (78, "crates/proxy/src/net/leaf_tests.rs", "sessions_resume_without_early_data"),
    (78, "tests/e2e/tests/it/tunnels.rs", "towards_the_agent_nothing_old_and_no_early_data"),
    (78, "tests/e2e/tests/it/tunnels.rs", "towards_the_upstream_no_early_data_and_no_session_of_another"),
    (79, "tests/e2e/tests/it/tunnels.rs", "a_ticket_of_another_agent_makes_nobody_that_agent"),
    (79, "tests/e2e/tests/it/tunnels.rs", "towards_the_agent_nothing_old_and_no_early_data"),
    (79, "tests/e2e/tests/it/tunnels.rs", "towards_the_upstream_no_early_data_and_no_session_of_another"),
    (80, "tests/e2e/tests/it/tunnels.rs", "a_client_that_does_not_trust_us_is_never_tunnelled"),
    (81, "crates/proxy/src/net/leaf_tests.rs", "strangers_and_names_outside_the_constraint_do_not_verify"),
    (81, "tests/e2e/tests/it/tunnels.rs", "the_authority_is_of_one_process_and_leaves_no_key"),
    (82, "tests/e2e/tests/it/tunnels.rs", "a_hidden_name_is_never_followed"),
    (84, "crates/catalog/tests/it/graphql.rs", "the_corpus_holds"),
    (84, "tests/e2e/tests/it/doors.rs", "denying_an_operation_closes_every_road_to_it"),
    (84, "tests/e2e/tests/it/real.rs", "octokit_is_told_the_same_by_rest_and_by_graphql"),
    (85, "tests/e2e/tests/it/git.rs", "git_push_to_its_own_branches_and_nothing_else"),
    (85, "tests/e2e/tests/it/git.rs", "tags_other_refs_and_what_git_sends_at_once"),
    (85, "tests/e2e/tests/it/git.rs", "what_drops_commits_and_refs_needs_its_own_word"),
    (86, "crates/catalog/tests/it/main.rs", "every_case_of_every_service_holds"),
    (86, "tests/e2e/tests/it/semantics.rs", "what_hands_authority_or_data_away_is_covered_by_no_star_and_asks"),
    (87, "crates/catalog/tests/it/rpc.rs", "a_call_is_never_less_than_its_tool"),
    (87, "tests/e2e/tests/it/mcp.rs", "a_tool_that_no_file_knows_is_admitted_by_its_name"),
    (87, "tests/e2e/tests/it/mcp.rs", "tools_are_judged_by_name_and_arguments"),
    (88, "crates/catalog/tests/it/requests.rs", "a_websocket_on_an_unknown_path_is_a_write"),
    (88, "crates/proxy/src/websocket/judged_tests.rs", "what_is_refused_closes_both_sides_and_is_not_seen"),
    (88, "crates/proxy/src/websocket/tests.rs", "a_refusal_ends_both_directions_though_nothing_passes"),
    (88, "tests/e2e/tests/it/sockets.rs", "what_is_not_allowed_closes_it_and_is_not_seen"),
    (90, "tests/e2e/tests/it/semantics.rs", "grpc_methods_are_judged_one_by_one"),
    (91, "tests/e2e/tests/it/semantics.rs", "what_hands_authority_or_data_away_is_covered_by_no_star_and_asks"),
    (92, "tests/e2e/tests/it/doors.rs", "denying_an_operation_closes_every_road_to_it"),
    (92, "tests/e2e/tests/it/semantics.rs", "what_hands_authority_or_data_away_is_covered_by_no_star_and_asks"),
    (93, "tests/e2e/tests/it/asked.rs", "the_sentence_names_the_destination"),
    (93, "tests/e2e/tests/it/semantics.rs", "what_hands_authority_or_data_away_is_covered_by_no_star_and_asks"),
    (94, "tests/e2e/tests/it/semantics.rs", "what_hands_authority_or_data_away_is_covered_by_no_star_and_asks"),
    (95, "tests/e2e/tests/it/semantics.rs", "redirects_of_what_was_renamed_are_judged_again"),
    (96, "tests/e2e/tests/it/approvals.rs", "a_client_that_stays_gets_the_answer"),
    (96, "tests/e2e/tests/it/asked.rs", "what_is_shown_is_what_was_read_to_its_end_and_what_leaves"),
    (97, "crates/approval/tests/it/main.rs", "ten_thousand_requests_use_no_yes_twice_and_none_for_another"),
    (97, "tests/e2e/tests/it/approvals.rs", "killed_between_the_yes_and_its_use_it_is_done_once_or_not_at_all"),
    (98, "crates/approval/tests/it/main.rs", "a_no_that_nobody_waits_for_holds_for_its_kind"),
    (98, "crates/approval/tests/it/main.rs", "an_agent_has_few_open_questions"),
    (98, "tests/e2e/tests/it/asked.rs", "a_thousand_requests_are_five_questions"),
    (99, "crates/approval/src/render.rs", "hostile_texts"),
    (99, "tests/e2e/tests/it/asked.rs", "thirty_texts_that_deceive_are_shown_by_number"),
    (100, "tests/e2e/tests/it/asked.rs", "an_agent_cannot_approve_itself"),
    (101, "tests/e2e/tests/it/asked.rs", "no_page_asks_the_api"),
    (102, "tests/e2e/tests/it/asked.rs", "no_page_asks_the_api"),
    (103, "tests/e2e/tests/it/asked.rs", "no_page_asks_the_api"),
    (104, "tests/e2e/tests/it/asked.rs", "what_is_shown_is_what_was_read_to_its_end_and_what_leaves"),
    (105, "tests/e2e/tests/it/asked.rs", "answers_race_and_the_world_changes"),
    (116, "crates/inject/tests/it/tripwires.rs", "guesses_take_the_same_time"),
    (116, "tests/e2e/tests/it/hardening.rs", "tokens_that_are_none_are_told_the_same"),
    (117, "tests/e2e/tests/it/hardening.rs", "a_token_is_in_no_argument_and_no_log"),
    (118, "crates/proxy/src/guesses.rs", "a_flood_costs_a_list_a_moment"),
    (118, "crates/proxy/src/guesses.rs", "a_right_token_passes_the_flood"),
    (118, "tests/e2e/tests/it/floods.rs", "ten_thousand_bad_tokens_open_nothing"),
    (119, "tests/e2e/tests/it/faults.rs", "limits_admit_exactly_what_they_say"),
    (119, "tests/e2e/tests/it/sharing.rs", "a_limit_holds_for_two_processes_together"),
    (120, "crates/proxy/src/record/counted.rs", "no_way_of_being_different_writes_more"),
    (120, "crates/proxy/src/record/counted.rs", "none_is_lost_between_threads"),
    (120, "tests/e2e/tests/it/floods.rs", "a_flood_of_refusals_evicts_nothing"),
    (121, "crates/audit/tests/it/writing.rs", "hostile_text_is_one_line_and_moves_nothing"),
    (121, "tests/e2e/tests/it/hardening.rs", "thirty_payloads_are_one_line_each"),
    (122, "crates/audit/tests/it/tampering.rs", "every_octet_of_a_small_log"),
    (122, "crates/audit/tests/it/tampering.rs", "lines_deleted_swapped_doubled_and_moved"),
    (123, "tests/e2e/tests/it/hardening.rs", "secrets_that_agents_send_are_in_no_record"),
    (124, "crates/policy/src/compile/pattern.rs", "evil_globs_take_few_steps"),
    (125, "crates/inject/tests/it/answers.rs", "bombs_are_cut"),
    (126, "crates/proxy/src/net/guard_tests.rs", "slow_heads_and_bodies_are_cut_and_slow_answers_are_not"),
    (127, "crates/proxy/src/net/frame_tests.rs", "bounds_hold"),
    (127, "tests/e2e/tests/it/hardening.rs", "heads_and_bodies_without_measure_are_refused"),
    (128, "tests/e2e/tests/it/hardening.rs", "few_descriptors_are_survived"),
    (129, "tests/e2e/tests/it/hardening.rs", "floods_of_http2_are_survived"),
    (130, "crates/proxy/src/net/leaf_tests.rs", "leaves_are_kept_renewed_bounded_and_numbered"),
    (130, "tests/e2e/tests/it/hardening.rs", "ten_thousand_names_leave_memory_flat"),
    (131, "crates/proxy/src/net/leaf_tests.rs", "leaves_are_kept_renewed_bounded_and_numbered"),
    (132, "crates/valetkey/src/clock.rs", "it_stands_still_where_the_clock_below_was_set_back"),
    (132, "crates/valetkey/src/wiring/clock.rs", "what_was_over_does_not_live_again_after_a_restart"),
    (132, "tests/e2e/tests/it/clock.rs", "what_was_over_does_not_live_again"),
    (133, "crates/vault/tests/it/crash.rs", "killed_between_two_versions_one_of_them_is_current"),
    (134, "crates/audit/tests/it/faults.rs", "a_disk_that_cannot_be_written_heals_by_itself"),
    (134, "crates/audit/tests/it/faults.rs", "a_failed_sync_shuts_the_lane_until_it_is_made_good"),
    (134, "tests/e2e/tests/it/reliability.rs", "a_full_disk_refuses_and_loses_nothing"),
    (138, "crates/proxy/src/websocket/tests.rs", "a_refusal_ends_both_directions_though_nothing_passes"),
    (138, "tests/e2e/tests/it/sharing.rs", "a_revocation_is_seen_by_all_and_cuts_streams"),
    (138, "tests/e2e/tests/it/sharing.rs", "a_stop_is_seen_by_all_and_cuts_streams"),
    (139, "crates/vault/tests/it/at_rest.rs", "no_file_holds_a_value"),
    (140, "crates/store/src/migrate.rs", "every_older_version_is_brought_up"),
    (140, "crates/valetkey/src/wiring/import/undo.rs", "a_list_that_was_changed_is_refused"),
    (140, "crates/vault/tests/it/at_rest.rs", "no_turned_bit_makes_another_value"),
    (140, "tests/e2e/tests/it/reliability.rs", "a_store_of_a_newer_program_is_refused"),
    (141, "xtask/src/supply.rs", "the_list_names_what_is_linked_and_nothing_else"),
    (142, "tests/e2e/tests/it/hardening.rs", "hostile_octets_end_no_process"),
];

/// Whether a source holds a test of this name that is run: its attributes say that it is one, and not that it is left out.
fn is_test(source: &str, name: &str) -> bool {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let of_name = |line: &str| {
        let line = line.strip_prefix("async ").unwrap_or(line);
        line.strip_prefix("fn ").is_some_and(|rest| rest.strip_prefix(name).is_some_and(|rest| rest.starts_with('(')))
    };
    let Some(at) = lines.iter().position(|line| of_name(line)) else { return false };
    let attributes: Vec<&str> = lines[..at].iter().rev().copied().take_while(|line| line.starts_with('#')).collect();
    let test = |line: &&str| ["#[test]", "#[tokio::test"].iter().any(|mark| line.starts_with(mark));
    attributes.iter().any(test) && !attributes.iter().any(|line| line.starts_with("#[ignore"))
}

#[test]
fn every_row_is_held() {
    let mut held: BTreeMap<u32, BTreeSet<String>> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (group, ranges) in &GROUPS {
        let corpus = if WITHOUT_CORPUS.contains(group) { Vec::new() } else { rows(&format!("{group}.jsonl")) };
        for row in corpus.into_iter().filter(|row| row.skip.is_none()) {
            assert!(ranges.iter().any(|range| range.contains(&row.row)), "{}", row.name);
            held.entry(row.row).or_default().insert(row.name);
        }
    }
    let mut last = (0, "", "");
    for (row, file, name) in TESTS {
        assert!(last < (*row, *file, *name), "{row} {name}: keep the table in order, nothing in it twice");
        last = (*row, file, name);
        let source = std::fs::read_to_string(root().join(file)).unwrap_or_default();
        if is_test(&source, name) {
            held.entry(*row).or_default().insert((*name).to_owned());
        } else {
            wrong.push(format!("{row}: `{file}` has no test `{name}` that is run"));
        }
        if !GROUPS.iter().flat_map(|(_, ranges)| *ranges).any(|range| range.contains(row)) {
            wrong.push(format!("{row} is no row of these groups"));
        }
    }
    for (group, ranges) in GROUPS {
        let missing = ranges.iter().cloned().flatten().filter(|row| !held.contains_key(row));
        wrong.extend(missing.map(|row| format!("{group}{row} is held by nothing")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    println!("{} rows, held by {} names", held.len(), held.values().map(BTreeSet::len).sum::<usize>());
}

#[test]
fn tests_are_told_from_what_only_looks_like_them() {
    let source = "#[test]\nfn one() {}\n\nfn two() {}\n#[test]\n#[ignore = \"slow\"]\nfn three() {}\n#[tokio::test]\nasync fn four() {}\n";
    let found = ["one", "two", "three", "four", "on", "five"].map(|name| is_test(source, name));
    assert_eq!(found, [true, false, false, true, false, false]);
}
