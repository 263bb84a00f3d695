/* SPDX-License-Identifier: MIT */
/* trace_fuzz.h - what the two fuzz targets for traces share. */
#ifndef TESTS_FUZZ_TRACE_FUZZ_H
#define TESTS_FUZZ_TRACE_FUZZ_H

#include <stddef.h>
#include <stdint.h>

#include "trace.h"

/*
 * Reads the bytes as a trace, and if it is one of this format replays it, with little memory and little patience. A
 * first line "#C" is a comment to the readers; C chooses how it is replayed (trace_fuzz.c: enum choice). Ends with abort()
 * when something is wrong.
 */
void trace_fuzz(const uint8_t *data, size_t size, enum trace_format format);

#endif
