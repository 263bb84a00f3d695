/* SPDX-License-Identifier: MIT */
/* Finding buses, devices and their capabilities, when the configuration space tells the truth and when it does not. */
#include <stdio.h>

#include "sim_pci.h"
#include "virtio_pci.h"
#include "../unit/random.h"

static struct sim_pci sim;

static int open_sim(void **state)
{
	(void)state;
	sim_open(&sim);
	return 0;
}

static int close_sim(void **state)
{
	(void)state;
	sim_close(&sim);
	return 0;
}

static int scan(void)
{
	return pci_scan(&sim.pci, &sim.platform);
}

static struct sim_function *add(unsigned bus, uint8_t devfn)
{
	return sim_add(&sim, bus, devfn, PCI_VENDOR_QEMU, 0x1111, 0x030000);
}

static bool asked(unsigned bus)
{
	return sim.buses[bus / 64] >> bus % 64 & 1;
}

/* ---- devices ------------------------------------------------------------------------------------------ */

static void an_empty_machine_has_no_device(void **state)
{
	(void)state;
	assert_int_equal(scan(), -AVM_ENODEV);
	assert_logged(&sim, "nobody answers");
}

static void each_slot_is_looked_at_and_functions_where_there_may_be_some(void **state)
{
	(void)state;
	add(0, PCI_DEVFN(0, 0));
	add(0, PCI_DEVFN(0, 3)); /* not told of by function 0 */
	sim_set(add(0, PCI_DEVFN(31, 0)), PCI_HEADER_TYPE, 1, PCI_HEADER_MULTI);
	add(0, PCI_DEVFN(31, 7));
	assert_int_equal(scan(), 3);
	assert_non_null(sim_found(&sim, 0, PCI_DEVFN(0, 0)));
	assert_null(sim_found(&sim, 0, PCI_DEVFN(0, 3)));
	assert_non_null(sim_found(&sim, 0, PCI_DEVFN(31, 0)));
	assert_non_null(sim_found(&sim, 0, PCI_DEVFN(31, 7)));
	assert_int_equal(sim.pci.nr_faults, 0);
	assert_logged(&sim, "pci 00:1f.7: 1234:1111 class 030000");
}

static void an_unknown_header_is_left_alone(void **state)
{
	struct sim_function *f = add(0, PCI_DEVFN(2, 0));

	(void)state;
	add(0, PCI_DEVFN(3, 0));
	sim_set(f, PCI_HEADER_TYPE, 1, 0x02); /* CardBus */
	sim_set(f, PCI_SECONDARY, 2, 0x0101);
	assert_int_equal(scan(), 1);
	assert_logged(&sim, "pci 00:02.0: 1234:1111 is left alone: its header is of type 02");
	assert_false(asked(1));
	sim_set(f, PCI_HEADER_TYPE, 1, 0x7f);
	assert_int_equal(scan(), 1);
	assert_int_equal(sim.pci.nr_faults, 1);
}

static void a_vendor_of_zero_is_nobody(void **state)
{
	(void)state;
	sim_add(&sim, 0, PCI_DEVFN(0, 0), 0, 0x1234, 0);
	assert_int_equal(scan(), -AVM_ENODEV);
}

static void too_many_devices_are_left_alone(void **state)
{
	(void)state;
	for (unsigned slot = 0; slot < 32; slot++) {
		for (unsigned function = 0; function < 3; function++)
			sim_set(add(0, PCI_DEVFN(slot, function)), PCI_HEADER_TYPE, 1,
				PCI_HEADER_MULTI);
	}
	assert_int_equal(scan(), PCI_MAX_DEVS);
	/* The rest of slot 21, and of the others function 0: nobody asks for the rest. */
	assert_int_equal(sim.pci.nr_faults, 2 + 10);
	assert_logged(&sim, "there are too many devices");
}

/* ---- bridges ------------------------------------------------------------------------------------------ */

