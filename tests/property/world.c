/* SPDX-License-Identifier: MIT */
/*
 * world.c - a machine, the oracle and the model of boundaries side by side; and every check.
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "anon_vma.h"
#include "avm_port.h"
#include "percpu.h"
#include "program.h"

/* Checks that look at everything are made once in so many operations. */
#define EVERY_ALL_BOUNDARIES 16
#define EVERY_VMAS 8
#define EVERY_FAMILIES 48
#define EVERY_PAGE 192

static const char *const check_names[NR_CHECKS] = {
	[CHECK_NONE] = "nothing",	   [CHECK_RESULT] = "result",
	[CHECK_CONTENT] = "content",	   [CHECK_FAULT] = "fault",
	[CHECK_BOUNDARIES] = "boundaries", [CHECK_VERIFY] = "verify",
	[CHECK_SIM] = "simulator",	   [CHECK_LEAK] = "leak",
	[CHECK_CRASH] = "crash",
};

const char *check_name(enum check check)
{
	return check_names[check];
}

void world_fail(struct world *w, enum check check, const char *format, ...)
{
	va_list list;

	if (w->failed)
		return;
	w->failed = check;
	va_start(list, format);
	vsnprintf(w->what, sizeof(w->what), format, list);
	va_end(list);
}

struct mishaps world_mishaps(const struct world *w)
{
	const struct avm *m = sim_machine(w->sim);

	return (struct mishaps){ .injected = sim_allocs_failed(w->sim),
				 .ooms = sim_ooms(w->sim),
				 .read_errors = avm_cpu_sum(
					 m, &m->cpus[0].events[AVM_EV_SWAP_READ_ERROR]) };
}

/* ---- making and ending -------------------------------------------------------------------------------- */

static void fill(void *context, uint64_t index, void *bytes)
{
	const struct world *w = context;

	sim_file_page(w->program->seed | 1, index, bytes, w->content);
}

/* Two files with contents (one ends within a page), one of zeroes, one of shared memory. */
static void open_files(struct world *w)
{
	static const uint64_t sizes[NR_FILES] = { 40 * PAGE, 25 * PAGE + 100, 30 * PAGE,
						  24 * PAGE };

	for (unsigned i = 0; i < NR_FILES; i++) {
		struct file *f = &w->files[i];
		bool disk = i < NR_FILES - 1;
		const char name[2] = { (char)('F' + i), '\0' };
		int err;

		f->size = w->program->pressure ? sizes[i] & ~(PAGE - 1) : sizes[i];
		if (!disk) {
			err = sim_memfd_create(w->sim, name, f->size, &f->file);
			f->oracle = oracle_shmem(w->oracle, f->size);
		} else {
			err = sim_file_create(w->sim, name, f->size,
					      i < 2 ? w->program->seed | 1 : 0, &f->file);
			f->oracle = oracle_file(w->oracle, f->size, i < 2 ? fill : NULL, w);
		}
		if (err)
			abort();
		f->bounds = bounds_file(&w->bounds, (f->size + PAGE - 1) / PAGE, disk);
	}
}

void world_open(struct world *w, const struct program *pr)
{
	struct sim_config config = { .core = pr->core,
				     .frames = pr->frames,
				     .contents = pr->contents,
				     .check_tlb = true };
	struct bounds_config bounds = {
		.family = pr->core.family,
		.strict = pr->core.commit == AVM_COMMIT_STRICT,
		.commit_limit = pr->frames - pr->core.commit_reserve,
		.max_map_count = pr->core.max_map_count ? pr->core.max_map_count : 65530,
		.guard = (pr->core.no_stack_guard ? 0 : pr->core.stack_guard) * PAGE,
	};

	*w = (struct world){ .program = pr };
	if (sim_create(&w->sim, &config))
		abort();
	w->content = pr->contents == SIM_BYTES ? (uint32_t)PAGE : 8;
	w->oracle = oracle_create(PAGE, w->content);
	w->frames = oracle_shmem(w->oracle, UINT64_MAX);
	bounds_init(&w->bounds, &bounds);
	open_files(w);
	if (pr->pressure)
		sim_set_interruption(w->sim, world_interrupted, w);
}

