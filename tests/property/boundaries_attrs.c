/* SPDX-License-Identifier: MIT */
/*
 * boundaries_attrs.c - the model of operations that change what VMAs are: mprotect, madvise, mlock, names, policies
 * (R2.5, R13.1, R13.2); and of those that only look.
 */
#include "boundaries.h"

#define LOCK_FLAGS (AVM_VM_LOCKED | AVM_VM_LOCKONFAULT)
#define NEVER_LOCKED (AVM_VM_SPECIAL | AVM_VM_DONTEXPAND)

static avm_addr_t page_up(uint64_t len)
{
	return (len + PAGE - 1) & ~(PAGE - 1);
}

static bool aligned(avm_addr_t addr)
{
	return addr % PAGE == 0;
}

struct attrs {
	uint64_t flags;
	uint32_t policy, name;
};

/* One change of a range: what becomes of a VMA; a negative errno ends it. */
struct change {
	int (*decide)(const struct change *c, const struct bounds_vma *v, struct attrs *a);
	uint64_t set, clear;
	uint32_t id;
	bool stop_at_hole;
	const struct bounds *machine;
};

static bool same(const struct bounds_vma *v, const struct attrs *a)
{
	return v->flags == a->flags && v->policy == a->policy && v->name == a->name;
}

/*
 * R2.5 for one VMA's part of the range: it becomes a VMA of its own, then merges if it may. False: it would have to be
 * split and there are VMAs enough (R17).
 */
static bool modify(struct bounds_mm *mm, avm_addr_t start, avm_addr_t end, const struct attrs *a)
{
	size_t i = bounds_index(mm, start);
	bool splits = mm->v[i].start < start || mm->v[i].end > end;
	struct bounds_vma part;

	bounds_cut(mm, start);
	bounds_cut(mm, end);
	part = mm->v[bounds_index(mm, start)];
	part.flags = a->flags;
	part.policy = a->policy;
	part.name = a->name;
	bounds_chain_get(part.chain);
	bounds_remove(mm, start, end);
	return bounds_put(mm, &part) || !splits || mm->n <= mm->machine->config.max_map_count;
}

/* Locked private memory that becomes writable is to have pages of its own, there and then. */
static bool gets_pages(uint64_t old, uint64_t now)
{
	return (old & (LOCK_FLAGS | AVM_VM_WRITE | AVM_VM_SHARED)) == AVM_VM_LOCKED &&
	       (now & AVM_VM_WRITE);
}

/* Everything or, where there would be too many VMAs, nothing. */
static struct bounds_result apply(struct bounds_mm *mm, avm_addr_t start, avm_addr_t end,
				  const struct change *c, int too_many)
{
	struct bounds_saved before;
	avm_addr_t at = start;
	bool fits = true, tight = mm->n + 2 > mm->machine->config.max_map_count;
	struct bounds_result result;
	int err = 0;

	bounds_save(mm, &before);
	while (at < end && fits) {
		const struct bounds_vma *v = bounds_above(mm, at);
		avm_addr_t to;
		struct attrs a;
		int refused;

		if (!v || v->start > at) {
			err = -AVM_ENOMEM;
			if (!v || v->start >= end || c->stop_at_hole)
				break;
			at = v->start;
		}
		a = (struct attrs){ v->flags, v->policy, v->name };
		refused = c->decide(c, v, &a);
		if (refused) {
			err = refused;
			break;
		}
		to = v->end < end ? v->end : end;
		if (!same(v, &a)) {
			bool pages = gets_pages(v->flags, a.flags);

			fits = modify(mm, at, to, &a);
			if (pages)
				bounds_populate(mm, at, to - at, AVM_ACCESS_WRITE);
		}
		at = to;
	}
	if (!fits)
		bounds_restore(mm, &before);
	bounds_saved_free(&before);
	result = fits ? bounds_done(err) : bounds_failed(too_many);
	result.tight = tight;
	return result;
}

static int decide_flags(const struct change *c, const struct bounds_vma *v, struct attrs *a)
{
	(void)v;
	a->flags = (a->flags & ~c->clear) | c->set;
	return 0;
}

/* ---- mprotect (R13.1) ----------------------------------------------------------------------------------- */