static void buses_behind_bridges_are_found_at_any_depth(void **state)
{
	struct pci_dev *dev;

	(void)state;
	sim_bridge(&sim, 0, PCI_DEVFN(1, 0), 1, 4);
	sim_bridge(&sim, 0, PCI_DEVFN(2, 0), 5, 5);
	sim_bridge(&sim, 1, PCI_DEVFN(0, 0), 2, 2);
	sim_bridge(&sim, 1, PCI_DEVFN(1, 0), 3, 4);
	sim_bridge(&sim, 3, PCI_DEVFN(0, 0), 4, 4);
	add(4, PCI_DEVFN(7, 0));
	add(5, PCI_DEVFN(0, 0));
	assert_int_equal(scan(), 7);
	assert_int_equal(sim.pci.nr_buses, 6);
	assert_int_equal(sim.pci.nr_faults, 0);
	dev = sim_found(&sim, 4, PCI_DEVFN(7, 0));
	assert_non_null(dev);
	for (unsigned bus = 4, i = 0; i < 3; i++) {
		static const unsigned way[] = { 3, 1, 0 };

		assert_int_equal(dev->bus->number, bus);
		dev = dev->bus->bridge;
		assert_ptr_equal(dev->behind->bridge, dev);
		bus = way[i];
		assert_int_equal(dev->bus->number, bus);
	}
	assert_null(dev->bus->bridge);
	for (unsigned i = 1; i < sim.pci.nr_buses; i++)
		assert_true(sim.pci.buses[i].parent < &sim.pci.buses[i]);
}

/* One bridge on bus 1, which may have the buses 2 to 6, beside a good one that has 3 and 4. */
static void refused(unsigned secondary, unsigned subordinate, const char *why)
{
	char line[100];

	sim_open(&sim);
	sim_bridge(&sim, 0, PCI_DEVFN(1, 0), 1, 6);
	sim_bridge(&sim, 1, PCI_DEVFN(1, 0), 3, 4);
	sim_bridge(&sim, 1, PCI_DEVFN(2, 0), secondary, subordinate);
	add(3, PCI_DEVFN(0, 0));
	assert_int_equal(scan(), 4);
	assert_int_equal(sim.pci.nr_buses, 3);
	assert_int_equal(sim.pci.nr_faults, 1);
	assert_null(sim_found(&sim, 1, PCI_DEVFN(2, 0))->behind);
	snprintf(line, sizeof(line), "pci 01:02.0: nothing is looked for on buses %02x to %02x: %s",
		 secondary, subordinate, why);
	assert_logged(&sim, line);
}

static void a_bridge_with_nonsense_for_numbers_is_not_followed(void **state)
{
	(void)state;
	refused(0, 0, "the firmware has given it no bus");
	refused(0, 255, "the firmware has given it no bus");
	refused(6, 5, "the last is below the first");
	refused(255, 254, "the last is below the first");
	refused(1, 6, "they lead back to where it is");
	refused(1, 1, "they lead back to where it is");
	refused(5, 7, "they leave those of the bus it is on");
	refused(2, 255, "they leave those of the bus it is on");
	refused(255, 255, "they leave those of the bus it is on");
	refused(3, 3, "a neighbour has them");
	refused(4, 4, "a neighbour has them");
	refused(2, 3, "a neighbour has them");
	refused(4, 6, "a neighbour has them");
	refused(2, 6, "a neighbour has them");
}

static void a_bridge_beside_a_neighbour_is_followed(void **state)
{
	static const uint8_t ranges[][2] = { { 2, 2 }, { 5, 5 }, { 5, 6 }, { 6, 6 } };

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		sim_open(&sim);
		sim_bridge(&sim, 0, PCI_DEVFN(1, 0), 1, 6);
		sim_bridge(&sim, 1, PCI_DEVFN(1, 0), 3, 4);
		sim_bridge(&sim, 1, PCI_DEVFN(2, 0), ranges[i][0], ranges[i][1]);
		scan();
		assert_int_equal(sim.pci.nr_faults, 0);
		assert_int_equal(sim.pci.nr_buses, 4);
		assert_true(asked(ranges[i][0]));
	}
}

/* Behind the bridge lies, again, the bridge. */
static void a_bus_that_shows_itself_comes_to_an_end(void **state)
{
	(void)state;
	sim_bridge(&sim, 0, PCI_DEVFN(1, 0), 1, 255);
	add(0, PCI_DEVFN(2, 0));
	sim.mirrored = true;
	assert_int_equal(scan(), 4);
	assert_int_equal(sim.pci.nr_buses, 2);
	assert_logged(&sim, "pci 01:01.0: nothing is looked for on buses 01 to ff: they lead back");
}

static unsigned next_bus;

static uint32_t one_more(struct sim_function *f, unsigned offset, uint32_t value)
{
	(void)f;
	return offset == PCI_SECONDARY ? ++next_bus : value;
}

