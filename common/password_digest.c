/*
 * password_digest - plain and salted digests, CRAM-MD5, DIGEST-MD5 and PBKDF2 through OpenSSL
 *
 * CRAM-MD5 values are the states of MD5 after one block of HMAC's key (outer, then inner), which
 * only OpenSSL's old low-level interface shows. PBKDF2 is Dovecot's form: $1$salt$rounds$hex with
 * SHA-1, the salt as text.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#define OPENSSL_SUPPRESS_DEPRECATED /* MD5_CTX, see above */

#include "common/password_scheme.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/md5.h>
#include <string.h>

#include "common/secret.h"

#define MD5_BLOCK     64
#define CRAM_MD5_SIZE 32
#define PBKDF2_SIZE   20

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

bool password_hex_decode(const char *text, size_t len, struct buf *out)
{
	if (len % 2 != 0)
		return false;
	for (size_t i = 0; i < len; i += 2) {
		int high = hex_digit(text[i]), low = hex_digit(text[i + 1]);

		if (high < 0 || low < 0)
			return false;
		buf_putc(out, (char)(high * 16 + low));
	}
	return true;
}

static int base64_digit(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+')
		return 62;
	return c == '/' ? 63 : -1;
}

bool password_base64_decode(const char *text, size_t len, struct buf *out)
{
	if (len % 4 != 0)
		return false;
	for (size_t i = 0; i < len; i += 4) {
		unsigned padding = 0, bits = 0;

		if (i + 4 == len && text[i + 3] == '=')
			padding = text[i + 2] == '=' ? 2 : 1;
		for (unsigned k = 0; k < 4; k++) {
			int digit = k < 4 - padding ? base64_digit(text[i + k]) : 0;

			if (digit < 0)
				return false;
			bits = bits << 6 | (unsigned)digit;
		}
		for (unsigned k = 0; k < 3 - padding; k++)
			buf_putc(out, (char)(bits >> (16 - 8 * k) & 0xff));
	}
	return true;
}

void password_base64_append(struct buf *buf, const void *data, size_t len)
{
	size_t text = (len + 2) / 3 * 4;
	char *room = buf_reserve(buf, text + 1);

	if (room == NULL)
		return;
	EVP_EncodeBlock((unsigned char *)room, data, (int)len);
	buf_added(buf, text);
}

static bool digest_run(EVP_MD_CTX *context, const EVP_MD *md, const void *a, size_t a_len,
		       const void *b, size_t b_len, unsigned char *digest_r, size_t *len_r)
{
	unsigned len = 0;

	if (context == NULL || EVP_DigestInit_ex(context, md, NULL) != 1 ||
	    EVP_DigestUpdate(context, a, a_len) != 1 || EVP_DigestUpdate(context, b, b_len) != 1 ||
	    EVP_DigestFinal_ex(context, digest_r, &len) != 1)
		return false;
	*len_r = len;
	return true;
}

enum result password_digest(const char *digest, const void *a, size_t a_len, const void *b,
			    size_t b_len, unsigned char *digest_r, size_t *len_r, struct error *err)
{
	EVP_MD_CTX *context;
	EVP_MD *md;
	bool good;

	/* The error queue belongs to the program that we run in. */
	ERR_set_mark();
	md = EVP_MD_fetch(NULL, digest, NULL);
	ERR_pop_to_mark();
	if (md == NULL)
		return result_error(err, RESULT_PERM,
				    "OpenSSL offers no %s here (it may need its legacy provider)",
				    digest);
	context = EVP_MD_CTX_new();
	good = digest_run(context, md, a, a_len, b, b_len, digest_r, len_r);
	EVP_MD_CTX_free(context);
	EVP_MD_free(md);
	return good ? RESULT_FOUND
		    : result_error(err, RESULT_TEMP, "OpenSSL could not compute %s", digest);
}

static enum result malformed(struct error *err, const struct password_value *value)
{
	return result_error(err, RESULT_PERM, "malformed {%s} password", value->scheme->name);
}

