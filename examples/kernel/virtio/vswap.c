/* SPDX-License-Identifier: MIT */
/* vswap.c - slots of a page each, on a disk. */
#include "vswap.h"

#define SECTORS (VSWAP_PAGE / VBLK_SECTOR) /* a slot */

int vswap_slots(const struct vblk *b, uint32_t most)
{
	uint64_t slots;

	if (!b->virtio.dev)
		return -AVM_ENODEV;
	if (b->read_only)
		return -AVM_EACCES;
	slots = b->sectors / SECTORS;
	if (!slots)
		return -AVM_ENOSPC;
	return (int)(slots < most ? slots : most);
}

int vswap_write(struct vblk *b, uint32_t slot, uint64_t address)
{
	return vblk_rw(b, VBLK_WRITE, (uint64_t)slot * SECTORS, address, VSWAP_PAGE);
}

int vswap_read(struct vblk *b, uint32_t slot, uint64_t address)
{
	return vblk_rw(b, VBLK_READ, (uint64_t)slot * SECTORS, address, VSWAP_PAGE);
}
