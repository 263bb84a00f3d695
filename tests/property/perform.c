/* SPDX-License-Identifier: MIT */
/*
 * perform.c - operations on address spaces: on the core, then on the model of boundaries, then on the oracle.
 */
#include "program.h"

static avm_addr_t page_up(uint64_t len)
{
	return (len + PAGE - 1) & ~(PAGE - 1);
}

/* What every operation needs. */
struct context {
	struct world *w;
	const struct op *op;
	struct proc *p;
	struct avm_mm *mm;
	struct bounds_saved before;
};

/* After the call of the core, before that of the model. */
static void core_done(struct context *c)
{
	c->w->bounds.no_populate = world_alloc_failed(c->w);
	c->p->bounds->nr_wrote = 0;
}

static bool follow(struct context *c, int got, struct bounds_result want)
{
	return world_follow(c->w, c->op->p, c->op->addr & ~(PAGE - 1),
			    page_up(c->op->addr + c->op->len), got, want, &c->before);
}

/* As follow(), for operations that may touch any VMA. */
static bool follow_all(struct context *c, int got, struct bounds_result want)
{
	return world_follow(c->w, c->op->p, 0, WINDOW_END, got, want, &c->before);
}

static void wrong_address(struct context *c, avm_addr_t got, avm_addr_t want)
{
	if (got != want)
		world_fail(c->w, CHECK_RESULT, "address %#llx, it must be %#llx",
			   (unsigned long long)got, (unsigned long long)want);
}

/* ---- mmap, munmap, brk ---------------------------------------------------------------------------------- */

static void do_mmap(struct context *c)
{
	const struct op *op = c->op;
	const struct file *f = op->file ? &c->w->files[op->file - 1] : NULL;
	struct avm_mmap args = { .addr = op->addr,
				 .len = op->len,
				 .prot = op->prot,
				 .flags = op->flags,
				 .file = f ? f->file : NULL,
				 .pgoff = op->to,
				 .open_mode = op->mode & 0xff,
				 .policy = op->mode >> 8 };
	bool shared = (op->flags & AVM_MAP_TYPE) != AVM_MAP_PRIVATE;
	avm_addr_t at = 0, want_at = 0;
	int got = avm_mmap(c->mm, &args, &at);
	struct oracle_map map;

	core_done(c);
	if (!follow_all(c, got, bounds_mmap(c->p->bounds, &args, f ? f->bounds : 0, &want_at)) ||
	    got)
		return;
	wrong_address(c, at, want_at);
	map = (struct oracle_map){ .start = at,
				   .end = at + page_up(op->len),
				   .prot = op->prot,
				   .object = f ? f->oracle : NULL,
				   .pgoff = op->to };
	if (shared)
		map.flags |= ORACLE_SHARED;
	if (!shared || !f || !args.open_mode || (args.open_mode & AVM_PROT_WRITE))
		map.flags |= ORACLE_MAYWRITE;
	if (op->flags & AVM_MAP_GROWSDOWN)
		map.flags |= ORACLE_GROWSDOWN;
	oracle_mmap(c->p->oracle, &map);
	world_tell_locks(c->w, op->p);
	world_tell_oracle(c->w, op->p);
}

static void do_munmap(struct context *c)
{
	int got = avm_munmap(c->mm, c->op->addr, c->op->len);

	core_done(c);
	if (follow(c, got, bounds_munmap(c->p->bounds, c->op->addr, c->op->len)))
		oracle_munmap(c->p->oracle, c->op->addr, c->op->addr + page_up(c->op->len));
}

static void do_brk(struct context *c)
{
	avm_addr_t old = page_up(c->p->bounds->brk), end = 0, want_end = 0, now;
	int got = avm_brk(c->mm, c->op->addr, &end);

	core_done(c);
	if (!follow_all(c, got, bounds_brk(c->p->bounds, c->op->addr, &want_end)))
		return;
	wrong_address(c, end, want_end);
	now = page_up(end);
	if (now < old)
		oracle_munmap(c->p->oracle, now, old);
	if (now > old)
		oracle_mmap(c->p->oracle,
			    &(struct oracle_map){ .start = old,
						  .end = now,
						  .prot = AVM_PROT_READ | AVM_PROT_WRITE,
						  .flags = ORACLE_MAYWRITE });
	world_tell_locks(c->w, c->op->p);
	world_tell_oracle(c->w, c->op->p);
}

