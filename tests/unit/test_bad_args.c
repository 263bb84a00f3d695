/* SPDX-License-Identifier: MIT */
/*
 * test_bad_args.c - bad arguments of every public function: the errno of the manual page, and nothing has changed.
 *
 * First a table of arguments and errors, then random ones (AVM_BAD_ARGS: how many): whatever they are, the error is
 * one that the header names, a call that fails has changed nothing unless the header says what, and the machine is
 * as it must be.
 */
#include <stdio.h>

#include "ops.h"
#include "random.h"

#define TOP AVM_ARCH_TASK_SIZE
#define MAX UINT64_MAX
#define LAST (~0ull & AVM_PAGE_MASK) /* the last page of all */
#define ODD (AT(0) + 1)
#define FILE_PAGES 4u
#define FRAMES_OF_MACHINE 512u

/* What is mapped at the beginning of each test: pages from BASE. */
enum place {
	READ_WRITE = 0, /* 4 */
	HOLE = 4,
	READ_ONLY = 8, /* 2 */
	NO_ACCESS = 10, /* 2 */
	SHARED = 12, /* 4 */
	PRIVATE_FILE = 16, /* 4 */
	SHARED_FILE = 20, /* 4 */
	LOCKED = 24, /* 2 */
	FRAMES = 26, /* 2: bare ones */
	STACK = 36, /* 4 */
	PLACES = 48,
};

struct setting {
	struct world w;
	struct test_file *file;
};

static void open_setting(struct setting *s)
{
	struct avm_limits limits = { AVM_NO_LIMIT, AVM_NO_LIMIT, AVM_NO_LIMIT, 64 * PAGE };
	struct world *w = &s->w;

	assert_int_equal(sim_create(&w->s, &(struct sim_config){ .frames = FRAMES_OF_MACHINE,
								 .check_tlb = true }),
			 0);
	w->m = sim_machine(w->s);
	assert_int_equal(sim_proc_create(w->s, &(struct avm_mm_config){ .limits = &limits }, &w->a),
			 0);
	w->mm = sim_mm(w->a);
	s->file = test_file_open(w, FILE_PAGES * PAGE);
	map_at(w->mm, AT(READ_WRITE), 4, RW, ANON, NULL, 0);
	map_at(w->mm, AT(READ_ONLY), 2, AVM_PROT_READ, ANON, NULL, 0);
	map_at(w->mm, AT(NO_ACCESS), 2, AVM_PROT_NONE, ANON, NULL, 0);
	map_at(w->mm, AT(SHARED), 4, RW, AVM_MAP_SHARED | AVM_MAP_ANONYMOUS, NULL, 0);
	map_at(w->mm, AT(PRIVATE_FILE), 4, RW, AVM_MAP_PRIVATE, &s->file->file, 0);
	map_at(w->mm, AT(SHARED_FILE), 4, RW, AVM_MAP_SHARED, &s->file->file, 0);
	map_at(w->mm, AT(LOCKED), 2, RW, ANON | AVM_MAP_LOCKED, NULL, 0);
	assert_int_equal(avm_insert_pfn(w->mm, AT(FRAMES), 1u << 20, 2, RW), 0);
	map_at(w->mm, AT(STACK), 4, RW, ANON | AVM_MAP_GROWSDOWN, NULL, 0);
	store(w->a, AT(READ_WRITE), 1);
	store(w->a, AT(SHARED), 2);
	store(w->a, AT(PRIVATE_FILE), 3);
	store(w->a, AT(SHARED_FILE + 1), 4);
}

static void close_setting(struct setting *s)
{
	avm_mm_unmap_all(s->w.mm);
	test_file_close(s->file);
	world_close(&s->w);
}

/* ---- the functions, with arguments as numbers ---------------------------------------------------------- */

typedef int64_t (*function)(struct setting *s, const uint64_t *a);

static int64_t do_mmap(struct setting *s, const uint64_t *a)
{
	struct avm_mmap m = { .addr = a[0],
			      .len = a[1],
			      .prot = (uint32_t)a[2],
			      .flags = (uint32_t)a[3],
			      .pgoff = a[4] };
	avm_addr_t out = 0x5a5a;
	int err;

	if (!(m.flags & AVM_MAP_ANONYMOUS))
		m.file = &s->file->file;
	err = avm_mmap(s->w.mm, &m, &out);
	if (err)
		assert_int_equal(out, 0x5a5a);
	return err;
}

/* The same of a file that is open for reading only, for writing only, of none at all. */
static int64_t do_mmap_read(struct setting *s, const uint64_t *a)
{
	return avm_mmap(s->w.mm,
			&(struct avm_mmap){ .len = PAGE,
					    .prot = (uint32_t)a[0],
					    .flags = (uint32_t)a[1],
					    .file = &s->file->file,
					    .open_mode = (uint32_t)a[2] },
			&(avm_addr_t){ 0 });
}

