//! What is known of PostgreSQL: functions that only compute, relations that only describe, settings of a session that lift nothing,
//! words that cannot be names.

use std::collections::HashSet;
use std::sync::LazyLock;

/// Functions of `pg_catalog` that neither change anything, nor read what has no name in the statement, nor run a text as SQL. What is
/// not here is judged by its own name.
static COMPUTE: Words = Words::new(|| {
    words(&[
        // aggregates and windows
        "count sum avg min max array_agg string_agg bool_and bool_or every json_agg jsonb_agg json_object_agg jsonb_object_agg",
        "stddev stddev_pop stddev_samp variance var_pop var_samp corr covar_pop covar_samp regr_slope regr_intercept regr_count regr_r2",
        "percentile_cont percentile_disc mode rank dense_rank percent_rank cume_dist row_number ntile lag lead first_value last_value",
        "nth_value bit_and bit_or bit_xor any_value range_agg grouping xmlagg range_intersect_agg",
        // numbers
        "abs ceil ceiling floor round trunc sign sqrt cbrt exp ln log log10 power pow mod div gcd lcm factorial pi degrees radians",
        "sin cos tan asin acos atan atan2 sinh cosh tanh random setseed width_bucket scale min_scale trim_scale greatest least nullif coalesce",
        // texts
        "length char_length character_length octet_length bit_length lower upper initcap concat concat_ws left right substr substring trim",
        "btrim ltrim rtrim lpad rpad repeat replace reverse translate overlay position strpos split_part starts_with ascii chr md5 sha224",
        "sha256 sha384 sha512 encode decode format quote_ident quote_literal quote_nullable to_hex regexp_match regexp_matches regexp_replace",
        "regexp_split_to_array regexp_split_to_table regexp_count regexp_instr regexp_like regexp_substr string_to_array string_to_table",
        "array_to_string to_char to_date to_number to_timestamp convert convert_from convert_to unistr normalize is_normalized get_byte",
        "set_byte get_bit set_bit bit_count similar_to_escape like_escape parse_ident text varchar bpchar name",
        // dates
        "now statement_timestamp transaction_timestamp clock_timestamp timeofday age date_part date_trunc date_bin extract make_date make_time",
        "make_timestamp make_timestamptz make_interval justify_days justify_hours justify_interval isfinite timezone current_date",
        "current_time current_timestamp localtime localtimestamp date time timestamp timestamptz interval overlaps date_add date_subtract",
        // arrays, ranges, sets
        "array_append array_cat array_dims array_fill array_length array_lower array_ndims array_position array_positions array_prepend",
        "array_remove array_replace array_upper cardinality trim_array array_shuffle array_sample unnest generate_series generate_subscripts",
        "lower_inc upper_inc lower_inf upper_inf isempty range_merge int4range int8range numrange tsrange tstzrange daterange multirange",
        // JSON, XML, UUID, text search, addresses
        "to_json to_jsonb row_to_json array_to_json json_build_array json_build_object jsonb_build_array jsonb_build_object json_object",
        "jsonb_object json_array_length jsonb_array_length json_each jsonb_each json_each_text jsonb_each_text json_extract_path",
        "jsonb_extract_path json_extract_path_text jsonb_extract_path_text json_object_keys jsonb_object_keys json_array_elements",
        "jsonb_array_elements json_array_elements_text jsonb_array_elements_text json_typeof jsonb_typeof json_to_record jsonb_to_record",
        "json_to_recordset jsonb_to_recordset json_populate_record jsonb_populate_record json_populate_recordset jsonb_populate_recordset",
        "json_strip_nulls jsonb_strip_nulls jsonb_set jsonb_set_lax jsonb_insert jsonb_pretty jsonb_path_exists jsonb_path_match",
        "jsonb_path_query jsonb_path_query_array jsonb_path_query_first jsonb_path_exists_tz jsonb_path_query_tz json_value json_query",
        "json_exists json_scalar json_serialize jsonb_delete jsonb_concat xmlelement xmlforest xmlconcat xmlcomment xpath xpath_exists xmlparse",
        "xmlserialize gen_random_uuid uuidv7 uuidv4 uuid_extract_timestamp uuid_extract_version to_tsvector to_tsquery plainto_tsquery",
        "phraseto_tsquery websearch_to_tsquery ts_rank ts_rank_cd ts_headline tsvector_to_array array_to_tsvector numnode querytree setweight",
        "strip tsquery_phrase host hostmask netmask network masklen broadcast family abbrev inet_merge inet_same_family set_masklen",
        // what the session and the catalogue say of themselves
        "version current_database current_schema current_schemas current_user session_user current_role current_catalog user pg_backend_pid",
        "pg_typeof pg_column_size pg_size_pretty pg_size_bytes pg_table_size pg_indexes_size pg_relation_size pg_total_relation_size",
        "pg_database_size pg_encoding_to_char pg_char_to_encoding pg_client_encoding getdatabaseencoding pg_get_viewdef pg_get_indexdef",
        "pg_get_constraintdef pg_get_expr pg_get_functiondef pg_get_function_arguments pg_get_function_identity_arguments",
        "pg_get_function_result pg_get_triggerdef pg_get_ruledef pg_get_serial_sequence pg_get_partkeydef pg_get_partition_constraintdef",
        "pg_get_statisticsobjdef pg_get_userbyid pg_get_keywords pg_table_is_visible pg_type_is_visible pg_function_is_visible",
        "pg_operator_is_visible pg_opclass_is_visible pg_collation_is_visible pg_ts_config_is_visible pg_conversion_is_visible format_type",
        "col_description obj_description shobj_description to_regclass to_regtype to_regproc to_regprocedure to_regnamespace to_regrole",
        "to_regoper has_table_privilege has_column_privilege has_any_column_privilege has_schema_privilege has_database_privilege",
        "has_sequence_privilege has_function_privilege has_type_privilege has_language_privilege has_tablespace_privilege pg_has_role",
        "row_security_active pg_is_in_recovery pg_postmaster_start_time pg_conf_load_time pg_is_other_temp_schema pg_my_temp_schema",
        "pg_relation_is_publishable pg_partition_tree pg_partition_ancestors pg_partition_root pg_sequence_parameters currval lastval",
        "pg_tablespace_location pg_index_column_has_property pg_index_has_property pg_indexam_has_property pg_options_to_table aclexplode",
        "acldefault makeaclitem inet_client_addr inet_client_port inet_server_addr inet_server_port num_nulls num_nonnulls",
        "pg_advisory_unlock_all pg_snapshot_xmin pg_snapshot_xmax current_setting",
    ])
});

