/* SPDX-License-Identifier: MIT */
/* sim_disk.c - a virtio disk. Windows: common at 0, notify at 0x1000, of the device at 0x2000, each of a page. */
#include "sim_disk.h"

#define COMMON_SIZE 0x38
#define NOTIFY 0x1000
#define CONFIG 0x2000
#define TABLE_BAR 1
#define WINDOW_BAR 4
#define BAR1 0xfe800000u
#define BAR4 0xfe000000u

struct part {
	uint8_t *at;
	uint32_t len;
	bool written;
};

/* ---- requests ------------------------------------------------------------------------------------------ */

static void *reach(struct sim_disk *d, uint64_t address, uint64_t len)
{
	void *p = sim_dma(d->f, address, len);

	d->nr_outside += !p;
	return p;
}

static unsigned parts_of(struct sim_disk *d, uint16_t head, struct part *parts)
{
	const struct vq_desc *desc = reach(d, d->desc, sizeof(*desc) * d->queue_size);
	unsigned n = 0;

	for (uint16_t at = head; desc && n < 3; at = desc[at].next) {
		assert_true(at < d->queue_size);
		parts[n] = (struct part){ .at = reach(d, desc[at].address, desc[at].len),
					  .len = desc[at].len,
					  .written = desc[at].flags & 2 };
		if (!parts[n++].at)
			return 0;
		if (!(desc[at].flags & 1))
			return n;
	}
	return 0;
}

/* What it was asked for; the status. */
static uint8_t transfer(struct sim_disk *d, const struct part *parts, unsigned n, uint32_t *len)
{
	uint32_t type;
	uint64_t sector;

	assert_int_equal(parts[0].len, 16);
	assert_false(parts[0].written);
	memcpy(&type, parts[0].at, 4);
	memcpy(&sector, parts[0].at + 8, 8);
	if (d->fail)
		return d->fail;
	if (type == 4)
		return 0;
	assert_int_equal(n, 3);
	if (sector > SIM_DISK_SECTORS || parts[1].len > (SIM_DISK_SECTORS - sector) * 512)
		return 1;
	assert_int_equal(parts[1].written, type == 0);
	if (type == 0) {
		memcpy(parts[1].at, d->data + sector * 512, parts[1].len);
		*len += parts[1].len;
	} else {
		memcpy(d->data + sector * 512, parts[1].at, parts[1].len);
	}
	return 0;
}

static void send(struct sim_disk *d)
{
	uint32_t control = sim_get(d->f, 0x42, 2), data;
	uint64_t address;

	if (d->queue_vector || !(control & PCI_MSIX_ENABLE) || control & PCI_MSIX_MASK_ALL ||
	    d->table[12] & 1)
		return;
	memcpy(&address, d->table, 8);
	memcpy(&data, d->table + 8, 4);
	d->nr_sent++;
	sim_deliver(d->f->sim, address, data);
}

static void tell(struct sim_disk *d, uint32_t id, uint32_t len)
{
	struct vq_used *used = reach(d, d->device, 4 + 8ul * d->queue_size);

	if (!used)
		return;
	used->ring[used->index % d->queue_size] = (struct vq_used_entry){ .id = id, .len = len };
	used->index = (uint16_t)(used->index + (d->lie == LIE_INDEX ? 3 : 1));
}

static void finish(struct sim_disk *d, uint16_t head)
{
	struct part parts[3];
	unsigned n = parts_of(d, head, parts);
	uint32_t len = 1;
	uint8_t status;

	if (!n)
		return;
	status = transfer(d, parts, n, &len);
	if (d->lie != LIE_NO_STATUS)
		*parts[n - 1].at = status;
	if (d->lie == LIE_RINGS)
		memset(sim_dma(d->f, d->desc, 16ul * d->queue_size), 0xa5, 16ul * d->queue_size);
	d->nr_done++;
	tell(d, d->lie == LIE_ID ? head + 64u : head, d->lie == LIE_LEN ? 5000 : len);
	if (d->lie == LIE_TWICE)
		tell(d, head, len);
	send(d);
}

static void work(struct sim_disk *d)
{
	const struct vq_avail *avail;

	if (!d->enabled || !(d->status & 4) || d->lie == LIE_SILENT)
		return;
	if (d->lie == LIE_LATE && d->waits < d->delay)
		return;
	avail = reach(d, d->driver, 4 + 2ul * d->queue_size);
	if (!avail)
		return;
	if (d->unordered) {
		for (uint16_t i = avail->index; i != d->seen; i--)
			finish(d, avail->ring[(i - 1u) % d->queue_size]);
		d->seen = avail->index;
	}
	while (d->seen != avail->index && !d->unordered)
		finish(d, avail->ring[d->seen++ % d->queue_size]);
}

static void on_wait(struct sim_pci *s)
{
	for (unsigned i = 0; i < s->nr_functions; i++) {
		struct sim_disk *d = s->functions[i].device;

		if (!d)
			continue;
		d->waits++;
		work(d);
	}
}

/* ---- registers ------------------------------------------------------------------------------------------ */

static uint32_t common_read(struct sim_disk *d, uint64_t offset)
{
	switch (offset) {
	case 0x04:
		return d->feature_select < 2 ? (uint32_t)(d->offered >> 32 * d->feature_select) : 0;
	case 0x10:
		return d->config_vector;
	case 0x12:
		return d->nr_queues;
	case 0x14:
		return d->status;
	case 0x15:
		return d->lie == LIE_GENERATION ? ++d->generation : d->generation;
	case 0x18:
		return d->queue_size;
	case 0x1a:
		return d->lie == LIE_VECTOR ? 0xffff : d->queue_vector;
	case 0x1e:
		return d->notify_off;
	default:
		return 0;
	}
}

