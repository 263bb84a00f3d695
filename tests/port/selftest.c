/* SPDX-License-Identifier: MIT */
/* selftest.c - checks of a port and an arch from inside, without libc (selftest.h). Speaks TAP through the log. */
#include "selftest.h"

#include <string.h>

#include "anonvm/anonvm.h"
#include "avm_arch.h"
#include "avm_port.h"
#include "frame.h"
#include "lock.h"

#define NR_FRAMES 16
#define NR_SIZES 4
#define PATIENCE 100000000u /* turns to wait for a grace period */

struct tap {
	struct avm *m;
	unsigned checks, failed;
};

static char *put_text(char *to, char *end, const char *text)
{
	while (*text && to < end)
		*to++ = *text++;
	return to;
}

static char *put_number(char *to, char *end, unsigned n)
{
	char digits[16];
	size_t i = sizeof(digits);

	digits[--i] = '\0';
	do {
		digits[--i] = (char)('0' + n % 10);
		n /= 10;
	} while (n && i);
	return put_text(to, end, &digits[i]);
}

static void check(struct tap *t, bool passed, const char *what)
{
	char line[128];
	char *end = line + sizeof(line) - 1;
	char *to;

	t->checks++;
	t->failed += !passed;
	to = put_text(line, end, passed ? "ok " : "not ok ");
	to = put_number(to, end, t->checks);
	to = put_text(to, end, " - ");
	to = put_text(to, end, what);
	*to = '\0';
	avm_port_log(t->m, passed ? AVM_LOG_INFO : AVM_LOG_ERROR, line);
}

static void plan(struct tap *t)
{
	char line[32];
	char *end = line + sizeof(line) - 1;
	char *to = put_text(line, end, "1..");

	to = put_number(to, end, t->checks);
	*to = '\0';
	avm_port_log(t->m, AVM_LOG_INFO, line);
}

/* ---- frames -------------------------------------------------------------------------------------------- */

struct frames {
	avm_pfn_t pfn[NR_FRAMES];
	unsigned nr;
};

static bool take_frames(struct avm *m, struct frames *f, enum avm_frame_use use)
{
	for (f->nr = 0; f->nr < NR_FRAMES; f->nr++) {
		f->pfn[f->nr] = avm_port_frame_alloc(m, use);
		if (f->pfn[f->nr] == AVM_PFN_NONE)
			return false;
	}
	return true;
}

static void give_frames(struct avm *m, struct frames *f)
{
	while (f->nr)
		avm_port_frame_free(m, f->pfn[--f->nr]);
}

static bool all_in_regions(struct avm *m, const struct frames *f)
{
	for (unsigned i = 0; i < f->nr; i++) {
		if (!avm_page_of(m, f->pfn[i]))
			return false;
	}
	return true;
}

static bool all_different(const struct frames *f)
{
	for (unsigned i = 0; i < f->nr; i++) {
		for (unsigned j = 0; j < i; j++) {
			if (f->pfn[i] == f->pfn[j])
				return false;
		}
	}
	return true;
}

/* A byte that tells apart the place in the frame and the frame. */
static unsigned char mark(unsigned frame, size_t i)
{
	return (unsigned char)(i * 7 + (i >> 8) + frame * 31 + 1);
}

static void check_tables(struct tap *t)
{
	bool aligned = true, same = true, kept = true;
	struct frames f;

	check(t, take_frames(t->m, &f, AVM_FRAME_TABLE), "frames for tables are given");
	check(t, all_in_regions(t->m, &f), "they lie in a region");
	check(t, all_different(&f), "each is given once");
	for (unsigned i = 0; i < f.nr; i++) {
		unsigned char *p = avm_port_frame_ptr(t->m, f.pfn[i]);

		aligned = aligned && p && !((uintptr_t)p % sizeof(avm_pte_t));
		for (size_t k = 0; p && k < AVM_PAGE_SIZE; k++)
			p[k] = mark(i, k);
	}
	check(t, aligned, "a pointer to a table is aligned for its entries");
	for (unsigned i = 0; i < f.nr; i++) {
		const unsigned char *p = avm_port_frame_ptr(t->m, f.pfn[i]);

		same = same && p && p == avm_port_frame_ptr(t->m, f.pfn[i]);
		for (size_t k = 0; p && k < AVM_PAGE_SIZE; k++)
			kept = kept && p[k] == mark(i, k);
	}
	check(t, same, "the pointer stays the same");
	check(t, kept, "tables keep what is written, and do not overlap");
	give_frames(t->m, &f);
	check(t, take_frames(t->m, &f, AVM_FRAME_TABLE), "frames that were freed are given again");
	give_frames(t->m, &f);
}

