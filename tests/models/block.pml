/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * block.pml: heap blocks, as in src/block.c, and the undertakings that take and give them, as in src/undertaking.c.
 *
 * Two shards cut blocks of one or two lines off one heap and recycle them through free lists of their own. Each process stands for all
 * that ever hold its shard's lock, one after the other: one that is killed is followed by one that recovers.
 *
 * Promised: when all is done, each line that was cut off is in exactly one place, a table or a free list; so no block is lost, and
 * none is handed out twice.
 *
 * run 1: WORKS=2 DEATHS=2 OTHER_WORKS=0
 * run 2: WORKS=1 DEATHS=1 OTHER_WORKS=1 OTHER_DEATHS=0
 * long 1: WORKS=3 DEATHS=2 OTHER_WORKS=0
 * long 2: WORKS=1 DEATHS=1 OTHER_WORKS=1 OTHER_DEATHS=1
 * long 3: WORKS=1 DEATHS=2 OTHER_WORKS=1 OTHER_DEATHS=0 */
#include "model.pml"

#define MISTAKE_NO_CONFIRM 1    /* run 2: who takes behind another does not confirm his claim */
#define MISTAKE_CLAIM_LATE 2    /* run 1: the claim is noted after the heap word has moved */
#define MISTAKE_NOTE_LATE 3     /* run 1: a free block is noted after the head of its list has moved */
#define MISTAKE_GIVE_BLIND 4    /* run 1: a block is given without a look whether it was given before */
#define MISTAKE_FIRST_FIRST 5   /* run 1: of two fresh blocks the first is given up first */
#define MISTAKE_NOTE_STAYS 6    /* run 1: a block that was given up stays noted while the other one is */
#define MISTAKE_SETTLE_ONCE 7   /* run 2: recovery does not look at the claim again after it has read the heap word */
#define MISTAKE_CONFIRM_ANY 8   /* run 2: any claim of the last owner is confirmed, wherever it ends */
#define MISTAKE_PHASE_EARLY 9   /* run 1: an undertaking is closed before the block that goes is on its list */

#define SHARDS 2
#define HEAP_START 4
#define LINES 24

/* A block: line | kind << 5. Kind 0 has one line, kind 1 two. 0: none. */
#define LINE(block) ((block) & 31)
#define KIND(block) ((block) >> 5 & 1)
#define SIZE(block) (1 + KIND(block))
#define BLOCK(line, kind) ((line) | (kind) << 5)
/* A claim: a block, and with it: */
#define INDEX(claim) ((claim) >> 6 & 1)
#define CONFIRMED 128
/* The heap word: next line | owner << 5. */
#define OWNER(word) ((word) >> 5)

mtype = {IDLE, FILLING, PUBLISHING, RELEASING}

byte WORKS, DEATHS             /* undertakings of the first shard, and its writers that are killed */
byte OTHER_WORKS, OTHER_DEATHS /* of the second */
byte MISTAKE

byte heap = HEAP_START
byte claim[SHARDS]
byte met[LINES]
byte ended

/* What only the holder of the shard's lock looks at is local to its process. Steps of that kind need not be mixed with the other
 * process's, so they stand in atomic; a death comes between them all the same. */
#define HEAD(block) head[KIND(block)]

/* fs_block_give() */
inline give(given)
{
	if
	:: d_step { given == 0 || (HEAD(given) == LINE(given) && mistake != MISTAKE_GIVE_BLIND) -> skip }
	:: else ->
		STORE(link[LINE(given)] = HEAD(given));
		STORE(HEAD(given) = LINE(given))
	fi
}

/* confirm_last(): word is the heap word that was loaded */
inline confirm_last()
{
	if
	:: atomic { OWNER(word) && mistake != MISTAKE_NO_CONFIRM -> seen = claim[OWNER(word) - 1] };
		atomic {
			if
			:: seen == 0 || seen & CONFIRMED || (LINE(seen) + SIZE(seen) != LINE(word) && mistake != MISTAKE_CONFIRM_ANY)
			:: else ->
				STORE(
					if
					:: claim[OWNER(word) - 1] == seen -> claim[OWNER(word) - 1] = seen | CONFIRMED
					:: else
					fi)
			fi;
			seen = 0
		}
	:: else
	fi
}

/* cut_off() */
inline cut_off(index)
{
	do
	:: word = heap;
		assert(LINE(word) + 2 < LINES);
		confirm_last();
		block = BLOCK(LINE(word), kind);
		if
		:: mistake == MISTAKE_CLAIM_LATE
		:: else -> STORE(claim[s] = block | index << 6)
		fi;
		if
		:: d_step { heap == word -> heap = (LINE(word) + SIZE(block)) | (s + 1) << 5 }; break
		:: atomic { heap != word -> word = 0 }
		:: atomic { deaths > 0 -> deaths--; goto died }
		fi
	od;
	if
	:: mistake == MISTAKE_CLAIM_LATE -> STORE(claim[s] = block | index << 6)
	:: else
	fi;
	atomic {
		STORE(fresh[index] = block);
		STORE(claim[s] = 0)
	}
}

/* fs_block_take() */
inline take(index)
{
	if
	:: atomic { head[kind] ->
		block = BLOCK(head[kind], kind);
		if
		:: mistake == MISTAKE_NOTE_LATE ->
			STORE(head[kind] = link[LINE(block)]);
			STORE(fresh[index] = block)
		:: else ->
			STORE(fresh[index] = block);
			STORE(head[kind] = link[LINE(block)])
		fi }
	:: else -> cut_off(index)
	fi
}

