/* SPDX-License-Identifier: MIT */
/* Where devices have their memory: sizes, places, overlaps, and what cannot be. */
#include "sim_pci.h"

static struct sim_pci sim;

static int open_sim(void **state)
{
	(void)state;
	sim_open(&sim);
	return 0;
}

static struct sim_function *add(unsigned slot)
{
	return sim_add(&sim, 0, PCI_DEVFN(slot, 0), PCI_VENDOR_QEMU, 0x1111, 0x030000);
}

static void scan(void)
{
	assert_true(pci_scan(&sim.pci, &sim.platform) > 0);
}

static const struct pci_bar *bar(unsigned dev, unsigned i)
{
	return &sim.pci.devs[dev].bars[i];
}

static void assert_bar(const struct pci_bar *b, enum pci_bar_kind kind, uint64_t address,
		       uint64_t size)
{
	assert_int_equal(b->kind, kind);
	assert_int_equal(b->address, address);
	assert_int_equal(b->size, size);
}

static void sizes_are_found_and_addresses_left(void **state)
{
	struct sim_function *f = add(0);

	(void)state;
	sim_bar(f, 0, 0xfebf0000, 0x1000);
	sim_bar64(f, 1, 0x800000000ull, 0x400000000ull); /* 16 GiB */
	sim_set(f, PCI_BAR0 + 12, 4, 0xc001); /* ports */
	sim_allow(f, PCI_BAR0 + 12, 4, 0xffc0);
	sim_bar(f, 5, 0xfe000010, 16);
	sim_set(f, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_IO);
	scan();
	assert_bar(bar(0, 0), PCI_BAR_MEMORY, 0xfebf0000, 0x1000);
	assert_bar(bar(0, 1), PCI_BAR_MEMORY, 0x800000000ull, 0x400000000ull);
	assert_bar(bar(0, 2), PCI_BAR_NONE, 0, 0);
	assert_bar(bar(0, 3), PCI_BAR_PORTS, 0xc000, 64);
	assert_bar(bar(0, 4), PCI_BAR_NONE, 0, 0);
	assert_bar(bar(0, 5), PCI_BAR_MEMORY, 0xfe000010, 16);
	assert_int_equal(sim_get(f, PCI_BAR0, 4), 0xfebf0000);
	assert_int_equal(sim_get(f, PCI_BAR0 + 8, 4), 8);
	assert_int_equal(sim_get(f, PCI_BAR0 + 12, 4), 0xc001);
	assert_int_equal(sim_get(f, PCI_COMMAND, 2), PCI_COMMAND_MEMORY | PCI_COMMAND_IO);
	assert_int_equal(sim.pci.nr_faults, 0);
}

static bool decoded;

static void watch(struct sim_function *f, unsigned offset, uint32_t value)
{
	if (offset >= PCI_BAR0 && offset < PCI_BAR0 + 24 && value == UINT32_MAX)
		decoded |= sim_get(f, PCI_COMMAND, 2) & (PCI_COMMAND_MEMORY | PCI_COMMAND_IO);
}

static void a_device_does_not_decode_while_it_is_measured(void **state)
{
	struct sim_function *f = add(0);

	(void)state;
	decoded = false;
	sim_bar(f, 0, 0xfebf0000, 0x1000);
	sim_set(f, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_IO);
	f->written = watch;
	scan();
	assert_bar(bar(0, 0), PCI_BAR_MEMORY, 0xfebf0000, 0x1000);
	assert_false(decoded);
}

static void touched(struct sim_function *f, unsigned offset, uint32_t value)
{
	(void)value;
	assert_false(offset >= PCI_BAR0 && offset < PCI_BAR0 + 24);
	assert_int_not_equal(offset, PCI_COMMAND);
	(void)f;
}

static void a_host_bridge_is_not_measured(void **state)
{
	struct sim_function *f = sim_add(&sim, 0, 0, PCI_VENDOR_AMD, RS780_HOST, 0x060000);

	(void)state;
	sim_bar64(f, 2, 0xe0000000, 0x10000000);
	f->written = touched;
	scan();
	assert_bar(bar(0, 2), PCI_BAR_NONE, 0, 0);
}

