/* SPDX-License-Identifier: MIT */
/*
 * replay_work.c - how much a trace may ask for.
 *
 * A trace is the word of a stranger: one line may lock all memory there is, ten fork who did that, and a few thousand
 * keep the replay busy for days. So work is counted, in pages and the like, and a trace that asks for far more than
 * what programs do between two events is refused, at the same line on every machine.
 */
#include <errno.h>

#include "replay_priv.h"

/* A second or two at the start, and many times what any recorded program came to. */
#define WORK_FREE (UINT64_C(1) << 25)
#define WORK_PER_EVENT 2048u

static uint64_t limit(const struct replay *r)
{
	return r->config.work ? r->config.work : WORK_FREE + r->events * WORK_PER_EVENT;
}

bool work_allow(struct replay *r, uint64_t n)
{
	struct replay_state *st = r->state;

	if (st->work > UINT64_MAX - n)
		st->work = UINT64_MAX;
	else
		st->work += n;
	return !work_exhausted(r);
}

bool work_exhausted(const struct replay *r)
{
	return r->state->work > limit(r);
}

int work_refuse(struct replay *r)
{
	return trace_refuse(r->trace, r->state->line,
			    "a trace of %llu events so far asks for more work than %llu pages",
			    (unsigned long long)r->events, (unsigned long long)limit(r));
}

/* To copy an address space, or to take it down. */
void work_whole(struct replay *r, const struct space *s)
{
	const struct avm_mm *mm = space_mm(s);
	uint64_t n = 16 * mm->vmas.count + 128 * mm->tables;

	for (int i = 0; i < AVM_NR_RSS; i++)
		n += avm_mm_rss(mm, (enum avm_rss)i);
	(void)work_allow(r, n);
}

/* To look at what is present in a range. */
void work_range(struct replay *r, const struct space *s, uint64_t start, uint64_t end)
{
	const struct avm_mm *mm = space_mm(s);
	uint64_t most = 512 * mm->tables, pages = (end - start) / PAGE_SIZE;

	(void)work_allow(r, pages < most ? pages : most);
}

/*
 * May a call fault in that many pages? What is written to takes a frame each; what is only read may be the zero page,
 * of which page tables are the only limit.
 */
bool work_populate(struct replay *r, uint64_t pages, bool written)
{
	uint64_t frames = r->config.frames ? r->config.frames : REPLAY_FRAMES;
	uint64_t most = written ? frames : 512 * frames;

	return work_allow(r, 4 * (pages < most ? pages : most));
}

/* The same for what is mapped in a range. */
bool work_populate_range(struct replay *r, const struct space *s, uint64_t start, uint64_t end)
{
	struct avm_mm *mm = space_mm(s);

	for (struct avm_vma *v = avm_find_vma(mm, start); v && v->start < end;
	     v = avm_next_vma(mm, v)) {
		uint64_t from = v->start > start ? v->start : start;
		uint64_t to = v->end < end ? v->end : end;

		if ((v->flags & AVM_VM_ACCESS) &&
		    !work_populate(r, (to - from) / PAGE_SIZE, v->flags & AVM_VM_WRITE))
			return false;
	}
	return true;
}
