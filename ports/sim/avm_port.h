/* SPDX-License-Identifier: MIT */
/*
 * avm_port.h (sim) - the port of the simulated machine: one thread, locks that check themselves, failures on
 * demand, frames of bytes or of one stamp.
 */
#ifndef AVM_PORT_SIM_H
#define AVM_PORT_SIM_H

#define AVM_PORT_TIER 2

/* Under the checker (ports/check) the machine has threads, which take turns; in ports/threads they do not. */
#if defined(AVM_CHECK)
#define AVM_PORT_MAX_CPUS 4
#elif defined(AVM_THREADS)
#define AVM_PORT_MAX_CPUS 64
#else
#define AVM_PORT_MAX_CPUS 1
#endif
#define AVM_PORT_CPU_ALONE /* each thread is a CPU */

#include "anonvm/port.h"

#ifdef AVM_CHECK
void check_relax(struct avm *m);
#define AVM_PORT_CPU_RELAX(m) check_relax(m)
#elif defined(AVM_THREADS)
void threads_relax(struct avm *m);
#define AVM_PORT_CPU_RELAX(m) threads_relax(m)
#else
/* There is nobody else who could drop the lock. */
#define AVM_PORT_CPU_RELAX(m) avm_port_panic(m, "deadlock: a spin lock is taken twice")
#endif

/* Contents go through the simulator: bytes or a stamp, by the mode of the machine. */
#define AVM_PORT_FRAME_OPS
void avm_port_frame_clear(struct avm *m, avm_pfn_t pfn);
void avm_port_frame_copy(struct avm *m, avm_pfn_t to, avm_pfn_t from);
void avm_port_frame_read(struct avm *m, avm_pfn_t pfn, size_t offset, void *buf, size_t len);
void avm_port_frame_write(struct avm *m, avm_pfn_t pfn, size_t offset, const void *buf, size_t len);
bool avm_port_frame_same(struct avm *m, avm_pfn_t a, avm_pfn_t b);

/* Failure injection: every allocation of an object or a frame asks. Kept in release builds: it is a load. */
bool sim_alloc_fails(struct avm *m);
bool sim_allocs_fail(struct avm *m, uint32_t n);
#define AVM_PORT_FAIL(m) sim_alloc_fails(m)
#define AVM_PORT_FAIL_ANY(m, n) sim_allocs_fail(m, n)

/*
 * Locks check themselves in debug builds; in release builds they are the plain, uncontended locks. Among threads they may
 * be watched in release builds, too.
 */
#ifdef AVM_THREADS_HOOKS
#define AVM_PORT_LOCK_HOOKS
void threads_lock_event(struct avm *m, int event, int class, const volatile void *lock);
#define avm_port_lock_event(m, event, class, lock) \
	threads_lock_event(m, (int)(event), (int)(class), (const volatile void *)(lock))
#elif defined(AVM_DEBUG)
#define AVM_PORT_LOCK_HOOKS
void sim_lock_event(struct avm *m, int event, int class, const volatile void *lock);
#define avm_port_lock_event(m, event, class, lock) \
	sim_lock_event(m, (int)(event), (int)(class), (const volatile void *)(lock))
#endif

#endif
