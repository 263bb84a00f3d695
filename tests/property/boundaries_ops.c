/* SPDX-License-Identifier: MIT */
/*
 * boundaries_ops.c - the model of operations that map, unmap, move: mmap, munmap, mremap, brk, exec, insert_pfn.
 */
#include "boundaries.h"

#define MAY_ALL (AVM_VM_MAYREAD | AVM_VM_MAYWRITE | AVM_VM_MAYEXEC)
#define LOCK_FLAGS (AVM_VM_LOCKED | AVM_VM_LOCKONFAULT)

static avm_addr_t page_up(uint64_t len)
{
	return (len + PAGE - 1) & ~(PAGE - 1);
}

static bool aligned(avm_addr_t addr)
{
	return addr % PAGE == 0;
}

/* ---- limits ------------------------------------------------------------------------------------------- */

static bool full(const struct bounds_mm *mm)
{
	return mm->n >= mm->machine->config.max_map_count;
}

/* Unmapping this leaves two parts of one VMA, and there may not be one VMA more. */
static bool hole_does_not_fit(const struct bounds_mm *mm, avm_addr_t start, avm_addr_t end)
{
	const struct bounds_vma *v = bounds_at(mm, start);

	return v && v->start < start && v->end > end && full(mm);
}

static uint64_t pages_in(const struct bounds_mm *mm, avm_addr_t start, avm_addr_t end)
{
	uint64_t pages = 0;

	for (avm_addr_t at = start; at < end; at += PAGE)
		pages += bounds_at(mm, at) != NULL;
	return pages;
}

/* ---- mmap ---------------------------------------------------------------------------------------------------- */

/* A range that has its place: limits, promise, what was there goes. `v` has no anon_vma. */
static struct bounds_result make_room(struct bounds_mm *mm, const struct bounds_vma *v)
{
	uint64_t pages = (v->end - v->start) / PAGE;
	uint64_t charge = v->flags & AVM_VM_ACCOUNT ? pages : 0;

	if (v->file && mm->machine->files[v->file].owned)
		charge = pages;
	if (full(mm) || !bounds_may_expand(mm, v->flags, pages, pages_in(mm, v->start, v->end)))
		return bounds_failed(-AVM_ENOMEM);
	if (!bounds_may_commit(mm->machine, charge, bounds_accounted(mm, v->start, v->end)))
		return bounds_failed(-AVM_ENOMEM);
	if (hole_does_not_fit(mm, v->start, v->end))
		return bounds_failed(-AVM_ENOMEM);
	bounds_remove(mm, v->start, v->end);
	return bounds_done(0);
}

static struct bounds_result map(struct bounds_mm *mm, const struct bounds_vma *v)
{
	struct bounds_result result = make_room(mm, v);

	if (!result.err)
		bounds_put(mm, v);
	return result;
}

static int check_mmap(const struct avm_mmap *a)
{
	bool anonymous = a->flags & AVM_MAP_ANONYMOUS;

	if (!anonymous && !a->file)
		return -AVM_EBADF;
	if (!a->len || (a->prot & ~(uint32_t)AVM_PROT_ALL) || (anonymous && a->file))
		return -AVM_EINVAL;
	return page_up(a->len) ? 0 : -AVM_ENOMEM;
}

/* What Linux looks at once the place and the lock limit are known. */
static int check_kind(const struct avm_mmap *a, uint32_t mode)
{
	const uint32_t known = AVM_MAP_TYPE | AVM_MAP_FIXED | AVM_MAP_ANONYMOUS |
			       AVM_MAP_GROWSDOWN | AVM_MAP_DENYWRITE | AVM_MAP_EXECUTABLE |
			       AVM_MAP_LOCKED | AVM_MAP_NORESERVE | AVM_MAP_POPULATE |
			       AVM_MAP_NONBLOCK | AVM_MAP_STACK | AVM_MAP_FIXED_NOREPLACE;
	uint32_t type = a->flags & AVM_MAP_TYPE;
	bool shared = type == AVM_MAP_SHARED || type == AVM_MAP_SHARED_VALIDATE;

	if (!a->file) {
		if (type == AVM_MAP_SHARED)
			return a->flags & AVM_MAP_GROWSDOWN ? -AVM_EINVAL : 0;
		return type == AVM_MAP_PRIVATE ? 0 : -AVM_EINVAL;
	}
	if (a->pgoff + page_up(a->len) / PAGE > INT64_MAX / PAGE || a->pgoff > INT64_MAX / PAGE)
		return -AVM_EOVERFLOW;
	if (type == AVM_MAP_SHARED_VALIDATE && (a->flags & ~known))
		return -AVM_EOPNOTSUPP;
	if (!shared && type != AVM_MAP_PRIVATE)
		return -AVM_EINVAL;
	if (shared && (a->prot & AVM_PROT_WRITE) && !(mode & AVM_PROT_WRITE))
		return -AVM_EACCES;
	if (!(mode & AVM_PROT_READ))
		return -AVM_EACCES;
	return a->flags & AVM_MAP_GROWSDOWN ? -AVM_EINVAL : 0;
}

