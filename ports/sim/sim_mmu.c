/* SPDX-License-Identifier: MIT */
/*
 * sim_mmu.c - processes, and their loads and stores as hardware does them: TLB, page tables, page fault, again.
 *
 * The TLB (sim_tlb.h) is direct-mapped. An entry that does not permit the access, or a store through an entry that is
 * not dirty, drops the entry and walks the tables: so grants need no flush, and what the core forgot to take away stays
 * usable.
 *
 * Under the checker the arch says what changes in a table. What a TLB then still allows is revoked, by the CPU that has made
 * the change, and until the operation there is over: it may be used for so long, as on hardware, and no longer (R12).
 */
#include <stdlib.h>
#include <string.h>

#include "sim_priv.h"
#ifdef AVM_THREADS
#include "threads_tlb.h"
#else
#include "sim_tlb.h"
#endif

/* For one access; more is no progress. Among threads others may be faster again and again. */
#ifdef AVM_THREADS
#define MAX_FAULTS 100000
#else
#define MAX_FAULTS 64
#endif

/* ---- processes ----------------------------------------------------------------------------------------- */

static void proc_free(struct sim_proc *p)
{
	sim_tlb_fini(p);
	if (p->sim->handed)
		p->sim->handed(p, sizeof(*p), SIM_TAKEN_BACK);
	free(p);
}

static void proc_release(struct avm_mm *mm)
{
	struct sim_proc *p = sim_proc_of(mm);

	sim_touched(&p->sim->procs, true);
	sim_lock(&p->sim->mutex);
	LIST_REMOVE(p, link);
	sim_unlock(&p->sim->mutex);
	proc_free(p);
}

static struct sim_proc *proc_new(struct sim *s)
{
	struct sim_proc *p = sim_host_alloc(sizeof(*p));

	if (s->handed)
		s->handed(p, sizeof(*p), SIM_GIVEN);
	p->sim = s;
	sim_tlb_init(p);
	return p;
}

/* After the core was asked to make p->mm: `err` is its answer. */
static int proc_made(struct sim_proc *p, int err, struct sim_proc **out)
{
	if (err) {
		proc_free(p);
		return err;
	}
	sim_touched(&p->sim->procs, true);
	sim_lock(&p->sim->mutex);
	LIST_INSERT_HEAD(&p->sim->procs, p, link);
	sim_unlock(&p->sim->mutex);
	*out = p;
	return 0;
}

int sim_proc_create(struct sim *s, const struct avm_mm_config *config, struct sim_proc **out)
{
	struct sim_proc *p = proc_new(s);
	struct avm_mm_config c = config ? *config : (struct avm_mm_config){ 0 };

	c.context = p;
	c.release = proc_release;
	return proc_made(p, avm_mm_init(&s->machine, &p->mm, &c), out);
}

int sim_proc_fork(struct sim_proc *parent, struct sim_proc **out)
{
	struct sim_proc *p = proc_new(parent->sim);
	struct avm_mm_config c = { .context = p, .release = proc_release };

	return proc_made(p, avm_mm_fork(&parent->mm, &p->mm, &c), out);
}

void sim_proc_exit(struct sim_proc *p)
{
	avm_mm_put(&p->mm);
}

void sim_procs_fini(struct sim *s)
{
	while (!LIST_EMPTY(&s->procs)) {
		struct sim_proc *p = LIST_FIRST(&s->procs);

		sim_proc_exit(p);
		if (LIST_FIRST(&s->procs) == p) {
			sim_error(s, "somebody still uses address space %llu",
				  (unsigned long long)p->mm.id);
			LIST_REMOVE(p, link);
		}
	}
}

struct avm_mm *sim_mm(struct sim_proc *p)
{
	return &p->mm;
}

/* NULL for an address space that is not a process: one made with avm_mm_init() alone. */
struct sim_proc *sim_proc_of(struct avm_mm *mm)
{
	if (mm->release != proc_release)
		return NULL;
	return (struct sim_proc *)((char *)mm - offsetof(struct sim_proc, mm));
}

/* ---- the TLB ------------------------------------------------------------------------------------------- */

void avm_port_tlb_flush(struct avm *m, struct avm_mm *mm, avm_addr_t start, avm_addr_t end)
{
	struct sim_proc *p = sim_proc_of(mm);

	(void)m;
	if (p && !p->sim->lose_flushes)
		sim_tlb_flush(p, start, end);
}

void sim_lose_flushes(struct sim *s, bool lose)
{
	s->lose_flushes = lose;
}

avm_pfn_t sim_translation(struct sim_proc *p, avm_addr_t addr)
{
	avm_pte_t pte;

	return sim_tlb_find(p, addr & AVM_PAGE_MASK, &pte) ? avm_pte_pfn(pte) : AVM_PFN_NONE;
}

bool sim_translated(struct sim_proc *p, avm_addr_t addr)
{
	return sim_translation(p, addr) != AVM_PFN_NONE;
}

