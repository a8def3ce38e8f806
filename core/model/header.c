/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See header.h.  The order of dtypes was taken from safetensors 0.8.
 */
#include "core/model/header.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/base/bytes.h"
#include "core/base/text.h"

unsigned wfs_dtype_place(enum wfs_dtype dtype)
{
	static const uint8_t places[WFS_DTYPE_COUNT] = {
		[WFS_U64] = 0,		[WFS_I64] = 1,
		[WFS_F64] = 2,		[WFS_C64] = 3,
		[WFS_F32] = 4,		[WFS_U32] = 5,
		[WFS_I32] = 6,		[WFS_BF16] = 7,
		[WFS_F16] = 8,		[WFS_U16] = 9,
		[WFS_I16] = 10,		[WFS_F8_E5M2FNUZ] = 11,
		[WFS_F8_E4M3FNUZ] = 12, [WFS_F8_E8M0] = 13,
		[WFS_F8_E4M3] = 14,	[WFS_F8_E5M2] = 15,
		[WFS_I8] = 16,		[WFS_U8] = 17,
		[WFS_F6_E3M2] = 18,	[WFS_F6_E2M3] = 19,
		[WFS_F4] = 20,		[WFS_BOOL] = 21,
	};

	return places[dtype];
}

uint32_t *wfs_header_order(const struct wfs_tensor *tensors, uint32_t count)
{
	uint32_t *order = wfs_calloc((size_t)count + 1, sizeof(*order));
	uint32_t n = 0;

	for (unsigned place = 0; place < WFS_DTYPE_COUNT; place++)
		for (uint32_t i = 0; i < count; i++)
			if (wfs_dtype_place((enum wfs_dtype)tensors[i].dtype) ==
			    place)
				order[n++] = i;
	return order;
}

/* As serde_json writes a string. */
static void add_name(struct wfs_text *t, const char *s)
{
	static const char named[] = "\bb\tt\nn\ff\rr";
	const char *plain = s;

	wfs_text_add_bytes(t, "\"", 1);
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;
		const char *at;

		/* A NUL is held as C0 80, see core/model/names.h. */
		if (c >= 0x20 && c != '"' && c != '\\' && c != 0xc0)
			continue;
		wfs_text_add_bytes(t, plain, (size_t)(s - plain));
		at = c ? memchr(named, c, sizeof(named) - 1) : NULL;
		if (c == '"' || c == '\\')
			wfs_text_add(t, "\\%c", c);
		else if (c == 0xc0)
			wfs_text_add(t, "\\u0000"), s++;
		else if (at)
			wfs_text_add(t, "\\%c", at[1]);
		else
			wfs_text_add(t, "\\u%04x", c);
		plain = s + 1;
	}
	wfs_text_add_bytes(t, plain, (size_t)(s - plain));
	wfs_text_add_bytes(t, "\"", 1);
}

static void add_tensor(struct wfs_text *t, const struct wfs_tensor *tensor,
		       uint64_t off)
{
	char number[64];

	add_name(t, tensor->name);
	wfs_text_add(t, ":{\"dtype\":\"%s\",\"shape\":[",
		     wfs_dtype_name((enum wfs_dtype)tensor->dtype));
	for (unsigned i = 0; i < tensor->ndim; i++) {
		int n = snprintf(number, sizeof(number), "%s%" PRIu64,
				 i ? "," : "", tensor->shape[i]);

		wfs_text_add_bytes(t, number, (size_t)n);
	}
	wfs_text_add(t, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", off,
		     off + tensor->size);
}

void wfs_header_write(const struct wfs_tensor *tensors, const uint32_t *order,
		      uint32_t count, bool format, struct wfs_text *text)
{
	size_t start = text->len;
	uint64_t off = 0;

	wfs_text_add_bytes(text, "\0\0\0\0\0\0\0\0{", 9);
	if (format)
		wfs_text_add(text, "\"__metadata__\":{\"format\":\"pt\"}");
	for (uint32_t i = 0; i < count; i++) {
		if (i || format)
			wfs_text_add_bytes(text, ",", 1);
		add_tensor(text, &tensors[order[i]], off);
		off += tensors[order[i]].size;
	}
	wfs_text_add_bytes(text, "}", 1);
	while ((text->len - start) % 8)
		wfs_text_add_bytes(text, " ", 1);
	wfs_put_le64(text->data + start, text->len - start - 8);
}
