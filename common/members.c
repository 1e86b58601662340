/*
 * NAME
 *	members - the members of an alias row
 * DESCRIPTION
 *	What the database says passes as it stands; only an extension that is put into a member
 *	makes it an address of ours, which then is quoted where RFC 5321 needs it.
 * LIMITS
 *	Comments and display names ("Bob <bob@example.com>") are not taken apart: no schema stores
 *	them, and Postfix parses them itself.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "common/members.h"

#include <string.h>
#include <strings.h>

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\v' || c == '\f';
}

/* The quote that closes the one at QUOTE, or NULL. */
static const char *closing_quote(const char *quote)
{
	for (const char *p = quote + 1; *p; p++) {
		if (*p == '"')
			return p;
		if (*p == '\\' && p[1])
			p++;
	}
	return NULL;
}

static const char *member_end(const char *p)
{
	while (*p && *p != ',') {
		const char *close = *p == '"' ? closing_quote(p) : NULL;

		p = (close ? close : p) + 1;
	}
	return p;
}

bool member_next(const char **cursor, struct member *member_r)
{
	while (**cursor) {
		const char *start = *cursor, *stop = member_end(start);

		*cursor = *stop ? stop + 1 : stop;
		while (start < stop && is_blank(*start))
			start++;
		while (stop > start && is_blank(stop[-1]))
			stop--;
		if (start == stop)
			continue;
		*member_r = (struct member){.text = start, .len = (size_t)(stop - start)};
		return true;
	}
	return false;
}

bool member_refused(const struct member *member)
{
	static const char include[] = ":include:";
	const char *p = member->text, *end = p + member->len;

	while (p < end && (*p == '"' || *p == '\\' || is_blank(*p)))
		p++;
	if (p == end)
		return false;
	if (*p == '|' || *p == '/')
		return true;
	return (size_t)(end - p) >= sizeof(include) - 1 &&
	       strncasecmp(p, include, sizeof(include) - 1) == 0;
}

bool member_is_domain(const struct member *member)
{
	return member->text[0] == '@';
}

bool member_is(const struct member *member, const char *key)
{
	struct address address;
	size_t local_len;

	if (!address_parse(&address, member->text, member->len, NULL))
		return false;
	local_len = strlen(address.local);
	return strncmp(key, address.local, local_len) == 0 && key[local_len] == '@' &&
	       strcmp(key + local_len + 1, address.domain) == 0;
}

/* Where the domain's '@' stands: the last one outside quotes; the end if there is none. */
static size_t local_length(const struct member *member)
{
	size_t at = member->len;

	for (size_t i = 0; i < member->len; i++) {
		const char *close = NULL;

		if (member->text[i] == '"')
			close = closing_quote(member->text + i);
		if (close && (size_t)(close - member->text) < member->len)
			i = (size_t)(close - member->text);
		else if (member->text[i] == '@')
			at = i;
	}
	return at;
}

/* Appends a quoted local part's contents ("a\"b" gives a"b). */
static void unquote(struct buf *out, const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (text[i] == '"')
			continue;
		if (text[i] == '\\' && i + 1 < len)
			i++;
		buf_putc(out, text[i]);
	}
}

/* Whether an extension can stand in a local part without quotes around it. */
static bool extension_is_plain(const char *extension)
{
	struct buf local = BUF_INIT, printed = BUF_INIT;
	bool plain;

	buf_putc(&local, 'x');
	buf_puts(&local, extension);
	address_print(&printed, buf_str(&local), local.len, "x");
	plain = buf_str(&printed)[0] == 'x';
	buf_free(&local);
	buf_free(&printed);
	return plain;
}

void member_append(struct buf *list, const struct member *member, const char *extension)
{
	size_t local_len = local_length(member);
	const char *domain = member->text + local_len;
	size_t domain_len = member->len - local_len;
	struct buf local = BUF_INIT;

	if (list->len > 0)
		buf_putc(list, ',');
	if (*extension == '\0' || member_is_domain(member)) {
		buf_append(list, member->text, member->len);
		return;
	}
	if (!memchr(member->text, '"', local_len) && extension_is_plain(extension)) {
		buf_append(list, member->text, local_len);
		buf_puts(list, extension);
		buf_append(list, domain, domain_len);
		return;
	}
	unquote(&local, member->text, local_len);
	buf_puts(&local, extension);
	address_print(list, buf_str(&local), local.len, "");
	/* address_print() ends with the '@' that our domain, if there is one, begins with. */
	buf_truncate(list, list->len - 1);
	buf_append(list, domain, domain_len);
	list->failed |= local.failed;
	buf_free(&local);
}