static int64_t do_mmap_none(struct setting *s, const uint64_t *a)
{
	return avm_mmap(s->w.mm,
			&(struct avm_mmap){ .len = PAGE, .prot = RW, .flags = (uint32_t)a[0] },
			&(avm_addr_t){ 0 });
}

static int64_t do_munmap(struct setting *s, const uint64_t *a)
{
	return avm_munmap(s->w.mm, a[0], a[1]);
}

static int64_t do_mprotect(struct setting *s, const uint64_t *a)
{
	return avm_mprotect(s->w.mm, a[0], a[1], (uint32_t)a[2]);
}

static int64_t do_mremap(struct setting *s, const uint64_t *a)
{
	avm_addr_t out;

	return avm_mremap(s->w.mm, a[0], a[1], a[2], (uint32_t)a[3], a[4], &out);
}

static int64_t do_madvise(struct setting *s, const uint64_t *a)
{
	return avm_madvise(s->w.mm, a[0], a[1], (enum avm_advice)a[2]);
}

static int64_t do_mlock(struct setting *s, const uint64_t *a)
{
	return avm_mlock(s->w.mm, a[0], a[1], (uint32_t)a[2]);
}

static int64_t do_munlock(struct setting *s, const uint64_t *a)
{
	return avm_munlock(s->w.mm, a[0], a[1]);
}

static int64_t do_mlockall(struct setting *s, const uint64_t *a)
{
	return avm_mlockall(s->w.mm, (uint32_t)a[0]);
}

static int64_t do_msync(struct setting *s, const uint64_t *a)
{
	return avm_msync(s->w.mm, a[0], a[1], (uint32_t)a[2]);
}

static int64_t do_mincore(struct setting *s, const uint64_t *a)
{
	uint8_t vec[PLACES + 1] = { 0 };

	/* What is answered has to fit. */
	if (a[1] <= sizeof(vec) * PAGE || a[1] > TOP)
		return avm_mincore(s->w.mm, a[0], a[1], vec);
	return avm_mincore(s->w.mm, a[0], sizeof(vec) * PAGE, vec);
}

static int64_t do_brk(struct setting *s, const uint64_t *a)
{
	avm_addr_t out;

	return avm_brk(s->w.mm, a[0], &out);
}

static int64_t do_insert_pfn(struct setting *s, const uint64_t *a)
{
	/* Whoever maps the frames of page tables may write to them. */
	uint64_t pfn = a[1] > FRAMES_OF_MACHINE ? a[1] : a[1] + (1u << 20);

	return avm_insert_pfn(s->w.mm, a[0], pfn, a[2], (uint32_t)a[3]);
}

static int64_t do_set_name(struct setting *s, const uint64_t *a)
{
	return avm_set_name(s->w.mm, a[0], a[1], (uint32_t)a[2]);
}

static int64_t do_set_policy(struct setting *s, const uint64_t *a)
{
	return avm_set_policy(s->w.mm, a[0], a[1], (uint32_t)a[2]);
}

static int64_t do_populate(struct setting *s, const uint64_t *a)
{
	return avm_populate(s->w.mm, a[0], a[1], (enum avm_access)(a[2] % 3));
}

static int64_t do_map_cached(struct setting *s, const uint64_t *a)
{
	return avm_map_cached(s->w.mm, a[0], a[1]);
}

static int64_t do_page_key(struct setting *s, const uint64_t *a)
{
	struct avm_page_key key;

	return avm_page_key(s->w.mm, a[0], &key);
}

static char buffer[3 * AVM_PAGE_SIZE];

static int64_t do_copy_in(struct setting *s, const uint64_t *a)
{
	return avm_copy_in(s->w.mm, a[0], buffer, a[1] % (sizeof(buffer) + 1), a[2] & 1);
}

static int64_t do_copy_out(struct setting *s, const uint64_t *a)
{
	return avm_copy_out(s->w.mm, buffer, a[0], a[1] % (sizeof(buffer) + 1), a[2] & 1);
}

static int64_t do_copy_between(struct setting *s, const uint64_t *a)
{
	return avm_copy_between(s->w.mm, a[0], s->w.mm, a[4], a[1], a[2] & 1);
}

static int64_t do_truncate(struct setting *s, const uint64_t *a)
{
	/* What the test's file has in memory ends somewhere. */
	return avm_file_truncate(&s->file->file, a[1] > INT64_MAX ? a[1] : a[1] % (8 * PAGE));
}

static int64_t do_punch(struct setting *s, const uint64_t *a)
{
	return avm_file_punch(&s->file->file, a[0], a[1]);
}

static int64_t do_invalidate(struct setting *s, const uint64_t *a)
{
	return avm_file_invalidate(&s->file->file, a[0], a[1]);
}

