/* SPDX-License-Identifier: MIT */
/*
 * dump.c - address spaces, families and pages as text. Objects are named by their ids and frames by
 * their numbers, never by their pointers, so that the same state gives the same text in every run.
 */
#include "anonvm/observe.h"

#include "anon_vma.h"
#include "file.h"
#include "format.h"
#include "list.h"
#include "merged.h"
#include "mm.h"
#include "page.h"
#include "pgtable.h"
#include "vma.h"

enum {
	LINE = 320, /* longer than any line below */
};

struct dump {
	struct avm_sink *sink;
	struct avm_text t;
	char buf[LINE];
};

static void begin(struct dump *d, struct avm_sink *sink)
{
	d->sink = sink;
	avm_text_init(&d->t, d->buf, sizeof(d->buf));
}

static void emit(struct dump *d)
{
	d->sink->line(d->sink, d->buf);
	avm_text_cut(&d->t, 0);
}

static void put_range(struct avm_text *t, avm_addr_t start, avm_addr_t end)
{
	avm_text_hex(t, start, 8);
	avm_text_char(t, '-');
	avm_text_hex(t, end, 8);
}

static void put_perms(struct avm_text *t, uint64_t flags)
{
	avm_text_char(t, flags & AVM_VM_READ ? 'r' : '-');
	avm_text_char(t, flags & AVM_VM_WRITE ? 'w' : '-');
	avm_text_char(t, flags & AVM_VM_EXEC ? 'x' : '-');
	avm_text_char(t, flags & AVM_VM_SHARED ? 's' : 'p');
}

static uint64_t id_of(const struct avm_anon_vma *av)
{
	return av ? av->id : 0;
}

/* ---- maps ----------------------------------------------------------------------------------- */

static void put_backing(struct avm_text *t, const struct avm_vma *vma)
{
	const struct avm_mm *mm = vma->mm;

	if (vma->file) {
		avm_text_str(t, vma->file->shmem ? "shmem:" : "file:");
		avm_text_dec(t, vma->file->id);
	} else if (vma->flags & AVM_VM_SPECIAL) {
		avm_text_str(t, "[frames]");
	} else if (vma->flags & (AVM_VM_STACK | AVM_VM_GROWSDOWN)) {
		avm_text_str(t, "[stack]");
	} else if (mm->brk > mm->brk_start && vma->start < mm->brk && vma->end > mm->brk_start) {
		avm_text_str(t, "[heap]");
	} else {
		avm_text_str(t, "anon");
	}
	if (vma->name)
		avm_text_field(t, "name", vma->name);
}

void avm_dump_maps(struct avm_mm *mm, struct avm_sink *sink)
{
	const struct avm_vma *vma;
	struct dump d;

	begin(&d, sink);
	avm_list_for_each_entry(vma, &mm->vmas.list, struct avm_vma, link) {
		const struct avm_anon_vma *own = avm_vma_anon(vma);

		put_range(&d.t, vma->start, vma->end);
		avm_text_char(&d.t, ' ');
		put_perms(&d.t, vma->flags);
		avm_text_char(&d.t, ' ');
		avm_text_hex(&d.t, vma->pgoff, 8);
		avm_text_char(&d.t, ' ');
		put_backing(&d.t, vma);
		if (own) {
			avm_text_str(&d.t, " [anon_vma ");
			avm_text_dec(&d.t, own->id);
			avm_text_field(&d.t, "root", avm_family_root(own)->id);
			avm_text_field(&d.t, "chain",
				       atomic_load_explicit(&vma->chain_len, memory_order_relaxed));
			avm_text_char(&d.t, ']');
		}
		emit(&d);
	}
}

/* ---- everything ----------------------------------------------------------------------------- */

