/* SPDX-License-Identifier: MIT */
/*
 * verify.c - checks the invariants of a machine at rest: the driver and the report (verify.h).
 */
#include "verify.h"

#include <string.h>

#include "avm_port.h"
#include "format.h"
#include "list.h"
#include "slab.h"

enum {
	LINE = 224,
};

/* ---- the report ----------------------------------------------------------------------------- */

static void put_objects(struct avm_text *t, const struct avm_where *w)
{
	if (w->mm)
		avm_text_field(t, "mm", w->mm->id);
	if (w->vma) {
		avm_text_field_hex(t, "vma", w->vma->start);
		avm_text_char(t, '-');
		avm_text_hex(t, w->vma->end, 1);
	}
	if (w->addr)
		avm_text_field_hex(t, "at", w->addr);
	if (w->page)
		avm_text_field_hex(t, "pfn", w->page->pfn);
	if (w->av)
		avm_text_field(t, "anon_vma", w->av->id);
	if (w->file)
		avm_text_field(t, "file", w->file->id);
	if (w->raw)
		avm_text_field_hex(t, "object", (uintptr_t)w->raw);
	if (w->detail) {
		avm_text_char(t, ' ');
		avm_text_str(t, w->detail);
	}
}

static void say(struct avm_verify *v, unsigned number, const char *what,
		const struct avm_where *where, const uint64_t *numbers)
{
	char buf[LINE];
	struct avm_text t;

	v->violations++;
	if (!v->report)
		return;
	avm_text_init(&t, buf, sizeof(buf));
	avm_text_char(&t, 'V');
	avm_text_dec(&t, number);
	avm_text_str(&t, ": ");
	avm_text_str(&t, what);
	avm_text_char(&t, ';');
	put_objects(&t, where);
	if (numbers) {
		avm_text_field(&t, "is", numbers[0]);
		avm_text_field(&t, "should be", numbers[1]);
	}
	if (t.buf[t.len - 1] == ';')
		avm_text_cut(&t, t.len - 1);
	v->report->line(v->report, buf);
}

void avm_verify_say(struct avm_verify *v, unsigned number, const char *what,
		    const struct avm_where *where)
{
	say(v, number, what, where, NULL);
}

void avm_verify_equal(struct avm_verify *v, unsigned number, const char *what,
		      const struct avm_where *where, uint64_t found, uint64_t expected)
{
	if (found != expected)
		say(v, number, what, where, (const uint64_t[]){ found, expected });
}

void avm_verify_spin(struct avm_verify *v, const struct avm_spinlock *lock,
		     const struct avm_where *where)
{
	if (!v->only && atomic_load_explicit(&lock->word, memory_order_relaxed))
		avm_verify_say(v, 41, "a spin lock is held", where);
}

void avm_verify_rwsem(struct avm_verify *v, const struct avm_rwsem *lock,
		      const struct avm_where *where)
{
	if (!v->only && atomic_load_explicit(&lock->word, memory_order_relaxed))
		avm_verify_say(v, 41, "a sleeping lock is held", where);
}

/* ---- lists ---------------------------------------------------------------------------------- */

/* The entry after `at` points back to it. pre: the entry may be read. */
static bool points_back(const struct avm_list *at)
{
	return at->next->prev == at;
}

struct avm_mm *avm_verify_next_mm(struct avm_verify *v, const struct avm_mm *mm)
{
	const struct avm_list *at = mm ? &mm->link : &v->m->mms;
	struct avm_mm *next = avm_suspect(at->next, struct avm_mm, link);

	if (v->only)
		return mm ? NULL : v->only;
	if (at->next == &v->m->mms || avm_misaligned(at->next) || !points_back(at))
		return NULL;
	return next->machine == v->m ? next : NULL;
}

struct avm_vma *avm_verify_next_vma(struct avm_verify *v, const struct avm_mm *mm,
				    const struct avm_vma *vma)
{
	const struct avm_list *at = vma ? &vma->link : &mm->vmas.list;
	struct avm_vma *next = avm_suspect(at->next, struct avm_vma, link);

	if (at->next == &mm->vmas.list || !avm_verify_owned(v, AVM_IS_VMA, next) ||
	    !points_back(at))
		return NULL;
	return next;
}

struct avm_anon_vma_chain *avm_verify_next_avc(struct avm_verify *v, const struct avm_vma *vma,
					       const struct avm_anon_vma_chain *avc)
{
	const struct avm_list *at = avc ? &avc->same_vma : &vma->chain;
	struct avm_anon_vma_chain *next =
		avm_suspect(at->next, struct avm_anon_vma_chain, same_vma);

	if (at->next == &vma->chain || !avm_verify_owned(v, AVM_IS_AVC, next) || !points_back(at))
		return NULL;
	return next;
}

/* ---- the driver ----------------------------------------------------------------------------- */

void *avm_verify_alloc(struct avm *m, size_t size, size_t *bytes)
{
	void *memory;

	for (*bytes = AVM_META_MIN; *bytes < size; *bytes *= 2)
		if (*bytes > SIZE_MAX / 2)
			return NULL;
	memory = avm_port_meta_alloc(m, *bytes);
	if (memory)
		memset(memory, 0, *bytes);
	return memory;
}

static const struct avm_where nowhere;

