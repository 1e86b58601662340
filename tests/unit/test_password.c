/*
 * test_password - published vectors of every scheme, what must never match, cost caps, new values
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <check.h>
#include <openssl/evp.h>
#include <openssl/provider.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/deadline.h"
#include "common/password.h"

struct vector {
	const char *password, *stored, *default_scheme, *login;
};

static const struct vector vectors[] = {
	/* crypt(3) */
	{"test", "{CRYPT}//EsnG9FLTKjo", NULL, NULL},
	{"test123", "VXAXutUnpVYg6", "CRYPT", NULL},
	{"test123", "VXAXutUnpVYg6", "des-crypt", NULL},
	{"abc", "_/...CCCC//OWMW4PJcU", "CRYPT", NULL},
	{"abc", "{CRYPT}_/...CCCC//OWMW4PJcU", NULL, NULL},
	{"test", "{MD5-CRYPT}$1$GgvxyNz8$OjZhLh4P.gF1lxYEbLZ3e/", NULL, NULL},
	{"test123", "{MD5-CRYPT}$1$AIjpWveQ$2s3eEAbZiqkJhMYUIVR240", NULL, NULL},
	{"test", "{MD5-CRYPT}GgvxyNz8$OjZhLh4P.gF1lxYEbLZ3e/", NULL, NULL},
	{"test", "GgvxyNz8$OjZhLh4P.gF1lxYEbLZ3e/", "MD5", NULL},
	{"test", "{BLF-CRYPT}$2y$05$11ipvo5dR6CwkzwmhwM26OXgzXwhV2PyPuLV.Qi31ILcRcThQpEiW", NULL,
	 NULL},
	{"test123", "$2y$10$4gbwQMAoJPcg.mWnENYNg.syH9mZNsbQu6KN7skK92g3tlPnvvBDW", NULL, NULL},
	{"abc", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.gNn9EDJdrUJF53AHnb.4T9BCvqhUYdW", NULL, NULL},
	{"hello", "{SHA256-CRYPT}$5$VhqhhsXJtPFeBX9e$kz3/CMIEu80bKdtDAcISIrDfdwtc.ilR68Vb3hNhu/7",
	 NULL, NULL},
	{"08/15!test~4711",
	 "$6$rounds=1000$0123456789abcdef$ZIAd5WqfyLkpvsVCVUU1GrvqaZTqvhJoouxdSqJO71l9Ld3tVrfOatEj"
	 "arhghvEYADkq//LpDnTeO90tcbtHR1",
	 NULL, NULL},
	{"foo",
	 "$6$ijF8bgunALqnEHTo$LHVa6XQBpM5Gt16RMFQuXqrGAS0y0ymaLS8pnkeVUTSx3t2DrGqWwRj6q4ef3V3SWYk"
	 "b5xkuN9bv7joxNd8kA1",
	 "PLAIN", NULL},
	{"abc", "$y$j75$LdJMENpBABJJ3hIHjB1Bi.$aN8IREm4mVoXwP2ZkEbfFinwVjML6Krr5zkB50rSJX3", NULL,
	 NULL},
	{"abc", "$gy$j75$LdJMENpBABJJ3hIHjB1Bi.$L2dOa9cEfoqtM0yxuEyxQCctdYVD6HCXsluuaIJe9I.", NULL,
	 NULL},
	{"abc", "$7$66..../....unUNunUNunUNun$jXEtOySg6CHRImbAKo9ZS94G90MwIv/l3KJd2IQUYE1", NULL,
	 NULL},
	{"abc", "$sha1$456$GGXpNqoJvglVTkGU$1mhAryDechbI5mQqzYx6fvVAmwtb", NULL, NULL},
	{"abc", "$md5$9ZLwtuTO$$lVM7wgda0NqS96p1rXpJa.", NULL, NULL},
	/* wrapped */
	{"test123",
	 "{BLF-CRYPT.B64}JDJ5JDA1JEhlR0lBeGFHR2tNUGxjRWpyeFc0eU9oRjZZZ1NuTWVOTXFxNWp4bmFwVjUwdGU3c"
	 "2x2L1VT",
	 NULL, NULL},
	{"test123",
	 "{SHA256-CRYPT.B64}JDUkUTZZS1ZzZS5sSVJoLndodCR6TWNOUVFVVkhtTmM1ME1SQk9TR3BEeGpRY2M1TzJTQ1l"
	 "kbWhPN1YxeHlD",
	 NULL, NULL},
	{"test123",
	 "{SHA512-CRYPT.B64}JDYkR2JwY3NiZXNMWk9DdERXbiRYdXlhdEZTdy9oa3lyUFE0d24wenpGQTZrSlpTUE9QVWd"
	 "PcjVRUC40bTRMTjEzdy81aWMvWTdDZllRMWVqSWlhNkd3Q2Z0ZnNjZEFpam9OWjl3OU5tLw==",
	 NULL, NULL},
	{"test123",
	 "{ARGON2ID.B64}JGFyZ29uMmlkJHY9MTkkbT02NTUzNix0PTMscD0xJEljdG9DWko1T04zWlYzM3I0TVMrNEEkMUV"
	 "tNTJRWkdsRlJzNnBsRXpwVmtMeVd4dVNPRUZ2dUZnaVNhTmNlb08rOA==",
	 NULL, NULL},
	/* Argon2 */
	{"test",
	 "{ARGON2I}$argon2i$v=19$m=32768,t=4,p=1$f2iuP4aUeNMrgu34fhOkkg$1XSZZMWlIs0zmE+snlUIcLADO3"
	 "GXbA2O/hsQmmc317k",
	 NULL, NULL},
	{"password",
	 "$argon2i$v=19$m=256,t=2,p=1$c29tZXNhbHQ$iekCn0Y3spW+sCcFanM2xBT63UP2sghkUoHLIUpWRS8",
	 NULL, NULL},
	{"test",
	 "{ARGON2ID}$argon2id$v=19$m=65536,t=3,p=1$vBb99oJ12p3WAdYlaMHz1A$jtFOtbo/sYV9OSlTxDo/nVNq"
	 "3uArHd5GJSEx0ty85Cc",
	 NULL, NULL},
	{"password",
	 "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
	 NULL, NULL},
	/* two lanes */
	{"password",
	 "$argon2i$v=19$m=256,t=2,p=2$c29tZXNhbHQ$T/XOJ2mh1/TIpJHfCdQan76Q5esCFVoT5MAeIM1Oq2E",
	 NULL, NULL},
	{"password",
	 "$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc",
	 NULL, NULL},
	/* clear text and digests */
	{"test", "{PLAIN}test", NULL, NULL},
	{"test", "{clear}test", NULL, NULL},
	{"test", "{CLEARTEXT.hex}74657374", NULL, NULL},
	{"x", "{PLAIN}x", NULL, NULL},
	{"$ecret", "$ecret", "PLAIN", NULL},
	{"*star", "*star", "cleartext", NULL},
	{"{half", "{half", "PLAIN", NULL},
	{"test", "{SHA1}qUqP5cyxm6YcTAhz05Hph5gvu9M=", NULL, NULL},
	{"test", "{SHA}qUqP5cyxm6YcTAhz05Hph5gvu9M=", NULL, NULL},
	{"test", "{SHA1}a94a8fe5ccb19ba61c4c0873d391e987982fbbd3", NULL, NULL},
	{"test", "{SHA256}n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg=", NULL, NULL},
	{"test",
	 "{SHA512}7iaw3Ur350mqGo7jwQrpkj9hiYB3Lkc/iBml1JQODbJ6wYX4oOHV+E+IvIh/1nsUNzLDBMxfqa2Ob1f1"
	 "ACio/w==",
	 NULL, NULL},
	{"test", "{SMD5}JTu1KRwptKZJg/RLd+6Vn5GUd0M=", NULL, NULL},
	{"test", "{SSHA}H/zrDv8FXUu1JmwvVYijfrYEF34jVZcO", NULL, NULL},
	{"test123", "{SSHA}pJTac1QSIHoi0qBPdqnBvgPdjfFtDRVY", NULL, NULL},
	{"test123", "{ssha.hex}a494da735412207a22d2a04f76a9c1be03dd8df16d0d1558", NULL, NULL},
	{"bar", "{SSHA256}A6l9GxNPXvtT1R9C0qC1KyRdD2mLZiXPKKVKOz+W5a4Cx+oyEIlRvA==", NULL, NULL},
	{"password",
	 "{SSHA512}f/lFQskkl7PdMsTGJxHZq8LDt/l+UqRMm6/pj4pV7/xZkcOaKCgvQqp+KCeXc/Vd4RY6vEHWn4y0DnF"
	 "cQ6wgyv9fyxk=",
	 NULL, NULL},
	{"toomanysecrets",
	 "{SSHA512}wExp4xjiCHS0zidJDC4UJq9EEeIebAQPJ1PWSwfhxWjfutI9XiiKuHm2AE41cEFfK+8HyI8bh+ztbcz"
	 "UGsvVFIgICWWPt7qu",
	 NULL, NULL},
	{"test", "{md5}CY9rzUYh03PK3k6DJie09g==", NULL, NULL},
	{"test", "{LDAP-MD5}CY9rzUYh03PK3k6DJie09g==", NULL, NULL},
	{"test", "{MD5}$1$GgvxyNz8$OjZhLh4P.gF1lxYEbLZ3e/", NULL, NULL},
	{"test", "{MD5}098f6bcd4621d373cade4e832627b4f6", NULL, NULL},
	{"test123", "{MD5RAW}cc03e747a6afbbcbf8be7668acfebee5", NULL, NULL},
	{"test", "098f6bcd4621d373cade4e832627b4f6", "PLAIN-MD5", NULL},
	{"test", "098f6bcd4621d373cade4e832627b4f6", "MD5", NULL},
	{"password", "{PBKDF2}$1$salt$4096$4b007901b765489abead49d926f721d065a429c1", NULL, NULL},
	/* challenge-response secrets */
	{"test", "{CRAM-MD5}e02d374fde0dc75a17a557039a3a5338c7743304777dccd376f332bee68d2cf6", NULL,
	 NULL},
	{"test", "{DIGEST-MD5}77c1a8c437c9b08ba2f460fe5d58db5d", NULL, "testuser1"},
	{"test",
	 "{SCRAM-SHA-1}4096,GetyLXdBuHzf1FWf8SLz2Q==,NA/OqmF4hhrsrB9KR7po+dliTGM=,QBiURvQaE6H6qYTm"
	 "eghDHLANBFQ=",
	 NULL, NULL},
	{"pencil",
	 "SCRAM-SHA-1$4096:QSXCR+Q6sek8bf92$6dlGYMOdZcOPutkcNY8U2g7vK9Y=:D+CSWLOshSulAsxiupA+qs2/f"
	 "TE=",
	 NULL, NULL},
	{"pencil",
	 "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY="
	 ":wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
	 "PLAIN", NULL},
	{"pencil",
	 "SCRAM-SHA-512$4096:W22ZaJ0SNY7soEsUEjb6gQ==$6AAub3065EYRmyFpM2RNwqK+eGnrkYuEWbXn19LsEmBq"
	 "zu8QaCXNc1FwpnX9NhH2hK/60dzj9DoO5DvVkOHbvg==:jZHbYjC1aHh0/hKbxyBuGFjDrgjgKTT1esA7awWiKcR"
	 "Z0o/0b1yWEebBeSVkkCFewf91nLDfKF24mvD5nmE6rA==",
	 NULL, NULL},
};

