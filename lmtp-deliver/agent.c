/*
 * agent - delivery as a pipe(8) transport
 *
 * This is the agent that delivers by itself; most messages never come here, since the server takes
 * them (agent_handover.c).
 *
 * A signal that asks to end gives 75, except while the message is stored: then the truth is said
 * after.
 *
 * Standard output and error are one pipe, and what it says first decides; so log lines for stderr
 * wait until the status was said.
 *
 * Usage is written by the handle that has found the mailboxes, once the message is durable, and
 * changes nothing of the status. Agents for one mailbox may pass each other on the way from the
 * Maildir to the database: so each looks again after it has written.
 *
 * Known gaps: one exit status for all recipients of a call; what the kernel does in the moments
 * between the last look and the link is not seen, but PR_SET_PDEATHSIG kills even then (unless
 * [mail] identity = account has changed the ids); of the usage, what a server beside us has noted
 * before may be written after ours.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "common/account_usage.h"
#include "common/accounts.h"
#include "common/address.h"
#include "common/daemon.h"
#include "common/deadline.h"
#include "common/identity.h"
#include "common/io.h"
#include "common/log.h"
#include "common/maildir.h"
#include "common/owner.h"
#include "common/quota_rules.h"
#include "lmtp-deliver/agent.h"
#include "lmtp-deliver/agent_envelope.h"
#include "lmtp-deliver/agent_input.h"
#include "lmtp-deliver/agent_options.h"
#include "lmtp-deliver/agent_process.h"
#include "lmtp-deliver/delivery.h"
#include "lmtp-deliver/message.h"
#include "lmtp-deliver/usage.h"

static void held_log(void *context, enum log_level level, const char *line)
{
	buf_printf(context, "%s: %s\n", log_level_name(level), line);
}

/*
 * Nobody gave the sender: what is on top of the message tells, Return-Path or else the mbox line.
 * With neither it is the null sender, to whom nothing is ever sent back.
 */
static void find_sender(struct buf *out, const struct message *message, const char *from_line)
{
	struct buf found = BUF_INIT;

	agent_return_path(&found, message->head.data, message->skip);
	if (!agent_sender(out, message->skip > 0 ? buf_str(&found) : from_line))
		log_info("the sender on top of the message cannot be used");
	buf_free(&found);
}

/* ADDRESS in full into FULL. False: OUTCOME says that it cannot be. */
static bool complete_address(const struct settings *settings, const char *address, struct buf *full,
			     struct outcome *outcome)
{
	struct error err;

	if (!agent_recipient(full, settings, address, &err))
		outcome_set(outcome, 451, "4.3.5", "lmtp-deliver: %s", err.text);
	else if (!buf_ok(full))
		outcome_set(outcome, 451, "4.3.0", "out of memory");
	else
		return true;
	return false;
}

static bool resolve_one(const struct settings *settings, struct accounts *accounts,
			const struct agent_options *options, size_t index,
			struct recipient *recipient, struct outcome *outcome)
{
	struct buf full = BUF_INIT;
	bool found =
		complete_address(settings, agent_options_recipient(options, index), &full,
				 outcome) &&
		delivery_resolve(settings, accounts, buf_str(&full), full.len, recipient, outcome);

	buf_free(&full);
	if (!found)
		return false;
	/* Anything that is no address must not get into a header. */
	if (options->original && address_key_ok(options->original, strlen(options->original)))
		buf_puts(&recipient->original, options->original);
	if (*options->folder) {
		buf_reset(&recipient->folder);
		buf_puts(&recipient->folder, options->folder);
	}
	if (buf_ok(&recipient->original) && buf_ok(&recipient->folder))
		return true;
	outcome_set(outcome, 451, "4.3.0", "out of memory");
	return false;
}

/* One outcome for all: theirs, if they have the same; else a deferral with a reason. */
static void join_outcomes(const struct outcome *outcomes, size_t count, struct outcome *joined)
{
	const struct outcome *worst = &outcomes[0];
	bool equal = true;

	for (size_t i = 1; i < count; i++) {
		equal = equal && outcomes[i].code / 100 == outcomes[0].code / 100;
		if (outcomes[i].code / 100 == 4 || worst->code < 300)
			worst = &outcomes[i];
	}
	*joined = *worst;
	if (!equal && worst->code >= 500)
		outcome_set(joined, 451, "4.3.5",
			    "%s %s: not for all recipients, and a transport to lmtp-deliver has "
			    "one status (set its _destination_recipient_limit = 1)",
			    worst->status, worst->text.text);
}

