/* SPDX-License-Identifier: MIT */
/*
 * gfx.c - which graphics may interrupt by message.
 *
 * Chips before the RV380 have the capability and do not do it right. Integrated ones depend on what the board's firmware
 * set up in the chipset. Neither is the bus's fault, so the driver has a rule of its own, on top of the quirks.
 */
#include "gfx.h"
#include "pci_ids.h"
#include "pci_regs.h"

/* Of each family one or two that were common. */
static const struct gfx_chip chips[] = {
	{ 0x4e44, GFX_R300, false }, /* 9700 Pro */
	{ 0x5144, GFX_R100, false }, /* 7200 */
	{ 0x5157, GFX_RV200, false }, /* 7500 */
	{ 0x4337, GFX_RS200, true }, /* IGP 340M */
	{ 0x5955, GFX_RS480, true }, /* Xpress 200M */
	{ 0x3150, GFX_RV380, false }, /* Mobility X600 */
	{ 0x5b60, GFX_RV380, false }, /* X300 */
	{ 0x4a49, GFX_R420, false }, /* X800 Pro */
	{ 0x791e, GFX_RS690, true }, /* X1200 */
	{ 0x7100, GFX_R520, false }, /* X1800 */
	{ 0x9400, GFX_R600, false }, /* HD 2900 XT */
	{ 0x94c1, GFX_RV610, false }, /* HD 2400 Pro */
	{ 0x9610, GFX_RS780, true }, /* HD 3200 */
	{ 0x9614, GFX_RS780, true }, /* HD 3300 */
	{ 0x9710, GFX_RS880, true }, /* HD 4200 */
	{ 0x9440, GFX_RV770, false }, /* HD 4870 */
	{ 0x954f, GFX_RV710, false }, /* HD 4350 */
};

const struct gfx_chip *gfx_chip(const struct pci_dev *dev)
{
	for (unsigned i = 0; i < sizeof(chips) / sizeof(chips[0]); i++) {
		if (dev->vendor == PCI_VENDOR_ATI && dev->device == chips[i].device)
			return &chips[i];
	}
	return NULL;
}

static const char *no_msi(const struct pci_dev *dev)
{
	const struct gfx_chip *chip = gfx_chip(dev);

	if (!chip)
		return "the graphics are of no known family";
	if (chip->family < GFX_RV380)
		return "graphics of so old a family do not send them right";
	if (chip->integrated)
		return "the graphics are a part of the chipset";
	return NULL;
}

static void interrupted(void *arg)
{
	struct gfx *g = arg;

	g->interrupts++;
}

/* There is no picture here; what it shows is who decides. */
static int probe(struct pci_dev *dev, void *context)
{
	struct gfx *g = context;

	if (dev->class >> 16 != PCI_CLASS_VGA >> 8)
		return -AVM_ENODEV; /* the same maker's sound, for example */
	g->cards++;
	if (pci_enable_msi(dev, interrupted, g))
		pci_log(dev, "gfx: interrupts by wire");
	return 0;
}

static const struct pci_id ids[] = { { PCI_VENDOR_ATI, PCI_ANY }, { 0 } };
const struct pci_driver gfx_driver = { .name = "gfx", .ids = ids, .probe = probe, .no_msi = no_msi };
