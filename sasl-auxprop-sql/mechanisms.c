/*
 * PLAIN (RFC 4616) and LOGIN, verifying every kind of stored password.
 *
 * libsasl's own two can only compare clear text. Ours have the same names and limits and carry
 * hash-strength bits, which libsasl sorts by, so that they are found first. A user who may not log
 * in, and a password that is wrong, are SASL_BADAUTH; a database that cannot be asked is
 * SASL_UNAVAIL (454 in Postfix), never "wrong password".
 *
 * The name that the application gets (sasl_username in Postfix) is the account's: "Alice" becomes
 * alice@example.com, so that smtpd_sender_login_maps can compare it.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "sasl-auxprop-sql/plugin.h"

#include <ctype.h>
#include <string.h>

#include "common/log.h"
#include "common/secret.h"

/* libsasl 2.1.28 sorts by the bits of a hash in the security flags, not in the features. */
#define SECURITY_FLAGS                                                                             \
	(SASL_SEC_NOANONYMOUS | SASL_SEC_PASS_CREDENTIALS | SASL_SET_HASH_STRENGTH_BITS(8))

#define LOGIN_MAX 1024 /* bytes of a name or password in LOGIN, as in libsasl's own */

static int protocol_error(const sasl_server_params_t *sparams, const char *text)
{
	sparams->utils->seterror(sparams->utils->conn, SASL_NOLOG, "%s", text);
	return SASL_BADPROT;
}

/* A NUL-terminated copy of client bytes, wiped by client_text_free(). NULL: out of memory. */
static char *client_text(const sasl_utils_t *utils, const char *data, size_t len)
{
	char *text = utils->malloc(len + 1);

	if (text == NULL)
		return NULL;
	if (len > 0)
		memcpy(text, data, len);
	text[len] = '\0';
	return text;
}

static void client_text_free(const sasl_utils_t *utils, char *text, size_t len)
{
	if (text == NULL)
		return;
	secret_wipe(text, len);
	utils->free(text);
}

static bool is_blank(const char *text)
{
	while (isspace((unsigned char)*text))
		text++;
	return *text == '\0';
}

/* Asks the source about the canonical login; ACCOUNT_R gets the account's name. */
static int password_check(sasl_server_params_t *sparams, const sasl_out_params_t *oparams,
			  const char *password, struct buf *account_r)
{
	struct source_login login = plugin_login(sparams, oparams->authid, oparams->alen);
	struct source *source = plugin_enter(sparams->utils);
	const char *reason = "";
	struct error err = {""};
	enum result result;
	int code;

	if (source == NULL)
		result = result_error(&err, RESULT_PERM, "the plugin was unloaded");
	else
		result = source_verify(source, &login, password, account_r, &reason, &err);
	if (result == RESULT_FOUND && !buf_ok(account_r))
		result = result_error(&err, RESULT_TEMP, "out of memory");
	if (result == RESULT_NONE)
		log_info("login refused user=<%.*s> service=%s reason=%s",
			 (int)(login.len < 256 ? login.len : 256), login.name, login.service,
			 reason);
	code = plugin_code(result, SASL_BADAUTH, &login, &err);
	plugin_leave();
	return code;
}

/*
 * AUTHZID is NULL, empty or equal to AUTHID for a login as oneself. A different one goes through
 * libsasl's authorisation as usual, which refuses it unless the application has a policy.
 */
static int login_check(sasl_server_params_t *sparams, sasl_out_params_t *oparams,
		       const char *authzid, const char *authid, const char *password)
{
	unsigned flags = SASL_CU_AUTHID | SASL_CU_EXTERNALLY_VERIFIED;
	bool self = authzid == NULL || authzid[0] == '\0' || strcmp(authzid, authid) == 0;
	void *conn = sparams->utils->conn;
	struct buf account = BUF_INIT;
	int code;

	/* libsasl calls an empty name an internal failure. */
	if (is_blank(authid))
		return SASL_BADAUTH;
	if (self)
		flags |= SASL_CU_AUTHZID;
	code = sparams->canon_user(conn, authid, 0, flags, oparams);
	if (code == SASL_OK)
		code = password_check(sparams, oparams, password, &account);
	if (code == SASL_OK && strcmp(buf_str(&account), oparams->authid) != 0)
		code = sparams->canon_user(conn, buf_str(&account), (unsigned)account.len, flags,
					   oparams);
	buf_free(&account);
	if (code == SASL_OK && !self)
		code = sparams->canon_user(conn, authzid, 0, SASL_CU_AUTHZID, oparams);
	if (code == SASL_OK) {
		oparams->doneflag = 1;
		oparams->mech_ssf = 0;
		oparams->maxoutbuf = 0;
		oparams->encode_context = NULL;
		oparams->encode = NULL;
		oparams->decode_context = NULL;
		oparams->decode = NULL;
		oparams->param_version = 0;
	}
	return code;
}

static int plain_new(void *glob, sasl_server_params_t *sparams, const char *challenge,
		     unsigned challenge_len, void **context_r)
{
	(void)glob;
	(void)sparams;
	(void)challenge;
	(void)challenge_len;
	*context_r = NULL;
	return SASL_OK;
}

