/* SPDX-License-Identifier: MIT */
/*
 * diff.c - what both sides of `anonvm diff` have in common.
 */
#include "diff.h"

const char *diff_kind_name(enum diff_kind kind)
{
	static const char *const names[DIFF_NR_KINDS] = {
		[DIFF_MMAP] = "mmap",
		[DIFF_MUNMAP] = "munmap",
		[DIFF_MPROTECT] = "mprotect",
		[DIFF_MREMAP] = "mremap",
		[DIFF_MADVISE] = "madvise",
		[DIFF_MLOCK] = "mlock",
		[DIFF_MUNLOCK] = "munlock",
		[DIFF_MLOCKALL] = "mlockall",
		[DIFF_MUNLOCKALL] = "munlockall",
		[DIFF_MSYNC] = "msync",
		[DIFF_MINCORE] = "mincore",
		[DIFF_BRK] = "brk",
		[DIFF_NAME] = "name",
		[DIFF_POLICY] = "policy",
		[DIFF_READ] = "read",
		[DIFF_WRITE] = "write",
		[DIFF_PEEK] = "peek",
		[DIFF_POKE] = "poke",
		[DIFF_FORK] = "fork",
		[DIFF_EXIT] = "exit",
		[DIFF_EXEC] = "exec",
		[DIFF_TRUNCATE] = "truncate",
		[DIFF_PUNCH] = "punch",
		[DIFF_AUDIT] = "audit",
	};

	return names[kind];
}

/* A step of splitmix64: enough to tell two lists of VMAs apart. */
uint64_t diff_hash(uint64_t h, uint64_t x)
{
	h = (h ^ x) + UINT64_C(0x9e3779b97f4a7c15);
	h = (h ^ h >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	h = (h ^ h >> 27) * UINT64_C(0x94d049bb133111eb);
	return h ^ h >> 31;
}

void diff_hash_vma(struct diff_seen *seen, const struct diff_vma *v)
{
	uint64_t h = diff_hash(seen->maps, v->start);

	h = diff_hash(h, v->end);
	h = diff_hash(h, v->offset);
	seen->maps = diff_hash(h, (uint64_t)v->prot << 32 | v->file);
	seen->nr_maps++;
}

bool diff_in_window(uint64_t addr, uint64_t len)
{
	return addr >= DIFF_START && addr <= DIFF_END && len <= DIFF_END - addr;
}

/* The range and a page on each side of it, in the window. */
static struct diff_range around(uint64_t addr, uint64_t len)
{
	struct diff_range r = { addr & ~(DIFF_PAGE - 1),
				(addr + len + DIFF_PAGE - 1) & ~(DIFF_PAGE - 1) };

	r.start = r.start > DIFF_START + DIFF_PAGE ? r.start - DIFF_PAGE : DIFF_START;
	r.end = r.end < DIFF_END - DIFF_PAGE ? r.end + DIFF_PAGE : DIFF_END;
	return r;
}

int diff_ranges(const struct diff_op *op, struct diff_range *out)
{
	switch ((enum diff_kind)op->kind) {
	case DIFF_MMAP:
	case DIFF_MUNMAP:
	case DIFF_MPROTECT:
	case DIFF_MADVISE:
	case DIFF_MLOCK:
	case DIFF_MUNLOCK:
	case DIFF_NAME:
	case DIFF_POLICY:
		out[0] = around(op->addr, op->len);
		return 1;
	case DIFF_MREMAP:
		out[0] = around(op->addr, op->len > op->new_len ? op->len : op->new_len);
		if (!(op->flags & AVM_MREMAP_FIXED))
			return 1;
		out[1] = around(op->to, op->new_len);
		return 2;
	case DIFF_BRK:
		out[0] = (struct diff_range){ DIFF_HEAP - DIFF_PAGE, DIFF_END };
		return 1;
	case DIFF_MLOCKALL:
	case DIFF_MUNLOCKALL:
	case DIFF_FORK:
		out[0] = (struct diff_range){ DIFF_START, DIFF_END };
		return 1;
	default:
		return 0;
	}
}