static void do_insert_pfn(struct context *c)
{
	const struct op *op = c->op;
	uint64_t n = op->len / PAGE;
	int got = avm_insert_pfn(c->mm, op->addr, op->to, n, op->prot);
	uint32_t flags = ORACLE_SHARED | ORACLE_SPECIAL;

	core_done(c);
	if (!follow(c, got, bounds_insert_pfn(c->p->bounds, op->addr, n, op->prot)) || got)
		return;
	if (op->prot & AVM_PROT_WRITE)
		flags |= ORACLE_MAYWRITE;
	oracle_mmap(c->p->oracle, &(struct oracle_map){ .start = op->addr,
							.end = op->addr + op->len,
							.prot = op->prot,
							.flags = flags,
							.object = c->w->frames,
							.pgoff = op->to });
}

static void do_mremap(struct context *c)
{
	const struct op *op = c->op;
	avm_addr_t at = 0, want_at = 0;
	int got = avm_mremap(c->mm, op->addr, op->len, op->new_len, op->flags, op->to, &at);

	core_done(c);
	if (!follow_all(c, got,
			bounds_mremap(c->p->bounds, op->addr, op->len, op->new_len, op->flags,
				      op->to, &want_at)) ||
	    got)
		return;
	wrong_address(c, at, want_at);
	oracle_mremap(c->p->oracle, op->addr, page_up(op->len), at, page_up(op->new_len),
		      op->flags & AVM_MREMAP_DONTUNMAP);
	world_tell_locks(c->w, op->p);
	world_tell_oracle(c->w, op->p);
}

/* ---- attributes ------------------------------------------------------------------------------------------ */

static void do_mprotect(struct context *c)
{
	const struct op *op = c->op;
	const struct bounds_vma *v = bounds_above(c->p->bounds, op->addr);
	avm_addr_t end = op->addr + page_up(op->len), start = op->addr;
	int got = avm_mprotect(c->mm, op->addr, op->len, op->prot);
	int foretold;

	if ((op->prot & AVM_PROT_GROWSDOWN) && v)
		start = v->start;
	core_done(c);
	if (!follow(c, got, bounds_mprotect(c->p->bounds, op->addr, op->len, op->prot)) || !op->len)
		return;
	foretold = oracle_mprotect_error(c->p->oracle, start, end, op->prot);
	if (got != foretold)
		world_fail(c->w, CHECK_RESULT, "%d, the oracle says %d", got, foretold);
	oracle_mprotect(c->p->oracle, start, end, op->prot);
	world_tell_oracle(c->w, op->p);
}

static void do_madvise(struct context *c)
{
	const struct op *op = c->op;
	enum avm_advice advice = (enum avm_advice)op->flags;
	avm_addr_t end = op->addr + page_up(op->len);
	int got = avm_madvise(c->mm, op->addr, op->len, advice);
	bool populates = advice == AVM_MADV_POPULATE_READ || advice == AVM_MADV_POPULATE_WRITE;
	/* Not mergeable any more, but a page that is merged could not be copied. */
	bool half = advice == AVM_MADV_UNMERGEABLE && got == -AVM_ENOMEM &&
		    world_alloc_failed(c->w);
	int foretold;

	core_done(c);
	/* The last file is memory. */
	for (unsigned i = 0; advice == AVM_MADV_PAGEOUT && i < NR_FILES - 1; i++)
		c->w->files[i].paged_out = true;
	if (!follow(c, got, bounds_madvise(c->p->bounds, op->addr, op->len, advice)) || !op->len)
		return;
	if (!populates) {
		foretold = oracle_madvise_error(c->p->oracle, op->addr, end, advice);
		if (got != foretold && !half)
			world_fail(c->w, CHECK_RESULT, "%d, the oracle says %d", got, foretold);
		oracle_madvise(c->p->oracle, op->addr, end, advice);
	}
	world_tell_oracle(c->w, op->p);
}

