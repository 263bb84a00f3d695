/* SPDX-License-Identifier: MIT */
/*
 * diff_print.c - a program as a script for `anonvm run` (docs/scripts.md) that expects what the host did, so that it fails
 * on the core as it is; and, as comments, what each side saw in the end.
 */
#include <stdlib.h>
#include <string.h>

#include "diff.h"

typedef unsigned long long ull;

static char letter(unsigned p)
{
	return (char)('A' + (int)p);
}

/* ---- words -------------------------------------------------------------------------------------------------------- */

struct word {
	uint32_t value;
	const char *word;
};

static void put_words(FILE *out, uint32_t flags, const struct word *words, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (flags & words[i].value)
			fprintf(out, " %s", words[i].word);
	}
}
#define PUT_WORDS(out, flags, words) \
	put_words(out, flags, words, sizeof(words) / sizeof((words)[0]))

static const struct word map_words[] = {
	{ AVM_MAP_ANONYMOUS, "anon" },
	{ AVM_MAP_FIXED, "fixed" },
	{ AVM_MAP_FIXED_NOREPLACE, "noreplace" },
	{ AVM_MAP_GROWSDOWN, "growsdown" },
	{ AVM_MAP_NORESERVE, "noreserve" },
	{ AVM_MAP_LOCKED, "locked" },
	{ AVM_MAP_POPULATE, "populate" },
	{ AVM_MAP_STACK, "stack" },
};
static const struct word mremap_words[] = {
	{ AVM_MREMAP_MAYMOVE, "maymove" },
	{ AVM_MREMAP_FIXED, "fixed" },
	{ AVM_MREMAP_DONTUNMAP, "dontunmap" },
};
static const struct word msync_words[] = {
	{ AVM_MS_SYNC, "sync" },
	{ AVM_MS_ASYNC, "async" },
	{ AVM_MS_INVALIDATE, "invalidate" },
};
static const struct word mlockall_words[] = {
	{ AVM_MCL_CURRENT, "current" },
	{ AVM_MCL_FUTURE, "future" },
	{ AVM_MCL_ONFAULT, "onfault" },
};
static const char *const advice_words[] = {
	[AVM_MADV_NORMAL] = "normal",
	[AVM_MADV_RANDOM] = "random",
	[AVM_MADV_SEQUENTIAL] = "sequential",
	[AVM_MADV_WILLNEED] = "willneed",
	[AVM_MADV_DONTNEED] = "dontneed",
	[AVM_MADV_FREE] = "free",
	[AVM_MADV_REMOVE] = "remove",
	[AVM_MADV_DONTFORK] = "dontfork",
	[AVM_MADV_DOFORK] = "dofork",
	[AVM_MADV_MERGEABLE] = "mergeable",
	[AVM_MADV_UNMERGEABLE] = "unmergeable",
	[AVM_MADV_HUGEPAGE] = "hugepage",
	[AVM_MADV_NOHUGEPAGE] = "nohugepage",
	[AVM_MADV_DONTDUMP] = "dontdump",
	[AVM_MADV_DODUMP] = "dodump",
	[AVM_MADV_WIPEONFORK] = "wipeonfork",
	[AVM_MADV_KEEPONFORK] = "keeponfork",
	[AVM_MADV_COLD] = "cold",
	[AVM_MADV_PAGEOUT] = "pageout",
	[AVM_MADV_POPULATE_READ] = "populate-read",
	[AVM_MADV_POPULATE_WRITE] = "populate-write",
};

static void put_len(FILE *out, uint64_t len)
{
	if (len % DIFF_PAGE)
		fprintf(out, " %llub", (ull)len);
	else
		fprintf(out, " %llu", (ull)(len / DIFF_PAGE));
}

