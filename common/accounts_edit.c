/*
 * accounts_edit - changes to domains and users, and the listings
 *
 * Each change is one transaction: look, decide, write. What another client adds in between is
 * refused by the database, because the row exists already.
 *
 * Limits: on tables without transactions (MyISAM) a failure may leave half a change.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "common/accounts_edit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/account_columns.h"
#include "common/accounts_change.h"
#include "common/conf.h"

static enum result no_memory(struct error *err)
{
	return result_error(err, RESULT_TEMP, "out of memory");
}

static enum result domain_must_be_new(struct accounts *accounts, const char *domain,
				      struct error *err)
{
	struct domain row;
	struct buf target = BUF_INIT;
	enum result result = accounts_domain(accounts, domain, &row, err);

	if (result == RESULT_FOUND) {
		domain_free(&row);
		return result_error(err, RESULT_PERM, "domain %s exists already", domain);
	}
	if (result == RESULT_NONE) {
		result = accounts_domain_target(accounts, domain, &target, err);
		if (result == RESULT_FOUND)
			result = result_error(err, RESULT_PERM, "domain %s exists already", domain);
		else if (result == RESULT_NONE)
			result = RESULT_FOUND;
	}
	buf_free(&target);
	return result;
}

/* Alias domains are one level deep. */
static enum result check_target(struct accounts *accounts, const char *domain, const char *target,
				struct error *err)
{
	struct buf further = BUF_INIT;
	enum result result;

	if (strcmp(domain, target) == 0)
		return result_error(err, RESULT_PERM, "%s cannot be an alias of itself", domain);
	result = change_needs_domain(accounts, target, err);
	if (result == RESULT_FOUND) {
		result = accounts_domain_target(accounts, target, &further, err);
		if (result == RESULT_FOUND)
			result = result_error(err, RESULT_PERM,
					      "%s is itself an alias of %s; name that one", target,
					      buf_str(&further));
		else if (result == RESULT_NONE)
			result = RESULT_FOUND;
	}
	buf_free(&further);
	return result;
}

static enum result domain_insert(struct accounts *accounts, const char *domain, const char *target,
				 const struct domain_edit *edit, struct error *err)
{
	char catchall[ADDRESS_MAX + 2], catchall_target[ADDRESS_MAX + 2];
	enum result result = domain_must_be_new(accounts, domain, err);

	snprintf(catchall, sizeof catchall, "@%s", domain);
	snprintf(catchall_target, sizeof catchall_target, "@%s", target);
	const struct sql_param params[] = {
		{"domain", domain},
		{"description", edit->description != NULL ? edit->description : domain},
		{"transport", edit->transport != NULL ? edit->transport : ""},
		{"relay", edit->relay ? "1" : "0"},
		{"catchall", catchall},
		{"target", target},
		{"catchall_target", catchall_target},
	};
	const size_t count = sizeof params / sizeof params[0];

	if (result == RESULT_FOUND && target[0] != '\0')
		result = check_target(accounts, domain, target, err);
	/* What cannot be stored is refused, not dropped. */
	if (result == RESULT_FOUND && edit->relay)
		result = change_needs_place(accounts, "domain_add", "relay", err);
	if (result == RESULT_FOUND && edit->transport != NULL && edit->transport[0] != '\0')
		result = change_needs_place(accounts, "domain_add", "transport", err);
	if (result == RESULT_FOUND && edit->description != NULL)
		result = change_needs_place(accounts, "domain_add", "description", err);
	if (result == RESULT_FOUND)
		result = change_run(accounts, "domain_add", params, count, NULL, err);
	if (result == RESULT_FOUND && target[0] != '\0')
		result = change_run(accounts, "domain_alias_add", params, count, NULL, err);
	return result;
}

enum result accounts_domain_add(struct accounts *accounts, const char *domain,
				const struct domain_edit *edit, struct error *err)
{
	char folded[ADDRESS_MAX + 1], target[ADDRESS_MAX + 1] = "";
	enum result result = change_parse_domain(folded, domain, err);

	if (result == RESULT_FOUND && edit->alias_of != NULL)
		result = change_parse_domain(target, edit->alias_of, err);
	if (result == RESULT_FOUND && edit->transport != NULL &&
	    strpbrk(edit->transport, " \t\r\n") != NULL)
		result = result_error(err, RESULT_PERM, "a transport has no blanks");
	if (result == RESULT_FOUND)
		result = sql_begin(change_sql(accounts), err);
	if (result != RESULT_FOUND)
		return result;
	return change_end(accounts, domain_insert(accounts, folded, target, edit, err), err);
}

