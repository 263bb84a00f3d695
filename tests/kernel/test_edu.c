/* SPDX-License-Identifier: MIT */
/* The driver of QEMU's edu device, on one that is simulated. */
#include "edu.h"
#include "sim_pci.h"

#define SLOW 3 /* waits until a factorial is done */

static struct sim_pci sim;
static struct sim_function *function;
static struct edu edu;

/* The device. */
static struct {
	uint32_t id, live, status, irq;
	uint32_t n, result;
	unsigned busy; /* waits that are left */
	unsigned raised, sent;
	bool mute; /* raises nothing */
	bool wrong; /* does not read as the complement of what was written */
} dev;

static void raise_irq(uint32_t cause)
{
	dev.irq |= cause;
	dev.raised++;
	if (!dev.mute && sim_send_msi(function))
		dev.sent++;
}

static uint32_t edu_read(struct sim_function *f, uint64_t offset, unsigned size)
{
	(void)f;
	assert_int_equal(size, 4);
	switch (offset) {
	case 0x00:
		return dev.id;
	case 0x04:
		return dev.wrong ? dev.live ^ 1 : ~dev.live;
	case 0x08:
		return dev.result;
	case 0x20:
		return dev.status | (dev.busy ? 1 : 0);
	case 0x24:
		return dev.irq;
	default:
		return UINT32_MAX;
	}
}

static void edu_write(struct sim_function *f, uint64_t offset, unsigned size, uint32_t value)
{
	(void)f;
	assert_int_equal(size, 4);
	switch (offset) {
	case 0x04:
		dev.live = value;
		break;
	case 0x08:
		dev.n = value;
		dev.busy = SLOW;
		break;
	case 0x20:
		dev.status = value & 0x80;
		break;
	case 0x60:
		raise_irq(value);
		break;
	case 0x64:
		dev.irq &= ~value;
		break;
	default:
		fail();
	}
}

static void work(struct sim_pci *s)
{
	(void)s;
	if (!dev.busy || dev.busy == UINT32_MAX || --dev.busy)
		return;
	dev.result = 1;
	for (uint32_t i = 2; i <= dev.n; i++)
		dev.result *= i;
	if (dev.status & 0x80)
		raise_irq(1);
}

static int open_sim(void **state)
{
	(void)state;
	sim_open(&sim);
	memset(&edu, 0, sizeof(edu));
	memset(&dev, 0, sizeof(dev));
	dev.id = 0x010000ed;
	function = sim_add(&sim, 0, PCI_DEVFN(4, 0), PCI_VENDOR_QEMU, QEMU_EDU, 0x00ff00);
	sim_bar(function, 0, 0xfea00000, 0x100000);
	sim_msi(function, 0x40);
	function->mmio_read = edu_read;
	function->mmio_write = edu_write;
	sim.on_wait = work;
	return 0;
}

static int close_sim(void **state)
{
	(void)state;
	if (edu.dev)
		pci_disable_messages(edu.dev);
	sim_close(&sim);
	return 0;
}

static unsigned bind(void)
{
	assert_int_equal(pci_scan(&sim.pci, &sim.platform), sim.nr_functions);
	return pci_bind(&sim.pci, &edu_driver, &edu);
}

static void each_interrupt_is_counted_and_acknowledged(void **state)
{
	(void)state;
	assert_int_equal(bind(), 1);
	for (unsigned i = 1; i <= 20; i++) {
		assert_int_equal(edu_interrupt(&edu, i), 0);
		assert_int_equal(edu.cause, i);
		assert_int_equal(edu.interrupts, i);
		assert_int_equal(dev.irq, 0);
	}
	assert_int_equal(dev.sent, 20);
}

static void factorials_are_computed_and_announced(void **state)
{
	uint32_t result;

	(void)state;
	assert_int_equal(bind(), 1);
	assert_int_equal(edu_factorial(&edu, 10, &result), 0);
	assert_int_equal(result, 3628800);
	assert_int_equal(edu.interrupts, 1);
}

static void on_a_flagged_bus_it_is_polled(void **state)
{
	uint32_t result;

	(void)state;
	assert_int_equal(pci_scan(&sim.pci, &sim.platform), 1);
	pci_flag_bus(&sim.pci.buses[0], PCI_BUS_NO_MSI, "a test says so");
	assert_int_equal(pci_bind(&sim.pci, &edu_driver, &edu), 1);
	assert_logged(&sim,
		      "pci 00:04.0: no MSI: a test says so\npci 00:04.0: edu: without interrupts");
	assert_int_equal(edu_interrupt(&edu, 1), -AVM_EIO);
	assert_int_equal(edu_factorial(&edu, 5, &result), 0);
	assert_int_equal(result, 120);
	assert_int_equal(edu.interrupts, 0);
}

static void a_device_that_does_nothing_is_not_waited_for_forever(void **state)
{
	uint32_t result;

	(void)state;
	assert_int_equal(bind(), 1);
	dev.mute = true;
	assert_int_equal(edu_interrupt(&edu, 1), -AVM_EIO);
	sim.on_wait = NULL;
	assert_int_equal(edu_factorial(&edu, 5, &result), -AVM_EIO);
}

static void something_else_with_its_number_is_not_taken(void **state)
{
	(void)state;
	dev.id = 0x01000000;
	assert_int_equal(bind(), 0);
	assert_logged(&sim, "edu: it is not one");
	assert_null(edu.dev);
	dev.id = 0x010000ed;
	dev.wrong = true;
	assert_int_equal(bind(), 0);
	assert_int_equal(sim_count(&sim, "edu: it is not one"), 2);
	sim_bar(function, 0, 0, 0x100000);
	assert_int_equal(bind(), 0);
	assert_logged(&sim, "edu: its registers cannot be had");
}

static void of_two_the_first_is_taken(void **state)
{
	struct sim_function *second;

	(void)state;
	second = sim_add(&sim, 0, PCI_DEVFN(5, 0), PCI_VENDOR_QEMU, QEMU_EDU, 0x00ff00);
	sim_bar(second, 0, 0xfeb00000, 0x100000);
	second->mmio_read = edu_read;
	second->mmio_write = edu_write;
	assert_int_equal(bind(), 1);
	assert_int_equal(edu.dev->devfn, PCI_DEVFN(4, 0));
	assert_null(sim_found(&sim, 0, PCI_DEVFN(5, 0))->driver);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_sim, close_sim)
	const struct CMUnitTest tests[] = {
		TEST(each_interrupt_is_counted_and_acknowledged),
		TEST(factorials_are_computed_and_announced),
		TEST(on_a_flagged_bus_it_is_polled),
		TEST(a_device_that_does_nothing_is_not_waited_for_forever),
		TEST(something_else_with_its_number_is_not_taken),
		TEST(of_two_the_first_is_taken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
