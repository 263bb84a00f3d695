/* SPDX-License-Identifier: MIT */
/*
 * check_dpor.h - of a small program every execution, without a bound; of those that differ in the order of independent
 * steps only (a trace of Mazurkiewicz), one.
 */
#ifndef CHECK_DPOR_H
#define CHECK_DPOR_H

#include "check_bound.h"

/* As check_explore(); e->bound is not looked at, and of_last_pass counts those with late grace periods, or without. */
bool check_explore_traces(struct check *c, struct check_explorer *e);

#endif
