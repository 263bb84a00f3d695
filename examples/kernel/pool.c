/* SPDX-License-Identifier: MIT */
/* pool.c - buddies: a block that is freed is joined with the other half of the block that it was cut from. */
#include "pool.h"

#include <stddef.h>

#include "panic.h"

/* Stands in the free memory itself. */
struct pool_block {
	struct pool_block *next, *prev;
};

static struct pool_block *block_at(uint64_t page)
{
	return direct_map(page << 12);
}

static void insert(struct pool *p, uint64_t page, unsigned order)
{
	struct pool_block *b = block_at(page);

	*b = (struct pool_block){ .next = p->free[order] };
	if (b->next)
		b->next->prev = b;
	p->free[order] = b;
	p->order[page - p->first] = (uint8_t)(order + 1);
}

static void unlink_block(struct pool *p, uint64_t page, unsigned order)
{
	struct pool_block *b = block_at(page);

	if (b->prev)
		b->prev->next = b->next;
	else
		p->free[order] = b->next;
	if (b->next)
		b->next->prev = b->prev;
	p->order[page - p->first] = 0;
}

static bool is_free(const struct pool *p, uint64_t page, unsigned order)
{
	return page >= p->first && page - p->first < p->count &&
	       p->order[page - p->first] == order + 1;
}

static void give_back(struct pool *p, uint64_t page, unsigned order)
{
	p->nr_free += 1ull << order;
	while (order + 1 < POOL_ORDERS && is_free(p, page ^ 1ull << order, order)) {
		unlink_block(p, page ^ 1ull << order, order);
		page &= ~(1ull << order);
		order++;
	}
	insert(p, page, order);
}

void pool_init(struct pool *p, uint64_t first, uint64_t count, uint8_t *order)
{
	*p = (struct pool){ .first = first, .count = count, .order = order };
	for (uint64_t i = 0; i < count; i++)
		order[i] = 0;
	for (uint64_t i = 0; i < count; i++)
		give_back(p, first + i, 0);
}

uint64_t pool_alloc(struct pool *p, unsigned order)
{
	uintptr_t flags = spin_lock(&p->lock);
	uint64_t page = POOL_NONE;
	unsigned from = order;

	while (from < POOL_ORDERS && !p->free[from])
		from++;
	if (from < POOL_ORDERS) {
		page = physical(p->free[from]) >> 12;
		unlink_block(p, page, from);
		while (from-- > order)
			insert(p, page + (1ull << from), from);
		p->nr_free -= 1ull << order;
	}
	spin_unlock(&p->lock, flags);
	return page;
}

void pool_free(struct pool *p, uint64_t page, unsigned order)
{
	uintptr_t flags = spin_lock(&p->lock);

	if (page < p->first || page - p->first >= p->count || p->order[page - p->first])
		panic("a page is freed that is not taken");
	give_back(p, page, order);
	spin_unlock(&p->lock, flags);
}
