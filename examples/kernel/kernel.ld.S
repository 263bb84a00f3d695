/* SPDX-License-Identifier: MIT */
/* kernel.ld.S - one segment, laid out in the file as in memory: what the multiboot header promises. */
#include "layout.h"

ENTRY(start)
PHDRS
{
	kernel PT_LOAD FILEHDR PHDRS FLAGS(7);
}

SECTIONS
{
	. = KERNEL_BASE + KERNEL_LOAD;
	kernel_start = .;
	/* with the headers, so that the multiboot header is near the start of the file */
	. += SIZEOF_HEADERS;
	.text : AT(ADDR(.text) - KERNEL_BASE) {
		*(.boot)
		text_start = .;
		*(.text .text.*)
		text_end = .;
	} :kernel
	.rodata : AT(ADDR(.rodata) - KERNEL_BASE) { *(.rodata .rodata.*) }
	.data : AT(ADDR(.data) - KERNEL_BASE) { *(.data .data.*) }
	/* Last, so that its size moves nothing that it names. */
	.symbols : AT(ADDR(.symbols) - KERNEL_BASE) { *(.symbols) }
	kernel_load_end = ALIGN(16);
	. = ALIGN(16);
	bss_start = .;
	.bss : AT(ADDR(.bss) - KERNEL_BASE) { *(.bss .bss.* COMMON) }
	. = ALIGN(4096);
	kernel_end = .;
}
