/*
 * password_make - new stored passwords
 *
 * Costs are chosen for a mail host, where many clients log in again for each message: some tens
 * of milliseconds, and little memory (Argon2id takes 19 MiB in two passes). Passwords that a
 * scheme would cut without a word (bcrypt after 72 bytes) are refused.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "common/password_scheme.h"

#include <crypt.h>
#include <errno.h>
#include <openssl/evp.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/secret.h"

#define SHA_ROUNDS       50000
#define BCRYPT_COST      10
#define BCRYPT_MAX       72
#define ARGON2_PASSES    2
#define ARGON2_MEMORY    (19 << 20)
#define SCRAM_ITERATIONS 15000
#define SALT_SIZE        16

static const struct crypt_method {
	const char *name, *prefix;
	unsigned long count;
	size_t max;
} crypt_methods[] = {
	{"SHA512-CRYPT", "$6$", SHA_ROUNDS, CRYPT_MAX_PASSPHRASE_SIZE - 1},
	{"SHA256-CRYPT", "$5$", SHA_ROUNDS, CRYPT_MAX_PASSPHRASE_SIZE - 1},
	{"BLF-CRYPT", "$2y$", BCRYPT_COST, BCRYPT_MAX},
	{"YESCRYPT", "$y$", 0, CRYPT_MAX_PASSPHRASE_SIZE - 1},
};

static enum result no_random(struct error *err)
{
	return result_error(err, RESULT_TEMP, "no random bytes for a salt");
}

static enum result crypt_make(const char *password, const struct crypt_method *method,
			      struct buf *stored, struct error *err)
{
	char salt[32], setting[CRYPT_GENSALT_OUTPUT_SIZE];
	struct crypt_data *data;
	const char *hash;

	if (strlen(password) > method->max)
		return result_error(
			err, RESULT_PERM,
			"%s takes passwords of at most %zu bytes; choose another scheme",
			method->name, method->max);
	if (!secret_random(salt, sizeof(salt)))
		return no_random(err);
	if (crypt_gensalt_rn(method->prefix, method->count, salt, (int)sizeof(salt), setting,
			     (int)sizeof(setting)) == NULL)
		return result_error(err, RESULT_PERM, "crypt(3) does not offer %s here",
				    method->name);
	data = calloc(1, sizeof(*data));
	if (data == NULL)
		return result_error(err, RESULT_TEMP, "out of memory");
	hash = crypt_rn(password, setting, data, (int)sizeof(*data));
	if (hash != NULL && hash[0] != '*')
		buf_puts(stored, hash);
	secret_wipe(data, sizeof(*data));
	free(data);
	if (hash == NULL)
		return result_error(err, RESULT_TEMP, "crypt(3) failed: %s", strerror(errno));
	return RESULT_FOUND;
}

static enum result argon2_make(const char *password, struct buf *stored, struct error *err)
{
	char text[crypto_pwhash_argon2id_STRBYTES];

	if (sodium_init() < 0)
		return result_error(err, RESULT_TEMP, "libsodium could not be started");
	if (crypto_pwhash_argon2id_str(text, password, strlen(password), ARGON2_PASSES,
				       ARGON2_MEMORY) != 0)
		return result_error(err, RESULT_TEMP, "out of memory for Argon2");
	buf_puts(stored, "{ARGON2ID}");
	buf_puts(stored, text);
	return RESULT_FOUND;
}

static enum result ssha512_make(const char *password, struct buf *stored, struct error *err)
{
	unsigned char raw[EVP_MAX_MD_SIZE + SALT_SIZE];
	unsigned char salt[SALT_SIZE];
	enum result result;
	size_t len;

	if (!secret_random(salt, sizeof(salt)))
		return no_random(err);
	result = password_digest("SHA512", password, strlen(password), salt, sizeof(salt), raw,
				 &len, err);
	if (result != RESULT_FOUND)
		return result;
	memcpy(raw + len, salt, sizeof(salt));
	buf_puts(stored, "{SSHA512}");
	password_base64_append(stored, raw, len + sizeof(salt));
	secret_wipe(raw, sizeof(raw));
	return RESULT_FOUND;
}

static enum result scram_make(const char *password, struct buf *stored, struct error *err)
{
	struct password_scram_keys keys;
	unsigned char salt[SALT_SIZE];
	enum result result;

	if (!secret_random(salt, sizeof(salt)))
		return no_random(err);
	result = password_scram_derive("SHA256", password, salt, sizeof(salt), SCRAM_ITERATIONS,
				       &keys, err);
	if (result == RESULT_FOUND) {
		buf_printf(stored, "{SCRAM-SHA-256}%d,", SCRAM_ITERATIONS);
		password_base64_append(stored, salt, sizeof(salt));
		buf_putc(stored, ',');
		password_base64_append(stored, keys.stored, keys.len);
		buf_putc(stored, ',');
		password_base64_append(stored, keys.server, keys.len);
	}
	secret_wipe(&keys, sizeof(keys));
	return result;
}

static enum result scheme_make(const char *password, const char *scheme, struct buf *stored,
			       struct error *err)
{
	for (size_t i = 0; i < sizeof(crypt_methods) / sizeof(crypt_methods[0]); i++)
		if (strcasecmp(scheme, crypt_methods[i].name) == 0)
			return crypt_make(password, &crypt_methods[i], stored, err);
	if (strcasecmp(scheme, "ARGON2ID") == 0)
		return argon2_make(password, stored, err);
	if (strcasecmp(scheme, "SSHA512") == 0)
		return ssha512_make(password, stored, err);
	if (strcasecmp(scheme, "SCRAM-SHA-256") == 0)
		return scram_make(password, stored, err);
	if (strcasecmp(scheme, "PLAIN") == 0) {
		buf_puts(stored, "{PLAIN}");
		buf_puts(stored, password);
		return RESULT_FOUND;
	}
	return result_error(err, RESULT_PERM,
			    "passwords cannot be stored as %.40s; use SHA512-CRYPT, SHA256-CRYPT, "
			    "BLF-CRYPT, YESCRYPT, ARGON2ID, SSHA512, SCRAM-SHA-256 or PLAIN",
			    scheme);
}

enum result password_make(const char *password, const char *scheme, struct buf *stored_r,
			  struct error *err)
{
	enum result result;

	if (password == NULL || password[0] == '\0')
		return result_error(err, RESULT_PERM, "the password is empty");
	if (strlen(password) > PASSWORD_MAX)
		return result_error(err, RESULT_PERM, "the password is longer than %d bytes",
				    PASSWORD_MAX);
	for (const char *at = password; *at != '\0'; at++)
		if ((unsigned char)*at < ' ' || *at == 0x7f)
			return result_error(err, RESULT_PERM,
					    "the password has control characters");
	result = scheme_make(password, scheme != NULL ? scheme : "SHA512-CRYPT", stored_r, err);
	if (result == RESULT_FOUND && !buf_ok(stored_r))
		return result_error(err, RESULT_TEMP, "out of memory");
	return result;
}
