/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists of options as mount(8) hands them over: ours, and the words that
 * every line of fstab may hold.
 */
#include <string.h>

#include "core/base/text.h"
#include "tools/options.h"

/*
 * What mount(8), fstab and systemd put in a list for themselves, or act on
 * before we are called.  The mount is always ro,nosuid,nodev.
 */
static const char *const standard_words[] = {
	"defaults", "ro",	  "rw",		 "auto",	  "noauto",
	"user",	    "nouser",	  "users",	 "nousers",	  "owner",
	"noowner",  "group",	  "nogroup",	 "nofail",	  "_netdev",
	"suid",	    "nosuid",	  "dev",	 "nodev",	  "exec",
	"noexec",   "atime",	  "noatime",	 "diratime",	  "nodiratime",
	"relatime", "norelatime", "strictatime", "nostrictatime", "sync",
	"async",    "dirsync",	  "silent",	 "loud",
};

static const char *const standard_prefixes[] = {
	"x-", "X-", "comment=", "fsname=", "subtype=", "user=",
};

static bool is_standard(const char *word)
{
	for (size_t i = 0; i < sizeof(standard_words) / sizeof(char *); i++) {
		if (strcmp(word, standard_words[i]) == 0)
			return true;
	}
	for (size_t i = 0; i < sizeof(standard_prefixes) / sizeof(char *);
	     i++) {
		if (strncmp(word, standard_prefixes[i],
			    strlen(standard_prefixes[i])) == 0)
			return true;
	}
	return false;
}

static bool is_known(const char *key, bool has_value)
{
	return wfs_option_find(key) ||
	       (!has_value && strncmp(key, "no", 2) == 0 &&
		wfs_option_find(key + 2));
}

/* Takes one item off *list, its escapes undone, into `item`. */
static void next_item(const char **list, char *item)
{
	const char *p = *list;

	while (*p && *p != ',') {
		if (*p == '\\' && p[1])
			p++;
		*item++ = *p++;
	}
	*item = '\0';
	*list = *p ? p + 1 : p;
}

int wfs_options_set_list(struct wfs_options *options, const char *list,
			 bool sloppy, struct wfs_err *err)
{
	char *item wfs_autofree = wfs_malloc(strlen(list) + 1);

	while (*list) {
		char *equals;
		int rc;

		next_item(&list, item);
		if (!item[0] || is_standard(item))
			continue;
		equals = strchr(item, '=');
		if (equals)
			*equals++ = '\0';
		if (sloppy && !is_known(item, equals != NULL))
			continue;
		rc = wfs_options_set(options, item, equals, err);
		if (rc)
			return rc;
	}
	return 0;
}
