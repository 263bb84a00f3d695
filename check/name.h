/* SPDX-License-Identifier: MIT */
/* name.h - what lies at an address: the object of the core that lives there now, and its fields. */
#ifndef ANONVM_CHECK_NAME_H
#define ANONVM_CHECK_NAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "anonvm/anonvm.h"

#define NAME_SIZE 48u
#define NAME_LINE 64u /* bytes of a cache line */

struct field {
	const char *name;
	uint16_t offset, size;
	const struct layout *within; /* a struct whose fields have names of their own; NULL: none */
};

struct layout {
	const char *name;
	uint32_t element; /* of an array of such: bytes; 0: one alone */
	bool by_line; /* each of its cache lines has a name */
	const struct field *fields; /* up to one without a name; NULL: all are alike */
};

struct object {
	uintptr_t at;
	size_t size;
	const struct layout *layout;
	const char *role; /* which of its kind; NULL: any */
};

/* What is known of the machine beside what hangs together in it. */
struct places {
	struct avm *machine;
	struct avm_file *files[2]; /* NULL: none */
};

/* The object that lives at the address; false: it is nobody's. => nobody changes the machine now */
bool object_at(const struct places *in, uintptr_t address, struct object *o);

/* "avm_mm[2]", "avm_page of a table": its third cache line, or any; out: NAME_SIZE bytes. pre: the address is in the object */
void object_name_line(const struct object *o, uintptr_t address, char *out);
/* "mmap_lock"; "": there is no telling. */
void object_name_field(const struct object *o, uintptr_t address, char *out);

#endif