static int64_t do_readahead(struct setting *s, const uint64_t *a)
{
	return avm_file_readahead(&s->file->file, a[0], a[1]);
}

static int64_t do_read(struct setting *s, const uint64_t *a)
{
	return avm_file_read(&s->file->file, a[0], buffer, a[1] % (sizeof(buffer) + 1));
}

static int64_t do_write(struct setting *s, const uint64_t *a)
{
	uint64_t at = a[0] > INT64_MAX - sizeof(buffer) ? a[0] : a[0] % (4 * PAGE);

	return avm_file_write(&s->file->file, at, buffer, a[1] % (sizeof(buffer) + 1));
}

static int64_t do_init(struct setting *s, const uint64_t *a)
{
	struct sim_proc *p;
	int err = sim_proc_create(
		s->w.s,
		&(struct avm_mm_config){ .lowest = a[0], .task_size = a[1], .mmap_base = a[2] },
		&p);

	if (!err)
		sim_proc_exit(p);
	return err;
}

/* A new address space for each: the old one is not to know. */
static int64_t do_exec(struct setting *s, const uint64_t *a)
{
	const struct avm_segment segment = { .start = a[0],
					     .pages = a[1],
					     .prot = AVM_PROT_READ,
					     .file = a[4] & 1 ? &s->file->file : NULL,
					     .pgoff = a[2] };
	struct avm_image image = { .segments = &segment,
				   .nr_segments = 1,
				   .brk_start = a[2],
				   .stack_end = a[3],
				   .stack_pages = a[4],
				   .argument_pages = a[4] % 5 };
	struct sim_proc *p;
	char *before, *after;
	int err;

	if (sim_proc_create(s->w.s, NULL, &p))
		return -AVM_ENOMEM;
	before = dump(sim_mm(p));
	err = avm_exec(sim_mm(p), &image);
	after = dump(sim_mm(p));
	if (err)
		assert_string_equal(before, after);
	free(before);
	free(after);
	world_check(&s->w);
	sim_proc_exit(p);
	return err;
}

/* ---- a table of mistakes ------------------------------------------------------------------------------- */

#define FIXED (ANON | AVM_MAP_FIXED)
#define MAYMOVE AVM_MREMAP_MAYMOVE
#define MOVE (AVM_MREMAP_MAYMOVE | AVM_MREMAP_FIXED)
#define LEAVE (AVM_MREMAP_MAYMOVE | AVM_MREMAP_DONTUNMAP)

