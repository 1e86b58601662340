/*
 * delivery_store - one message into the Maildirs of several recipients
 *
 * In five rounds over all copies, so that they share their syncs: write, sync the data, link under
 * the quota's lock, sync the names, report. A copy that fails leaves the rounds and touches nobody
 * else. The quota is judged twice: cheaply before anything is synced, and for certain under the lock.
 *
 * Header lines put in front: Return-Path, Received (if wanted), X-Original-To (when known),
 * Delivered-To. A message with [lmtp] max_hops Received lines is refused: it goes in a circle.
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
#include "common/folder.h"
#include "common/identity.h"
#include "common/log.h"
#include "common/maildir.h"
#include "common/metrics.h"
#include "common/quota.h"
#include "common/quota_rules.h"
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

/* One file for one recipient. */
struct copy {
	size_t recipient; /* index */
	const char *folder;
	struct maildir_file file;
	struct quota usage; /* before it, if the mailbox has a quota */
	bool counted;       /* the quota holds it */
	bool full;          /* refused: over quota */
};

struct batch {
	const struct settings *settings;
	const struct envelope *envelope;
	const struct message *message;
	const struct recipient *recipients;
	struct outcome *outcomes; /* code 0: not decided */
	struct folder_rules rules;
	struct copy *copies;
	size_t count, room;
	struct maildir_file **files; /* of the copies */
};

static bool is_limited(const struct mailbox *mailbox)
{
	return mailbox->quota_bytes > 0 || mailbox->quota_messages > 0;
}

/* FOUND: *OTHER_R tells whether BEFORE_R is to be given back. */
static enum result become_owner(const struct settings *settings, const struct mailbox *mailbox,
				bool *other_r, struct identity *before_r, struct error *err)
{
	const struct identity wanted = {mailbox->uid, mailbox->gid};
	int64_t minimum = settings->mail.minimum_uid;
	enum result result;

	*other_r = false;
	if (strcmp(settings->mail.identity, "account") != 0 || mailbox->uid == (uid_t)-1)
		return RESULT_FOUND;
	if ((int64_t)mailbox->uid < minimum || mailbox->gid == (gid_t)-1 ||
	    (int64_t)mailbox->gid < minimum)
		return result_error(
			err, RESULT_TEMP,
			"the account has uid %ld and gid %ld: [mail] minimum_uid is %lld",
			(long)mailbox->uid, (long)mailbox->gid, (long long)minimum);
	result = identity_enter(&wanted, before_r, err);
	*other_r = result == RESULT_FOUND;
	return result;
}

static void print_header(struct buf *out, const struct envelope *envelope,
			 const struct recipient *recipient)
{
	buf_printf(out, "Return-Path: <%s>\n", envelope->sender);
	if (envelope->received)
		buf_puts(out, envelope->received);
	if (recipient->original.len > 0)
		buf_printf(out, "X-Original-To: %s\n", buf_str(&recipient->original));
	buf_printf(out, "Delivered-To: %s\n", buf_str(&recipient->address));
}

static void fail(struct copy *copy, const struct error *err)
{
	copy->file.result = RESULT_TEMP;
	if (err != &copy->file.err)
		copy->file.err = *err;
}

static void fill(struct copy *copy, const struct batch *batch, const struct buf *header)
{
	struct maildir_part parts[1 + MESSAGE_PARTS_MAX];
	bool last_was_cr = false;
	size_t count;

	parts[0] = (struct maildir_part){header->data, header->len};
	count = 1 + message_parts(batch->message, parts + 1);
	copy->file.size = header->len + message_size(batch->message);
	copy->file.virtual_size = maildir_virtual_size(header->data, header->len, &last_was_cr) +
				  message_virtual_size(batch->message);
	maildir_write(&copy->file, parts, count);
}

