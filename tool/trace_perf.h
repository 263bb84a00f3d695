/* SPDX-License-Identifier: MIT */
/*
 * Between the two halves of the perf reader: what an event's name says about its text.
 */
#ifndef ANONVM_TOOL_TRACE_PERF_H
#define ANONVM_TOOL_TRACE_PERF_H

#include "trace_priv.h"

enum perf_text {
	PERF_TEXT_FIXED, /* one line */
	PERF_TEXT_FREE, /* ends in free text, or in words after it: may go on over lines */
};

struct perf_type {
	const char *name;
	size_t len;
	enum trace_kind kind;
	enum perf_text text;
	bool (*parse)(struct scan *s, struct trace_event *ev);
};

/*
 * Take "EVENT: " off the record's body. => its type, or NULL for an event that is not decoded;
 * *call is set for system calls.
 */
const struct perf_type *perf_scan_type(struct scan *s, struct trace_str *name,
				       enum trace_call *call);

#endif /* ANONVM_TOOL_TRACE_PERF_H */
