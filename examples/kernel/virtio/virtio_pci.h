/* SPDX-License-Identifier: MIT */
/* virtio_pci.h - a virtio device on PCI (virtio 1.x, 4.1), the modern interface only. */
#ifndef VIRTIO_PCI_H
#define VIRTIO_PCI_H

#include "pci.h"
#include "virtqueue.h"

#define VIRTIO_F_VERSION_1 (1ull << 32)

struct virtio_dev {
	struct pci_dev *dev;
	struct mmio common;
	struct mmio notify;
	struct mmio config; /* of the kind of device; size 0: none */
	uint32_t notify_multiplier;
	uint64_t features; /* that both sides know */
	uint64_t notify_at; /* queue 0, in the notify window */
};

/* Finds the windows. 0; -ENODEV: it is no modern virtio device; -EIO: what it says cannot be; or map()'s. */
int virtio_open(struct virtio_dev *v, struct pci_dev *dev);

/*
 * Reset, and features: VERSION_1, and of `wanted` what there is. -EIO: the device does not reset, or does not agree;
 * -ENODEV: it is older than version 1.
 */
int virtio_start(struct virtio_dev *v, uint64_t wanted);

/* Queue 0, of at most `max` entries, with its messages to entry 0 of the table if the device has MSI-X. */
int virtio_queue(struct virtio_dev *v, struct virtqueue *q, const struct dma_page *page,
		 unsigned max);

/* The driver is ready. */
void virtio_run(struct virtio_dev *v);

/* There is something new in queue 0. */
void virtio_notify(const struct virtio_dev *v);

/* It has stopped: no memory of ours is read or written any more, whether it likes to or not. */
void virtio_stop(struct virtio_dev *v);

/* Eight bytes of the device's configuration, from one generation of it. 0 or -EIO. */
int virtio_config64(const struct virtio_dev *v, unsigned offset, uint64_t *value);

#endif
