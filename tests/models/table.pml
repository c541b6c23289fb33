/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * table.pml: a shard's table: slots, tags and directory entries, as in src/table.c, src/change.c, src/grow.c and src/undertaking.c,
 * and what src/recover.c makes of them after a death.
 *
 * Two keys, and three blocks for buckets of two slots. Both keys have the same tag and the same preferred slot, the worst case.
 * Each slot is a tag group of its own. One process stands for all that ever hold the lock, one after the other; a reader and a flipper
 * come without it. Any free block may be taken, for the order of the free list must not matter.
 *
 * Promised: a read returns what the flag was at some moment of the call, and never the word of another key; a flip changes the flag that
 * it found, and is not lost; after each write section every flag that should be there is there once, LIVE and tagged, no other slot
 * lives, and no block is lost.
 *
 * run 1: GROWTHS=1 CHANGES=1 DEATHS=2 FLIPS=0 READS=0
 * run 2: GROWTHS=1 CHANGES=0 DEATHS=1 FLIPS=1 READS=0
 * run 3: GROWTHS=1 CHANGES=1 DEATHS=1 FLIPS=0 READS=1 ONLY=1
 * run 4: GROWTHS=2 CHANGES=0 DEATHS=0 FLIPS=0 READS=1
 * run 5: GROWTHS=0 CHANGES=3 DEATHS=0 FLIPS=0 READS=1
 * run 6: GROWTHS=0 CHANGES=3 DEATHS=0 FLIPS=1 READS=0
 * long 1: GROWTHS=4 CHANGES=0 DEATHS=0 FLIPS=0 READS=1 ONLY=1
 * long 2: GROWTHS=2 CHANGES=0 DEATHS=0 FLIPS=1 READS=1 ONLY=1 SPLITS=0
 * long 3: GROWTHS=2 CHANGES=1 DEATHS=2 FLIPS=0 READS=0
 * long 4: GROWTHS=2 CHANGES=0 DEATHS=1 FLIPS=1 READS=0
 * long 5: GROWTHS=1 CHANGES=0 DEATHS=1 FLIPS=1 READS=1
 * long 6: GROWTHS=0 CHANGES=3 DEATHS=0 FLIPS=1 READS=1
 * long 7: GROWTHS=2 CHANGES=0 DEATHS=1 FLIPS=0 READS=1 ONLY=1 */
#include "model.pml"

#define MISTAKE_THAW_EARLY 1       /* long 2: a fresh bucket is thawed before the last directory entry is stored */
#define MISTAKE_TAG_LATE 2         /* run 5: insert stores the tag after the word */
#define MISTAKE_MISS_UNCHECKED 3   /* run 4: a miss counts without a second look at the bucket word */
#define MISTAKE_HIT_UNCHECKED 4    /* long 1: a LIVE hit counts without a second look at the bucket word */
#define MISTAKE_NO_COUNT 5         /* run 4: bucket words don't count their replacements */
#define MISTAKE_THAW_OLD 6         /* run 1: recovery gives up what was being published */
#define MISTAKE_FLIP_BLIND 7       /* run 6: a flip compares state and value, not incarnation and version */
#define MISTAKE_SAME_INCARNATION 8 /* run 5: a slot that is used again keeps its incarnation */
#define MISTAKE_FILL_LIVE 9        /* run 1: fresh buckets are filled LIVE */
#define MISTAKE_COPY_UNFROZEN 10   /* run 1: flags are copied without being frozen first */
#define MISTAKE_TAG_EMPTY 11       /* run 3: a dead slot's tag becomes EMPTY in a group that was full */
#define MISTAKE_NO_SECOND_LOOK 12  /* run 5: a reader does not load the slot word again after the key */
#define MISTAKE_NO_TIDY 13         /* run 1: recovery does not look at the slots */
#define MISTAKE_TORN_FINISH 14     /* run 1: recovery of what was being published stores the first entry only */

#define SLOTS 2
#define PLACES 6 /* in three blocks */
#define PREFERRED 1

