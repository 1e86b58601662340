/*
 * A mail host on the fake database, for fuzz targets: settings, a preset whose queries are the words
 * "domain", "target", "alias", "mailbox", "secrets", "grants" and "usage", and rows.
 */
#ifndef POSTERN_FUZZ_FAKE_HOST_H
#define POSTERN_FUZZ_FAKE_HOST_H

#include "common/settings.h"

/* Says WHAT and aborts, which the fuzzer reports with its input. */
_Noreturn void fake_host_fail(const char *what);
/*
 * Settings with further text INI for postern.ini, whose preset is there until fake_host_end(): the
 * program's state is opened in between. Nothing is logged unless the caller sets a sink after it.
 */
void fake_host_begin(struct settings *settings_r, const char *ini);
void fake_host_end(void);
/* A row of two columns: NAME holds KEY, COLUMN holds VALUE. */
void fake_host_row(const char *query, const char *key, const char *name, const char *column,
		   const char *value);

#endif
