/* SPDX-License-Identifier: MIT */
/* states.c - programs that make a state, in which something is then done that fails. */
#include "states.h"

/* ---- states that are made by hand -------------------------------------------------------------------------- */

#define AT(page) (WINDOW_START + (180 + (avm_addr_t)(page)) * PAGE)
#define RW (AVM_PROT_READ | AVM_PROT_WRITE)

static void add(struct program *pr, struct op op)
{
	pr->ops = bounds_grow_array(pr->ops, pr->n, &pr->room, sizeof(*pr->ops));
	pr->ops[pr->n++] = op;
}

static void add_map(struct program *pr, unsigned page, unsigned pages, uint32_t prot,
		    uint32_t flags, unsigned file, unsigned pgoff)
{
	add(pr, (struct op){ .kind = OP_MMAP,
			     .addr = AT(page),
			     .len = pages * PAGE,
			     .prot = prot,
			     .flags = flags | AVM_MAP_FIXED | (file ? 0u : AVM_MAP_ANONYMOUS),
			     .file = (uint8_t)file,
			     .to = pgoff });
}

static void add_stores(struct program *pr, unsigned page, unsigned pages)
{
	for (unsigned i = 0; i < pages; i++)
		add(pr,
		    (struct op){ .kind = OP_STORE, .addr = AT(page + i), .len = 8, .value = pr->n });
}

static void add_protect(struct program *pr, unsigned page, unsigned pages, uint32_t prot)
{
	add(pr,
	    (struct op){ .kind = OP_MPROTECT, .addr = AT(page), .len = pages * PAGE, .prot = prot });
}

/* Three touching VMAs; `faulted` has a bit for each. */
static void three_in_a_row(struct program *pr, unsigned faulted)
{
	add_map(pr, 0, 12, RW, AVM_MAP_PRIVATE, 0, 0);
	add_protect(pr, 4, 4, AVM_PROT_READ | AVM_PROT_EXEC);
	add_protect(pr, 4, 4, AVM_PROT_WRITE);
	for (unsigned i = 0; i < 3; i++) {
		if (faulted & 1u << i)
			add_stores(pr, 4 * i, 4);
	}
}

static void around_holes(struct program *pr, unsigned variant)
{
	three_in_a_row(pr, 7);
	add(pr, (struct op){ .kind = OP_MUNMAP, .addr = AT(2), .len = PAGE });
	add(pr, (struct op){ .kind = OP_MUNMAP, .addr = AT(6), .len = (1 + variant) * PAGE });
	add_map(pr, 20, 4, RW, AVM_MAP_PRIVATE | AVM_MAP_GROWSDOWN, 0, 0);
	add_stores(pr, 20, 2);
}

static void files(struct program *pr, unsigned variant)
{
	add_map(pr, 0, 8, RW, AVM_MAP_PRIVATE, 1, 2);
	add_map(pr, 8, 4, RW, AVM_MAP_PRIVATE, 1, 10);
	add_map(pr, 12, 8, RW, AVM_MAP_SHARED, 2, 0);
	add_map(pr, 20, 6, RW, AVM_MAP_SHARED, variant ? 4 : 0, 0);
	add_stores(pr, 0, variant ? 10 : 0);
	add_stores(pr, 13, 4);
	add_stores(pr, 21, 3);
	add_protect(pr, 2, 2, AVM_PROT_READ);
}

/* What mremap moves: away, and back in line; next to its neighbours. */
static void moved(struct program *pr, unsigned variant)
{
	add_map(pr, 0, 12, RW, AVM_MAP_PRIVATE, 0, 0);
	add_stores(pr, variant ? 0 : 4, 6);
	add(pr, (struct op){ .kind = OP_MREMAP,
			     .addr = AT(4),
			     .len = 4 * PAGE,
			     .new_len = 4 * PAGE,
			     .flags = AVM_MREMAP_MAYMOVE | AVM_MREMAP_FIXED |
				      (variant == 2 ? (uint32_t)AVM_MREMAP_DONTUNMAP : 0u),
			     .to = AT(30) });
	add_map(pr, 40, 3, RW, AVM_MAP_PRIVATE, 0, 0);
	add_stores(pr, 40, variant);
}

static void images(struct program *pr, unsigned variant)
{
	add(pr, (struct op){ .kind = OP_EXEC, .new_len = 9 + variant });
	add(pr, (struct op){ .kind = OP_BRK,
			     .addr = WINDOW_START + (16 + 9 + variant + 9 + 6) * PAGE });
	add(pr, (struct op){ .kind = OP_STORE,
			     .addr = WINDOW_END - 7 * PAGE,
			     .len = 8,
			     .value = pr->n });
}

