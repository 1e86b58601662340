-- The default database: PostfixAdmin's layout of 4.x at schema version 1851, on SQLite, so that its
-- web interface can adopt the file. Tables and columns whose names begin with x_ are additions of
-- Postern.
-- Addresses and domains are stored in lower case. Journal mode stays DELETE (the rollback journal):
-- programs that only read then need no right to write into the folder.

CREATE TABLE config (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name VARCHAR(20) NOT NULL UNIQUE,
    value VARCHAR(20) NOT NULL
);
INSERT INTO config (name, value) VALUES ('version', '1851');

CREATE TABLE admin (
    username VARCHAR(255) NOT NULL PRIMARY KEY,
    password VARCHAR(255) NOT NULL,
    superadmin TINYINT(1) NOT NULL DEFAULT 0,
    created DATETIME NOT NULL DEFAULT '2000-01-01 00:00:00',
    modified DATETIME NOT NULL DEFAULT '2000-01-01 00:00:00',
    active TINYINT(1) NOT NULL DEFAULT 1,
    phone VARCHAR(30) NOT NULL DEFAULT '',
    email_other VARCHAR(255) NOT NULL DEFAULT '',
    token VARCHAR(255) NOT NULL DEFAULT '',
    token_validity DATETIME NOT NULL DEFAULT '2000-01-01 00:00:00',
    totp_secret VARCHAR(255) DEFAULT NULL
);

CREATE TABLE domain (
    domain VARCHAR(255) NOT NULL PRIMARY KEY,
    description VARCHAR(255) NOT NULL,
    aliases INTEGER NOT NULL DEFAULT 0,
    mailboxes INTEGER NOT NULL DEFAULT 0,
    maxquota BIGINT NOT NULL DEFAULT 0,
    quota BIGINT NOT NULL DEFAULT 0,
    transport VARCHAR(255) NOT NULL,
    backupmx TINYINT(1) NOT NULL DEFAULT 0,
    created DATETIME NOT NULL DEFAULT '2000-01-01 00:00:00',
    modified DATETIME NOT NULL DEFAULT '2000-01-01 00:00:00',
    active TINYINT(1) NOT NULL DEFAULT 1,
    password_expiry INTEGER DEFAULT 0
);

CREATE TABLE alias_domain (
    alias_domain VARCHAR(255) NOT NULL PRIMARY KEY,
    target_domain VARCHAR(255) NOT NULL,
    created DATETIME NOT NULL DEFAULT '2000-01-01 00:00:00',
    modified DATETIME NOT NULL DEFAULT '2000-01-01 00:00:00',
    active TINYINT(1) NOT NULL DEFAULT 1
);
CREATE INDEX alias_domain_target ON alias_domain (target_domain);

CREATE TABLE domain_admins (
    username VARCHAR(255) NOT NULL,
    domain VARCHAR(255) NOT NULL,
    created DATETIME NOT NULL DEFAULT '2000-01-01 00:00:00',
    active TINYINT(1) NOT NULL DEFAULT 1
);

CREATE TABLE alias (
    address VARCHAR(255) NOT NULL PRIMARY KEY,
    goto TEXT NOT NULL,
    domain VARCHAR(255) NOT NULL,
    created DATETIME NOT NULL DEFAULT '2000-01-01 00:00:00',
    modified DATETIME NOT NULL DEFAULT '2000-01-01 00:00:00',
    active TINYINT(1) NOT NULL DEFAULT 1
);
CREATE INDEX alias_of_domain ON alias (domain);

CREATE TABLE mailbox (
    username VARCHAR(255) NOT NULL PRIMARY KEY,
    password VARCHAR(255) NOT NULL,
    name VARCHAR(255) NOT NULL,
    maildir VARCHAR(255) NOT NULL,
    quota BIGINT NOT NULL DEFAULT 0,
    local_part VARCHAR(255) NOT NULL,
    domain VARCHAR(255) NOT NULL,
    created DATETIME NOT NULL DEFAULT '2000-01-01 00:00:00',
    modified DATETIME NOT NULL DEFAULT '2000-01-01 00:00:00',
    active TINYINT(1) NOT NULL DEFAULT 1,
    phone VARCHAR(30) NOT NULL DEFAULT '',
    email_other VARCHAR(255) NOT NULL DEFAULT '',
    token VARCHAR(255) NOT NULL DEFAULT '',
    token_validity DATETIME NOT NULL DEFAULT '2000-01-01 00:00:00',
    password_expiry DATETIME NOT NULL DEFAULT '2000-01-01 00:00:00',
    totp_secret VARCHAR(255) DEFAULT NULL,
    smtp_active TINYINT(1) NOT NULL DEFAULT 1,
    x_uid INTEGER DEFAULT NULL,
    x_gid INTEGER DEFAULT NULL,
    x_host VARCHAR(255) DEFAULT NULL
);
CREATE INDEX mailbox_of_domain ON mailbox (domain);

CREATE TABLE mailbox_app_password (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    username VARCHAR(255) DEFAULT NULL,
    description VARCHAR(255) DEFAULT NULL,
    password_hash VARCHAR(255) DEFAULT NULL
);
CREATE INDEX mailbox_app_password_of ON mailbox_app_password (username);

