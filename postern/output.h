/*
 * What a command prints on standard output: text for people, or with --json one object a row.
 *
 * A command fills rows field by field, always the same fields in the same order; people see a list
 * as an aligned table and a single record as "name: value" lines. Text from the database is made
 * printable: a row cannot send escape sequences to the terminal.
 */
#ifndef POSTERN_OUTPUT_H
#define POSTERN_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"

enum output_form {
	OUTPUT_RECORD,  /* "name: value" lines */
	OUTPUT_RECORDS, /* the same, with an empty line between rows */
	OUTPUT_TABLE,   /* aligned columns */
	OUTPUT_PLAIN,   /* values only, one a line */
};

struct output {
	bool json;
	enum output_form form;
	struct buf line;    /* the JSON object under way; the names of the table's columns */
	struct buf cells;   /* the table: NUL-ended cells, row by row */
	size_t columns;     /* of the table, once its first row has ended */
	size_t row_columns; /* of the row under way */
	size_t rows;
	bool failed; /* out of memory, or standard output took no more */
};

#define OUTPUT_INIT ((struct output){.form = OUTPUT_RECORD, .line = {.wipe = true}})

void output_row(struct output *output);
/* A NULL value is JSON null, and "-" for people. */
void output_text(struct output *output, const char *name, const char *value);
void output_number(struct output *output, const char *name, int64_t value);
void output_bool(struct output *output, const char *name, bool value);
/* Bytes; 0 is "unlimited" and JSON null. */
void output_quota(struct output *output, const char *name, int64_t bytes);
/* Parts of TEXT between SEPARATOR ('\n' or ','), as an array; empty parts are left out. */
void output_list(struct output *output, const char *name, const char *text, char separator);
void output_end(struct output *output);
/* Prints TEXT as it is: configuration files; not for --json. */
void output_raw(struct output *output, const struct buf *text);
/* Prints a table's rows, flushes, frees. False: not everything was written. */
bool output_finish(struct output *output) MUST_CHECK;

/* TEXT as a JSON string with its quotes; what is not UTF-8 becomes U+FFFD. */
void output_json_string(struct buf *out, const char *text);

#endif
