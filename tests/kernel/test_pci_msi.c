/* SPDX-License-Identifier: MIT */
/* Interrupts by message: who may, how they are set up, and who says no. */
#include <stdio.h>

#include "gfx.h"
#include "sim_pci.h"

static struct sim_pci sim;
static unsigned came;

static void handler(void *arg)
{
	assert_ptr_equal(arg, &sim);
	came++;
}

static int open_sim(void **state)
{
	(void)state;
	sim_open(&sim);
	came = 0;
	return 0;
}

static int close_sim(void **state)
{
	(void)state;
	sim_close(&sim);
	return 0;
}

static struct sim_function *add(unsigned bus, unsigned slot)
{
	return sim_add(&sim, bus, PCI_DEVFN(slot, 0), PCI_VENDOR_QEMU, 0x1111, 0x028000);
}

static struct pci_dev *scan(unsigned bus, unsigned slot)
{
	assert_true(pci_scan(&sim.pci, &sim.platform) > 0);
	return sim_found(&sim, bus, PCI_DEVFN(slot, 0));
}

static void assert_off(const struct sim_function *f, const struct pci_dev *dev)
{
	assert_int_equal(dev->irq, PCI_IRQ_NONE);
	assert_int_equal(sim.nr_vectors, 0);
	assert_int_equal(sim_get(f, PCI_COMMAND, 2) & PCI_COMMAND_NO_INTX, 0);
}

/* ---- MSI ---------------------------------------------------------------------------------------------- */

static void a_message_arrives_until_it_is_disabled(void **state)
{
	struct sim_function *f = add(0, 3);
	struct pci_dev *dev;

	(void)state;
	sim_msi(f, 0x40);
	dev = scan(0, 3);
	assert_false(sim_send_msi(f));
	assert_int_equal(pci_enable_msi(dev, handler, &sim), 0);
	assert_logged(&sim, "pci 00:03.0: MSI, vector 0");
	assert_int_equal(dev->irq, PCI_IRQ_MSI);
	assert_true(sim_get(f, PCI_COMMAND, 2) & PCI_COMMAND_NO_INTX);
	for (unsigned i = 0; i < 3; i++)
		assert_true(sim_send_msi(f));
	assert_int_equal(came, 3);
	assert_int_equal(pci_enable_msi(dev, handler, &sim), -AVM_EBUSY);
	assert_int_equal(pci_enable_msix(dev, handler, &sim), -AVM_EBUSY);
	pci_disable_messages(dev);
	assert_false(sim_send_msi(f));
	assert_off(f, dev);
	pci_disable_messages(dev);
	assert_int_equal(pci_enable_msi(dev, handler, &sim), 0);
	pci_disable_messages(dev);
}

/* All four shapes: an address of one or two halves, with masks or without. What the firmware left is set right. */
static void every_shape_of_the_capability_is_written_where_it_belongs(void **state)
{
	(void)state;
	for (unsigned shape = 0; shape < 4; shape++) {
		uint32_t flags = (shape & 1 ? PCI_MSI_64 : 0) | (shape & 2 ? PCI_MSI_MASKS : 0);
		unsigned data = shape & 1 ? 12 : 8, size = data + (shape & 2 ? 12u : 2u);
		unsigned at = (PCI_CONFIG_SIZE - size) & 0xfc;
		struct sim_function *f;
		struct pci_dev *dev;

		sim_open(&sim);
		f = add(0, 0);
		sim_cap(f, at, PCI_CAP_MSI, 0);
		sim_set(f, at + 2, 2, flags | 0x3e); /* of 8 messages all are in use */
		memset(f->writable + at + 2, 0xff, size - 2);
		f->writable[at + 2] = 0x71;
		for (unsigned i = 4; i < size; i++)
			f->config[at + i] = 0xff;
		dev = scan(0, 0);
		assert_int_equal(pci_enable_msi(dev, handler, &sim), 0);
		assert_int_equal(sim_get(f, at + 2, 2) & 0x71, PCI_MSI_ENABLE);
		assert_int_equal(sim_get(f, at + 4, 4), SIM_VECTOR_ADDRESS);
		if (shape & 1)
			assert_int_equal(sim_get(f, at + 8, 4), 0);
		assert_int_equal(sim_get(f, at + data, 2), SIM_VECTOR_DATA);
		if (shape & 2)
			assert_int_equal(sim_get(f, at + data + 4, 4), 0);
		pci_disable_messages(dev);
	}
}

