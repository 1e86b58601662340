/*
 * NAME
 *	tls - TLS for the server side, over OpenSSL
 *
 * DESCRIPTION
 *	The socket is made non-blocking and poll(2) does all waiting, so that a deadline holds in
 *	the middle of a handshake or record, too. A session belongs to one thread at a time.
 *
 *	OpenSSL writes with write(2): the program ignores SIGPIPE (daemon.c does).
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "common/tls.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define RECORD_BYTES 16384

struct tls_context {
	SSL_CTX *ssl;
};

struct tls_session {
	SSL *ssl;
	int fd;
	char description[80];
};

/* The oldest queued reason, and an empty queue. */
static const char *ssl_reason(void)
{
	unsigned long code = ERR_get_error();
	const char *reason = code ? ERR_reason_error_string(code) : NULL;
	if (ERR_SYSTEM_ERROR(code))
		reason = strerror(ERR_GET_REASON(code)); /* "Permission denied" */
	ERR_clear_error();
	return reason ? reason : "unknown reason";
}

static enum result check_key_file(const char *file, struct error *err)
{
	struct stat st;
	if (stat(file, &st) != 0)
		return result_error(err, RESULT_PERM, "%s: %s", file, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return result_error(err, RESULT_PERM, "%s: is not a regular file", file);
	if (st.st_mode & S_IROTH)
		return result_error(err, RESULT_PERM,
				    "%s: holds a private key and every user can read it; run: "
				    "chmod o-rwx %s",
				    file, file);
	return RESULT_FOUND;
}

static enum result fill_context(SSL_CTX *ssl, const char *certificate_file, const char *key_file,
				struct error *err)
{
	ERR_clear_error();
	SSL_CTX_set_mode(ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
				      SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_options(ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
					 SSL_OP_IGNORE_UNEXPECTED_EOF);
	if (SSL_CTX_set_min_proto_version(ssl, TLS1_2_VERSION) != 1)
		return result_error(err, RESULT_PERM, "OpenSSL refuses TLS 1.2: %s", ssl_reason());
	if (SSL_CTX_use_certificate_chain_file(ssl, certificate_file) != 1)
		return result_error(err, RESULT_PERM, "%s: no usable certificate: %s",
				    certificate_file, ssl_reason());
	enum result result = check_key_file(key_file, err);
	if (result != RESULT_FOUND)
		return result;
	/* A mismatch is found here, too, because the certificate is loaded. */
	if (SSL_CTX_use_PrivateKey_file(ssl, key_file, SSL_FILETYPE_PEM) != 1)
		return result_error(err, RESULT_PERM, "%s: no usable private key for %s: %s",
				    key_file, certificate_file, ssl_reason());
	return RESULT_FOUND;
}

enum result tls_context_open(const char *certificate_file, const char *key_file,
			     struct tls_context **context_r, struct error *err)
{
	*context_r = NULL;
	struct tls_context *context = calloc(1, sizeof(*context));
	SSL_CTX *ssl = SSL_CTX_new(TLS_server_method());
	if (context == NULL || ssl == NULL) {
		free(context);
		SSL_CTX_free(ssl);
		return result_error(err, RESULT_TEMP, "out of memory");
	}
	context->ssl = ssl;
	enum result result = fill_context(ssl, certificate_file, key_file, err);
	if (result != RESULT_FOUND)
		tls_context_free(&context);
	*context_r = context;
	return result;
}

void tls_context_free(struct tls_context **context)
{
	if (*context == NULL)
		return;
	SSL_CTX_free((*context)->ssl);
	free(*context);
	*context = NULL;
}

/*
 * After a call that returned CODE <= 0: IO_AGAIN when the socket is ready to try again, else the
 * end of it.
 */
static enum io_result wait_for_ssl(struct tls_session *session, int code, struct deadline deadline)
{
	int why = SSL_get_error(session->ssl, code);
	if (why == SSL_ERROR_ZERO_RETURN)
		return IO_EOF;
	if (why == SSL_ERROR_SYSCALL)
		return errno == 0 || errno == ECONNRESET || errno == EPIPE ? IO_EOF : IO_FAILED;
	if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE) {
		errno = EPROTO;
		return IO_FAILED;
	}
	struct pollfd poller = {.fd = session->fd,
				.events = why == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT};
	for (;;) {
		int ready = poll(&poller, 1, deadline_left_ms(deadline));
		if (ready > 0)
			return IO_AGAIN;
		if (ready < 0 && errno != EINTR)
			return IO_FAILED;
		if (deadline_passed(deadline))
			return IO_TIMEOUT;
	}
}

static enum io_result handshake(struct tls_session *session, struct deadline deadline)
{
	for (;;) {
		ERR_clear_error();
		errno = 0;
		int code = SSL_accept(session->ssl);
		if (code == 1)
			return IO_OK;
		enum io_result result = wait_for_ssl(session, code, deadline);
		if (result != IO_AGAIN)
			return result;
		if (deadline_passed(deadline))
			return IO_TIMEOUT;
	}
}

enum result tls_accept(struct tls_context *context, int fd, struct deadline deadline,
		       struct tls_session **session_r, struct error *err)
{
	*session_r = NULL;
	int flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0)
		return result_error(err, RESULT_TEMP, "TLS: %s", strerror(errno));
	struct tls_session *session = calloc(1, sizeof(*session));
	if (session == NULL)
		return result_error(err, RESULT_TEMP, "out of memory");
	session->fd = fd;
	session->ssl = SSL_new(context->ssl);
	if (session->ssl == NULL || SSL_set_fd(session->ssl, fd) != 1) {
		tls_session_free(&session);
		return result_error(err, RESULT_TEMP, "TLS: %s", ssl_reason());
	}
	enum io_result io = handshake(session, deadline);
	if (io != IO_OK) {
		error_set(err, "TLS handshake failed: %s",
			  io == IO_FAILED ? ssl_reason() : io_result_name(io));
		tls_session_free(&session);
		return RESULT_TEMP;
	}
	snprintf(session->description, sizeof(session->description), "%s %s",
		 SSL_get_version(session->ssl), SSL_get_cipher_name(session->ssl));
	*session_r = session;
	return RESULT_FOUND;
}

