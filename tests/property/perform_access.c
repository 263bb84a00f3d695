/* SPDX-License-Identifier: MIT */
/*
 * perform_access.c - loads, stores, fetches and copies: what they must end with, and what they may see; and operations
 * on files.
 */
#include <string.h>

#include "program.h"

/*
 * The page at addr is to be accessed, or was: what must come of it. Also tells the oracle of a stack that grew.
 */
unsigned foretell(struct world *w, struct proc *p, avm_addr_t addr, enum avm_access access,
		  bool force)
{
	struct oracle_answer answer;
	bool grew = !bounds_at(p->bounds, addr);
	unsigned want = bounds_access(p->bounds, addr, access, force);

	if (grew && bounds_at(p->bounds, addr))
		oracle_grow(p->oracle, addr);
	answer = force ? oracle_forced(p->oracle, addr, access) :
			 oracle_access(p->oracle, addr, access);
	if (!want && oracle_is_lost(p->oracle, addr))
		want = AVM_FAULT_SIGBUS;
	/* Two models that know different things must agree about this one. */
	if (answer.fault != want)
		world_fail(w, CHECK_FAULT, "access to %#llx: the oracle says %#x, the rules %#x",
			   (unsigned long long)addr, answer.fault, want);
	return want;
}

/* No memory: the stack may have grown, the VMA become faulted, and that is all. */
void no_memory(struct world *w, unsigned proc, avm_addr_t addr, enum avm_access access, bool force)
{
	struct proc *p = &w->procs[proc];
	avm_addr_t page = addr & ~(PAGE - 1);

	world_resync(w, proc, page, page + PAGE);
	if (world_same_boundaries(w, proc, NULL, 0))
		return;
	if (!bounds_at(p->bounds, addr)) {
		const struct bounds_vma *above = bounds_above(p->bounds, addr);

		if (above)
			world_resync(w, proc, above->start, above->end);
		if (world_same_boundaries(w, proc, NULL, 0))
			return;
		foretell(w, p, addr, access, force);
	}
}

/* One access ended with `got`. True: it worked, and was to. */
static bool ended(struct world *w, const struct op *op, avm_addr_t addr, enum avm_access access,
		  unsigned got)
{
	unsigned want;

	w->expect = (int)got;
	/* Others in the middle may have made the VMA faulted meanwhile, or this one before them. */
	if (w->was_interrupted)
		world_resync(w, op->p, addr & ~(PAGE - 1), (addr & ~(PAGE - 1)) + PAGE);
	if (((got == AVM_FAULT_OOM || got == AVM_FAULT_SIGBUS) && world_mishap(w)) ||
	    (got == AVM_FAULT_RETRY && w->inside)) {
		no_memory(w, op->p, addr, access, false);
		return false;
	}
	want = foretell(w, &w->procs[op->p], addr, access, false);
	w->expect = (int)want;
	if (got != want)
		world_fail(w, CHECK_FAULT, "access to %#llx ended with %#x, it must be %#x",
			   (unsigned long long)addr, got, want);
	return !got;
}

static void wrong_content(struct world *w, const struct proc *p, avm_addr_t addr, const void *seen,
			  uint32_t len)
{
	char got[40] = "", want[40] = "?";
	uint8_t possible[16];
	uint32_t n = len < 16 ? len : 16;

	for (uint32_t i = 0; i < n; i++)
		snprintf(got + 2 * i, sizeof(got) - 2 * i, "%02x", ((const uint8_t *)seen)[i]);
	if (oracle_possible(p->oracle, addr, 0, possible, n)) {
		for (uint32_t i = 0; i < n; i++)
			snprintf(want + 2 * i, sizeof(want) - 2 * i, "%02x", possible[i]);
	}
	world_fail(w, CHECK_CONTENT, "%#llx contains %s, the oracle says %s",
		   (unsigned long long)addr, got, want);
}