static void do_lock(struct context *c)
{
	const struct op *op = c->op;
	struct bounds_result want;
	int got;

	switch (op->kind) {
	case OP_MLOCK:
		got = avm_mlock(c->mm, op->addr, op->len, op->flags);
		core_done(c);
		want = bounds_mlock(c->p->bounds, op->addr, op->len, op->flags);
		break;
	case OP_MUNLOCK:
		got = avm_munlock(c->mm, op->addr, op->len);
		core_done(c);
		want = bounds_munlock(c->p->bounds, op->addr, op->len);
		break;
	case OP_MLOCKALL:
		got = avm_mlockall(c->mm, op->flags);
		core_done(c);
		want = bounds_mlockall(c->p->bounds, op->flags);
		break;
	default:
		got = avm_munlockall(c->mm);
		core_done(c);
		want = bounds_munlockall(c->p->bounds);
		break;
	}
	follow_all(c, got, want);
	world_tell_locks(c->w, op->p);
	world_tell_oracle(c->w, op->p);
}

static void do_name(struct context *c)
{
	const struct op *op = c->op;
	int got;

	if (op->kind == OP_NAME) {
		got = avm_set_name(c->mm, op->addr, op->len, op->flags);
		core_done(c);
		follow(c, got, bounds_set_name(c->p->bounds, op->addr, op->len, op->flags));
	} else {
		got = avm_set_policy(c->mm, op->addr, op->len, op->flags);
		core_done(c);
		follow(c, got, bounds_set_policy(c->p->bounds, op->addr, op->len, op->flags));
	}
}

/* ---- msync, mincore -------------------------------------------------------------------------------------- */

/* Pages of files that are mapped shared in the range are on disk now. */
static void tell_synced(struct context *c, avm_addr_t start, avm_addr_t end)
{
	struct oracle_map map;

	for (avm_addr_t at = start; at < end; at += PAGE) {
		if (!oracle_find(c->p->oracle, at, &map) || !map.object ||
		    (map.flags & (ORACLE_SHARED | ORACLE_SPECIAL)) != ORACLE_SHARED)
			continue;
		oracle_sync_pages(map.object, map.pgoff + (at - map.start) / PAGE,
				  map.pgoff + (at - map.start) / PAGE + 1);
	}
}

/* Where msync with INVALIDATE ends. */
static avm_addr_t first_locked(const struct bounds_mm *mm, avm_addr_t addr)
{
	for (size_t i = bounds_index(mm, addr); i < mm->n; i++) {
		if (mm->v[i].flags & AVM_VM_LOCKED)
			return mm->v[i].start;
	}
	return addr;
}

static void do_msync(struct context *c)
{
	const struct op *op = c->op;
	int got = avm_msync(c->mm, op->addr, op->len, op->flags);
	struct bounds_result want;

	core_done(c);
	want = bounds_msync(c->p->bounds, op->addr, op->len, op->flags);
	if (!follow(c, got, want) || !(op->flags & AVM_MS_SYNC))
		return;
	tell_synced(c, op->addr,
		    got == -AVM_EBUSY ? first_locked(c->p->bounds, op->addr) :
					op->addr + page_up(op->len));
}

static void do_mincore(struct context *c)
{
	const struct op *op = c->op;
	uint8_t vec[WINDOW_PAGES + 1];
	int got;

	if (op->len > WINDOW_PAGES * PAGE) {
		c->w->expect = NOT_DONE;
		return;
	}
	got = avm_mincore(c->mm, op->addr, op->len, vec);
	core_done(c);
	follow(c, got, bounds_mincore(c->p->bounds, op->addr, op->len));
	for (uint64_t i = 0; !got && i < page_up(op->len) / PAGE; i++) {
		const struct bounds_vma *v = bounds_at(c->p->bounds, op->addr + i * PAGE);
		struct avm_pte_info pte;

		avm_pte_at(c->mm, op->addr + i * PAGE, &pte);
		if ((pte.kind == AVM_PTE_PRESENT && !(vec[i] & 1)) ||
		    (pte.kind == AVM_PTE_NONE && (vec[i] & 1) && !v->file))
			world_fail(c->w, CHECK_RESULT, "page %llu of the range: mincore says %u",
				   (unsigned long long)i, vec[i]);
	}
}

