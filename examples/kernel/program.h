/* SPDX-License-Identifier: MIT */
/* program.h - programs: ELF files that the boot loader has put into memory, mapped page by page as they are needed. */
#ifndef KERNEL_PROGRAM_H
#define KERNEL_PROGRAM_H

#include <stdint.h>

#include "anonvm/anonvm.h"

struct interrupt_frame;

struct program {
	char name[24];
	const unsigned char *data;
	uint64_t size;
	struct avm_file file; /* its page cache, while it runs */
};

/* The file is there between open and close. */
int program_open(struct program *p);
void program_close(struct program *p);

/* Fills an empty address space with the program, and the frame with which it begins. 0, -EINVAL, -ENOMEM. */
int program_load(struct program *p, struct avm_mm *mm, const char *arguments,
		 struct interrupt_frame *frame);

#endif
