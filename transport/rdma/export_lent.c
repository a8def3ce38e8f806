/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory of others, which they may change: registered where it is, nothing of
 * it is copied, and told of by where the pieces of a region lie in it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/hex.h"
#include "core/base/least.h"
#include "core/base/mem.h"
#include "transport/rdma/export_inner.h"

typedef unsigned long long ull;

struct export_cursor wfs_export_all(struct wfs_exporter *exporter)
{
	return (struct export_cursor){ .exporter = exporter,
				       .loan = exporter->loans };
}

struct export_region *wfs_export_next(struct export_cursor *cursor)
{
	struct wfs_exporter *exporter = cursor->exporter;
	size_t at = cursor->at++;
	struct export_loan *loan = cursor->loan;

	if (at < exporter->region_count)
		return &exporter->regions[at];
	at -= exporter->region_count;
	if (!loan)
		return NULL;
	if (at < loan->count)
		return &loan->spans[at];
	cursor->loan = loan->next;
	cursor->at = exporter->region_count;
	return &loan->cell;
}

int wfs_exporter_can_lend(const struct wfs_exporter *exporter,
			  struct wfs_err *err)
{
	/* What is copied on writing is another page than the device's. */
	if (exporter->verbs->ibv_is_fork_initialized &&
	    exporter->verbs->ibv_is_fork_initialized() == IBV_FORK_UNNEEDED)
		return 0;
	return wfs_err_set(err, -ENOTSUP,
			   "the memory of this process cannot be read by RDMA: "
			   "after a fork the device would see what it was; "
			   "that needs Linux 5.12 and rdma-core 35");
}

static struct export_loan **find_loan(struct wfs_exporter *exporter,
				      const void *cell)
{
	struct export_loan **at = &exporter->loans;

	while (*at && (*at)->cell.map != cell)
		at = &(*at)->next;
	return at;
}

static void set(struct wfs_exporter *exporter, struct export_region *region,
		uintptr_t low, uint64_t len)
{
	region->map = (uint8_t *)low; /* NOLINT(performance-no-int-to-ptr) */
	region->size = region->map_len = len;
	region->address = wfs_export_place_locked(exporter, region->map, len);
}

/* What every device takes as one, in whole pages. */
static uint64_t longest_locked(const struct wfs_exporter *exporter)
{
	uint64_t longest = 1ull << 40;

	for (size_t i = 0; i < exporter->rail_count; i++)
		longest = wfs_least(longest, exporter->rails[i].region_max);
	return longest > 4096 ? longest / 4096 * 4096 - 4096 : longest;
}

/* How many registrations it takes; and makes them, where there is a loan. */
static size_t cut_locked(struct wfs_exporter *exporter,
			 const struct wfs_live_span *spans, size_t count,
			 struct export_loan *loan)
{
	uint64_t longest = longest_locked(exporter);
	size_t n = 0;

	for (size_t i = 0; i < count; i++) {
		uintptr_t low = spans[i].low;

		while (low < spans[i].high && n < WFS_EXPORT_SPANS + 1) {
			uint64_t len = wfs_least(spans[i].high - low, longest);

			if (loan)
				set(exporter, &loan->spans[n], low, len);
			low += len;
			n++;
		}
	}
	return n;
}

int wfs_exporter_lend(struct wfs_exporter *exporter, const void *cell,
		      const struct wfs_live_span *spans, size_t count)
{
	struct export_loan *loan = NULL;
	size_t n;
	int rc = 0;

	pthread_mutex_lock(&exporter->domains_lock);
	pthread_mutex_lock(&exporter->lock);
	n = cut_locked(exporter, spans, count, NULL);
	if (n > WFS_EXPORT_SPANS)
		rc = -E2BIG;
	else if (*find_loan(exporter, cell))
		rc = -EEXIST;
	if (!rc) {
		loan = wfs_calloc(1, sizeof(*loan) + n * sizeof(loan->cell));
		loan->count = cut_locked(exporter, spans, count, loan);
		set(exporter, &loan->cell, (uintptr_t)cell, sizeof(uint64_t));
		loan->next = exporter->loans;
		exporter->loans = loan;
	}
	pthread_mutex_unlock(&exporter->lock);
	if (loan) {
		for (size_t i = 0; i < loan->count; i++)
			wfs_export_register(exporter, &loan->spans[i]);
		wfs_export_register(exporter, &loan->cell);
	}
	pthread_mutex_unlock(&exporter->domains_lock);
	return rc;
}

