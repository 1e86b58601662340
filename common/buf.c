/*
 * buf - growable bytes with a sticky failure
 *
 * Memory doubles, starting at 64 bytes, up to 1 GiB. Secrets are never handed to realloc(3), which
 * may leave a copy behind.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "common/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUF_LIMIT ((size_t)1 << 30)

bool buf_ok(const struct buf *buf)
{
	return !buf->failed;
}

const char *buf_str(const struct buf *buf)
{
	return buf->data != NULL ? buf->data : "";
}

static bool buf_resize(struct buf *buf, size_t size)
{
	char *data;

	if (!buf->wipe) {
		data = realloc(buf->data, size);
		if (data == NULL)
			return false;
	} else {
		data = malloc(size);
		if (data == NULL)
			return false;
		if (buf->data != NULL) {
			memcpy(data, buf->data, buf->len);
			explicit_bzero(buf->data, buf->size);
			free(buf->data);
		}
	}
	buf->data = data;
	buf->size = size;
	data[buf->len] = '\0';
	return true;
}

char *buf_reserve(struct buf *buf, size_t len)
{
	size_t size;

	if (buf->failed)
		return NULL;
	if (len >= BUF_LIMIT - buf->len) {
		buf->failed = true;
		return NULL;
	}
	if (buf->size < buf->len + len + 1) {
		size = buf->size < 64 ? 64 : buf->size;
		while (size < buf->len + len + 1)
			size *= 2;
		if (!buf_resize(buf, size)) {
			buf->failed = true;
			return NULL;
		}
	}
	return buf->data + buf->len;
}

void buf_added(struct buf *buf, size_t len)
{
	if (buf->failed || len == 0)
		return;
	buf->len += len;
	buf->data[buf->len] = '\0';
}

void buf_append(struct buf *buf, const void *data, size_t len)
{
	char *room;

	if (len == 0)
		return;
	room = buf_reserve(buf, len);
	if (room == NULL)
		return;
	memcpy(room, data, len);
	buf_added(buf, len);
}

void buf_puts(struct buf *buf, const char *str)
{
	buf_append(buf, str, strlen(str));
}

void buf_putc(struct buf *buf, char c)
{
	buf_append(buf, &c, 1);
}

void buf_printf(struct buf *buf, const char *format, ...)
{
	va_list args;
	char *room;
	int len;

	va_start(args, format);
	len = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (len < 0) {
		buf->failed = true;
		return;
	}
	room = buf_reserve(buf, (size_t)len);
	if (room == NULL)
		return;
	va_start(args, format);
	vsnprintf(room, (size_t)len + 1, format, args);
	va_end(args);
	buf_added(buf, (size_t)len);
}

void buf_consume(struct buf *buf, size_t len)
{
	if (len == 0 || buf->len == 0)
		return;
	if (len > buf->len)
		len = buf->len;
	memmove(buf->data, buf->data + len, buf->len - len);
	buf_truncate(buf, buf->len - len);
}

void buf_truncate(struct buf *buf, size_t len)
{
	if (len >= buf->len)
		return;
	buf->len = len;
	buf->data[len] = '\0';
}

void buf_reset(struct buf *buf)
{
	if (buf->wipe && buf->data != NULL)
		explicit_bzero(buf->data, buf->size);
	buf_truncate(buf, 0);
	buf->failed = false;
}

char *buf_take(struct buf *buf)
{
	char *data;

	if (buf_reserve(buf, 0) == NULL)
		return NULL;
	data = buf->data;
	buf->data = NULL;
	buf->len = 0;
	buf->size = 0;
	return data;
}

void buf_free(struct buf *buf)
{
	if (buf->wipe && buf->data != NULL)
		explicit_bzero(buf->data, buf->size);
	free(buf->data);
	*buf = (struct buf){.wipe = buf->wipe};
}
