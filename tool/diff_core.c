/* SPDX-License-Identifier: MIT */
/*
 * diff_core.c - the core's side of `anonvm diff`.
 */
#include <string.h>

#include "avm_port.h"
#include "diff.h"

#define FRAMES 32768u

static int make_process(struct diff_core *c, unsigned p)
{
	const struct avm_mm_config config = { .lowest = c->can->lowest };
	const struct avm_image image = { .brk_start = c->can->heap ? DIFF_HEAP : 0 };
	int err = sim_proc_create(c->sim, &config, &c->procs[p]);

	if (err) {
		c->procs[p] = NULL;
		return err;
	}
	err = avm_exec(sim_mm(c->procs[p]), &image);
	if (err) {
		sim_proc_exit(c->procs[p]);
		c->procs[p] = NULL;
	}
	return err;
}

int diff_core_open(struct diff_core *c, const struct diff_program *pr, const struct diff_can *can)
{
	const struct sim_config config = { .core = { .family = pr->family },
					   .frames = FRAMES,
					   .contents = SIM_STAMPS };
	int err;

	*c = (struct diff_core){ .can = can };
	err = sim_create(&c->sim, &config);
	if (err)
		return err;
	for (int i = 0; !err && i < DIFF_FILES; i++)
		err = sim_memfd_create(c->sim, i ? "f1" : "f0", DIFF_FILE_PAGES * DIFF_PAGE,
				       &c->files[i]);
	if (!err)
		err = make_process(c, 0);
	if (err)
		diff_core_close(c);
	return err;
}

uint64_t diff_core_close(struct diff_core *c)
{
	uint64_t leaked;

	for (int i = 0; i < DIFF_FILES; i++) {
		if (c->files[i])
			sim_file_put(c->files[i]);
	}
	leaked = sim_destroy(c->sim);
	*c = (struct diff_core){ 0 };
	return leaked;
}

int64_t diff_core_verify(struct diff_core *c, FILE *report)
{
	return sim_verify(c->sim, AVM_VERIFY_ALL, report);
}

/* ---- VMAs ------------------------------------------------------------------------------------------------------- */

static uint32_t file_of(const struct diff_core *c, const struct avm_vma *vma)
{
	for (uint32_t i = 0; i < DIFF_FILES; i++) {
		if (vma->file == c->files[i])
			return 1 + i;
	}
	return vma->file ? DIFF_VMA_SHMEM : 0;
}

static struct diff_vma show_vma(const struct diff_core *c, const struct avm_vma *vma)
{
	/* Read, write, exec, shared: bits 0 to 3 of either. */
	return (struct diff_vma){ vma->start,
				  vma->end,
				  vma->file ? vma->pgoff * DIFF_PAGE : 0,
				  (uint32_t)vma->flags & 15u,
				  file_of(c, vma),
				  vma->flags & DIFF_VM_FLAGS };
}

static void look_around(const struct diff_core *c, const struct diff_op *op, struct diff_seen *seen)
{
	struct diff_range ranges[2];
	int n = c->can->query ? diff_ranges(op, ranges) : 0;
	struct avm_mm *mm = sim_mm(c->procs[op->p]);

	for (int i = 0; i < n; i++) {
		struct avm_vma *vma = avm_find_vma(mm, ranges[i].start);

		for (; vma && vma->start < ranges[i].end; vma = avm_next_vma(mm, vma)) {
			struct diff_vma v = show_vma(c, vma);

			diff_hash_vma(seen, &v);
		}
	}
}

/* ---- accesses ----------------------------------------------------------------------------------------------------- */

static int64_t fault_ret(unsigned error)
{
	return error & AVM_FAULT_MAPERR ? DIFF_MAPERR :
	       error & AVM_FAULT_ACCERR ? DIFF_ACCERR :
	       error & AVM_FAULT_SIGBUS ? DIFF_SIGBUS :
	       error			? -AVM_ENOMEM :
					  0;
}

static avm_pfn_t frame_at(struct sim_proc *p, uint64_t addr)
{
	struct avm_pte_info info;

	avm_pte_at(sim_mm(p), addr, &info);
	return info.kind == AVM_PTE_PRESENT && !info.zero ? info.pfn : AVM_PFN_NONE;
}

static int64_t forced(int64_t bytes, size_t len)
{
	/* What /proc/self/mem says of all that cannot be reached. */
	return bytes == (int64_t)len ? 0 : -5;
}