/* Decodes the data into RAW; SIZE is what a fixed length must be, which tells hex from base64. */
static enum result decode(const struct password_value *value, size_t size, struct buf *raw,
			  struct error *err)
{
	const char *text = buf_str(&value->data);
	size_t len = value->data.len;
	bool hex = value->encoding == PASSWORD_HEX ||
		   (value->encoding == PASSWORD_GUESS && len == 2 * size);
	bool good =
		hex ? password_hex_decode(text, len, raw) : password_base64_decode(text, len, raw);

	if (!buf_ok(raw))
		return result_error(err, RESULT_TEMP, "out of memory");
	return good ? RESULT_FOUND : malformed(err, value);
}

size_t password_digest_size(const char *digest)
{
	if (strcmp(digest, "SHA1") == 0)
		return 20;
	if (strcmp(digest, "SHA256") == 0)
		return 32;
	return strcmp(digest, "SHA512") == 0 ? 64 : 16;
}

static enum result digest_compare(const char *password, const struct password_value *value,
				  const struct buf *raw, struct error *err)
{
	bool salted = value->scheme->kind == PASSWORD_SALTED;
	size_t size = password_digest_size(value->scheme->digest), len = 0;
	unsigned char digest[EVP_MAX_MD_SIZE];
	enum result result;

	if (salted ? raw->len <= size : raw->len != size)
		return malformed(err, value);
	result = password_digest(value->scheme->digest, password, strlen(password),
				 raw->data + size, raw->len - size, digest, &len, err);
	if (result == RESULT_FOUND && !secret_equal(digest, len, raw->data, size))
		result = RESULT_NONE;
	secret_wipe(digest, sizeof(digest));
	return result;
}

enum result password_digest_verify(const char *password, const struct password_value *value,
				   struct error *err)
{
	bool salted = value->scheme->kind == PASSWORD_SALTED;
	struct buf raw = BUF_SECRET;
	enum result result =
		decode(value, salted ? 0 : password_digest_size(value->scheme->digest), &raw, err);

	if (result == RESULT_FOUND)
		result = digest_compare(password, value, &raw, err);
	buf_free(&raw);
	return result;
}

static void word_put(unsigned char *out, MD5_LONG word)
{
	for (unsigned i = 0; i < 4; i++)
		out[i] = (unsigned char)(word >> (8 * i));
}

/* The state of MD5 after the block of KEY xor PAD, in little-endian words. */
static bool hmac_state(const unsigned char *key, unsigned char pad, unsigned char *state_r)
{
	unsigned char block[MD5_BLOCK];
	MD5_CTX context;
	bool good;

	for (size_t i = 0; i < sizeof(block); i++)
		block[i] = key[i] ^ pad;
	good = MD5_Init(&context) == 1 && MD5_Update(&context, block, sizeof(block)) == 1;
	word_put(state_r, context.A);
	word_put(state_r + 4, context.B);
	word_put(state_r + 8, context.C);
	word_put(state_r + 12, context.D);
	secret_wipe(&context, sizeof(context));
	secret_wipe(block, sizeof(block));
	return good;
}

static enum result cram_md5_states(const char *password, unsigned char *states_r, struct error *err)
{
	unsigned char key[EVP_MAX_MD_SIZE] = {0};
	size_t len = strlen(password);
	enum result result = RESULT_FOUND;

	if (len <= MD5_BLOCK)
		memcpy(key, password, len);
	else
		result = password_digest("MD5", password, len, "", 0, key, &len, err);
	if (result == RESULT_FOUND &&
	    (!hmac_state(key, 0x5c, states_r) || !hmac_state(key, 0x36, states_r + 16)))
		result = result_error(err, RESULT_TEMP, "OpenSSL could not compute MD5");
	secret_wipe(key, sizeof(key));
	return result;
}

enum result password_cram_md5_verify(const char *password, const struct password_value *value,
				     struct error *err)
{
	unsigned char states[CRAM_MD5_SIZE];
	struct buf raw = BUF_SECRET;
	enum result result = decode(value, sizeof(states), &raw, err);

	if (result == RESULT_FOUND && raw.len != sizeof(states))
		result = malformed(err, value);
	if (result == RESULT_FOUND)
		result = cram_md5_states(password, states, err);
	if (result == RESULT_FOUND && !secret_equal(states, sizeof(states), raw.data, raw.len))
		result = RESULT_NONE;
	secret_wipe(states, sizeof(states));
	buf_free(&raw);
	return result;
}

