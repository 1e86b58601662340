/*
 * message - a message between its arrival and its delivery
 *
 * The first MiB stays in memory, where the header is looked at; what follows goes into an unlinked
 * file below the mail base, which is mapped for delivery. The mapping is only ever given to
 * write(2), so that a disk that cannot be read gives an error and not a signal.
 *
 * Limits: a header that is longer than the memory part is looked at as far as that reaches.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/io.h"
#include "lmtp-deliver/message.h"

#define MESSAGE_ID_MAX 250 /* bytes kept for logs */

void message_init(struct message *message, const char *spool)
{
	*message = (struct message){.spool = spool, .fd = -1};
}

void message_free(struct message *message)
{
	message_reset(message);
	buf_free(&message->head);
}

void message_reset(struct message *message)
{
	struct message next = {.spool = message->spool, .head = message->head, .fd = -1};

	if (message->tail)
		(void)munmap(message->tail, message->size - message->head.len);
	if (message->fd >= 0)
		(void)close(message->fd);
	buf_free(&message->message_id);
	buf_free(&message->delivered_to);
	buf_free(&message->original_to);
	buf_reset(&next.head);
	*message = next;
}

static int spool_open(const char *directory)
{
	char name[PATH_MAX];
	int fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL))
		return fd;
	if (snprintf(name, sizeof(name), "%s/.postern-spool.XXXXXX", directory) >=
	    (int)sizeof(name)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	fd = mkostemp(name, O_CLOEXEC);
	if (fd >= 0 && unlink(name) != 0) {
		int saved = errno;

		(void)close(fd);
		errno = saved;
		return -1;
	}
	return fd;
}

static enum result spool_add(struct message *message, const char *data, size_t len,
			     bool *no_space_r, struct error *err)
{
	if (message->fd < 0)
		message->fd = spool_open(message->spool);
	if (message->fd >= 0 && io_write_file(message->fd, data, len) == 0)
		return RESULT_FOUND;
	*no_space_r = errno == ENOSPC || errno == EDQUOT;
	return result_error(err, RESULT_TEMP, "temporary file below [mail] base %s: %s",
			    message->spool, strerror(errno));
}

/* Each step can be undone, so no difference is lost; and any processor does it in a few cycles. */
static void sum_blocks(struct message_sum *sum, const char *data, size_t len)
{
	uint64_t lanes[MESSAGE_SUM_LANES], words[MESSAGE_SUM_LANES];

	memcpy(lanes, sum->lanes, sizeof(lanes));
	for (size_t at = 0; at < len; at += sizeof(words)) {
		memcpy(words, data + at, sizeof(words));
		for (size_t i = 0; i < MESSAGE_SUM_LANES; i++) {
			lanes[i] ^= words[i];
			lanes[i] += lanes[i] << 21;
			lanes[i] ^= lanes[i] >> 29;
		}
	}
	memcpy(sum->lanes, lanes, sizeof(lanes));
}

/* In lanes that the processor works on at the same time, and while the bytes are in its cache. */
static void sum_add(struct message_sum *sum, const char *data, size_t len)
{
	size_t whole, fill = sizeof(sum->rest) - sum->rest_len;

	if (sum->rest_len > 0 || len < fill) {
		fill = len < fill ? len : fill;
		memcpy(sum->rest + sum->rest_len, data, fill);
		sum->rest_len += fill;
		if (sum->rest_len < sizeof(sum->rest))
			return;
		sum_blocks(sum, sum->rest, sizeof(sum->rest));
		data += fill;
		len -= fill;
	}
	whole = len - len % sizeof(sum->rest);
	sum_blocks(sum, data, whole);
	sum->rest_len = len - whole;
	memcpy(sum->rest, data + whole, sum->rest_len);
}

enum result message_add_counted(struct message *message, const void *data, size_t len,
				uint64_t virtual_size, bool *no_space_r, struct error *err)
{
	size_t room = MESSAGE_MEMORY_MAX - message->head.len;
	size_t now = len < room ? len : room;

	*no_space_r = false;
	if (len == 0)
		return RESULT_FOUND;
	buf_append(&message->head, data, now);
	if (!buf_ok(&message->head))
		return result_error(err, RESULT_TEMP, "out of memory for a message");
	message->size += len;
	message->virtual_size += virtual_size;
	sum_add(&message->sum, data, len);
	if (now == len)
		return RESULT_FOUND;
	return spool_add(message, (const char *)data + now, len - now, no_space_r, err);
}