void sim_check_untranslated(struct sim *s, avm_pfn_t pfn)
{
	if (s->config.check_tlb)
		sim_tlb_check_frame(s, pfn);
}

/* ---- the tables ---------------------------------------------------------------------------------------- */

/* The leaf entry for addr, or NULL. */
static avm_pte_t *walk(struct sim_proc *p, avm_addr_t addr)
{
	struct avm *m = &p->sim->machine;
	const struct avm_page *root =
		p->mm.root_table; /* of the core no function: others may go on there */
	avm_pfn_t table = root ? root->pfn : 0;
	unsigned shift = AVM_PAGE_SHIFT + AVM_TABLE_SHIFT * AVM_TABLE_LEVELS;

	if (!root || (shift < 64 && addr >> shift))
		return NULL;
	for (;;) {
		avm_pte_t *slot = avm_port_frame_ptr(m, table);
		avm_pte_t entry;

		shift -= AVM_TABLE_SHIFT;
		slot += (addr >> shift) & (AVM_TABLE_ENTRIES - 1);
		if (shift == AVM_PAGE_SHIFT)
			return slot;
		entry = avm_arch_table_load(slot);
		sim_walked(slot, false);
		if (!entry)
			return NULL;
		sim_walk_step(p);
		table = avm_arch_table_pfn(entry);
	}
}

static avm_pte_t walk_load(struct sim_proc *p, avm_addr_t addr)
{
	const avm_pte_t *slot = walk(p, addr);

	return slot ? avm_arch_pte_load(slot) : AVM_PTE_EMPTY;
}

static bool permits(avm_pte_t pte, enum avm_access access)
{
	if (!avm_pte_present(pte) || avm_pte_none_access(pte))
		return false;
	switch (access) {
	case AVM_ACCESS_READ:
		return true;
	case AVM_ACCESS_WRITE:
		return avm_pte_write(pte);
	case AVM_ACCESS_EXEC:
		return avm_pte_exec(pte);
	}
	return false;
}

/* What the entry must look like for the access, or after it. */
static avm_pte_t used(avm_pte_t pte, enum avm_access access)
{
	pte = avm_pte_mkyoung(pte);
	return access == AVM_ACCESS_WRITE ? avm_pte_mkdirty(pte) : pte;
}

/* Walks, sets the bits that hardware sets, fills the TLB. False: page fault. */
static bool walk_use(struct sim_proc *p, avm_addr_t addr, enum avm_access access, avm_pte_t *out)
{
	avm_pte_t *slot = walk(p, addr);
	avm_pte_t pte, want;

	if (!slot)
		return false;
	pte = sim_entry_load(slot);
	sim_walked(slot, used(pte, access) != pte);
	do {
		if (!permits(pte, access))
			return false;
		want = used(pte, access);
		if (want == pte)
			break;
		if (!AVM_ARCH_HW_YOUNG_DIRTY)
			return false;
	} while (!atomic_compare_exchange_weak((_Atomic avm_pte_t *)slot, &pte, want));
	sim_wrote(slot, sizeof(*slot));
	sim_tlb_fill(p, addr & AVM_PAGE_MASK, want);
	*out = want;
	return true;
}

/* Does the TLB allow what the tables no longer do? A young bit that came back is not worth a flush. */
static bool is_stale(avm_pte_t cached, avm_pte_t now, enum avm_access access)
{
	if (!permits(now, access) || avm_pte_pfn(cached) != avm_pte_pfn(now))
		return true;
	return access == AVM_ACCESS_WRITE && !avm_pte_dirty(now);
}

#ifdef AVM_THREADS
#include "threads_tlb_check.h"
#else
#include "sim_tlb_check.h"
#endif

/* An operation on this address space was interrupted, and its flush may be still to come. */
static bool flush_is_due(struct sim_proc *p)
{
	struct sim *s = p->sim;

	/* With threads it may stand anywhere between an entry and its flush: see sim_check_revoked(). */
	if (s->threads)
		return true;
	return s->interrupted &&
	       ((atomic_load(&p->mm.write_seq) & 1) || atomic_load(&s->machine.gathers_open));
}

static void report_stale(struct sim_proc *p, avm_addr_t addr, enum avm_access access, avm_pte_t pte)
{
	static const char *const names[] = { "read", "write", "exec" };

	sim_error(p->sim,
		  "stale translation: address space %llu, %s at %#llx, %#llx in the TLB, "
		  "%#llx in the table",
		  (unsigned long long)p->mm.id, names[access], (unsigned long long)addr,
		  (unsigned long long)pte, (unsigned long long)walk_load(p, addr));
}

static bool tlb_use(struct sim_proc *p, avm_addr_t addr, enum avm_access access, avm_pte_t *out)
{
	avm_addr_t page = addr & AVM_PAGE_MASK;
	avm_pte_t pte;

	if (!sim_tlb_find(p, page, &pte))
		return false;
	if (!permits(pte, access) || used(pte, access) != pte) {
		sim_tlb_drop(p, page);
		return false;
	}
	*out = pte;
	if (p->sim->config.check_tlb && !flush_is_due(p) &&
	    is_stale(pte, walk_load(p, addr), access))
		report_stale(p, addr, access, pte);
	return true;
}

