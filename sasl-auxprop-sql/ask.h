/*
 * A client of the saslauthd protocol with a deadline (libsasl's own waits for ever).
 */
#ifndef POSTERN_SASL_ASK_H
#define POSTERN_SASL_ASK_H

#include "common/deadline.h"
#include "common/result.h"
#include "sasl-auxprop-sql/source.h"

/* FOUND: accepted. NONE: refused. TEMP: no answer, or the answer "temporary" (length 0). */
enum result ask_saslauthd(const char *path, const struct source_login *login, const char *password,
			  struct deadline deadline, struct error *err) MUST_CHECK;

#endif