/* As access_process_vm() does, which marks the page dirty, not the entry alone: MADV_FREE of a shared page looks at that. */
static int64_t poke(struct avm_mm *mm, const struct diff_op *op)
{
	int64_t n = avm_copy_in(mm, op->addr, &op->value, sizeof(op->value), AVM_COPY_FORCE);
	struct avm_page *page;

	if (avm_pin(mm, op->addr & ~(DIFF_PAGE - 1), n > 0, AVM_ACCESS_READ, &page) == 1)
		avm_unpin(mm->machine, &page, 1, AVM_UNPIN_DIRTY);
	return forced(n, sizeof(op->value));
}

static void do_store(struct diff_core *c, const struct diff_op *op, struct diff_seen *seen)
{
	struct sim_proc *p = c->procs[op->p];
	avm_pfn_t before = c->can->frames ? frame_at(p, op->addr) : AVM_PFN_NONE, after;

	if (op->kind == DIFF_WRITE)
		seen->ret = fault_ret(sim_store(p, op->addr, &op->value, sizeof(op->value), NULL));
	else
		seen->ret = poke(sim_mm(p), op);
	if (before == AVM_PFN_NONE)
		return;
	after = frame_at(p, op->addr);
	seen->frame = after == AVM_PFN_NONE ? DIFF_FRAME_GONE :
		      after == before	    ? DIFF_FRAME_SAME :
					      DIFF_FRAME_OTHER;
}

static void do_load(struct diff_core *c, const struct diff_op *op, struct diff_seen *seen)
{
	struct sim_proc *p = c->procs[op->p];
	uint64_t value = 0;

	if (op->kind == DIFF_READ)
		seen->ret = fault_ret(sim_load(p, op->addr, &value, sizeof(value), NULL));
	else
		seen->ret = forced(avm_copy_out(sim_mm(p), &value, op->addr, sizeof(value),
						AVM_COPY_FORCE),
				   sizeof(value));
	seen->value = seen->ret ? 0 : value;
}

/* ---- calls ------------------------------------------------------------------------------------------------------- */

/* As the host's side: what lies outside of the window goes at once. */
static int64_t address(struct diff_core *c, const struct diff_op *op, int err, uint64_t addr,
		       uint64_t len)
{
	if (err)
		return err;
	if (diff_in_window(addr, len))
		return (int64_t)addr;
	avm_munmap(sim_mm(c->procs[op->p]), addr, len);
	return DIFF_OUTSIDE;
}

static int64_t do_mmap(struct diff_core *c, const struct diff_op *op)
{
	struct avm_mmap m = { .addr = op->addr,
			      .len = op->len,
			      .prot = op->prot,
			      .flags = op->flags,
			      .pgoff = op->to };
	avm_addr_t out = 0;
	int err;

	if (op->file) {
		m.file = c->files[op->file - 1];
		m.open_mode = AVM_PROT_READ | (op->read_only ? 0 : AVM_PROT_WRITE);
	}
	err = avm_mmap(sim_mm(c->procs[op->p]), &m, &out);
	return address(c, op, err, out, op->len);
}

static int64_t do_mremap(struct diff_core *c, const struct diff_op *op)
{
	avm_addr_t out = 0;
	int err = avm_mremap(sim_mm(c->procs[op->p]), op->addr, op->len, op->new_len, op->flags,
			     op->to, &out);

	return address(c, op, err, out, op->new_len);
}

static int64_t do_mincore(struct diff_core *c, const struct diff_op *op, struct diff_seen *seen)
{
	uint8_t vec[DIFF_PAGES + 1];
	int err = avm_mincore(sim_mm(c->procs[op->p]), op->addr, op->len, vec);

	for (uint64_t i = 0; !err && i < (op->len + DIFF_PAGE - 1) / DIFF_PAGE; i++)
		seen->value = diff_hash(seen->value, vec[i] & 1u);
	return err;
}

/* The system call returns the end of the heap, whatever came of it. */
static int64_t do_brk(struct avm_mm *mm, const struct diff_op *op)
{
	avm_addr_t out = 0;

	avm_brk(mm, op->addr, &out);
	return (int64_t)out;
}