/* A slot word: state | value << 2 | version << 3 | incarnation << 6. */
#define EMPTY 0
#define LIVE 1
#define FROZEN 2
#define DEAD 3
#define STATE(word) ((word) & 3)
#define VALUE(word) ((word) >> 2 & 1)
#define INCARNATION(word) ((word) >> 6)
#define HOLDS(word) (STATE(word) == LIVE || STATE(word) == FROZEN)
#define WITH_STATE(word, state) (((word) & ~3) | (state))
#define NEXT(word, value) ((((word) & ~4) + 8) | (value) << 2)
#define PLANTED(incarnation) ((incarnation) << 6 | 8 | DEAD)

/* A bucket word: block | depth << 2 | replacements << 3. */
#define BLOCK(entry) ((entry) & 3)
#define DEPTH(entry) ((entry) >> 2 & 1)
#define ENTRY(block, depth, old) ((block) | (depth) << 2 | (((old) & ~7) + (mistake == MISTAKE_NO_COUNT -> 0 : 8)))

#define TAG_EMPTY 0
#define TAG_TOMBSTONE 1
#define TAG 2

/* Phases of an undertaking. */
#define IDLE 0
#define FILLING 1
#define PUBLISHING 2

/* What a flag is: its value, or: */
#define MISSING 2

byte CHANGES /* inserts and deletes */
byte GROWTHS
byte FLIPS
byte READS
byte ONLY    /* the key that is read and flipped; 2: both */
byte SPLITS  /* 0: buckets are replaced by one alone */
byte DEATHS
byte MISTAKE

short entry[2] /* of the directory: key 0 belongs to the first, key 1 to the second */
byte tags[PLACES]
byte keys[PLACES]
short words[PLACES]

/* What the promises are about. truth: what each flag is. owner: whose life an incarnation is. seen: all that the flag being read has
 * been since the read began, a bit each. */
byte truth[2]
byte owner[8]
byte sought = 2
byte seen
bit wish[2] /* a flip that met a FROZEN flag, and goes to the lock */

inline becomes(flag, what)
{
	if
	:: sought == flag -> seen = seen | 1 << (what)
	:: else
	fi;
	truth[flag] = what
}

/* fs_find(): word becomes the slot's, or 0 when the key is missing; place is the slot. probe() and look_at() are in it. Each atomic is
 * one load, and what the process does with it alone. */
inline find()
{
	do
	:: atomic {
			bucket_word = entry[k];                           /* fs_set_out(): the bucket word, acquire */
			place = BLOCK(bucket_word) * SLOTS + PREFERRED;
			i = 0
		};
		do
		:: atomic { tags[place] == TAG -> skip };             /* fs_come_near(): tags, relaxed */
			first = words[place];                             /* look_at(): first, acquire */
			if
			:: atomic { HOLDS(first) && keys[place] == k -> skip }; /* fs_slot_may_have_key(), fs_bytes_equal(): relaxed */
				atomic {
					word = words[place];                      /* look_at(): second, behind an acquire fence */
					break
				}
			:: atomic { else ->
					first = 0;
					i++;
					place = place ^ 1;
					if
					:: i == SLOTS -> break
					:: else
					fi
				}
			fi
		:: tags[place] == TAG_EMPTY -> break
		:: atomic { tags[place] == TAG_TOMBSTONE ->
				i++;
				place = place ^ 1;
				if
				:: i == SLOTS -> break
				:: else
				fi
			}
		od;
		atomic {
			i = 0;
			if
			:: word && mistake == MISTAKE_NO_SECOND_LOOK -> word = first
			:: else
			fi;
			if
			:: word && (INCARNATION(first) != INCARNATION(word) || !HOLDS(word)) -> first = 0; word = 0
			:: else ->
				first = 0;
				if
				:: word && STATE(word) == LIVE && mistake == MISTAKE_HIT_UNCHECKED -> break
				:: !word && mistake == MISTAKE_MISS_UNCHECKED -> break
				:: entry[k] == bucket_word -> break           /* fs_way_leads_on(): the bucket word again, behind an acquire fence */
				:: else -> word = 0
				fi
			fi
		}
	od
}