/* Whether the folder it goes into is part of the usage. */
static bool counts(const struct copy *copy, const struct quota_rules *rules)
{
	char folder[sizeof(copy->file.prefix)];

	memcpy(folder, copy->file.prefix, sizeof(folder));
	folder[strcspn(folder, "/")] = '\0';
	return quota_rules_count(rules, folder);
}

/*
 * Whether the quota leaves room, as far as can be told without letting others wait: so a full
 * mailbox costs no sync.
 */
static void judge_early(struct copy *copy, const struct batch *batch)
{
	const struct mailbox *mailbox = &batch->recipients[copy->recipient].mailbox;
	struct quota_rules rules = quota_rules_of(batch->settings, mailbox);
	struct quota_entry entry = {.lock_fd = -1};
	struct quota peeked = {.limit_bytes = rules.limit_bytes,
			       .limit_messages = rules.limit_messages};
	struct error *err = &copy->file.err;
	int64_t bytes = (int64_t)copy->file.size;

	if (!is_limited(mailbox) || !counts(copy, &rules))
		return;
	if (quota_peek(copy->file.root_fd, &peeked, err) == RESULT_FOUND &&
	    quota_fits(&peeked, bytes))
		return;
	if (quota_enter(copy->file.root_fd, &rules, bytes, &entry, err) != RESULT_FOUND) {
		fail(copy, err);
		return;
	}
	copy->usage = entry.quota;
	copy->full = !quota_fits(&entry.quota, bytes);
	if (quota_leave(&entry, 0, 0, err) != RESULT_FOUND || copy->full)
		fail(copy, err);
}

static void write_copy(struct copy *copy, const struct batch *batch)
{
	const struct recipient *recipient = &batch->recipients[copy->recipient];
	struct buf header = BUF_INIT;
	struct identity before;
	bool other;

	copy->file.target = (struct maildir_target){
		.base = batch->settings->mail.base,
		.directory = buf_str(&recipient->directory),
		.folder = copy->folder,
		.rules = &batch->rules,
	};
	copy->file.root_fd = -1;
	copy->file.fd = copy->file.tmp_fd = copy->file.new_fd = -1;
	print_header(&header, batch->envelope, recipient);
	if (!buf_ok(&header))
		error_set(&copy->file.err, "out of memory");
	if (!buf_ok(&header) || become_owner(batch->settings, &recipient->mailbox, &other, &before,
					     &copy->file.err) != RESULT_FOUND) {
		fail(copy, &copy->file.err);
		buf_free(&header);
		return;
	}
	fill(copy, batch, &header);
	if (copy->file.result == RESULT_FOUND)
		judge_early(copy, batch);
	if (other)
		identity_leave(&before);
	buf_free(&header);
}

/* Ends a change of usage, and tells it in the order in which such changes happen. */
static void leave(const struct mailbox *mailbox, struct quota_entry *entry, int64_t bytes,
		  int64_t messages)
{
	struct error err = {0};

	if (entry->lock_fd >= 0 && messages != 0)
		usage_note(mailbox->address, entry->quota.used_bytes + bytes,
			   entry->quota.used_messages + messages);
	if (quota_leave(entry, bytes, messages, &err) != RESULT_FOUND)
		log_warning("quota usage not updated account=<%s> reason=<%s>", mailbox->address,
			    err.text);
}

/* Makes it visible, under the lock of its mailbox's quota. */
static void link_counted(struct copy *copy, const struct batch *batch)
{
	const struct mailbox *mailbox = &batch->recipients[copy->recipient].mailbox;
	struct quota_rules rules = quota_rules_of(batch->settings, mailbox);
	int64_t bytes = (int64_t)copy->file.size;
	struct quota_entry entry = {.lock_fd = -1};
	struct error err = {0};

	if (!counts(copy, &rules)) {
		maildir_link(&copy->file);
		return;
	}
	if (quota_enter(copy->file.root_fd, &rules, bytes, &entry, &err) != RESULT_FOUND) {
		fail(copy, &err);
		return;
	}
	copy->usage = entry.quota;
	copy->full = is_limited(mailbox) && !quota_fits(&entry.quota, bytes);
	if (copy->full)
		fail(copy, &err);
	else
		maildir_link(&copy->file);
	copy->counted = copy->file.result == RESULT_FOUND;
	leave(mailbox, &entry, copy->counted ? bytes : 0, copy->counted ? 1 : 0);
}