static void a_capability_that_does_not_fit_is_refused(void **state)
{
	(void)state;
	for (unsigned shape = 0; shape < 4; shape++) {
		uint32_t flags = (shape & 1 ? PCI_MSI_64 : 0) | (shape & 2 ? PCI_MSI_MASKS : 0);
		unsigned size = (shape & 1 ? 12u : 8u) + (shape & 2 ? 12u : 2u);
		unsigned at = ((PCI_CONFIG_SIZE - size) & 0xfc) + 4;
		struct sim_function *f;
		struct pci_dev *dev;

		sim_open(&sim);
		f = add(0, 0);
		sim_cap(f, at, PCI_CAP_MSI, 0);
		sim_set(f, at + 2, 2, flags);
		dev = scan(0, 0);
		assert_int_equal(pci_enable_msi(dev, handler, &sim), -AVM_EIO);
		assert_logged(&sim, " does not fit");
		assert_off(f, dev);
	}
}

static void without_a_capability_there_is_no_message(void **state)
{
	struct sim_function *f = add(0, 0);
	struct pci_dev *dev = scan(0, 0);

	(void)state;
	assert_int_equal(pci_enable_msi(dev, handler, &sim), -AVM_ENODEV);
	assert_int_equal(pci_enable_msix(dev, handler, &sim), -AVM_ENODEV);
	assert_off(f, dev);
}

static void a_capability_that_cannot_be_enabled_is_an_error(void **state)
{
	struct sim_function *f = add(0, 0);
	struct pci_dev *dev;

	(void)state;
	sim_msi(f, 0x40);
	sim_allow(f, 0x42, 2, 0);
	dev = scan(0, 0);
	assert_int_equal(pci_enable_msi(dev, handler, &sim), -AVM_EIO);
	assert_logged(&sim, "no MSI: the capability at 40 cannot be enabled");
	assert_off(f, dev);
}

static void a_narrow_capability_has_no_room_for_a_wide_address(void **state)
{
	struct sim_function *f = add(0, 0);
	struct pci_dev *dev;

	(void)state;
	sim.vector_address = 0x1fee00000;
	sim_msi(f, 0x40);
	dev = scan(0, 0);
	assert_int_equal(pci_enable_msi(dev, handler, &sim), 0);
	assert_true(sim_send_msi(f));
	assert_int_equal(came, 1);
	pci_disable_messages(dev);
	sim_set(f, 0x42, 2, 0);
	assert_int_equal(pci_enable_msi(dev, handler, &sim), -AVM_EIO);
	assert_off(f, dev);
}

static void without_a_vector_nothing_changes(void **state)
{
	struct sim_function *f = add(0, 0);
	struct pci_dev *dev;

	(void)state;
	sim_msi(f, 0x40);
	dev = scan(0, 0);
	sim.vectors_left = 0;
	assert_int_equal(pci_enable_msi(dev, handler, &sim), -AVM_ENOSPC);
	assert_off(f, dev);
}

/* ---- MSI-X --------------------------------------------------------------------------------------------- */

#define TABLE_AT 0x800u

static uint8_t memory[0x2000];

static uint32_t memory_read(struct sim_function *f, uint64_t offset, unsigned size)
{
	uint32_t value = 0;

	(void)f;
	assert_true(offset + size <= sizeof(memory));
	memcpy(&value, memory + offset, size);
	return value;
}

