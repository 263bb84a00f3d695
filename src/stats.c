/* SPDX-License-Identifier: MIT */
/* stats.c - counters: of the machine, of one address space, and what they are called. */
#include "anonvm/observe.h"

#include "anon_vma.h"
#include "commit.h"
#include "percpu.h"
#include "list.h"
#include "lock.h"
#include "lru.h"
#include "mm.h"

static const char *const event_names[AVM_NR_EVENTS] = {
	[AVM_EV_FAULT_MINOR] = "minor_faults",
	[AVM_EV_FAULT_MAJOR] = "major_faults",
	[AVM_EV_FAULT_SPURIOUS] = "spurious_faults",
	[AVM_EV_FAULT_MMAP_LOCK] = "mmap_lock_faults",
	[AVM_EV_ZERO_FILL] = "zero_fills",
	[AVM_EV_ZERO_MAP] = "zero_maps",
	[AVM_EV_COW_COPY] = "cow_copies",
	[AVM_EV_COW_REUSE] = "cow_reuses",
	[AVM_EV_FILE_READ] = "file_reads",
	[AVM_EV_FILE_WRITE] = "file_writes",
	[AVM_EV_FAULT_AROUND] = "fault_around_pages",
	[AVM_EV_MERGE] = "merges",
	[AVM_EV_SPLIT] = "splits",
	[AVM_EV_FORK] = "forks",
	[AVM_EV_EXIT] = "exits",
	[AVM_EV_ANON_VMA_REUSED_NEIGHBOUR] = "anon_vmas_reused_neighbour",
	[AVM_EV_ANON_VMA_REUSED_ANCESTOR] = "anon_vmas_reused_ancestor",
	[AVM_EV_EARLY_COPY] = "early_copies",
	[AVM_EV_RMAP_WALKS] = "rmap_walks",
	[AVM_EV_RMAP_VISITED] = "rmap_visited",
	[AVM_EV_RMAP_MAPPED] = "rmap_mapped",
	[AVM_EV_TLB_FLUSH] = "tlb_flushes",
	[AVM_EV_OOM] = "ooms",
	[AVM_EV_DIRECT_RECLAIM] = "direct_reclaims",
	[AVM_EV_SCANNED] = "scanned",
	[AVM_EV_RECLAIMED] = "reclaimed",
	[AVM_EV_ACTIVATED] = "activated",
	[AVM_EV_DEACTIVATED] = "deactivated",
	[AVM_EV_SWAP_OUT] = "swap_out",
	[AVM_EV_SWAP_IN] = "swap_in",
	[AVM_EV_SWAP_CACHE_HIT] = "swap_cache_hits",
	[AVM_EV_SWAP_WRITE_ERROR] = "swap_write_errors",
	[AVM_EV_SWAP_READ_ERROR] = "swap_read_errors",
	[AVM_EV_SWAP_FULL] = "swap_full",
	[AVM_EV_LAZY_FREED] = "lazy_freed",
	[AVM_EV_KSM_SCANNED] = "ksm_scanned",
	[AVM_EV_KSM_MERGED] = "ksm_merged",
	[AVM_EV_KSM_BROKEN] = "ksm_broken",
	[AVM_EV_MIGRATED] = "migrated",
	[AVM_EV_MIGRATE_FAILED] = "migrate_failed",
	[AVM_EV_POISONED] = "poisoned",
	[AVM_EV_PINNED] = "pinned",
	[AVM_EV_RACE_ISOLATED] = "race_isolated",
	[AVM_EV_RACE_REDIRTIED] = "race_redirtied",
	[AVM_EV_RACE_SWAPIN_ENTRY] = "race_swapin_entry",
	[AVM_EV_RACE_SWAPIN_CACHE] = "race_swapin_cache",
	[AVM_EV_RACE_PAGE_LOCKED] = "race_page_locked",
	[AVM_EV_RACE_KSM_CHANGED] = "race_ksm_changed",
	[AVM_EV_RACE_MIGRATION_WAIT] = "race_migration_wait",
	[AVM_EV_RACE_PREPARE] = "race_prepare",
	[AVM_EV_RACE_UNMAPPED] = "race_unmapped",
};

