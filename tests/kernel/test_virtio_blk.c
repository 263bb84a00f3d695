/* SPDX-License-Identifier: MIT */
/* The disk, and swap slots on it: when all is well, when a read or write fails, and when the device lies. */
#include "sim_disk.h"
#include "vswap.h"

static struct sim_pci sim;
static struct sim_disk disk;
static struct vblk blk;
static struct dma_page buffer;

static int open_sim(void **state)
{
	(void)state;
	sim_open(&sim);
	sim_disk_add(&sim, &disk);
	memset(&blk, 0, sizeof(blk));
	assert_int_equal(sim.platform.dma_take(&sim, &buffer), 0);
	return 0;
}

static int close_sim(void **state)
{
	(void)state;
	vblk_close(&blk);
	vblk_close(&blk);
	sim.platform.dma_give(&sim, &buffer);
	sim_close(&sim);
	return 0;
}

static void reopen(void)
{
	close_sim(NULL);
	open_sim(NULL);
}

static bool bind(void)
{
	assert_int_equal(pci_scan(&sim.pci, &sim.platform), 1);
	return pci_bind(&sim.pci, &vblk_driver, &blk) == 1;
}

static void fill(uint8_t byte)
{
	memset(buffer.memory, byte, DMA_PAGE_SIZE);
}

static bool filled(const void *memory, uint8_t byte)
{
	const uint8_t *p = memory;

	for (unsigned i = 0; i < DMA_PAGE_SIZE; i++) {
		if (p[i] != byte)
			return false;
	}
	return true;
}

/* ---- it works ------------------------------------------------------------------------------------------ */

static void what_was_written_is_read(void **state)
{
	(void)state;
	assert_true(bind());
	assert_int_equal(blk.sectors, SIM_DISK_SECTORS);
	assert_int_equal(sim.pci.nr_faults, 0);
	for (unsigned i = 0; i < 128; i++) {
		fill((uint8_t)i);
		assert_int_equal(vswap_write(&blk, i, buffer.address), 0);
	}
	for (unsigned i = 0; i < 128; i++) {
		fill(0xff);
		assert_int_equal(vswap_read(&blk, i, buffer.address), 0);
		assert_true(filled(buffer.memory, (uint8_t)i));
		assert_true(filled(disk.data + 4096 * i, (uint8_t)i));
	}
	assert_int_equal(vblk_rw(&blk, VBLK_FLUSH, 0, 0, 0), 0);
	assert_int_equal(disk.nr_notified, 257);
	assert_int_equal(blk.nr_reads, 128);
	assert_int_equal(blk.nr_writes, 128);
	assert_int_equal(blk.nr_errors, 0);
	assert_int_equal(disk.nr_outside, 0);
	/* Of what is offered, what is known. */
	assert_int_equal(disk.agreed, 1ull << 32 | 1ull << 9);
}

static void each_request_is_a_message(void **state)
{
	(void)state;
	assert_true(bind());
	assert_logged(&sim, "pci 00:03.0: MSI-X, vector 0, entry 0 of 1");
	assert_logged(&sim, "virtio-blk: 400 sectors, a queue of 64");
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(vswap_write(&blk, i, buffer.address), 0);
	assert_int_equal(disk.nr_sent, 10);
	assert_int_equal(blk.interrupts, 10);
}

static void without_messages_it_is_polled(void **state)
{
	(void)state;
	assert_int_equal(pci_scan(&sim.pci, &sim.platform), 1);
	pci_flag_bus(&sim.pci.buses[0], PCI_BUS_NO_MSI, "a test says so");
	assert_int_equal(pci_bind(&sim.pci, &vblk_driver, &blk), 1);
	assert_logged(&sim, "pci 00:03.0: no MSI: a test says so\npci 00:03.0: virtio-blk: polled");
	fill(7);
	assert_int_equal(vswap_write(&blk, 3, buffer.address), 0);
	assert_true(filled(disk.data + 3 * 4096, 7));
	assert_int_equal(blk.interrupts, 0);
	assert_int_equal(disk.queue_vector, 0xffff);
}

