/*
 * policy_attrs - requests and replies of Postfix's SMTPD policy delegation protocol
 *
 * A request is at most 64 KiB. Replies carry one action and end with a bare-LF empty line, as
 * Postfix does not recognise CRLF there and would wait for its whole time-out.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "common/policy_attrs.h"

#include <string.h>

static const struct {
	const char *name;
	size_t offset;
} attributes[] = {
	{"request", offsetof(struct policy_request, request)},
	{"protocol_state", offsetof(struct policy_request, protocol_state)},
	{"protocol_name", offsetof(struct policy_request, protocol_name)},
	{"queue_id", offsetof(struct policy_request, queue_id)},
	{"sender", offsetof(struct policy_request, sender)},
	{"recipient", offsetof(struct policy_request, recipient)},
	{"client_address", offsetof(struct policy_request, client_address)},
	{"client_name", offsetof(struct policy_request, client_name)},
	{"helo_name", offsetof(struct policy_request, helo_name)},
	{"instance", offsetof(struct policy_request, instance)},
	{"sasl_method", offsetof(struct policy_request, sasl_method)},
	{"sasl_username", offsetof(struct policy_request, sasl_username)},
	{"size", offsetof(struct policy_request, size)},
	{"recipient_count", offsetof(struct policy_request, recipient_count)},
	{"policy_context", offsetof(struct policy_request, policy_context)},
	{"encryption_protocol", offsetof(struct policy_request, encryption_protocol)},
};

#define ATTRIBUTE_COUNT (sizeof(attributes) / sizeof(attributes[0]))

static void request_clear(struct policy_request *request)
{
	for (size_t i = 0; i < ATTRIBUTE_COUNT; i++)
		*(struct slice *)((char *)request + attributes[i].offset) = (struct slice){"", 0};
}

/* SEEN has a bit per attribute, because an empty first value counts, too. */
static void request_set(struct policy_request *request, unsigned *seen, const char *name,
			size_t name_len, struct slice value)
{
	for (size_t i = 0; i < ATTRIBUTE_COUNT; i++) {
		if (strlen(attributes[i].name) != name_len ||
		    memcmp(attributes[i].name, name, name_len) != 0)
			continue;
		if ((*seen & 1u << i) == 0)
			*(struct slice *)((char *)request + attributes[i].offset) = value;
		*seen |= 1u << i;
		return;
	}
}

/* One line with its LF, of LEN bytes in all. OK: it was the empty one. */
static enum parse line_parse(const char *line, size_t len, struct policy_request *request,
			     unsigned *seen)
{
	const char *equals;
	size_t name_len;

	len--;
	if (len > 0 && line[len - 1] == '\r')
		len--;
	if (len == 0)
		return PARSE_OK;
	equals = memchr(line, '=', len);
	if (equals == NULL)
		return PARSE_BAD;
	name_len = (size_t)(equals - line);
	request_set(request, seen, line, name_len, (struct slice){equals + 1, len - name_len - 1});
	return PARSE_MORE;
}

enum parse policy_request_parse(const char *data, size_t len, struct policy_request *request_r,
				size_t *used_r)
{
	size_t limit = len < POLICY_REQUEST_MAX ? len : POLICY_REQUEST_MAX, at = 0;
	unsigned seen = 0;

	request_clear(request_r);
	*used_r = 0;
	while (at < limit) {
		const char *end = memchr(data + at, '\n', limit - at);
		size_t line_len = end != NULL ? (size_t)(end - data) + 1 - at : limit - at;
		enum parse parse;

		if (memchr(data + at, '\0', line_len) != NULL)
			return PARSE_BAD;
		if (end == NULL)
			break;
		parse = line_parse(data + at, line_len, request_r, &seen);
		at += line_len;
		if (parse == PARSE_OK)
			*used_r = at;
		if (parse != PARSE_MORE)
			return parse;
	}
	return len >= POLICY_REQUEST_MAX ? PARSE_BAD : PARSE_MORE;
}

void policy_reply_append(struct buf *buf, const char *action)
{
	buf_puts(buf, "action=");
	for (; *action != '\0'; action++) {
		unsigned char c = (unsigned char)*action;

		buf_putc(buf, c < 0x20 || c == 0x7f ? '?' : *action);
	}
	buf_puts(buf, "\n\n");
}
