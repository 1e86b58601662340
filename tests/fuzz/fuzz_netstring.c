/*
 * fuzz_netstring - a socketmap client that sends anything
 *
 * What is found must hold for every shorter input: MORE until complete, BAD for ever, and writing
 * the payload again gives the same bytes.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/netstring.h"

#define MAX 10000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_again(const char *payload, size_t payload_len, const char *text, size_t used)
{
	struct buf again = BUF_INIT;

	netstring_append(&again, payload, payload_len);
	if (!buf_ok(&again) || again.len != used || memcmp(again.data, text, used) != 0)
		abort();
	buf_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data, *payload;
	size_t payload_len, used, none;
	enum parse whole = netstring_parse(text, size, MAX, &payload, &payload_len, &used);
	enum parse before = PARSE_MORE;

	if (whole == PARSE_OK) {
		if (used > size || payload < text || payload + payload_len >= text + used)
			abort();
		check_again(payload, payload_len, text, used);
	} else if (used != 0) {
		abort();
	}
	for (size_t len = 0; len <= size && len < 64; len++) {
		const char *part;
		size_t part_len;
		enum parse now = netstring_parse(text, len, MAX, &part, &part_len, &none);

		if (before != PARSE_MORE && now != before)
			abort();
		if (now == PARSE_OK && (whole != PARSE_OK || none != used))
			abort();
		if (now == PARSE_BAD && whole != PARSE_BAD)
			abort();
		before = now;
	}
	return 0;
}