static void several_requests_are_under_way_and_come_back_in_any_order(void **state)
{
	int requests[VBLK_REQUESTS];

	(void)state;
	disk.unordered = true;
	assert_true(bind());
	for (unsigned i = 0; i < SIM_DISK_SECTORS; i++)
		memset(disk.data + i * 512, (int)i + 1, 512);
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < 8; i++) {
			requests[i] = vblk_start(&blk, VBLK_READ, i, buffer.address + 512 * i, 512);
			assert_true(requests[i] >= 0);
		}
		for (unsigned i = 0; i < 8; i++)
			assert_int_equal(vblk_wait(&blk, requests[i]), 0);
		for (unsigned i = 0; i < DMA_PAGE_SIZE; i++)
			assert_int_equal(((uint8_t *)buffer.memory)[i], i / 512 + 1);
		fill(0);
	}
}

static void too_many_requests_are_told_to_come_back(void **state)
{
	int requests[VBLK_REQUESTS];

	(void)state;
	disk.lie = LIE_LATE;
	disk.delay = 100;
	assert_true(bind());
	for (unsigned i = 0; i < VBLK_REQUESTS; i++) {
		requests[i] = vblk_start(&blk, VBLK_WRITE, i, buffer.address, 512);
		assert_int_equal(requests[i], i);
	}
	assert_int_equal(vblk_start(&blk, VBLK_WRITE, 0, buffer.address, 512), -AVM_EAGAIN);
	for (unsigned i = 0; i < VBLK_REQUESTS; i++)
		assert_int_equal(vblk_wait(&blk, requests[i]), 0);
	assert_int_equal(vblk_rw(&blk, VBLK_WRITE, 0, buffer.address, 512), 0);
}

static int under_way[VBLK_REQUESTS];
static unsigned nr_under_way;

/* Somebody else's turn: he takes one of his. */
static void others_wait(struct sim_pci *s)
{
	s->on_wait = NULL;
	assert_int_equal(vblk_wait(&blk, under_way[--nr_under_way]), 0);
	s->on_wait = nr_under_way ? others_wait : NULL;
}

static void a_slot_waits_until_the_table_has_room(void **state)
{
	(void)state;
	assert_true(bind());
	for (nr_under_way = 0; nr_under_way < VBLK_REQUESTS; nr_under_way++)
		under_way[nr_under_way] = vblk_start(&blk, VBLK_READ, 0, buffer.address, 512);
	sim.on_wait = others_wait;
	assert_int_equal(vswap_write(&blk, 3, buffer.address), 0);
	assert_int_equal(nr_under_way, VBLK_REQUESTS - 1);
	while (nr_under_way)
		others_wait(&sim);
}

static void a_small_queue_is_full_before_the_table_is(void **state)
{
	int requests[2];

	(void)state;
	disk.queue_max = 8;
	disk.queue_size = 8;
	disk.lie = LIE_LATE;
	disk.delay = 3;
	assert_true(bind());
	for (unsigned i = 0; i < 2; i++)
		requests[i] = vblk_start(&blk, VBLK_WRITE, i, buffer.address, 512);
	assert_int_equal(vblk_start(&blk, VBLK_WRITE, 2, buffer.address, 512), -AVM_EAGAIN);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(vblk_wait(&blk, requests[i]), 0);
	assert_int_equal(vblk_rw(&blk, VBLK_WRITE, 2, buffer.address, 512), 0);
}

/* ---- what cannot be asked -------------------------------------------------------------------------------- */

static void a_request_lies_on_the_disk(void **state)
{
	static const struct {
		uint64_t sector;
		uint32_t len;
		int err;
	} requests[] = {
		{ 1023, 512, 0 },
		{ 1016, 4096, 0 },
		{ 1017, 4096, -AVM_EINVAL },
		{ 1024, 512, -AVM_EINVAL },
		{ UINT64_MAX, 512, -AVM_EINVAL },
		{ UINT64_MAX - 7, 4096, -AVM_EINVAL },
		{ 0, 0, -AVM_EINVAL },
		{ 0, 100, -AVM_EINVAL },
		{ 0, 513, -AVM_EINVAL },
		{ 0, 0xfffffe00, -AVM_EINVAL },
	};

	(void)state;
	assert_true(bind());
	for (unsigned i = 0; i < sizeof(requests) / sizeof(requests[0]); i++)
		assert_int_equal(vblk_rw(&blk, VBLK_READ, requests[i].sector, buffer.address,
					 requests[i].len),
				 requests[i].err);
	assert_int_equal(vswap_read(&blk, 127, buffer.address), 0);
	assert_int_equal(vswap_read(&blk, 128, buffer.address), -AVM_EINVAL);
	assert_int_equal(vswap_write(&blk, UINT32_MAX, buffer.address), -AVM_EINVAL);
	assert_int_equal(disk.nr_done, 3);
}

