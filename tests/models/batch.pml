/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * batch.pml: batches over two shards, as in src/batch.c and src/redo.c, with the sections of src/section.c, the recovery of
 * src/recover.c and the snapshots of src/snapshot.c.
 *
 * One flag in each shard; the second shard's may be missing at first, so that a batch inserts it. Two writers commit batches, of both flags
 * or of one, and may be killed anywhere; then each shard is recovered by whoever comes first. Somebody flips or sets
 * a flag without a lock, and somebody takes a snapshot of both.
 *
 * Promised: a snapshot is the flags as of one moment of the call, where a batch happens at the moment at which its record says committed;
 * a flip acts on what the flag is by that moment, a set that is told that it is done was so at some moment of the call; and
 * when all shards have been recovered, each flag is what it should be.
 *
 * run 1: BATCHES=1 OTHERS=1 DEATHS=1 FLIPS=0 SNAPSHOTS=0
 * run 2: BATCHES=2 OTHERS=0 DEATHS=2 FLIPS=0 SNAPSHOTS=0
 * run 3: BATCHES=1 OTHERS=0 DEATHS=1 FLIPS=0 SETS=1 SNAPSHOTS=0
 * run 4: BATCHES=1 OTHERS=0 DEATHS=1 FLIPS=0 SNAPSHOTS=1
 * run 5: BATCHES=0 OTHERS=0 DEATHS=0 FLIPS=2 SNAPSHOTS=1
 * long 1: BATCHES=2 OTHERS=1 DEATHS=2 FLIPS=0 SNAPSHOTS=0
 * long 2: BATCHES=1 OTHERS=1 DEATHS=1 FLIPS=1 SNAPSHOTS=0
 * long 3: BATCHES=1 OTHERS=0 DEATHS=1 FLIPS=1 SNAPSHOTS=1
 * long 4: BATCHES=2 OTHERS=0 DEATHS=1 FLIPS=1 SNAPSHOTS=0 */
#include "model.pml"

#define MISTAKE_COMMIT_EARLY 1    /* run 1: committed is said before the list of changes is written */
#define MISTAKE_LEADER_LATE 2     /* run 1: the shards note their leader after the commit */
#define MISTAKE_FORGET_EARLY 3    /* run 2: recovery forgets the batch before it has carried it out */
#define MISTAKE_RECORD_REUSED 4   /* run 1: a record is written although a shard still notes its leader */
#define MISTAKE_NOT_FROZEN 5      /* run 3: flags are not frozen */
#define MISTAKE_THAW_FIRST 6      /* run 1: recovery thaws before it looks at the batch */
#define MISTAKE_STAYS_COMMITTED 7 /* run 1: a new batch does not take committed back before it notes the leader */
#define MISTAKE_NOT_ODD 8         /* run 4: sequence counts are not made odd */
#define MISTAKE_SEQUENCE_ONCE 9   /* run 4: a snapshot does not look at the sequence counts again */
#define MISTAKE_LOOK_ONCE 10      /* run 5: a snapshot does not look at the words again */
#define MISTAKE_KEEP_FROZEN 11    /* run 3: a set to the value that a FROZEN flag has is taken for done */
#define MISTAKE_APPLY_BLIND 12    /* run 3: recovery stores the words after without comparing the words before */

/* A slot word: state | value << 2 | version << 3. A planted one is DEAD with version 1. */
#define LIVE 1
#define FROZEN 2
#define DEAD 3
#define STATE(word) ((word) & 3)
#define VALUE(word) ((word) >> 2 & 1)
#define WITH_STATE(word, state) (((word) & ~3) | (state))
#define NEXT(word, value) ((((word) & ~4) + 8) | (value) << 2)

#define MISSING 2

byte BATCHES /* of the first writer */
byte OTHERS  /* of the second writer */
byte DEATHS  /* of the first writer */
byte FLIPS
byte SETS
byte SNAPSHOTS
byte MISTAKE

byte words[2]
byte sequence[2]
byte leader[2]    /* index + 1 of the shard that leads the batch under way */
/* The locks: free, held, or that of a dead one. */
#define FREE 0
#define HELD 1
#define OWNER_DEAD 2
byte lock[2]

