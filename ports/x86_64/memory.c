/* SPDX-License-Identifier: MIT */
/*
 * memory.c - tier 0: eight functions, and the machine runs.
 *
 * Frames for users and for page tables come from one pool, the core's objects from another, which the kernel's stacks
 * are taken from, too. With one pool for both, users could take the last page, and the object that is needed to
 * reclaim theirs could not be had.
 */
#include "avm_arch.h"
#include "avm_port.h"
#include "glue.h"

/* All physical memory is mapped, so that one kind of frame serves both uses. The core zeroes what must be zero. */
avm_pfn_t avm_port_frame_alloc(struct avm *m, enum avm_frame_use use)
{
	uint64_t page = pool_alloc(&kernel_of(m)->frames, 0);

	return page == POOL_NONE ? AVM_PFN_NONE : page;
}

void avm_port_frame_free(struct avm *m, avm_pfn_t pfn)
{
	pool_free(&kernel_of(m)->frames, pfn, 0);
}

void *avm_port_frame_ptr(struct avm *m, avm_pfn_t pfn)
{
	return direct_map(pfn << AVM_PAGE_SHIFT);
}

/* Aligned to its size: that is what a buddy is. */
static unsigned order_of(size_t size)
{
	return (unsigned)__builtin_ctzll(size) - AVM_PAGE_SHIFT;
}

void *avm_port_meta_alloc(struct avm *m, size_t size)
{
	uint64_t page = pool_alloc(&kernel_of(m)->objects, order_of(size));

	return page == POOL_NONE ? NULL : direct_map(page << AVM_PAGE_SHIFT);
}

void avm_port_meta_free(struct avm *m, void *ptr, size_t size)
{
	pool_free(&kernel_of(m)->objects, physical(ptr) >> AVM_PAGE_SHIFT, order_of(size));
}

/*
 * The upper half of the root is the kernel's, and the same everywhere. It points to tables that the kernel made
 * at boot and never replaces, so a copy stays right.
 */
int avm_port_root_init(struct avm *m, struct avm_mm *mm, void *root)
{
	avm_pte_t *entries = root;

	for (unsigned i = AVM_TABLE_ENTRIES / 2; i < AVM_TABLE_ENTRIES; i++)
		entries[i] = kernel_root[i];
	return 0;
}

/* Information as it stands: the self-test speaks TAP. */
void avm_port_log(struct avm *m, enum avm_log_level level, const char *line)
{
	print("%s%s\n", level == AVM_LOG_INFO ? "" : "core: ", line);
}

_Noreturn void avm_port_panic(struct avm *m, const char *why)
{
	panic(why);
}
