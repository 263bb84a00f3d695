/* SPDX-License-Identifier: MIT */
/* judge.c - whose findings count: `anonvm check --without` leaves one out, to see what the others are worth. */
#include <string.h>

#include "program.h"

static const char *const judges[] = { "V", "content", "leak", "lock", "machine" };
static bool left_out[sizeof(judges) / sizeof(judges[0])];

bool program_without(const char *judge)
{
	for (unsigned i = 0; i < sizeof(judges) / sizeof(judges[0]); i++) {
		if (!strcmp(judge, judges[i]))
			return left_out[i] = true;
	}
	return false;
}

bool program_is_without(const char *what)
{
	return left_out[what[0] == 'V' && what[1] >= '0' && what[1] <= '9' ? 0 :
			!strncmp(what, "content:", 8)			   ? 1 :
			strstr(what, " objects leaked")			   ? 2 :
			!strncmp(what, "lock rules:", 11)		   ? 3 :
									     4];
}