static const struct mistake {
	const char *what;
	function call;
	uint64_t a[5];
	int want;
} mistakes[] = {
	{ "mmap: no length", do_mmap, { 0, 0, RW, ANON }, AVM_EINVAL },
	{ "mmap: no type", do_mmap, { 0, PAGE, RW, AVM_MAP_ANONYMOUS }, AVM_EINVAL },
	{ "mmap: unknown type", do_mmap, { 0, PAGE, RW, 0x24 }, AVM_EINVAL },
	{ "mmap: both types, anonymous", do_mmap, { 0, PAGE, RW, 0x23 }, AVM_EINVAL },
	{ "mmap: odd address", do_mmap, { ODD, PAGE, RW, FIXED }, AVM_EINVAL },
	{ "mmap: length that wraps", do_mmap, { 0, MAX, RW, ANON }, AVM_ENOMEM },
	{ "mmap: more than there is", do_mmap, { 0, TOP, RW, ANON }, AVM_ENOMEM },
	{ "mmap: far more", do_mmap, { 0, 1ull << 63, RW, ANON }, AVM_ENOMEM },
	{ "mmap: over the top", do_mmap, { TOP - PAGE, 2 * PAGE, RW, FIXED }, AVM_ENOMEM },
	{ "mmap: at the top", do_mmap, { TOP, PAGE, RW, FIXED }, AVM_ENOMEM },
	{ "mmap: the last page of all", do_mmap, { LAST, PAGE, RW, FIXED }, AVM_ENOMEM },
	{ "mmap: address 0", do_mmap, { 0, PAGE, RW, FIXED }, AVM_EPERM },
	{ "mmap: something there",
	  do_mmap,
	  { AT(3), 2 * PAGE, RW, ANON | AVM_MAP_FIXED_NOREPLACE },
	  AVM_EEXIST },
	{ "mmap: too much locked",
	  do_mmap,
	  { 0, 65 * PAGE, RW, ANON | AVM_MAP_LOCKED },
	  AVM_EAGAIN },
	{ "mmap: offset that wraps", do_mmap, { 0, PAGE, 1, AVM_MAP_PRIVATE, MAX }, AVM_EOVERFLOW },
	{ "mmap: offset beyond all files",
	  do_mmap,
	  { 0, PAGE, 1, AVM_MAP_SHARED, 1ull << 51 },
	  AVM_EOVERFLOW },
	{ "mmap: flag unknown to validate", do_mmap, { 0, PAGE, 1, 0x1000003 }, AVM_EOPNOTSUPP },
	{ "mmap: a file that grows down",
	  do_mmap,
	  { 0, PAGE, RW, AVM_MAP_PRIVATE | AVM_MAP_GROWSDOWN },
	  AVM_EINVAL },
	{ "mmap: not open for reading",
	  do_mmap_read,
	  { 1, AVM_MAP_PRIVATE, AVM_PROT_WRITE },
	  AVM_EACCES },
	{ "mmap: not open for writing",
	  do_mmap_read,
	  { RW, AVM_MAP_SHARED, AVM_PROT_READ },
	  AVM_EACCES },
	{ "mmap: no file", do_mmap_none, { AVM_MAP_PRIVATE }, AVM_EBADF },

	{ "munmap: no length", do_munmap, { AT(0), 0 }, AVM_EINVAL },
	{ "munmap: odd address", do_munmap, { ODD, PAGE }, AVM_EINVAL },
	{ "munmap: over the top", do_munmap, { TOP - PAGE, 2 * PAGE }, AVM_EINVAL },
	{ "munmap: beyond the top", do_munmap, { 1ull << 47, PAGE }, AVM_EINVAL },
	{ "munmap: length that wraps", do_munmap, { AT(0), MAX }, AVM_EINVAL },
	{ "munmap: end that wraps", do_munmap, { LAST, 2 * PAGE }, AVM_EINVAL },

	{ "mprotect: odd address", do_mprotect, { ODD, PAGE, 1 }, AVM_EINVAL },
	{ "mprotect: unknown protection", do_mprotect, { AT(0), PAGE, 0x40 }, AVM_EINVAL },
	{ "mprotect: up and down", do_mprotect, { AT(36), PAGE, 0x3000001 }, AVM_EINVAL },
	{ "mprotect: nothing grows up", do_mprotect, { AT(36), PAGE, 0x2000001 }, AVM_EINVAL },
	{ "mprotect: no stack", do_mprotect, { AT(0), PAGE, 0x1000001 }, AVM_EINVAL },
	{ "mprotect: a hole first", do_mprotect, { AT(HOLE), 8 * PAGE, 1 }, AVM_ENOMEM },
	{ "mprotect: length that wraps", do_mprotect, { AT(0), MAX, 1 }, AVM_ENOMEM },
	{ "mprotect: end that wraps", do_mprotect, { LAST, PAGE, 1 }, AVM_ENOMEM },
	{ "mprotect: beyond the top", do_mprotect, { TOP, PAGE, 1 }, AVM_ENOMEM },

	{ "mremap: unknown flag", do_mremap, { AT(0), PAGE, PAGE, 8 }, AVM_EINVAL },
	{ "mremap: odd address", do_mremap, { ODD, PAGE, PAGE, MAYMOVE }, AVM_EINVAL },
	{ "mremap: no new length", do_mremap, { AT(0), PAGE, 0, MAYMOVE }, AVM_EINVAL },
	{ "mremap: new length that wraps", do_mremap, { AT(0), PAGE, MAX, MAYMOVE }, AVM_EINVAL },
	{ "mremap: fixed, may not move", do_mremap, { AT(0), PAGE, PAGE, 2, AT(60) }, AVM_EINVAL },
	{ "mremap: odd target",
	  do_mremap,
	  { AT(0), PAGE, PAGE, MOVE, ODD + 60 * PAGE },
	  AVM_EINVAL },
	{ "mremap: target over itself",
	  do_mremap,
	  { AT(0), 2 * PAGE, 2 * PAGE, MOVE, AT(1) },
	  AVM_EINVAL },
	{ "mremap: target over the top",
	  do_mremap,
	  { AT(0), PAGE, 2 * PAGE, MOVE, TOP - PAGE },
	  AVM_EINVAL },
	{ "mremap: target at 0", do_mremap, { AT(0), PAGE, PAGE, MOVE, 0 }, AVM_EPERM },
	{ "mremap: left behind, of another size",
	  do_mremap,
	  { AT(0), PAGE, 2 * PAGE, LEAVE },
	  AVM_EINVAL },
	{ "mremap: left behind, bare frames", do_mremap, { AT(26), PAGE, PAGE, LEAVE }, AVM_EINVAL },
	{ "mremap: private memory twice", do_mremap, { AT(0), 0, PAGE, MAYMOVE }, AVM_EINVAL },
	{ "mremap: a hole", do_mremap, { AT(HOLE), PAGE, 2 * PAGE, MAYMOVE }, AVM_EFAULT },
	{ "mremap: beyond its mapping",
	  do_mremap,
	  { AT(2), 4 * PAGE, 5 * PAGE, MAYMOVE },
	  AVM_EFAULT },
	{ "mremap: bare frames that grow",
	  do_mremap,
	  { AT(26), PAGE, 2 * PAGE, MAYMOVE },
	  AVM_EFAULT },
	{ "mremap: no room, may not move", do_mremap, { AT(8), 2 * PAGE, 3 * PAGE, 0 }, AVM_ENOMEM },
	{ "mremap: beyond the top", do_mremap, { TOP, PAGE, PAGE, MAYMOVE }, AVM_EFAULT },
	{ "mremap: too much locked",
	  do_mremap,
	  { AT(24), 2 * PAGE, 70 * PAGE, MAYMOVE },
	  AVM_EAGAIN },

	{ "madvise: odd address", do_madvise, { ODD, PAGE, AVM_MADV_DONTNEED }, AVM_EINVAL },
	{ "madvise: unknown", do_madvise, { AT(0), PAGE, 77 }, AVM_EINVAL },
	{ "madvise: negative", do_madvise, { AT(0), PAGE, UINT32_MAX }, AVM_EINVAL },
	{ "madvise: length that wraps", do_madvise, { AT(0), MAX, 4 }, AVM_EINVAL },
	{ "madvise: end that wraps", do_madvise, { LAST, 2 * PAGE, 4 }, AVM_EINVAL },
	{ "madvise: a hole", do_madvise, { AT(HOLE), PAGE, AVM_MADV_DONTNEED }, AVM_ENOMEM },
	{ "madvise: beyond the top", do_madvise, { TOP, PAGE, AVM_MADV_DONTFORK }, AVM_ENOMEM },
	{ "madvise: not needed, locked",
	  do_madvise,
	  { AT(24), PAGE, AVM_MADV_DONTNEED },
	  AVM_EINVAL },
	{ "madvise: free of a file", do_madvise, { AT(16), PAGE, AVM_MADV_FREE }, AVM_EINVAL },
	{ "madvise: remove of private memory",
	  do_madvise,
	  { AT(0), PAGE, AVM_MADV_REMOVE },
	  AVM_EINVAL },
	{ "madvise: wipe of shared memory",
	  do_madvise,
	  { AT(12), PAGE, AVM_MADV_WIPEONFORK },
	  AVM_EINVAL },
	{ "madvise: bare frames that fork",
	  do_madvise,
	  { AT(26), PAGE, AVM_MADV_DOFORK },
	  AVM_EINVAL },

	{ "mlock: unknown flag", do_mlock, { AT(0), PAGE, 2 }, AVM_EINVAL },
	{ "mlock: end that wraps", do_mlock, { LAST, 2 * PAGE }, AVM_EINVAL },
	{ "mlock: too much", do_mlock, { AT(0), 65 * PAGE }, AVM_ENOMEM },
	{ "mlock: a hole", do_mlock, { AT(HOLE), PAGE }, AVM_ENOMEM },
	{ "munlock: end that wraps", do_munlock, { LAST, 2 * PAGE }, AVM_EINVAL },
	{ "munlock: a hole", do_munlock, { AT(HOLE), PAGE }, AVM_ENOMEM },
	{ "mlockall: nothing", do_mlockall, { 0 }, AVM_EINVAL },
	{ "mlockall: on fault alone", do_mlockall, { AVM_MCL_ONFAULT }, AVM_EINVAL },
	{ "mlockall: unknown flag", do_mlockall, { 9 }, AVM_EINVAL },

	{ "msync: odd address", do_msync, { ODD, PAGE, AVM_MS_SYNC }, AVM_EINVAL },
	{ "msync: unknown flag", do_msync, { AT(20), PAGE, 8 }, AVM_EINVAL },
	{ "msync: rounded up beyond the last address",
	  do_msync,
	  { ~0ull - PAGE + 1, 1, AVM_MS_SYNC },
	  AVM_ENOMEM },
	{ "msync: both", do_msync, { AT(20), PAGE, AVM_MS_SYNC | AVM_MS_ASYNC }, AVM_EINVAL },
	{ "msync: a hole", do_msync, { AT(HOLE), PAGE, AVM_MS_SYNC }, AVM_ENOMEM },
	{ "msync: beyond the top", do_msync, { TOP, PAGE, AVM_MS_SYNC }, AVM_ENOMEM },
	{ "msync: invalidate locked memory",
	  do_msync,
	  { AT(24), PAGE, AVM_MS_INVALIDATE },
	  AVM_EBUSY },

	{ "mincore: odd address", do_mincore, { ODD, PAGE }, AVM_EINVAL },
	{ "mincore: a hole", do_mincore, { AT(HOLE), PAGE }, AVM_ENOMEM },
	{ "mincore: beyond the top", do_mincore, { TOP, PAGE }, AVM_ENOMEM },
	{ "mincore: length that wraps", do_mincore, { AT(0), MAX }, AVM_ENOMEM },

	{ "brk: no heap", do_brk, { AT(60) }, AVM_ENOMEM },

	{ "insert_pfn: odd address",
	  do_insert_pfn,
	  { ODD + 60 * PAGE, 1 << 20, 1, RW },
	  AVM_EINVAL },
	{ "insert_pfn: none", do_insert_pfn, { AT(60), 1 << 20, 0, RW }, AVM_EINVAL },
	{ "insert_pfn: unknown protection", do_insert_pfn, { AT(60), 1 << 20, 1, 8 }, AVM_EINVAL },
	{ "insert_pfn: something there", do_insert_pfn, { AT(3), 1 << 20, 2, RW }, AVM_EEXIST },
	{ "insert_pfn: address 0", do_insert_pfn, { 0, 1 << 20, 1, RW }, AVM_EPERM },
	{ "insert_pfn: over the top", do_insert_pfn, { TOP - PAGE, 1 << 20, 2, RW }, AVM_ENOMEM },
	{ "insert_pfn: far too many",
	  do_insert_pfn,
	  { AT(60), 1 << 20, 1ull << 48, RW },
	  AVM_ENOMEM },
	{ "insert_pfn: frame that no entry holds",
	  do_insert_pfn,
	  { AT(60), 1ull << 52, 1, RW },
	  AVM_EINVAL },
	{ "insert_pfn: frames that no entry holds",
	  do_insert_pfn,
	  { AT(60), (1ull << 52) - 1, 2, RW },
	  AVM_EINVAL },
	{ "insert_pfn: no frame at all", do_insert_pfn, { AT(60), MAX, 1, RW }, AVM_EINVAL },
	{ "insert_pfn: from no frame on", do_insert_pfn, { AT(60), MAX, 4, RW }, AVM_EINVAL },
	{ "insert_pfn: frames that wrap", do_insert_pfn, { AT(60), MAX - 1, 3, RW }, AVM_EINVAL },

	{ "set_name: odd address", do_set_name, { ODD, PAGE, 1 }, AVM_EINVAL },
	{ "set_name: a file", do_set_name, { AT(16), PAGE, 1 }, AVM_EBADF },
	{ "set_name: a hole", do_set_name, { AT(HOLE), PAGE, 1 }, AVM_ENOMEM },
	{ "set_policy: odd address", do_set_policy, { ODD, PAGE, 1 }, AVM_EINVAL },
	{ "set_policy: end that wraps", do_set_policy, { LAST, 2 * PAGE, 1 }, AVM_EINVAL },

	{ "populate: a hole", do_populate, { AT(HOLE), PAGE, 0 }, AVM_EFAULT },
	{ "populate: no access", do_populate, { AT(10), PAGE, 0 }, AVM_EFAULT },
	{ "map_cached: odd address", do_map_cached, { ODD, PAGE }, AVM_EINVAL },
	{ "map_cached: beyond the top", do_map_cached, { TOP, PAGE }, AVM_EINVAL },
	{ "page_key: a hole", do_page_key, { AT(HOLE) }, AVM_EFAULT },
	{ "page_key: the last byte", do_page_key, { MAX }, AVM_EFAULT },
	{ "copy_in: a hole", do_copy_in, { AT(HOLE), 8, 0 }, AVM_EFAULT },
	{ "copy_in: read only", do_copy_in, { AT(8), 8, 0 }, AVM_EFAULT },
	{ "copy_in: the last byte", do_copy_in, { MAX, 8, 0 }, AVM_EFAULT },
	{ "copy_out: beyond the top", do_copy_out, { TOP, 8, 1 }, AVM_EFAULT },

	{ "truncate: too large", do_truncate, { 0, 1ull << 63 }, AVM_EFBIG },
	{ "punch: nothing", do_punch, { 0, 0 }, AVM_EINVAL },
	{ "punch: end that wraps", do_punch, { MAX, PAGE }, AVM_EFBIG },
	{ "punch: too large", do_punch, { 1, INT64_MAX }, AVM_EFBIG },
	{ "write: too large", do_write, { INT64_MAX, 8 }, AVM_EFBIG },

	{ "mm_init: upside down", do_init, { 1ull << 40, 1ull << 30, 0 }, AVM_EINVAL },
	{ "mm_init: larger than the arch", do_init, { 0, TOP + PAGE, 0 }, AVM_EINVAL },
	{ "mm_init: odd", do_init, { 0, TOP - 1, 0 }, AVM_EINVAL },
	{ "mm_init: base beyond the top", do_init, { 0, 1ull << 30, 1ull << 31 }, AVM_EINVAL },
	{ "exec: no pages", do_exec, { AT(0), 0, 0, 0, 0 }, AVM_EINVAL },
	{ "exec: odd address", do_exec, { ODD, 1, 0, 0, 0 }, AVM_EINVAL },
	{ "exec: over the top", do_exec, { TOP - PAGE, 2, 0, 0, 0 }, AVM_EINVAL },
	{ "exec: size that wraps", do_exec, { AT(0), 1ull << 52, 0, 0, 0 }, AVM_EINVAL },
	{ "exec: stack that wraps", do_exec, { AT(0), 1, 0, AT(60), 1ull << 53 }, AVM_EINVAL },
	{ "exec: odd stack", do_exec, { AT(0), 1, 0, ODD + 60 * PAGE, 2 }, AVM_EINVAL },
	{ "exec: stack over a segment", do_exec, { AT(0), 4, 0, AT(5), 3 * 2 }, AVM_EINVAL },
	{ "exec: heap beyond the top", do_exec, { AT(0), 1, TOP + PAGE, 0, 0 }, AVM_EINVAL },
	{ "exec: heap at the end of all", do_exec, { AT(0), 1, MAX, 0, 0 }, AVM_EINVAL },
	{ "exec: file offset that wraps", do_exec, { AT(0), 2, MAX, 0, 1 }, AVM_EINVAL },
};

