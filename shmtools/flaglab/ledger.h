/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * ledger.h: what must be in the segment, whoever is killed. It lies in memory that the parent shares with all it forks, and has
 * nothing to do with the segment.
 *
 * Each writer has a post. When it is killed another process takes the post over, and with it all that stands there.
 * A post has a word for each flag that its writers change:
 *
 *     own      nobody else changes them: the word is what the flag is, MISSING, FALSE or TRUE
 *     common   turned over by the writers of all posts: how many changes this post has made
 *     mark     inserted and deleted by all: inserts less deletes made by this post
 *
 * Two more families have no words: groups, changed by all, but always as a whole, so that all flags of one are alike at any
 * moment; and those that stay, which are never changed.
 *
 * A write goes: the plan (which words will be what) is filled in, PLANNED; the library is called; the call has returned,
 * MADE; the words are stored; IDLE. A process that is killed between PLANNED and MADE may have made the change or not; what is MADE
 * must be in the segment. The plan holds what words will be and not how they change, so carrying it out twice, by one that is killed
 * and by its successor, does no harm. Words of a post have one writer: its process, or when that is dead whoever
 * settles what it left. */
#ifndef LEDGER_H
#define LEDGER_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "muster.h"
#include "stopwatch.h"

enum {
	LEDGER_POSTS_MAX = 64, /* one bit each in a word */
	LEDGER_COMMON = 64,
	LEDGER_MARKS = 64,
	LEDGER_GROUPS = 8,
	LEDGER_GROUP = 6, /* flags in a group */
	LEDGER_STAY = 1024,
	LEDGER_PLAN_MAX = 12, /* changes in a batch */
	LEDGER_RECENT = 256,  /* a power of two */
	LEDGER_WARM = 300,    /* writes after which a process is in full swing */
};

enum {
	LEDGER_MISSING,
	LEDGER_FALSE,
	LEDGER_TRUE,
};

/* What a writer is doing, which is also what it did when it was killed. The writes come last. */
#define DEEDS(X)                                                                                                       \
	X(ATTACHING, "attaching")                                                                                          \
	X(AUDITING, "auditing")                                                                                            \
	X(BETWEEN, "between writes")                                                                                       \
	X(INSERTING, "inserting")                                                                                          \
	X(MARKING, "set if absent")                                                                                        \
	X(DELETING, "deleting")                                                                                            \
	X(SETTING, "setting")                                                                                              \
	X(TOGGLING, "toggling")                                                                                            \
	X(COMPARING, "compare and set")                                                                                    \
	X(BATCHING, "batch")                                                                                               \
	X(SHARING, "shared flags")

enum deed {
#define DEED(name, text) DEED_##name,
	DEEDS(DEED)
#undef DEED
	DEED_COUNT,
};

const char *deed_text(enum deed deed);

static inline bool deed_is_write(enum deed deed)
{
	return deed >= DEED_INSERTING;
}

enum ledger_stage {
	LEDGER_IDLE,
	LEDGER_PLANNED,
	LEDGER_MADE,
};

struct ledger_change {
	uint32_t word;
	int32_t after;
};

struct ledger_plan {
	_Atomic uint32_t stage;
	enum deed deed;
	uint32_t count;
	struct ledger_change changes[LEDGER_PLAN_MAX];
	/* what counts will be if it is acknowledged; if the writer is killed, and the change was made, or was not */
	uint64_t acknowledged, made, unmade;
};

/* What was found wrong, and what was compared. */
struct ledger_finds {
	_Atomic uint64_t lost;    /* acknowledged changes that are not there */
	_Atomic uint64_t half;    /* batches seen in part */
	_Atomic uint64_t wrong;   /* answers that can't be */
	_Atomic uint64_t audited; /* flags compared */
};

struct ledger_post {
	/* by its process, or who settles */
	alignas(64) struct ledger_plan plan;
	uint32_t recent[LEDGER_RECENT]; /* words of own flags that were changed last */
	uint32_t recent_count;
	_Atomic uint32_t doing; /* DEED_ATTACHING, DEED_AUDITING, or DEED_BETWEEN: then the plan says what */
	_Atomic uint32_t warm;  /* writes since the process began, up to a limit */
	_Atomic uint32_t parked; /* number of the pause that it stands still for; the parent takes it back when the process dies */
	_Atomic uint64_t refused;             /* writes that failed for lack of room, or in the lock wait limit */
	_Atomic uint64_t acknowledged[DEED_COUNT];
	_Atomic uint64_t made[DEED_COUNT];    /* of own flags, under way when the writer was killed: done, */
	_Atomic uint64_t unmade[DEED_COUNT];  /* and not done */
	struct ledger_finds finds;
	struct timing writes[WINDOW_COUNT];
	struct histogram away;                /* from a kill until a successor is at work, nanoseconds */

