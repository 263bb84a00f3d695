/* SPDX-License-Identifier: MIT */
/*
 * mmap.c - mapping files and memory (R1.4, R2).
 */
#include "mmap.h"

#include "anonvm/fault.h"
#include "anonvm/file.h"
#include "anonvm/ops.h"
#include "commit.h"
#include "error.h"
#include "file.h"
#include "mlock.h"
#include "mm.h"
#include "munmap.h"

/* ---- adding a range -------------------------------------------------------------------------------------- */

/* Of the range, in front of `next`: might it join an unfaulted neighbour with a faulted one? */
static bool may_join(struct avm_mm *mm, const struct avm_range *r, const struct avm_vma *next)
{
	const struct avm_vma *prev = avm_vma_before(mm, next);

	return prev && prev->end == r->start && next && next->start == r->end &&
	       !avm_vma_anon(prev) != !avm_vma_anon(next);
}

/* What is mapped there goes, in favour of `r`. `taken`: something is. */
static int reserve(struct avm_pool *pool, const struct avm_range *r, const struct avm_vma *next,
		   bool taken)
{
	if (avm_pool_fill(pool, 1, taken || may_join(pool->mm, r, next)))
		return -AVM_ENOMEM;
	return taken ? avm_unmap_reserve(pool, r->start, r->end) : 0;
}

/* Among others: with what is mapped there, and with neighbours that it may join. */
static int map_among(struct avm_mm *mm, const struct avm_range *r, struct avm_vma *next, bool taken)
{
	struct avm_pool pool = { .mm = mm };
	int err = reserve(&pool, r, next, taken);

	if (!err && taken) {
		avm_unmap_commit(&pool, r->start, r->end);
		next = NULL;
	}
	if (!err)
		avm_vma_add(&pool, r, next);
	avm_pool_drain(&pool);
	return err;
}

/* Does the range, in front of `next`, touch neither neighbour? */
static bool touches_none(struct avm_mm *mm, const struct avm_range *r, const struct avm_vma *next)
{
	const struct avm_vma *prev = avm_vma_before(mm, next);

	return !(prev && prev->end == r->start) && !(next && next->start == r->end);
}

static avm_inlined int map(struct avm_mm *mm, const struct avm_range *r, struct avm_vma *next,
			   bool taken)
{
	if (AVM_FAST && !taken && touches_none(mm, r, next))
		return avm_vma_add_alone(mm, r);
	return map_among(mm, r, next, taken);
}

AVM_PART_OF_CALLER int map_range(struct avm_mm *mm, struct avm_range *r)
{
	struct avm_vma *next = AVM_FAST ? avm_mm_find_way(mm, r->start) : NULL;
	bool taken = !AVM_FAST || (next && next->start < r->end);
	uint64_t pages = (r->end - r->start) >> AVM_PAGE_SHIFT;
	uint64_t mapped = taken ? avm_mm_pages_in(mm, r->start, r->end, 0) : 0;
	uint64_t accounted = taken ? avm_mm_accounted(mm, r->start, r->end) : 0;
	bool account = avm_flags_accountable(r->flags);

	if (account)
		r->flags |= AVM_VM_ACCOUNT;
	if (!avm_vma_room(mm, 1) || avm_mm_may_expand(mm, r->flags, pages - mapped))
		return -AVM_ENOMEM;
	if (account && avm_commit_instead(mm, pages, accounted))
		return -AVM_ENOMEM;
	if (map(mm, r, next, taken)) {
		if (account)
			avm_uncommit(mm, pages);
		return -AVM_ENOMEM;
	}
	avm_mm_account(mm, r->flags, (int64_t)pages);
	return 0;
}

int avm_map_range(struct avm_mm *mm, struct avm_range *r)
{
	return map_range(mm, r);
}

/* ---- mmap: what was asked for -------------------------------------------------------------------------------- */

#define KNOWN_FLAGS \
	(AVM_MAP_TYPE | AVM_MAP_FIXED | AVM_MAP_ANONYMOUS | AVM_MAP_GROWSDOWN | \
	 AVM_MAP_DENYWRITE | AVM_MAP_EXECUTABLE | AVM_MAP_LOCKED | AVM_MAP_NORESERVE | \
	 AVM_MAP_POPULATE | AVM_MAP_NONBLOCK | AVM_MAP_STACK | AVM_MAP_FIXED_NOREPLACE)
