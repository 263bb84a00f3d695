/* SPDX-License-Identifier: MIT */
/*
 * sim_compress.c - the compressors of swap devices: zstd and lz4, each where the build has found it (sim_priv.h).
 *
 * A compressor keeps its working memory from page to page: making it anew costs more than compressing a page.
 */
#include <stdlib.h>

#include "sim_priv.h"

#if AVM_HAVE_ZSTD
#include <zstd.h>
#endif
#if AVM_HAVE_LZ4
#include <lz4.h>
#include <lz4hc.h>
#endif

struct sim_codec_ops {
	int (*min_level)(void);
	int (*max_level)(void);
	bool (*open)(struct sim_codec *c); /* false: the host has no memory */
	void (*close)(struct sim_codec *c);
	size_t (*pack)(struct sim_codec *c, void *to, size_t room, const void *from, size_t len);
	bool (*unpack)(struct sim_codec *c, void *to, size_t len, const void *from, size_t packed);
};

struct sim_codec {
	const struct sim_codec_ops *ops;
	int level;
	void *pack_state, *unpack_state;
};

/* ---- zstd ---------------------------------------------------------------------------------------------- */

#if AVM_HAVE_ZSTD

static bool zstd_open(struct sim_codec *c)
{
	c->pack_state = ZSTD_createCCtx();
	c->unpack_state = ZSTD_createDCtx();
	return c->pack_state && c->unpack_state;
}

static void zstd_close(struct sim_codec *c)
{
	ZSTD_freeCCtx(c->pack_state);
	ZSTD_freeDCtx(c->unpack_state);
}

static size_t zstd_pack(struct sim_codec *c, void *to, size_t room, const void *from, size_t len)
{
	size_t packed = ZSTD_compressCCtx(c->pack_state, to, room, from, len, c->level);

	return ZSTD_isError(packed) ? 0 : packed;
}

static bool zstd_unpack(struct sim_codec *c, void *to, size_t len, const void *from, size_t packed)
{
	return ZSTD_decompressDCtx(c->unpack_state, to, len, from, packed) == len;
}

static const struct sim_codec_ops zstd_ops = {
	ZSTD_minCLevel, ZSTD_maxCLevel, zstd_open, zstd_close, zstd_pack, zstd_unpack,
};

#endif

/* ---- lz4 ----------------------------------------------------------------------------------------------- */

#if AVM_HAVE_LZ4

static int lz4_min_level(void)
{
	return -65536; /* how far faster and worse goes: liblz4 has no name for it */
}

static int lz4_max_level(void)
{
	return LZ4HC_CLEVEL_MAX;
}

static bool lz4_is_hc(const struct sim_codec *c)
{
	return c->level > 1;
}

static bool lz4_open(struct sim_codec *c)
{
	int size = lz4_is_hc(c) ? LZ4_sizeofStateHC() : LZ4_sizeofState();

	c->pack_state = malloc((size_t)size);
	return c->pack_state != NULL;
}

static void lz4_close(struct sim_codec *c)
{
	free(c->pack_state);
}

static size_t lz4_pack(struct sim_codec *c, void *to, size_t room, const void *from, size_t len)
{
	int packed;

	if (lz4_is_hc(c))
		packed = LZ4_compress_HC_extStateHC(c->pack_state, from, to, (int)len, (int)room,
						    c->level);
	else
		packed = LZ4_compress_fast_extState(c->pack_state, from, to, (int)len, (int)room,
						    c->level < 0 ? -c->level : 1);
	return packed > 0 ? (size_t)packed : 0;
}

static bool lz4_unpack(struct sim_codec *c, void *to, size_t len, const void *from, size_t packed)
{
	(void)c;
	return LZ4_decompress_safe(from, to, (int)packed, (int)len) == (int)len;
}

static const struct sim_codec_ops lz4_ops = {
	lz4_min_level, lz4_max_level, lz4_open, lz4_close, lz4_pack, lz4_unpack,
};

#endif

/* ---- either -------------------------------------------------------------------------------------------- */

static const struct sim_codec_ops *ops_of(enum sim_swap_kind kind)
{
#if AVM_HAVE_ZSTD
	if (kind == SIM_SWAP_ZSTD)
		return &zstd_ops;
#endif
#if AVM_HAVE_LZ4
	if (kind == SIM_SWAP_LZ4)
		return &lz4_ops;
#endif
	(void)kind;
	return NULL;
}

bool sim_codec_there(enum sim_swap_kind kind)
{
	return ops_of(kind) != NULL;
}

int sim_codec_new(enum sim_swap_kind kind, int level, struct sim_codec **out)
{
	const struct sim_codec_ops *ops = ops_of(kind);
	struct sim_codec *c;

	if (!ops)
		return -AVM_EOPNOTSUPP;
	if (level < ops->min_level() || level > ops->max_level())
		return -AVM_EINVAL;
	c = sim_host_alloc(sizeof(*c));
	c->ops = ops;
	c->level = level;
	if (!ops->open(c)) {
		sim_codec_free(c);
		return -AVM_ENOMEM;
	}
	*out = c;
	return 0;
}

void sim_codec_free(struct sim_codec *c)
{
	if (c)
		c->ops->close(c);
	free(c);
}

size_t sim_pack(struct sim_codec *c, void *to, size_t room, const void *from, size_t len)
{
	return c->ops->pack(c, to, room, from, len);
}

bool sim_unpack(struct sim_codec *c, void *to, size_t len, const void *from, size_t packed)
{
	return c->ops->unpack(c, to, len, from, packed);
}