/* The first 8 bytes are all that a port of stamps has. */
static uint64_t stamp_of(struct avm *m, avm_pfn_t pfn)
{
	uint64_t stamp;

	avm_port_frame_read(m, pfn, 0, &stamp, sizeof(stamp));
	return stamp;
}

static void check_contents(struct tap *t)
{
	struct avm *m = t->m;
	bool cleared = true, kept = true;
	struct frames f;
	uint64_t stamp = 0x0123456789abcdefull;

	check(t, take_frames(m, &f, AVM_FRAME_USER), "frames for users are given");
	for (unsigned i = 0; i < f.nr; i++) {
		uint64_t own = stamp + i;

		avm_port_frame_write(m, f.pfn[i], 0, &own, sizeof(own));
	}
	for (unsigned i = 0; i < f.nr; i++)
		kept = kept && stamp_of(m, f.pfn[i]) == stamp + i;
	check(t, kept, "contents written are read again");
	if (f.nr >= 2) {
		check(t, !avm_port_frame_same(m, f.pfn[0], f.pfn[1]), "different frames differ");
		avm_port_frame_copy(m, f.pfn[0], f.pfn[1]);
		check(t, stamp_of(m, f.pfn[0]) == stamp + 1 && stamp_of(m, f.pfn[1]) == stamp + 1,
		      "a copy has the contents of its source");
		check(t, avm_port_frame_same(m, f.pfn[0], f.pfn[1]), "and is the same");
	}
	for (unsigned i = 0; i < f.nr; i++) {
		avm_port_frame_clear(m, f.pfn[i]);
		cleared = cleared && !stamp_of(m, f.pfn[i]);
	}
	check(t, cleared, "a cleared frame reads as zero");
	give_frames(m, &f);
}

/* ---- metadata ------------------------------------------------------------------------------------------ */

static void check_meta(struct tap *t)
{
	unsigned char *p[NR_SIZES];
	bool given = true, aligned = true, kept = true;

	for (unsigned i = 0; i < NR_SIZES; i++) {
		size_t size = (size_t)AVM_META_MIN << i;

		p[i] = avm_port_meta_alloc(t->m, size);
		given = given && p[i];
		aligned = aligned && !((uintptr_t)p[i] % size);
		for (size_t k = 0; p[i] && k < size; k++)
			p[i][k] = mark(i, k);
	}
	for (unsigned i = 0; i < NR_SIZES; i++) {
		for (size_t k = 0; p[i] && k < (size_t)AVM_META_MIN << i; k++)
			kept = kept && p[i][k] == mark(i, k);
	}
	check(t, given, "metadata is given, in several sizes");
	check(t, aligned, "it is aligned to its size");
	check(t, kept, "it keeps what is written, and does not overlap");
	for (unsigned i = 0; i < NR_SIZES; i++) {
		if (p[i])
			avm_port_meta_free(t->m, p[i], (size_t)AVM_META_MIN << i);
	}
}

/* ---- the arch ------------------------------------------------------------------------------------------ */

static bool pte_round_trip(avm_pfn_t pfn, uint64_t flags)
{
	avm_pte_t p = avm_pte_make(pfn, flags);

	return avm_pte_present(p) && !avm_pte_empty(p) && !avm_pte_is_entry(p) &&
	       avm_pte_pfn(p) == pfn && avm_pte_young(p) && !avm_pte_dirty(p) &&
	       !avm_pte_write(p) && !avm_pte_special(p) &&
	       avm_pte_none_access(p) == !(flags & AVM_VM_ACCESS) &&
	       (!(flags & AVM_VM_EXEC) || avm_pte_exec(p));
}

