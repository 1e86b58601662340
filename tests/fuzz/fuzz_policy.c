/*
 * Policy requests to decisions: parse, limits of every key, quotas from a database that answers
 * from a script. Whatever comes in, the answer is DUNNO or one of our refusals on one line.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "common/log.h"
#include "common/sql_fake.h"
#include "policyd/policy.h"
#include "tests/fuzz/fake_host.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct settings settings;
static struct policy *policy;
static void *worker;

static void must(bool good, const char *what)
{
	if (!good)
		fake_host_fail(what);
}

static void quiet(void *context, enum log_level level, const char *line)
{
	(void)context;
	(void)level;
	for (; *line; line++)
		must((unsigned char)*line >= 0x20 && *line != 0x7f, "control character in the log");
}

/* Everything that may be limited. */
static const char *limits(void)
{
	static const char *const keys[] = {"sasl_user", "sender",    "sender_domain",
					   "client_ip", "recipient", "global"};
	static char ini[1024] = "[address]\ndefault_domain = example.com\n";
	size_t len = strlen(ini);

	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++)
		len += (size_t)snprintf(ini + len, sizeof(ini) - len,
					"[limit %s]\nkey = %s\nmax = 3\nwindow = 2s\ncount = %s\n",
					keys[i], keys[i], i % 2 ? "messages" : "recipients");
	return ini;
}

static void make_rows(void)
{
	static const char *const names[] = {"address", "path", "quota"};
	static const char *const values[] = {"alice@example.com", "a/", "1000"};

	fake_host_row("SELECT domain", "example.com", "name", "transport", "");
	fake_host_row("SELECT alias", "sales@example.com", "address", "members",
		      "alice@example.com");
	sql_fake_row("SELECT mailbox", values[0], 3, names, values, NULL);
	fake_host_row("SELECT usage", "alice@example.com", "address", "bytes", "900");
}

static void start(void)
{
	struct error err = {""};

	fake_host_begin(&settings, limits());
	log_set_sink(quiet, NULL);
	log_set_level(LOG_LEVEL_DEBUG);
	if (policy_open(&settings, &policy, &err) != RESULT_FOUND ||
	    policy_service.worker_open(policy, &worker, &err) != RESULT_FOUND)
		fake_host_fail(err.text);
	fake_host_end();
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
