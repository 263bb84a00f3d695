/* SPDX-License-Identifier: MIT */
/*
 * The quirk of RS780 and RS880: a strap of the chipset decides whether messages of the internal graphics arrive.
 *
 * The board: 00:00.0 the host bridge, 00:01.0 the bridge to the graphics (01:05.0) and to its HDMI sound (01:05.1), and
 * 00:02.0 another bridge with a card behind it (02:00.0).
 */
#include "gfx.h"
#include "sim_pci.h"

#define NB_INDEX 0x60
#define NB_DATA 0x64
#define STRAP (1u << 10)
#define SOMEBODY_ELSES 0x1c /* the index that the firmware left */

static struct sim_pci sim;
static uint32_t nb[128]; /* the registers behind the pair */

static uint32_t read_nb(struct sim_function *f, unsigned offset, uint32_t value)
{
	return offset == NB_DATA ? nb[sim_get(f, NB_INDEX, 4) & 127] : value;
}

struct board {
	uint16_t host_vendor, host_device;
	uint16_t bridge_vendor, bridge_device;
	uint32_t nb_cntl;
};

/* The host bridge of the board, which is built and scanned. */
static struct sim_function *build(struct board b)
{
	struct sim_function *host, *bridge, *f;

	sim_open(&sim);
	memset(nb, 0, sizeof(nb));
	nb[SOMEBODY_ELSES] = ~b.nb_cntl;
	nb[0] = b.nb_cntl;
	host = sim_add(&sim, 0, 0, b.host_vendor, b.host_device, 0x060000);
	host->read = read_nb;
	sim_set(host, NB_INDEX, 4, SOMEBODY_ELSES);
	sim_allow(host, NB_INDEX, 4, 0xff);
	bridge = sim_bridge(&sim, 0, PCI_DEVFN(1, 0), 1, 1);
	sim_set(bridge, PCI_VENDOR, 4, b.bridge_vendor | (uint32_t)b.bridge_device << 16);
	f = sim_add(&sim, 1, PCI_DEVFN(5, 0), PCI_VENDOR_ATI, 0x9610, 0x030000);
	sim_set(f, PCI_HEADER_TYPE, 1, PCI_HEADER_MULTI);
	sim_msi(f, 0xa0);
	sim_msi(sim_add(&sim, 1, PCI_DEVFN(5, 1), PCI_VENDOR_ATI, 0x960f, 0x040300), 0xa0);
	sim_bridge(&sim, 0, PCI_DEVFN(2, 0), 2, 2);
	sim_msi(sim_add(&sim, 2, 0, PCI_VENDOR_ATI, 0x9440, 0x030000), 0xa0);
	sim_msi(sim_add(&sim, 0, PCI_DEVFN(0x14, 0), PCI_VENDOR_ATI, 0x4383, 0x040300), 0x50);
	assert_int_equal(pci_scan(&sim.pci, &sim.platform), 7);
	assert_int_equal(sim.pci.nr_faults, 0);
	return host;
}

static void handler(void *arg)
{
	(void)arg;
}

static int try(unsigned bus, uint8_t devfn)
{
	struct pci_dev *dev = sim_found(&sim, bus, devfn);
	int err = pci_enable_msi(dev, handler, NULL);

	if (!err)
		pci_disable_messages(dev);
	return err;
}

/* Graphics and sound lose it; nobody else does. */
static void assert_flagged(void)
{
	assert_int_equal(try(1, PCI_DEVFN(5, 0)), -AVM_EOPNOTSUPP);
	assert_int_equal(try(1, PCI_DEVFN(5, 1)), -AVM_EOPNOTSUPP);
	assert_logged(&sim, "pci 01:05.0: no MSI: strap_msi_enable of the host bridge is clear");
	assert_logged(&sim, "pci 01:05.1: no MSI: strap_msi_enable of the host bridge is clear");
	assert_logged(&sim, "pci 00:01.0: quirk: no MSI on bus 01, strap_msi_enable is clear");
	assert_int_equal(try(2, 0), 0);
	assert_int_equal(try(0, PCI_DEVFN(0x14, 0)), 0);
}

static void assert_not_flagged(void)
{
	assert_int_equal(try(1, PCI_DEVFN(5, 0)), 0);
	assert_int_equal(try(1, PCI_DEVFN(5, 1)), 0);
	assert_int_equal(try(2, 0), 0);
	assert_int_equal(try(0, PCI_DEVFN(0x14, 0)), 0);
	assert_false(sim_logged(&sim, "quirk"));
	for (unsigned i = 0; i < sim.pci.nr_buses; i++)
		assert_int_equal(sim.pci.buses[i].flags, 0);
}

static const uint16_t bridge_vendors[] = { PCI_VENDOR_AMD, PCI_VENDOR_ASUSTEK, PCI_VENDOR_ASROCK,
					   0xbeef };
#define BRIDGE_VENDORS (sizeof(bridge_vendors) / sizeof(bridge_vendors[0]))

static struct board board(uint16_t bridge_vendor, uint32_t nb_cntl)
{
	return (struct board){ PCI_VENDOR_AMD, RS780_HOST, bridge_vendor, RS780_INT_GFX_BRIDGE,
			       nb_cntl };
}

