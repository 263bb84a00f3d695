/* SPDX-License-Identifier: MIT */
/*
 * oracle.c - which access works, and what it may see.
 */
#include <stdlib.h>
#include <string.h>

#include "oracle_priv.h"

struct oracle *oracle_create(uint64_t page_size, uint32_t content)
{
	struct oracle *o = oracle_alloc(1, sizeof(*o));

	o->page_size = page_size;
	o->content = content;
	return o;
}

void oracle_destroy(struct oracle *o)
{
	while (o->procs)
		oracle_exit(o->procs);
	while (o->objects) {
		o->objects->refs = 1;
		oracle_object_put(o->objects);
	}
	free(o);
}

struct oracle_proc *oracle_proc_create(struct oracle *o)
{
	struct oracle_proc *p = oracle_alloc(1, sizeof(*p));

	p->oracle = o;
	p->pages.content = o->content;
	p->next = o->procs;
	p->link = &o->procs;
	if (p->next)
		p->next->link = &p->next;
	o->procs = p;
	return p;
}

static uint64_t page_of(const struct oracle_proc *p, avm_addr_t addr)
{
	return addr / p->oracle->page_size;
}

static bool is_private(const struct range *r)
{
	return !(r->flags & ORACLE_SHARED);
}

static uint64_t object_index(const struct range *r, uint64_t page)
{
	return r->pgoff + (page - r->start);
}

/* Is there neither a private copy nor a page of the object? */
static bool nothing_behind(const struct oracle_proc *p, const struct range *r, uint64_t page)
{
	if (!r->object || (r->flags & ORACLE_SPECIAL))
		return false;
	if (is_private(r) && cells_find(&p->pages, page))
		return false;
	return object_beyond(r->object, object_index(r, page));
}

/* Whatever can be written or executed can be read, as on x86. */
static bool prot_permits(uint32_t prot, enum avm_access access)
{
	switch (access) {
	case AVM_ACCESS_READ:
		return prot & AVM_PROT_ALL;
	case AVM_ACCESS_WRITE:
		return prot & AVM_PROT_WRITE;
	case AVM_ACCESS_EXEC:
		return prot & AVM_PROT_EXEC;
	}
	return false;
}

bool oracle_is_lost(const struct oracle_proc *p, avm_addr_t addr)
{
	uint64_t page = page_of(p, addr);
	const struct range *r = range_find(p, page);
	const struct cell *cell = r && is_private(r) ? cells_find(&p->pages, page) : NULL;

	return cell && cell->lost;
}

struct oracle_answer oracle_access(const struct oracle_proc *p, avm_addr_t addr,
				   enum avm_access access)
{
	uint64_t page = page_of(p, addr);
	const struct range *r = range_above(p, page);
	struct oracle_answer answer = { 0 };

	if (!r || r->start > page) {
		answer.fault = AVM_FAULT_MAPERR;
		answer.may_grow = r && (r->flags & ORACLE_GROWSDOWN);
	} else if (!prot_permits(r->prot, access)) {
		answer.fault = AVM_FAULT_ACCERR;
	} else if (nothing_behind(p, r, page) || oracle_is_lost(p, addr)) {
		answer.fault = AVM_FAULT_SIGBUS;
	}
	return answer;
}

struct oracle_answer oracle_forced(const struct oracle_proc *p, avm_addr_t addr,
				   enum avm_access access)
{
	struct oracle_answer answer = oracle_access(p, addr, access);
	const struct range *r = range_find(p, page_of(p, addr));

	if (answer.fault != AVM_FAULT_ACCERR)
		return answer;
	answer.fault = 0;
	if (access == AVM_ACCESS_WRITE && !is_private(r))
		answer.fault = AVM_FAULT_ACCERR;
	else if (nothing_behind(p, r, page_of(p, addr)) || oracle_is_lost(p, addr))
		answer.fault = AVM_FAULT_SIGBUS;
	return answer;
}