static void memory_write(struct sim_function *f, uint64_t offset, unsigned size, uint32_t value)
{
	/* Only what is masked may be written. */
	assert_int_equal(sim_get(f, 0x42, 2) & 0xc000, PCI_MSIX_ENABLE | PCI_MSIX_MASK_ALL);
	assert_true(offset + size <= sizeof(memory));
	memcpy(memory + offset, &value, size);
}

/* `entries` in a table in BAR 1, which is of two pages. */
static struct sim_function *with_table(unsigned entries, uint32_t where)
{
	struct sim_function *f = add(0, 0);

	memset(memory, 0xee, sizeof(memory));
	sim_bar(f, 1, 0xfe000000, sizeof(memory));
	sim_cap(f, 0x40, PCI_CAP_MSIX, 0);
	sim_set(f, 0x42, 2, (entries - 1) | PCI_MSIX_MASK_ALL); /* left by the firmware */
	sim_allow(f, 0x42, 2, 0xc000);
	sim_set(f, 0x44, 4, where);
	f->mmio_read = memory_read;
	f->mmio_write = memory_write;
	return f;
}

static void one_entry_is_open_and_the_others_are_masked(void **state)
{
	struct sim_function *f = with_table(4, TABLE_AT | 1);
	struct pci_dev *dev = scan(0, 0);

	(void)state;
	assert_int_equal(pci_enable_msix(dev, handler, &sim), 0);
	assert_logged(&sim, "MSI-X, vector 0, entry 0 of 4");
	assert_int_equal(sim_get(f, 0x42, 2) & 0xc000, PCI_MSIX_ENABLE);
	assert_int_equal(memory_read(f, TABLE_AT, 4), SIM_VECTOR_ADDRESS);
	assert_int_equal(memory_read(f, TABLE_AT + 4, 4), 0);
	assert_int_equal(memory_read(f, TABLE_AT + 8, 4), SIM_VECTOR_DATA);
	assert_int_equal(memory_read(f, TABLE_AT + 12, 4), 0);
	for (unsigned i = 1; i < 4; i++)
		assert_int_equal(memory_read(f, TABLE_AT + 16 * i + 12, 4), 1);
	assert_int_equal(memory_read(f, TABLE_AT - 4, 4), 0xeeeeeeee);
	assert_int_equal(memory_read(f, TABLE_AT + 64, 4), 0xeeeeeeee);
	pci_disable_messages(dev);
	assert_int_equal(sim_get(f, 0x42, 2) & PCI_MSIX_ENABLE, 0);
	assert_off(f, dev);
}

/* Of a table there are 2048 entries at the most, which is 32 KiB. */
static void a_table_that_lies_nowhere_is_refused(void **state)
{
	static const struct {
		unsigned entries;
		uint32_t where;
	} bad[] = { { 1, TABLE_AT | 0 },   { 1, TABLE_AT | 6 }, { 1, TABLE_AT | 7 },
		    { 1, 0x2000 | 1 },	   { 2, 0x1ff0 | 1 },	{ 0x800, 1 },
		    { 1, 0xfffffff8 | 1 }, { 1, TABLE_AT | 2 } };

	(void)state;
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct sim_function *f;
		struct pci_dev *dev;

		sim_open(&sim);
		f = with_table(bad[i].entries, bad[i].where);
		dev = scan(0, 0);
		assert_int_equal(pci_enable_msix(dev, handler, &sim), -AVM_EIO);
		assert_logged(&sim, "does not lie in BAR");
		assert_off(f, dev);
	}
	sim_open(&sim);
	with_table(1, 0x1ff0 | 1);
	assert_int_equal(pci_enable_msix(scan(0, 0), handler, &sim), 0);
}

static void an_msix_capability_that_does_not_fit_is_refused(void **state)
{
	struct sim_function *f = add(0, 0);
	struct pci_dev *dev;

	(void)state;
	sim_cap(f, 0xf8, PCI_CAP_MSIX, 0);
	dev = scan(0, 0);
	assert_int_equal(pci_enable_msix(dev, handler, &sim), -AVM_EIO);
	assert_logged(&sim, "no MSI-X: the capability at f8 does not fit");
	assert_off(f, dev);
}