#define VECTOR_COUNT ((int)(sizeof(vectors) / sizeof(vectors[0])))

static enum result verify(const char *password, const char *stored, const char *default_scheme)
{
	return password_verify(password, stored, NULL, default_scheme, NULL, NULL);
}

START_TEST(test_vector)
{
	const struct vector *v = &vectors[_i];
	struct error err = {""};
	char wrong[64];
	enum result result =
		password_verify(v->password, v->stored, v->login, v->default_scheme, NULL, &err);

	ck_assert_msg(result == RESULT_FOUND, "%s: %s: %s", v->stored, result_name(result),
		      err.text);

	/* wrong in its last byte, too long, too short */
	snprintf(wrong, sizeof(wrong), "%s", v->password);
	wrong[strlen(wrong) - 1] ^= 1;
	ck_assert_int_eq(password_verify(wrong, v->stored, v->login, v->default_scheme, NULL, NULL),
			 RESULT_NONE);
	snprintf(wrong, sizeof(wrong), "%s!", v->password);
	ck_assert_int_eq(password_verify(wrong, v->stored, v->login, v->default_scheme, NULL, NULL),
			 strstr(v->stored, "TRUNC") != NULL ? RESULT_FOUND : RESULT_NONE);
	wrong[strlen(v->password) - 1] = '\0';
	ck_assert_int_eq(password_verify(wrong, v->stored, v->login, v->default_scheme, NULL, NULL),
			 RESULT_NONE);
	if (strcmp(v->password, v->stored) != 0)
		ck_assert_int_eq(password_verify(v->stored, v->stored, v->login, v->default_scheme,
						 NULL, NULL),
				 RESULT_NONE);
}
END_TEST