static void put_prot(FILE *out, uint32_t prot)
{
	if (!(prot & AVM_PROT_ALL))
		fprintf(out, " none");
	else
		fprintf(out, " %s%s%s", prot & AVM_PROT_READ ? "r" : "",
			prot & AVM_PROT_WRITE ? "w" : "", prot & AVM_PROT_EXEC ? "x" : "");
}

static void put_range(FILE *out, const struct diff_op *op, const char *word)
{
	fprintf(out, "%c: %s 0x%llx", letter(op->p), word, (ull)op->addr);
	put_len(out, op->len);
}

/* ---- operations ---------------------------------------------------------------------------------------------------- */

static void print_mmap(FILE *out, const struct diff_op *op)
{
	static const char *const types[] = { "", " shared", " private", " validate" };

	fprintf(out, "%c: mmap", letter(op->p));
	put_len(out, op->len);
	put_prot(out, op->prot);
	fprintf(out, "%s", types[op->flags & 3]);
	if (op->file)
		fprintf(out, " file f%u+%llu%s", op->file - 1u, (ull)op->to,
			op->read_only ? " open r" : "");
	fprintf(out, " at 0x%llx", (ull)op->addr);
	PUT_WORDS(out, op->flags, map_words);
}

static void print_mremap(FILE *out, const struct diff_op *op)
{
	fprintf(out, "%c: mremap 0x%llx", letter(op->p), (ull)op->addr);
	put_len(out, op->len);
	put_len(out, op->new_len);
	PUT_WORDS(out, op->flags, mremap_words);
	if (op->flags & AVM_MREMAP_FIXED)
		fprintf(out, " at 0x%llx", (ull)op->to);
}

static void print_advice(FILE *out, const struct diff_op *op)
{
	const size_t n = sizeof(advice_words) / sizeof(advice_words[0]);

	put_range(out, op, "madvise");
	if (op->flags < n && advice_words[op->flags])
		fprintf(out, " %s", advice_words[op->flags]);
	else
		fprintf(out, " %u", op->flags);
}

static void print_access(FILE *out, const struct diff_op *op)
{
	char p = letter(op->p);

	switch ((enum diff_kind)op->kind) {
	case DIFF_READ:
		fprintf(out, "%c: read 0x%llx 8b", p, (ull)op->addr);
		break;
	case DIFF_WRITE:
		fprintf(out, "%c: write 0x%llx 0x%llx", p, (ull)op->addr, (ull)op->value);
		break;
	case DIFF_PEEK:
		fprintf(out, "%c: copyout 0x%llx 8b force", p, (ull)op->addr);
		break;
	default:
		fprintf(out, "%c: copyin 0x%llx 0x%llx force", p, (ull)op->addr, (ull)op->value);
		break;
	}
}

static void print_life(FILE *out, const struct diff_op *op, bool heap)
{
	switch ((enum diff_kind)op->kind) {
	case DIFF_FORK:
		fprintf(out, "fork %c %c", letter(op->p), letter(op->q));
		break;
	case DIFF_EXIT:
		fprintf(out, "exit %c", letter(op->p));
		break;
	default:
		fprintf(out, "exec %c", letter(op->p));
		if (heap)
			fprintf(out, " brk 0x%llx", (ull)DIFF_HEAP);
		break;
	}
}

