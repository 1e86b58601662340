/*
 * fuzz_lookup - socketmap requests against the fake database
 *
 * The first byte chooses a fault of the database (or none), the rest is what a client sends. Each
 * reply must be one well-formed netstring within Postfix's limits that begins with one of the four
 * words; TEMP stands there whenever the database failed, and what was consumed never comes back.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/sql_fake.h"
#include "postfix-lookup/lookup.h"
#include "tests/fuzz/fake_host.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct settings settings;
static void *state;

static void begin(void)
{
	fake_host_begin(&settings, "[lookup]\npositive_ttl = 0\nnegative_ttl = 0\n");
	if (atexit(fake_host_end) != 0)
		fake_host_fail("atexit");
}

static void open_state(void)
{
	struct error err = {""};

	if (!settings.database.driver)
		begin();
	if (lookup_open(&settings, &state, &err) != RESULT_FOUND)
		fake_host_fail(err.text);
}

static void fill_database(void)
{
	sql_fake_reset();
	fake_host_row("SELECT domain", "a.test", "name", "transport", "smtp:x");
	fake_host_row("SELECT target", "b.test", "name", "target", "a.test");
	fake_host_row("SELECT mailbox", "m@a.test", "address", "path", "m/");
	fake_host_row("SELECT mailbox", "a b@a.test", "address", "path", "../");
	fake_host_row("SELECT alias", "x@a.test", "address", "members",
		      "m@a.test, \"q, r\"@a.test,@b.test");
	fake_host_row("SELECT alias", "l@a.test", "address", "members", "x@a.test,l@a.test,|cmd");
	fake_host_row("SELECT alias", "p@a.test", "address", "members", "\"|cmd");
	fake_host_row("SELECT alias", "@a.test", "address", "members", "m@a.test");
	fake_host_row("SELECT grants", "m@a.test", "address", "login", "m@a.test,bare");
}

/* One reply of a known form, and nothing else. */
static void check_reply(const struct buf *out)
{
	static const char *const words[] = {"OK ", "NOTFOUND ", "TEMP ", "PERM "};
	const char *payload;
	size_t len, used;

	if (netstring_parse(out->data, out->len, 100000, &payload, &len, &used) != PARSE_OK ||
	    used != out->len)
		fake_host_fail("the reply is not one netstring");
	if (memchr(payload, '\0', len) || memchr(payload, '\n', len))
		fake_host_fail("NUL or newline in a reply");
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (len > strlen(words[i]) - (i == 1) &&
		    strncmp(payload, words[i], strlen(words[i])) == 0)
			return;
	fake_host_fail("a reply of unknown form, or an empty answer");
}

static void serve(struct connection *connection, uint8_t fault)
{
	const struct buf *in = &connection->in;
	enum sql_fake_operation operation = (enum sql_fake_operation)(fault % 4);
	unsigned nth = fault ? 1u + fault / 4u % 8u : UINT32_MAX;
	struct error err;
	void *worker = NULL;
	enum lookup_next next;

	if (lookup_service.worker_open(state, &worker, &err) != RESULT_FOUND)
		fake_host_fail(err.text);
	if (fault)
		sql_fake_fail(operation, nth, 1, SQL_FAULT_BUSY);
	do {
		struct buf out = BUF_INIT;
		size_t before = in->len;
		unsigned calls = sql_fake_calls(operation);

		next = lookup_next(state, worker, connection, &out);
		if (next == LOOKUP_OK)
			check_reply(&out);
		/* After a failed connection a thread of its own connects as well. */
		if ((operation != SQL_FAKE_CONNECT || nth == 1) && calls < nth &&
		    sql_fake_calls(operation) >= nth && !strstr(out.data, ":TEMP "))
			fake_host_fail("the database failed, but the reply is not TEMP");
		if ((next == LOOKUP_OK) != (in->len < before) || (next != LOOKUP_OK && out.len > 0))
			fake_host_fail("bytes and replies do not go together");
		buf_free(&out);
	} while (next == LOOKUP_OK);
	lookup_service.worker_close(worker);
	lookup_service.close(connection);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct connection connection = {.fd = -1};

	if (size == 0)
		return 0;
	fill_database();
	open_state();
	buf_append(&connection.in, data + 1, size - 1);
	serve(&connection, data[0]);
	buf_free(&connection.in);
	lookup_free(state);
	return 0;
}
