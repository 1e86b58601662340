/*
 * NAME
 *	auth - postern auth ADDRESS
 *
 * DESCRIPTION
 *	Tries a login as SMTP AUTH would, with the same code, and says which check failed. The
 *	password comes from a prompt or standard input.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <string.h>

#include "common/authenticate.h"
#include "postern/postern.h"
#include "postern/prompt.h"

int auth(struct postern *postern, const struct arguments *arguments)
{
	const char *login = arguments->words[0], *reason = NULL;
	struct output *output = &postern->output;
	struct buf password = BUF_SECRET, account = BUF_INIT;
	struct trace trace = {BUF_INIT};
	struct error err = {""};
	enum result result;
	int code = postern_accounts(postern);

	if (code != EX_OK)
		return code;
	result = prompt_password("Password: ", false, &password, &err);
	if (result != RESULT_FOUND) {
		buf_free(&password);
		return postern_result(postern, result, "password", &err);
	}
	result = authenticate(postern->accounts, &postern->settings, login, strlen(login),
			      buf_str(&password), &account, &reason, &trace, &err);
	buf_free(&password);

	output_row(output);
	output_text(output, "login", login);
	output_text(output, "result",
		    result == RESULT_FOUND  ? "accepted"
		    : result == RESULT_NONE ? "refused"
					    : result_name(result));
	output_text(output, "account", result == RESULT_FOUND ? buf_str(&account) : NULL);
	output_text(output, "reason", reason);
	output_list(output, "trace", buf_str(&trace.text), '\n');
	output_end(output);
	if (result == RESULT_NONE)
		code = EXIT_NOT_FOUND;
	else if (result != RESULT_FOUND)
		code = postern_result(postern, result, login, &err);
	buf_free(&account);
	buf_free(&trace.text);
	return code;
}