static const char *const refusal_names[AVM_NR_REFUSALS] = {
	[AVM_REFUSED_FILE] = "file",	       [AVM_REFUSED_OFFSET] = "offset",
	[AVM_REFUSED_FLAGS] = "flags",	       [AVM_REFUSED_POLICY] = "policy",
	[AVM_REFUSED_NAME] = "name",	       [AVM_REFUSED_SPECIAL] = "special",
	[AVM_REFUSED_FAMILY] = "family",       [AVM_REFUSED_FORK_CHILD] = "fork_child",
	[AVM_REFUSED_THREE_WAY] = "three_way",
};

const char *avm_event_name(enum avm_event e)
{
	return (unsigned)e < AVM_NR_EVENTS ? event_names[e] : "unknown";
}

const char *avm_refusal_name(enum avm_refusal r)
{
	return (unsigned)r < AVM_NR_REFUSALS ? refusal_names[r] : "unknown";
}

static uint64_t load(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

static void cache_stats(struct avm *m, struct avm_cache *c, uint64_t *now, uint64_t *peak)
{
	avm_spin_lock(m, &c->lock, AVM_LOCK_LEAF);
	*now = c->nr_objects;
	*peak = c->peak_objects;
	avm_spin_unlock(m, &c->lock, AVM_LOCK_LEAF);
}

/* What address spaces count for themselves. Their spare VMAs are none. */
static void mm_stats(struct avm *m, struct avm_stats *s)
{
	const struct avm_mm *mm;

	s->committed = load(&m->committed);
	avm_spin_lock(m, &m->mm_lock, AVM_LOCK_LEAF);
	s->mms = m->nr_mms;
	avm_list_for_each_entry(mm, &m->mms, struct avm_mm, link) {
		s->committed += load(&mm->committed);
		s->vmas -= atomic_load_explicit(&mm->nr_spare, memory_order_relaxed);
	}
	avm_spin_unlock(m, &m->mm_lock, AVM_LOCK_LEAF);
}

void avm_stats(struct avm *m, struct avm_stats *s)
{
	uint64_t unused;

	*s = (struct avm_stats){
		.frames_total = load(&m->frames_total),
		.frames_used = avm_cpu_sum(m, &m->cpus[0].frames_used),
		.tables = avm_cpu_sum(m, &m->cpus[0].tables_used),
		.meta_bytes = load(&m->meta_bytes),
		.meta_bytes_peak = load(&m->meta_bytes_peak),
		.commit_limit = avm_commit_limit(m),
		.swap_total = load(&m->swap_slots),
		.swap_used = load(&m->swap_used),
	};
	cache_stats(m, &m->vmas, &s->vmas, &s->vmas_peak);
	cache_stats(m, &m->anon_vmas, &s->anon_vmas, &s->anon_vmas_peak);
	cache_stats(m, &m->avcs, &s->avcs, &s->avcs_peak);
	cache_stats(m, &m->merged, &s->ksm_pages_shared, &unused);
	cache_stats(m, &m->merged_items, &s->ksm_pages_sharing, &unused);

	for (unsigned i = 0; i < AVM_NR_LRU; i++)
		s->lru[i] = avm_lru_count(m, (enum avm_lru)i);

	mm_stats(m, s);

	for (unsigned i = 0; i < AVM_NR_EVENTS; i++)
		s->events[i] = avm_cpu_sum(m, &m->cpus[0].events[i]);
	for (unsigned i = 0; i < AVM_NR_REFUSALS; i++)
		s->refused[i] = load(&m->refused[i]);
}

void avm_mm_stats(struct avm_mm *mm, struct avm_mm_stats *s)
{
	const struct avm_vma *vma;

	*s = (struct avm_mm_stats){
		.total_vm = mm->total_vm,
		.locked_vm = mm->locked_vm,
		.data_vm = mm->data_vm,
		.exec_vm = mm->exec_vm,
		.stack_vm = mm->stack_vm,
		.tables = load(&mm->tables),
	};
	for (unsigned i = 0; i < AVM_NR_RSS; i++)
		s->rss[i] = avm_mm_rss(mm, (enum avm_rss)i);
	avm_list_for_each_entry(vma, &mm->vmas.list, struct avm_vma, link) {
		uint64_t len = atomic_load_explicit(&vma->chain_len, memory_order_relaxed);

		s->vmas++;
		s->avcs += len;
		s->faulted += !!avm_vma_anon(vma);
		s->fork_children += avm_vma_is_fork_child(vma);
		if (len > s->longest_chain)
			s->longest_chain = len;
	}
}
