/*
 * One LMTP session (RFC 2033): a handler for serve.h that greets and keeps its worker until QUIT.
 */
#ifndef POSTERN_LMTP_SESSION_H
#define POSTERN_LMTP_SESSION_H

#include "common/result.h"
#include "common/schema.h"
#include "common/serve.h"
#include "common/settings.h"
#include "common/tls.h"

struct session_state { /* shared by all sessions, only read */
	const struct settings *settings;
	struct schema *schema;
	struct tls_context *tls; /* NULL: STARTTLS is not offered */
	char hostname[256];      /* in the greeting */
};

/* FOUND, TEMP or PERM (also [lmtp] settings that are not supported). SETTINGS must outlive it. */
enum result session_state_open(const struct settings *settings, struct session_state **state_r,
			       struct error *err) MUST_CHECK;
void session_state_free(struct session_state **state);

/* The worker state is a `struct accounts *`. A connection without an endpoint counts as local. */
extern const struct service session_service;

#endif
