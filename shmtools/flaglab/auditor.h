/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * auditor.h: the segment is compared with the ledger. What is found is counted on the ledger; then the ledger takes over what the segment
 * says, so that nothing is counted twice. Results are those of the library. */
#ifndef AUDITOR_H
#define AUDITOR_H

#include <flagstore.h>

#include "ledger.h"

/* Deletes what an earlier run may have left under these keys, and makes the flags that are there from the beginning. */
int auditor_prepare(struct ledger *ledger, flagstore *store);

/* A process has left this post, in the middle of a write or not, and nobody works there: an acknowledged write is carried out on
 * the ledger; of one under way, it is found out whether it was made. Can be done again when it was not finished. */
int auditor_settle(struct ledger *ledger, uint32_t post, flagstore *store, struct ledger_finds *finds);

/* Compares those own flags of a post that were changed last, or all of them; the post is settled. */
void auditor_compare_recent(const struct ledger *ledger, uint32_t post, const flagstore *store, struct ledger_finds *finds);
void auditor_compare(const struct ledger *ledger, uint32_t post, const flagstore *store, struct ledger_finds *finds);

/* While all writers stand still, and all posts are settled: compares the flags that they share, and begins to count anew. */
int auditor_compare_shared(struct ledger *ledger, flagstore *store);

/* At any time: whether all flags of a group are alike. FLAGSTORE_EBUSY: they did not stand still. */
int auditor_compare_group(const struct ledger *ledger, uint32_t group, flagstore *store, struct ledger_finds *finds);

/* Deletes all of the ledger's flags. */
int auditor_clean(const struct ledger *ledger, flagstore *store);

#endif
