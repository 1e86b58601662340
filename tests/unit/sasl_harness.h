/*
 * A mail host's SASL side in one process, for tests: a temporary folder with the built plugin
 * beside links to libsasl's own, configuration files and an SQLite database; the real libsasl2
 * server and client; what was logged; and how many statements SQLite ran.
 *
 * Any failure of the harness itself aborts the running test (ck_abort_msg).
 */
#ifndef POSTERN_SASL_HARNESS_H
#define POSTERN_SASL_HARNESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define HOST_CLIENT_FAILED (-1000) /* the client half could not go on */

struct host {
	char folder[64];   /* all below it; removed by host_free() */
	char database[96]; /* path */
	char ini[96];      /* path of postern.ini */
};

/* Makes the folder, the plugins, the database with domain example.test, and postern.ini. */
void host_make(struct host *host);
/* Whether the plugin is loaded before libsasl's own; after them unless this is called. */
void host_load_order(bool ours_first);
/* Stops the SASL library when it runs, and removes the folder. */
void host_free(struct host *host);

/* Runs SQL on the database. */
void host_sql(const struct host *host, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
void host_domain(const struct host *host, const char *domain);
/* A mailbox with this stored password; NULL stores SQL NULL where the column takes it. */
void host_mailbox(const struct host *host, const char *address, const char *stored);
/* Writes postern.ini: the database, then EXTRA. */
void host_write_ini(const struct host *host, const char *extra);
/* Writes APPLICATION.conf. %s-free text. */
void host_write_conf(const struct host *host, const char *application, const char *text);
/* "postern_config: PATH" and EXTRA, for the application "smtpd"; then starts it. */
void host_start_configured(const struct host *host, const char *extra);

void host_start(const struct host *host, const char *application);
void host_stop(void);

/* Log lines since the start with their level in front ("2 text\n"), WARN and above: host_logged. */
bool host_logged(const char *part);
/* Everything that was logged, up to a limit. */
const char *host_log(void);
void host_log_clear(void);
/* Statements run by every SQLite connection of this process since the last call. */
unsigned host_statements(void);

/* The server's mechanisms, blank separated and surrounded. */
const char *host_mechanisms(void);
/*
 * One login by the client's and the server's mechanism; AUTHZID may be NULL. SASL code of the
 * server. USER_R (may be NULL) gets the user name after success.
 */
int host_login(const char *mechanism, const char *login, const char *authzid, const char *password,
	       char *user_r, size_t size);
/* PLAIN, tried again for as long as the database is away, at most half a minute; the last code. */
int host_login_when_back(const char *login, const char *password);
/* The same without checks against the client: raw bytes. */
int host_plain(const char *message, size_t len);
/* LOGIN with the two answers given as bytes. */
int host_login_raw(const char *name, size_t name_len, const char *password, size_t password_len);
/* sasl_checkpass(): what an application with the password in its hands calls. */
int host_checkpass(const char *login, const char *password);

/* A path below the build folder, wherever the test was started: found by POSTERN_TOP_BUILDDIR or
 * beside the test program. */
void host_built(const char *name, char *path_r, size_t size);

#endif