static int mmap_place(const struct bounds_mm *mm, const struct avm_mmap *a, avm_addr_t *out)
{
	uint64_t len = page_up(a->len);
	avm_addr_t hint = a->addr & ~(PAGE - 1);

	if (!(a->flags & (AVM_MAP_FIXED | AVM_MAP_FIXED_NOREPLACE))) {
		if (hint && hint < mm->lowest)
			hint = mm->lowest;
		return bounds_place(mm, hint, len, out) ? 0 : -AVM_ENOMEM;
	}
	if (len > mm->top || a->addr > mm->top - len)
		return -AVM_ENOMEM;
	if (!aligned(a->addr))
		return -AVM_EINVAL;
	if (a->addr < mm->lowest)
		return -AVM_EPERM;
	if ((a->flags & AVM_MAP_FIXED_NOREPLACE) && pages_in(mm, a->addr, a->addr + len))
		return -AVM_EEXIST;
	*out = a->addr;
	return 0;
}

static uint64_t mmap_flags(const struct bounds_mm *mm, const struct avm_mmap *a, uint32_t mode)
{
	uint64_t flags = bounds_flags_of_prot(a->prot) | MAY_ALL | mm->default_flags;

	if ((a->flags & AVM_MAP_TYPE) != AVM_MAP_PRIVATE) {
		flags |= AVM_VM_SHARED;
		if (a->file && !(mode & AVM_PROT_WRITE))
			flags &= ~AVM_VM_MAYWRITE;
	}
	if (a->flags & AVM_MAP_GROWSDOWN)
		flags |= AVM_VM_GROWSDOWN;
	if (a->flags & AVM_MAP_LOCKED)
		flags |= AVM_VM_LOCKED;
	if (a->flags & AVM_MAP_STACK)
		flags |= AVM_VM_NOHUGEPAGE;
	if ((a->flags & AVM_MAP_NORESERVE) && !mm->machine->config.strict)
		flags |= AVM_VM_NORESERVE;
	return bounds_accountable(flags) ? flags | AVM_VM_ACCOUNT : flags;
}

static void mmap_populate(struct bounds_mm *mm, const struct avm_mmap *a, uint64_t flags,
			  avm_addr_t at)
{
	bool asked = (a->flags & AVM_MAP_POPULATE) && !(a->flags & AVM_MAP_NONBLOCK);
	bool locked = (flags & LOCK_FLAGS) == AVM_VM_LOCKED;
	bool private_write = (flags & AVM_VM_WRITE) && !(flags & AVM_VM_SHARED);

	if (locked || (asked && !(flags & AVM_VM_LOCKONFAULT)))
		bounds_populate(mm, at, page_up(a->len),
				private_write ? AVM_ACCESS_WRITE : AVM_ACCESS_READ);
}

struct bounds_result bounds_mmap(struct bounds_mm *mm, const struct avm_mmap *a, uint32_t file,
				 avm_addr_t *out)
{
	uint32_t mode = a->open_mode ? a->open_mode : AVM_PROT_READ | AVM_PROT_WRITE;
	struct bounds_vma v = { .file = file, .policy = a->policy };
	struct bounds_result result;
	int err = check_mmap(a);

	if (!err)
		err = mmap_place(mm, a, &v.start);
	if (!err && ((a->flags & AVM_MAP_LOCKED) || (mm->default_flags & AVM_VM_LOCKED)))
		err = bounds_may_lock(mm, page_up(a->len) / PAGE);
	if (!err)
		err = check_kind(a, mode);
	if (err)
		return bounds_failed(err);
	v.flags = mmap_flags(mm, a, mode);
	v.end = v.start + page_up(a->len);
	v.pgoff = a->file ? a->pgoff : v.start / PAGE;
	if (!a->file && (v.flags & AVM_VM_SHARED)) {
		v.file = bounds_file(mm->machine, (v.end - v.start) / PAGE, false);
		mm->machine->files[v.file].owned = true;
		v.pgoff = 0;
	}
	result = map(mm, &v);
	if (result.err)
		return result;
	*out = v.start;
	mmap_populate(mm, a, v.flags, v.start);
	return result;
}