/* user:realm: with the realm from behind the last '@', empty without one. */
static enum result digest_md5_compare(const char *password, const char *login,
				      const struct buf *raw, struct error *err)
{
	const char *at = strrchr(login, '@');
	size_t user = at != NULL ? (size_t)(at - login) : strlen(login), len = 0;
	struct buf name = BUF_INIT;
	unsigned char digest[EVP_MAX_MD_SIZE];
	enum result result;

	buf_append(&name, login, user);
	buf_putc(&name, ':');
	buf_puts(&name, at != NULL ? at + 1 : "");
	buf_putc(&name, ':');
	result = buf_ok(&name) ? password_digest("MD5", name.data, name.len, password,
						 strlen(password), digest, &len, err)
			       : result_error(err, RESULT_TEMP, "out of memory");
	if (result == RESULT_FOUND && !secret_equal(digest, len, raw->data, raw->len))
		result = RESULT_NONE;
	secret_wipe(digest, sizeof(digest));
	buf_free(&name);
	return result;
}

enum result password_digest_md5_verify(const char *password, const struct password_value *value,
				       const char *login, struct error *err)
{
	struct buf raw = BUF_SECRET;
	enum result result;

	if (login == NULL)
		return result_error(err, RESULT_PERM,
				    "a {DIGEST-MD5} password needs the login name");
	result = decode(value, MD5_DIGEST_LENGTH, &raw, err);
	if (result == RESULT_FOUND && raw.len != MD5_DIGEST_LENGTH)
		result = malformed(err, value);
	if (result == RESULT_FOUND)
		result = digest_md5_compare(password, login, &raw, err);
	buf_free(&raw);
	return result;
}

/* The number between AT and END; 0: malformed or over UINT32_MAX. */
static uint32_t rounds_parse(const char *at, const char *end)
{
	uint64_t rounds = 0;

	if (end - at > 10)
		return 0;
	for (; at < end; at++) {
		if (*at < '0' || *at > '9')
			return 0;
		rounds = rounds * 10 + (uint64_t)(*at - '0');
	}
	return rounds > UINT32_MAX ? 0 : (uint32_t)rounds;
}

static enum result pbkdf2_compare(const char *password, const char *salt, size_t salt_len,
				  uint32_t rounds, const struct buf *raw, struct error *err)
{
	unsigned char key[PBKDF2_SIZE];
	bool good =
		PKCS5_PBKDF2_HMAC(password, (int)strlen(password), (const unsigned char *)salt,
				  (int)salt_len, (int)rounds, EVP_sha1(), sizeof(key), key) == 1;
	bool equal = good && secret_equal(key, sizeof(key), raw->data, raw->len);

	secret_wipe(key, sizeof(key));
	if (!good)
		return result_error(err, RESULT_TEMP, "OpenSSL could not compute PBKDF2");
	return equal ? RESULT_FOUND : RESULT_NONE;
}

enum result password_pbkdf2_verify(const char *password, const struct password_value *value,
				   const struct password_limits *limits, struct error *err)
{
	const char *salt = buf_str(&value->data) + 3, *salt_end, *rounds_end;
	struct buf raw = BUF_SECRET;
	enum result result;
	uint32_t rounds;

	if (strncmp(buf_str(&value->data), "$1$", 3) != 0)
		return malformed(err, value);
	salt_end = strchr(salt, '$');
	rounds_end = salt_end != NULL ? strchr(salt_end + 1, '$') : NULL;
	rounds = rounds_end != NULL ? rounds_parse(salt_end + 1, rounds_end) : 0;
	if (rounds == 0)
		return malformed(err, value);
	if (rounds > limits->sha_rounds || rounds > INT32_MAX)
		return result_error(
			err, RESULT_PERM,
			"the stored {PBKDF2} password costs more than the limits allow");
	if (!password_hex_decode(rounds_end + 1, strlen(rounds_end + 1), &raw) ||
	    (buf_ok(&raw) && raw.len != PBKDF2_SIZE))
		result = malformed(err, value);
	else if (!buf_ok(&raw))
		result = result_error(err, RESULT_TEMP, "out of memory");
	else
		result = pbkdf2_compare(password, salt, (size_t)(salt_end - salt), rounds, &raw,
					err);
	buf_free(&raw);
	return result;
}
