/*
 * NAME
 *	import_query - pasted keys become bound parameters
 *
 * DESCRIPTION
 *	A literal with a %letter becomes one parameter as a whole, so that the database has nothing
 *	to concatenate. What cannot be a parameter is refused: a %letter outside quotes or in the
 *	name of a table or column, a literal with an escape beside it, or one with a prefix (N'%s').
 *	So is what the statement parser of ours would take for something else: comments, '?', and
 *	':' before a name.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "postern/import_query.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

struct reader {
	const char *text;
	size_t at;
	enum import_type type;
	struct import_query *query;
};

/* What a %letter of a query (or, with RESULT, of a result_format) is in a template; NULL: none. */
static const char *place_of(char letter, bool result)
{
	static const char *const labels[] = {
		"{key.label1}", "{key.label2}", "{key.label3}", "{key.label4}", "{key.label5}",
		"{key.label6}", "{key.label7}", "{key.label8}", "{key.label9}",
	};

	switch (letter) {
	case 's':
		return result ? "{value}" : "{key}";
	case 'u':
		return result ? "{value.local}" : "{key.local}";
	case 'd':
		return result ? "{value.domain}" : "{key.domain}";
	case 'S':
		return "{key}";
	case 'U':
		return "{key.local}";
	case 'D':
		return "{key.domain}";
	case '%':
		return "%";
	default:
		return letter >= '1' && letter <= '9' ? labels[letter - '1'] : NULL;
	}
}

/* TEXT, with places for its %letters and its braces doubled. */
static enum result make_template(const char *text, size_t len, bool result, struct buf *out,
				 struct error *err)
{
	for (size_t i = 0; i < len; i++) {
		const char *place = NULL;

		if (text[i] == '{' || text[i] == '}')
			buf_putc(out, text[i]);
		if (text[i] != '%') {
			buf_putc(out, text[i]);
			continue;
		}
		if (i + 1 < len)
			place = place_of(text[++i], result);
		if (!place)
			return result_error(err, RESULT_PERM,
					    "%%%.*s is unknown; Postfix would not start", i < len,
					    text + i);
		buf_puts(out, place);
	}
	return RESULT_FOUND;
}

enum result import_result_format(const char *format, struct buf *template_r, struct error *err)
{
	return make_template(format, strlen(format), true, template_r, err);
}

/* The parameter for a template: one that is there, or a new one. */
static enum result add_parameter(struct reader *reader, const struct buf *template,
				 struct error *err)
{
	static const struct {
		const char *template, *parameter;
	} plain[] = {
		{"{key}", ":key"},           {"{key.local}", ":local"},
		{"{key.domain}", ":domain"}, {"{key.label1}", ":label1"},
		{"{key.label2}", ":label2"}, {"{key.label3}", ":label3"},
		{"{key.label4}", ":label4"}, {"{key.label5}", ":label5"},
		{"{key.label6}", ":label6"}, {"{key.label7}", ":label7"},
		{"{key.label8}", ":label8"}, {"{key.label9}", ":label9"},
	};
	struct import_query *query = reader->query;
	size_t index = 0;

	for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
		if (strcmp(plain[i].template, buf_str(template)) == 0) {
			buf_puts(&query->sql, plain[i].parameter);
			return RESULT_FOUND;
		}
	while (index < query->text_count &&
	       strcmp(buf_str(&query->texts[index]), buf_str(template)) != 0)
		index++;
	if (index == SETTINGS_MAP_TEXTS)
		return result_error(err, RESULT_PERM,
				    "more than %d different texts are made of the key",
				    SETTINGS_MAP_TEXTS);
	if (index == query->text_count)
		buf_append(&query->texts[query->text_count++], template->data, template->len);
	buf_printf(&query->sql, ":text%zu", index + 1);
	return RESULT_FOUND;
}