static void store(const struct settings *settings, const struct envelope *envelope,
		  const struct message *message, const struct recipient *recipients, size_t count,
		  struct outcome *outcomes)
{
	agent_hold_signals();
	for (size_t done = 0; done < count; done += DELIVERY_BATCH) {
		size_t now = count - done < DELIVERY_BATCH ? count - done : DELIVERY_BATCH;

		delivery_store(settings, envelope, message, recipients + done, now,
			       outcomes + done);
	}
}

/* The usage of a mailbox at this moment; unchanged where it cannot be told without waiting. */
static void look_again(const struct settings *settings, const struct recipient *recipient,
		       struct usage *usage)
{
	const struct quota_rules rules = quota_rules_of(settings, &recipient->mailbox);
	const struct maildir_target target = {.base = settings->mail.base,
					      .directory = buf_str(&recipient->directory),
					      .folder = ""};
	struct quota quota = {.limit_bytes = rules.limit_bytes,
			      .limit_messages = rules.limit_messages};
	struct error ignored;
	int fd;

	if (maildir_open(&target, false, &fd, &ignored) != RESULT_FOUND)
		return;
	if (quota_peek(fd, &quota, &ignored) == RESULT_FOUND)
		*usage = (struct usage){quota.used_bytes, quota.used_messages};
	(void)close(fd);
}

static const struct recipient *recipient_of(const struct recipient *recipients, size_t count,
					    const char *account)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(recipients[i].mailbox.address, account) == 0)
			return &recipients[i];
	return NULL;
}

/* Until what was written is what is there. */
static enum result publish_one(const struct settings *settings, struct accounts *accounts,
			       const struct recipient *recipient, struct account_usage *noted,
			       struct deadline deadline, struct error *err)
{
	struct usage written;

	do {
		enum result result;

		if (deadline_passed(deadline))
			return result_error(err, RESULT_TEMP, "the database takes too long");
		written = noted->usage;
		result = accounts_publish_usage(accounts, noted, 1, err);
		if (result != RESULT_FOUND)
			return result;
		if (recipient)
			look_again(settings, recipient, &noted->usage);
	} while (noted->usage.bytes != written.bytes || noted->usage.messages != written.messages);
	return RESULT_FOUND;
}

/* After the first that the database has no answer for, no other is tried. */
static void publish(const struct settings *settings, struct accounts *accounts,
		    const struct recipient *recipients, size_t count)
{
	struct deadline deadline = deadline_in(settings->database.query_timeout);
	enum result result = RESULT_FOUND;
	struct account_usage noted;
	struct error err = {0};

	if (!settings->quota.publish)
		return;
	/* Killed in between, it would leave SQLite a journal that readers may not roll back. */
	(void)prctl(PR_SET_PDEATHSIG, 0);
	while (usage_take(&noted)) {
		if (result != RESULT_TEMP)
			result = publish_one(settings, accounts,
					     recipient_of(recipients, count, noted.address), &noted,
					     deadline, &err);
		if (result != RESULT_FOUND)
			log_warning("usage not published account=<%s> reason=<%s>", noted.address,
				    err.text);
		free((char *)noted.address);
	}
}

static void deliver(const struct settings *settings, struct accounts *accounts,
		    const struct agent_options *options, const struct message *message,
		    const struct envelope *envelope, pid_t parent, struct outcome *outcome)
{
	struct recipient *recipients = calloc(options->count, sizeof(*recipients));
	struct outcome *outcomes = calloc(options->count, sizeof(*outcomes));
	bool all = recipients && outcomes;

	if (!all)
		outcome_set(outcome, 451, "4.3.0", "out of memory");
	for (size_t i = 0; recipients && outcomes && i < options->count; i++)
		if (!resolve_one(settings, accounts, options, i, &recipients[i], &outcomes[i]))
			all = false;
	if (all && agent_caller_is_gone(parent)) {
		outcome_set(outcome, 451, "4.3.0", "the calling process is gone");
		for (size_t i = 0; i < options->count; i++)
			delivery_refused(envelope, message, &recipients[i], outcome);
	} else if (all) {
		store(settings, envelope, message, recipients, options->count, outcomes);
		join_outcomes(outcomes, options->count, outcome);
		publish(settings, accounts, recipients, options->count);
	} else if (recipients && outcomes) {
		join_outcomes(outcomes, options->count, outcome);
		for (size_t i = 0; i < options->count; i++)
			if (outcomes[i].code < 300)
				delivery_refused(envelope, message, &recipients[i], outcome);
	}
	for (size_t i = 0; recipients && i < options->count; i++)
		recipient_free(&recipients[i]);
	free(recipients);
	free(outcomes);
}

static void look_up_and_deliver(const struct settings *settings,
				const struct agent_options *options, const struct message *message,
				const struct envelope *envelope, pid_t parent,
				struct outcome *outcome)
{
	struct schema *schema = NULL;
	struct accounts *accounts = NULL;
	struct error err = {0};