/* Each bit can be set and cleared without touching the frame or the others. */
static bool pte_bits(avm_pfn_t pfn)
{
	avm_pte_t p = avm_pte_make(pfn, AVM_VM_READ | AVM_VM_WRITE);
	avm_pte_t all = avm_pte_mkspecial(avm_pte_mkdirty(avm_pte_mkwrite(p)));

	return avm_pte_write(all) && avm_pte_dirty(all) && avm_pte_special(all) &&
	       avm_pte_young(all) && avm_pte_pfn(all) == pfn && avm_pte_present(all) &&
	       !avm_pte_write(avm_pte_wrprotect(all)) && avm_pte_dirty(avm_pte_wrprotect(all)) &&
	       !avm_pte_dirty(avm_pte_mkclean(all)) && avm_pte_write(avm_pte_mkclean(all)) &&
	       !avm_pte_young(avm_pte_mkold(all)) && avm_pte_present(avm_pte_mkold(all)) &&
	       avm_pte_young(avm_pte_mkyoung(avm_pte_mkold(all)));
}

static bool pte_modify(avm_pfn_t pfn)
{
	avm_pte_t p =
		avm_pte_mkdirty(avm_pte_mkwrite(avm_pte_make(pfn, AVM_VM_READ | AVM_VM_WRITE)));
	avm_pte_t none = avm_pte_modify(p, 0);
	avm_pte_t back = avm_pte_modify(none, AVM_VM_READ | AVM_VM_WRITE);

	return avm_pte_none_access(none) && avm_pte_present(none) && avm_pte_pfn(none) == pfn &&
	       avm_pte_dirty(none) && !avm_pte_write(none) && !avm_pte_none_access(back) &&
	       avm_pte_pfn(back) == pfn && avm_pte_dirty(back) && !avm_pte_write(back);
}

static bool entry_round_trip(enum avm_entry_kind kind, uint64_t value, bool write, bool exclusive)
{
	avm_pte_t p = avm_pte_make_entry(kind, value, write, exclusive);

	return avm_pte_is_entry(p) && !avm_pte_present(p) && !avm_pte_empty(p) &&
	       avm_pte_entry_kind(p) == kind && avm_pte_entry_value(p) == value &&
	       avm_pte_entry_write(p) == write && avm_pte_entry_exclusive(p) == exclusive;
}

static bool entries_round_trip(uint64_t value)
{
	bool good = true;

	for (unsigned i = 0; i < 4; i++) {
		good = good && entry_round_trip(AVM_ENTRY_SWAP, value, i & 1, i & 2);
		good = good && entry_round_trip(AVM_ENTRY_MIGRATION, value, i & 1, i & 2);
	}
	return good && entry_round_trip(AVM_ENTRY_POISON, value, false, false);
}

static void check_arch(struct tap *t)
{
	static const avm_pfn_t pfns[] = { 0, 1, 0x12345, (1ull << 28) - 1 };
	bool made = true, bits = true, modified = true, entries = true, table = true;

	for (size_t i = 0; i < sizeof(pfns) / sizeof(pfns[0]); i++) {
		for (unsigned f = 0; f < 8; f++)
			made = made &&
			       pte_round_trip(pfns[i], ((f & 1) ? AVM_VM_READ : 0) |
							       ((f & 2) ? AVM_VM_WRITE : 0) |
							       ((f & 4) ? AVM_VM_EXEC : 0));
		bits = bits && pte_bits(pfns[i]);
		modified = modified && pte_modify(pfns[i]);
		entries = entries && entries_round_trip(pfns[i]);
		/* 0 is "no table"; no table lies in frame 0. */
		table = table &&
			(!pfns[i] || (avm_arch_table_make(pfns[i]) &&
				      avm_arch_table_pfn(avm_arch_table_make(pfns[i])) == pfns[i]));
	}
	check(t,
	      avm_pte_empty(AVM_PTE_EMPTY) && !avm_pte_present(AVM_PTE_EMPTY) &&
		      !avm_pte_is_entry(AVM_PTE_EMPTY),
	      "an empty entry is nothing");
	check(t, made, "an entry names its frame and permits what the flags allow");
	check(t, bits, "each bit of an entry is its own");
	check(t, modified, "other permissions keep frame and history");
	check(t, entries, "swap, migration and poison entries keep what they are given");
	check(t, table, "an upper entry names its table");
	check(t,
	      !(AVM_ARCH_LOWEST & ~AVM_PAGE_MASK) && !(AVM_ARCH_TASK_SIZE & ~AVM_PAGE_MASK) &&
		      AVM_ARCH_LOWEST < AVM_ARCH_TASK_SIZE,
	      "the address space begins and ends with a page");
}

