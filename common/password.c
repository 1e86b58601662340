/*
 * password - verify stored passwords of every scheme found in the field
 *
 * This file takes a stored value apart and hands it to the code of its kind: password_crypt.c
 * (crypt(3), Argon2), password_digest.c (digests, CRAM-MD5, DIGEST-MD5, PBKDF2), password_scram.c.
 * New values come from password_make.c.
 *
 * Values are at most 4 KiB. Known gaps: Argon2 of version 16 and Argon2d are refused; SCRAM
 * passwords are not prepared by SASLprep (RFC 4013), so that only those in ASCII match wherever
 * they are typed; MD4 needs OpenSSL's legacy provider.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "common/password_scheme.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/secret.h"

#define STORED_MAX      4096
#define SCHEME_NAME_MAX 32

static const struct password_scheme schemes[] = {
	{"PLAIN", PASSWORD_CLEAR, NULL},
	{"CLEAR", PASSWORD_CLEAR, NULL},
	{"CLEARTEXT", PASSWORD_CLEAR, NULL},
	{"PLAIN-TRUNC", PASSWORD_TRUNCATED, NULL},
	{"CRYPT", PASSWORD_CRYPT, NULL},
	{"DES-CRYPT", PASSWORD_CRYPT, NULL},
	{"MD5-CRYPT", PASSWORD_MD5_CRYPT, NULL},
	{"SHA256-CRYPT", PASSWORD_CRYPT, NULL},
	{"SHA512-CRYPT", PASSWORD_CRYPT, NULL},
	{"BLF-CRYPT", PASSWORD_CRYPT, NULL},
	{"YESCRYPT", PASSWORD_CRYPT, NULL},
	{"ARGON2I", PASSWORD_CRYPT, NULL},
	{"ARGON2ID", PASSWORD_CRYPT, NULL},
	{"MD5", PASSWORD_MD5, "MD5"},
	{"LDAP-MD5", PASSWORD_DIGEST, "MD5"},
	{"PLAIN-MD5", PASSWORD_DIGEST, "MD5"},
	{"MD5RAW", PASSWORD_DIGEST, "MD5"},
	{"PLAIN-MD4", PASSWORD_DIGEST, "MD4"},
	{"SHA", PASSWORD_DIGEST, "SHA1"},
	{"SHA1", PASSWORD_DIGEST, "SHA1"},
	{"SHA256", PASSWORD_DIGEST, "SHA256"},
	{"SHA512", PASSWORD_DIGEST, "SHA512"},
	{"SMD5", PASSWORD_SALTED, "MD5"},
	{"SSHA", PASSWORD_SALTED, "SHA1"},
	{"SSHA256", PASSWORD_SALTED, "SHA256"},
	{"SSHA512", PASSWORD_SALTED, "SHA512"},
	{"CRAM-MD5", PASSWORD_CRAM_MD5, "MD5"},
	{"HMAC-MD5", PASSWORD_CRAM_MD5, "MD5"},
	{"DIGEST-MD5", PASSWORD_DIGEST_MD5, "MD5"},
	{"PBKDF2", PASSWORD_PBKDF2, "SHA1"},
	{"SCRAM-SHA-1", PASSWORD_SCRAM, "SHA1"},
	{"SCRAM-SHA-256", PASSWORD_SCRAM, "SHA256"},
	{"SCRAM-SHA-512", PASSWORD_SCRAM, "SHA512"},
};

static const char *const crypt_prefixes[] = {
	"$1$", "$2a$", "$2b$", "$2x$",  "$2y$", "$3$",       "$5$",        "$6$",
	"$7$", "$gy$", "$md5", "$sha1", "$y$",  "$argon2i$", "$argon2id$", "$argon2d$",
};

/* In front of a whole value: what locks an account, or says that there is no password. */
static const char *const placeholders[] = {"*", "*0", "*1", "!", "!!", "x", "NULL"};

