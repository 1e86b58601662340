/*
 * agent_options - the command line of the pipe(8) agent
 *
 * Three letters mean two things elsewhere. -a is the original recipient beside -d and Cyrus's login
 * without it. -r is the sender without -d; beside -d it is dovecot-lda's address of the final
 * recipient, of which nothing is made, and -f must then tell the sender: who takes -r for it would
 * lose every sender. -e is quiet consent in all: Cyrus suppresses duplicates, dovecot-lda tells
 * refusals by the exit status.
 *
 * Known gaps: dovecot-lda's -o and -n, maildrop's -A, -M, -V and rules in a file, Cyrus's shared
 * mailboxes (-m without a user) are refused, as all that is not known.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "common/settings.h"
#include "lmtp-deliver/agent_options.h"

struct words { /* as they came */
	const char *from, *return_path, *recipient, *address, *folder;
	bool is_maildrop, is_quiet;
};

/* "INBOX.Spam" and "INBOX/Spam" are what servers with such a prefix call the folder Spam. */
static const char *without_inbox(const char *folder)
{
	if (strncasecmp(folder, "INBOX", 5) != 0)
		return folder;
	if (folder[5] == '\0')
		return "";
	return folder[5] == '.' || folder[5] == '/' ? folder + 6 : folder;
}

static bool parse_words(int argc, char **argv, struct agent_options *options, struct words *words,
			struct error *err)
{
	int option;

	opterr = 0;
	optind = 0; /* anew, whatever was parsed before */
	/* '+': what does not begin with '-' ends the options. */
	while ((option = getopt(argc, argv, "+:a:c:d:ef:km:p:qr:w:")) != -1) {
		switch (option) {
		case 'a':
			words->address = optarg;
			break;
		case 'c':
			options->file = optarg;
			break;
		case 'd':
			if (words->recipient) {
				error_set(err, "-d is given twice");
				return false;
			}
			words->recipient = optarg;
			break;
		case 'f':
			words->from = optarg;
			break;
		case 'm':
			words->folder = optarg;
			break;
		case 'p':
			options->message = optarg;
			break;
		case 'r':
			words->return_path = optarg;
			break;
		case 'w':
			words->is_maildrop = true;
			break;
		case 'e':
		case 'k':
		case 'q':
			words->is_quiet = true;
			break;
		default:
			error_set(err, "option -%c: %s", optopt,
				  option == ':' ? "needs a value" : "not known");
			return false;
		}
	}
	return true;
}

/* The form with -d. */
static bool take_recipient(const struct words *words, const char *next, struct error *err)
{
	if (next && !words->is_maildrop) {
		error_set(err,
			  "\"%s\" is one argument too many (is the transport's "
			  "_destination_recipient_limit 1?)",
			  next);
		return false;
	}
	if (words->return_path && !words->from) {
		error_set(err, "beside -d the sender is -f, and -r the final recipient");
		return false;
	}
	return true;
}

bool agent_wanted(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		const char *argument = argv[i];

		if (strcmp(argument, "-c") == 0)
			i++;
		else if (strncmp(argument, "--", 2) != 0 && strncmp(argument, "-c", 2) != 0 &&
			 strcmp(argument, "-h") != 0)
			return true;
	}
	return false;
}

bool agent_options_parse(int argc, char **argv, struct agent_options *options_r, struct error *err)
{
	static const struct words none;
	struct words words = {0};

	*options_r = (struct agent_options){.file = SETTINGS_DEFAULT_FILE, .folder = ""};
	if (!parse_words(argc, argv, options_r, &words, err))
		return false;
	/* The sub-command of "dovecot deliver"; behind any option of the agents it is a user. */
	if (optind < argc && strcmp(argv[optind], "deliver") == 0 && !options_r->message &&
	    memcmp(&words, &none, sizeof(words)) == 0) {
		argc -= optind;
		argv += optind;
		if (!parse_words(argc, argv, options_r, &words, err))
			return false;
	}
	if (words.folder)
		options_r->folder = without_inbox(words.folder);
	if (words.recipient) {
		if (!take_recipient(&words, optind < argc ? argv[optind] : NULL, err))
			return false;
		options_r->sender = words.from;
		options_r->original = words.address;
		options_r->recipient = words.recipient;
		options_r->count = 1;
	} else if (optind < argc && !words.is_maildrop) {
		options_r->sender = words.from ? words.from : words.return_path;
		options_r->users = &argv[optind];
		options_r->count = (size_t)(argc - optind);
	} else {
		error_set(err, "no recipient: -d is missing");
		return false;
	}
	return true;
}

const char *agent_options_recipient(const struct agent_options *options, size_t index)
{
	return options->recipient ? options->recipient : options->users[index];
}
