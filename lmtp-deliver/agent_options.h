/*
 * What a pipe(8) command line says, in the words of any of these agents, of which the program's
 * name alone is to be changed:
 *
 *   lmtp-deliver [-c FILE] [-f SENDER] -d RECIPIENT [-a ORIGINAL_RECIPIENT] [-m FOLDER]
 *   dovecot-lda  [-f SENDER] -d RECIPIENT [-a ORIGINAL_RECIPIENT] [-r ADDRESS] [-m FOLDER] [-p FILE] [-e] [-k]
 *   dovecot      deliver, then as dovecot-lda
 *   maildrop     -w PERCENT [-f SENDER] -d RECIPIENT [WORD ...]
 *   deliver      [-e] [-q] [-r SENDER | -f SENDER] [-a LOGIN] [-m FOLDER] USER ...
 *
 * The last form is the one without -d: its words are recipients. With -w they are a filter's
 * arguments, and ignored. With -d alone they are a mistake: more recipients than one can be told
 * about.
 */
#ifndef POSTERN_LMTP_AGENT_OPTIONS_H
#define POSTERN_LMTP_AGENT_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

#include "common/result.h"

struct agent_options {         /* all of it points into argv */
	const char *file;      /* postern.ini */
	const char *sender;    /* NULL: not given */
	const char *original;  /* NULL: not given */
	const char *folder;    /* without INBOX in front; "" for the one that the address has */
	const char *message;   /* file of the message, NULL: standard input */
	const char *recipient; /* -d, NULL: the users */
	char **users;
	size_t count; /* recipients, at least 1 */
};

/*
 * Whether ARGV calls for the agent and not for the daemon: any argument but -c FILE, -h and words
 * with "--" in front, because a slip in master.cf must not get the daemon's exit codes.
 */
bool agent_wanted(int argc, char **argv) MUST_CHECK;
/* False: ERR says what is wrong. Not safe in threads (getopt(3)). */
bool agent_options_parse(int argc, char **argv, struct agent_options *options_r,
			 struct error *err) MUST_CHECK;
/* The INDEXth recipient. */
const char *agent_options_recipient(const struct agent_options *options, size_t index);

#endif