/* Bytes of the quoted text at TEXT, both quotes counted; 0 when it never ends. */
static size_t quoted_length(const char *text, bool backslash)
{
	const char quote = text[0];

	for (size_t i = 1; text[i]; i++) {
		if (backslash && quote != '`' && text[i] == '\\' && text[i + 1])
			i++;
		else if (text[i] == quote && text[i + 1] == quote)
			i++;
		else if (text[i] == quote)
			return i + 1;
	}
	return 0;
}

/* Whether a %letter other than %% is in there. */
static bool has_letters(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (text[i] == '%' && (i + 1 == len || text[++i] != '%'))
			return true;
	return false;
}

/* A literal that stays one, "%%" made "%"; always in single quotes, since a line of the INI file
 * cannot hold both kinds. */
static void copy_literal(struct buf *sql, const char *inside, size_t len, char quote,
			 bool backslash)
{
	buf_putc(sql, '\'');
	for (size_t i = 0; i < len; i++) {
		if (quote == '"' && inside[i] == '\'')
			buf_putc(sql, '\'');
		buf_putc(sql, inside[i]);
		if (backslash && inside[i] == '\\' && i + 1 < len)
			buf_putc(sql, inside[++i]);
		else if ((inside[i] == '%' || (quote == '"' && inside[i] == '"')) && i + 1 < len &&
			 inside[i + 1] == inside[i])
			i++;
	}
	buf_putc(sql, '\'');
}

static enum result bind_literal(struct reader *reader, const char *inside, size_t len, char quote,
				struct error *err)
{
	struct buf plain = BUF_INIT, template = BUF_INIT;
	enum result result;

	for (size_t i = 0; i < len; i++) {
		buf_putc(&plain, inside[i]);
		if (inside[i] == quote)
			i++; /* doubled */
	}
	result = make_template(buf_str(&plain), plain.len, false, &template, err);
	if (result == RESULT_FOUND)
		result = add_parameter(reader, &template, err);
	buf_free(&plain);
	buf_free(&template);
	return result;
}

static enum result read_quoted(struct reader *reader, struct error *err)
{
	const char *text = reader->text + reader->at;
	const bool backslash = reader->type == IMPORT_MYSQL;
	const bool literal = text[0] == '\'' || (text[0] == '"' && reader->type == IMPORT_MYSQL);
	const char before = reader->at > 0 ? text[-1] : ' ';
	const size_t len = quoted_length(text, backslash);

	if (len == 0)
		return result_error(err, RESULT_PERM, "the quote at \"%.20s\" is never closed",
				    text);
	reader->at += len;
	if (!has_letters(text + 1, len - 2)) {
		if (literal) {
			copy_literal(&reader->query->sql, text + 1, len - 2, text[0], backslash);
			return RESULT_FOUND;
		}
		for (size_t i = 0; i < len; i++) {
			buf_putc(&reader->query->sql, text[i]);
			i += text[i] == '%';
		}
		return RESULT_FOUND;
	}
	if (!literal)
		return result_error(err, RESULT_PERM,
				    "%.*s: the name of a table or column cannot be a parameter",
				    (int)len, text);
	if (isalnum((unsigned char)before) || before == '_')
		return result_error(err, RESULT_PERM,
				    "%.*s: a literal with a prefix cannot be a parameter", (int)len,
				    text);
	if (memchr(text, '\\', len))
		return result_error(err, RESULT_PERM,
				    "%.*s: has a backslash beside a %%letter; write it without",
				    (int)len, text);
	return bind_literal(reader, text + 1, len - 2, text[0], err);
}

/* What our own statement parser would misunderstand at TEXT; NULL: nothing. */
static const char *misleading(const struct reader *reader, const char *text)
{
	const char *before = reader->at > 0 ? text - 1 : " ";

	if (text[0] == '?')
		return "has a bare '?'";
	if (text[0] == ':' && (isalpha((unsigned char)text[1]) || text[1] == '_'))
		return "has ':' before a name, which is a parameter here; use CAST() for a cast";
	if ((text[0] == '#' && reader->type == IMPORT_MYSQL) ||
	    (text[0] == '-' && text[1] == '-') || (text[0] == '/' && text[1] == '*'))
		return "has a comment";
	if (text[0] == '$' && reader->type == IMPORT_PGSQL && !isalnum((unsigned char)*before))
		return "has a '$'";
	if (text[0] == ';' && text[strspn(text, "; \t")])
		return "is more than one statement";
	return NULL;
}

