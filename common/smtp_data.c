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

/* Bytes at DATA that go out unchanged from within a line: everything up to the next CR. */
static size_t data_run(struct smtp_data *data, const char *at, size_t len, struct buf *out)
{
	const char *cr = memchr(at, '\r', len);
	size_t run = cr != NULL ? (size_t)(cr - at) : len;

	if ((data->state & ~DATA_LAST_CR) != DATA_TEXT || (data->state & DATA_LAST_CR) != 0)
		return 0;
	buf_append(out, at, run);
	data->body_size += run;
	data->virtual_size += run;
	for (size_t i = 0; i < run; i++)
		data->virtual_size += at[i] == '\n';
	return run;
}

enum parse smtp_data_parse(struct smtp_data *data_state, const char *data, size_t len,
			   struct buf *out, size_t *used_r)
{
	size_t at = 0;

	while (at < len && (data_state->state & ~DATA_LAST_CR) != DATA_END) {
		size_t run = data_run(data_state, data + at, len - at, out);

		if (run == 0) {
			data_byte(data_state, out, data[at]);
			run = 1;
		}
		at += run;
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