/* What is in swap as well: the audit sees only what is present. */
static void read_all(struct world *w, unsigned p)
{
	const struct bounds_mm *mm = w->procs[p].bounds;

	for (size_t i = 0; w->procs[p].sim && i < mm->n; i++) {
		for (avm_addr_t at = mm->v[i].start; at < mm->v[i].end; at += PAGE) {
			const struct op op = { .kind = OP_LOAD,
					       .p = (uint8_t)p,
					       .q = (uint8_t)p,
					       .addr = at,
					       .len = 8 };

			w->before = world_mishaps(w);
			perform(w, &op);
		}
	}
}

static void swaps_mended(struct world *w)
{
	for (unsigned i = 0; i < NR_SWAPS; i++) {
		if (w->swaps[i])
			sim_swap_fail(w->swaps[i], 0, 0, 0);
	}
}

void world_close(struct world *w)
{
	uint64_t leaked;

	sim_fail_alloc(w->sim, 0, 0);
	swaps_mended(w);
	unpin_all(w);
	for (unsigned p = 0; p < NR_PROCS && w->program->pressure && !w->failed; p++)
		read_all(w, p);
	for (unsigned p = 0; p < NR_PROCS && !w->failed; p++) {
		world_compare(w, p);
		world_audit(w, p);
	}
	if (!w->failed)
		world_verify(w, AVM_VERIFY_ALL);
	for (unsigned i = 0; i < NR_FILES; i++)
		sim_file_put(w->files[i].file);
	for (unsigned p = 0; p < NR_PROCS; p++) {
		if (w->procs[p].sim)
			sim_proc_exit(w->procs[p].sim);
	}
	if (sim_errors(w->sim))
		world_fail(w, CHECK_SIM, "%s", sim_last_error(w->sim));
	if (!w->failed)
		world_verify(w, AVM_VERIFY_ALL);
	leaked = sim_destroy(w->sim);
	if (leaked)
		world_fail(w, CHECK_LEAK, "%llu frames, bytes and objects were not given back",
			   (unsigned long long)leaked);
	bounds_fini(&w->bounds);
	oracle_destroy(w->oracle);
	free(w->core_ids);
}

/* ---- boundaries and families ---------------------------------------------------------------------------- */

/* The model's anon_vma is the core's, now and for ever. */
static bool same_anon_vma(struct world *w, uint32_t id, const struct avm_anon_vma *av)
{
	if (!id || !av)
		return !id == !av;
	while (w->nr_core_ids <= id) {
		w->core_ids = bounds_grow_array(w->core_ids, w->nr_core_ids, &w->room_core_ids,
						sizeof(*w->core_ids));
		w->core_ids[w->nr_core_ids++] = 0;
	}
	if (!w->core_ids[id])
		w->core_ids[id] = av->id;
	return w->core_ids[id] == av->id;
}

static bool same_chain(struct world *w, const struct bounds_vma *want, const struct avm_vma *got)
{
	const struct avm_anon_vma *av = avm_next_in_chain(got, NULL);

	for (unsigned k = 0; want->chain && k < want->chain->n; k++) {
		if (!av || !same_anon_vma(w, want->chain->id[k], av))
			return false;
		av = avm_next_in_chain(got, av);
	}
	return !av;
}

/* NULL: the same. Else what differs. */
static const char *difference(struct world *w, const struct bounds_vma *want,
			      const struct avm_vma *got)
{
	const struct avm_file *file = got->file;

	if (want->start != got->start || want->end != got->end)
		return "range";
	if (want->flags != got->flags)
		return "flags";
	if (want->pgoff != got->pgoff)
		return "pgoff";
	if (want->policy != got->policy || want->name != got->name)
		return "policy or name";
	if (!want->file != !file)
		return "file";
	for (unsigned i = 0; i < NR_FILES; i++) {
		if ((w->files[i].bounds == want->file) != (w->files[i].file == file))
			return "file";
	}
	if (!want->own != !got->anon_vma)
		return want->own ? "unfaulted" : "faulted";
	if (!same_anon_vma(w, want->own, got->anon_vma))
		return "anon_vma";
	return same_chain(w, want, got) ? NULL : "chain";
}

static void describe(char *text, size_t room, avm_addr_t start, avm_addr_t end, uint64_t flags,
		     uint64_t pgoff, uint64_t anon_vma, uint64_t chain)
{
	snprintf(text, room, "[%#llx, %#llx) flags %#llx pgoff %#llx anon_vma %llu chain %llu",
		 (unsigned long long)start, (unsigned long long)end, (unsigned long long)flags,
		 (unsigned long long)pgoff, (unsigned long long)anon_vma,
		 (unsigned long long)chain);
}

