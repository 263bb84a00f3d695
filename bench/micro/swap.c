/* SPDX-License-Identifier: MIT */
/*
 * What swapping costs beside the compressor: a working set of twice the frames, swept by stores.
 *
 *	swap [PAGES]
 *
 * Pages are cut from files of this machine, text from documentation and headers, binary from programs; those that are
 * one word repeated are left out. Each store finds its page swapped out and makes it dirty: it comes in, and another one
 * goes out. `alone` is the time to compress as many pages and to unpack as many, the same ones, with nothing around it;
 * the overhead is what the core, the simulated MMU and the store take on top. Medians of RUNS sweeps, the fastest and
 * the slowest beside them. Prints JSON.
 */
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#if AVM_HAVE_ZSTD
#include <zstd.h>
#endif
#if AVM_HAVE_LZ4
#include <lz4.h>
#endif

#include "avm_arch.h"
#include "sim.h"

#define PAGE AVM_PAGE_SIZE
#define RUNS 5
#define TURN 64 /* pages */
#define ROOM (2 * PAGE)
#define FILE_PAGES 64 /* of one file at most, so that none is most of the set */

static _Noreturn void die(const char *why)
{
	fprintf(stderr, "swap: %s\n", why);
	exit(1);
}

static void *allocate(size_t n, size_t size)
{
	void *p = calloc(n, size);

	if (!p)
		die("out of memory");
	return p;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- the pages ----------------------------------------------------------------------------------------- */

struct set {
	const char *name;
	const char *const *folders;
	bool text;
	unsigned char *pages;
	size_t n, room;
};

static struct set *filling; /* nftw() has no context */

static bool is_one_word(const unsigned char *page)
{
	return !memcmp(page, page + 8, PAGE - 8);
}

static bool is_text(const unsigned char *page)
{
	for (size_t i = 0; i < PAGE; i++) {
		if (!page[i] || page[i] == 0x7f || (page[i] < 32 && !strchr("\t\n\f\r", page[i])))
			return false;
	}
	return true;
}

/* The pages of one file that suit. */
static int add_file(const char *path, const struct stat *st, int type, struct FTW *where)
{
	FILE *f;

	(void)where;
	if (type != FTW_F || st->st_size < (off_t)PAGE)
		return 0;
	f = fopen(path, "r");
	if (!f)
		return 0;
	for (unsigned i = 0; i < FILE_PAGES && filling->n < filling->room; i++) {
		unsigned char *page = filling->pages + filling->n * PAGE;

		if (fread(page, PAGE, 1, f) != 1)
			break;
		if (!is_one_word(page) && is_text(page) == filling->text)
			filling->n++;
	}
	fclose(f);
	return filling->n == filling->room;
}

/* A machine with few files gives what it has, again and again. */
static void fill(struct set *set, size_t n)
{
	size_t own;

	set->pages = allocate(n, PAGE);
	set->room = n;
	filling = set;
	for (size_t i = 0; set->folders[i] && set->n < n; i++)
		(void)nftw(set->folders[i], add_file, 16, FTW_PHYS);
	own = set->n;
	if (!own)
		die("this machine has no files to cut pages from");
	for (; set->n < n; set->n++)
		memcpy(set->pages + set->n * PAGE, set->pages + set->n % own * PAGE, PAGE);
}

/* ---- the compressors alone ------------------------------------------------------------------------------- */

struct compressor {
	const char *name;
	enum sim_swap_kind kind;
	/* How many bytes it takes, or 0 if it is not worth it. */
	size_t (*pack)(unsigned char *to, const unsigned char *page);
	void (*unpack)(unsigned char *page, const unsigned char *from, size_t packed);
};

/* The plainest store, for what swapping costs where nothing is compressed. */
static size_t copy_pack(unsigned char *to, const unsigned char *page)
{
	memcpy(to, page, PAGE);
	return PAGE;
}

static void copy_unpack(unsigned char *page, const unsigned char *from, size_t packed)
{
	memcpy(page, from, packed);
}

#if AVM_HAVE_ZSTD
static ZSTD_CCtx *zstd_c;
static ZSTD_DCtx *zstd_d;

static size_t zstd_pack(unsigned char *to, const unsigned char *page)
{
	size_t packed;

	if (!zstd_c)
		zstd_c = ZSTD_createCCtx();
	packed = ZSTD_compressCCtx(zstd_c, to, PAGE - PAGE / 8, page, PAGE, 0);
	return ZSTD_isError(packed) ? 0 : packed;
}

static void zstd_unpack(unsigned char *page, const unsigned char *from, size_t packed)
{
	if (!zstd_d)
		zstd_d = ZSTD_createDCtx();
	if (ZSTD_decompressDCtx(zstd_d, page, PAGE, from, packed) != PAGE)
		die("zstd does not unpack what it has packed");
}
#endif

#if AVM_HAVE_LZ4
static size_t lz4_pack(unsigned char *to, const unsigned char *page)
{
	static _Alignas(16) char state[1 << 15];
	int packed;

	if (LZ4_sizeofState() > (int)sizeof(state))
		die("lz4 wants more memory");
	packed = LZ4_compress_fast_extState(state, (const char *)page, (char *)to, PAGE,
					    PAGE - PAGE / 8, 1);
	return (size_t)packed;
}

static void lz4_unpack(unsigned char *page, const unsigned char *from, size_t packed)
{
	if (LZ4_decompress_safe((const char *)from, (char *)page, (int)packed, PAGE) != PAGE)
		die("lz4 does not unpack what it has packed");
}
#endif

static const struct compressor compressors[] = {
	{ "none", SIM_SWAP_MEMORY, copy_pack, copy_unpack },
#if AVM_HAVE_LZ4
	{ "lz4", SIM_SWAP_LZ4, lz4_pack, lz4_unpack },
#endif
#if AVM_HAVE_ZSTD
	{ "zstd", SIM_SWAP_ZSTD, zstd_pack, zstd_unpack },
#endif
};

/* Seconds to pack and unpack pages [first, end) once. */
static double alone(const struct compressor *c, const struct set *set, size_t first, size_t end)
{
	static unsigned char packed[ROOM], page[PAGE];
	double begin = now();

	for (size_t i = first; i < end; i++) {
		const unsigned char *bytes = set->pages + i * PAGE;
		size_t size = c->pack(packed, bytes);

		if (size)
			c->unpack(page, packed, size);
		else
			memcpy(page, bytes, PAGE);
	}
	return now() - begin;
}

/* ---- swapping -------------------------------------------------------------------------------------------- */

struct bench {
	const struct compressor *compressor;
	struct set *set;
	uint64_t frames;
	struct sim *sim;
	struct sim_proc *proc;
	struct avm_swap_device *device;
	avm_addr_t base;
};

static void store(struct bench *b, size_t page, size_t offset, const void *bytes, size_t len)
{
	if (sim_store(b->proc, b->base + page * PAGE + offset, bytes, len, NULL))
		die("a store failed");
}

static void bench_open(struct bench *b)
{
	const struct avm_mmap args = {
		.len = b->set->n * PAGE,
		.prot = AVM_PROT_READ | AVM_PROT_WRITE,
		.flags = AVM_MAP_PRIVATE | AVM_MAP_ANONYMOUS,
	};
	const struct sim_swap_config swap = { .kind = b->compressor->kind,
					      .slots = (uint32_t)b->set->n * 2 };
	/* Tables and the zero page are not of the set. */
	uint64_t extra = b->set->n / 512 + 16;

	b->frames = b->set->n / 2;
	if (sim_create(&b->sim, &(struct sim_config){ .frames = b->frames + extra }) ||
	    sim_swap_add(b->sim, &swap, &b->device) || sim_proc_create(b->sim, NULL, &b->proc) ||
	    avm_mmap(sim_mm(b->proc), &args, &b->base))
		die("no machine");
	for (size_t i = 0; i < b->set->n; i++)
		store(b, i, 0, b->set->pages + i * PAGE, PAGE);
}

/* Each page gets its first word changed; so does the set's, to be compared at the end. Seconds. */
static double change(struct bench *b, uint64_t word, size_t first, size_t end)
{
	double begin = now(), took;

	for (size_t i = first; i < end; i++)
		store(b, i, 0, &word, sizeof(word));
	took = now() - begin;
	for (size_t i = first; i < end; i++)
		memcpy(b->set->pages + i * PAGE, &word, sizeof(word));
	return took;
}

/*
 * One sweep over the set. The two are timed in turns, a few pages each: what else the machine does then slows down both.
 */
static void sweep(struct bench *b, uint64_t word, double *ours, double *theirs)
{
	*ours = *theirs = 0;
	for (size_t i = 0; i < b->set->n; i += TURN) {
		size_t end = i + TURN < b->set->n ? i + TURN : b->set->n;

		*ours += change(b, word, i, end);
		*theirs += alone(b->compressor, b->set, i, end);
	}
}

static void bench_close(struct bench *b)
{
	unsigned char page[PAGE];

	for (size_t i = 0; i < b->set->n; i++) {
		if (sim_load(b->proc, b->base + i * PAGE, page, PAGE, NULL) ||
		    memcmp(page, b->set->pages + i * PAGE, PAGE))
			die("a page has lost its contents");
	}
	if (sim_destroy(b->sim))
		die("something is left");
}

/* ---- figures --------------------------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void print_spread(const char *name, double *values, const char *end)
{
	qsort(values, RUNS, sizeof(*values), by_value);
	printf("\"%s\": { \"median\": %.1f, \"min\": %.1f, \"max\": %.1f }%s", name,
	       values[RUNS / 2], values[0], values[RUNS - 1], end);
}

static void measure(struct bench *b)
{
	double ours[RUNS], theirs[RUNS], added[RUNS], overhead[RUNS];
	struct sim_swap_stats before, after;
	double out, in;

	bench_open(b);
	sweep(b, 1, ours, theirs); /* into the steady state */
	sim_swap_stats(b->device, &before);
	for (unsigned run = 0; run < RUNS; run++) {
		struct sim_swap_stats begin, end;
		double pairs;

		sim_swap_stats(b->device, &begin);
		sweep(b, run + 2, &ours[run], &theirs[run]);
		sim_swap_stats(b->device, &end);
		pairs = (double)(end.reads - begin.reads);
		if (end.reads == begin.reads || end.writes == begin.writes)
			die("nothing was swapped");
		ours[run] *= 1e9 / pairs;
		theirs[run] *= 1e9 / (double)b->set->n;
		added[run] = ours[run] - theirs[run];
		overhead[run] = added[run] / theirs[run] * 100;
	}
	sim_swap_stats(b->device, &after);
	out = (double)(after.writes - before.writes) / (double)(RUNS * b->set->n);
	in = (double)(after.reads - before.reads) / (double)(RUNS * b->set->n);
	printf("    { \"pages\": \"%s\", \"compressor\": \"%s\", \"ratio\": %.2f,\n", b->set->name,
	       b->compressor->name, (double)after.pages * PAGE / (double)after.bytes);
	printf("      \"incompressible\": %.3f, \"out_per_store\": %.3f, \"in_per_store\": %.3f,\n",
	       (double)after.incompressible / (double)after.pages, out, in);
	printf("      ");
	print_spread("ns_out_and_in", ours, ",\n      ");
	print_spread("ns_alone", theirs, ",\n      ");
	print_spread("ns_added", added, ",\n      ");
	print_spread("overhead_percent", overhead, ",\n");
	printf("      \"pages_per_second\": %.0f }", 1e9 / ours[RUNS / 2]);
	bench_close(b);
}