static void without_a_disk_everything_says_so(void **state)
{
	(void)state;
	assert_int_equal(vswap_slots(&blk, 1000), -AVM_ENODEV);
	assert_int_equal(vswap_write(&blk, 0, buffer.address), -AVM_ENODEV);
	assert_int_equal(vswap_read(&blk, 0, buffer.address), -AVM_ENODEV);
}

static void slots_are_whole_pages(void **state)
{
	static const struct {
		uint64_t sectors;
		int slots;
	} disks[] = { { 0, -AVM_ENOSPC }, { 7, -AVM_ENOSPC }, { 8, 1 },	      { 15, 1 },
		      { 16, 2 },	  { 1024, 128 },      { 8000, 1000 }, { 1ull << 50, 1000 } };

	(void)state;
	for (unsigned i = 0; i < sizeof(disks) / sizeof(disks[0]); i++) {
		reopen();
		disk.capacity = disks[i].sectors;
		assert_true(bind());
		assert_int_equal(vswap_slots(&blk, 1000), disks[i].slots);
	}
}

static void a_read_only_disk_is_no_swap(void **state)
{
	(void)state;
	disk.offered |= 1ull << 5;
	assert_true(bind());
	assert_logged(&sim, "read-only");
	assert_int_equal(vswap_slots(&blk, 1000), -AVM_EACCES);
	assert_int_equal(vblk_rw(&blk, VBLK_WRITE, 0, buffer.address, 512), -AVM_EACCES);
	assert_int_equal(vblk_rw(&blk, VBLK_READ, 0, buffer.address, 512), 0);
}

static void a_disk_without_a_cache_is_not_flushed(void **state)
{
	(void)state;
	disk.offered &= ~(1ull << 9);
	assert_true(bind());
	assert_int_equal(vblk_rw(&blk, VBLK_FLUSH, 0, 0, 0), -AVM_EOPNOTSUPP);
}

/* ---- errors ------------------------------------------------------------------------------------------------ */

static void a_request_that_fails_is_an_error_and_the_next_one_is_none(void **state)
{
	(void)state;
	assert_true(bind());
	for (unsigned status = 1; status < 256; status++) {
		disk.fail = (uint8_t)status;
		assert_int_equal(vswap_read(&blk, 1, buffer.address), -AVM_EIO);
		disk.fail = 0;
		assert_int_equal(vswap_read(&blk, 1, buffer.address), 0);
	}
	assert_int_equal(blk.nr_errors, 255);
	assert_int_equal(sim.pci.nr_faults, 0);
}

static void done_without_a_status_is_an_error(void **state)
{
	(void)state;
	assert_true(bind());
	disk.lie = LIE_NO_STATUS;
	assert_int_equal(vswap_read(&blk, 1, buffer.address), -AVM_EIO);
	disk.lie = LIE_NONE;
	assert_int_equal(vswap_read(&blk, 1, buffer.address), 0);
}

static void rings_that_are_written_over_harm_nobody(void **state)
{
	(void)state;
	assert_true(bind());
	disk.lie = LIE_RINGS;
	for (unsigned i = 0; i < 200; i++)
		assert_int_equal(vswap_write(&blk, i % 128, buffer.address), 0);
	assert_int_equal(blk.queue.nr_free, 64);
}

/* The first request fails, and all others at once; the device has no right to our memory any more. */
static void assert_given_up(enum sim_lie lie, const char *why)
{
	uint64_t before;

	reopen();
	assert_true(bind());
	disk.lie = lie;
	assert_int_equal(vswap_write(&blk, 0, buffer.address), -AVM_EIO);
	assert_logged(&sim, why);
	assert_int_equal(sim_get(disk.f, PCI_COMMAND, 2) & PCI_COMMAND_MASTER, 0);
	assert_int_equal(sim.nr_vectors, 0);
	before = sim.now;
	assert_int_equal(vswap_write(&blk, 0, buffer.address), -AVM_EIO);
	assert_int_equal(vswap_read(&blk, 0, buffer.address), -AVM_EIO);
	assert_int_equal(sim.now, before); /* at once */
	assert_int_equal(sim_count(&sim, "given up"), 1);
}

static void a_device_that_lies_is_given_up(void **state)
{
	(void)state;
	assert_given_up(LIE_SILENT, "given up: it does not answer");
	assert_given_up(LIE_INDEX, "given up: it is done with more than it was given");
	assert_given_up(LIE_ID, "given up: it is done with a descriptor that there is not");
	assert_given_up(LIE_TWICE, "given up: it is done with more than it was given");
	assert_given_up(LIE_LEN, "given up: it has written more than there was room for");
}