static void a_bridge_has_two(void **state)
{
	struct sim_function *f = sim_bridge(&sim, 0, PCI_DEVFN(1, 0), 1, 1);

	(void)state;
	sim_bar(f, 1, 0xfebf0000, 0x1000);
	sim_set(f, PCI_BAR0 + 12, 4, 0xf0f0f0f0); /* windows: no BAR */
	scan();
	assert_bar(bar(0, 1), PCI_BAR_MEMORY, 0xfebf0000, 0x1000);
	assert_bar(bar(0, 3), PCI_BAR_NONE, 0, 0);
	assert_int_equal(sim.pci.nr_faults, 0);
}

static void assert_refused(unsigned dev, unsigned i, const char *why)
{
	assert_bar(bar(dev, i), PCI_BAR_REFUSED, 0, 0);
	assert_logged(&sim, why);
	assert_int_equal(sim.pci.nr_faults, 1);
}

static void a_size_of_holes_is_refused(void **state)
{
	struct sim_function *f = add(0);

	(void)state;
	sim_bar(f, 0, 0xfeb00000, 0x1000);
	sim_allow(f, PCI_BAR0, 4, 0xfff0f000);
	scan();
	assert_refused(0, 0, "pci 00:00.0: BAR 0 is refused: its size is no power of two");
}

static void a_64_bit_size_of_holes_is_refused(void **state)
{
	struct sim_function *f = add(0);

	(void)state;
	sim_bar64(f, 0, 0xfeb00000, 0x1000);
	sim_allow(f, PCI_BAR0 + 4, 4, 0x7fffffff);
	scan();
	assert_refused(0, 0, "its size is no power of two");
}

static void an_upper_half_that_cannot_be_set_is_none(void **state)
{
	struct sim_function *f = add(0);

	(void)state;
	sim_bar64(f, 0, 0xfeb00000, 0x1000);
	sim_allow(f, PCI_BAR0 + 4, 4, 0);
	scan();
	assert_refused(0, 0, "its size is no power of two");
}

/* A bit of the address that is there only as long as nobody measures. */
static uint32_t shy(struct sim_function *f, unsigned offset, uint32_t value)
{
	(void)f;
	return offset == PCI_BAR0 + 8 && value != 0xfffff000 ? value | 0x800 : value;
}

static void an_address_inside_of_its_own_size_is_refused(void **state)
{
	struct sim_function *f = add(0);

	(void)state;
	sim_bar(f, 2, 0xfeb00000, 0x1000);
	f->read = shy;
	scan();
	assert_refused(0, 2, "BAR 2 is refused: its address is not a multiple of its size");
}

static void a_64_bit_bar_without_an_upper_half_is_refused(void **state)
{
	struct sim_function *f = add(0);

	(void)state;
	sim_set(f, PCI_BAR0 + 20, 4, 0xfeb00004);
	sim_allow(f, PCI_BAR0 + 20, 4, 0xfffff000);
	scan();
	assert_refused(0, 5, "its upper half would lie outside");
	assert_int_equal(sim_get(f, 0x28, 4), 0);
}

static void an_unknown_type_is_refused(void **state)
{
	struct sim_function *f = add(0);

	(void)state;
	sim_set(f, PCI_BAR0, 4, 0xfeb00006);
	scan();
	assert_refused(0, 0, "it is of no known type");
}

static uint32_t forgetful(struct sim_function *f, unsigned offset, uint32_t value)
{
	return offset == PCI_BAR0 && f->device ? value + 0x10000 : value;
}

static void remember(struct sim_function *f, unsigned offset, uint32_t value)
{
	(void)value;
	if (offset == PCI_BAR0)
		f->device = f; /* from the first write on it reads as something else */
}

static void an_address_that_does_not_stay_is_refused(void **state)
{
	struct sim_function *f = add(0);

	(void)state;
	sim_bar(f, 0, 0xfeb00000, 0x1000);
	f->read = forgetful;
	f->written = remember;
	scan();
	assert_refused(0, 0, "it does not keep its address");
}

static void nor_does_half_of_one_that_does_not(void **state)
{
	struct sim_function *f = add(0);

	(void)state;
	sim_bar64(f, 0, 0xfeb00000, 0x1000);
	f->read = forgetful;
	f->written = remember;
	scan();
	assert_refused(0, 0, "it does not keep its address");
}

