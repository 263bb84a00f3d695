/* SPDX-License-Identifier: MIT */
/*
 * verify_frame.c - every frame of the machine: what it is used for (V25, V26), who holds it (V21),
 * and that a reverse walk finds who maps it (V22) (verify.h).
 */
#include "verify.h"

#include "avm_arch.h"
#include "list.h"
#include "lock.h"
#include "radix.h"
#include "vma.h"

/* ---- notes ---------------------------------------------------------------------------------- */

static void free_notes_from(struct avm *m, struct avm_notes *n)
{
	while (n) {
		struct avm_notes *next = n->next;

		avm_port_meta_free(m, n, n->bytes);
		n = next;
	}
}

void avm_verify_free_notes(struct avm_verify *v)
{
	free_notes_from(v->m, v->notes);
	v->notes = NULL;
}

int avm_verify_notes(struct avm_verify *v)
{
	uint64_t total = atomic_load_explicit(&v->m->frames_total, memory_order_relaxed);
	uint64_t frames = 0;

	for (const struct avm_region *r = v->m->regions; r; r = r->next) {
		struct avm_notes *n;
		size_t bytes;

		/*
		 * The regions are the embedder's: that there are too many frames is all that can be
		 * seen.
		 */
		if (avm_misaligned(r) || avm_misaligned(r->pages) || !r->count ||
		    r->count > total - frames) {
			avm_verify_say(v, 25, "the list of regions is broken",
				       &(struct avm_where){ .raw = r });
			return 0;
		}
		frames += r->count;
		n = avm_verify_alloc(v->m, sizeof(*n) + r->count * sizeof(n->of[0]), &bytes);
		if (!n)
			return -AVM_ENOMEM;
		n->region = r;
		n->bytes = bytes;
		n->next = v->notes;
		v->notes = n;
	}
	avm_verify_equal(v, 25, "frames of all regions", &(struct avm_where){ 0 }, total, frames);
	return 0;
}

uint32_t *avm_verify_note(const struct avm_verify *v, avm_pfn_t pfn, struct avm_page **page)
{
	for (struct avm_notes *n = v->notes; n; n = n->next) {
		uint64_t i = pfn - n->region->first;

		if (i >= n->region->count)
			continue;
		*page = &n->region->pages[i];
		return &n->of[i];
	}
	return NULL;
}

uint32_t *avm_verify_note_of(const struct avm_verify *v, const struct avm_page *page)
{
	for (struct avm_notes *n = v->notes; n; n = n->next) {
		uintptr_t offset = (uintptr_t)page - (uintptr_t)n->region->pages;

		if (offset / sizeof(*page) < n->region->count && offset % sizeof(*page) == 0)
			return &n->of[offset / sizeof(*page)];
	}
	return NULL;
}

static void complain(struct avm_verify *v, unsigned number, const char *what,
		     const struct avm_page *page)
{
	avm_verify_say(v, number, what, &(struct avm_where){ .page = page });
}

static void check_count(struct avm_verify *v, unsigned number, const char *what,
			const struct avm_page *page, uint64_t found, uint64_t expected)
{
	if (found != expected)
		avm_verify_equal(v, number, what, &(struct avm_where){ .page = page }, found,
				 expected);
}

/* ---- V25: LRU lists ------------------------------------------------------------------------- */

static enum avm_lru lru_of(const struct avm_page *page)
{
	uint32_t flags = avm_page_flags(page);
	bool active = flags & AVM_PG_ACTIVE;

	if (flags & AVM_PG_UNEVICTABLE)
		return AVM_LRU_UNEVICTABLE;
	if (flags & AVM_PG_SWAPBACKED)
		return active ? AVM_LRU_ACTIVE_ANON : AVM_LRU_INACTIVE_ANON;
	return active ? AVM_LRU_ACTIVE_FILE : AVM_LRU_INACTIVE_FILE;
}

/* What has lost its mapping, and its place in the swap cache, is of the kind that it was. */
static bool kind_differs(const struct avm_page *page)
{
	bool swapbacked = avm_page_is_anon(page) ||
			  avm_page_test(page, AVM_PG_SHMEM | AVM_PG_SWAPCACHE);

	return avm_page_test(page, AVM_PG_SWAPBACKED) ? !swapbacked && avm_page_file(page) :
							swapbacked;
}

