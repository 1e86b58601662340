/*
 * password_crypt - crypt(3) through libxcrypt, Argon2 through libsodium, and the caps on cost
 *
 * What a stored value asks for is read here before the library gets it: rounds, log2 costs, and
 * memory times passes. The layouts are those of crypt(5); yescrypt's numbers are of variable
 * length. libxcrypt takes passwords of at most 511 bytes; longer ones never match.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "common/password_scheme.h"

#include <crypt.h>
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "common/secret.h"

static bool begins(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

static enum result over_cap(struct error *err, const char *what)
{
	return result_error(err, RESULT_PERM,
			    "the stored %s password costs more than the limits allow", what);
}

static enum result malformed(struct error *err, const char *what)
{
	return result_error(err, RESULT_PERM, "malformed %s password", what);
}

/* A decimal number at *AT, which is moved past it; UINT64_MAX: none, or too large to matter. */
static uint64_t number(const char **at)
{
	const char *start = *at;
	uint64_t value = 0;

	for (; **at >= '0' && **at <= '9'; ++*at)
		if (value < UINT32_MAX)
			value = value * 10 + (uint64_t)(**at - '0');
	return *at == start || value > UINT32_MAX ? UINT64_MAX : value;
}

/* crypt's own base64 digits; 64: not one. */
static uint32_t crypt64(char c)
{
	static const char digits[] =
		"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
	const char *at = c != '\0' ? strchr(digits, c) : NULL;

	return at != NULL ? (uint32_t)(at - digits) : 64;
}

/* COUNT digits, the lowest first; UINT64_MAX: malformed. */
static uint64_t crypt64_fixed(const char *text, unsigned count)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < count; i++) {
		uint64_t digit = crypt64(text[i]);

		if (digit > 63)
			return UINT64_MAX;
		value |= digit << (6 * i);
	}
	return value;
}

/* yescrypt's number: the first digit tells how many follow. UINT64_MAX: malformed. */
static uint64_t yescrypt_number(const char **at, uint64_t minimum)
{
	uint32_t start = 0, end = 47, more = 0, first = crypt64(**at);
	uint64_t value = minimum;

	if (first > 63)
		return UINT64_MAX;
	++*at;
	while (first > end) {
		value += (uint64_t)(end + 1 - start) << (6 * more);
		start = end + 1;
		end = start + (62 - end) / 2;
		more++;
	}
	value += (uint64_t)(first - start) << (6 * more);
	while (more-- > 0) {
		uint32_t digit = crypt64(**at);

		if (digit > 63)
			return UINT64_MAX;
		++*at;
		value += (uint64_t)digit << (6 * more);
	}
	return value;
}

/* scrypt and yescrypt: 128 * N * r bytes, gone over T * P times. */
static enum result memory_check(const char *what, uint64_t log_n, uint64_t r, uint64_t work,
				const struct password_limits *limits, struct error *err)
{
	uint64_t blocks = limits->memory_bytes / 128;

	if (log_n > 40 || r > blocks >> log_n || work > limits->passes)
		return over_cap(err, what);
	return RESULT_FOUND;
}

static enum result scrypt_check(const char *setting, const struct password_limits *limits,
				struct error *err)
{
	uint64_t log_n = crypt64(setting[0]), r, p;

	if (log_n > 63)
		return malformed(err, "scrypt");
	r = crypt64_fixed(setting + 1, 5);
	p = r != UINT64_MAX ? crypt64_fixed(setting + 6, 5) : UINT64_MAX;
	if (p == UINT64_MAX)
		return malformed(err, "scrypt");
	return memory_check("scrypt", log_n, r, p, limits, err);
}

static enum result yescrypt_check(const char *setting, const struct password_limits *limits,
				  struct error *err)
{
	uint64_t flavor = yescrypt_number(&setting, 0), p = 1, t = 0;
	uint64_t log_n = flavor != UINT64_MAX ? yescrypt_number(&setting, 1) : UINT64_MAX;
	uint64_t r = log_n != UINT64_MAX ? yescrypt_number(&setting, 1) : UINT64_MAX;
	uint64_t have;

	if (r == UINT64_MAX)
		return malformed(err, "yescrypt");
	if (*setting != '$') {
		have = yescrypt_number(&setting, 1);
		if (have == UINT64_MAX)
			return malformed(err, "yescrypt");
		if ((have & 1) != 0)
			p = yescrypt_number(&setting, 2);
		if (p != UINT64_MAX && (have & 2) != 0)
			t = yescrypt_number(&setting, 1);
		if (p == UINT64_MAX || t == UINT64_MAX)
			return malformed(err, "yescrypt");
	}
	if (p > limits->passes || t > limits->passes)
		return over_cap(err, "yescrypt");
	return memory_check("yescrypt", log_n, r, p * (t + 1), limits, err);
}

/* SETTING begins at the number. */
static enum result rounds_check(const char *what, const char *setting, uint64_t cap,
				struct error *err)
{
	return number(&setting) > cap ? over_cap(err, what) : RESULT_FOUND;
}

/* What has neither prefix nor length of a crypt string, would be taken for DES salt. */
static enum result des_check(const char *setting, const struct password_limits *limits,
			     struct error *err)
{
	bool extended = setting[0] == '_';
	size_t len = strlen(setting);

