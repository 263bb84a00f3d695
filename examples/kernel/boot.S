/* SPDX-License-Identifier: MIT */
/*
 * boot.S - from the multiboot loader, or from the start-up message to another CPU, to 64-bit C.
 *
 * The kernel is linked at KERNEL_BASE + its physical address. Until paging is on, symbols are used less the base.
 *
 *	ffff8000_00000000	physical memory, the first 4 GiB (never executable)
 *	ffffffff_80000000	the same, its first GiB: the kernel runs here
 *
 * boot_root has the lower half mapped to itself as well, for the step into long mode; kernel_root has not, and is what
 * the upper half of every address space is copied from.
 */
#include "layout.h"

#define PHYS(symbol) ((symbol) - KERNEL_BASE)

#define MULTIBOOT_MAGIC 0x1badb002
#define MULTIBOOT_FLAGS 0x00010003	/* modules on pages; tell the memory; addresses are in the header */

#define ENTRY_TABLE 0x23	/* present, write, accessed */
#define ENTRY_2M 0xe3		/* ... dirty, and a page of 2 MiB */
#define ENTRY_UNCACHED 0x10
#define ENTRY_NX_HIGH 0x80000000	/* in the upper half of an entry */
#define FIRST_DEVICE (0xb0000000 >> 21)	/* q35: above are devices up to 4 GiB */

#define EFER 0xc0000080
#define EFER_LME 0x100
#define EFER_NXE 0x800
#define CR0_PE 0x1
#define CR0_WP 0x10000
#define CR0_PG 0x80000000
#define CR4_PAE 0x20

	.section .boot, "ax"
	.balign 4
multiboot_header:
	.long MULTIBOOT_MAGIC, MULTIBOOT_FLAGS, -(MULTIBOOT_MAGIC + MULTIBOOT_FLAGS)
	.long PHYS(multiboot_header)
	.long PHYS(kernel_start), PHYS(kernel_load_end), PHYS(kernel_end)
	.long PHYS(start)

	.code32
	.globl start
start:
	cli
	cld
	mov	%ebx, %ebp		/* the loader's tables, for kernel_main() */
	/* not every loader clears it */
	mov	$PHYS(bss_start), %edi
	mov	$PHYS(kernel_end), %ecx
	sub	%edi, %ecx
	xor	%eax, %eax
	rep stosb

	/* four page directories map 4 GiB */
	mov	$PHYS(directories), %edi
	mov	$ENTRY_2M, %eax
	xor	%ecx, %ecx
1:	cmp	$FIRST_DEVICE, %ecx
	jne	2f
	or	$ENTRY_UNCACHED, %eax
2:	mov	%eax, (%edi, %ecx, 8)
	add	$0x200000, %eax
	inc	%ecx
	cmp	$2048, %ecx
	jne	1b

	mov	$(PHYS(directories) + ENTRY_TABLE), %eax
	mov	%eax, PHYS(upper_table) + 510 * 8
	xor	%ecx, %ecx
3:	mov	%eax, PHYS(lower_table)(, %ecx, 8)
	add	$0x1000, %eax
	inc	%ecx
	cmp	$4, %ecx
	jne	3b

	mov	$(PHYS(lower_table) + ENTRY_TABLE), %eax
	mov	%eax, PHYS(boot_root)
	mov	%eax, PHYS(boot_root) + 256 * 8
	mov	%eax, PHYS(kernel_root) + 256 * 8
	movl	$ENTRY_NX_HIGH, PHYS(boot_root) + 256 * 8 + 4
	movl	$ENTRY_NX_HIGH, PHYS(kernel_root) + 256 * 8 + 4
	mov	$(PHYS(upper_table) + ENTRY_TABLE), %eax
	mov	%eax, PHYS(boot_root) + 511 * 8
	mov	%eax, PHYS(kernel_root) + 511 * 8

	mov	$PHYS(first_cpu), %ebx
	/* fall through */

/* => 32 bits, ebx: where to go on in 64 bits. Keeps ebp. */
enter_long_mode:
	mov	%cr4, %eax
	or	$CR4_PAE, %eax
	mov	%eax, %cr4
	mov	$PHYS(boot_root), %eax
	mov	%eax, %cr3
	mov	$EFER, %ecx
	rdmsr
	or	$(EFER_LME | EFER_NXE), %eax
	wrmsr
	mov	%cr0, %eax
	or	$(CR0_PG | CR0_WP | CR0_PE), %eax
	mov	%eax, %cr0
	lgdt	PHYS(boot_gdt_pointer)
	ljmp	$0x08, $PHYS(go_up)

	.code64
go_up:	mov	$0x10, %eax
	mov	%eax, %ss
	mov	%eax, %ds
	mov	%eax, %es
	xor	%eax, %eax
	mov	%eax, %fs
	mov	%eax, %gs
	movabs	$KERNEL_BASE, %rax
	add	%rbx, %rax
	jmp	*%rax

first_cpu:
	lea	boot_stack_end(%rip), %rsp
	mov	%ebp, %edi
	xor	%ebp, %ebp		/* back traces end here */
	call	kernel_main
1:	hlt
	jmp	1b

/* A stack for each CPU that comes: cpu_started() has laid out another_stack. */
another_cpu:
	mov	another_stack(%rip), %rsp
	xor	%ebp, %ebp
	call	another_cpu_main
2:	hlt
	jmp	2b

	.balign 8
boot_gdt:
	.quad 0
	.quad 0x00af9b000000ffff	/* 08: code, 64 bits */
	.quad 0x00cf93000000ffff	/* 10: data */
	.quad 0x00cf9b000000ffff	/* 18: code, 32 bits */
boot_gdt_end:
boot_gdt_pointer:
	.word boot_gdt_end - boot_gdt - 1
	.long PHYS(boot_gdt)

/*
 * Another CPU begins in real mode at TRAMPOLINE, where smp.c has copied this. One at a time: the one that starts it
 * waits until it has its stack.
 */
	.code16
	.globl trampoline, trampoline_end
trampoline:
	cli
	cld
	xor	%ax, %ax
	mov	%ax, %ds
	lgdtl	TRAMPOLINE + trampoline_gdt - trampoline
	mov	%cr0, %eax
	or	$CR0_PE, %eax
	mov	%eax, %cr0
	ljmpl	$0x18, $PHYS(another_32)
trampoline_gdt:
	.word boot_gdt_end - boot_gdt - 1
	.long PHYS(boot_gdt)
trampoline_end:

	.code32
another_32:
	mov	$0x10, %eax
	mov	%eax, %ss
	mov	%eax, %ds
	mov	$PHYS(another_cpu), %ebx
	jmp	enter_long_mode

	.bss
	.balign 4096
	.globl boot_root, kernel_root
boot_root:	.skip 4096
kernel_root:	.skip 4096
lower_table:	.skip 4096
upper_table:	.skip 4096
directories:	.skip 4 * 4096
	.balign STACK_SIZE
	.globl boot_stack
boot_stack:	.skip STACK_SIZE
boot_stack_end:

	.section .note.GNU-stack, "", @progbits