/* A value cut short must not match by the part that is left. */
START_TEST(test_vector_cut)
{
	const struct vector *v = &vectors[_i];
	char stored[512];

	if (strcasestr(v->stored, "{plain}") != NULL || strcasestr(v->stored, "clear") != NULL ||
	    strcmp(v->stored, v->password) == 0)
		return;
	ck_assert_uint_lt(strlen(v->stored), sizeof(stored));
	strcpy(stored, v->stored);
	stored[strlen(stored) - 1] = '\0';
	ck_assert_int_ne(
		password_verify(v->password, stored, v->login, v->default_scheme, NULL, NULL),
		RESULT_FOUND);
}
END_TEST

/* Nothing but the first argument may decide; "" and NULL stand for "no password given". */
START_TEST(test_empty_password)
{
	const struct vector *v = &vectors[_i];

	ck_assert_int_eq(password_verify("", v->stored, v->login, v->default_scheme, NULL, NULL),
			 RESULT_NONE);
	ck_assert_int_eq(password_verify(NULL, v->stored, v->login, v->default_scheme, NULL, NULL),
			 RESULT_NONE);
}
END_TEST

static const char *const never[] = {
	"",          "*",        "*0",      "*1",       "!",         "!!",
	"x",         "NULL",     "{PLAIN}", "{CRYPT}",  "{CRYPT}*",  "{CRYPT}*0",
	"{CRYPT}!!", "{CRYPT}x", "{SHA}!",  "{SSHA}*0", "{MD5}NULL", "{PLAIN.b64}",
};

