/*
 * Growable bytes. The one string type: everything of unbounded length is a buf.
 *
 * Running out of memory is sticky: after a failed growth every append is ignored, buf_ok() is
 * false, and the contents are those before the failure. Callers append freely and ask once at the
 * end, which suits code that lives in a foreign process and must not exit.
 */
#ifndef POSTERN_BUF_H
#define POSTERN_BUF_H

#include <stdbool.h>
#include <stddef.h>

#include "common/result.h"

struct buf {
	char *data; /* NULL or NUL-terminated at data[len]; the NUL is not counted */
	size_t len;
	size_t size; /* allocated, with the NUL */
	bool failed; /* sticky: out of memory or over the 1 GiB limit */
	bool wipe;   /* holds a secret: wiped when grown, reset or freed */
};

#define BUF_INIT   ((struct buf){0})
#define BUF_SECRET ((struct buf){.wipe = true})

bool buf_ok(const struct buf *buf) MUST_CHECK;
/* The contents as a C string, "" when empty. Valid until the next change. */
const char *buf_str(const struct buf *buf);

void buf_append(struct buf *buf, const void *data, size_t len);
void buf_puts(struct buf *buf, const char *str);
void buf_putc(struct buf *buf, char c);
void buf_printf(struct buf *buf, const char *format, ...) PRINTF_LIKE(2, 3);
/* Room for LEN more bytes at data + len; returns where, or NULL when failed. See buf_added(). */
char *buf_reserve(struct buf *buf, size_t len) MUST_CHECK;
/* Counts LEN bytes that the caller wrote into the room of buf_reserve(). */
void buf_added(struct buf *buf, size_t len);
/* Drops LEN bytes (at most all) at the front. */
void buf_consume(struct buf *buf, size_t len);
/* Cuts to LEN bytes; longer than the contents is ignored. */
void buf_truncate(struct buf *buf, size_t len);
/* Empties (and wipes a secret), keeps the memory, clears `failed`. */
void buf_reset(struct buf *buf);
/* Hands the NUL-terminated memory to the caller (free()); NULL when failed. BUF is then empty. */
char *buf_take(struct buf *buf) MUST_CHECK;
void buf_free(struct buf *buf);

#endif
