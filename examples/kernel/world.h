/* SPDX-License-Identifier: MIT */
/*
 * world.h - a moment at which nobody is inside the core, so that its invariants can be looked at.
 *
 * Whoever works in the core on behalf of a user is in the world, except while he sleeps for something of ours. Who stops
 * it waits until all have left, and keeps the others out.
 */
#ifndef KERNEL_WORLD_H
#define KERNEL_WORLD_H

void world_enter(void);
void world_leave(void);

/* => not in the world */
void world_stop(void);
void world_go(void);

#endif
