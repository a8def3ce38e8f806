/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A look asks every mount, and makes the texts of them before anything is
 * drawn, so that a slow one leaves no half of a table.  ^C has its usual
 * effect: nothing of the terminal is changed for longer than one drawing.
 */
#include "tools/status_watch.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "core/base/mounts.h"
#include "core/base/text.h"
#include "tools/ask.h"
#include "tools/status_show.h"

#define NS_PER_S 1000000000ull

/* No wrapping while it is drawn, and home; to the end of a line; and below. */
#define DRAW_BEGIN "\033[?7l\033[H"
#define DRAW_LINE  "\033[K\n"
#define DRAW_END   "\033[J\033[?7h"

struct watched {
	const char *point;
	char *head, *body; /* of the last look; NULL: none yet */
	bool changed;	   /* the body, by that look */
	uint64_t pid, at, copied;
};

static bool is_mounted(const char *point)
{
	const struct wfs_mount *mount;
	struct wfs_mounts mounts;
	bool is;

	if (wfs_mounts_read(&mounts, NULL))
		return false;
	mount = wfs_mounts_at(&mounts, point);
	is = mount && wfs_mount_is_weightfs(mount);
	wfs_mounts_clear(&mounts);
	return is;
}

static int gone(const char *point, struct wfs_err *err)
{
	return wfs_err_set(err, -ENOENT, "'%s' is not mounted any more", point);
}

/* Bytes a second since the last look; 0 when there was none. */
static uint64_t take_rate(struct watched *it, yyjson_val *root)
{
	uint64_t now = wfs_now_ns(), pid = wfs_json_number(root, "pid");
	uint64_t copied = wfs_json_number(yyjson_obj_get(root, "hydration"),
					  "copied_bytes");
	double seconds = (double)(now - it->at + 1) / NS_PER_S;
	uint64_t rate = 0;

	if (it->pid == pid && copied > it->copied)
		rate = (uint64_t)((double)(copied - it->copied) / seconds);
	it->pid = pid;
	it->at = now;
	it->copied = copied;
	return rate;
}

static char *head_text(yyjson_val *root)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		return wfs_strdup("");
	wfs_status_head(out, root);
	fclose(out);
	return text;
}

static char *body_text(yyjson_val *root, const uint64_t *rate)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		return wfs_strdup("");
	wfs_status_body(out, root, rate);
	fclose(out);
	return text;
}

static int look(struct watched *it, struct wfs_err *err)
{
	yyjson_doc *doc = NULL;
	yyjson_val *root;
	uint64_t rate;
	char *body;
	int rc;

	/* What lies below a mount that is gone must not be asked. */
	if (!is_mounted(it->point))
		return gone(it->point, err);
	rc = wfs_ask_status_json(it->point, &doc, err);
	if (rc)
		return is_mounted(it->point) ? rc : gone(it->point, err);
	root = yyjson_doc_get_root(doc);
	rate = take_rate(it, root);
	body = body_text(root, &rate);
	it->changed = !it->body || strcmp(it->body, body) != 0;
	free(it->body);
	free(it->head);
	it->body = body;
	it->head = head_text(root);
	yyjson_doc_free(doc);
	return 0;
}

static unsigned rows_of_terminal(void)
{
	struct winsize size;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) || !size.ws_row)
		return 24;
	return size.ws_row;
}

/* Adds lines, as long as there are `left`. */
static void add_lines(struct wfs_text *frame, const char *text, unsigned *left)
{
	while (*text && *left) {
		size_t len = strcspn(text, "\n");

		wfs_text_add_bytes(frame, text, len);
		wfs_text_add(frame, DRAW_LINE);
		text += len + (text[len] == '\n');
		--*left;
	}
}

static void draw(const struct watched *all, size_t count)
{
	struct wfs_text frame = { 0 };
	/* The last row is the cursor's: nothing may scroll. */
	unsigned left = rows_of_terminal() - 1;

	wfs_text_add(&frame, DRAW_BEGIN);
	for (size_t i = 0; i < count; i++) {
		if (i)
			add_lines(&frame, "\n", &left);
		add_lines(&frame, all[i].head, &left);
		add_lines(&frame, all[i].body, &left);
	}
	wfs_text_add(&frame, DRAW_END);
	fputs(frame.data, stdout);
	free(frame.data);
}

static void print_changed(const struct watched *all, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (all[i].changed)
			printf("%s%s\n", all[i].head, all[i].body);
}

static int show(const struct watched *all, size_t count, bool terminal,
		struct wfs_err *err)
{
	if (terminal)
		draw(all, count);
	else
		print_changed(all, count);
	if (fflush(stdout))
		return wfs_err_set(err, -errno, "cannot write: %s",
				   strerror(errno));
	return 0;
}

int wfs_status_watch(const char *const *points, size_t count, uint64_t every_ns,
		     struct wfs_err *err)
{
	const struct timespec pause = {
		.tv_sec = (time_t)(every_ns / NS_PER_S),
		.tv_nsec = (long)(every_ns % NS_PER_S),
	};
	struct watched *all wfs_autofree = wfs_calloc(count, sizeof(*all));
	bool terminal = isatty(STDOUT_FILENO);
	int rc = 0;

	for (size_t i = 0; i < count; i++)
		all[i].point = points[i];
	while (!rc) {
		for (size_t i = 0; i < count && !rc; i++)
			rc = look(&all[i], err);
		if (!rc)
			rc = show(all, count, terminal, err);
		if (!rc)
			nanosleep(&pause, NULL);
	}
	for (size_t i = 0; i < count; i++) {
		free(all[i].head);
		free(all[i].body);
	}
	return rc;
}