/* ---- as a program -------------------------------------------------------------------------------------- */

static void do_load(struct world *w, const struct op *op)
{
	struct proc *p = &w->procs[op->p];
	uint8_t bytes[64];
	uint32_t len = (uint32_t)op->len;
	unsigned got = sim_load(p->sim, op->addr, bytes, len, NULL);

	if (ended(w, op, op->addr, AVM_ACCESS_READ, got) &&
	    !oracle_load(p->oracle, op->addr, bytes, len))
		wrong_content(w, p, op->addr, bytes, len);
}

/* No two stores write the same. */
static void pattern(uint64_t value, uint8_t *bytes, uint64_t len)
{
	for (uint64_t i = 0; i < len; i++)
		bytes[i] = (uint8_t)((value + i / 8) >> 8 * (i % 8));
}

static void do_store(struct world *w, const struct op *op)
{
	struct proc *p = &w->procs[op->p];
	uint8_t bytes[64];
	uint32_t len = (uint32_t)op->len;
	unsigned got;

	pattern(op->value, bytes, len);
	got = sim_store(p->sim, op->addr, bytes, len, NULL);
	if (ended(w, op, op->addr, AVM_ACCESS_WRITE, got))
		oracle_store(p->oracle, op->addr, bytes, len);
}

static void do_touch(struct world *w, const struct op *op)
{
	enum avm_access access = (enum avm_access)op->flags;
	struct proc *p = &w->procs[op->p];
	unsigned got = sim_touch(p->sim, op->addr, access, NULL);

	if (ended(w, op, op->addr, access, got) && access == AVM_ACCESS_WRITE)
		oracle_store(p->oracle, op->addr, NULL, 0);
}

/* ---- copies (R8.10) -------------------------------------------------------------------------------------- */

/* Bare frames of devices have no contents for the core. */
static bool has_content(const struct proc *p, avm_addr_t addr)
{
	const struct bounds_vma *v = bounds_at(p->bounds, addr);

	return v && !(v->flags & AVM_VM_SPECIAL);
}

static uint64_t rest_of_page(avm_addr_t addr, uint64_t len)
{
	uint64_t rest = PAGE - addr % PAGE;

	return len < rest ? len : rest;
}

/* How far [addr, addr + len) can be accessed; the accesses are made on the model. */
static uint64_t reach(struct world *w, struct proc *p, avm_addr_t addr, uint64_t len,
		      enum avm_access access, bool force)
{
	uint64_t done = 0;

	while (done < len) {
		if (foretell(w, p, addr + done, access, force) || !has_content(p, addr + done))
			break;
		done += rest_of_page(addr + done, len - done);
	}
	return done;
}

static void check_copied(struct world *w, int64_t got, uint64_t want)
{
	w->expect = want ? 0 : -AVM_EFAULT;
	if (got != (want ? (int64_t)want : -AVM_EFAULT))
		world_fail(w, CHECK_RESULT, "%lld bytes, it must be %llu", (long long)got,
			   (unsigned long long)want);
}

static void stored(struct proc *p, avm_addr_t addr, const uint8_t *bytes, uint64_t len)
{
	for (uint64_t n, done = 0; done < len; done += n) {
		n = rest_of_page(addr + done, len - done);
		oracle_store(p->oracle, addr + done, bytes + done, (uint32_t)n);
	}
}

/* A page that swap does not give back is as if it could not be accessed (SIGBUS). */
static bool lacks_memory(const struct world *w, int64_t got)
{
	return got == -AVM_ENOMEM || (got == -AVM_EFAULT && world_read_failed(w));
}

/* A copy of `got` bytes of `len`, the rest of which failed for want of memory. */
static void copied_in_part(struct world *w, unsigned proc, avm_addr_t addr, int64_t got,
			   enum avm_access access, bool force)
{
	uint64_t done = got > 0 ? (uint64_t)got : 0;

