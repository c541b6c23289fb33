/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * findings.c: checks a source. What the opener had to guess is a finding, too; and where the header does not even tell where everything is,
 * it is the only one. */
#include "findings.h"

#include <string.h>

#include "check.h"
#include "progress.h"

struct listener {
	flagstore_found *found;
	void *argument;
	struct findings *findings;
};

static void add(const struct flagstore_finding *finding, void *argument)
{
	const struct listener *listener = argument;
	struct findings *findings = listener->findings;
	size_t i = 0;

	while (i < findings->kinds && strcmp(findings->by_kind[i].kind, finding->kind) != 0)
		i++;
	if (i == findings->kinds && findings->kinds < FINDINGS_KINDS)
		findings->by_kind[findings->kinds++].kind = finding->kind;
	if (i < findings->kinds)
		findings->by_kind[i].count++;
	findings->count++;
	if (listener->found)
		listener->found(finding, listener->argument);
}

int findings_of(const struct source *source, flagstore_found *found, void *argument, struct findings *findings)
{
	struct listener listener = {found, argument, findings};
	const struct fs_checking how = {.still = source->kind != SOURCE_LIVE, .abandoned = true, .progress = progress_update};
	uint64_t counted;
	int error;

	*findings = (struct findings){.count = 0};
	if (*source->damage)
		add(&(struct flagstore_finding){.kind = "header",
		                                .shard = UINT32_MAX,
		                                .text = source->damage,
		                                .cause = "a store that bypassed the library, a damaged file, or a creator that did not end",
		                                .slot = UINT32_MAX},
		    &listener);
	if (!source->table)
		return FLAGSTORE_OK;
	progress_begin("checking", "shards", source->store->constants.shards);
	error = fs_check(source->store, &how, add, &listener, &counted, &findings->skipped);
	progress_end();
	return error;
}
