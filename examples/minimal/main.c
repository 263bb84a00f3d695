/* SPDX-License-Identifier: MIT */
/*
 * main.c - boots a machine, runs a parent and a child in it, and puts everything back.
 *
 * There is no MMU in a process, so load() and store() do what one does: walk the page tables that the core
 * keeps, fault, walk again. In a kernel the walk is the hardware's, and avm_fault() is called by the page
 * fault handler.
 */
#include "avm_port.h"
#include "kernel.h"

static struct kernel kernel;
static int failures;

#define CHECK(what) \
	do { \
		if (!(what)) { \
			console("wrong, line %d: %s\n", __LINE__, #what); \
			failures++; \
		} \
	} while (0)

/* ---- the MMU ----------------------------------------------------------------------------------- */

/* The leaf entry for addr, or NULL where a table is missing. */
static avm_pte_t *walk(struct avm_mm *mm, avm_addr_t addr)
{
	avm_pfn_t table = avm_mm_root(mm);
	unsigned shift = AVM_PAGE_SHIFT + AVM_TABLE_SHIFT * AVM_TABLE_LEVELS;

	for (;;) {
		avm_pte_t *entry = avm_port_frame_ptr(mm->machine, table);

		shift -= AVM_TABLE_SHIFT;
		entry += (addr >> shift) & (AVM_TABLE_ENTRIES - 1);
		if (shift == AVM_PAGE_SHIFT)
			return entry;
		if (!avm_arch_table_load(entry))
			return NULL;
		table = avm_arch_table_pfn(avm_arch_table_load(entry));
	}
}

static const char *fault_name(unsigned bits)
{
	if (bits & AVM_FAULT_ERROR)
		return "refused";
	if (bits & AVM_FAULT_COW)
		return "copied";
	if (bits & AVM_FAULT_REUSE)
		return "made writable, nobody else has it";
	return bits & AVM_FAULT_ZERO ? "the zero page" : "a new page of zeroes";
}

/* Where the byte at addr is, or NULL: the process would get a signal. */
static unsigned char *translate(struct avm_mm *mm, avm_addr_t addr, enum avm_access access)
{
	for (;;) {
		avm_pte_t *entry = walk(mm, addr);
		unsigned bits;

		if (entry && avm_pte_present(*entry) && !avm_pte_none_access(*entry) &&
		    (access != AVM_ACCESS_WRITE || avm_pte_write(*entry))) {
			unsigned char *frame = avm_port_frame_ptr(mm->machine, avm_pte_pfn(*entry));

			*entry = avm_pte_mkyoung(*entry);
			if (access == AVM_ACCESS_WRITE)
				*entry = avm_pte_mkdirty(*entry);
			return frame + (addr & ~AVM_PAGE_MASK);
		}
		bits = avm_fault(mm, addr, access, NULL);
		console("  mm %llu: fault, %s at %#llx: %s\n", (unsigned long long)mm->id,
			access == AVM_ACCESS_WRITE ? "write" : "read", (unsigned long long)addr,
			fault_name(bits));
		if (bits & AVM_FAULT_ERROR)
			return NULL;
	}
}

static int load(struct avm_mm *mm, avm_addr_t addr)
{
	const unsigned char *byte = translate(mm, addr, AVM_ACCESS_READ);

	return byte ? *byte : -1;
}

static bool store(struct avm_mm *mm, avm_addr_t addr, unsigned char value)
{
	unsigned char *byte = translate(mm, addr, AVM_ACCESS_WRITE);

	if (byte)
		*byte = value;
	return byte;
}

/* ---- the machine -------------------------------------------------------------------------------- */

static void boot(struct kernel *k)
{
	struct avm_config config = { .context = k };

	CHECK(avm_init(&k->machine, &config) == 0);
	CHECK(avm_add_frames(&k->machine, &k->region, FIRST_PFN, NR_FRAMES, k->pages) == 0);
	console("booted: %d frames, %u in use\n", NR_FRAMES, k->nr_taken);
}

static void run(struct avm *m)
{
	struct avm_mmap args = { .len = 4 * AVM_PAGE_SIZE,
				 .prot = AVM_PROT_READ | AVM_PROT_WRITE,
				 .flags = AVM_MAP_PRIVATE | AVM_MAP_ANONYMOUS };
	struct avm_mm parent, child;
	avm_addr_t heap = 0;

	CHECK(avm_mm_init(m, &parent, NULL) == 0);
	CHECK(avm_mmap(&parent, &args, &heap) == 0);
	console("the parent, mm %llu, maps 4 pages at %#llx\n", (unsigned long long)parent.id,
		(unsigned long long)heap);
	CHECK(load(&parent, heap) == 0);
	CHECK(store(&parent, heap, 'a'));

	CHECK(avm_mm_fork(&parent, &child, NULL) == 0);
	console("it forks mm %llu, which reads, and then writes\n", (unsigned long long)child.id);
	CHECK(load(&child, heap) == 'a');
	CHECK(store(&child, heap, 'b'));
	CHECK(load(&child, heap) == 'b');
	console("the parent still has what it wrote, and writes again\n");
	CHECK(load(&parent, heap) == 'a');
	CHECK(store(&parent, heap, 'c'));
	CHECK(load(&child, heap) == 'b');
	console("an address that nobody has mapped\n");
	CHECK(load(&parent, heap + 4 * AVM_PAGE_SIZE) == -1);

	CHECK(avm_verify(m, AVM_VERIFY_ALL, NULL) == 0);
	avm_mm_put(&child);
	CHECK(load(&parent, heap) == 'c');
	avm_mm_put(&parent);
}

static void shut_down(struct kernel *k)
{
	CHECK(avm_fini(&k->machine) == 0);
	CHECK(k->nr_taken == 0);
	console("halted: %u frames in use\n", k->nr_taken);
}

int main(void)
{
	boot(&kernel);
	run(&kernel.machine);
	shut_down(&kernel);
	return failures ? 1 : 0;
}
