/* SPDX-License-Identifier: MIT */
/*
 * ops.h - what the tests of operations have in common: the layout of an address space as one line
 * of text, and "the n-th allocation fails, for every n".
 */
#ifndef TEST_OPS_H
#define TEST_OPS_H

#include <stdio.h>

#include "world.h"

/* ---- layout ---------------------------------------------------------------------------------- */

/*
 * VMAs in [base, base + 4096 pages), as "start+pages:letters", in pages from base:
 *	r w x s		protection, shared
 *	L O		locked, on fault
 *	F		faulted;  C  and a fork child
 *	D W M H N q a	dontcopy, wipeonfork, mergeable, hugepage, nohugepage, sequential, random
 *	d		dontdump
 *	n<id> p<id>	name, policy
 *	@<n>		pgoff, when it is not that of the address (anonymous), not 0 (file)
 */
static inline size_t layout_vma(char *out, size_t size, const struct avm_vma *vma, avm_addr_t base)
{
	static const struct {
		uint64_t flag;
		char letter;
	} letters[] = {
		{ AVM_VM_READ, 'r' },	   { AVM_VM_WRITE, 'w' },      { AVM_VM_EXEC, 'x' },
		{ AVM_VM_SHARED, 's' },	   { AVM_VM_LOCKED, 'L' },     { AVM_VM_LOCKONFAULT, 'O' },
		{ AVM_VM_DONTCOPY, 'D' },  { AVM_VM_WIPEONFORK, 'W' }, { AVM_VM_MERGEABLE, 'M' },
		{ AVM_VM_HUGEPAGE, 'H' },  { AVM_VM_NOHUGEPAGE, 'N' }, { AVM_VM_SEQ_READ, 'q' },
		{ AVM_VM_RAND_READ, 'a' }, { AVM_VM_DONTDUMP, 'd' },   { AVM_VM_SPECIAL, 'S' },
	};
	uint64_t pgoff = vma->pgoff - (vma->file ? 0 : vma->start / PAGE);
	size_t n = (size_t)snprintf(out, size,
				    "%llu+%llu:", (unsigned long long)((vma->start - base) / PAGE),
				    (unsigned long long)((vma->end - vma->start) / PAGE));

	for (size_t i = 0; i < sizeof(letters) / sizeof(letters[0]); i++)
		if (vma->flags & letters[i].flag)
			out[n++] = letters[i].letter;
	if (atomic_load(&vma->anon_vma))
		out[n++] = 'F';
	if (atomic_load(&vma->chain_len) > 1)
		out[n++] = 'C';
	out[n] = 0;
	if (vma->name)
		n += (size_t)snprintf(out + n, size - n, "n%u", vma->name);
	if (vma->policy)
		n += (size_t)snprintf(out + n, size - n, "p%u", vma->policy);
	if (pgoff)
		n += (size_t)snprintf(out + n, size - n, "@%lld", (long long)pgoff);
	return n;
}

static inline const char *layout(struct avm_mm *mm, avm_addr_t base)
{
	static char text[4096];
	size_t n = 0;

	text[0] = 0;
	for (struct avm_vma *vma = avm_next_vma(mm, NULL); vma; vma = avm_next_vma(mm, vma)) {
		if (vma->end <= base || vma->start >= base + 4096 * PAGE)
			continue;
		if (n)
			text[n++] = ' ';
		n += layout_vma(text + n, sizeof(text) - n, vma, base);
		assert_true(n < sizeof(text) - 128);
	}
	return text;
}

#define assert_layout(mm, base, text) assert_string_equal(layout(mm, base), text)

/* A place of its own for each test: nothing is near. */
#define BASE 0x200000000ull
#define AT(page) (BASE + (uint64_t)(page)*PAGE)

static inline void map(struct world *w, unsigned page, unsigned pages, uint32_t prot)
{
	map_at(w->mm, AT(page), pages, prot, ANON, NULL, 0);
}

/* Every page gets a byte that tells which it was. */
static inline void mark(struct world *w, unsigned page, unsigned pages)
{
	for (unsigned i = page; i < page + pages; i++)
		store(w->a, AT(i), (unsigned char)(0x40 + i));
}

static inline void assert_marked(struct world *w, unsigned page, unsigned pages, unsigned was)
{
	for (unsigned i = 0; i < pages; i++)
		assert_int_equal(load(w->a, AT(page + i)), 0x40 + was + i);
}

/* ---- text of an address space ---------------------------------------------------------------- */

struct text {
	struct avm_sink sink;
	char *data;
	size_t len, size;
};

static inline void text_line(struct avm_sink *sink, const char *line)
{
	struct text *t = (struct text *)(void *)sink;
	size_t n = strlen(line);

	if (t->len + n + 2 > t->size) {
		t->size = 2 * (t->len + n + 2);
		t->data = realloc(t->data, t->size);
		assert_non_null(t->data);
	}
	memcpy(t->data + t->len, line, n);
	t->len += n;
	t->data[t->len++] = '\n';
	t->data[t->len] = 0;
}

static inline char *dump(struct avm_mm *mm)
{
	struct text t = { .sink = { text_line, NULL } };

	avm_dump_mm(mm, &t.sink);
	assert_non_null(t.data);
	return t.data;
}

/* ---- failures -------------------------------------------------------------------------------- */

struct attempt {
	int (*run)(struct world *w); /* the operation under test */
	int errno_wanted; /* of a failed attempt, negative; 0: it must succeed all the same */
};

/*
 * Fails the first allocation of the operation, then the second, and so on until it succeeds: each
 * failure must have the errno and leave the address space, the metadata and the frames as they
 * were. Returns how many ways to fail there were.
 */
static inline unsigned fail_everywhere(struct world *w, const struct attempt *a)
{
	for (unsigned n = 1;; n++) {
		char *before = dump(w->mm), *after;
		uint64_t frames = sim_frames_used(w->s);
		uint64_t committed = world_committed(w);
		struct avm_stats old, now;
		uint64_t failed;
		int err;

		avm_stats(w->m, &old);
		failed = sim_allocs_failed(w->s);
		sim_fail_alloc(w->s, n, 1);
		err = a->run(w);
		failed = sim_allocs_failed(w->s) - failed;
		sim_fail_alloc(w->s, 0, 0);
		if (!failed) {
			assert_int_equal(err, 0);
			free(before);
			return n - 1;
		}
		assert_int_equal(err, a->errno_wanted);
		after = dump(w->mm);
		assert_string_equal(before, after);
		avm_stats(w->m, &now);
		assert_int_equal(now.vmas, old.vmas);
		assert_int_equal(now.avcs, old.avcs);
		assert_int_equal(now.anon_vmas, old.anon_vmas);
		assert_int_equal(now.tables, old.tables);
		assert_int_equal(world_committed(w), committed);
		assert_int_equal(sim_frames_used(w->s), frames);
		world_check(w);
		free(before);
		free(after);
	}
}

#endif
