/* SPDX-License-Identifier: MIT */
/* diff_probe.h - what this host can do. */
#ifndef ANONVM_TOOL_DIFF_PROBE_H
#define ANONVM_TOOL_DIFF_PROBE_H

#include "diff.h"

/* *can lies in memory that a child shares. False with the reason where nothing can be compared. */
bool diff_probe(struct diff_can *can, const char **why);

/* Does this succeed in a process of its own? One that dies has not. */
bool diff_probe_apart(bool (*probe)(void));

#endif
