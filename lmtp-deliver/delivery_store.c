/*
 * delivery_store - one message into the Maildirs of several recipients
 *
 * In rounds over all copies, so that they share their syncs: write, sync the data, link, sync the
 * names, report. A copy that fails leaves the rounds and touches nobody else.
 *
 * A message with [lmtp] max_hops Received lines is refused: it goes in a circle.
 *
 * With several actions for a recipient (keep and fileinto) all copies must succeed; a retry writes
 * those that did again.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <stdlib.h>
#include <string.h>

#include "common/deadline.h"
#include "common/log.h"
#include "common/metrics.h"
#include "lmtp-deliver/delivery_copy.h"
#include "lmtp-deliver/filter.h"
#include "lmtp-deliver/guard.h"
#include "lmtp-deliver/quota_warning.h"
#include "lmtp-deliver/usage.h"

static struct metric_histogram store_seconds = {
	.name = "postern_lmtp_delivery_seconds",
	.labels = "",
	.help = "Time to store a message for the recipients that are stored together.",
};
static struct metric copies_total = {
	.name = "postern_lmtp_copies_total",
	.labels = "",
	.help = "Files that were made durable.",
	.type = "counter",
};
static struct metric bytes_total = {
	.name = "postern_lmtp_bytes_total",
	.labels = "",
	.help = "Bytes of those files.",
	.type = "counter",
};
static struct metric repeated_total = {
	.name = "postern_lmtp_repeated_total",
	.labels = "",
	.help = "Messages that came again because their reply was lost, and were not stored again.",
	.type = "counter",
};

void delivery_store_metrics(void)
{
	metrics_register_histogram(&store_seconds);
	metrics_register(&copies_total);
	metrics_register(&bytes_total);
	metrics_register(&repeated_total);
	quota_warning_metrics();
	usage_metrics();
}

struct batch {
	struct copy_source source;
	const struct recipient *recipients;
	struct outcome *outcomes; /* code 0: not decided */
	struct copy *copies;
	size_t count, room;
	struct maildir_file **files; /* of the copies */
};

static void refuse_full(const struct batch *batch, struct copy *copy, struct outcome *outcome)
{
	const struct quota *usage = &copy->usage;

	error_set(&copy->file.err, "over quota: %lld of %lld bytes, %lld of %lld messages",
		  (long long)usage->used_bytes, (long long)usage->limit_bytes,
		  (long long)usage->used_messages, (long long)usage->limit_messages);
	if (strcmp(batch->source.settings->lmtp.quota_full, "reject") == 0)
		outcome_set(outcome, 552, "5.2.2", "the mailbox is full");
	else
		outcome_set(outcome, 452, "4.2.2", "the mailbox is full");
}

/* The outcome of a recipient is that of its worst copy, which is told in the log. */
static void decide(struct batch *batch, struct copy *copy)
{
	struct outcome *outcome = &batch->outcomes[copy->index];

	if (outcome->code >= 300)
		return;
	if (copy->file.result == RESULT_FOUND)
		outcome_set(outcome, 250, "2.0.0", "stored");
	else if (copy->full)
		refuse_full(batch, copy, outcome);
	else if (copy->file.no_space)
		outcome_set(outcome, 452, "4.3.1", "no room on the disk");
	else
		outcome_set(outcome, 451, "4.2.0", "the mailbox cannot be used now");
}

static void count_stored(const struct copy *copy, const struct copy_source *source)
{
	metric_add(&copies_total, 1);
	metric_add(&bytes_total, (int64_t)copy->file.size);
	copy_warn(copy, source);
}

static void report(const struct batch *batch, const struct copy *copy)
{
	const struct recipient *recipient = &batch->recipients[copy->index];
	const struct outcome *outcome = &batch->outcomes[copy->index];
	bool stored = copy->file.result == RESULT_FOUND;
	const struct delivery_report told = {
		.folder = stored && copy->file.name[0] == '.' ? copy->folder : "INBOX",
		.file = stored ? copy->file.name : "",
		.size = copy->file.size,
		.quota_used =
			copy->usage.used_bytes + (copy->counted ? (int64_t)copy->file.size : 0),
		.quota_limit = copy->usage.limit_bytes,
	};

	delivery_report(batch->source.envelope, batch->source.message, recipient, outcome,
			stored ? "stored as " : copy->file.err.text, &told);
}

static void decided(struct batch *batch, size_t recipient)
{
	delivery_refused(batch->source.envelope, batch->source.message,
			 &batch->recipients[recipient], &batch->outcomes[recipient]);
}

static bool add_copy(struct batch *batch, size_t recipient, const char *folder)
{
	struct copy *grown;

	if (batch->count == batch->room) {
		size_t room = batch->room ? 2 * batch->room : 4;

		grown = reallocarray(batch->copies, room, sizeof(*grown));
		if (!grown)
			return false;
		batch->copies = grown;
		batch->room = room;
	}
	batch->copies[batch->count++] = (struct copy){
		.index = recipient, .recipient = &batch->recipients[recipient], .folder = folder};
	return true;
}

/* Takes the last copies of a recipient off again. */
static void drop_copies(struct batch *batch, size_t recipient)
{
	while (batch->count > 0 && batch->copies[batch->count - 1].index == recipient)
		batch->count--;
}

