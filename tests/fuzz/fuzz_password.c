/*
 * fuzz_password - a database that holds anything in its password column
 *
 * The input is DEFAULT-SCHEME NUL PASSWORD NUL STORED. Limits are the smallest, so that a run is
 * about parsing. An empty password never matches, a verifier or clear text comes only from a value
 * that can be taken apart, and a clear text found there verifies.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/password.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct password_limits limits = {
	.sha_rounds = 1000, .bcrypt_cost = 4, .memory_bytes = 64 << 10, .passes = 1};

/* The string at *AT, which is moved behind its NUL or to END. */
static char *next_string(const char **at, const char *end)
{
	size_t len = strnlen(*at, (size_t)(end - *at));
	char *str = strndup(*at, len);

	if (str == NULL)
		abort();
	*at += len < (size_t)(end - *at) ? len + 1 : len;
	return str;
}

static void check_clear_text(const char *stored, const char *default_scheme)
{
	struct buf clear = BUF_SECRET;
	struct error err = {""};

	if (password_clear_text(stored, default_scheme, &clear) != RESULT_FOUND) {
		if (clear.len != 0)
			abort();
	} else if (clear.len == 0 || (clear.len <= PASSWORD_MAX &&
				      password_verify(buf_str(&clear), stored, NULL, default_scheme,
						      &limits, &err) != RESULT_FOUND)) {
		abort();
	}
	buf_free(&clear);
}

/* A printed verifier reads back as itself. */
static void check_scram(const char *stored)
{
	struct buf first = BUF_SECRET, second = BUF_SECRET;

	if (password_scram(stored, &first) == RESULT_FOUND) {
		if (password_scram(buf_str(&first), &second) != RESULT_FOUND ||
		    strcmp(buf_str(&first), buf_str(&second)) != 0)
			abort();
	} else if (first.len != 0) {
		abort();
	}
	buf_free(&first);
	buf_free(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *at = (const char *)data, *end = at + size;
	char *default_scheme = next_string(&at, end), *password = next_string(&at, end),
	     *stored = next_string(&at, end);
	struct error err = {""};
	enum result result = password_verify(password, stored, "user@example.com", default_scheme,
					     &limits, &err);

	if (result == RESULT_FOUND && (password[0] == '\0' || stored[0] == '\0'))
		abort();
	if (result == RESULT_PERM && err.text[0] == '\0')
		abort();
	if (password_verify("", stored, NULL, default_scheme, &limits, NULL) != RESULT_NONE)
		abort();
	check_clear_text(stored, default_scheme);
	check_scram(stored);
	free(default_scheme);
	free(password);
	free(stored);
	return 0;
}