static void all_that_is_under_way_fails_together(void **state)
{
	int requests[5];

	(void)state;
	assert_true(bind());
	disk.lie = LIE_SILENT;
	for (unsigned i = 0; i < 5; i++)
		requests[i] = vblk_start(&blk, VBLK_WRITE, i, buffer.address, 512);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(vblk_wait(&blk, requests[i]), -AVM_EIO);
	assert_int_equal(blk.nr_errors, 5);
}

/* ---- devices that are not to be had ---------------------------------------------------------------------- */

/* Everything that was taken is given back. */
static void assert_refused(const char *why)
{
	assert_false(bind());
	assert_logged(&sim, why);
	assert_null(blk.virtio.dev);
	assert_int_equal(sim.nr_pages, 1); /* the test's own */
	assert_int_equal(sim.nr_vectors, 0);
	assert_int_equal(vswap_slots(&blk, 10), -AVM_ENODEV);
	reopen();
}

static void a_device_that_does_not_start_is_refused(void **state)
{
	(void)state;
	disk.lie = LIE_NO_RESET;
	disk.status = 1;
	assert_refused("virtio: it does not reset");
	disk.lie = LIE_NO_FEATURES;
	assert_refused("virtio: it does not agree to what it offers");
	disk.lie = LIE_GENERATION;
	assert_refused("virtio: its configuration does not come to rest");
	disk.lie = LIE_VECTOR;
	assert_refused("virtio: it does not take the vector of its queue");
	disk.offered = 1ull << 9;
	assert_refused("virtio: it is older than version 1");
	disk.capacity = UINT64_MAX;
	assert_refused("a disk of ffffffffffffffff sectors cannot be");
	sim_set(disk.f, PCI_VENDOR, 4, PCI_VENDOR_VIRTIO | VIRTIO_BLK << 16);
	assert_true(bind());
}

static void a_queue_of_no_possible_size_is_refused(void **state)
{
	static const uint16_t sizes[] = { 0, 3, 5, 6, 12, 100, 255, 257, 0x7fff, 0xffff };

	(void)state;
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		disk.queue_max = sizes[i];
		assert_refused("entries cannot be");
	}
	disk.nr_queues = 0;
	assert_refused("entries cannot be");
	for (unsigned size = 4; size <= 0x8000; size *= 2) {
		disk.queue_max = (uint16_t)size;
		assert_true(bind());
		assert_int_equal(disk.queue_size, size < VQ_MAX ? size : VQ_MAX);
		assert_int_equal(vswap_write(&blk, 0, buffer.address), 0);
		reopen();
	}
}

static void a_queue_is_notified_inside_the_window(void **state)
{
	(void)state;
	disk.notify_off = 0x3ff;
	assert_true(bind());
	assert_int_equal(vswap_write(&blk, 0, buffer.address), 0);
	reopen();
	disk.notify_off = 0x400;
	assert_refused("notified outside the window");
	disk.notify_off = 0xffff;
	sim_set(disk.f, 0x74, 4, UINT32_MAX);
	assert_refused("notified outside the window");
	disk.notify_off = 1;
	sim_set(disk.f, 0x74, 4, 1);
	assert_refused("notified outside the window");
}

static void windows_lie_in_bars_and_are_large_enough(void **state)
{
	static const struct {
		unsigned at; /* in configuration space */
		unsigned size;
		uint32_t value;
		const char *why;
	} lies[] = {
		{ 0x54, 1, 0, "virtio: window 1 of 38 bytes cannot be" },
		{ 0x54, 1, 6, "virtio: window 1 of 38 bytes cannot be" },
		{ 0x54, 1, 255, "virtio: window 1 of 38 bytes cannot be" },
		{ 0x58, 4, 0x4000, "virtio: window 1 of 38 bytes cannot be" },
		{ 0x58, 4, 0x3fcc, "virtio: window 1 of 38 bytes cannot be" },
		{ 0x58, 4, UINT32_MAX, "virtio: window 1 of 38 bytes cannot be" },
		{ 0x5c, 4, 0x37, "virtio: window 1 of 37 bytes cannot be" },
		{ 0x5c, 4, 0, "virtio: window 1 of 0 bytes cannot be" },
		{ 0x5c, 4, UINT32_MAX, "virtio: window 1 of ffffffff bytes cannot be" },
		{ 0x70, 4, 1, "virtio: window 2 of 1 bytes cannot be" },
		{ 0x80, 4, 0x3fff, "virtio: window 4 of 1000 bytes cannot be" },
		{ 0x84, 4, 0, "virtio: window 4 of 0 bytes cannot be" },
		{ 0x84, 4, 7, "virtio-blk: it does not tell its capacity" },
		{ 0x53, 1, 9, "virtio: it has no modern interface" },
		{ 0x67, 1, 9, "virtio: it has no modern interface" },
		{ 0x7b, 1, 9, "virtio-blk: it does not tell its capacity" },
		{ 0x52, 1, 15, "virtio: it has no modern interface" },
		{ 0x66, 1, 19, "virtio: it has no modern interface" },
		{ 0x50, 1, 1, "virtio: it has no modern interface" },
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		sim_set(disk.f, lies[i].at, lies[i].size, lies[i].value);
		assert_refused(lies[i].why);
	}
}