static void link_copy(struct copy *copy, const struct batch *batch)
{
	const struct mailbox *mailbox = &batch->recipients[copy->recipient].mailbox;
	struct identity before;
	struct error err = {0};
	bool other;

	if (copy->file.result != RESULT_FOUND)
		return;
	if (become_owner(batch->settings, mailbox, &other, &before, &err) != RESULT_FOUND) {
		fail(copy, &err);
		return;
	}
	link_counted(copy, batch);
	if (other)
		identity_leave(&before);
}

/* A name that did not become durable was taken away again: so is what the quota counted. */
static void give_back(struct copy *copy, const struct batch *batch)
{
	const struct mailbox *mailbox = &batch->recipients[copy->recipient].mailbox;
	struct quota_rules rules = quota_rules_of(batch->settings, mailbox);
	struct quota_entry entry = {.lock_fd = -1};
	struct identity before;
	struct error err = {0};
	bool other;

	if (!copy->counted || copy->file.result == RESULT_FOUND)
		return;
	copy->counted = false;
	if (become_owner(batch->settings, mailbox, &other, &before, &err) != RESULT_FOUND)
		return;
	if (quota_enter(copy->file.root_fd, &rules, 0, &entry, &err) == RESULT_FOUND)
		leave(mailbox, &entry, -(int64_t)copy->file.size, -1);
	else
		log_warning("quota usage not updated account=<%s> reason=<%s>", mailbox->address,
			    err.text);
	if (other)
		identity_leave(&before);
}

static void refuse_full(const struct batch *batch, struct copy *copy, struct outcome *outcome)
{
	const struct quota *usage = &copy->usage;

	error_set(&copy->file.err, "over quota: %lld of %lld bytes, %lld of %lld messages",
		  (long long)usage->used_bytes, (long long)usage->limit_bytes,
		  (long long)usage->used_messages, (long long)usage->limit_messages);
	if (strcmp(batch->settings->lmtp.quota_full, "reject") == 0)
		outcome_set(outcome, 552, "5.2.2", "the mailbox is full");
	else
		outcome_set(outcome, 452, "4.2.2", "the mailbox is full");
}

