/* SPDX-License-Identifier: MIT */
/* scratch.c - files that go away by themselves. */
#include "scratch.h"

#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#define SLOT_MAX 4096

const char *const scratch_swap_kinds[] = { [SIM_SWAP_MEMORY] = "memory",
					   [SIM_SWAP_FILE] = "file",
					   [SIM_SWAP_ZSTD] = "zstd",
					   [SIM_SWAP_LZ4] = "lz4",
					   [SIM_NR_SWAP_KINDS] = NULL };

static bool make(char *path, size_t room, uint64_t bytes)
{
	const char *dir = getenv("TMPDIR");
	int n = snprintf(path, room, "%s/anonvm-swap-XXXXXX", dir && *dir ? dir : "/tmp");
	int fd = n > 0 && (size_t)n < room ? mkstemp(path) : -1;
	bool made;

	if (fd < 0)
		return false;
	made = !ftruncate(fd, (off_t)bytes);
	if (!made)
		unlink(path);
	close(fd);
	return made;
}

int scratch_swap_add(struct sim *s, const struct sim_swap_config *config,
		     struct avm_swap_device **out)
{
	struct sim_swap_config c = *config;
	char path[PATH_MAX];
	int err;

	if (c.kind != SIM_SWAP_FILE || c.path)
		return sim_swap_add(s, &c, out);
	if (!make(path, sizeof(path), (uint64_t)c.slots * SLOT_MAX))
		return -AVM_EIO;
	c.path = path;
	err = sim_swap_add(s, &c, out);
	unlink(path);
	return err;
}