static void locked(struct program *pr, unsigned variant)
{
	three_in_a_row(pr, variant);
	add(pr, (struct op){ .kind = OP_MLOCK, .addr = AT(2), .len = 4 * PAGE });
	add(pr, (struct op){ .kind = OP_INSERT_PFN,
			     .addr = AT(20),
			     .to = UINT64_C(0x100000000),
			     .len = 4 * PAGE,
			     .prot = RW });
}

static void add_advice(struct program *pr, unsigned page, unsigned pages, enum avm_advice advice)
{
	add(pr, (struct op){ .kind = OP_MADVISE,
			     .addr = AT(page),
			     .len = pages * PAGE,
			     .flags = (uint32_t)advice });
}

/* Pages in slots, some with a page in the cache as well; given up lazily, merged, pinned. */
static void swapped(struct program *pr, unsigned variant)
{
	pr->pressure = true;
	add(pr, (struct op){ .kind = OP_SWAPON, .new_len = 100 });
	add_map(pr, 0, 12, RW, AVM_MAP_PRIVATE, 0, 0);
	add_stores(pr, 0, 10);
	add_map(pr, 12, 6, RW, AVM_MAP_SHARED, 4, 0);
	add_stores(pr, 12, 6);
	add_map(pr, 20, 4, RW, AVM_MAP_PRIVATE, 1, 2);
	add_stores(pr, 20, 3);
	if (variant == 3)
		add_advice(pr, 2, 6, AVM_MADV_FREE);
	if (variant == 4) {
		add_advice(pr, 0, 12, AVM_MADV_MERGEABLE);
		add(pr, (struct op){ .kind = OP_POPULATE,
				     .addr = AT(0),
				     .len = 12 * PAGE,
				     .flags = AVM_ACCESS_WRITE });
		for (unsigned i = 0; i < 3; i++)
			add(pr, (struct op){ .kind = OP_KSM, .new_len = 12 });
	}
	if (variant == 5)
		add(pr, (struct op){ .kind = OP_PIN, .addr = AT(3), .len = 2 * PAGE, .prot = 1 });
	if (variant == 1)
		add(pr, (struct op){ .kind = OP_FORK, .q = 7 });
	if (variant != 4)
		add(pr, (struct op){ .kind = OP_SHRINK_ALL });
	for (unsigned i = 0; variant == 2 && i < 24; i += 2)
		add(pr, (struct op){ .kind = OP_LOAD, .addr = AT(i), .len = 8 });
}

const struct layout layouts[] = {
	{ "three VMAs", three_in_a_row, 8 },
	{ "holes", around_holes, 2 },
	{ "files", files, 2 },
	{ "moved", moved, 3 },
	{ "image", images, 2 },
	{ "locked", locked, 2 },
	{ "swapped", swapped, 6 },
};
const unsigned nr_layouts = sizeof(layouts) / sizeof(layouts[0]);

/* What is in a state is little; to make a machine, and to verify every frame of it, is what takes the time. */
static void small_machine(struct program *pr)
{
	const uint64_t frames = 2048;

	if (pr->core.commit_reserve)
		pr->core.commit_reserve -= pr->frames - frames;
	pr->frames = frames;
}

/* The layout in process 0; a line of forks, in which the oldest may be gone. */
void hand_made(struct program *pr, unsigned layout, unsigned variant, unsigned depth)
{
	program_init(pr, layout * 1000 + variant * 100 + depth, PROGRAM_PLENTY);
	small_machine(pr);
	pr->limits = (struct avm_limits){ AVM_NO_LIMIT, AVM_NO_LIMIT, AVM_NO_LIMIT, AVM_NO_LIMIT };
	pr->core.max_map_count = 0;
	pr->core.commit = AVM_COMMIT_OFF;
	pr->core.commit_reserve = 0;
	add(pr, (struct op){ .kind = OP_PROCESS });
	layouts[layout].make(pr, variant);
	for (unsigned i = 0; i < depth; i++) {
		add(pr, (struct op){ .kind = OP_FORK, .p = (uint8_t)i, .q = (uint8_t)(i + 1) });
		add(pr, (struct op){ .kind = OP_STORE,
				     .p = (uint8_t)(i + 1),
				     .q = (uint8_t)(i + 1),
				     .addr = AT(i % 4),
				     .len = 8,
				     .value = pr->n });
		if (depth > 2 && i)
			add(pr, (struct op){ .kind = OP_EXIT, .p = (uint8_t)i, .q = (uint8_t)i });
	}
}

void random_state(struct program *pr, uint64_t seed)
{
	struct rng r = { .state = seed };
	struct world w;
	size_t n = 30 + rng_below(&r, 200);

	program_init(pr, seed, PROGRAM_PLENTY);
	small_machine(pr);
	world_open(&w, pr);
	for (size_t i = 0; i < n && !w.failed; i++) {
		struct op op;

		generate(&r, &w, &op);
		world_step(&w, &op);
		add(pr, op);
	}
	world_close(&w);
}
