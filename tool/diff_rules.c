/* SPDX-License-Identifier: MIT */
/*
 * diff_rules.c - where the core differs from a host and is meant to: each difference with its name, and a probe that finds
 * out whether this host has it. There is no other way for a difference to be excused. docs/linux-differences.md has
 * the reasons.
 */
#include <errno.h>
#include <string.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "diff_probe.h"
#include "diff_worker.h"

#define RW (PROT_READ | PROT_WRITE)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE)

static char *at_page(unsigned page)
{
	return (char *)(uintptr_t)(DIFF_START + page * DIFF_PAGE);
}

static bool map(unsigned page, unsigned pages, int prot, int flags)
{
	return mmap(at_page(page), pages * DIFF_PAGE, prot, flags, -1, 0) == at_page(page);
}

static const struct avm_vma *vma_at(const struct diff_core *c, const struct diff_op *op,
				    uint64_t addr)
{
	const struct avm_vma *v = avm_find_vma(sim_mm(c->procs[op->p]), addr);

	return v && v->start <= addr ? v : NULL;
}

static uint64_t page_up(uint64_t len)
{
	return (len + DIFF_PAGE - 1) & ~(DIFF_PAGE - 1);
}

/* ---- mremap-several ------------------------------------------------------------------------------------------------- */

static bool probe_mremap_several(void)
{
	return map(0, 1, RW, ANON) && map(1, 1, PROT_READ, ANON) &&
	       mremap(at_page(0), 2 * DIFF_PAGE, 2 * DIFF_PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
		      at_page(8)) == at_page(8);
}

static bool avoid_mremap_several(const struct diff_core *c, const struct diff_op *op)
{
	const struct avm_vma *v;

	if (op->kind != DIFF_MREMAP || !(op->flags & AVM_MREMAP_FIXED) ||
	    page_up(op->len) != page_up(op->new_len))
		return false;
	v = vma_at(c, op, op->addr);
	return !v || v->end < op->addr + op->len;
}

/* ---- mremap-onto-itself ---------------------------------------------------------------------------------------------- */

static bool probe_mremap_onto_itself(void)
{
	unsigned char vec;

	return map(0, 4, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE) &&
	       mremap(at_page(1), 0, DIFF_PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, at_page(1)) ==
		       MAP_FAILED &&
	       mincore(at_page(1), DIFF_PAGE, &vec);
}

static bool avoid_mremap_onto_itself(const struct diff_core *c, const struct diff_op *op)
{
	(void)c;
	return op->kind == DIFF_MREMAP && op->flags & AVM_MREMAP_FIXED && !op->len &&
	       op->addr >= op->to && op->addr < op->to + op->new_len;
}

/* ---- open-file --------------------------------------------------------------------------------------------------------- */

static unsigned count_maps(uint64_t start, uint64_t end)
{
	const char *s = diff_read_all("/proc/self/maps");
	unsigned n = 0;

	while (s && *s) {
		uint64_t at = diff_number(&s, 16);

		n += at >= start && at < end;
		s = strchr(s, '\n');
		s += s != NULL;
	}
	return n;
}

static bool probe_open_file(void)
{
	char path[32];
	int fd = memfd_create("diff", 0), again;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = open(path, O_RDWR);
	return fd >= 0 && again >= 0 && !ftruncate(fd, 2 * DIFF_PAGE) &&
	       mmap(at_page(0), DIFF_PAGE, RW, MAP_PRIVATE | MAP_FIXED_NOREPLACE, fd, 0) ==
		       at_page(0) &&
	       mmap(at_page(1), DIFF_PAGE, RW, MAP_PRIVATE | MAP_FIXED_NOREPLACE, again,
		    DIFF_PAGE) == at_page(1) &&
	       count_maps(DIFF_START, DIFF_END) == 2;
}

/* The core's flags tell shared mappings of either apart. */
static bool avoid_open_file(const struct diff_core *c, const struct diff_op *op)
{
	(void)c;
	return op->kind == DIFF_MMAP && op->read_only &&
	       (op->flags & AVM_MAP_TYPE) == AVM_MAP_PRIVATE;
}

/* ---- pageout-unwritten ---------------------------------------------------------------------------------------------- */

static bool probe_pageout_unwritten(void)
{
	unsigned char vec = 1;

	if (!map(0, 1, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE))
		return false;
	(void)*(volatile char *)at_page(0);
	return !madvise(at_page(0), DIFF_PAGE, MADV_PAGEOUT) &&
	       !mincore(at_page(0), DIFF_PAGE, &vec) && !vec;
}