static uint64_t protected_flags(const struct bounds_vma *v, uint32_t prot)
{
	uint64_t flags = (v->flags & ~AVM_VM_ACCESS) | bounds_flags_of_prot(prot);

	if (flags == v->flags)
		return flags;
	if (flags & AVM_VM_WRITE) {
		if (!(v->flags & AVM_VM_WRITE) && bounds_accountable(flags))
			flags |= AVM_VM_ACCOUNT;
	} else if (bounds_is_anon(v) && !v->own) {
		flags &= ~AVM_VM_ACCOUNT;
	}
	return flags;
}

/* May-bits are four above the bits they permit. */
static bool forbidden(uint64_t flags)
{
	return (flags & AVM_VM_ACCESS) & ~((flags >> 4) & AVM_VM_ACCESS);
}

static int decide_prot(const struct change *c, const struct bounds_vma *v, struct attrs *a)
{
	a->flags = protected_flags(v, c->id);
	return forbidden(a->flags) ? -AVM_EACCES : 0;
}

/* What the part of the range that can be changed costs. */
static void mprotect_costs(const struct bounds_mm *mm, avm_addr_t start, avm_addr_t end,
			   uint32_t prot, uint64_t *charge, uint64_t *data)
{
	*charge = *data = 0;
	for (avm_addr_t at = start; at < end;) {
		const struct bounds_vma *v = bounds_at(mm, at);
		avm_addr_t to;
		uint64_t flags;

		if (!v)
			return;
		flags = protected_flags(v, prot);
		if (forbidden(flags))
			return;
		to = v->end < end ? v->end : end;
		if ((flags & AVM_VM_ACCOUNT) && !(v->flags & AVM_VM_ACCOUNT))
			*charge += (to - at) / PAGE;
		if ((flags & AVM_VM_WRITE) && !(v->flags & AVM_VM_WRITE) &&
		    !(flags & (AVM_VM_SHARED | AVM_VM_GROWSDOWN)))
			*data += (to - at) / PAGE;
		at = to;
	}
}

struct bounds_result bounds_mprotect(struct bounds_mm *mm, avm_addr_t addr, uint64_t len,
				     uint32_t prot)
{
	const uint32_t known = AVM_PROT_ALL | AVM_PROT_GROWSDOWN;
	struct change c = { .decide = decide_prot,
			    .id = prot & AVM_PROT_ALL,
			    .stop_at_hole = true };
	avm_addr_t start = addr, end = addr + page_up(len);
	uint64_t charge, data;

	if ((prot & ~known) || !aligned(addr))
		return bounds_failed(-AVM_EINVAL);
	if (!len)
		return bounds_done(0);
	if (end <= addr)
		return bounds_failed(-AVM_ENOMEM);
	if (prot & AVM_PROT_GROWSDOWN) {
		const struct bounds_vma *v = bounds_above(mm, addr);

		if (!v || v->start >= end)
			return bounds_failed(-AVM_ENOMEM);
		if (!(v->flags & AVM_VM_GROWSDOWN))
			return bounds_failed(-AVM_EINVAL);
		start = v->start;
	}
	mprotect_costs(mm, start, end, c.id, &charge, &data);
	if (data && !bounds_may_have_data(mm, data))
		return bounds_failed(-AVM_ENOMEM);
	if (!bounds_may_commit(mm->machine, charge, 0))
		return bounds_failed(-AVM_ENOMEM);
	return apply(mm, start, end, &c, -AVM_ENOMEM);
}

/* ---- madvise (R13.2) -------------------------------------------------------------------------------------- */

static int decide_dofork(const struct change *c, const struct bounds_vma *v, struct attrs *a)
{
	return v->flags & AVM_VM_SPECIAL ? -AVM_EINVAL : decide_flags(c, v, a);
}

static int decide_wipe(const struct change *c, const struct bounds_vma *v, struct attrs *a)
{
	return bounds_is_anon(v) ? decide_flags(c, v, a) : -AVM_EINVAL;
}

static int decide_dodump(const struct change *c, const struct bounds_vma *v, struct attrs *a)
{
	return v->flags & NEVER_LOCKED ? -AVM_EINVAL : decide_flags(c, v, a);
}

static int decide_mergeable(const struct change *c, const struct bounds_vma *v, struct attrs *a)
{
	if (v->flags & (AVM_VM_SHARED | AVM_VM_SPECIAL | AVM_VM_DONTEXPAND))
		return 0;
	return decide_flags(c, v, a);
}

