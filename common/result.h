/*
 * The four results of every question, and the text that goes with the bad ones.
 *
 * They are made once, where the fact is known (mostly in the SQL drivers), passed up unchanged,
 * and translated once per protocol. TEMP never turns into NONE.
 */
#ifndef POSTERN_RESULT_H
#define POSTERN_RESULT_H

#include <stdarg.h>

#define MUST_CHECK             __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))

enum result {
	RESULT_FOUND, /* yes; the outputs are set */
	RESULT_NONE,  /* a certain no; the outputs are unset, the error text is not */
	RESULT_TEMP,  /* not known now, ask again; the error text says why */
	RESULT_PERM,  /* cannot work until somebody changes something; the error text says what */
};

/* One line of text without a newline, always NUL-terminated, cut at the end when too long. */
struct error {
	char text[512];
};

/* "found", "none", "temp", "perm". */
const char *result_name(enum result result);

/* Replaces the text. ERR may be NULL (the text is dropped). The arguments may include err->text. */
void error_set(struct error *err, const char *format, ...) PRINTF_LIKE(2, 3);

/* Puts "CONTEXT: " before the text; how a caller adds the file, section or peer it knows. */
void error_prefix(struct error *err, const char *format, ...) PRINTF_LIKE(2, 3);

/* Sets the text and returns RESULT, so that `return result_error(err, RESULT_TEMP, ...)` reads. */
enum result result_error(struct error *err, enum result result, const char *format, ...)
	PRINTF_LIKE(3, 4);

#endif
