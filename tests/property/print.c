/* SPDX-License-Identifier: MIT */
/*
 * print.c - a program as a script for `anonvm run` (docs/scripts.md).
 */
#include "program.h"

typedef unsigned long long ull;

static char name_of(unsigned p)
{
	return (char)('A' + (int)p);
}

/* Pages where it is whole pages. */
static void put_len(FILE *out, uint64_t len)
{
	if (len % PAGE)
		fprintf(out, " %llub", (ull)len);
	else
		fprintf(out, " %llu", (ull)(len / PAGE));
}

static void put_prot(FILE *out, uint32_t prot)
{
	if (!(prot & AVM_PROT_ALL))
		fprintf(out, " none");
	else
		fprintf(out, " %s%s%s", prot & AVM_PROT_READ ? "r" : "",
			prot & AVM_PROT_WRITE ? "w" : "", prot & AVM_PROT_EXEC ? "x" : "");
}

static void put_flag(FILE *out, uint32_t flags, uint32_t flag, const char *word)
{
	if (flags & flag)
		fprintf(out, " %s", word);
}

/* What a store writes: any bytes of that length that nobody else writes do. */
static void put_value(FILE *out, const struct op *op)
{
	if (op->len == 8) {
		fprintf(out, " 0x%llx", (ull)op->value);
		return;
	}
	fprintf(out, " \"");
	for (uint64_t i = 0; i < op->len && i < 1024; i++)
		fputc('a' + (int)((op->value >> 5 * (i % 12)) % 26), out);
	fprintf(out, "\"");
}

static void put_range(FILE *out, const struct op *op, const char *word)
{
	fprintf(out, "%c: %s 0x%llx", name_of(op->p), word, (ull)op->addr);
	put_len(out, op->len);
}

static void put_limit(FILE *out, const char *word, uint64_t bytes)
{
	if (bytes != AVM_NO_LIMIT)
		fprintf(out, " %s %llub", word, (ull)bytes);
}

static void print_process(const struct program *pr, FILE *out, const struct op *op)
{
	fprintf(out, "process %c lowest 0x%llx top 0x%llx base 0x%llx", name_of(op->p),
		(ull)WINDOW_START, (ull)WINDOW_END, (ull)WINDOW_BASE);
	put_limit(out, "as", pr->limits.address_space);
	put_limit(out, "data", pr->limits.data);
	put_limit(out, "stack", pr->limits.stack);
	put_limit(out, "locked", pr->limits.locked);
}

static void print_mmap(FILE *out, const struct op *op)
{
	fprintf(out, "%c: mmap", name_of(op->p));
	put_len(out, op->len);
	put_prot(out, op->prot);
	fprintf(out, (op->flags & AVM_MAP_TYPE) == AVM_MAP_SHARED  ? " shared" :
		     (op->flags & AVM_MAP_TYPE) == AVM_MAP_PRIVATE ? " private" :
								     " validate");
	if (op->file)
		fprintf(out, " file f%u+%llu", op->file - 1, (ull)op->to);
	put_flag(out, op->flags, AVM_MAP_ANONYMOUS, "anon");
	if (op->addr)
		fprintf(out, " at 0x%llx", (ull)op->addr);
	put_flag(out, op->flags, AVM_MAP_FIXED, "fixed");
	put_flag(out, op->flags, AVM_MAP_FIXED_NOREPLACE, "noreplace");
	put_flag(out, op->flags, AVM_MAP_GROWSDOWN, "growsdown");
	put_flag(out, op->flags, AVM_MAP_NORESERVE, "noreserve");
	put_flag(out, op->flags, AVM_MAP_LOCKED, "locked");
	put_flag(out, op->flags, AVM_MAP_POPULATE, "populate");
	put_flag(out, op->flags, AVM_MAP_STACK, "stack");
	if (op->mode & 0xff) {
		fprintf(out, " open");
		put_prot(out, op->mode & 0xff);
	}
	if (op->mode >> 8)
		fprintf(out, " policy %u", op->mode >> 8);
}