/// Functions that change what a sequence gives next.
const SEQUENCE: &[&str] = &["nextval", "setval"];

/// Functions that reach files, other servers or other sessions, run a text as SQL, or lift what the session is held to.
const REACH: &[&str] = &[
    "dblink",
    "pg_read_file",
    "pg_read_binary_file",
    "pg_ls_",
    "pg_stat_file",
    "lo_import",
    "lo_export",
    "pg_file_",
    "query_to_xml",
    "table_to_xml",
    "schema_to_xml",
    "database_to_xml",
    "cursor_to_xml",
    "set_config",
    "pg_execute_server_program",
    "pg_logdir_ls",
    "pg_terminate_backend",
    "pg_cancel_backend",
    "pg_reload_conf",
    "pg_rotate_logfile",
    "pg_switch_wal",
    "pg_create_",
    "pg_drop_",
    "pg_logical_",
    "pg_replication_",
    "adminpack",
    "http",
    "ts_stat",
    "ts_rewrite",
    "crosstab",
    "xpath_table",
    "postgres_fdw_",
    "plpy",
    "aws_",
];

/// Relations of `pg_catalog` that describe what there is. Those that hold passwords, other sessions' texts or samples of data are not here.
static DESCRIBE: Words = Words::new(|| {
    words(&[
        "pg_class pg_attribute pg_attrdef pg_type pg_namespace pg_index pg_indexes pg_constraint pg_enum pg_range pg_proc pg_description",
        "pg_shdescription pg_database pg_roles pg_auth_members pg_settings pg_tables pg_views pg_matviews pg_sequences pg_sequence",
        "pg_collation pg_am pg_amop pg_amproc pg_opclass pg_operator pg_opfamily pg_cast pg_conversion pg_depend pg_shdepend pg_extension",
        "pg_available_extensions pg_inherits pg_language pg_partitioned_table pg_policy pg_policies pg_publication pg_publication_rel",
        "pg_publication_tables pg_rewrite pg_rules pg_tablespace pg_trigger pg_event_trigger pg_ts_config pg_ts_dict pg_ts_parser",
        "pg_ts_template pg_ts_config_map pg_timezone_names pg_timezone_abbrevs pg_foreign_table pg_foreign_data_wrapper pg_statistic_ext",
        "pg_default_acl pg_init_privs pg_aggregate pg_transform pg_group pg_user pg_seclabel pg_shseclabel",
    ])
});

