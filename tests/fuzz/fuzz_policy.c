/*
 * Policy requests to decisions: parse, limits of every key, quotas from a database that answers
 * from a script. Whatever comes in, the answer is DUNNO or one of our refusals on one line.
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
#include "policyd/policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct settings settings;
static struct policy *policy;
static void *worker;

static void must(bool good, const char *what)
{
	if (!good) {
		fprintf(stderr, "fuzz_policy: %s\n", what);
		abort();
	}
}

static void quiet(void *context, enum log_level level, const char *line)
{
	(void)context;
	(void)level;
	for (; *line; line++)
		must((unsigned char)*line >= 0x20 && *line != 0x7f, "control character in the log");
}

/* The smallest preset, and everything that may be limited. */
static void write_files(char *ini, char *preset)
{
	static const char *const keys[] = {"sasl_user", "sender",    "sender_domain",
					   "client_ip", "recipient", "global"};
	FILE *file = fdopen(mkstemp(preset), "w");

	must(file != NULL, "no temporary file");
	fputs("[preset]\nname = fake\n"
	      "[query domain]\nsql = \"domain :domain\"\n"
	      "[query alias]\nsql = \"alias :address\"\n"
	      "[query mailbox]\nsql = \"mailbox :address\"\n"
	      "[query secrets]\nsql = \"secrets :address\"\n"
	      "[query usage]\nsql = \"usage :address\"\n",
	      file);
	fclose(file);
	file = fdopen(mkstemp(ini), "w");
	must(file != NULL, "no temporary file");
	fprintf(file, "[schema]\npreset = %s\n[address]\ndefault_domain = example.com\n", preset);
	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++)
		fprintf(file, "[limit %s]\nkey = %s\nmax = 3\nwindow = 2s\ncount = %s\n", keys[i],
			keys[i], i % 2 ? "messages" : "recipients");
	fclose(file);
}

static void make_rows(void)
{
	static const char *const domain_names[] = {"name"};
	static const char *const domain_values[] = {"example.com"};
	static const char *const alias_names[] = {"address", "members"};
	static const char *const alias_values[] = {"sales@example.com", "alice@example.com"};
	static const char *const mailbox_names[] = {"address", "path", "quota"};
	static const char *const mailbox_values[] = {"alice@example.com", "a/", "1000"};
	static const char *const usage_names[] = {"address", "bytes"};
	static const char *const usage_values[] = {"alice@example.com", "900"};

	sql_fake_row("domain", "example.com", 1, domain_names, domain_values, NULL);
	sql_fake_row("alias", "sales@example.com", 2, alias_names, alias_values, NULL);
	sql_fake_row("mailbox", "alice@example.com", 3, mailbox_names, mailbox_values, NULL);
	sql_fake_row("usage", "alice@example.com", 2, usage_names, usage_values, NULL);
}

static void start(void)
{
	char ini[] = "/tmp/fuzz_policy.XXXXXX", preset[] = "/tmp/fuzz_policy.XXXXXX";
	char fake[] = "fake";
	struct error err = {""};

	log_set_sink(quiet, NULL);
	log_set_level(LOG_LEVEL_DEBUG);
	write_files(ini, preset);
	if (settings_load(ini, &settings, NULL, &err) != RESULT_FOUND) {
		fprintf(stderr, "%s\n", err.text);
		abort();
	}
	free(settings.database.driver);
	free(settings.database.hosts);
	settings.database.driver = strdup(fake);
	settings.database.hosts = strdup(fake);
	if (policy_open(&settings, &policy, &err) != RESULT_FOUND ||
	    policy_service.worker_open(policy, &worker, &err) != RESULT_FOUND) {
		fprintf(stderr, "%s\n", err.text);
		abort();
	}
	unlink(ini);
	unlink(preset);
	make_rows();
}

static bool is_answer(const char *action)
{
	return strcmp(action, "DUNNO") == 0 || strcmp(action, "552 5.2.2 Mailbox is full") == 0 ||
	       strncmp(action, "450 4.7.1 Limit of ", 19) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int64_t now_ms;
	const char *at = (const char *)data;
	struct policy_request request;
	size_t used;

	if (!policy)
		start();
	while (policy_request_parse(at, size, &request, &used) == PARSE_OK) {
		struct buf action = BUF_INIT, reply = BUF_INIT;

		must(used > 0 && used <= size, "used");
		policy_decide(policy, worker, &request, "192.0.2.1:4711", now_ms, &action);
		must(is_answer(buf_str(&action)), buf_str(&action));
		policy_reply_append(&reply, buf_str(&action));
		must(strchr(buf_str(&reply), '\n') == buf_str(&reply) + reply.len - 2, "one line");
		buf_free(&action);
		buf_free(&reply);
		at += used;
		size -= used;
		now_ms += 10;
	}
	return 0;
}