/* fs_undertake() */
inline undertake(what, goes)
{
	atomic {
		STORE(fresh[0] = 0);
		STORE(fresh[1] = 0);
		STORE(outgoing = goes);
		STORE(phase = what)
	}
}

/* fs_undertaken() */
inline undertaken()
{
	STORE(phase = IDLE)
}

/* give_up() */
inline give_up()
{
	atomic {
		d_step { i = 0 };
		do
		:: i < 2 ->
			d_step {
				if
				:: mistake == MISTAKE_FIRST_FIRST -> at = i
				:: else -> at = 1 - i
				fi };
			give(fresh[at]);
			STORE(
				if
				:: mistake == MISTAKE_NOTE_STAYS -> skip
				:: else -> fresh[at] = 0
				fi;
				i++)
		:: else -> break
		od;
		atomic { i = 0; at = 0 };
		undertaken()
	}
}

/* The part of fs_publish() that is about blocks. Storing a directory entry again changes nothing. */
inline publish()
{
	atomic {
		STORE(
			table[0] = fresh[0];
			if
			:: fresh[1] -> table[1] = fresh[1]
			:: else
			fi);
		STORE(
			if
			:: mistake == MISTAKE_PHASE_EARLY -> phase = IDLE
			:: else
			fi);
		give(outgoing);
		undertaken()
	}
}

/* release(): what forget_key() makes the table forget, then the block */
inline release()
{
	atomic {
		STORE(table[1] = 0);
		give(outgoing);
		undertaken()
	}
}

/* fs_block_settle() */
inline settle()
{
	seen = claim[s];
	if
	:: atomic { seen ->
			word = heap;
			last = OWNER(word) == s + 1 && LINE(word) == LINE(seen) + SIZE(seen) };
		atomic {
			if
			:: mistake == MISTAKE_SETTLE_ONCE
			:: else -> seen = claim[s]
			fi;
			if
			:: last || seen & CONFIRMED -> STORE(fresh[INDEX(seen)] = seen & 63)
			:: else
			fi
		}
	:: else
	fi;
	STORE(claim[s] = 0)
}

/* fs_undertaking_resolve() */
inline resolve()
{
	if
	:: phase == FILLING -> give_up()
	:: phase == PUBLISHING -> publish()
	:: phase == RELEASING -> release()
	:: phase == IDLE
	fi
}

proctype Shard(byte s; byte works; byte deaths; byte mistake)
{
	mtype phase = IDLE
	byte outgoing, fresh[2]
	byte head[2]     /* by kind: a line */
	byte link[LINES]
	byte table[2]    /* blocks in use */
	bool orphaned
	byte word, seen, block, kind, i, at, halves
	bool last

section:
	/* fs_enter(), and fs_recover() if the lock is that of a dead one */
	if
	:: orphaned -> settle()
	:: else
	fi;
finish:
	resolve();
	atomic {
		STORE(orphaned = false);
		word = 0;
		seen = 0;
		block = 0;
		kind = 0;
		i = 0;
		halves = 0;
		last = false;
		if
		:: works > 0 -> works--
		:: else -> goto over
		fi;
		if
		:: halves = 1 /* replace(): a bucket by one */
		:: table[1] == 0 -> halves = 2 /* by two, where there is but one yet */
		:: table[1] -> /* fs_cell_release() */
			undertake(RELEASING, table[1]);
			goto finish
		fi;
		undertake(FILLING, table[0])
	};
	do
	:: atomic { i < halves ->
			if
			:: kind = 0
			:: kind = 1
			:: goto finish /* no room: given up in life */
			fi };
		take(i);
		atomic { i++; block = 0; word = 0 }
	:: else -> break
	od;
	atomic { STORE(phase = PUBLISHING) };
	goto finish;
died:
	atomic { orphaned = true; word = 0; seen = 0; block = 0; kind = 0; i = 0; at = 0; halves = 0; last = false };
	goto section;
over:
	i = 0;
	d_step {
		do
		:: i < 2 ->
			if
			:: table[i] ->
				met[LINE(table[i])]++;
				met[LINE(table[i]) + 1] = met[LINE(table[i]) + 1] + KIND(table[i])
			:: else
			fi;
			do
			:: head[i] ->
				met[head[i]]++;
				met[head[i] + 1] = met[head[i] + 1] + i;
				assert(met[head[i]] < 3); /* not for ever in a circle */
				head[i] = link[head[i]]
			:: else -> break
			od;
			i++
		:: else -> break
		od;
		i = 0
	};
	ended++
}

/* Every line of the heap was met exactly once. */
proctype Check()
{
	byte i = HEAP_START

	ended == SHARDS;
	d_step {
		do
		:: i < LINE(heap) -> assert(met[i] == 1); i++
		:: else -> break
		od
	}
}

init {
	atomic {
		BOUND(WORKS, 1)
		BOUND(DEATHS, 1)
		BOUND(OTHER_WORKS, 1)
		BOUND(OTHER_DEATHS, 0)
		BOUND(MISTAKE, 0)
		run Shard(0, WORKS, DEATHS, MISTAKE);
		run Shard(1, OTHER_WORKS, OTHER_DEATHS, MISTAKE);
		run Check()
	}
}
