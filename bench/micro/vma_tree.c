/* SPDX-License-Identifier: MIT */
/*
 * What the VMA tree alone costs, in an address space of 10, 1,000 and 100,000 VMAs at random places.
 *
 *	vma_tree [SECONDS-PER-FIGURE]
 *
 * Each figure is the median of 5 runs, with the fastest and the slowest. Positions are random and the
 * VMAs lie scattered in memory, so what shows is the cache misses as much as the instructions.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "vma_tree.h"

#define PAGE UINT64_C(4096)
#define SPAN (UINT64_C(1) << 46)
#define RUNS 5

struct bench {
	struct avm_vma_tree tree;
	struct avm_vma **vmas; /* in random order */
	size_t n;
	uint64_t random;
	uint64_t sum; /* of what was found, so that nothing is optimised away */
};

static void *bench_alloc(void *context)
{
	(void)context;
	return aligned_alloc(64, AVM_VMA_NODE_BYTES);
}

static void bench_free(void *context, void *node)
{
	(void)context;
	free(node);
}

static const struct avm_node_alloc nodes = { bench_alloc, bench_free, NULL };

static uint64_t next_random(struct bench *b)
{
	uint64_t z = b->random += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

/* The high half of the product: a division here would be a good part of what is measured. */
static uint64_t random_below(struct bench *b, uint64_t n)
{
	return ((next_random(b) >> 32) * n) >> 32;
}

static void reserve(struct bench *b)
{
	if (avm_vma_tree_reserve(&b->tree, 1)) {
		fprintf(stderr, "vma_tree: out of memory\n");
		exit(1);
	}
}

/* VMAs of 4 pages, 4 pages and a bit apart, so that each can grow, shrink, and be next to another. */
static void populate(struct bench *b, size_t n)
{
	uint64_t stride = SPAN / 2 / n / PAGE * PAGE;

	avm_vma_tree_init(&b->tree, &nodes, 256 * PAGE, 1ull << 8);
	b->n = n;
	b->vmas = calloc(n, sizeof(struct avm_vma *));
	for (size_t i = 0; i < n; i++) {
		b->vmas[i] = aligned_alloc(64, (sizeof(struct avm_vma) + 63) / 64 * 64);
		*b->vmas[i] = (struct avm_vma){ 0 };
	}
	/* Shuffled: neither the order in memory nor that of insertion is that of the addresses. */
	for (size_t i = n; i-- > 1;) {
		size_t j = (size_t)random_below(b, i + 1);
		struct avm_vma *vma = b->vmas[i];

		b->vmas[i] = b->vmas[j];
		b->vmas[j] = vma;
	}
	for (size_t i = 0; i < n; i++) {
		b->vmas[i]->start = SPAN / 4 + i * stride;
		b->vmas[i]->end = b->vmas[i]->start + 4 * PAGE;
	}
	for (size_t i = n; i-- > 1;) {
		size_t j = (size_t)random_below(b, i + 1);
		struct avm_vma *vma = b->vmas[i];

		b->vmas[i] = b->vmas[j];
		b->vmas[j] = vma;
	}
	for (size_t i = 0; i < n; i++) {
		reserve(b);
		avm_vma_tree_insert(&b->tree, b->vmas[i]);
	}
}

static struct avm_vma *random_vma(struct bench *b)
{
	return b->vmas[random_below(b, b->n)];
}

static void nothing(struct bench *b)
{
	b->sum += (uintptr_t)random_vma(b);
}

static void lookup(struct bench *b)
{
	uint64_t addr = SPAN / 4 + (random_below(b, SPAN / 2 / PAGE) * PAGE);

	b->sum += (uintptr_t)avm_vma_tree_find(&b->tree, addr);
}

/* The next lookup depends on this one's answer: latency, not throughput. */
static void lookup_chained(struct bench *b)
{
	uint64_t addr = SPAN / 4 + (random_below(b, SPAN / 2 / PAGE) * PAGE);
	const struct avm_vma *vma = avm_vma_tree_find(&b->tree, addr);

	b->random += (uintptr_t)vma & 1;
	b->sum += (uintptr_t)vma;
}

/* As a split and the merge after it do to the VMA that stays. */
static void update(struct bench *b)
{
	struct avm_vma *vma = random_vma(b);

	avm_vma_tree_set_range(&b->tree, vma, vma->start, vma->end - PAGE);
	avm_vma_tree_set_range(&b->tree, vma, vma->start, vma->end + PAGE);
}

/* Split and merge in full: shrink, insert the other half, erase it, grow back. */
static void split_merge(struct bench *b)
{
	struct avm_vma *vma = random_vma(b);
	struct avm_vma tail = { .start = vma->start + 2 * PAGE, .end = vma->end };

	reserve(b);
	avm_vma_tree_set_range(&b->tree, vma, vma->start, tail.start);
	avm_vma_tree_insert(&b->tree, &tail);
	avm_vma_tree_erase(&b->tree, &tail);
	avm_vma_tree_set_range(&b->tree, vma, vma->start, tail.end);
}

/* mmap and munmap of one page where the kernel would put it, with the other VMAs in the way. */
static void place_insert_erase(struct bench *b)
{
	struct avm_vma vma = { .flags = 0 };
	uint64_t high = SPAN / 4 + (random_below(b, SPAN / 2 / PAGE) * PAGE);

	reserve(b);
	if (!avm_vma_tree_find_gap(&b->tree,
				   &(struct avm_gap){ PAGE, 1, PAGE, high, AVM_GAP_TOPDOWN },
				   &vma.start))
		return;
	vma.end = vma.start + PAGE;
	avm_vma_tree_insert(&b->tree, &vma);
	avm_vma_tree_erase(&b->tree, &vma);
}

/* The same for the default place: always the same leaf. */
static void place_insert_erase_top(struct bench *b)
{
	struct avm_vma vma = { .flags = 0 };

	reserve(b);
	if (!avm_vma_tree_find_gap(
		    &b->tree, &(struct avm_gap){ PAGE, 1, PAGE, SPAN / 4 * 3, AVM_GAP_TOPDOWN },
		    &vma.start))
		return;
	vma.end = vma.start + PAGE;
	avm_vma_tree_insert(&b->tree, &vma);
	avm_vma_tree_erase(&b->tree, &vma);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void measure(struct bench *b, const char *what, void (*op)(struct bench *b), double seconds)
{
	double ns[RUNS];

	for (int run = 0; run < RUNS; run++) {
		unsigned long ops = 0;
		double begin = now(), end;

		do {
			for (int i = 0; i < 1000; i++)
				op(b);
			ops += 1000;
			end = now();
		} while (end - begin < seconds);
		ns[run] = (end - begin) / (double)ops * 1e9;
	}
	qsort(ns, RUNS, sizeof(ns[0]), by_value);
	printf("%-24s %8zu VMAs %8.1f ns  (%.1f .. %.1f)\n", what, b->n, ns[RUNS / 2], ns[0],
	       ns[RUNS - 1]);
}

int main(int argc, char **argv)
{
	static const size_t sizes[] = { 10, 1000, 100000 };
	static struct bench benches[3];
	static const struct {
		const char *what;
		void (*op)(struct bench *b);
	} ops[] = {
		{ "(empty loop)", nothing },
		{ "lookup", lookup },
		{ "lookup, chained", lookup_chained },
		{ "update x2", update },
		{ "split+merge", split_merge },
		{ "place+insert+erase", place_insert_erase },
		{ "  at the top", place_insert_erase_top },
	};
	double seconds = argc > 1 ? atof(argv[1]) : 0.2;

	for (size_t i = 0; i < 3; i++)
		populate(&benches[i], sizes[i]);
	for (size_t op = 0; op < sizeof(ops) / sizeof(ops[0]); op++)
		for (size_t i = 0; i < 3; i++)
			measure(&benches[i], ops[op].what, ops[op].op, seconds);
	return benches[0].sum == 42;
}
