/*
 * test_session_login - LMTP over TCP: STARTTLS, and AUTH with the real libsasl2 and our plugin
 *
 * libsasl is started once in a process, so each test (which libcheck forks) has its own.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <check.h>
#include <dlfcn.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <sasl/sasl.h>
#include <sasl/saslutil.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/deadline.h"
#include "common/smtp_line.h"
#include "tests/unit/lmtp_peer.h"

#define XFORWARD "250-XFORWARD NAME ADDR PROTO HELO SOURCE PORT IDENT"
#define TCP      "listen = 127.0.0.1:0\nauth_users = postfix@example.com other@example.com\n"

static char plugins[128], certificate[128], key[128];

static const char *const alice[] = {"alice@example.com", NULL};

static void make_certificate(void)
{
	EVP_PKEY *pkey = EVP_EC_gen("P-256");
	X509 *x509 = X509_new();
	FILE *out = fopen(certificate, "w");

	ck_assert(pkey && x509 && out);
	ck_assert_int_eq(ASN1_INTEGER_set(X509_get_serialNumber(x509), 1), 1);
	X509_gmtime_adj(X509_getm_notBefore(x509), 0);
	X509_gmtime_adj(X509_getm_notAfter(x509), 3600);
	ck_assert_int_eq(X509_set_pubkey(x509, pkey), 1);
	ck_assert_int_gt(X509_sign(x509, pkey, EVP_sha256()), 0);
	ck_assert_int_eq(PEM_write_X509(out, x509), 1);
	ck_assert_int_eq(fclose(out), 0);
	out = fopen(key, "w");
	ck_assert_ptr_nonnull(out);
	ck_assert_int_eq(PEM_write_PrivateKey(out, pkey, NULL, NULL, 0, NULL, NULL), 1);
	ck_assert_int_eq(fclose(out), 0);
	ck_assert_int_eq(chmod(key, 0600), 0);
	X509_free(x509);
	EVP_PKEY_free(pkey);
}

static void link_plugin(const char *target)
{
	char name[300];

	(void)snprintf(name, sizeof(name), "%s%s", plugins, strrchr(target, '/'));
	ck_assert_msg(access(target, R_OK) == 0, "%s is missing", target);
	ck_assert_int_eq(symlink(target, name), 0);
}

static void link_plugins(void)
{
	const char *top = getenv("POSTERN_TOP_BUILDDIR");
	char target[1024];
	Dl_info library;

	(void)snprintf(target, sizeof(target), "%s/sasl-auxprop-sql/.libs/postern.so",
		       top ? top : ".");
	link_plugin(target);
	ck_assert_int_ne(dladdr((void *)(uintptr_t)sasl_server_init, &library), 0);
	(void)snprintf(target, sizeof(target), "%.*s/sasl2/libscram.so",
		       (int)(strrchr(library.dli_fname, '/') - library.dli_fname),
		       library.dli_fname);
	link_plugin(target);
	*strrchr(target, '/') = '\0';
	(void)strcat(target, "/libplain.so"); /* as well as our own of that name */
	link_plugin(target);
}

static void setup_tcp(void)
{
	char path[300];
	FILE *conf;

	setup();
	(void)signal(SIGPIPE, SIG_IGN);
	mailhost_sql(&host, "INSERT INTO t_mailbox (address, path) VALUES"
			    "  ('postfix@example.com', 'p/'), ('intruder@example.com', 'i/');"
			    "INSERT INTO t_secret VALUES ('postfix@example.com', '{PLAIN}secret'),"
			    "  ('intruder@example.com', '{PLAIN}secret')");
	(void)snprintf(plugins, sizeof(plugins), "%s/mail/sasl", host.folder);
	(void)snprintf(certificate, sizeof(certificate), "%s/mail/certificate.pem", host.folder);
	(void)snprintf(key, sizeof(key), "%s/mail/key.pem", host.folder);
	ck_assert_int_eq(mkdir(plugins, 0700), 0);
	link_plugins();
	make_certificate();
	(void)snprintf(path, sizeof(path), "%s/lmtp.conf", plugins);
	conf = fopen(path, "w");
	ck_assert_ptr_nonnull(conf);
	ck_assert_int_gt(fprintf(conf, "auxprop_plugin: postern\npostern_config: %s\n", host.file),
			 0);
	ck_assert_int_eq(fclose(conf), 0);
	ck_assert_int_eq(setenv("SASL_PATH", plugins, 1), 0);
	ck_assert_int_eq(setenv("SASL_CONF_PATH", plugins, 1), 0);
}