proctype Reader(byte reads; byte mistake)
{
	short bucket_word, first, word
	byte k, i, place

	do
	:: atomic { reads > 0 ->
			reads--;
			if
			:: ONLY != 1 -> k = 0
			:: ONLY != 0 -> k = 1
			fi;
			sought = k;
			seen = 1 << truth[k]
		};
		find();
		atomic {
			assert(word == 0 || owner[INCARNATION(word)] == k);
			assert(seen & 1 << (word -> VALUE(word) : MISSING));
			sought = 2;
			seen = 0;
			bucket_word = 0;
			word = 0;
			place = 0
		}
	:: else -> break
	od
}

/* write_key() with a rule that rewrites */
proctype Flipper(byte flips; byte mistake)
{
	short bucket_word, first, word
	byte k, i, place

	do
	:: atomic { flips > 0 ->
			flips--;
			if
			:: ONLY != 1 -> k = 0
			:: ONLY != 0 -> k = 1
			fi
		};
		do
		:: find();
			atomic {
				if
				:: STATE(word) == LIVE ->
					if
					:: words[place] == word ||                /* fs_flip(): compare-and-swap */
						(mistake == MISTAKE_FLIP_BLIND && (words[place] & 7) == (word & 7)) ->
						assert(owner[INCARNATION(words[place])] == k);
						assert(truth[k] == VALUE(word));
						words[place] = NEXT(word, 1 - VALUE(word));
						becomes(k, 1 - VALUE(word));
						break
					:: else -> word = 0
					fi
				:: STATE(word) == FROZEN -> wish[k] = 1; break
				:: else -> break
				fi
			}
		od;
		atomic { bucket_word = 0; word = 0; place = 0 }
	:: else -> break
	od
}

/* fs_bucket_clean(): a late reader may still be looking */
inline clean(block)
{
	i = 0;
	do
	:: i < SLOTS -> STORE(words[(block) * SLOTS + i] = 0); i++
	:: else -> break
	od;
	i = 0;
	do
	:: i < SLOTS -> STORE(tags[(block) * SLOTS + i] = TAG_EMPTY); i++
	:: else -> break
	od;
	i = 0
}

/* copy_slot(), behind fs_slot_freeze() */
inline copy_slot(block)
{
	place = (block) * SLOTS + PREFERRED;                      /* place_for() */
	if
	:: tags[place] >= TAG -> place = (block) * SLOTS + 1 - PREFERRED
	:: else
	fi;
	STORE(keys[place] = keys[from]);
	STORE(tags[place] = TAG);
	STORE(words[place] = (mistake == MISTAKE_FILL_LIVE -> WITH_STATE(word, LIVE) : WITH_STATE(word, FROZEN)))
}

/* move_flags() */
inline move_flags()
{
	from = BLOCK(outgoing) * SLOTS;
	do
	:: i < SLOTS ->
		STORE(                                                /* fs_slot_freeze() */
			if
			:: STATE(words[from]) == LIVE && mistake != MISTAKE_COPY_UNFROZEN -> words[from] = WITH_STATE(words[from], FROZEN)
			:: else
			fi;
			word = words[from]);
		if
		:: HOLDS(word) -> copy_slot(fresh[halves == 2 && keys[from] == 1] - 1)
		:: else
		fi;
		word = 0;
		from++;
		i++
	:: else -> break
	od;
	i = 0;
	from = 0;
	place = 0
}

/* thaw() */
inline thaw(block)
{
	do
	:: j < SLOTS ->
		STORE(
			if
			:: STATE(words[(block) * SLOTS + j]) == FROZEN -> words[(block) * SLOTS + j] = WITH_STATE(words[(block) * SLOTS + j], LIVE)
			:: else
			fi);
		j++
	:: else -> break
	od;
	j = 0
}

/* fs_publish() */
inline publish()
{
	halves = (fresh[1] -> 2 : 1);
	do
	:: i < 2 ->
		if
		:: DEPTH(outgoing) == 1 && i != where
		:: orphaned && i == 1 && mistake == MISTAKE_TORN_FINISH
		:: else ->
			STORE(entry[i] = ENTRY(fresh[halves == 2 && i == 1] - 1, (halves == 2 || DEPTH(outgoing)), outgoing));
			if
			:: mistake == MISTAKE_THAW_EARLY -> thaw(fresh[halves == 2 && i == 1] - 1)
			:: else
			fi
		fi;
		i++
	:: else -> break
	od;
	i = 0;
	do
	:: i < halves -> thaw(fresh[i] - 1); i++
	:: else -> break
	od;
	i = 0;
	halves = 0;
	STORE(free = free | 1 << BLOCK(outgoing));                /* fs_block_give() */
	STORE(phase = IDLE)                                       /* fs_undertaken() */
}

