/* SPDX-License-Identifier: MIT */
/* run_sim.c - the self-test of ports, on the simulated machine in both kinds of contents. */
#include <stdio.h>

#include "selftest.h"
#include "sim.h"

static int run(enum sim_contents contents)
{
	const struct sim_config config = { .frames = 256, .contents = contents, .log = stdout };
	struct sim *s;
	int failed;

	if (sim_create(&s, &config))
		return 1;
	failed = avm_selftest(sim_machine(s));
	if (sim_errors(s)) {
		printf("# %s\n", sim_last_error(s));
		failed++;
	}
	if (sim_destroy(s)) {
		puts("# something was not given back");
		failed++;
	}
	return failed;
}

int main(void)
{
	int failed;

	puts("# frames of bytes");
	failed = run(SIM_BYTES);
	puts("# frames of stamps");
	failed += run(SIM_STAMPS);
	return failed ? 1 : 0;
}