static bool is_placeholder(const char *text)
{
	for (size_t i = 0; i < sizeof(placeholders) / sizeof(placeholders[0]); i++)
		if (strcmp(text, placeholders[i]) == 0)
			return true;
	return false;
}

static bool is_locked(const char *text)
{
	return text[0] == '*' || text[0] == '!' || is_placeholder(text);
}

static bool has_crypt_prefix(const char *text)
{
	for (size_t i = 0; i < sizeof(crypt_prefixes) / sizeof(crypt_prefixes[0]); i++)
		if (strncmp(text, crypt_prefixes[i], strlen(crypt_prefixes[i])) == 0)
			return true;
	return false;
}

static const struct password_scheme *scheme_find(const char *name, size_t len)
{
	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++)
		if (strlen(schemes[i].name) == len && strncasecmp(schemes[i].name, name, len) == 0)
			return &schemes[i];
	return NULL;
}

/* The SCHEME of the form SCHEME$..., for those of SCRAM (RFC 5803). */
static const struct password_scheme *scram_find(const char *text)
{
	size_t len = strcspn(text, "$");
	const struct password_scheme *scheme = text[len] == '$' ? scheme_find(text, len) : NULL;

	return scheme != NULL && scheme->kind == PASSWORD_SCRAM ? scheme : NULL;
}

/* The name may be part of a clear-text password that looks like a scheme: tell only plain words. */
static enum result unknown_scheme(struct error *err, const char *name, size_t len)
{
	size_t word = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				   "0123456789-_.");

	if (len == 0 || len > SCHEME_NAME_MAX || word < len)
		return result_error(err, RESULT_PERM,
				    "the stored password begins with a brace but names no scheme");
	return result_error(err, RESULT_PERM, "unknown password scheme {%.*s}", (int)len, name);
}

/* NAME is SCHEME or SCHEME.ENCODING; *EXPLICIT_R tells the second form. */
static enum result scheme_parse(struct password_value *value, const char *name, size_t len,
				bool *explicit_r, struct error *err)
{
	const char *dot = memchr(name, '.', len);
	size_t scheme_len = dot != NULL ? (size_t)(dot - name) : len;

	*explicit_r = dot != NULL;
	value->scheme = scheme_find(name, scheme_len);
	if (value->scheme == NULL)
		return unknown_scheme(err, name, len);
	if (dot == NULL)
		return RESULT_FOUND;
	len -= scheme_len + 1;
	if ((len == 3 && strncasecmp(dot + 1, "b64", len) == 0) ||
	    (len == 6 && strncasecmp(dot + 1, "base64", len) == 0))
		value->encoding = PASSWORD_BASE64;
	else if (len == 3 && strncasecmp(dot + 1, "hex", len) == 0)
		value->encoding = PASSWORD_HEX;
	else
		return unknown_scheme(err, name, scheme_len + 1 + len);
	return RESULT_FOUND;
}

static bool holds_text(enum password_kind kind)
{
	switch (kind) {
	case PASSWORD_CLEAR:
	case PASSWORD_TRUNCATED:
	case PASSWORD_CRYPT:
	case PASSWORD_MD5_CRYPT:
	case PASSWORD_PBKDF2:
	case PASSWORD_SCRAM:
		return true;
	default:
		return false;
	}
}

/* Text that is wrapped in an encoding is unwrapped here; the others decode for themselves. */
static enum result data_set(struct password_value *value, const char *text, bool wrapped,
			    struct error *err)
{
	size_t len = strlen(text);
	bool good = true;

	if (!wrapped || !holds_text(value->scheme->kind))
		buf_append(&value->data, text, len);
	else if (value->encoding == PASSWORD_HEX)
		good = password_hex_decode(text, len, &value->data);
	else
		good = password_base64_decode(text, len, &value->data);
	if (!buf_ok(&value->data))
		return result_error(err, RESULT_TEMP, "out of memory");
	if (!good || strlen(buf_str(&value->data)) != value->data.len)
		return result_error(err, RESULT_PERM, "malformed {%s} password: bad encoding",
				    value->scheme->name);
	return value->data.len > 0 ? RESULT_FOUND : RESULT_NONE;
}

