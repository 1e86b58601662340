/*
 * NAME
 *	output - rows as text or JSON
 *
 * DESCRIPTION
 *	JSON objects and records are printed when their row ends; a table is collected and printed
 *	at the end, because its widths depend on all rows.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "postern/output.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistr.h>

/* Calls for one character: its code point, or U+FFFD for a byte that is not UTF-8. */
static const char *next_character(const char *text, ucs4_t *character_r)
{
	const int len = u8_mbtoucr(character_r, (const uint8_t *)text, strlen(text));

	if (len > 0)
		return text + len;
	*character_r = 0xfffd;
	return text + 1;
}

static void append_utf8(struct buf *out, ucs4_t character)
{
	uint8_t bytes[6];
	const int len = u8_uctomb(bytes, character, sizeof(bytes));

	if (len > 0)
		buf_append(out, bytes, (size_t)len);
}

static bool is_control(ucs4_t character)
{
	return character < 0x20 || (character >= 0x7f && character < 0xa0);
}

void output_json_string(struct buf *out, const char *text)
{
	ucs4_t character;

	buf_putc(out, '"');
	while (*text) {
		text = next_character(text, &character);
		if (character == '"' || character == '\\')
			buf_printf(out, "\\%c", (int)character);
		else if (character == '\n')
			buf_puts(out, "\\n");
		else if (is_control(character))
			buf_printf(out, "\\u%04x", (unsigned)character);
		else
			append_utf8(out, character);
	}
	buf_putc(out, '"');
}

static void append_printable(struct buf *out, const char *text)
{
	ucs4_t character;

	while (*text) {
		text = next_character(text, &character);
		if (is_control(character))
			buf_putc(out, '?');
		else
			append_utf8(out, character);
	}
}

static size_t width(const char *text)
{
	size_t count = 0;

	for (; *text; text++)
		count += ((unsigned char)*text & 0xc0) != 0x80;
	return count;
}

static void write_out(struct output *output, const struct buf *text)
{
	if (!buf_ok(text) || fwrite(buf_str(text), 1, text->len, stdout) != text->len)
		output->failed = true;
}

void output_raw(struct output *output, const struct buf *text)
{
	write_out(output, text);
}

void output_row(struct output *output)
{
	output->row_columns = 0;
	if (!output->json && output->form == OUTPUT_RECORDS && output->rows > 0 &&
	    putchar('\n') == EOF)
		output->failed = true;
	if (output->json) {
		buf_reset(&output->line);
		buf_putc(&output->line, '{');
	}
}

/* The field's name in JSON. */
static void json_name(struct output *output, const char *name)
{
	if (output->row_columns++ > 0)
		buf_puts(&output->line, ", ");
	output_json_string(&output->line, name);
	buf_puts(&output->line, ": ");
}

static void human_field(struct output *output, const char *name, const char *value)
{
	struct buf line = BUF_INIT;

	if (output->form == OUTPUT_TABLE) {
		if (output->rows == 0) {
			append_printable(&output->line, name);
			buf_putc(&output->line, '\0');
		}
		append_printable(&output->cells, value);
		buf_putc(&output->cells, '\0');
		output->row_columns++;
		return;
	}
	if (output->form != OUTPUT_PLAIN) {
		append_printable(&line, name);
		buf_puts(&line, ": ");
	}
	append_printable(&line, value);
	buf_putc(&line, '\n');
	write_out(output, &line);
	buf_free(&line);
}

void output_text(struct output *output, const char *name, const char *value)
{
	if (!output->json) {
		human_field(output, name, value && *value ? value : "-");
		return;
	}
	json_name(output, name);
	if (value)
		output_json_string(&output->line, value);
	else
		buf_puts(&output->line, "null");
}

void output_number(struct output *output, const char *name, int64_t value)
{
	char text[32];

	snprintf(text, sizeof(text), "%" PRId64, value);
	if (!output->json) {
		human_field(output, name, text);
		return;
	}
	json_name(output, name);
	buf_puts(&output->line, text);
}