static enum result read_one(struct reader *reader, struct error *err)
{
	const char *text = reader->text + reader->at;
	const char *why = misleading(reader, text);

	if (why)
		return result_error(err, RESULT_PERM, "the query %s: \"%.20s\"", why, text);
	if (strchr("'\"`", text[0]))
		return read_quoted(reader, err);
	if (text[0] == '%' && text[1] != '%')
		return result_error(err, RESULT_PERM,
				    place_of(text[1], false)
					    ? "%%%.1s stands outside quotes; only a value in "
					      "quotes, as '%%s', can be a parameter"
					    : "%%%.1s is unknown; Postfix would not start",
				    text + 1);
	buf_putc(&reader->query->sql, (char)(isspace((unsigned char)text[0]) ? ' ' : text[0]));
	reader->at += text[0] == '%' ? 2 : 1;
	return RESULT_FOUND;
}

/* SQLite tables of Postfix answer with the first column only; ours with all. */
static bool one_column(const char *sql)
{
	int depth = 0;

	for (const char *p = sql + strcspn(sql, " \t"); *p; p++) {
		if (strchr("'\"`", *p)) {
			const size_t len = quoted_length(p, false);

			p += len > 0 ? len - 1 : 0;
			continue;
		}
		depth += (*p == '(') - (*p == ')');
		if (depth > 0)
			continue;
		if (*p == ',')
			return false;
		if (*p == '*' && strcspn(p + 1, " \t") == 0 &&
		    strncasecmp(p + 1 + strspn(p + 1, " \t"), "from", 4) == 0)
			return false;
		if (isspace((unsigned char)*p) && strncasecmp(p + 1, "from", 4) == 0 &&
		    !isalnum((unsigned char)p[5]))
			return true;
	}
	return true;
}

static enum result check_statement(const struct reader *reader, struct error *err)
{
	const char *sql = buf_str(&reader->query->sql);

	if (strncasecmp(sql, "select", 6) != 0 || isalnum((unsigned char)sql[6]) || sql[6] == '_')
		return result_error(err, RESULT_PERM,
				    strncasecmp(sql, "call", 4) == 0
					    ? "stored procedures cannot be carried over"
					    : "only SELECT can be carried over");
	if (reader->type == IMPORT_SQLITE && !one_column(sql))
		return result_error(err, RESULT_PERM,
				    "Postfix answers with the first column of an SQLite table "
				    "only; select that one");
	return RESULT_FOUND;
}

enum result import_query_parse(const char *text, enum import_type type,
			       struct import_query *query_r, struct error *err)
{
	struct reader reader = {.text = text, .type = type, .query = query_r};
	enum result result = RESULT_FOUND;

	*query_r = (struct import_query){0};
	while (text[reader.at] && result == RESULT_FOUND)
		result = read_one(&reader, err);
	while (query_r->sql.len > 0 && strchr("; \t", query_r->sql.data[query_r->sql.len - 1]))
		buf_truncate(&query_r->sql, query_r->sql.len - 1);
	if (result == RESULT_FOUND)
		result = check_statement(&reader, err);
	if (result == RESULT_FOUND && !buf_ok(&query_r->sql))
		result = result_error(err, RESULT_TEMP, "out of memory");
	return result;
}

void import_query_free(struct import_query *query)
{
	buf_free(&query->sql);
	for (size_t i = 0; i < SETTINGS_MAP_TEXTS; i++)
		buf_free(&query->texts[i]);
	query->text_count = 0;
}
