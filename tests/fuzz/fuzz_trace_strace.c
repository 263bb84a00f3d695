/* SPDX-License-Identifier: MIT */
/* fuzz_trace_strace.c - the reader of strace's logs, and the replay of what it read. */
#include "fuzz.h"
#include "trace_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	trace_fuzz(data, size, TRACE_STRACE);
	return 0;
}
