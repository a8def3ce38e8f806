/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who we are at Amazon and at those who speak as it does: keys, region and
 * endpoint, from where the other tools have them.
 *
 * Keys come from the first of these that has any:
 *
 *	AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN
 *	the profile in ~/.aws/credentials, then in ~/.aws/config
 *	the container's endpoint, AWS_CONTAINER_CREDENTIALS_RELATIVE_URI, …_FULL_URI
 *	the instance's endpoint (IMDSv2), unless AWS_EC2_METADATA_DISABLED
 *
 * Those of an endpoint are asked for anew before they expire.  With none at
 * all requests are not signed, which is how public buckets are read.  Keys are
 * never logged; messages say where they are from.
 */
#ifndef WFS_TRANSPORT_ORIGIN_AWS_H
#define WFS_TRANSPORT_ORIGIN_AWS_H

#include <curl/curl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <time.h>

#include "core/base/err.h"

struct wfs_aws;

struct wfs_aws_config { /* NULL: as the environment and the files say */
	const char *endpoint, *region, *profile;
	const char *credentials_file;
	const atomic_bool *stop; /* ends what is under way */
};

/* -EINVAL, -ENOENT … with a sentence for files and names that are wrong. */
int wfs_aws_open(const struct wfs_aws_config *config, struct wfs_aws **ret_aws,
		 struct wfs_err *err);
void wfs_aws_close(struct wfs_aws *aws); /* NULL is fine */

const char *wfs_aws_region(const struct wfs_aws *aws);
/* Without a "/" at its end; NULL: Amazon's own. */
const char *wfs_aws_endpoint(const struct wfs_aws *aws);

/*
 * Has libcurl sign the request, and adds the headers of that to *headers,
 * which the caller hands to libcurl and frees; nothing where there are no
 * keys.  May wait some seconds for an endpoint; -EACCES … with a sentence when
 * that had keys and gives none now.
 */
int wfs_aws_sign(struct wfs_aws *aws, CURL *curl, struct curl_slist **headers,
		 struct wfs_err *err);

/* A server says that the keys have expired: they are read again. */
void wfs_aws_expired(struct wfs_aws *aws);

/* Where the keys are from, such as "the environment", into `text`; "" when
 * there are none. */
#define WFS_AWS_FROM_MAX 160
void wfs_aws_from(struct wfs_aws *aws, char text[WFS_AWS_FROM_MAX]);

#endif