static void check_lru(struct avm_verify *v, uint32_t cpu, enum avm_lru lru)
{
	const struct avm_list *head = &v->m->cpus[cpu].lru[lru];
	const struct avm_list *at = head;
	uint64_t n = 0;

	while (at->next != head) {
		const struct avm_page *page = avm_suspect(at->next, struct avm_page, lru);
		uint32_t *note = avm_verify_note_of(v, page);

		if (!note || at->next->prev != at) {
			avm_verify_say(v, 25, "an LRU list is broken",
				       &(struct avm_where){ .raw = at->next });
			return;
		}
		*note |= AVM_NOTE_LRU;
		n++;
		if (!avm_page_test(page, AVM_PG_LRU) || lru_of(page) != lru ||
		    avm_page_cpu(page) != cpu)
			complain(v, 25, "a page is on an LRU list that its flags do not name",
				 page);
		if (kind_differs(page))
			complain(v, 25, "a page ages with pages of another kind", page);
		at = at->next;
	}
	if (head->prev != at)
		avm_verify_say(v, 25, "an LRU list ends elsewhere",
			       &(struct avm_where){ .raw = head->prev });
	check_count(v, 25, "length of an LRU list", NULL, v->m->cpus[cpu].lru_count[lru], n);
}

/* ---- page caches ---------------------------------------------------------------------------- */

static void check_cached(struct avm_verify *v, const struct avm_file *file, uint64_t index,
			 const struct avm_page *page)
{
	uint32_t *note = avm_verify_note_of(v, page);

	if (!note) {
		avm_verify_say(v, 25, "the page cache holds something that is no page",
			       &(struct avm_where){ .file = file, .raw = page });
		return;
	}
	if (*note & AVM_NOTE_CACHED)
		complain(v, 25, "a page is in the page cache twice", page);
	*note |= AVM_NOTE_CACHED;
	if (avm_page_is_anon(page) || avm_page_file(page) != file ||
	    atomic_load_explicit(&page->index, memory_order_relaxed) != index)
		avm_verify_say(v, 25, "a cached page names another file or index",
			       &(struct avm_where){ .file = file, .page = page });
}

static bool visit_radix_node(void *context, const void *node)
{
	struct avm_record *r = avm_verify_record(context, AVM_IS_RADIX_NODE, node);

	return r && !r->reached++;
}

static void check_page_cache(struct avm_verify *v, const struct avm_file *file)
{
	const struct avm_where where = { .file = file };
	/* Shared anonymous memory may be larger than the machine: what is in swap is an item, too. */
	uint64_t most = v->m->frames_total + atomic_load(&v->m->swap_slots);
	uint64_t index, n = 0, slots = 0;
	const char *fault;
	const void *item;

	if (avm_radix_visit(&file->pages, visit_radix_node, v))
		fault = avm_radix_check(&file->pages, most);
	else
		fault = "radix tree: a link leads to no node of this tree";
	if (fault) {
		avm_verify_say(v, 25, fault, &(struct avm_where){ .file = file });
		return;
	}
	avm_radix_for_each(item, &file->pages, index, 0, UINT64_MAX)
	{
		if (file->shmem && avm_cache_is_slot(item)) {
			avm_verify_slot_named(v, avm_cache_slot(item), &where);
			slots++;
		} else {
			check_cached(v, file, index, item);
			n++;
		}
	}
	avm_verify_equal(v, 25, "pages in a page cache", &where, file->nr_pages, n);
	avm_verify_equal(v, 30, "swap slots in a page cache", &where, file->nr_swapped, slots);
}

/*
 * Shared anonymous memory that has been in swap, mapped or not: it names slots. As with address spaces, a list of the
 * embedder's structs is followed as long as it is a list.
 */
static void check_swapped_files(struct avm_verify *v)
{
	const struct avm_list *head = &v->m->swapped_files, *at = head;

	while (at->next != head) {
		const struct avm_file *file = avm_suspect(at->next, struct avm_file, swapped);
		const struct avm_record *r;

		if (avm_misaligned(file) || at->next->prev != at || file->machine != v->m) {
			avm_verify_say(v, 31, "the list of files in swap is broken",
				       &(struct avm_where){ .raw = file });
			return;
		}
		r = avm_verify_record(v, AVM_IS_FILE, file);
		if (!r || !r->reached)
			check_page_cache(v, file);
		at = at->next;
	}
}