/* TCP with our certificate, and more lines. */
static void configure_tls(const char *more)
{
	char lines[600];

	(void)snprintf(lines, sizeof(lines), TCP "tls_certificate = %s\ntls_key = %s\n%s",
		       certificate, key, more);
	configure(lines);
}

static void lhlo(const char *const *extensions)
{
	say("LHLO client.test\r\n");
	expect_lhlo(extensions);
}

static const char *const offers_plain[] = {"250-STARTTLS", "250-AUTH SCRAM-SHA-256 SCRAM-SHA-1",
					   XFORWARD, NULL};
static const char *const offers_tls[] = {"250-AUTH SCRAM-SHA-256 SCRAM-SHA-1 PLAIN LOGIN", XFORWARD,
					 NULL};

static void connect_tls(void)
{
	connect_tcp();
	expect("220 ");
	ask("STARTTLS", "220 2.0.0");
	start_tls();
	lhlo(offers_tls);
}

static void ask_plain(const char *authzid, const char *user, const char *password,
		      const char *reply)
{
	char text[300], encoded[500], command[600];
	int len = snprintf(text, sizeof(text), "%s%c%s%c%s", authzid, 0, user, 0, password);

	ck_assert_int_eq(sasl_encode64(text, (unsigned)len, encoded, sizeof(encoded), NULL),
			 SASL_OK);
	(void)snprintf(command, sizeof(command), "AUTH PLAIN %s", encoded);
	ask(command, reply);
}

START_TEST(test_offers)
{
	static const char *const authenticated[] = {
		"250-AUTH SCRAM-SHA-256 SCRAM-SHA-1 PLAIN LOGIN", XFORWARD, NULL};
	static const char *const trusting[] = {XFORWARD, NULL};
	static const char *const requiring[] = {"250-STARTTLS", XFORWARD, NULL};

	configure_tls("");
	connect_tcp();
	expect("220 ");
	lhlo(offers_plain);
	ask("MAIL FROM:<a@b>", "454 4.7.0");
	ask("RCPT TO:<alice@example.com>", "454 4.7.0");
	ask("VRFY alice", "454 4.7.0");
	ask("XFORWARD IDENT=x", "454 4.7.0");
	ask("DATA", "503");
	say("BDAT 6\r\nQUIT\r\nBDAT 6 LAST\r\nQUIT\r\n");
	expect("503");
	quit();
	connect_tls();
	ask_plain("", "postfix@example.com", "secret", "235 2.7.0");
	lhlo(authenticated);
	quit();
	/* On a Unix socket nothing of it. */
	greet();
	ask("STARTTLS", "502 5.5.1");
	ask("AUTH PLAIN", "502 5.5.1");
	quit();

	configure("listen = 127.0.0.1:0\nauth = off\n");
	connect_tcp();
	expect("220 ");
	lhlo(trusting);
	ask("AUTH PLAIN", "502 5.5.1");
	ask("STARTTLS", "502 5.5.1");
	begin(alice);
	quit();

	configure_tls("tls = require\n");
	connect_tcp();
	expect("220 ");
	lhlo(requiring);
	ask("NOOP", "250");
	ask("AUTH SCRAM-SHA-256", "454 4.7.0");
	ask("MAIL FROM:<a@b>", "454 4.7.0");
	ask("XFORWARD IDENT=x", "454 4.7.0");
	ask("STARTTLS now", "501 5.5.4");
	ask("STARTTLS", "220");
	start_tls();
	lhlo(offers_tls);
	ask("STARTTLS", "503 5.5.1");
	ask("MAIL FROM:<a@b>", "454 4.7.0");
	quit();
}
END_TEST

