/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * incidentflags.c: flags for flaglab incident: the boolean settings of PostgreSQL, with their defaults. */
#include "incident.h"

#include "failure.h"
#include "outfile.h"

static const struct {
	const char *key;
	bool value;
} flags[] = {
	{"allow_in_place_tablespaces", false},
	{"allow_system_table_mods", false},
	{"array_nulls", true},
	{"autovacuum", true},
	{"bonjour", false},
	{"check_function_bodies", true},
	{"data_checksums", false},
	{"data_sync_retry", false},
	{"db_user_namespace", false},
	{"debug_assertions", false},
	{"debug_pretty_print", true},
	{"debug_print_parse", false},
	{"debug_print_plan", false},
	{"debug_print_rewritten", false},
	{"default_transaction_deferrable", false},
	{"default_transaction_read_only", false},
	{"enable_async_append", true},
	{"enable_bitmapscan", true},
	{"enable_gathermerge", true},
	{"enable_hashagg", true},
	{"enable_hashjoin", true},
	{"enable_incremental_sort", true},
	{"enable_indexonlyscan", true},
	{"enable_indexscan", true},
	{"enable_material", true},
	{"enable_memoize", true},
	{"enable_mergejoin", true},
	{"enable_nestloop", true},
	{"enable_parallel_append", true},
	{"enable_parallel_hash", true},
	{"enable_partition_pruning", true},
	{"enable_partitionwise_aggregate", false},
	{"enable_partitionwise_join", false},
	{"enable_seqscan", true},
	{"enable_sort", true},
	{"enable_tidscan", true},
	{"escape_string_warning", true},
	{"exit_on_error", false},
	{"fsync", true},
	{"full_page_writes", true},
	{"geqo", true},
	{"hot_standby", true},
	{"hot_standby_feedback", false},
	{"ignore_checksum_failure", false},
	{"ignore_invalid_pages", false},
	{"ignore_system_indexes", false},
	{"in_hot_standby", false},
	{"integer_datetimes", true},
	{"jit", true},
	{"jit_debugging_support", false},
	{"jit_dump_bitcode", false},
	{"jit_expressions", true},
	{"jit_profiling_support", false},
	{"jit_tuple_deforming", true},
	{"krb_caseins_users", false},
	{"lo_compat_privileges", false},
	{"log_checkpoints", true},
	{"log_connections", false},
	{"log_disconnections", false},
	{"log_duration", false},
	{"log_executor_stats", false},
	{"log_hostname", false},
	{"log_lock_waits", false},
	{"log_parser_stats", false},
	{"log_planner_stats", false},
	{"log_recovery_conflict_waits", false},
	{"log_replication_commands", false},
	{"log_statement_stats", false},
	{"log_truncate_on_rotation", false},
	{"logging_collector", false},
	{"parallel_leader_participation", true},
	{"quote_all_identifiers", false},
	{"recovery_target_inclusive", true},
	{"remove_temp_files_after_crash", true},
	{"restart_after_crash", true},
	{"row_security", true},
	{"ssl", false},
	{"ssl_passphrase_command_supports_reload", false},
	{"ssl_prefer_server_ciphers", true},
	{"standard_conforming_strings", true},
	{"synchronize_seqscans", true},
	{"syslog_sequence_numbers", true},
	{"syslog_split_messages", true},
	{"trace_notify", false},
	{"trace_sort", false},
	{"track_activities", true},
	{"track_commit_timestamp", false},
	{"track_counts", true},
	{"track_io_timing", false},
	{"track_wal_io_timing", false},
	{"transaction_deferrable", false},
	{"transaction_read_only", false},
	{"transform_null_equals", false},
	{"update_process_title", true},
	{"wal_init_zero", true},
	{"wal_log_hints", false},
	{"wal_receiver_create_temp_slot", false},
	{"wal_recycle", true},
	{"zero_damaged_pages", false},
};

int incident_write_flags(const char *path)
{
	struct outfile file;
	int status = outfile_open(&file, path);

	if (status)
		return status;
	for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
		fprintf(file.stream, "%s\t%s\n", flags[i].key, flags[i].value ? "true" : "false");
	return outfile_commit(&file);
}