static void check_page_caches(struct avm_verify *v)
{
	const struct avm_mm *mm = NULL;
	const struct avm_vma *vma;

	while ((mm = avm_verify_next_mm(v, mm))) {
		for (vma = NULL; (vma = avm_verify_next_vma(v, mm, vma));) {
			if (vma->file && avm_verify_file_ok(v, vma->file) &&
			    avm_verify_first_of_file(v, vma))
				check_page_cache(v, vma->file);
		}
	}
}

/* ---- V22 ------------------------------------------------------------------------------------ */

struct rwalk {
	struct avm_verify *v;
	const struct avm_page *page;
	uint64_t index;
	uint32_t found;
};

/* A VMA that the walk meets: does it map the page where the arithmetic says? */
static void visit(struct rwalk *w, const struct avm_vma *vma)
{
	const struct avm_record *r = avm_verify_record(w->v, AVM_IS_VMA, vma);
	avm_pte_t pte;

	/*
	 * One that is in no address space met, or names another (V3, V40): its owner is not
	 * followed.
	 */
	if (!r || !r->reached || r->broken)
		return;
	pte = avm_verify_pte(w->v, vma->mm, avm_vma_addr(vma, w->index));
	if (avm_pte_present(pte) && !avm_pte_special(pte) && avm_pte_pfn(pte) == w->page->pfn)
		w->found++;
}

/* May the tree of this anon_vma, of this file, be searched? Otherwise that has been reported. */
static bool searchable(const struct avm_verify *v, enum avm_verify_kind kind, const void *object)
{
	const struct avm_record *r = avm_verify_record(v, kind, object);

	return r && !r->broken && (!v->only || r->reached);
}

/*
 * The walk visits each VMA of a tree once (V12, V3), and each pair of VMA and address that it
 * counts has an entry that maps the page: so the pairs are those of the entries if there are as
 * many.
 */
static void check_walk(struct avm_verify *v, const struct avm_page *page, uint32_t mapped)
{
	struct rwalk w = {
		.v = v,
		.page = page,
		.index = atomic_load_explicit(&page->index, memory_order_relaxed),
	};

	if (avm_page_is_anon(page)) {
		const struct avm_anon_vma *av = avm_page_anon_vma(page);
		const struct avm_anon_vma_chain *avc;

		if (!searchable(v, AVM_IS_ANON_VMA, av))
			return;
		for (avc = avm_family_tree_iter_first(&av->tree, w.index, w.index); avc;
		     avc = avm_family_tree_iter_next(avc, w.index, w.index))
			visit(&w, avc->vma);
	} else {
		const struct avm_file *file = avm_page_file(page);
		const struct avm_vma *vma;

		/* Of one address space alone, the trees of files are not looked at. */
		if (v->only)
			return;
		if (!searchable(v, AVM_IS_FILE, file)) {
			complain(v, 22, "a mapped page belongs to no file that is mapped", page);
			return;
		}
		for (vma = avm_mappings_iter_first(&file->mappings, w.index, w.index); vma;
		     vma = avm_mappings_iter_next(vma, w.index, w.index))
			visit(&w, vma);
	}
	check_count(v, 22, "entries that a reverse walk finds", page, w.found, mapped);
}

/* ---- V21, V24, V25, V26: one frame ---------------------------------------------------------- */

/* What is known of all frames, to be compared with the machine's counters. */
struct tally {
	uint64_t used;
	uint64_t poisoned;
	uint64_t tables;
};

/* Of what is never exclusive. */
static uint32_t mapcount_word(const struct avm_page *page)
{
	return atomic_load_explicit(&page->mapcount, memory_order_relaxed);
}