static void msix_that_cannot_be_enabled_is_an_error(void **state)
{
	struct sim_function *f = with_table(1, 1);
	struct pci_dev *dev = scan(0, 0);

	(void)state;
	sim_allow(f, 0x42, 2, 0);
	assert_int_equal(pci_enable_msix(dev, handler, &sim), -AVM_EIO);
	assert_off(f, dev);
	sim.vectors_left = 0;
	assert_int_equal(pci_enable_msix(dev, handler, &sim), -AVM_ENOSPC);
	assert_off(f, dev);
}

/* ---- who says no --------------------------------------------------------------------------------------- */

static void assert_refused(struct pci_dev *dev, const char *why)
{
	char line[100];

	snprintf(line, sizeof(line), "pci %02x:%02x.0: no MSI: %s", dev->bus->number,
		 dev->devfn >> 3, why);
	assert_int_equal(pci_enable_msi(dev, handler, &sim), -AVM_EOPNOTSUPP);
	assert_logged(&sim, line);
	assert_int_equal(pci_enable_msix(dev, handler, &sim), -AVM_EOPNOTSUPP);
	assert_int_equal(dev->irq, PCI_IRQ_NONE);
	assert_int_equal(sim.nr_vectors, 0);
}

static void assert_allowed(struct pci_dev *dev)
{
	assert_int_equal(pci_enable_msi(dev, handler, &sim), 0);
	pci_disable_messages(dev);
}

/* 0 has 1 and 4; 1 has 2; 2 has 3. A device on each. */
static void build_tree(void)
{
	sim_bridge(&sim, 0, PCI_DEVFN(1, 0), 1, 3);
	sim_bridge(&sim, 0, PCI_DEVFN(2, 0), 4, 4);
	sim_bridge(&sim, 1, PCI_DEVFN(1, 0), 2, 3);
	sim_bridge(&sim, 2, PCI_DEVFN(1, 0), 3, 3);
	for (unsigned bus = 0; bus < 5; bus++)
		sim_msi(add(bus, 5), 0x40);
	scan(0, 0);
}

static struct pci_bus *bus(unsigned number)
{
	return sim_found(&sim, number, PCI_DEVFN(5, 0))->bus;
}

static void a_flagged_bus_takes_the_buses_below_with_it(void **state)
{
	(void)state;
	build_tree();
	pci_flag_bus(bus(1), PCI_BUS_NO_MSI, "a test says so");
	for (unsigned i = 0; i < 5; i++) {
		struct pci_dev *dev = sim_found(&sim, i, PCI_DEVFN(5, 0));

		if (i >= 1 && i <= 3)
			assert_refused(dev, "a test says so");
		else
			assert_allowed(dev);
	}
	assert_int_equal(bus(3)->flags, PCI_BUS_NO_MSI);
	assert_int_equal(bus(4)->flags, 0);
}

/* As a fixup of the header pass would: the bus behind is not there yet. */
static uint32_t flag_meanwhile(struct sim_function *f, unsigned offset, uint32_t value)
{
	(void)f;
	if (offset == PCI_SECONDARY)
		pci_flag_bus(&sim.pci.buses[0], PCI_BUS_NO_MSI, "early");
	return value;
}

static void a_bus_that_is_found_later_inherits_the_flag(void **state)
{
	struct pci_dev *dev;

	(void)state;
	sim_bridge(&sim, 0, PCI_DEVFN(1, 0), 1, 1)->read = flag_meanwhile;
	sim_msi(add(1, 0), 0x40);
	dev = scan(1, 0);
	assert_int_equal(dev->bus->flags, PCI_BUS_NO_MSI);
	assert_refused(dev, "early");
}

