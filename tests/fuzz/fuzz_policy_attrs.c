/*
 * fuzz_policy_attrs - a policy client that sends anything
 *
 * The slices lie within the request, no shorter input gives another answer, and the reply to any
 * action is one line and one empty line.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/policy_attrs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_slice(struct slice slice, const char *text, size_t used)
{
	if (slice.data == NULL)
		abort();
	if (slice.len == 0)
		return;
	if (slice.data < text || slice.data + slice.len > text + used)
		abort();
	if (memchr(slice.data, '\n', slice.len) != NULL ||
	    memchr(slice.data, '\0', slice.len) != NULL)
		abort();
}

static void check_request(const struct policy_request *request, const char *text, size_t used)
{
	const struct slice slices[] = {
		request->request,        request->protocol_state,
		request->protocol_name,  request->queue_id,
		request->sender,         request->recipient,
		request->client_address, request->client_name,
		request->helo_name,      request->instance,
		request->sasl_method,    request->sasl_username,
		request->size,           request->recipient_count,
		request->policy_context, request->encryption_protocol,
	};

	_Static_assert(sizeof(slices) == sizeof(*request), "every slice is checked");
	for (size_t i = 0; i < sizeof(slices) / sizeof(slices[0]); i++)
		check_slice(slices[i], text, used);
}

static void check_reply(const char *action)
{
	struct buf reply = BUF_INIT;

	policy_reply_append(&reply, action);
	if (!buf_ok(&reply) || reply.len < 9 || strlen(reply.data) != reply.len ||
	    strcmp(reply.data + reply.len - 2, "\n\n") != 0 ||
	    strchr(reply.data, '\n') != reply.data + reply.len - 2)
		abort();
	buf_free(&reply);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	struct policy_request request, part;
	size_t used, part_used;
	enum parse whole = policy_request_parse(text, size, &request, &used);
	struct buf action = BUF_INIT;

	if (whole == PARSE_OK ? used == 0 || used > size : used != 0)
		abort();
	check_request(&request, text, whole == PARSE_OK ? used : size);
	for (size_t len = 0; len < size && len < 512; len++) {
		enum parse now = policy_request_parse(text, len, &part, &part_used);

		if (now != PARSE_MORE && now != whole)
			abort();
		if (whole == PARSE_OK && (now == PARSE_OK) != (len >= used))
			abort();
	}
	buf_append(&action, data, size);
	if (buf_ok(&action))
		check_reply(buf_str(&action));
	buf_free(&action);
	return 0;
}
