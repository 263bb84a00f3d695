/* SPDX-License-Identifier: MIT */
/* entry.S - every way into the kernel, the way out, and the change from one thread's stack to another's. */
#include "layout.h"

	/* Vectors at which the CPU itself pushes an error code: 8, 10-14, 17, 21, 29, 30. */
#define HAS_ERROR_CODE 0x60227d00

	.text
	.code64
	.globl interrupt_entries
	.balign 16
interrupt_entries:
	vector = 0
	.rept 256
	.balign 16
	has_error = 0
	.if vector < 32
	has_error = (HAS_ERROR_CODE >> vector) & 1
	.endif
	.if !has_error
	push	$0
	.endif
	push	$vector
	jmp	enter
	vector = vector + 1
	.endr

/* The frame is struct interrupt_frame; the stack is aligned again when it is complete. */
enter:	cld
	push	%rax
	push	%rbx
	push	%rcx
	push	%rdx
	push	%rsi
	push	%rdi
	push	%rbp
	push	%r8
	push	%r9
	push	%r10
	push	%r11
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	mov	%rsp, %rdi
	mov	%rsp, %rbx
	xor	%ebp, %ebp
	/* back traces go on in the kernel that was interrupted */
	testb	$3, 18 * 8(%rsp)
	jnz	1f
	mov	8 * 8(%rsp), %rbp
1:	call	interrupt
	mov	%rbx, %rsp
	.globl interrupt_return
interrupt_return:
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%r11
	pop	%r10
	pop	%r9
	pop	%r8
	pop	%rbp
	pop	%rdi
	pop	%rsi
	pop	%rdx
	pop	%rcx
	pop	%rbx
	pop	%rax
	add	$16, %rsp
	iretq

/* void enter_user(struct interrupt_frame *frame): leaves the kernel through the frame. */
	.globl enter_user
enter_user:
	mov	%rdi, %rsp
	jmp	interrupt_return

/* void switch_stacks(uint64_t *save, uint64_t next): returns when somebody switches back to *save. */
	.globl switch_stacks
switch_stacks:
	push	%rbx
	push	%rbp
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	mov	%rsp, (%rdi)
	mov	%rsi, %rsp
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbp
	pop	%rbx
	ret

/* Where a new thread comes out of switch_stacks(): rbx is what it runs, r12 the argument. */
	.globl thread_entry
thread_entry:
	call	thread_begins
	mov	%r12, %rdi
	call	*%rbx
	call	thread_exit

	.section .note.GNU-stack, "", @progbits