/* ---- populate, map_cached ---------------------------------------------------------------------------------- */

static void do_populate(struct context *c)
{
	const struct op *op = c->op;
	int got = avm_populate(c->mm, op->addr, op->len, (enum avm_access)op->flags);

	core_done(c);
	follow(c, got,
	       bounds_populate(c->p->bounds, op->addr, op->len, (enum avm_access)op->flags));
	world_tell_oracle(c->w, op->p);
}

static void do_map_cached(struct context *c)
{
	uint64_t refused = frames_refused(c->w);
	int64_t got = avm_map_cached(c->mm, c->op->addr, c->op->len);

	c->w->expect = got < 0 ? (int)got : 0;

	/* A favour: nothing is reclaimed for it. */
	if (got < 0 &&
	    !(got == -AVM_ENOMEM && (world_alloc_failed(c->w) || frames_refused(c->w) != refused)))
		world_fail(c->w, CHECK_RESULT, "%lld", (long long)got);
}

/* ---- processes ----------------------------------------------------------------------------------------------- */

static void new_process(struct world *w, const struct op *op)
{
	struct proc *p = &w->procs[op->p];
	struct avm_limits limits = w->program->limits;
	struct avm_mm_config config = { .lowest = WINDOW_START,
					.task_size = WINDOW_END,
					.mmap_base = WINDOW_BASE,
					.limits = &limits };
	int err = sim_proc_create(w->sim, &config, &p->sim);

	w->expect = err;
	if (err) {
		if (!world_alloc_failed(w) || err != -AVM_ENOMEM)
			world_fail(w, CHECK_RESULT, "a new process: %d", err);
		p->sim = NULL;
		return;
	}
	p->oracle = oracle_proc_create(w->oracle);
	p->bounds = bounds_mm(&w->bounds, &config);
}

static void end_process(struct proc *p)
{
	sim_proc_exit(p->sim);
	oracle_exit(p->oracle);
	bounds_mm_free(p->bounds);
	p->sim = NULL;
}

static void do_fork(struct context *c)
{
	struct proc *child = &c->w->procs[c->op->q];
	int got;

	c->w->expect = NOT_DONE;
	if (child->sim)
		return;
	got = sim_proc_fork(c->p->sim, &child->sim);
	if (got) {
		child->sim = NULL;
		if (got == -AVM_EINTR && c->w->inside)
			return;
		if (got != -AVM_ENOMEM)
			world_fail(c->w, CHECK_RESULT, "fork: %d", got);
	}
	c->w->expect = got;
	if (world_alloc_failed(c->w) && got)
		return;
	child->bounds = bounds_fork(c->p->bounds);
	c->w->expect = child->bounds ? 0 : -AVM_ENOMEM;
	if (!child->bounds != !child->sim) {
		world_fail(c->w, CHECK_RESULT, "fork: %d, it must be %d", got,
			   child->bounds ? 0 : -AVM_ENOMEM);
		if (child->bounds)
			bounds_mm_free(child->bounds);
		if (child->sim)
			sim_proc_exit(child->sim);
		child->sim = NULL;
	}
	if (child->sim)
		child->oracle = oracle_fork(c->p->oracle);
}

