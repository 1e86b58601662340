/*
 * accounts - the records of the mail host, out of a preset's queries
 *
 * Rows are compared with the key asked for in C, because what a database calls equal depends on
 * its collation. Flags and quotas are read as text and judged here, because databases differ in
 * how they store them. Columns that a preset does not name have a harmless default: active, may
 * send, may receive, no quota, no route.
 *
 * Bugs: a quota that is no number is logged and counts as none.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "common/accounts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/account_columns.h"
#include "common/account_query.h"
#include "common/address.h"
#include "common/conf.h"
#include "common/log.h"
#include "common/secret.h"

struct accounts {
	const struct settings *settings;
	const struct schema *schema;
	struct sql *sql;
	struct schema_session *session;
	int64_t quota_unit;
	struct log_limit quota_limit;
	struct sql_statement **map_statements; /* one for each of the settings' maps */
};

enum result accounts_open(const struct settings *settings, const struct schema *schema,
			  struct accounts **accounts_r, struct error *err)
{
	const struct sql_config config = {
		.driver = settings->database.driver,
		.path = settings->database.path,
		.hosts = settings->database.hosts,
		.name = settings->database.name,
		.user = settings->database.user,
		.password = settings->database.password,
		.tls = settings->database.tls,
		.tls_ca = settings->database.tls_ca,
		.connect_timeout_ms = settings->database.connect_timeout,
		.query_timeout_ms = settings->database.query_timeout,
		.retry_interval_ms = settings->database.retry_interval,
	};
	struct accounts *accounts = calloc(1, sizeof *accounts);
	enum result result;

	*accounts_r = NULL;
	if (accounts == NULL)
		return result_error(err, RESULT_TEMP, "out of memory");
	accounts->settings = settings;
	accounts->schema = schema;
	accounts->quota_limit.interval_ms = 60000;
	if (!conf_parse_integer(schema_default(schema, "quota_unit", "1"), &accounts->quota_unit) ||
	    accounts->quota_unit < 1) {
		accounts_free(&accounts);
		return result_error(err, RESULT_PERM,
				    "preset %s: [defaults] quota_unit is not a number of bytes",
				    schema_name(schema));
	}
	accounts->map_statements =
		calloc(settings->map_count + 1, sizeof *accounts->map_statements);
	if (accounts->map_statements == NULL) {
		accounts_free(&accounts);
		return result_error(err, RESULT_TEMP, "out of memory");
	}
	result = sql_open(&config, &accounts->sql, err);
	if (result == RESULT_FOUND)
		result = schema_open(schema, accounts->sql, &accounts->session, err);
	if (result != RESULT_FOUND) {
		accounts_free(&accounts);
		return result;
	}
	*accounts_r = accounts;
	return RESULT_FOUND;
}

void accounts_free(struct accounts **accounts_p)
{
	struct accounts *accounts = *accounts_p;

	if (accounts == NULL)
		return;
	schema_close(&accounts->session);
	for (size_t i = 0; accounts->map_statements != NULL && i < accounts->settings->map_count;
	     i++)
		sql_statement_free(&accounts->map_statements[i]);
	free(accounts->map_statements);
	sql_free(&accounts->sql);
	free(accounts);
	*accounts_p = NULL;
}

enum result accounts_check(struct accounts *accounts, struct error *err)
{
	struct domain domain;
	enum result result = sql_connect(accounts->sql, err);

	if (result == RESULT_FOUND)
		result = schema_check(accounts->session, err);
	if (result != RESULT_FOUND)
		return result;
	result = accounts_domain(accounts, "postern.invalid", &domain, err);
	if (result == RESULT_FOUND)
		domain_free(&domain);
	return result == RESULT_NONE ? RESULT_FOUND : result;
}

static void log_recognised(const struct accounts *accounts)
{
	struct buf text = BUF_INIT;

	schema_describe(accounts->session, &text);
	log_info("database recognised preset=%s host=%s layout=<%s>", schema_name(accounts->schema),
		 sql_host(accounts->sql), buf_str(&text));
	buf_free(&text);
}