static void check_mm_list(struct avm_verify *v)
{
	const struct avm_mm *mm, *last = NULL;
	uint64_t n = 0;

	for (mm = NULL; (mm = avm_verify_next_mm(v, mm)); last = mm)
		n++;
	if ((last ? last->link.next : v->m->mms.next) != &v->m->mms)
		avm_verify_say(v, 40, "the list of address spaces is broken",
			       &(struct avm_where){ .mm = last });
	else
		avm_verify_equal(v, 40, "number of address spaces", &nowhere, v->m->nr_mms, n);
}

static void check_machine_locks(struct avm_verify *v)
{
	struct avm *m = v->m;
	uint32_t gathers = atomic_load_explicit(&m->gathers_open, memory_order_relaxed);
	const struct avm_cache *caches[] = { &m->vmas,	     &m->anon_vmas,    &m->avcs,
					     &m->tree_nodes, &m->radix_nodes,  &m->files,
					     &m->merged,     &m->merged_items, &m->ksm_items };

	for (uint32_t i = 0; i < avm_cpus(m); i++)
		avm_verify_spin(v, &m->cpus[i].lru_lock,
				&(struct avm_where){ .detail = "of the LRU lists" });
	avm_verify_spin(v, &m->mm_lock, &(struct avm_where){ .detail = "of the address spaces" });
	for (size_t i = 0; i < sizeof(caches) / sizeof(caches[0]); i++)
		avm_verify_spin(v, &caches[i]->lock,
				&(struct avm_where){ .detail = caches[i]->name });
	avm_verify_equal(v, 41, "open mmu_gathers", &nowhere, gathers, 0);
}

static void check_mm_locks(struct avm_verify *v, const struct avm_mm *mm)
{
	avm_verify_rwsem(v, &mm->mmap_lock, &(struct avm_where){ .mm = mm, .detail = "mmap_lock" });
	avm_verify_rwsem(v, &mm->notify_lock,
			 &(struct avm_where){ .mm = mm, .detail = "notify_lock" });
	avm_verify_spin(v, &mm->page_table_lock,
			&(struct avm_where){ .mm = mm, .detail = "page_table_lock" });
	if (!v->only && atomic_load_explicit(&mm->write_seq, memory_order_relaxed) % 2)
		avm_verify_say(v, 41, "write_seq is odd: VMA locks are held",
			       &(struct avm_where){ .mm = mm });
	for (uint32_t i = 0; i < avm_cpus(v->m); i++) {
		if (!v->only && atomic_load_explicit(&mm->cpus[i].inside, memory_order_relaxed))
			avm_verify_say(v, 41, "a fault of a CPU is inside a VMA",
				       &(struct avm_where){ .mm = mm });
	}
}

struct promises {
	struct avm_cache_check check;
	uint64_t pages;
};

static void add_promise(struct avm_cache_check *check, void *object)
{
	const struct avm_file *file = object;

	((struct promises *)check)->pages +=
		atomic_load_explicit(&file->size, memory_order_relaxed) >> AVM_PAGE_SHIFT;
}

/* Broken objects are reported where all are looked at. */
static void skip_broken(struct avm_cache_check *check, const void *object, const char *what)
{
	(void)check;
	(void)object;
	(void)what;
}

/* To accounted VMAs, and to shared anonymous memory, whole, while anybody maps some of it. */
static void check_committed(struct avm_verify *v)
{
	struct promises shared = { .check = { .each = add_promise, .broken = skip_broken } };
	uint64_t committed =
		v->committed + atomic_load_explicit(&v->m->committed, memory_order_relaxed);

	avm_cache_check(v->m, &v->m->files, &shared.check);
	avm_verify_equal(v, 1, "pages promised to VMAs and files", &nowhere, committed,
			 v->accounted + shared.pages);
}

static void check_vmas(struct avm_verify *v)
{
	struct avm_mm *mm = NULL;

	if (!v->only) {
		check_mm_list(v);
		check_machine_locks(v);
	}
	while ((mm = avm_verify_next_mm(v, mm))) {
		check_mm_locks(v, mm);
		avm_verify_vmas(v, mm);
	}
	if (!v->only)
		check_committed(v);
}

static int check_pages(struct avm_verify *v)
{
	struct avm_mm *mm = NULL;
	int err = avm_verify_notes(v);

	if (!err)
		err = avm_verify_slots(v);
	if (!err) {
		while ((mm = avm_verify_next_mm(v, mm)))
			avm_verify_entries(v, mm);
		avm_verify_frames(v);
		if (!v->only)
			avm_verify_devices(v);
	}
	avm_verify_free_slots(v);
	avm_verify_free_notes(v);
	return err;
}

static int64_t run(struct avm_verify *v)
{
	int err = 0;

	if (v->level >= AVM_VERIFY_FAMILIES)
		err = avm_verify_collect(v);
	if (err)
		return err;
	check_vmas(v);
	if (v->level >= AVM_VERIFY_FAMILIES)
		avm_verify_families(v);
	if (v->level >= AVM_VERIFY_ALL)
		err = check_pages(v);
	/* Nodes of page caches and files are met on the way to the pages. */
	if (v->level >= AVM_VERIFY_ALL && !v->only && !err)
		avm_verify_unreached(v);
	avm_verify_forget(v);
	return err ? err : v->violations;
}

int64_t avm_verify(struct avm *m, enum avm_verify_level level, struct avm_sink *report)
{
	struct avm_verify v = { .m = m, .report = report, .level = level };

	return run(&v);
}

int64_t avm_verify_mm(struct avm_mm *mm, enum avm_verify_level level, struct avm_sink *report)
{
	struct avm_verify v = { .m = mm->machine, .report = report, .only = mm, .level = level };

	return run(&v);
}
