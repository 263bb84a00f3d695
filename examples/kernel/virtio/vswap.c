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

static int transfer(struct vblk *b, enum vblk_op op, uint32_t slot, uint64_t address)
{
	uint64_t sector = (uint64_t)slot * SECTORS;
	int request = vblk_start(b, op, sector, address, VSWAP_PAGE);

	/* Those that fill the table are waited for by others, who take what is done. */
	while (request == -AVM_EAGAIN) {
		const struct platform *p = b->virtio.dev->pci->platform;

		p->wait(p->context, false);
		request = vblk_start(b, op, sector, address, VSWAP_PAGE);
	}
	return request < 0 ? request : vblk_wait(b, request);
}

int vswap_write(struct vblk *b, uint32_t slot, uint64_t address)
{
	return transfer(b, VBLK_WRITE, slot, address);
}

int vswap_read(struct vblk *b, uint32_t slot, uint64_t address)
{
	return transfer(b, VBLK_READ, slot, address);
}
