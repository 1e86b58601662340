/*
 * account_columns - reads flags, numbers and texts as databases really hold them
 *
 * A flag may be 0 and 1, t and f, yes and no, or one raw byte (BIT). Anything else is PERM, because
 * taking it for "no" would bounce mail.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "common/account_columns.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/address.h"
#include "common/conf.h"

enum result account_text(const struct sql_statement *rows, const char *name, const char **text_r,
			 struct error *err)
{
	int index = sql_column_index(rows, name);
	const char *text = sql_text(rows, index);

	*text_r = text != NULL ? text : "";
	if (strlen(*text_r) != sql_length(rows, index))
		return result_error(err, RESULT_PERM, "column %s holds a NUL byte", name);
	return RESULT_FOUND;
}

enum result account_copy(const struct sql_statement *rows, const char *name, char **copy_r,
			 struct error *err)
{
	static const char blanks[] = " \t\r\n";
	const char *text;
	enum result result = account_text(rows, name, &text, err);
	size_t len;

	if (result != RESULT_FOUND)
		return result;
	text += strspn(text, blanks);
	len = strlen(text);
	while (len > 0 && strchr(blanks, text[len - 1]) != NULL)
		len--;
	*copy_r = strndup(text, len);
	return *copy_r != NULL ? RESULT_FOUND : result_error(err, RESULT_TEMP, "out of memory");
}

enum result account_flag(const struct sql_statement *rows, const char *name, bool null_is,
			 bool *flag_r, struct error *err)
{
	static const char *const yes[] = {"t", "true", "y", "yes", "on"};
	static const char *const no[] = {"", "f", "false", "n", "no", "off"};
	int index = sql_column_index(rows, name);
	const char *text = sql_text(rows, index);
	int64_t number;

	*flag_r = index < 0 || null_is;
	if (text == NULL)
		return RESULT_FOUND;
	/* BIT(1) comes as one raw byte. */
	if (sql_length(rows, index) == 1 && (unsigned char)text[0] <= 1) {
		*flag_r = text[0] == 1;
		return RESULT_FOUND;
	}
	for (size_t i = 0; i < sizeof yes / sizeof yes[0]; i++)
		if (strcasecmp(text, yes[i]) == 0) {
			*flag_r = true;
			return RESULT_FOUND;
		}
	*flag_r = false;
	for (size_t i = 0; i < sizeof no / sizeof no[0]; i++)
		if (strcasecmp(text, no[i]) == 0)
			return RESULT_FOUND;
	if (!conf_parse_integer(text, &number))
		return result_error(err, RESULT_PERM, "column %s is \"%.40s\", neither yes nor no",
				    name, text);
	*flag_r = number != 0;
	return RESULT_FOUND;
}

bool account_equals(const struct sql_statement *rows, const char *name, const char *key)
{
	int index = sql_column_index(rows, name);
	const char *text = sql_text(rows, index);
	size_t len = sql_length(rows, index);
	char folded[ADDRESS_MAX + 1];

	return text != NULL && strlen(text) == len &&
	       address_fold(folded, sizeof folded, text, len) && strcmp(folded, key) == 0;
}

enum result account_id(const struct sql_statement *rows, const char *name, uint32_t *id_r,
		       struct error *err)
{
	const char *text;
	int64_t number;
	enum result result = account_text(rows, name, &text, err);

	*id_r = (uint32_t)-1;
	if (result != RESULT_FOUND || text[0] == '\0')
		return result;
	if (!conf_parse_integer(text, &number) || number < 1 || number >= (uint32_t)-1)
		return result_error(err, RESULT_PERM,
				    "column %s is \"%.40s\", not a number above 0", name, text);
	*id_r = (uint32_t)number;
	return RESULT_FOUND;
}

enum result account_count(const struct sql_statement *rows, const char *name, int64_t *count_r,
			  struct error *err)
{
	const char *text;
	enum result result = account_text(rows, name, &text, err);
	bool negative;

	*count_r = 0;
	if (result != RESULT_FOUND || text[0] == '\0')
		return result;
	negative = text[0] == '-';
	if (!conf_parse_integer(text + negative, count_r))
		return result_error(err, RESULT_PERM, "column %s is \"%.40s\", not a number", name,
				    text);
	if (negative)
		*count_r = 0;
	return RESULT_FOUND;
}

bool account_parse_quota(const char *text, int64_t unit, int64_t *bytes_r, int64_t *messages_r)
{
	while (*text != '\0') {
		char *end;
		errno = 0;
		long long number = strtoll(text, &end, 10);
		if (end == text || errno == EINVAL)
			return false;
		if (*end == '.')
			end += 1 + strspn(end + 1, "0123456789");
		if (number < 0)
			number = 0;
		if (*end == 'C') {
			*messages_r = number;
			end++;
		} else if (*end == 'S') {
			*bytes_r = number;
			end++;
		} else {
			*bytes_r = number > INT64_MAX / unit ? INT64_MAX : number * unit;
		}
		if (*end == ',')
			end++;
		else if (*end != '\0')
			return false;
		text = end;
	}
	return true;
}
