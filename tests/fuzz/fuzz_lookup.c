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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "common/sql_fake.h"
#include "postfix-lookup/lookup.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char preset[] = "[preset]\n"
			     "name = fake\n"
			     "[query domain]\n"
			     "sql = \"SELECT domain :domain\"\n"
			     "[query domain_target]\n"
			     "sql = \"SELECT target :domain\"\n"
			     "[query alias]\n"
			     "sql = \"SELECT alias :address\"\n"
			     "[query mailbox]\n"
			     "sql = \"SELECT mailbox :address\"\n"
			     "[query secrets]\n"
			     "sql = \"SELECT secrets :address\"\n"
			     "[query grants]\n"
			     "sql = \"SELECT grants :address\"\n";

static struct settings settings;
static void *state;

static void ignore(void *context, enum log_level level, const char *line)
{
	(void)context;
	(void)level;
	(void)line;
}

static void fail(const char *what)
{
	fprintf(stderr, "fuzz_lookup: %s\n", what);
	abort();
}

static void write_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	if (!file || fputs(text, file) < 0 || fclose(file) != 0)
		fail("cannot write a file");
}

static void open_state(void)
{
	char folder[] = "/tmp/postern-fuzz-XXXXXX", ini[64], queries[64], text[256];
	struct error err = {""};

	log_set_sink(ignore, NULL);
	if (!mkdtemp(folder))
		fail("mkdtemp");
	snprintf(ini, sizeof(ini), "%s/postern.ini", folder);
	snprintf(queries, sizeof(queries), "%s/preset.ini", folder);
	snprintf(text, sizeof(text),
		 "[schema]\npreset = %s\n[lookup]\npositive_ttl = 0\nnegative_ttl = 0\n", queries);
	write_file(ini, text);
	write_file(queries, preset);
	if (settings_load(ini, &settings, NULL, &err) != RESULT_FOUND)
		fail(err.text);
	/* Not a driver that a file may name. */
	free(settings.database.driver);
	free(settings.database.hosts);
	settings.database.driver = strdup("fake");
	settings.database.hosts = strdup("fake");
	if (!settings.database.driver || !settings.database.hosts ||
	    lookup_open(&settings, &state, &err) != RESULT_FOUND)
		fail(err.text);
	if (unlink(ini) != 0 || unlink(queries) != 0 || rmdir(folder) != 0)
		fail("cannot tidy up");
}

static void row(const char *query, const char *key, const char *name, const char *column,
		const char *value)
{
	const char *const names[] = {name, column};
	const char *const values[] = {key, value};

	sql_fake_row(query, key, 2, names, values, NULL);
}

static void fill_database(void)
{
	sql_fake_reset();
	row("SELECT domain", "a.test", "name", "transport", "smtp:x");
	row("SELECT target", "b.test", "name", "target", "a.test");
	row("SELECT mailbox", "m@a.test", "address", "path", "m/");
	row("SELECT mailbox", "a b@a.test", "address", "path", "../");
	row("SELECT alias", "x@a.test", "address", "members", "m@a.test, \"q, r\"@a.test,@b.test");
	row("SELECT alias", "l@a.test", "address", "members", "x@a.test,l@a.test,|cmd");
	row("SELECT alias", "p@a.test", "address", "members", "\"|cmd");
	row("SELECT alias", "@a.test", "address", "members", "m@a.test");
	row("SELECT grants", "m@a.test", "address", "login", "m@a.test,bare");
}

/* One reply of a known form, and nothing else. */
static void check_reply(const struct buf *out)
{
	static const char *const words[] = {"OK ", "NOTFOUND ", "TEMP ", "PERM "};
	const char *payload;
	size_t len, used;

	if (netstring_parse(out->data, out->len, 100000, &payload, &len, &used) != PARSE_OK ||
	    used != out->len)
		fail("the reply is not one netstring");
	if (memchr(payload, '\0', len) || memchr(payload, '\n', len))
		fail("NUL or newline in a reply");
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (len > strlen(words[i]) - (i == 1) &&
		    strncmp(payload, words[i], strlen(words[i])) == 0)
			return;
	fail("a reply of unknown form, or an empty answer");
}

static void serve(struct buf *in, uint8_t fault)
{
	enum sql_fake_operation operation = (enum sql_fake_operation)(fault % 4);
	unsigned nth = fault ? 1u + fault / 4u % 8u : UINT32_MAX;
	struct error err;
	void *worker = NULL;
	enum parse parse;

	if (lookup_service.worker_open(state, &worker, &err) != RESULT_FOUND)
		fail(err.text);
	if (fault)
		sql_fake_fail(operation, nth, 1, SQL_FAULT_BUSY);
	do {
		struct buf out = BUF_INIT;
		size_t before = in->len;
		unsigned calls = sql_fake_calls(operation);

		parse = lookup_next(state, worker, in, &out);
		if (parse == PARSE_OK)
			check_reply(&out);
		if (calls < nth && sql_fake_calls(operation) >= nth && !strstr(out.data, ":TEMP "))
			fail("the database failed, but the reply is not TEMP");
		if ((parse == PARSE_OK) != (in->len < before) || (parse != PARSE_OK && out.len > 0))
			fail("bytes and replies do not go together");
		buf_free(&out);
	} while (parse == PARSE_OK);
	lookup_service.worker_close(worker);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf in = BUF_INIT;

	if (!state)
		open_state();
	if (size == 0)
		return 0;
	fill_database();
	buf_append(&in, data + 1, size - 1);
	serve(&in, data[0]);
	buf_free(&in);
	return 0;
}