/* MESSAGE is NUL-terminated behind its LEN bytes: [authzid] NUL authid NUL password. */
static int plain_message(sasl_server_params_t *sparams, sasl_out_params_t *oparams,
			 const char *message, size_t len)
{
	const char *authid = memchr(message, '\0', len);
	const char *password;

	if (authid == NULL)
		return protocol_error(sparams, "PLAIN: no authentication identity");
	authid++;
	password = memchr(authid, '\0', len - (size_t)(authid - message));
	if (password == NULL)
		return protocol_error(sparams, "PLAIN: no password");
	password++;
	if (memchr(password, '\0', len - (size_t)(password - message)) != NULL)
		return protocol_error(sparams, "PLAIN: data after the password");
	return login_check(sparams, oparams, message, authid, password);
}

static int plain_step(void *context, sasl_server_params_t *sparams, const char *in, unsigned in_len,
		      const char **out, unsigned *out_len, sasl_out_params_t *oparams)
{
	const sasl_utils_t *utils = sparams->utils;
	char *message;
	int code;

	(void)context;
	*out = NULL;
	*out_len = 0;
	message = client_text(utils, in, in_len);
	if (message == NULL)
		return SASL_NOMEM;
	code = plain_message(sparams, oparams, message, in_len);
	client_text_free(utils, message, in_len);
	return code;
}

enum login_state { LOGIN_START, LOGIN_NAME, LOGIN_PASSWORD, LOGIN_DONE };

struct login_context {
	enum login_state state;
	char *name;
	unsigned name_len;
};

static int login_new(void *glob, sasl_server_params_t *sparams, const char *challenge,
		     unsigned challenge_len, void **context_r)
{
	struct login_context *login = sparams->utils->malloc(sizeof(*login));

	(void)glob;
	(void)challenge;
	(void)challenge_len;
	if (login == NULL)
		return SASL_NOMEM;
	*login = (struct login_context){.state = LOGIN_START};
	*context_r = login;
	return SASL_OK;
}

static void login_dispose(void *context, const sasl_utils_t *utils)
{
	struct login_context *login = context;

	if (login == NULL)
		return;
	client_text_free(utils, login->name, login->name_len);
	utils->free(login);
}

static int login_ask(const char *prompt, const char **out, unsigned *out_len)
{
	*out = prompt;
	*out_len = (unsigned)strlen(prompt);
	return SASL_CONTINUE;
}

static int login_name(struct login_context *login, sasl_server_params_t *sparams, const char *in,
		      unsigned in_len, const char **out, unsigned *out_len)
{
	if (in_len > LOGIN_MAX || (in_len > 0 && memchr(in, '\0', in_len) != NULL))
		return protocol_error(sparams, "LOGIN: the name is too long or has a NUL");
	login->name = client_text(sparams->utils, in, in_len);
	if (login->name == NULL)
		return SASL_NOMEM;
	login->name_len = in_len;
	login->state = LOGIN_PASSWORD;
	return login_ask("Password:", out, out_len);
}

static int login_password(struct login_context *login, sasl_server_params_t *sparams,
			  const char *in, unsigned in_len, sasl_out_params_t *oparams)
{
	char *password;
	int code;

	login->state = LOGIN_DONE;
	if (in_len > LOGIN_MAX || (in_len > 0 && memchr(in, '\0', in_len) != NULL))
		return protocol_error(sparams, "LOGIN: the password is too long or has a NUL");
	password = client_text(sparams->utils, in, in_len);
	if (password == NULL)
		return SASL_NOMEM;
	code = login_check(sparams, oparams, NULL, login->name, password);
	client_text_free(sparams->utils, password, in_len);
	return code;
}

static int login_step(void *context, sasl_server_params_t *sparams, const char *in, unsigned in_len,
		      const char **out, unsigned *out_len, sasl_out_params_t *oparams)
{
	struct login_context *login = context;

	*out = NULL;
	*out_len = 0;
	switch (login->state) {
	case LOGIN_START:
		login->state = LOGIN_NAME;
		/* Some clients send the name with the command. */
		if (in_len == 0)
			return login_ask("Username:", out, out_len);
		return login_name(login, sparams, in, in_len, out, out_len);
	case LOGIN_NAME:
		return login_name(login, sparams, in, in_len, out, out_len);
	case LOGIN_PASSWORD:
		return login_password(login, sparams, in, in_len, oparams);
	default:
		return protocol_error(sparams, "LOGIN: data after the end");
	}
}

/* libsasl calls it for each mechanism; the entry point counts once. */
static void mechanisms_free(void *glob, const sasl_utils_t *utils)
{
	(void)glob;
	(void)utils;
	plugin_release();
}

sasl_server_plug_t mechanism_plugins[2] = {
	{
		.mech_name = "PLAIN",
		.security_flags = SECURITY_FLAGS,
		.features = SASL_FEAT_WANT_CLIENT_FIRST | SASL_FEAT_ALLOWS_PROXY,
		.mech_new = plain_new,
		.mech_step = plain_step,
		.mech_free = mechanisms_free,
	},
	{
		.mech_name = "LOGIN",
		.security_flags = SECURITY_FLAGS,
		.mech_new = login_new,
		.mech_step = login_step,
		.mech_dispose = login_dispose,
	},
};
