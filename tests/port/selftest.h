/* SPDX-License-Identifier: MIT */
/*
 * selftest.h - does this port keep its promises? To be run in the embedder's own kernel:
 *
 *	1. compile tests/port/selftest.c with the kernel, with the include path of the core (src/ too);
 *	2. after avm_init() and avm_add_frames(), and with nothing else running on the machine,
 *	   call avm_selftest(m);
 *	3. read its lines (TAP) where avm_port_log() puts them.
 */
#ifndef AVM_SELFTEST_H
#define AVM_SELFTEST_H

struct avm;

/* Returns the number of checks that failed: 0 is right. Needs 64 free frames and 2 KiB of stack. Sleeps. */
int avm_selftest(struct avm *m);

#endif