/* PERM while other domains are aliases of it. */
static enum result refuse_if_target(struct accounts *accounts, const struct change_name *name,
				    struct error *err)
{
	const struct sql_param params[] = {
		{"domain", name->domain},
		{"catchall", name->catchall},
	};
	struct sql_statement *rows;
	const char *other;
	enum result result = schema_run(accounts_session(accounts), "domain_aliases", params,
					sizeof params / sizeof params[0], &rows, err);

	if (result != RESULT_FOUND)
		return result == RESULT_NONE ? RESULT_FOUND : result;
	result = sql_step(rows, err);
	if (result == RESULT_FOUND)
		result = account_text(rows, "name", &other, err);
	if (result == RESULT_FOUND)
		result = result_error(err, RESULT_PERM,
				      "domain %s is an alias of %s; delete that first", other,
				      name->domain);
	else if (result == RESULT_NONE)
		result = RESULT_FOUND;
	sql_finish(rows);
	return result;
}

/* Every user of a domain, each ended by a NUL, because deleting while listing is not defined. */
static enum result collect_users(struct accounts *accounts, const char *domain, struct buf *users,
				 struct error *err)
{
	struct sql_statement *rows;
	enum result result = accounts_list(accounts, "user_list", domain, &rows, err);

	while (result == RESULT_FOUND) {
		const char *address;
		result = sql_step(rows, err);
		if (result == RESULT_FOUND)
			result = account_text(rows, "address", &address, err);
		if (result == RESULT_FOUND)
			buf_append(users, address, strlen(address) + 1);
	}
	if (rows != NULL)
		sql_finish(rows);
	if (result == RESULT_NONE)
		result = buf_ok(users) ? RESULT_FOUND : no_memory(err);
	return result;
}

static enum result domain_remove(struct accounts *accounts, const struct change_name *name,
				 struct error *err)
{
	struct buf users = BUF_INIT;
	struct domain row;
	enum result result = accounts_domain(accounts, name->domain, &row, err);

	if (result != RESULT_FOUND)
		return result;
	domain_free(&row);
	result = refuse_if_target(accounts, name, err);
	if (result == RESULT_FOUND)
		result = collect_users(accounts, name->domain, &users, err);
	for (size_t at = 0; result == RESULT_FOUND && at < users.len;
	     at += strlen(users.data + at) + 1) {
		struct change_name user = {.full = ""};
		/* As stored, which may be what change_change_parse_name() would refuse. */
		snprintf(user.full, sizeof user.full, "%s", users.data + at);
		memcpy(user.domain, name->domain, sizeof user.domain);
		memcpy(user.catchall, name->catchall, sizeof user.catchall);
		snprintf(user.local, sizeof user.local, "%.*s", (int)strcspn(user.full, "@"),
			 user.full);
		result = change_run_on_name(accounts, "user_del", &user, err);
	}
	buf_free(&users);
	if (result == RESULT_FOUND)
		result = change_run_on_name(accounts, "domain_del", name, err);
	return result;
}

enum result accounts_domain_del(struct accounts *accounts, const char *domain, struct error *err)
{
	struct change_name name = {.full = ""};
	enum result result = change_parse_domain(name.domain, domain, err);

	snprintf(name.catchall, sizeof name.catchall, "@%s", name.domain);
	if (result == RESULT_FOUND)
		result = sql_begin(change_sql(accounts), err);
	if (result != RESULT_FOUND)
		return result;
	return change_end(accounts, domain_remove(accounts, &name, err), err);
}

/* The address must be free: neither a mailbox nor an alias. */
static enum result address_must_be_new(struct accounts *accounts, const struct change_name *name,
				       struct error *err)
{
	struct mailbox mailbox;
	struct alias alias;
	enum result result = accounts_mailbox(accounts, name->full, &mailbox, err);

	if (result == RESULT_FOUND) {
		mailbox_free(&mailbox);
		return result_error(err, RESULT_PERM, "user %s exists already", name->full);
	}
	if (result != RESULT_NONE)
		return result;
	result = accounts_alias(accounts, name->full, &alias, err);
	if (result == RESULT_FOUND) {
		alias_free(&alias);
		return result_error(err, RESULT_PERM, "%s exists already as an alias", name->full);
	}
	return result == RESULT_NONE ? RESULT_FOUND : result;
}

/* Bytes in the preset's unit, rounded up. */
static void print_quota(const struct accounts *accounts, int64_t bytes, char *text, size_t size)
{
	int64_t unit = 1;

	/* accounts_open() has checked the value. */
	if (!conf_parse_integer(schema_default(accounts_schema(accounts), "quota_unit", "1"),
				&unit) ||
	    unit < 1)
		unit = 1;
	snprintf(text, size, "%lld", (long long)(bytes / unit + (bytes % unit != 0)));
}

static enum result user_insert(struct accounts *accounts, const struct change_name *name,
			       const char *stored, int64_t quota, const char *full_name,
			       struct error *err)
{
	char quota_text[32];
	char path[2 * ADDRESS_MAX + 4];
	enum result result = change_needs_domain(accounts, name->domain, err);