/* An entry of a table in memory, as the core reads and writes it. */
static void check_memory(struct tap *t, struct avm_mm *mm)
{
	avm_pfn_t pfn = avm_port_frame_alloc(t->m, AVM_FRAME_TABLE);
	avm_pte_t p = avm_pte_make_entry(AVM_ENTRY_SWAP, 77, true, false);
	avm_pte_t *slot;

	check(t, pfn != AVM_PFN_NONE, "a frame for a table");
	if (pfn == AVM_PFN_NONE)
		return;
	slot = avm_port_frame_ptr(t->m, pfn);
	memset(slot, 0, AVM_PAGE_SIZE);
	avm_arch_pte_store(mm, AVM_ARCH_LOWEST, &slot[1], p);
	check(t, avm_arch_pte_load(&slot[1]) == p && avm_pte_empty(avm_arch_pte_load(&slot[0])),
	      "an entry that is stored is loaded");
	check(t,
	      avm_arch_pte_clear(mm, AVM_ARCH_LOWEST, &slot[1]) == p &&
		      avm_pte_empty(avm_arch_pte_load(&slot[1])),
	      "clearing an entry returns it");
	avm_arch_table_store(&slot[2], avm_arch_table_make(pfn));
	check(t, avm_arch_table_pfn(avm_arch_table_load(&slot[2])) == pfn,
	      "an upper entry that is stored is loaded");
	avm_port_frame_free(t->m, pfn);
}

/* ---- locks ------------------------------------------------------------------------------------------------ */

static void check_locks(struct tap *t)
{
	struct avm *m = t->m;
	struct avm_spinlock spin = { 0 };
	struct avm_rwsem rw = { 0 };
	struct avm_page page;
	uintptr_t saved;

	memset(&page, 0, sizeof(page));
	avm_spin_lock(m, &spin, AVM_LOCK_LEAF);
	check(t, atomic_load(&spin.word) == 1, "a spin lock is taken");
	avm_spin_unlock(m, &spin, AVM_LOCK_LEAF);
	check(t, !atomic_load(&spin.word), "and dropped");

	check(t, !avm_rw_write(m, &rw, AVM_LOCK_FILE), "a lock is taken for write");
	check(t, !avm_rw_try_read(m, &rw, AVM_LOCK_FILE), "nobody reads beside a writer");
	avm_rw_unlock_write(m, &rw, AVM_LOCK_FILE);
	check(t, !avm_rw_read(m, &rw, AVM_LOCK_FILE) && atomic_load(&rw.word) == 1,
	      "a lock is taken for read");
	avm_rw_unlock_read(m, &rw, AVM_LOCK_FILE);
	check(t, !atomic_load(&rw.word), "and is free again");

	avm_page_lock(m, &page);
	check(t, !avm_page_trylock(m, &page), "a page is locked once");
	avm_page_unlock(m, &page);
	check(t, avm_page_trylock(m, &page), "and again when it was unlocked");
	avm_page_unlock(m, &page);

	saved = avm_rcu_enter(m);
	avm_rcu_exit(m, avm_rcu_enter(m));
	avm_rcu_exit(m, saved);
	check(t, true, "read sections nest");
}

#if AVM_PORT_TIER >= 1
struct grace {
	struct avm_deferred deferred;
	_Atomic uint32_t done;
};

static void grace_over(struct avm_deferred *d)
{
	struct grace *g = (struct grace *)(void *)((char *)d - offsetof(struct grace, deferred));

	atomic_store(&g->done, 1);
}

