/* SPDX-License-Identifier: MIT */
/*
 * pci_fixup.c - what is known of particular devices, and of no use to a driver: it may never be there.
 *
 * A fixup is looked up by vendor and device. The board makers put their own vendor number into some devices of a chipset,
 * so one that is to be found on all boards is declared on a device that tells the chipset reliably, and looks for the one
 * it is about from there.
 */
#include "pci.h"
#include "pci_regs.h"
#include "pci_ids.h"

void pci_flag_bus(struct pci_bus *bus, enum pci_bus_flag flag, const char *why)
{
	struct pci *pci = bus->pci;

	bus->flags |= flag;
	bus->why = why;
	/* A parent stands before its children. */
	for (struct pci_bus *b = bus + 1; b < pci->buses + pci->nr_buses; b++) {
		if (b->parent && b->parent->flags & flag && !(b->flags & flag)) {
			b->flags |= flag;
			b->why = b->parent->why;
		}
	}
}

void pci_run_fixups(struct pci_dev *dev, const struct pci_fixup *table, enum pci_pass pass)
{
	for (const struct pci_fixup *f = table; f->run; f++) {
		if (f->pass == pass && pci_matches(&f->id, dev))
			f->run(dev);
	}
}

/* ---- RS780, RS880: messages of the internal graphics --------------------------------------------- */

/*
 * The chipset has a bridge, always in slot 1, and behind it graphics and the sound of HDMI. Whether messages from there
 * arrive was decided by a strap, which the firmware sets, and which reads back in a register of the host bridge. Some
 * boards have it wrong: then messages may be enabled there, and none comes.
 *
 * The bridge may have the vendor number of whoever made the board; the number of the device is the chipset's.
 */
#define INT_GFX_SLOT PCI_DEVFN(1, 0)

/* Registers of the host bridge that are not in configuration space: an index, and what it selects. */
#define NB_INDEX 0x60
#define NB_DATA 0x64
#define NB_CNTL 0x00
#define NB_CNTL_STRAP_MSI_ENABLE (1u << 10)

/* The pair is shared with the firmware: the index is put back. */
static uint32_t nb_read(const struct pci_dev *host, uint32_t index)
{
	uint32_t was = pci_read(host, NB_INDEX, 4), value;

	pci_write(host, NB_INDEX, 4, index);
	value = pci_read(host, NB_DATA, 4);
	pci_write(host, NB_INDEX, 4, was);
	return value;
}

static void rs780_int_gfx(struct pci_dev *host)
{
	struct pci_dev *bridge = pci_get_slot(host->bus, INT_GFX_SLOT);
	uint32_t cntl;

	if (!bridge || bridge->device != RS780_INT_GFX_BRIDGE || !bridge->behind)
		return;
	cntl = nb_read(host, NB_CNTL);
	/* All ones is no answer, and no answer is no promise. */
	if (cntl & NB_CNTL_STRAP_MSI_ENABLE && cntl != UINT32_MAX)
		return;
	pci_log(bridge, "quirk: no MSI on bus %02x, strap_msi_enable is clear (nb_cntl %08x)",
		bridge->behind->number, cntl);
	pci_flag_bus(bridge->behind, PCI_BUS_NO_MSI,
		     "strap_msi_enable of the host bridge is clear");
}

/* ---- AMD 8131: a PCI-X bridge that takes messages for writes to memory of its own ------------------ */

static void amd_8131(struct pci_dev *bridge)
{
	if (!bridge->behind)
		return;
	pci_log(bridge, "quirk: no MSI on bus %02x, an AMD 8131 does not pass it on",
		bridge->behind->number);
	pci_flag_bus(bridge->behind, PCI_BUS_NO_MSI, "an AMD 8131 does not pass messages on");
}

/* ---- PIIX4: ports that no BAR tells of ------------------------------------------------------------ */

#define PIIX4_PM_BASE 0x40 /* 64 ports, when bit 0 of PIIX4_PM_ON is set */
#define PIIX4_PM_ON 0x80
#define PIIX4_SMB_BASE 0x90 /* 16 ports, when bit 0 of PIIX4_SMB_ON is set */
#define PIIX4_SMB_ON 0xd2

/* In the header pass, so that they count when BARs are compared. The device itself has no BAR. */
static void piix4_power(struct pci_dev *dev)
{
	if (pci_read(dev, PIIX4_PM_ON, 1) & 1)
		dev->bars[0] =
			(struct pci_bar){ .address = pci_read(dev, PIIX4_PM_BASE, 4) & 0xffc0u,
					  .size = 64,
					  .kind = PCI_BAR_PORTS };
	if (pci_read(dev, PIIX4_SMB_ON, 1) & 1)
		dev->bars[1] =
			(struct pci_bar){ .address = pci_read(dev, PIIX4_SMB_BASE, 4) & 0xfff0u,
					  .size = 16,
					  .kind = PCI_BAR_PORTS };
}

/* ---- the table ------------------------------------------------------------------------------------ */

const struct pci_fixup pci_fixups[] = {
	{ PCI_PASS_HEADER, { PCI_VENDOR_INTEL, PIIX4_POWER }, piix4_power },
	{ PCI_PASS_FINAL, { PCI_VENDOR_AMD, AMD_8131 }, amd_8131 },
	{ PCI_PASS_FINAL, { PCI_VENDOR_AMD, RS780_HOST }, rs780_int_gfx },
	{ PCI_PASS_FINAL, { PCI_VENDOR_AMD, RS880_HOST }, rs780_int_gfx },
	{ PCI_PASS_FINAL, { PCI_VENDOR_ASUSTEK, RS780_HOST }, rs780_int_gfx },
	{ PCI_PASS_FINAL, { PCI_VENDOR_ASUSTEK, RS880_HOST }, rs780_int_gfx },
	{ PCI_PASS_FINAL, { PCI_VENDOR_ASROCK, RS780_HOST }, rs780_int_gfx },
	{ PCI_PASS_FINAL, { PCI_VENDOR_ASROCK, RS880_HOST }, rs780_int_gfx },
	{ 0 },
};