/* A new number each time it is asked: a hall of mirrors. */
static void bridges_without_end_come_to_an_end(void **state)
{
	(void)state;
	next_bus = 0;
	sim_bridge(&sim, 0, PCI_DEVFN(1, 0), 0, 255)->read = one_more;
	sim.mirrored = true;
	assert_int_equal(scan(), PCI_MAX_BUSES);
	assert_int_equal(sim.pci.nr_buses, PCI_MAX_BUSES);
	assert_logged(
		&sim,
		"pci 1f:01.0: nothing is looked for on buses 20 to ff: there are too many buses");
}

/* ---- capabilities -------------------------------------------------------------------------------------- */

static struct pci_dev *with_caps(void)
{
	assert_int_equal(scan(), 1);
	return &sim.pci.devs[0];
}

static void capabilities_are_listed_in_their_order(void **state)
{
	struct sim_function *f = add(0, 0);
	struct pci_dev *dev;

	(void)state;
	sim_cap(f, 0x80, PCI_CAP_VENDOR, 0x40);
	sim_cap(f, 0x40, PCI_CAP_MSI, 0xfc | 3); /* the low bits are reserved */
	sim_cap(f, 0xfc, PCI_CAP_VENDOR, 0);
	dev = with_caps();
	assert_int_equal(dev->nr_caps, 3);
	assert_int_equal(pci_next_cap(dev, PCI_CAP_VENDOR, 0), 0);
	assert_int_equal(pci_next_cap(dev, PCI_CAP_VENDOR, 1), 2);
	assert_int_equal(pci_next_cap(dev, PCI_CAP_VENDOR, 3), -1);
	assert_int_equal(dev->caps[pci_next_cap(dev, PCI_CAP_MSI, 0)].at, 0x40);
	assert_int_equal(pci_next_cap(dev, PCI_CAP_MSIX, 0), -1);
	assert_int_equal(sim.pci.nr_faults, 0);
}

static void without_the_bit_there_is_no_list(void **state)
{
	struct sim_function *f = add(0, 0);

	(void)state;
	sim_msi(f, 0x40);
	sim_set(f, PCI_STATUS, 2, 0);
	assert_int_equal(with_caps()->nr_caps, 0);
	assert_int_equal(sim.pci.nr_faults, 0);
}

static void a_list_may_fill_the_space(void **state)
{
	struct sim_function *f = add(0, 0);

	(void)state;
	for (unsigned at = 0x40; at < 0x100; at += 4)
		sim_cap(f, at, 0x7e, at + 4); /* of the last, 0x100: its byte is 0 */
	assert_int_equal(with_caps()->nr_caps, PCI_MAX_CAPS);
	assert_int_equal(sim.pci.nr_faults, 0);
}

/* A chain of `n` from 0x40 on, whose last one leads to `back`. */
static void assert_disbelieved(unsigned n, unsigned back, const char *why)
{
	struct sim_function *f;
	unsigned at = 0x40;

	sim_open(&sim);
	f = add(0, 0);
	for (unsigned i = 0; i < n; i++, at += 4)
		sim_cap(f, at, PCI_CAP_MSI, i + 1 < n ? at + 4 : back);
	assert_int_equal(with_caps()->nr_caps, 0);
	assert_int_equal(sim.pci.nr_faults, 1);
	assert_int_equal(pci_next_cap(&sim.pci.devs[0], PCI_CAP_MSI, 0), -1);
	assert_logged(&sim, why);
}

static void a_list_that_loops_counts_as_empty(void **state)
{
	(void)state;
	for (unsigned n = 1; n <= PCI_MAX_CAPS; n++) {
		assert_disbelieved(n, 0x40, "capabilities loops, at 40; it counts as empty");
		assert_disbelieved(n, 0x40 + 4 * (n - 1), "capabilities loops,");
	}
}

static void a_list_that_leaves_its_room_counts_as_empty(void **state)
{
	(void)state;
	assert_disbelieved(1, 0x3c, "capabilities leads into the header, at 3c;");
	assert_disbelieved(2, 0x04, "capabilities leads into the header, at 04;");
	assert_disbelieved(3, 0x34, "capabilities leads into the header, at 34;");
}

static void a_list_that_leads_nowhere_counts_as_empty(void **state)
{
	struct sim_function *f = add(0, 0);

	(void)state;
	sim_cap(f, 0x40, PCI_CAP_MSI, 0x60);
	sim_set(f, 0x60, 2, 0xffff);
	assert_int_equal(with_caps()->nr_caps, 0);
	assert_logged(&sim, "capabilities leads nowhere, at 60;");
}