avm_addr_t oracle_populate(struct oracle_proc *p, avm_addr_t start, avm_addr_t end,
			   enum avm_access access)
{
	for (avm_addr_t addr = start; addr < end; addr += p->oracle->page_size) {
		if (oracle_access(p, addr, access).fault)
			return addr;
		if (access == AVM_ACCESS_WRITE)
			oracle_store(p, addr, NULL, 0);
	}
	return end;
}

/*
 * The cell that a look at the page sees: the private copy, the page of the object, or NULL: then
 * bytes (if given) are what lies there untouched.
 */
static struct cell *seen_cell(const struct oracle_proc *p, uint64_t page, uint8_t *bytes)
{
	const struct range *r = range_find(p, page);
	struct cell *cell = r && is_private(r) ? cells_find(&p->pages, page) : NULL;

	if (cell)
		return cell;
	if (r && r->object)
		object_page(r->object, object_index(r, page), bytes);
	return NULL;
}

bool oracle_permits(const struct oracle_proc *p, avm_addr_t addr, const void *seen, uint32_t len)
{
	uint8_t *bytes = oracle_alloc(1, p->oracle->content);
	uint32_t offset = (uint32_t)(addr % p->oracle->page_size);
	const struct cell *cell = seen_cell(p, page_of(p, addr), bytes);
	bool permitted;

	if (!range_find(p, page_of(p, addr)) || offset + len > p->oracle->content)
		permitted = false;
	else if (cell)
		permitted = cell_permits(cell, offset, seen, len);
	else
		permitted = !memcmp(bytes + offset, seen, len);
	free(bytes);
	return permitted;
}

bool oracle_load(struct oracle_proc *p, avm_addr_t addr, const void *seen, uint32_t len)
{
	uint64_t page = page_of(p, addr);
	const struct range *r = range_find(p, page);
	struct cell *cell;

	if (!oracle_permits(p, addr, seen, len))
		return false;
	cell = r && is_private(r) ? cells_find(&p->pages, page) : NULL;
	if (cell)
		cell_learn(&p->pages, cell, (uint32_t)(addr % p->oracle->page_size), seen, len);
	return true;
}

void oracle_store(struct oracle_proc *p, avm_addr_t addr, const void *bytes, uint32_t len)
{
	uint64_t page = page_of(p, addr);
	uint32_t offset = (uint32_t)(addr % p->oracle->page_size);
	const struct range *r = range_find(p, page);
	struct cell *cell;

	if (!r)
		return;
	if (!is_private(r)) {
		if (len)
			cell_write(&r->object->now, object_cell(r->object, object_index(r, page)),
				   offset, bytes, len);
		return;
	}
	cell = cells_find(&p->pages, page);
	if (!cell) {
		uint8_t *below = oracle_alloc(1, p->oracle->content);

		if (r->object)
			object_page(r->object, object_index(r, page), below);
		cell = cells_make(&p->pages, page, below);
		free(below);
	}
	cell_write(&p->pages, cell, offset, bytes, len);
}

void oracle_lose(struct oracle_proc *p, avm_addr_t addr)
{
	oracle_store(p, addr, NULL, 0);
	cells_find(&p->pages, page_of(p, addr))->lost = true;
}

bool oracle_possible(const struct oracle_proc *p, avm_addr_t addr, unsigned n, void *buf,
		     uint32_t len)
{
	uint8_t *bytes = oracle_alloc(1, p->oracle->content);
	uint32_t offset = (uint32_t)(addr % p->oracle->page_size);
	const struct cell *cell = seen_cell(p, page_of(p, addr), bytes);
	bool there;

	if (cell) {
		there = cell_possible(cell, n, offset, buf, len);
	} else {
		there = n == 0;
		memcpy(buf, bytes + offset, len);
	}
	free(bytes);
	return there;
}

bool oracle_find(const struct oracle_proc *p, avm_addr_t addr, struct oracle_map *out)
{
	uint64_t page_size = p->oracle->page_size;
	const struct range *r = range_find(p, page_of(p, addr));

	if (!r)
		return false;
	*out = (struct oracle_map){
		.start = r->start * page_size,
		.end = r->end * page_size,
		.prot = r->prot,
		.flags = r->flags,
		.object = r->object,
		.pgoff = r->pgoff,
	};
	return true;
}