static void mistakes_have_their_errno_and_change_nothing(void **state)
{
	unsigned wrong = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(mistakes) / sizeof(mistakes[0]); i++) {
		const struct mistake *m = &mistakes[i];
		struct setting s;
		char *before, *after;
		int64_t got;

		open_setting(&s);
		before = dump(s.w.mm);
		got = m->call(&s, m->a);
		after = dump(s.w.mm);
		if (got != -m->want) {
			print_error("%s: %lld, not %d\n", m->what, (long long)got, -m->want);
			wrong++;
		}
		if (strcmp(before, after) != 0) {
			print_error("%s: something has changed\n", m->what);
			wrong++;
		}
		free(before);
		free(after);
		close_setting(&s);
	}
	assert_int_equal(wrong, 0);
}

/* ---- anything at all ----------------------------------------------------------------------------------- */

#define E(name) (1ull << (AVM_E##name % 64)) /* EOVERFLOW and EOPNOTSUPP have bits of their own */

static const struct operation {
	const char *name;
	function call;
	uint64_t errors;
	bool partial; /* what precedes the error may have been done */
} operations[] = {
	{ "mmap", do_mmap,
	  E(INVAL) | E(NOMEM) | E(PERM) | E(EXIST) | E(AGAIN) | E(OVERFLOW) | E(OPNOTSUPP), false },
	{ "munmap", do_munmap, E(INVAL), false },
	{ "mprotect", do_mprotect, E(INVAL) | E(NOMEM) | E(ACCES), true },
	{ "mremap", do_mremap, E(INVAL) | E(NOMEM) | E(FAULT) | E(AGAIN) | E(PERM), false },
	{ "madvise", do_madvise, E(INVAL) | E(NOMEM) | E(FAULT) | E(ACCES) | E(OPNOTSUPP), true },
	{ "mlock", do_mlock, E(INVAL) | E(NOMEM) | E(AGAIN), true },
	{ "munlock", do_munlock, E(INVAL) | E(NOMEM), true },
	{ "mlockall", do_mlockall, E(INVAL) | E(NOMEM), false },
	{ "msync", do_msync, E(INVAL) | E(NOMEM) | E(BUSY), true },
	{ "mincore", do_mincore, E(INVAL) | E(NOMEM), false },
	{ "brk", do_brk, E(NOMEM), false },
	{ "insert_pfn", do_insert_pfn, E(INVAL) | E(NOMEM) | E(PERM) | E(EXIST), false },
	{ "set_name", do_set_name, E(INVAL) | E(NOMEM) | E(BADF), true },
	{ "set_policy", do_set_policy, E(INVAL) | E(NOMEM), true },
	{ "populate", do_populate, E(FAULT) | E(IO) | E(NOMEM), true },
	{ "map_cached", do_map_cached, E(NOMEM) | E(INVAL), false },
	{ "page_key", do_page_key, E(FAULT), false },
	{ "copy_in", do_copy_in, E(NOMEM) | E(FAULT), true },
	{ "copy_out", do_copy_out, E(NOMEM) | E(FAULT), true },
	{ "copy_between", do_copy_between, E(NOMEM) | E(FAULT), true },
	{ "truncate", do_truncate, E(FBIG), false },
	{ "punch", do_punch, E(INVAL) | E(FBIG), false },
	{ "invalidate", do_invalidate, E(BUSY), true },
	{ "readahead", do_readahead, E(NOMEM), true },
	{ "read", do_read, E(NOMEM), true },
	{ "write", do_write, E(NOMEM) | E(FBIG), true },
	{ "mm_init", do_init, E(INVAL) | E(NOMEM), false },
	{ "exec", do_exec, E(INVAL) | E(NOMEM) | E(FAULT) | E(IO), false },
};

