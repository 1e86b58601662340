/*
 * SMTP and LMTP as bytes (RFC 5321, 2033, 2920, 6531): command lines, MAIL and RCPT arguments, and
 * the message after DATA. Pure functions; the session's rules are lmtp-deliver's.
 */
#ifndef POSTERN_SMTP_LINE_H
#define POSTERN_SMTP_LINE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/netstring.h"

#define SMTP_LINE_MAX      4096  /* a command line with its CRLF */
#define SMTP_AUTH_LINE_MAX 12288 /* the same of AUTH, and of a response to a challenge (RFC 4954) */

/*
 * A command line ends with LF, a CR before it is taken off. OK: *LINE_LEN_R bytes at DATA without
 * the line end. BAD: over SMTP_LINE_MAX without an end: the caller answers 500 and discards up to
 * the next LF (smtp_line_discard).
 */
enum parse smtp_line_parse(const char *data, size_t len, size_t *line_len_r, size_t *used_r);
/* The same with another limit than SMTP_LINE_MAX. */
enum parse smtp_line_parse_max(const char *data, size_t len, size_t max, size_t *line_len_r,
			       size_t *used_r);
/* Takes bytes off up to and with the next LF: OK when it was there, else MORE. */
enum parse smtp_line_discard(const char *data, size_t len, size_t *used_r);

enum smtp_verb {
	SMTP_LHLO,
	SMTP_HELO,
	SMTP_EHLO,
	SMTP_MAIL,
	SMTP_RCPT,
	SMTP_DATA,
	SMTP_BDAT,
	SMTP_RSET,
	SMTP_NOOP,
	SMTP_QUIT,
	SMTP_VRFY,
	SMTP_STARTTLS,
	SMTP_AUTH,
	SMTP_XFORWARD,
	SMTP_HELP,
	SMTP_UNKNOWN,
};
/* The verb of a line and where its argument begins (after blanks). Lines with NUL are UNKNOWN. */
enum smtp_verb smtp_verb_parse(const char *line, size_t len, const char **argument_r,
			       size_t *argument_len_r);

enum smtp_body { SMTP_BODY_7BIT, SMTP_BODY_8BITMIME };

struct smtp_path {          /* MAIL FROM:<path> parameters or RCPT TO:<path> parameters */
	struct buf address; /* as it came, without <> and source route; "" for <> */
	bool unreadable;    /* MAIL: what stands in <> is no address; taken for <> */
	bool has_size, smtputf8;
	uint64_t size;
	enum smtp_body body;
	struct buf orcpt; /* RCPT: decoded xtext address of ORCPT=rfc822;..., or "" */
	struct buf envid, auth;
};
void smtp_path_free(struct smtp_path *path);

enum smtp_path_fault {
	SMTP_PATH_OK,
	SMTP_PATH_SYNTAX,    /* 501 5.5.4 (MAIL: 5.1.7, RCPT: 5.1.3) */
	SMTP_PATH_PARAMETER, /* 501 5.5.4: known parameter, bad value, or twice */
	SMTP_PATH_UNKNOWN,   /* 555 5.5.4: parameter not known */
};
/*
 * ARGUMENT is what stands after "MAIL " or "RCPT ". KEYWORD is "FROM" or "TO". Source routes are
 * dropped; quoted local parts kept as they came; RCPT refuses the empty path; "<postmaster>"
 * without domain is accepted, MAIL accepts any local part alone. PATH_R is set in every case:
 * smtp_path_free() it. Out of memory is no fault of the peer: ask buf_ok(&path_r->address) after OK.
 */
enum smtp_path_fault smtp_path_parse(const char *argument, size_t len, const char *keyword,
				     struct smtp_path *path_r);

/*
 * Appends TEXT with its +HH decoded. False: malformed, or a control character comes out, which must
 * not get into headers and logs.
 */
bool smtp_xtext_decode(const char *text, size_t len, struct buf *out);

/* BDAT's argument, "SIZE" or "SIZE LAST" (RFC 3030). False: malformed, or over 63 bits. */
bool smtp_bdat_parse(const char *argument, size_t len, uint64_t *size_r, bool *last_r);

/*
 * The message after 354: takes bytes off as they come and gives the body as it is to be stored:
 * CRLF becomes LF, a leading dot is removed at the start and after CRLF only, a bare CR or bare LF
 * and NUL stay as they are, and only CRLF "." CRLF (or "." CRLF at the start) ends it.
 */
struct smtp_data {
	int state;             /* zero-initialise */
	uint64_t body_size;    /* bytes given out (S=) */
	uint64_t virtual_size; /* the same with every LF not preceded by CR counted as CRLF (W=) */
};
/*
 * Appends to OUT at most what DATA holds. *USED_R bytes were consumed; after OK the rest of DATA
 * is the next command. MORE otherwise. Never BAD.
 */
enum parse smtp_data_parse(struct smtp_data *data_state, const char *data, size_t len,
			   struct buf *out, size_t *used_r);

/*
 * The bytes of chunks, one after the other: CRLF becomes LF, also where a chunk ends between the
 * two; everything else stays, dots too. Appends to OUT; END gives a CR that was held back.
 */
struct smtp_chunk {
	bool held_cr; /* zero-initialise */
};
void smtp_chunk_parse(struct smtp_chunk *chunk, const char *data, size_t len, struct buf *out);
void smtp_chunk_end(struct smtp_chunk *chunk, struct buf *out);

#endif