/* What came in plain text behind STARTTLS is never carried out, what came before is forgotten. */
START_TEST(test_injection)
{
	configure_tls("auth = off\n");
	connect_tcp();
	expect("220 ");
	ask("LHLO client.test", "250-");
	for (int i = 0; i < 8; i++)
		expect("250");
	begin(alice);
	say("STARTTLS\r\nNOOP\r\nDATA\r\nA: b\r\n.\r\nRSET\r\n");
	expect("220 2.0.0");
	start_tls();
	ask("DATA", "503 5.5.1");
	ask("MAIL FROM:<a@b>", "503 5.5.1"); /* LHLO was forgotten, too */
	say("LHLO client.test\r\nMAIL FROM:<a@b>\r\nRCPT TO:<alice@example.com>\r\n"
	    "BDAT 6 LAST\r\nA: b\r\nQUIT\r\n");
	for (int i = 0; i < 11; i++)
		expect("250");
	expect("221");
	expect_end();
	disconnect();
	ck_assert_int_eq(count_files("example.com/alice", "new"), 1);
}
END_TEST

/* A client that speaks no TLS after all. */
START_TEST(test_failed_handshake)
{
	configure_tls("");
	connect_tcp();
	expect("220 ");
	ask("STARTTLS", "220 2.0.0");
	say("LHLO client.test\r\nMAIL FROM:<a@b>\r\n");
	while (*hear())
		; /* an alert, which is no line */
	disconnect();
	ck_assert_ptr_nonnull(strstr(buf_str(&log_lines), "TLS handshake failed"));
}
END_TEST

START_TEST(test_plain)
{
	configure_tls("received = yes\n");
	connect_tls();
	ask("AUTH", "501 5.5.4");
	ask("AUTH CRAM-MD5", "504 5.5.4");
	ask("AUTH EXTERNAL =", "504 5.5.4");
	ask("AUTH ANONYMOUS =", "504 5.5.4");
	ask("AUTH THIS-IS-A-VERY-LONG-NAME", "504 5.5.4");
	ask("AUTH PLAIN !!!", "501 5.5.2");
	ask("AUTH PLAIN =", "501 5.5.2"); /* empty: not what PLAIN says */
	ask("AUTH PLAIN", "334 ");
	ask("*", "501 5.7.0");
	ask_plain("", "postfix@example.com", "wrong", "535 5.7.8");
	ask_plain("alice@example.com", "postfix@example.com", "secret", "535 5.7.8");
	ask("AUTH PLAIN", "334 ");
	ask("AHBvc3RmaXhAZXhhbXBsZS5jb20Ac2VjcmV0", "235 2.7.0");
	ask_plain("", "postfix@example.com", "secret", "503 5.5.1"); /* twice */
	begin(alice);
	ask("AUTH PLAIN", "503 5.5.1");
	say("BDAT 6 LAST\r\nA: b\r\n");
	expect("250 2.0.0 <alice@example.com>");
	quit();
	ck_assert_ptr_null(strstr(buf_str(&log_lines), "secret"));
	ck_assert_ptr_nonnull(strstr(buf_str(&log_lines), "login refused peer=127.0.0.1:4711 "));
	ck_assert_ptr_nonnull(strstr(buf_str(&log_lines),
				     "logged in peer=127.0.0.1:4711 user=<postfix@example.com>"));
	{
		struct buf names[1] = {BUF_INIT}, content = BUF_INIT;
		int count;

		list_files("example.com/alice", "new", names, &count);
		read_file(buf_str(&names[0]), &content);
		ck_assert_ptr_nonnull(strstr(buf_str(&content), " with LMTPSA id "));
		buf_free(&names[0]);
		buf_free(&content);
	}
	/* Not within a transaction, which needs no login when none is required. */
	connect_tcp();
	expect("220 ");
	ask("AUTH PLAIN", "503 5.5.1"); /* before LHLO */
	lhlo(offers_plain);
	ask_plain("", "postfix@example.com", "secret", "504 5.5.4"); /* without TLS */
	ask("AUTH LOGIN", "504 5.5.4");
	quit();
}
END_TEST

START_TEST(test_who)
{
	configure_tls("");
	connect_tls();
	ask_plain("", "intruder@example.com", "secret", "535 5.7.8");
	ask("MAIL FROM:<a@b>", "454");
	ask_plain("", "nobody@example.com", "secret", "535 5.7.8");
	ask_plain("", "Postfix@Example.com", "secret", "235");
	quit();
	ck_assert_ptr_nonnull(strstr(buf_str(&log_lines), "user=<intruder@example.com> "
							  "reason=<not one of [lmtp] auth_users>"));
	connect_tls();
	ask_plain("", "postfix@example.com", "", "535");
	ask_plain("", "postfix@example.com", "x", "535");
	ask_plain("", "postfix@example.com", "y", "535");
	expect("421 4.7.0");
	expect_end();
	disconnect();
}
END_TEST