static void a_clear_strap_flags_the_bus_whoever_made_the_bridge(void **state)
{
	(void)state;
	for (unsigned i = 0; i < BRIDGE_VENDORS; i++) {
		build(board(bridge_vendors[i], 0));
		assert_flagged();
		build(board(bridge_vendors[i], ~STRAP));
		assert_flagged();
	}
}

static void a_set_strap_leaves_it_alone_whoever_made_the_bridge(void **state)
{
	(void)state;
	for (unsigned i = 0; i < BRIDGE_VENDORS; i++) {
		build(board(bridge_vendors[i], STRAP));
		assert_not_flagged();
		build(board(bridge_vendors[i], STRAP | 0x80000001));
		assert_not_flagged();
	}
}

static void board_makers_host_bridges_are_known(void **state)
{
	static const uint16_t vendors[] = { PCI_VENDOR_AMD, PCI_VENDOR_ASUSTEK, PCI_VENDOR_ASROCK };

	(void)state;
	for (unsigned i = 0; i < 6; i++) {
		struct board b = board(0xbeef, 0);

		b.host_vendor = vendors[i / 2];
		b.host_device = i % 2 ? RS880_HOST : RS780_HOST;
		build(b);
		assert_flagged();
	}
}

static void another_host_bridge_is_not_asked(void **state)
{
	struct board b = board(PCI_VENDOR_AMD, 0);

	(void)state;
	b.host_device = 0x5a14;
	build(b);
	assert_not_flagged();
	b = board(PCI_VENDOR_AMD, 0);
	b.host_vendor = PCI_VENDOR_INTEL; /* the same number of another maker is another device */
	build(b);
	assert_not_flagged();
}

/* A board without internal graphics has another bridge there, or none. */
static void another_bridge_in_slot_1_is_left_alone(void **state)
{
	struct board b = board(PCI_VENDOR_AMD, 0);

	(void)state;
	b.bridge_device = 0x9603;
	build(b);
	assert_not_flagged();
}

static void no_bridge_in_slot_1_is_no_trouble(void **state)
{
	struct sim_function *host = sim_add(&sim, 0, 0, PCI_VENDOR_AMD, RS780_HOST, 0x060000);

	(void)state;
	sim_msi(sim_add(&sim, 0, PCI_DEVFN(3, 0), PCI_VENDOR_ATI, 0x9440, 0x030000), 0xa0);
	host->read = read_nb;
	memset(nb, 0, sizeof(nb));
	assert_int_equal(pci_scan(&sim.pci, &sim.platform), 2);
	assert_int_equal(try(0, PCI_DEVFN(3, 0)), 0);
}

static void a_bridge_that_leads_nowhere_is_no_trouble(void **state)
{
	struct sim_function *host = build(board(PCI_VENDOR_AMD, 0));

	(void)state;
	(void)host;
	sim_set(&sim.functions[1], PCI_SECONDARY, 1, 0);
	sim_set(&sim.functions[1], PCI_SUBORDINATE, 1, 0);
	assert_int_equal(pci_scan(&sim.pci, &sim.platform), 5);
	assert_int_equal(try(2, 0), 0);
}

static void a_register_that_does_not_answer_promises_nothing(void **state)
{
	(void)state;
	build(board(PCI_VENDOR_AMD, UINT32_MAX));
	assert_flagged();
}

/* The pair is shared: who had selected a register finds it selected. */
static void the_index_is_put_back(void **state)
{
	const struct sim_function *host = build(board(PCI_VENDOR_AMD, 0));

	(void)state;
	assert_int_equal(sim_get(host, NB_INDEX, 4), SOMEBODY_ELSES);
}

/* Two rules, one after the other: the bus allows what the driver still refuses, and the driver's is not the sound's. */
static void the_driver_decides_where_the_bus_does_not(void **state)
{
	struct gfx gfx = { 0 };

	(void)state;
	build(board(PCI_VENDOR_ASUSTEK, STRAP));
	assert_int_equal(pci_bind(&sim.pci, &gfx_driver, &gfx), 2);
	assert_logged(&sim, "pci 01:05.0: no MSI: the graphics are a part of the chipset");
	assert_int_equal(sim_found(&sim, 1, PCI_DEVFN(5, 0))->irq, PCI_IRQ_NONE);
	assert_int_equal(sim_found(&sim, 2, 0)->irq, PCI_IRQ_MSI);
	assert_int_equal(try(1, PCI_DEVFN(5, 1)), 0);
	pci_disable_messages(sim_found(&sim, 2, 0));
}

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

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_sim, close_sim)
	const struct CMUnitTest tests[] = {
		TEST(a_clear_strap_flags_the_bus_whoever_made_the_bridge),
		TEST(a_set_strap_leaves_it_alone_whoever_made_the_bridge),
		TEST(board_makers_host_bridges_are_known),
		TEST(another_host_bridge_is_not_asked),
		TEST(another_bridge_in_slot_1_is_left_alone),
		TEST(no_bridge_in_slot_1_is_no_trouble),
		TEST(a_bridge_that_leads_nowhere_is_no_trouble),
		TEST(a_register_that_does_not_answer_promises_nothing),
		TEST(the_index_is_put_back),
		TEST(the_driver_decides_where_the_bus_does_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
