/*
 * NAME
 *	explain - postern explain ADDRESS
 *
 * DESCRIPTION
 *	What is this address, and where does its mail go? One section for the address and for every
 *	address of ours behind it: the steps of the search, the row that decided, and for a mailbox
 *	its folder, quota and transport; for the first one also who may send as it.
 *
 * LIMITS
 *	1,000 addresses, as in Postfix; each once, so that loops end (and are told).
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <stdlib.h>
#include <string.h>

#include "common/maps.h"
#include "common/resolve.h"
#include "postern/postern.h"

#define ADDRESSES_MAX 1000

/* The addresses still to explain, each ended by '\n'; those before `next` are done. */
struct todo {
	struct buf list;
	size_t next, count;
};

static bool todo_has(const struct todo *todo, const char *address)
{
	const size_t len = strlen(address);
	const char *line = buf_str(&todo->list);

	for (; *line; line = strchr(line, '\n') + 1) {
		const size_t line_len = (size_t)(strchr(line, '\n') - line);
		char known[ADDRESS_MAX + 1], asked[ADDRESS_MAX + 1];

		if (line_len == len && memcmp(line, address, len) == 0)
			return true;
		if (address_fold(known, sizeof(known), line, line_len) &&
		    address_fold(asked, sizeof(asked), address, len) && strcmp(known, asked) == 0)
			return true;
	}
	return false;
}

static void todo_add(struct todo *todo, const char *address)
{
	if (todo->count >= ADDRESSES_MAX || strchr(address, '\n') || todo_has(todo, address))
		return;
	buf_printf(&todo->list, "%s\n", address);
	todo->count++;
}

static void todo_add_members(struct todo *todo, const char *members)
{
	struct buf member = BUF_INIT;

	for (; *members; members += *members == ',') {
		const size_t len = strcspn(members, ",");

		buf_reset(&member);
		buf_append(&member, members, len);
		if (len > 0 && buf_ok(&member))
			todo_add(todo, buf_str(&member));
		members += len;
	}
	buf_free(&member);
}

static const char *by_name(enum resolved_by by)
{
	switch (by) {
	case RESOLVED_BY_ALIAS:
		return "alias";
	case RESOLVED_BY_MAILBOX:
		return "mailbox";
	case RESOLVED_BY_CATCHALL:
		return "catch-all";
	}
	return "unknown";
}

/* A map's answer as a field; TEMP and PERM are told in its place. */
static void map_field(struct postern *postern, const char *map, const char *name,
		      const char *address)
{
	struct buf answer = BUF_INIT;
	struct error err = {""};
	enum result result = maps_lookup(postern->accounts, &postern->settings, map, address,
					 strlen(address), &answer, NULL, &err);

	output_text(&postern->output, name,
		    result == RESULT_FOUND  ? buf_str(&answer)
		    : result == RESULT_NONE ? NULL
					    : err.text);
	buf_free(&answer);
}

static void mailbox_fields(struct postern *postern, const char *address)
{
	struct output *output = &postern->output;
	struct buf directory = BUF_INIT, extension = BUF_INIT;
	struct mailbox mailbox;
	struct error err = {""};
	enum result result =
		resolve_mailbox(postern->accounts, &postern->settings, address, strlen(address),
				&mailbox, &extension, NULL, NULL, &err);

	if (result == RESULT_FOUND) {
		output_text(output, "mailbox", mailbox.address);
		output_text(output, "extension", buf_str(&extension));
		result = mailbox_directory(&postern->settings, &mailbox, &directory, &err);
		output_text(output, "maildir",
			    result == RESULT_FOUND ? buf_str(&directory) : err.text);
		output_quota(output, "quota", mailbox.quota_bytes);
		mailbox_free(&mailbox);
	}
	buf_free(&directory);
	buf_free(&extension);
}

/* One section. */
static enum result explain_one(struct postern *postern, const char *address, struct todo *todo,
			       struct error *err)
{
	struct output *output = &postern->output;
	const bool first = todo->next == 0;
	struct resolved resolved = {0};
	struct trace trace = {BUF_INIT};
	enum result result = resolve_address(postern->accounts, &postern->settings, address,
					     strlen(address), &resolved, &trace, err);

	output_row(output);
	output_text(output, "address", address);
	output_text(output, "result", result_name(result));
	output_list(output, "trace", buf_str(&trace.text), '\n');
	if (result == RESULT_FOUND) {
		output_text(output, "by", by_name(resolved.by));
		output_text(output, "row", resolved.key);
		output_list(output, "members", buf_str(&resolved.members), ',');
		mailbox_fields(postern, address);
		map_field(postern, "transport_maps", "transport", address);
		todo_add_members(todo, buf_str(&resolved.members));
	} else if (result != RESULT_NONE) {
		output_text(output, "problem", err->text);
	}
	if (first)
		map_field(postern, "smtpd_sender_login_maps", "may_send_as_it", address);
	output_end(output);
	buf_free(&trace.text);
	if (result == RESULT_FOUND)
		resolved_free(&resolved);
	return result;
}

int explain(struct postern *postern, const struct arguments *arguments)
{
	struct todo todo = {BUF_INIT, 0, 0};
	struct buf address = BUF_INIT;
	struct error err = {""}, ignored;
	enum result first = RESULT_NONE;
	int code = postern_accounts(postern);

	if (code != EX_OK)
		return code;
	postern->output.form = OUTPUT_RECORDS;
	todo_add(&todo, arguments->words[0]);
	if (todo.count == 0)
		return postern_fail(postern, EX_DATAERR, "this is no address");
	while (buf_ok(&todo.list) && todo.next < todo.list.len) {
		const char *line = todo.list.data + todo.next;
		const size_t len = (size_t)(strchr(line, '\n') - line);
		enum result result;

		buf_reset(&address);
		buf_append(&address, line, len);
		result = explain_one(postern, buf_str(&address), &todo,
				     todo.next == 0 ? &err : &ignored);
		if (todo.next == 0)
			first = result;
		todo.next += len + 1;
	}
	buf_free(&todo.list);
	buf_free(&address);
	return postern_result(postern, first, arguments->words[0], &err);
}
