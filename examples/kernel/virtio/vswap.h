/* SPDX-License-Identifier: MIT */
/* vswap.h - slots of a page each, on a disk. What avm_port_swap_write() and avm_port_swap_read() come down to. */
#ifndef VSWAP_H
#define VSWAP_H

#include "virtio_blk.h"

#define VSWAP_PAGE 4096

/* How many slots there is room for, at most `most`. -ENODEV: no disk; -ENOSPC: not for one; -EACCES: it is read-only. */
int vswap_slots(const struct vblk *b, uint32_t most);

/* 0 or a negative errno. A table full of requests is waited for. */
int vswap_write(struct vblk *b, uint32_t slot, uint64_t address);
int vswap_read(struct vblk *b, uint32_t slot, uint64_t address);

#endif