START_TEST(test_never)
{
	static const char *const defaults[] = {NULL, "", "PLAIN", "CRYPT", "MD5", "SSHA512"};
	static const char *const passwords[] = {"x", "*", "*0", "!", "NULL", "secret", " "};

	for (size_t d = 0; d < sizeof(defaults) / sizeof(defaults[0]); d++) {
		for (size_t p = 0; p < sizeof(passwords) / sizeof(passwords[0]); p++)
			ck_assert_int_eq(verify(passwords[p], never[_i], defaults[d]), RESULT_NONE);
		ck_assert_int_eq(verify(never[_i], never[_i], defaults[d]), RESULT_NONE);
		ck_assert_int_eq(verify("secret", NULL, defaults[d]), RESULT_NONE);
	}
	ck_assert_int_eq(verify("secret", "!$6$salt$hash", NULL), RESULT_NONE);
	ck_assert_int_eq(verify("secret", "*LOCKED*", "SHA512-CRYPT"), RESULT_NONE);
}
END_TEST

static const struct {
	const char *stored, *default_scheme, *says;
} malformed[] = {
	{"{UNKNOWN}abc", NULL, "UNKNOWN"},
	{"{UNKNOWN}abc", "PLAIN", "UNKNOWN"},
	{"{PLAIN.rot13}abc", NULL, "PLAIN.rot13"},
	{"{my secret}word", "PLAIN", "names no scheme"},
	{"{}word", NULL, "names no scheme"},
	{"{half", NULL, "names no scheme"},
	{"secret", NULL, "names no scheme"},
	{"secret", "", "names no scheme"},
	{"secret", "NONSENSE", "default scheme"},
	{"VXAXutUnpVYg6", NULL, "no default"},
	{"VX", "CRYPT", "DES-CRYPT"},
	{"{DES-CRYPT}VXAXutUnpVYg6x", NULL, "DES-CRYPT"},
	{"{CRYPT}_/...CCCC//OWMW4PJc", NULL, "DES-CRYPT"},
	{"$9$abc$def", "CRYPT", "crypt(3)"},
	{"{MD5}098f6bcd4621d373cade4e832627b4f", NULL, "MD5"},
	{"{MD5}098f6bcd4621d373cade4e832627b4fz", NULL, "MD5"},
	{"{MD5-CRYPT}toolongsalt$OjZhLh4P.gF1lxYEbLZ3e/", NULL, "MD5-CRYPT"},
	{"{PLAIN-MD5}098f6bcd4621d373cade4e832627b4", NULL, "PLAIN-MD5"},
	{"{SHA1}qUqP5cyxm6YcTAhz05Hph5gvu9==", NULL, "SHA1"},
	{"{SHA1}qUqP5cyxm6YcTAhz05Hph5gvu9M", NULL, "SHA1"},
	{"{SHA1}qUqP5cyxm6YcTA\thz05Hph5gvu9=", NULL, "SHA1"},
	{"{SHA1}qUqP5cyxm6YcTAhz05Hph5=vu9M=", NULL, "SHA1"},
	{"{SHA256}n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCg==", NULL, "SHA256"},
	{"{SSHA}qUqP5cyxm6YcTAhz05Hph5gvu9M=", NULL, "SSHA"},
	{"{SSHA}$$$$", NULL, "SSHA"},
	{"{SSHA.hex}a494d", NULL, "SSHA"},
	{"{PLAIN.b64}dGVzd\nA=", NULL, "PLAIN"},
	{"{PLAIN.b64}dGVzAHQ=", NULL, "PLAIN"}, /* a NUL inside */
	{"{CRAM-MD5}e02d374fde0dc75a17a557039a3a5338", NULL, "CRAM-MD5"},
	{"{DIGEST-MD5}77c1a8c437c9b08ba2f460fe5d58db5d", NULL, "login"},
	{"{PBKDF2}$2$salt$4096$4b007901b765489abead49d926f721d065a429c1", NULL, "PBKDF2"},
	{"{PBKDF2}$1$salt$x$4b007901b765489abead49d926f721d065a429c1", NULL, "PBKDF2"},
	{"{PBKDF2}$1$salt$4096$4b007901b765489abead49d926f721d065a429", NULL, "PBKDF2"},
	{"{PBKDF2}$1$salt", NULL, "PBKDF2"},
	{"{PBKDF2}$", NULL, "PBKDF2"},
	{"{SCRAM-SHA-1}4096,GetyLXdBuHzf1FWf8SLz2Q==,NA/OqmF4hhrsrB9KR7po+dliTGM=", NULL, "SCRAM"},
	{"{SCRAM-SHA-1}0,GetyLXdBuHzf1FWf8SLz2Q==,NA/OqmF4hhrsrB9KR7po+dliTGM=,QBiURvQaE6H6qYTmeghD"
	 "HLANBFQ=",
	 NULL, "SCRAM"},
	{"{SCRAM-SHA-256}4096,GetyLXdBuHzf1FWf8SLz2Q==,NA/OqmF4hhrsrB9KR7po+dliTGM=,QBiURvQaE6H6qYT"
	 "meghDHLANBFQ=",
	 NULL, "SCRAM"},
	{"SCRAM-SHA-1$4096:QSXCR+Q6sek8bf92", NULL, "SCRAM"},
	{"{PLAIN-TRUNC}test", NULL, "TRUNC"},
	{"{PLAIN-TRUNC}0-test", NULL, "TRUNC"},
	{"{PLAIN-TRUNC}99999999999999999999-test", NULL, "TRUNC"},
	{"$argon2d$v=19$m=256,t=2,p=1$c29tZXNhbHQ$iekCn0Y3spW+sCcFanM2xBT63UP2sghkUoHLIUpWRS8",
	 NULL, "Argon2d"},
	{"$argon2i$m=256,t=2,p=1$c29tZXNhbHQ$/U3YPXYsSb3q9XxHvc0MLxur+GP960kN9j7emXX8zwY", NULL,
	 "version 19"},
	{"$argon2i$v=19$m=256,t=2$c29tZXNhbHQ$iekCn0Y3spW+sCcFanM2xBT63UP2sghkUoHLIUpWRS8", NULL,
	 "Argon2"},
	{"$argon2id$v=19$m=256,t=2,p=1$c29t@XNhbHQ$iekC", NULL, "Argon2"},
	{"$y$", NULL, "yescrypt"},
	{"$7$6", NULL, "scrypt"},
};

