/*
 * test_tls - certificates that load and such that do not, and sessions against OpenSSL's client
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <check.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/tls.h"

static char folder[64], certificate[80], key[80], other_key[80];

static void write_key(const char *path, EVP_PKEY *pkey)
{
	FILE *out = fopen(path, "w");
	ck_assert_ptr_nonnull(out);
	ck_assert_int_eq(PEM_write_PrivateKey(out, pkey, NULL, NULL, 0, NULL, NULL), 1);
	fclose(out);
	chmod(path, 0600);
}

static void write_certificate(EVP_PKEY *pkey)
{
	X509 *x509 = X509_new();
	ASN1_INTEGER_set(X509_get_serialNumber(x509), 1);
	X509_gmtime_adj(X509_getm_notBefore(x509), 0);
	X509_gmtime_adj(X509_getm_notAfter(x509), 3600);
	X509_set_pubkey(x509, pkey);
	X509_NAME *name = X509_get_subject_name(x509);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"mail.test", -1,
				   -1, 0);
	X509_set_issuer_name(x509, name);
	ck_assert_int_gt(X509_sign(x509, pkey, EVP_sha256()), 0);
	FILE *out = fopen(certificate, "w");
	ck_assert_ptr_nonnull(out);
	ck_assert_int_eq(PEM_write_X509(out, x509), 1);
	fclose(out);
	X509_free(x509);
}

static void setup(void)
{
	signal(SIGPIPE, SIG_IGN);
	strcpy(folder, "/tmp/test_tls.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
	snprintf(certificate, sizeof(certificate), "%s/c.pem", folder);
	snprintf(key, sizeof(key), "%s/k.pem", folder);
	snprintf(other_key, sizeof(other_key), "%s/o.pem", folder);
	EVP_PKEY *pkey = EVP_EC_gen("P-256"), *other = EVP_EC_gen("P-256");
	write_key(key, pkey);
	write_key(other_key, other);
	write_certificate(pkey);
	EVP_PKEY_free(pkey);
	EVP_PKEY_free(other);
}

static void teardown(void)
{
	unlink(certificate);
	unlink(key);
	unlink(other_key);
	rmdir(folder);
}

static struct tls_context *open_context(void)
{
	struct tls_context *context;
	struct error err = {""};
	ck_assert_msg(tls_context_open(certificate, key, &context, &err) == RESULT_FOUND, "%s",
		      err.text);
	return context;
}

START_TEST(test_context)
{
	struct tls_context *context = open_context();
	struct error err = {""};
	tls_context_free(&context);
	ck_assert_ptr_null(context);
	ck_assert_int_eq(tls_context_open("/nonexistent/c", key, &context, &err), RESULT_PERM);
	ck_assert_ptr_nonnull(strstr(err.text, "/nonexistent/c"));
	ck_assert_ptr_null(context);
	ck_assert_int_eq(tls_context_open(certificate, "/nonexistent/k", &context, &err),
			 RESULT_PERM);
	ck_assert_ptr_nonnull(strstr(err.text, "/nonexistent/k"));
	ck_assert_int_eq(tls_context_open(certificate, other_key, &context, &err), RESULT_PERM);
	ck_assert_ptr_nonnull(strstr(err.text, other_key));
	ck_assert_int_eq(tls_context_open(key, key, &context, &err), RESULT_PERM);
	ck_assert_int_eq(tls_context_open(certificate, certificate, &context, &err), RESULT_PERM);
	chmod(key, 0644);
	ck_assert_int_eq(tls_context_open(certificate, key, &context, &err), RESULT_PERM);
	ck_assert_ptr_nonnull(strstr(err.text, "chmod"));
	ck_assert_int_eq(tls_context_open(certificate, folder, &context, &err), RESULT_PERM);
}
END_TEST

#define BULK 3000000

struct peer {
	int fd;
	int max_version;
	bool ok;
};

/* Says "hello", reads everything up to BULK bytes, says goodbye. */
static void *client_main(void *argument)
{
	struct peer *peer = argument;
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());
	SSL_CTX_set_max_proto_version(context, peer->max_version);
	if (peer->max_version < TLS1_2_VERSION) {
		SSL_CTX_set_min_proto_version(context, peer->max_version);
		SSL_CTX_set_security_level(context, 0);
	}
	SSL *ssl = SSL_new(context);
	SSL_set_fd(ssl, peer->fd);
	peer->ok = SSL_connect(ssl) == 1 && SSL_write(ssl, "hello", 5) == 5;
	static char data[65536];
	size_t total = 0;
	while (peer->ok && total < BULK) {
		int got = SSL_read(ssl, data, sizeof(data));
		peer->ok = got > 0;
		for (int i = 0; i < got; i++)
			if (data[i] != (char)((total + (size_t)i) * 31 >> 3))
				peer->ok = false;
		total += got > 0 ? (size_t)got : 0;
	}
	if (peer->ok)
		SSL_shutdown(ssl);
	SSL_free(ssl);
	SSL_CTX_free(context);
	shutdown(peer->fd, SHUT_WR);
	return NULL;
}

