/* SPDX-License-Identifier: MIT */
/* virtio_blk.c - a disk. */
#include "virtio_blk.h"
#include "pci_ids.h"

#define F_RO (1ull << 5)
#define F_FLUSH (1ull << 9)

#define CONFIG_CAPACITY 0 /* 8, in sectors */

#define STATUS_OK 0
#define STATUS_NONE 0xff /* no answer yet */

#define PATIENCE 5000000 /* microseconds */

/* One request's part of the page of heads. */
struct head {
	uint32_t type; /* 0 read, 1 write, 4 flush */
	uint32_t reserved;
	uint64_t sector;
	uint8_t status;
	uint8_t padding[15];
};

#define HEAD_LEN offsetof(struct head, status) /* what the device reads */

_Static_assert(sizeof(struct head) * VBLK_REQUESTS <= DMA_PAGE_SIZE, "one page");

static const uint32_t types[] = { [VBLK_READ] = 0, [VBLK_WRITE] = 1, [VBLK_FLUSH] = 4 };

static volatile struct head *head_of(const struct vblk *b, unsigned request)
{
	return (volatile struct head *)b->heads.memory + request;
}

/* ---- finding one ------------------------------------------------------------------------------------ */

static void interrupted(void *arg)
{
	struct vblk *b = arg;

	b->interrupts++;
}

static int start_device(struct vblk *b)
{
	struct virtio_dev *v = &b->virtio;
	int err = virtio_start(v, F_RO | F_FLUSH);

	if (err)
		return err;
	if (v->config.size < sizeof(uint64_t)) {
		pci_fault(v->dev, "virtio-blk: it does not tell its capacity");
		return -AVM_EIO;
	}
	err = virtio_config64(v, CONFIG_CAPACITY, &b->sectors);
	if (err)
		return err;
	/* A capacity in bytes is to fit into 64 bits. */
	if (b->sectors > UINT64_MAX / VBLK_SECTOR) {
		pci_fault(v->dev, "virtio-blk: a disk of %llx sectors cannot be",
			  (unsigned long long)b->sectors);
		return -AVM_EIO;
	}
	b->read_only = v->features & F_RO;
	b->may_flush = v->features & F_FLUSH;
	if (pci_enable_msix(v->dev, interrupted, b))
		pci_log(v->dev, "virtio-blk: polled");
	err = virtio_queue(v, &b->queue, &b->rings, VQ_MAX);
	if (!err)
		virtio_run(v);
	return err;
}

static int probe(struct pci_dev *dev, void *context)
{
	const struct platform *p = dev->pci->platform;
	struct vblk *b = context;
	int err;

	if (b->virtio.dev)
		return -AVM_EBUSY; /* one is enough */
	err = virtio_open(&b->virtio, dev);
	if (err)
		goto none;
	err = p->dma_take(p->context, &b->rings);
	if (err)
		goto none;
	err = p->dma_take(p->context, &b->heads);
	if (err)
		goto no_heads;
	err = start_device(b);
	if (err)
		goto stop;
	b->ready = true;
	pci_log(dev, "virtio-blk: %llx sectors%s, a queue of %u", (unsigned long long)b->sectors,
		b->read_only ? ", read-only" : "", b->queue.size);
	return 0;

stop:
	virtio_stop(&b->virtio);
	p->dma_give(p->context, &b->heads);
no_heads:
	p->dma_give(p->context, &b->rings);
none:
	b->virtio.dev = NULL;
	return err;
}

static const struct pci_id ids[] = { { PCI_VENDOR_VIRTIO, VIRTIO_BLK_TRANSITIONAL },
				     { PCI_VENDOR_VIRTIO, VIRTIO_BLK },
				     { 0 } };
const struct pci_driver vblk_driver = { .name = "virtio-blk", .ids = ids, .probe = probe };

void vblk_close(struct vblk *b)
{
	const struct platform *p;

	if (!b->virtio.dev)
		return;
	p = b->virtio.dev->pci->platform;
	virtio_stop(&b->virtio);
	p->dma_give(p->context, &b->heads);
	p->dma_give(p->context, &b->rings);
	b->virtio.dev->driver = NULL;
	b->virtio.dev = NULL;
	b->ready = false;
}

