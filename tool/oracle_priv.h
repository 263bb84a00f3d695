/* SPDX-License-Identifier: MIT */
/*
 * oracle_priv.h - inside the oracle: pages with possible contents, ranges, objects.
 */
#ifndef ANONVM_TOOL_ORACLE_PRIV_H
#define ANONVM_TOOL_ORACLE_PRIV_H

#include "oracle.h"

#define CELL_MAX 4

/*
 * A page that differs from what lies beneath it, with its possible contents: one, until MADV_FREE
 * and a write to a part of the page make it {old, zeroes} with that part written.
 */
struct cell {
	uint64_t index; /* address / page size, or page of the object */
	uint8_t *may[CELL_MAX];
	unsigned n; /* at least 1 */
	bool lost; /* the memory has gone bad: nobody may look */
	bool freed; /* and it may become zeroes at any moment */
	bool anything; /* more possibilities than we keep */
};

/* Sorted by index. All zeroes is empty. */
struct cells {
	struct cell *v;
	size_t n, room;
	uint32_t content; /* bytes in a page */
};

void *oracle_alloc(size_t count,
		   size_t size); /* zeroed; ends the program when there is no memory */
void *oracle_grow_array(void *v, size_t n, size_t *room, size_t size);

size_t cells_at(const struct cells *c, uint64_t index); /* first cell not below index */
struct cell *cells_find(const struct cells *c, uint64_t index);
/* The cell, made with these contents (NULL: zeroes) if it is not there. */
struct cell *cells_make(struct cells *c, uint64_t index, const uint8_t *bytes);
void cells_drop(struct cells *c, uint64_t first, uint64_t end);
void cells_copy(struct cells *to, const struct cells *from, uint64_t first, uint64_t end,
		uint64_t shift);
void cells_free(struct cells *c);

void cell_free_lazily(struct cell *cell); /* MADV_FREE */
void cell_write(const struct cells *c, struct cell *cell, uint32_t offset, const void *bytes,
		uint32_t len);
bool cell_permits(const struct cell *cell, uint32_t offset, const void *seen, uint32_t len);
void cell_learn(const struct cells *c, struct cell *cell, uint32_t offset, const void *seen,
		uint32_t len);
bool cell_possible(const struct cell *cell, unsigned n, uint32_t offset, void *buf, uint32_t len);

struct oracle_object {
	struct oracle *oracle;
	struct oracle_object *next, **link; /* oracle->objects */
	unsigned refs;
	uint64_t size;
	bool has_disk;
	oracle_fill_fn *fill;
	void *context;
	uint64_t fill_end; /* bytes from here on have been cut off once: they start as zeroes */
	struct cells now; /* pages as mapped and read */
	struct cells disk; /* pages as synced */
};

/* Contents of a whole page of the object now. */
void object_page(const struct oracle_object *object, uint64_t index, uint8_t *bytes);
struct cell *object_cell(struct oracle_object *object, uint64_t index);
void object_get(struct oracle_object *object);
bool object_beyond(const struct oracle_object *object, uint64_t index);

/* [start, end) of a process, in pages. */
struct range {
	uint64_t start, end;
	uint32_t prot, flags;
	struct oracle_object *object; /* NULL: private anonymous */
	uint64_t pgoff;
};

struct oracle_proc {
	struct oracle *oracle;
	struct oracle_proc *next, **link; /* oracle->procs */
	struct range *v; /* sorted, disjoint, neighbours differ */
	size_t n, room;
	struct cells pages; /* private: written, or copied from a file */
};

struct oracle {
	uint64_t page_size;
	uint32_t content;
	struct oracle_proc *procs;
	struct oracle_object *objects;
};

/* The range that covers the page, or NULL; the first range that ends above it, or NULL. */
const struct range *range_find(const struct oracle_proc *p, uint64_t page);
const struct range *range_above(const struct oracle_proc *p, uint64_t page);

/* Private copies of object pages [first, end) go, in every process. */
void oracle_drop_copies(struct oracle_object *object, uint64_t first, uint64_t end);

#endif