	w->expect = got < 0 ? (int)got : 0;
	if (got < 0 && !lacks_memory(w, got))
		world_fail(w, CHECK_RESULT, "%lld, it must be no memory", (long long)got);
	if (done && reach(w, &w->procs[proc], addr, done, access, force) != done)
		world_fail(w, CHECK_RESULT, "%lld bytes, not so many can be accessed",
			   (long long)got);
	no_memory(w, proc, addr + done, access, force);
}

static void do_copy_in(struct world *w, const struct op *op)
{
	struct proc *p = &w->procs[op->p];
	bool force = op->flags & AVM_COPY_FORCE;
	uint8_t bytes[3 * 4096];
	int64_t got;

	pattern(op->value, bytes, op->len);
	got = avm_copy_in(sim_mm(p->sim), op->addr, bytes, op->len, op->flags);
	if (world_alloc_failed(w) && got != (int64_t)op->len)
		copied_in_part(w, op->p, op->addr, got, AVM_ACCESS_WRITE, force);
	else
		check_copied(w, got, reach(w, p, op->addr, op->len, AVM_ACCESS_WRITE, force));
	if (got > 0)
		stored(p, op->addr, bytes, (uint64_t)got);
}

static void seen(struct world *w, struct proc *p, avm_addr_t addr, const uint8_t *bytes,
		 uint64_t len)
{
	for (uint64_t n, done = 0; done < len; done += n) {
		n = rest_of_page(addr + done, len - done);
		if (!oracle_load(p->oracle, addr + done, bytes + done, (uint32_t)n))
			wrong_content(w, p, addr + done, bytes + done, (uint32_t)n);
	}
}

static void do_copy_out(struct world *w, const struct op *op)
{
	struct proc *p = &w->procs[op->p];
	bool force = op->flags & AVM_COPY_FORCE;
	uint8_t bytes[3 * 4096];
	int64_t got = avm_copy_out(sim_mm(p->sim), bytes, op->addr, op->len, op->flags);

	if (world_alloc_failed(w) && got != (int64_t)op->len)
		copied_in_part(w, op->p, op->addr, got, AVM_ACCESS_READ, force);
	else
		check_copied(w, got, reach(w, p, op->addr, op->len, AVM_ACCESS_READ, force));
	if (got > 0)
		seen(w, p, op->addr, bytes, (uint64_t)got);
}

/* The contents the oracle knows for certain; false: it does not. */
static bool certain(const struct proc *p, avm_addr_t addr, uint8_t *bytes, uint64_t len)
{
	uint8_t other[4096];

	for (uint64_t n, done = 0; done < len; done += n) {
		n = rest_of_page(addr + done, len - done);
		if (!oracle_possible(p->oracle, addr + done, 0, bytes + done, (uint32_t)n) ||
		    oracle_possible(p->oracle, addr + done, 1, other, (uint32_t)n))
			return false;
	}
	return true;
}

/* Chunk for chunk: what is read, what of it is written. */
static uint64_t copy_on_model(struct world *w, const struct op *op, uint64_t len,
			      const uint8_t *bytes)
{
	struct proc *from = &w->procs[op->p], *to = &w->procs[op->q];
	bool force = op->flags & AVM_COPY_FORCE;
	uint64_t done = 0;

	while (done < len) {
		uint64_t n = len - done < 256 ? len - done : 256;
		uint64_t read = reach(w, from, op->addr + done, n, AVM_ACCESS_READ, force);
		uint64_t written;

		if (!read)
			break;
		written = reach(w, to, op->to + done, read, AVM_ACCESS_WRITE, force);
		stored(to, op->to + done, bytes + done, written);
		done += written;
		if (written < n)
			break;
	}
	return done;
}