/* give_up(); block.pml looks at it closer */
inline give_up()
{
	STORE(
		if
		:: fresh[1] -> free = free | 1 << (fresh[1] - 1)
		:: else
		fi;
		if
		:: fresh[0] -> free = free | 1 << (fresh[0] - 1)
		:: else
		fi;
		phase = IDLE)
}

/* fs_tidy(): tidy_slot() for each slot that the directory leads to */
inline tidy()
{
	do
	:: i < PLACES ->
		if
		:: i / SLOTS != BLOCK(entry[0]) && i / SLOTS != BLOCK(entry[1])
		:: mistake == MISTAKE_NO_TIDY
		:: else ->
			if
			:: HOLDS(words[i]) ->
				if
				:: tags[i] != TAG -> STORE(tags[i] = TAG)
				:: else
				fi;
				if
				:: STATE(words[i]) == FROZEN -> STORE(words[i] = WITH_STATE(words[i], LIVE))
				:: else
				fi
			:: else ->
				if
				:: tags[i] == TAG -> STORE(tags[i] = TAG_TOMBSTONE)
				:: else
				fi
			fi
		fi;
		i++
	:: else -> break
	od;
	i = 0
}

/* fs_plant() and fs_quicken() */
inline insert()
{
	place = BLOCK(entry[k]) * SLOTS + PREFERRED;              /* place_for() */
	if
	:: tags[place] >= TAG -> place = BLOCK(entry[k]) * SLOTS + 1 - PREFERRED
	:: else
	fi;
	STORE(births++);
	STORE(
		word = PLANTED((mistake == MISTAKE_SAME_INCARNATION && INCARNATION(words[place]) -> INCARNATION(words[place]) : births));
		owner[INCARNATION(word)] = k;
		words[place] = word);
	STORE(keys[place] = k);
	if
	:: mistake == MISTAKE_TAG_LATE
	:: else -> STORE(tags[place] = TAG)
	fi;
	STORE(
		words[place] = WITH_STATE(word, LIVE) | value << 2;
		becomes(k, value));
	if
	:: mistake == MISTAKE_TAG_LATE -> STORE(tags[place] = TAG)
	:: else
	fi
}

/* The slot of a flag that is there; under the lock it does not move. */
inline locate()
{
	place = BLOCK(entry[k]) * SLOTS;
	if
	:: HOLDS(words[place]) && keys[place] == k
	:: else -> place++
	fi
}

/* fs_kill() and fs_bury() */
inline delete()
{
	locate();
	STORE(
		words[place] = WITH_STATE(NEXT(words[place], 0), DEAD);
		becomes(k, MISSING));
	STORE(tags[place] = (mistake == MISTAKE_TAG_EMPTY -> TAG_EMPTY : TAG_TOMBSTONE))
}

/* write_locked() with a rule that rewrites: inside a write section nothing is FROZEN */
inline rewrite()
{
	locate();
	STORE(
		assert(STATE(words[place]) == LIVE && VALUE(words[place]) == truth[k]);
		words[place] = NEXT(words[place], 1 - truth[k]);
		becomes(k, 1 - truth[k]))
}

/* What must be so between two sections. */
inline look_all_over()
{
	d_step {
		assert((1 << BLOCK(entry[0]) | 1 << BLOCK(entry[1]) | free) == 7);
		assert(!(free & (1 << BLOCK(entry[0]) | 1 << BLOCK(entry[1]))));
		assert(entry[0] == entry[1] || (DEPTH(entry[0]) && DEPTH(entry[1])));
		k = 0;
		do
		:: k < 2 ->
			i = 0;
			j = 0;
			do
			:: i < PLACES ->
				if
				:: i / SLOTS == BLOCK(entry[0]) || i / SLOTS == BLOCK(entry[1]) ->
					assert(STATE(words[i]) != FROZEN);
					assert((STATE(words[i]) == LIVE) == (tags[i] == TAG))
				:: else -> assert(STATE(words[i]) != LIVE)
				fi;
				if
				:: STATE(words[i]) == LIVE && keys[i] == k ->
					assert(i / SLOTS == BLOCK(entry[k]) && owner[INCARNATION(words[i])] == k);
					assert(truth[k] == VALUE(words[i]));
					j++
				:: else
				fi;
				i++
			:: else -> break
			od;
			assert(j == (truth[k] != MISSING));
			k++
		:: else -> break
		od;
		i = 0;
		j = 0;
		k = 0
	}
}

