/* SPDX-License-Identifier: MIT */
/* swap_cache.h - what swap_slot.c and swap_cache.c tell each other. */
#ifndef AVM_SWAP_CACHE_H
#define AVM_SWAP_CACHE_H

#include "swap_slot.h"

/* The device of a slot that has a count, which the caller keeps from going away. */
struct avm_swap_device *avm_swap_device_of(struct avm *m, avm_swp_t swp);

/* The device of a slot that has been seen somewhere, kept from removal until the put; NULL: it is gone. */
struct avm_swap_device *avm_swap_device_get(struct avm *m, avm_swp_t swp);
void avm_swap_device_put(struct avm_swap_device *d);

/* A free slot for the page, with the count that the cache has. False: none. */
bool avm_slot_take(struct avm *m, struct avm_page *page, avm_swp_t *swp);

/* Count 0 and no page: discarded, and free to be given out. */
void avm_slot_free(struct avm_swap_device *d, uint32_t slot);

#endif
