/*
 * result - names of the four results, and one line of text for the bad ones
 *
 * Text is formatted aside first, because callers pass err->text as an argument. Line ends in
 * foreign messages (SQL servers write them) become blanks, so that the text stays one line.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "common/result.h"

#include <stdio.h>
#include <string.h>

static void error_store(struct error *err, const char *text)
{
	size_t len = strlen(text);

	if (len >= sizeof(err->text))
		len = sizeof(err->text) - 1;
	memcpy(err->text, text, len);
	err->text[len] = '\0';
	for (size_t i = 0; i < len; i++)
		if (err->text[i] == '\n' || err->text[i] == '\r')
			err->text[i] = ' ';
}

__attribute__((format(printf, 2, 0))) static void error_format(struct error *err,
							       const char *format, va_list args)
{
	char text[sizeof(err->text)];

	if (vsnprintf(text, sizeof(text), format, args) < 0)
		strcpy(text, "a message could not be formatted");
	error_store(err, text);
}

const char *result_name(enum result result)
{
	switch (result) {
	case RESULT_FOUND:
		return "found";
	case RESULT_NONE:
		return "none";
	case RESULT_TEMP:
		return "temp";
	case RESULT_PERM:
		break;
	}
	return "perm";
}

void error_set(struct error *err, const char *format, ...)
{
	va_list args;

	if (err == NULL)
		return;
	va_start(args, format);
	error_format(err, format, args);
	va_end(args);
}

void error_prefix(struct error *err, const char *format, ...)
{
	struct error prefix;
	char text[2 * sizeof(prefix.text) + 2];
	va_list args;

	if (err == NULL)
		return;
	va_start(args, format);
	error_format(&prefix, format, args);
	va_end(args);
	snprintf(text, sizeof(text), "%s: %s", prefix.text, err->text);
	error_store(err, text);
}

enum result result_error(struct error *err, enum result result, const char *format, ...)
{
	va_list args;

	if (err == NULL)
		return result;
	va_start(args, format);
	error_format(err, format, args);
	va_end(args);
	return result;
}