	if (settings->quota.publish)
		usage_collect();
	/* What one driver needs takes longer than all that the other does. */
	bool needs_library = strcmp(settings->database.driver, "mysql") == 0;

	if (schema_load(settings->schema.preset, &schema, &err) != RESULT_FOUND ||
	    (needs_library && sql_library_begin(&err) != RESULT_FOUND) ||
	    accounts_open(settings, schema, &accounts, &err) != RESULT_FOUND)
		outcome_set(outcome, 451, "4.3.5", "%s", err.text);
	else
		deliver(settings, accounts, options, message, envelope, parent, outcome);
	accounts_free(&accounts);
	schema_free(&schema);
}

/* With settings and log there. */
static void run(const struct settings *settings, const struct agent_options *options,
		struct outcome *outcome, pid_t parent)
{
	struct buf sender = BUF_INIT, from_line = BUF_INIT;
	struct envelope envelope = {.started_ms = deadline_now_ms()};
	struct message message;
	int fd = options->message ? open(options->message, O_RDONLY | O_CLOEXEC | O_NOCTTY)
				  : STDIN_FILENO;

	message_init(&message, settings->mail.base);
	if (fd < 0) {
		outcome_set(outcome, 451, "4.3.5", "lmtp-deliver: -p %s: %s", options->message,
			    strerror(errno));
	} else if (agent_input_read(fd, settings->lmtp.max_size, &message, &from_line, outcome)) {
		bool sender_ok = true;

		if (options->sender)
			sender_ok = agent_sender(&sender, options->sender);
		else
			find_sender(&sender, &message, buf_str(&from_line));
		envelope.sender = buf_str(&sender);
		if (!sender_ok)
			outcome_set(outcome, 451, "4.3.5",
				    "lmtp-deliver: the sender is not an address");
		else if (!buf_ok(&sender))
			outcome_set(outcome, 451, "4.3.0", "out of memory");
		else
			look_up_and_deliver(settings, options, &message, &envelope, parent,
					    outcome);
	}
	if (fd > STDIN_FILENO)
		(void)close(fd);
	message_free(&message);
	buf_free(&from_line);
	buf_free(&sender);
}

static enum result become_owner(const struct settings *settings, struct error *err)
{
	enum result result;
	uid_t uid;
	gid_t gid;

	if (*settings->mail.owner == '\0')
		return RESULT_FOUND;
	if (geteuid() != 0 || strcmp(settings->mail.identity, "account") != 0)
		return daemon_drop_privileges(settings->mail.owner, err);
	result = owner_parse(settings->mail.owner, &uid, &gid, err);
	return result == RESULT_FOUND ? identity_keep(uid, gid, err) : result;
}

/* Settings and privileges; false: OUTCOME says what is wrong. */
static bool prepare(const struct settings *settings, pid_t parent, struct outcome *outcome)
{
	struct error err = {0};

	if (settings->lmtp.expand_aliases)
		outcome_set(outcome, 451, "4.3.5",
			    "[lmtp] expand_aliases = yes is not supported yet");
	else if (become_owner(settings, &err) != RESULT_FOUND)
		outcome_set(outcome, 451, "4.3.5", "%s", err.text);
	/* After the change of user, which would undo the wish to die with the parent. */
	else if (!agent_die_with_parent(parent))
		outcome_set(outcome, 451, "4.3.0", "the calling process is gone");
	return outcome->code == 0;
}

int agent_main(int argc, char **argv)
{
	struct agent_options options;
	struct settings settings = {0};
	struct buf held = BUF_INIT;
	struct outcome outcome = {0};
	struct error err = {0};
	pid_t parent = getppid();
	int code;

	agent_catch_signals();
	if (!agent_options_parse(argc, argv, &options, &err)) {
		outcome_set(&outcome, 451, "4.3.5", "lmtp-deliver: %s; see lmtp-deliver(8)",
			    err.text);
	} else if (settings_load(options.file, &settings, NULL, &err) != RESULT_FOUND) {
		outcome_set(&outcome, 451, "4.3.5", "%s", err.text);
	} else {
		daemon_log_open(&settings, "lmtp-deliver");
		if (strcmp(settings.log.target, "stderr") == 0)
			log_set_sink(held_log, &held);
		if (prepare(&settings, parent, &outcome))
			run(&settings, &options, &outcome, parent);
	}
	code = agent_finish(outcome.code, outcome.status, outcome.text.text);
	if (!options.message)
		agent_drain();
	log_set_sink(NULL, NULL);
	if (held.len > 0 && io_write_file(STDERR_FILENO, held.data, held.len) != 0) {
		/* nowhere left to say it */
	}
	buf_free(&held);
	settings_free(&settings);
	return code;
}