/* The first capability, at the end of the space, is too short to say where its window is. */
static void a_window_of_which_half_is_told_is_none(void **state)
{
	(void)state;
	sim_set(disk.f, PCI_CAPS, 1, 0xf4);
	sim_cap(disk.f, 0xf4, PCI_CAP_VENDOR, 0x40);
	sim_set(disk.f, 0xf6, 2, 0x0214);
	assert_true(bind());
}

static void registers_over_memory_are_not_had(void **state)
{
	(void)state;
	sim_bar64(disk.f, 4, 0x100000, 0x4000);
	assert_refused("BAR 4 cannot be mapped at 100000: something else lies there");
	sim_bar(disk.f, 1, 0x100000, 0x1000);
	assert_true(bind());
	assert_logged(&sim, "BAR 1 cannot be mapped at 100000: something else lies there");
	assert_logged(&sim, "virtio-blk: polled");
	assert_int_equal(vswap_write(&blk, 0, buffer.address), 0);
}

static void a_disk_can_be_closed_and_taken_again(void **state)
{
	(void)state;
	assert_true(bind());
	fill(9);
	assert_int_equal(vswap_write(&blk, 0, buffer.address), 0);
	vblk_close(&blk);
	assert_int_equal(sim.nr_pages, 1);
	assert_int_equal(vswap_read(&blk, 0, buffer.address), -AVM_ENODEV);
	assert_int_equal(pci_bind(&sim.pci, &vblk_driver, &blk), 1);
	fill(0);
	assert_int_equal(vswap_read(&blk, 0, buffer.address), 0);
	assert_true(filled(buffer.memory, 9));
}

static void without_memory_it_is_not_taken(void **state)
{
	(void)state;
	for (unsigned pages = 0; pages < 2; pages++) {
		sim.pages_left = pages;
		assert_false(bind());
		assert_null(blk.virtio.dev);
		assert_int_equal(sim.nr_pages, 1);
	}
	sim.pages_left = 2;
	sim.vectors_left = 0;
	assert_true(bind());
	assert_logged(&sim, "virtio-blk: polled");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_sim, close_sim)
	const struct CMUnitTest tests[] = {
		TEST(what_was_written_is_read),
		TEST(each_request_is_a_message),
		TEST(without_messages_it_is_polled),
		TEST(several_requests_are_under_way_and_come_back_in_any_order),
		TEST(too_many_requests_are_told_to_come_back),
		TEST(a_slot_waits_until_the_table_has_room),
		TEST(a_small_queue_is_full_before_the_table_is),
		TEST(a_request_lies_on_the_disk),
		TEST(without_a_disk_everything_says_so),
		TEST(slots_are_whole_pages),
		TEST(a_read_only_disk_is_no_swap),
		TEST(a_disk_without_a_cache_is_not_flushed),
		TEST(a_request_that_fails_is_an_error_and_the_next_one_is_none),
		TEST(done_without_a_status_is_an_error),
		TEST(rings_that_are_written_over_harm_nobody),
		TEST(a_device_that_lies_is_given_up),
		TEST(all_that_is_under_way_fails_together),
		TEST(a_device_that_does_not_start_is_refused),
		TEST(a_queue_of_no_possible_size_is_refused),
		TEST(a_queue_is_notified_inside_the_window),
		TEST(windows_lie_in_bars_and_are_large_enough),
		TEST(a_window_of_which_half_is_told_is_none),
		TEST(registers_over_memory_are_not_had),
		TEST(a_disk_can_be_closed_and_taken_again),
		TEST(without_memory_it_is_not_taken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
