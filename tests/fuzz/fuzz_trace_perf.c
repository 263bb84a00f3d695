/* SPDX-License-Identifier: MIT */
/* fuzz_trace_perf.c - the reader of perf's text, and the replay of what it read. */
#include "fuzz.h"
#include "trace_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	trace_fuzz(data, size, TRACE_PERF);
	return 0;
}
