/* SPDX-License-Identifier: MIT */
/* crt.S - where a program begins, and its way into the kernel. */
	.text
	.globl _start
_start:
	xor	%ebp, %ebp
	call	start			/* rdi: the arguments */

/* long system_call(long number, long a, b, c, d, e): C has the fourth argument in rcx, the kernel in r10. */
	.globl system_call
system_call:
	mov	%rdi, %rax
	mov	%rsi, %rdi
	mov	%rdx, %rsi
	mov	%rcx, %rdx
	mov	%r8, %r10
	mov	%r9, %r8
	int	$0x80
	ret

	.section .note.GNU-stack, "", @progbits
