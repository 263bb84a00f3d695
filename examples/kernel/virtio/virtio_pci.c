/* SPDX-License-Identifier: MIT */
/* virtio_pci.c - windows, features and the queue of a virtio device on PCI. */
#include "virtio_pci.h"
#include "pci_regs.h"

/* A capability of the vendor says which window lies where. */
#define CAP_LEN 2 /* 1 */
#define CAP_KIND 3 /* 1 */
#define CAP_BAR 4 /* 1 */
#define CAP_OFFSET 8 /* 4 */
#define CAP_LENGTH 12 /* 4 */
#define CAP_SIZE 16
#define CAP_MULTIPLIER 16 /* 4, for notify */
#define CAP_NOTIFY_SIZE 20

enum kind {
	KIND_COMMON = 1,
	KIND_NOTIFY = 2,
	KIND_CONFIG = 4,
};

/* The common window. */
#define DEVICE_FEATURE_SELECT 0x00 /* 4 */
#define DEVICE_FEATURE 0x04 /* 4 */
#define DRIVER_FEATURE_SELECT 0x08 /* 4 */
#define DRIVER_FEATURE 0x0c /* 4 */
#define CONFIG_VECTOR 0x10 /* 2 */
#define NUM_QUEUES 0x12 /* 2 */
#define STATUS 0x14 /* 1 */
#define GENERATION 0x15 /* 1 */
#define QUEUE_SELECT 0x16 /* 2 */
#define QUEUE_SIZE 0x18 /* 2 */
#define QUEUE_VECTOR 0x1a /* 2 */
#define QUEUE_ENABLE 0x1c /* 2 */
#define QUEUE_NOTIFY 0x1e /* 2 */
#define QUEUE_DESC 0x20 /* 8 */
#define QUEUE_DRIVER 0x28 /* 8 */
#define QUEUE_DEVICE 0x30 /* 8 */
#define COMMON_SIZE 0x38

#define STATUS_ACKNOWLEDGE 1u
#define STATUS_DRIVER 2u
#define STATUS_DRIVER_OK 4u
#define STATUS_FEATURES_OK 8u

#define NO_VECTOR 0xffffu
#define PATIENCE 1000000 /* microseconds */
#define GENERATIONS 16 /* tries to read a configuration that does not change meanwhile */

/* ---- windows -------------------------------------------------------------------------------------- */

/* The first of a kind counts; the specification allows more, for choice. */
static int window(struct virtio_dev *v, enum kind kind, uint32_t least, struct mmio *m)
{
	struct pci_dev *dev = v->dev;

	for (int i = pci_next_cap(dev, PCI_CAP_VENDOR, 0); i >= 0;
	     i = pci_next_cap(dev, PCI_CAP_VENDOR, i + 1)) {
		unsigned at = dev->caps[i].at;
		unsigned need = kind == KIND_NOTIFY ? CAP_NOTIFY_SIZE : CAP_SIZE;
		uint32_t length;
		int err;

		/* One that does not fit is none of ours: its kind may not even be there to be read. */
		if (at + need > PCI_CONFIG_SIZE || pci_read(dev, at + CAP_LEN, 1) < need ||
		    pci_read(dev, at + CAP_KIND, 1) != kind)
			continue;
		length = pci_read(dev, at + CAP_LENGTH, 4);
		err = length < least ? -AVM_EINVAL :
				       pci_map_bar(dev, pci_read(dev, at + CAP_BAR, 1),
						   pci_read(dev, at + CAP_OFFSET, 4), length, m);
		if (err == -AVM_EINVAL || err == -AVM_ENXIO) {
			pci_fault(dev, "virtio: window %u of %x bytes cannot be", kind, length);
			return -AVM_EIO;
		}
		if (!err && kind == KIND_NOTIFY)
			v->notify_multiplier = pci_read(dev, at + CAP_MULTIPLIER, 4);
		return err;
	}
	return -AVM_ENODEV;
}

int virtio_open(struct virtio_dev *v, struct pci_dev *dev)
{
	int err;

	*v = (struct virtio_dev){ .dev = dev };
	err = window(v, KIND_COMMON, COMMON_SIZE, &v->common);
	if (!err)
		err = window(v, KIND_NOTIFY, 2, &v->notify);
	if (err == -AVM_ENODEV)
		pci_log(dev, "virtio: it has no modern interface");
	if (err)
		return err;
	err = window(v, KIND_CONFIG, 1, &v->config);
	return err == -AVM_ENODEV ? 0 : err;
}

/* ---- start and stop -------------------------------------------------------------------------------- */

static uint32_t get(const struct virtio_dev *v, unsigned offset, unsigned size)
{
	return mmio_read(&v->common, offset, size);
}

static void set(const struct virtio_dev *v, unsigned offset, unsigned size, uint32_t value)
{
	mmio_write(&v->common, offset, size, value);
}

static void set64(const struct virtio_dev *v, unsigned offset, uint64_t value)
{
	set(v, offset, 4, (uint32_t)value);
	set(v, offset + 4, 4, (uint32_t)(value >> 32));
}

static void add_status(const struct virtio_dev *v, uint32_t bit)
{
	set(v, STATUS, 1, get(v, STATUS, 1) | bit);
}