/* ---- requests --------------------------------------------------------------------------------------- */

static void end(struct vblk *b, struct vblk_request *r, int err)
{
	r->state = VBLK_DONE;
	r->err = err;
	if (err)
		b->nr_errors++;
}

/* The device has lost its right to our memory. What it had fails; whatever comes later, too. */
static void give_up(struct vblk *b, const char *why)
{
	pci_fault(b->virtio.dev, "virtio-blk: given up: it %s", why);
	virtio_stop(&b->virtio);
	b->queue.broken = why;
	b->ready = false;
	for (unsigned i = 0; i < VBLK_REQUESTS; i++) {
		if (b->requests[i].state == VBLK_BUSY)
			end(b, &b->requests[i], -AVM_EIO);
	}
}

/* Takes what the device is done with. */
static void reap(struct vblk *b)
{
	struct vblk_request *r;
	uint32_t len;

	if (!b->ready)
		return;
	while ((r = vq_get(&b->queue, &len))) {
		unsigned n = (unsigned)(r - b->requests);

		/* Any other status, and none, is an error. */
		end(b, r, head_of(b, n)->status == STATUS_OK ? 0 : -AVM_EIO);
	}
	if (b->queue.broken)
		give_up(b, b->queue.broken);
}

static int check(const struct vblk *b, enum vblk_op op, uint64_t sector, uint32_t len)
{
	uint64_t n = len / VBLK_SECTOR;

	if (!b->virtio.dev)
		return -AVM_ENODEV;
	if (op == VBLK_FLUSH)
		return b->may_flush ? 0 : -AVM_EOPNOTSUPP;
	if (!n || len % VBLK_SECTOR || n > b->sectors || sector > b->sectors - n)
		return -AVM_EINVAL;
	return op == VBLK_WRITE && b->read_only ? -AVM_EACCES : 0;
}

static int free_request(const struct vblk *b)
{
	for (int i = 0; i < VBLK_REQUESTS; i++) {
		if (b->requests[i].state == VBLK_FREE)
			return i;
	}
	return -AVM_EAGAIN;
}

int vblk_start(struct vblk *b, enum vblk_op op, uint64_t sector, uint64_t address, uint32_t len)
{
	int err = check(b, op, sector, len), i = err ? err : free_request(b);
	struct vq_buffer parts[3];
	volatile struct head *head;
	uint64_t head_address;
	unsigned n = 0;

	if (i < 0)
		return i;
	head = head_of(b, (unsigned)i);
	head->type = types[op];
	head->reserved = 0;
	head->sector = op == VBLK_FLUSH ? 0 : sector;
	head->status = STATUS_NONE;
	head_address = b->heads.address + (unsigned)i * sizeof(struct head);
	parts[n++] = (struct vq_buffer){ .address = head_address, .len = HEAD_LEN };
	if (op != VBLK_FLUSH)
		parts[n++] = (struct vq_buffer){ .address = address,
						 .len = len,
						 .written = op == VBLK_READ };
	parts[n++] =
		(struct vq_buffer){ .address = head_address + HEAD_LEN, .len = 1, .written = true };
	err = vq_add(&b->queue, parts, n, &b->requests[i]);
	if (err)
		return err;
	b->requests[i] = (struct vblk_request){ .state = VBLK_BUSY };
	b->nr_reads += op == VBLK_READ;
	b->nr_writes += op == VBLK_WRITE;
	virtio_notify(&b->virtio);
	return i;
}

int vblk_wait(struct vblk *b, int request)
{
	const struct platform *p = b->virtio.dev->pci->platform;
	uint64_t patience = p->microseconds(p->context) + PATIENCE;
	struct vblk_request *r = &b->requests[request];

	for (reap(b); r->state == VBLK_BUSY; reap(b)) {
		if (p->microseconds(p->context) > patience)
			give_up(b, "does not answer");
		else
			p->wait(p->context, b->virtio.dev->irq);
	}
	r->state = VBLK_FREE;
	return r->err;
}

int vblk_rw(struct vblk *b, enum vblk_op op, uint64_t sector, uint64_t address, uint32_t len)
{
	int request = vblk_start(b, op, sector, address, len);

	return request < 0 ? request : vblk_wait(b, request);
}
