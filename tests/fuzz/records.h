/* SPDX-License-Identifier: MIT */
/*
 * records.h - a program in bytes: records of one size, so that whatever is done to one the others mean what they meant.
 *
 *	record 0	RECORD_KIND: enum record_config; then the choices of program_draw(): the machine
 *	record 1...	an operation each: RECORD_KIND; RECORD_WHEN; then the choices of generate_kind()
 *
 * RECORD_WHEN: below 128 nothing; to 191 an allocation fails in it (the lowest 5 bits say which; bit 5: only this one);
 * from 192 on it happens in the middle of the operation before it (the lowest 6 bits: when).
 */
#ifndef TESTS_FUZZ_RECORDS_H
#define TESTS_FUZZ_RECORDS_H

#define RECORD 32u
#define RECORDS_MAX 128u /* what follows is not looked at */
#define RECORD_KIND 0
#define RECORD_WHEN 1
#define RECORD_CHOICES 2

enum record_config {
	RECORD_PLENTY = 1, /* memory is never short */
	RECORD_QUICK =
		2, /* the checks that look at everything are made now and then, and at the end */
};

#define WHEN_FAILS 128
#define WHEN_INSIDE 192

#endif
