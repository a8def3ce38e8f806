/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who means to load, and what comes next.
 *
 * The open of a tensor is reason enough to hydrate it, and so is that of a part
 * of a layout whose checkpoint lies here, up to 1 GiB.  Other whole files that
 * no local file equals are hydrated on intent: a second open, more than 8 MiB
 * read from the file, or more than 64 MiB from its rank, after which opens
 * there hydrate at once.  `head` and scanners start nothing there.
 *
 * Why parts do not wait for more: a file that is not whole when it is opened
 * comes by READs for as long as it is open, and a loader that maps it opens it
 * once.  READs of what had to be produced besides made the first load of four
 * ranks take three times as long as that of a dump; opened when they are whole,
 * they take about as long.
 *
 * What a loader will open next is hydrated ahead of it (fs/ahead.h).  The order
 * is that in which the rank was opened the last time, else that of the shard
 * files; in it the loader's own stride is followed.  From a source
 * that is far away what comes next in the order is fetched in any case, as
 * much as the window allows, and no more is begun once the model is closed and
 * nobody comes back.
 */
#ifndef WFS_FS_INTENT_H
#define WFS_FS_INTENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct wfs_fs;
struct wfs_node;
struct wfs_intent;
struct wfs_orders;

#define WFS_INTENT_FILE_BYTES (8u << 20)
#define WFS_INTENT_RANK_BYTES (64u << 20)
#define WFS_INTENT_PART_BYTES (1u << 30)
/* Nobody has opened anything of a model for so long, and nothing is open. */
#define WFS_PREFETCH_IDLE_NS 2000000000ull

/*
 * `fs` outlives it, and so do `orders` (NULL: none are kept); its store and
 * threads may be there later.
 */
struct wfs_intent *wfs_intent_new(struct wfs_fs *fs, struct wfs_orders *orders);
/* When nothing is opened any more, before the fs's threads stop. */
void wfs_intent_stop(struct wfs_intent *intent);
void wfs_intent_free(struct wfs_intent *intent); /* NULL is fine */

/* An open of `node`: is it reason to hydrate? */
bool wfs_intent_note_open(struct wfs_intent *intent,
			  const struct wfs_node *node);

/* Queues what should be hydrated after `node`, which was opened. */
void wfs_intent_prefetch(struct wfs_intent *intent, struct wfs_fs *fs,
			 const struct wfs_node *node);

/*
 * How many files like `node` are opened before it, by the last load, else by
 * their place in the checkpoint; UINT32_MAX: it is loaded in no order.
 */
uint32_t wfs_intent_position(struct wfs_intent *intent,
			     const struct wfs_node *node);

/* `bytes` of `node` were read; may start a hydration. */
void wfs_intent_note_read(struct wfs_intent *intent, struct wfs_fs *fs,
			  const struct wfs_node *node, size_t bytes);

/* Forgets a slot that will not be served again. */
void wfs_intent_drop(struct wfs_intent *intent, uint32_t slot);

#endif