enum result accounts_try(const struct settings *settings, const struct schema *schema,
			 struct error *err)
{
	struct accounts *accounts = NULL;
	enum result result = accounts_open(settings, schema, &accounts, err);

	if (result == RESULT_FOUND)
		result = accounts_check(accounts, err);
	if (result == RESULT_FOUND)
		log_recognised(accounts);
	accounts_free(&accounts);
	return result;
}

const struct schema *accounts_schema(const struct accounts *accounts)
{
	return accounts->schema;
}

const struct settings *accounts_settings(const struct accounts *accounts)
{
	return accounts->settings;
}

struct schema_session *accounts_session(const struct accounts *accounts)
{
	return accounts->session;
}

struct sql_statement **accounts_map_statement(struct accounts *accounts, size_t index)
{
	return &accounts->map_statements[index];
}

static enum result no_memory(struct error *err)
{
	return result_error(err, RESULT_TEMP, "out of memory");
}

static bool begins_with_word(const char *words, const char *text)
{
	char word[64];

	while (conf_next_word(&words, word, sizeof word))
		if (strncasecmp(text, word, strlen(word)) == 0)
			return true;
	return false;
}

static enum result read_domain(const struct accounts *accounts, const struct sql_statement *rows,
			       struct domain *domain, struct error *err)
{
	const char *relays = schema_default(accounts->schema, "relay_transports", "");
	bool relay = false;
	enum result result = account_copy(rows, "name", &domain->name, err);

	if (result == RESULT_FOUND)
		result = account_copy(rows, "transport", &domain->transport, err);
	if (result == RESULT_FOUND)
		result = account_flag(rows, "active", false, &domain->active, err);
	if (result == RESULT_FOUND && sql_column_index(rows, "relay") >= 0)
		result = account_flag(rows, "relay", false, &relay, err);
	if (result == RESULT_FOUND)
		domain->kind = relay || begins_with_word(relays, domain->transport) ? DOMAIN_RELAY
										    : DOMAIN_LOCAL;
	return result;
}

enum result accounts_domain(struct accounts *accounts, const char *domain, struct domain *domain_r,
			    struct error *err)
{
	struct sql_statement *rows;
	enum result result = account_query(accounts, "domain", domain, &rows, err);

	*domain_r = (struct domain){0};
	if (result == RESULT_FOUND)
		result = account_next(rows, "name", domain, err);
	if (result == RESULT_FOUND)
		result = read_domain(accounts, rows, domain_r, err);
	if (result != RESULT_FOUND)
		domain_free(domain_r);
	return account_finish(rows, result, domain, err);
}

/*
 * A target out of an alias row ("@domain" -> "@target") counts only if it is the row's sole member
 * and a whole domain.
 */
static enum result append_target(const char *target, bool catchall, struct buf *target_r,
				 struct error *err)
{
	if (catchall && target[0] != '@')
		return RESULT_NONE;
	target += catchall ? 1 : 0;
	if (target[0] == '\0' || strpbrk(target, "@, \t") != NULL)
		return RESULT_NONE;
	buf_puts(target_r, target);
	return buf_ok(target_r) ? RESULT_FOUND : no_memory(err);
}

enum result accounts_domain_target(struct accounts *accounts, const char *domain,
				   struct buf *target_r, struct error *err)
{
	char catchall[ADDRESS_MAX + 2];
	struct sql_statement *rows;
	char *target = NULL;
	bool active = false, matches = false;
	enum result result = account_query(accounts, "domain_target", domain, &rows, err);

	snprintf(catchall, sizeof catchall, "@%s", domain);
	while (result == RESULT_FOUND && !matches) {
		result = sql_step(rows, err);
		if (result == RESULT_FOUND)
			matches = account_equals(rows, "name", domain) ||
				  account_equals(rows, "name", catchall);
	}
	if (result == RESULT_FOUND)
		result = account_flag(rows, "active", false, &active, err);
	if (result == RESULT_FOUND && !active)
		result = RESULT_NONE;
	if (result == RESULT_FOUND)
		result = account_copy(rows, "target", &target, err);
	if (result == RESULT_FOUND)
		result = append_target(target, account_equals(rows, "name", catchall), target_r,
				       err);
	free(target);
	return account_finish(rows, result, domain, err);
}