static void of_two_that_overlap_the_first_stays(void **state)
{
	(void)state;
	sim_bar(add(0), 0, 0xfe000000, 0x100000);
	sim_bar(add(1), 1, 0xfe0ff000, 0x1000);
	sim_bar(add(2), 1, 0xfe100000, 0x1000); /* right behind it */
	scan();
	assert_bar(bar(0, 0), PCI_BAR_MEMORY, 0xfe000000, 0x100000);
	assert_bar(bar(2, 1), PCI_BAR_MEMORY, 0xfe100000, 0x1000);
	assert_refused(1, 1, "pci 00:01.0: BAR 1 is refused: it overlaps");
}

static void the_bars_of_a_device_may_not_overlap_either(void **state)
{
	struct sim_function *f = add(0);

	(void)state;
	sim_bar(f, 0, 0xfe000000, 0x1000);
	sim_bar(f, 3, 0xfe000000, 0x1000);
	scan();
	assert_refused(0, 3, "it overlaps");
	assert_bar(bar(0, 0), PCI_BAR_MEMORY, 0xfe000000, 0x1000);
}

static void all_of_memory_overlaps_everything(void **state)
{
	struct sim_function *f = add(0);

	(void)state;
	sim_bar(f, 0, 0xfe000000, 0x1000);
	sim_bar64(f, 1, 1ull << 63, 1ull << 63); /* its end is 2^64 */
	sim_bar64(add(1), 0, 0xfffffffffffff000ull, 0x1000);
	scan();
	assert_bar(bar(0, 1), PCI_BAR_MEMORY, 1ull << 63, 1ull << 63);
	assert_refused(1, 0, "it overlaps");
}

static void two_that_nobody_has_placed_do_not_overlap(void **state)
{
	(void)state;
	sim_bar(add(0), 0, 0, 0x1000);
	sim_bar(add(1), 0, 0, 0x1000);
	scan();
	assert_int_equal(sim.pci.nr_faults, 0);
}

/* Known to a fixup of the header pass only. */
static void ports_of_a_piix4_overlap_too(void **state)
{
	struct sim_function *f = sim_add(&sim, 0, 0, PCI_VENDOR_INTEL, PIIX4_POWER, 0x068000), *g;

	(void)state;
	sim_set(f, 0x40, 4, 0xb001);
	sim_set(f, 0x80, 1, 1);
	g = add(1);
	sim_set(g, PCI_BAR0, 4, 0xb021);
	sim_allow(g, PCI_BAR0, 4, 0xffe0);
	scan();
	assert_bar(bar(0, 0), PCI_BAR_PORTS, 0xb000, 64);
	assert_bar(bar(0, 1), PCI_BAR_NONE, 0, 0);
	assert_refused(1, 0, "it overlaps");
}

static void mapping_stays_inside(void **state)
{
	struct sim_function *f = add(0);
	const struct pci_dev *dev = &sim.pci.devs[0];
	struct mmio m;

	(void)state;
	sim_bar(f, 0, 0xfe000000, 0x4000);
	sim_bar(f, 1, 0, 0x1000); /* not placed */
	sim_bar(f, 2, 0x100000, 0x1000); /* over memory */
	sim_set(f, PCI_BAR0 + 12, 4, 0xc001);
	sim_allow(f, PCI_BAR0 + 12, 4, 0xffc0);
	sim_set(f, PCI_BAR0 + 16, 4, 6);
	scan();
	assert_int_equal(pci_map_bar(dev, 0, 0x3000, 0x1000, &m), 0);
	assert_int_equal(m.base, 0xfe003000);
	assert_true(sim_get(f, PCI_COMMAND, 2) & PCI_COMMAND_MEMORY);
	assert_int_equal(pci_map_bar(dev, 0, 0, 0x4000, &m), 0);
	assert_int_equal(pci_map_bar(dev, 0, 1, 0x4000, &m), -AVM_EINVAL);
	assert_int_equal(pci_map_bar(dev, 0, 0x4000, 1, &m), -AVM_EINVAL);
	assert_int_equal(pci_map_bar(dev, 0, 0, 0, &m), -AVM_EINVAL);
	assert_int_equal(pci_map_bar(dev, 0, UINT64_MAX, 2, &m), -AVM_EINVAL);
	assert_int_equal(pci_map_bar(dev, 0, 2, UINT64_MAX, &m), -AVM_EINVAL);
	assert_int_equal(pci_map_bar(dev, 1, 0, 16, &m), -AVM_ENXIO);
	assert_int_equal(pci_map_bar(dev, 2, 0, 16, &m), -AVM_EBUSY);
	assert_int_equal(pci_map_bar(dev, 3, 0, 16, &m), -AVM_ENXIO);
	assert_int_equal(pci_map_bar(dev, 4, 0, 16, &m), -AVM_ENXIO);
	assert_int_equal(pci_map_bar(dev, 5, 0, 16, &m), -AVM_ENXIO);
	assert_int_equal(pci_map_bar(dev, 6, 0, 16, &m), -AVM_ENXIO);
	assert_int_equal(pci_map_bar(dev, 255, 0, 16, &m), -AVM_ENXIO);
}