static uint64_t some_number(struct rng *rng)
{
	static const uint64_t edges[] = {
		0,
		1,
		PAGE - 1,
		PAGE,
		PAGE + 1,
		AVM_ARCH_LOWEST - PAGE,
		AVM_ARCH_LOWEST,
		1ull << 20,
		1ull << 31,
		1ull << 32,
		1ull << 46,
		TOP - PAGE,
		TOP - 1,
		TOP,
		TOP + 1,
		TOP + PAGE,
		1ull << 47,
		1ull << 51,
		1ull << 52,
		1ull << 62,
		INT64_MAX,
		1ull << 63,
		LAST - PAGE,
		LAST,
		LAST + 1,
		MAX,
	};

	switch (rng_below(rng, 8)) {
	case 0:
		return rng_next(rng) >> rng_below(rng, 64);
	case 1:
	case 2:
		return edges[rng_below(rng, sizeof(edges) / sizeof(edges[0]))];
	case 3:
		return rng_below(rng, 40);
	case 4:
		return (1 + rng_below(rng, 12)) * PAGE - rng_below(rng, 2);
	default:
		return AT(rng_below(rng, PLACES + 4)) +
		       (rng_below(rng, 8) ? 0 : rng_below(rng, PAGE));
	}
}

static void print_call(const struct operation *op, const uint64_t *a, int64_t got, const char *what)
{
	print_error("%s(%#llx, %#llx, %#llx, %#llx, %#llx) = %lld: %s\n", op->name,
		    (unsigned long long)a[0], (unsigned long long)a[1], (unsigned long long)a[2],
		    (unsigned long long)a[3], (unsigned long long)a[4], (long long)got, what);
	fail();
}

