/*
 * TLS for the server side of TCP endpoints (LMTP STARTTLS), over OpenSSL. The context is made from
 * files at start and at reload; a session wraps a socket and reads and writes with deadlines.
 */
#ifndef POSTERN_TLS_H
#define POSTERN_TLS_H

#include "common/io.h"

struct tls_context;
struct tls_session;

/* PERM names the file and what is wrong with it. TLS 1.2 or newer. */
enum result tls_context_open(const char *certificate_file, const char *key_file,
			     struct tls_context **context_r, struct error *err) MUST_CHECK;
void tls_context_free(struct tls_context **context);
/* Handshake as server. TEMP: the peer failed or the deadline passed. FD stays the caller's. */
enum result tls_accept(struct tls_context *context, int fd, struct deadline deadline,
		       struct tls_session **session_r, struct error *err) MUST_CHECK;
void tls_session_free(struct tls_session **session);
enum io_result tls_read(struct tls_session *session, struct buf *buf, size_t max,
			struct deadline deadline) MUST_CHECK;
enum io_result tls_write(struct tls_session *session, const void *data, size_t len,
			 struct deadline deadline) MUST_CHECK;
/* "TLSv1.3 TLS_AES_256_GCM_SHA384", for logs. */
const char *tls_description(const struct tls_session *session);

#endif