/* Might a store to [to, ...) be seen at [from, ...)? */
static bool aliases(const struct world *w, const struct op *op)
{
	bool file = false, shared = false;

	for (avm_addr_t at = op->addr; at < op->addr + op->len + PAGE; at += PAGE) {
		const struct bounds_vma *v = bounds_above(w->procs[op->p].bounds, at);

		file |= v && v->file;
	}
	for (avm_addr_t at = op->to; at < op->to + op->len + PAGE; at += PAGE) {
		const struct bounds_vma *v = bounds_above(w->procs[op->q].bounds, at);

		shared |= v && (v->flags & AVM_VM_SHARED);
	}
	return (file && shared) || (op->p == op->q && op->addr < op->to + op->len + PAGE &&
				    op->to < op->addr + op->len + PAGE);
}

/* Only where it is certain beforehand what is copied. */
static void do_copy(struct world *w, const struct op *op)
{
	struct proc *from = &w->procs[op->p], *to = &w->procs[op->q];
	const struct bounds_vma *above;
	uint8_t bytes[3 * 4096];
	uint64_t mapped = 0;
	int64_t got;

	w->expect = NOT_DONE;
	if (!to->sim || w->content != PAGE || aliases(w, op))
		return;
	while (mapped < op->len && has_content(from, op->addr + mapped))
		mapped += rest_of_page(op->addr + mapped, op->len - mapped);
	above = bounds_above(from->bounds, op->addr + mapped);
	if (!certain(from, op->addr, bytes, mapped) ||
	    (mapped < op->len && above && (above->flags & AVM_VM_GROWSDOWN)))
		return;
	got = avm_copy_between(sim_mm(to->sim), op->to, sim_mm(from->sim), op->addr, op->len,
			       op->flags);
	if (!world_alloc_failed(w) || got == (int64_t)op->len) {
		check_copied(w, got, copy_on_model(w, op, op->len, bytes));
		return;
	}
	w->expect = got < 0 ? (int)got : 0;
	/* What could be read before memory ran out may go nowhere. */
	if (got == -AVM_EFAULT && !world_read_failed(w) &&
	    !reach(w, to, op->to, 1, AVM_ACCESS_WRITE, op->flags & AVM_COPY_FORCE))
		return;
	if (got < 0 && !lacks_memory(w, got))
		world_fail(w, CHECK_RESULT, "%lld, it must be no memory", (long long)got);
	mapped = got > 0 ? (uint64_t)got : 0;
	if (copy_on_model(w, op, mapped, bytes) != mapped)
		world_fail(w, CHECK_RESULT, "%lld bytes, not so many can be copied",
			   (long long)got);
	no_memory(w, op->q, op->to + mapped, AVM_ACCESS_WRITE, op->flags & AVM_COPY_FORCE);
}

void perform_access(struct world *w, const struct op *op)
{
	switch (op->kind) {
	case OP_LOAD:
		do_load(w, op);
		break;
	case OP_STORE:
		do_store(w, op);
		break;
	case OP_TOUCH:
		do_touch(w, op);
		break;
	case OP_COPY_IN:
		do_copy_in(w, op);
		break;
	case OP_COPY_OUT:
		do_copy_out(w, op);
		break;
	default:
		do_copy(w, op);
		break;
	}
}

/* ---- files -------------------------------------------------------------------------------------------------- */

static void resized(struct world *w, struct file *f, uint64_t size)
{
	f->size = size;
	w->bounds.files[f->bounds].pages = (size + PAGE - 1) / PAGE;
}

static void do_fwrite(struct world *w, const struct op *op)
{
	struct file *f = &w->files[op->file - 1];
	uint8_t bytes[3 * 4096];
	int64_t got;

	pattern(op->value, bytes, op->len);
	got = avm_file_write(f->file, op->addr, bytes, op->len);
	w->expect = got < 0 ? (int)got : 0;
	if (got != (int64_t)op->len && !world_alloc_failed(w))
		world_fail(w, CHECK_RESULT, "%lld bytes written", (long long)got);
	if (got <= 0)
		return;
	oracle_object_store(f->oracle, op->addr, bytes, (uint64_t)got);
	if (op->addr + (uint64_t)got > f->size)
		resized(w, f, op->addr + (uint64_t)got);
}