	print_quota(accounts, quota, quota_text, sizeof quota_text);
	snprintf(path, sizeof path, "%s/%s/", name->domain, name->local);
	const struct sql_param params[] = {
		{"address", name->full},  {"local", name->local},
		{"domain", name->domain}, {"password", stored},
		{"name", full_name},      {"path", path},
		{"quota", quota_text},    {"base", accounts_settings(accounts)->mail.base},
	};
	if (result == RESULT_FOUND)
		result = address_must_be_new(accounts, name, err);
	if (result == RESULT_FOUND && quota > 0)
		result = change_needs_place(accounts, "user_add", "quota", err);
	if (result == RESULT_FOUND && full_name[0] != '\0')
		result = change_needs_place(accounts, "user_add", "name", err);
	if (result == RESULT_FOUND)
		result = change_run(accounts, "user_add", params, sizeof params / sizeof params[0],
				    NULL, err);
	return result;
}

enum result accounts_user_add(struct accounts *accounts, const char *address, const char *stored,
			      int64_t quota, const char *full_name, struct error *err)
{
	struct change_name name;
	enum result result = change_parse_name(&name, address, false, err);

	if (result == RESULT_FOUND && strchr(name.local, '/') != NULL)
		result = result_error(err, RESULT_PERM,
				      "a user's name cannot have a '/': it names a folder");
	if (result == RESULT_FOUND && stored[0] == '\0')
		result = result_error(err, RESULT_PERM, "the password is empty");
	if (result == RESULT_FOUND && quota < 0)
		result = result_error(err, RESULT_PERM, "a quota is not negative");
	if (result == RESULT_FOUND)
		result = sql_begin(change_sql(accounts), err);
	if (result != RESULT_FOUND)
		return result;
	result = user_insert(accounts, &name, stored, quota, full_name != NULL ? full_name : "",
			     err);
	return change_end(accounts, result, err);
}

/* NAME becomes the user's name as it is stored. NONE: no such user. */
static enum result find_user(struct accounts *accounts, struct change_name *name, struct error *err)
{
	struct mailbox mailbox;
	enum result result = accounts_mailbox(accounts, name->full, &mailbox, err);

	if (result != RESULT_FOUND)
		return result;
	snprintf(name->full, sizeof name->full, "%s", mailbox.address);
	mailbox_free(&mailbox);
	return RESULT_FOUND;
}

enum result accounts_user_del(struct accounts *accounts, const char *address, struct error *err)
{
	struct change_name name;
	enum result result = change_parse_name(&name, address, false, err);

	if (result == RESULT_FOUND)
		result = sql_begin(change_sql(accounts), err);
	if (result != RESULT_FOUND)
		return result;
	result = find_user(accounts, &name, err);
	if (result == RESULT_FOUND)
		result = change_run_on_name(accounts, "user_del", &name, err);
	return change_end(accounts, result, err);
}

enum result accounts_user_password(struct accounts *accounts, const char *address,
				   const char *stored, struct error *err)
{
	struct change_name name;
	int64_t changes = 0;
	enum result result = change_parse_name(&name, address, false, err);

	if (result == RESULT_FOUND && stored[0] == '\0')
		result = result_error(err, RESULT_PERM, "the password is empty");
	if (result == RESULT_FOUND)
		result = sql_begin(change_sql(accounts), err);
	if (result != RESULT_FOUND)
		return result;
	result = find_user(accounts, &name, err);
	const struct sql_param params[] = {
		{"address", name.full},      {"local", name.local}, {"domain", name.domain},
		{"catchall", name.catchall}, {"password", stored},
	};
	if (result == RESULT_FOUND)
		result = change_run(accounts, "user_password", params,
				    sizeof params / sizeof params[0], &changes, err);
	if (result == RESULT_FOUND && changes == 0)
		result =
			result_error(err, RESULT_TEMP, "somebody else changed the user; try again");
	return change_end(accounts, result, err);
}

enum result accounts_list(struct accounts *accounts, const char *what, const char *domain,
			  struct sql_statement **rows_r, struct error *err)
{
	char folded[ADDRESS_MAX + 1];
	const struct sql_param params[] = {{"domain", domain != NULL ? folded : NULL}};
	enum result result;

	*rows_r = NULL;
	if (domain != NULL) {
		result = change_parse_domain(folded, domain, err);
		if (result != RESULT_FOUND)
			return result;
	}
	if (!schema_has_query(accounts_schema(accounts), what))
		return result_error(err, RESULT_PERM, "preset %s has no query %s",
				    schema_name(accounts_schema(accounts)), what);
	return schema_run(accounts_session(accounts), what, params, 1, rows_r, err);
}
