/* SPDX-License-Identifier: MIT */
/* run_selftest.c - boots as main.c does, and lets the self-test of ports judge port.c. */
#include "../../tests/port/selftest.h"
#include "kernel.h"

static struct kernel kernel;

int main(void)
{
	struct avm_config config = { .context = &kernel };
	int failed;

	if (avm_init(&kernel.machine, &config) ||
	    avm_add_frames(&kernel.machine, &kernel.region, FIRST_PFN, NR_FRAMES, kernel.pages))
		return 1;
	failed = avm_selftest(&kernel.machine);
	return failed || avm_fini(&kernel.machine) || kernel.nr_taken;
}