void output_bool(struct output *output, const char *name, bool value)
{
	if (!output->json) {
		human_field(output, name, value ? "yes" : "no");
		return;
	}
	json_name(output, name);
	buf_puts(&output->line, value ? "true" : "false");
}

void output_quota(struct output *output, const char *name, int64_t bytes)
{
	static const char units[] = "KMGT";
	double value = (double)bytes;
	char text[64];
	int unit = -1;

	if (bytes > 0 && output->json) {
		output_number(output, name, bytes);
	} else if (bytes <= 0) {
		output_text(output, name, output->json ? NULL : "unlimited");
	} else {
		for (; value >= 1024 && unit + 1 < (int)sizeof(units) - 1; unit++)
			value /= 1024;
		if (unit < 0)
			snprintf(text, sizeof(text), "%" PRId64, bytes);
		else
			snprintf(text, sizeof(text), "%" PRId64 " (%.4g%c)", bytes, value,
				 units[unit]);
		human_field(output, name, text);
	}
}

void output_list(struct output *output, const char *name, const char *text, char separator)
{
	struct buf part = BUF_INIT, all = BUF_INIT;
	size_t count = 0;

	if (output->json)
		json_name(output, name);
	for (;;) {
		const char *end = strchr(text, separator);
		const size_t len = end ? (size_t)(end - text) : strlen(text);

		buf_reset(&part);
		buf_append(&part, text, len);
		if (len > 0 && output->json) {
			buf_puts(&all, count++ ? ", " : "");
			output_json_string(&all, buf_str(&part));
		} else if (len > 0 && output->form != OUTPUT_TABLE) {
			count++;
			human_field(output, name, buf_str(&part));
		} else if (len > 0) {
			buf_puts(&all, count++ ? ", " : "");
			buf_puts(&all, buf_str(&part));
		}
		if (!end)
			break;
		text = end + 1;
	}
	if (output->json)
		buf_printf(&output->line, "[%s]", buf_str(&all));
	else if (count == 0 || output->form == OUTPUT_TABLE)
		human_field(output, name, count ? buf_str(&all) : "-");
	output->failed |= !buf_ok(&part) || !buf_ok(&all);
	buf_free(&part);
	buf_free(&all);
}

void output_end(struct output *output)
{
	output->columns = output->row_columns;
	output->rows++;
	if (output->json) {
		buf_puts(&output->line, "}\n");
		write_out(output, &output->line);
	}
}

/* One line of the table; returns the text behind it. */
static const char *table_line(struct output *output, const char *cell, const size_t *widths)
{
	struct buf line = BUF_INIT;

	for (size_t column = 0; column < output->columns; column++) {
		buf_puts(&line, cell);
		if (column + 1 < output->columns)
			buf_printf(&line, "%*s", (int)(widths[column] - width(cell) + 2), "");
		cell += strlen(cell) + 1;
	}
	buf_putc(&line, '\n');
	write_out(output, &line);
	buf_free(&line);
	return cell;
}

static void table_widths(const struct output *output, const char *cell, size_t rows, size_t *widths)
{
	for (size_t i = 0; i < rows * output->columns; i++) {
		const size_t cell_width = width(cell);

		if (cell_width > widths[i % output->columns])
			widths[i % output->columns] = cell_width;
		cell += strlen(cell) + 1;
	}
}

static void table_print(struct output *output)
{
	size_t widths[64] = {0};
	const char *cell = output->cells.data;

	if (output->columns > sizeof(widths) / sizeof(*widths) || !buf_ok(&output->line) ||
	    !buf_ok(&output->cells)) {
		output->failed = true;
		return;
	}
	table_widths(output, output->line.data, 1, widths);
	table_widths(output, cell, output->rows, widths);
	table_line(output, output->line.data, widths);
	for (size_t row = 0; row < output->rows; row++)
		cell = table_line(output, cell, widths);
}

bool output_finish(struct output *output)
{
	if (!output->json && output->form == OUTPUT_TABLE && output->rows > 0)
		table_print(output);
	if (fflush(stdout) != 0)
		output->failed = true;
	buf_free(&output->line);
	buf_free(&output->cells);
	return !output->failed;
}