/* The image: a file's text and data, bss, heap, stack; where it lies depends on new_len. */
static void do_exec(struct context *c)
{
	const struct op *op = c->op;
	struct file *f = &c->w->files[op->new_len & 1];
	avm_addr_t at = WINDOW_START + (16 + op->new_len % 32) * PAGE;
	const struct avm_segment segments[] = {
		{ at, 4, AVM_PROT_READ | AVM_PROT_EXEC, f->file, 0 },
		{ at + 4 * PAGE, 3, AVM_PROT_READ | AVM_PROT_WRITE, f->file, 4 },
		{ at + 7 * PAGE, 2, AVM_PROT_READ | AVM_PROT_WRITE, NULL, 0 },
	};
	const uint32_t files[] = { f->bounds, f->bounds, 0 };
	const struct avm_image image = { .segments = segments,
					 .nr_segments = 3,
					 .brk_start = at + 9 * PAGE,
					 .stack_end = WINDOW_END - 2 * PAGE,
					 .stack_pages = 4,
					 .argument_pages = op->new_len % 3 };
	struct bounds_result want;
	int got;

	if (bounds_pages(c->p->bounds)) {
		avm_mm_unmap_all(c->mm);
		bounds_unmap_all(c->p->bounds);
		oracle_munmap(c->p->oracle, 0, WINDOW_END);
	}
	got = avm_exec(c->mm, &image);
	core_done(c);
	c->w->bounds.no_populate = false;
	want = bounds_exec(c->p->bounds, &image, files);
	c->w->expect = world_alloc_failed(c->w) ? got : want.err;
	if (world_alloc_failed(c->w) && got == -AVM_ENOMEM) {
		bounds_unmap_all(c->p->bounds);
		return;
	}
	if (got != want.err)
		world_fail(c->w, CHECK_RESULT, "exec: %d, it must be %d", got, want.err);
	if (got)
		return;
	for (unsigned i = 0; i < 3; i++)
		oracle_mmap(
			c->p->oracle,
			&(struct oracle_map){ .start = segments[i].start,
					      .end = segments[i].start + segments[i].pages * PAGE,
					      .prot = segments[i].prot,
					      .flags = ORACLE_MAYWRITE,
					      .object = segments[i].file ? f->oracle : NULL,
					      .pgoff = segments[i].pgoff });
	oracle_mmap(c->p->oracle,
		    &(struct oracle_map){ .start = image.stack_end - 4 * PAGE,
					  .end = image.stack_end,
					  .prot = AVM_PROT_READ | AVM_PROT_WRITE,
					  .flags = ORACLE_MAYWRITE | ORACLE_GROWSDOWN });
}

static void do_unmap_all(struct context *c)
{
	avm_mm_unmap_all(c->mm);
	bounds_unmap_all(c->p->bounds);
	oracle_munmap(c->p->oracle, 0, WINDOW_END);
}

static void do_exit(struct context *c)
{
	end_process(c->p);
}

/* ---- all ------------------------------------------------------------------------------------------------------- */

static void (*const table[NR_OP_KINDS])(struct context *c) = {
	[OP_MMAP] = do_mmap,
	[OP_MUNMAP] = do_munmap,
	[OP_MPROTECT] = do_mprotect,
	[OP_MREMAP] = do_mremap,
	[OP_MADVISE] = do_madvise,
	[OP_MLOCK] = do_lock,
	[OP_MUNLOCK] = do_lock,
	[OP_MLOCKALL] = do_lock,
	[OP_MUNLOCKALL] = do_lock,
	[OP_MSYNC] = do_msync,
	[OP_MINCORE] = do_mincore,
	[OP_BRK] = do_brk,
	[OP_INSERT_PFN] = do_insert_pfn,
	[OP_NAME] = do_name,
	[OP_POLICY] = do_name,
	[OP_POPULATE] = do_populate,
	[OP_MAP_CACHED] = do_map_cached,
	[OP_FORK] = do_fork,
	[OP_EXIT] = do_exit,
	[OP_EXEC] = do_exec,
	[OP_UNMAP_ALL] = do_unmap_all,
};

void perform(struct world *w, const struct op *op)
{
	struct context c = { .w = w, .op = op, .p = &w->procs[op->p] };
	bool saved;

	if (op->kind >= OP_SHRINK) {
		perform_memory(w, op);
		return;
	}
	if (op->kind >= OP_TRUNCATE) {
		perform_file(w, op);
		return;
	}
	w->expect = NOT_DONE;
	if (op->kind == OP_PROCESS) {
		if (!c.p->sim)
			new_process(w, op);
		return;
	}
	if (!c.p->sim)
		return;
	w->expect = 0;
	c.mm = sim_mm(c.p->sim);
	if (!table[op->kind]) {
		perform_access(w, op);
		return;
	}
	saved = op->fail_first || w->bounds.config.max_map_count < 1000 || w->program->pressure;
	if (saved)
		bounds_save(c.p->bounds, &c.before);
	table[op->kind](&c);
	if (saved)
		bounds_saved_free(&c.before);
}