START_TEST(test_login)
{
	configure_tls("");
	connect_tls();
	ask("AUTH LOGIN", "334 ");
	ask("cG9zdGZpeEBleGFtcGxlLmNvbQ==", "334 ");
	ask("*", "501 5.7.0");
	ask("AUTH LOGIN", "334 ");
	ask("cG9zdGZpeEBleGFtcGxlLmNvbQ==", "334 ");
	ask("d3Jvbmc=", "535 5.7.8");
	ask("AUTH login cG9zdGZpeEBleGFtcGxlLmNvbQ==", "334 ");
	ask("c2VjcmV0", "235 2.7.0");
	begin(alice);
	quit();
}
END_TEST

/* Long responses, up to and over the limit, and nothing of them becomes a command. */
START_TEST(test_long_responses)
{
	static char response[SMTP_AUTH_LINE_MAX + 100];

	configure_tls("");
	connect_tls();
	memset(response, 'A', sizeof(response));
	ask("AUTH PLAIN", "334 ");
	send_bytes(response, SMTP_AUTH_LINE_MAX - 4);
	say("\r\n");
	expect("5"); /* too long for PLAIN, but a line */
	ask("AUTH PLAIN", "334 ");
	send_bytes(response, SMTP_AUTH_LINE_MAX);
	say("\r\n");
	expect("500 5.5.6");
	say("AUTH PLAIN ");
	send_bytes(response, SMTP_AUTH_LINE_MAX - 100);
	say("\r\n");
	expect("5");
	say("AUTH PLAIN ");
	send_bytes(response, SMTP_AUTH_LINE_MAX);
	say("\r\n");
	expect("500 5.5.2");
	ask("NOOP", "250");
	quit();
}
END_TEST

/* The database is away: that is never a wrong password. */
START_TEST(test_trouble)
{
	char away[200];

	configure_tls("");
	(void)snprintf(away, sizeof(away), "%s.away", host.database);
	connect_tls();
	ck_assert_int_eq(rename(host.database, away), 0);
	ask_plain("", "postfix@example.com", "secret", "454 4.7.0");
	ask_plain("", "postfix@example.com", "wrong", "454 4.7.0");
	ck_assert_int_eq(rename(away, host.database), 0);
	/* The handle may wait a little before it tries again. */
	for (const struct deadline end = deadline_in(30000);;) {
		const struct timespec pause = {0, 10000000};
		char line[4];

		say("AUTH PLAIN AHBvc3RmaXhAZXhhbXBsZS5jb20Ac2VjcmV0\r\n");
		(void)snprintf(line, sizeof(line), "%s", hear());
		if (strcmp(line, "235") == 0)
			break;
		ck_assert_str_eq(line, "454");
		ck_assert(!deadline_passed(end));
		(void)nanosleep(&pause, NULL);
	}
	begin(alice);
	quit();
}
END_TEST

static int client_user(void *context, int id, const char **result, unsigned *len)
{
	(void)context;
	(void)id;
	*result = "postfix@example.com";
	if (len)
		*len = (unsigned)strlen(*result);
	return SASL_OK;
}

static int client_password(sasl_conn_t *conn, void *context, int id, sasl_secret_t **secret)
{
	static union {
		sasl_secret_t secret;
		char room[64];
	} password;

	(void)conn;
	(void)id;
	password.secret.len = strlen(context);
	memcpy(password.secret.data, context, strlen(context) + 1);
	*secret = &password.secret;
	return SASL_OK;
}