static int reset(const struct virtio_dev *v)
{
	const struct platform *p = v->dev->pci->platform;
	uint64_t end = p->microseconds(p->context) + PATIENCE;

	set(v, STATUS, 1, 0);
	while (get(v, STATUS, 1)) {
		if (p->microseconds(p->context) > end) {
			pci_fault(v->dev, "virtio: it does not reset");
			return -AVM_EIO;
		}
		p->wait(p->context, false);
	}
	return 0;
}

static uint64_t offered(const struct virtio_dev *v)
{
	uint64_t low;

	set(v, DEVICE_FEATURE_SELECT, 4, 0);
	low = get(v, DEVICE_FEATURE, 4);
	set(v, DEVICE_FEATURE_SELECT, 4, 1);
	return low | (uint64_t)get(v, DEVICE_FEATURE, 4) << 32;
}

int virtio_start(struct virtio_dev *v, uint64_t wanted)
{
	int err = reset(v);

	if (err)
		return err;
	add_status(v, STATUS_ACKNOWLEDGE);
	add_status(v, STATUS_DRIVER);
	v->features = offered(v) & (wanted | VIRTIO_F_VERSION_1);
	if (!(v->features & VIRTIO_F_VERSION_1)) {
		pci_log(v->dev, "virtio: it is older than version 1");
		return -AVM_ENODEV;
	}
	set(v, DRIVER_FEATURE_SELECT, 4, 0);
	set(v, DRIVER_FEATURE, 4, (uint32_t)v->features);
	set(v, DRIVER_FEATURE_SELECT, 4, 1);
	set(v, DRIVER_FEATURE, 4, (uint32_t)(v->features >> 32));
	add_status(v, STATUS_FEATURES_OK);
	if (get(v, STATUS, 1) & STATUS_FEATURES_OK)
		return 0;
	pci_fault(v->dev, "virtio: it does not agree to what it offers");
	return -AVM_EIO;
}

/* The messages of the queue go to entry 0; the device says whether it could take that. */
static int route(const struct virtio_dev *v)
{
	uint32_t entry = v->dev->irq == PCI_IRQ_MSIX ? 0 : NO_VECTOR;

	set(v, CONFIG_VECTOR, 2, NO_VECTOR);
	set(v, QUEUE_VECTOR, 2, entry);
	if (get(v, QUEUE_VECTOR, 2) == entry)
		return 0;
	pci_fault(v->dev, "virtio: it does not take the vector of its queue");
	return -AVM_EIO;
}

/* Where to tell it, which it chooses. */
static int find_notify(struct virtio_dev *v)
{
	uint64_t at = (uint64_t)get(v, QUEUE_NOTIFY, 2) * v->notify_multiplier;

	if (at > v->notify.size - 2 || at % 2) {
		pci_fault(v->dev, "virtio: its queue would be notified outside the window");
		return -AVM_EIO;
	}
	v->notify_at = at;
	return 0;
}

int virtio_queue(struct virtio_dev *v, struct virtqueue *q, const struct dma_page *page,
		 unsigned max)
{
	struct vq_rings *rings = page->memory;
	unsigned size;
	int err;

	set(v, QUEUE_SELECT, 2, 0);
	size = get(v, QUEUE_SIZE, 2);
	if (!get(v, NUM_QUEUES, 2) || !size || size & (size - 1)) {
		pci_fault(v->dev, "virtio: a queue of %u entries cannot be", size);
		return -AVM_EIO;
	}
	err = vq_init(q, page, size < max ? size : max);
	if (!err)
		err = find_notify(v);
	if (!err)
		err = route(v);
	if (err)
		return err;
	set(v, QUEUE_SIZE, 2, q->size);
	set64(v, QUEUE_DESC, page->address + offsetof(struct vq_rings, desc));
	set64(v, QUEUE_DRIVER, page->address + offsetof(struct vq_rings, avail));
	set64(v, QUEUE_DEVICE, page->address + offsetof(struct vq_rings, used));
	/* It may write from here on. */
	rings->used.index = 0;
	pci_command(v->dev, PCI_COMMAND_MASTER, 0);
	set(v, QUEUE_ENABLE, 2, 1);
	return 0;
}

void virtio_run(struct virtio_dev *v)
{
	add_status(v, STATUS_DRIVER_OK);
}

void virtio_notify(const struct virtio_dev *v)
{
	mmio_write(&v->notify, v->notify_at, 2, 0);
}

void virtio_stop(struct virtio_dev *v)
{
	pci_command(v->dev, 0, PCI_COMMAND_MASTER);
	set(v, STATUS, 1, 0);
	pci_disable_messages(v->dev);
}

int virtio_config64(const struct virtio_dev *v, unsigned offset, uint64_t *value)
{
	for (unsigned i = 0; i < GENERATIONS; i++) {
		uint32_t before = get(v, GENERATION, 1);
		uint32_t low = mmio_read(&v->config, offset, 4);
		uint32_t high = mmio_read(&v->config, offset + 4, 4);

		if (get(v, GENERATION, 1) == before) {
			*value = low | (uint64_t)high << 32;
			return 0;
		}
	}
	pci_fault(v->dev, "virtio: its configuration does not come to rest");
	return -AVM_EIO;
}