#define MALFORMED_COUNT ((int)(sizeof(malformed) / sizeof(malformed[0])))

START_TEST(test_malformed)
{
	struct error err = {""};
	enum result result = password_verify("test", malformed[_i].stored, NULL,
					     malformed[_i].default_scheme, NULL, &err);

	ck_assert_msg(result == RESULT_PERM, "%s: %s", malformed[_i].stored, result_name(result));
	ck_assert_msg(strstr(err.text, malformed[_i].says) != NULL, "%s: %s", malformed[_i].stored,
		      err.text);
}
END_TEST

/* The text must not tell what is stored. */
START_TEST(test_error_keeps_secret)
{
	struct error err;

	ck_assert_int_eq(password_verify("a", "hunter2", NULL, NULL, NULL, &err), RESULT_PERM);
	ck_assert_ptr_null(strstr(err.text, "hunter2"));
	ck_assert_int_eq(password_verify("a", "{hunter 2}", NULL, "PLAIN", NULL, &err),
			 RESULT_PERM);
	ck_assert_ptr_null(strstr(err.text, "hunter"));
	ck_assert_int_eq(password_verify("a", "{SHA}hunter2", NULL, NULL, NULL, &err), RESULT_PERM);
	ck_assert_ptr_null(strstr(err.text, "hunter2"));
}
END_TEST

static const char *const costly[] = {
	"$6$rounds=999999999$salt$hash",
	"$5$rounds=1000001$salt$hash",
	"{SHA512-CRYPT}$6$rounds=99999999999999999999999$salt$hash",
	"$2y$31$11ipvo5dR6CwkzwmhwM26OXgzXwhV2PyPuLV.Qi31ILcRcThQpEiW",
	"$2b$15$11ipvo5dR6CwkzwmhwM26OXgzXwhV2PyPuLV.Qi31ILcRcThQpEiW",
	"$argon2id$v=19$m=4294967295,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/"
	"4",
	"$argon2id$v=19$m=262145,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
	"$argon2i$v=19$m=256,t=17,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
	"$argon2i$v=19$m=99999999999999999999999,t=1,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQ"
	"wu9U1bMCHGi/4",
	"$sha1$4000000000$GGXpNqoJvglVTkGU$1mhAryDechbI5mQqzYx6fvVAmwtb",
	"$md5,rounds=4000000000$9ZLwtuTO$$lVM7wgda0NqS96p1rXpJa.",
	"{CRYPT}_zzzzCCCC//OWMW4PJcU",
	"$7$z6..../....unUNunUNunUNun$jXEtOySg6CHRImbAKo9ZS94G90MwIv/l3KJd2IQUYE1",
	"$7$6zzzzz/....unUNunUNunUNun$jXEtOySg6CHRImbAKo9ZS94G90MwIv/l3KJd2IQUYE1",
	"$7$66....zzzzzunUNunUNunUNun$jXEtOySg6CHRImbAKo9ZS94G90MwIv/l3KJd2IQUYE1",
	"$y$jLT$LdJMENpBABJJ3hIHjB1Bi.$aN8IREm4mVoXwP2ZkEbfFinwVjML6Krr5zkB50rSJX3",
	"$gy$jAz.....$LdJMENpBABJJ3hIHjB1Bi.$L2dOa9cEfoqtM0yxuEyxQCctdYVD6HCXsluuaIJe9I.",
	"$y$j750z.....z.....$LdJMENpBABJJ3hIHjB1Bi.$aN8IREm4mVoXwP2ZkEbfFinwVjML6Krr5zkB50rSJX3",
	"{PBKDF2}$1$salt$1000001$4b007901b765489abead49d926f721d065a429c1",
	"{SCRAM-SHA-1}999999999,GetyLXdBuHzf1FWf8SLz2Q==,NA/OqmF4hhrsrB9KR7po+dliTGM=,QBiURvQaE6H6q"
	"YTmeghDHLANBFQ=",
};