/// Settings that an agent may set for its own session: how things look, how long they may take, how they are planned.
static HARMLESS_SETTINGS: Words = Words::new(|| {
    words(&[
        "application_name datestyle intervalstyle timezone extra_float_digits bytea_output client_min_messages statement_timeout",
        "lock_timeout transaction_timeout idle_in_transaction_session_timeout idle_session_timeout default_transaction_isolation",
        "default_transaction_deferrable lc_monetary lc_numeric lc_time xmloption xmlbinary plan_cache_mode jit tcp_user_timeout",
        "enable_seqscan enable_indexscan enable_indexonlyscan enable_bitmapscan enable_hashjoin enable_mergejoin enable_nestloop",
        "enable_sort enable_hashagg enable_material random_page_cost seq_page_cost geqo constraint_exclusion row_security gin_fuzzy_search_limit",
        "max_parallel_workers_per_gather parallel_setup_cost parallel_tuple_cost from_collapse_limit join_collapse_limit cursor_tuple_fraction",
    ])
});

/// Words that PostgreSQL reserves (Appendix C of its documentation): where a parser takes one for a name, it has not understood.
static RESERVED: Words = Words::new(|| {
    words(&[
        "all analyse analyze and any array as asc asymmetric both case cast check collate column constraint create default deferrable desc distinct do",
        "else end except false fetch for foreign from grant group having in initially intersect into lateral leading limit not null offset on",
        "only or order placing primary references returning select some symmetric table then to trailing true union unique using variadic when",
        "where window with authorization binary collation concurrently cross freeze full ilike inner is isnull join left like natural notnull",
        "outer overlaps right similar tablesample verbose",
    ])
});

/// Made once: each name of a statement is looked up.
type Words = LazyLock<HashSet<&'static str>>;

fn words(lines: &[&'static str]) -> HashSet<&'static str> {
    lines.iter().flat_map(|line| line.split(' ')).collect()
}

/// What a function of `pg_catalog`, or one without a schema, does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Does {
    /// It computes.
    Computes,
    /// It moves a sequence.
    Sequence,
    /// It reaches out of the statement.
    Reaches,
    /// Nobody knows.
    Unknown,
}

/// What a function does, by its name in small letters.
pub(crate) fn function(name: &str) -> Does {
    if COMPUTE.contains(name) {
        Does::Computes
    } else if SEQUENCE.contains(&name) {
        Does::Sequence
    } else if REACH.iter().any(|begin| name.starts_with(begin)) {
        Does::Reaches
    } else {
        Does::Unknown
    }
}

/// Whether a relation of `pg_catalog` only describes.
pub(crate) fn describes(name: &str) -> bool {
    DESCRIBE.contains(name)
}

/// Whether a setting lifts nothing that the session is held to.
pub fn is_harmless_setting(name: &str) -> bool {
    HARMLESS_SETTINGS.contains(name)
}

/// Whether a word cannot be a name.
pub(crate) fn is_reserved(word: &str) -> bool {
    RESERVED.contains(word)
}