bool world_same_boundaries(struct world *w, unsigned p, char *what, size_t room)
{
	const struct bounds_mm *model = w->procs[p].bounds;
	struct avm_mm *mm = sim_mm(w->procs[p].sim);
	struct avm_vma *got = avm_next_vma(mm, NULL);
	char a[200] = "nothing", b[200] = "nothing";

	for (size_t i = 0; i < model->n || got; i++) {
		const struct bounds_vma *want = i < model->n ? &model->v[i] : NULL;
		const char *wrong = want && got ? difference(w, want, got) : "number of VMAs";

		if (!wrong) {
			got = avm_next_vma(mm, got);
			continue;
		}
		if (got)
			describe(a, sizeof(a), got->start, got->end, got->flags, got->pgoff,
				 got->anon_vma ? got->anon_vma->id : 0, got->chain_len);
		if (want)
			describe(b, sizeof(b), want->start, want->end, want->flags, want->pgoff,
				 want->own && want->own < w->nr_core_ids ? w->core_ids[want->own] :
									   0,
				 want->chain ? want->chain->n : 0);
		if (what)
			snprintf(what, room, "VMA %zu of %c, %s: %s, the rules say %s", i,
				 'A' + (int)p, wrong, a, b);
		return false;
	}
	if (mm->brk == model->brk && mm->default_flags == model->default_flags)
		return true;
	if (what)
		snprintf(what, room, "%c: brk %#llx or flags of new VMAs", 'A' + (int)p,
			 (unsigned long long)mm->brk);
	return false;
}

/* maps A 0x40000000+0..4:rw ... */
static void make_claim(struct world *w, unsigned p)
{
	const struct bounds_mm *mm = w->procs[p].bounds;
	size_t room = sizeof(w->claim);
	size_t n = (size_t)snprintf(w->claim, room, "maps %c", 'A' + (int)p);

	for (size_t i = 0; i < mm->n && n < room; i++) {
		const struct bounds_vma *v = &mm->v[i];

		n += (size_t)snprintf(w->claim + n, room - n, " 0x%llx+0..%llu:%c%c%c%c",
				      (unsigned long long)v->start,
				      (unsigned long long)((v->end - v->start) / PAGE),
				      v->flags & AVM_VM_READ ? 'r' : '-',
				      v->flags & AVM_VM_WRITE ? 'w' : '-',
				      v->flags & AVM_VM_EXEC ? 'x' : '-',
				      v->flags & AVM_VM_SHARED ? 's' : 'p');
	}
	if (n >= room)
		w->claim[0] = '\0';
}

void world_compare(struct world *w, unsigned p)
{
	char what[512];

	if (w->failed || !w->procs[p].sim || world_same_boundaries(w, p, what, sizeof(what)))
		return;
	world_fail(w, CHECK_BOUNDARIES, "%s", what);
	make_claim(w, p);
}

/* ---- contents ---------------------------------------------------------------------------------------------- */

static void audit_page(struct world *w, unsigned p, const struct avm_pte_info *pte)
{
	uint8_t bytes[4096];
	struct oracle_map map;

	if (!oracle_find(w->procs[p].oracle, pte->addr, &map)) {
		world_fail(w, CHECK_CONTENT, "%c: a page at %#llx, where nothing is mapped",
			   'A' + (int)p, (unsigned long long)pte->addr);
		return;
	}
	if ((pte->write && !(map.prot & AVM_PROT_WRITE)) ||
	    (pte->exec && !(map.prot & AVM_PROT_EXEC)) || pte->none != !map.prot)
		world_fail(w, CHECK_CONTENT,
			   "%c: the entry for %#llx permits what its mapping does not",
			   'A' + (int)p, (unsigned long long)pte->addr);
	avm_port_frame_read(sim_machine(w->sim), pte->pfn, 0, bytes, w->content);
	if (!oracle_permits(w->procs[p].oracle, pte->addr, bytes, w->content))
		world_fail(w, CHECK_CONTENT, "%c: the page at %#llx has a wrong content",
			   'A' + (int)p, (unsigned long long)pte->addr);
}

void world_audit(struct world *w, unsigned p)
{
	struct avm_pte_info pte = { .addr = 0 };
	struct avm_mm *mm;

	if (!w->procs[p].sim)
		return;
	mm = sim_mm(w->procs[p].sim);
	while (!w->failed && avm_next_pte(mm, mm->task_size, &pte)) {
		if (pte.kind == AVM_PTE_PRESENT)
			audit_page(w, p, &pte);
		pte.addr += PAGE;
	}
}