#define FIXED_FLAGS (AVM_MAP_FIXED | AVM_MAP_FIXED_NOREPLACE)

/*
 * The part of the request that does not depend on the address space. Where several errors apply, the one that Linux
 * finds first is returned: here, in choose_place(), in check_file() and check_anonymous().
 */
static int check_args(const struct avm_mmap *a)
{
	if (!(a->flags & AVM_MAP_ANONYMOUS) && !a->file)
		return -AVM_EBADF;
	if (!a->len || (a->prot & ~(uint32_t)AVM_PROT_ALL))
		return -AVM_EINVAL;
	if ((a->flags & AVM_MAP_ANONYMOUS) && a->file)
		return -AVM_EINVAL;
	if (!avm_page_up(a->len)) /* rounding up went past the end */
		return -AVM_ENOMEM;
	return 0;
}

static int check_file(const struct avm_mmap *a, uint32_t mode)
{
	uint32_t type = a->flags & AVM_MAP_TYPE;

	if (!avm_file_has_pages(a->file, a->pgoff, avm_page_up(a->len) >> AVM_PAGE_SHIFT))
		return -AVM_EOVERFLOW;
	if (type == AVM_MAP_SHARED_VALIDATE && (a->flags & ~(uint32_t)KNOWN_FLAGS))
		return -AVM_EOPNOTSUPP;
	if (type == AVM_MAP_SHARED || type == AVM_MAP_SHARED_VALIDATE) {
		if ((a->prot & AVM_PROT_WRITE) && !(mode & AVM_PROT_WRITE))
			return -AVM_EACCES;
	} else if (type != AVM_MAP_PRIVATE) {
		return -AVM_EINVAL;
	}
	if (!(mode & AVM_PROT_READ))
		return -AVM_EACCES;
	return a->flags & AVM_MAP_GROWSDOWN ? -AVM_EINVAL : 0;
}

/* There is no file that could know the flags of SHARED_VALIDATE. */
static int check_anonymous(const struct avm_mmap *a)
{
	uint32_t type = a->flags & AVM_MAP_TYPE;

	if (type == AVM_MAP_SHARED)
		return a->flags & AVM_MAP_GROWSDOWN ? -AVM_EINVAL : 0;
	return type == AVM_MAP_PRIVATE ? 0 : -AVM_EINVAL;
}

/* R1.1: flags of the VMA to be. 0 or a negative errno. */
static int vma_flags(const struct avm_mm *mm, const struct avm_mmap *a, uint64_t *out)
{
	uint32_t mode = a->open_mode ? a->open_mode : AVM_PROT_READ | AVM_PROT_WRITE;
	uint64_t flags = avm_flags_of_prot(a->prot) | mm->default_flags | AVM_VM_MAYREAD |
			 AVM_VM_MAYWRITE | AVM_VM_MAYEXEC;
	int err = a->file ? check_file(a, mode) : check_anonymous(a);

	if (err)
		return err;
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
	/* Strict commit means that nobody may opt out. */
	if ((a->flags & AVM_MAP_NORESERVE) && mm->machine->config.commit == AVM_COMMIT_OFF)
		flags |= AVM_VM_NORESERVE;
	*out = flags;
	return 0;
}

/* What the file says: other flags, or no. A file that gives bare frames makes the mapping special. */
static int ask_file(struct avm_file *file, uint64_t *flags)
{
	if (!file || !file->ops)
		return 0;
	if (file->ops->get_frame)
		*flags |= AVM_VM_SPECIAL | AVM_VM_DONTEXPAND | AVM_VM_DONTDUMP;
	return file->ops->mmap ? file->ops->mmap(file, flags) : 0;
}

