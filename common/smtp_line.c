/*
 * smtp_line - command lines and their arguments, of SMTP and LMTP
 *
 * Lenient where a stock client or old mail needs it: a..b@ and .a@, senders that are no address
 * (taken for the null sender, since refusing them loses mail that a user waits for), local parts of
 * any length that fits, 8-bit bytes without SMTPUTF8, SIZE beyond 64 bits (taken as the largest
 * number). Strict where two readers might disagree: no blank before "<", one "@", no control
 * characters in addresses (also not hidden in xtext).
 *
 * DSN is not announced: ENVID and ORCPT are kept, RET and NOTIFY are checked and dropped.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "common/smtp_line.h"

#include <string.h>
#include <strings.h>

#define PATH_MAX_LEN  1000
#define ENVID_MAX_LEN 100

enum parse smtp_line_parse_max(const char *data, size_t len, size_t max, size_t *line_len_r,
			       size_t *used_r)
{
	size_t limit = len < max ? len : max, end;
	const char *newline = limit > 0 ? memchr(data, '\n', limit) : NULL;

	*line_len_r = 0;
	*used_r = 0;
	if (newline == NULL)
		return len >= max ? PARSE_BAD : PARSE_MORE;
	end = (size_t)(newline - data);
	*used_r = end + 1;
	*line_len_r = end > 0 && data[end - 1] == '\r' ? end - 1 : end;
	return PARSE_OK;
}

enum parse smtp_line_parse(const char *data, size_t len, size_t *line_len_r, size_t *used_r)
{
	return smtp_line_parse_max(data, len, SMTP_LINE_MAX, line_len_r, used_r);
}

enum parse smtp_line_discard(const char *data, size_t len, size_t *used_r)
{
	const char *newline = len > 0 ? memchr(data, '\n', len) : NULL;

	*used_r = newline != NULL ? (size_t)(newline - data) + 1 : len;
	return newline != NULL ? PARSE_OK : PARSE_MORE;
}

static const struct {
	const char *name;
	enum smtp_verb verb;
} verbs[] = {
	{"LHLO", SMTP_LHLO}, {"HELO", SMTP_HELO},         {"EHLO", SMTP_EHLO},
	{"MAIL", SMTP_MAIL}, {"RCPT", SMTP_RCPT},         {"DATA", SMTP_DATA},
	{"BDAT", SMTP_BDAT}, {"RSET", SMTP_RSET},         {"NOOP", SMTP_NOOP},
	{"QUIT", SMTP_QUIT}, {"VRFY", SMTP_VRFY},         {"STARTTLS", SMTP_STARTTLS},
	{"AUTH", SMTP_AUTH}, {"XFORWARD", SMTP_XFORWARD}, {"HELP", SMTP_HELP},
};

static bool blank(char c)
{
	return c == ' ' || c == '\t';
}

/* True for the bytes AT..AT+LEN being WORD in any case. */
static bool is_word(const char *at, size_t len, const char *word)
{
	return strlen(word) == len && strncasecmp(at, word, len) == 0;
}

enum smtp_verb smtp_verb_parse(const char *line, size_t len, const char **argument_r,
			       size_t *argument_len_r)
{
	size_t end = 0, argument;

	*argument_r = "";
	*argument_len_r = 0;
	if (len == 0 || memchr(line, '\0', len) != NULL)
		return SMTP_UNKNOWN;
	while (end < len && !blank(line[end]))
		end++;
	argument = end;
	while (argument < len && blank(line[argument]))
		argument++;
	*argument_r = line + argument;
	*argument_len_r = len - argument;
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (is_word(line, end, verbs[i].name))
			return verbs[i].verb;
	return SMTP_UNKNOWN;
}

void smtp_path_free(struct smtp_path *path)
{
	buf_free(&path->address);
	buf_free(&path->orcpt);
	buf_free(&path->envid);
	buf_free(&path->auth);
	*path = (struct smtp_path){0};
}

/* What may stand bare in a local part or a domain: no control, blank, bracket, quote or '@'. */
static bool path_byte(char c)
{
	return (unsigned char)c > ' ' && c != 0x7f && strchr("<>\"@", c) == NULL;
}

/* Bytes of the quoted string at AT, quotes included; 0: not well-formed, or nothing inside. */
static size_t quoted_len(const char *at, size_t len)
{
	size_t i = 1;

	while (i < len && at[i] != '"') {
		if (at[i] == '\\' && ++i == len)
			return 0;
		if ((unsigned char)at[i] < ' ' || at[i] == 0x7f)
			return 0;
		i++;
	}
	return i < len && i > 1 ? i + 1 : 0;
}