/* ---- invariants -------------------------------------------------------------------------------------------- */

struct first_line {
	struct avm_sink sink;
	char text[400];
};

static void keep_first(struct avm_sink *sink, const char *line)
{
	struct first_line *first = (struct first_line *)sink;

	if (!first->text[0])
		snprintf(first->text, sizeof(first->text), "%s", line);
}

void world_verify(struct world *w, enum avm_verify_level level)
{
	struct first_line first = { .sink = { .line = keep_first } };
	int64_t n = avm_verify(sim_machine(w->sim), level, &first.sink);

	if (n)
		world_fail(w, CHECK_VERIFY, "%s (%lld violations)", first.text, (long long)n);
}

static void check_commit(struct world *w)
{
	struct avm_stats st;
	uint64_t want = bounds_committed(&w->bounds);

	avm_stats(sim_machine(w->sim), &st);
	if (st.committed != want)
		world_fail(w, CHECK_BOUNDARIES, "%llu pages are promised, it must be %llu (R1.5)",
			   (unsigned long long)st.committed, (unsigned long long)want);
}

static void check_all(struct world *w)
{
	check_commit(w);
	world_verify(w, AVM_VERIFY_ALL);
	for (unsigned p = 0; p < NR_PROCS; p++) {
		world_compare(w, p);
		world_audit(w, p);
	}
}

static void check_after(struct world *w, const struct op *op)
{
	if (sim_errors(w->sim))
		world_fail(w, CHECK_SIM, "%s", sim_last_error(w->sim));
	world_compare(w, op->p);
	if (op->q != op->p)
		world_compare(w, op->q);
	if (w->failed)
		return;
	if (w->program->thorough || w->at % EVERY_PAGE == 0)
		check_all(w);
	else if (w->at % EVERY_FAMILIES == 0)
		world_verify(w, AVM_VERIFY_FAMILIES);
	else if (w->at % EVERY_VMAS == 0)
		world_verify(w, AVM_VERIFY_VMAS);
	if (w->at % EVERY_ALL_BOUNDARIES == 0) {
		for (unsigned p = 0; p < NR_PROCS; p++)
			world_compare(w, p);
		check_commit(w);
	}
}

void world_step(struct world *w, const struct op *op)
{
	w->before = world_mishaps(w);
	w->expect = 0;
	w->chances = 0;
	w->was_interrupted = false;
	if (op->fail_first)
		sim_fail_alloc(w->sim, op->fail_first, op->fail_count);
	w->changes += takes_pages(op);
	w->outer = op;
	perform(w, op);
	w->outer = NULL;
	sim_fail_alloc(w->sim, 0, 0);
	w->bounds.no_populate = false;
	w->injected += sim_allocs_failed(w->sim) != w->before.injected;
	check_after(w, op);
	w->at++;
}

/* ---- failed allocations -------------------------------------------------------------------------------------- */

/* Pages that have been lost stop whoever works on many; who works on one is foretold what happens (oracle_is_lost). */
static bool meets_lost(const struct world *w)
{
	const struct op *op = w->outer;

	if (!w->lost || !op || w->inside)
		return false;
	switch (op->kind) {
	case OP_MMAP:
	case OP_MREMAP:
	case OP_MPROTECT:
	case OP_BRK:
	case OP_MLOCK:
	case OP_MLOCKALL:
	case OP_POPULATE:
	case OP_COPY_IN:
	case OP_COPY_OUT:
	case OP_COPY:
	case OP_PIN:
	case OP_SWAPOFF:
	case OP_EXEC:
		return true;
	case OP_MADVISE:
		return op->flags == AVM_MADV_POPULATE_READ ||
		       op->flags == AVM_MADV_POPULATE_WRITE || op->flags == AVM_MADV_UNMERGEABLE;
	default:
		return false;
	}
}

bool world_mishap(const struct world *w)
{
	struct mishaps now = world_mishaps(w);

	return memcmp(&now, &w->before, sizeof(now)) != 0;
}

bool world_alloc_failed(const struct world *w)
{
	return meets_lost(w) || world_mishap(w);
}

bool world_read_failed(const struct world *w)
{
	return meets_lost(w) || world_mishaps(w).read_errors != w->before.read_errors;
}