CREATE TABLE totp_exception_address (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    ip VARCHAR(46) NOT NULL,
    username VARCHAR(255) DEFAULT NULL,
    description VARCHAR(255) DEFAULT NULL
);
CREATE UNIQUE INDEX ip_user ON totp_exception_address (ip, username);

CREATE TABLE quota (
    username VARCHAR(255) NOT NULL,
    path VARCHAR(100) NOT NULL,
    current BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (username, path)
);

CREATE TABLE quota2 (
    username VARCHAR(255) NOT NULL PRIMARY KEY,
    bytes BIGINT NOT NULL DEFAULT 0,
    messages INTEGER NOT NULL DEFAULT 0
);

CREATE TABLE vacation (
    email VARCHAR(255) NOT NULL PRIMARY KEY,
    subject VARCHAR(255) NOT NULL,
    body TEXT NOT NULL,
    activefrom DATETIME NOT NULL DEFAULT '2000-01-01 00:00:00',
    activeuntil DATETIME NOT NULL DEFAULT '2038-01-18 00:00:00',
    cache TEXT NOT NULL DEFAULT '',
    domain VARCHAR(255) NOT NULL,
    interval_time INTEGER NOT NULL DEFAULT 0,
    created DATETIME NOT NULL DEFAULT '2000-01-01 00:00:00',
    modified DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
    active TINYINT(1) NOT NULL DEFAULT 1
);

CREATE TABLE vacation_notification (
    on_vacation VARCHAR(255) NOT NULL REFERENCES vacation (email) ON DELETE CASCADE,
    notified VARCHAR(255) NOT NULL,
    notified_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
    PRIMARY KEY (on_vacation, notified)
);

CREATE TABLE fetchmail (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    domain VARCHAR(255) DEFAULT '',
    mailbox VARCHAR(255) NOT NULL,
    src_server VARCHAR(255) NOT NULL,
    src_port INTEGER NOT NULL DEFAULT 0,
    src_auth VARCHAR(255) DEFAULT NULL,
    src_user VARCHAR(255) NOT NULL,
    src_password VARCHAR(255) NOT NULL,
    src_folder VARCHAR(255) NOT NULL,
    poll_time INTEGER NOT NULL DEFAULT 10,
    fetchall TINYINT(1) NOT NULL DEFAULT 0,
    keep TINYINT(1) NOT NULL DEFAULT 0,
    protocol TEXT DEFAULT NULL,
    usessl TINYINT(1) NOT NULL DEFAULT 0,
    sslcertck TINYINT(1) NOT NULL DEFAULT 0,
    sslcertpath VARCHAR(255) DEFAULT '',
    sslfingerprint VARCHAR(255) DEFAULT '',
    extra_options TEXT,
    returned_text TEXT,
    mda VARCHAR(255) NOT NULL,
    date DATETIME NOT NULL DEFAULT '2000-01-01 00:00:00',
    created DATETIME NOT NULL DEFAULT '2000-01-01 00:00:00',
    modified DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
    active TINYINT(1) NOT NULL DEFAULT 0
);

CREATE TABLE log (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    timestamp DATETIME NOT NULL DEFAULT '2000-01-01 00:00:00',
    username VARCHAR(255) NOT NULL,
    domain VARCHAR(255) NOT NULL,
    action VARCHAR(255) NOT NULL,
    data TEXT NOT NULL
);

CREATE TABLE dkim (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    domain_name VARCHAR(255) NOT NULL REFERENCES domain (domain) ON DELETE CASCADE,
    description VARCHAR(255) DEFAULT '',
    selector VARCHAR(63) NOT NULL DEFAULT 'default',
    private_key TEXT,
    public_key TEXT,
    created DATETIME NOT NULL DEFAULT '2000-01-01 00:00:00',
    modified DATETIME NOT NULL DEFAULT '2000-01-01 00:00:00'
);

CREATE TABLE dkim_signing (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    author VARCHAR(255) NOT NULL DEFAULT '',
    dkim_id INTEGER NOT NULL REFERENCES dkim (id) ON DELETE CASCADE,
    created DATETIME NOT NULL DEFAULT '2000-01-01 00:00:00',
    modified DATETIME NOT NULL DEFAULT '2000-01-01 00:00:00'
);

-- Copies of mail: address is local@domain or @domain, side is recipient or sender.
CREATE TABLE x_bcc (
    address VARCHAR(255) NOT NULL,
    side VARCHAR(9) NOT NULL,
    target VARCHAR(255) NOT NULL,
    active TINYINT(1) NOT NULL DEFAULT 1,
    PRIMARY KEY (address, side)
);

-- Relay hosts by sender: address is local@domain, @domain, or <> for the null sender.
CREATE TABLE x_relayhost (
    address VARCHAR(255) NOT NULL PRIMARY KEY,
    relayhost VARCHAR(255) NOT NULL,
    active TINYINT(1) NOT NULL DEFAULT 1
);

-- What holds for a destination, written as Postfix asks for it; kind is smtp_sasl_password (value:
-- user:password) or smtp_tls_policy (value: a level and attributes).
CREATE TABLE x_destination (
    destination VARCHAR(255) NOT NULL,
    kind VARCHAR(30) NOT NULL,
    value VARCHAR(255) NOT NULL,
    active TINYINT(1) NOT NULL DEFAULT 1,
    PRIMARY KEY (destination, kind)
);
