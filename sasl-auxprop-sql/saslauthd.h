/*
 * The saslauthd protocol, server side.
 */
#ifndef POSTERN_SASLAUTHD_H
#define POSTERN_SASLAUTHD_H

#include <stddef.h>

#include "common/netstring.h"
#include "common/serve.h"

#define SASLAUTHD_STRING_MAX 1024 /* bytes of one string */
#define SASLAUTHD_INPUT_MAX  8192 /* bytes of a request that libsasl would send */

struct saslauthd_string {
	const char *data; /* within the request, not NUL-terminated */
	size_t len;
};

struct saslauthd_request {
	struct saslauthd_string user, password, service, realm;
	struct saslauthd_string client; /* "address;port" of newer clients; data NULL: none */
};

/*
 * OK: four strings are there; *USED_R counts them, and a fifth when it is there as a whole. BAD: a
 * string is longer than SASLAUTHD_STRING_MAX, decided at its length.
 */
enum parse saslauthd_parse(const char *data, size_t len, struct saslauthd_request *request_r,
			   size_t *used_r);

extern const struct service saslauthd_service; /* its state is a struct authd */

#endif
