/* SPDX-License-Identifier: MIT */
/*
 * format.h - lines of text into a buffer of fixed size: strings, decimal and hexadecimal numbers.
 *
 * The buffer always holds a string. What does not fit is left out, and the line then ends in "...".
 */
#ifndef AVM_FORMAT_H
#define AVM_FORMAT_H

#include "anonvm/types.h"

struct avm_text {
	char *buf;
	size_t size;
	size_t len; /* without the NUL */
};

/* pre: size is at least 4. */
void avm_text_init(struct avm_text *t, char *buf, size_t size);

/* Back to the first `len` characters. */
void avm_text_cut(struct avm_text *t, size_t len);

void avm_text_char(struct avm_text *t, char c);
void avm_text_str(struct avm_text *t, const char *s);
void avm_text_dec(struct avm_text *t, uint64_t n);

/* Lower case, no prefix, with zeroes in front up to `digits`. */
void avm_text_hex(struct avm_text *t, uint64_t n, unsigned digits);

/* " name value": how most lines go on. */
void avm_text_field(struct avm_text *t, const char *name, uint64_t n);
void avm_text_field_hex(struct avm_text *t, const char *name, uint64_t n);

#endif