/* SCRAM by libsasl's own client; outside TLS. Leaves the server's last word to be heard. */
static void scram(const char *mechanism, const char *password)
{
	typedef int callback(void);
	sasl_callback_t callbacks[] = {
		{SASL_CB_USER, (callback *)(void (*)(void))client_user, NULL},
		{SASL_CB_AUTHNAME, (callback *)(void (*)(void))client_user, NULL},
		{SASL_CB_PASS, (callback *)(void (*)(void))client_password,
		 (void *)(uintptr_t)password},
		{SASL_CB_LIST_END, NULL, NULL},
	};
	sasl_conn_t *client;
	const char *out, *used;
	char encoded[4096], challenge[4096];
	unsigned len;

	ck_assert_int_eq(
		sasl_client_new("lmtp", "mx.example.test", NULL, NULL, callbacks, 0, &client),
		SASL_OK);
	ck_assert_int_eq(sasl_client_start(client, mechanism, NULL, &out, &len, &used),
			 SASL_CONTINUE);
	ck_assert_int_eq(sasl_encode64(out, len, encoded, sizeof(encoded), NULL), SASL_OK);
	say("AUTH ");
	say(mechanism);
	say(" ");
	say(encoded);
	say("\r\n");
	for (;;) {
		const char *line = hear();

		if (strncmp(line, "334 ", 4) != 0) {
			ck_assert_int_eq(
				strncmp(line, strcmp(password, "secret") ? "535 5.7.8" : "235", 3),
				0);
			break;
		}
		ck_assert_int_eq(sasl_decode64(line + 4, (unsigned)strlen(line) - 4, challenge,
					       sizeof(challenge), &len),
				 SASL_OK);
		ck_assert_int_ge(sasl_client_step(client, challenge, len, NULL, &out, &len),
				 SASL_OK);
		ck_assert_int_eq(sasl_encode64(out, len, encoded, sizeof(encoded), NULL), SASL_OK);
		say(encoded);
		say("\r\n");
	}
	sasl_dispose(&client);
}

START_TEST(test_scram)
{
	configure_tls("");
	ck_assert_int_eq(sasl_client_init(NULL), SASL_OK);
	connect_tcp();
	expect("220 ");
	lhlo(offers_plain);
	scram("SCRAM-SHA-256", "wrong");
	scram("SCRAM-SHA-1", "secret");
	begin(alice);
	quit();
	connect_tls();
	scram("SCRAM-SHA-256", "secret");
	begin(alice);
	quit();
	configure_tls("auth_mechanisms = PLAIN\n");
	connect_tcp();
	expect("220 ");
	ask("LHLO x", "250-");
	for (int i = 0; i < 8; i++)
		ck_assert_ptr_null(strstr(hear(), "AUTH"));
	ask("AUTH SCRAM-SHA-256", "504 5.5.4");
	quit();
}
END_TEST

START_TEST(test_settings)
{
	static const struct {
		const char *lmtp, *part;
	} table[] = {
		{"listen = 127.0.0.1:0", "auth_users"},
		{"listen = /run/x [::1]:24", "auth_users"},
		{"listen = 127.0.0.1:0\nauth = off\ntls = require", "tls_certificate"},
		{"tls_key = /x", "tls_certificate"},
		{"tls_certificate = /nonexistent/c", "/nonexistent/c"},
		{"listen = x", "listen"},
	};
	struct session_state *other = NULL;
	char ini[600];

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		(void)snprintf(ini, sizeof(ini), "[lmtp]\n%s\n", table[i].lmtp);
		mailhost_configure(&host, ini);
		ck_assert_int_eq(session_state_open(&host.settings, &other, &err), RESULT_PERM);
		ck_assert_msg(strstr(err.text, table[i].part), "%s", err.text);
		ck_assert_ptr_null(other);
	}
	mailhost_configure(&host, "[lmtp]\ntls = require\n"); /* no TCP: no need */
	ck_assert_int_eq(session_state_open(&host.settings, &other, &err), RESULT_FOUND);
	session_state_free(&other);
	/* A lmtp.conf that libsasl cannot read. */
	(void)snprintf(ini, sizeof(ini), "echo 'bad key:' > %s/lmtp.conf", plugins);
	ck_assert_int_eq(system(ini), 0);
	mailhost_configure(&host, "[lmtp]\n" TCP);
	ck_assert_int_eq(session_state_open(&host.settings, &other, &err), RESULT_PERM);
	ck_assert_msg(strstr(err.text, "lmtp.conf"), "%s", err.text);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("session_login");
	TCase *tests = tcase_create("tcp");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tests, setup_tcp, teardown);
	tcase_set_timeout(tests, 120);
	tcase_add_test(tests, test_offers);
	tcase_add_test(tests, test_injection);
	tcase_add_test(tests, test_failed_handshake);
	tcase_add_test(tests, test_plain);
	tcase_add_test(tests, test_who);
	tcase_add_test(tests, test_login);
	tcase_add_test(tests, test_long_responses);
	tcase_add_test(tests, test_trouble);
	tcase_add_test(tests, test_scram);
	tcase_add_test(tests, test_settings);
	suite_add_tcase(suite, tests);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