static void check_free(struct avm_verify *v, const struct avm_page *page)
{
	if (avm_page_flags(page))
		complain(v, 26, "a free frame has flags", page);
	check_count(v, 26, "references of a free frame", page, avm_page_refs(page), 0);
	check_count(v, 26, "mapcount of a free frame", page, mapcount_word(page), 0);
	if (atomic_load_explicit(&page->mapping, memory_order_relaxed))
		complain(v, 26, "a free frame has a mapping", page);
}

static void check_table(struct avm_verify *v, const struct avm_page *page, uint32_t note)
{
	if (!(note & AVM_NOTE_TABLE))
		complain(v, 25, "a page table is in no address space", page);
	if (avm_page_flags(page) & ~(uint32_t)(AVM_PG_INUSE | AVM_PG_TABLE))
		complain(v, 25, "a page table has flags of another use", page);
	check_count(v, 21, "references of a page table", page, avm_page_refs(page), 1);
	check_count(v, 21, "mapcount of a page table", page, mapcount_word(page),
		    note & AVM_NOTE_COUNT);
}

/* V24 */
static void check_zero(struct avm_verify *v, const struct avm_page *page)
{
	if (page != v->m->zero_page)
		complain(v, 24, "a second zero page", page);
	if (avm_page_flags(page) != (AVM_PG_INUSE | AVM_PG_ZERO))
		complain(v, 24, "the zero page has other flags", page);
	if (atomic_load_explicit(&page->mapping, memory_order_relaxed))
		complain(v, 24, "the zero page has a mapping", page);
	check_count(v, 24, "mapcount of the zero page", page, mapcount_word(page), 0);
	check_count(v, 24, "references of the zero page", page, avm_page_refs(page), 1);
}

/* Whether the page cache holds a reference on the page. */
static bool is_cached(struct avm_verify *v, const struct avm_page *page, uint32_t note)
{
	const struct avm_file *file = avm_page_file(page);
	const struct avm_record *r;

	if (note & AVM_NOTE_CACHED)
		return true;
	if (avm_page_is_anon(page) || !file)
		return false;
	/* The cache of a file that nobody maps cannot be looked at: take the page's word for it. */
	r = avm_verify_record(v, AVM_IS_FILE, file);
	if (!r || !r->reached)
		return true;
	complain(v, 25, "a page is not in the page cache that it names", page);
	return false;
}

static void check_user(struct avm_verify *v, const struct avm_page *page, uint32_t note)
{
	uint32_t flags = avm_page_flags(page);
	uint32_t mapped = note & AVM_NOTE_COUNT;
	bool isolated = flags & AVM_PG_ISOLATED;
	bool cached = is_cached(v, page, note);
	bool in_swap = avm_verify_in_swap(v, page);
	uint32_t pins = atomic_load_explicit(&page->pins, memory_order_relaxed);

	if (!!(flags & AVM_PG_LRU) != !!(note & AVM_NOTE_LRU))
		complain(v, 25, "a page's LRU flag and the LRU lists differ", page);
	if ((flags & AVM_PG_LRU) && isolated)
		complain(v, 25, "an isolated page is on an LRU list", page);
	if (!(flags & AVM_PG_LRU) && !isolated && !cached && !pins)
		complain(v, 25, "a frame is in use for nothing", page);
	if ((flags & AVM_PG_UNEVICTABLE) && !(note & AVM_NOTE_LOCKED))
		complain(v, 25, "a page is unevictable, and no locked mapping has it", page);
	if (flags & (AVM_PG_LOCKED | AVM_PG_WAITERS))
		complain(v, 41, "a page is locked", page);
	if (avm_page_is_exclusive(page) && (!avm_page_is_anon(page) || mapped != 1 ||
					    (in_swap && avm_verify_slot_names(v, page->u.swap))))
		complain(v, 23, "a page is exclusive and can be seen by several", page);
	if (avm_page_is_anon(page) && mapped && (note & AVM_NOTE_CLEAN) && !in_swap &&
	    !(flags & (AVM_PG_DIRTY | AVM_PG_LAZYFREE)))
		complain(
			v, 27,
			"a page's content is nowhere else, and an entry says that it is not wanted",
			page);
	if (avm_page_is_merged(page) && (flags & AVM_PG_LAZYFREE))
		complain(v, 27, "a merged page, whose entries are clean, may be given up", page);
	check_count(v, 21, "mapcount", page, avm_page_mapcount(page), mapped);
	check_count(v, 21, "references", page, avm_page_refs(page),
		    (uint64_t)(avm_page_is_anon(page) ? mapped != 0 : mapped) + cached + in_swap +
			    isolated + pins);
	/* Merged and in the cache alone it is met here only. */
	if (avm_page_is_merged(page))
		avm_verify_merged_node(v, page);
	else if (mapped)
		check_walk(v, page, mapped);
}

