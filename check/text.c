/* SPDX-License-Identifier: MIT */
/*
 * text.c - programs as text: printing and reading.
 */
#include <stdlib.h>
#include <string.h>

#include "program.h"

/* ---- printing ---------------------------------------------------------------------------------------------- */

static const char *const names[NR_OP_KINDS] = {
	[OP_MMAP] = "mmap",
	[OP_MAP_FILE] = "map-file",
	[OP_MUNMAP] = "munmap",
	[OP_MPROTECT] = "mprotect",
	[OP_MREMAP] = "mremap",
	[OP_DONTNEED] = "dontneed",
	[OP_FREE] = "free",
	[OP_PAGEOUT] = "pageout",
	[OP_MERGEABLE] = "mergeable",
	[OP_MLOCK] = "mlock",
	[OP_MUNLOCK] = "munlock",
	[OP_READ] = "read",
	[OP_WRITE] = "write",
	[OP_FORK] = "fork",
	[OP_EXIT] = "exit",
	[OP_SHRINK] = "reclaim",
	[OP_KSM] = "ksm",
	[OP_COMPACT] = "compact",
	[OP_TRUNCATE] = "truncate",
	[OP_SWAPOFF] = "swapoff",
	[OP_SYNC] = "sync",
	[OP_PROCESS] = "process",
	[OP_UNMERGEABLE] = "unmergeable",
};

static const char *const accesses[NR_ACCESSES] = { "r", "rw", "none", "rwx" };

void op_print(const struct op *op, FILE *out)
{
	char p = (char)('A' + op->p);

	switch ((enum op_kind)op->kind) {
	case OP_MMAP:
	case OP_MAP_FILE:
		fprintf(out, "%c: %s %u %u %s", p, names[op->kind], op->page, op->len,
			op->arg & 1 ? "shared" : "private");
		if (op->kind == OP_MMAP && op->arg >> 1 != ACCESS_RW)
			fprintf(out, " %s", accesses[op->arg >> 1 & 3]);
		else if (op->kind == OP_MAP_FILE && op->arg > 1)
			fprintf(out, " %u", op->arg / 2u);
		break;
	case OP_MPROTECT:
		fprintf(out, "%c: mprotect %u %u %s", p, op->page, op->len, accesses[op->arg & 3]);
		break;
	case OP_MREMAP:
		fprintf(out, "%c: mremap %u %u to %u", p, op->page, op->len, op->arg);
		break;
	case OP_READ:
	case OP_WRITE:
		fprintf(out, "%c: %s %u", p, names[op->kind], op->page);
		break;
	case OP_FORK:
		fprintf(out, "fork %c %c", p, 'A' + op->arg);
		break;
	case OP_EXIT:
		fprintf(out, "exit %c", p);
		break;
	case OP_PROCESS:
		fprintf(out, "process %c", 'A' + op->arg);
		break;
	case OP_SHRINK:
	case OP_TRUNCATE:
		fprintf(out, "%s %u", names[op->kind], op->arg);
		break;
	case OP_COMPACT:
		fprintf(out, "compact %u", op->page);
		break;
	case OP_KSM:
	case OP_SWAPOFF:
	case OP_SYNC:
		fprintf(out, "%s", names[op->kind]);
		break;
	default:
		fprintf(out, "%c: %s %u %u", p, names[op->kind], op->page, op->len);
		break;
	}
}

void program_print(const struct program *pr, FILE *out)
{
	static const char *const families[] = { "reuse", "chain", "flat" };

	fprintf(out, "machine frames %u slots %u %s%s\n", pr->frames, pr->slots,
		families[pr->family % 3], pr->disk ? " disk" : "");
	for (unsigned i = 0; i < pr->nr_setup; i++) {
		fprintf(out, "  ");
		op_print(&pr->setup[i], out);
		fprintf(out, "\n");
	}
	for (unsigned t = 0; t < pr->nr_threads; t++) {
		fprintf(out, "thread T%u\n", t);
		for (unsigned i = 0; i < pr->nr_ops[t]; i++) {
			fprintf(out, "  ");
			op_print(&pr->ops[t][i], out);
			fprintf(out, "\n");
		}
	}
}

/* ---- reading ------------------------------------------------------------------------------------------------- */

static bool parse_word(const char *word, struct op *op)
{
	for (unsigned i = 0; i < NR_OP_KINDS; i++) {
		if (!strcmp(word, names[i])) {
			op->kind = (uint8_t)i;
			return true;
		}
	}
	return false;
}

static uint8_t parse_access(const char *word)
{
	uint8_t access = 0;

	while (access < NR_ACCESSES && strcmp(word, accesses[access]) != 0)
		access++;
	return access;
}

/* What follows the range. `more`, `last`: words, or "". */
static bool parse_more(const char *more, const char *last, struct op *op)
{
	unsigned long n = strtoul(last, NULL, 10);

	switch ((enum op_kind)op->kind) {
	case OP_MMAP:
		op->arg = !strcmp(more, "shared");
		op->arg |= (uint8_t)((*last ? parse_access(last) : ACCESS_RW) << 1);
		return op->arg >> 1 < NR_ACCESSES;
	case OP_MAP_FILE:
		op->arg = !strcmp(more, "shared");
		op->arg |= (uint8_t)(n << 1);
		return n < PAGES;
	case OP_MPROTECT:
		op->arg = parse_access(more);
		return op->arg < NR_ACCESSES;
	case OP_MREMAP:
		op->arg = (uint8_t)n;
		return n < PAGES;
	default:
		return true;
	}
}

/* "A: WORD PAGE LEN MORE LAST" */
static bool parse_memory(const char *text, struct op *op)
{
	unsigned page = 0, len = 1;
	char p, word[16], more[16] = "", last[16] = "";
	int n = sscanf(text, " %c: %15s %u %u %15s %15s", &p, word, &page, &len, more, last);

	if (n < 3 || p < 'A' || p >= (char)('A' + PROCS) || !parse_word(word, op) ||
	    page >= PAGES || !len || len > PAGES - page)
		return false;
	op->p = (uint8_t)(p - 'A');
	op->page = (uint8_t)page;
	op->len = (uint8_t)len;
	return parse_more(more, last, op);
}

bool op_parse(const char *text, struct op *op)
{
	char word[16], a = 0, b = 0;
	unsigned n = 0;

	*op = (struct op){ .len = 1 };
	if (parse_memory(text, op))
		return true;
	if (sscanf(text, " fork %c %c", &a, &b) == 2 && a >= 'A' && a < (char)('A' + PROCS) &&
	    b >= 'A' && b < (char)('A' + PROCS)) {
		op->kind = OP_FORK;
		op->p = (uint8_t)(a - 'A');
		op->arg = (uint8_t)(b - 'A');
		return true;
	}
	if (sscanf(text, " process %c", &a) == 1 && a >= 'A' && a < (char)('A' + PROCS)) {
		op->kind = OP_PROCESS;
		op->arg = (uint8_t)(a - 'A');
		return true;
	}
	if (sscanf(text, " exit %c", &a) == 1 && a >= 'A' && a < (char)('A' + PROCS)) {
		op->kind = OP_EXIT;
		op->p = (uint8_t)(a - 'A');
		return true;
	}
	if (sscanf(text, " %15s %u", word, &n) < 1 || !parse_word(word, op) ||
	    op->kind < OP_SHRINK || n > 200)
		return false;
	if (op->kind == OP_COMPACT)
		op->page = (uint8_t)(n % PAGES);
	else
		op->arg = (uint8_t)n;
	return true;
}