struct asked {
	struct world *w;
	struct avm_mm *mm;
};

static uint32_t whose_in_core(void *context, avm_addr_t addr)
{
	const struct asked *asked = context;
	const struct avm_vma *vma = avm_find_vma(asked->mm, addr);

	if (!vma || vma->start > addr || !vma->anon_vma)
		return 0;
	for (uint32_t id = 1; id < asked->w->nr_core_ids; id++) {
		if (asked->w->core_ids[id] == vma->anon_vma->id)
			return id;
	}
	return UINT32_MAX;
}

void world_resync(struct world *w, unsigned p, avm_addr_t start, avm_addr_t end)
{
	struct proc *proc = &w->procs[p];
	struct asked asked = { w, sim_mm(proc->sim) };

	bounds_note_faulted(proc->bounds, start, end, whose_in_core, &asked);
}

/* Private pages of files that a populate which failed half-way has copied: only the core knows which. */
static void resync_copies(struct world *w, unsigned p)
{
	struct proc *proc = &w->procs[p];
	struct avm_pte_info pte = { .addr = 0 };

	for (; avm_next_pte(sim_mm(proc->sim), WINDOW_END, &pte); pte.addr += PAGE) {
		struct oracle_map map;

		bool own = pte.page && !pte.zero && avm_page_anon_vma(pte.page);

		/* What has been copied may have gone to swap since. */
		if ((own || pte.kind == AVM_PTE_SWAP) &&
		    oracle_find(proc->oracle, pte.addr, &map) && map.object &&
		    !(map.flags & ORACLE_SHARED))
			oracle_store(proc->oracle, pte.addr, NULL, 0);
	}
}

void world_tell_oracle(struct world *w, unsigned p)
{
	struct proc *proc = &w->procs[p];

	if (world_alloc_failed(w)) {
		resync_copies(w, p);
		return;
	}
	for (size_t i = 0; i < proc->bounds->nr_wrote; i++) {
		const struct bounds_range *r = &proc->bounds->wrote[i];

		for (avm_addr_t at = r->start; at < r->end; at += PAGE)
			oracle_store(proc->oracle, at, NULL, 0);
	}
}

void world_tell_locks(struct world *w, unsigned p)
{
	const struct bounds_mm *mm = w->procs[p].bounds;

	for (size_t i = 0; i < mm->n; i++) {
		if (mm->v[i].flags & AVM_VM_LOCKED)
			oracle_lock(w->procs[p].oracle, mm->v[i].start, mm->v[i].end);
		else
			oracle_unlock(w->procs[p].oracle, mm->v[i].start, mm->v[i].end);
	}
}

bool world_follow(struct world *w, unsigned p, avm_addr_t start, avm_addr_t end, int got,
		  struct bounds_result want, const struct bounds_saved *before)
{
	struct bounds_mm *mm = w->procs[p].bounds;
	struct bounds_saved after;
	bool applied = want.applied;

	if (w->inside && got == -AVM_EINTR) { /* it would have had to wait */
		bounds_restore(mm, before);
		mm->nr_wrote = 0;
		w->expect = NOT_DONE;
		return false;
	}
	w->expect = world_alloc_failed(w) || want.tight ? got : want.err;
	if (!world_alloc_failed(w) && !(want.tight && (got == -AVM_ENOMEM || got == -AVM_EAGAIN))) {
		if (got != want.err)
			world_fail(w, CHECK_RESULT, "%d, it must be %d", got, want.err);
		return applied;
	}
	/* It may have been done, or not at all; then nothing but families differs from before. */
	if (got && got != want.err && got != -AVM_ENOMEM && got != -AVM_EAGAIN &&
	    got != -AVM_EFAULT && !(got == -AVM_EIO && world_read_failed(w)))
		world_fail(w, CHECK_RESULT, "%d, it must be %d or no memory", got, want.err);
	if (!got && want.err)
		world_fail(w, CHECK_RESULT, "success, it must be %d", want.err);
	if (got) {
		bounds_save(mm, &after);
		bounds_restore(mm, before);
		if (world_alloc_failed(w))
			world_resync(w, p, start, end);
		applied = !world_same_boundaries(w, p, NULL, 0);
		if (applied)
			bounds_restore(mm, &after);
		bounds_saved_free(&after);
	}
	if (!applied)
		mm->nr_wrote = 0;
	else if (world_alloc_failed(w))
		world_resync(w, p, start, end);
	return applied;
}
