/*
 * One question to a map, and the answers of the maps that copy and route mail: for maps.c, which
 * checks key and answer of them all.
 */
#ifndef POSTERN_MAPS_ROUTES_H
#define POSTERN_MAPS_ROUTES_H

#include "common/resolve.h"

struct question {
	struct accounts *accounts;
	const struct settings *settings;
	const char *key; /* address_key_ok() */
	size_t len;
	struct trace *trace;
};

/* FOUND: the answer is appended to ANSWER_R, a BUF_SECRET. */
enum result recipient_bcc_maps(const struct question *q, struct buf *answer_r,
			       struct error *err) MUST_CHECK;
enum result sender_bcc_maps(const struct question *q, struct buf *answer_r,
			    struct error *err) MUST_CHECK;
enum result sender_dependent_relayhost_maps(const struct question *q, struct buf *answer_r,
					    struct error *err) MUST_CHECK;
/* The trace tells that there is an answer, never which. */
enum result smtp_sasl_password_maps(const struct question *q, struct buf *answer_r,
				    struct error *err) MUST_CHECK;
enum result smtp_tls_policy_maps(const struct question *q, struct buf *answer_r,
				 struct error *err) MUST_CHECK;

#endif