proctype Writer(byte changes; byte growths; byte deaths; byte mistake)
{
	/* the shard's undertaking, its free blocks, its count of births; whether the lock is that of a dead one */
	byte phase = IDLE
	short outgoing
	byte where, fresh[2] /* block + 1 */
	byte free = 6
	byte births = 2
	bool orphaned
	/* a writer's own */
	short word
	byte k, value, i, j, place, from, halves

section:
	/* fs_enter(), and fs_recover() if the lock is that of a dead one */
	if
	:: phase == FILLING || (phase == PUBLISHING && orphaned && mistake == MISTAKE_THAW_OLD) -> give_up()
	:: phase == PUBLISHING -> publish()
	:: else
	fi;
	if
	:: orphaned -> tidy(); STORE(orphaned = false)
	:: else
	fi;
	look_all_over();
	if
	:: atomic { changes > 0 ->
			changes--;
			if
			:: k = 0
			:: k = 1
			fi };
		if
		:: truth[k] != MISSING -> delete()
		:: else ->
			if
			:: value = 0
			:: value = 1
			fi;
			insert();
			value = 0
		fi
	:: atomic { wish[0] || wish[1] ->
			k = wish[1];
			wish[k] = 0;
			if
			:: truth[k] != MISSING -> rewrite()
			:: else
			fi }
	:: atomic { growths > 0 ->                                /* replace() */
			growths--;
			if
			:: where = 0
			:: DEPTH(entry[1]) -> where = 1
			fi;
			if
			:: halves = 1
			:: DEPTH(entry[where]) == 0 && SPLITS -> halves = 2
			fi;
			STORE(fresh[0] = 0; fresh[1] = 0; outgoing = entry[where]; phase = FILLING) /* fs_undertake() */
		};
		do
		:: atomic { j < halves ->                             /* take_bucket() */
				if
				:: free & 1 -> place = 0
				:: free & 2 -> place = 1
				:: free & 4 -> place = 2
				fi;
				STORE(fresh[j] = place + 1);
				STORE(free = free & ~(1 << place))
			};
			clean(place);
			j++
		:: else -> break
		od;
		atomic { j = 0; place = 0 };
		move_flags();
		STORE(phase = PUBLISHING)
	:: changes == 0 && growths == 0 -> goto over
	fi;
	atomic { k = 0; word = 0; place = 0; halves = 0 };
	goto section;
died:
	atomic { orphaned = true; k = 0; value = 0; word = 0; i = 0; j = 0; place = 0; from = 0; halves = 0 };
	goto section;
over:
	skip
}

init {
	atomic {
		BOUND(CHANGES, 1)
		BOUND(GROWTHS, 2)
		BOUND(FLIPS, 1)
		BOUND(READS, 1)
		BOUND(ONLY, 2)
		BOUND(SPLITS, 1)
		BOUND(DEATHS, 1)
		BOUND(MISTAKE, 0)
		/* One bucket for both keys: key 0 in its preferred slot, key 1 in the other. */
		keys[0] = 1;
		keys[1] = 0;
		tags[0] = TAG;
		tags[1] = TAG;
		owner[1] = 0;
		owner[2] = 1;
		words[1] = 1 << 6 | 8 | LIVE;
		words[0] = 2 << 6 | 8 | LIVE | 4;
		truth[0] = 0;
		truth[1] = 1;
		run Writer(CHANGES, GROWTHS, DEATHS, MISTAKE);
		run Reader(READS, MISTAKE);
		run Flipper(FLIPS, MISTAKE)
	}
}
