/* SPDX-License-Identifier: MIT */
/*
 * pci.h - buses, devices and their interrupts by message.
 *
 * pci_scan() finds what there is, on the bus numbers that the firmware has given out; fixups run in two passes of it.
 * Drivers are then bound, map their registers and ask for messages:
 *
 *	pci_scan(&pci, platform);
 *	pci_bind(&pci, &edu_driver, &edu);		calls probe() for each device that matches
 *	  pci_map_bar(dev, 0, 0, size, &registers);
 *	  pci_enable_msi(dev, handler, arg);
 *
 * Whatever the hardware has wrong is said in the log, once, in a line that begins with the device's place, and costs that
 * device only. What it says is read once, when it is found; later questions are answered from here.
 */
#ifndef PCI_H
#define PCI_H

#include "platform.h"

#define PCI_MAX_BUSES 32
#define PCI_MAX_DEVS 64
#define PCI_MAX_CAPS 48 /* a capability takes four bytes, and there are 256 - 64 */
#define PCI_BARS 6
#define PCI_ANY 0xffffu /* vendor or device in a table */

#define PCI_DEVFN(slot, function) ((uint8_t)((slot) << 3 | (function)))

/* Of a bus, and of all the buses below it. */
enum pci_bus_flag {
	PCI_BUS_NO_MSI = 1u << 0, /* messages from there do not arrive */
};

enum pci_dev_flag {
	PCI_DEV_NO_MSI = 1u << 0, /* does not send messages as it should */
};

enum pci_bar_kind {
	PCI_BAR_NONE,
	PCI_BAR_PORTS,
	PCI_BAR_MEMORY,
	PCI_BAR_REFUSED, /* what it says cannot be */
};

struct pci_bar {
	uint64_t address; /* 0: the firmware has not placed it */
	uint64_t size; /* a power of two */
	enum pci_bar_kind kind;
};

enum pci_irq_kind {
	PCI_IRQ_NONE,
	PCI_IRQ_MSI,
	PCI_IRQ_MSIX,
};

struct pci;
struct pci_dev;

struct pci_bus {
	struct pci *pci;
	struct pci_bus *parent; /* stands before it in pci->buses; NULL: the root */
	struct pci_dev *bridge; /* to it, on the parent */
	unsigned flags; /* pci_bus_flag */
	const char *why; /* the flags: who says so */
	uint8_t number;
	uint8_t last; /* bus number below it */
};

struct pci_cap {
	uint8_t id;
	uint8_t at;
};

struct pci_dev {
	struct pci *pci;
	struct pci_bus *bus;
	struct pci_bus *behind; /* a bridge's */
	const struct pci_driver *driver;
	const char *why; /* the flags */
	unsigned flags; /* pci_dev_flag */
	uint32_t class; /* class, subclass, interface */
	uint16_t vendor;
	uint16_t device;
	uint8_t devfn;
	uint8_t header; /* type, 0 or 1 */
	uint8_t nr_caps;
	enum pci_irq_kind irq;
	int vector;
	struct pci_bar bars[PCI_BARS];
	struct pci_cap caps[PCI_MAX_CAPS];
};

struct pci {
	const struct platform *platform;
	unsigned nr_buses;
	unsigned nr_devs;
	unsigned nr_faults; /* lines about what cannot be */
	struct pci_bus buses[PCI_MAX_BUSES];
	struct pci_dev devs[PCI_MAX_DEVS];
};

struct pci_id {
	uint16_t vendor, device; /* PCI_ANY matches all */
};

struct pci_driver {
	const char *name;
	const struct pci_id *ids; /* up to one with vendor 0 */
	int (*probe)(struct pci_dev *dev, void *context);
	/* NULL, or the driver's own rule: why this device must not send messages; NULL when it may. */
	const char *(*no_msi)(const struct pci_dev *dev);
};

/* ---- finding (pci_scan.c) ------------------------------------------------------------------------ */

/* The number of devices, or -ENODEV when nothing answers at all. */
int pci_scan(struct pci *pci, const struct platform *platform);

struct pci_dev *pci_get_slot(struct pci_bus *bus, uint8_t devfn);

/* Calls probe() for each device without a driver that matches. Returns how many said 0 to it. */
unsigned pci_bind(struct pci *pci, const struct pci_driver *driver, void *context);

/* ---- one device (pci.c) -------------------------------------------------------------------------- */

/* pre: offset is a multiple of size and inside the space, which callers have checked. */
uint32_t pci_read(const struct pci_dev *dev, unsigned offset, unsigned size);
void pci_write(const struct pci_dev *dev, unsigned offset, unsigned size, uint32_t value);

/* Sets and clears bits of the command register. */
void pci_command(const struct pci_dev *dev, uint16_t set, uint16_t clear);

bool pci_matches(const struct pci_id *id, const struct pci_dev *dev);

/* A line in the log that begins with the device's place; format as of platform_log(). */
void pci_log(const struct pci_dev *dev, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* The same about what cannot be, which is counted. */
void pci_fault(const struct pci_dev *dev, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* ---- capabilities (pci_cap.c) -------------------------------------------------------------------- */

/* Reads the list of a new device. One that loops or leaves its room is not believed at all. */
void pci_read_caps(struct pci_dev *dev);

/* Index in dev->caps of the first one with this identity from index `from` on, or -1. */
int pci_next_cap(const struct pci_dev *dev, uint8_t id, int from);

/* ---- memory (pci_bar.c) -------------------------------------------------------------------------- */

void pci_read_bars(struct pci_dev *dev);

/* Of two that overlap the one that was found later is refused. */
void pci_check_bars(struct pci *pci);

/* -ENXIO: there is no such memory; -EINVAL: it does not reach so far; or what the platform says. */
int pci_map_bar(const struct pci_dev *dev, unsigned bar, uint64_t offset, uint64_t size,
		struct mmio *m);

/* ---- fixups (pci_fixup.c) ------------------------------------------------------------------------ */

enum pci_pass {
	PCI_PASS_HEADER, /* the device was read; nothing behind it was looked at */
	PCI_PASS_FINAL, /* everything was found */
};

struct pci_fixup {
	enum pci_pass pass;
	struct pci_id id;
	void (*run)(struct pci_dev *dev);
};

/* Ends with one that has no function. */
extern const struct pci_fixup pci_fixups[];

void pci_run_fixups(struct pci_dev *dev, const struct pci_fixup *table, enum pci_pass pass);

/* For this bus and all below it. `why` goes into the log where something is refused for it. */
void pci_flag_bus(struct pci_bus *bus, enum pci_bus_flag flag, const char *why);

/* ---- interrupts by message (pci_msi.c, pci_msix.c) ------------------------------------------------ */

/* Why the device may not send messages, or NULL. */
const char *pci_msi_refusal(const struct pci_dev *dev);

/*
 * One message for the device. -EOPNOTSUPP: refused, by a bus, the device's fixups or its driver, and a line in the log
 * says why; -ENODEV: it has no such capability; -EIO: what the capability says cannot be; -EBUSY: it has messages already;
 * or what vector_take() or map() say. Where it fails nothing has changed, and the driver polls.
 */
int pci_enable_msi(struct pci_dev *dev, void (*handler)(void *arg), void *arg);
int pci_enable_msix(struct pci_dev *dev, void (*handler)(void *arg), void *arg);

/* Of either kind; does nothing when there are none. */
void pci_disable_messages(struct pci_dev *dev);

/* What the two have in common. 0 or -EOPNOTSUPP, -EBUSY. */
int pci_may_send(const struct pci_dev *dev);

#endif