static void print_attrs(FILE *out, const struct diff_op *op)
{
	char p = letter(op->p);

	switch ((enum diff_kind)op->kind) {
	case DIFF_MPROTECT:
		put_range(out, op, "mprotect");
		put_prot(out, op->prot);
		fprintf(out, "%s", op->prot & AVM_PROT_GROWSDOWN ? " growsdown" : "");
		break;
	case DIFF_MLOCK:
		put_range(out, op, "mlock");
		fprintf(out, "%s", op->flags ? " onfault" : "");
		break;
	case DIFF_MLOCKALL:
		fprintf(out, "%c: mlockall", p);
		PUT_WORDS(out, op->flags, mlockall_words);
		break;
	case DIFF_MUNLOCKALL:
		fprintf(out, "%c: munlockall", p);
		break;
	case DIFF_MSYNC:
		put_range(out, op, "msync");
		PUT_WORDS(out, op->flags, msync_words);
		break;
	case DIFF_NAME:
	case DIFF_POLICY:
		put_range(out, op, diff_kind_name((enum diff_kind)op->kind));
		fprintf(out, " %u", op->flags);
		break;
	case DIFF_BRK:
		fprintf(out, "%c: brk 0x%llx", p, (ull)op->addr);
		break;
	case DIFF_TRUNCATE:
		fprintf(out, "truncate f%u", op->file - 1u);
		put_len(out, op->len);
		break;
	case DIFF_PUNCH:
		fprintf(out, "punch f%u+%llu", op->file - 1u, (ull)(op->addr / DIFF_PAGE));
		put_len(out, op->len);
		break;
	default:
		put_range(out, op, diff_kind_name((enum diff_kind)op->kind));
		break;
	}
}

static void print_op(FILE *out, const struct diff_op *op, bool heap)
{
	switch ((enum diff_kind)op->kind) {
	case DIFF_MMAP:
		print_mmap(out, op);
		break;
	case DIFF_MREMAP:
		print_mremap(out, op);
		break;
	case DIFF_MADVISE:
		print_advice(out, op);
		break;
	case DIFF_READ:
	case DIFF_WRITE:
	case DIFF_PEEK:
	case DIFF_POKE:
		print_access(out, op);
		break;
	case DIFF_FORK:
	case DIFF_EXIT:
	case DIFF_EXEC:
		print_life(out, op, heap);
		break;
	default:
		print_attrs(out, op);
		break;
	}
}

/* ---- what came of it ------------------------------------------------------------------------------------------------ */

static const struct {
	int64_t ret;
	const char *word;
} results[] = {
	{ -AVM_EPERM, "EPERM" },	 { -AVM_EIO, "EFAULT" },
	{ -AVM_EBADF, "EBADF" },	 { -AVM_EAGAIN, "EAGAIN" },
	{ -AVM_ENOMEM, "ENOMEM" },	 { -AVM_EACCES, "EACCES" },
	{ -AVM_EFAULT, "EFAULT" },	 { -AVM_EBUSY, "EBUSY" },
	{ -AVM_EEXIST, "EEXIST" },	 { -AVM_EINVAL, "EINVAL" },
	{ -AVM_EOVERFLOW, "EOVERFLOW" }, { -AVM_EOPNOTSUPP, "EOPNOTSUPP" },
	{ DIFF_MAPERR, "segv-maperr" },	 { DIFF_ACCERR, "segv-accerr" },
	{ DIFF_SIGBUS, "sigbus" },
};

static void print_expect(FILE *out, const struct diff_op *op, const struct diff_seen *host)
{
	if (op->kind == DIFF_BRK) {
		/* The call returns where the heap ends; a script has the error. */
		if (op->addr && host->ret != (int64_t)op->addr)
			fprintf(out, " expect any");
		return;
	}
	if (host->ret >= 0 && (op->kind == DIFF_READ || op->kind == DIFF_PEEK)) {
		fprintf(out, " expect 0x%llx", (ull)host->value);
		return;
	}
	for (size_t i = 0; i < sizeof(results) / sizeof(results[0]); i++) {
		if (results[i].ret == host->ret)
			fprintf(out, " expect %s", results[i].word);
	}
	if (host->ret == DIFF_OUTSIDE)
		fprintf(out, "\n# ... outside of the window: unmap it");
}

static void print_vmas(FILE *out, const struct diff_audit *a)
{
	for (uint32_t i = 0; i < a->nr_vmas; i++) {
		const struct diff_vma *v = &a->vmas[i];

		fprintf(out, " 0x%llx+0..%llu:%s%s%s%s", (ull)v->start,
			(ull)((v->end - v->start) / DIFF_PAGE), v->prot & AVM_PROT_READ ? "r" : "-",
			v->prot & AVM_PROT_WRITE ? "w" : "-", v->prot & AVM_PROT_EXEC ? "x" : "-",
			v->prot & DIFF_VMA_SHARED ? "s" : "p");
	}
	fprintf(out, "\n");
}

