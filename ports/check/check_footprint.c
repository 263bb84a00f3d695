/* SPDX-License-Identifier: MIT */
/* check_footprint.c - words by address (check_footprint.h). */
#include "check_footprint.h"

#include <string.h>

#include "check_region.h"
#include "check_shadow.h"

struct check_footprint *check_footprint;

void check_footprint_begin(struct check_footprint *f)
{
	if (f)
		memset(f, 0, sizeof(*f));
	check_footprint = f;
	check_judge.now &= ~SEEN_NOTED;
	check_judge.now |= f ? SEEN_NOTED : 0;
}

/* NULL: there is no room. */
static struct check_touched *touched(struct check_footprint *f, uintptr_t word)
{
	uint32_t i = (uint32_t)((uint64_t)word * UINT64_C(0x9e3779b97f4a7c15) >>
				(64 - CHECK_FOOTPRINT_SHIFT));

	for (;; i++) {
		struct check_touched *t = &f->words[i % CHECK_FOOTPRINT_WORDS];

		if (t->at == word)
			return t;
		if (t->at)
			continue;
		if (f->n == CHECK_FOOTPRINT_WORDS / 4 * 3)
			return NULL;
		f->n++;
		t->at = word;
		return t;
	}
}

/* Stacks are nobody else's. For a moment nobody may record: no access of the core. */
void check_footprint_note(uintptr_t word, unsigned thread, unsigned bytes, bool write)
{
	struct check_footprint *f = check_footprint;
	struct check_touched *t;

	if (!f || word - CHECK_SMALL >= CHECK_REGION_SIZE - CHECK_STACKS_SIZE)
		return;
	t = touched(f, word);
	if (!t) {
		f->full = true;
		return;
	}
	if (write)
		t->written[thread] |= (uint8_t)bytes;
	else
		t->read[thread] |= (uint8_t)bytes;
}