struct bounds_result bounds_insert_pfn(struct bounds_mm *mm, avm_addr_t addr, uint64_t n,
				       uint32_t prot)
{
	struct bounds_vma v = {
		.start = addr,
		.end = addr + n * PAGE,
		.pgoff = addr / PAGE,
		.flags = bounds_flags_of_prot(prot) | AVM_VM_SPECIAL | AVM_VM_SHARED |
			 AVM_VM_DONTEXPAND | AVM_VM_DONTDUMP | AVM_VM_MAYREAD | AVM_VM_MAYEXEC,
	};

	if (prot & AVM_PROT_WRITE)
		v.flags |= AVM_VM_MAYWRITE;
	if (!n || (prot & ~(uint32_t)AVM_PROT_ALL) || !aligned(addr))
		return bounds_failed(-AVM_EINVAL);
	if (addr < mm->lowest)
		return bounds_failed(-AVM_EPERM);
	if (addr > mm->top || n > (mm->top - addr) / PAGE)
		return bounds_failed(-AVM_ENOMEM);
	if (pages_in(mm, v.start, v.end))
		return bounds_failed(-AVM_EEXIST);
	return map(mm, &v);
}

/* ---- munmap, brk ------------------------------------------------------------------------------------------- */

static struct bounds_result unmap(struct bounds_mm *mm, avm_addr_t start, avm_addr_t end)
{
	if (hole_does_not_fit(mm, start, end))
		return bounds_failed(-AVM_ENOMEM);
	bounds_remove(mm, start, end);
	return bounds_done(0);
}

struct bounds_result bounds_munmap(struct bounds_mm *mm, avm_addr_t addr, uint64_t len)
{
	if (!len || !aligned(addr) || addr > mm->top || len > mm->top - addr)
		return bounds_failed(-AVM_EINVAL);
	return unmap(mm, addr, addr + page_up(len));
}

static struct bounds_result heap_grow(struct bounds_mm *mm, avm_addr_t from, avm_addr_t to)
{
	const struct bounds_vma *above = bounds_above(mm, from);
	struct bounds_result result;
	struct bounds_vma v = {
		.start = from,
		.end = to,
		.pgoff = from / PAGE,
		.flags = AVM_VM_READ | AVM_VM_WRITE | MAY_ALL | AVM_VM_ACCOUNT | mm->default_flags,
	};

	if (to > mm->top)
		return bounds_failed(-AVM_ENOMEM);
	if (above) {
		/* A page stays free, and the guard of a stack. */
		uint64_t keep =
			PAGE + (above->flags & AVM_VM_GROWSDOWN ? mm->machine->config.guard : 0);

		if (above->start < to + keep)
			return bounds_failed(-AVM_ENOMEM);
	}
	if ((v.flags & AVM_VM_LOCKED) && bounds_may_lock(mm, (to - from) / PAGE))
		return bounds_failed(-AVM_ENOMEM);
	if (from > mm->brk_start)
		return map(mm, &v);
	result = make_room(mm, &v);
	if (!result.err)
		bounds_put_apart(mm, &v);
	return result;
}

struct bounds_result bounds_brk(struct bounds_mm *mm, avm_addr_t brk, avm_addr_t *out)
{
	avm_addr_t from = page_up(mm->brk), to = page_up(brk);
	struct bounds_result result = bounds_done(0);

	*out = mm->brk;
	if (!brk)
		return result;
	if (!mm->brk_start || brk < mm->brk_start || brk > mm->top ||
	    brk - mm->brk_start > mm->limits.data)
		return bounds_failed(-AVM_ENOMEM);
	if (to > from)
		result = heap_grow(mm, from, to);
	else if (to < from)
		result = pages_in(mm, to, from) ? unmap(mm, to, from) : bounds_failed(-AVM_ENOMEM);
	if (result.err)
		return result;
	mm->brk = *out = brk;
	if (to > from && (mm->default_flags & AVM_VM_LOCKED))
		bounds_populate_locked(mm, from, to, false);
	return result;
}

/* ---- mremap (R13.3) -------------------------------------------------------------------------------------------- */

struct remap {
	avm_addr_t addr, to;
	uint64_t old_len, new_len, kept;
	bool fixed, leave, may_move;
};

static bool overlap(const struct remap *q)
{
	return q->addr < q->to + q->new_len && q->to < q->addr + q->old_len;
}