static void set_half(uint64_t *v, bool high, uint32_t half)
{
	*v = high ? (*v & UINT32_MAX) | (uint64_t)half << 32 : (*v & ~(uint64_t)UINT32_MAX) | half;
}

static void set_status(struct sim_disk *d, uint8_t value)
{
	if (value) {
		/* It takes FEATURES_OK only for what it offers. */
		if (value & 8 && (d->lie == LIE_NO_FEATURES || d->agreed & ~d->offered))
			value &= (uint8_t)~8;
		d->status = value;
		return;
	}
	if (d->lie == LIE_NO_RESET)
		return;
	d->status = 0;
	d->enabled = 0;
	d->seen = 0;
	d->agreed = 0;
	d->queue_size = d->queue_max;
	d->queue_vector = d->config_vector = 0xffff;
}

static void common_write(struct sim_disk *d, uint64_t offset, uint32_t value)
{
	if (offset == 0x00)
		d->feature_select = value;
	else if (offset == 0x08)
		d->driver_select = value;
	else if (offset == 0x0c)
		set_half(&d->agreed, d->driver_select, value);
	else if (offset == 0x10)
		d->config_vector = (uint16_t)value;
	else if (offset == 0x14)
		set_status(d, (uint8_t)value);
	else if (offset == 0x18)
		d->queue_size = (uint16_t)value;
	else if (offset == 0x1a)
		d->queue_vector = (uint16_t)value;
	else if (offset == 0x1c)
		d->enabled = (uint16_t)value;
	else if (offset == 0x20 || offset == 0x24)
		set_half(&d->desc, offset & 4, value);
	else if (offset == 0x28 || offset == 0x2c)
		set_half(&d->driver, offset & 4, value);
	else if (offset == 0x30 || offset == 0x34)
		set_half(&d->device, offset & 4, value);
}

/* Both BARs lead here, with an offset of their own. */
static bool in_table(const struct sim_function *f, uint64_t offset, unsigned size)
{
	return f->sim->last_mmio >= BAR1 && offset + size <= 16;
}

static uint32_t disk_read(struct sim_function *f, uint64_t offset, unsigned size)
{
	struct sim_disk *d = f->device;
	uint32_t value = 0;

	if (in_table(f, offset, size))
		memcpy(&value, d->table + offset, size);
	else if (offset < COMMON_SIZE)
		value = common_read(d, offset);
	else if (offset >= CONFIG && offset < CONFIG + 8)
		memcpy(&value, (char *)&d->capacity + (offset - CONFIG), size);
	return value;
}

static void disk_write(struct sim_function *f, uint64_t offset, unsigned size, uint32_t value)
{
	struct sim_disk *d = f->device;

	if (in_table(f, offset, size)) {
		memcpy(d->table + offset, &value, size);
	} else if (offset < COMMON_SIZE) {
		common_write(d, offset, value);
	} else {
		assert_int_equal(offset, NOTIFY + 4u * d->notify_off);
		assert_int_equal(value, 0);
		d->nr_notified++;
		if (d->lie != LIE_LATE && !d->unordered)
			work(d);
	}
}

/* ---- building ------------------------------------------------------------------------------------------- */

static void add_window(struct sim_function *f, unsigned at, unsigned next, unsigned kind,
		       uint32_t offset, uint32_t length)
{
	sim_cap(f, at, PCI_CAP_VENDOR, next);
	sim_set(f, at + 2, 1, kind == 2 ? 20 : 16);
	sim_set(f, at + 3, 1, kind);
	sim_set(f, at + 4, 1, WINDOW_BAR);
	sim_set(f, at + 8, 4, offset);
	sim_set(f, at + 12, 4, length);
	if (kind == 2)
		sim_set(f, at + 16, 4, 4); /* bytes for each queue */
}

struct sim_function *sim_disk_add(struct sim_pci *s, struct sim_disk *d)
{
	struct sim_function *f = sim_add(s, 0, PCI_DEVFN(3, 0), PCI_VENDOR_VIRTIO,
					 VIRTIO_BLK_TRANSITIONAL, 0x010000);

	memset(d, 0, sizeof(*d));
	d->f = f;
	d->capacity = SIM_DISK_SECTORS;
	d->offered = 1ull << 32 | 1ull << 9 | 1ull << 28;
	d->queue_max = 256;
	d->nr_queues = 1;
	set_status(d, 0);
	sim_bar(f, TABLE_BAR, BAR1, 0x1000);
	sim_bar64(f, WINDOW_BAR, BAR4, 0x4000);
	sim_cap(f, 0x40, PCI_CAP_MSIX, 0x50);
	sim_allow(f, 0x42, 2, 0xc000);
	sim_set(f, 0x44, 4, TABLE_BAR);
	add_window(f, 0x50, 0x64, 1, 0, COMMON_SIZE);
	add_window(f, 0x64, 0x78, 2, NOTIFY, 0x1000);
	add_window(f, 0x78, 0, 4, CONFIG, 0x1000);
	f->device = d;
	f->mmio_read = disk_read;
	f->mmio_write = disk_write;
	s->on_wait = on_wait;
	return f;
}
