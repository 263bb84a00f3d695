/* SPDX-License-Identifier: MIT */
/*
 * virtio_blk.h - a disk (virtio 1.x, 5.2).
 *
 * Several requests may be under way: a start, and a wait for each, in any order. With several threads or CPUs the kernel
 * has one lock around all of it, which its wait() gives up; the interrupt handler needs none, it only counts.
 */
#ifndef VIRTIO_BLK_H
#define VIRTIO_BLK_H

#include "virtio_pci.h"

#define VBLK_SECTOR 512
#define VBLK_REQUESTS 16

enum vblk_op {
	VBLK_READ,
	VBLK_WRITE,
	VBLK_FLUSH,
};

enum vblk_state {
	VBLK_FREE,
	VBLK_BUSY, /* the device has it */
	VBLK_DONE, /* `err` says how */
};

struct vblk_request {
	enum vblk_state state;
	int err;
};

struct vblk {
	struct virtio_dev virtio;
	struct virtqueue queue;
	struct dma_page rings;
	struct dma_page heads; /* what the device is asked, and the byte that it answers */
	uint64_t sectors;
	bool read_only;
	bool may_flush;
	bool ready;
	volatile unsigned interrupts;
	struct vblk_request requests[VBLK_REQUESTS];
	uint64_t nr_reads, nr_writes, nr_errors; /* requests */
};

/* Its context is a struct vblk; the first disk is taken. */
extern const struct pci_driver vblk_driver;

/* Stops the disk and gives back what it took. pre: nothing is under way. */
void vblk_close(struct vblk *b);

/*
 * A request of `len` bytes, a multiple of VBLK_SECTOR, at `address` as the device sees memory, which belongs to the device
 * until it was waited for. The request's number, or: -ENODEV: there is no disk; -EINVAL: it does not lie on the disk;
 * -EACCES: the disk cannot be written; -EAGAIN: too many are under way; -EIO: the disk was given up.
 */
int vblk_start(struct vblk *b, enum vblk_op op, uint64_t sector, uint64_t address, uint32_t len);

/* 0 or -EIO. A disk that does not answer within seconds is stopped and given up: what it has then fails. */
int vblk_wait(struct vblk *b, int request);

/* The two in one. */
int vblk_rw(struct vblk *b, enum vblk_op op, uint64_t sector, uint64_t address, uint32_t len);

#endif
