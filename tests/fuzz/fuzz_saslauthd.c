/*
 * fuzz_saslauthd - a client of sasl-authd that sends anything
 *
 * The first byte chooses the protocol. What is found must lie within the input, and must hold for
 * every shorter input: MORE until complete, then OK for ever; BAD for ever.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "sasl-auxprop-sql/authdaemond.h"
#include "sasl-auxprop-sql/saslauthd.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_within(const char *text, size_t used, const char *field, size_t len)
{
	if (field == NULL && len == 0)
		return;
	if (field < text || field > text + used || len > used - (size_t)(field - text))
		abort();
}

static enum parse check_saslauthd(const char *text, size_t len, size_t *used)
{
	struct saslauthd_request request;
	enum parse parse = saslauthd_parse(text, len, &request, used);

	if (*used > len || (parse == PARSE_OK) != (*used > 0))
		abort();
	if (parse != PARSE_OK)
		return parse;
	check_within(text, *used, request.user.data, request.user.len);
	check_within(text, *used, request.password.data, request.password.len);
	check_within(text, *used, request.service.data, request.service.len);
	check_within(text, *used, request.realm.data, request.realm.len);
	check_within(text, *used, request.client.data, request.client.len);
	if (request.user.len + request.password.len + request.service.len + request.realm.len + 8 >
	    *used)
		abort();
	return parse;
}

static enum parse check_authdaemond(const char *text, size_t len, size_t *used)
{
	struct authdaemond_request request;
	enum parse parse = authdaemond_parse(text, len, &request, used);

	if (*used > len || (parse == PARSE_OK) != (*used > 0))
		abort();
	if (parse != PARSE_OK)
		return parse;
	check_within(text, *used, request.service, request.service_len);
	check_within(text, *used, request.user, request.user_len);
	check_within(text, *used, request.password, request.password_len);
	check_within(text, *used, request.client, request.client_len);
	if (request.is_login && memchr(request.password, '\n', request.password_len) != NULL)
		abort();
	return parse;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum parse (*check)(const char *, size_t, size_t *) =
		size > 0 && data[0] % 2 == 1 ? check_authdaemond : check_saslauthd;
	const char *text = (const char *)data + 1;
	enum parse before = PARSE_MORE, whole;
	size_t used;

	if (size == 0)
		return 0;
	whole = check(text, size - 1, &used);
	for (size_t len = 0; len < size && len < 128; len++) {
		enum parse now = check(text, len, &used);

		if ((before != PARSE_MORE && now != before) || (now != PARSE_MORE && now != whole))
			abort();
		before = now;
	}
	return 0;
}
