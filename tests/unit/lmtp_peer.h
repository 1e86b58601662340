/*
 * For tests of the LMTP server: a session in a thread of its own over a socket pair, the client's
 * side of it, a real database and real Maildirs. serve_stopping() is defined here, so that a test
 * can stop the daemon that is not there; writing to files can be made to fail.
 *
 * One session at a time. Any failure here fails the running test.
 */
#ifndef POSTERN_TESTS_LMTP_PEER_H
#define POSTERN_TESTS_LMTP_PEER_H

#include <openssl/types.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "common/buf.h"
#include "lmtp-deliver/session.h"
#include "tests/unit/mailhost.h"

struct lmtp_peer {
	int fd; /* the client's end */
	SSL *ssl;
	struct connection connection;
	void *worker;
	pthread_t thread;
};

extern atomic_bool stopping;
extern atomic_int write_error; /* of every write to a file, when not 0 */
extern struct mailhost host;
extern char base[96];
extern struct session_state *state;
extern struct error err;
extern struct buf log_lines; /* "LEVEL: TEXT\n"; look at it when the session is over */
extern struct lmtp_peer peer;

/* Loads the settings again, with these lines in [lmtp]. */
void configure(const char *lmtp);
void setup(void);
void teardown(void);

void connect_worker(void *worker);
/* As if the client had come over TCP. */
void connect_tcp(void);
/* The client's side of the handshake. */
void start_tls(void);
void disconnect(void);

void send_bytes(const void *data, size_t len);
/* Byte by byte: the next one when the session has read the one before. */
void trickle(const char *text);
void say(const char *text);
/* One reply line without its end; "" when the server closed. */
const char *hear(void);
/* The next line begins with PREFIX. */
void expect(const char *prefix);
/* Says COMMAND and its line end, and expects. */
void ask(const char *command, const char *prefix);
void expect_end(void);
void expect_silence(void);
/* The reply to LHLO with these lines (NULL ends them) before its last. */
void expect_lhlo(const char *const *extensions);
/* Connects and says LHLO; MAIL and RCPTs that are accepted (NULL ends them). */
void greet(void);
void begin(const char *const *recipients);
void quit(void);

/* NAMES may be NULL. */
void list_files(const char *mailbox, const char *folder, struct buf names[], int *count_r);
int count_files(const char *mailbox, const char *folder);
void read_file(const char *path, struct buf *out);
/* The one message of a folder holds exactly these bytes, and its name says so; it is removed. */
void assert_stored(const char *mailbox, const char *folder, const void *data, size_t len);
void assert_stored_text(const char *mailbox, const char *folder, const char *text);
/* Neither for alice nor for bob. */
void assert_nothing_stored(void);

#endif
