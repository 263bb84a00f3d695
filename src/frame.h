/* SPDX-License-Identifier: MIT */
/*
 * frame.h - the contents of frames. Touched only here, so that a port may keep one 64-bit stamp for a frame
 * instead of its bytes (AVM_PORT_FRAME_OPS in avm_port.h).
 */
#ifndef AVM_FRAME_H
#define AVM_FRAME_H

#include "avm_arch.h"
#include "avm_port.h"

#ifndef AVM_PORT_FRAME_OPS
#include <string.h>

/* page.c has a copy of what is wanted in many places, for when that is shorter. */
inline void avm_port_frame_clear(struct avm *m, avm_pfn_t pfn)
{
	memset(avm_port_frame_ptr(m, pfn), 0, AVM_PAGE_SIZE);
}

inline void avm_port_frame_copy(struct avm *m, avm_pfn_t to, avm_pfn_t from)
{
	memcpy(avm_port_frame_ptr(m, to), avm_port_frame_ptr(m, from), AVM_PAGE_SIZE);
}

inline void avm_port_frame_read(struct avm *m, avm_pfn_t pfn, size_t offset, void *buf, size_t len)
{
	memcpy(buf, (char *)avm_port_frame_ptr(m, pfn) + offset, len);
}

inline void avm_port_frame_write(struct avm *m, avm_pfn_t pfn, size_t offset, const void *buf,
				 size_t len)
{
	memcpy((char *)avm_port_frame_ptr(m, pfn) + offset, buf, len);
}

static inline bool avm_port_frame_same(struct avm *m, avm_pfn_t a, avm_pfn_t b)
{
	return !memcmp(avm_port_frame_ptr(m, a), avm_port_frame_ptr(m, b), AVM_PAGE_SIZE);
}
#endif

#endif