static enum result split_prefixed(struct password_value *value, const char *name, const char *end,
				  struct error *err)
{
	bool wrapped;
	enum result result = scheme_parse(value, name, (size_t)(end - name), &wrapped, err);

	if (result == RESULT_FOUND)
		result = data_set(value, end + 1, wrapped, err);
	if (result == RESULT_FOUND && value->scheme->kind != PASSWORD_CLEAR &&
	    is_locked(buf_str(&value->data)))
		return RESULT_NONE;
	return result;
}

static enum result split_default(struct password_value *value, const char *stored,
				 const char *default_scheme, struct error *err)
{
	enum result result;
	bool wrapped;

	if (is_placeholder(stored))
		return RESULT_NONE;
	if (default_scheme == NULL || default_scheme[0] == '\0') {
		if (is_locked(stored))
			return RESULT_NONE;
		return result_error(err, RESULT_PERM,
				    "the stored password names no scheme and no default is set");
	}
	result = scheme_parse(value, default_scheme, strlen(default_scheme), &wrapped, err);
	if (result != RESULT_FOUND) {
		error_prefix(err, "default scheme");
		return result;
	}
	if (value->scheme->kind != PASSWORD_CLEAR && is_locked(stored))
		return RESULT_NONE;
	return data_set(value, stored, wrapped, err);
}

enum result password_value_split(struct password_value *value_r, const char *stored,
				 const char *default_scheme, struct error *err)
{
	const char *end;

	*value_r = (struct password_value){.data = BUF_SECRET};
	if (stored == NULL || stored[0] == '\0')
		return RESULT_NONE;
	if (strlen(stored) > STORED_MAX)
		return result_error(err, RESULT_PERM, "the stored password is over %d bytes long",
				    STORED_MAX);
	end = stored[0] == '{' ? strchr(stored, '}') : NULL;
	if (end != NULL)
		return split_prefixed(value_r, stored + 1, end, err);
	value_r->scheme = scram_find(stored);
	if (value_r->scheme == NULL && has_crypt_prefix(stored))
		value_r->scheme = scheme_find("CRYPT", 5);
	if (value_r->scheme != NULL)
		return data_set(value_r, stored, false, err);
	return split_default(value_r, stored, default_scheme, err);
}

void password_value_free(struct password_value *value)
{
	buf_free(&value->data);
	value->scheme = NULL;
}

static enum result clear_verify(const char *password, const struct buf *data)
{
	return secret_equal(password, strlen(password), buf_str(data), data->len) ? RESULT_FOUND
										  : RESULT_NONE;
}

/* A text as long as LENGTH may have been cut: then the password's beginning must match, else all.
 */
static enum result truncated_verify(const char *password, const struct buf *data, struct error *err)
{
	size_t password_len = strlen(password), length = 0, at = 0;
	const char *text = buf_str(data);

	for (; text[at] >= '0' && text[at] <= '9' && length <= PASSWORD_MAX; at++)
		length = length * 10 + (size_t)(text[at] - '0');
	if (at == 0 || text[at] != '-' || length == 0 || length > PASSWORD_MAX)
		return result_error(err, RESULT_PERM, "malformed {PLAIN-TRUNC} password");
	text += at + 1;
	if (strlen(text) == length && password_len > length)
		password_len = length;
	return secret_equal(password, password_len, text, strlen(text)) ? RESULT_FOUND
									: RESULT_NONE;
}

static struct password_limits effective(const struct password_limits *limits)
{
	struct password_limits out = limits != NULL ? *limits : (struct password_limits){0};