/* The redo records, one a leader; its list has a place for each shard's change. */
bool committed[2]
byte before[4], after[4] /* by leader * 2 + shard; 0: not in the list */

/* What the promises are about. truth: what each flag is. seen: what both have been together since the snapshot began, a bit for each of
 * the nine; kept: what each has been since the set began, three bits each. */
byte truth[2]
short seen
bool watching
byte kept

#define KEPT (1 << truth[0] | 8 << truth[1])
#define TOGETHER (1 << (truth[0] * 3 + truth[1]))

inline notice()
{
	if
	:: watching -> seen = seen | TOGETHER
	:: else
	fi;
	kept = kept | KEPT
}

/* fs_lock() and fs_enter() */
inline enter(shard)
{
	atomic {
		lock[shard] != HELD -> recovering = lock[shard] == OWNER_DEAD;
		lock[shard] = HELD;
		holds = holds | 1 << (shard)
	};
	STORE(
		if
		:: mistake == MISTAKE_NOT_ODD
		:: else -> sequence[shard] = sequence[shard] | 1
		fi);
	if
	:: recovering -> recover(shard)
	:: else
	fi;
	recovering = false
}

/* fs_leave() */
inline leave(shard)
{
	STORE(
		if
		:: mistake == MISTAKE_NOT_ODD
		:: else -> sequence[shard] = (sequence[shard] | 1) + 1
		fi);
	STORE(lock[shard] = FREE; holds = holds & ~(1 << (shard)))
}

/* tidy_slot() */
inline tidy(shard)
{
	STORE(
		if
		:: STATE(words[shard]) == FROZEN -> words[shard] = WITH_STATE(words[shard], LIVE)
		:: else
		fi)
}

/* fs_recover() */
inline recover(shard)
{
	if
	:: mistake == MISTAKE_THAW_FIRST -> tidy(shard)
	:: else
	fi;
	/* fs_redo_finish() */
	from = leader[shard];
	if
	:: from ->
		if
		:: mistake == MISTAKE_FORGET_EARLY -> STORE(leader[shard] = 0)
		:: else
		fi;
		at = (from - 1) * 2 + (shard);
		if
		:: committed[from - 1] && after[at] ->
			STORE(                                            /* fs_redo_apply() */
				if
				:: words[shard] == before[at] || mistake == MISTAKE_APPLY_BLIND -> words[shard] = after[at]
				:: else
				fi)
		:: else
		fi;
		STORE(leader[shard] = 0)
	:: else
	fi;
	from = 0;
	at = 0;
	tidy(shard)                                               /* fs_tidy() */
}

/* The locks of one that was killed: the kernel goes from one to the next. */
#define DIE \
	if \
	:: holds & 1 -> lock[0] = OWNER_DEAD \
	:: else \
	fi; \
	if \
	:: holds & 2 -> lock[1] = OWNER_DEAD \
	:: else \
	fi

