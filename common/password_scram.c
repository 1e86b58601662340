/*
 * password_scram - SCRAM verifiers (RFC 5802, 7677): compare a password with one, print one
 *
 * Two forms are read: RFC 5803's SCRAM-SHA-256$ITERATIONS:SALT$STOREDKEY:SERVERKEY and Dovecot's
 * {SCRAM-SHA-256}ITERATIONS,SALT,STOREDKEY,SERVERKEY; binary parts are base64 in both.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "common/password_scheme.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>
#include <strings.h>

#include "common/secret.h"

struct verifier {
	uint32_t iterations;
	const char *part[3]; /* salt, StoredKey, ServerKey in base64, not terminated */
	size_t part_len[3];
	struct buf salt, stored, server;
};

static void verifier_free(struct verifier *verifier)
{
	buf_free(&verifier->salt);
	buf_free(&verifier->stored);
	buf_free(&verifier->server);
}

/* Moves *AT past a number of at most nine digits and the byte END; 0: malformed. */
static uint32_t iterations_parse(const char **at, char end)
{
	uint32_t value = 0;
	unsigned digits = 0;

	for (; **at >= '0' && **at <= '9' && digits < 9; ++*at, digits++)
		value = value * 10 + (uint32_t)(**at - '0');
	if (**at != end)
		return 0;
	++*at;
	return value;
}

/* FOUND, PERM (malformed) or TEMP; verifier_free() in every case. */
static enum result verifier_parse(struct verifier *verifier, const struct password_value *value,
				  struct error *err)
{
	size_t name = strlen(value->scheme->name),
	       size = password_digest_size(value->scheme->digest);
	const char *at = buf_str(&value->data);
	bool rfc = strncasecmp(at, value->scheme->name, name) == 0 && at[name] == '$', good;
	const char *ends = rfc ? ":$:" : ",,,";
	struct buf *raw[3] = {&verifier->salt, &verifier->stored, &verifier->server};

	*verifier = (struct verifier){.salt = BUF_INIT, .stored = BUF_SECRET, .server = BUF_SECRET};
	if (rfc)
		at += name + 1;
	verifier->iterations = iterations_parse(&at, ends[0]);
	good = verifier->iterations > 0;
	for (size_t i = 0; good && i < 3; i++) {
		const char *end = i < 2 ? strchr(at, ends[i + 1]) : at + strlen(at);

		if (end == NULL) {
			good = false;
			break;
		}
		verifier->part[i] = at;
		verifier->part_len[i] = (size_t)(end - at);
		good = password_base64_decode(at, verifier->part_len[i], raw[i]);
		if (!buf_ok(raw[i]))
			return result_error(err, RESULT_TEMP, "out of memory");
		at = end + 1;
	}
	if (!good || verifier->salt.len == 0 || verifier->stored.len != size ||
	    verifier->server.len != size)
		return result_error(err, RESULT_PERM, "malformed {%s} password",
				    value->scheme->name);
	return RESULT_FOUND;
}

static bool keys_compute(const EVP_MD *md, const unsigned char *salted, size_t len,
			 struct password_scram_keys *keys_r)
{
	unsigned char client[EVP_MAX_MD_SIZE];
	unsigned got = 0;
	bool good;

	good = HMAC(md, salted, (int)len, (const unsigned char *)"Client Key", 10, client, &got) !=
		       NULL &&
	       EVP_Digest(client, len, keys_r->stored, &got, md, NULL) == 1 &&
	       HMAC(md, salted, (int)len, (const unsigned char *)"Server Key", 10, keys_r->server,
		    &got) != NULL;
	secret_wipe(client, sizeof(client));
	return good;
}

enum result password_scram_derive(const char *digest, const char *password, const void *salt,
				  size_t salt_len, uint32_t iterations,
				  struct password_scram_keys *keys_r, struct error *err)
{
	const EVP_MD *md = EVP_get_digestbyname(digest);
	unsigned char salted[EVP_MAX_MD_SIZE];
	bool good;

	keys_r->len = password_digest_size(digest);
	good = md != NULL &&
	       PKCS5_PBKDF2_HMAC(password, (int)strlen(password), salt, (int)salt_len,
				 (int)iterations, md, (int)keys_r->len, salted) == 1 &&
	       keys_compute(md, salted, keys_r->len, keys_r);
	secret_wipe(salted, sizeof(salted));
	return good ? RESULT_FOUND
		    : result_error(err, RESULT_TEMP, "OpenSSL could not compute SCRAM keys");
}

static enum result verifier_compare(const char *password, const char *digest,
				    const struct verifier *verifier, struct error *err)
{
	struct password_scram_keys keys;
	enum result result =
		password_scram_derive(digest, password, verifier->salt.data, verifier->salt.len,
				      verifier->iterations, &keys, err);

	if (result == RESULT_FOUND &&
	    (!secret_equal(keys.stored, keys.len, verifier->stored.data, verifier->stored.len) ||
	     !secret_equal(keys.server, keys.len, verifier->server.data, verifier->server.len)))
		result = RESULT_NONE;
	secret_wipe(&keys, sizeof(keys));
	return result;
}

enum result password_scram_verify(const char *password, const struct password_value *value,
				  const struct password_limits *limits, struct error *err)
{
	struct verifier verifier;
	enum result result = verifier_parse(&verifier, value, err);

	if (result == RESULT_FOUND && verifier.iterations > limits->sha_rounds)
		result = result_error(err, RESULT_PERM,
				      "the stored {%s} password costs more than the limits allow",
				      value->scheme->name);
	if (result == RESULT_FOUND)
		result = verifier_compare(password, value->scheme->digest, &verifier, err);
	verifier_free(&verifier);
	return result;
}

static void verifier_print(struct buf *out, const char *scheme, const struct verifier *verifier)
{
	buf_printf(out, "%s$%u:", scheme, verifier->iterations);
	buf_append(out, verifier->part[0], verifier->part_len[0]);
	buf_putc(out, '$');
	buf_append(out, verifier->part[1], verifier->part_len[1]);
	buf_putc(out, ':');
	buf_append(out, verifier->part[2], verifier->part_len[2]);
}

enum result password_scram(const char *stored, struct buf *verifier_r)
{
	struct verifier verifier = {0};
	struct password_value value;
	enum result result = password_value_split(&value, stored, NULL, NULL);

	if (result == RESULT_FOUND && value.scheme->kind != PASSWORD_SCRAM)
		result = RESULT_NONE;
	if (result == RESULT_FOUND)
		result = verifier_parse(&verifier, &value, NULL);
	if (result == RESULT_FOUND)
		verifier_print(verifier_r, value.scheme->name, &verifier);
	verifier_free(&verifier);
	password_value_free(&value);
	if (result == RESULT_PERM)
		return RESULT_NONE;
	return result == RESULT_FOUND && !buf_ok(verifier_r) ? RESULT_TEMP : result;
}
