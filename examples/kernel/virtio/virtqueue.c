/* SPDX-License-Identifier: MIT */
/* virtqueue.c - a split virtqueue, the driver's side. */
#include <stdatomic.h>

#include "virtqueue.h"

#define VQ_DESC_NEXT 1u
#define VQ_DESC_WRITE 2u

#define NO_DESC UINT16_MAX

int vq_init(struct virtqueue *q, const struct dma_page *page, unsigned size)
{
	if (!size || size > VQ_MAX || size & (size - 1))
		return -AVM_EINVAL;
	*q = (struct virtqueue){ .rings = page->memory,
				 .size = (uint16_t)size,
				 .nr_free = (uint16_t)size };
	for (unsigned i = 0; i < size; i++)
		q->next[i] = (uint16_t)(i + 1 < size ? i + 1 : NO_DESC);
	return 0;
}

/* What the device reads of a chain; `next` of the free list becomes that of the chain. */
static uint16_t write_chain(struct virtqueue *q, const struct vq_buffer *buffers, unsigned n,
			    struct vq_chain *chain)
{
	uint16_t at = q->first_free;

	for (unsigned i = 0; i < n; i++) {
		const struct vq_buffer *b = &buffers[i];
		volatile struct vq_desc *d;

		if (i)
			at = q->next[at];
		d = &q->rings->desc[at];
		d->address = b->address;
		d->len = b->len;
		d->flags = (uint16_t)((b->written ? VQ_DESC_WRITE : 0) |
				      (i + 1 < n ? VQ_DESC_NEXT : 0));
		d->next = i + 1 < n ? q->next[at] : 0;
		if (b->written)
			chain->room += b->len;
	}
	return at;
}

int vq_add(struct virtqueue *q, const struct vq_buffer *buffers, unsigned n, void *token)
{
	struct vq_chain chain = { .token = token };
	uint16_t head = q->first_free;

	if (q->broken)
		return -AVM_EIO;
	if (n > q->nr_free)
		return -AVM_EAGAIN;
	chain.last = write_chain(q, buffers, n, &chain);
	q->chains[head] = chain;
	q->first_free = q->next[chain.last];
	q->nr_free = (uint16_t)(q->nr_free - n);
	q->in_flight++;
	q->rings->avail.ring[q->avail & (q->size - 1u)] = head;
	q->avail++;
	/* The chain before the index, and the index before whoever tells the device. */
	atomic_thread_fence(memory_order_seq_cst);
	q->rings->avail.index = q->avail;
	atomic_thread_fence(memory_order_seq_cst);
	return 0;
}

static void *broken(struct virtqueue *q, const char *what)
{
	q->broken = what;
	return NULL;
}

static void free_chain(struct virtqueue *q, uint16_t head)
{
	struct vq_chain *chain = &q->chains[head];
	uint16_t n = 1;

	for (uint16_t at = head; at != chain->last; at = q->next[at])
		n++;
	q->next[chain->last] = q->first_free;
	q->first_free = head;
	q->nr_free = (uint16_t)(q->nr_free + n);
	q->in_flight--;
	chain->token = NULL;
}

void *vq_get(struct virtqueue *q, uint32_t *len)
{
	uint16_t ready;
	uint32_t id;
	void *token;

	if (q->broken)
		return NULL;
	ready = (uint16_t)(q->rings->used.index - q->used);
	if (!ready)
		return NULL;
	if (ready > q->in_flight)
		return broken(q, "is done with more than it was given");
	/* The index before the entry that it announces. */
	atomic_thread_fence(memory_order_seq_cst);
	id = q->rings->used.ring[q->used & (q->size - 1u)].id;
	*len = q->rings->used.ring[q->used & (q->size - 1u)].len;
	if (id >= q->size)
		return broken(q, "is done with a descriptor that there is not");
	if (!q->chains[id].token)
		return broken(q, "is done with what it was not given");
	if (*len > q->chains[id].room)
		return broken(q, "has written more than there was room for");
	token = q->chains[id].token;
	free_chain(q, (uint16_t)id);
	q->used++;
	return token;
}