static bool flag_advice(enum avm_advice advice, struct change *c)
{
	const uint64_t reading = AVM_VM_RAND_READ | AVM_VM_SEQ_READ;
	const uint64_t huge = AVM_VM_HUGEPAGE | AVM_VM_NOHUGEPAGE;

	switch (advice) {
	case AVM_MADV_NORMAL:
		*c = (struct change){ .decide = decide_flags, .clear = reading };
		return true;
	case AVM_MADV_RANDOM:
		*c = (struct change){ .decide = decide_flags,
				      .clear = reading,
				      .set = AVM_VM_RAND_READ };
		return true;
	case AVM_MADV_SEQUENTIAL:
		*c = (struct change){ .decide = decide_flags,
				      .clear = reading,
				      .set = AVM_VM_SEQ_READ };
		return true;
	case AVM_MADV_DONTFORK:
		*c = (struct change){ .decide = decide_flags, .set = AVM_VM_DONTCOPY };
		return true;
	case AVM_MADV_DOFORK:
		*c = (struct change){ .decide = decide_dofork, .clear = AVM_VM_DONTCOPY };
		return true;
	case AVM_MADV_WIPEONFORK:
		*c = (struct change){ .decide = decide_wipe, .set = AVM_VM_WIPEONFORK };
		return true;
	case AVM_MADV_KEEPONFORK:
		*c = (struct change){ .decide = decide_flags, .clear = AVM_VM_WIPEONFORK };
		return true;
	case AVM_MADV_DONTDUMP:
		*c = (struct change){ .decide = decide_flags, .set = AVM_VM_DONTDUMP };
		return true;
	case AVM_MADV_DODUMP:
		*c = (struct change){ .decide = decide_dodump, .clear = AVM_VM_DONTDUMP };
		return true;
	case AVM_MADV_MERGEABLE:
		*c = (struct change){ .decide = decide_mergeable, .set = AVM_VM_MERGEABLE };
		return true;
	case AVM_MADV_UNMERGEABLE:
		*c = (struct change){ .decide = decide_flags, .clear = AVM_VM_MERGEABLE };
		return true;
	case AVM_MADV_HUGEPAGE:
		*c = (struct change){ .decide = decide_flags,
				      .clear = huge,
				      .set = AVM_VM_HUGEPAGE };
		return true;
	case AVM_MADV_NOHUGEPAGE:
		*c = (struct change){ .decide = decide_flags,
				      .clear = huge,
				      .set = AVM_VM_NOHUGEPAGE };
		return true;
	default:
		return false;
	}
}

/* Advice about pages: what one VMA says to it. */
static int page_advice(struct bounds_mm *mm, const struct bounds_vma *v, avm_addr_t start,
		       avm_addr_t end, enum avm_advice advice)
{
	bool pinned_down = v->flags & (AVM_VM_LOCKED | AVM_VM_SPECIAL);
	int err;

	switch (advice) {
	case AVM_MADV_DONTNEED:
	case AVM_MADV_COLD:
	case AVM_MADV_PAGEOUT:
		return pinned_down ? -AVM_EINVAL : 0;
	case AVM_MADV_FREE:
		return pinned_down || !bounds_is_anon(v) ? -AVM_EINVAL : 0;
	case AVM_MADV_REMOVE:
		if (!v->file || pinned_down)
			return -AVM_EINVAL;
		if (!(v->flags & AVM_VM_SHARED) || !(v->flags & AVM_VM_MAYWRITE))
			return -AVM_EACCES;
		return mm->machine->files[v->file].disk ? -AVM_EOPNOTSUPP : 0;
	case AVM_MADV_POPULATE_READ:
	case AVM_MADV_POPULATE_WRITE:
		if ((v->flags & AVM_VM_SPECIAL) ||
		    !(v->flags & (advice == AVM_MADV_POPULATE_READ ? AVM_VM_READ : AVM_VM_WRITE)))
			return -AVM_EINVAL;
		err = bounds_populate(mm, start, end - start,
				      advice == AVM_MADV_POPULATE_READ ? AVM_ACCESS_READ :
									 AVM_ACCESS_WRITE)
			      .err;
		return err ? -AVM_EFAULT : 0;
	default:
		return 0;
	}
}

