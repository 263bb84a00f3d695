/* SPDX-License-Identifier: MIT */
/*
 * virtqueue.h - a split virtqueue (virtio 1.x, 2.7), the driver's side.
 *
 * The device may write anywhere in the page of the rings, and says which chain it is done with. So what the driver needs to
 * know of a chain is kept apart, where no device can reach it, and the device's word is only compared with it.
 */
#ifndef VIRTQUEUE_H
#define VIRTQUEUE_H

#include "platform.h"

#define VQ_MAX 64 /* entries: all three parts fit into one page */

struct vq_desc {
	uint64_t address;
	uint32_t len;
	uint16_t flags;
	uint16_t next;
};

struct vq_avail {
	uint16_t flags;
	uint16_t index;
	uint16_t ring[VQ_MAX];
};

struct vq_used_entry {
	uint32_t id;
	uint32_t len;
};

struct vq_used {
	uint16_t flags;
	uint16_t index;
	struct vq_used_entry ring[VQ_MAX];
};

/* Where the parts lie in the page, whatever the size. */
struct vq_rings {
	struct vq_desc desc[VQ_MAX];
	struct vq_avail avail;
	_Alignas(4) struct vq_used used;
};

_Static_assert(sizeof(struct vq_rings) <= DMA_PAGE_SIZE, "one page");

/* One part of a request. */
struct vq_buffer {
	uint64_t address;
	uint32_t len;
	bool written; /* by the device; those that it reads come first */
};

/* What is known of a chain, by its first descriptor. */
struct vq_chain {
	void *token; /* NULL: no chain begins here */
	uint32_t room; /* bytes that the device may write */
	uint16_t last; /* descriptor */
};

struct virtqueue {
	volatile struct vq_rings *rings;
	uint16_t size; /* a power of two */
	uint16_t nr_free; /* descriptors */
	uint16_t first_free;
	uint16_t avail; /* our index, and the one we have read up to: they only grow */
	uint16_t used;
	uint16_t in_flight; /* chains */
	const char *broken; /* NULL, or what the device did */
	uint16_t next[VQ_MAX]; /* of a chain, or of the free list */
	struct vq_chain chains[VQ_MAX];
};

/* -EINVAL: the size is none. */
int vq_init(struct virtqueue *q, const struct dma_page *page, unsigned size);

/* Makes a chain known to the device. -EAGAIN: no room; -EIO: the queue is broken. pre: token, n > 0. */
int vq_add(struct virtqueue *q, const struct vq_buffer *buffers, unsigned n, void *token);

/*
 * The token of a chain that the device is done with, and how much it says it has written: never more than there was room
 * for. NULL: none; or the queue has just become broken, or was.
 */
void *vq_get(struct virtqueue *q, uint32_t *len);

#endif