static void print_mremap(FILE *out, const struct op *op)
{
	fprintf(out, "%c: mremap 0x%llx", name_of(op->p), (ull)op->addr);
	put_len(out, op->len);
	put_len(out, op->new_len);
	put_flag(out, op->flags, AVM_MREMAP_MAYMOVE, "maymove");
	put_flag(out, op->flags, AVM_MREMAP_FIXED, "fixed");
	put_flag(out, op->flags, AVM_MREMAP_DONTUNMAP, "dontunmap");
	if (op->to)
		fprintf(out, " at 0x%llx", (ull)op->to);
}

static const char *advice_word(uint32_t advice)
{
	static const char *const words[] = {
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

	return advice < sizeof(words) / sizeof(words[0]) && words[advice] ? words[advice] : "99";
}

static void print_exec(FILE *out, const struct op *op)
{
	avm_addr_t at = WINDOW_START + (16 + op->new_len % 32) * PAGE;
	unsigned file = op->new_len & 1;

	fprintf(out,
		"exec %c segment 0x%llx 4 rx f%u segment 0x%llx 3 rw f%u+4 segment 0x%llx 2 rw anon "
		"brk 0x%llx stack 0x%llx 4 args %llu",
		name_of(op->p), (ull)at, file, (ull)(at + 4 * PAGE), file, (ull)(at + 7 * PAGE),
		(ull)(at + 9 * PAGE), (ull)(WINDOW_END - 2 * PAGE), (ull)(op->new_len % 3));
}

static void print_attrs(FILE *out, const struct op *op)
{
	switch (op->kind) {
	case OP_MPROTECT:
		put_range(out, op, "mprotect");
		put_prot(out, op->prot);
		put_flag(out, op->prot, AVM_PROT_GROWSDOWN, "growsdown");
		break;
	case OP_MADVISE:
		put_range(out, op, "madvise");
		fprintf(out, " %s", advice_word(op->flags));
		break;
	case OP_MLOCK:
		put_range(out, op, "mlock");
		put_flag(out, op->flags, AVM_MLOCK_ONFAULT, "onfault");
		break;
	case OP_MLOCKALL:
		fprintf(out, "%c: mlockall", name_of(op->p));
		put_flag(out, op->flags, AVM_MCL_CURRENT, "current");
		put_flag(out, op->flags, AVM_MCL_FUTURE, "future");
		put_flag(out, op->flags, AVM_MCL_ONFAULT, "onfault");
		break;
	case OP_MSYNC:
		put_range(out, op, "msync");
		put_flag(out, op->flags, AVM_MS_SYNC, "sync");
		put_flag(out, op->flags, AVM_MS_ASYNC, "async");
		put_flag(out, op->flags, AVM_MS_INVALIDATE, "invalidate");
		break;
	default:
		put_range(out, op, op->kind == OP_NAME ? "name" : "policy");
		fprintf(out, " %u", op->flags);
		break;
	}
}

static void print_access(FILE *out, const struct op *op)
{
	char p = name_of(op->p);
	const char *force = op->flags & AVM_COPY_FORCE ? " force" : "";

	switch (op->kind) {
	case OP_LOAD:
		fprintf(out, "%c: read 0x%llx %llub", p, (ull)op->addr, (ull)op->len);
		break;
	case OP_STORE:
		fprintf(out, "%c: write 0x%llx", p, (ull)op->addr);
		put_value(out, op);
		break;
	case OP_TOUCH:
		fprintf(out, "%c: touch 0x%llx %c", p, (ull)op->addr, "rwx"[op->flags % 3]);
		break;
	case OP_COPY_IN:
		fprintf(out, "%c: copyin 0x%llx", p, (ull)op->addr);
		put_value(out, op);
		fprintf(out, "%s", force);
		break;
	case OP_COPY_OUT:
		fprintf(out, "%c: copyout 0x%llx %llub%s", p, (ull)op->addr, (ull)op->len, force);
		break;
	default:
		fprintf(out, "copy %llub %c 0x%llx to %c 0x%llx%s", (ull)op->len, p, (ull)op->addr,
			name_of(op->q), (ull)op->to, force);
		break;
	}
}

static void print_file_op(FILE *out, const struct op *op)
{
	static const char *const words[] = {
		[OP_TRUNCATE] = "truncate",	[OP_PUNCH] = "punch",
		[OP_INVALIDATE] = "invalidate", [OP_SYNC] = "sync",
		[OP_READAHEAD] = "readahead",	[OP_FREAD] = "fread",
		[OP_FWRITE] = "fwrite",
	};

	fprintf(out, "%s f%u", words[op->kind], op->file - 1);
	if (op->kind == OP_SYNC)
		return;
	if (op->kind != OP_TRUNCATE) {
		fprintf(out, "+%llu", (ull)(op->addr / PAGE));
		if (op->addr % PAGE)
			fprintf(out, ".%llu", (ull)(op->addr % PAGE));
	}
	if (op->kind == OP_FWRITE)
		put_value(out, op);
	else if (op->kind == OP_FREAD)
		fprintf(out, " %llub", (ull)op->len);
	else
		put_len(out, op->len);
}

static void print_memory(FILE *out, const struct op *op)
{
	switch (op->kind) {
	case OP_SHRINK:
		fprintf(out, "reclaim %llu", (ull)op->new_len);
		break;
	case OP_SHRINK_ALL:
		fprintf(out, "shrinkall");
		break;
	case OP_SWAPON:
		fprintf(out, "swapon s%u slots %llu priority %llu", op->flags, (ull)op->new_len,
			(ull)op->to);
		break;
	case OP_SWAPOFF:
		fprintf(out, "swapoff s%u", op->flags);
		break;
	case OP_KSM:
		fprintf(out, "ksm %llu", (ull)op->new_len);
		break;
	case OP_MIGRATE:
		fprintf(out, "compact %llu 1", (ull)op->to);
		break;
	case OP_COMPACT:
		fprintf(out, "compact %llu %llu", (ull)op->to, (ull)op->new_len);
		break;
	case OP_POISON:
		fprintf(out, "# frame %llu of the machine goes bad", (ull)op->to);
		break;
	case OP_PIN:
		put_range(out, op, "pin");
		fprintf(out, " %c as p%u", "rwx"[op->prot % 3], op -> flags);
		break;
	case OP_UNPIN:
		fprintf(out, "unpin p%u%s", op->flags, op->prot ? " dirty" : "");
		break;
	default:
		if (op->new_len & 15)
			fprintf(out, "fail swapread %llu count %llu on s%u", (ull)op->to + 1,
				(ull)op->new_len & 15, op->flags);
		if (op->new_len & 15 && op->new_len >> 4)
			fprintf(out, "\n");
		if (op->new_len >> 4)
			fprintf(out, "fail swapwrite %llu count %llu on s%u", (ull)op->to + 1,
				(ull)op->new_len >> 4, op->flags);
		break;
	}
}

static void print_op(const struct program *pr, FILE *out, const struct op *op)
{
	char p = name_of(op->p);

	switch (op->kind) {
	case OP_MMAP:
		print_mmap(out, op);
		break;
	case OP_MUNMAP:
		put_range(out, op, "munmap");
		break;
	case OP_MREMAP:
		print_mremap(out, op);
		break;
	case OP_MUNLOCK:
		put_range(out, op, "munlock");
		break;
	case OP_MUNLOCKALL:
		fprintf(out, "%c: munlockall", p);
		break;
	case OP_MINCORE:
		put_range(out, op, "mincore");
		break;
	case OP_BRK:
		fprintf(out, "%c: brk 0x%llx", p, (ull)op->addr);
		break;
	case OP_INSERT_PFN:
		fprintf(out, "%c: insert-pfn 0x%llx 0x%llx", p, (ull)op->addr, (ull)op->to);
		put_len(out, op->len);
		put_prot(out, op->prot);
		break;
	case OP_POPULATE:
		put_range(out, op, "populate");
		fprintf(out, " %c", "rwx"[op->flags % 3]);
		break;
	case OP_MAP_CACHED:
		put_range(out, op, "map-cached");
		break;
	case OP_PROCESS:
		print_process(pr, out, op);
		break;
	case OP_FORK:
		fprintf(out, "fork %c %c", p, name_of(op->q));
		break;
	case OP_EXIT:
		fprintf(out, "exit %c", p);
		break;
	case OP_EXEC:
		print_exec(out, op);
		break;
	case OP_UNMAP_ALL:
		fprintf(out, "%c: unmap-all", p);
		break;
	default:
		if (op->kind >= OP_SHRINK)
			print_memory(out, op);
		else if (op->kind >= OP_TRUNCATE)
			print_file_op(out, op);
		else if (op->kind >= OP_LOAD)
			print_access(out, op);
		else
			print_attrs(out, op);
		break;
	}
}

static const struct {
	int value;
	const char *word;
} results[] = {
	{ -AVM_EPERM, "EPERM" },
	{ -AVM_EIO, "EIO" },
	{ -AVM_EBADF, "EBADF" },
	{ -AVM_EAGAIN, "EAGAIN" },
	{ -AVM_ENOMEM, "ENOMEM" },
	{ -AVM_EACCES, "EACCES" },
	{ -AVM_EFAULT, "EFAULT" },
	{ -AVM_EBUSY, "EBUSY" },
	{ -AVM_EEXIST, "EEXIST" },
	{ -AVM_EINVAL, "EINVAL" },
	{ -AVM_EOVERFLOW, "EOVERFLOW" },
	{ (int)AVM_FAULT_MAPERR, "segv-maperr" },
	{ (int)AVM_FAULT_ACCERR, "segv-accerr" },
	{ (int)AVM_FAULT_SIGBUS, "sigbus" },
	{ (int)AVM_FAULT_OOM, "oom" },
};

static void print_expect(FILE *out, int expect)
{
	for (size_t i = 0; i < sizeof(results) / sizeof(results[0]); i++) {
		if (results[i].value == expect)
			fprintf(out, " expect %s", results[i].word);
	}
}

static void print_machine(const struct program *pr, FILE *out)
{
	static const char *const families[] = { "reuse", "chain", "flat" };
	const struct avm_config *c = &pr->core;

	fprintf(out, "machine frames %llu %s fault-around %u", (ull)pr->frames, families[c->family],
		c->fault_around);
	if (pr->contents == SIM_STAMPS)
		fprintf(out, " stamps");
	if (c->commit == AVM_COMMIT_STRICT)
		fprintf(out, " strict reserve %llu", (ull)c->commit_reserve);
	if (c->max_map_count)
		fprintf(out, " max-vmas %u", c->max_map_count);
	if (c->no_stack_guard)
		fprintf(out, " no-guard\n");
	else
		fprintf(out, " guard %u\n", c->stack_guard);
	fprintf(out, "file f0 40 seed %llu\nfile f1 %llub seed %llu\nfile f2 30\nmemfd f3 24\n",
		(ull)(pr->seed | 1), (ull)(25 * PAGE + (pr->pressure ? 0 : 100)),
		(ull)(pr->seed | 1));
}

void program_print(const struct program *pr, const char *claim, FILE *out)
{
	print_machine(pr, out);
	for (size_t i = 0; i < pr->n; i++) {
		const struct op *op = &pr->ops[i];
		bool copies = op->kind == OP_COPY || op->kind == OP_COPY_IN ||
			      op->kind == OP_COPY_OUT || op->kind == OP_FREAD ||
			      op->kind == OP_FWRITE;

		if (op->expect == NOT_DONE)
			continue;
		if (op->inside)
			fprintf(out, "# in its middle, at chance %u: ", op->inside);
		if (copies && op->len > 1024)
			fprintf(out, "# too long for a script: ");
		if (op->fail_first)
			fprintf(out, "fail alloc %u count %u\n", op->fail_first, op->fail_count);
		print_op(pr, out, op);
		print_expect(out, op->expect);
		fprintf(out, "\n");
		if (op->fail_first)
			fprintf(out, "fail alloc 0\n");
	}
	fprintf(out, "verify\n%s%s", claim, *claim ? "\n" : "");
}