	/* by the parent */
	alignas(64) _Atomic int64_t killed_ns; /* 0 when nobody is waited for; the successor takes it back */
};

struct ledger_reader {
	struct ledger_finds finds;
	_Atomic int64_t clock_ns;  /* what a look at the clock takes */
	_Atomic uint64_t busy;     /* looks at groups that never stood still for long enough */
	struct timing reads[WINDOW_COUNT];
};

/* What the changes of one common flag or mark may add up to. */
struct ledger_sum {
	uint64_t life;                 /* common: version less changes, */
	int64_t base;                  /* and changes; mark: whether it was there; when the counting began */
	_Atomic uint32_t perhaps_more; /* changes, inserts, that were under way when their writers were killed */
	_Atomic uint32_t perhaps_less; /* deletes */
};

struct ledger {
	size_t size;
	uint32_t posts, readers, flags; /* flags: own ones of a post */

	struct muster muster;
	_Atomic uint32_t pause;           /* by the parent: number of the last pause */
	alignas(64) _Atomic uint64_t away; /* bit for a post whose writer was killed, until another one is at work */

	/* in the same memory */
	struct ledger_post *post;          /* [posts] */
	struct ledger_reader *reader;      /* [readers] */
	_Atomic int32_t *words;            /* [posts][ledger_words()] */
	char (*keys)[64];                  /* [ledger_keys()]; shared memory too, whose page tables no fork has to copy */

	struct ledger_sum sums[LEDGER_COMMON + LEDGER_MARKS];
	struct ledger_finds finds;         /* by the parent */
};

/* Never fails: without memory the process ends. */
struct ledger *ledger_open(uint32_t posts, uint32_t readers, uint32_t flags);

void ledger_close(struct ledger *ledger);

/* Words of a post: its own flags, then the common ones, then the marks. */
static inline uint32_t ledger_words(const struct ledger *ledger)
{
	return ledger->flags + LEDGER_COMMON + LEDGER_MARKS;
}

static inline _Atomic int32_t *ledger_word(const struct ledger *ledger, uint32_t post, uint32_t word)
{
	return &ledger->words[(size_t)post * ledger_words(ledger) + word];
}

static inline int32_t ledger_value(const struct ledger *ledger, uint32_t post, uint32_t word)
{
	return atomic_load_explicit(ledger_word(ledger, post, word), memory_order_relaxed);
}

static inline void ledger_store(const struct ledger *ledger, uint32_t post, uint32_t word, int32_t value)
{
	atomic_store_explicit(ledger_word(ledger, post, word), value, memory_order_relaxed);
}

/* How many own flags of a post are there. */
uint32_t ledger_there(const struct ledger *ledger, uint32_t post);

/* Keys, which all begin with "flaglab." and the parent's process number. */
const char *ledger_key(const struct ledger *ledger, uint32_t post, uint32_t word);
const char *ledger_group_key(const struct ledger *ledger, uint32_t group, uint32_t flag);
const char *ledger_stay_key(const struct ledger *ledger, uint32_t flag);

static inline bool ledger_stay_value(uint32_t flag)
{
	return flag % 2 != 0;
}

/* All of them, once each. */
size_t ledger_keys(const struct ledger *ledger);

/* Begins a plan without changes; ledger_change() adds one, ledger_begin() says that the call is made now, and ledger_acknowledge()
 * that it has returned and the change is made. ledger_forget(): it has returned, and changed nothing. */
void ledger_plan(struct ledger_post *post, enum deed deed);
void ledger_change(struct ledger_post *post, uint32_t word, int32_t after);
void ledger_begin(struct ledger_post *post);
void ledger_acknowledge(const struct ledger *ledger, uint32_t post);
void ledger_forget(struct ledger_post *post);

/* What is MADE is stored in the words. */
void ledger_carry_out(const struct ledger *ledger, uint32_t post);

/* Adds to a count that nobody else adds to. */
static inline void ledger_count(_Atomic uint64_t *count, uint64_t more)
{
	atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + more, memory_order_relaxed);
}

/* What all have found so far. */
struct ledger_total {
	uint64_t lost, half, wrong, audited, refused, acknowledged;
};

struct ledger_total ledger_total(const struct ledger *ledger);

#endif