static void print_change(const struct operation *op, const uint64_t *a, int64_t got,
			 const char *before, const char *after)
{
	size_t same = 0;

	while (before[same] == after[same])
		same++;
	while (same && before[same - 1] != '\n')
		same--;
	print_error("before: %.*s\nafter:  %.*s\n", (int)strcspn(before + same, "\n"),
		    before + same, (int)strcspn(after + same, "\n"), after + same);
	print_call(op, a, got, "failed, and has changed something");
}

static bool may_fail_so(const struct operation *op, int64_t got)
{
	return got > -128 && (op->errors & (1ull << (-got % 64)));
}

/* => whether it has succeeded, and the place is no longer what it was */
static bool try_one(struct setting *s, struct rng *rng)
{
	const struct operation *op =
		&operations[rng_below(rng, sizeof(operations) / sizeof(operations[0]))];
	char *before = dump(s->w.mm), *after;
	uint64_t a[5];
	int64_t got;

	for (int i = 0; i < 5; i++)
		a[i] = some_number(rng);
	got = op->call(s, a);
	after = dump(s->w.mm);
	if (got < 0 && !may_fail_so(op, got))
		print_call(op, a, got, "an error that it should not have");
	if (got < 0 && !op->partial && strcmp(before, after) != 0)
		print_change(op, a, got, before, after);
	if (sim_verify(s->w.s, AVM_VERIFY_ALL, stderr))
		print_call(op, a, got, "the machine is not as it must be");
	got = strcmp(before, after);
	free(before);
	free(after);
	return got;
}