static void append_member(struct buf *members, const char *text, bool first)
{
	if (!first)
		buf_putc(members, ',');
	buf_puts(members, text);
}

/* Active rows and inactive ones are kept apart: only one kind is the answer. */
static enum result collect_alias(struct sql_statement *rows, const char *address,
				 struct alias *alias, struct error *err)
{
	struct buf on = BUF_INIT, off = BUF_INIT;
	size_t on_count = 0, off_count = 0;
	enum result result;

	while ((result = account_next(rows, "address", address, err)) == RESULT_FOUND) {
		const char *text;
		bool active;
		result = account_flag(rows, "active", false, &active, err);
		if (result == RESULT_FOUND)
			result = account_text(rows, "members", &text, err);
		if (result == RESULT_FOUND && alias->address == NULL)
			result = account_copy(rows, "address", &alias->address, err);
		if (result != RESULT_FOUND)
			break;
		if (active)
			append_member(&on, text, on_count++ == 0);
		else
			append_member(&off, text, off_count++ == 0);
	}
	if (result == RESULT_NONE && on_count + off_count > 0)
		result = buf_ok(&on) && buf_ok(&off) ? RESULT_FOUND : no_memory(err);
	if (result == RESULT_FOUND) {
		alias->active = on_count > 0;
		alias->members = strdup(buf_str(alias->active ? &on : &off));
		if (alias->members == NULL)
			result = no_memory(err);
	}
	buf_free(&on);
	buf_free(&off);
	return result;
}

enum result accounts_alias(struct accounts *accounts, const char *address, struct alias *alias_r,
			   struct error *err)
{
	struct sql_statement *rows;
	enum result result = account_query(accounts, "alias", address, &rows, err);

	*alias_r = (struct alias){0};
	if (result == RESULT_FOUND)
		result = collect_alias(rows, address, alias_r, err);
	if (result != RESULT_FOUND)
		alias_free(alias_r);
	return account_finish(rows, result, address, err);
}

static enum result read_quota(struct accounts *accounts, const struct sql_statement *rows,
			      struct mailbox *mailbox, struct error *err)
{
	const char *text;
	enum result result = account_text(rows, "quota", &text, err);

	if (result != RESULT_FOUND)
		return result;
	if (!account_parse_quota(text, accounts->quota_unit, &mailbox->quota_bytes,
				 &mailbox->quota_messages)) {
		log_limited(&accounts->quota_limit, LOG_LEVEL_WARNING,
			    "quota is no number, taken as none mailbox=<%s> quota=<%.40s>",
			    mailbox->address, text);
		mailbox->quota_bytes = mailbox->quota_messages = QUOTA_NONE;
	}
	return RESULT_FOUND;
}

/*
 * "maildir:PATH:LAYOUT=fs", as Dovecot names a mail location: the path alone. Other formats keep
 * their name, so that mailbox_directory() refuses them.
 */