	if (out.sha_rounds == 0)
		out.sha_rounds = 1000000;
	if (out.bcrypt_cost == 0)
		out.bcrypt_cost = 14;
	if (out.memory_bytes == 0)
		out.memory_bytes = (uint64_t)256 << 20;
	if (out.passes == 0)
		out.passes = 16;
	return out;
}

/* SALT$HASH, the part of an MD5-CRYPT string behind "$1$". */
static bool is_md5_crypt_rest(const char *text)
{
	size_t salt = strcspn(text, "$");

	return salt > 0 && salt <= 8 && text[salt] == '$' && strlen(text + salt + 1) == 22;
}

/* ExtMail writes MD5-CRYPT without its "$1$". */
static enum result md5_crypt_verify(const char *password, const char *text,
				    const struct password_limits *limits, struct error *err)
{
	char stored[64];
	enum result result;

	if (text[0] == '$')
		return password_crypt_verify(password, text, limits, err);
	if (!is_md5_crypt_rest(text))
		return result_error(err, RESULT_PERM, "malformed {MD5} or {MD5-CRYPT} password");
	snprintf(stored, sizeof(stored), "$1$%s", text);
	result = password_crypt_verify(password, stored, limits, err);
	secret_wipe(stored, sizeof(stored));
	return result;
}

static enum result md5_verify(const char *password, const struct password_value *value,
			      const struct password_limits *limits, struct error *err)
{
	const char *text = buf_str(&value->data);
	size_t len = value->data.len;

	if (strchr(text, '$') == NULL && (len == 32 || len == 24))
		return password_digest_verify(password, value, err);
	return md5_crypt_verify(password, text, limits, err);
}

static enum result value_verify(const char *password, const struct password_value *value,
				const char *login, const struct password_limits *limits,
				struct error *err)
{
	switch (value->scheme->kind) {
	case PASSWORD_CLEAR:
		return clear_verify(password, &value->data);
	case PASSWORD_TRUNCATED:
		return truncated_verify(password, &value->data, err);
	case PASSWORD_CRYPT:
		return password_crypt_verify(password, buf_str(&value->data), limits, err);
	case PASSWORD_MD5_CRYPT:
		return md5_crypt_verify(password, buf_str(&value->data), limits, err);
	case PASSWORD_MD5:
		return md5_verify(password, value, limits, err);
	case PASSWORD_DIGEST:
	case PASSWORD_SALTED:
		return password_digest_verify(password, value, err);
	case PASSWORD_CRAM_MD5:
		return password_cram_md5_verify(password, value, err);
	case PASSWORD_DIGEST_MD5:
		return password_digest_md5_verify(password, value, login, err);
	case PASSWORD_PBKDF2:
		return password_pbkdf2_verify(password, value, limits, err);
	case PASSWORD_SCRAM:
		break;
	}
	return password_scram_verify(password, value, limits, err);
}

enum result password_verify(const char *password, const char *stored, const char *login,
			    const char *default_scheme, const struct password_limits *limits,
			    struct error *err)
{
	struct password_limits caps = effective(limits);
	struct password_value value;
	enum result result;

	if (password == NULL || password[0] == '\0' || strlen(password) > PASSWORD_MAX)
		return RESULT_NONE;
	result = password_value_split(&value, stored, default_scheme, err);
	if (result == RESULT_FOUND)
		result = value_verify(password, &value, login, &caps, err);
	password_value_free(&value);
	return result;
}

enum result password_clear_text(const char *stored, const char *default_scheme, struct buf *clear_r)
{
	struct password_value value;
	enum result result = password_value_split(&value, stored, default_scheme, NULL);

	if (result == RESULT_PERM ||
	    (result == RESULT_FOUND && value.scheme->kind != PASSWORD_CLEAR))
		result = RESULT_NONE;
	if (result == RESULT_FOUND)
		buf_append(clear_r, value.data.data, value.data.len);
	password_value_free(&value);
	return result == RESULT_FOUND && !buf_ok(clear_r) ? RESULT_TEMP : result;
}
