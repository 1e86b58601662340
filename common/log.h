/*
 * One line per event, `what happened key=value key=<untrusted value>`, into a sink.
 *
 * Every line is made printable before the sink sees it: control characters and bytes that are not
 * UTF-8 become '?', so that no peer can forge a line. Never log a secret; nothing here can tell.
 * The daemons' sink is stderr or syslog (daemon.h); the SASL plugin's is libsasl's callback.
 */
#ifndef POSTERN_LOG_H
#define POSTERN_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "common/result.h"

enum log_level {
	LOG_LEVEL_ERROR,   /* somebody must act; mail waits or a feature is out */
	LOG_LEVEL_WARNING, /* odd, handled */
	LOG_LEVEL_INFO,    /* one line per decision */
	LOG_LEVEL_DEBUG,
};

/* LINE is printable, without newline, at most 2 KiB. Called with no lock held, from any thread. */
typedef void log_sink(void *context, enum log_level level, const char *line);

/* Until set: stderr. Not thread-safe: call before threads start. NULL restores stderr. */
void log_set_sink(log_sink *sink, void *context);
/* Lines of a level above (less important than) LEVEL are dropped. Default INFO. Any thread. */
void log_set_level(enum log_level level);
bool log_enabled(enum log_level level);
/* "error", "warning", "info", "debug". */
const char *log_level_name(enum log_level level);

void log_event(enum log_level level, const char *format, ...) PRINTF_LIKE(2, 3);
#define log_error(...)   log_event(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_event(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...)    log_event(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)   log_event(LOG_LEVEL_DEBUG, __VA_ARGS__)

/*
 * Repeat suppression for one cause: the first event is logged at once, then at most one a
 * `interval_ms`, with ` suppressed=N` at its end. Zero-initialise with the interval set; static or
 * owned by the caller; safe from several threads.
 */
struct log_limit {
	int64_t interval_ms;
	_Atomic int64_t next_ms;
	_Atomic unsigned suppressed;
};
void log_limited(struct log_limit *limit, enum log_level level, const char *format, ...)
	PRINTF_LIKE(3, 4);

#endif
