/*
 * Lists of subscribed folders, Dovecot's and Courier's, in the Maildir's root.
 */
#ifndef POSTERN_FOLDER_SUBSCRIBE_H
#define POSTERN_FOLDER_SUBSCRIBE_H

#include "common/folder.h"

/* Adds DIRECTORY (".A.B") to the lists that RULES name. A failure is logged, no more. */
void folder_subscribe(int maildir_fd, const char *directory, const struct folder_rules *rules);

#endif