void tls_session_free(struct tls_session **session)
{
	if (*session == NULL)
		return;
	/* Says goodbye if that needs no waiting; the peer must not rely on it. */
	if ((*session)->ssl != NULL && SSL_is_init_finished((*session)->ssl))
		SSL_shutdown((*session)->ssl);
	SSL_free((*session)->ssl);
	ERR_clear_error();
	free(*session);
	*session = NULL;
}

enum io_result tls_read(struct tls_session *session, struct buf *buf, size_t max,
			struct deadline deadline)
{
	size_t want = max < RECORD_BYTES ? max : RECORD_BYTES;
	char *room = buf_reserve(buf, want);
	if (room == NULL) {
		errno = ENOMEM;
		return IO_FAILED;
	}
	for (;;) {
		ERR_clear_error();
		errno = 0;
		int got = SSL_read(session->ssl, room, (int)want);
		if (got > 0) {
			buf_added(buf, (size_t)got);
			return IO_OK;
		}
		enum io_result result = wait_for_ssl(session, got, deadline);
		if (result != IO_AGAIN)
			return result;
		if (deadline_passed(deadline))
			return IO_TIMEOUT;
	}
}

enum io_result tls_write(struct tls_session *session, const void *data, size_t len,
			 struct deadline deadline)
{
	const char *rest = data;
	while (len > 0) {
		ERR_clear_error();
		errno = 0;
		int put = SSL_write(session->ssl, rest, len > INT_MAX ? INT_MAX : (int)len);
		if (put > 0) {
			rest += put;
			len -= (size_t)put;
			continue;
		}
		enum io_result result = wait_for_ssl(session, put, deadline);
		if (result != IO_AGAIN)
			return result;
		if (deadline_passed(deadline))
			return IO_TIMEOUT;
	}
	return IO_OK;
}

const char *tls_description(const struct tls_session *session)
{
	return session->description;
}
