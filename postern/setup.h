/*
 * Pieces of other programs' configuration, printed and never written: what `postern setup` is made
 * of.
 */
#ifndef POSTERN_POSTERN_SETUP_H
#define POSTERN_POSTERN_SETUP_H

#include "postern/postern.h"

/* One file's worth of lines. */
struct setup_file {
	const char *name;    /* "main.cf": for --only */
	const char *purpose; /* comment lines for people, without "# " */
	struct buf text;
};

/*
 * Prints all files, or the one named ONLY (NULL: all) without its purpose, and frees their texts.
 */
int setup_print(struct postern *postern, const char *only, struct setup_file *files, size_t count);

#endif
