/*
 * sql_select with bound parameters.
 *
 * Syntax, that of Cyrus SASL's sql plugin: %u user, %r realm, %p property, %% a percent sign; any
 * other %x stays as it is. A quoted literal that holds one of the first three becomes one
 * parameter as a whole ('%u@%r' is one value), so that no database has to concatenate and nothing
 * that a client sends is ever part of the statement. Double quotes count as literals too, because
 * MySQL's users write them so. What cannot be a parameter is refused: a name of a column or table
 * made of %p, or a bare %u.
 *
 * Known gaps: quotes inside SQL comments are taken for quotes; a literal with both a placeholder
 * and a backslash is refused on MySQL.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "sasl-auxprop-sql/stock_query.h"

#include <stdlib.h>
#include <string.h>

static bool is_placeholder(char c)
{
	return c == 'u' || c == 'r' || c == 'p' || c == 'v';
}

/* The first placeholder in TEXT, skipping "%%"; NULL if there is none. */
static const char *placeholder_find(const char *text, size_t len)
{
	for (size_t i = 0; i + 1 < len; i++) {
		if (text[i] != '%')
			continue;
		if (is_placeholder(text[i + 1]))
			return text + i;
		if (text[i + 1] == '%')
			i++;
	}
	return NULL;
}

/* Copies TEXT with "%%" made "%". */
static void append_unescaped(struct buf *out, const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		buf_putc(out, text[i]);
		if (text[i] == '%' && i + 1 < len && text[i + 1] == '%')
			i++;
	}
}

/* Bytes of the quoted text at TEXT, both quotes counted; 0 when it never ends. */
static size_t quoted_length(const char *text, bool backslash)
{
	char quote = text[0];

	for (size_t i = 1; text[i] != '\0'; i++) {
		if (backslash && quote != '`' && text[i] == '\\' && text[i + 1] != '\0')
			i++;
		else if (text[i] == quote && text[i + 1] == quote)
			i++;
		else if (text[i] == quote)
			return i + 1;
	}
	return 0;
}

static enum result literal_add(struct stock_query *query, struct buf *sql, const char *quoted,
			       size_t len, bool backslash, struct error *err)
{
	const char *inside = quoted + 1;
	size_t inside_len = len - 2;
	struct buf literal = BUF_INIT;

	if (quoted[0] == '`')
		return result_error(err, RESULT_PERM,
				    "sql_select: a placeholder in the name %.*s: names cannot be "
				    "bound; write the column's name",
				    (int)len, quoted);
	if (backslash && memchr(inside, '\\', inside_len) != NULL)
		return result_error(err, RESULT_PERM,
				    "sql_select: %.*s has a backslash beside a placeholder; write "
				    "it without",
				    (int)len, quoted);
	if (query->count == STOCK_QUERY_LITERALS)
		return result_error(err, RESULT_PERM,
				    "sql_select: more than %d quoted values with a placeholder",
				    STOCK_QUERY_LITERALS);
	for (size_t i = 0; i < inside_len; i++) {
		buf_putc(&literal, inside[i]);
		if (inside[i] == quoted[0])
			i++;
		else if (inside[i] == '%' && i + 1 < inside_len) {
			if (inside[i + 1] == 'v') {
				buf_free(&literal);
				return result_error(err, RESULT_PERM,
						    "sql_select: %%v has no meaning in a query");
			}
			if (inside[i + 1] == 'p')
				query->uses_property = true;
			if (inside[i + 1] != quoted[0])
				buf_putc(&literal, inside[++i]);
		}
	}
	buf_printf(sql, ":v%zu", query->count);
	query->literals[query->count] = buf_take(&literal);
	if (query->literals[query->count] == NULL)
		return result_error(err, RESULT_TEMP, "out of memory");
	query->count++;
	return RESULT_FOUND;
}

/* One piece of the text: a quoted part, a percent sequence, or a byte. *USED_R bytes are done. */
static enum result piece_add(struct stock_query *query, struct buf *sql, const char *text,
			     bool backslash, size_t *used_r, struct error *err)
{
	*used_r = 1;
	if (strchr("'\"`", text[0]) != NULL) {
		size_t len = quoted_length(text, backslash);

		if (len == 0)
			return result_error(err, RESULT_PERM,
					    "sql_select: the quote at \"%.20s\" is never closed",
					    text);
		*used_r = len;
		if (placeholder_find(text, len) != NULL)
			return literal_add(query, sql, text, len, backslash, err);
		append_unescaped(sql, text, len);
		return RESULT_FOUND;
	}
	if (text[0] == '%' && is_placeholder(text[1]))
		return result_error(err, RESULT_PERM,
				    "sql_select: %%%c stands outside quotes; only a quoted value, "
				    "as in '%%u@%%r', can be bound safely (a column is named "
				    "directly, not by %%p)",
				    text[1]);
	if (text[0] == '%' && text[1] == '%')
		*used_r = 2;
	buf_putc(sql, text[0]);
	return RESULT_FOUND;
}

/* Blanks and ';' at the end: a statement is prepared without them. */
static void trim_end(struct buf *sql)
{
	while (sql->len > 0 && strchr("; \t\r\n", sql->data[sql->len - 1]) != NULL)
		buf_truncate(sql, sql->len - 1);
}

enum result stock_query_parse(const char *select, bool backslash, struct stock_query *query_r,
			      struct error *err)
{
	struct buf sql = BUF_INIT;
	enum result result = RESULT_FOUND;
	size_t used;

	*query_r = (struct stock_query){0};
	for (const char *text = select; *text != '\0' && result == RESULT_FOUND; text += used)
		result = piece_add(query_r, &sql, text, backslash, &used, err);
	if (result == RESULT_FOUND) {
		trim_end(&sql);
		if (buf_ok(&sql) && sql.len == 0)
			result = result_error(err, RESULT_PERM, "sql_select: there is no query");
	}
	if (result == RESULT_FOUND) {
		query_r->sql = buf_take(&sql);
		if (query_r->sql == NULL)
			result = result_error(err, RESULT_TEMP, "out of memory");
	}
	buf_free(&sql);
	if (result != RESULT_FOUND)
		stock_query_free(query_r);
	return result;
}

void stock_query_free(struct stock_query *query)
{
	free(query->sql);
	for (size_t i = 0; i < query->count; i++)
		free(query->literals[i]);
	*query = (struct stock_query){0};
}

struct stock_login stock_login_split(const char *name, size_t len, const char *realm)
{
	const char *at = memchr(name, '@', len);
	struct stock_login login = {.user = name, .user_len = len, .property = ""};

	if (at != NULL) {
		login.user_len = (size_t)(at - name);
		login.realm = at + 1;
		login.realm_len = len - login.user_len - 1;
	} else {
		login.realm = realm != NULL ? realm : "";
		login.realm_len = strlen(login.realm);
	}
	return login;
}

void stock_query_value(const struct stock_query *query, size_t index,
		       const struct stock_login *login, struct buf *value_r)
{
	const char *literal = query->literals[index];

	for (size_t i = 0; literal[i] != '\0'; i++) {
		char next = literal[i] == '%' ? literal[i + 1] : '\0';

		if (next == 'u')
			buf_append(value_r, login->user, login->user_len);
		else if (next == 'r')
			buf_append(value_r, login->realm, login->realm_len);
		else if (next == 'p')
			buf_puts(value_r, login->property);
		else
			buf_putc(value_r, literal[i]);
		if (next == 'u' || next == 'r' || next == 'p' || next == '%')
			i++;
	}
}
