/*
 * lmtp-deliver as a pipe(8) agent: the real program, with its Maildirs, beside an LMTP server or
 * without one. Everything fails the test that calls it.
 *
 * POSTERN_TOP_BUILDDIR tells where the program is.
 */
#ifndef POSTERN_TESTS_AGENT_RIG_H
#define POSTERN_TESTS_AGENT_RIG_H

#include <stdbool.h>
#include <sys/types.h>

#include "tests/unit/mailhost.h"

#define AGENT_ARGUMENTS_MAX 12
#define AGENT_TEXT          "Subject: x\n\nbody\n"

extern struct mailhost agent_host;
extern char agent_base[96], agent_program[4096];
extern bool agent_serving;    /* the LMTP server runs, too, and is handed the messages */
extern uid_t agent_owner_uid; /* of all there is */
extern pid_t agent_server;
extern char agent_listener[100];
extern char agent_output[8192]; /* of the last run */
extern const char agent_text[]; /* AGENT_TEXT, a message */

/* Checked fixtures. */
void agent_setup(void);
void agent_setup_serving(void);
void agent_teardown(void);
/* MORE begins with keys of [lmtp], or with a section. A server begins anew. */
void agent_configure(const char *more);
void agent_server_start(void);
/* How often the server's log says WORD. */
int agent_server_said(const char *word);

/* Fills in "lmtp-deliver -c FILE" before ARGUMENTS (ended by NULL). */
void agent_command_line(const char *argv[AGENT_ARGUMENTS_MAX + 4], const char *const *arguments);
/* Feeds LEN bytes and reads the output until the program is gone. Returns its exit status. */
int agent_run(const char *const *arguments, const char *message, size_t len);
/* Delivers agent_text from <a@b> to RECIPIENT: exit status CODE, output begins with WORDS. */
void agent_deliver(const char *recipient, int code, const char *words);
/* Starts it for alice; *IN_R is its input, *OUT_R its output, both the caller's. */
pid_t agent_start(int *in_r, int *out_r);

/* Of a folder below the base. */
int agent_count_files(const char *name);
/* The one file of a folder below the base; it is removed. */
void agent_assert_stored(const char *name, const char *data, size_t len);

#endif