#define COSTLY_COUNT ((int)(sizeof(costly) / sizeof(costly[0])))

START_TEST(test_costly)
{
	struct error err = {""};
	int64_t start = deadline_now_ms();
	enum result result = password_verify("test", costly[_i], NULL, NULL, NULL, &err);

	ck_assert_msg(result == RESULT_PERM, "%s: %s", costly[_i], result_name(result));
	ck_assert_msg(strstr(err.text, "limits") != NULL, "%s: %s", costly[_i], err.text);
	ck_assert_int_lt(deadline_now_ms() - start, 500);
}
END_TEST

/* Each limit refuses what is one above it and takes what is equal to it. */
START_TEST(test_limits)
{
	static const struct {
		const char *password, *stored;
		struct password_limits above, equal;
	} cases[] = {
		{"08/15!test~4711",
		 "$6$rounds=1000$0123456789abcdef$ZIAd5WqfyLkpvsVCVUU1GrvqaZTqvhJoouxdSqJO71l9Ld3tV"
		 "rfOatEjarhghvEYADkq//LpDnTeO90tcbtHR1",
		 {.sha_rounds = 999},
		 {.sha_rounds = 1000}},
		{"test",
		 "$2y$05$11ipvo5dR6CwkzwmhwM26OXgzXwhV2PyPuLV.Qi31ILcRcThQpEiW",
		 {.bcrypt_cost = 4},
		 {.bcrypt_cost = 5}},
		{"password",
		 "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHG"
		 "i/4",
		 {.memory_bytes = 255 << 10},
		 {.memory_bytes = 256 << 10}},
		{"password",
		 "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHG"
		 "i/4",
		 {.passes = 1},
		 {.passes = 2}},
		{"abc",
		 "$7$66..../....unUNunUNunUNun$jXEtOySg6CHRImbAKo9ZS94G90MwIv/l3KJd2IQUYE1",
		 {.memory_bytes = (256 << 10) - 1},
		 {.memory_bytes = 256 << 10}},
		{"abc",
		 "$y$j75$LdJMENpBABJJ3hIHjB1Bi.$aN8IREm4mVoXwP2ZkEbfFinwVjML6Krr5zkB50rSJX3",
		 {.memory_bytes = (1 << 20) - 1},
		 {.memory_bytes = 1 << 20}},
		{"password",
		 "{PBKDF2}$1$salt$4096$4b007901b765489abead49d926f721d065a429c1",
		 {.sha_rounds = 4095},
		 {.sha_rounds = 4096}},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		ck_assert_int_eq(password_verify(cases[i].password, cases[i].stored, NULL, NULL,
						 &cases[i].above, NULL),
				 RESULT_PERM);
		ck_assert_int_eq(password_verify(cases[i].password, cases[i].stored, NULL, NULL,
						 &cases[i].equal, NULL),
				 RESULT_FOUND);
	}
}
END_TEST

START_TEST(test_lengths)
{
	char password[PASSWORD_MAX + 2], stored[PASSWORD_MAX + 16], *huge;

	memset(password, 'a', sizeof(password));
	password[PASSWORD_MAX] = '\0';
	snprintf(stored, sizeof(stored), "{PLAIN}%s", password);
	ck_assert_int_eq(verify(password, stored, NULL), RESULT_FOUND);
	password[PASSWORD_MAX] = 'a';
	password[PASSWORD_MAX + 1] = '\0';
	snprintf(stored, sizeof(stored), "{PLAIN}%s", password);
	ck_assert_int_eq(verify(password, stored, NULL), RESULT_NONE);
	password[512] = '\0';
	ck_assert_int_eq(verify(password, vectors[0].stored, NULL), RESULT_NONE);

	huge = malloc(1 << 20);
	ck_assert_ptr_nonnull(huge);
	memset(huge, 'A', 1 << 20);
	huge[(1 << 20) - 1] = '\0';
	memcpy(huge, "{SSHA}", 6);
	ck_assert_int_eq(verify("test", huge, NULL), RESULT_PERM);
	free(huge);
}
END_TEST

START_TEST(test_truncated)
{
	ck_assert_int_eq(verify("test", "{PLAIN-TRUNC}4-test", NULL), RESULT_FOUND);
	ck_assert_int_eq(verify("testing", "{PLAIN-TRUNC}4-test", NULL), RESULT_FOUND);
	ck_assert_int_eq(verify("tes", "{PLAIN-TRUNC}4-test", NULL), RESULT_NONE);
	ck_assert_int_eq(verify("test", "{PLAIN-TRUNC}8-test", NULL), RESULT_FOUND);
	ck_assert_int_eq(verify("testing", "{PLAIN-TRUNC}8-test", NULL), RESULT_NONE);
}
END_TEST