/* ---- anything ------------------------------------------------------------------------------------------- */

static struct rng rng;
static unsigned used[2];

static uint32_t anything(struct sim_function *f, unsigned offset, uint32_t value)
{
	(void)f;
	/* Mostly somebody, mostly a header that is known: or nothing would happen. */
	if (offset == PCI_HEADER_TYPE)
		return (uint32_t)rng_below(&rng, rng_below(&rng, 4) ? 2 : 256) | 0x80;
	if ((offset == PCI_VENDOR || (offset >= PCI_BAR0 && offset < PCI_CAPS)) &&
	    rng_below(&rng, 8))
		return value;
	/* A capability that somebody asks for, and mostly a next one where it may be. */
	if (offset >= PCI_CAP_FIRST && offset % 4 == 0 && rng_below(&rng, 4))
		return (const uint8_t[]){ 5, 9, 0x11 }[rng_below(&rng, 3)] |
		       (rng_below(&rng, 3) ? 0 : 0x40 + (uint32_t)rng_below(&rng, 0xc0)) << 8 |
		       (uint32_t)(rng_below(&rng, 0x10000) >> rng_below(&rng, 16)) << 16;
	return (uint32_t)rng_next(&rng) >> rng_below(&rng, 32);
}

static void add_noise(unsigned slot)
{
	struct sim_function *f = add(0, PCI_DEVFN(slot, 0));

	for (unsigned bar = 0; bar < PCI_BARS; bar++)
		sim_bar(f, bar, 0xc0000000 + (8 * slot + bar) * 0x100000, 0x100000);
	f->read = anything;
}

static void nothing(void *arg)
{
	(void)arg;
}

/* What a driver does first. Answers are left to chance; a vector that was taken is given back. */
static void use(struct pci_dev *dev)
{
	struct virtio_dev v;

	used[0] += !pci_enable_msix(dev, nothing, NULL);
	pci_disable_messages(dev);
	used[1] += !pci_enable_msi(dev, nothing, NULL);
	pci_disable_messages(dev);
	(void)virtio_open(&v, dev);
}

/* Registers that never say the same twice: the scan ends, in bounds, and what was found hangs together. */
static void noise_is_survived(void **state)
{
	(void)state;
	for (unsigned seed = 1; seed <= 300; seed++) {
		rng.state = seed;
		sim_open(&sim);
		for (unsigned slot = 0; slot < 1 + rng_below(&rng, 6); slot++)
			add_noise(slot);
		sim.mirrored = true;
		scan();
		/* A bus has 256 functions, and one takes a hundred reads at the most. */
		assert_true(sim.reads < PCI_MAX_BUSES * 256ul + PCI_MAX_DEVS * 200ul);
		for (unsigned i = 0; i < sim.pci.nr_devs && i < 8; i++)
			use(&sim.pci.devs[i]);
		assert_int_equal(sim.nr_vectors, 0);
		for (unsigned i = 1; i < sim.pci.nr_buses; i++) {
			const struct pci_bus *b = &sim.pci.buses[i];

			assert_true(b->parent < b && b->number <= b->last);
			assert_true(b->parent->number < b->number && b->last <= b->parent->last);
			for (unsigned j = 0; j < i; j++)
				assert_int_not_equal(b->number, sim.pci.buses[j].number);
		}
	}
	/* Some of it looks right. */
	assert_true(used[0] && used[1]);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_sim, close_sim)
	const struct CMUnitTest tests[] = {
		TEST(an_empty_machine_has_no_device),
		TEST(each_slot_is_looked_at_and_functions_where_there_may_be_some),
		TEST(an_unknown_header_is_left_alone),
		TEST(a_vendor_of_zero_is_nobody),
		TEST(too_many_devices_are_left_alone),
		TEST(buses_behind_bridges_are_found_at_any_depth),
		TEST(a_bridge_with_nonsense_for_numbers_is_not_followed),
		TEST(a_bridge_beside_a_neighbour_is_followed),
		TEST(a_bus_that_shows_itself_comes_to_an_end),
		TEST(bridges_without_end_come_to_an_end),
		TEST(capabilities_are_listed_in_their_order),
		TEST(without_the_bit_there_is_no_list),
		TEST(a_list_may_fill_the_space),
		TEST(a_list_that_loops_counts_as_empty),
		TEST(a_list_that_leaves_its_room_counts_as_empty),
		TEST(a_list_that_leads_nowhere_counts_as_empty),
		TEST(noise_is_survived),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