/* flagstore_batch_commit() */
proctype Batcher(byte batches; byte deaths; byte mistake)
{
	byte first, last, shard, at, from, holds
	bool recovering

	do
	:: atomic { batches > 0 ->
			batches--;
			if
			:: first = 0; last = 1
			:: first = 0; last = 0
			:: first = 1; last = 1
			fi;
			shard = first
		};
		/* enter_all(): those of the batch, and those that still note our leader */
		do
		:: shard < 2 ->
			if
			:: shard <= last || (leader[shard] == first + 1 && mistake != MISTAKE_RECORD_REUSED) ->
				enter(shard);
				if
				:: shard > last -> leave(shard)
				:: else
				fi
			:: else
			fi;
			shard++
		:: else -> break
		od;
		/* carry_out() */
		STORE(
			if
			:: mistake == MISTAKE_STAYS_COMMITTED
			:: else -> committed[first] = false
			fi);
		/* note_leader() */
		shard = first;
		do
		:: shard <= last ->
			STORE(
				if
				:: mistake == MISTAKE_LEADER_LATE
				:: else -> leader[shard] = first + 1
				fi);
			shard++
		:: else -> break
		od;
		if
		:: mistake == MISTAKE_COMMIT_EARLY -> goto commit
		:: else
		fi;
prepare:
		/* prepare(): fs_slot_freeze(), or fs_plant() where there is no flag. write_redo() */
		shard = first;
		do
		:: shard <= last ->
			STORE(
				if
				:: words[shard] == 0 -> words[shard] = 8 | DEAD
				:: STATE(words[shard]) == LIVE && mistake != MISTAKE_NOT_FROZEN -> words[shard] = WITH_STATE(words[shard], FROZEN)
				:: else
				fi;
				at = words[shard]);
			STORE(before[first * 2 + shard] = at);
			STORE(after[first * 2 + shard] =
				(STATE(at) == DEAD -> WITH_STATE(at, LIVE) | 4 : WITH_STATE(NEXT(at, 1 - VALUE(at)), LIVE)));
			shard++
		:: else -> break
		od;
		STORE(
			if
			:: first == last -> after[first * 2 + 1 - first] = 0
			:: else
			fi);
		if
		:: mistake == MISTAKE_COMMIT_EARLY -> goto apply
		:: else
		fi;
commit:
		STORE(
			committed[first] = true;
			shard = first;
			do
			:: shard <= last -> truth[shard] = (truth[shard] == MISSING -> 1 : 1 - truth[shard]); shard++
			:: else -> break
			od;
			notice());
		if
		:: mistake == MISTAKE_COMMIT_EARLY -> goto prepare
		:: else
		fi;
apply:
		shard = first;
		do
		:: shard <= last && mistake == MISTAKE_LEADER_LATE -> STORE(leader[shard] = first + 1); shard++
		:: else -> break
		od;
		/* apply() */
		shard = first;
		do
		:: shard <= last ->
			STORE(
				if
				:: words[shard] == before[first * 2 + shard] -> words[shard] = after[first * 2 + shard]
				:: else
				fi);
			shard++
		:: else -> break
		od;
		shard = first;
		do
		:: shard <= last -> STORE(leader[shard] = 0); shard++ /* note_leader() */
		:: else -> break
		od;
		/* leave_all() */
		shard = first;
		do
		:: shard <= last -> leave(shard); shard++
		:: else -> break
		od;
		goto next;
died:
		atomic { DIE; holds = 0; recovering = false };
next:
		atomic { first = 0; last = 0; shard = 0; at = 0; from = 0 }
	:: else -> break
	od
}

/* write_key(): without a lock, then in write_locked() */
proctype Setter(byte flips; byte sets; byte mistake)
{
	byte word, flag, desired, from, at, holds, deaths
	bool recovering, toggles

	do
	:: atomic {
			if
			:: flips > 0 -> flips--; toggles = true
			:: sets > 0 -> sets--; toggles = false;
				if
				:: desired = 0
				:: desired = 1
				fi
			:: else -> break
			fi;
			if
			:: flag = 0
			:: flag = 1
			fi;
			kept = KEPT
		};
		do
		:: word = words[flag];
			if
			:: atomic { word == 0 || STATE(word) == DEAD -> break }
			:: atomic { STATE(word) == FROZEN && (toggles || VALUE(word) != desired || mistake != MISTAKE_KEEP_FROZEN) -> skip };
				enter(flag);
				/* flips by others are left out */
				atomic {
					assert(STATE(words[flag]) == LIVE && VALUE(words[flag]) == truth[flag]);
					if
					:: toggles || VALUE(words[flag]) != desired ->
						truth[flag] = 1 - truth[flag];
						words[flag] = NEXT(words[flag], truth[flag]);
						notice()
					:: else
					fi
				};
				leave(flag);
				break
			:: atomic { else ->
					if
					:: !toggles && VALUE(word) == desired ->
						assert(kept >> flag * 3 & 1 << desired);
						break
					:: else ->
						if
						:: words[flag] == word ->                /* fs_flip() */
							assert(VALUE(word) == truth[flag]);
							truth[flag] = 1 - truth[flag];
							words[flag] = NEXT(word, truth[flag]);
							notice();
							break
						:: else
						fi
					fi
				}
			fi
		od;
		atomic { word = 0; flag = 0; desired = 0; toggles = false }
	od;
	goto end;
died:
	assert(false);
end:
	skip
}