START_TEST(test_digest_md5_login)
{
	static const char other[] = "{DIGEST-MD5}77c1a8c437c9b08ba2f460fe5d58db5d"; /* no realm */
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned len = 0;
	char real[sizeof(other)] = "{DIGEST-MD5}";

	ck_assert_int_eq(
		EVP_Digest("testuser1:example.com:test", 26, digest, &len, EVP_md5(), NULL), 1);
	for (unsigned i = 0; i < len; i++)
		snprintf(real + 12 + 2 * i, 3, "%02x", digest[i]);
	ck_assert_int_eq(password_verify("test", real, "testuser1@example.com", NULL, NULL, NULL),
			 RESULT_FOUND);
	ck_assert_int_eq(password_verify("test", real, "testuser1", NULL, NULL, NULL), RESULT_NONE);
	ck_assert_int_eq(password_verify("test", real, "testuser2@example.com", NULL, NULL, NULL),
			 RESULT_NONE);
	ck_assert_int_eq(password_verify("test", other, "testuser1@example.com", NULL, NULL, NULL),
			 RESULT_NONE);
}
END_TEST

/* Without the legacy provider MD4 is a clear error, with it the vector of RFC 1320 matches. */
START_TEST(test_md4)
{
	static const char stored[] = "{PLAIN-MD4}a448017aaf21d8525fc10ae87aa6729d";
	struct error err = {""};
	OSSL_PROVIDER *legacy, *standard;

	if (password_verify("abc", stored, NULL, NULL, NULL, &err) != RESULT_FOUND)
		ck_assert_ptr_nonnull(strstr(err.text, "MD4"));
	standard = OSSL_PROVIDER_load(NULL, "default");
	legacy = OSSL_PROVIDER_load(NULL, "legacy");
	ck_assert_ptr_nonnull(standard);
	ck_assert_ptr_nonnull(legacy);
	ck_assert_int_eq(verify("abc", stored, NULL), RESULT_FOUND);
	ck_assert_int_eq(verify("abd", stored, NULL), RESULT_NONE);
	OSSL_PROVIDER_unload(legacy);
	OSSL_PROVIDER_unload(standard);
}
END_TEST

START_TEST(test_clear_text)
{
	static const struct {
		const char *stored, *default_scheme, *clear;
	} cases[] = {
		{"{PLAIN}test", NULL, "test"},
		{"{clear}a}b", NULL, "a}b"},
		{"{CLEARTEXT}x", "SSHA", "x"},
		{"{PLAIN.b64}dGVzdA==", NULL, "test"},
		{"test", "PLAIN", "test"},
		{"test", NULL, NULL},
		{"test", "SHA512-CRYPT", NULL},
		{"{PLAIN}", NULL, NULL},
		{"", "PLAIN", NULL},
		{"x", "PLAIN", NULL},
		{"$6$a$b", "PLAIN", NULL},
		{"{SSHA}H/zrDv8FXUu1JmwvVYijfrYEF34jVZcO", NULL, NULL},
		{NULL, "PLAIN", NULL},
		{"{nonsense}a", "PLAIN", NULL},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct buf clear = BUF_SECRET;
		enum result result =
			password_clear_text(cases[i].stored, cases[i].default_scheme, &clear);

		ck_assert_int_eq(result, cases[i].clear != NULL ? RESULT_FOUND : RESULT_NONE);
		ck_assert_str_eq(buf_str(&clear), cases[i].clear != NULL ? cases[i].clear : "");
		buf_free(&clear);
	}
}
END_TEST

START_TEST(test_scram)
{
	static const struct {
		const char *stored, *verifier;
	} cases[] = {
		{"{SCRAM-SHA-1}4096,GetyLXdBuHzf1FWf8SLz2Q==,NA/OqmF4hhrsrB9KR7po+dliTGM=,QBiURvQaE"
		 "6H6qYTmeghDHLANBFQ=",
		 "SCRAM-SHA-1$4096:GetyLXdBuHzf1FWf8SLz2Q==$NA/OqmF4hhrsrB9KR7po+dliTGM=:QBiURvQaE6"
		 "H6qYTmeghDHLANBFQ="},
		{"scram-sha-1$4096:QSXCR+Q6sek8bf92$6dlGYMOdZcOPutkcNY8U2g7vK9Y=:D+CSWLOshSulAsxiup"
		 "A+qs2/fTE=",
		 "SCRAM-SHA-1$4096:QSXCR+Q6sek8bf92$6dlGYMOdZcOPutkcNY8U2g7vK9Y=:D+"
		 "CSWLOshSulAsxiupA"
		 "+qs2/fTE="},
		{"{PLAIN}pencil", NULL},
		{"pencil", NULL},
		{"", NULL},
		{NULL, NULL},
		{"{SCRAM-SHA-1}4096,GetyLXdBuHzf1FWf8SLz2Q==", NULL},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct buf verifier = BUF_SECRET;
		enum result result = password_scram(cases[i].stored, &verifier);

		ck_assert_int_eq(result, cases[i].verifier != NULL ? RESULT_FOUND : RESULT_NONE);
		ck_assert_str_eq(buf_str(&verifier),
				 cases[i].verifier != NULL ? cases[i].verifier : "");
		buf_free(&verifier);
	}
}
END_TEST