enum result message_add(struct message *message, const void *data, size_t len, bool *no_space_r,
			struct error *err)
{
	uint64_t virtual_size = maildir_virtual_size(data, len, &message->last_was_cr);

	return message_add_counted(message, data, len, virtual_size, no_space_r, err);
}

/*
 * Bytes of the header field at the start of TEXT with its continuation lines and line end, 0 when
 * its end is not known from LEN bytes. WHOLE: nothing follows those.
 */
static size_t field_length(const char *text, size_t len, bool whole)
{
	const char *at = text;

	while ((at = memchr(at, '\n', len - (size_t)(at - text)))) {
		at++;
		if (at == text + len)
			return whole ? len : 0;
		if (*at != ' ' && *at != '\t')
			return (size_t)(at - text);
	}
	return 0;
}

static bool field_is(const char *text, size_t len, const char *name)
{
	size_t name_len = strlen(name);
	size_t at = name_len;

	if (len < name_len || strncasecmp(text, name, name_len) != 0)
		return false;
	while (at < len && (text[at] == ' ' || text[at] == '\t'))
		at++;
	return at < len && text[at] == ':';
}

/* The first word of a field's value, without its brackets. */
static void take_message_id(struct message *message, const char *field, size_t len)
{
	const char *value = memchr(field, ':', len), *end = field + len;
	size_t id_len = 0;

	for (value++; value < end && strchr(" \t\r\n<", *value) && *value; value++)
		;
	while (value + id_len < end && (unsigned char)value[id_len] > ' ' && value[id_len] != '>')
		id_len++;
	buf_append(&message->message_id, value, id_len < MESSAGE_ID_MAX ? id_len : MESSAGE_ID_MAX);
}

/* A field of the block at the top; false: it does not belong to it. */
static bool take_top_field(struct message *message, const char *field, size_t len)
{
	struct buf *value = field_is(field, len, "Delivered-To")    ? &message->delivered_to
			    : field_is(field, len, "X-Original-To") ? &message->original_to
								    : NULL;
	const char *at, *end = field + len;

	if (!value)
		return field_is(field, len, "Return-Path");
	at = (const char *)memchr(field, ':', len) + 1;
	at += strspn(at, " \t");
	while (end > at && strchr(" \t\r\n", end[-1]))
		end--;
	if (value->len == 0 && end > at)
		buf_append(value, at, (size_t)(end - at));
	return true;
}

static void look_at_header(struct message *message)
{
	const char *text = message->head.data;
	size_t len = message->head.len, used = 0;
	bool top = true;

	while (used < len && text[used] != '\n' &&
	       !(text[used] == '\r' && used + 1 < len && text[used + 1] == '\n')) {
		const char *field = text + used;
		size_t field_len = field_length(field, len - used, message->fd < 0);

		if (field_len == 0)
			return;
		if (used == message->skip && field_is(field, field_len, "Return-Path"))
			message->skip = used + field_len;
		top = top && take_top_field(message, field, field_len);
		message->hops += field_is(field, field_len, "Received");
		if (message->message_id.len == 0 && field_is(field, field_len, "Message-ID"))
			take_message_id(message, field, field_len);
		used += field_len;
	}
}

enum result message_finish(struct message *message, struct error *err)
{
	bool last_was_cr = false;

	look_at_header(message);
	message->skip_virtual =
		maildir_virtual_size(message->head.data, message->skip, &last_was_cr);
	if (message->fd < 0)
		return RESULT_FOUND;
	message->tail = mmap(NULL, message->size - message->head.len, PROT_READ, MAP_PRIVATE,
			     message->fd, 0);
	if (message->tail != MAP_FAILED)
		return RESULT_FOUND;
	message->tail = NULL;
	return result_error(err, RESULT_TEMP, "map the temporary file: %s", strerror(errno));
}

size_t message_parts(const struct message *message, struct maildir_part parts_r[MESSAGE_PARTS_MAX])
{
	size_t count = 0;

	if (message->head.len > message->skip)
		parts_r[count++] = (struct maildir_part){message->head.data + message->skip,
							 message->head.len - message->skip};
	if (message->tail)
		parts_r[count++] =
			(struct maildir_part){message->tail, message->size - message->head.len};
	return count;
}

uint64_t message_size(const struct message *message)
{
	return message->size - message->skip;
}

uint64_t message_virtual_size(const struct message *message)
{
	return message->virtual_size - message->skip_virtual;
}