	if (len != (extended ? 20 : 13) || crypt64_fixed(setting + extended, 4) == UINT64_MAX)
		return malformed(err, "DES-CRYPT");
	if (extended && crypt64_fixed(setting + 1, 4) > limits->sha_rounds)
		return over_cap(err, "extended DES");
	return RESULT_FOUND;
}

static enum result cost_check(const char *setting, const struct password_limits *limits,
			      struct error *err)
{
	if (begins(setting, "$5$rounds="))
		return rounds_check("SHA256-CRYPT", setting + 10, limits->sha_rounds, err);
	if (begins(setting, "$6$rounds="))
		return rounds_check("SHA512-CRYPT", setting + 10, limits->sha_rounds, err);
	if (begins(setting, "$2") && setting[2] != '\0' && setting[3] == '$')
		return rounds_check("BLF-CRYPT", setting + 4, limits->bcrypt_cost, err);
	if (begins(setting, "$sha1$"))
		return rounds_check("sha1crypt", setting + 6, limits->sha_rounds, err);
	if (begins(setting, "$md5,rounds="))
		return rounds_check("SunMD5", setting + 12, limits->sha_rounds, err);
	if (begins(setting, "$7$"))
		return scrypt_check(setting + 3, limits, err);
	if (begins(setting, "$y$"))
		return yescrypt_check(setting + 3, limits, err);
	if (begins(setting, "$gy$"))
		return yescrypt_check(setting + 4, limits, err);
	if (setting[0] != '$')
		return des_check(setting, limits, err);
	return RESULT_FOUND;
}

static enum result crypt_compare(const char *password, const char *stored, struct crypt_data *data,
				 struct error *err)
{
	const char *hash;

	errno = 0;
	hash = crypt_rn(password, stored, data, (int)sizeof(*data));
	if (hash == NULL && errno == ENOMEM)
		return result_error(err, RESULT_TEMP, "out of memory for a crypt(3) password");
	if (hash == NULL || hash[0] == '*')
		return result_error(err, RESULT_PERM,
				    "crypt(3) does not know or accept this form of password");
	return secret_equal(hash, strlen(hash), stored, strlen(stored)) ? RESULT_FOUND
									: RESULT_NONE;
}

/* "m=KIB,t=PASSES,p=LANES$"; the rest is libsodium's to judge. */
static enum result argon2_check(const char *at, const struct password_limits *limits,
				struct error *err)
{
	uint64_t memory, passes;

	if (!begins(at, "m="))
		return malformed(err, "Argon2");
	at += 2;
	memory = number(&at);
	if (!begins(at, ",t="))
		return malformed(err, "Argon2");
	at += 3;
	passes = number(&at);
	if (!begins(at, ",p="))
		return malformed(err, "Argon2");
	if (memory > limits->memory_bytes / 1024 || passes > limits->passes)
		return over_cap(err, "Argon2");
	return RESULT_FOUND;
}

static enum result argon2_verify(const char *password, const char *stored,
				 const struct password_limits *limits, struct error *err)
{
	bool id = begins(stored, "$argon2id$");
	const char *version = stored + (id ? 10 : 9);
	char copy[512] = "";
	enum result result;
	int verified;

	if (!id && !begins(stored, "$argon2i$"))
		return result_error(err, RESULT_PERM, "Argon2d passwords are not supported");
	if (!begins(version, "v=19$"))
		return result_error(err, RESULT_PERM, "only Argon2 of version 19 is supported");
	result = argon2_check(version + 5, limits, err);
	if (result != RESULT_FOUND)
		return result;
	if (strlen(stored) >= sizeof(copy))
		return malformed(err, "Argon2");
	if (sodium_init() < 0)
		return result_error(err, RESULT_TEMP, "libsodium could not be started");
	memcpy(copy, stored, strlen(stored));
	errno = 0;
	verified = id ? crypto_pwhash_argon2id_str_verify(copy, password, strlen(password))
		      : crypto_pwhash_argon2i_str_verify(copy, password, strlen(password));
	secret_wipe(copy, sizeof(copy));
	if (verified == 0)
		return RESULT_FOUND;
	/* libsodium tells a mismatch by EINVAL, and leaves errno alone for what it cannot read. */
	if (errno == EINVAL)
		return RESULT_NONE;
	if (errno == ENOMEM)
		return result_error(err, RESULT_TEMP, "out of memory for an Argon2 password");
	return malformed(err, "Argon2");
}

enum result password_crypt_verify(const char *password, const char *stored,
				  const struct password_limits *limits, struct error *err)
{
	struct crypt_data *data;
	enum result result;

	if (begins(stored, "$argon2"))
		return argon2_verify(password, stored, limits, err);
	if (strlen(password) >= CRYPT_MAX_PASSPHRASE_SIZE)
		return RESULT_NONE;
	result = cost_check(stored, limits, err);
	if (result != RESULT_FOUND)
		return result;
	/* 32 KiB: too much for the stack of a foreign thread. */
	data = calloc(1, sizeof(*data));
	if (data == NULL)
		return result_error(err, RESULT_TEMP, "out of memory for a crypt(3) password");
	result = crypt_compare(password, stored, data, err);
	secret_wipe(data, sizeof(*data));
	free(data);
	return result;
}
