/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files that find keys share; nobody else includes it.
 *
 *	aws.c           the order, and when to look again
 *	aws_profile.c   files with profiles
 *	aws_endpoint.c  the endpoints of containers and instances
 */
#ifndef WFS_TRANSPORT_ORIGIN_AWS_INNER_H
#define WFS_TRANSPORT_ORIGIN_AWS_INNER_H

#include "transport/origin/aws.h"

/* Starts as {0}; texts are owned. */
struct wfs_aws_keys {
	char *id, *secret;
	char *session;	/* NULL: they are no session's */
	time_t expires; /* 0: never, as far as is known */
	char from[WFS_AWS_FROM_MAX];
};

void wfs_aws_keys_clear(struct wfs_aws_keys *keys);

/* What is of use in a profile; starts as {0}. */
struct wfs_aws_profile {
	struct wfs_aws_keys keys;
	char *region, *endpoint;
	char *other; /* a way to get keys that is none of ours */
	bool found;
};

void wfs_aws_profile_clear(struct wfs_aws_profile *profile);

/*
 * Adds to `profile` what `path` says of the profile `name` and was not said
 * before.  In a config file the section is called "profile NAME".  A file that
 * is not there says nothing; else negative errno with a sentence, which tells
 * no more than the line's number.
 */
int wfs_aws_profile_read(const char *path, const char *name, bool is_config,
			 struct wfs_aws_profile *profile, struct wfs_err *err);

/*
 * Keys of the container, or of the instance: 0, -ENOENT when there is no such
 * endpoint, or what went wrong with a sentence.
 */
int wfs_aws_ask_container(const atomic_bool *stop, struct wfs_aws_keys *keys,
			  struct wfs_err *err);
int wfs_aws_ask_instance(const atomic_bool *stop, struct wfs_aws_keys *keys,
			 struct wfs_err *err);
/* The region that the instance is in, freed by the caller, or NULL. */
char *wfs_aws_instance_region(const atomic_bool *stop);

/* The variable, or NULL where it is not set or empty. */
const char *wfs_aws_env(const char *name);

#endif