static void the_parents_are_asked_too(void **state)
{
	(void)state;
	build_tree();
	/* Not inherited: by hand. */
	bus(1)->flags = PCI_BUS_NO_MSI;
	bus(1)->why = "by hand";
	assert_refused(sim_found(&sim, 3, PCI_DEVFN(5, 0)), "by hand");
	assert_allowed(sim_found(&sim, 4, PCI_DEVFN(5, 0)));
	assert_allowed(sim_found(&sim, 0, PCI_DEVFN(5, 0)));
}

static void a_bus_keeps_its_own_reason(void **state)
{
	(void)state;
	build_tree();
	pci_flag_bus(bus(2), PCI_BUS_NO_MSI, "first");
	pci_flag_bus(bus(0), PCI_BUS_NO_MSI, "second");
	assert_refused(sim_found(&sim, 3, PCI_DEVFN(5, 0)), "first");
	assert_refused(sim_found(&sim, 1, PCI_DEVFN(5, 0)), "second");
	assert_refused(sim_found(&sim, 4, PCI_DEVFN(5, 0)), "second");
}

static void behind_an_8131_there_are_no_messages(void **state)
{
	struct sim_function *f = sim_bridge(&sim, 0, PCI_DEVFN(1, 0), 1, 2);
	struct pci_dev *dev;

	(void)state;
	sim_set(f, PCI_VENDOR, 4, PCI_VENDOR_AMD | AMD_8131 << 16);
	sim_bridge(&sim, 1, PCI_DEVFN(1, 0), 2, 2);
	sim_msi(add(2, 1), 0x40);
	sim_msi(add(0, 3), 0x40);
	dev = scan(2, 1);
	assert_refused(dev, "an AMD 8131 does not pass messages on");
	assert_allowed(sim_found(&sim, 0, PCI_DEVFN(3, 0)));
	/* A bridge that is not followed has no bus to flag. */
	sim_set(f, PCI_SECONDARY, 1, 0);
	scan(0, 3);
	assert_int_equal(sim.pci.nr_buses, 1);
}

static void cripple(struct pci_dev *dev)
{
	dev->flags |= PCI_DEV_NO_MSI;
	dev->why = "the device does not do it right";
}

static unsigned passes[2];

static void count_header(struct pci_dev *dev)
{
	(void)dev;
	passes[PCI_PASS_HEADER]++;
}

static void count_final(struct pci_dev *dev)
{
	(void)dev;
	passes[PCI_PASS_FINAL]++;
}

static void a_fixup_is_run_for_what_it_matches_in_its_pass(void **state)
{
	static const struct pci_fixup table[] = {
		{ PCI_PASS_HEADER, { PCI_VENDOR_QEMU, PCI_ANY }, count_header },
		{ PCI_PASS_FINAL, { PCI_ANY, 0x1111 }, count_final },
		{ PCI_PASS_FINAL, { PCI_VENDOR_QEMU, 0x1111 }, cripple },
		{ PCI_PASS_FINAL, { PCI_VENDOR_AMD, PCI_ANY }, count_header },
		{ PCI_PASS_FINAL, { PCI_VENDOR_QEMU, 0x1112 }, count_header },
		{ 0 },
	};
	struct pci_dev *dev;

	(void)state;
	sim_msi(add(0, 0), 0x40);
	dev = scan(0, 0);
	memset(passes, 0, sizeof(passes));
	pci_run_fixups(dev, table, PCI_PASS_HEADER);
	assert_int_equal(passes[PCI_PASS_HEADER], 1);
	assert_int_equal(passes[PCI_PASS_FINAL], 0);
	pci_run_fixups(dev, table, PCI_PASS_FINAL);
	assert_int_equal(passes[PCI_PASS_HEADER], 1);
	assert_int_equal(passes[PCI_PASS_FINAL], 1);
	assert_refused(dev, "the device does not do it right");
}

/* ---- the graphics driver ------------------------------------------------------------------------------- */

