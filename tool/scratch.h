/* SPDX-License-Identifier: MIT */
/* scratch.h - files that go away by themselves. */
#ifndef ANONVM_TOOL_SCRATCH_H
#define ANONVM_TOOL_SCRATCH_H

#include "sim.h"

/*
 * As sim_swap_add(), but SIM_SWAP_FILE without a path takes a file that nobody else has a name for, and that goes with
 * the device. -EIO: no such file can be had.
 */
int scratch_swap_add(struct sim *s, const struct sim_swap_config *config,
		     struct avm_swap_device **out);

/* "memory", "file", "zstd", "lz4", by number; ends with NULL. */
extern const char *const scratch_swap_kinds[];

#endif
