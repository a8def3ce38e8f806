/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is connected, and for how long they have kept us waiting.
 *
 * A connection has a while to bring a whole request, however busy it looks
 * meanwhile, and must take what it is sent at a pace that a modem could hold:
 * otherwise a handful of slow clients would be all that a seed ever serves.
 * How much a client took is what its kernel acknowledged, so neither TLS nor
 * sendfile hide it.  Once a second a keeper looks after all of them, and after
 * the regions that they are being sent: whoever is in the middle of a file
 * that was rewritten is cut off.
 */
#ifndef WFS_TRANSPORT_SEED_CLIENTS_H
#define WFS_TRANSPORT_SEED_CLIENTS_H

#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct wfs_region;

/* What a connection is let do. */
enum wfs_standing {
	WFS_WELCOME,
	WFS_ONE_TOO_MANY, /* there are too many connections */
	WFS_ITS_TOO_MANY, /* its address has too many */
};

/* A connection. */
struct wfs_client {
	struct wfs_client *prev, *next;
	struct in6_addr address; /* v4 mapped */
	int fd;			 /* the socket that the kernel counts */
	bool owned;		 /* it is closed with the client */
	bool certified;		 /* it brought a certificate that we trust */
	char identity[160];	 /* "certificate of …", then */
	enum wfs_standing standing;
	/* All below: guarded by the lock. */
	unsigned refs;
	int inner;	/* what the HTTP server has in its place, or -1 */
	bool asking;	/* a whole request is here, and not answered yet */
	bool streams;	/* it may be quiet as long as it likes */
	uint64_t since; /* when it last had nothing to wait for */
	uint64_t acked; /* bytes, when it was last quick enough … */
	uint64_t quick; /* … and when that was */
	struct wfs_region *region; /* being sent, or NULL */
};

struct wfs_clients {
	pthread_mutex_t lock;
	struct wfs_client *first;
	unsigned count, max, per_address;
	unsigned spare; /* beyond max, to be told that they are too many */
	uint64_t header_ns, stall_ns;
	atomic_ullong refused, cut_off; /* for the metrics */
};

void wfs_clients_init(struct wfs_clients *clients);
void wfs_clients_clear(struct wfs_clients *clients);

/*
 * A connection came: never NULL, with one reference.  `owned`: its descriptor
 * goes with the last one.  Whoever drops that must not have closed it before.
 */
struct wfs_client *wfs_client_add(struct wfs_clients *clients, int fd,
				  bool owned);
void wfs_client_release(struct wfs_clients *clients, struct wfs_client *client);
/*
 * One more reference: the HTTP server's, by whose descriptor it is found until
 * the server gives it back, which may have happened already.
 */
void wfs_client_lend(struct wfs_clients *clients, struct wfs_client *client,
		     int inner);
void wfs_client_give_back(struct wfs_clients *clients,
			  struct wfs_client *client);
struct wfs_client *wfs_client_find(struct wfs_clients *clients, int inner);

/* Are there so many that no other should even be told? */
bool wfs_clients_full(struct wfs_clients *clients);

/* A whole request is here; `wfs_client_answered`: what it asked, it has. */
void wfs_client_asks(struct wfs_clients *clients, struct wfs_client *client);
void wfs_client_answered(struct wfs_clients *clients,
			 struct wfs_client *client);

/* From now on it is asking for good. */
void wfs_client_streams(struct wfs_clients *clients, struct wfs_client *client);

/* `region` (NULL: none) is being sent; it must live until that is undone. */
void wfs_client_sends(struct wfs_clients *clients, struct wfs_client *client,
		      struct wfs_region *region);

/* Has the other side closed its end? */
bool wfs_client_gone(const struct wfs_client *client);

/* Cuts off whoever is too slow; `all`: everybody. */
void wfs_clients_look(struct wfs_clients *clients, bool all);

#endif
