/* SPDX-License-Identifier: MIT */
/* reclaim.h - frames for who is short of them (R11). */
#ifndef AVM_RECLAIM_H
#define AVM_RECLAIM_H

#include "anonvm/memory.h"
#include "list.h"

/*
 * R8.7: an operation that finds no frame lets go of all it holds, frees some, and begins again:
 *
 *	struct avm_retry retry = avm_retry_begin(m);
 *
 *	do {
 *		err = ...
 *	} while (err == -AVM_ENOMEM && avm_retry(&retry, m, mm));
 */
struct avm_retry {
	uint64_t refused; /* frames that were not to be had, up to now: -ENOMEM has other reasons, too */
	unsigned round;
};

static inline struct avm_retry avm_retry_begin(struct avm *m)
{
	return (struct avm_retry){ .refused = atomic_load_explicit(&m->frames_refused,
								   memory_order_relaxed) };
}

/*
 * True: frames were short, and some are free now. False: that was not the reason, there is nothing to be had, or it has
 * been tried often enough; the port has been told of the latter two. `mm`: who asks; NULL: nobody. Sleeps. No locks held.
 */
bool avm_retry(struct avm_retry *retry, struct avm *m, struct avm_mm *mm);

/* Frees what can be freed of isolated pages, used or not, and puts the others back. Returns how many. */
uint64_t avm_reclaim_pages(struct avm *m, struct avm_list *isolated);

#endif
