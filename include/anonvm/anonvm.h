/* SPDX-License-Identifier: MIT */
/*
 * anonvm.h - the whole public interface.
 *
 *	machine.h  a computer: frames, configuration          ops.h      mmap, munmap, mprotect, mremap ...
 *	mm.h       address spaces: make, fork, exec, exit     fault.h    page faults, copying, populating
 *	file.h     files and shared memory                    observe.h  iterators, counters, invariants
 *	memory.h   swap, reclaim, merging, migration, pins    port.h     what the embedder supplies
 *	page.h, vma.h, types.h, base.h   the objects
 */
#ifndef ANONVM_ANONVM_H
#define ANONVM_ANONVM_H

#define AVM_VERSION "0.1.0"

#include "anonvm/fault.h"
#include "anonvm/file.h"
#include "anonvm/machine.h"
#include "anonvm/memory.h"
#include "anonvm/mm.h"
#include "anonvm/observe.h"
#include "anonvm/ops.h"
#include "anonvm/page.h"
#include "anonvm/port.h"
#include "anonvm/types.h"
#include "anonvm/vma.h"

#endif