static uint64_t load(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

/* Page tables are not counted here: a failed operation may leave empty ones behind. */
static void dump_mm_counters(struct dump *d, const struct avm_mm *mm)
{
	avm_text_str(&d->t, "mm");
	avm_text_field(&d->t, "id", mm->id);
	avm_text_field_hex(&d->t, "lowest", mm->lowest);
	avm_text_field_hex(&d->t, "task_size", mm->task_size);
	avm_text_field_hex(&d->t, "mmap_base", mm->mmap_base);
	avm_text_field_hex(&d->t, "brk_start", mm->brk_start);
	avm_text_field_hex(&d->t, "brk", mm->brk);
	avm_text_field_hex(&d->t, "default_flags", mm->default_flags);
	emit(d);
	avm_text_str(&d->t, "limits");
	avm_text_field_hex(&d->t, "as", mm->limits.address_space);
	avm_text_field_hex(&d->t, "data", mm->limits.data);
	avm_text_field_hex(&d->t, "stack", mm->limits.stack);
	avm_text_field_hex(&d->t, "locked", mm->limits.locked);
	emit(d);
	avm_text_str(&d->t, "pages");
	avm_text_field(&d->t, "vmas", mm->vmas.count);
	avm_text_field(&d->t, "total", mm->total_vm);
	avm_text_field(&d->t, "data", mm->data_vm);
	avm_text_field(&d->t, "exec", mm->exec_vm);
	avm_text_field(&d->t, "stack", mm->stack_vm);
	avm_text_field(&d->t, "locked", mm->locked_vm);
	avm_text_field(&d->t, "rss_file", avm_mm_rss(mm, AVM_RSS_FILE));
	avm_text_field(&d->t, "rss_anon", avm_mm_rss(mm, AVM_RSS_ANON));
	avm_text_field(&d->t, "rss_swap", avm_mm_rss(mm, AVM_RSS_SWAP));
	avm_text_field(&d->t, "rss_shmem", avm_mm_rss(mm, AVM_RSS_SHMEM));
	emit(d);
}

static void put_anon_vma(struct avm_text *t, const struct avm_anon_vma *av)
{
	avm_text_field(t, "anon_vma", av->id);
	avm_text_field(t, "root", avm_family_root(av)->id);
	avm_text_field(t, "parent", av->parent->id);
	avm_text_field(t, "refs", atomic_load_explicit(&av->refcount, memory_order_relaxed));
	avm_text_field(t, "children", av->num_children);
	avm_text_field(t, "active", av->num_active_vmas);
}

static void dump_vma(struct dump *d, const struct avm_vma *vma)
{
	const struct avm_anon_vma_chain *avc;

	avm_text_str(&d->t, "vma ");
	put_range(&d->t, vma->start, vma->end);
	avm_text_char(&d->t, ' ');
	put_perms(&d->t, vma->flags);
	avm_text_field_hex(&d->t, "flags", vma->flags);
	avm_text_field_hex(&d->t, "pgoff", vma->pgoff);
	avm_text_field(&d->t, "file", vma->file ? vma->file->id : 0);
	avm_text_field(&d->t, "mapped", vma->file ? vma->file->nr_mappings : 0);
	avm_text_field_hex(&d->t, "private", vma->private_data);
	avm_text_field(&d->t, "policy", vma->policy);
	avm_text_field(&d->t, "name", vma->name);
	avm_text_field(&d->t, "own", id_of(avm_vma_anon(vma)));
	avm_text_field(&d->t, "chain", atomic_load_explicit(&vma->chain_len, memory_order_relaxed));
	emit(d);
	avm_list_for_each_entry(avc, &vma->chain, struct avm_anon_vma_chain, same_vma) {
		avm_text_str(&d->t, " ");
		put_anon_vma(&d->t, avc->anon_vma);
		emit(d);
	}
}

static const struct {
	uint32_t flag;
	const char *name;
} page_flags[] = {
	{ AVM_PG_LOCKED, "locked" },
	{ AVM_PG_WAITERS, "waiters" },
	{ AVM_PG_INUSE, "inuse" },
	{ AVM_MAPCOUNT_EXCLUSIVE, "exclusive" },
	{ AVM_PG_DIRTY, "dirty" },
	{ AVM_PG_UPTODATE, "uptodate" },
	{ AVM_PG_LRU, "lru" },
	{ AVM_PG_ACTIVE, "active" },
	{ AVM_PG_REFERENCED, "referenced" },
	{ AVM_PG_UNEVICTABLE, "unevictable" },
	{ AVM_PG_SHMEM, "shmem" },
	{ AVM_PG_TABLE, "table" },
	{ AVM_PG_ZERO, "zero" },
	{ AVM_PG_ISOLATED, "isolated" },
	{ AVM_PG_SWAPCACHE, "swapcache" },
	{ AVM_PG_LAZYFREE, "lazyfree" },
	{ AVM_PG_POISONED, "poisoned" },
	{ AVM_PG_SWAPBACKED, "swapbacked" },
};

static void put_page_flags(struct avm_text *t, const struct avm_page *page, uint32_t which)
{
	/* That it is exclusive lies elsewhere, where no flag is. */
	uint32_t flags = (avm_page_flags(page) & which) |
			 (atomic_load_explicit(&page->mapcount, memory_order_relaxed) &
			  AVM_MAPCOUNT_EXCLUSIVE);
	char before = ' ';

	if (!flags)
		avm_text_str(t, " free");
	for (size_t i = 0; i < sizeof(page_flags) / sizeof(page_flags[0]); i++) {
		if (!(flags & page_flags[i].flag))
			continue;
		avm_text_char(t, before);
		avm_text_str(t, page_flags[i].name);
		before = ',';
	}
}

/* pre: the page is mapped, so that an anonymous one's anon_vma is alive. */
static void put_mapping(struct avm_text *t, const struct avm_page *page)
{
	if (avm_page_is_merged(page))
		avm_text_field(t, "merged", avm_page_merged(page)->nr_items);
	else if (avm_page_is_anon(page))
		avm_text_field(t, "anon_vma", id_of(avm_page_anon_vma(page)));
	else if (avm_page_file(page))
		avm_text_field(t, "file", avm_page_file(page)->id);
	avm_text_field_hex(t, "index", load(&page->index));
}

static void put_entry_bits(struct avm_text *t, const struct avm_pte_info *info)
{
	avm_text_char(t, info->write ? 'w' : '-');
	avm_text_char(t, info->exec ? 'x' : '-');
	avm_text_char(t, info->young ? 'y' : '-');
	avm_text_char(t, info->dirty ? 'd' : '-');
	avm_text_char(t, info->none ? 'n' : '-');
	avm_text_char(t, info->special ? 's' : '-');
}

static void put_entry(struct avm_text *t, const struct avm_pte_info *info)
{
	static const char *const kinds[] = {
		[AVM_PTE_NONE] = "none",     [AVM_PTE_PRESENT] = "present",
		[AVM_PTE_SWAP] = "swap",     [AVM_PTE_MIGRATION] = "migration",
		[AVM_PTE_POISON] = "poison",
	};

	avm_text_str(t, "pte ");
	avm_text_hex(t, info->addr, 8);
	avm_text_char(t, ' ');
	avm_text_str(t, kinds[info->kind]);
	avm_text_char(t, ' ');
	put_entry_bits(t, info);
	if (info->kind != AVM_PTE_PRESENT) {
		avm_text_field_hex(t, "value", info->entry);
		return;
	}
	avm_text_field_hex(t, "pfn", info->pfn);
	if (info->zero) {
		avm_text_str(t, " zero");
		return;
	}
	if (!info->page)
		return;
	put_page_flags(t, info->page, AVM_PG_DIRTY | AVM_PG_INUSE);
	avm_text_field(t, "mapcount", avm_page_mapcount(info->page));
	put_mapping(t, info->page);
}

void avm_dump_mm(struct avm_mm *mm, struct avm_sink *sink)
{
	struct avm_pte_info info = { .addr = 0 };
	const struct avm_vma *vma;
	struct dump d;

	begin(&d, sink);
	dump_mm_counters(&d, mm);
	avm_list_for_each_entry(vma, &mm->vmas.list, struct avm_vma, link)
		dump_vma(&d, vma);
	for (; avm_next_pte(mm, mm->task_size, &info); info.addr += AVM_PAGE_SIZE) {
		put_entry(&d.t, &info);
		emit(&d);
	}
}

/* ---- families ------------------------------------------------------------------------------- */

static void dump_members(struct dump *d, const struct avm_anon_vma *av)
{
	const struct avm_inode *node;

	for (node = avm_itree_first(&av->tree); node; node = avm_inode_next(node)) {
		const struct avm_vma *vma = avm_family_tree_entry(node)->vma;

		avm_text_str(&d->t, "    mm ");
		avm_text_dec(&d->t, vma->mm->id);
		avm_text_char(&d->t, ' ');
		put_range(&d->t, vma->start, vma->end);
		avm_text_field_hex(&d->t, "pages", avm_vma_first_index(vma));
		avm_text_char(&d->t, '-');
		avm_text_hex(&d->t, avm_vma_last_index(vma), 1);
		emit(d);
	}
}

void avm_dump_families(struct avm_mm *mm, struct avm_sink *sink)
{
	const struct avm_anon_vma_chain *avc;
	const struct avm_vma *vma;
	struct dump d;

	begin(&d, sink);
	avm_list_for_each_entry(vma, &mm->vmas.list, struct avm_vma, link) {
		avm_text_str(&d.t, "vma ");
		put_range(&d.t, vma->start, vma->end);
		avm_text_char(&d.t, ' ');
		put_perms(&d.t, vma->flags);
		if (avm_list_empty(&vma->chain))
			avm_text_str(&d.t, " unfaulted");
		emit(&d);
		avm_list_for_each_entry(avc, &vma->chain, struct avm_anon_vma_chain, same_vma) {
			avm_text_char(&d.t, ' ');
			put_anon_vma(&d.t, avc->anon_vma);
			if (avc->anon_vma == avm_vma_anon(vma))
				avm_text_str(&d.t, " own");
			emit(&d);
			dump_members(&d, avc->anon_vma);
		}
	}
}

/* ---- one page ------------------------------------------------------------------------------- */

static void dump_mappers(struct dump *d, struct avm *m, struct avm_page *page)
{
	struct avm_rmap_iter it;

	if (avm_rmap_iter_begin(m, &it, page))
		return;
	while (avm_rmap_iter_next(m, &it)) {
		avm_text_str(&d->t, "  mapped by mm ");
		avm_text_dec(&d->t, it.vma->mm->id);
		avm_text_str(&d->t, " at ");
		avm_text_hex(&d->t, it.addr, 8);
		avm_text_str(&d->t, " in ");
		put_range(&d->t, it.vma->start, it.vma->end);
		emit(d);
	}
	avm_text_str(&d->t, "  walk");
	avm_text_field(&d->t, "visited", it.visited);
	avm_text_field(&d->t, "mapped", it.mapped);
	avm_rmap_iter_end(m, &it);
	emit(d);
}

static void put_table(struct avm_text *t, const struct avm_page *page)
{
	const struct avm_mm *mm =
		(const struct avm_mm *)atomic_load_explicit(&page->mapping, memory_order_relaxed);

	avm_text_field(t, "mm", mm ? mm->id : 0);
	avm_text_field(t, "level", page->u.table.level);
	avm_text_field(t, "used", page->u.table.used);
	avm_text_field_hex(t, "from", load(&page->index));
}

void avm_dump_page(struct avm *m, struct avm_page *page, struct avm_sink *sink)
{
	uint32_t flags = avm_page_flags(page);
	struct dump d;

	begin(&d, sink);
	avm_text_str(&d.t, "pfn ");
	avm_text_hex(&d.t, page->pfn, 1);
	put_page_flags(&d.t, page, AVM_PG_FLAGS);
	avm_text_field(&d.t, "refs", avm_page_refs(page));
	avm_text_field(&d.t, "mapcount", avm_page_mapcount(page));
	if (flags & AVM_PG_TABLE)
		put_table(&d.t, page);
	else if (avm_page_mapped(page) || !avm_page_is_anon(page))
		put_mapping(&d.t, page);
	emit(&d);
	if (avm_page_mapped(page))
		dump_mappers(&d, m, page);
}
