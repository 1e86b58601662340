/*
 * The part of the Courier authdaemond protocol that verifies a password.
 */
#ifndef POSTERN_AUTHDAEMOND_H
#define POSTERN_AUTHDAEMOND_H

#include <stdbool.h>
#include <stddef.h>

#include "common/netstring.h"
#include "common/serve.h"

#define AUTHDAEMOND_LINE_MAX 512  /* bytes of a command line */
#define AUTHDAEMOND_DATA_MAX 8192 /* bytes that AUTH may announce */

struct authdaemond_request {
	bool is_login; /* AUTH of type "login"; else a command that is not served */
	const char *service, *user, *password; /* within the request, not NUL-terminated */
	size_t service_len, user_len, password_len;
	const char *client; /* of TCPREMOTEIP=, or NULL */
	size_t client_len;
};

/*
 * OK: a whole command; *USED_R bytes of it. BAD: a line or AUTH's count too long, a count that is
 * no number, or AUTH data that are not four lines.
 */
enum parse authdaemond_parse(const char *data, size_t len, struct authdaemond_request *request_r,
			     size_t *used_r);

extern const struct service authdaemond_service; /* its state is a struct authd */

#endif