static int check_remap(const struct bounds_mm *mm, const struct remap *q, uint32_t flags)
{
	const uint32_t known = AVM_MREMAP_MAYMOVE | AVM_MREMAP_FIXED | AVM_MREMAP_DONTUNMAP;

	if ((flags & ~known) || !aligned(q->addr) || !q->new_len || q->new_len > mm->top)
		return -AVM_EINVAL;
	if (!q->fixed && !q->leave)
		return 0;
	if (!q->may_move || !aligned(q->to) || q->to > mm->top - q->new_len)
		return -AVM_EINVAL;
	if ((q->leave && q->old_len != q->new_len) || overlap(q))
		return -AVM_EINVAL;
	return q->fixed && q->to < mm->lowest ? -AVM_EPERM : 0;
}

static int check_source(const struct bounds_mm *mm, const struct remap *q,
			const struct bounds_vma *v)
{
	bool rigid = v->flags & (AVM_VM_DONTEXPAND | AVM_VM_SPECIAL);
	uint64_t more = q->leave ? q->new_len / PAGE : (q->new_len - q->kept) / PAGE;

	if (!q->old_len && !(v->flags & AVM_VM_SHARED))
		return -AVM_EINVAL;
	if (q->leave && rigid)
		return -AVM_EINVAL;
	if (q->kept > v->end - q->addr)
		return -AVM_EFAULT;
	if (!more)
		return 0;
	if (!q->leave && rigid)
		return -AVM_EFAULT;
	if (!q->leave && (v->flags & AVM_VM_LOCKED) && bounds_may_lock(mm, more))
		return -AVM_EAGAIN;
	return bounds_may_expand(mm, v->flags, more, 0) ? 0 : -AVM_ENOMEM;
}

/* The range behind the VMA becomes part of it, and perhaps joins what is behind that. */
static struct bounds_result grow_in_place(struct bounds_mm *mm, const struct remap *q,
					  const struct bounds_vma *v)
{
	struct bounds_vma more = *v;

	more.start = v->end;
	more.end = q->addr + q->new_len;
	more.pgoff = bounds_pgoff(v, v->end);
	if ((v->flags & AVM_VM_ACCOUNT) &&
	    !bounds_may_commit(mm->machine, (more.end - more.start) / PAGE, 0))
		return bounds_failed(-AVM_ENOMEM);
	bounds_chain_get(more.chain);
	bounds_put_growth(mm, &more);
	return bounds_done(0);
}

/* What remains at the old place is no longer locked; a VMA of which all pages went has no family any more. */
static void leave_empty(struct bounds_mm *mm, const struct remap *q)
{
	struct bounds_vma *v = bounds_at(mm, q->addr);
	bool joined = v == bounds_at(mm, q->to);

	v->flags &= ~LOCK_FLAGS;
	if (joined || v->start != q->addr || v->end != q->addr + q->old_len)
		return;
	bounds_chain_put(v->chain);
	v->chain = NULL;
	v->own = 0;
}

static void move(struct bounds_mm *mm, const struct remap *q)
{
	struct bounds_vma v;

	if (q->fixed)
		bounds_remove(mm, q->to, q->to + q->new_len);
	if (q->old_len > q->new_len)
		bounds_remove(mm, q->addr + q->new_len, q->addr + q->old_len);
	v = *bounds_at(mm, q->addr);
	v.pgoff = bounds_pgoff(&v, q->addr);
	if (!v.own && bounds_is_anon(&v))
		v.pgoff = q->to / PAGE;
	v.start = q->to;
	v.end = q->to + q->new_len;
	bounds_chain_get(v.chain);
	bounds_put(mm, &v);
	if (q->leave)
		leave_empty(mm, q);
	else if (q->kept)
		bounds_remove(mm, q->addr, q->addr + q->kept);
}

static struct bounds_result remap_elsewhere(struct bounds_mm *mm, struct remap *q,
					    const struct bounds_vma *v)
{
	uint64_t promise = q->leave ? q->new_len / PAGE : (q->new_len - q->kept) / PAGE;
	uint64_t given_back = q->fixed ? bounds_accounted(mm, q->to, q->to + q->new_len) : 0;

	if (!q->fixed && !bounds_place(mm, q->leave ? q->to : 0, q->new_len, &q->to))
		return bounds_failed(-AVM_ENOMEM);
	if (q->fixed && !q->old_len && q->to == q->addr)
		return bounds_failed(-AVM_EFAULT);
	if (mm->n + (q->fixed || q->leave ? 5 : 3) >= mm->machine->config.max_map_count)
		return bounds_failed(-AVM_ENOMEM);
	if ((v->flags & AVM_VM_ACCOUNT) && !bounds_may_commit(mm->machine, promise, given_back))
		return bounds_failed(-AVM_ENOMEM);
	move(mm, q);
	return bounds_done(0);
}

