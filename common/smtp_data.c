/*
 * smtp_data - the message after DATA and in the chunks of BDAT, as bytes to be stored
 *
 * There is one way only to end a message after DATA: whatever two readers might take for an end
 * differently is text. A chunk ends by its size, so its bytes say nothing.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "common/smtp_line.h"

#include <string.h>

/* Where the parser of a message stands; START is also the state after each CRLF. */
enum {
	DATA_START,  /* at the start of a line */
	DATA_TEXT,   /* within a line */
	DATA_CR,     /* after a CR that is not given out yet */
	DATA_DOT,    /* after a leading dot, which is dropped unless the message ends */
	DATA_DOT_CR, /* after a leading dot and a CR */
	DATA_END,
	DATA_LAST_CR = 8, /* flag: the last byte given out was a CR */
};

static void data_put(struct smtp_data *data, struct buf *out, char c)
{
	buf_putc(out, c);
	data->body_size++;
	data->virtual_size++;
	if (c == '\n' && (data->state & DATA_LAST_CR) == 0)
		data->virtual_size++;
	data->state = c == '\r' ? data->state | DATA_LAST_CR : data->state & ~DATA_LAST_CR;
}

static void data_enter(struct smtp_data *data, int state)
{
	data->state = (data->state & DATA_LAST_CR) | state;
}

/* A byte that is neither dropped nor held back: give it out and go to the state it leads to. */
static void data_text(struct smtp_data *data, struct buf *out, char c)
{
	if (c == '\r') {
		data_enter(data, DATA_CR);
		return;
	}
	data_put(data, out, c);
	data_enter(data, DATA_TEXT);
}

static void data_byte(struct smtp_data *data, struct buf *out, char c)
{
	switch (data->state & ~DATA_LAST_CR) {
	case DATA_START:
		if (c == '.')
			data_enter(data, DATA_DOT);
		else
			data_text(data, out, c);
		return;
	case DATA_CR:
		if (c == '\n') {
			data_put(data, out, c);
			data_enter(data, DATA_START);
			return;
		}
		data_put(data, out, '\r');
		data_text(data, out, c);
		return;
	case DATA_DOT:
		if (c == '\r')
			data_enter(data, DATA_DOT_CR);
		else
			data_text(data, out, c);
		return;
	case DATA_DOT_CR:
		if (c == '\n') {
			data_enter(data, DATA_END);
			return;
		}
		data_put(data, out, '\r');
		data_text(data, out, c);
		return;
	default:
		data_text(data, out, c);
	}
}

/* Adds to OUT what there is room for at ROOM, which is NULL when memory ran out. */
static char *add_run(char *room, const char *run, size_t len)
{
	return room != NULL ? (char *)memcpy(room, run, len) + len : NULL;
}

/*
 * Whole lines, and the last one as far as it is known not to end: all but dots at the start of a
 * line, and CRs at the end of DATA. Returns the bytes taken. A message is nothing but lines, so
 * this decides how fast it is read: a line costs a memchr(3) and a memcpy(3).
 */
static size_t data_lines(struct smtp_data *data, const char *text, size_t len, struct buf *out)
{
	const char *at = text, *end = text + len;
	char *room = buf_reserve(out, len), *begin = room;
	uint64_t written = 0, bare = 0;

	while (at < end &&
	       (data->state == DATA_TEXT || (data->state == DATA_START && *at != '.'))) {
		const char *lf = memchr(at, '\n', (size_t)(end - at)), *stop = lf ? lf : end;
		bool crlf = lf != NULL && lf > at && lf[-1] == '\r';

		if (crlf)
			stop--;
		while (lf == NULL && stop > at && stop[-1] == '\r')
			stop--;
		if (lf == NULL && stop == at)
			break;
		room = add_run(room, at, (size_t)(stop - at));
		room = add_run(room, "\n", lf != NULL);
		written += (size_t)(stop - at) + (lf != NULL);
		bare += lf != NULL && !(crlf && stop > at && stop[-1] == '\r');
		data->state = crlf ? DATA_START : DATA_TEXT;
		at = lf ? lf + 1 : stop;
	}
	if (room != NULL)
		buf_added(out, (size_t)(room - begin));
	data->body_size += written;
	data->virtual_size += written + bare;
	return (size_t)(at - text);
}

enum parse smtp_data_parse(struct smtp_data *data_state, const char *data, size_t len,
			   struct buf *out, size_t *used_r)
{
	size_t at = 0;

	while (at < len && (data_state->state & ~DATA_LAST_CR) != DATA_END) {
		size_t taken = data_lines(data_state, data + at, len - at, out);

		if (taken == 0) {
			data_byte(data_state, out, data[at]);
			taken = 1;
		}
		at += taken;
	}
	*used_r = at;
	return (data_state->state & ~DATA_LAST_CR) == DATA_END ? PARSE_OK : PARSE_MORE;
}

void smtp_chunk_parse(struct smtp_chunk *chunk, const char *data, size_t len, struct buf *out)
{
	size_t at = 0;

	while (at < len) {
		const char *cr;
		size_t run;

		if (chunk->held_cr && data[at] != '\n')
			buf_putc(out, '\r');
		chunk->held_cr = false;
		cr = memchr(data + at, '\r', len - at);
		run = cr != NULL ? (size_t)(cr - data) - at : len - at;
		buf_append(out, data + at, run);
		at += run;
		if (cr != NULL) {
			chunk->held_cr = true;
			at++;
		}
	}
}

void smtp_chunk_end(struct smtp_chunk *chunk, struct buf *out)
{
	if (chunk->held_cr)
		buf_putc(out, '\r');
	chunk->held_cr = false;
}
