/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Little-endian integers in bytes that need not be aligned.
 */
#ifndef WFS_CORE_BASE_BYTES_H
#define WFS_CORE_BASE_BYTES_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

static inline void wfs_put_le16(void *at, uint16_t value)
{
	value = htole16(value);
	memcpy(at, &value, sizeof(value));
}

static inline void wfs_put_le32(void *at, uint32_t value)
{
	value = htole32(value);
	memcpy(at, &value, sizeof(value));
}

static inline void wfs_put_le64(void *at, uint64_t value)
{
	value = htole64(value);
	memcpy(at, &value, sizeof(value));
}

static inline uint16_t wfs_get_le16(const void *at)
{
	uint16_t value;

	memcpy(&value, at, sizeof(value));
	return le16toh(value);
}

static inline uint32_t wfs_get_le32(const void *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return le32toh(value);
}

static inline uint64_t wfs_get_le64(const void *at)
{
	uint64_t value;

	memcpy(&value, at, sizeof(value));
	return le64toh(value);
}

#endif