static void print_page(FILE *out, const char *side, uint64_t addr, const struct diff_page *p)
{
	static const char *const states[] = { "absent", "zero", "anonymous", "file", "swapped" };

	fprintf(out, "#   %s 0x%llx %s frame 0x%llx value 0x%llx", side, (ull)addr,
		states[p->state], (ull)p->frame, (ull)p->value);
	if (p->counted)
		fprintf(out, " mapcount %u", p->mapcount);
	fprintf(out, "\n");
}

/* Frames have names of their own on each side, so all pages are shown. */
static void print_sides(FILE *out, unsigned p, const struct diff_audit *host,
			const struct diff_audit *core)
{
	fprintf(out, "# the host:");
	print_vmas(out, host);
	fprintf(out, "# the core:");
	print_vmas(out, core);
	for (uint32_t i = 0; host->flags && i < host->nr_vmas && i < core->nr_vmas; i++) {
		if (host->vmas[i].flags != core->vmas[i].flags)
			fprintf(out, "#   flags at 0x%llx: the host 0x%llx, the core 0x%llx\n",
				(ull)host->vmas[i].start, (ull)host->vmas[i].flags,
				(ull)core->vmas[i].flags);
	}
	for (uint32_t i = 0; i < DIFF_PAGES; i++) {
		if (!host->pages[i].state && !core->pages[i].state)
			continue;
		print_page(out, "host", DIFF_START + i * DIFF_PAGE, &host->pages[i]);
		print_page(out, "core", DIFF_START + i * DIFF_PAGE, &core->pages[i]);
	}
	fprintf(out, "maps-in %c 0x%llx+0..%u", letter(p), (ull)DIFF_START, DIFF_PAGES);
	print_vmas(out, host);
}

static void print_head(FILE *out, const struct diff_lab *lab, const struct diff_program *pr,
		       const struct diff_finding *f)
{
	fprintf(out, "# anonvm diff: %s: %s\n", diff_mismatch_name(f->kind), f->what);
	fprintf(out, "# Results are the host's; what each side had in the end stands below.\n");
	fprintf(out, "machine frames 32768 stamps %s\n",
		pr->family == AVM_FAMILY_CHAIN ? "chain" : "reuse");
	for (int i = 0; i < DIFF_FILES; i++)
		fprintf(out, "memfd f%d %u\n", i, DIFF_FILE_PAGES);
	fprintf(out, "process A lowest 0x%llx\n", (ull)lab->can.lowest);
	if (lab->can.heap)
		fprintf(out, "exec A brk 0x%llx\n", (ull)DIFF_HEAP);
}

void diff_print(struct diff_lab *lab, const struct diff_program *pr, const struct diff_finding *f,
		FILE *out)
{
	struct diff_program again = *pr;
	struct diff_finding now;

	lab->trail = calloc(pr->n + 1, sizeof(*lab->trail));
	diff_run(lab, &again, 0, &now);
	print_head(out, lab, pr, f);
	for (size_t i = 0; i < pr->n; i++) {
		const struct diff_op *op = &pr->ops[i];

		if (lab->trail && lab->trail[i].ret == DIFF_NOT_DONE)
			continue;
		print_op(out, op, lab->can.heap);
		if (lab->trail)
			print_expect(out, op, &lab->trail[i]);
		fprintf(out, "\n");
	}
	for (unsigned p = 0; p < DIFF_PROCS; p++) {
		if (lab->last_live & 1u << p)
			print_sides(out, p, &lab->last_host[p], &lab->core_audits[lab->last][p]);
	}
	free(lab->trail);
	lab->trail = NULL;
}
