/* SPDX-License-Identifier: MIT */
/* memstore.c - see memstore.h. A slot whose contents are not wanted any more is spoilt: who reads it all the same sees. */
#include "memstore.h"

#include <string.h>

#include "avm_arch.h"
#include "multiboot.h"

#define SPOILT 0xdd

static unsigned char *memory;

static void *slot_at(uint64_t slot)
{
	return memory + slot * AVM_PAGE_SIZE;
}

static int store_write(struct store *s, uint64_t slot, const void *page)
{
	(void)s;
	memcpy(slot_at(slot), page, AVM_PAGE_SIZE);
	return 0;
}

static int store_read(struct store *s, uint64_t slot, void *page)
{
	(void)s;
	memcpy(page, slot_at(slot), AVM_PAGE_SIZE);
	return 0;
}

static void store_discard(struct store *s, uint64_t slot)
{
	(void)s;
	memset(slot_at(slot), SPOILT, AVM_PAGE_SIZE);
}

struct store *memstore_init(uint64_t slots)
{
	static struct store store = { .write = store_write,
				      .read = store_read,
				      .discard = store_discard };

	store.slots = slots;
	memory = boot_alloc(slots * AVM_PAGE_SIZE);
	return &store;
}
