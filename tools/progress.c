/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bar is one line that is drawn over and over, as wide as the terminal.
 */
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>

#include "core/base/text.h"
#include "tools/progress.h"

#define SECOND	  1000000000ull
#define REDRAW_NS (SECOND / 8)
#define BAR_MIN	  8
#define BAR_MAX	  40

void wfs_progress_begin(struct wfs_progress *p, FILE *out, const char *what,
			uint64_t total)
{
	*p = (struct wfs_progress){
		.out = out,
		.bar = isatty(fileno(out)),
		.total = total,
		.begun = wfs_now_ns(),
		.what = what,
	};
}

static unsigned columns(const struct wfs_progress *p)
{
	struct winsize size;

	if (ioctl(fileno(p->out), TIOCGWINSZ, &size) || !size.ws_col)
		return 80;
	return size.ws_col;
}

/* "12 GiB of 130 GiB, 1.9 GiB/s, 1:02 left" */
static void describe(const struct wfs_progress *p, uint64_t now,
		     struct wfs_text *text)
{
	double seconds = (double)(now - p->begun) / (double)SECOND;
	double rate = seconds > 0 ? (double)p->done / seconds : 0;
	char done[32], total[32], speed[32];

	wfs_text_add(text, "%s of %s",
		     wfs_size_format(p->done, done, sizeof(done)),
		     wfs_size_format(p->total, total, sizeof(total)));
	if (rate < 1)
		return;
	wfs_text_add(text, ", %s/s",
		     wfs_size_format((uint64_t)rate, speed, sizeof(speed)));
	if (p->done < p->total) {
		unsigned left = (unsigned)((double)(p->total - p->done) / rate);

		wfs_text_add(text, ", %u:%02u left", left / 60, left % 60);
	}
}

static void draw(struct wfs_progress *p, uint64_t now)
{
	double part = p->total ? (double)p->done / (double)p->total : 1;
	struct wfs_text text = { 0 };
	unsigned room = columns(p), used, wide, full;
	char bar[BAR_MAX + 1];

	if (part > 1)
		part = 1;
	describe(p, now, &text);
	used = (unsigned)(text.len + strlen(p->what)) + 12;
	wide = room > used ? room - used : 0;
	if (wide > BAR_MAX)
		wide = BAR_MAX;
	full = (unsigned)(part * wide);
	for (unsigned i = 0; i < wide; i++)
		bar[i] = i < full ? '#' : '.';
	bar[wide] = '\0';
	fprintf(p->out, "\r\033[K%s %3u%%", p->what, (unsigned)(part * 100));
	if (wide >= BAR_MIN)
		fprintf(p->out, " [%s] %s", bar, text.data);
	fflush(p->out);
	free(text.data);
}

void wfs_progress_step(struct wfs_progress *p, uint64_t bytes)
{
	uint64_t now;

	p->done += bytes;
	if (!p->bar)
		return;
	now = wfs_now_ns();
	if (now - p->shown < REDRAW_NS)
		return;
	p->shown = now;
	draw(p, now);
}

void wfs_progress_line(struct wfs_progress *p, const char *fmt, ...)
{
	va_list args;

	if (p->bar)
		return;
	va_start(args, fmt);
	vfprintf(p->out, fmt, args);
	va_end(args);
	fputc('\n', p->out);
	/* Somebody may be waiting for it in a pipe. */
	fflush(p->out);
}

void wfs_progress_end(struct wfs_progress *p)
{
	if (p->bar && p->shown)
		fputs("\r\033[K", p->out);
	fflush(p->out);
}
