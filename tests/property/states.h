/* SPDX-License-Identifier: MIT */
/* states.h - programs that make a state: by hand, in so many variants, and random ones. */
#ifndef TESTS_PROPERTY_STATES_H
#define TESTS_PROPERTY_STATES_H

#include "program.h"

struct layout {
	const char *name;
	void (*make)(struct program *pr, unsigned variant);
	unsigned variants;
};
extern const struct layout layouts[];
extern const unsigned nr_layouts;

/* The layout in process 0; a line of forks, in which the oldest may be gone. */
void hand_made(struct program *pr, unsigned layout, unsigned variant, unsigned depth);
void random_state(struct program *pr, uint64_t seed);

#endif