static void strip_location(char *path)
{
	static const char prefix[] = "maildir:";
	static const char capitals[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
	const size_t len = sizeof prefix - 1;

	if (strncasecmp(path, prefix, len) != 0)
		return;
	memmove(path, path + len, strlen(path + len) + 1);
	for (char *p = path; (p = strchr(p, ':')) != NULL; p++) {
		size_t name = strspn(p + 1, capitals);
		if (name > 0 && p[1 + name] == '=') {
			*p = '\0';
			return;
		}
	}
}

static void strip_slashes(char *path)
{
	size_t len = strlen(path);

	while (len > 1 && path[len - 1] == '/')
		path[--len] = '\0';
}

static enum result read_mailbox(struct accounts *accounts, const struct sql_statement *rows,
				struct mailbox *mailbox, struct error *err)
{
	const char *path;
	enum result result = account_copy(rows, "address", &mailbox->address, err);

	if (result == RESULT_FOUND)
		result = account_text(rows, "path", &path, err);
	if (result == RESULT_FOUND && (mailbox->path = strdup(path)) == NULL)
		result = no_memory(err);
	if (result == RESULT_FOUND)
		strip_location(mailbox->path);
	if (result == RESULT_FOUND)
		result = account_copy(rows, "home", &mailbox->home, err);
	if (result == RESULT_FOUND)
		strip_slashes(mailbox->home);
	if (result == RESULT_FOUND)
		result = account_copy(rows, "transport", &mailbox->transport, err);
	if (result == RESULT_FOUND)
		result = account_flag(rows, "active", false, &mailbox->active, err);
	if (result == RESULT_FOUND)
		result = account_flag(rows, "may_send", true, &mailbox->may_send, err);
	if (result == RESULT_FOUND)
		result = account_flag(rows, "may_receive", true, &mailbox->may_receive, err);
	if (result == RESULT_FOUND)
		result = account_id(rows, "uid", &mailbox->uid, err);
	if (result == RESULT_FOUND)
		result = account_id(rows, "gid", &mailbox->gid, err);
	if (result == RESULT_FOUND)
		result = read_quota(accounts, rows, mailbox, err);
	return result;
}

enum result accounts_mailbox(struct accounts *accounts, const char *address,
			     struct mailbox *mailbox_r, struct error *err)
{
	struct sql_statement *rows;
	enum result result = account_query(accounts, "mailbox", address, &rows, err);

	*mailbox_r = (struct mailbox){0};
	if (result == RESULT_FOUND)
		result = account_next(rows, "address", address, err);
	if (result == RESULT_FOUND)
		result = read_mailbox(accounts, rows, mailbox_r, err);
	if (result != RESULT_FOUND)
		mailbox_free(mailbox_r);
	return account_finish(rows, result, address, err);
}

static enum result add_secret(struct secrets *secrets, const char *value, struct error *err)
{
	char **grown = realloc(secrets->values, (secrets->count + 1) * sizeof *grown);

	if (grown == NULL)
		return no_memory(err);
	secrets->values = grown;
	grown[secrets->count] = strdup(value);
	if (grown[secrets->count] == NULL)
		return no_memory(err);
	secrets->count++;
	return RESULT_FOUND;
}

/* Adds the secrets of one query. NONE: it has no row for ADDRESS. */
static enum result collect_secrets(struct accounts *accounts, const char *query,
				   const char *address, struct secrets *secrets, struct error *err)
{
	size_t before = secrets->count;
	struct sql_statement *rows;
	enum result result = account_query(accounts, query, address, &rows, err);

	while (result == RESULT_FOUND) {
		const char *text;
		result = account_next(rows, "address", address, err);
		if (result == RESULT_FOUND)
			result = account_text(rows, "password", &text, err);
		if (result == RESULT_FOUND)
			result = add_secret(secrets, text, err);
	}
	if (result == RESULT_NONE && secrets->count > before)
		result = RESULT_FOUND;
	return account_finish(rows, result, address, err);
}

/* FOUND: the row's domain is active, delivers here, and is an alias of nothing. */
static enum result read_residence(const struct accounts *accounts, const struct sql_statement *rows,
				  const char *domain, struct error *err)
{
	const char *relays = schema_default(accounts->schema, "relay_transports", "");
	const char *target, *transport;
	bool active = false, relay = false;
	enum result result = account_flag(rows, "domain_active", false, &active, err);

	if (result == RESULT_FOUND && sql_column_index(rows, "domain_relay") >= 0)
		result = account_flag(rows, "domain_relay", false, &relay, err);
	if (result == RESULT_FOUND)
		result = account_text(rows, "domain_transport", &transport, err);
	if (result == RESULT_FOUND)
		result = account_text(rows, "domain_target", &target, err);
	if (result != RESULT_FOUND)
		return result;
	if (!active || relay || target[0] != '\0' || !account_equals(rows, "domain_name", domain))
		return RESULT_NONE;
	transport += strspn(transport, " \t\r\n");
	return begins_with_word(relays, transport) ? RESULT_NONE : RESULT_FOUND;
}

enum result accounts_resident(struct accounts *accounts, const char *address,
			      struct mailbox *mailbox_r, struct error *err)
{
	struct sql_statement *rows;
	enum result result = account_query(accounts, "resident", address, &rows, err);

	*mailbox_r = (struct mailbox){0};
	if (result == RESULT_FOUND)
		result = account_next(rows, "address", address, err);
	if (result == RESULT_FOUND)
		result = read_residence(accounts, rows, strrchr(address, '@') + 1, err);
	if (result == RESULT_FOUND)
		result = read_mailbox(accounts, rows, mailbox_r, err);
	if (result != RESULT_FOUND)
		mailbox_free(mailbox_r);
	return account_finish(rows, result, address, err);
}

enum result accounts_secrets(struct accounts *accounts, const char *address,
			     struct secrets *secrets_r, struct error *err)
{
	enum result result;

	*secrets_r = (struct secrets){0};
	result = collect_secrets(accounts, "secrets", address, secrets_r, err);
	if (result == RESULT_FOUND) {
		result = collect_secrets(accounts, "app_secrets", address, secrets_r, err);
		if (result == RESULT_NONE)
			result = RESULT_FOUND;
	}
	if (result != RESULT_FOUND)
		secrets_free(secrets_r);
	return result;
}

enum result accounts_grants(struct accounts *accounts, const char *address, struct buf *logins_r,
			    struct error *err)
{
	struct sql_statement *rows;
	size_t count = 0;
	enum result result = account_query(accounts, "grants", address, &rows, err);

	while (result == RESULT_FOUND) {
		const char *login;
		result = account_next(rows, "address", address, err);
		if (result == RESULT_FOUND)
			result = account_text(rows, "login", &login, err);
		if (result == RESULT_FOUND && login[0] != '\0')
			append_member(logins_r, login, count++ == 0);
	}
	if (result == RESULT_NONE && count > 0)
		result = buf_ok(logins_r) ? RESULT_FOUND : no_memory(err);
	return account_finish(rows, result, address, err);
}

enum result accounts_relay_has_recipients(struct accounts *accounts, const char *domain,
					  struct error *err)
{
	struct sql_statement *rows;
	bool active = false;
	enum result result = account_query(accounts, "relay_recipients", domain, &rows, err);

	while (result == RESULT_FOUND && !active) {
		result = account_next(rows, "name", domain, err);
		if (result == RESULT_FOUND)
			result = account_flag(rows, "active", false, &active, err);
	}
	return account_finish(rows, result, domain, err);
}

enum result accounts_usage(struct accounts *accounts, const char *address, struct usage *usage_r,
			   struct error *err)
{
	struct sql_statement *rows;
	enum result result = account_query(accounts, "usage", address, &rows, err);

	*usage_r = (struct usage){0};
	if (result == RESULT_FOUND)
		result = account_next(rows, "address", address, err);
	if (result == RESULT_FOUND)
		result = account_count(rows, "bytes", &usage_r->bytes, err);
	if (result == RESULT_FOUND)
		result = account_count(rows, "messages", &usage_r->messages, err);
	return account_finish(rows, result, address, err);
}

void domain_free(struct domain *domain)
{
	free(domain->name);
	free(domain->transport);
	*domain = (struct domain){0};
}

void alias_free(struct alias *alias)
{
	free(alias->address);
	free(alias->members);
	*alias = (struct alias){0};
}

void mailbox_free(struct mailbox *mailbox)
{
	free(mailbox->address);
	free(mailbox->path);
	free(mailbox->home);
	free(mailbox->transport);
	*mailbox = (struct mailbox){0};
}

void secrets_free(struct secrets *secrets)
{
	for (size_t i = 0; i < secrets->count; i++)
		secret_free(&secrets->values[i]);
	free(secrets->values);
	*secrets = (struct secrets){0};
}