bool sim_is_stale(struct sim *s, uint64_t space, avm_addr_t page, avm_pte_t pte)
{
	struct sim_proc *p = LIST_FIRST(&s->procs);
	enum avm_access most = avm_pte_write(pte) && avm_pte_dirty(pte) ? AVM_ACCESS_WRITE :
									  AVM_ACCESS_READ;

	while (p && p->mm.id != space)
		p = LIST_NEXT(p, link);
	return p && permits(pte, AVM_ACCESS_READ) && is_stale(pte, walk_load(p, page), most);
}

/* ---- accesses ------------------------------------------------------------------------------------------ */

/*
 * 0: *pte is what the access goes through, until sim_tlb_end(). Nobody's flush of it is over before that.
 */
static unsigned translate(struct sim_proc *p, avm_addr_t addr, enum avm_access access,
			  unsigned *faults, avm_pte_t *pte)
{
	struct sim *s = p->sim;

	sim_tlb_begin(p);
	for (int i = 0; !tlb_use(p, addr, access, pte) && !walk_use(p, addr, access, pte); i++) {
		uint32_t given_up = s->waits_given_up;
		unsigned result;

		sim_tlb_end(p);
		if (i == MAX_FAULTS) {
			sim_error(s, "no progress: %d faults at %#llx", MAX_FAULTS,
				  (unsigned long long)addr);
			return AVM_FAULT_OOM;
		}
		result = avm_fault(&p->mm, addr, access, NULL);
		sim_locks_check(s, "after a fault");
		if (faults)
			*faults |= result;
		if (result & AVM_FAULT_ERROR)
			return result & AVM_FAULT_ERROR;
		/* Who is interrupted has what we need, and does not go on before we return. */
		if ((result & AVM_FAULT_RETRY) && s->waits_given_up != given_up)
			return AVM_FAULT_RETRY;
		sim_tlb_begin(p);
	}
	sim_touched(&s->frames, false);
	if (!avm_pte_special(*pte) && sim_frame_is_free(s, avm_pte_pfn(*pte)))
		sim_error(s, "address space %llu uses frame %#llx at %#llx, and it is free",
			  (unsigned long long)p->mm.id, (unsigned long long)avm_pte_pfn(*pte),
			  (unsigned long long)addr);
	return 0;
}

/* Where the data of an access is, or NULL for what hardware cannot do in one go: a mistake of the caller. */
static unsigned char *data_at(struct sim_proc *p, avm_pte_t pte, avm_addr_t addr, size_t len)
{
	size_t offset = addr & ~AVM_PAGE_MASK;
	size_t content = p->sim->frames.content;

	if (offset > content || len > content - offset) {
		sim_error(p->sim, "an access of %zu bytes at %#llx", len, (unsigned long long)addr);
		return NULL;
	}
	return sim_contents(p->sim, avm_pte_pfn(pte)) + offset;
}

unsigned sim_load(struct sim_proc *p, avm_addr_t addr, void *buf, size_t len, unsigned *faults)
{
	avm_pte_t pte;
	unsigned failed = translate(p, addr, AVM_ACCESS_READ, faults, &pte);
	const unsigned char *data;

	if (failed)
		return failed;
	data = data_at(p, pte, addr, len);
	if (data)
		sim_shared_read(buf, data, len);
	sim_tlb_end(p);
	return data ? 0 : AVM_FAULT_SIGBUS;
}

unsigned sim_store(struct sim_proc *p, avm_addr_t addr, const void *buf, size_t len,
		   unsigned *faults)
{
	avm_pte_t pte;
	unsigned failed = translate(p, addr, AVM_ACCESS_WRITE, faults, &pte);
	unsigned char *data;

	if (failed)
		return failed;
	data = data_at(p, pte, addr, len);
	if (data)
		sim_shared_write(data, buf, len);
	sim_tlb_end(p);
	return data ? 0 : AVM_FAULT_SIGBUS;
}

unsigned sim_touch(struct sim_proc *p, avm_addr_t addr, enum avm_access access, unsigned *faults)
{
	avm_pte_t pte;
	unsigned failed = translate(p, addr, access, faults, &pte);

	if (!failed)
		sim_tlb_end(p);
	return failed;
}

bool sim_would_fault(struct sim_proc *p, avm_addr_t addr, enum avm_access access,
		     struct avm_pte_info *info)
{
	avm_pte_t pte = walk_load(p, addr);

	if (info)
		avm_pte_at(&p->mm, addr & AVM_PAGE_MASK, info);
	return !permits(pte, access) || (!AVM_ARCH_HW_YOUNG_DIRTY && used(pte, access) != pte);
}
