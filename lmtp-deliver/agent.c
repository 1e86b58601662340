/*
 * agent - delivery as a pipe(8) transport
 *
 * The end of standard input does not prove that the message is complete: if pipe(8) dies, it ends
 * as well. So the agent asks to be killed with its parent, and looks once more before it stores.
 *
 * Standard output and error are one pipe, and what it says first decides; so log lines for stderr
 * wait until the status was said.
 *
 * Limits: one recipient per call (<transport>_destination_recipient_limit = 1); the message is
 * stored with the line ends that it has, pipe(8) makes them LF.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/accounts.h"
#include "common/address.h"
#include "common/daemon.h"
#include "common/deadline.h"
#include "common/io.h"
#include "common/log.h"
#include "lmtp-deliver/agent.h"
#include "lmtp-deliver/delivery.h"
#include "lmtp-deliver/message.h"
#include "lmtp-deliver/session.h"

#define USAGE "usage: lmtp-deliver -c FILE -f SENDER -d RECIPIENT [-a ORIGINAL_RECIPIENT]"

struct agent_options {
	const char *file, *sender, *recipient, *original;
};

static int exit_code(const struct outcome *outcome)
{
	if (outcome->code < 300)
		return EX_OK;
	if (outcome->code < 500)
		return EX_TEMPFAIL;
	return strcmp(outcome->status, "5.1.1") == 0 ? EX_NOUSER : EX_NOPERM;
}

/* Says the outcome and returns the exit code. */
static int finish(const struct outcome *outcome)
{
	struct buf line = BUF_INIT;
	int code = exit_code(outcome);

	if (code != EX_OK) {
		buf_printf(&line, "%s %s\n", outcome->status, outcome->text.text);
		if (!buf_ok(&line) || io_write_file(STDOUT_FILENO, line.data, line.len) != 0)
			log_warning("nobody reads the status: %s", outcome->status);
	}
	buf_free(&line);
	return code;
}

static void held_log(void *context, enum log_level level, const char *line)
{
	buf_printf(context, "%s: %s\n", log_level_name(level), line);
}

bool agent_wanted(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "-c") == 0)
			i++;
		else if (argv[i][0] == '-' && argv[i][1] != '\0' && strchr("dfa", argv[i][1]))
			return true;
	}
	return false;
}

static bool parse_options(int argc, char **argv, struct agent_options *options_r,
			  struct outcome *outcome)
{
	int option;

	*options_r = (struct agent_options){.file = SETTINGS_DEFAULT_FILE};
	opterr = 0;
	/* '+': what does not begin with '-' ends the options; nothing may follow them. */
	while ((option = getopt(argc, argv, "+:c:f:d:a:")) != -1) {
		switch (option) {
		case 'c':
			options_r->file = optarg;
			break;
		case 'f':
			options_r->sender = optarg;
			break;
		case 'd':
			options_r->recipient = optarg;
			break;
		case 'a':
			options_r->original = optarg;
			break;
		default:
			outcome_set(outcome, 451, "4.3.5", "lmtp-deliver: option -%c: %s; " USAGE,
				    optopt, option == ':' ? "needs a value" : "not known");
			return false;
		}
	}
	if (optind < argc) {
		outcome_set(outcome, 451, "4.3.5",
			    "lmtp-deliver: \"%s\" is one argument too many (is the transport's "
			    "_destination_recipient_limit 1?); " USAGE,
			    argv[optind]);
		return false;
	}
	if (!options_r->sender || !options_r->recipient) {
		outcome_set(outcome, 451, "4.3.5", "lmtp-deliver: -f and -d are needed; " USAGE);
		return false;
	}
	return true;
}

/*
 * The sender as Return-Path has it. pipe(8) gives it unquoted, and "MAILER-DAEMON" for the null
 * sender unless null_sender is set. False: it cannot stand in a header.
 */
static bool print_sender(struct buf *out, const char *sender)
{
	struct address parsed;
	size_t len = strlen(sender);

	if (len == 0 || strcmp(sender, "<>") == 0 || strcasecmp(sender, "MAILER-DAEMON") == 0)
		return true;
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)sender[i] < 0x20 || sender[i] == 0x7f)
			return false;
	if (address_parse(&parsed, sender, len, NULL))
		address_print(out, parsed.typed, strlen(parsed.typed), strrchr(sender, '@') + 1);
	else
		buf_puts(out, sender);
	return true;
}

/* All of standard input, also when it is too big: pipe(8) takes a broken pipe for success. */
static bool read_message(const struct settings *settings, struct message *message,
			 struct outcome *outcome)
{
	static char bytes[65536];
	struct error err = {0};
	bool no_space = false;
	ssize_t got;

