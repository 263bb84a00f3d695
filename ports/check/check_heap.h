/* SPDX-License-Identifier: MIT */
/* check_heap.h - comes before every file of the simulated machine: its memory is in the region (check_region.h). */
#ifndef CHECK_HEAP_H
#define CHECK_HEAP_H

#include <stdlib.h>
#include <string.h>

#include "check_region.h"

#define malloc(size) check_region_alloc(16, size)
#define calloc(n, size) check_region_zeroed(n, size)
#define realloc(p, size) check_region_more(p, size)
#define aligned_alloc(align, size) check_region_alloc(align, size)
#define free(p) check_region_free(p)

#endif