/* The outcome of a recipient is that of its worst copy, which is told in the log. */
static void decide(struct batch *batch, struct copy *copy)
{
	struct outcome *outcome = &batch->outcomes[copy->recipient];

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

/* What others want to know of a copy that is there. */
static void tell(const struct batch *batch, const struct copy *copy)
{
	const struct mailbox *mailbox = &batch->recipients[copy->recipient].mailbox;
	int64_t bytes = (int64_t)copy->file.size;
	struct identity before;
	struct error err = {0};
	bool other;

	metric_add(&copies_total, 1);
	metric_add(&bytes_total, bytes);
	if (!copy->counted || !is_limited(mailbox) || *batch->settings->quota.warn == '\0')
		return;
	if (become_owner(batch->settings, mailbox, &other, &before, &err) != RESULT_FOUND)
		return;
	quota_warning_note(batch->settings, mailbox, &copy->file.target, &copy->usage, bytes, 1);
	if (other)
		identity_leave(&before);
}

static void report(const struct batch *batch, const struct copy *copy)
{
	const struct recipient *recipient = &batch->recipients[copy->recipient];
	const struct outcome *outcome = &batch->outcomes[copy->recipient];
	bool stored = copy->file.result == RESULT_FOUND;
	const struct delivery_report told = {
		.folder = stored && copy->file.name[0] == '.' ? copy->folder : "INBOX",
		.file = stored ? copy->file.name : "",
		.size = copy->file.size,
		.quota_used =
			copy->usage.used_bytes + (copy->counted ? (int64_t)copy->file.size : 0),
		.quota_limit = copy->usage.limit_bytes,
	};

	delivery_report(batch->envelope, batch->message, recipient, outcome,
			stored ? "stored as " : copy->file.err.text, &told);
}

static void decided(struct batch *batch, size_t recipient)
{
	delivery_refused(batch->envelope, batch->message, &batch->recipients[recipient],
			 &batch->outcomes[recipient]);
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
	batch->copies[batch->count++] = (struct copy){.recipient = recipient, .folder = folder};
	return true;
}

/* Takes the last copies of a recipient off again. */
static void drop_copies(struct batch *batch, size_t recipient)
{
	while (batch->count > 0 && batch->copies[batch->count - 1].recipient == recipient)
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

	if (batch->message->hops >= batch->settings->lmtp.max_hops) {
		outcome_set(outcome, 554, "5.4.6", "too many Received lines: a mail loop");
		return;
	}
	if (filter_run(batch->settings, batch->envelope, batch->message,
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
		write_copy(&batch->copies[i], batch);
	}
	maildir_sync(batch->files, batch->count);
	for (size_t i = 0; i < batch->count; i++)
		link_copy(&batch->copies[i], batch);
	maildir_settle(batch->files, batch->count);
	for (size_t i = 0; i < batch->count; i++) {
		give_back(&batch->copies[i], batch);
		decide(batch, &batch->copies[i]);
	}
	for (size_t i = 0; i < batch->count; i++) {
		report(batch, &batch->copies[i]);
		if (batch->copies[i].file.result == RESULT_FOUND)
			tell(batch, &batch->copies[i]);
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
		struct outcome *outcome = &batch->outcomes[batch->copies[i].recipient];

		outcome_set(outcome, 451, "4.3.0", "out of memory");
		decided(batch, batch->copies[i].recipient);
	}
}

/* A message that nothing names may be meant to come twice. */
static bool is_guarded(const struct batch *batch)
{
	const char *queue_id = batch->envelope->queue_id;

	return batch->envelope->transaction > 0 && batch->settings->lmtp.guard > 0 &&
	       ((queue_id && *queue_id) || batch->message->message_id.len > 0);
}

/* True: it was stored already, when its reply was lost. */
static bool was_stored(struct batch *batch, size_t recipient, struct guard_key *key_r)
{
	if (!is_guarded(batch))
		return false;
	guard_key_make(batch->envelope, batch->message, &batch->recipients[recipient], key_r);
	if (!guard_holds(key_r, batch->envelope->transaction))
		return false;
	metric_add(&repeated_total, 1);
	outcome_set(&batch->outcomes[recipient], 250, "2.0.0", "stored before");
	return true;
}

void delivery_store(const struct settings *settings, const struct envelope *envelope,
		    const struct message *message, const struct recipient *recipients, size_t count,
		    struct outcome *outcomes)
{
	struct guard_key keys[DELIVERY_BATCH];
	bool writes[DELIVERY_BATCH] = {false};
	struct batch batch = {
		.settings = settings,
		.envelope = envelope,
		.message = message,
		.recipients = recipients,
		.outcomes = outcomes,
		.rules = {.create = strcmp(settings->lmtp.folders, "create") == 0,
			  .max = settings->lmtp.folder_max,
			  .utf8 = strcmp(settings->lmtp.folder_encoding, "utf-8") == 0,
			  .subscribe_dovecot = strcmp(settings->lmtp.subscribe, "dovecot") == 0 ||
					       strcmp(settings->lmtp.subscribe, "both") == 0,
			  .subscribe_courier = strcmp(settings->lmtp.subscribe, "courier") == 0 ||
					       strcmp(settings->lmtp.subscribe, "both") == 0},
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
