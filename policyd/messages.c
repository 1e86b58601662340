/*
 * NAME
 *	messages - what policyd remembers of messages under way
 *
 * DESCRIPTION
 *	A hash table by "HOST INSTANCE", in order of last use, so that expiry and eviction look at
 *	the front only.
 *
 * BUGS
 *	A recipient that a restriction after ours refused stays in the list: a limit by recipient
 *	then counts one too many for that recipient, never too few.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "policyd/messages.h"

#include <stdlib.h>
#include <string.h>

#define HASH_NONFATAL_OOM        1
#define uthash_nonfatal_oom(elt) ((elt)->lost = true)
#include <uthash.h>

struct entry {
	struct message message;
	int64_t used_ms;
	bool lost; /* the hash table had no memory for it */
	UT_hash_handle hh;
	size_t key_len;
	char key[];
};

struct messages {
	struct entry *table;
	size_t max;
};

struct messages *messages_new(size_t max)
{
	struct messages *messages = calloc(1, sizeof(*messages));

	if (messages)
		messages->max = max;
	return messages;
}

static void entry_free(struct entry *entry)
{
	buf_free(&entry->message.recipients);
	free(entry);
}

static void entry_drop(struct messages *messages, struct entry *entry)
{
	HASH_DEL(messages->table, entry);
	entry_free(entry);
}

void messages_free(struct messages **messages)
{
	if (!*messages)
		return;
	while ((*messages)->table)
		entry_drop(*messages, (*messages)->table);
	free(*messages);
	*messages = NULL;
}

/* At the end of the table: used last. Frees the entry when there is no memory. */
static struct entry *entry_append(struct messages *messages, struct entry *entry)
{
	HASH_ADD_KEYPTR(hh, messages->table, entry->key, entry->key_len, entry);
	if (!entry->lost)
		return entry;
	entry_free(entry);
	return NULL;
}

struct message *messages_get(struct messages *messages, const char *host, const char *instance,
			     size_t instance_len, bool create, int64_t now_ms)
{
	const size_t host_len = strlen(host);
	const size_t key_len = host_len + 1 + instance_len;
	struct entry *candidate, *entry;

	while (messages->table && messages->table->used_ms < now_ms - MESSAGES_KEPT_MS)
		entry_drop(messages, messages->table);
	if (instance_len == 0)
		return NULL;
	candidate = calloc(1, sizeof(*candidate) + key_len + 1);
	if (!candidate)
		return NULL;
	memcpy(candidate->key, host, host_len);
	candidate->key[host_len] = ' ';
	memcpy(candidate->key + host_len + 1, instance, instance_len);
	candidate->key_len = key_len;

	HASH_FIND(hh, messages->table, candidate->key, key_len, entry);
	if (entry) {
		free(candidate);
		HASH_DEL(messages->table, entry);
	} else if (create) {
		entry = candidate;
		if (HASH_COUNT(messages->table) >= messages->max)
			entry_drop(messages, messages->table);
	} else {
		free(candidate);
		return NULL;
	}
	entry->used_ms = now_ms;
	entry = entry_append(messages, entry);
	return entry ? &entry->message : NULL;
}

void message_add_recipient(struct message *message, const char *recipient)
{
	const char *line = buf_str(&message->recipients);
	const size_t len = strlen(recipient);

	if (message->recipient_count >= MESSAGES_RECIPIENTS_MAX)
		return;
	for (; *line; line = strchr(line, '\n') + 1)
		if (strncmp(line, recipient, len) == 0 && line[len] == '\n')
			return;
	buf_printf(&message->recipients, "%s\n", recipient);
	message->recipient_count += buf_ok(&message->recipients);
}

size_t messages_count(const struct messages *messages)
{
	return HASH_COUNT(messages->table);
}
