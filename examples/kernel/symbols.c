/* SPDX-License-Identifier: MIT */
/* symbols.c - see symbols.h. */
#include "symbols.h"

#include <stddef.h>

struct symbol {
	uint64_t addr;
	const char *name; /* NULL: the end */
};

extern const struct symbol symbols[]; /* in order of addresses */

const char *symbol_name(uint64_t addr, uint64_t *offset)
{
	const struct symbol *best = NULL;

	for (const struct symbol *s = symbols; s->name && s->addr <= addr; s++)
		best = s;
	if (!best)
		return NULL;
	*offset = addr - best->addr;
	return best->name;
}