static bool end_loan(struct wfs_exporter *exporter, struct export_loan *loan)
{
	bool gone = wfs_export_deregister(exporter, &loan->cell);

	for (size_t i = 0; i < loan->count; i++)
		gone &= wfs_export_deregister(exporter, &loan->spans[i]);
	free(loan);
	return gone;
}

int wfs_exporter_take_back(struct wfs_exporter *exporter, const void *cell)
{
	struct export_loan **at, *loan;
	int rc = -ENOENT;

	pthread_mutex_lock(&exporter->domains_lock);
	pthread_mutex_lock(&exporter->lock);
	at = find_loan(exporter, cell);
	loan = *at;
	if (loan)
		*at = loan->next;
	pthread_mutex_unlock(&exporter->lock);
	if (loan)
		rc = end_loan(exporter, loan) ? 0 : -EBUSY;
	pthread_mutex_unlock(&exporter->domains_lock);
	return rc;
}

void wfs_export_clear_loans(struct wfs_exporter *exporter)
{
	while (exporter->loans) {
		struct export_loan *loan = exporter->loans;

		exporter->loans = loan->next;
		end_loan(exporter, loan);
	}
}

/* The span with that byte, or NULL. */
static const struct export_region *find_span(const struct export_loan *loan,
					     const uint8_t *at)
{
	size_t low = 0, high = loan->count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		const struct export_region *span = &loan->spans[mid];

		if (at < span->map)
			high = mid;
		else if (at - span->map >= (ptrdiff_t)span->map_len)
			low = mid + 1;
		else
			return span;
	}
	return NULL;
}

/* A piece, in parts where it was registered in parts. */
static void add_piece(const struct export_loan *loan,
		      const struct wfs_live_piece *piece, const char **between,
		      struct wfs_text *text)
{
	uint64_t done = 0;

	while (done < piece->len) {
		const uint8_t *at = (const uint8_t *)piece->at + done;
		const struct export_region *span = find_span(loan, at);
		uint64_t off = piece->off + done, address, len;

		if (!span)
			return;
		address = span->address + (uint64_t)(at - span->map);
		len = wfs_least(piece->len - done,
				span->address + span->map_len - address);
		wfs_text_add(text, "%s[%llu,%llu,%llu]", *between, (ull)off,
			     (ull)address, (ull)len);
		*between = ",";
		done += len;
	}
}

struct telling {
	struct wfs_exporter *exporter;
	struct wfs_text *text;
	const char *between;
};

static void add_region(void *to, const struct wfs_wire_region *region,
		       const struct wfs_live_memory *memory)
{
	struct telling *it = to;
	const struct export_loan *loan = *find_loan(it->exporter, memory->cell);
	char id[2 * WFS_WIRE_ID_BYTES + 1];
	const char *between = "";

	if (!loan || !memory->count)
		return;
	wfs_text_add(it->text,
		     "%s\n{\"region\":\"%s\",\"size\":%llu,\"epoch\":%llu,"
		     "\"cell\":%llu,\"pieces\":[",
		     it->between,
		     wfs_hex_format(region->id, sizeof(region->id), id),
		     (ull)region->size, (ull)memory->epoch,
		     (ull)loan->cell.address);
	for (size_t i = 0; i < memory->count; i++)
		add_piece(loan, &memory->pieces[i], &between, it->text);
	wfs_text_add(it->text, "]}");
	it->between = ",";
}

void wfs_export_add_live(struct wfs_exporter *exporter, struct wfs_text *text)
{
	struct telling it = { exporter, text, "" };

	wfs_text_add(text, ",\"live\":[");
	if (exporter->stock.live)
		exporter->stock.live(exporter->stock.ctx, add_region, &it);
	wfs_text_add(text, "]");
}