/* R1.4: where it goes. => mmap_lock write. */
static int choose_place(struct avm_mm *mm, const struct avm_mmap *a, uint64_t len, avm_addr_t *out)
{
	avm_addr_t hint = avm_page_down(a->addr);

	if (!(a->flags & FIXED_FLAGS)) {
		if (hint && hint < mm->lowest)
			hint = mm->lowest;
		return avm_mm_place(mm, hint, len, out);
	}
	if (len > mm->task_size || a->addr > mm->task_size - len)
		return -AVM_ENOMEM;
	if (!avm_page_aligned(a->addr))
		return -AVM_EINVAL;
	if (a->addr < mm->lowest)
		return -AVM_EPERM;
	if ((a->flags & AVM_MAP_FIXED_NOREPLACE) && avm_mm_find_in(mm, a->addr, a->addr + len))
		return -AVM_EEXIST;
	*out = a->addr;
	return 0;
}

/*
 * Shared anonymous memory: a file of its own, promised whole (R14, R1.5); the promise ends with the file. The range
 * holds the only reference.
 */
static int map_shared_anon(struct avm_mm *mm, struct avm_range *r)
{
	uint64_t pages = (r->end - r->start) >> AVM_PAGE_SHIFT;
	int err;

	if (avm_commit_shared(mm->machine, pages, avm_mm_accounted(mm, r->start, r->end)))
		return -AVM_ENOMEM;
	r->file = avm_file_new_shmem(mm->machine, pages << AVM_PAGE_SHIFT);
	if (!r->file) {
		avm_uncommit_shared(mm->machine, pages);
		return -AVM_ENOMEM;
	}
	r->pgoff = 0;
	err = avm_map_range(mm, r);
	avm_file_put(r->file);
	return err;
}

/* => mmap_lock write. */
static avm_inlined int mmap_locked(struct avm_mm *mm, const struct avm_mmap *a, avm_addr_t *out,
				   uint64_t *flags)
{
	uint64_t len = avm_page_up(a->len);
	avm_addr_t start;
	struct avm_range r;
	int err;

	err = choose_place(mm, a, len, &start);
	if (err)
		return err;
	if ((a->flags & AVM_MAP_LOCKED) || (mm->default_flags & AVM_VM_LOCKED)) {
		err = avm_mm_may_lock(mm, len >> AVM_PAGE_SHIFT);
		if (err)
			return err;
	}
	err = vma_flags(mm, a, flags);
	if (err)
		return err;
	err = ask_file(a->file, flags);
	if (err)
		return err;
	if (*flags & AVM_NEVER_LOCKED)
		*flags &= ~(AVM_VM_LOCKED | AVM_VM_LOCKONFAULT);
	r = (struct avm_range){ .start = start,
				.end = start + len,
				.flags = *flags,
				.pgoff = a->file ? a->pgoff : start >> AVM_PAGE_SHIFT,
				.file = a->file,
				.policy = a->policy,
				.private_data = a->private_data };
	if (!a->file && (*flags & AVM_VM_SHARED))
		err = map_shared_anon(mm, &r);
	else
		err = AVM_FAST ? map_range(mm, &r) : avm_map_range(mm, &r);
	*out = start;
	return err;
}

/* Memory that is locked as it is faulted in is not to be faulted in now, whatever is asked for. */
static bool wants_pages(const struct avm_mmap *a, uint64_t flags)
{
	if (flags & AVM_VM_LOCKONFAULT)
		return false;
	return (flags & AVM_VM_LOCKED) ||
	       (a->flags & (AVM_MAP_POPULATE | AVM_MAP_NONBLOCK)) == AVM_MAP_POPULATE;
}

int avm_mmap(struct avm_mm *mm, const struct avm_mmap *args, avm_addr_t *out)
{
	avm_addr_t start = 0;
	uint64_t flags = 0;
	int err = check_args(args);

	if (err)
		return err;
	err = avm_mmap_write_lock(mm);
	if (err)
		return err;
	err = mmap_locked(mm, args, &start, &flags);
	avm_mmap_write_unlock(mm);
	if (err)
		return err;
	*out = start;
	if (wants_pages(args, flags))
		avm_populate(mm, start, args->len,
			     (flags & (AVM_VM_WRITE | AVM_VM_SHARED)) == AVM_VM_WRITE ?
				     AVM_ACCESS_WRITE :
				     AVM_ACCESS_READ);
	return 0;
}