/* Bytes of the source route "@a,@b:" at AT; 0 if there is none or it does not end. */
static size_t route_len(const char *at, size_t len)
{
	bool literal = false;

	if (len == 0 || at[0] != '@')
		return 0;
	for (size_t i = 1; i < len; i++) {
		if (at[i] == ':' && !literal)
			return i + 1;
		if (at[i] == '[')
			literal = true;
		else if (at[i] == ']')
			literal = false;
		else if (!path_byte(at[i]) && at[i] != '@')
			return 0;
	}
	return 0;
}

/* Bytes of the mailbox at AT, which '>' ends; 0: malformed. A sender may be a local part only. */
static size_t mailbox_len(const char *at, size_t len, bool reverse)
{
	size_t local = 0, domain;

	if (len > 0 && at[0] == '"')
		local = quoted_len(at, len);
	else
		while (local < len && path_byte(at[local]))
			local++;
	if (local == 0 || local == len)
		return 0;
	if (at[local] == '>')
		return reverse || is_word(at, local, "postmaster") ? local : 0;
	if (at[local] != '@')
		return 0;
	for (domain = local + 1; domain < len && path_byte(at[domain]);)
		domain++;
	return domain > local + 1 && domain < len && at[domain] == '>' ? domain : 0;
}

/* Bytes of "<...>" at AT; 0: malformed. The null path is for the reverse path only. */
static size_t bracket_parse(const char *at, size_t len, bool reverse, struct buf *address)
{
	size_t start = 1, mailbox;

	if (len < 2 || at[0] != '<')
		return 0;
	if (at[1] == '>')
		return reverse ? 2 : 0;
	start += route_len(at + 1, len - 1);
	mailbox = mailbox_len(at + start, len - start, reverse);
	if (mailbox == 0 || mailbox > PATH_MAX_LEN)
		return 0;
	buf_append(address, at + start, mailbox);
	return start + mailbox + 1;
}