static void do_fread(struct world *w, const struct op *op)
{
	struct file *f = &w->files[op->file - 1];
	uint64_t want = op->addr >= f->size ? 0 : f->size - op->addr;
	uint8_t bytes[3 * 4096];
	int64_t got = avm_file_read(f->file, op->addr, bytes, op->len);

	if (want > op->len)
		want = op->len;
	w->expect = got < 0 ? (int)got : 0;
	if (got != (int64_t)want && !world_alloc_failed(w))
		world_fail(w, CHECK_RESULT, "%lld bytes read, it must be %llu", (long long)got,
			   (unsigned long long)want);
	if (got > 0 && !oracle_object_load(f->oracle, op->addr, bytes, (uint64_t)got))
		world_fail(w, CHECK_CONTENT, "file %c at %llu has a wrong content", 'E' + op->file,
			   (unsigned long long)op->addr);
}

static void do_readahead(struct world *w, const struct op *op)
{
	struct file *f = &w->files[op->file - 1];
	uint64_t pages = (f->size + PAGE - 1) / PAGE, first = op->addr / PAGE, n = op->len / PAGE;
	uint64_t want = first >= pages ? 0 : pages - first;
	int64_t got = avm_file_readahead(f->file, first, n);

	if (want > n)
		want = n;
	w->expect = got < 0 ? (int)got : 0;
	if (got != (int64_t)want && !world_alloc_failed(w))
		world_fail(w, CHECK_RESULT, "%lld pages, it must be %llu", (long long)got,
			   (unsigned long long)want);
}

/* True: it has worked. Only the edges of what is cut off can make it fail, when they are in swap. */
static bool cut_worked(struct world *w, int got)
{
	w->expect = got;
	if (got && !(got == -AVM_ENOMEM && world_alloc_failed(w)) &&
	    !(got == -AVM_EIO && world_read_failed(w)))
		world_fail(w, CHECK_RESULT, "%d, it cannot fail", got);
	return !got;
}

static void do_truncate(struct world *w, const struct op *op)
{
	struct file *f = &w->files[op->file - 1];

	if (!cut_worked(w, sim_file_truncate(f->file, op->len)))
		return;
	oracle_truncate(f->oracle, op->len);
	resized(w, f, op->len);
}

static void do_punch(struct world *w, const struct op *op)
{
	struct file *f = &w->files[op->file - 1];

	w->expect = 0;
	if (f->paged_out) /* only in a program without the sync that the generator has put here */
		return;
	if (cut_worked(w, avm_file_punch(f->file, op->addr, op->len)))
		oracle_punch(f->oracle, op->addr / PAGE, (op->addr + op->len) / PAGE);
}

void perform_file(struct world *w, const struct op *op)
{
	struct file *f = &w->files[op->file - 1];
	int got;

	switch (op->kind) {
	case OP_TRUNCATE:
		do_truncate(w, op);
		break;
	case OP_PUNCH:
		do_punch(w, op);
		break;
	case OP_INVALIDATE:
		got = avm_file_invalidate(f->file, op->addr / PAGE, op->len / PAGE);
		w->expect = got;
		if (got && got != -AVM_EBUSY)
			world_fail(w, CHECK_RESULT, "%d, it can only be busy", got);
		break;
	case OP_SYNC:
		got = avm_file_sync(f->file);
		if (got)
			world_fail(w, CHECK_RESULT, "%d, it cannot fail", got);
		oracle_sync(f->oracle);
		f->paged_out = false;
		break;
	case OP_READAHEAD:
		do_readahead(w, op);
		break;
	case OP_FREAD:
		do_fread(w, op);
		break;
	default:
		do_fwrite(w, op);
		break;
	}
}
