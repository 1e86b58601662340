/*
 * Questions to the person at the terminal, and secrets from standard input.
 */
#ifndef POSTERN_PROMPT_H
#define POSTERN_PROMPT_H

#include "common/buf.h"
#include "common/result.h"

/*
 * A password into PASSWORD_R (a BUF_SECRET): at a terminal by prompt without echo (typed twice
 * when CONFIRM), else the first line of standard input. PERM: none given, too long, or the two
 * differ.
 */
enum result prompt_password(const char *question, bool confirm, struct buf *password_r,
			    struct error *err) MUST_CHECK;

/*
 * FOUND: yes. NONE: anything else. PERM: standard input is no terminal, so nobody can be asked.
 */
enum result prompt_confirm(const char *question, struct error *err) MUST_CHECK;

#endif
