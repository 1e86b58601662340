/*
 * fuzz_smtp_line - an LMTP client that sends anything: lines, paths, message data and chunks
 *
 * The first byte chooses the sizes of the pieces that the rest is fed in. Pieces must give what
 * the whole gives; and message data is compared with a plain search for its end and a plain
 * rewriting of its lines.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/smtp_line.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const struct buf *buf)
{
	for (size_t i = 0; i < buf->len; i++)
		if ((unsigned char)buf->data[i] < ' ' || buf->data[i] == 0x7f)
			abort();
}

static void check_path(const char *argument, size_t len, const char *keyword)
{
	struct smtp_path path;
	enum smtp_path_fault fault = smtp_path_parse(argument, len, keyword, &path);

	if (fault == SMTP_PATH_OK) {
		check_text(&path.address);
		check_text(&path.orcpt);
		check_text(&path.envid);
		check_text(&path.auth);
		if (keyword[0] == 'T' && path.address.len == 0)
			abort();
	}
	smtp_path_free(&path);
}

static void check_bdat(const char *argument, size_t len)
{
	uint64_t size = UINT64_MAX;
	bool last;

	if (smtp_bdat_parse(argument, len, &size, &last) &&
	    (size > INT64_MAX || len == 0 || argument[0] < '0' || argument[0] > '9'))
		abort();
}

static void check_xtext(const char *text, size_t len)
{
	struct buf out = BUF_INIT;

	if (smtp_xtext_decode(text, len, &out))
		check_text(&out);
	buf_free(&out);
}

static void check_lines(const char *text, size_t size)
{
	size_t at = 0;

	while (at < size) {
		const char *argument;
		size_t line_len, used, argument_len;
		enum parse parse = smtp_line_parse(text + at, size - at, &line_len, &used);

		if (parse == PARSE_MORE) {
			if (memchr(text + at, '\n', size - at) != NULL)
				abort();
			return;
		}
		if (parse == PARSE_BAD) {
			if (smtp_line_discard(text + at, size - at, &used) == PARSE_MORE)
				return;
			at += used;
			continue;
		}
		if (used == 0 || used > SMTP_LINE_MAX || line_len >= used ||
		    text[at + used - 1] != '\n')
			abort();
		(void)smtp_verb_parse(text + at, line_len, &argument, &argument_len);
		if (argument_len > line_len)
			abort();
		check_path(argument, argument_len, "FROM");
		check_path(argument, argument_len, "TO");
		check_bdat(argument, argument_len);
		check_xtext(argument, argument_len);
		at += used;
	}
}

/* Where the message ends: behind its CRLF.CRLF; SIZE_MAX: it does not. */
static size_t end_find(const char *text, size_t size)
{
	if (size >= 3 && memcmp(text, ".\r\n", 3) == 0)
		return 3;
	for (size_t i = 0; i + 5 <= size; i++)
		if (memcmp(text + i, "\r\n.\r\n", 5) == 0)
			return i + 5;
	return SIZE_MAX;
}

/* What is stored of the LEN bytes before the last dot. */
static void rewrite(const char *text, size_t len, struct buf *out)
{
	for (size_t i = 0; i < len; i++) {
		bool line_start = i == 0 || (i >= 2 && memcmp(text + i - 2, "\r\n", 2) == 0);

		if (text[i] == '.' && line_start)
			continue;
		if (text[i] == '\r' && i + 1 < len && text[i + 1] == '\n')
			continue;
		buf_putc(out, text[i]);
	}
}

static uint64_t virtual_size(const struct buf *out)
{
	uint64_t size = out->len;

	for (size_t i = 0; i < out->len; i++)
		size += out->data[i] == '\n' && (i == 0 || out->data[i - 1] != '\r');
	return size;
}

/* Feeds TEXT in pieces of STEP, STEP + 1, ... bytes; returns the bytes taken. */
static size_t data_feed(const char *text, size_t size, size_t step, struct smtp_data *data,
			struct buf *out, enum parse *parse_r)
{
	size_t at = 0;

	*parse_r = PARSE_MORE;
	while (at < size && *parse_r == PARSE_MORE) {
		size_t piece = size - at < step ? size - at : step, used;

		*parse_r = smtp_data_parse(data, text + at, piece, out, &used);
		if (used > piece || (*parse_r == PARSE_MORE && used != piece))
			abort();
		at += used;
		step++;
	}
	return at;
}

static void check_data(const char *text, size_t size, size_t step)
{
	struct smtp_data whole = {0}, pieces = {0};
	struct buf whole_out = BUF_INIT, pieces_out = BUF_INIT, expected = BUF_INIT;
	enum parse whole_parse, pieces_parse;
	size_t whole_used = data_feed(text, size, size, &whole, &whole_out, &whole_parse);
	size_t pieces_used = data_feed(text, size, step, &pieces, &pieces_out, &pieces_parse);
	size_t end = end_find(text, size);

	if (whole_parse != pieces_parse || whole_used != pieces_used ||
	    whole_out.len != pieces_out.len ||
	    memcmp(buf_str(&whole_out), buf_str(&pieces_out), whole_out.len) != 0)
		abort();
	if (whole.body_size != pieces.body_size || whole.virtual_size != pieces.virtual_size ||
	    whole.body_size != whole_out.len || whole.virtual_size != virtual_size(&whole_out))
		abort();
	if ((whole_parse == PARSE_OK) != (end != SIZE_MAX))
		abort();
	if (end != SIZE_MAX) {
		rewrite(text, end - 3, &expected);
		if (whole_used != end || expected.len != whole_out.len ||
		    memcmp(buf_str(&expected), buf_str(&whole_out), expected.len) != 0)
			abort();
	}
	buf_free(&whole_out);
	buf_free(&pieces_out);
	buf_free(&expected);
}

/* Chunks of STEP, STEP + 1, ... bytes give what a plain rewriting of the whole does. */
static void check_chunks(const char *text, size_t size, size_t step)
{
	struct smtp_chunk chunk = {0};
	struct buf out = BUF_INIT, expected = BUF_INIT;

	for (size_t at = 0; at < size; at += step++)
		smtp_chunk_parse(&chunk, text + at, size - at < step ? size - at : step, &out);
	smtp_chunk_end(&chunk, &out);
	for (size_t i = 0; i < size; i++)
		if (text[i] != '\r' || i + 1 == size || text[i + 1] != '\n')
			buf_putc(&expected, text[i]);
	if (out.len != expected.len || memcmp(buf_str(&out), buf_str(&expected), out.len) != 0)
		abort();
	buf_free(&out);
	buf_free(&expected);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data + 1;

	if (size < 2)
		return 0;
	check_lines(text, size - 1);
	check_path(text, size - 1, "FROM");
	check_path(text, size - 1, "TO");
	check_data(text, size - 1, 1 + data[0] % 16);
	check_chunks(text, size - 1, 1 + data[0] % 16);
	return 0;
}
