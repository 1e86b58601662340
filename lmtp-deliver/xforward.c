/*
 * xforward - the attributes of Postfix's XFORWARD command (XFORWARD_README)
 *
 * "NAME=VALUE ...", values in xtext, at most 255 bytes each; [UNAVAILABLE] stands for none. All
 * attributes are checked; IDENT is the one that is kept, for the log. It is made printable ASCII,
 * since it also becomes a part of Received fields.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <string.h>
#include <strings.h>

#include "common/buf.h"
#include "common/smtp_line.h"
#include "lmtp-deliver/xforward.h"

static const char *const names[] = {"NAME", "ADDR", "PORT", "PROTO", "HELO", "IDENT", "SOURCE"};

static bool known(const char *name, size_t len)
{
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strlen(names[i]) == len && strncasecmp(names[i], name, len) == 0)
			return true;
	return false;
}

static void set_ident(struct xforward *xforward, const char *value)
{
	size_t len = strlen(value);

	if (strcasecmp(value, "[UNAVAILABLE]") == 0)
		len = 0;
	for (size_t i = 0; i < len; i++)
		xforward->ident[i] = value[i] > ' ' && value[i] < 0x7f ? value[i] : '?';
	xforward->ident[len] = '\0';
}

static bool attribute_parse(const char *word, size_t len, struct xforward *xforward)
{
	const char *equals = memchr(word, '=', len);
	struct buf value = BUF_INIT;
	size_t name;
	bool good;

	if (!equals)
		return false;
	name = (size_t)(equals - word);
	good = known(word, name) && smtp_xtext_decode(equals + 1, len - name - 1, &value) &&
	       buf_ok(&value) && value.len > 0 && value.len <= XFORWARD_VALUE_MAX;
	if (good && strncasecmp(word, "IDENT", name) == 0)
		set_ident(xforward, buf_str(&value));
	buf_free(&value);
	return good;
}

bool xforward_parse(const char *argument, size_t len, struct xforward *xforward)
{
	struct xforward parsed = *xforward;
	size_t at = 0, count = 0;

	for (;;) {
		size_t start;

		while (at < len && argument[at] == ' ')
			at++;
		start = at;
		while (at < len && argument[at] != ' ')
			at++;
		if (at == start)
			break;
		if (!attribute_parse(argument + start, at - start, &parsed))
			return false;
		count++;
	}
	if (count > 0)
		*xforward = parsed;
	return count > 0;
}