struct bounds_result bounds_madvise(struct bounds_mm *mm, avm_addr_t addr, uint64_t len,
				    enum avm_advice advice)
{
	bool populates = advice == AVM_MADV_POPULATE_READ || advice == AVM_MADV_POPULATE_WRITE;
	bool known = populates || advice == AVM_MADV_WILLNEED || advice == AVM_MADV_DONTNEED ||
		     advice == AVM_MADV_FREE || advice == AVM_MADV_REMOVE ||
		     advice == AVM_MADV_COLD || advice == AVM_MADV_PAGEOUT;
	avm_addr_t end = addr + page_up(len), at = addr;
	struct change c;
	bool flags = flag_advice(advice, &c);
	int err = 0;

	if ((!known && !flags) || !aligned(addr) || end < addr || (len && !page_up(len)))
		return bounds_failed(-AVM_EINVAL);
	if (!len)
		return bounds_done(0);
	if (flags)
		return apply(mm, addr, end, &c, -AVM_EAGAIN);
	while (at < end) {
		const struct bounds_vma *v = bounds_above(mm, at);
		int refused;
		avm_addr_t to;

		if (!v || v->start > at)
			err = -AVM_ENOMEM;
		if (!v || v->start >= end || (v->start > at && populates))
			break;
		at = v->start > at ? v->start : at;
		to = v->end < end ? v->end : end;
		refused = page_advice(mm, v, at, to, advice);
		if (refused)
			return bounds_done(refused);
		at = to;
	}
	return bounds_done(err);
}

/* ---- mlock (R13.4) ------------------------------------------------------------------------------------------ */

static int decide_lock(const struct change *c, const struct bounds_vma *v, struct attrs *a)
{
	return v->flags & NEVER_LOCKED ? 0 : decide_flags(c, v, a);
}

static struct change lock_change(uint64_t flags)
{
	return (struct change){ .decide = decide_lock, .set = flags, .clear = LOCK_FLAGS };
}

/* Bytes to the pages around them; false when that wraps. */
static bool around(avm_addr_t addr, uint64_t len, avm_addr_t *start, avm_addr_t *end)
{
	*start = addr & ~(PAGE - 1);
	*end = page_up(addr + len);
	return addr + len >= addr && *end >= *start;
}

struct bounds_result bounds_mlock(struct bounds_mm *mm, avm_addr_t addr, uint64_t len,
				  uint32_t flags)
{
	struct change c = lock_change(flags ? LOCK_FLAGS : AVM_VM_LOCKED);
	struct bounds_result result;
	avm_addr_t start, end;
	uint64_t pages;
	int err;

	c.stop_at_hole = true;
	if (flags & ~(uint32_t)AVM_MLOCK_ONFAULT)
		return bounds_failed(-AVM_EINVAL);
	if (!mm->limits.locked)
		return bounds_failed(-AVM_EPERM);
	if (!around(addr, len, &start, &end))
		return bounds_failed(-AVM_EINVAL);
	pages = (end - start) / PAGE - bounds_locked_pages(mm, start, end);
	if (bounds_locked_pages(mm, 0, mm->top) + pages > mm->limits.locked / PAGE)
		return bounds_failed(start == end ? 0 : -AVM_ENOMEM);
	result = apply(mm, start, end, &c, -AVM_ENOMEM);
	if (result.err)
		return result;
	err = bounds_populate_locked(mm, start, end, true);
	result.err = err ? -AVM_ENOMEM : 0;
	return result;
}

struct bounds_result bounds_munlock(struct bounds_mm *mm, avm_addr_t addr, uint64_t len)
{
	struct change c = lock_change(0);
	avm_addr_t start, end;

	c.stop_at_hole = true;
	if (!around(addr, len, &start, &end))
		return bounds_failed(-AVM_EINVAL);
	return apply(mm, start, end, &c, -AVM_ENOMEM);
}

static void lock_all(struct bounds_mm *mm, uint64_t flags)
{
	struct change c = lock_change(flags);

	apply(mm, 0, mm->top, &c, 0);
}