/* One action; false: OUTCOME is decided, whatever other actions there are. */
static bool plan_action(struct batch *batch, size_t recipient, const struct filter_action *action)
{
	struct outcome *outcome = &batch->outcomes[recipient];

	switch (action->kind) {
	case FILTER_KEEP:
	case FILTER_FILEINTO:
		if (add_copy(batch, recipient, action->kind == FILTER_KEEP ? "" : action->text))
			return true;
		outcome_set(outcome, 451, "4.3.0", "out of memory");
		return false;
	case FILTER_REJECT:
		outcome_set(outcome, 550, "5.7.1", "%s", action->text);
		return false;
	case FILTER_DISCARD:
		return true;
	case FILTER_REDIRECT:
	default:
		outcome_set(outcome, 451, "4.3.5", "mail cannot be sent on from here");
		return false;
	}
}

/* Decides what is to be written for a recipient, or its outcome. */
static void plan_recipient(struct batch *batch, size_t recipient)
{
	struct outcome *outcome = &batch->outcomes[recipient];
	struct filter_actions actions = {.count = 0};
	struct error err = {0};
	size_t before = batch->count;

	if (batch->source.message->hops >= batch->source.settings->lmtp.max_hops) {
		outcome_set(outcome, 554, "5.4.6", "too many Received lines: a mail loop");
		return;
	}
	if (filter_run(batch->source.settings, batch->source.envelope, batch->source.message,
		       &batch->recipients[recipient], &actions, &err) != RESULT_FOUND) {
		log_error("filter failed to=<%s> reason=<%s>",
			  buf_str(&batch->recipients[recipient].address), err.text);
		outcome_set(outcome, 451, "4.3.0", "the message cannot be filtered now");
		return;
	}
	for (size_t i = 0; i < actions.count; i++)
		if (!plan_action(batch, recipient, &actions.list[i])) {
			drop_copies(batch, recipient);
			return;
		}
	if (batch->count == before)
		outcome_set(outcome, 250, "2.0.0", "discarded");
}

/* Copies with lasting names; the outcomes of their recipients are set. */
static void write_all(struct batch *batch)
{
	for (size_t i = 0; i < batch->count; i++) {
		batch->files[i] = &batch->copies[i].file;
		copy_write(&batch->copies[i], &batch->source);
	}
	maildir_sync(batch->files, batch->count);
	for (size_t i = 0; i < batch->count; i++)
		copy_link(&batch->copies[i], &batch->source);
	maildir_settle(batch->files, batch->count);
	for (size_t i = 0; i < batch->count; i++) {
		copy_settled(&batch->copies[i], &batch->source);
		decide(batch, &batch->copies[i]);
	}
	for (size_t i = 0; i < batch->count; i++) {
		report(batch, &batch->copies[i]);
		if (batch->copies[i].file.result == RESULT_FOUND)
			count_stored(&batch->copies[i], &batch->source);
		maildir_close(&batch->copies[i].file);
	}
}

static void run(struct batch *batch)
{
	batch->files = calloc(batch->count + 1, sizeof(struct maildir_file *));
	if (batch->files) {
		write_all(batch);
		free(batch->files);
		return;
	}
	for (size_t i = 0; i < batch->count; i++) {
		struct outcome *outcome = &batch->outcomes[batch->copies[i].index];

		outcome_set(outcome, 451, "4.3.0", "out of memory");
		decided(batch, batch->copies[i].index);
	}
}

/* A message that nothing names may be meant to come twice. */
static bool is_guarded(const struct batch *batch)
{
	const char *queue_id = batch->source.envelope->queue_id;

	return batch->source.envelope->transaction > 0 && batch->source.settings->lmtp.guard > 0 &&
	       ((queue_id && *queue_id) || batch->source.message->message_id.len > 0);
}

/* True: it was stored already, when its reply was lost. */
static bool was_stored(struct batch *batch, size_t recipient, struct guard_key *key_r)
{
	if (!is_guarded(batch))
		return false;
	guard_key_make(batch->source.envelope, batch->source.message, &batch->recipients[recipient],
		       key_r);
	if (!guard_holds(key_r, batch->source.envelope->transaction))
		return false;
	metric_add(&repeated_total, 1);
	outcome_set(&batch->outcomes[recipient], 250, "2.0.0", "stored before");
	return true;
}

static struct folder_rules folder_rules_of(const struct settings *settings)
{
	bool both = strcmp(settings->lmtp.subscribe, "both") == 0;

	return (struct folder_rules){
		.create = strcmp(settings->lmtp.folders, "create") == 0,
		.max = settings->lmtp.folder_max,
		.utf8 = strcmp(settings->lmtp.folder_encoding, "utf-8") == 0,
		.subscribe_dovecot = both || strcmp(settings->lmtp.subscribe, "dovecot") == 0,
		.subscribe_courier = both || strcmp(settings->lmtp.subscribe, "courier") == 0,
	};
}

void delivery_store(const struct settings *settings, const struct envelope *envelope,
		    const struct message *message, const struct recipient *recipients, size_t count,
		    struct outcome *outcomes)
{
	struct guard_key keys[DELIVERY_BATCH];
	bool writes[DELIVERY_BATCH] = {false};
	struct batch batch = {
		.source = {settings, envelope, message, folder_rules_of(settings)},
		.recipients = recipients,
		.outcomes = outcomes,
	};
	int64_t begin = deadline_now_us();

	for (size_t i = 0; i < count; i++) {
		outcomes[i].code = 0;
		if (!was_stored(&batch, i, &keys[i]))
			plan_recipient(&batch, i);
		writes[i] = outcomes[i].code == 0;
		if (!writes[i])
			decided(&batch, i);
	}
	if (batch.count > 0)
		run(&batch);
	metric_observe(&store_seconds, deadline_now_us() - begin);
	for (size_t i = 0; i < count; i++)
		if (writes[i] && outcomes[i].code == 250 && is_guarded(&batch))
			guard_stored(&keys[i], envelope->transaction, settings->lmtp.guard);
	free(batch.copies);
}