static void graphics_decide_by_family_and_place(void **state)
{
	static const struct {
		uint16_t device;
		const char *why; /* NULL: it may */
	} cards[] = {
		{ 0x5144, "graphics of so old a family" }, /* R100 */
		{ 0x4e44, "graphics of so old a family" }, /* R300: the last before the threshold */
		{ 0x4337, "graphics of so old a family" }, /* RS200: old and integrated */
		{ 0x5b60, NULL }, /* RV380: the first */
		{ 0x4a49, NULL }, /* R420 */
		{ 0x9440, NULL }, /* RV770 */
		{ 0x791e, "the graphics are a part of the chipset" }, /* RS690 */
		{ 0x9610, "the graphics are a part of the chipset" }, /* RS780 */
		{ 0x9710, "the graphics are a part of the chipset" }, /* RS880 */
		{ 0xbeef, "the graphics are of no known family" },
	};
	unsigned n = sizeof(cards) / sizeof(cards[0]);
	struct gfx gfx = { 0 };

	(void)state;
	for (unsigned i = 0; i < n; i++) {
		struct sim_function *f = sim_add(&sim, 0, PCI_DEVFN(i, 0), PCI_VENDOR_ATI,
						 cards[i].device, 0x030000);

		sim_msi(f, 0x40);
	}
	scan(0, 0);
	assert_int_equal(pci_bind(&sim.pci, &gfx_driver, &gfx), n);
	assert_int_equal(gfx.cards, n);
	for (unsigned i = 0; i < n; i++) {
		struct pci_dev *dev = sim_found(&sim, 0, PCI_DEVFN(i, 0));
		char line[100];

		assert_int_equal(dev->irq, cards[i].why ? PCI_IRQ_NONE : PCI_IRQ_MSI);
		assert_int_equal(sim_send_msi(&sim.functions[i]), !cards[i].why);
		snprintf(line, sizeof(line), "pci 00:%02x.0: no MSI: %s", i,
			 cards[i].why ? cards[i].why : "");
		assert_int_equal(sim_logged(&sim, line), cards[i].why != NULL);
		pci_disable_messages(dev);
	}
	assert_int_equal(gfx.interrupts, 3);
}

static void sound_of_the_same_maker_is_left_to_others(void **state)
{
	struct gfx gfx = { 0 };
	struct pci_dev *dev;

	(void)state;
	sim_msi(sim_add(&sim, 0, 0, PCI_VENDOR_ATI, 0x960f, 0x040300), 0x40);
	dev = scan(0, 0);
	assert_int_equal(pci_bind(&sim.pci, &gfx_driver, &gfx), 0);
	assert_null(dev->driver);
	assert_allowed(dev); /* the rule is the driver's */
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_sim, close_sim)
	const struct CMUnitTest tests[] = {
		TEST(a_message_arrives_until_it_is_disabled),
		TEST(every_shape_of_the_capability_is_written_where_it_belongs),
		TEST(a_capability_that_does_not_fit_is_refused),
		TEST(without_a_capability_there_is_no_message),
		TEST(a_capability_that_cannot_be_enabled_is_an_error),
		TEST(a_narrow_capability_has_no_room_for_a_wide_address),
		TEST(without_a_vector_nothing_changes),
		TEST(one_entry_is_open_and_the_others_are_masked),
		cmocka_unit_test_setup(a_table_that_lies_nowhere_is_refused, open_sim),
		TEST(an_msix_capability_that_does_not_fit_is_refused),
		TEST(msix_that_cannot_be_enabled_is_an_error),
		TEST(a_flagged_bus_takes_the_buses_below_with_it),
		TEST(a_bus_that_is_found_later_inherits_the_flag),
		TEST(the_parents_are_asked_too),
		TEST(a_bus_keeps_its_own_reason),
		TEST(behind_an_8131_there_are_no_messages),
		TEST(a_fixup_is_run_for_what_it_matches_in_its_pass),
		TEST(graphics_decide_by_family_and_place),
		TEST(sound_of_the_same_maker_is_left_to_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
