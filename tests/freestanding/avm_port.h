/* SPDX-License-Identifier: MIT */
/*
 * The least a port can say: used by scripts/check-freestanding to build the core as an embedder would
 * who takes every default. The functions of port.h stay undefined; that they are the only ones is the
 * point.
 */
#ifndef AVM_PORT_FREESTANDING_H
#define AVM_PORT_FREESTANDING_H

#ifndef AVM_PORT_TIER
#define AVM_PORT_TIER 1
#endif

#include "anonvm/port.h"

#endif
