/*
 * log - one printable line per event, handed to a sink
 *
 * Lines are cut at 2 KiB. The sink is set once before threads start; the level may change at any
 * time (reload). errno survives a call, so that logging between a system call and its test is safe.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "common/log.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistr.h>

#include "common/deadline.h"

#define LOG_LINE_MAX 2048

static void log_to_stderr(void *context, enum log_level level, const char *line)
{
	(void)context;
	fprintf(stderr, "%s: %s\n", log_level_name(level), line);
}

static log_sink *sink_function = log_to_stderr;
static void *sink_context;
static _Atomic int threshold = LOG_LEVEL_INFO;

void log_set_sink(log_sink *sink, void *context)
{
	sink_function = sink != NULL ? sink : log_to_stderr;
	sink_context = sink != NULL ? context : NULL;
}

void log_set_level(enum log_level level)
{
	atomic_store(&threshold, (int)level);
}

bool log_enabled(enum log_level level)
{
	return (int)level <= atomic_load(&threshold);
}

const char *log_level_name(enum log_level level)
{
	switch (level) {
	case LOG_LEVEL_ERROR:
		return "error";
	case LOG_LEVEL_WARNING:
		return "warning";
	case LOG_LEVEL_INFO:
		return "info";
	case LOG_LEVEL_DEBUG:
		break;
	}
	return "debug";
}

static bool printable(ucs4_t point)
{
	if (point < 0x20 || (point >= 0x7f && point < 0xa0))
		return false;
	/* Line and paragraph separators end a line for some readers. */
	return point != 0x2028 && point != 0x2029;
}

/* In place: what is replaced never grows. */
static void make_printable(char *line)
{
	size_t len = strlen(line), in = 0, out = 0;

	while (in < len) {
		ucs4_t point;
		int bytes = u8_mbtoucr(&point, (const uint8_t *)line + in, len - in);

		if (bytes > 0 && printable(point)) {
			memmove(line + out, line + in, (size_t)bytes);
			out += (size_t)bytes;
		} else {
			line[out++] = '?';
		}
		in += bytes > 0 ? (size_t)bytes : 1;
	}
	line[out] = '\0';
}

__attribute__((format(printf, 2, 0))) static void log_line(enum log_level level, const char *format,
							   va_list args, unsigned suppressed)
{
	char line[LOG_LINE_MAX], tail[32] = "";
	int saved_errno = errno;

	if (suppressed > 0)
		snprintf(tail, sizeof(tail), " suppressed=%u", suppressed);
	if (vsnprintf(line, sizeof(line) - strlen(tail), format, args) < 0)
		strcpy(line, "an event could not be formatted");
	strcat(line, tail);
	make_printable(line);
	sink_function(sink_context, level, line);
	errno = saved_errno;
}

void log_event(enum log_level level, const char *format, ...)
{
	va_list args;

	if (!log_enabled(level))
		return;
	va_start(args, format);
	log_line(level, format, args, 0);
	va_end(args);
}

void log_limited(struct log_limit *limit, enum log_level level, const char *format, ...)
{
	int64_t now, next;
	va_list args;

	if (!log_enabled(level))
		return;
	now = deadline_now_ms();
	next = atomic_load(&limit->next_ms);
	if ((next != 0 && now < next) ||
	    !atomic_compare_exchange_strong(&limit->next_ms, &next, now + limit->interval_ms)) {
		atomic_fetch_add(&limit->suppressed, 1);
		return;
	}
	va_start(args, format);
	log_line(level, format, args, atomic_exchange(&limit->suppressed, 0));
	va_end(args);
}
