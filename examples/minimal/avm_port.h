/* SPDX-License-Identifier: MIT */
/* avm_port.h (minimal) - one CPU, every default: all that a port of tier 0 has to say in a header. */
#ifndef AVM_PORT_MINIMAL_H
#define AVM_PORT_MINIMAL_H

#define AVM_PORT_TIER 0

#include "anonvm/port.h"

#endif