struct bounds_result bounds_mremap(struct bounds_mm *mm, avm_addr_t addr, uint64_t old_len,
				   uint64_t new_len, uint32_t flags, avm_addr_t new_addr,
				   avm_addr_t *out)
{
	struct remap q = { .addr = addr,
			   .to = new_addr,
			   .old_len = page_up(old_len),
			   .new_len = page_up(new_len),
			   .fixed = flags & AVM_MREMAP_FIXED,
			   .leave = flags & AVM_MREMAP_DONTUNMAP,
			   .may_move = flags & AVM_MREMAP_MAYMOVE };
	int err = check_remap(mm, &q, flags);
	struct bounds_result result;
	const struct bounds_vma *v;
	bool locked;

	if (err)
		return bounds_failed(err);
	v = bounds_at(mm, addr);
	if (!v)
		return bounds_failed(-AVM_EFAULT);
	q.kept = q.old_len < q.new_len ? q.old_len : q.new_len;
	*out = addr;
	if (!q.fixed && !q.leave && q.new_len <= q.old_len) {
		if (q.old_len > mm->top - addr && q.new_len < q.old_len)
			return bounds_failed(-AVM_EINVAL);
		return q.new_len < q.old_len ? unmap(mm, addr + q.new_len, addr + q.old_len) :
					       bounds_done(0);
	}
	err = check_source(mm, &q, v);
	if (err)
		return bounds_failed(err);
	locked = v->flags & AVM_VM_LOCKED;
	if (!q.fixed && !q.leave && q.old_len && q.old_len == v->end - addr &&
	    q.new_len <= mm->top - addr && !pages_in(mm, v->end, addr + q.new_len)) {
		q.to = addr;
		result = grow_in_place(mm, &q, v);
	} else if (!q.may_move) {
		return bounds_failed(-AVM_ENOMEM);
	} else {
		result = remap_elsewhere(mm, &q, v);
	}
	if (result.err)
		return result;
	*out = q.to;
	if (locked && q.new_len > q.old_len)
		bounds_populate_locked(mm, q.to + q.old_len, q.to + q.new_len, false);
	return result;
}

/* ---- exec --------------------------------------------------------------------------------------------------------- */

static int map_segment(struct bounds_mm *mm, avm_addr_t start, uint64_t pages, uint32_t prot,
		       uint32_t file, uint64_t pgoff, uint64_t more_flags)
{
	struct bounds_vma v = { .start = start,
				.end = start + pages * PAGE,
				.flags = bounds_flags_of_prot(prot) | MAY_ALL | more_flags,
				.file = file,
				.pgoff = file ? pgoff : start / PAGE };

	if (!pages || !aligned(start) || start < mm->lowest || v.end > mm->top ||
	    pages_in(mm, v.start, v.end))
		return -AVM_EINVAL;
	if (bounds_accountable(v.flags))
		v.flags |= AVM_VM_ACCOUNT;
	return map(mm, &v).err;
}

struct bounds_result bounds_exec(struct bounds_mm *mm, const struct avm_image *image,
				 const uint32_t *files)
{
	uint32_t prot = image->stack_prot ? image->stack_prot : AVM_PROT_READ | AVM_PROT_WRITE;
	uint64_t arguments = image->argument_pages * PAGE;
	int err = image->argument_pages > image->stack_pages ? -AVM_EINVAL : 0;

	for (unsigned i = 0; i < image->nr_segments && !err; i++) {
		const struct avm_segment *s = &image->segments[i];

		err = map_segment(mm, s->start, s->pages, s->prot, files[i], s->pgoff, 0);
	}
	if (!err && image->stack_end)
		err = map_segment(mm, image->stack_end - image->stack_pages * PAGE,
				  image->stack_pages, prot, 0, 0, AVM_VM_GROWSDOWN | AVM_VM_STACK);
	if (!err)
		mm->brk_start = mm->brk = image->brk_start;
	if (!err && image->stack_end && arguments)
		err = bounds_populate(mm, image->stack_end - arguments, arguments, AVM_ACCESS_WRITE)
			      .err;
	if (!err)
		return bounds_done(0);
	bounds_unmap_all(mm);
	return bounds_failed(err);
}
