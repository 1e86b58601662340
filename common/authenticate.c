/*
 * NAME
 *	authenticate - a login and a password to yes or no
 * DESCRIPTION
 *	Every secret of the account is tried (its password, its app passwords); one that cannot be
 *	verified does not stand in the way of the others. An account that is absent, inactive or
 *	barred costs one verification as well, so that time does not tell which names exist.
 * LIMITS
 *	The stand-in is SHA512-CRYPT as password_make() makes it. Where accounts hold other hashes, a
 *	patient observer can still tell them from absent ones.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "common/authenticate.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "common/log.h"
#include "common/password.h"
#include "common/resolve_search.h"

/* What password_make() spends on SHA512-CRYPT. */
#define DUMMY_ROUNDS 50000

/* Nobody's password; only its cost matters. */
static const char dummy_hash[] =
	"syeukNH/QZCcaBo8iAFGdpDqfOo8N0kazZLqrZV5bhOL440usvU0y8RGNqJwQpc6DoZyj/dQ9W/cms4FVts8V1";

static struct log_limit unusable_limit = {.interval_ms = 1000};

static struct password_limits limits_of(const struct settings *settings)
{
	int64_t rounds = settings->auth.max_rounds, memory = settings->auth.max_memory;

	return (struct password_limits){
		.sha_rounds = rounds > UINT32_MAX ? UINT32_MAX : (uint32_t)rounds,
		.memory_bytes = (uint64_t)memory,
	};
}

static const char *default_scheme(const struct accounts *accounts, const struct settings *settings)
{
	if (*settings->schema.password_scheme)
		return settings->schema.password_scheme;
	return schema_default(accounts_schema(accounts), "password_scheme", "");
}

/* NONE, at the price of one comparison; TEMP if even that could not be done. */
static enum result refuse(const struct password_limits *limits, const char *password,
			  struct error *err)
{
	unsigned rounds = DUMMY_ROUNDS;
	char stored[160];
	enum result result;

	if (limits->sha_rounds > 0 && limits->sha_rounds < rounds)
		rounds = limits->sha_rounds;
	snprintf(stored, sizeof(stored), "$6$rounds=%u$posternpostern00$%s", rounds, dummy_hash);
	result = password_verify(password, stored, NULL, NULL, limits, err);
	return result == RESULT_TEMP ? RESULT_TEMP : RESULT_NONE;
}

/* FOUND if any matches; else TEMP before PERM before NONE. */
static enum result try_secrets(struct accounts *accounts, const struct settings *settings,
			       const char *account, const char *password,
			       const struct secrets *secrets, struct trace *trace,
			       struct error *err)
{
	const struct password_limits limits = limits_of(settings);
	const char *scheme = default_scheme(accounts, settings);
	enum result worst = RESULT_NONE;

	for (size_t i = 0; i < secrets->count; i++) {
		struct error why = {""};
		enum result result = password_verify(password, secrets->values[i], account, scheme,
						     &limits, &why);

		trace_add(trace, "secret %zu of %zu: %s", i + 1, secrets->count,
			  result == RESULT_FOUND  ? "matches"
			  : result == RESULT_NONE ? "does not match"
						  : why.text);
		if (result == RESULT_FOUND)
			return RESULT_FOUND;
		if (result == RESULT_NONE)
			continue;
		if (result == RESULT_PERM)
			log_limited(&unusable_limit, LOG_LEVEL_ERROR,
				    "stored password unusable account=%s error=%s", account,
				    why.text);
		if (worst != RESULT_TEMP) {
			worst = result;
			error_set(err, "%s", why.text);
		}
	}
	return worst;
}

/* The secrets of a live mailbox against the password. */
static enum result check_mailbox(struct accounts *accounts, const struct settings *settings,
				 const struct mailbox *mailbox, const char *password,
				 const char **reason_r, struct trace *trace, struct error *err)
{
	struct secrets secrets = {0};
	char key[ADDRESS_MAX + 1];
	enum result result;

	if (!address_fold(key, sizeof(key), mailbox->address, strlen(mailbox->address)))
		return result_error(err, RESULT_PERM, "mailbox name is too long or not UTF-8");
	result = accounts_secrets(accounts, key, &secrets, err);
	if (result == RESULT_FOUND) {
		*reason_r = "wrong-password";
		result = try_secrets(accounts, settings, mailbox->address, password, &secrets,
				     trace, err);
		secrets_free(&secrets);
	} else if (result == RESULT_NONE) {
		const struct password_limits limits = limits_of(settings);

		trace_add(trace, "secrets %s: none", key);
		*reason_r = "no-password";
		result = refuse(&limits, password, err);
	}
	return result;
}

enum result authenticate(struct accounts *accounts, const struct settings *settings,
			 const char *login, size_t login_len, const char *password,
			 struct buf *account_r, const char **reason_r, struct trace *trace,
			 struct error *err)
{
	const struct password_limits limits = limits_of(settings);
	struct mailbox mailbox;
	const char *reason;
	enum result result;

	result = resolve_login_reason(accounts, settings, login, login_len, &mailbox, &reason,
				      trace, err);
	if (result == RESULT_NONE) {
		result = refuse(&limits, password, err);
	} else if (result == RESULT_FOUND && !mailbox.may_send) {
		trace_add(trace, "mailbox %s: barred from sending", mailbox.address);
		reason = "barred";
		result = refuse(&limits, password, err);
		mailbox_free(&mailbox);
	} else if (result == RESULT_FOUND) {
		result = check_mailbox(accounts, settings, &mailbox, password, &reason, trace, err);
		if (result == RESULT_FOUND && account_r) {
			buf_puts(account_r, mailbox.address);
			if (!buf_ok(account_r))
				result = result_error(err, RESULT_TEMP, "out of memory");
		}
		mailbox_free(&mailbox);
	}
	if (reason_r)
		*reason_r = result == RESULT_FOUND  ? "ok"
			    : result == RESULT_NONE ? reason
						    : result_name(result);
	trace_add(trace, "login: %s", result == RESULT_NONE ? reason : result_name(result));
	return result;
}