static const struct {
	const char *scheme, *begins;
} made[] = {
	{NULL, "$6$"},
	{"sha512-crypt", "$6$"},
	{"SHA256-CRYPT", "$5$"},
	{"BLF-CRYPT", "$2y$10$"},
	{"YESCRYPT", "$y$"},
	{"ARGON2ID", "{ARGON2ID}$argon2id$v=19$"},
	{"SSHA512", "{SSHA512}"},
	{"PLAIN", "{PLAIN}"},
	{"SCRAM-SHA-256", "{SCRAM-SHA-256}"},
};

START_TEST(test_make)
{
	static const char password[] = "p\xc3\xa4ss w}ord$";
	struct buf first = BUF_SECRET, second = BUF_SECRET;
	struct error err = {""};

	ck_assert_msg(password_make(password, made[_i].scheme, &first, &err) == RESULT_FOUND, "%s",
		      err.text);
	ck_assert_int_eq(strncmp(buf_str(&first), made[_i].begins, strlen(made[_i].begins)), 0);
	ck_assert_int_eq(verify(password, buf_str(&first), NULL), RESULT_FOUND);
	ck_assert_int_eq(verify("other", buf_str(&first), NULL), RESULT_NONE);
	ck_assert_int_eq(password_make(password, made[_i].scheme, &second, &err), RESULT_FOUND);
	if (strcmp(made[_i].begins, "{PLAIN}") != 0)
		ck_assert_str_ne(buf_str(&first), buf_str(&second));
	buf_free(&first);
	buf_free(&second);
}
END_TEST

START_TEST(test_make_refuses)
{
	char password[PASSWORD_MAX + 2];
	struct buf stored = BUF_SECRET;
	struct error err = {""};

	ck_assert_int_eq(password_make("", NULL, &stored, &err), RESULT_PERM);
	ck_assert_int_eq(password_make(NULL, NULL, &stored, &err), RESULT_PERM);
	ck_assert_int_eq(password_make("a\nb", NULL, &stored, &err), RESULT_PERM);
	ck_assert_int_eq(password_make("a", "CRAM-MD5", &stored, &err), RESULT_PERM);
	ck_assert_ptr_nonnull(strstr(err.text, "SHA512-CRYPT"));
	memset(password, 'a', sizeof(password));
	password[sizeof(password) - 1] = '\0';
	ck_assert_int_eq(password_make(password, "PLAIN", &stored, &err), RESULT_PERM);
	password[512] = '\0';
	ck_assert_int_eq(password_make(password, NULL, &stored, &err), RESULT_PERM);
	password[73] = '\0';
	ck_assert_int_eq(password_make(password, "BLF-CRYPT", &stored, &err), RESULT_PERM);
	ck_assert_uint_eq(stored.len, 0);
	buf_free(&stored);
}
END_TEST

static void *verify_all(void *context)
{
	size_t *wrong = context;

	for (int i = 0; i < VECTOR_COUNT; i++)
		if (password_verify(vectors[i].password, vectors[i].stored, vectors[i].login,
				    vectors[i].default_scheme, NULL, NULL) != RESULT_FOUND)
			++*wrong;
	return NULL;
}

START_TEST(test_threads)
{
	pthread_t threads[4];
	size_t wrong[4] = {0};

	for (size_t i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, verify_all, &wrong[i]), 0);
	for (size_t i = 0; i < 4; i++) {
		ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
		ck_assert_uint_eq(wrong[i], 0);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("password");
	TCase *verifying = tcase_create("verify"), *making = tcase_create("make");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(verifying, 60);
	tcase_set_timeout(making, 60);
	tcase_add_loop_test(verifying, test_vector, 0, VECTOR_COUNT);
	tcase_add_loop_test(verifying, test_vector_cut, 0, VECTOR_COUNT);
	tcase_add_loop_test(verifying, test_empty_password, 0, VECTOR_COUNT);
	tcase_add_loop_test(verifying, test_never, 0, (int)(sizeof(never) / sizeof(never[0])));
	tcase_add_loop_test(verifying, test_malformed, 0, MALFORMED_COUNT);
	tcase_add_test(verifying, test_error_keeps_secret);
	tcase_add_loop_test(verifying, test_costly, 0, COSTLY_COUNT);
	tcase_add_test(verifying, test_limits);
	tcase_add_test(verifying, test_lengths);
	tcase_add_test(verifying, test_truncated);
	tcase_add_test(verifying, test_digest_md5_login);
	tcase_add_test(verifying, test_md4);
	tcase_add_test(verifying, test_clear_text);
	tcase_add_test(verifying, test_scram);
	tcase_add_test(verifying, test_threads);
	tcase_add_loop_test(making, test_make, 0, (int)(sizeof(made) / sizeof(made[0])));
	tcase_add_test(making, test_make_refuses);
	suite_add_tcase(suite, verifying);
	suite_add_tcase(suite, making);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