	outcome->code = 0;
	while ((got = read(STDIN_FILENO, bytes, sizeof(bytes))) != 0) {
		if (got < 0) {
			if (errno == EINTR)
				continue;
			outcome_set(outcome, 451, "4.3.0", "cannot read the message: %s",
				    strerror(errno));
			return false;
		}
		if (outcome->code != 0)
			continue;
		if (message_add(message, bytes, (size_t)got, &no_space, &err) != RESULT_FOUND) {
			log_error("message not taken reason=<%s>", err.text);
			outcome_set(outcome, no_space ? 452 : 451, no_space ? "4.3.1" : "4.3.0",
				    "the message cannot be taken now");
		} else if (settings->lmtp.max_size > 0 &&
			   message->virtual_size > (uint64_t)settings->lmtp.max_size) {
			outcome_set(outcome, 552, "5.3.4", "the message is too big");
		}
	}
	if (outcome->code == 0 && message_finish(message, &err) != RESULT_FOUND) {
		log_error("message not taken reason=<%s>", err.text);
		outcome_set(outcome, 451, "4.3.0", "the message cannot be taken now");
	}
	return outcome->code == 0;
}

static void deliver(const struct settings *settings, struct accounts *accounts,
		    const struct agent_options *options, const struct message *message,
		    const struct envelope *envelope, pid_t parent, struct outcome *outcome)
{
	struct recipient recipient;

	if (!delivery_resolve(settings, accounts, options->recipient, strlen(options->recipient),
			      &recipient, outcome))
		return;
	/* Anything that is no address must not get into a header. */
	if (options->original && address_key_ok(options->original, strlen(options->original)))
		buf_puts(&recipient.original, options->original);
	if (!buf_ok(&recipient.original))
		outcome_set(outcome, 451, "4.3.0", "out of memory");
	else if (getppid() != parent)
		outcome_set(outcome, 451, "4.3.0", "the calling process is gone");
	else
		delivery_store(settings, envelope, message, &recipient, 1, outcome);
	recipient_free(&recipient);
}

/* With settings and log there. */
static void run(const struct settings *settings, const struct agent_options *options,
		struct outcome *outcome, pid_t parent)
{
	struct session_state *state = NULL;
	struct accounts *accounts = NULL;
	struct buf sender = BUF_INIT;
	struct envelope envelope = {.started_ms = deadline_now_ms()};
	struct message message;
	struct error err = {0};

	message_init(&message, settings->mail.base);
	if (!print_sender(&sender, options->sender) || !buf_ok(&sender)) {
		outcome_set(outcome, 451, "4.3.5", "lmtp-deliver: -f: not an address");
	} else if (read_message(settings, &message, outcome)) {
		envelope.sender = buf_str(&sender);
		if (session_state_open(settings, &state, &err) != RESULT_FOUND ||
		    sql_library_begin(&err) != RESULT_FOUND ||
		    accounts_open(settings, state->schema, &accounts, &err) != RESULT_FOUND)
			outcome_set(outcome, 451, "4.3.5", "%s", err.text);
		else
			deliver(settings, accounts, options, &message, &envelope, parent, outcome);
	}
	accounts_free(&accounts);
	session_state_free(&state);
	message_free(&message);
	buf_free(&sender);
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

	/* Errors of write(2) are answered; a signal would only say less. */
	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGXFSZ, SIG_IGN);
	if (!parse_options(argc, argv, &options, &outcome))
		return finish(&outcome);
	if (settings_load(options.file, &settings, NULL, &err) != RESULT_FOUND) {
		outcome_set(&outcome, 451, "4.3.5", "%s", err.text);
		return finish(&outcome);
	}
	daemon_log_open(&settings, "lmtp-deliver");
	if (strcmp(settings.log.target, "stderr") == 0)
		log_set_sink(held_log, &held);
	/* After the change of user, which would undo the wish to die with the parent. */
	if (*settings.mail.owner &&
	    daemon_drop_privileges(settings.mail.owner, &err) != RESULT_FOUND)
		outcome_set(&outcome, 451, "4.3.5", "%s", err.text);
	else if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)
		outcome_set(&outcome, 451, "4.3.0", "the calling process is gone");
	else
		run(&settings, &options, &outcome, parent);
	code = finish(&outcome);
	log_set_sink(NULL, NULL);
	if (held.len > 0 && io_write_file(STDERR_FILENO, held.data, held.len) != 0) {
		/* nowhere left to say it */
	}
	buf_free(&held);
	settings_free(&settings);
	return code;
}