/* flagstore_snapshot(): a try, then under the locks */
proctype Snapshotter(byte snapshots; byte deaths; byte mistake)
{
	byte count[2], looks[2], holds, from, at
	bool recovering

	do
	:: atomic { snapshots > 0 ->
			snapshots--;
			watching = true;
			seen = TOGETHER
		};
		/* try_once(): read_sequences() */
		count[0] = sequence[0];
		count[1] = sequence[1];
		if
		:: count[0] & 1 || count[1] & 1
		:: else ->
			looks[0] = words[0];                              /* look_once() */
			looks[1] = words[1];
			if
			:: atomic { words[0] == looks[0] || mistake == MISTAKE_LOOK_ONCE -> skip }; /* look_again() */
				if
				:: atomic { words[1] == looks[1] || mistake == MISTAKE_LOOK_ONCE -> skip };
					if
					:: atomic { sequence[0] == count[0] || mistake == MISTAKE_SEQUENCE_ONCE -> skip };
						if
						:: atomic { sequence[1] == count[1] || mistake == MISTAKE_SEQUENCE_ONCE -> skip };
							goto compare
						:: else
						fi
					:: else
					fi
				:: else
				fi
			:: else
			fi
		fi;
		/* look_locked() */
		enter(0);
		enter(1);
		/* look_frozen() */
		STORE(
			if
			:: STATE(words[0]) == LIVE -> words[0] = WITH_STATE(words[0], FROZEN)
			:: else
			fi;
			looks[0] = words[0]);
		STORE(
			if
			:: STATE(words[1]) == LIVE -> words[1] = WITH_STATE(words[1], FROZEN)
			:: else
			fi;
			looks[1] = words[1]);
		tidy(0);
		tidy(1);
		leave(0);
		leave(1);
compare:
		atomic {
			at = (STATE(looks[0]) == LIVE || STATE(looks[0]) == FROZEN -> VALUE(looks[0]) : MISSING) * 3 +
				(STATE(looks[1]) == LIVE || STATE(looks[1]) == FROZEN -> VALUE(looks[1]) : MISSING);
			assert(seen & 1 << at);
			goto next
		};
died:
		atomic { DIE; holds = 0; recovering = false };
next:
		atomic { watching = false; seen = 0; count[0] = 0; count[1] = 0; looks[0] = 0; looks[1] = 0; from = 0; at = 0 }
	:: else -> break
	od
}

/* At the end somebody comes to each shard. */
proctype Last(byte mistake)
{
	byte from, at, holds, deaths
	bool recovering

	enter(0);
	leave(0);
	enter(1);
	leave(1);
	assert(words[0] && STATE(words[0]) == LIVE && VALUE(words[0]) == truth[0]);
	assert((STATE(words[1]) == LIVE -> VALUE(words[1]) : MISSING) == truth[1]);
	assert(STATE(words[1]) != FROZEN && !leader[0] && !leader[1]);
	goto end;
died:
	assert(false);
end:
	skip
}

init {
	atomic {
		BOUND(BATCHES, 1)
		BOUND(OTHERS, 1)
		BOUND(DEATHS, 1)
		BOUND(FLIPS, 1)
		BOUND(SETS, 0)
		BOUND(SNAPSHOTS, 1)
		BOUND(MISTAKE, 0)
		words[0] = 8 | LIVE;
		if
		:: words[1] = 8 | LIVE
		:: truth[1] = MISSING
		fi;
		run Batcher(BATCHES, DEATHS, MISTAKE);
		run Batcher(OTHERS, 0, MISTAKE);
		run Setter(FLIPS, SETS, MISTAKE);
		run Snapshotter(SNAPSHOTS, 0, MISTAKE)
	};
	_nr_pr == 1 -> run Last(MISTAKE)
}
