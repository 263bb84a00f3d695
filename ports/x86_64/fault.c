/* SPDX-License-Identifier: MIT */
/*
 * fault.c - the CPU could not translate an address of a user.
 *
 * Interrupts are on: the core may sleep. The kernel itself never follows a user's pointer; it copies with avm_copy_in()
 * and avm_copy_out(), which find frames by the tables and write through the kernel's own map. So a page fault in kernel
 * mode is always a bug, and there is no table of instructions that may fault.
 */
#include "glue.h"
#include "interrupt.h"

/*
 * Whatever was done, the instruction runs again: it finds a translation, or faults again (RETRY asks for no
 * more). The address is checked by the core: there is no VMA in the kernel's half.
 */
unsigned page_fault(struct avm_mm *mm, uint64_t addr, uint64_t error, void *regs)
{
	enum avm_access access = error & FAULT_WRITE ? AVM_ACCESS_WRITE : AVM_ACCESS_READ;

	if (error & FAULT_FETCH)
		access = AVM_ACCESS_EXEC;
	return avm_fault(mm, addr, access, regs) & AVM_FAULT_ERROR;
}