static int64_t call(struct diff_core *c, const struct diff_op *op, struct diff_seen *seen)
{
	struct avm_mm *mm = sim_mm(c->procs[op->p]);

	switch ((enum diff_kind)op->kind) {
	case DIFF_MMAP:
		return do_mmap(c, op);
	case DIFF_MUNMAP:
		return avm_munmap(mm, op->addr, op->len);
	case DIFF_MPROTECT:
		return avm_mprotect(mm, op->addr, op->len, op->prot);
	case DIFF_MREMAP:
		return do_mremap(c, op);
	case DIFF_MADVISE:
		return avm_madvise(mm, op->addr, op->len, (enum avm_advice)op->flags);
	case DIFF_MLOCK:
		return avm_mlock(mm, op->addr, op->len, op->flags);
	case DIFF_MUNLOCK:
		return avm_munlock(mm, op->addr, op->len);
	case DIFF_MLOCKALL:
		return avm_mlockall(mm, op->flags);
	case DIFF_MUNLOCKALL:
		return avm_munlockall(mm);
	case DIFF_MSYNC:
		return avm_msync(mm, op->addr, op->len, op->flags);
	case DIFF_MINCORE:
		return do_mincore(c, op, seen);
	case DIFF_BRK:
		return do_brk(mm, op);
	case DIFF_NAME:
		return avm_set_name(mm, op->addr, op->len, op->flags);
	case DIFF_POLICY:
		return avm_set_policy(mm, op->addr, op->len, op->flags);
	case DIFF_TRUNCATE:
		return sim_file_truncate(c->files[op->file - 1], op->len);
	default:
		return avm_file_punch(c->files[op->file - 1], op->addr, op->len);
	}
}

/* ---- life ---------------------------------------------------------------------------------------------------------- */

static void leave(struct diff_core *c, unsigned p)
{
	sim_proc_exit(c->procs[p]);
	c->procs[p] = NULL;
}

void diff_core_step(struct diff_core *c, const struct diff_op *op, struct diff_seen *seen)
{
	*seen = (struct diff_seen){ 0 };
	if (!c->procs[op->p] || (op->kind == DIFF_FORK && c->procs[op->q])) {
		seen->ret = DIFF_NOT_DONE;
		return;
	}
	switch ((enum diff_kind)op->kind) {
	case DIFF_READ:
	case DIFF_PEEK:
		do_load(c, op, seen);
		break;
	case DIFF_WRITE:
	case DIFF_POKE:
		do_store(c, op, seen);
		break;
	case DIFF_FORK:
		seen->ret = sim_proc_fork(c->procs[op->p], &c->procs[op->q]);
		if (seen->ret)
			c->procs[op->q] = NULL;
		break;
	case DIFF_EXIT:
		leave(c, op->p);
		return;
	case DIFF_EXEC:
		leave(c, op->p);
		seen->ret = make_process(c, op->p);
		return;
	case DIFF_AUDIT:
		return;
	default:
		seen->ret = call(c, op, seen);
		break;
	}
	look_around(c, op, seen);
}

/* ---- audits -------------------------------------------------------------------------------------------------------- */

static void show_page(struct diff_core *c, const struct avm_pte_info *info, uint32_t what,
		      struct diff_page *p)
{
	if (info->kind != AVM_PTE_PRESENT) {
		p->state = info->kind == AVM_PTE_SWAP ? DIFF_SWAPPED : DIFF_ABSENT;
		return;
	}
	p->frame = info->pfn + 1;
	if (info->zero) {
		p->state = DIFF_ZERO;
		return;
	}
	p->state = info->page->mapping & AVM_MAPPING_ANON ? DIFF_ANON : DIFF_FILE;
	avm_port_frame_read(sim_machine(c->sim), info->pfn, 0, &p->value, sizeof(p->value));
	p->counted = what & DIFF_AUDIT_COUNTS && c->can->counts;
	p->mapcount = p->counted ? info->page->mapcount & AVM_MAPCOUNT : 0;
}

void diff_core_audit(struct diff_core *c, unsigned p, uint32_t what, struct diff_audit *a)
{
	struct avm_mm *mm = sim_mm(c->procs[p]);
	struct avm_pte_info info = { .addr = DIFF_START };

	a->nr_vmas = 0;
	a->flags = what & DIFF_AUDIT_FLAGS;
	memset(a->pages, 0, sizeof(a->pages));
	for (struct avm_vma *vma = avm_find_vma(mm, DIFF_START);
	     vma && vma->start < DIFF_END && a->nr_vmas < DIFF_MAX_VMAS;
	     vma = avm_next_vma(mm, vma))
		a->vmas[a->nr_vmas++] = show_vma(c, vma);
	for (; avm_next_pte(mm, DIFF_END, &info); info.addr += DIFF_PAGE)
		show_page(c, &info, what, &a->pages[(info.addr - DIFF_START) / DIFF_PAGE]);
}