/* Bytes of "<...>" with text inside that is no address; 0: not even that. */
static size_t unreadable_len(const char *at, size_t len)
{
	const char *end = len > 2 ? memchr(at, '>', len) : NULL;
	size_t inside = end != NULL ? (size_t)(end - at) - 1 : 0;

	if (inside == 0 || inside > PATH_MAX_LEN || at[0] != '<')
		return 0;
	for (size_t i = 1; i <= inside; i++)
		if ((unsigned char)at[i] < ' ' || at[i] == 0x7f || at[i] == '<')
			return 0;
	return inside + 2;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

bool smtp_xtext_decode(const char *text, size_t len, struct buf *out)
{
	for (size_t i = 0; i < len; i++) {
		int c = (unsigned char)text[i];

		if (c == '+') {
			if (len - i < 3 || hex_digit(text[i + 1]) < 0 || hex_digit(text[i + 2]) < 0)
				return false;
			c = hex_digit(text[i + 1]) * 16 + hex_digit(text[i + 2]);
			i += 2;
		} else if (c == '=') {
			return false;
		}
		if (c < ' ' || c == 0x7f)
			return false;
		buf_putc(out, (char)c);
	}
	return true;
}

static bool size_value(const char *value, size_t len, struct smtp_path *path)
{
	if (len == 0 || len > 20)
		return false;
	for (size_t i = 0; i < len; i++) {
		unsigned digit = (unsigned)(unsigned char)value[i] - '0';

		if (digit > 9)
			return false;
		path->size = path->size > (UINT64_MAX - digit) / 10 ? UINT64_MAX
								    : path->size * 10 + digit;
	}
	path->has_size = true;
	return true;
}

static bool body_value(const char *value, size_t len, struct smtp_path *path)
{
	if (is_word(value, len, "8BITMIME"))
		path->body = SMTP_BODY_8BITMIME;
	else if (!is_word(value, len, "7BIT"))
		return false;
	return true;
}

static bool auth_value(const char *value, size_t len, struct smtp_path *path)
{
	if (is_word(value, len, "<>"))
		return true;
	return len > 0 && smtp_xtext_decode(value, len, &path->auth);
}

static bool envid_value(const char *value, size_t len, struct smtp_path *path)
{
	return len > 0 && len <= ENVID_MAX_LEN && smtp_xtext_decode(value, len, &path->envid);
}

static bool ret_value(const char *value, size_t len, struct smtp_path *path)
{
	(void)path;
	return is_word(value, len, "FULL") || is_word(value, len, "HDRS");
}

static bool smtputf8_value(const char *value, size_t len, struct smtp_path *path)
{
	(void)len;
	path->smtputf8 = true;
	return value == NULL;
}

static bool notify_value(const char *value, size_t len, struct smtp_path *path)
{
	const char *end = value + len;

	(void)path;
	if (is_word(value, len, "NEVER"))
		return true;
	for (const char *at = value;; at++) {
		const char *comma = memchr(at, ',', (size_t)(end - at));
		size_t word = (size_t)((comma != NULL ? comma : end) - at);

		if (!is_word(at, word, "SUCCESS") && !is_word(at, word, "FAILURE") &&
		    !is_word(at, word, "DELAY"))
			return false;
		if (comma == NULL)
			return true;
		at = comma;
	}
}

static bool orcpt_value(const char *value, size_t len, struct smtp_path *path)
{
	struct buf other = BUF_INIT;
	const char *semicolon = memchr(value, ';', len);
	size_t type, text;
	bool good;

	if (semicolon == NULL || semicolon == value || semicolon + 1 == value + len)
		return false;
	type = (size_t)(semicolon - value);
	text = len - type - 1;
	if (is_word(value, type, "rfc822"))
		return smtp_xtext_decode(semicolon + 1, text, &path->orcpt);
	good = is_word(value, type, "utf-8") || smtp_xtext_decode(semicolon + 1, text, &other);
	buf_free(&other);
	return good;
}

/* The value is NULL when the parameter has no '='. */
static const struct parameter {
	const char *name;
	bool mail, rcpt, bare;
	bool (*parse)(const char *value, size_t len, struct smtp_path *path);
} parameters[] = {
	{"SIZE", true, false, false, size_value},
	{"BODY", true, false, false, body_value},
	{"SMTPUTF8", true, false, true, smtputf8_value},
	{"AUTH", true, false, false, auth_value},
	{"ENVID", true, false, false, envid_value},
	{"RET", true, false, false, ret_value},
	{"ORCPT", false, true, false, orcpt_value},
	{"NOTIFY", false, true, false, notify_value},
};

#define PARAMETER_COUNT (sizeof(parameters) / sizeof(parameters[0]))

static enum smtp_path_fault parameter_parse(const char *word, size_t len, bool reverse,
					    unsigned *seen, struct smtp_path *path)
{
	const char *equals = memchr(word, '=', len);
	size_t name = equals != NULL ? (size_t)(equals - word) : len;
	size_t value_len = equals != NULL ? len - name - 1 : 0;

	for (size_t i = 0; i < len; i++)
		if ((unsigned char)word[i] < ' ' || word[i] == 0x7f)
			return SMTP_PATH_PARAMETER;
	for (size_t i = 0; i < PARAMETER_COUNT; i++) {
		const struct parameter *known = &parameters[i];

		if (!(reverse ? known->mail : known->rcpt) || !is_word(word, name, known->name))
			continue;
		if ((*seen & 1u << i) != 0 || (equals == NULL) != known->bare)
			return SMTP_PATH_PARAMETER;
		*seen |= 1u << i;
		return known->parse(equals != NULL ? equals + 1 : NULL, value_len, path)
			       ? SMTP_PATH_OK
			       : SMTP_PATH_PARAMETER;
	}
	return SMTP_PATH_UNKNOWN;
}

enum smtp_path_fault smtp_path_parse(const char *argument, size_t len, const char *keyword,
				     struct smtp_path *path_r)
{
	size_t at = strlen(keyword), bracket;
	bool reverse = is_word("FROM", 4, keyword);
	unsigned seen = 0;

	*path_r = (struct smtp_path){0};
	if (len <= at || !is_word(argument, at, keyword) || argument[at] != ':')
		return SMTP_PATH_SYNTAX;
	at++;
	bracket = bracket_parse(argument + at, len - at, reverse, &path_r->address);
	if (bracket == 0 && reverse) {
		bracket = unreadable_len(argument + at, len - at);
		path_r->unreadable = bracket > 0;
	}
	if (bracket == 0)
		return SMTP_PATH_SYNTAX;
	at += bracket;
	if (at < len && argument[at] != ' ')
		return SMTP_PATH_SYNTAX;
	while (at < len) {
		enum smtp_path_fault fault;
		size_t start;

		while (at < len && argument[at] == ' ')
			at++;
		start = at;
		while (at < len && argument[at] != ' ')
			at++;
		if (at == start)
			break;
		fault = parameter_parse(argument + start, at - start, reverse, &seen, path_r);
		if (fault != SMTP_PATH_OK)
			return fault;
	}
	return SMTP_PATH_OK;
}

bool smtp_bdat_parse(const char *argument, size_t len, uint64_t *size_r, bool *last_r)
{
	uint64_t size = 0;
	size_t at = 0;

	while (len > 0 && blank(argument[len - 1]))
		len--;
	for (; at < len && argument[at] >= '0' && argument[at] <= '9'; at++) {
		unsigned digit = (unsigned)(argument[at] - '0');

		if (size > ((uint64_t)INT64_MAX - digit) / 10)
			return false;
		size = size * 10 + digit;
	}
	if (at == 0)
		return false;
	*size_r = size;
	*last_r = at < len;
	if (at == len)
		return true;
	if (!blank(argument[at]))
		return false;
	while (at < len && blank(argument[at]))
		at++;
	return is_word(argument + at, len - at, "LAST");
}
