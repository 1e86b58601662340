/*
 * agent_envelope - senders and recipients as pipe(8) and its users write them
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <string.h>
#include <strings.h>

#include "common/address.h"
#include "lmtp-deliver/agent_envelope.h"

bool agent_sender(struct buf *out, const char *sender)
{
	struct address parsed;
	size_t len = strlen(sender);

	if (len == 0 || strcmp(sender, "<>") == 0 || strcasecmp(sender, "MAILER-DAEMON") == 0)
		return true;
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)sender[i] < 0x20 || sender[i] == 0x7f)
			return false;
	if (address_parse(&parsed, sender, len, NULL))
		address_print(out, parsed.typed, strlen(parsed.typed), strrchr(sender, '@') + 1);
	else
		buf_puts(out, sender);
	return true;
}

void agent_return_path(struct buf *out, const char *field, size_t len)
{
	const char *colon = len > 0 ? memchr(field, ':', len) : NULL, *bracket;
	size_t begin, end = len;

	if (!colon)
		return;
	for (begin = (size_t)(colon - field) + 1; begin < end; begin++)
		if (!field[begin] || !strchr(" \t\r\n<", field[begin]))
			break;
	/* The last one: a quoted local part may hold others. */
	bracket = memrchr(field + begin, '>', end - begin);
	if (bracket)
		end = (size_t)(bracket - field);
	while (end > begin && field[end - 1] && strchr(" \t\r\n", field[end - 1]))
		end--;
	buf_append(out, field + begin, end - begin);
}

size_t agent_from_line(struct buf *out, const char *message, size_t len)
{
	const char *line_end = len > 5 ? memchr(message, '\n', len) : NULL;
	size_t address;

	if (!line_end || strncmp(message, "From ", 5) != 0)
		return 0;
	for (address = 0; (unsigned char)message[5 + address] > ' '; address++)
		;
	buf_append(out, message + 5, address);
	return (size_t)(line_end + 1 - message);
}

bool agent_recipient(struct buf *out, const struct settings *settings, const char *address,
		     struct error *err)
{
	const char *at = strrchr(address, '@');

	if (*address == '\0' || (at && at[1] == '\0')) {
		error_set(err, "recipient \"%s\" is empty", address);
		return false;
	}
	if (!at && *settings->address.default_domain == '\0') {
		error_set(err,
			  "recipient \"%s\" has no domain, and [address] default_domain is not set",
			  address);
		return false;
	}
	buf_puts(out, address);
	if (!at)
		buf_printf(out, "@%s", settings->address.default_domain);
	return true;
}