static bool avoid_pageout_unwritten(const struct diff_core *c, const struct diff_op *op)
{
	struct avm_mm *mm = sim_mm(c->procs[op->p]);
	struct avm_vma *v;

	if (op->kind != DIFF_MADVISE || op->flags != AVM_MADV_PAGEOUT)
		return false;
	for (v = avm_find_vma(mm, op->addr); v && v->start < op->addr + op->len;
	     v = avm_next_vma(mm, v)) {
		if (v->file)
			return true;
	}
	return false;
}

/* ---- policy-hole ------------------------------------------------------------------------------------------------------- */

static bool probe_policy_hole(void)
{
	const struct diff_op op = { .addr = DIFF_START, .len = 2 * DIFF_PAGE, .flags = 1 };

	return map(0, 1, RW, ANON) && diff_worker_policy(&op) == -EFAULT;
}

static bool avoid_policy_hole(const struct diff_core *c, const struct diff_op *op)
{
	uint64_t at = op->addr;
	const struct avm_vma *v;

	if (op->kind != DIFF_POLICY)
		return false;
	while (at < op->addr + op->len) {
		v = vma_at(c, op, at);
		if (!v)
			return true;
		at = v->end;
	}
	return false;
}

/* ---- write-only ----------------------------------------------------------------------------------------- */

static bool probe_write_only(void)
{
	struct diff_worker w = { .pagemap = open("/proc/self/pagemap", O_RDONLY) };

	if (w.pagemap < 0 || !map(0, 4, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE))
		return false;
	at_page(0)[0] = 1;
	/* Page 0 goes from the table, not from the cache; it is locked, but a hole keeps it from being faulted in. */
	if (munmap(at_page(1), 3 * DIFF_PAGE) || madvise(at_page(0), DIFF_PAGE, MADV_DONTNEED) ||
	    mprotect(at_page(0), DIFF_PAGE, PROT_WRITE) || !mlock(at_page(0), 2 * DIFF_PAGE))
		return false;
	return mremap(at_page(0), DIFF_PAGE, 2 * DIFF_PAGE, 0) == at_page(0) &&
	       diff_look_entry(&w, DIFF_START) & DIFF_PM_PRESENT;
}

static bool avoid_write_only(const struct diff_core *c, const struct diff_op *op)
{
	struct avm_mm *mm = sim_mm(c->procs[op->p]);
	struct avm_vma *v;

	if ((op->prot & AVM_PROT_ALL) != AVM_PROT_WRITE)
		return false;
	if (op->kind == DIFF_MMAP)
		return op->flags & AVM_MAP_SHARED;
	if (op->kind != DIFF_MPROTECT)
		return false;
	for (v = avm_find_vma(mm, op->addr); v && v->start < op->addr + op->len;
	     v = avm_next_vma(mm, v)) {
		if (v->flags & AVM_VM_SHARED)
			return true;
	}
	return false;
}

/* ---- madvise-not-built ------------------------------------------------------------------------------------------------- */

static bool avoid_not_built(const struct diff_core *c, const struct diff_op *op)
{
	return op->kind == DIFF_MADVISE && op->flags < 32 && !c->can->advice[op->flags];
}

struct diff_rule diff_rules[] = {
	{ "mremap-several",
	  "mremap(MREMAP_FIXED) of unchanged size moves all mappings of its range",
	  probe_mremap_several, avoid_mremap_several, false, 0 },
	{ "mremap-onto-itself",
	  "mremap(MREMAP_FIXED) of old size 0 onto its own source is EFAULT, and the source is gone",
	  probe_mremap_onto_itself, avoid_mremap_onto_itself, false, 0 },
	{ "open-file", "mappings of one file through two descriptors do not merge", probe_open_file,
	  avoid_open_file, false, 0 },
	{ "pageout-unwritten",
	  "MADV_PAGEOUT drops pages of shared memory that nobody has written to",
	  probe_pageout_unwritten, avoid_pageout_unwritten, false, 0 },
	{ "policy-hole",
	  "mbind over a hole is EFAULT and does nothing; ours is ENOMEM, and the rest is done",
	  probe_policy_hole, avoid_policy_hole, false, 0 },
	{ "write-only",
	  "locking shared memory that may only be written to reads it, and maps cached pages around",
	  probe_write_only, avoid_write_only, false, 0 },
	{ "madvise-not-built", "a kind of advice that this kernel was built without is EINVAL",
	  NULL, avoid_not_built, false, 0 },
};
const unsigned diff_nr_rules = sizeof(diff_rules) / sizeof(diff_rules[0]);

void diff_rules_probe(void)
{
	for (unsigned i = 0; i < diff_nr_rules; i++)
		diff_rules[i].active = !diff_rules[i].probe ||
				       diff_probe_apart(diff_rules[i].probe);
}