int main(int argc, char **argv)
{
	static const char *const texts[] = { "/usr/share/doc", "/usr/share/common-licenses",
					     "/usr/include",   "/usr/lib/python3",
					     "/usr/share",     NULL };
	static const char *const programs[] = { "/usr/bin", "/usr/lib", NULL };
	struct set sets[] = {
		{ .name = "text", .folders = texts, .text = true },
		{ .name = "binary", .folders = programs },
	};
	size_t n = argc > 1 ? strtoul(argv[1], NULL, 10) : 8192;
	const char *before = "";

	if (n < 64)
		die("usage: swap [PAGES], 64 or more");
	printf("{ \"benchmark\": \"swap\", \"page_size\": %u, \"working_set\": %zu, \"frames\": %zu, "
	       "\"runs\": %d,\n  \"results\": [\n",
	       (unsigned)PAGE, n, n / 2, RUNS);
	for (size_t s = 0; s < sizeof(sets) / sizeof(sets[0]); s++) {
		fill(&sets[s], n);
		for (size_t c = 0; c < sizeof(compressors) / sizeof(compressors[0]); c++) {
			struct bench b = { .compressor = &compressors[c], .set = &sets[s] };

			fputs(before, stdout);
			measure(&b);
			fflush(stdout);
			before = ",\n";
		}
		free(sets[s].pages);
	}
	printf("\n  ] }\n");
	return 0;
}