static void check_grace_period(struct tap *t)
{
	struct avm *m = t->m;
	struct grace *g = avm_port_meta_alloc(m, AVM_META_MIN);
	uintptr_t saved;

	check(t, g, "memory for a deferred call");
	if (!g)
		return;
	g->deferred.call = grace_over;
	atomic_store(&g->done, 0);
	saved = avm_rcu_enter(m);
	avm_rcu_defer(m, &g->deferred);
	check(t, !atomic_load(&g->done), "a deferred call waits for the reader inside");
	avm_rcu_exit(m, saved);
	for (unsigned i = 0; i < PATIENCE && !atomic_load(&g->done); i++)
		avm_rcu_exit(m, avm_rcu_enter(m));
	check(t, atomic_load(&g->done), "and comes when it has left");
	/* Memory that a call may still come to is not given back. */
	if (atomic_load(&g->done))
		avm_port_meta_free(m, g, AVM_META_MIN);
}

static void check_smp(struct tap *t)
{
	struct avm *m = t->m;
	_Atomic uint32_t word = 1;
	uintptr_t outer, inner;
	unsigned cpu;

	outer = avm_port_irq_save(m);
	cpu = avm_port_cpu_id(m);
	inner = avm_port_irq_save(m);
	check(t, cpu == avm_port_cpu_id(m), "the CPU keeps its number while interrupts are off");
#ifdef AVM_PORT_MAX_CPUS
	check(t, cpu < AVM_PORT_MAX_CPUS, "and it is one of those there are");
#endif
	avm_port_irq_restore(m, inner);
	avm_port_irq_restore(m, outer);
	(void)avm_port_wait(m, &word, 2);
	check(t, true, "a wait on a word that has changed returns");
	avm_port_wake(m, &word);
	check(t, true, "waking nobody returns");
	check_grace_period(t);
}
#endif

/* ---- an address space ------------------------------------------------------------------------------------- */

static void check_flush(struct tap *t, struct avm_mm *mm)
{
#if AVM_PORT_TIER >= 1
	avm_port_tlb_flush(t->m, mm, AVM_ARCH_LOWEST, AVM_ARCH_LOWEST + AVM_PAGE_SIZE);
	avm_port_tlb_flush(t->m, mm, 0, AVM_ARCH_TASK_SIZE);
#else
	avm_arch_flush(mm, AVM_ARCH_LOWEST, AVM_ARCH_LOWEST + AVM_PAGE_SIZE);
	avm_arch_flush(mm, 0, AVM_ARCH_TASK_SIZE);
#endif
	check(t, true, "translations of a page, and all, can be flushed");
}

static void check_pages(struct tap *t, struct avm_mm *mm)
{
	const struct avm_mmap args = { .len = 4 * AVM_PAGE_SIZE,
				       .prot = AVM_PROT_READ | AVM_PROT_WRITE,
				       .flags = AVM_MAP_PRIVATE | AVM_MAP_ANONYMOUS };
	const uint64_t value = 0xfeedfacecafebeefull;
	uint64_t got = 1;
	avm_addr_t addr;

	if (avm_mmap(mm, &args, &addr)) {
		check(t, false, "memory is mapped");
		return;
	}
	check(t, avm_copy_out(mm, &got, addr, sizeof(got), 0) == sizeof(got) && !got,
	      "fresh memory reads as zero");
	check(t, avm_copy_in(mm, addr + AVM_PAGE_SIZE, &value, sizeof(value), 0) == sizeof(value),
	      "memory is written");
	check(t,
	      avm_copy_out(mm, &got, addr + AVM_PAGE_SIZE, sizeof(got), 0) == sizeof(got) &&
		      got == value,
	      "and keeps what is written");
	check(t, !avm_munmap(mm, addr, args.len), "and is unmapped");
}

static void check_address_space(struct tap *t)
{
	struct avm_mm mm;
	int err = avm_mm_init(t->m, &mm, NULL);

	check(t, !err, "an address space is made");
	if (err)
		return;
	check(t, avm_mm_root(&mm) != AVM_PFN_NONE, "it has a root table");
	check_memory(t, &mm);
	check_flush(t, &mm);
	check_pages(t, &mm);
	avm_mm_put(&mm);
}

int avm_selftest(struct avm *m)
{
	struct tap t = { .m = m };

	check_tables(&t);
	check_contents(&t);
	check_meta(&t);
	check_arch(&t);
	check_locks(&t);
#if AVM_PORT_TIER >= 1
	check_smp(&t);
#endif
	check_address_space(&t);
	plan(&t);
	return (int)t.failed;
}