/* Fewer calls where builds are slow, and random operations few. */
static size_t nr_calls(void)
{
	const char *text = getenv("AVM_BAD_ARGS"), *ops = getenv("AVM_PROPERTY_OPS");

	if (text)
		return strtoull(text, NULL, 0);
	return ops && strtoull(ops, NULL, 0) < 50000 ? 2500 : 10000;
}

static void nothing_is_too_absurd_to_ask_for(void **state)
{
	size_t n = nr_calls();
	struct rng rng = { 1 };
	struct setting s;
	unsigned changes = 0;

	(void)state;
	open_setting(&s);
	for (size_t i = 0; i < n; i++) {
		changes += try_one(&s, &rng);
		if (changes < 12)
			continue;
		close_setting(&s);
		open_setting(&s);
		changes = 0;
	}
	close_setting(&s);
}

/* Any address, any access. */
static void faults_anywhere_say_why(void **state)
{
	struct rng rng = { 2 };
	struct setting s;

	(void)state;
	open_setting(&s);
	for (unsigned i = 0; i < 20000; i++) {
		avm_addr_t addr = some_number(&rng);
		enum avm_access access = (enum avm_access)rng_below(&rng, 3);
		unsigned got = avm_fault(s.w.mm, addr, access, NULL);

		if (addr < BASE || addr >= AT(PLACES))
			assert_int_equal(got, AVM_FAULT_MAPERR);
		else
			assert_int_not_equal(got, 0);
	}
	close_setting(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mistakes_have_their_errno_and_change_nothing),
		cmocka_unit_test(nothing_is_too_absurd_to_ask_for),
		cmocka_unit_test(faults_anywhere_say_why),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