static void talk(struct tls_session *session)
{
	struct buf in = BUF_INIT;
	char *data = malloc(BULK);
	while (in.len < 5)
		ck_assert_int_eq(tls_read(session, &in, 3, deadline_in(20000)), IO_OK);
	ck_assert_str_eq(buf_str(&in), "hello");
	ck_assert_int_eq(tls_read(session, &in, 3, deadline_in(20)), IO_TIMEOUT);
	for (size_t i = 0; i < BULK; i++)
		data[i] = (char)(i * 31 >> 3);
	ck_assert_int_eq(tls_write(session, data, BULK, deadline_in(20000)), IO_OK);
	ck_assert_int_eq(tls_read(session, &in, 3, deadline_in(20000)), IO_EOF);
	free(data);
	buf_free(&in);
}

/* TLS 1.3, TLS 1.2, and TLS 1.1, which is refused. */
START_TEST(test_session)
{
	static const int versions[] = {TLS1_3_VERSION, TLS1_2_VERSION, TLS1_1_VERSION};
	struct tls_context *context = open_context();
	struct tls_session *session;
	struct error err = {""};
	pthread_t thread;
	int pair[2];
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	struct peer peer = {.fd = pair[1], .max_version = versions[_i]};
	ck_assert_int_eq(pthread_create(&thread, NULL, client_main, &peer), 0);
	enum result result = tls_accept(context, pair[0], deadline_in(20000), &session, &err);
	if (_i == 2) {
		ck_assert_int_eq(result, RESULT_TEMP);
		ck_assert_ptr_null(session);
		ck_assert_ptr_nonnull(strstr(err.text, "TLS handshake failed"));
	} else {
		ck_assert_msg(result == RESULT_FOUND, "%s", err.text);
		ck_assert_ptr_nonnull(
			strstr(tls_description(session), _i == 0 ? "TLSv1.3 " : "TLSv1.2 "));
		talk(session);
		tls_session_free(&session);
		ck_assert_ptr_null(session);
	}
	close(pair[0]);
	pthread_join(thread, NULL);
	ck_assert_int_eq(peer.ok, _i != 2);
	close(pair[1]);
	tls_context_free(&context);
}
END_TEST

START_TEST(test_bad_peers)
{
	struct tls_context *context = open_context();
	struct tls_session *session;
	struct error err = {""};
	int pair[2];
	/* One that says nothing. */
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	ck_assert_int_eq(tls_accept(context, pair[0], deadline_in(30), &session, &err),
			 RESULT_TEMP);
	ck_assert_ptr_nonnull(strstr(err.text, io_result_name(IO_TIMEOUT)));
	/* One that speaks something else. */
	ck_assert_int_eq(write(pair[1], "EHLO example.test\r\n", 19), 19);
	ck_assert_int_eq(tls_accept(context, pair[0], deadline_in(20000), &session, &err),
			 RESULT_TEMP);
	close(pair[0]);
	close(pair[1]);
	/* One that leaves. */
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	close(pair[1]);
	ck_assert_int_eq(tls_accept(context, pair[0], deadline_in(20000), &session, &err),
			 RESULT_TEMP);
	ck_assert_ptr_null(session);
	close(pair[0]);
	tls_context_free(&context);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("tls");
	TCase *tcase = tcase_create("tls");
	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, test_context);
	tcase_add_loop_test(tcase, test_session, 0, 3);
	tcase_add_test(tcase, test_bad_peers);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