struct bounds_result bounds_mlockall(struct bounds_mm *mm, uint32_t flags)
{
	const uint32_t known = AVM_MCL_CURRENT | AVM_MCL_FUTURE | AVM_MCL_ONFAULT;
	uint64_t lock = flags & AVM_MCL_ONFAULT ? LOCK_FLAGS : AVM_VM_LOCKED;

	if (!(flags & (AVM_MCL_CURRENT | AVM_MCL_FUTURE)) || (flags & ~known))
		return bounds_failed(-AVM_EINVAL);
	if (!mm->limits.locked)
		return bounds_failed(-AVM_EPERM);
	if ((flags & AVM_MCL_CURRENT) && bounds_pages(mm) > mm->limits.locked / PAGE)
		return bounds_failed(-AVM_ENOMEM);
	mm->default_flags &= ~LOCK_FLAGS;
	if (flags & AVM_MCL_FUTURE)
		mm->default_flags |= lock;
	if (!(flags & AVM_MCL_CURRENT))
		return bounds_done(0);
	lock_all(mm, lock);
	bounds_populate_locked(mm, 0, mm->top, false);
	return bounds_done(0);
}

struct bounds_result bounds_munlockall(struct bounds_mm *mm)
{
	mm->default_flags &= ~LOCK_FLAGS;
	lock_all(mm, 0);
	return bounds_done(0);
}

/* ---- names and policies (R1.1, R1.3) --------------------------------------------------------------------------- */

static int decide_name(const struct change *c, const struct bounds_vma *v, struct attrs *a)
{
	if (v->file && !c->machine->files[v->file].owned)
		return -AVM_EBADF;
	a->name = c->id;
	return 0;
}

static int decide_policy(const struct change *c, const struct bounds_vma *v, struct attrs *a)
{
	(void)v;
	a->policy = c->id;
	return 0;
}

static struct bounds_result set_id(struct bounds_mm *mm, avm_addr_t addr, uint64_t len,
				   const struct change *c)
{
	avm_addr_t end = addr + page_up(len);

	if (!aligned(addr) || end < addr || (len && !page_up(len)))
		return bounds_failed(-AVM_EINVAL);
	return apply(mm, addr, end, c, -AVM_ENOMEM);
}

struct bounds_result bounds_set_name(struct bounds_mm *mm, avm_addr_t addr, uint64_t len,
				     uint32_t name)
{
	struct change c = { .decide = decide_name, .id = name, .machine = mm->machine };

	return set_id(mm, addr, len, &c);
}

struct bounds_result bounds_set_policy(struct bounds_mm *mm, avm_addr_t addr, uint64_t len,
				       uint32_t policy)
{
	return set_id(mm, addr, len, &(struct change){ .decide = decide_policy, .id = policy });
}

/* ---- those that only look ------------------------------------------------------------------------------------------ */

struct bounds_result bounds_msync(const struct bounds_mm *mm, avm_addr_t addr, uint64_t len,
				  uint32_t flags)
{
	const uint32_t known = AVM_MS_ASYNC | AVM_MS_INVALIDATE | AVM_MS_SYNC;
	avm_addr_t end = page_up(addr + len);
	int err = 0;

	if ((flags & ~known) || !aligned(addr) || ((flags & AVM_MS_ASYNC) && (flags & AVM_MS_SYNC)))
		return bounds_failed(-AVM_EINVAL);
	if (addr + len < addr || end < addr)
		return bounds_failed(-AVM_ENOMEM);
	for (avm_addr_t at = addr; at < end;) {
		const struct bounds_vma *v = bounds_above(mm, at);

		if (!v || v->start > at)
			err = -AVM_ENOMEM;
		if (!v || v->start >= end)
			break;
		if ((flags & AVM_MS_INVALIDATE) && (v->flags & AVM_VM_LOCKED))
			return bounds_done(-AVM_EBUSY);
		at = v->end;
	}
	return bounds_done(err);
}

struct bounds_result bounds_mincore(const struct bounds_mm *mm, avm_addr_t addr, uint64_t len)
{
	if (!aligned(addr))
		return bounds_failed(-AVM_EINVAL);
	if (addr > mm->top || len > mm->top - addr)
		return bounds_failed(-AVM_ENOMEM);
	for (avm_addr_t at = addr; at < addr + len; at += PAGE) {
		if (!bounds_at(mm, at))
			return bounds_failed(-AVM_ENOMEM);
	}
	return bounds_done(0);
}