static uint64_t read_at;

static uint32_t mmio_hook(struct sim_function *f, uint64_t offset, unsigned size)
{
	(void)f;
	(void)size;
	read_at = offset;
	return 0x12345678;
}

static void written_hook(struct sim_function *f, uint64_t offset, unsigned size, uint32_t value)
{
	(void)f;
	(void)size;
	(void)value;
	read_at = offset;
}

static void a_window_is_not_left(void **state)
{
	struct sim_function *f = add(0);
	struct mmio m;

	(void)state;
	f->mmio_read = mmio_hook;
	f->mmio_write = written_hook;
	sim_bar(f, 0, 0xfe000000, 0x1000);
	scan();
	assert_int_equal(pci_map_bar(&sim.pci.devs[0], 0, 0x10, 6, &m), 0);
	assert_int_equal(mmio_read(&m, 0, 4), 0x12345678);
	assert_int_equal(read_at, 0x10);
	assert_int_equal(mmio_read(&m, 4, 2), 0x5678);
	assert_int_equal(read_at, 0x14);
	read_at = 0;
	assert_int_equal(mmio_read(&m, 4, 4), UINT32_MAX); /* half outside */
	assert_int_equal(mmio_read(&m, 2, 4), UINT32_MAX); /* not aligned */
	assert_int_equal(mmio_read(&m, 6, 1), UINT32_MAX);
	assert_int_equal(mmio_read(&m, UINT64_MAX, 1), UINT32_MAX);
	mmio_write(&m, 6, 2, 0);
	m.size = 2;
	assert_int_equal(mmio_read(&m, 0, 4), UINT32_MAX); /* larger than the window */
	assert_logged(&sim, "lie outside a window of 2");
	m.size = 6;
	mmio_write(&m, UINT64_MAX - 3, 4, 0);
	assert_int_equal(read_at, 0);
	assert_int_equal(sim_count(&sim, "lie outside a window of 6"), 6);
}

static void a_line_knows_numbers_and_has_an_end(void **state)
{
	char full[400];

	(void)state;
	memset(full, 'x', sizeof(full));
	full[399] = '\0';
	platform_log(&sim.platform, "%s %u %x %04x %02x %llx %%", "text", 4294967295u, 0xabcu, 0xau,
		     0x123u, 0xfedcba9876543210ull);
	assert_string_equal(sim.log, "text 4294967295 abc 000a 123 fedcba9876543210 %\n");
	platform_log(&sim.platform, "%s", full);
	assert_int_equal(sim.log_len, 48 + 160);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, open_sim)
	const struct CMUnitTest tests[] = {
		TEST(sizes_are_found_and_addresses_left),
		TEST(a_device_does_not_decode_while_it_is_measured),
		TEST(a_host_bridge_is_not_measured),
		TEST(a_bridge_has_two),
		TEST(a_size_of_holes_is_refused),
		TEST(a_64_bit_size_of_holes_is_refused),
		TEST(an_upper_half_that_cannot_be_set_is_none),
		TEST(an_address_inside_of_its_own_size_is_refused),
		TEST(a_64_bit_bar_without_an_upper_half_is_refused),
		TEST(an_unknown_type_is_refused),
		TEST(an_address_that_does_not_stay_is_refused),
		TEST(nor_does_half_of_one_that_does_not),
		TEST(of_two_that_overlap_the_first_stays),
		TEST(the_bars_of_a_device_may_not_overlap_either),
		TEST(all_of_memory_overlaps_everything),
		TEST(two_that_nobody_has_placed_do_not_overlap),
		TEST(ports_of_a_piix4_overlap_too),
		TEST(mapping_stays_inside),
		TEST(a_window_is_not_left),
		TEST(a_line_knows_numbers_and_has_an_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