/* It is nobody's; only who names the slot of what it held may still come by (R16). */
static void check_poisoned(struct avm_verify *v, const struct avm_page *page, uint32_t note)
{
	if (avm_page_flags(page) & (AVM_PG_LRU | AVM_PG_ISOLATED | AVM_PG_LOCKED | AVM_PG_TABLE) ||
	    (note & (AVM_NOTE_LRU | AVM_NOTE_CACHED | AVM_NOTE_TABLE)) ||
	    atomic_load_explicit(&page->mapping, memory_order_relaxed))
		complain(v, 25, "a poisoned frame is in use", page);
	check_count(v, 21, "mappings of a poisoned frame", page, note & AVM_NOTE_COUNT, 0);
	check_count(v, 21, "mapcount of a poisoned frame", page, mapcount_word(page), 0);
	check_count(v, 21, "references of a poisoned frame", page, avm_page_refs(page),
		    1u + avm_verify_in_swap(v, page));
}

static void check_frame(struct avm_verify *v, const struct avm_page *page, uint32_t note,
			struct tally *tally)
{
	uint32_t flags = avm_page_flags(page);

	if (!(flags & AVM_PG_INUSE)) {
		check_free(v, page);
		return;
	}
	tally->used++;
	if (flags & AVM_PG_TABLE) {
		tally->tables++;
		check_table(v, page, note);
	} else if (flags & AVM_PG_POISONED) {
		tally->poisoned++;
		check_poisoned(v, page, note);
	} else if ((flags & AVM_PG_ZERO) || page == v->m->zero_page) {
		check_zero(v, page);
	} else {
		check_user(v, page, note);
	}
}

static void check_all(struct avm_verify *v)
{
	struct tally tally = { 0 };

	check_page_caches(v);
	check_swapped_files(v);
	for (uint32_t cpu = 0; cpu < avm_cpus(v->m); cpu++)
		for (int lru = 0; lru < AVM_NR_LRU; lru++)
			check_lru(v, cpu, (enum avm_lru)lru);
	for (const struct avm_notes *n = v->notes; n; n = n->next) {
		for (uint64_t i = 0; i < n->region->count; i++) {
			const struct avm_page *page = &n->region->pages[i];

			check_count(v, 25, "number of a frame", page, page->pfn,
				    n->region->first + i);
			check_frame(v, page, n->of[i], &tally);
		}
	}
	check_count(v, 25, "frames in use", NULL, avm_cpu_sum(v->m, &v->m->cpus[0].frames_used),
		    tally.used);
	check_count(v, 25, "poisoned frames", NULL,
		    atomic_load_explicit(&v->m->frames_poisoned, memory_order_relaxed),
		    tally.poisoned);
	check_count(v, 25, "page tables in use", NULL,
		    avm_cpu_sum(v->m, &v->m->cpus[0].tables_used), tally.tables);
}

/* Of the frames that one address space maps. */
static void check_own(struct avm_verify *v)
{
	for (const struct avm_notes *n = v->notes; n; n = n->next) {
		for (uint64_t i = 0; i < n->region->count; i++) {
			const struct avm_page *page = &n->region->pages[i];
			uint32_t mapped = n->of[i] & AVM_NOTE_COUNT;

			if (!mapped)
				continue;
			if (avm_page_mapcount(page) < mapped)
				complain(v, 21, "a page is mapped more often than it says", page);
			if (avm_page_refs(page) < (avm_page_is_anon(page) ? 1 : mapped))
				complain(v, 21, "a page has fewer references than mappings", page);
			if (!avm_page_is_merged(page))
				check_walk(v, page, mapped);
		}
	}
}

void avm_verify_frames(struct avm_verify *v)
{
	if (v->only)
		check_own(v);
	else
		check_all(v);
}
