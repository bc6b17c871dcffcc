-- Times are microseconds since 1970; digests are 32 octets; ids and names are text. `{blob}` and `{strict}` are filled
-- in for each engine (BYTEA and nothing, BLOB and STRICT).

CREATE TABLE changes (
    tenant TEXT NOT NULL, topic TEXT NOT NULL, seq {int} NOT NULL,
    PRIMARY KEY (tenant, topic)
){strict};

CREATE TABLE sessions (
    tenant TEXT NOT NULL, id TEXT NOT NULL, token {blob} NOT NULL UNIQUE, agent TEXT NOT NULL, username TEXT,
    roles TEXT NOT NULL, task TEXT, started {int} NOT NULL, expires {int} NOT NULL, ended {int},
    PRIMARY KEY (tenant, id)
){strict};
CREATE INDEX sessions_by_agent ON sessions (tenant, agent);
CREATE INDEX sessions_by_end ON sessions (tenant, expires);

CREATE TABLE placeholders (
    tenant TEXT NOT NULL, digest {blob} NOT NULL, session TEXT NOT NULL, agent TEXT NOT NULL, credential TEXT NOT NULL,
    service TEXT, issued {int} NOT NULL,
    PRIMARY KEY (tenant, digest)
){strict};

CREATE TABLE keyslots (
    tenant TEXT NOT NULL, slot TEXT NOT NULL, root TEXT NOT NULL, params TEXT NOT NULL, sealed {blob} NOT NULL, created {int} NOT NULL,
    PRIMARY KEY (tenant, slot)
){strict};

CREATE TABLE data_keys (
    tenant TEXT NOT NULL, id TEXT NOT NULL, root TEXT NOT NULL, sealed {blob} NOT NULL, created {int} NOT NULL,
    PRIMARY KEY (tenant, id)
){strict};

CREATE TABLE credentials (
    tenant TEXT NOT NULL, name TEXT NOT NULL, id TEXT NOT NULL UNIQUE, service TEXT, kind TEXT NOT NULL, source TEXT,
    inject TEXT NOT NULL, created {int} NOT NULL,
    PRIMARY KEY (tenant, name)
){strict};

CREATE TABLE versions (
    tenant TEXT NOT NULL, name TEXT NOT NULL, version {int} NOT NULL, state TEXT NOT NULL, sealed {blob},
    created {int} NOT NULL, used {int},
    PRIMARY KEY (tenant, name, version)
){strict};

CREATE TABLE reservations (
    tenant TEXT NOT NULL, key TEXT NOT NULL, at {int} NOT NULL, id TEXT NOT NULL, part {int} NOT NULL,
    amount {int} NOT NULL,
    PRIMARY KEY (tenant, id, part)
){strict};
CREATE INDEX reservations_by_key ON reservations (tenant, key, at, amount);

CREATE TABLE stops (
    tenant TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, version {int} NOT NULL, at {int} NOT NULL,
    author TEXT NOT NULL,
    PRIMARY KEY (tenant, kind, name, version)
){strict};

CREATE TABLE approvals (
    tenant TEXT NOT NULL, id TEXT NOT NULL, session TEXT NOT NULL, agent TEXT NOT NULL, sentence TEXT NOT NULL,
    calls TEXT NOT NULL, key TEXT NOT NULL, head {blob} NOT NULL, body {blob}, rule TEXT NOT NULL,
    wanted {int} NOT NULL, approvers TEXT NOT NULL, asked {int} NOT NULL, expires {int} NOT NULL,
    state TEXT NOT NULL, scope TEXT, settled {int},
    PRIMARY KEY (tenant, id)
){strict};
CREATE INDEX approvals_by_state ON approvals (tenant, state, expires);
CREATE INDEX approvals_by_key ON approvals (tenant, session, key);

CREATE TABLE answers (
    tenant TEXT NOT NULL, approval TEXT NOT NULL, approver TEXT NOT NULL, verdict TEXT NOT NULL, at {int} NOT NULL,
    until {int} NOT NULL,
    PRIMARY KEY (tenant, approval, approver)
){strict};

CREATE TABLE remembered (
    tenant TEXT NOT NULL, session TEXT NOT NULL, key TEXT NOT NULL, approval TEXT NOT NULL, approver TEXT NOT NULL,
    expires {int} NOT NULL,
    PRIMARY KEY (tenant, session, key)
){strict};

CREATE TABLE agents (
    tenant TEXT NOT NULL, name TEXT NOT NULL, enabled {int} NOT NULL, changed {int} NOT NULL, author TEXT NOT NULL,
    seen {int},
    PRIMARY KEY (tenant, name)
){strict};

CREATE TABLE holds (
    tenant TEXT NOT NULL, what TEXT NOT NULL, node TEXT NOT NULL, until {int} NOT NULL,
    PRIMARY KEY (tenant, what)
){strict};

CREATE TABLE meta (
    tenant TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,
    PRIMARY KEY (tenant, key)
){strict};
