/*
 * accounts_edit_alias - changes to alias rows
 *
 * A row holds its targets as a comma-separated list. It is read, changed here and written back
 * only while it still reads as it did, so that two administrators do not undo each other.
 *
 * A mailbox keeps an alias row to itself, as PostfixAdmin and stock Postfix maps want it: adding a
 * target to a user's address keeps the mailbox, and removing the last target leaves the self row.
 *
 * Limits: a schema with one row for each target is not written to.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <stdlib.h>
#include <string.h>

#include "common/accounts_change.h"
#include "common/accounts_edit.h"
#include "common/members.h"

static enum result no_memory(struct error *err)
{
	return result_error(err, RESULT_TEMP, "out of memory");
}

/* What is known about an address before it changes. */
struct before {
	struct change_name name;
	struct alias alias; /* empty when has_alias is false */
	bool has_alias, has_mailbox;
};

static enum result look(struct accounts *accounts, struct before *before, struct error *err)
{
	struct mailbox mailbox;
	enum result result = RESULT_NONE;

	before->alias = (struct alias){0};
	before->has_mailbox = before->has_alias = false;
	if (before->name.local[0] != '\0')
		result = accounts_mailbox(accounts, before->name.full, &mailbox, err);
	if (result == RESULT_FOUND) {
		before->has_mailbox = true;
		mailbox_free(&mailbox);
	} else if (result != RESULT_NONE) {
		return result;
	}
	result = accounts_alias(accounts, before->name.full, &before->alias, err);
	before->has_alias = result == RESULT_FOUND;
	return result == RESULT_NONE ? RESULT_FOUND : result;
}

/* Writes MEMBERS as the row's list, in place of what was read. */
static enum result write_members(struct accounts *accounts, const struct before *before,
				 const char *members, struct error *err)
{
	int64_t changes = 0;
	const struct sql_param params[] = {
		{"address", before->has_alias ? before->alias.address : before->name.full},
		{"local", before->name.local},
		{"domain", before->name.domain},
		{"catchall", before->name.catchall},
		{"members", members},
		{"before", before->has_alias ? before->alias.members : ""},
	};
	const size_t count = sizeof params / sizeof params[0];
	enum result result;

	/* The row that is added has no "before". */
	if (!before->has_alias)
		return change_run(accounts, "alias_add", params, count - 1, NULL, err);
	result = change_run(accounts, "alias_set", params, count, &changes, err);
	if (result == RESULT_FOUND && changes == 0)
		return result_error(err, RESULT_TEMP, "somebody else changed %s; try again",
				    before->name.full);
	return result;
}

static bool list_has(const char *members, const char *target)
{
	struct member member;

	while (member_next(&members, &member)) {
		char folded[ADDRESS_MAX + 2];
		if (address_fold(folded, sizeof folded, member.text, member.len) &&
		    strcmp(folded, target) == 0)
			return true;
	}
	return false;
}

static enum result add_target(struct accounts *accounts, const struct before *before,
			      const char *target, struct error *err)
{
	const char *cursor = before->has_alias ? before->alias.members : "";
	struct member member;
	struct buf members = BUF_INIT;
	enum result result;

	if (list_has(cursor, target))
		return result_error(err, RESULT_PERM, "%s leads to %s already", before->name.full,
				    target);
	if (!before->has_alias && before->has_mailbox)
		buf_puts(&members, before->name.full);
	while (member_next(&cursor, &member))
		member_append(&members, &member, "");
	const struct member added = {.text = target, .len = strlen(target)};
	member_append(&members, &added, "");
	result = buf_ok(&members) ? write_members(accounts, before, buf_str(&members), err)
				  : no_memory(err);
	buf_free(&members);
	return result;
}

enum result accounts_alias_add(struct accounts *accounts, const char *address, const char *target,
			       struct error *err)
{
	struct before before;
	struct change_name to;
	enum result result = change_parse_name(&before.name, address, true, err);

	if (result == RESULT_FOUND)
		result = change_parse_name(&to, target, true, err);
	if (result == RESULT_FOUND)
		result = sql_begin(change_sql(accounts), err);
	if (result != RESULT_FOUND)
		return result;
	before.alias = (struct alias){0};
	result = change_needs_domain(accounts, before.name.domain, err);
	if (result == RESULT_FOUND)
		result = look(accounts, &before, err);
	if (result == RESULT_FOUND)
		result = add_target(accounts, &before, to.full, err);
	alias_free(&before.alias);
	return change_end(accounts, result, err);
}

/* Nothing but the self row may be left of a user's alias. */
static enum result remove_row(struct accounts *accounts, const struct before *before,
			      struct error *err)
{
	struct change_name row = before->name;

	if (before->has_mailbox)
		return write_members(accounts, before, before->name.full, err);
	memcpy(row.full, before->alias.address,
	       strnlen(before->alias.address, sizeof row.full - 1) + 1);
	return change_run_on_name(accounts, "alias_del", &row, err);
}

static enum result remove_target(struct accounts *accounts, const struct before *before,
				 const char *target, struct error *err)
{
	const char *cursor = before->alias.members;
	struct buf members = BUF_INIT;
	struct member member;
	enum result result;

	if (!list_has(cursor, target))
		return result_error(err, RESULT_NONE, "%s does not lead to %s", before->name.full,
				    target);
	while (member_next(&cursor, &member)) {
		char folded[ADDRESS_MAX + 2];
		if (!address_fold(folded, sizeof folded, member.text, member.len) ||
		    strcmp(folded, target) != 0)
			member_append(&members, &member, "");
	}
	if (!buf_ok(&members))
		result = no_memory(err);
	else if (members.len == 0)
		result = remove_row(accounts, before, err);
	else
		result = write_members(accounts, before, buf_str(&members), err);
	buf_free(&members);
	return result;
}

/* A user's self row is no alias in the administrator's eyes. */
static bool is_self_row(const struct before *before)
{
	return before->has_mailbox && address_equal(before->alias.members, before->name.full);
}

enum result accounts_alias_del(struct accounts *accounts, const char *address, const char *target,
			       struct error *err)
{
	struct before before;
	struct change_name to = {.full = ""};
	char folded[ADDRESS_MAX + 2] = "";
	enum result result = change_parse_name(&before.name, address, true, err);

	/* What other tools stored need not be well-formed to be removed. */
	if (result == RESULT_FOUND && target != NULL &&
	    change_parse_name(&to, target, true, NULL) != RESULT_FOUND &&
	    !address_fold(folded, sizeof folded, target, strlen(target)))
		result = result_error(err, RESULT_PERM, "\"%.200s\" is too long or not UTF-8",
				      target);
	if (result == RESULT_FOUND)
		result = sql_begin(change_sql(accounts), err);
	if (result != RESULT_FOUND)
		return result;
	before.alias = (struct alias){0};
	result = look(accounts, &before, err);
	if (result == RESULT_FOUND && (!before.has_alias || is_self_row(&before)))
		result = result_error(err, RESULT_NONE, "there is no alias %s", before.name.full);
	if (result == RESULT_FOUND)
		result = target == NULL ? remove_row(accounts, &before, err)
					: remove_target(accounts, &before,
							to.full[0] != '\0' ? to.full : folded, err);
	alias_free(&before.alias);
	return change_end(accounts, result, err);
}
